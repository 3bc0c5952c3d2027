"""The rules of the page allocator, each tested on free lists laid out by hand and named after what it says."""

from __future__ import annotations

import pytest

from memviz.kernel import buddy, fallback
from memviz.kernel.mmzone import (
    ALLOC_HIGHATOMIC,
    ALLOC_KSWAPD,
    ALLOC_MIN_RESERVE,
    ALLOC_NOFRAGMENT,
    ALLOC_NON_BLOCK,
    ALLOC_OOM,
    FreeList,
    PageAllocConfig,
)
from memviz.kernel.page import (
    GFP_ATOMIC,
    GFP_DMA,
    GFP_DMA32,
    GFP_HIGHUSER_MOVABLE,
    GFP_KERNEL,
    GFP_NOWAIT,
    GFP_RECLAIMABLE,
    MIGRATE_HIGHATOMIC,
    MIGRATE_ISOLATE,
    MIGRATE_MOVABLE,
    MIGRATE_RECLAIMABLE,
    MIGRATE_UNMOVABLE,
    OWNER_FREE,
    OWNER_KERNEL,
    OWNER_PAGE_CACHE,
    OWNER_PCP,
    OWNER_SLAB,
    PG_HEAD,
    PG_LRU,
    PageFrames,
)
from memviz.kernel.page_alloc import PageAlloc
from memviz.kernel.smp import KernelBug, Smp
from memviz.kernel.trace import HIGHATOMIC, MM_PAGE_ALLOC, MM_PAGE_ALLOC_EXTFRAG, MM_PAGE_FREE, Trace

U, M, R, H, ISO = MIGRATE_UNMOVABLE, MIGRATE_MOVABLE, MIGRATE_RECLAIMABLE, MIGRATE_HIGHATOMIC, MIGRATE_ISOLATE
NORMAL_PFN = 64 * 256  # where zone Normal begins in these machines
BLOCK = NORMAL_PFN  # a pageblock to lay things out in, its free part chosen by the test
GFP_OF = {U: GFP_KERNEL, M: GFP_HIGHUSER_MOVABLE, R: GFP_KERNEL | GFP_RECLAIMABLE}


def machine(mib=128, cpus=1, **config):
    """DMA to 16 MiB, DMA32 to 64 MiB, Normal above."""
    return PageAlloc(PageFrames(mib * 256), Smp(cpus, Trace()), PageAllocConfig(dma32_mib=64, **config))


class Bare:
    """A machine whose zone Normal is all in use, page by page, and whose lower zones have nothing either."""

    def __init__(self, mib=128, cpus=1, **config):
        self.pa = machine(mib, cpus, **config)
        self.mem = self.pa.mem
        self.zone = self.pa.zones[2]
        for zone in self.pa.zones:
            for order in range(11):
                for pfn in zone.free_area[order][M].pfns():
                    self.pa.take_free_block(zone, pfn)
                    self.mem.set_owner(pfn, order, OWNER_KERNEL)
                    if zone is self.zone:
                        self.pa.split_page(pfn, order)
        self.end = NORMAL_PFN + self.zone.managed // 512 * 512

    def no_watermarks(self):
        for zone in self.pa.zones:
            zone.watermark[:] = [-1, -1, -1, -1]
            zone.lowmem_reserve[:] = [0, 0, 0]
        return self

    def block_type(self, pfn, migratetype):
        self.mem.pageblock_mt[pfn >> 9] = migratetype

    def free(self, pfn, order, to_tail=False):
        """Free an aligned range that is in use page by page, as one block, straight to the buddy lists."""
        self.mem.flags[pfn : pfn + (1 << order)] = bytes(1 << order)
        self.mem.set_owner(pfn, order, OWNER_FREE)
        buddy.free_one_page(self.zone, pfn, order, self.mem.pageblock_mt[pfn >> 9], to_tail)

    def fill_block(self, pfn, migratetype, free, movable):
        """A pageblock: ``free`` frames at its start, then ``movable`` LRU pages, the rest unmovable."""
        self.block_type(pfn, migratetype)
        at = pfn
        while at < pfn + free:
            order = min((at & -at).bit_length() - 1, (pfn + free - at).bit_length() - 1)
            self.free(at, order)
            at += 1 << order
        for frame in range(at, at + movable):
            self.mem.flags[frame] |= PG_LRU

    def lists(self, order):
        return [self.zone.free_area[order][mt].pfns() for mt in range(5)]

    def extfrag(self):
        return [event[4:] for event in self.pa.trace.notable if event[3] == MM_PAGE_ALLOC_EXTFRAG]


