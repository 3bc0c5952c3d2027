"""A chosen range: emptied and handed over, or everything as it was and a name for who is in the way."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memviz.kernel.page import (
    GFP_KERNEL,
    MIGRATE_ISOLATE,
    MIGRATE_UNMOVABLE,
    OWNER_FREE,
    OWNER_HUGE,
    OWNER_PAGE_CACHE,
    OWNER_PINNED,
    OWNER_SLAB,
    PG_HEAD,
    PG_PINNED,
)
from memviz.kernel.page_isolation import EBUSY, EINVAL
from memviz.kernel.trace import ALLOC_CONTIG

START = 20 * 512
END = START + 512


def half_full(tiny: Any, mib: int = 64) -> tuple[Any, Any]:
    """A machine whose every frame but the odd ones holds a page."""
    k = tiny(mib=mib)
    file = k.file()
    k.checkerboard(file)
    return k, file


def free_sets(k: Any) -> list[set[int]]:
    """All free lists, as sets."""
    return [set(lst.pfns()) for zone in k.page_alloc.zones for area in zone.free_area for lst in area]


def first_page(k: Any, start: int, end: int) -> int:
    """The first frame in a range with a page of a file."""
    return next(pfn for pfn in range(start, end) if k.mem.owner[pfn] == OWNER_PAGE_CACHE)


def test_a_range_of_movable_pages_is_emptied_and_owned(tiny: Any) -> None:
    k, file = half_full(tiny)
    before = set(file.pages)
    result = k.isolation.alloc_contig_range(START, END, OWNER_PINNED)
    assert result.ok
    assert result.migrated == 256
    assert result.sentence == "Pages 0x2800 to 0x2a00 are contiguous: 256 pages moved, 0 slabs evacuated."
    assert k.mem.owner[START:END] == bytes([OWNER_PINNED]) * 512
    assert k.mem.flags[START:END] == bytes([PG_HEAD]) * 512
    assert set(file.pages) == before
    assert not any(START <= pfn < END for pfn in file.pages.values())
    k.check()
    k.isolation.free_contig_range(START, 512)
    k.page_alloc.drain_all_pages()
    assert k.mem.owner.count(OWNER_FREE, START, END) == 512
    k.check()


def test_a_range_need_not_be_a_pageblock(tiny: Any) -> None:
    k, _ = half_full(tiny)
    free = k.free_frames()
    result = k.isolation.alloc_contig_range(START + 100, START + 133)
    assert result.ok
    assert result.migrated == 17
    assert k.free_frames() == free - 33
    assert MIGRATE_ISOLATE not in k.mem.pageblock_mt
    k.check()


def test_a_range_over_two_blocks_of_other_types_gives_the_types_back(tiny: Any) -> None:
    k, _ = half_full(tiny)
    zone = k.page_alloc.page_zone(START)
    for pfn in range(START, END, 512):
        for order in range(11):
            for at in zone.free_area[order][1].pfns():
                if at >> 9 == pfn >> 9:
                    zone.free_area[order][1].remove(at)
                    zone.free_area[order][MIGRATE_UNMOVABLE].tail[at] = None
        k.mem.pageblock_mt[pfn >> 9] = MIGRATE_UNMOVABLE
    types = bytes(k.mem.pageblock_mt)
    assert k.isolation.alloc_contig_range(START + 400, END + 400).ok
    assert bytes(k.mem.pageblock_mt) == types
    k.check()


def test_what_stays_is_named_and_everything_is_as_before(tiny: Any) -> None:
    k, file = half_full(tiny)
    pfn = first_page(k, END + 512, END + 1024)
    k.slab(pfn)
    k.compaction.pins.slab_name = lambda pfn: "dentry" if k.mem.owner[pfn] == OWNER_SLAB else ""
    before = (free_sets(k), bytes(k.mem.owner), bytes(k.mem.flags), bytes(k.mem.pageblock_mt), dict(file.pages))
    result = k.isolation.alloc_contig_range(START, END + 1024)
    assert (result.ok, result.errno) == (False, EBUSY)
    assert result.in_the_way == [("dentry", pfn >> 9, pfn)]
    assert result.sentence == f"Pages 0x2800 to 0x2e00 cannot be emptied: dentry at pfn {pfn:#x} stays."
    assert (
        free_sets(k), bytes(k.mem.owner), bytes(k.mem.flags), bytes(k.mem.pageblock_mt), dict(file.pages)
    ) == before  # fmt: skip
    k.check()
    assert [event[4:7] for event in k.smp.trace.notable if event[3] == ALLOC_CONTIG] == [(START, 1536, EBUSY)]


def test_a_busy_page_fails_the_range_after_five_passes_and_nothing_is_lost(tiny: Any) -> None:
    k, file = half_full(tiny)
    pfn = first_page(k, START, END)
    _, index = k.index_at(pfn)
    file.busy.add(index)
    free = k.free_frames()
    result = k.isolation.alloc_contig_range(START, END)
    assert not result.ok
    assert result.in_the_way == [("page cache", pfn >> 9, pfn)]
    assert k.free_frames() == free
    assert MIGRATE_ISOLATE not in k.mem.pageblock_mt
    k.check()


@pytest.mark.parametrize("kind", ["pinned", "huge", "kernel"])
def test_pages_that_no_one_can_move_refuse_at_once(tiny: Any, kind: str) -> None:
    k, _ = half_full(tiny)
    pfn = first_page(k, START, END)
    name = {"pinned": "page cache", "huge": "huge page", "kernel": "unmovable"}[kind]
    if kind == "pinned":
        k.mem.flags[pfn] |= PG_PINNED
    else:
        k.slab(pfn)
        k.mem.owner[pfn] = OWNER_HUGE if kind == "huge" else 8
    result = k.isolation.alloc_contig_range(START, END)
    assert result.in_the_way == [(name, pfn >> 9, pfn)]
    assert result.migrated == 0
    k.check()


def test_movable_slabs_leave_when_they_may_be_asked(tiny: Any) -> None:
    k, _ = half_full(tiny)
    for at in range(START, START + 64, 8):
        k.slab(first_page(k, at, at + 8))
    assert not k.isolation.alloc_contig_range(START, END).ok

    def evacuate(pfn: int) -> bool:
        k.page_alloc.free_pages(pfn, 0)
        return True

    k.compaction.isolate_slab = evacuate
    result = k.isolation.alloc_contig_range(START, END)
    assert result.ok
    assert (result.slabs_evacuated, result.migrated) == (8, 248)
    k.check()


def test_a_slab_that_refuses_is_named(tiny: Any) -> None:
    k, _ = half_full(tiny)
    pfn = first_page(k, START, END)
    k.slab(pfn)
    k.compaction.isolate_slab = lambda pfn: False
    result = k.isolation.alloc_contig_range(START, END)
    assert result.in_the_way == [("other slab", pfn >> 9, pfn)]
    k.check()


def test_any_range_the_cheapest_first(tiny: Any) -> None:
    k, file = half_full(tiny)
    for pfn in range(START, END):
        if k.mem.owner[pfn] == OWNER_PAGE_CACHE and pfn != START + 6:
            file.drop(k.index_at(pfn)[1])
    k.page_alloc.drain_all_pages()
    whole = [start for cost, start in k.isolation.candidates(512) if cost == 0]
    for start in whole:
        assert k.isolation.alloc_contig_range(start, start + 512).ok
    result = k.isolation.alloc_contig(512)
    assert (result.start, result.migrated) == (START, 1)
    k.check()


def test_ranges_beyond_the_largest_order(tiny: Any) -> None:
    k, _ = half_full(tiny)
    result = k.isolation.alloc_contig(2048)
    assert result.ok
    assert result.start % 2048 == 0
    assert set(k.mem.owner[result.start : result.end]) == {8}
    k.check()


def test_when_no_range_can_be_had_the_nearest_one_says_why(tiny: Any) -> None:
    k, _ = half_full(tiny)
    for block in range(k.mem.nr_blocks):
        for start in range(block * 512, block * 512 + 512):
            if k.mem.owner[start] == OWNER_PAGE_CACHE:
                k.slab(start)
                break
    while k.page_alloc.alloc_pages(9, GFP_KERNEL & ~0x400) is not None:
        pass
    result = k.isolation.alloc_contig(512)
    assert not result.ok
    assert {name for name, _, _ in result.in_the_way} == {"other slab"}
    assert result.sentence.startswith(
        "Every range of 512 pages holds something that stays; in the nearest it is other slab"
    )
    k.check()


def test_impossible_ranges_are_refused_in_words(tiny: Any) -> None:
    k, _ = half_full(tiny)
    for start, end in ((END, START), (-1, 4), (START, 1 << 40), (4000, 5000)):
        result = k.isolation.alloc_contig_range(start, end)
        assert result.errno == EINVAL
        assert "choose another range" in result.sentence
    with pytest.raises(ValueError, match="ask for one at least"):
        k.isolation.alloc_contig(0)


@settings(max_examples=12)
@given(seed=st.integers(0, 1 << 16), ranges=st.lists(st.tuples(st.integers(0, 8191), st.integers(1, 1500)), max_size=8))
def test_frames_are_conserved_whatever_is_asked_for(tiny: Any, seed: int, ranges: list[tuple[int, int]]) -> None:
    k = tiny(mib=32, seed=seed)
    file = k.file()
    k.checkerboard(file, keep=3 + seed % 3)
    indexes = set(file.pages)
    for pfn in list(file.pages.values())[seed % 50 :: 997]:
        k.mem.flags[pfn] |= PG_PINNED
    used = k.page_alloc.managed - k.free_frames()
    held = 0
    for start, nr_pages in ranges:
        if k.isolation.alloc_contig_range(start, start + nr_pages).ok:
            held += nr_pages
        k.check()
        assert k.page_alloc.managed - k.free_frames() == used + held
        assert MIGRATE_ISOLATE not in k.mem.pageblock_mt
    assert set(file.pages) == indexes
