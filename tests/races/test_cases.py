"""Every case of the race lab: what should break is broken, by name and repeatably; what should hold holds."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from memviz.kernel.explore import attempt, runs
from memviz.kernel.page import GFP_KERNEL
from memviz.kernel.schedule import RandomScheduler, Replay
from memviz.kernel.smp import KernelBug
from memviz.races.case import HOLDS, SCHEDULES, Variant
from memviz.races.catalogue import CASES, RaceError, find
from memviz.races.lab import Lab
from memviz.races.report import FEW, examine

VARIANTS = [(case.name, variant) for case in CASES for variant in case.variants]
BROKEN = [pytest.param(variant, id=f"{name}-{variant.name}") for name, variant in VARIANTS if variant.breaks != HOLDS]
SOUND = [pytest.param(variant, id=f"{name}-{variant.name}") for name, variant in VARIANTS if variant.breaks == HOLDS]


@pytest.mark.digest
@pytest.mark.parametrize("variant", BROKEN)
def test_what_is_wrong_is_broken_by_a_schedule_that_repeats_it(variant: Variant) -> None:
    verdict = variant.search(2000)
    assert verdict.failure is not None
    assert verdict.rule == variant.breaks, verdict.failure
    assert variant.expected(verdict)
    again = attempt(variant.build, Replay(verdict.schedule))
    assert again == (verdict.schedule, verdict.failure, verdict.rule)
    if verdict.seed >= 0:
        once = variant.search(1, seed=verdict.seed)
        assert (once.failure, once.schedule) == (verdict.failure, verdict.schedule)
    small = variant.minimised(verdict)
    schedule, _, rule = attempt(variant.build, Replay(small))
    assert rule == variant.breaks
    assert len(runs(schedule)) <= min(8, len(runs(verdict.schedule)))


@pytest.mark.parametrize("seed", [12345, 2**40 + 7, 987_654_321_012])
@pytest.mark.parametrize("variant", BROKEN)
def test_what_is_wrong_is_found_from_whatever_seed(variant: Variant, seed: int) -> None:
    verdict = variant.search(SCHEDULES if variant.how != "all" else FEW, seed)
    assert variant.expected(verdict)


@pytest.mark.parametrize("variant", SOUND)
def test_what_is_right_holds_on_random_schedules_and_on_all_with_few_preemptions(variant: Variant) -> None:
    for verdict in (variant.search(40), variant.search(40, how="pct")):
        assert verdict.failure is None, f"{verdict.failure} (seed {verdict.seed})"
        assert verdict.schedules == 40
    verdict = variant.search(250, how="all")
    assert verdict.failure is None, f"{verdict.failure}: {verdict.schedule}"
    assert verdict.complete or verdict.schedules == 250


def test_an_array_that_dies_meanwhile_is_safe_on_every_schedule_with_three_preemptions() -> None:
    """Without the read-side section in xa_object_migrate() one of them takes a lock in freed memory."""
    verdict = find("race-posted-dying-array").variant("corrected").search_all(20_000)
    assert verdict.failure is None, f"{verdict.failure}: {verdict.schedule}"
    assert verdict.complete
    assert verdict.schedules > 3000


SCRIPT = """
import sys
from memviz.races.catalogue import find
from memviz.races.report import examine
told = examine(find(sys.argv[1]), seed=int(sys.argv[2]))
print(told.as_json(), told.as_text(), told.expected)
"""


@pytest.mark.parametrize(("case", "seed"), [("race-caller-locked", 12345), ("race-huge-page", 2**40 + 7)])
def test_a_seed_tells_the_same_in_every_process(case: str, seed: int) -> None:
    """Whatever order sets and dictionaries of that process would have."""
    told = {
        subprocess.run(
            [sys.executable, "-c", SCRIPT, case, str(seed)],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for hash_seed in ("1", "77")
    }
    assert len(told) == 1
    assert told.pop().endswith("True\n")


def test_what_is_printed_to_see_it_again_repeats_it() -> None:
    case = find("race-huge-page")
    found = examine(case, "posted", seed=12345)
    finding = found.findings[0]
    again = re.search(
        r"again: memviz run race-huge-page --variant posted --seed (\d+) --schedules 1\n", found.as_text()
    )
    assert again is not None
    once = examine(case, "posted", seed=int(again[1]), schedules=1).findings[0]
    assert once.verdict.schedule == finding.verdict.schedule
    assert once.legs == finding.legs


def test_every_defect_of_the_posted_patch_is_shown_step_by_step() -> None:
    """Unlock of what is not locked, double free, leak, no memory, a barrier a node, a dying array, recycled nodes."""
    posted = [case for case in CASES if case.name.startswith("race-posted-")]
    assert len(posted) == 7
    for case in posted:
        finding = examine(case, "posted").findings[0]
        assert finding.expected
        assert finding.legs
        assert all(leg.told for leg in finding.legs)


def test_names_and_texts() -> None:
    names = [case.name for case in CASES]
    assert len(set(names)) == len(names) >= 13
    for case in CASES:
        assert case.name.startswith("race-")
        assert all((case.title, case.claim, case.by, case.date, case.look_for, case.finding))
        assert any(variant.breaks == HOLDS for variant in case.variants)
        assert any(variant.breaks != HOLDS for variant in case.variants)
        assert case.variant("") is case.variants[0]
        assert len({variant.name for variant in case.variants}) == len(case.variants)
    with pytest.raises(RaceError, match="did you mean 'race-umount'"):
        find("race-unmount")
    with pytest.raises(ValueError, match="has no variant called 'x': there are references, umount-waits, evict"):
        find("race-umount").variant("x")


def test_poison_is_seen_by_readers_and_by_the_next_owner() -> None:
    lab = Lab(RandomScheduler(1))
    array, leaf = lab.two_leaves()
    array.erase(100)
    lab.rcu.drain()
    assert {repr(slot) for slot in leaf.slots} == {"poison"}
    leaf.slots[5] = "scribble"
    with pytest.raises(KernelBug, match="write after free"):
        [lab.nodes.alloc(GFP_KERNEL) for _ in range(3)]