def take(bare, order, migratetype, flags=0):
    """``__rmqueue()`` on the bare zone."""
    pfn = fallback.rmqueue_locked(bare.zone, order, migratetype, flags)
    if pfn >= 0:
        bare.mem.set_owner(pfn, order, OWNER_KERNEL)
    return pfn


# -- free lists have two ends ----------------------------------------------------------------------------------------


def test_free_list_keeps_list_order_at_both_ends():
    pages = FreeList()
    for pfn in (1, 2):
        pages.head[pfn] = None
    for pfn in (3, 4):
        pages.tail[pfn] = None
    assert pages.pfns() == [2, 1, 3, 4]
    assert (pages.first(), len(pages), 3 in pages, 9 in pages) == (2, 4, True, False)
    pages.remove(2)
    pages.remove(1)
    assert pages.first() == 3  # the tail's turn
    pages.tail[5] = None
    pages.head[6] = None
    assert pages.pfns() == [6, 3, 4, 5]
    for pfn in (3, 4, 5, 6):
        pages.remove(pfn)
    assert pages.first() == -1
    assert pages.empty()
    with pytest.raises(KeyError):
        pages.remove(3)


# -- allocate: __rmqueue_smallest, expand ----------------------------------------------------------------------------


def test_rmqueue_smallest_takes_the_first_order_that_has_a_block():
    bare = Bare()
    bare.free(BLOCK + 8, 2)
    bare.free(BLOCK + 64, 4)
    assert buddy.rmqueue_smallest(bare.zone, 2, M) == BLOCK + 8
    assert buddy.rmqueue_smallest(bare.zone, 2, M) == BLOCK + 64
    assert buddy.rmqueue_smallest(bare.zone, 4, M) == -1
    assert buddy.rmqueue_smallest(bare.zone, 0, U) == -1


def test_rmqueue_smallest_takes_the_head_of_the_list():
    bare = Bare()
    bare.free(BLOCK + 8, 2)
    bare.free(BLOCK + 32, 2)
    bare.free(BLOCK + 64, 2, to_tail=True)
    assert bare.lists(2)[M] == [BLOCK + 32, BLOCK + 8, BLOCK + 64]
    assert [buddy.rmqueue_smallest(bare.zone, 2, M) for _ in range(4)] == [BLOCK + 32, BLOCK + 8, BLOCK + 64, -1]


def test_expand_returns_the_low_half_and_puts_each_upper_half_at_the_list_head():
    bare = Bare()
    bare.free(BLOCK + 256, 1, to_tail=True)
    bare.free(BLOCK, 4)
    before = bare.zone.nr_free
    assert buddy.rmqueue_smallest(bare.zone, 2, M) == BLOCK
    assert bare.lists(3)[M] == [BLOCK + 8]
    assert bare.lists(2)[M] == [BLOCK + 4]
    assert bare.zone.nr_free == before - 4
    assert (bare.mem.order[BLOCK], bare.mem.flags[BLOCK]) == (2, PG_HEAD)
    # One more split: the new half goes before what was on the list.
    assert buddy.rmqueue_smallest(bare.zone, 1, M) == BLOCK + 256
    assert buddy.rmqueue_smallest(bare.zone, 1, M) == BLOCK + 4
    assert bare.lists(1)[M] == [BLOCK + 6]


# -- free: merging ---------------------------------------------------------------------------------------------------


def test_free_merges_while_the_buddy_is_free():
    bare = Bare()
    for pfn in (1, 2, 3):
        bare.free(BLOCK + pfn, 0)
    assert (bare.lists(0)[M], bare.lists(1)[M]) == ([BLOCK + 1], [BLOCK + 2])
    bare.free(BLOCK, 0)
    assert [bare.lists(order)[M] for order in range(3)] == [[], [], [BLOCK]]
    bare.pa.check()


def test_free_does_not_merge_with_a_buddy_of_another_order():
    bare = Bare()
    bare.free(BLOCK + 2, 0)
    bare.free(BLOCK, 1)
    assert (bare.lists(0)[M], bare.lists(1)[M]) == ([BLOCK + 2], [BLOCK])


