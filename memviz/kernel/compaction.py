"""Memory compaction (``mm/compaction.c`` of Linux 7.3): pages from a zone's start move to free frames at its end.

Two scanners, pageblock by pageblock: one collects movable pages, the other free frames to move them to; where they
meet, the run is complete. Only pages on LRU lists can be isolated. A slab page always refuses, so that one of them
pins its block, unless ``isolate_slab`` is set: then the slab is asked to move its objects elsewhere, which Linux
cannot do.

Left out: the searches of free lists that skip parts of either scan (``fast_isolate_*``, 5.1), they find the same
sooner; and the capture of a freed block by the waiting request.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from memviz.kernel.block_pins import BlockPins
from memviz.kernel.compact_control import (
    MIGRATE_ASYNC,
    MIGRATE_SYNC,
    MIGRATE_SYNC_LIGHT,
    WHOLE_ZONE,
    CompactControl,
    compaction_defer_reset,
    compaction_deferred,
    compaction_restarting,
    compaction_suit_allocation_order,
    defer_compaction,
    first_free_pfn,
    first_migrate_pfn,
    fragmentation_score_wmark,
    fragmentation_score_zone,
    reset_cached_positions,
    reset_isolation_suitable,
)
from memviz.kernel.fallback import find_suitable_fallback
from memviz.kernel.isolate import (
    CompactionTarget,
    isolate_migratepages_block,
    release_free_list,
)
from memviz.kernel.migrate import MAX_MIGRATE_RETRY, migrate_pages
from memviz.kernel.mmzone import (
    COMPACT_COMPLETE,
    COMPACT_CONTENDED,
    COMPACT_CONTINUE,
    COMPACT_DEFERRED,
    COMPACT_PARTIAL_SKIPPED,
    COMPACT_PRIO_ASYNC,
    COMPACT_PRIO_SYNC_FULL,
    COMPACT_SKIPPED,
    COMPACT_SUCCESS,
    WMARK_HIGH,
    ZONE_NORMAL,
    Zone,
)
from memviz.kernel.page import (
    GFP_DMA,
    GFP_DMA32,
    GFP_IO,
    MIGRATE_MOVABLE,
    NR_PAGE_ORDERS,
    PAGEBLOCK_NR_PAGES,
    PAGEBLOCK_ORDER,
    PageFrames,
    gfp_migratetype,
)
from memviz.kernel.pcp import drain_pages_zone
from memviz.kernel.request import watching
from memviz.kernel.smp import Smp
from memviz.kernel.trace import (
    MM_COMPACTION_BEGIN,
    MM_COMPACTION_DEFERRED,
    MM_COMPACTION_END,
)
from memviz.kernel.vmstat import COMPACTFREE_SCANNED, COMPACTISOLATED, COMPACTMIGRATE_SCANNED

if TYPE_CHECKING:
    from memviz.kernel.page_alloc import PageAlloc
    from memviz.kernel.vmscan import Vmscan

# What isolate_migratepages found
ISOLATE_ABORT: Final = 0
ISOLATE_NONE: Final = 1
ISOLATE_SUCCESS: Final = 2

PROACTIVENESS: Final = 20  # vm.compaction_proactiveness

BLOCK_MASK: Final = ~(PAGEBLOCK_NR_PAGES - 1)


class Compaction:
    """Compaction of one machine, and what it found in its way.

    ``pins`` knows what pinned each pageblock. ``isolate_slab(pfn)`` evacuates the slab at ``pfn``, True when its frames
    are free now; it may allocate and sleep. The constructor makes itself the page allocator's ``try_to_compact_pages``.
    """

    def __init__(self, mem: PageFrames, page_alloc: PageAlloc, vmscan: Vmscan, smp: Smp) -> None:
        self.mem = mem
        self.page_alloc = page_alloc
        self.vmscan = vmscan
        self.smp = smp
        self.slab_hook: Callable[[int], bool] | None = None
        self.proactiveness = PROACTIVENESS
        self.pins = BlockPins(mem, page_alloc)
        self.slabs_evacuated = 0
        page_alloc.try_to_compact_pages = self.try_to_compact_pages
        page_alloc.compaction_defer_reset = self.allocation_succeeded

    def enable(self, on: bool, wakeup_kcompactd: Callable[[int, int], None]) -> None:
        """Whether requests, kswapd and the clock start compaction: as with CONFIG_COMPACTION, or without. A command
        always may."""
        self.page_alloc.try_to_compact_pages = self.try_to_compact_pages if on else None
        self.vmscan.wakeup_kcompactd = wakeup_kcompactd if on else None
        self.proactiveness = PROACTIVENESS if on else 0

    @property
    def isolate_slab(self) -> Callable[[int], bool] | None:
        """Evacuates the slab that a page frame belongs to; None: slab pages always refuse, as in Linux."""
        return self.slab_hook

    @isolate_slab.setter
    def isolate_slab(self, hook: Callable[[int], bool] | None) -> None:
        self.slab_hook = hook
        self.blocks_changed()

    def blocks_changed(self) -> None:
        """What compaction learned is out of date, as slabs have left or may leave from now on: forget hints and
        deferral.

        Linux has no need for it: there only kswapd forgets hints, when it goes to sleep.
        """
        for zone in self.page_alloc.zones:
            reset_isolation_suitable(zone)
            zone.compact_considered = 0
            zone.compact_defer_shift = 0

    def allocation_succeeded(self, zone: Zone, order: int) -> None:
        """The page allocator got its page after compaction."""
        compaction_defer_reset(zone, order, True)

    # -- for requests ----------------------------------------------------------------------------------------------

    def try_to_compact_pages(self, order: int, gfp: int, priority: int) -> int:
        """Compact the zones that a request may use until one has a block of ``order``; returns the best COMPACT_*
        result.
        """
        result = COMPACT_SKIPPED
        if not gfp & GFP_IO:
            return result
        highest = ZONE_NORMAL
        if gfp & (GFP_DMA | GFP_DMA32):
            highest = 0 if gfp & GFP_DMA else 1
        for zone in self.page_alloc.zonelists[highest]:
            if priority > COMPACT_PRIO_SYNC_FULL and compaction_deferred(zone, order):
                self.smp.trace.emit(MM_COMPACTION_DEFERRED, zone.idx, order, zone.compact_defer_shift)
                self.figure("deferred", 1)
                result = max(result, COMPACT_DEFERRED)
                continue
            cc = CompactControl(
                zone,
                order,
                gfp_migratetype(gfp),
                MIGRATE_ASYNC if priority == COMPACT_PRIO_ASYNC else MIGRATE_SYNC_LIGHT,
            )
            cc.highest_zoneidx = highest
            cc.direct_compaction = True
            cc.whole_zone = cc.ignore_skip_hint = cc.ignore_block_suitable = priority == COMPACT_PRIO_SYNC_FULL
            status = self.compact_zone(cc)
            result = max(result, status)
            if status == COMPACT_SUCCESS:
                # Not known yet whether the allocation succeeds: only then the counters start anew.
                compaction_defer_reset(zone, order, False)
                break
            if priority != COMPACT_PRIO_ASYNC and status in (COMPACT_COMPLETE, COMPACT_PARTIAL_SKIPPED):
                defer_compaction(zone, order)
        return result

    def compact_memory(self) -> int:
        """``/proc/sys/vm/compact_memory``: compact every zone wholly, whatever hints say; returns page frames moved."""
        self.page_alloc.drain_all_pages()
        self.page_alloc.memalloc_noreclaim_save()
        migrated = 0
        try:
            for zone in self.page_alloc.zones:
                cc = CompactControl(zone, WHOLE_ZONE, MIGRATE_MOVABLE, MIGRATE_SYNC)
                cc.whole_zone = cc.ignore_skip_hint = True
                self.compact_zone(cc)
                migrated += cc.migrated
        finally:
            self.page_alloc.memalloc_noreclaim_restore()
        self.page_alloc.drain_all_pages()
        return migrated

    # -- one run over one zone -------------------------------------------------------------------------------------

    def compact_zone(self, cc: CompactControl) -> int:
        """``compact_zone()``: returns COMPACT_*."""
        zone = cc.zone
        if cc.order != WHOLE_ZONE:
            free_pages = zone.nr_free
            if self.page_alloc.config.defrag_mode and not cc.direct_compaction:
                free_pages = zone.nr_free_pages_blocks()
            result = compaction_suit_allocation_order(cc, free_pages)
            if result != COMPACT_CONTINUE:
                return result
            if compaction_restarting(zone, cc.order):
                reset_isolation_suitable(zone)
        self.place_scanners(cc)
        update_cached = (
            cc.mode != MIGRATE_ASYNC and zone.compact_cached_migrate_pfn[0] == zone.compact_cached_migrate_pfn[1]
        )
        self.smp.trace.emit(MM_COMPACTION_BEGIN, zone.idx, cc.order, cc.mode)
        result = COMPACT_CONTENDED
        try:
            result = self.scan(cc, update_cached)
        finally:
            self.compact_done(cc, result)
        return result

    def scan(self, cc: CompactControl, update_cached: bool) -> int:
        """The loop of ``compact_zone()``: isolate, migrate, until the run is finished."""
        zone = cc.zone
        while True:
            result = self.compact_finished(cc)
            if result != COMPACT_CONTINUE:
                return result
            # A block that was begun is done in one go.
            cc.finish_pageblock = cc.last_migrated_pfn & BLOCK_MASK == cc.migrate_pfn & BLOCK_MASK
            found = self.isolate_migratepages(cc)
            if found == ISOLATE_ABORT:
                self.putback_movable_pages(cc)
                return COMPACT_CONTENDED
            if found == ISOLATE_NONE:
                if update_cached:
                    zone.compact_cached_migrate_pfn[1] = zone.compact_cached_migrate_pfn[0]
            else:
                update_cached = False
                cc.last_migrated_pfn = max(zone.start_pfn, (cc.migrate_pfn - 1) & BLOCK_MASK)
                if not self.migrate_batch(cc):
                    return COMPACT_CONTENDED
            self.check_drain(cc)
            self.smp.cond_resched()

    def place_scanners(self, cc: CompactControl) -> None:
        """Start at the zone's ends, or where the run before stopped."""
        zone = cc.zone
        if cc.whole_zone:
            cc.migrate_pfn = first_migrate_pfn(zone)
            cc.free_pfn = first_free_pfn(zone)
            return
        which = 0 if cc.mode == MIGRATE_ASYNC else 1
        cc.migrate_pfn = zone.compact_cached_migrate_pfn[which]
        cc.free_pfn = zone.compact_cached_free_pfn
        if cc.free_pfn < zone.start_pfn or cc.free_pfn >= zone.end_pfn:
            cc.free_pfn = first_free_pfn(zone)
            zone.compact_cached_free_pfn = cc.free_pfn
        if cc.migrate_pfn < zone.start_pfn or cc.migrate_pfn >= zone.end_pfn:
            cc.migrate_pfn = first_migrate_pfn(zone)
            zone.compact_cached_migrate_pfn[0] = cc.migrate_pfn
            zone.compact_cached_migrate_pfn[1] = cc.migrate_pfn
        if cc.migrate_pfn <= zone.compact_init_migrate_pfn:
            cc.whole_zone = True

    def compact_finished(self, cc: CompactControl) -> int:
        """``compact_finished()``: COMPACT_CONTINUE, or why to stop."""
        zone = cc.zone
        if cc.scanners_met():
            reset_cached_positions(zone)
            if cc.direct_compaction:
                zone.compact_blockskip_flush = True  # kswapd forgets the hints when it goes to sleep
            return COMPACT_COMPLETE if cc.whole_zone else COMPACT_PARTIAL_SKIPPED
        if cc.proactive_compaction:
            if self.vmscan.kswapd_running:
                return COMPACT_PARTIAL_SKIPPED
            low = fragmentation_score_wmark(self.proactiveness, True)
            return COMPACT_CONTINUE if fragmentation_score_zone(zone) > low else COMPACT_SUCCESS
        if cc.order == WHOLE_ZONE:
            return COMPACT_CONTINUE
        # Always finish a pageblock: half a block emptied helps nobody.
        if cc.migrate_pfn & ~BLOCK_MASK:
            return COMPACT_CONTINUE
        if self.page_alloc.config.defrag_mode and not cc.direct_compaction:
            mark = zone.wmark_pages(WMARK_HIGH)
            free = zone.nr_free_pages_blocks()
            ok = zone.watermark_ok(cc.order, mark, cc.highest_zoneidx, cc.alloc_flags, free)
            return COMPACT_SUCCESS if ok else COMPACT_CONTINUE
        return COMPACT_SUCCESS if self.suitable_page_free(cc) else COMPACT_CONTINUE

    def suitable_page_free(self, cc: CompactControl) -> bool:
        """Whether the request would find a block now, of its own type or one that it may claim."""
        for order in range(cc.order, NR_PAGE_ORDERS):
            area = cc.zone.free_area[order]
            if not area[cc.migratetype].empty():
                return True
            if find_suitable_fallback(area, order, cc.migratetype, True) >= 0:
                return True
        return False

    def check_drain(self, cc: CompactControl) -> None:
        """Frames that migration freed wait on this CPU's list: give them back once a block of the wanted order is
        done.
        """
        if cc.order <= 0 or cc.last_migrated_pfn == 0:
            return
        if cc.last_migrated_pfn < cc.migrate_pfn & ~((1 << cc.order) - 1):
            drain_pages_zone(cc.zone.pcp[self.smp.this_cpu().id], cc.zone)
            cc.last_migrated_pfn = 0

    def compact_done(self, cc: CompactControl, result: int) -> None:
        """Give back unused frames, remember where to go on, count."""
        zone = cc.zone
        if cc.nr_freepages:
            free_pfn = release_free_list(self.page_alloc, cc) & BLOCK_MASK
            zone.compact_cached_free_pfn = max(zone.compact_cached_free_pfn, free_pfn)
        vmstat = self.page_alloc.vmstat
        vmstat.count(COMPACTMIGRATE_SCANNED, cc.total_migrate_scanned)
        vmstat.count(COMPACTFREE_SCANNED, cc.total_free_scanned)
        vmstat.count(COMPACTISOLATED, cc.migrated + cc.failed)
        self.slabs_evacuated += cc.slabs_evacuated
        self.smp.trace.emit(MM_COMPACTION_END, zone.idx, cc.order & 0xFF, result, cc.migrated)
        self.figure("blocks scanned", cc.blocks_scanned)
        self.figure("blocks skipped", cc.blocks_skipped)
        self.figure("pages moved", cc.migrated)
        self.figure("pages busy", cc.failed)
        self.figure("slabs evacuated", cc.slabs_evacuated)
        self.figure("blocks pinned", cc.blocks_pinned)

    def figure(self, name: str, value: int) -> None:
        """Tell whoever watches the request that this run works for."""
        observer = watching(self.page_alloc)
        if observer is not None:
            observer.figure(name, value)

    # -- pages to move ---------------------------------------------------------------------------------------------

    def isolate_migratepages(self, cc: CompactControl) -> int:
        """Go on from ``migrate_pfn`` to the next pageblock that has something to move, and isolate a batch of it."""
        zone = cc.zone
        low_pfn = cc.migrate_pfn
        found = ISOLATE_NONE
        while True:
            block_end = (low_pfn & BLOCK_MASK) + PAGEBLOCK_NR_PAGES
            if block_end > cc.free_pfn & BLOCK_MASK:
                low_pfn = max(low_pfn, cc.free_pfn & BLOCK_MASK)  # the scanners meet here
                break
            at_start = not low_pfn & ~BLOCK_MASK or low_pfn == zone.start_pfn
            block = low_pfn >> PAGEBLOCK_ORDER
            if at_start and not cc.ignore_skip_hint and self.mem.pageblock_skip[block]:
                cc.blocks_skipped += 1
                self.pins.tell(self.pins.pfn[block])  # as far as the run knew that left the hint
                low_pfn = block_end
                continue
            if not self.suitable_migration_source(cc, block):
                self.update_cached_migrate(cc, block_end)
                low_pfn = block_end
                continue
            if at_start:
                cc.blocks_scanned += 1
                self.pins.enter_block(cc, low_pfn, block_end, self.slab_hook)
            low_pfn = isolate_migratepages_block(self.vmscan, cc, low_pfn, block_end)
            if cc.contended:
                return ISOLATE_ABORT
            if low_pfn >= block_end and (not cc.migratepages or cc.finish_pageblock):
                # Only synchronous runs ask slabs to leave: an asynchronous one may not keep them from it.
                if self.slab_hook is None or cc.mode != MIGRATE_ASYNC:
                    self.update_pageblock_skip(cc, block)
                self.update_cached_migrate(cc, block_end)
            if cc.migratepages:
                found = ISOLATE_SUCCESS
            break
        cc.migrate_pfn = low_pfn
        return found

    def suitable_migration_source(self, cc: CompactControl, block: int) -> bool:
        """Asynchronous direct compaction only takes from blocks of the request's own type; everybody else from all."""
        if cc.mode != MIGRATE_ASYNC or not cc.direct_compaction:
            return True
        return self.mem.pageblock_mt[block] == cc.migratetype

    def update_pageblock_skip(self, cc: CompactControl, block: int) -> None:
        """Nothing to move here: the next runs need not look."""
        if not cc.no_set_skip_hint:
            self.mem.pageblock_skip[block] = 1

    def update_cached_migrate(self, cc: CompactControl, pfn: int) -> None:
        """The next run starts behind ``pfn``; an asynchronous one says nothing about synchronous ones."""
        cached = cc.zone.compact_cached_migrate_pfn
        if cc.no_set_skip_hint:
            return
        cached[0] = max(cached[0], pfn)
        if cc.mode != MIGRATE_ASYNC:
            cached[1] = max(cached[1], pfn)

    # -- moving ----------------------------------------------------------------------------------------------------

    def migrate_batch(self, cc: CompactControl) -> bool:
        """Move the isolated pages. False: there are no free frames left to move them to."""
        pages = cc.migratepages
        cc.migratepages = []
        passes = 1 if cc.mode == MIGRATE_ASYNC else MAX_MIGRATE_RETRY
        source = CompactionTarget(self.page_alloc, cc)
        result = migrate_pages(self.vmscan, pages, source.compaction_alloc, source.compaction_free, passes)
        cc.migrated += result.migrated
        cc.failed += result.failed
        cc.nr_migratepages = 0
        if result.left:
            cc.migratepages = result.left
            self.putback_movable_pages(cc)
            return cc.scanners_met()
        if result.failed and cc.mode == MIGRATE_ASYNC and cc.migrate_pfn & ~BLOCK_MASK and not cc.ignore_skip_hint:
            # Part of the block stays: what else is in it need not move for this request.
            cc.migrate_pfn = (cc.migrate_pfn & BLOCK_MASK) + PAGEBLOCK_NR_PAGES
        return True

    def putback_movable_pages(self, cc: CompactControl) -> None:
        """Isolated pages that don't move go back on their lists."""
        for pfn in cc.migratepages:
            self.vmscan.folio_add_lru(pfn)
        cc.migratepages = []
        cc.nr_migratepages = 0
