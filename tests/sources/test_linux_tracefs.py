"""The raw ring buffer: sub-buffers built by hand as the kernel builds them, and damaged ones."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memviz.kernel import page, trace
from memviz.sources.linux_deltas import apply_events, guess_owners
from memviz.sources.linux_sweep import ALLOCATED, FREED, IN_BUDDY, UNIT, FrameMap
from memviz.sources.linux_tracefs import RingReader, TraceFormatError, parse_format

COMMON = """\
\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;
\tfield:unsigned char common_flags;\toffset:2;\tsize:1;\tsigned:0;
\tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;

"""
ALLOC = (
    "name: mm_page_alloc\nID: 653\nformat:\n"
    + COMMON
    + """\
\tfield:unsigned long pfn;\toffset:8;\tsize:8;\tsigned:0;
\tfield:unsigned int order;\toffset:16;\tsize:4;\tsigned:0;
\tfield:unsigned long gfp_flags;\toffset:24;\tsize:8;\tsigned:0;
\tfield:int migratetype;\toffset:32;\tsize:4;\tsigned:1;

print fmt: "x", {( unsigned long)(( gfp_t)(((((1UL))) << (10))|((((1UL))) << (11)))), "__GFP_RECLAIM"}, \
{( unsigned long)(( gfp_t)((((1UL))) << (3))), "__GFP_MOVABLE"}, \
{( unsigned long)(( gfp_t)((((1UL))) << (8))), "__GFP_ZERO"}, {(unsigned long)((gfp_t)0x40000u), "__GFP_COMP"}
"""
)
FREE = (
    "name: mm_page_free\nID: 655\nformat:\n"
    + COMMON
    + """\
\tfield:unsigned long pfn;\toffset:8;\tsize:8;\tsigned:0;
\tfield:unsigned int order;\toffset:16;\tsize:4;\tsigned:0;
"""
)
OBJECT = (
    "name: kmem_cache_free\nID: 656\nformat:\n"
    + COMMON
    + """\
