"""Reclaim (``mm/vmscan.c``): which pages are taken away when memory runs short, by whom, in which order.

Direct reclaim works for one request, kswapd for the watermarks. Both look at the tails of the inactive lists, a
larger part of them with every round (``priority``), and ask the owners of pages to let go
(``AddressSpace.release_folio``). Anonymous pages can only go when there is swap; then dirty pages and swap cost
time, but the disk never fills up or fails.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from memviz.kernel.compact_control import compact_gap, compaction_suitable, reset_isolation_suitable
from memviz.kernel.lruvec import (
    LRU_ACTIVE_ANON,
    LRU_ACTIVE_FILE,
    LRU_INACTIVE_ANON,
    LRU_INACTIVE_FILE,
    Lruvec,
)
from memviz.kernel.mmzone import WMARK_HIGH, WMARK_MIN, ZONE_NORMAL, Zone
from memviz.kernel.page import (
    GFP_DMA,
    GFP_DMA32,
    GFP_FS,
    GFP_IO,
    GFP_KERNEL,
    OWNER_PAGE_CACHE,
    PAGE_ALLOC_COSTLY_ORDER,
    PAGEBLOCK_ORDER,
    PageFrames,
)
from memviz.kernel.request import watching
from memviz.kernel.shrink import SWAP_CLUSTER_MAX, ScanControl, shrink_active_list, shrink_lruvec
from memviz.kernel.smp import Smp
from memviz.kernel.trace import MM_VMSCAN_KSWAPD_WAKE, MM_VMSCAN_RECLAIM
from memviz.kernel.vmstat import (
    KSWAPD_HIGH_WMARK_HIT_QUICKLY,
    PAGEOUTRUN,
    SLABS_SCANNED,
)

if TYPE_CHECKING:
    from memviz.kernel.page_alloc import PageAlloc

DEF_PRIORITY: Final = 12
MAX_RECLAIM_RETRIES: Final = 16
SHRINK_BATCH: Final = 128

DEFAULT_SEEKS: Final = 2  # how dear an object is to make again, in disk seeks


class Shrinker:
    """A cache that reclaim may ask to become smaller (``struct shrinker``)."""

    def __init__(self, scan: Callable[[int], int], count: Callable[[], int] | None, seeks: int) -> None:
        self.scan = scan
        self.count = count
        self.seeks = seeks
        self.nr_deferred = 0  # objects that earlier rounds were too small to ask for


class Vmscan:
    """Reclaim of one machine: its LRU lists, its shrinkers, kswapd.

    The constructor makes itself the page allocator's ``try_to_free_pages`` and ``wakeup_kswapd``; ``start`` spawns
    kswapd. ``swap_pages``: size of swap in page frames, 0 for none.
    """

    def __init__(self, mem: PageFrames, page_alloc: PageAlloc, smp: Smp, swap_pages: int = 0) -> None:
        self.mem = mem
        self.page_alloc = page_alloc
        self.smp = smp
        self.lruvec = Lruvec(mem, smp)
        self.swappiness = 60  # vm.swappiness
        self.swap_pages = swap_pages
        self.swap_used = 0
        self.shrinkers: list[Shrinker] = []
        self.kswapd_order = -1  # what kswapd is asked for; -1: nothing
        self.kswapd_highest_zoneidx = 0
        self.kswapd_failures = 0  # rounds in which kswapd freed nothing
        self.kswapd_running = False
        # (order): kswapd goes to sleep, may compaction have a look?
        self.wakeup_kcompactd: Callable[[int, int], None] | None = None
        page_alloc.try_to_free_pages = self.try_to_free_pages
        page_alloc.wakeup_kswapd = self.wakeup_kswapd
        page_alloc.zone_reclaimable_pages = self.zone_reclaimable_pages

    def start(self, cpu: int = 0) -> None:
        """Spawn kswapd. Without it only direct reclaim works."""
        self.smp.spawn(cpu, "kswapd0", self.kswapd, daemon=True)

    # -- for the owners of pages --------------------------------------------------------------------------------------

    def folio_add_lru(self, pfn: int) -> None:
        """Put a page on its LRU list. Wants owner, mapping and index set; the page may be reclaimed or moved from
        now on.
        """
        self.lruvec.folio_add_lru(pfn)

    def folio_isolate_lru(self, pfn: int) -> bool:
        """Take a page off its LRU list. False: somebody else has isolated it."""
        return self.lruvec.folio_isolate_lru(pfn)

    def on_lru(self, pfn: int) -> bool:
        """Whether the page is on an LRU list."""
        return self.lruvec.on_lru(pfn)

    def mark_page_accessed(self, pfn: int) -> None:
        """Somebody used the page."""
        self.lruvec.mark_page_accessed(pfn)

    def swap_free(self, nr_pages: int) -> None:
        """Anonymous pages came back from swap, or their process ended."""
        self.swap_used = max(self.swap_used - nr_pages, 0)

    def register_shrinker(
        self, scan: Callable[[int], int], count: Callable[[], int] | None = None, seeks: int = DEFAULT_SEEKS
    ) -> None:
        """Let reclaim ask ``scan(nr_to_scan)``, which frees what it can of its cache and returns how many objects.

        ``count()``: how many objects could be freed; a cache without it is asked for one batch a round. ``seeks``
        0: half of what is there may go at once.
        """
        self.shrinkers.append(Shrinker(scan, count, seeks))

    # -- what there is to reclaim ----------------------------------------------------------------------------------

    def zone_reclaimable_pages(self, zone: Zone) -> int:
        """Page frames of the zone that reclaim could free, at most (``zone_reclaimable_pages()``)."""
        size = self.lruvec.size
        file = size[LRU_INACTIVE_FILE] + size[LRU_ACTIVE_FILE]
        pages = min(self.mem.owner.count(OWNER_PAGE_CACHE, zone.start_pfn, zone.end_pfn), file)
        if self.swap_used < self.swap_pages:
            pages += min(size[LRU_INACTIVE_ANON] + size[LRU_ACTIVE_ANON], zone.managed)
        return pages

    # -- direct reclaim ----------------------------------------------------------------------------------------------

    def try_to_free_pages(self, order: int, gfp: int = GFP_KERNEL) -> int:
        """Reclaim for a request of ``order``; returns page frames freed, 1 when compaction should rather go on, 0:
        no luck.
        """
        highest = ZONE_NORMAL
        if gfp & (GFP_DMA | GFP_DMA32):
            highest = 0 if gfp & GFP_DMA else 1
        sc = ScanControl(order, gfp, highest, SWAP_CLUSTER_MAX)
        sc.limit_pfn = self.limit_pfn(highest)
        while sc.priority >= 0:
            self.shrink_zones(sc)
            if sc.nr_reclaimed >= sc.nr_to_reclaim or sc.compaction_ready:
                break
            sc.priority -= 1
        self.smp.trace.emit(MM_VMSCAN_RECLAIM, sc.nr_reclaimed, sc.nr_scanned, order)
        self.report(sc)
        if sc.nr_reclaimed:
            return sc.nr_reclaimed
        return 1 if sc.compaction_ready else 0

    def report(self, sc: ScanControl) -> None:
        """Tell whoever watches this request."""
        observer = watching(self.page_alloc)
        if observer is None:
            return
        observer.figure("pages looked at", sc.nr_scanned)
        observer.figure("pages dropped", sc.nr_reclaimed)
        observer.figure("pages kept", sc.nr_activated + sc.nr_kept)
        if sc.compaction_ready:
            observer.figure("enough free to compact", 1)

    def limit_pfn(self, highest_zoneidx: int) -> int:
        """Pages from here on are in zones that the request can't use."""
        return max((zone.end_pfn for zone in self.page_alloc.zones if zone.idx <= highest_zoneidx), default=0)

    def shrink_zones(self, sc: ScanControl) -> None:
        """One round over the node, unless compaction could go ahead in every zone already."""
        for zone in self.page_alloc.zonelists[sc.reclaim_idx]:
            if sc.order > PAGE_ALLOC_COSTLY_ORDER and self.compaction_ready(zone, sc):
                sc.compaction_ready = True
                continue
            self.shrink_node(sc)
            return  # one node: the first zone that needs it has shrunk all of them

    def compaction_ready(self, zone: Zone, sc: ScanControl) -> bool:
        """Whether compaction has, in this zone, what it needs, so that reclaim would only throw cache away."""
        if zone.watermark_ok(sc.order, zone.wmark_pages(WMARK_MIN), sc.reclaim_idx, 0, zone.nr_free):
            return True
        if not compaction_suitable(zone, sc.order, zone.wmark_pages(WMARK_MIN), sc.reclaim_idx):
            return False
        watermark = zone.wmark_pages(WMARK_HIGH) + compact_gap(sc.order)
        return zone.watermark_ok(0, watermark, sc.reclaim_idx, 0, zone.nr_free)

    def shrink_node(self, sc: ScanControl) -> None:
        """Shrink LRU lists and caches, again as long as a high order still needs more (``shrink_node()``)."""
        while True:
            before = sc.nr_reclaimed
            shrink_lruvec(self, sc)
            self.shrink_slab(sc)
            if sc.nr_reclaimed > before:
                self.kswapd_failures = 0
            if not self.should_continue_reclaim(sc.nr_reclaimed - before, sc):
                return

    def should_continue_reclaim(self, nr_reclaimed: int, sc: ScanControl) -> bool:
        """For higher orders: go on until compaction has enough free pages to work with, as long as there is
        progress.
        """
        if sc.order == 0 or (sc.order <= PAGE_ALLOC_COSTLY_ORDER and sc.priority >= DEF_PRIORITY - 2):
            return False
        if nr_reclaimed == 0:
            return False
        for zone in self.page_alloc.zonelists[sc.reclaim_idx]:
            mark = zone.wmark_pages(WMARK_MIN)
            if zone.watermark_ok(sc.order, mark, sc.reclaim_idx, 0, zone.nr_free):
                return False
            if compaction_suitable(zone, sc.order, mark, sc.reclaim_idx):
                return False
        inactive = self.lruvec.size[LRU_INACTIVE_FILE]
        if self.can_swap(sc):
            inactive += self.lruvec.size[LRU_INACTIVE_ANON]
        return inactive > compact_gap(sc.order)

    def shrink_slab(self, sc: ScanControl) -> None:
        """Ask the owners of caches. Pages that this frees at once are counted (``reclaim_state``); RCU frees more
        later.
        """
        if not sc.gfp & GFP_FS:
            return
        before = self.nr_free()
        for shrinker in self.shrinkers:
            self.do_shrink_slab(shrinker, sc)
        sc.nr_reclaimed += max(self.nr_free() - before, 0)
        self.smp.cond_resched()

    def do_shrink_slab(self, shrinker: Shrinker, sc: ScanControl) -> None:
        """Ask one cache for its share in this round; too small a share waits for the rounds to come."""
        freeable = SHRINK_BATCH if shrinker.count is None else shrinker.count()
        if freeable <= 0:
            return
        if shrinker.count is None:
            delta = SHRINK_BATCH
        elif shrinker.seeks:
            delta = (freeable >> sc.priority) * 4 // shrinker.seeks
        else:
            delta = freeable // 2
        deferred = shrinker.nr_deferred
        total_scan = min((deferred >> sc.priority) + delta, 2 * freeable)
        scanned = 0
        while total_scan > 0 and (total_scan >= SHRINK_BATCH or total_scan >= freeable):
            nr_to_scan = min(SHRINK_BATCH, total_scan)
            sc.nr_objects += shrinker.scan(nr_to_scan)
            total_scan -= nr_to_scan
            scanned += nr_to_scan
            self.smp.cond_resched()
        shrinker.nr_deferred = min(max(deferred + delta - scanned, 0), 2 * freeable)
        self.page_alloc.vmstat.count(SLABS_SCANNED, scanned)

    def nr_free(self) -> int:
        """Free page frames, those on per-CPU lists too."""
        return sum(zone.nr_free + zone.nr_pcp() for zone in self.page_alloc.zones)

    def can_swap(self, sc: ScanControl) -> bool:
        """Whether anonymous pages may go (``can_reclaim_anon_pages()``)."""
        return self.swap_used < self.swap_pages and sc.gfp & GFP_IO != 0

    # -- kswapd ----------------------------------------------------------------------------------------------------

    def wakeup_kswapd(self, zone: Zone, order: int) -> None:
        """The page allocator found a zone below its low watermark, or boosted: kswapd shall see to it, unless there
        is nothing that it could do; then maybe kcompactd can.
        """
        if order <= self.kswapd_order:
            return
        if self.kswapd_failures >= MAX_RECLAIM_RETRIES or (
            self.balanced(order, zone.idx) and not self.boosted(zone.idx)
        ):
            if self.wakeup_kcompactd is not None:
                self.wakeup_kcompactd(order, zone.idx)
            return
        self.kswapd_order = order
        self.kswapd_highest_zoneidx = max(self.kswapd_highest_zoneidx, zone.idx)
        self.smp.trace.emit(MM_VMSCAN_KSWAPD_WAKE, zone.idx, order)

    def boosted(self, highest_zoneidx: int) -> bool:
        """Whether fallbacks have raised a watermark."""
        return any(zone.watermark_boost for zone in self.page_alloc.zones if zone.idx <= highest_zoneidx)

    def balanced(self, order: int, highest_zoneidx: int) -> bool:
        """Whether one zone at least is above its high watermark with a block of ``order`` (``pgdat_balanced()``).

        With defrag_mode the watermark must be met in whole blocks (since 6.15).
        """
        for zone in self.page_alloc.zones:
            if zone.idx > highest_zoneidx or zone.managed == 0:
                continue
            free = zone.nr_free_pages_blocks() if self.page_alloc.config.defrag_mode and order else zone.nr_free
            if zone.watermark_ok(order, zone.wmark_pages(WMARK_HIGH), highest_zoneidx, 0, free):
                return True
        return False

    def kswapd_wanted(self) -> bool:
        """Whether somebody woke it."""
        return self.kswapd_order >= 0

    def kswapd(self) -> None:
        """The kswapd task: sleep, balance, hand over to kcompactd."""
        while True:
            self.smp.sleep_until("kswapd", self.kswapd_wanted)
            self.kswapd_once()

    def kswapd_once(self) -> None:
        """One round of kswapd, from being woken to going back to sleep. Does nothing when nobody woke it."""
        order = self.kswapd_order
        if order < 0:
            return
        highest_zoneidx = self.kswapd_highest_zoneidx
        self.kswapd_order = -1  # who wakes it from now on wants another round
        self.kswapd_highest_zoneidx = 0
        self.kswapd_running = True
        self.page_alloc.memalloc_noreclaim_save()
        try:
            reclaim_order = self.balance_pgdat(order, highest_zoneidx)
        finally:
            self.page_alloc.memalloc_noreclaim_restore()
            self.kswapd_running = False
        if self.balanced(reclaim_order, highest_zoneidx) or self.kswapd_failures >= MAX_RECLAIM_RETRIES:
            for zone in self.page_alloc.zones:
                if zone.compact_blockskip_flush:
                    reset_isolation_suitable(zone)
            if self.wakeup_kcompactd is not None:
                self.wakeup_kcompactd(order, highest_zoneidx)

    def balance_pgdat(self, order: int, highest_zoneidx: int) -> int:
        """Reclaim until the node is balanced and boosts are paid off; returns the order that it was balanced for at
        last.
        """
        self.page_alloc.vmstat.count(PAGEOUTRUN)
        zones = [zone for zone in self.page_alloc.zones if zone.idx <= highest_zoneidx]
        boosts = [zone.watermark_boost for zone in zones]
        nr_boost_reclaim = sum(boosts)
        boosted = nr_boost_reclaim > 0
        sc = ScanControl(order, GFP_KERNEL, highest_zoneidx, 0)
        sc.limit_pfn = self.limit_pfn(highest_zoneidx)
        sc.kswapd = True
        while sc.priority >= 1:
            before = sc.nr_reclaimed
            balanced = self.balanced(sc.order, highest_zoneidx)
            if not balanced and nr_boost_reclaim:
                nr_boost_reclaim = 0  # real need goes before the boost: start again for it
                sc.priority = DEF_PRIORITY
            if balanced and not nr_boost_reclaim:
                break
            raise_priority = not (nr_boost_reclaim and sc.priority == DEF_PRIORITY - 2)
            if self.kswapd_shrink_node(sc, zones):
                raise_priority = False
            freed = sc.nr_reclaimed - before
            nr_boost_reclaim -= min(nr_boost_reclaim, freed)
            if boosted and freed == 0 and nr_boost_reclaim:
                break
            if raise_priority or freed == 0:
                sc.priority -= 1
            self.smp.cond_resched()
        if sc.nr_reclaimed == 0 and not boosted:
            self.kswapd_failures += 1
        if sc.priority == DEF_PRIORITY:
            self.page_alloc.vmstat.count(KSWAPD_HIGH_WMARK_HIT_QUICKLY)
        if boosted:
            for zone, boost in zip(zones, boosts, strict=True):
                zone.watermark_boost -= min(zone.watermark_boost, boost)
            if self.wakeup_kcompactd is not None:
                self.wakeup_kcompactd(PAGEBLOCK_ORDER, highest_zoneidx)
        self.smp.trace.emit(MM_VMSCAN_RECLAIM, sc.nr_reclaimed, sc.nr_scanned, sc.order)
        return sc.order

    def kswapd_shrink_node(self, sc: ScanControl, zones: list[Zone]) -> bool:
        """One round for all zones; True when it looked at as many pages as it meant to free."""
        sc.nr_to_reclaim = sum(max(zone.wmark_pages(WMARK_HIGH), SWAP_CLUSTER_MAX) for zone in zones)
        before = sc.nr_reclaimed
        scanned = sc.nr_scanned
        if self.can_swap(sc):
            shrink_active_list(self, LRU_ACTIVE_ANON, SWAP_CLUSTER_MAX)
        self.shrink_node(sc)
        if sc.order and sc.nr_reclaimed - before >= compact_gap(sc.order):
            sc.order = 0  # enough for compaction to start: what is left to do is its work
        return sc.nr_scanned - scanned >= sc.nr_to_reclaim

    def check(self) -> None:
        """Every list is whole; raises AssertionError with one sentence."""
        self.lruvec.check()
        assert 0 <= self.swap_used <= self.swap_pages, f"{self.swap_used} of {self.swap_pages} swap slots are in use"
