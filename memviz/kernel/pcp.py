"""Per-CPU page lists (``mm/page_alloc.c``): what makes most allocations cheap, and hides pages from the buddy
allocator.

As in Linux 6.8 and later, where the lists tune their own size: growing while a CPU allocates, shrinking with reclaim
and time.
"""

from __future__ import annotations

from typing import Final

from memviz.kernel.buddy import free_one_page, rmqueue_smallest
from memviz.kernel.fallback import RMQUEUE_NORMAL, rmqueue_fallback
from memviz.kernel.mmzone import (
    NR_LOWORDER_PCP_LISTS,
    NR_PCP_LISTS,
    PCP_BATCH_SCALE_MAX,
    PCPF_FREE_HIGH_BATCH,
    PCPF_PREV_FREE_HIGH_ORDER,
    WMARK_HIGH,
    ZONE_NORMAL,
    PerCpuPages,
    Zone,
)
from memviz.kernel.page import (
    MIGRATE_MOVABLE,
    MIGRATE_PCPTYPES,
    OWNER_FREE,
    OWNER_PCP,
    OWNER_RUNS,
    PAGE_ALLOC_COSTLY_ORDER,
    PAGEBLOCK_ORDER,
)
from memviz.kernel.trace import MM_PAGE_PCPU_DRAIN

BULK_PAGE_NS: Final = 30  # moving one block between a per-CPU list and the buddy allocator


def pcp_allowed_order(order: int) -> bool:
    """Whether blocks of ``order`` are kept on per-CPU lists: small ones and huge pages."""
    return order <= PAGE_ALLOC_COSTLY_ORDER or order == PAGEBLOCK_ORDER


def order_to_pindex(migratetype: int, order: int) -> int:
    """Which of the lists holds blocks of this order and type."""
    if order > PAGE_ALLOC_COSTLY_ORDER:
        return NR_LOWORDER_PCP_LISTS + (1 if migratetype == MIGRATE_MOVABLE else 0)
    return MIGRATE_PCPTYPES * order + migratetype


def pindex_to_order(pindex: int) -> int:
    """The order of the blocks on list ``pindex``."""
    return PAGEBLOCK_ORDER if pindex >= NR_LOWORDER_PCP_LISTS else pindex // MIGRATE_PCPTYPES


def nr_pcp_alloc(pcp: PerCpuPages, zone: Zone, order: int) -> int:
    """How many blocks to take from the buddy allocator when a list is empty. Doubles while nobody frees."""
    base_batch = pcp.batch
    high = pcp.high
    if pcp.high_max < base_batch:
        return 1
    batch = base_batch if order else base_batch << pcp.alloc_factor
    if pcp.high_min != pcp.high_max and not zone.below_high:
        high = pcp.high = min(high + batch, pcp.high_max)
    if order == 0:
        max_nr_alloc = max(high - pcp.count - base_batch, base_batch)
        if batch <= max_nr_alloc and pcp.alloc_factor < PCP_BATCH_SCALE_MAX:
            pcp.alloc_factor += 1
        batch = min(batch, max_nr_alloc)
    return max(batch >> order, 2) if batch > 1 else batch


def refill(pcp: PerCpuPages, zone: Zone, order: int, migratetype: int, alloc_flags: int) -> None:
    """``rmqueue_bulk()``: fill an empty list from the buddy allocator. ``pcp.lock`` held; takes ``zone.lock`` once."""
    wanted = nr_pcp_alloc(pcp, zone, order)
    pages = pcp.lists[order_to_pindex(migratetype, order)]
    owner = zone.mem.owner
    touched = zone.mem.touched
    run = OWNER_RUNS[OWNER_PCP][order]
    nr = 1 << order
    mode = RMQUEUE_NORMAL
    zone.lock.lock_irq()
    taken = 0
    while taken < wanted:
        pfn = rmqueue_smallest(zone, order, migratetype)
        if pfn < 0:
            pfn, mode = rmqueue_fallback(zone, order, migratetype, alloc_flags, mode)
            if pfn < 0:
                break
        pages.appendleft(pfn)
        owner[pfn : pfn + nr] = run
        touched[pfn >> PAGEBLOCK_ORDER] = 1
        taken += 1
    zone.smp.advance(BULK_PAGE_NS * taken)
    zone.lock.unlock_irq()
    pcp.count += taken << order


def rmqueue_pcplist(pcp: PerCpuPages, zone: Zone, order: int, migratetype: int, alloc_flags: int) -> int:
    """Take a block off this CPU's list, refilling it when empty; -1: none, or the list is busy and its lock can't be
    had.
    """
    if not pcp.lock.trylock():
        return -1
    pcp.free_count >>= 1
    if order > PAGE_ALLOC_COSTLY_ORDER:
        pages = pcp.lists[order_to_pindex(migratetype, order)]
    else:
        pages = pcp.lists[MIGRATE_PCPTYPES * order + migratetype]
    if not pages:
        refill(pcp, zone, order, migratetype, alloc_flags)
    pfn = -1
    if pages:
        pfn = pages.pop()
        nr = 1 << order
        pcp.count -= nr
        pcp.pgalloc += nr
    pcp.lock.unlock()
    return pfn


