"""A race as a source: stepped forwards and back, and what the window is shown on the way."""

from __future__ import annotations

import pickle
import time

import numpy as np
import pytest

from memviz.kernel.trace import NAMES
from memviz.races.catalogue import names
from memviz.snapshot import NODE_RCU, Snapshot
from memviz.sources.base import (
    Compact,
    Pause,
    Run,
    SetWorkload,
    SourceError,
    Speed,
    Step,
    StepBack,
    StepCpu,
    race,
)
from memviz.sources.race import RaceSource


def same(one: Snapshot, other: Snapshot) -> bool:
    """Everything that does not depend on how often somebody has looked."""
    return (
        one.race == other.race
        and one.time_ns == other.time_ns
        and one.cpus == other.cpus
        and one.rcu == other.rcu
        and one.xarrays == other.xarrays
        and one.caches == other.caches
        and np.array_equal(one.slabs, other.slabs)
        and np.array_equal(one.objects, other.objects)
        and np.array_equal(one.nodes[["addr", "parent", "used"]], other.nodes[["addr", "parent", "used"]])
        and np.array_equal(one.pages.owner, other.pages.owner)
    )


@pytest.mark.parametrize("name", names())
def test_every_case_is_shown_from_start_to_verdict(name: str) -> None:
    source = race(name).make()
    start = source.snapshot()
    assert start.race is not None
    assert (start.race.name, start.race.position, start.race.ended, start.state) == (name, 0, False, "paused")
    assert len(start.race.cpus) == len(start.cpus) >= 2
    assert all(cpu.label == "not begun" for cpu in start.race.cpus)
    source.command(1, Step(1 << 20))
    end = source.snapshot()
    assert end.race is not None
    assert end.race.ended
    assert end.notice == end.race.verdict != ""
    assert end.race.broken == (end.race.breaks != "")
    assert end.events.size > 0
    assert pickle.loads(pickle.dumps(end)).race == end.race
    source.close()


def test_back_is_what_was_there() -> None:
    source = RaceSource("race-reader", "corrected", seed=4)
    seen = [source.snapshot()]
    for number in range(12):
        source.command(number, Step())
        seen.append(source.snapshot())
    for position in range(11, -1, -1):
        begin = time.process_time()
        source.command(100, StepBack())
        back = source.snapshot()
        assert time.process_time() - begin < 0.2
        assert same(back, seen[position])
    assert not same(seen[3], seen[4])


def test_events_and_lanes_are_told_once_and_again_after_a_step_back() -> None:
    source = RaceSource("race-reader", "corrected", seed=1)
    source.command(1, Step(40))
    first = source.snapshot()
    assert first.lanes.size > 0
    assert {"slab_isolate", "defrag_begin"} <= {NAMES[kind] for kind in first.events["kind"].tolist()}
    assert source.snapshot().events.size == 0
    source.command(2, StepBack())
    again = source.snapshot()
    assert again.time_ns <= first.time_ns
    kept = first.events[: again.events.size]
    assert again.events.size > 0
    assert np.array_equal(again.events, kept)


def test_nodes_show_what_waits_for_rcu_and_who_reads() -> None:
    source = RaceSource("race-huge-page", "corrected", seed=2)
    waiting = readers = 0
    for number in range(200):
        source.command(number, Step())
        shown = source.snapshot()
        waiting = max(waiting, int((shown.nodes["state"] == NODE_RCU).sum()))
        readers |= int(np.bitwise_or.reduce(shown.nodes["readers"])) if shown.nodes.size else 0
    assert waiting > 0
    assert readers & 0b10  # CPU 1 is the reader


def test_one_cpu_goes_on_while_the_others_stay() -> None:
    source = RaceSource("race-posted-unlock", "posted")
    for number in range(6):
        source.command(number, StepCpu(1))
    shown = source.snapshot().race
    assert shown is not None
    assert shown.cpus[0].label == "not begun"
    assert shown.cpus[1].locks == ("file xa_lock",)
    assert shown.last == 1
    for number in range(40):
        source.command(number, StepCpu(1))
    assert "cannot go on here" in "".join(outcome.sentence for outcome in source.snapshot().outcomes)
    source.command(50, StepCpu(7))
    last = source.snapshot().outcomes[-1]
    assert (last.ok, last.sentence) == (False, "This case has no CPU 7: it has 2.")


def test_it_plays_at_its_pace_and_stops_at_the_verdict() -> None:
    source = RaceSource("race-posted-unlock")
    assert not source.advance(0.0)
    source.command(1, Speed(0))
    source.command(2, Run())
    assert source.snapshot().state == "running"
    begin = time.monotonic()
    while source.snapshot().state == "running" and time.monotonic() - begin < 20:
        source.advance(0.001)
    shown = source.snapshot()
    assert shown.race is not None
    assert shown.race.ended
    assert shown.race.verdict.startswith("unlock of a wild pointer")
    source.command(3, Run())
    assert source.snapshot().state == "ended"
    source.command(4, Pause())
    source.command(5, Speed(1))
    source.command(6, StepBack(10))
    source.command(7, Run())
    assert source.advance(0.001)
    assert not source.advance(0.001)  # the next point is due in a second


def test_variants_and_seeds_are_chosen() -> None:
    source = RaceSource("race-umount")
    source.command(1, SetWorkload("variant", "evict"))
    source.command(2, Step(1 << 20))
    shown = source.snapshot().race
    assert shown is not None
    assert (shown.variant, shown.broken, shown.found) == ("evict", False, "the run of seed 1")
    source.command(3, SetWorkload("seed", "5"))
    shown = source.snapshot().race
    assert shown is not None
    assert (shown.position, shown.found) == (0, "the run of seed 5")
    source.command(4, SetWorkload("variant", "nope"))
    source.command(5, SetWorkload("speed", "1"))
    source.command(6, Compact())
    wrong = source.snapshot().outcomes[-3:]
    assert [outcome.ok for outcome in wrong] == [False, False, False]
    assert "has no variant called 'nope'" in wrong[0].sentence
    assert "no control called 'speed'" in wrong[1].sentence
    assert "can only be stepped" in wrong[2].sentence


def test_what_there_is_not() -> None:
    with pytest.raises(SourceError, match="no race is called 'race-x'"):
        race("race-x").make()
    with pytest.raises(SourceError, match="has no variant called 'x'"):
        race("race-umount", "x").make()
