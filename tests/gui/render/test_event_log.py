"""The list of events and its filters."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from memviz.gui.render.event_log import ROUTINE_KEPT, EventFilter, EventLog, let_through
from memviz.gui.render.event_text import Names
from memviz.kernel import trace
from memviz.snapshot import EVENT_DTYPE
from tests.gui.synthetic import frozen

NAMES = Names({1: "xa_node", 2: "dentry"}, {1: "file 17"})


def events(*rows: tuple[int, ...]) -> np.ndarray:
    """Events (seq, time, cpu, kind, a, b, c, d)."""
    return frozen(np.array(list(rows), EVENT_DTYPE))


MIXED = events(
    (1, 1000, 0, trace.SLAB_NEW, 0x2C200, 2, 1, 0),
    (2, 2000, 1, trace.SLAB_NEW, 0x2C204, 2, 2, 0),
    (3, 3000, 1, trace.RCU_GP_END, 117, 64, 0, 0),
    (4, 4000, 0, trace.ALLOC_FAILED, 9, 0, 0, 0),
)


@pytest.mark.parametrize(
    ("wanted", "left"),
    [
        (EventFilter(), [1, 2, 3, 4]),
        (EventFilter(group="Slabs and objects"), [1, 2]),
        (EventFilter(cpu=1), [2, 3]),
        (EventFilter(cache=1), [1]),
        (EventFilter(text="0x2c204"), [2]),
        (EventFilter(text="slab XA_NODE"), [1]),
        (EventFilter(text="alloc_failed"), [4]),
        (EventFilter(group="Slabs and objects", cpu=0, cache=2), []),
    ],
)
def test_filters_let_through_what_they_say(wanted: EventFilter, left: list[int]) -> None:
    assert let_through(MIXED, wanted, NAMES)["seq"].tolist() == left


def test_the_log_drops_the_oldest() -> None:
    log = EventLog(kept=100)
    for i in range(30):
        log.add(events(*((10 * i + j, 0, 0, trace.SLAB_NEW, 0, 0, 0, 0) for j in range(10))))
    assert log.seen == 300
    assert log.events["seq"].tolist() == list(range(200, 300))
    assert log.since(290)["seq"].tolist() == list(range(290, 300))
    assert log.since(0)["seq"].size == 100


def test_routine_never_drives_out_what_matters() -> None:
    log = EventLog(kept=20_000)
    log.add(events((1, 0, 0, trace.DEFRAG_END, 1, 2, 3, 4)))
    for i in range(5):
        bulk = np.zeros(5000, EVENT_DTYPE)
        bulk["seq"] = np.arange(5000) + 2 + 5000 * i
        bulk["kind"] = trace.MM_PAGE_ALLOC
        log.add(frozen(bulk))
        assert log.events["kind"][0] == trace.DEFRAG_END
    assert len(log.events) <= ROUTINE_KEPT + 1
    assert log.generation > 0


def test_events_out_of_order_are_put_in_order() -> None:
    log = EventLog()
    log.add(events((5, 0, 0, trace.SLAB_NEW, 0, 0, 0, 0)))
    log.add(events((3, 0, 0, trace.SLAB_NEW, 0, 0, 0, 0)))
    assert log.events["seq"].tolist() == [3, 5]


def test_a_list_that_nobody_looks_at_keeps_no_snapshot_and_does_not_grow() -> None:
    log, looked_at = EventLog(), EventLog()
    tracemalloc.start()
    try:
        for number in range(300):
            block = np.zeros(20_000, EVENT_DTYPE)  # what a snapshot travels in
            block["seq"] = np.arange(number * 1000, number * 1000 + block.size)
            block["kind"] = trace.ALLOC_FAILED
            log.add(block[:1000])
            looked_at.add(block[:1000])
            assert looked_at.events.size
        size, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert size < 10 << 20, "300,000 events, 10,000 of which are kept"
    np.testing.assert_array_equal(log.events, looked_at.events)
    assert log.seen == 300_000
