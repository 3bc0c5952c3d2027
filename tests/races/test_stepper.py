"""Stepping: every point forwards, every point back to exactly what was there, and the lines on the way."""

from __future__ import annotations

import time
from pathlib import Path
from statistics import median

import pytest

import memviz.kernel.smp as smp_module
from memviz.races import stepper as stepper_module
from memviz.races.case import HOLDS, Variant
from memviz.races.catalogue import CASES, find
from memviz.races.stepper import Line, Stepper, source

COMPILED = not smp_module.__file__.endswith(".py")
interpreted = pytest.mark.skipif(COMPILED, reason="compiled code has no lines")

VARIANTS = [pytest.param(variant, id=f"{case.name}-{variant.name}") for case in CASES for variant in case.variants]


def unlock() -> Stepper:
    """The patch unlocks what it has not locked, by the shortest way."""
    variant = find("race-posted-unlock").variant("posted")
    return Stepper(variant, variant.minimised(variant.search(100)))


@pytest.mark.parametrize("variant", VARIANTS)
def test_stepping_there_and_back_meets_the_same_states(variant: Variant) -> None:
    verdict = variant.search(2000 if variant.breaks != HOLDS else 1)
    stepper = Stepper(variant, verdict.schedule or None, seed=3)
    there = [stepper.digest()]
    stands = [stepper.stands()]
    while stepper.forward():
        there.append(stepper.digest())
        stands.append(stepper.stands())
    assert stepper.rule == verdict.rule == variant.breaks
    assert stepper.failure == (verdict.failure or "")
    assert len(set(there)) > len(there) // 2
    spent = []
    for position in range(min(len(there) - 1, 80), 0, -1):
        if stepper.position > position:
            stepper.go_to(position)
        assert stepper.position == position
        assert (stepper.digest(), stepper.stands()) == (there[position], stands[position])
        begin = time.process_time()
        assert stepper.back()
        spent.append(time.process_time() - begin)
    assert stepper.digest() == there[0]
    assert not stepper.back()
    assert median(spent) < 0.2


def test_a_run_goes_on_as_it_did_after_a_step_back() -> None:
    stepper = unlock()
    stepper.to_end()
    end, digest = stepper.position, stepper.digest()
    stepper.go_to(end // 2)
    stepper.back()
    stepper.to_end()
    assert (stepper.position, stepper.digest(), stepper.rule) == (end, digest, "unlock of a wild pointer")


def test_another_cpu_can_be_chosen_and_the_run_is_another_then() -> None:
    stepper = unlock()
    stepper.until_label("file xa_lock", cpu=0)
    there = stepper.position
    while stepper.forward(0):  # the eraser never gets its chance in between
        pass
    assert (stepper.rule, stepper.ended) == ("", True)
    assert stepper.verdict == "This run ends well: everything that must hold does."
    stepper.go_to(there)
    while stepper.stands()[1].label != "done":
        assert stepper.forward(1)
    stepper.to_end()
    assert stepper.rule == "unlock of a wild pointer"


@interpreted
def test_every_cpu_shows_the_line_it_stands_on() -> None:
    stepper = unlock()
    assert [stand.label for stand in stepper.stands()] == ["not begun", "not begun"]
    assert stepper.until_label("file xa_lock", cpu=0)
    mover = stepper.stands()[0]
    assert (mover.lines[0].module, mover.lines[0].function) == ("races/posted.py", "xa_reclaim")
    assert mover.lines[0].text == "locked.xa_lock()"
    assert mover.irqs_off
    assert [line.function for line in mover.lines][-2:] == ["<lambda>", "whole"]
    assert stepper.until_label("xas_descend", cpu=1)
    eraser = stepper.stands()[1]
    assert eraser.locks == ("file xa_lock",)
    assert eraser.where.startswith("kernel/xa_walk.py:")
    assert "smp.point" in eraser.lines[0].text
    stepper.to_end()
    broken, done = stepper.stands()
    assert done.label == "done"
    assert [line.function for line in broken.lines][:2] == ["unlock", "xa_reclaim"]


def test_the_shortest_way_is_told_leg_by_leg() -> None:
    stepper = unlock()
    legs = stepper.legs()
    assert [(leg.cpu, leg.task) for leg in legs] == [(0, "mover"), (1, "eraser"), (0, "mover")]
    assert legs[1].until == "done"
    assert stepper.position == 0
    variant = find("race-softirq-free").variant("blocks")
    waits = Stepper(variant, variant.minimised(variant.search(100))).legs()
    assert any(leg.until.startswith("it waits: rcu_barrier") for leg in waits)


def test_source_is_shown_with_lines_around_it() -> None:
    text = Path(stepper_module.__file__).read_text(encoding="utf-8").splitlines()
    number = next(n for n, line in enumerate(text, 1) if line.startswith("class Stepper"))
    shown = source(Line("races/stepper.py", "Stepper", number, ""), 2)
    assert shown == [(n, text[n - 1].rstrip()) for n in range(number - 2, number + 3)]
    assert source(Line("races/nowhere.py", "f", 7, "")) == []
