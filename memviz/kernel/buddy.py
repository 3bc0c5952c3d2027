"""The buddy allocator of one zone: split, merge, move between migratetypes (the core of ``mm/page_alloc.c``).

Every function wants ``zone.lock`` held. A free block lies on the list of its pageblock's migratetype, always (since
6.10; before, stolen remainders could lie on another). Free page frames of isolated pageblocks don't count as free.
"""

from __future__ import annotations

from typing import Final

from memviz.kernel.mmzone import Zone
from memviz.kernel.page import (
    MAX_PAGE_ORDER,
    MIGRATE_HIGHATOMIC,
    MIGRATE_ISOLATE,
    NR_PAGE_ORDERS,
    PAGEBLOCK_NR_PAGES,
    PAGEBLOCK_ORDER,
    PG_BUDDY,
    PG_HEAD,
    PG_LRU,
)

PG_FREE: Final = PG_HEAD | PG_BUDDY  # flags of the first frame of a free block
ZEROS: Final = bytes(1 << MAX_PAGE_ORDER)


def account_freepages(zone: Zone, nr_pages: int, migratetype: int) -> None:
    """Count ``nr_pages`` (negative: taken away) as free page frames of ``migratetype``."""
    if migratetype == MIGRATE_ISOLATE:
        zone.nr_isolate_free += nr_pages
    else:
        zone.nr_free += nr_pages


def del_page_from_free_list(zone: Zone, pfn: int, order: int, migratetype: int) -> None:
    """Take the free block at ``pfn`` off its list. The caller gives its frames a new meaning."""
    zone.free_area[order][migratetype].remove(pfn)
    zone.page_flags[pfn] = PG_HEAD
    zone.touched[pfn >> PAGEBLOCK_ORDER] = 1
    account_freepages(zone, -(1 << order), migratetype)


def rmqueue_smallest(zone: Zone, order: int, migratetype: int) -> int:
    """``__rmqueue_smallest()``: the first block of the smallest order that has one, split down to ``order``, or -1."""
    free_area = zone.free_area
    flags = zone.page_flags
    orders = zone.page_order
    for current in range(order, NR_PAGE_ORDERS):
        free_list = free_area[current][migratetype]
        if not free_list.head:
            if not free_list.tail:
                continue
            free_list.turn()
        pfn = free_list.head.popitem()[0]
        # expand(): the lower half goes out, each upper half back to the head of its list.
        while current > order:
            current -= 1
            upper = pfn + (1 << current)
            flags[upper] = PG_FREE
            orders[upper] = current
            if current >= PAGEBLOCK_ORDER:
                zone.touched[upper >> PAGEBLOCK_ORDER] = 1
            free_area[current][migratetype].head[upper] = None
        zone.touched[pfn >> PAGEBLOCK_ORDER] = 1
        flags[pfn] = PG_HEAD
        orders[pfn] = order
        zone.nr_free -= 1 << order
        return pfn
    return -1


def expand(zone: Zone, pfn: int, low: int, high: int, migratetype: int) -> None:
    """``page_del_and_expand()``: take a free block of order ``high``, keep its first ``1 << low`` frames."""
    del_page_from_free_list(zone, pfn, high, migratetype)
    give_back_upper(zone, pfn, low, high, migratetype)


def give_back_upper(zone: Zone, pfn: int, low: int, high: int, migratetype: int) -> None:
    """``expand()``: put all but the first ``1 << low`` frames of a block in hand on the lists of ``migratetype``."""
    account_freepages(zone, (1 << high) - (1 << low), migratetype)
    while high > low:
        high -= 1
        upper = pfn + (1 << high)
        zone.page_flags[upper] = PG_FREE
        zone.page_order[upper] = high
        zone.touched[upper >> PAGEBLOCK_ORDER] = 1
        zone.free_area[high][migratetype].head[upper] = None
    zone.page_flags[pfn] = PG_HEAD
    zone.page_order[pfn] = low
    zone.touched[pfn >> PAGEBLOCK_ORDER] = 1


