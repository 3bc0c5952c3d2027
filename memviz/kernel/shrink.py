"""How far the LRU lists are scanned, and what becomes of each page (``mm/vmscan.c``: from ``shrink_lruvec`` down).

A page cache page that was touched once since it came is dropped when it reaches the tail; a second touch made it active
(``mark_page_accessed``). For an anonymous page PG_REFERENCED is the accessed bit of its page tables: it gets
another round.
"""

from __future__ import annotations

from math import isqrt
from typing import TYPE_CHECKING, Final

from memviz.kernel.lruvec import (
    LRU_ACTIVE,
    LRU_ACTIVE_ANON,
    LRU_ACTIVE_FILE,
    LRU_FILE,
    LRU_INACTIVE_ANON,
    LRU_INACTIVE_FILE,
    NR_LRU_LISTS,
    Lruvec,
)
from memviz.kernel.page import (
    NO_PFN,
    OWNER_PAGE_CACHE,
    PAGE_SHIFT,
    PAGEBLOCK_ORDER,
    PG_ACTIVE,
    PG_DIRTY,
    PG_PINNED,
    PG_REFERENCED,
)
from memviz.kernel.vmstat import (
    PGACTIVATE,
    PGDEACTIVATE,
    PGREFILL,
    PGROTATED,
    PGSCAN_DIRECT,
    PGSCAN_KSWAPD,
    PGSTEAL_DIRECT,
    PGSTEAL_KSWAPD,
)

if TYPE_CHECKING:
    from memviz.kernel.vmscan import Vmscan

SWAP_CLUSTER_MAX: Final = 32
MAX_SWAPPINESS: Final = 200
# Virtual time, ns.
SCAN_NS: Final = 40  # look at one page on an LRU list
RELEASE_NS: Final = 200  # unmap and drop one
WRITE_NS: Final = 400  # write one page out: as infinitely fast as the disk that pages are read from


class ScanControl:
    """One call of reclaim (``struct scan_control``): what it wants, what it may do, what it has done. Counts are
    page frames.
    """

    def __init__(self, order: int, gfp: int, reclaim_idx: int, nr_to_reclaim: int) -> None:
        self.order = order
        self.gfp = gfp
        self.reclaim_idx = reclaim_idx
        self.limit_pfn = 0  # pages from here on are of no use to the request
        self.nr_to_reclaim = nr_to_reclaim
        self.priority = 12  # scan 1/4096 of each list at first
        self.kswapd = False
        self.compaction_ready = False
        self.nr_scanned = 0
        self.nr_reclaimed = 0
        self.nr_activated = 0
        self.nr_kept = 0
        self.nr_written = 0
        self.nr_objects = 0  # freed by shrinkers


def inactive_is_low(lruvec: Lruvec, inactive: int) -> bool:
    """Whether pages should move from the active list to this inactive one: below 1 GiB half of all, above it a
    smaller part.
    """
    nr_inactive = lruvec.size[inactive]
    nr_active = lruvec.size[inactive + LRU_ACTIVE]
    gib = (nr_inactive + nr_active) >> (30 - PAGE_SHIFT)
    ratio = isqrt(10 * gib) if gib else 1
    return nr_inactive * ratio < nr_active


def get_scan_count(vmscan: Vmscan, sc: ScanControl) -> list[int]:
    """How many page frames of each list to scan in this round (``get_scan_count()``)."""
    size = vmscan.lruvec.size
    nr = [0] * NR_LRU_LISTS
    anon_part, file_part = scan_balance(vmscan, sc)
    for lru in range(NR_LRU_LISTS):
        part = file_part if lru & LRU_FILE else anon_part
        nr[lru] = (size[lru] >> sc.priority) * part // (anon_part + file_part)
    return nr


def scan_balance(vmscan: Vmscan, sc: ScanControl) -> tuple[int, int]:
    """How scanning is shared between anonymous and file pages, as two weights."""
    if not vmscan.can_swap(sc):
        return 0, 1
    if sc.priority == 0 and vmscan.swappiness:
        return 1, 1
    size = vmscan.lruvec.size
    if size[LRU_INACTIVE_FILE] >> sc.priority and not inactive_is_low(vmscan.lruvec, LRU_INACTIVE_FILE):
        return 0, 1  # cache_trim_mode: plenty of cache that nobody uses
    return vmscan.swappiness, MAX_SWAPPINESS - vmscan.swappiness


