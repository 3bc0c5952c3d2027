"""When the fast path found nothing: ``__alloc_pages_slowpath()`` of Linux 7.3, in its order.

Wake kswapd; look again with exact flags; for costly and unmovable high orders compact first; reclaim; compact; retry
while that may help; with ``defrag_mode`` give up avoiding fragmentation (6.15); kill somebody, but never for costly
orders. Ours, before killing and before failing: slab defragmentation, when the machine has it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from memviz.kernel.fallback import unreserve_highatomic_pageblock
from memviz.kernel.mmzone import (
    ALLOC_HIGHATOMIC,
    ALLOC_KSWAPD,
    ALLOC_MIN_RESERVE,
    ALLOC_NO_WATERMARKS,
    ALLOC_NOFRAGMENT,
    ALLOC_NON_BLOCK,
    COMPACT_DEFERRED,
    COMPACT_PRIO_ASYNC,
    COMPACT_PRIO_SYNC_FULL,
    COMPACT_PRIO_SYNC_LIGHT,
    COMPACT_RESULT_NAMES,
    COMPACT_SKIPPED,
    COMPACT_SUCCESS,
    WMARK_HIGH,
    WMARK_LOW,
    WMARK_MIN,
    ZONE_NORMAL,
    Zone,
)
from memviz.kernel.page import (
    GFP_DIRECT_RECLAIM,
    GFP_HIGH,
    GFP_IO,
    GFP_KSWAPD_RECLAIM,
    GFP_MEMALLOC,
    GFP_NOFAIL,
    GFP_NOMEMALLOC,
    GFP_NORETRY,
    GFP_RETRY_MAYFAIL,
    MIGRATE_MOVABLE,
    PAGE_ALLOC_COSTLY_ORDER,
    PAGEBLOCK_ORDER,
)
from memviz.kernel.show_mem import failure_reason, why_not
from memviz.kernel.trace import ALLOC_FAILED, OUT_OF_MEMORY
from memviz.kernel.vmstat import (
    ALLOC_FAIL,
    ALLOCSTALL,
    COMPACTFAIL,
    COMPACTSTALL,
    COMPACTSUCCESS,
    OOM_KILL,
)

if TYPE_CHECKING:
    from memviz.kernel.page_alloc import PageAlloc
    from memviz.kernel.request import RequestObserver

MAX_RECLAIM_RETRIES: Final = 16
MAX_COMPACT_RETRIES: Final = 16
MAX_NOFAIL_LOOPS: Final = 64
MAX_ROUNDS: Final = 256  # of reclaim and compaction for one request; Linux has no bound, a simulation must end


class AllocContext:
    """One request on its way through the slow path (``struct alloc_context`` and the locals of the function)."""

    def __init__(
        self,
        order: int,
        gfp: int,
        migratetype: int,
        highest_zoneidx: int,
        zonelist: list[Zone],
        alloc_flags: int,
        observer: RequestObserver | None,
    ) -> None:
        self.order = order
        self.gfp = gfp
        self.migratetype = migratetype
        self.highest_zoneidx = highest_zoneidx
        self.zonelist = zonelist
        self.alloc_flags = alloc_flags
        self.observer = observer
        self.can_direct_reclaim = gfp & GFP_DIRECT_RECLAIM != 0
        self.can_compact = self.can_direct_reclaim and gfp & GFP_IO != 0
        self.costly = order > PAGE_ALLOC_COSTLY_ORDER
        self.compact_priority = COMPACT_PRIO_SYNC_LIGHT
        self.compact_result = COMPACT_SKIPPED
        self.compact_retries = 0
        self.no_progress_loops = 0
        self.did_some_progress = 0
        self.slabs_defragmented = False

    def begin(self, stage: str) -> None:
        """A stage begins, should somebody watch."""
        if self.observer is not None:
            self.observer.stage_begin(stage)

    def end(self, ok: bool, text: str) -> None:
        """It ends."""
        if self.observer is not None:
            self.observer.stage_end(ok, text)


def gfp_to_alloc_flags(pa: PageAlloc, gfp: int, order: int) -> int:
    """What a gfp mask allows: which reserves, whether to wake kswapd, whether to avoid fragmentation."""
    alloc_flags = WMARK_MIN | gfp & (GFP_HIGH | GFP_KSWAPD_RECLAIM)
    if not gfp & GFP_DIRECT_RECLAIM and not gfp & GFP_NOMEMALLOC:
        alloc_flags |= ALLOC_NON_BLOCK
        if order > 0 and alloc_flags & ALLOC_MIN_RESERVE:
            alloc_flags |= ALLOC_HIGHATOMIC
    # Who can't reclaim can't wait for a whole block either (fixed in 7.x: atomic requests failed under defrag_mode).
    if pa.config.defrag_mode and (gfp & GFP_DIRECT_RECLAIM or not gfp & GFP_KSWAPD_RECLAIM):
        alloc_flags |= ALLOC_NOFRAGMENT
    return alloc_flags


def alloc_pages_slowpath(pa: PageAlloc, ac: AllocContext) -> int:
    """``__alloc_pages_slowpath()``: a block, whatever it takes and ``gfp`` allows; -1 when it fails."""
    pa.fast_path_done(ac)
    ac.alloc_flags = gfp_to_alloc_flags(pa, ac.gfp, ac.order)
    wake_all_kswapds(pa, ac)
    pfn = get_page(pa, ac)
    if pfn >= 0:
        note_retry(ac, "the watermark min allowed what low did not")
        return pfn
    if (pa.memalloc_active() and not ac.gfp & GFP_NOMEMALLOC) or ac.gfp & GFP_MEMALLOC:
        # Reclaim and compaction allocate to free: they may have everything, and must not call themselves.
        ac.alloc_flags = ALLOC_NO_WATERMARKS | ac.alloc_flags & ALLOC_KSWAPD
        pfn = get_page(pa, ac)
        if pfn >= 0 or pa.memalloc_active():
            return pfn if pfn >= 0 else nopage(pa, ac)
    if not ac.can_direct_reclaim or pa.memalloc_active():
        return nopage(pa, ac)
    if ac.can_compact and (ac.costly or (ac.order > 0 and ac.migratetype != MIGRATE_MOVABLE)):
        pfn = direct_compact(pa, ac, COMPACT_PRIO_ASYNC)
        if pfn >= 0:
            return pfn
        if ac.costly and ac.gfp & GFP_NORETRY:
            if ac.compact_result in (COMPACT_SKIPPED, COMPACT_DEFERRED):
                return last_resort(pa, ac)
            ac.compact_priority = COMPACT_PRIO_ASYNC
    pfn = reclaim_and_compact(pa, ac)
    if pfn < 0:
        pfn = last_resort(pa, ac)
    for _ in range(MAX_NOFAIL_LOOPS):
        if pfn >= 0 or not ac.gfp & GFP_NOFAIL:
            return pfn
        ac.alloc_flags |= ALLOC_MIN_RESERVE
        pa.smp.cond_resched()
        pfn = reclaim_and_compact(pa, ac)
    return nofail_failed(pa, ac)


def reclaim_and_compact(pa: PageAlloc, ac: AllocContext) -> int:
    """The retry loop: reclaim, compact, and once more while that may help; -1 when it won't any longer."""
    for round_ in range(MAX_ROUNDS):
        if round_ > MAX_RECLAIM_RETRIES and pa.config.defrag_mode:
            # Reclaim at pageblock order leaves the work to compaction and calls that progress; where compaction gets
            # nowhere either, nothing would ever change. The flag goes a little before the memory does.
            ac.alloc_flags &= ~ALLOC_NOFRAGMENT
        wake_all_kswapds(pa, ac)
        pfn = get_page(pa, ac)
        if pfn >= 0:
            note_retry(ac, "memory that somebody freed meanwhile")
            return pfn
        pfn = direct_reclaim(pa, ac)
        if pfn < 0:
            pfn = direct_compact(pa, ac, ac.compact_priority)
        if pfn >= 0:
            return pfn
        if ac.gfp & GFP_NORETRY:
            return -1
        if ac.costly and not (ac.can_compact and ac.gfp & GFP_RETRY_MAYFAIL):
            return -1
        if should_reclaim_retry(pa, ac):
            continue
        if ac.did_some_progress > 0 and ac.can_compact and should_compact_retry(pa, ac):
            continue
        if pa.config.defrag_mode and ac.alloc_flags & ALLOC_NOFRAGMENT:
            ac.alloc_flags &= ~ALLOC_NOFRAGMENT
            continue
        pfn = defrag_slabs(pa, ac)
        if pfn < 0:
            pfn = may_oom(pa, ac)
        if pfn >= 0:
            return pfn
        if not ac.did_some_progress:
            return -1
        ac.no_progress_loops = 0
    return -1


