"""The allowance: everything in bursts and at low speed, a part of the routine at full speed, what matters always."""

from __future__ import annotations

import dataclasses

import numpy as np

from memviz.kernel import trace
from memviz.recording.budget import EVENTS_BURST, EVENTS_PER_S, LANES_BURST, Budget
from memviz.snapshot import EVENT_DTYPE, LANE_DTYPE, Snapshot
from tests.recording.worlds import world

BASE = world(np.random.default_rng(0), 8)


def with_events(kinds: list[int]) -> Snapshot:
    events = np.zeros(len(kinds), EVENT_DTYPE)
    events["kind"] = kinds
    events["seq"] = np.arange(len(kinds))
    return dataclasses.replace(BASE, events=events, lanes=BASE.lanes[:0], lost_events=2)


def test_a_burst_is_kept_whole() -> None:
    kept = Budget().keep(with_events([trace.RCU_BATCH] * EVENTS_BURST), 0)[0]
    assert kept.events.size == EVENTS_BURST
    assert kept.lost_events == 2


def test_then_a_part_of_the_routine_and_all_that_matters() -> None:
    budget = Budget()
    budget.keep(with_events([trace.RCU_BATCH] * EVENTS_BURST), 0)
    mixed = [trace.RCU_BATCH, trace.REQUEST_END] * 1000
    kept, _ = budget.keep(with_events(mixed), 1_000_000_000)
    kinds = kept.events["kind"].tolist()
    assert kinds.count(trace.REQUEST_END) == 1000
    assert kinds.count(trace.RCU_BATCH) == EVENTS_PER_S
    assert kept.lost_events == 2 + 1000 - EVENTS_PER_S
    assert np.all(np.diff(kept.events["seq"]) > 0)
    assert kinds[-1] == trace.REQUEST_END
    assert kinds[-2] == trace.RCU_BATCH, "the newest of the routine is kept"


def test_lanes_are_kept_whole_or_not_at_all() -> None:
    budget = Budget()
    lanes = np.zeros(LANES_BURST // 2, LANE_DTYPE)
    many = dataclasses.replace(BASE, lanes=lanes)
    kept = [budget.keep(many, at) for at in (0, 1, 2, 1_000_000_000, 14_000_000_000)]
    assert [one.lanes.size for one, _ in kept] == [lanes.size, lanes.size, 0, 0, lanes.size]
    assert [lost for _, lost in kept] == [0, 0, lanes.size, lanes.size, 0], "what is left out is counted"
