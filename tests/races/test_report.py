"""What is told about a case: as text, as figures, and whether it is as the case says."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from memviz.races.catalogue import find
from memviz.races.report import examine


def test_the_text_says_claim_verdict_seed_and_the_way_there() -> None:
    text = examine(find("race-posted-unlock"), schedules=50).as_text()
    assert "by        Matthew Wilcox, 2017-03-02" in text
    assert "broken, as expected: unlock of a wild pointer" in text
    assert "found in schedule 8 (seed 7); the shortest way there:" in text
    assert "1. CPU 0 (mover) goes on for " in text
    assert "until: file xa_lock" in text
    assert "again: memviz run race-posted-unlock --variant posted --seed 7 --schedules 1" in text
    assert "as expected: holds on 50 random schedules from seed 0, and on all " in text
    assert text.endswith("verdict:  as expected")


def test_the_seed_that_is_told_repeats_it() -> None:
    first = examine(find("race-umount"), "references")
    again = examine(find("race-umount"), "references", first.findings[0].verdict.seed, 1)
    assert again.findings[0].verdict.schedule == first.findings[0].verdict.schedule
    assert again.findings[0].legs == first.findings[0].legs


def test_figures() -> None:
    told = json.loads(examine(find("race-free-before-unlink"), schedules=40).as_json())
    assert (told["race"], told["date"], told["expected"]) == ("race-free-before-unlink", "7.3", False)
    told = json.loads(examine(find("race-free-before-unlink")).as_json())
    assert told["expected"]
    mainline, corrected = told["variants"]
    assert (mainline["name"], mainline["rule"], mainline["search"]) == ("mainline", "use after free", "all")
    assert mainline["steps"][0].keys() == {"cpu", "task", "points", "until", "where", "source"}
    assert {step["cpu"] for step in mainline["steps"]} == {0, 1}
    assert corrected["rule"] is None
    assert corrected["steps"] == []
    assert corrected["exhaustive"] == {
        "preemptions": 1,
        "schedules": corrected["exhaustive"]["schedules"],
        "points": corrected["exhaustive"]["points"],
        "complete": True,
    }
    assert corrected["schedules"] == 300


def test_thorough_tries_every_schedule_within_the_bound() -> None:
    few = examine(find("race-umount"), "evict", schedules=5).findings[0]
    all_of_them = examine(find("race-umount"), "evict", schedules=5, thorough=True).findings[0]
    assert few.every is not None
    assert all_of_them.every is not None
    assert (few.preemptions, all_of_them.preemptions) == (1, 3)
    assert few.every.complete
    assert all_of_them.every.complete
    assert few.every.schedules < all_of_them.every.schedules


def test_a_case_that_is_not_as_it_says_is_told_so() -> None:
    case = find("race-umount")
    wrong = replace(case, variants=(replace(case.variants[0], breaks=""), replace(case.variants[2], breaks="deadlock")))
    found = examine(wrong, schedules=30)
    assert not found.expected
    text = found.as_text()
    assert "broken, NOT as expected (it holds): busy inodes after umount" in text
    assert "NOT as expected (deadlock): holds on 30 random schedules" in text
    assert text.endswith("verdict:  NOT as expected")
    with pytest.raises(ValueError, match="has no variant called"):
        examine(case, "nope")
