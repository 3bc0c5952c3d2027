"""When the lists of a request's own migratetype are empty: claim a pageblock, or steal a page (``mm/page_alloc.c``).

Rewritten in 6.15 (and 6.12.y): ``__rmqueue_claim()`` then ``__rmqueue_steal()``. Here also the reserve for high-order
atomic requests, which is claimed and given back in the same way. Every function wants ``zone.lock`` held unless it says
otherwise.
"""

from __future__ import annotations

from typing import Final

from memviz.kernel.buddy import (
    change_pageblock_range,
    count_pageblock,
    del_page_from_free_list,
    expand,
    give_back_upper,
    move_freepages_block,
    pageblock_in_zone,
    rmqueue_smallest,
)
from memviz.kernel.mmzone import (
    ALLOC_HIGHATOMIC,
    ALLOC_KSWAPD,
    ALLOC_NOFRAGMENT,
    ALLOC_NON_BLOCK,
    ALLOC_OOM,
    WMARK_HIGH,
    FreeList,
    Zone,
)
from memviz.kernel.page import (
    MAX_PAGE_ORDER,
    MIGRATE_HIGHATOMIC,
    MIGRATE_MOVABLE,
    MIGRATE_RECLAIMABLE,
    MIGRATE_UNMOVABLE,
    NR_PAGE_ORDERS,
    PAGEBLOCK_NR_PAGES,
    PAGEBLOCK_ORDER,
)
from memviz.kernel.trace import HIGHATOMIC, MM_PAGE_ALLOC_EXTFRAG
from memviz.kernel.vmstat import EXTFRAG_CLAIM, EXTFRAG_FRAGMENTING, EXTFRAG_STEAL

# Whose free pages a request may take, best first, by migratetype.
FALLBACKS: Final = (
    (MIGRATE_RECLAIMABLE, MIGRATE_MOVABLE),
    (MIGRATE_RECLAIMABLE, MIGRATE_UNMOVABLE),
    (MIGRATE_UNMOVABLE, MIGRATE_MOVABLE),
)
FALLBACK_EMPTY: Final = -1
FALLBACK_NOCLAIM: Final = -2

RMQUEUE_NORMAL: Final = 0
RMQUEUE_STEAL: Final = 1


def rmqueue_fallback(zone: Zone, order: int, migratetype: int, alloc_flags: int, mode: int) -> tuple[int, int]:
    """The rest of ``__rmqueue()`` after the request's own lists were empty: claim, then steal.

    ``mode`` is where the caller's last page came from: a bulk that had to steal goes on stealing while it holds the
    lock. Returns the page frame (-1: none) and the mode for the next one.
    """
    if mode != RMQUEUE_STEAL:
        pfn = rmqueue_claim(zone, order, migratetype, alloc_flags)
        if pfn >= 0:
            return pfn, RMQUEUE_NORMAL
    if not alloc_flags & ALLOC_NOFRAGMENT:
        pfn = rmqueue_steal(zone, order, migratetype)
        if pfn >= 0:
            return pfn, RMQUEUE_STEAL
    return -1, mode


def should_try_claim_block(order: int, start_mt: int) -> bool:
    """Whether a free block of ``order`` is worth claiming its whole pageblock.

    Yes when it is half a pageblock's order or more; and always for requests that would pollute a movable block.
    """
    if order >= PAGEBLOCK_ORDER // 2:
        return True
    return start_mt in (MIGRATE_RECLAIMABLE, MIGRATE_UNMOVABLE)


def find_suitable_fallback(area: list[FreeList], order: int, migratetype: int, claimable: bool) -> int:
    """The migratetype to take a block of ``order`` from, FALLBACK_EMPTY, or FALLBACK_NOCLAIM: too small to claim."""
    if claimable and not should_try_claim_block(order, migratetype):
        return FALLBACK_NOCLAIM
    for fallback_mt in FALLBACKS[migratetype]:
        if not area[fallback_mt].empty():
            return fallback_mt
    return FALLBACK_EMPTY