def free_one_page(zone: Zone, pfn: int, order: int, migratetype: int, to_tail: bool = False) -> None:
    """``__free_one_page()``: give a block back and merge it with its buddies as long as they are free.

    Wants the block's frames to be owned by OWNER_FREE already. ``to_tail`` (FPI_TO_TAIL): it goes to the list's end,
    unless merging is likely it goes to the head otherwise.
    """
    flags = zone.page_flags
    orders = zone.page_order
    if migratetype == MIGRATE_ISOLATE:
        zone.nr_isolate_free += 1 << order
    else:
        zone.nr_free += 1 << order
    head = pfn
    while order < MAX_PAGE_ORDER:
        buddy = pfn ^ (1 << order)
        if not flags[buddy] & PG_BUDDY or orders[buddy] != order:
            break
        if order >= PAGEBLOCK_ORDER and not merge_pageblocks(zone, buddy, order, migratetype):
            break
        free_list = zone.free_area[order][migratetype]
        if buddy in free_list.head:
            del free_list.head[buddy]
        else:
            del free_list.tail[buddy]
        flags[buddy] = 0
        if order >= PAGEBLOCK_ORDER:
            zone.touched[buddy >> PAGEBLOCK_ORDER] = 1
        pfn &= buddy
        order += 1
    zone.touched[head >> PAGEBLOCK_ORDER] = 1
    flags[head] = 0
    flags[pfn] = PG_FREE
    orders[pfn] = order
    if to_tail or buddy_merge_likely(zone, pfn, order):
        zone.free_area[order][migratetype].tail[pfn] = None
    else:
        zone.free_area[order][migratetype].head[pfn] = None


def merge_pageblocks(zone: Zone, buddy: int, order: int, migratetype: int) -> bool:
    """Whether a free block may merge with ``buddy`` across pageblocks. If so, ``buddy`` and its blocks become alike.

    Blocks without fallback (HIGHATOMIC, ISOLATE) only merge with their own kind.
    """
    buddy_mt = zone.pageblock_mt[buddy >> PAGEBLOCK_ORDER]
    if buddy_mt == migratetype:
        return True
    if migratetype >= MIGRATE_HIGHATOMIC or buddy_mt >= MIGRATE_HIGHATOMIC:
        return False
    zone.free_area[order][buddy_mt].remove(buddy)
    zone.free_area[order][migratetype].head[buddy] = None
    change_pageblock_range(zone, buddy, order, migratetype)
    return True


def buddy_merge_likely(zone: Zone, pfn: int, order: int) -> bool:
    """Whether the next order's buddy is free too: then this block waits at the tail for its own buddy to come."""
    if order >= MAX_PAGE_ORDER - 1:
        return False
    higher_buddy = (pfn & ~(1 << order)) ^ (2 << order)
    return zone.page_flags[higher_buddy] & PG_BUDDY != 0 and zone.page_order[higher_buddy] == order + 1


def free_large_buddy(zone: Zone, pfn: int, order: int, to_tail: bool = False) -> None:
    """``split_large_buddy()``: free a block; one larger than a pageblock goes piecewise, each piece with its block's
    type.
    """
    end = pfn + (1 << order)
    if order > PAGEBLOCK_ORDER:
        order = PAGEBLOCK_ORDER
    while pfn < end:
        free_one_page(zone, pfn, order, zone.pageblock_mt[pfn >> PAGEBLOCK_ORDER], to_tail)
        pfn += 1 << order


def change_pageblock_range(zone: Zone, pfn: int, order: int, migratetype: int) -> None:
    """Give every pageblock of a block of at least pageblock size this migratetype."""
    for block in range(pfn >> PAGEBLOCK_ORDER, (pfn + (1 << order)) >> PAGEBLOCK_ORDER):
        zone.pageblock_mt[block] = migratetype