@pytest.mark.parametrize(
    ("mine", "buddys", "merged"),
    [
        (M, M, M),
        (U, M, U),
        (M, R, M),
        (H, H, H),
        (H, M, None),
        (M, H, None),
        (ISO, M, None),
        (U, ISO, None),
        (ISO, ISO, ISO),
    ],
)
def test_pageblocks_merge_unless_one_of_differing_types_has_no_fallback(mine, buddys, merged):
    bare = Bare()
    first = NORMAL_PFN + 1024
    bare.block_type(first, mine)
    bare.block_type(first + 512, buddys)
    bare.free(first + 512, 9)
    bare.free(first, 9)
    if merged is None:
        assert bare.lists(9)[mine] == [first]
        assert bare.lists(9)[buddys] == [first + 512]
        assert bare.lists(10) == [[]] * 5
    else:
        assert bare.lists(10)[merged] == [first]
        assert list(bare.mem.pageblock_mt[first >> 9 : (first >> 9) + 2]) == [merged, merged]  # the buddy's was retyped
    isolated = 512 * [mine, buddys].count(ISO)
    assert (bare.zone.nr_free, bare.zone.nr_isolate_free) == (1024 - isolated, isolated)


def test_buddy_merge_likely_inserts_at_the_tail():
    bare = Bare()
    bare.free(BLOCK + 128, 0)
    bare.free(BLOCK + 2, 1)  # the order-1 buddy of the pair 0, 1 is free
    bare.free(BLOCK, 0)  # so this one waits for its own buddy, at the tail
    assert bare.lists(0)[M] == [BLOCK + 128, BLOCK]
    bare.free(BLOCK + 64, 0)  # nothing free beside it
    assert bare.lists(0)[M] == [BLOCK + 64, BLOCK + 128, BLOCK]


def test_an_order_10_block_is_freed_pageblock_by_pageblock():
    bare = Bare()
    first = NORMAL_PFN + 1024
    bare.block_type(first + 512, H)
    bare.mem.flags[first : first + 1024] = bytes(1024)
    bare.mem.set_owner(first, 10, OWNER_FREE)
    buddy.free_large_buddy(bare.zone, first, 10)
    assert (bare.lists(9)[M], bare.lists(9)[H], bare.lists(10)) == ([first], [first + 512], [[]] * 5)


# -- fallbacks -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start", "order_of_types"),
    [(U, (R, M)), (M, (R, U)), (R, (U, M))],
)
def test_fallback_order(start, order_of_types):
    for types in (order_of_types, order_of_types[1:]):
        bare = Bare()
        for position, mt in enumerate(types):
            bare.block_type(BLOCK + 512 * position, mt)
            bare.free(BLOCK + 512 * position, 9)
            if position == 0:  # keep the two from merging
                take(bare, 0, mt)
        assert fallback.find_suitable_fallback(bare.zone.free_area[8], 8, start, False) == types[0]


@pytest.mark.parametrize(
    ("order", "start", "worth"),
    [
        (10, M, True), (9, M, True), (4, M, True), (3, M, False), (0, M, False),
        (3, U, True), (0, U, True), (3, R, True), (0, R, True), (9, U, True),
    ],
)  # fmt: skip
def test_should_try_claim_block(order, start, worth):
    assert fallback.should_try_claim_block(order, start) is worth


def test_rmqueue_uses_its_own_list_before_any_fallback():
    bare = Bare()
    bare.free(BLOCK, 9)
    bare.block_type(BLOCK + 1024, U)
    bare.free(BLOCK + 1024, 0)
    assert take(bare, 0, U) == BLOCK + 1024
    assert bare.extfrag() == []


def test_claim_starts_at_the_largest_block():
    bare = Bare()
    bare.free(BLOCK, 8)
    bare.free(BLOCK + 1024, 10)
    assert take(bare, 0, U) == BLOCK + 1024
    assert list(bare.mem.pageblock_mt[(BLOCK + 1024) >> 9 : (BLOCK + 2048) >> 9]) == [U, U]  # both of its pageblocks
    assert bare.mem.pageblock_mt[BLOCK >> 9] == M
    # The rest is ours now, split down to the order asked for.
    assert [len(bare.zone.free_area[order][U]) for order in range(11)] == [1] * 10 + [0]
    # d: start unmovable, fallback movable, ownership changed
    assert bare.extfrag() == [(BLOCK + 1024, 0, 10, U << 8 | M << 4 | 1)]
    bare.pa.check()


# free, movable frames of a pageblock of 512; the rest are others. Claimed iff free + alike >= 256.
HALF_BLOCK = [
    # movable request in someone else's block: movable pages are alike
    (M, U, 256, 0, True), (M, U, 255, 0, False), (M, U, 16, 240, True), (M, U, 16, 239, False), (M, R, 128, 128, True),
    # unmovable or reclaimable request in a movable block: all that is neither free nor movable is alike
    (U, M, 16, 496, False), (U, M, 16, 256, True), (U, M, 16, 257, False), (R, M, 16, 256, True), (R, M, 9, 300, False),
    (U, M, 256, 256, True), (U, M, 1, 0, True),
    # unmovable and reclaimable can't be told apart: only free pages count
    (U, R, 255, 0, False), (U, R, 256, 0, True), (R, U, 255, 257, False), (R, U, 256, 256, True),
]  # fmt: skip


