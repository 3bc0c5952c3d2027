"""What callers of the page allocator see, and what check() finds."""

from __future__ import annotations

import pytest

from memviz.kernel import buddy
from memviz.kernel.page import (
    GFP_ATOMIC,
    GFP_HIGHUSER_MOVABLE,
    GFP_KERNEL,
    GFP_RECLAIMABLE,
    MIGRATE_HIGHATOMIC,
    MIGRATE_ISOLATE,
    MIGRATE_MOVABLE,
    MIGRATE_RECLAIMABLE,
    MIGRATE_UNMOVABLE,
    OWNER_FREE,
    OWNER_KERNEL,
    OWNER_PAGE_CACHE,
    PG_HEAD,
    PG_LRU,
)
from memviz.kernel.smp import KernelBug
from memviz.kernel.trace import MM_PAGE_ALLOC, MM_PAGE_FREE

U, M, R, H, ISO = MIGRATE_UNMOVABLE, MIGRATE_MOVABLE, MIGRATE_RECLAIMABLE, MIGRATE_HIGHATOMIC, MIGRATE_ISOLATE
NORMAL_PFN = 64 * 256  # where zone Normal begins in these machines
BLOCK = NORMAL_PFN  # a pageblock to lay things out in, its free part chosen by the test
GFP_OF = {U: GFP_KERNEL, M: GFP_HIGHUSER_MOVABLE, R: GFP_KERNEL | GFP_RECLAIMABLE}


# -- avoiding fragmentation by zone ----------------------------------------------------------------------------------


def spill_machine(Bare):
    """Normal: half a movable pageblock is free. DMA32: the same, but of the unmovable kind."""
    bare = Bare().no_watermarks()
    bare.fill_block(BLOCK, M, 256, 0)
    low = bare.pa.zones[1]
    at = 40 * 256
    bare.mem.pageblock_mt[at >> 9] = U
    for frame in range(at, at + 512):
        bare.mem.flags[frame] = 0
    bare.mem.set_owner(at, 9, OWNER_FREE)
    buddy.free_one_page(low, at, 9, U)
    return bare, at


def test_zone_spill_avoids_fragmenting_normal_while_dma32_can_serve(Bare):
    bare, at = spill_machine(Bare)
    assert bare.pa.alloc_pages(4, GFP_KERNEL) == at
    assert bare.extfrag() == []


def test_zone_spill_is_retried_without_nofragment(Bare):
    bare, _ = spill_machine(Bare)
    while (pfn := bare.pa.alloc_pages(4, GFP_KERNEL)) is not None and pfn < NORMAL_PFN:
        pass
    assert pfn == BLOCK  # nothing is left in DMA32: now Normal is fragmented after all
    assert bare.mem.pageblock_mt[BLOCK >> 9] == U


# -- what callers see ------------------------------------------------------------------------------------------------


def test_a_block_carries_its_owner_and_the_time_on_every_frame(machine):
    pa = machine()
    pa.smp.advance(5_000_000)
    pfn = pa.alloc_pages(3, GFP_HIGHUSER_MOVABLE, OWNER_PAGE_CACHE)
    assert set(pa.mem.owner[pfn : pfn + 8]) == {OWNER_PAGE_CACHE}
    assert set(pa.mem.stamp[pfn : pfn + 8]) == {5}
    assert list(pa.mem.flags[pfn : pfn + 8]) == [PG_HEAD] + [0] * 7
    assert pfn % 8 == 0