def rmqueue_claim(zone: Zone, order: int, start_mt: int, alloc_flags: int) -> int:
    """``__rmqueue_claim()``: from the largest block of another type down, try to make its whole pageblock ours."""
    min_order = order
    if order < PAGEBLOCK_ORDER and alloc_flags & ALLOC_NOFRAGMENT:
        min_order = PAGEBLOCK_ORDER
    for current in range(MAX_PAGE_ORDER, min_order - 1, -1):
        area = zone.free_area[current]
        fallback_mt = find_suitable_fallback(area, current, start_mt, True)
        if fallback_mt == FALLBACK_EMPTY:
            continue
        if fallback_mt == FALLBACK_NOCLAIM:
            break
        pfn = area[fallback_mt].first()
        pfn = try_to_claim_block(zone, pfn, current, order, start_mt, fallback_mt, alloc_flags)
        if pfn >= 0:
            trace_extfrag(zone, pfn, order, current, start_mt, fallback_mt)
            return pfn
    return -1


def try_to_claim_block(
    zone: Zone, pfn: int, current_order: int, order: int, start_mt: int, block_mt: int, alloc_flags: int
) -> int:
    """Retype the pageblock of a free block when half of it is free or like the request; a page of it, or -1."""
    if current_order >= PAGEBLOCK_ORDER:
        del_page_from_free_list(zone, pfn, current_order, block_mt)
        change_pageblock_range(zone, pfn, current_order, start_mt)
        give_back_upper(zone, pfn, order, current_order, start_mt)
        return pfn
    # Fragmentation is near: have kswapd free more than it would, so that the next fallback is less likely.
    if boost_watermark(zone) and alloc_flags & ALLOC_KSWAPD:
        zone.boosted_watermark = True
    if not pageblock_in_zone(zone, pfn):
        return -1
    free_pages, movable_pages = count_pageblock(zone, pfn)
    if start_mt == MIGRATE_MOVABLE:
        alike_pages = movable_pages
    elif block_mt == MIGRATE_MOVABLE:
        alike_pages = PAGEBLOCK_NR_PAGES - (free_pages + movable_pages)
    else:
        alike_pages = 0  # unmovable or reclaimable: nobody can tell which a page in use is
    if free_pages + alike_pages < 1 << (PAGEBLOCK_ORDER - 1):
        return -1
    move_freepages_block(zone, pfn, block_mt, start_mt)
    return rmqueue_smallest(zone, order, start_mt)


def rmqueue_steal(zone: Zone, order: int, start_mt: int) -> int:
    """``__rmqueue_steal()``: the smallest block of another type; the rest of its pageblock stays as it is, polluted."""
    for current in range(order, NR_PAGE_ORDERS):
        area = zone.free_area[current]
        fallback_mt = find_suitable_fallback(area, current, start_mt, False)
        if fallback_mt == FALLBACK_EMPTY:
            continue
        pfn = area[fallback_mt].first()
        expand(zone, pfn, order, current, fallback_mt)
        trace_extfrag(zone, pfn, order, current, start_mt, fallback_mt)
        return pfn
    return -1


def trace_extfrag(zone: Zone, pfn: int, alloc_order: int, fallback_order: int, start_mt: int, fallback_mt: int) -> None:
    """``mm_page_alloc_extfrag``: fragmenting when below pageblock order, change of ownership when the block is ours
    now.
    """
    claimed = 1 if zone.pageblock_mt[pfn >> PAGEBLOCK_ORDER] == start_mt else 0
    zone.vmstat.count(EXTFRAG_CLAIM if claimed else EXTFRAG_STEAL)
    if fallback_order < PAGEBLOCK_ORDER:
        zone.vmstat.count(EXTFRAG_FRAGMENTING)
    migratetypes = start_mt << 8 | fallback_mt << 4 | claimed
    zone.trace.emit(MM_PAGE_ALLOC_EXTFRAG, pfn, alloc_order, fallback_order, migratetypes)


def boost_watermark(zone: Zone) -> bool:
    """Raise the zone's watermarks by a pageblock, up to ``watermark_boost_factor`` of high. False: not in this zone."""
    factor = zone.config.watermark_boost_factor
    if factor == 0 or PAGEBLOCK_NR_PAGES * 4 > zone.managed:
        return False
    max_boost = zone.watermark[WMARK_HIGH] * factor // 10000
    if max_boost == 0:
        return False
    zone.watermark_boost = min(zone.watermark_boost + PAGEBLOCK_NR_PAGES, max(max_boost, PAGEBLOCK_NR_PAGES))
    return True