@pytest.mark.parametrize(("start", "block", "free", "movable", "claimed"), HALF_BLOCK)
def test_claim_by_the_half_block_rule(start, block, free, movable, claimed):
    bare = Bare()
    bare.fill_block(BLOCK, block, free, movable)
    assert buddy.count_pageblock(bare.zone, BLOCK) == (free, movable)
    pfn = fallback.rmqueue_claim(bare.zone, 0, start, 0)
    assert (pfn >= 0) is claimed
    assert bare.mem.pageblock_mt[BLOCK >> 9] == (start if claimed else block)
    mine = sum(len(bare.zone.free_area[order][start]) << order for order in range(11))
    others = sum(len(bare.zone.free_area[order][block]) << order for order in range(11))
    assert (mine, others) == ((free - 1, 0) if claimed else (0, free))  # all free pages moved over, or none
    if claimed:
        ((at, alloc_order, fallback_order, types),) = bare.extfrag()
        assert (at, alloc_order, types) == (pfn, 0, start << 8 | block << 4 | 1)
        assert fallback_order < 9  # fragmenting


def test_a_movable_request_does_not_claim_by_a_block_below_order_4():
    bare = Bare()
    bare.block_type(BLOCK, U)
    for at in range(0, 512, 16):  # half the block is free, in pieces of order 3
        bare.free(BLOCK + at, 3)
    assert fallback.rmqueue_claim(bare.zone, 0, M, 0) == -1
    assert fallback.rmqueue_claim(bare.zone, 0, R, 0) >= 0


def test_steal_takes_the_smallest_block_and_leaves_the_rest_as_it_was():
    bare = Bare()
    bare.fill_block(BLOCK, R, 128, 0)
    bare.fill_block(BLOCK + 512, R, 4, 0)
    assert take(bare, 0, M) == BLOCK + 512
    assert list(bare.mem.pageblock_mt[BLOCK >> 9 : (BLOCK >> 9) + 2]) == [R, R]
    assert (bare.lists(0)[R], bare.lists(1)[R]) == ([BLOCK + 513], [BLOCK + 514])
    assert bare.extfrag() == [(BLOCK + 512, 0, 2, M << 8 | R << 4 | 0)]
    bare.pa.check()


def test_claim_comes_before_steal():
    bare = Bare()
    bare.fill_block(BLOCK, R, 4, 0)
    bare.fill_block(BLOCK + 512, R, 256, 0)
    assert take(bare, 0, M) == BLOCK + 512
    assert bare.mem.pageblock_mt[(BLOCK + 512) >> 9] == M


def test_nofragment_claims_whole_pageblocks_only_and_never_steals():
    bare = Bare()
    bare.fill_block(BLOCK, M, 256, 0)
    assert take(bare, 0, U, ALLOC_NOFRAGMENT) == -1
    bare.free(BLOCK + 512, 9)
    assert take(bare, 0, U, ALLOC_NOFRAGMENT) == BLOCK + 512
    assert bare.extfrag() == [(BLOCK + 512, 0, 9, U << 8 | M << 4 | 1)]  # not fragmenting


def test_a_block_at_the_zones_end_is_never_retyped():
    """Zone DMA begins at frame 1, so its first pageblock is not whole."""
    bare = Bare()
    dma = bare.pa.zones[0]
    first = 256
    bare.mem.flags[first : first + 256] = bytes(256)
    bare.mem.set_owner(first, 8, OWNER_FREE)
    buddy.free_one_page(dma, first, 8, M)
    assert fallback.rmqueue_claim(dma, 0, U, 0) == -1
    assert fallback.rmqueue_steal(dma, 0, U) == first
    assert bare.mem.pageblock_mt[0] == M


# -- watermark boost -------------------------------------------------------------------------------------------------


def test_boost_by_a_pageblock_up_to_one_and_a_half_of_high():
    bare = Bare()
    high = bare.zone.watermark_high
    seen = []
    for _ in range(4):
        assert fallback.boost_watermark(bare.zone)
        seen.append(bare.zone.watermark_boost)
    limit = high * 15000 // 10000
    assert seen == [min(512 * n, limit) for n in (1, 2, 3, 4)]
    assert bare.zone.wmark_pages(2) == high + bare.zone.watermark_boost