\tfield:unsigned long call_site;\toffset:8;\tsize:8;\tsigned:0;
\tfield:const void * ptr;\toffset:16;\tsize:8;\tsigned:0;
\tfield:__data_loc char[] name;\toffset:24;\tsize:4;\tsigned:0;
"""
)
FORMATS = {"kmem/mm_page_alloc": ALLOC, "kmem/mm_page_free": FREE, "kmem/kmem_cache_free": OBJECT}
MOVABLE_ZERO = 1 << 3 | 1 << 8


def record(body: bytes, delta: int = 1) -> bytes:
    """One record of up to 112 bytes."""
    body += bytes(-len(body) % 4)
    return struct.pack("<I", delta << 5 | len(body) // 4) + body


def alloc(pfn: int, order: int = 0, gfp: int = MOVABLE_ZERO, migratetype: int = 1, delta: int = 1) -> bytes:
    return record(struct.pack("<HBBiQIIQi", 653, 0, 0, 7, pfn % 2**64, order, 0, gfp, migratetype), delta)


def free(pfn: int, order: int = 0, delta: int = 1) -> bytes:
    return record(struct.pack("<HBBiQI", 655, 0, 0, 7, pfn, order), delta)


def sub_buffer(*records: bytes, time: int = 1000, missed: int = 0) -> bytes:
    body = b"".join(records)
    commit = len(body)
    if missed:
        commit |= 3 << 30
        body += struct.pack("<Q", missed)
    return (struct.pack("<QQ", time, commit) + body).ljust(4096, b"\0")


def rows(events: np.ndarray) -> list[tuple[int, ...]]:
    return [tuple(row) for row in events[["time", "cpu", "kind", "a", "b", "c", "d"]].tolist()]


def test_records_become_events_in_the_order_of_time() -> None:
    ring = RingReader(FORMATS)
    events, _ = ring.decode(
        [(0, sub_buffer(alloc(0x100), free(0x100, delta=20))), (3, sub_buffer(alloc(0x200, 9, gfp=1 << 18, delta=5)))]
    )
    gfp = page.GFP_MOVABLE | page.GFP_ZERO
    assert rows(events) == [
        (0, 0, trace.MM_PAGE_ALLOC, 0x100, 0, 1, gfp),
        (4, 3, trace.MM_PAGE_ALLOC, 0x200, 9, 1, page.GFP_COMP),
        (20, 0, trace.MM_PAGE_FREE, 0x100, 0, 0, 0),
    ]
    assert events["seq"].tolist() == [1, 2, 3]
    later, _ = ring.decode([(0, sub_buffer(free(1), time=5000))])
    assert rows(later) == [(5001 - 1001, 0, trace.MM_PAGE_FREE, 1, 0, 0, 0)]
    assert later["seq"].tolist() == [4]


def test_a_request_that_got_nothing_is_a_failure() -> None:
    events, _ = RingReader(FORMATS).decode([(0, sub_buffer(alloc(-1, 4)))])
    assert rows(events)[0][2:5] == (trace.ALLOC_FAILED, 4, page.GFP_MOVABLE | page.GFP_ZERO)


def test_records_of_time_and_padding_are_no_events() -> None:
    extend = struct.pack("<II", 30 | 5 << 5, 2)  # 5 + (2 << 27) ns
    stamp = struct.pack("<II", 31 | 7 << 5, 1 << 10)
    discarded = struct.pack("<II", 29 | 1 << 5, 8) + bytes(4)
    rest = struct.pack("<I", 29)
    ring = RingReader(FORMATS)
    events, _ = ring.decode(
        [(0, sub_buffer(free(1), extend, free(2), discarded, free(3), stamp, free(4), rest, free(5)))]
    )
    assert events["a"].tolist() == [1, 2, 3, 4]
    assert ring.start == 1001
    times = (events["time"] + ring.start).tolist()
    assert times[:2] == [1001, 1001 + 5 + (2 << 27) + 1]
    assert times[3] == (1 << 37) + 7 + 1


def test_a_record_longer_than_its_word_can_say() -> None:
    body = struct.pack("<HBBiQI", 655, 0, 0, 7, 42, 0) + bytes(160)
    long = struct.pack("<II", 1 << 5, len(body) + 4) + body
    events, _ = RingReader(FORMATS).decode([(0, sub_buffer(long, free(43)))])
    assert events["a"].tolist() == [42, 43]


def test_lost_events_are_counted() -> None:
    ring = RingReader(FORMATS)
    ring.decode([(0, sub_buffer(free(1), missed=0)), (1, sub_buffer(free(1), free(2), missed=17))])
    assert ring.missed == 17


def test_objects_tell_their_address_and_cache() -> None:
    name = b"dentry\0"
    body = struct.pack("<HBBiQQI", 656, 0, 0, 7, 1, 0xFFFF888012345678, len(name) << 16 | 28) + name
    _, sample = RingReader(FORMATS).decode([(0, sub_buffer(record(body)))])
    assert (sample.addresses.tolist(), sample.names) == ([0xFFFF888012345678], ("dentry",))


def test_offsets_come_from_the_format_files() -> None:
    moved = FREE.replace("pfn;\toffset:8", "pfn;\toffset:16").replace("order;\toffset:16", "order;\toffset:8")
    body = struct.pack("<HBBiIIQ", 655, 0, 0, 7, 3, 0, 77)
    events, _ = RingReader({"kmem/mm_page_free": moved}).decode([(0, sub_buffer(record(body)))])
    assert rows(events)[0][2:5] == (trace.MM_PAGE_FREE, 77, 3)


def test_a_format_without_a_field_that_is_needed_is_named() -> None:
    with pytest.raises(TraceFormatError, match="no 'pfn'"):
        RingReader({"kmem/mm_page_free": FREE.replace(" pfn;", " page;")}).decode([(0, sub_buffer(free(1)))])
    with pytest.raises(TraceFormatError, match="no ID"):
        parse_format("garbage")


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=300), st.integers(0, 2**64 - 1))
def test_damaged_buffers_end_quietly(garbage: bytes, commit: int) -> None:
    ring = RingReader(FORMATS)
    events, _ = ring.decode([(0, (struct.pack("<QQ", 1, commit) + garbage).ljust(4096, b"\xff")), (1, b"short")])
    assert events.size <= 1024


# -- events to the map


def events_of(*records: bytes) -> np.ndarray:
    return RingReader(FORMATS).decode([(0, sub_buffer(*records))])[0]


def test_the_last_event_of_a_page_frame_counts() -> None:
    frames = FrameMap(2 * UNIT)
    units = apply_events(frames, events_of(alloc(8, 1), free(8, 1), alloc(9), free(12), alloc(12), free(1030)), 55)
    assert units.tolist() == [0, 1]
    assert frames.owner[[8, 9, 12, 1030]].tolist() == [
        page.OWNER_PCP,
        page.OWNER_PAGE_CACHE,
        page.OWNER_PAGE_CACHE,
        page.OWNER_PCP,
    ]
    assert frames.traced[[8, 9, 12, 1030]].tolist() == [FREED, ALLOCATED, ALLOCATED, FREED]
    assert frames.stamp[[8, 9]].tolist() == [0, 55]
    assert frames.dirty[:2].all()


@pytest.mark.parametrize(
    ("order", "gfp", "owner"),
    [
        (0, page.GFP_HIGHUSER_MOVABLE | page.GFP_COMP | page.GFP_ZERO, page.OWNER_ANON),
        (0, page.GFP_HIGHUSER_MOVABLE & ~page.GFP_FS | page.GFP_NORETRY | page.GFP_NOWARN, page.OWNER_PAGE_CACHE),
        (9, page.GFP_TRANSHUGE, page.OWNER_HUGE),
        (1, page.GFP_KERNEL | page.GFP_RECLAIMABLE | page.GFP_COMP, page.OWNER_SLAB),
        (0, page.GFP_KERNEL | page.GFP_COMP | page.GFP_NORETRY | page.GFP_NOWARN, page.OWNER_SLAB),
        (0, page.GFP_KERNEL_ACCOUNT | page.GFP_COMP | page.GFP_ZERO, page.OWNER_PAGE_TABLE),
        (0, page.GFP_NOFS | page.GFP_COMP | page.GFP_NOFAIL, page.OWNER_PAGE_CACHE),
        (2, page.GFP_KERNEL, page.OWNER_KERNEL),
    ],
)
def test_whom_an_allocation_is_for_as_its_flags_tell(order: int, gfp: int, owner: int) -> None:
    assert guess_owners(np.array([order]), np.array([gfp])).tolist() == [owner]


def test_blocks_that_go_back_to_the_buddy_allocator_merge() -> None:
    frames = FrameMap(UNIT)
    apply_events(frames, events_of(free(32, 4), free(48, 4)), 1)
    assert int(frames.order[32]) == 5
    assert (frames.traced[32:64] == IN_BUDDY).all()
    assert int(frames.flags[32]) & page.PG_BUDDY
    apply_events(frames, events_of(alloc(32, 0)), 2)
    assert frames.order[[32, 33, 34, 36, 40, 48]].tolist() == [0, 0, 1, 2, 3, 4]


def test_events_beyond_memory_change_nothing() -> None:
    frames = FrameMap(UNIT)
    before = frames.owner.copy()
    assert apply_events(frames, events_of(alloc(UNIT - 1, 3), alloc(1 << 50), free(5, 40)), 1).size == 0
    assert (frames.owner == before).all()