def get_page(pa: PageAlloc, ac: AllocContext) -> int:
    """``get_page_from_freelist()`` with this request's flags."""
    return pa.get_page_from_freelist(ac.order, ac.alloc_flags, ac.migratetype, ac.highest_zoneidx)


def wake_all_kswapds(pa: PageAlloc, ac: AllocContext) -> None:
    """Have kswapd free what this request needs; under ``defrag_mode`` a whole pageblock."""
    if not ac.alloc_flags & ALLOC_KSWAPD or pa.wakeup_kswapd is None:
        return
    order = max(ac.order, PAGEBLOCK_ORDER) if pa.config.defrag_mode else ac.order
    for zone in ac.zonelist:
        pa.wakeup_kswapd(zone, order)


def reclaim_compact_order(pa: PageAlloc, ac: AllocContext) -> int:
    """The order to reclaim and compact for: under ``defrag_mode`` non-movable requests go for pageblocks (7.x)."""
    if pa.config.defrag_mode and ac.migratetype != MIGRATE_MOVABLE and ac.alloc_flags & ALLOC_NOFRAGMENT:
        return max(ac.order, PAGEBLOCK_ORDER)
    return ac.order


def direct_reclaim(pa: PageAlloc, ac: AllocContext) -> int:
    """``__alloc_pages_direct_reclaim()``: free page cache, then look again; per-CPU lists and the atomic reserve as
    well.
    """
    ac.did_some_progress = 0
    if pa.try_to_free_pages is None:
        return -1
    ac.begin("reclaim")
    pa.vmstat.count(ALLOCSTALL)
    pa.memalloc_noreclaim_save()
    try:
        ac.did_some_progress = pa.try_to_free_pages(reclaim_compact_order(pa, ac), ac.gfp)
    finally:
        pa.memalloc_noreclaim_restore()
    pa.smp.cond_resched()
    pfn = -1
    if ac.did_some_progress:
        pfn = get_page(pa, ac)
        if pfn < 0:
            unreserve_highatomic(ac, False)
            pa.drain_all_pages()
            pfn = get_page(pa, ac)
    text = f"{ac.did_some_progress} pages reclaimed"
    ac.end(pfn >= 0, text if pfn >= 0 else f"{text}; {why_not(ac)}")
    return pfn