def test_boost_follows_a_claim_attempt_below_pageblock_order_only():
    bare = Bare()
    bare.free(BLOCK, 9)
    assert take(bare, 0, U) >= 0
    assert bare.zone.watermark_boost == 0
    bare = Bare()
    bare.fill_block(BLOCK + 1024, R, 64, 0)
    assert fallback.rmqueue_claim(bare.zone, 8, M, ALLOC_KSWAPD) == -1
    assert (bare.zone.watermark_boost, bare.zone.boosted_watermark) == (0, False)
    assert fallback.rmqueue_claim(bare.zone, 0, M, ALLOC_KSWAPD) == -1  # tried, and failed: boosted all the same
    assert (bare.zone.watermark_boost, bare.zone.boosted_watermark) == (512, True)


def test_no_boost_in_a_small_zone_or_when_switched_off():
    small = machine(80).zones[2]
    small.managed = 2047
    assert not fallback.boost_watermark(small)
    assert not fallback.boost_watermark(Bare(watermark_boost_factor=0).zone)


# -- watermarks ------------------------------------------------------------------------------------------------------

WATERMARKS = [
    # flags, the part of the mark that must stay free (of 1000)
    (0, 1000),
    (ALLOC_MIN_RESERVE, 500),
    (ALLOC_MIN_RESERVE | ALLOC_NON_BLOCK, 375),
    (ALLOC_NON_BLOCK, 1000),
    (ALLOC_OOM, 500),
    (ALLOC_MIN_RESERVE | ALLOC_OOM, 250),
]


@pytest.mark.parametrize(("flags", "minimum"), WATERMARKS)
def test_watermark_by_reserve(flags, minimum):
    zone = Bare().zone
    zone.lowmem_reserve[2] = 77
    assert not zone.watermark_ok(0, 1000, 2, flags, minimum + 77)
    assert zone.watermark_ok(0, 1000, 2, flags, minimum + 78)
    assert zone.watermark_ok(0, 1000, 1, flags, minimum + 1)  # no reserve against requests that may not go higher


def test_watermark_counts_a_high_order_request_and_wants_a_block():
    bare = Bare()
    bare.free(BLOCK, 3)
    assert bare.zone.watermark_ok(3, 1000, 2, 0, 1008)
    assert not bare.zone.watermark_ok(3, 1000, 2, 0, 1007)  # 1 << 3, less one
    assert not bare.zone.watermark_ok(4, 1000, 2, 0, 5000)  # none of order 4


def test_watermark_does_not_count_the_atomic_reserve_for_others():
    bare = Bare()
    bare.block_type(BLOCK, H)
    bare.free(BLOCK, 8)
    bare.zone.nr_reserved_highatomic = 512
    assert bare.zone.nr_free_highatomic() == 256
    assert not bare.zone.watermark_ok(0, 1000, 2, 0, 1256)
    assert bare.zone.watermark_ok(0, 1000, 2, 0, 1257)
    assert bare.zone.watermark_ok(0, 1000, 2, ALLOC_NON_BLOCK, 1001)
    assert not bare.zone.watermark_ok(3, 1000, 2, ALLOC_NON_BLOCK, 5000)  # its blocks are not for this request
    assert bare.zone.watermark_ok(3, 1000, 2, ALLOC_HIGHATOMIC, 5000)


@pytest.mark.parametrize(
    ("gfp", "numerator", "denominator"),
    [(GFP_KERNEL, 1, 1), (GFP_NOWAIT, 1, 1), (GFP_HIGHUSER_MOVABLE, 1, 1), (GFP_ATOMIC, 3, 8)],
)
def test_a_request_never_passes_the_watermark_that_its_gfp_mask_sets(gfp, numerator, denominator):
    """Drawn dry without reclaim: what is left is the minimum, or the part of it that the mask does not open."""
    pa = machine(cpus=1, watermark_boost_factor=0)
    while pa.alloc_pages(4, gfp) is not None:
        pass
    for zone in pa.zones:
        minimum = zone.wmark_pages(0)
        if numerator == 3:
            minimum -= minimum // 2
            minimum -= minimum // 4
        floor = minimum + zone.lowmem_reserve[2]
        assert floor < zone.nr_free + 16, zone.name
        assert zone.nr_free > floor - 16, zone.name
    pa.check()


def test_lowmem_reserve_keeps_low_zones_for_those_who_need_them():
    pa = machine()
    dma = pa.zones[0]
    dma.lowmem_reserve[2] = dma.managed
    while pa.alloc_pages(9, GFP_KERNEL) is not None:
        pass
    assert dma.nr_free == dma.managed
    pfn = pa.alloc_pages(3, GFP_DMA)
    assert pfn is not None
    assert pfn < 4096