def free_to_pcp(pcp: PerCpuPages, zone: Zone, pfn: int, order: int, migratetype: int) -> None:
    """``free_frozen_page_commit()``: put a block on this CPU's list; from too many some go back. ``pcp.lock`` held."""
    nr = 1 << order
    zone.mem.touched[pfn >> PAGEBLOCK_ORDER] = 1
    if order:
        zone.mem.owner[pfn : pfn + nr] = OWNER_RUNS[OWNER_PCP][order]
    else:
        zone.mem.owner[pfn] = OWNER_PCP
    pcp.alloc_factor >>= 1
    pcp.pgfree += nr
    pindex = order_to_pindex(migratetype, order)
    pcp.lists[pindex].append(pfn)
    pcp.count += nr
    batch = pcp.batch
    # A CPU that only frees high-order blocks would collect them all: free those at once, in a large batch.
    free_high = False
    if order == 0 or order > PAGE_ALLOC_COSTLY_ORDER:
        pcp.flags &= ~PCPF_PREV_FREE_HIGH_ORDER
    else:
        free_high = (
            pcp.free_count >= batch + pcp.high_min // 2
            and pcp.flags & PCPF_PREV_FREE_HIGH_ORDER != 0
            and (not pcp.flags & PCPF_FREE_HIGH_BATCH or pcp.count >= batch)
        )
        pcp.flags |= PCPF_PREV_FREE_HIGH_ORDER
    if pcp.free_count < batch << PCP_BATCH_SCALE_MAX:
        pcp.free_count += nr
    high = nr_pcp_high(pcp, zone, batch, free_high)
    if pcp.count < high:
        return
    free_pcppages_bulk(pcp, zone, nr_pcp_free(pcp, batch, high, free_high), pindex)
    if zone.below_high and zone.watermark_ok(0, zone.wmark_pages(WMARK_HIGH), ZONE_NORMAL, 0, zone.nr_free):
        zone.below_high = False


def nr_pcp_high(pcp: PerCpuPages, zone: Zone, batch: int, free_high: bool) -> int:
    """From how many page frames on the list should go back; tunes ``pcp.high`` on the way."""
    high = pcp.high = min(max(pcp.high, pcp.high_min), pcp.high_max)
    if high == 0:
        return 0
    if free_high:
        pcp.high = max(high - (batch << PCP_BATCH_SCALE_MAX), pcp.high_min)
        return 0
    if zone.reclaim_active:
        pcp.high = max(high - max(pcp.free_count, batch), pcp.high_min)
        return min(batch << 2, pcp.high)
    if pcp.high_min == pcp.high_max:
        return high
    if zone.below_high:
        pcp.high = max(high - max(pcp.free_count, batch), pcp.high_min)
        return max(pcp.count, pcp.high_min)
    if pcp.count >= high:
        need_high = pcp.free_count + batch
        if pcp.high < need_high:
            pcp.high = min(max(need_high, pcp.high_min), pcp.high_max)
    return high


def nr_pcp_free(pcp: PerCpuPages, batch: int, high: int, free_high: bool) -> int:
    """How many page frames to give back: at least a batch, more after many frees in a row."""
    if free_high:
        return min(pcp.count, batch << PCP_BATCH_SCALE_MAX)
    if high < batch:
        return 1
    return max(min(max(pcp.free_count, batch), high - batch), batch)


def free_pcppages_bulk(pcp: PerCpuPages, zone: Zone, count: int, pindex: int) -> None:
    """Give ``count`` page frames back, oldest first, list after list from ``pindex`` on. Takes ``zone.lock`` once."""
    count = min(pcp.count, count)
    if count <= 0:
        return
    owner = zone.mem.owner
    block_mt = zone.pageblock_mt
    trace = zone.trace
    freed = 0
    zone.lock.lock_irq()
    while count > 0:
        while not pcp.lists[pindex]:
            pindex = (pindex + 1) % NR_PCP_LISTS
        pages = pcp.lists[pindex]
        order = pindex_to_order(pindex)
        nr = 1 << order
        run = OWNER_RUNS[OWNER_FREE][order]
        while count > 0 and pages:
            pfn = pages.popleft()
            count -= nr
            pcp.count -= nr
            freed += 1
            migratetype = block_mt[pfn >> PAGEBLOCK_ORDER]
            owner[pfn : pfn + nr] = run
            free_one_page(zone, pfn, order, migratetype)  # marks the pageblock as touched
            trace.emit_bulk(MM_PAGE_PCPU_DRAIN, pfn, order, migratetype)
        pindex = (pindex + 1) % NR_PCP_LISTS
    zone.smp.advance(BULK_PAGE_NS * freed)
    zone.lock.unlock_irq()


def decay_pcp_high(pcp: PerCpuPages, zone: Zone) -> bool:
    """The periodic vmstat work: let an idle CPU's list shrink by an eighth. True: there is more to do next time."""
    again = False
    pcp.lock.lock()
    if pcp.high > pcp.high_min:
        pcp.high = max(pcp.count - (pcp.batch << PCP_BATCH_SCALE_MAX), pcp.high - (pcp.high >> 3), pcp.high_min)
        again = pcp.high > pcp.high_min
    to_drain = pcp.count - pcp.high
    while to_drain > 0:
        free_pcppages_bulk(pcp, zone, min(to_drain, pcp.batch), 0)
        to_drain -= pcp.batch
        again = True
    pcp.lock.unlock()
    return again


def drain_pages_zone(pcp: PerCpuPages, zone: Zone) -> None:
    """Give everything on one CPU's list of one zone back, a large batch at a time."""
    while pcp.count:
        pcp.lock.lock()
        free_pcppages_bulk(pcp, zone, pcp.batch << PCP_BATCH_SCALE_MAX, 0)
        pcp.lock.unlock()
