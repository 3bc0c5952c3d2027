"""The past: indices and markers, bounded."""

from __future__ import annotations

import numpy as np

from memviz.gui.render.history import DEFRAG, FAILED, REFUSED, SUCCESS, TURNED, History
from memviz.kernel import trace
from memviz.kernel.vmstat import unusable_free_index
from memviz.snapshot import EVENT_DTYPE
from tests.gui.synthetic import frozen, snapshot


def events(*rows: tuple[int, ...]) -> np.ndarray:
    """Events (seq, time, cpu, kind, a, b, c, d)."""
    return frozen(np.array(list(rows), EVENT_DTYPE))


def test_history_keeps_the_index_of_every_order() -> None:
    history = History()
    shot = snapshot()
    history.add(shot)
    nr_free = shot.zones[0].nr_free()
    assert history.times.tolist() == [shot.time_ns]
    assert history.values.tolist() == [[unusable_free_index(nr_free, order) for order in range(11)]]


def test_a_long_history_stays_bounded_and_reaches_from_begin_to_end() -> None:
    history = History(capacity=64)
    shot = snapshot(events=events())
    for i in range(10_000):
        object.__setattr__(shot, "time_ns", i * 1000)
        history.add(shot)
    assert 32 <= len(history.times) <= 64
    assert history.times[0] == 0
    assert history.times[-1] > 9_500_000
    assert np.all(np.diff(history.times) > 0)


def test_time_that_goes_back_starts_a_new_history() -> None:
    history = History()
    history.add(snapshot(time_ns=5_000_000))
    history.add(snapshot(time_ns=1_000))
    assert history.times.tolist() == [1_000]


def test_markers_come_from_events_and_a_failure_is_marked_once() -> None:
    history = History()
    rows = events(
        (1, 1_000_000, 0, trace.ALLOC_FAILED, 9, 0, 1, 0),
        (2, 1_200_000, 0, trace.REQUEST_END, 9, 0, 200_000, 0),
        (3, 9_000_000, 1, trace.DEFRAG_END, 1, 40, 88, 3),
        (4, 20_000_000, 2, trace.REQUEST_END, 9, 4097, 200_000, 0),
        (5, 20_000_001, 2, trace.SLAB_NEW, 1, 2, 3, 0),
        (6, 30_000_000, 2, trace.ALLOC_FAILED, 3, 0, 1, 0),
    )
    history.add(snapshot(events=rows))
    assert [(m.kind, m.order, m.seq) for m in history.markers] == [
        (FAILED, 9, 2),
        (DEFRAG, -1, 3),
        (SUCCESS, 9, 4),
        (REFUSED, 3, 6),
    ]


def test_what_somebody_turned_is_marked() -> None:
    history = History()
    turned = events((1, 10, -1, trace.POLICY_SET, 1, 1, 0, 0), (2, 20, -1, trace.WORKLOAD_SET, 0, 2000, 1000, 0))
    history.add(snapshot(events=turned))
    assert [(one.kind, one.time_ns, one.seq) for one in history.markers] == [(TURNED, 10, 1), (TURNED, 20, 2)]