@pytest.mark.parametrize(("gfp", "below"), [(GFP_KERNEL | GFP_DMA, 4096), (GFP_KERNEL | GFP_DMA32, NORMAL_PFN)])
def test_zone_modifiers_are_obeyed(gfp, below):
    pa = machine()
    pfns = [pa.alloc_pages(0, gfp) for _ in range(50)]
    assert all(pfn is not None and pfn < below for pfn in pfns)


# -- avoiding fragmentation by zone ----------------------------------------------------------------------------------


def spill_machine():
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


def test_zone_spill_avoids_fragmenting_normal_while_dma32_can_serve():
    bare, at = spill_machine()
    assert bare.pa.alloc_pages(4, GFP_KERNEL) == at
    assert bare.extfrag() == []


def test_zone_spill_is_retried_without_nofragment():
    bare, _ = spill_machine()
    while (pfn := bare.pa.alloc_pages(4, GFP_KERNEL)) is not None and pfn < NORMAL_PFN:
        pass
    assert pfn == BLOCK  # nothing is left in DMA32: now Normal is fragmented after all
    assert bare.mem.pageblock_mt[BLOCK >> 9] == U


# -- per-CPU lists ---------------------------------------------------------------------------------------------------


def test_pcp_has_fourteen_lists_orders_0_to_3_of_three_types_and_two_for_huge_pages():
    pa = machine()
    zone = pa.zones[2]
    for order in (0, 1, 2, 3, 9):
        for mt in (U, M, R):
            pa.free_pages(pa.alloc_pages(order, GFP_OF[mt]), order)
    lists = zone.pcp[0].lists
    assert len(lists) == 14
    assert all(lists)
    assert {pa.mem.order[pfn] for pfn in lists[12]} == {9}
    assert {pa.mem.pageblock_mt[pfn >> 9] for pfn in lists[13]} == {M}
    pa.check()


def test_orders_4_to_8_and_10_go_round_the_per_cpu_lists():
    pa = machine()
    for order in (4, 5, 8, 10):
        pa.free_pages(pa.alloc_pages(order), order)
    assert [pcp.count for zone in pa.zones for pcp in zone.pcp] == [0, 0, 0]


def test_pcp_page_is_free_for_nobody_else():
    pa = machine(cpus=2)
    pfn = pa.alloc_pages(0, GFP_KERNEL, OWNER_SLAB)
    assert pa.mem.owner[pfn] == OWNER_SLAB
    pa.free_pages(pfn, 0)
    assert pa.mem.owner[pfn] == OWNER_PCP
    assert not pa.mem.flags[pfn] & buddy.PG_BUDDY
    assert pa.alloc_pages(0, GFP_KERNEL) == pfn  # hot: the one freed last comes first
    pa.free_pages(pfn, 0)
    pa.drain_all_pages()
    assert pa.mem.owner[pfn] == OWNER_FREE
    assert pa.zones[2].nr_pcp() == 0
    assert pa.nr_free_pages == pa.managed


def test_pcp_refill_comes_in_list_order():
    bare = Bare().no_watermarks()
    for at in (0, 2, 4):
        bare.free(BLOCK + at, 0)
    assert bare.lists(0)[M] == [BLOCK + 4, BLOCK + 2, BLOCK]
    assert [bare.pa.alloc_pages(0, GFP_HIGHUSER_MOVABLE) for _ in range(4)] == [BLOCK + 4, BLOCK + 2, BLOCK, None]


def test_pcp_alloc_factor_doubles_the_refill_while_nobody_frees():
    pa = machine(1024)
    zone = pa.zones[2]
    pcp = zone.pcp[0]
    sizes = []
    while len(sizes) < 8:
        free = zone.nr_free
        pa.alloc_pages(0)
        if zone.nr_free < free:
            sizes.append(free - zone.nr_free)
    assert pcp.batch == 63
    assert sizes == [63, 126, 252, 504, 1008, 2016, 2016, 2016]  # at most batch << 5
    assert pcp.alloc_factor == 5
    pa.free_pages(pa.alloc_pages(0), 0)
    assert pcp.alloc_factor == 2


@pytest.mark.parametrize(("order", "blocks"), [(1, 31), (2, 15), (3, 7), (9, 2)])
def test_pcp_batch_shrinks_with_the_order(order, blocks):
    pa = machine(1024)
    free = pa.zones[2].nr_free
    pa.alloc_pages(order)
    assert free - pa.zones[2].nr_free == blocks << order


def test_pcp_gives_back_when_it_reaches_high():
    pa = machine(cpus=1, pcp_high_fraction=100)
    zone = pa.zones[2]
    pcp = zone.pcp[0]
    pages = [pa.alloc_pages(0) for _ in range(2000)]
    highest = 0
    for pfn in pages:
        pa.free_pages(pfn, 0)
        highest = max(highest, pcp.count)
    assert pcp.high == pcp.high_min == zone.managed // 100
    assert highest < pcp.high
    pa.check()