def test_bulk_events_say_frame_order_type_and_mask(machine):
    pa = machine()
    pa.trace.bulk = True
    pfn = pa.alloc_pages(4, GFP_KERNEL | GFP_RECLAIMABLE)
    pa.free_pages(pfn, 4)
    events = [event[3:] for event in pa.trace.bulk_ring]
    assert events == [(MM_PAGE_ALLOC, pfn, 4, R, GFP_KERNEL | GFP_RECLAIMABLE), (MM_PAGE_FREE, pfn, 4, 0, 0)]
    counters = pa.vmstat_counters()
    assert (counters["pgalloc_normal"], counters["pgfree"]) == (16, 16)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda pa, pfn: pa.free_pages(pfn, 1), "was allocated with order 2"),
        (lambda pa, pfn: pa.free_pages(pfn + 1, 0), "no allocated block begins there"),
        (lambda pa, pfn: (pa.free_pages(pfn, 2), pa.free_pages(pfn, 2)), r"not allocated \(per-CPU list\)"),
        (lambda pa, pfn: (pa.free_pages(pfn, 2), pa.drain_all_pages(), pa.free_pages(pfn, 2)), "free already"),
        (lambda pa, pfn: pa.free_pages(0, 0), r"never allocated \(reserved\)"),
        (lambda pa, pfn: pa.free_pages(1 << 30, 0), "memory ends at 32768"),
        (lambda pa, pfn: pa.free_pages(-1, 0), "memory ends at 32768"),
    ],
)
def test_freeing_wrongly_is_a_bad_page(spoil, words, machine):
    pa = machine()
    pfn = pa.alloc_pages(2)
    with pytest.raises(KernelBug, match=words) as caught:
        spoil(pa, pfn)
    assert caught.value.rule == "bad page"
    assert caught.value.stacks


def test_freeing_a_page_that_is_still_on_an_lru_list_is_a_bad_page(machine):
    pa = machine()
    pfn = pa.alloc_pages(0)
    pa.mem.flags[pfn] |= PG_LRU
    with pytest.raises(KernelBug, match="flags 0x4 are still set"):
        pa.free_pages(pfn, 0)


def test_a_sleeping_allocation_in_atomic_context_is_reported(machine):
    pa = machine()
    pa.smp.irq_disable()
    with pytest.raises(KernelBug, match="sleeping function called from invalid context"):
        pa.alloc_pages(0, GFP_KERNEL)
    assert pa.alloc_pages(0, GFP_ATOMIC) is not None
    pa.smp.irq_enable()


@pytest.mark.parametrize("order", [-1, 11])
def test_an_impossible_order_is_refused_in_words(order, machine):
    with pytest.raises(ValueError, match=f"order {order} is not between 0 and 10"):
        machine().alloc_pages(order)


def test_split_page_makes_single_pages_that_are_freed_one_by_one(machine):
    pa = machine()
    pfn = pa.alloc_pages(4)
    pa.split_page(pfn, 4)
    for frame in range(pfn, pfn + 16):
        pa.free_pages(frame, 0)
    pa.drain_all_pages()
    assert pa.nr_free_pages == pa.managed
    pa.check()


# -- check() finds what is wrong -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda pa, z, p: z.free_area[10][M].remove(p), "are on free lists"),
        (lambda pa, z, p: setattr(z, "nr_free", z.nr_free - 1), "the counters say"),
        (lambda pa, z, p: pa.mem.owner.__setitem__(p + 5, OWNER_KERNEL), "more than one owner"),
        (lambda pa, z, p: pa.mem.flags.__setitem__(p + 5, PG_HEAD), "another block begins"),
        (lambda pa, z, p: pa.mem.pageblock_mt.__setitem__(p >> 9, U), "whose type is Unmovable"),
        (lambda pa, z, p: pa.mem.order.__setitem__(p, 9), "has flags 0x3 and order 9"),
        (lambda pa, z, p: z.pcp[0].lists[0].append(p), "per-CPU list of CPU 0: frame"),
        (lambda pa, z, p: setattr(z.pcp[0], "count", z.pcp[0].count + 1), "the counter says"),
        (lambda pa, z, p: pa.mem.flags.__setitem__(pa.alloc_pages(4), 0), "belongs to no block: it is lost"),
        (lambda pa, z, p: z.free_area[3][U].tail.__setitem__(p, None), "list of order 3 Unmovable"),
    ],
)
def test_check_names_what_is_wrong(spoil, words, machine):
    pa = machine()
    zone = pa.zones[2]
    pa.alloc_pages(0)
    pa.check()
    spoil(pa, zone, zone.free_area[10][M].pfns()[-1])
    with pytest.raises(AssertionError, match=words):
        pa.check()