def direct_compact(pa: PageAlloc, ac: AllocContext, priority: int) -> int:
    """``__alloc_pages_direct_compact()``: move pages together, then look again."""
    if (ac.order == 0 and reclaim_compact_order(pa, ac) == 0) or pa.try_to_compact_pages is None or not ac.can_compact:
        return -1
    ac.begin("compaction")
    pa.memalloc_noreclaim_save()
    try:
        ac.compact_result = pa.try_to_compact_pages(reclaim_compact_order(pa, ac), ac.gfp, priority)
    finally:
        pa.memalloc_noreclaim_restore()
    result = COMPACT_RESULT_NAMES[ac.compact_result]
    if ac.compact_result == COMPACT_SKIPPED:
        ac.end(False, f"skipped: too little free memory to move pages to, or not fragmented; {why_not(ac)}")
        return -1
    pa.vmstat.count(COMPACTSTALL)
    pfn = get_page(pa, ac)
    if pfn >= 0:
        zone = pa.page_zone(pfn)
        zone.compact_blockskip_flush = False
        if pa.compaction_defer_reset is not None:
            pa.compaction_defer_reset(zone, ac.order)
        pa.vmstat.count(COMPACTSUCCESS)
        ac.end(True, result)
        return pfn
    pa.vmstat.count(COMPACTFAIL)
    ac.end(False, f"{result}; {why_not(ac)}")
    pa.smp.cond_resched()
    return -1


def unreserve_highatomic(ac: AllocContext, force: bool) -> bool:
    """``unreserve_highatomic_pageblock()`` over the zones of the request."""
    return any(unreserve_highatomic_pageblock(zone, ac.migratetype, force) for zone in ac.zonelist)


def should_reclaim_retry(pa: PageAlloc, ac: AllocContext) -> bool:
    """Whether reclaiming everything that could be would let the request through, and reclaim still gets somewhere."""
    if ac.did_some_progress > 0 and not ac.costly:
        ac.no_progress_loops = 0
    else:
        ac.no_progress_loops += 1
    if pa.try_to_free_pages is not None and ac.no_progress_loops <= MAX_RECLAIM_RETRIES:
        for zone in ac.zonelist:
            available = zone.nr_free + reclaimable_pages(pa, zone)
            mark = zone.wmark_pages(WMARK_MIN)
            if zone.watermark_ok(ac.order, mark, ac.highest_zoneidx, ac.alloc_flags, available):
                pa.smp.cond_resched()
                return True
    return unreserve_highatomic(ac, True)


def reclaimable_pages(pa: PageAlloc, zone: Zone) -> int:
    """Page frames on the zone's LRU lists."""
    return 0 if pa.zone_reclaimable_pages is None else pa.zone_reclaimable_pages(zone)