def test_pcp_high_grows_under_allocation_and_decays_with_time():
    from memviz.kernel.pcp import decay_pcp_high

    pa = machine(1024)
    zone = pa.zones[2]
    pcp = zone.pcp[0]
    pages = [pa.alloc_pages(0) for _ in range(20000)]
    grown = pcp.high
    assert pcp.high_min < grown <= pcp.high_max
    for pfn in pages:
        pa.free_pages(pfn, 0)
    for _ in range(100):
        decay_pcp_high(pcp, zone)
    assert pcp.high == pcp.high_min
    assert pcp.count <= pcp.high_min
    pa.check()


def test_bulk_free_starts_with_the_list_that_grew_oldest_page_first():
    from memviz.kernel.pcp import free_pcppages_bulk

    pa = machine()
    zone = pa.zones[2]
    pcp = zone.pcp[0]
    first, second = pa.alloc_pages(1), pa.alloc_pages(1)
    movable = pa.alloc_pages(0, GFP_HIGHUSER_MOVABLE)
    pa.drain_all_pages()
    for pfn, order in ((first, 1), (second, 1), (movable, 0)):
        pa.free_pages(pfn, order)
    free_pcppages_bulk(pcp, zone, 2, 3)  # list 3: order 1, unmovable
    assert [list(pages) for pages in pcp.lists if pages] == [[movable], [second]]
    free_pcppages_bulk(pcp, zone, 3, 3)  # the rest of it, then on to the next list, round to the first
    assert not any(pcp.lists)
    pa.check()


def test_freed_highatomic_pages_go_to_the_movable_list_and_isolated_ones_to_none():
    pa = machine()
    zone = pa.zones[2]
    one, two = pa.alloc_pages(0), pa.alloc_pages(0)
    pa.drain_all_pages()
    pa.mem.pageblock_mt[one >> 9] = H
    pa.free_pages(one, 0)
    assert list(zone.pcp[0].lists[M]) == [one]
    pa.mem.pageblock_mt[two >> 9] = ISO
    pa.free_pages(two, 0)
    assert zone.nr_isolate_free == 1
    assert pa.mem.owner[two] == OWNER_FREE


# -- the reserve for high-order atomic requests ----------------------------------------------------------------------