def shrink_lruvec(vmscan: Vmscan, sc: ScanControl) -> None:
    """Scan all lists as ``get_scan_count`` says, in small batches; once enough is freed, only finish the proportion."""
    lruvec = vmscan.lruvec
    targets = get_scan_count(vmscan, sc)
    nr = list(targets)
    nr_reclaimed = 0
    # Direct reclaim at its first round always scans everything: that is little.
    scan_adjusted = not sc.kswapd and sc.priority == 12
    while nr[LRU_INACTIVE_ANON] or nr[LRU_ACTIVE_FILE] or nr[LRU_INACTIVE_FILE]:
        for lru in range(NR_LRU_LISTS):
            if nr[lru]:
                nr_to_scan = min(nr[lru], SWAP_CLUSTER_MAX)
                nr[lru] -= nr_to_scan
                nr_reclaimed += shrink_list(vmscan, lru, nr_to_scan, sc)
        vmscan.smp.cond_resched()
        if nr_reclaimed < sc.nr_to_reclaim or scan_adjusted:
            continue
        if not finish_proportion(nr, targets):
            break
        scan_adjusted = True
    sc.nr_reclaimed += nr_reclaimed
    if vmscan.can_swap(sc) and inactive_is_low(lruvec, LRU_INACTIVE_ANON):
        shrink_active_list(vmscan, LRU_ACTIVE_ANON, SWAP_CLUSTER_MAX)


