"""The page allocator (``mm/page_alloc.c`` of Linux 7.3): ``alloc_pages`` and ``free_pages``, the fast paths.

The free lists are in ``buddy``, per-CPU lists in ``pcp``, what happens when a list is empty in ``fallback``, when
memory is short in ``slowpath``, how it all begins in ``mm_init``.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable
from typing import Final

from memviz.kernel.buddy import (
    change_pageblock_range,
    del_page_from_free_list,
    free_large_buddy,
    move_freepages_block,
    pageblock_in_zone,
)
from memviz.kernel.fallback import reserve_highatomic_pageblock, rmqueue_locked
from memviz.kernel.mm_init import free_area_init
from memviz.kernel.mmzone import (
    ALLOC_HIGHATOMIC,
    ALLOC_KSWAPD,
    ALLOC_NO_WATERMARKS,
    ALLOC_NOFRAGMENT,
    ALLOC_WMARK_MASK,
    MAX_NR_ZONES,
    WMARK_HIGH,
    WMARK_LOW,
    WMARK_MIN,
    ZONE_DMA,
    ZONE_DMA32,
    ZONE_NORMAL,
    PageAllocConfig,
    Zone,
)
from memviz.kernel.page import (
    GFP_DIRECT_RECLAIM,
    GFP_DMA,
    GFP_DMA32,
    GFP_KERNEL,
    GFP_KSWAPD_RECLAIM,
    GFP_MOVABLE,
    GFP_RECLAIMABLE,
    MAX_PAGE_ORDER,
    MIGRATE_ISOLATE,
    MIGRATE_MOVABLE,
    MIGRATE_PCPTYPES,
    MIGRATE_RECLAIMABLE,
    MIGRATE_UNMOVABLE,
    NR_PAGE_ORDERS,
    OWNER_FREE,
    OWNER_ISOLATED,
    OWNER_KERNEL,
    OWNER_NAMES,
    OWNER_PCP,
    OWNER_RESERVED,
    OWNER_RUNS,
    OWNER_UNKNOWN,
    PAGE_ALLOC_COSTLY_ORDER,
    PAGEBLOCK_ORDER,
    PG_BUDDY,
    PG_DIRTY,
    PG_HEAD,
    PG_REFERENCED,
    PageFrames,
)
from memviz.kernel.page_check import check_page_alloc
from memviz.kernel.pcp import drain_pages_zone, free_to_pcp, rmqueue_pcplist
from memviz.kernel.request import RequestObserver
from memviz.kernel.show_mem import why_not
from memviz.kernel.slowpath import AllocContext, alloc_pages_slowpath
from memviz.kernel.smp import Smp, Task
from memviz.kernel.trace import MM_PAGE_ALLOC, MM_PAGE_FREE
from memviz.kernel.vmstat import VmStat

# Virtual time, ns: what these steps take on a current x86-64 machine, roughly. Locks add their own.
ALLOC_NS: Final = 80
FREE_NS: Final = 60
BUDDY_NS: Final = 120  # more, when the per-CPU lists don't serve


class PageAlloc:
    """All zones of a machine and the way into them.

    The hooks are other parts of memory management; None: this machine has no such part. They are called without locks
    held, on the CPU of the request, and may sleep.
    """

    def __init__(self, mem: PageFrames, smp: Smp, config: PageAllocConfig) -> None:
        """Raises ValueError when ``mem`` is too small."""
        self.mem = mem
        self.smp = smp
        self.trace = smp.trace
        self.config = config
        self.vmstat = VmStat()
        self.zones: list[Zone] = free_area_init(mem, smp, config, self.vmstat)
        # By highest allowed zone: the zones to try, best first.
        self.zonelists: list[list[Zone]] = [
            [zone for zone in reversed(self.zones) if zone.idx <= highest] for highest in range(MAX_NR_ZONES)
        ]
        self.zone_table: list[Zone] = [
            self.find_zone(pfn) for pfn in range(MAX_PAGE_ORDER, mem.nr, 1 << MAX_PAGE_ORDER)
        ]
        # What a block's stamps look like, by order, for the millisecond in stamp_ms.
        self.stamp_runs: list[array[int]] = [array("I", bytes(4 << order)) for order in range(NR_PAGE_ORDERS)]
        self.stamp_ms = [0] * NR_PAGE_ORDERS
        # (order, gfp) -> page frames reclaimed
        self.try_to_free_pages: Callable[[int, int], int] | None = None
        # (order, gfp, COMPACT_PRIO_*) -> COMPACT_*
        self.try_to_compact_pages: Callable[[int, int, int], int] | None = None
        # (order) -> page frames freed: slab defragmentation as the last stage of a request
        self.defrag_slabs: Callable[[int], int] | None = None
        # (zone, order)
        self.wakeup_kswapd: Callable[[Zone, int], None] | None = None
        # (zone) -> page frames on the LRU lists that reclaim could free
        self.zone_reclaimable_pages: Callable[[Zone], int] | None = None
        # (zone, order, succeeded): an allocation after compaction tells it so (compaction_defer_reset)
        self.compaction_defer_reset: Callable[[Zone, int], None] | None = None
        # (order, gfp) -> whether it killed somebody
        self.out_of_memory: Callable[[int, int], bool] | None = None
        self.memalloc: list[Task | None] = []  # tasks with PF_MEMALLOC
        self.observer: RequestObserver | None = None
        self.observed: Task | None = None
        self.fast_path_open = False

    def find_zone(self, pfn: int) -> Zone:
        """The zone of a page frame, by search: ``page_zone`` has the answers."""
        for zone in self.zones:
            if pfn < zone.end_pfn:
                return zone
        raise ValueError(f"page frame {pfn} is behind the end of memory at {self.mem.nr}")

    def page_zone(self, pfn: int) -> Zone:
        """The zone of a page frame."""
        return self.zone_table[pfn >> MAX_PAGE_ORDER]

    # -- allocation ---------------------------------------------------------------------------------------------------

    def alloc_pages(self, order: int, gfp: int = GFP_KERNEL, owner: int = OWNER_KERNEL) -> int | None:
        """A block of ``1 << order`` page frames for ``owner``: its first frame, None when there is none to be had.

        Raises KernelBug when ``gfp`` allows direct reclaim where sleeping is forbidden, ValueError for an impossible
        order.
        """
        smp = self.smp
        if gfp & GFP_DIRECT_RECLAIM and smp.this_cpu().atomic():
            smp.might_sleep("alloc_pages")
        if gfp & GFP_MOVABLE:
            migratetype = MIGRATE_MOVABLE
        elif gfp & GFP_RECLAIMABLE:
            migratetype = MIGRATE_RECLAIMABLE
        else:
            migratetype = MIGRATE_UNMOVABLE
        if not self.config.group_by_mobility:
            migratetype = MIGRATE_UNMOVABLE
        if not 0 <= order <= MAX_PAGE_ORDER:
            raise ValueError(f"order {order} is not between 0 and {MAX_PAGE_ORDER}: ask for less")
        if gfp & (GFP_DMA | GFP_DMA32):
            highest_zoneidx = ZONE_DMA if gfp & GFP_DMA else ZONE_DMA32
        else:
            highest_zoneidx = ZONE_NORMAL
        zonelist = self.zonelists[highest_zoneidx]
        alloc_flags = WMARK_LOW | gfp & GFP_KSWAPD_RECLAIM
        if zonelist and (self.config.defrag_mode or zonelist[0].idx == ZONE_NORMAL):
            alloc_flags |= ALLOC_NOFRAGMENT
        smp.advance(ALLOC_NS)
        pfn = self.get_page_from_freelist(order, alloc_flags, migratetype, highest_zoneidx)
        if pfn < 0:
            ac = AllocContext(order, gfp, migratetype, highest_zoneidx, zonelist, alloc_flags, self.current_observer())
            pfn = alloc_pages_slowpath(self, ac)
            if pfn < 0:
                return None
        self.prep_new_page(pfn, order, owner)
        self.trace.emit_bulk(MM_PAGE_ALLOC, pfn, order, migratetype, gfp)
        return pfn

    def request_pages(self, order: int, gfp: int, owner: int, observer: RequestObserver) -> int | None:
        """``alloc_pages`` with somebody watching every stage."""
        self.observer = observer
        self.observed = self.smp.this_cpu().task
        self.fast_path_open = True
        observer.stage_begin("fast path")
        try:
            pfn = self.alloc_pages(order, gfp, owner)
            if self.fast_path_open and pfn is not None:
                observer.stage_end(True, f"zone {self.page_zone(pfn).name} had a free block of order {order} or more")
            return pfn
        finally:
            self.observer = None
            self.observed = None

    def fast_path_done(self, ac: AllocContext) -> None:
        """The slow path begins: tell who watches that the fast one failed, and why."""
        if ac.observer is not None and self.fast_path_open:
            self.fast_path_open = False
            ac.end(False, why_not(ac))

    def memalloc_noreclaim_save(self) -> None:
        """This task frees memory from here on: it may have all of it and doesn't reclaim for its own requests
        (PF_MEMALLOC).
        """
        self.memalloc.append(self.smp.this_cpu().task)

    def memalloc_noreclaim_restore(self) -> None:
        """Undo one ``memalloc_noreclaim_save``."""
        self.memalloc.remove(self.smp.this_cpu().task)

    def memalloc_active(self) -> bool:
        """Whether this task has PF_MEMALLOC."""
        if not self.memalloc:
            return False
        task = self.smp.this_cpu().task
        return any(entry is task for entry in self.memalloc)

    def current_observer(self) -> RequestObserver | None:
        """Who watches the request that this task is in; None: nobody, or it is a request within a request."""
        if self.observer is None or self.memalloc_active() or self.smp.this_cpu().task is not self.observed:
            return None
        return self.observer

    def get_page_from_freelist(self, order: int, alloc_flags: int, migratetype: int, highest_zoneidx: int) -> int:
        """The first zone whose watermarks allow it gives a block; -1: none does."""
        retry = True
        while retry:
            for zone in self.zonelists[highest_zoneidx]:
                ok = False
                if not zone.below_high:
                    mark = zone.watermark[WMARK_HIGH] + zone.watermark_boost
                    ok = zone.watermark_fast(order, mark, highest_zoneidx, alloc_flags)
                    if not ok:
                        zone.below_high = True
                if not ok:
                    if not alloc_flags & ALLOC_NO_WATERMARKS:
                        mark = zone.watermark[alloc_flags & ALLOC_WMARK_MASK] + zone.watermark_boost
                        if not zone.watermark_fast(order, mark, highest_zoneidx, alloc_flags):
                            continue
                pfn = self.rmqueue(zone, order, alloc_flags, migratetype)
                if pfn >= 0:
                    if alloc_flags & ALLOC_HIGHATOMIC:
                        reserve_highatomic_pageblock(zone, pfn, order)
                    return pfn
            # All zones are fragmented: on one node there is nothing left but to fragment them more.
            retry = bool(alloc_flags & ALLOC_NOFRAGMENT) and not self.config.defrag_mode
            alloc_flags &= ~ALLOC_NOFRAGMENT
        return -1

    def rmqueue(self, zone: Zone, order: int, alloc_flags: int, migratetype: int) -> int:
        """Take a block from a zone: from this CPU's list if blocks of this order are kept there, else from the buddy
        lists.
        """
        pfn = -1
        if order <= PAGE_ALLOC_COSTLY_ORDER or order == PAGEBLOCK_ORDER:
            pcp = zone.pcp[self.smp.this_cpu().id]
            pfn = rmqueue_pcplist(pcp, zone, order, migratetype, alloc_flags)
        if pfn < 0:
            zone.lock.lock_irq()
            self.smp.advance(BUDDY_NS)
            pfn = rmqueue_locked(zone, order, migratetype, alloc_flags)
            if pfn >= 0:
                zone.pgalloc += 1 << order
                self.mem.set_owner(pfn, order, OWNER_PCP)  # nobody's until prep_new_page, but not free either
            zone.lock.unlock_irq()
        if zone.boosted_watermark and alloc_flags & ALLOC_KSWAPD:
            zone.boosted_watermark = False
            if self.wakeup_kswapd is not None:
                self.wakeup_kswapd(zone, 0)
        return pfn

    def prep_new_page(self, pfn: int, order: int, owner: int) -> None:
        """Write down whose the block is and since when."""
        mem = self.mem
        now_ms = self.smp.now // 1_000_000
        mem.touched[pfn >> PAGEBLOCK_ORDER] = 1
        if order == 0:
            mem.owner[pfn] = owner
            mem.stamp[pfn] = now_ms
            return
        if self.stamp_ms[order] != now_ms:
            self.stamp_ms[order] = now_ms
            self.stamp_runs[order] = array("I", (now_ms & 0xFFFFFFFF,)) * (1 << order)
        end = pfn + (1 << order)
        mem.owner[pfn:end] = OWNER_RUNS[owner][order]
        mem.stamp[pfn:end] = self.stamp_runs[order]
        if order > PAGEBLOCK_ORDER:
            mem.touch_range(pfn, end)

    # -- freeing ------------------------------------------------------------------------------------------------------

    def free_pages(self, pfn: int, order: int) -> None:
        """Give a block back. Raises KernelBug ("bad page") when nobody has it, or not as a block of this order."""
        mem = self.mem
        if not 0 <= pfn < mem.nr or mem.flags[pfn] != PG_HEAD or mem.order[pfn] != order:
            self.check_bad_page(pfn, order)
        owner = mem.owner[pfn]
        if owner <= OWNER_PCP or owner == OWNER_RESERVED:
            self.bad_page(pfn, order, f"it is not allocated ({OWNER_NAMES[owner]})")
        smp = self.smp
        smp.advance(FREE_NS)
        mem.mapping[pfn] = 0
        self.trace.emit_bulk(MM_PAGE_FREE, pfn, order)
        zone = self.zone_table[pfn >> MAX_PAGE_ORDER]
        if order <= PAGE_ALLOC_COSTLY_ORDER or order == PAGEBLOCK_ORDER:
            migratetype = zone.pageblock_mt[pfn >> PAGEBLOCK_ORDER]
            if migratetype != MIGRATE_ISOLATE:
                if migratetype >= MIGRATE_PCPTYPES:
                    migratetype = MIGRATE_MOVABLE  # HIGHATOMIC: like movable ones, so that they can be had back
                pcp = zone.pcp[smp.this_cpu().id]
                if pcp.lock.trylock():
                    free_to_pcp(pcp, zone, pfn, order, migratetype)
                    pcp.lock.unlock()
                    return
        self.free_pages_ok(zone, pfn, order)

    def free_pages_ok(self, zone: Zone, pfn: int, order: int) -> None:
        """``__free_pages_ok()``: straight to the buddy lists."""
        zone.lock.lock_irq()
        self.smp.advance(BUDDY_NS)
        self.mem.set_owner(pfn, order, OWNER_FREE)
        free_large_buddy(zone, pfn, order)
        zone.pgfree += 1 << order
        zone.lock.unlock_irq()

    def check_bad_page(self, pfn: int, order: int) -> None:
        """Say what is wrong with a block that should be freed, if anything is (``free_page_is_bad()``)."""
        mem = self.mem
        if not 0 <= pfn < mem.nr:
            self.bad_page(pfn, order, f"memory ends at {mem.nr}")
        flags = mem.flags[pfn]
        if flags & PG_BUDDY or mem.owner[pfn] in (OWNER_FREE, OWNER_PCP):
            self.bad_page(pfn, order, f"it is free already ({OWNER_NAMES[mem.owner[pfn]]})")
        if mem.owner[pfn] in (OWNER_UNKNOWN, OWNER_RESERVED):
            self.bad_page(pfn, order, f"it was never allocated ({OWNER_NAMES[mem.owner[pfn]]})")
        if not flags & PG_HEAD:
            self.bad_page(pfn, order, "no allocated block begins there")
        if mem.order[pfn] != order:
            self.bad_page(pfn, order, f"it was allocated with order {mem.order[pfn]}")
        flags &= ~(PG_REFERENCED | PG_DIRTY)
        if flags != PG_HEAD:
            self.bad_page(
                pfn, order, f"flags {flags & ~PG_HEAD:#x} are still set: take it off the LRU, unlock, unpin it first"
            )
        mem.flags[pfn] = PG_HEAD
        mem.touched[pfn >> PAGEBLOCK_ORDER] = 1

    def bad_page(self, pfn: int, order: int, why: str) -> None:
        """Report a page that is freed wrongly."""
        self.smp.bug("bad page", f"page frame {pfn} is freed with order {order}, but {why}")

    def split_page(self, pfn: int, order: int) -> None:
        """Make an allocated block ``1 << order`` blocks of order 0 that are freed one by one."""
        mem = self.mem
        if not mem.flags[pfn] & PG_HEAD or mem.order[pfn] != order:
            self.smp.bug("bad page", f"page frame {pfn} is split from order {order}, but no such block begins there")
        for frame in range(pfn, pfn + (1 << order)):
            mem.flags[frame] = PG_HEAD
            mem.order[frame] = 0
        mem.touch_range(pfn, pfn + (1 << order))

    def isolate_free_page(self, zone: Zone, pfn: int) -> int:
        """``__isolate_free_page()``: take the free block at ``pfn`` for migration to go to. ``zone.lock`` held.

        The block stays whole, owned by OWNER_ISOLATED. Returns its order, -1 when the watermark min forbids it.
        """
        from_block = zone.pageblock_mt[pfn >> PAGEBLOCK_ORDER]
        order = self.mem.order[pfn]
        if from_block != MIGRATE_ISOLATE:
            mark = zone.watermark[WMARK_MIN] + (1 << order)
            if not zone.watermark_ok(0, mark, 0, 0, zone.nr_free):
                return -1
        return self.take_free_block(zone, pfn)

    def take_free_block(self, zone: Zone, pfn: int) -> int:
        """The free block at ``pfn`` is the caller's, whole, whatever the watermarks say. ``zone.lock`` held. Returns
        its order.
        """
        order = self.mem.order[pfn]
        migratetype = zone.pageblock_mt[pfn >> PAGEBLOCK_ORDER]
        del_page_from_free_list(zone, pfn, order, migratetype)
        self.mem.set_owner(pfn, order, OWNER_ISOLATED)
        if order >= PAGEBLOCK_ORDER and migratetype < MIGRATE_PCPTYPES:
            change_pageblock_range(zone, pfn, order, MIGRATE_MOVABLE)
        elif order == PAGEBLOCK_ORDER - 1 and migratetype < MIGRATE_PCPTYPES and pageblock_in_zone(zone, pfn):
            move_freepages_block(zone, pfn, migratetype, MIGRATE_MOVABLE)
        return order

    # -- draining, telling --------------------------------------------------------------------------------------------

    def drain_all_pages(self) -> None:
        """Give back what the per-CPU lists of all CPUs and zones hold."""
        for zone in self.zones:
            for pcp in zone.pcp:
                drain_pages_zone(pcp, zone)

    @property
    def nr_free_pages(self) -> int:
        """Free page frames in all zones (NR_FREE_PAGES); those on per-CPU lists aren't among them."""
        return sum(zone.nr_free for zone in self.zones)

    @property
    def managed(self) -> int:
        """Page frames that the allocator may give out."""
        return sum(zone.managed for zone in self.zones)

    def vmstat_counters(self) -> dict[str, int]:
        """Counters named as in /proc/vmstat."""
        counters = self.vmstat.named()
        counters["nr_free_pages"] = self.nr_free_pages
        counters["nr_free_pages_blocks"] = sum(zone.nr_free_pages_blocks() for zone in self.zones)
        counters["pgfree"] = 0
        for zone in self.zones:
            counters[f"pgalloc_{zone.name.lower()}"] = zone.pgalloc + sum(pcp.pgalloc for pcp in zone.pcp)
            counters["pgfree"] += zone.pgfree + sum(pcp.pgfree for pcp in zone.pcp)
        return counters

    def check(self) -> None:
        """Raise AssertionError with a sentence when any invariant of the page allocator is broken. For a machine at
        rest.
        """
        check_page_alloc(self)
