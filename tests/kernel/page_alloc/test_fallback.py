"""Claim, steal, boost and the atomic reserve, on lists laid out by hand: a test for each rule, named after it."""

from __future__ import annotations

import pytest

from memviz.kernel import buddy, fallback
from memviz.kernel.mmzone import (
    ALLOC_HIGHATOMIC,
    ALLOC_KSWAPD,
    ALLOC_NOFRAGMENT,
    ALLOC_NON_BLOCK,
    ALLOC_OOM,
)
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
)
from memviz.kernel.trace import HIGHATOMIC

U, M, R, H, ISO = MIGRATE_UNMOVABLE, MIGRATE_MOVABLE, MIGRATE_RECLAIMABLE, MIGRATE_HIGHATOMIC, MIGRATE_ISOLATE
NORMAL_PFN = 64 * 256  # where zone Normal begins in these machines
BLOCK = NORMAL_PFN  # a pageblock to lay things out in, its free part chosen by the test
GFP_OF = {U: GFP_KERNEL, M: GFP_HIGHUSER_MOVABLE, R: GFP_KERNEL | GFP_RECLAIMABLE}


# -- fallbacks -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start", "order_of_types"),
    [(U, (R, M)), (M, (R, U)), (R, (U, M))],
)
def test_fallback_order(start, order_of_types, Bare, take):
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


def test_rmqueue_uses_its_own_list_before_any_fallback(Bare, take):
    bare = Bare()
    bare.free(BLOCK, 9)
    bare.block_type(BLOCK + 1024, U)
    bare.free(BLOCK + 1024, 0)
    assert take(bare, 0, U) == BLOCK + 1024
    assert bare.extfrag() == []


def test_claim_starts_at_the_largest_block(Bare, take):
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
def test_claim_by_the_half_block_rule(start, block, free, movable, claimed, Bare):
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


def test_a_movable_request_does_not_claim_by_a_block_below_order_4(Bare):
    bare = Bare()
    bare.block_type(BLOCK, U)
    for at in range(0, 512, 16):  # half the block is free, in pieces of order 3
        bare.free(BLOCK + at, 3)
    assert fallback.rmqueue_claim(bare.zone, 0, M, 0) == -1
    assert fallback.rmqueue_claim(bare.zone, 0, R, 0) >= 0


def test_steal_takes_the_smallest_block_and_leaves_the_rest_as_it_was(Bare, take):
    bare = Bare()
    bare.fill_block(BLOCK, R, 128, 0)
    bare.fill_block(BLOCK + 512, R, 4, 0)
    assert take(bare, 0, M) == BLOCK + 512
    assert list(bare.mem.pageblock_mt[BLOCK >> 9 : (BLOCK >> 9) + 2]) == [R, R]
    assert (bare.lists(0)[R], bare.lists(1)[R]) == ([BLOCK + 513], [BLOCK + 514])
    assert bare.extfrag() == [(BLOCK + 512, 0, 2, M << 8 | R << 4 | 0)]
    bare.pa.check()


def test_claim_comes_before_steal(Bare, take):
    bare = Bare()
    bare.fill_block(BLOCK, R, 4, 0)
    bare.fill_block(BLOCK + 512, R, 256, 0)
    assert take(bare, 0, M) == BLOCK + 512
    assert bare.mem.pageblock_mt[(BLOCK + 512) >> 9] == M


def test_nofragment_claims_whole_pageblocks_only_and_never_steals(Bare, take):
    bare = Bare()
    bare.fill_block(BLOCK, M, 256, 0)
    assert take(bare, 0, U, ALLOC_NOFRAGMENT) == -1
    bare.free(BLOCK + 512, 9)
    assert take(bare, 0, U, ALLOC_NOFRAGMENT) == BLOCK + 512
    assert bare.extfrag() == [(BLOCK + 512, 0, 9, U << 8 | M << 4 | 1)]  # not fragmenting


def test_a_block_at_the_zones_end_is_never_retyped(Bare):
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


def test_boost_by_a_pageblock_up_to_one_and_a_half_of_high(Bare):
    bare = Bare()
    high = bare.zone.watermark_high
    seen = []
    for _ in range(4):
        assert fallback.boost_watermark(bare.zone)
        seen.append(bare.zone.watermark_boost)
    limit = high * 15000 // 10000
    assert seen == [min(512 * n, limit) for n in (1, 2, 3, 4)]
    assert bare.zone.wmark_pages(2) == high + bare.zone.watermark_boost


def test_boost_follows_a_claim_attempt_below_pageblock_order_only(Bare, take):
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


def test_no_boost_in_a_small_zone_or_when_switched_off(Bare, machine):
    small = machine(80).zones[2]
    small.managed = 2047
    assert not fallback.boost_watermark(small)
    assert not fallback.boost_watermark(Bare(watermark_boost_factor=0).zone)


# -- the reserve for high-order atomic requests ----------------------------------------------------------------------


def test_highatomic_reserve_needs_a_zone_of_a_hundred_pageblocks(machine):
    assert fallback.highatomic_limit(machine(128).zones[2]) == 0
    zone = machine(1024).zones[2]
    assert fallback.highatomic_limit(zone) == -(-(zone.managed // 100) // 512) * 512


def test_highatomic_reserve_takes_the_pageblock_of_a_successful_request(machine):
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


def test_highatomic_reserve_stops_at_its_limit(machine):
    zone = machine(1024).zones[2]
    at = NORMAL_PFN
    for block in range(20):
        fallback.reserve_highatomic_pageblock(zone, at + 512 * block, 3)
    assert zone.nr_reserved_highatomic == fallback.highatomic_limit(zone) == 2560


def test_unreserve_keeps_the_last_pageblock_unless_forced(machine):
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
def test_atomic_reserve_serves_high_order_atomic_first_and_desperate_ones_last(flags, served, Bare, take):
    bare = Bare()
    bare.block_type(BLOCK, H)
    bare.free(BLOCK, 3)
    pfn = take(bare, 0, U, flags)
    assert (pfn == BLOCK) is served
    if flags != ALLOC_HIGHATOMIC and served:  # not while there is anything else
        bare.block_type(BLOCK + 512, U)
        bare.free(BLOCK + 512, 0)
        assert take(bare, 0, U, flags) == BLOCK + 512