def finish_proportion(nr: list[int], targets: list[int]) -> bool:
    """Enough is freed: give up the kind that has less left, and scan the other as far as the first one came.

    False: only one kind is left, so there is no proportion to keep.
    """
    nr_anon = nr[LRU_INACTIVE_ANON] + nr[LRU_ACTIVE_ANON]
    nr_file = nr[LRU_INACTIVE_FILE] + nr[LRU_ACTIVE_FILE]
    if not nr_anon or not nr_file:
        return False
    stop, go = (0, LRU_FILE) if nr_file > nr_anon else (LRU_FILE, 0)
    left = min(nr_anon, nr_file)
    percentage = left * 100 // (targets[stop] + targets[stop + LRU_ACTIVE] + 1)
    nr[stop] = 0
    nr[stop + LRU_ACTIVE] = 0
    for lru in (go, go + LRU_ACTIVE):
        scanned = targets[lru] - nr[lru]
        nr[lru] = max(targets[lru] * (100 - percentage) // 100 - scanned, 0)
    return True


def shrink_list(vmscan: Vmscan, lru: int, nr_to_scan: int, sc: ScanControl) -> int:
    """Scan part of one list. Active ones only lose pages when their inactive list is low. Returns page frames freed."""
    if lru & LRU_ACTIVE:
        if inactive_is_low(vmscan.lruvec, lru - LRU_ACTIVE):
            shrink_active_list(vmscan, lru, nr_to_scan)
        return 0
    return shrink_inactive_list(vmscan, lru, nr_to_scan, sc)


def isolate_lru_folios(vmscan: Vmscan, lru: int, nr_to_scan: int, limit_pfn: int) -> list[int]:
    """Take up to ``nr_to_scan`` page frames' worth of folios off the tail of a list, ``lruvec.lock`` held.

    Those at ``limit_pfn`` and behind are of no use and go back to the head.
    """
    lruvec = vmscan.lruvec
    taken: list[int] = []
    skipped: list[int] = []
    scanned = 0
    while scanned < nr_to_scan and len(skipped) < 8 * SWAP_CLUSTER_MAX:
        pfn = lruvec.tail[lru]
        if pfn == NO_PFN:
            break
        lruvec.delete(pfn)
        if pfn >= limit_pfn:
            skipped.append(pfn)
            continue
        taken.append(pfn)
        scanned += 1 << lruvec.mem.order[pfn]
    for pfn in skipped:
        lruvec.add(pfn)
    return taken


def shrink_active_list(vmscan: Vmscan, lru: int, nr_to_scan: int) -> None:
    """Pages at the tail of an active list become inactive (``shrink_active_list()``)."""
    lruvec = vmscan.lruvec
    lruvec.lock.lock_irq()
    taken = isolate_lru_folios(vmscan, lru, nr_to_scan, NO_PFN)
    lruvec.lock.unlock_irq()
    vmscan.smp.advance(SCAN_NS * len(taken))
    keep = ~PG_ACTIVE if lru == LRU_ACTIVE_FILE else ~(PG_ACTIVE | PG_REFERENCED)
    lruvec.lock.lock_irq()
    for pfn in taken:
        lruvec.flags[pfn] &= keep
        lruvec.add(pfn)  # marks the pageblock as touched
    lruvec.lock.unlock_irq()
    vmscan.page_alloc.vmstat.count(PGREFILL, len(taken))
    vmscan.page_alloc.vmstat.count(PGDEACTIVATE, len(taken))


def shrink_inactive_list(vmscan: Vmscan, lru: int, nr_to_scan: int, sc: ScanControl) -> int:
    """Free pages from the tail of an inactive list; returns page frames freed (``shrink_inactive_list()``)."""
    lruvec = vmscan.lruvec
    lruvec.lock.lock_irq()
    taken = isolate_lru_folios(vmscan, lru, nr_to_scan, sc.limit_pfn)
    lruvec.lock.unlock_irq()
    if not taken:
        return 0
    nr_taken = sum(1 << lruvec.mem.order[pfn] for pfn in taken)
    sc.nr_scanned += nr_taken
    vmscan.smp.advance(SCAN_NS * len(taken))
    keep: list[int] = []
    rotate: list[int] = []
    reclaimed = 0
    for pfn in taken:
        nr_pages = shrink_folio(vmscan, pfn, sc, keep, rotate)
        reclaimed += nr_pages
    lruvec.lock.lock_irq()
    for pfn in keep:
        lruvec.add(pfn)
    for pfn in rotate:
        lruvec.add_tail(pfn)
    lruvec.lock.unlock_irq()
    vmstat = vmscan.page_alloc.vmstat
    vmstat.count(PGSCAN_KSWAPD if sc.kswapd else PGSCAN_DIRECT, nr_taken)
    vmstat.count(PGSTEAL_KSWAPD if sc.kswapd else PGSTEAL_DIRECT, reclaimed)
    vmstat.count(PGROTATED, len(rotate))
    return reclaimed


def shrink_folio(vmscan: Vmscan, pfn: int, sc: ScanControl, keep: list[int], rotate: list[int]) -> int:
    """Decide about one isolated page: free it (returns its page frames), or put it on ``keep`` or ``rotate`` (0)."""
    mem = vmscan.mem
    flag = mem.flags[pfn]
    order = mem.order[pfn]
    file = mem.owner[pfn] == OWNER_PAGE_CACHE
    if flag & PG_PINNED or (not file and flag & PG_REFERENCED):
        mem.flags[pfn] = (flag | PG_ACTIVE) & ~PG_REFERENCED
        mem.touched[pfn >> PAGEBLOCK_ORDER] = 1
        sc.nr_activated += 1 << order
        vmscan.page_alloc.vmstat.count(PGACTIVATE, 1 << order)
        keep.append(pfn)
        return 0
    if file and flag & PG_DIRTY:
        # Only writeback cleans it; then it comes next. Direct reclaim asks for that and looks elsewhere.
        mem.flags[pfn] = flag & ~PG_DIRTY
        mem.touched[pfn >> PAGEBLOCK_ORDER] = 1
        sc.nr_written += 1 << order
        vmscan.smp.advance(WRITE_NS << order)
        rotate.append(pfn)
        return 0
    if not file:
        if not vmscan.can_swap(sc):
            sc.nr_kept += 1 << order
            keep.append(pfn)
            return 0
        vmscan.smp.advance(WRITE_NS << order)
    mapping = mem.mappings.get(mem.mapping[pfn])
    if mapping is None or not mapping.release_folio(pfn, mem.index[pfn]):
        sc.nr_kept += 1 << order
        keep.append(pfn)
        return 0
    if not file:
        vmscan.swap_used = min(vmscan.swap_used + (1 << order), vmscan.swap_pages)
    vmscan.smp.advance(RELEASE_NS)
    vmscan.page_alloc.free_pages(pfn, order)
    return 1 << order
