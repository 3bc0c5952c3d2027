"""Lanes: golden rows, nothing lost between pixels, a ring that stays bounded."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from memviz.gui.render import lanes
from memviz.gui.render.lanes import NOTHING, History, Label, Window
from memviz.kernel.trace import RCU_GP_BEGIN, RCU_GP_END, SLAB_NEW
from memviz.snapshot import (
    CPU_IDLE,
    CPU_RUNS,
    CPU_SPINS,
    CPU_STATE_NAMES,
    CPU_XA_LOCK,
    EVENT_DTYPE,
    LANE_DTYPE,
    Rcu,
)
from tests.gui.synthetic import snapshot


def segments(*rows: tuple[int, int, int, int]) -> np.ndarray:
    return np.array(list(rows), LANE_DTYPE)


def test_golden_rows() -> None:
    found = lanes.rows(
        segments((0, 40, 0, CPU_RUNS), (40, 60, 0, CPU_XA_LOCK), (20, 100, 1, CPU_IDLE)), Window(0, 100, 10), 2
    )
    n = NOTHING
    assert found.tolist() == [
        [CPU_RUNS] * 4 + [CPU_XA_LOCK] * 2 + [n] * 4,
        [n] * 2 + [CPU_IDLE] * 8,
    ]


def test_a_short_spin_among_long_runs_is_seen() -> None:
    found = lanes.rows(
        segments((0, 500, 0, CPU_RUNS), (500, 501, 0, CPU_SPINS), (501, 1000, 0, CPU_RUNS)), Window(0, 1000, 20), 1
    )
    assert found[0].tolist() == [CPU_RUNS] * 10 + [CPU_SPINS] + [CPU_RUNS] * 9


def test_every_state_has_a_rank_of_its_own() -> None:
    assert sorted(lanes.RANK) == list(range(len(CPU_STATE_NAMES)))


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 300), st.integers(0, 4), st.integers(0, 12)), max_size=40),
    st.integers(1, 90),
)
def test_every_segment_in_sight_leaves_a_pixel_of_its_rank_or_higher(
    rows: list[tuple[int, int, int, int]], width: int
) -> None:
    window = Window(500, 1500, width)
    some = segments(*((begin, begin + length, cpu, state) for begin, length, cpu, state in rows))
    found = lanes.rows(some, window, 3)
    assert found.shape == (3, width)
    for begin, length, cpu, state in rows:
        if begin + length > 500 and begin < 1500 and cpu < 3:
            x = int(np.clip(window.x(begin), 0, width - 1))
            assert lanes.RANK.index(int(found[cpu, x])) >= lanes.RANK.index(state)


def test_lines_where_a_segment_begins_that_is_wide_enough() -> None:
    some = segments(
        (0, 30, 0, CPU_SPINS),
        (30, 32, 0, CPU_SPINS),
        (32, 90, 0, CPU_SPINS),
        (90, 99, 0, CPU_RUNS),
        (-50, 20, 1, CPU_SPINS),
    )
    assert np.argwhere(lanes.begins(some, Window(0, 100, 100), 2)).tolist() == [[0, 0], [0, 32]]


def test_golden_picture() -> None:
    palette = np.arange(100, 100 + NOTHING + 1, dtype=np.uint32)
    states = np.array([[CPU_RUNS, CPU_SPINS, NOTHING]], np.uint8)
    lines = np.array([[False, True, False]])
    assert lanes.picture(states, lines, palette, 7).tolist() == [[100 + CPU_RUNS, 7, 100 + NOTHING]]


def test_labels_are_clipped_to_the_window_and_leave_out_plain_running() -> None:
    some = segments((-50, 40, 0, CPU_XA_LOCK), (40, 80, 0, CPU_RUNS), (80, 84, 1, CPU_SPINS), (60, 300, 1, CPU_SPINS))
    assert lanes.labels(some, Window(0, 100, 100), 2, 20) == [
        Label(0, 0, 40, CPU_XA_LOCK),
        Label(1, 60, 40, CPU_SPINS),
    ]


def test_what_a_cpu_did_at_a_moment() -> None:
    some = segments((0, 40, 0, CPU_RUNS), (40, 60, 0, CPU_SPINS))
    assert lanes.at(some, 0, 40) == (CPU_SPINS, 40, 60)
    assert lanes.at(some, 0, 60) is None
    assert lanes.at(some, 1, 10) is None


def test_pixels_and_moments_are_inverse() -> None:
    window = Window(1_000, 5_000, 400)
    assert [int(window.x(window.time(x))) for x in (0, 1, 399)] == [0, 1, 399]


def history_of(*parts: np.ndarray) -> History:
    history = History()
    one = snapshot()
    for number, part in enumerate(parts):
        end = int(part["end"].max()) if part.size else number
        history.add(replace(one, seq=number, time_ns=end, state="running", lanes=part, events=np.zeros(0, EVENT_DTYPE)))
    return history


def test_the_ring_keeps_the_newest() -> None:
    part = np.zeros(lanes.RING // 2 + 7, LANE_DTYPE)
    parts = []
    for number in range(4):
        part = part.copy()
        part["begin"] = number * 1_000_000 + np.arange(part.size)
        part["end"] = part["begin"] + 1
        parts.append(part)
    kept = history_of(*parts).segments()
    assert kept.size == lanes.RING
    newest = np.concatenate(parts)["begin"][-lanes.RING :]
    assert sorted(kept["begin"].tolist()) == newest.tolist()


def test_time_that_runs_backwards_begins_anew() -> None:
    history = history_of(segments((0, 100, 0, CPU_RUNS)), segments((10, 20, 0, CPU_SPINS)))
    assert history.segments()["state"].tolist() == [CPU_SPINS]


def paced(begin: int, length: int, count: int) -> np.ndarray:
    """Segments one after the other, on two CPUs in turn."""
    return segments(*((begin + n * length, begin + (n + 1) * length, n % 2, CPU_RUNS) for n in range(count)))


def test_the_window_follows_the_pace_of_all_cpus_but_not_at_once() -> None:
    history = history_of(paced(0, 1_000, 60))
    assert history.cpus == 4
    assert history.span == 50_000  # 15 segments for each of 4 CPUs, to the nearest step
    for length, span in ((2_000, 50_000), (10_000, 500_000), (100, 5_000)):
        part = paced(history.latest, length, 300)
        end = int(part["end"][-1])
        history.add(replace(snapshot(), time_ns=end + 5, state="running", lanes=part, events=np.zeros(0, EVENT_DTYPE)))
        assert (history.latest, history.span) == (end, span)


def test_while_the_machine_stands_the_window_reaches_back_to_the_last_rest() -> None:
    history = history_of(paced(0, 10_000, 300))
    steps = paced(90_000_000, 300, 8)
    now = int(steps["end"][-1])
    history.add(replace(snapshot(), time_ns=now, state="paused", lanes=steps, events=np.zeros(0, EVENT_DTYPE)))
    assert history.latest == now
    assert history.span == 2_000  # 8 steps of 300 ns and a little more, to the nearest step; not what was before


def test_while_it_runs_the_window_ends_with_the_last_rush_not_with_the_rest_after_it() -> None:
    rush = paced(0, 1_000, 120)
    late = segments((120_000, 9_000_000, 0, CPU_IDLE), (9_000_000, 9_000_500, 0, CPU_SPINS))
    history = history_of(np.concatenate([rush, late]))
    assert history.latest == 120_000


def test_grace_periods_are_marked() -> None:
    events = np.zeros(3, EVENT_DTYPE)
    events["kind"], events["time"], events["a"] = (RCU_GP_BEGIN, SLAB_NEW, RCU_GP_END), (10, 20, 30), (118, 5, 118)
    history = History()
    history.add(replace(snapshot(), events=events))
    assert [(mark.time_ns, mark.words) for mark in history.marks] == [
        (10, "grace period 118 begins"),
        (30, "grace period 118 ends"),
    ]


def test_subtitle() -> None:
    assert lanes.subtitle(None) == "virtual time"
    assert lanes.subtitle(Rcu(118, False, 0, ())) == "virtual time · grace period 118 over"
    assert lanes.subtitle(Rcu(118, True, 1, (0, 2))) == (
        "virtual time · grace period 118 running · waits for CPUs 0, 2 · 1 callback queued"
    )
