"""Splitting, merging and retyping of free blocks, on lists laid out by hand: a test for each rule, named after it."""

from __future__ import annotations

import pytest

from memviz.kernel import buddy
from memviz.kernel.page import (
    GFP_HIGHUSER_MOVABLE,
    GFP_KERNEL,
    GFP_RECLAIMABLE,
    MIGRATE_HIGHATOMIC,
    MIGRATE_ISOLATE,
    MIGRATE_MOVABLE,
    MIGRATE_RECLAIMABLE,
    MIGRATE_UNMOVABLE,
    OWNER_FREE,
    PG_HEAD,
)

U, M, R, H, ISO = MIGRATE_UNMOVABLE, MIGRATE_MOVABLE, MIGRATE_RECLAIMABLE, MIGRATE_HIGHATOMIC, MIGRATE_ISOLATE
NORMAL_PFN = 64 * 256  # where zone Normal begins in these machines
BLOCK = NORMAL_PFN  # a pageblock to lay things out in, its free part chosen by the test
GFP_OF = {U: GFP_KERNEL, M: GFP_HIGHUSER_MOVABLE, R: GFP_KERNEL | GFP_RECLAIMABLE}


# -- allocate: __rmqueue_smallest, expand ----------------------------------------------------------------------------


def test_rmqueue_smallest_takes_the_first_order_that_has_a_block(Bare):
    bare = Bare()
    bare.free(BLOCK + 8, 2)
    bare.free(BLOCK + 64, 4)
    assert buddy.rmqueue_smallest(bare.zone, 2, M) == BLOCK + 8
    assert buddy.rmqueue_smallest(bare.zone, 2, M) == BLOCK + 64
    assert buddy.rmqueue_smallest(bare.zone, 4, M) == -1
    assert buddy.rmqueue_smallest(bare.zone, 0, U) == -1


def test_rmqueue_smallest_takes_the_head_of_the_list(Bare):
    bare = Bare()
    bare.free(BLOCK + 8, 2)
    bare.free(BLOCK + 32, 2)
    bare.free(BLOCK + 64, 2, to_tail=True)
    assert bare.lists(2)[M] == [BLOCK + 32, BLOCK + 8, BLOCK + 64]
    assert [buddy.rmqueue_smallest(bare.zone, 2, M) for _ in range(4)] == [BLOCK + 32, BLOCK + 8, BLOCK + 64, -1]


def test_expand_returns_the_low_half_and_puts_each_upper_half_at_the_list_head(Bare):
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


def test_free_merges_while_the_buddy_is_free(Bare):
    bare = Bare()
    for pfn in (1, 2, 3):
        bare.free(BLOCK + pfn, 0)
    assert (bare.lists(0)[M], bare.lists(1)[M]) == ([BLOCK + 1], [BLOCK + 2])
    bare.free(BLOCK, 0)
    assert [bare.lists(order)[M] for order in range(3)] == [[], [], [BLOCK]]
    bare.pa.check()


def test_free_does_not_merge_with_a_buddy_of_another_order(Bare):
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
def test_pageblocks_merge_unless_one_of_differing_types_has_no_fallback(mine, buddys, merged, Bare):
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


def test_buddy_merge_likely_inserts_at_the_tail(Bare):
    bare = Bare()
    bare.free(BLOCK + 128, 0)
    bare.free(BLOCK + 2, 1)  # the order-1 buddy of the pair 0, 1 is free
    bare.free(BLOCK, 0)  # so this one waits for its own buddy, at the tail
    assert bare.lists(0)[M] == [BLOCK + 128, BLOCK]
    bare.free(BLOCK + 64, 0)  # nothing free beside it
    assert bare.lists(0)[M] == [BLOCK + 64, BLOCK + 128, BLOCK]


def test_an_order_10_block_is_freed_pageblock_by_pageblock(Bare):
    bare = Bare()
    first = NORMAL_PFN + 1024
    bare.block_type(first + 512, H)
    bare.mem.flags[first : first + 1024] = bytes(1024)
    bare.mem.set_owner(first, 10, OWNER_FREE)
    buddy.free_large_buddy(bare.zone, first, 10)
    assert (bare.lists(9)[M], bare.lists(9)[H], bare.lists(10)) == ([first], [first + 512], [[]] * 5)


# -- isolation, as compaction and alloc_contig need it ---------------------------------------------------------------


def test_isolating_a_pageblock_takes_its_free_pages_out_of_the_count_and_back(machine):
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


def test_isolate_free_page_obeys_the_watermark_min(Bare):
    bare = Bare()
    bare.free(BLOCK, 5)
    bare.zone.watermark[0] = 0
    assert bare.pa.isolate_free_page(bare.zone, BLOCK) == -1
    bare.free(BLOCK + 512, 0)
    assert bare.pa.isolate_free_page(bare.zone, BLOCK) == 5
    assert bare.zone.nr_free == 1
    bare.pa.free_pages(BLOCK, 5)
    assert bare.zone.nr_free == 33
