"""Who pins which block: made-up blocks with known answers."""

from __future__ import annotations

import numpy as np

from memviz.analysis.pins import CheapBlock, pin_report
from memviz.kernel import page
from memviz.snapshot import Cache, Pages

BLOCK = page.PAGEBLOCK_NR_PAGES


def cache(ident: int, name: str, order: int, slabs: int) -> Cache:
    return Cache(ident, name, 64, 64, order, 10, slabs, 0, slabs, 1, 1, 0, 1, False)


CACHES = (cache(1, "dentry", 0, 300), cache(2, "vm_area_struct", 0, 100), cache(3, "radix_tree_node", 1, 50))


def blocks(*owners: int) -> Pages:
    """One pageblock for each owner, all of it that owner's single frames."""
    owner = np.repeat(np.array(owners, np.uint8), BLOCK)
    return Pages(owner, np.zeros_like(owner), np.zeros_like(owner), np.zeros(owner.size, np.uint32))


def test_blocks_are_counted_by_what_could_become_of_them() -> None:
    free, movable, slab = page.OWNER_FREE, page.OWNER_PAGE_CACHE, page.OWNER_SLAB
    found = pin_report(blocks(free, movable, page.OWNER_ANON, slab, page.OWNER_HUGE, page.OWNER_RESERVED))
    assert (found.blocks, found.free, found.clean, found.pinned, found.huge) == (4, 1, 2, 1, 1)


def test_a_price_is_the_cheapest_blocks_and_names_who_must_go() -> None:
    pages = blocks(*[page.OWNER_FREE] * 12, *[page.OWNER_PAGE_CACHE] * 3)
    pages.owner[12 * BLOCK + 7] = page.OWNER_KERNEL
    pages.owner[13 * BLOCK : 13 * BLOCK + 3] = page.OWNER_SLAB
    pages.owner[14 * BLOCK : 14 * BLOCK + 100] = page.OWNER_PAGE_TABLE
    found = pin_report(pages, CACHES)
    assert [(one.blocks, one.frames) for one in found.prices] == [(1, 1), (3, 104)]
    assert found.prices[0].sentence() == "If this page went (1 of unmovable), 1 block of 2 MiB would be free."
    assert found.prices[1].sentence() == (
        "If these 104 pages went (100 of page table, 3 of slab of order 0 (dentry: 75 % of such), 1 of unmovable),"
        " 3 blocks of 2 MiB would be free."
    )
    assert found.cheapest[0] == CheapBlock(12, ((12 * BLOCK + 7, "unmovable"),))


def test_no_more_blocks_than_free_memory_can_take_what_is_in_them() -> None:
    pages = blocks(page.OWNER_FREE, *[page.OWNER_PAGE_CACHE] * 5)
    for number in range(1, 6):
        pages.owner[number * BLOCK] = page.OWNER_KERNEL
    assert [one.blocks for one in pin_report(pages).prices] == [1]


def test_slabs_are_named_by_cache_where_it_is_known_and_by_order_where_not() -> None:
    pages = blocks(page.OWNER_SLAB, page.OWNER_SLAB, page.OWNER_SLAB, page.OWNER_FREE)
    pages.order[:BLOCK][1::2] = 255
    pages.order[:BLOCK][0::2] = 1
    cache_of = np.zeros(pages.nr, np.uint16)
    cache_of[BLOCK : 2 * BLOCK] = 2
    found = {pin.who: pin for pin in pin_report(pages, CACHES, cache_of).by_who}
    assert found["slab radix_tree_node"].frames == BLOCK, "the only cache with slabs of order 1"
    assert found["slab vm_area_struct"].alone == 1
    assert found["slab of order 0 (dentry: 75 % of such)"].blocks == 1


def test_alone_is_who_is_the_only_one_in_a_block() -> None:
    pages = blocks(page.OWNER_KERNEL, page.OWNER_KERNEL, page.OWNER_FREE)
    pages.owner[0] = page.OWNER_PAGE_TABLE
    found = {pin.who: (pin.frames, pin.blocks, pin.alone) for pin in pin_report(pages).by_who}
    assert found == {"unmovable": (2 * BLOCK - 1, 2, 1), "page table": (1, 1, 0)}


def test_a_machine_without_a_map_has_no_pins() -> None:
    nothing = Pages(*(np.zeros(0, np.uint8) for _ in range(3)), np.zeros(0, np.uint32))
    found = pin_report(nothing)
    assert (found.blocks, found.by_who, found.prices, found.cheapest) == (0, (), (), ())