def should_compact_retry(pa: PageAlloc, ac: AllocContext) -> bool:
    """Whether compaction may do better next time: after more reclaim, or trying harder."""
    if ac.order == 0 or pa.try_to_compact_pages is None:
        return False
    if ac.compact_result == COMPACT_SKIPPED:
        return compaction_zonelist_suitable(pa, ac)
    if ac.compact_result == COMPACT_SUCCESS:
        ac.compact_retries += 1
        if ac.compact_retries <= (MAX_COMPACT_RETRIES // 4 if ac.costly else MAX_COMPACT_RETRIES):
            return True
    if ac.compact_priority > (COMPACT_PRIO_SYNC_LIGHT if ac.costly else COMPACT_PRIO_SYNC_FULL):
        ac.compact_priority -= 1
        ac.compact_retries = 0
        return True
    return False


def compaction_zonelist_suitable(pa: PageAlloc, ac: AllocContext) -> bool:
    """Whether some zone would have enough free pages for compaction, were part of what is reclaimable reclaimed."""
    for zone in ac.zonelist:
        available = reclaimable_pages(pa, zone) // ac.order + zone.nr_free
        mark = zone.wmark_pages(WMARK_MIN) + min(2 << ac.order, 32)
        if ac.costly:
            mark += zone.watermark[WMARK_LOW] - zone.watermark[WMARK_MIN]
        if zone.watermark_ok(0, mark, ac.highest_zoneidx, 0, available):
            return True
    return False


def defrag_slabs(pa: PageAlloc, ac: AllocContext) -> int:
    """Ours: defragment movable slabs once a request, then look again, and compact again around what they left."""
    if pa.defrag_slabs is None or ac.slabs_defragmented or not ac.can_direct_reclaim:
        return -1
    ac.slabs_defragmented = True
    ac.begin("slab defragmentation")
    pa.memalloc_noreclaim_save()
    try:
        freed = pa.defrag_slabs(ac.order)
    finally:
        pa.memalloc_noreclaim_restore()
    if freed:
        pa.drain_all_pages()
    pfn = get_page(pa, ac)
    text = f"{freed} pages freed"
    ac.end(pfn >= 0, text if pfn >= 0 else f"{text}; {why_not(ac)}")
    if pfn < 0 and freed:
        pfn = direct_compact(pa, ac, COMPACT_PRIO_SYNC_LIGHT)
    return pfn


def may_oom(pa: PageAlloc, ac: AllocContext) -> int:
    """``__alloc_pages_may_oom()``: one more look, then kill somebody if that could help: then ``did_some_progress``."""
    ac.did_some_progress = 0
    pfn = pa.get_page_from_freelist(ac.order, WMARK_HIGH, ac.migratetype, ac.highest_zoneidx)
    if pfn >= 0:
        note_retry(ac, "free up to the high watermark by now")
        return pfn
    if ac.costly or ac.gfp & GFP_RETRY_MAYFAIL or ac.highest_zoneidx < ZONE_NORMAL:
        return -1
    pa.trace.emit(OUT_OF_MEMORY, ac.order, ac.gfp)
    if pa.out_of_memory is None:
        return -1
    ac.begin("out of memory")
    killed = pa.out_of_memory(ac.order, ac.gfp)
    if killed:
        pa.vmstat.count(OOM_KILL)
        ac.did_some_progress = 1
    pfn = get_page(pa, ac) if killed else -1
    ac.end(pfn >= 0, "somebody was killed" if killed else "nobody to kill")
    return pfn


def last_resort(pa: PageAlloc, ac: AllocContext) -> int:
    """Before a request fails: slab defragmentation, if that was not tried."""
    pfn = defrag_slabs(pa, ac)
    return pfn if pfn >= 0 else nopage(pa, ac)


def nopage(pa: PageAlloc, ac: AllocContext) -> int:
    """``warn_alloc()``: the request fails; write down why."""
    pa.vmstat.count(ALLOC_FAIL)
    pa.trace.emit(ALLOC_FAILED, ac.order, ac.gfp, failure_reason(ac))
    return -1


def nofail_failed(pa: PageAlloc, ac: AllocContext) -> int:
    """The kernel would loop for ever; a simulation says so instead."""
    pa.smp.bug("endless allocation", f"a request of order {ac.order} may not fail and nothing can be freed for it")


def note_retry(ac: AllocContext, text: str) -> None:
    """Tell the observer about a look at the free lists that succeeded between two stages."""
    ac.begin("retry")
    ac.end(True, text)