def rmqueue_locked(zone: Zone, order: int, migratetype: int, alloc_flags: int) -> int:
    """The locked part of ``rmqueue_buddy()``: one block of ``order``, from the atomic reserve when the request may; -1:
    none.
    """
    pfn = -1
    if alloc_flags & ALLOC_HIGHATOMIC:
        pfn = rmqueue_smallest(zone, order, MIGRATE_HIGHATOMIC)
    if pfn < 0:
        pfn = rmqueue_smallest(zone, order, migratetype)
    if pfn < 0:
        pfn, _ = rmqueue_fallback(zone, order, migratetype, alloc_flags, RMQUEUE_NORMAL)
    # Failing an order-0 atomic request now is worse than failing a high-order one later.
    if pfn < 0 and alloc_flags & (ALLOC_OOM | ALLOC_NON_BLOCK):
        pfn = rmqueue_smallest(zone, order, MIGRATE_HIGHATOMIC)
    return pfn


def highatomic_limit(zone: Zone) -> int:
    """How many page frames may be reserved for high-order atomic requests: 1 % rounded up to pageblocks, or none at
    all.
    """
    if zone.managed // 100 < PAGEBLOCK_NR_PAGES:
        return 0
    return (zone.managed // 100 + PAGEBLOCK_NR_PAGES - 1) & ~(PAGEBLOCK_NR_PAGES - 1)


def reserve_highatomic_pageblock(zone: Zone, pfn: int, order: int) -> None:
    """A high-order atomic request got ``pfn``: keep its pageblock for such. Takes ``zone.lock``."""
    if zone.nr_reserved_highatomic >= highatomic_limit(zone):
        return
    zone.lock.lock_irq()
    migratetype = zone.pageblock_mt[pfn >> PAGEBLOCK_ORDER]
    if zone.nr_reserved_highatomic < highatomic_limit(zone) and migratetype < MIGRATE_HIGHATOMIC:
        reserved = 0
        if order >= PAGEBLOCK_ORDER:
            change_pageblock_range(zone, pfn, order, MIGRATE_HIGHATOMIC)
            reserved = 1 << order
        elif move_freepages_block(zone, pfn, migratetype, MIGRATE_HIGHATOMIC) >= 0:
            reserved = PAGEBLOCK_NR_PAGES
        zone.nr_reserved_highatomic += reserved
        if reserved:
            zone.trace.emit(HIGHATOMIC, pfn, zone.nr_reserved_highatomic)
    zone.lock.unlock_irq()


def unreserve_highatomic_pageblock(zone: Zone, migratetype: int, force: bool) -> bool:
    """Memory is short: give a reserved pageblock with free pages to ``migratetype``. Takes ``zone.lock``.

    The last one stays unless ``force``. True when something became usable.
    """
    if zone.nr_reserved_highatomic == 0 or (not force and zone.nr_reserved_highatomic <= PAGEBLOCK_NR_PAGES):
        return False
    zone.lock.lock_irq()
    moved = False
    for order in range(NR_PAGE_ORDERS):
        pfn = zone.free_area[order][MIGRATE_HIGHATOMIC].first()
        if pfn < 0:
            continue
        zone.nr_reserved_highatomic -= min(max(PAGEBLOCK_NR_PAGES, 1 << order), zone.nr_reserved_highatomic)
        if order < PAGEBLOCK_ORDER:
            moved = move_freepages_block(zone, pfn, MIGRATE_HIGHATOMIC, migratetype) > 0
        else:
            zone.free_area[order][MIGRATE_HIGHATOMIC].remove(pfn)
            zone.free_area[order][migratetype].tail[pfn] = None
            change_pageblock_range(zone, pfn, order, migratetype)
            moved = True
        if moved:
            zone.trace.emit(HIGHATOMIC, pfn, zone.nr_reserved_highatomic)
            break
    zone.lock.unlock_irq()
    return moved
