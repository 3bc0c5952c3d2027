"""Per-CPU lists: which there are, how they fill, empty and tune themselves."""

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
    OWNER_PCP,
    OWNER_SLAB,
)

U, M, R, H, ISO = MIGRATE_UNMOVABLE, MIGRATE_MOVABLE, MIGRATE_RECLAIMABLE, MIGRATE_HIGHATOMIC, MIGRATE_ISOLATE
NORMAL_PFN = 64 * 256  # where zone Normal begins in these machines
BLOCK = NORMAL_PFN  # a pageblock to lay things out in, its free part chosen by the test
GFP_OF = {U: GFP_KERNEL, M: GFP_HIGHUSER_MOVABLE, R: GFP_KERNEL | GFP_RECLAIMABLE}


# -- per-CPU lists ---------------------------------------------------------------------------------------------------


def test_pcp_has_fourteen_lists_orders_0_to_3_of_three_types_and_two_for_huge_pages(machine):
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


def test_orders_4_to_8_and_10_go_round_the_per_cpu_lists(machine):
    pa = machine()
    for order in (4, 5, 8, 10):
        pa.free_pages(pa.alloc_pages(order), order)
    assert [pcp.count for zone in pa.zones for pcp in zone.pcp] == [0, 0, 0]


def test_pcp_page_is_free_for_nobody_else(machine):
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


def test_pcp_refill_comes_in_list_order(Bare):
    bare = Bare().no_watermarks()
    for at in (0, 2, 4):
        bare.free(BLOCK + at, 0)
    assert bare.lists(0)[M] == [BLOCK + 4, BLOCK + 2, BLOCK]
    assert [bare.pa.alloc_pages(0, GFP_HIGHUSER_MOVABLE) for _ in range(4)] == [BLOCK + 4, BLOCK + 2, BLOCK, None]


def test_pcp_alloc_factor_doubles_the_refill_while_nobody_frees(machine):
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
def test_pcp_batch_shrinks_with_the_order(order, blocks, machine):
    pa = machine(1024)
    free = pa.zones[2].nr_free
    pa.alloc_pages(order)
    assert free - pa.zones[2].nr_free == blocks << order


def test_pcp_gives_back_when_it_reaches_high(machine):
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


def test_pcp_high_grows_under_allocation_and_decays_with_time(machine):
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


def test_bulk_free_starts_with_the_list_that_grew_oldest_page_first(machine):
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


def test_freed_highatomic_pages_go_to_the_movable_list_and_isolated_ones_to_none(machine):
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