def pageblock_in_zone(zone: Zone, pfn: int) -> bool:
    """Whether the whole pageblock of ``pfn`` lies in the zone: blocks that straddle its ends are never retyped."""
    start = pfn & ~(PAGEBLOCK_NR_PAGES - 1)
    return zone.spans_pfn(start) and zone.spans_pfn(start + PAGEBLOCK_NR_PAGES - 1)


def count_pageblock(zone: Zone, pfn: int) -> tuple[int, int]:
    """Free and movable page frames in the pageblock of ``pfn`` (``prep_move_freepages_block()``). Movable: on an LRU
    list.
    """
    flags = zone.page_flags
    orders = zone.page_order
    at = pfn & ~(PAGEBLOCK_NR_PAGES - 1)
    end = at + PAGEBLOCK_NR_PAGES
    free = 0
    movable = 0
    while at < end:
        flag = flags[at]
        if flag & PG_BUDDY:
            free += 1 << orders[at]
            at += 1 << orders[at]
        elif flag & PG_HEAD:
            if flag & PG_LRU:
                movable += 1 << orders[at]
            at += 1 << orders[at]
        else:  # reserved, or the tail of a block that began in the pageblock before
            at += 1
    return min(free, PAGEBLOCK_NR_PAGES), min(movable, PAGEBLOCK_NR_PAGES)


def move_freepages_block(zone: Zone, pfn: int, old_mt: int, new_mt: int) -> int:
    """Retype the pageblock of ``pfn`` and move its free blocks to the tails of the new type's lists.

    Returns the page frames moved, -1 when the block straddles the zone's end and stays as it is. A free block larger
    than the pageblock must have been split by the caller.
    """
    if not pageblock_in_zone(zone, pfn):
        return -1
    flags = zone.page_flags
    orders = zone.page_order
    at = pfn & ~(PAGEBLOCK_NR_PAGES - 1)
    end = at + PAGEBLOCK_NR_PAGES
    moved = 0
    while at < end:
        flag = flags[at]
        if flag & PG_BUDDY:
            area = zone.free_area[orders[at]]
            area[old_mt].remove(at)
            area[new_mt].tail[at] = None
            moved += 1 << orders[at]
        at += 1 << orders[at] if flag & PG_HEAD else 1
    zone.pageblock_mt[pfn >> PAGEBLOCK_ORDER] = new_mt
    account_freepages(zone, -moved, old_mt)
    account_freepages(zone, moved, new_mt)
    return moved


def free_block_of(zone: Zone, pfn: int) -> int:
    """First frame of the free block that ``pfn`` lies in, -1 when ``pfn`` is not free."""
    for order in range(NR_PAGE_ORDERS):
        head = pfn & ~((1 << order) - 1)
        if zone.page_flags[head] & PG_BUDDY:
            return head if head + (1 << zone.page_order[head]) > pfn else -1
    return -1


def move_freepages_block_isolate(zone: Zone, pfn: int, new_mt: int) -> int:
    """Put the pageblock of ``pfn`` in or out of isolation (``new_mt`` MIGRATE_ISOLATE or the type it gets back).

    A free block that reaches over the pageblock is split first. Returns the frames moved, -1 at a zone's end.
    """
    if not pageblock_in_zone(zone, pfn):
        return -1
    start = pfn & ~(PAGEBLOCK_NR_PAGES - 1)
    old_mt = zone.pageblock_mt[start >> PAGEBLOCK_ORDER]
    head = free_block_of(zone, start)
    if head >= 0 and zone.page_order[head] > PAGEBLOCK_ORDER:
        order = zone.page_order[head]
        block_mt = zone.pageblock_mt[head >> PAGEBLOCK_ORDER]
        del_page_from_free_list(zone, head, order, block_mt)
        zone.page_flags[head] = 0  # its pageblock was marked as touched just now
        zone.pageblock_mt[start >> PAGEBLOCK_ORDER] = new_mt
        free_large_buddy(zone, head, order)
        return PAGEBLOCK_NR_PAGES
    return move_freepages_block(zone, start, old_mt, new_mt)
