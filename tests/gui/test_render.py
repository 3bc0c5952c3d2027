"""What the shell's views draw, compared exactly: bars, curves, rows, words."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memviz.gui.render.anatomy import Pin, anatomy
from memviz.gui.render.contiguity import contiguity
from memviz.gui.render.curve import peaks
from memviz.gui.render.event_log import ROUTINE_KEPT, EventFilter, EventLog, let_through
from memviz.gui.render.event_text import Names, cache_of, pfn_of, text_of, tone_of
from memviz.gui.render.history import DEFRAG, FAILED, SUCCESS, History
from memviz.gui.render.numbers import bytes_of_frames, duration, instant, percent, rate
from memviz.kernel import trace
from memviz.kernel.vmstat import unusable_free_index
from memviz.snapshot import EVENT_DTYPE, RequestAnatomy, Stage
from tests.gui.synthetic import empty_snapshot, frozen, snapshot

NAMES = Names({1: "xa_node", 2: "dentry"}, {1: "file 17"})


def events(*rows: tuple[int, ...]) -> np.ndarray:
    """Events (seq, time, cpu, kind, a, b, c, d)."""
    return frozen(np.array(list(rows), EVENT_DTYPE))


# -- numbers


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (bytes_of_frames(1), "4 KiB"),
        (bytes_of_frames(512), "2 MiB"),
        (bytes_of_frames(262_144), "1 GiB"),
        (bytes_of_frames(384), "1.5 MiB"),
        (bytes_of_frames(16_777_216), "64 GiB"),
        (duration(900), "900 ns"),
        (duration(3_100_000), "3.1 ms"),
        (duration(150_000), "150 µs"),
        (duration(2_500_000_000), "2.5 s"),
        (instant(12_804_311_999), "12.804 311"),
        (instant(5_000), "0.000 005"),
        (rate(0), "full speed"),
        (rate(30_000), "30 k/s"),
        (percent(1, 1000), "<1 %"),
        (percent(0, 1000), "0 %"),
        (percent(1, 0), "–"),
    ],
)
def test_numbers_as_people_read_them(said: str, expected: str) -> None:
    assert said == expected


# -- contiguity


def test_bars_count_what_can_be_given_out() -> None:
    shot = snapshot()
    zone = shot.zones[0]._replace(free_area=tuple((n, 0, 0, 0, 0) for n in (4, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0)))
    bars = contiguity(snapshot(zones=(zone,), possible=(16, 8, 4, 2, 1, 0, 0, 0, 0, 0, 0)))
    assert bars is not None
    assert bars.now == (12, 4, 1, 0, 0, 0, 0, 0, 0, 0, 0)
    assert bars.now_share == (0.75, 0.5, 0.25, 0, 0, 0, 0, 0, 0, 0, 0)
    assert bars.possible_share[:6] == (1, 1, 1, 1, 1, 0)
    assert bars.unusable[0] == 0
    assert bars.unusable[3] == 1000
    assert bars.sentence(1) == "order 1 (8 KiB): 4 blocks now, 8 if movable objects moved; unusable index 0.33"


def test_a_source_without_zones_has_no_bars() -> None:
    assert contiguity(empty_snapshot()) is None


@given(st.lists(st.integers(0, 1000), min_size=11, max_size=11))
def test_the_first_bar_is_all_of_free_memory_and_none_is_higher(nr_free: list[int]) -> None:
    zone = snapshot().zones[0]._replace(free_area=tuple((n,) for n in nr_free))
    bars = contiguity(snapshot(zones=(zone,), possible=()))
    assert bars is not None
    assert bars.now[0] == sum(n << order for order, n in enumerate(nr_free))
    assert all(a >= b for a, b in zip(bars.now_share, bars.now_share[1:], strict=False))
    assert bars.now[10] == nr_free[10]


# -- history and curves


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
    )
    history.add(snapshot(events=rows))
    assert [(m.kind, m.order, m.seq) for m in history.markers] == [(FAILED, 9, 1), (DEFRAG, -1, 3), (SUCCESS, 9, 4)]


def test_a_curve_keeps_its_peaks_however_narrow_it_is() -> None:
    times = np.arange(100_000, dtype=np.int64)
    values = np.zeros(100_000, np.int16)
    values[77_777] = 1000
    points = peaks(times, values, 0, 100_000, 200)
    assert len(points) <= 400
    assert points[:, 1].max() == 1000
    assert abs(points[np.argmax(points[:, 1]), 0] - 155.5) <= 1


def test_a_short_curve_is_drawn_as_it_is() -> None:
    times = np.array([0, 50, 100], np.int64)
    points = peaks(times, np.array([0, 500, 1000], np.int16), 0, 100, 200)
    assert points.tolist() == [[0, 0], [100, 500], [200, 1000]]


@pytest.mark.parametrize(("begin", "end", "width"), [(0, 0, 100), (5, 4, 100), (0, 10, 0)])
def test_a_curve_of_no_extent_has_no_points(begin: int, end: int, width: int) -> None:
    assert peaks(np.array([1], np.int64), np.array([1], np.int16), begin, end, width).shape == (0, 2)


# -- request anatomy


def test_a_request_is_taken_apart() -> None:
    stages = (
        Stage("fast path", "no free block ≥ 9 in Normal", 1000, 2000, False),
        Stage("compaction", "", 2000, 4000, True, (("moved", 9802),),
              (("xa_node", 340, 340 << 21 | 584), ("dentry", 3, 1540))),
        Stage("retry", "pfn 0x2c200", 4000, 5000, True, (), (("dentry", 3, 1540),)),
    )  # fmt: skip
    shown = anatomy(RequestAnatomy(1, 9, "GFP_KERNEL", 0x2C200, 1000, 5000, "It went well.", stages))
    assert (shown.title, shown.subtitle) == ("Request: order 9, GFP_KERNEL", "✓ succeeded after 4 µs")
    assert [(row.begin, row.end) for row in shown.rows] == [(0, 0.25), (0.25, 0.75), (0.75, 1)]
    assert [row.tone for row in shown.rows] == ["bad", "muted", "muted"]
    assert shown.rows[1].words == "moved 9,802"
    assert shown.pins == (Pin("xa_node in block 340", 340 << 9), Pin("dentry in block 3", 1540))


def test_a_request_that_took_no_time_can_be_drawn() -> None:
    shown = anatomy(
        RequestAnatomy(1, 4, "GFP_ATOMIC", -1, 7, 7, "It failed.", (Stage("fast path", "none", 7, 7, False),))
    )
    assert shown.subtitle == "✗ failed after 0 ns"
    assert (shown.rows[0].begin, shown.rows[0].end) == (0, 0)


# -- events


def test_every_kind_of_event_has_words_of_its_own() -> None:
    said = {kind: text_of(kind, (5, 4097, 2, 1), NAMES) for kind in trace.NAMES}
    assert not [text for text in said.values() if text.startswith("event ")]
    assert len(set(said.values())) == len(said)
    assert text_of(999, (1, 2, 3, 4), NAMES) == "event 999: 1, 2, 3, 4"


@pytest.mark.parametrize(
    ("kind", "arguments", "text", "tone", "pfn", "cache"),
    [
        (trace.REQUEST_END, (9, 0, 3_100_000, 0), "request of order 9 ✗ failed after 3.1 ms", "bad", -1, -1),
        (trace.REQUEST_END, (9, 181_761, 3_100_000, 0), "request of order 9 ✓ pfn 0x2c600, after 3.1 ms",
         "good", 0x2C600, -1),
        (trace.SLAB_DISCARD, (0x2A964, 2, 1, 0), "slab of xa_node emptied: 4 pages freed, pfn 0x2a964",
         "good", 0x2A964, 1),
        (trace.XA_NODE_MOVED, (0x1000, 0x2C200_248, 1, 0x4C0), "xa_node moved: file 17 [0x4c0] → 0x2c200248",
         "moved", 0x2C200, -1),
        (trace.RCU_GP_END, (117, 64, 0, 0), "RCU: grace period 117 ended, 64 callbacks", "plain", -1, -1),
        (trace.OBJECT_EVICTED, (0x5000, 2, 0, 0), "dentry object evicted: 0x5000", "moved", 5, 2),
    ],
)  # fmt: skip
def test_events_in_words(
    kind: int, arguments: tuple[int, int, int, int], text: str, tone: str, pfn: int, cache: int
) -> None:
    assert text_of(kind, arguments, NAMES) == text
    assert tone_of(kind, arguments) == tone
    assert pfn_of(kind, arguments) == pfn
    assert cache_of(kind, arguments) == cache


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