def test_highatomic_reserve_needs_a_zone_of_a_hundred_pageblocks():
    assert fallback.highatomic_limit(machine(128).zones[2]) == 0
    zone = machine(1024).zones[2]
    assert fallback.highatomic_limit(zone) == -(-(zone.managed // 100) // 512) * 512


def test_highatomic_reserve_takes_the_pageblock_of_a_successful_request():
    pa = machine(1024)
    zone = pa.zones[2]
    # Fast paths don't reserve: make the fast path fail, low watermark out of reach.
    zone.watermark[1] = zone.watermark[2] = zone.managed
    pa.zones[1].watermark[:] = pa.zones[0].watermark[:] = [1 << 30] * 4
    pfn = pa.alloc_pages(2, GFP_ATOMIC)
    assert pa.mem.pageblock_mt[pfn >> 9] == H
    assert zone.nr_reserved_highatomic == 512
    assert pa.trace.counts[HIGHATOMIC] == 1
    assert zone.nr_free_highatomic() > 0
    # Order 0 does not reserve.
    pa.alloc_pages(0, GFP_ATOMIC)
    assert zone.nr_reserved_highatomic == 512
    pa.check()


def test_highatomic_reserve_stops_at_its_limit():
    zone = machine(1024).zones[2]
    at = NORMAL_PFN
    for block in range(20):
        fallback.reserve_highatomic_pageblock(zone, at + 512 * block, 3)
    assert zone.nr_reserved_highatomic == fallback.highatomic_limit(zone) == 2560


def test_unreserve_keeps_the_last_pageblock_unless_forced():
    pa = machine(1024)
    zone = pa.zones[2]
    for pfn in (NORMAL_PFN, NORMAL_PFN + 2048):
        # an order-10 block is whole: split it, as a request would have
        pa.alloc_pages(0)
        buddy.expand(zone, pfn, 3, 10, M) if pfn in zone.free_area[10][M] else None
        fallback.reserve_highatomic_pageblock(zone, pfn, 3)
    assert zone.nr_reserved_highatomic == 1024
    assert fallback.unreserve_highatomic_pageblock(zone, U, False)
    assert zone.nr_reserved_highatomic == 512
    assert not fallback.unreserve_highatomic_pageblock(zone, U, False)
    assert fallback.unreserve_highatomic_pageblock(zone, U, True)
    assert zone.nr_reserved_highatomic == 0
    assert zone.nr_free_highatomic() == 0
    assert zone.pageblock_mt.count(H) == 0


@pytest.mark.parametrize(
    ("flags", "served"), [(0, False), (ALLOC_NON_BLOCK, True), (ALLOC_OOM, True), (ALLOC_HIGHATOMIC, True)]
)
def test_atomic_reserve_serves_high_order_atomic_first_and_desperate_ones_last(flags, served):
    bare = Bare()
    bare.block_type(BLOCK, H)
    bare.free(BLOCK, 3)
    pfn = take(bare, 0, U, flags)
    assert (pfn == BLOCK) is served
    if flags != ALLOC_HIGHATOMIC and served:  # not while there is anything else
        bare.block_type(BLOCK + 512, U)
        bare.free(BLOCK + 512, 0)
        assert take(bare, 0, U, flags) == BLOCK + 512


# -- isolation, as compaction and alloc_contig need it ---------------------------------------------------------------


def test_isolating_a_pageblock_takes_its_free_pages_out_of_the_count_and_back():
    pa = machine()
    zone = pa.zones[2]
    free = zone.nr_free
    block = NORMAL_PFN + 2048 + 512  # the upper half of a free order-10 block
    assert buddy.move_freepages_block_isolate(zone, block, ISO) == 512
    assert (zone.nr_free, zone.nr_isolate_free) == (free - 512, 512)
    assert zone.free_area[9][ISO].pfns() == [block]
    pa.check()
    assert buddy.move_freepages_block_isolate(zone, block, M) == 512
    assert (zone.nr_free, zone.nr_isolate_free) == (free, 0)
    pa.check()


def test_isolate_free_page_obeys_the_watermark_min():
    bare = Bare()
    bare.free(BLOCK, 5)
    bare.zone.watermark[0] = 0
    assert bare.pa.isolate_free_page(bare.zone, BLOCK) == -1
    bare.free(BLOCK + 512, 0)
    assert bare.pa.isolate_free_page(bare.zone, BLOCK) == 5
    assert bare.zone.nr_free == 1
    bare.pa.free_pages(BLOCK, 5)
    assert bare.zone.nr_free == 33


# -- what callers see ------------------------------------------------------------------------------------------------


def test_a_block_carries_its_owner_and_the_time_on_every_frame():
    pa = machine()
    pa.smp.advance(5_000_000)
    pfn = pa.alloc_pages(3, GFP_HIGHUSER_MOVABLE, OWNER_PAGE_CACHE)
    assert set(pa.mem.owner[pfn : pfn + 8]) == {OWNER_PAGE_CACHE}
    assert set(pa.mem.stamp[pfn : pfn + 8]) == {5}
    assert list(pa.mem.flags[pfn : pfn + 8]) == [PG_HEAD] + [0] * 7
    assert pfn % 8 == 0


def test_bulk_events_say_frame_order_type_and_mask():
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
def test_freeing_wrongly_is_a_bad_page(spoil, words):
    pa = machine()
    pfn = pa.alloc_pages(2)
    with pytest.raises(KernelBug, match=words) as caught:
        spoil(pa, pfn)
    assert caught.value.rule == "bad page"
    assert caught.value.stacks


def test_freeing_a_page_that_is_still_on_an_lru_list_is_a_bad_page():
    pa = machine()
    pfn = pa.alloc_pages(0)
    pa.mem.flags[pfn] |= PG_LRU
    with pytest.raises(KernelBug, match="flags 0x4 are still set"):
        pa.free_pages(pfn, 0)


def test_a_sleeping_allocation_in_atomic_context_is_reported():
    pa = machine()
    pa.smp.irq_disable()
    with pytest.raises(KernelBug, match="sleeping function called from invalid context"):
        pa.alloc_pages(0, GFP_KERNEL)
    assert pa.alloc_pages(0, GFP_ATOMIC) is not None
    pa.smp.irq_enable()


@pytest.mark.parametrize("order", [-1, 11])
def test_an_impossible_order_is_refused_in_words(order):
    with pytest.raises(ValueError, match=f"order {order} is not between 0 and 10"):
        machine().alloc_pages(order)


def test_split_page_makes_single_pages_that_are_freed_one_by_one():
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
def test_check_names_what_is_wrong(spoil, words):
    pa = machine()
    zone = pa.zones[2]
    pa.alloc_pages(0)
    pa.check()
    spoil(pa, zone, zone.free_area[10][M].pfns()[-1])
    with pytest.raises(AssertionError, match=words):
        pa.check()
