"""Zones, free lists, per-CPU lists (``include/linux/mmzone.h``, ``mm/internal.h``)."""

from __future__ import annotations

from collections import deque
from typing import Final

from memviz.kernel.page import (
    MIGRATE_HIGHATOMIC,
    MIGRATE_PCPTYPES,
    MIGRATE_TYPES,
    NR_PAGE_ORDERS,
    PAGEBLOCK_ORDER,
    PageFrames,
)
from memviz.kernel.smp import CPU_ZONE_LOCK, Smp
from memviz.kernel.spinlock import SpinLock
from memviz.kernel.vmstat import VmStat

# enum zone_type on x86-64. A machine has only the populated ones in PageAlloc.zones; idx tells which they are.
ZONE_DMA: Final = 0
ZONE_DMA32: Final = 1
ZONE_NORMAL: Final = 2
MAX_NR_ZONES: Final = 3
ZONE_NAMES: Final = ("DMA", "DMA32", "Normal")

# enum zone_watermarks
WMARK_MIN: Final = 0
WMARK_LOW: Final = 1
WMARK_HIGH: Final = 2
WMARK_PROMO: Final = 3

# Allocator flags (mm/internal.h). HIGH and KSWAPD share the bits of GFP_HIGH and GFP_KSWAPD_RECLAIM, as in the kernel.
ALLOC_WMARK_MASK: Final = 0x03
ALLOC_NO_WATERMARKS: Final = 0x04
ALLOC_OOM: Final = 0x08
ALLOC_NON_BLOCK: Final = 0x10
ALLOC_MIN_RESERVE: Final = 0x20
ALLOC_NOFRAGMENT: Final = 0x100
ALLOC_HIGHATOMIC: Final = 0x200
ALLOC_KSWAPD: Final = 0x800
ALLOC_RESERVES: Final = ALLOC_NON_BLOCK | ALLOC_MIN_RESERVE | ALLOC_HIGHATOMIC | ALLOC_OOM

# Per-CPU lists: orders 0..3 of three migratetypes, and two for huge pages (movable or not).
NR_LOWORDER_PCP_LISTS: Final = 12
NR_PCP_LISTS: Final = 14
PCP_BATCH_SCALE_MAX: Final = 5  # CONFIG_PCP_BATCH_SCALE_MAX
PCPF_PREV_FREE_HIGH_ORDER: Final = 1
PCPF_FREE_HIGH_BATCH: Final = 2

# enum compact_result and enum compact_priority (include/linux/compaction.h)
COMPACT_NOT_SUITABLE_ZONE: Final = 0
COMPACT_SKIPPED: Final = 1
COMPACT_DEFERRED: Final = 2
COMPACT_NO_SUITABLE_PAGE: Final = 3
COMPACT_CONTINUE: Final = 4
COMPACT_COMPLETE: Final = 5
COMPACT_PARTIAL_SKIPPED: Final = 6
COMPACT_CONTENDED: Final = 7
COMPACT_SUCCESS: Final = 8
COMPACT_RESULT_NAMES: Final = (
    "not suitable zone",
    "skipped",
    "deferred",
    "no suitable page",
    "continue",
    "complete",
    "partial skipped",
    "contended",
    "success",
)
COMPACT_PRIO_SYNC_FULL: Final = 0
COMPACT_PRIO_SYNC_LIGHT: Final = 1
COMPACT_PRIO_ASYNC: Final = 2


class FreeList:
    """The free blocks of one order and migratetype, in list order.

    ``head`` holds, newest last, what was put at the list's head; ``tail``, in order, what was put at its end. From
    first to last the list reads ``reversed(head) + tail``. Being dicts, both forget a block in the middle in constant
    time.
    """

    __slots__ = ("head", "tail")

    def __init__(self) -> None:
        self.head: dict[int, None] = {}
        self.tail: dict[int, None] = {}

    def __len__(self) -> int:
        return len(self.head) + len(self.tail)

    def __contains__(self, pfn: int) -> bool:
        return pfn in self.head or pfn in self.tail

    def empty(self) -> bool:
        """``list_empty()``."""
        return not self.head and not self.tail

    def turn(self) -> None:
        """Nothing left at the head: what is at the tail becomes the head. Each block is turned at most once."""
        self.head = dict.fromkeys(reversed(self.tail))
        self.tail = {}

    def first(self) -> int:
        """The block at the list's head, -1 when there is none."""
        if not self.head:
            if not self.tail:
                return -1
            self.turn()
        pfn, _ = self.head.popitem()
        self.head[pfn] = None
        return pfn

    def remove(self, pfn: int) -> None:
        """``list_del()``. KeyError when ``pfn`` is not on the list."""
        if pfn in self.head:
            del self.head[pfn]
        else:
            del self.tail[pfn]

    def pfns(self) -> list[int]:
        """All blocks from first to last."""
        return [*reversed(self.head), *self.tail]


class PerCpuPages:
    """Pages that one CPU keeps of one zone (``struct per_cpu_pages``): free, but not for the buddy allocator.

    The right end of each deque is the list's head. Counts are in page frames.
    """

    def __init__(self, smp: Smp, name: str) -> None:
        self.lock = SpinLock(smp, name)
        self.lists: list[deque[int]] = [deque() for _ in range(NR_PCP_LISTS)]
        self.count = 0
        self.high = 0
        self.high_min = 0
        self.high_max = 0
        self.batch = 1
        self.alloc_factor = 0
        self.free_count = 0
        self.flags = 0
        self.pgalloc = 0  # page frames ever given out here
        self.pgfree = 0


class PageAllocConfig:
    """How the page allocator is set up. Defaults are those of Linux 7.3 on x86-64."""

    def __init__(
        self,
        defrag_mode: int = 0,
        thp: bool = True,
        watermark_scale_factor: int = 10,
        watermark_boost_factor: int = 15000,
        min_free_kbytes: int = 0,
        lowmem_reserve_ratio: tuple[int, int, int] = (256, 256, 32),
        pcp_high_fraction: int = 0,
        dma_mib: int = 16,
        dma32_mib: int = 3072,
    ) -> None:
        """Raise ValueError for what no kernel accepts.

        ``min_free_kbytes`` 0: computed, as the kernel does. ``dma_mib`` and ``dma32_mib`` say where these zones end: a
        PC keeps the last GiB below 4 GiB for devices, and page frames here are numbered without that hole, so DMA32 has
        3 GiB.
        """
        if defrag_mode not in (0, 1):
            raise ValueError(f"defrag_mode is {defrag_mode}: it is 0 or 1")
        if not 1 <= watermark_scale_factor <= 3000:
            raise ValueError(f"watermark_scale_factor is {watermark_scale_factor}: it is between 1 and 3000")
        if dma_mib % 4 or dma32_mib % 4 or not 0 <= dma_mib < dma32_mib:
            raise ValueError(
                f"zones end at {dma_mib} and {dma32_mib} MiB: both are multiples of 4, the second is higher"
            )
        self.defrag_mode = defrag_mode  # may be switched at any time
        self.group_by_mobility = True  # !page_group_by_mobility_disabled; may be switched at any time
        self.thp = thp
        self.watermark_scale_factor = watermark_scale_factor
        self.watermark_boost_factor = watermark_boost_factor
        self.min_free_kbytes = min_free_kbytes
        self.lowmem_reserve_ratio = lowmem_reserve_ratio
        self.pcp_high_fraction = pcp_high_fraction
        self.dma_mib = dma_mib
        self.dma32_mib = dma32_mib


class Zone:
    """One zone. All sizes in page frames; ``free_area[order][migratetype]`` as in the kernel."""

    def __init__(
        self, mem: PageFrames, smp: Smp, config: PageAllocConfig, vmstat: VmStat, idx: int, start_pfn: int, end_pfn: int
    ) -> None:
        self.mem = mem
        self.config = config
        self.vmstat = vmstat
        self.smp = smp
        self.trace = smp.trace
        self.idx = idx
        self.name = ZONE_NAMES[idx]
        self.start_pfn = start_pfn
        self.spanned = end_pfn - start_pfn
        self.present = self.spanned
        self.managed = 0
        self.nr_free = 0  # NR_FREE_PAGES: free and allocatable, so without MIGRATE_ISOLATE
        self.nr_isolate_free = 0  # free page frames in isolated pageblocks
        self.nr_reserved_highatomic = 0
        self.watermark = [0, 0, 0, 0]
        self.watermark_boost = 0
        self.lowmem_reserve = [0] * MAX_NR_ZONES
        self.free_area: list[list[FreeList]] = [
            [FreeList() for _ in range(MIGRATE_TYPES)] for _ in range(NR_PAGE_ORDERS)
        ]
        # The frames' attributes, at hand: the buddy allocator reads them several times for every page.
        self.page_flags = mem.flags
        self.page_order = mem.order
        self.touched = mem.touched
        self.pageblock_mt = mem.pageblock_mt
        self.lock = SpinLock(smp, f"zone {self.name}", CPU_ZONE_LOCK)
        self.pcp = [PerCpuPages(smp, f"pcp {self.name}/{cpu}") for cpu in range(smp.nr_cpus)]
        # enum zone_flags
        self.boosted_watermark = False
        self.below_high = False
        self.reclaim_active = False
        self.pgalloc = 0  # page frames that went out without a per-CPU list
        self.pgfree = 0
        # Compaction's place in this zone and its deferral state.
        self.compact_cached_free_pfn = end_pfn
        self.compact_cached_migrate_pfn = [start_pfn, start_pfn]  # async, sync
        self.compact_init_migrate_pfn = start_pfn
        self.compact_init_free_pfn = end_pfn
        self.compact_considered = 0
        self.compact_defer_shift = 0
        self.compact_order_failed = 0
        self.compact_blockskip_flush = False

    @property
    def end_pfn(self) -> int:
        """The first page frame behind the zone."""
        return self.start_pfn + self.spanned

    def spans_pfn(self, pfn: int) -> bool:
        """``zone_spans_pfn()``."""
        return self.start_pfn <= pfn < self.start_pfn + self.spanned

    def wmark_pages(self, which: int) -> int:
        """A watermark as it counts now: with the boost that fallbacks gave it."""
        return self.watermark[which] + self.watermark_boost

    @property
    def watermark_min(self) -> int:
        """``min`` of /proc/zoneinfo, without boost."""
        return self.watermark[WMARK_MIN]

    @property
    def watermark_low(self) -> int:
        """``low`` of /proc/zoneinfo."""
        return self.watermark[WMARK_LOW]

    @property
    def watermark_high(self) -> int:
        """``high`` of /proc/zoneinfo."""
        return self.watermark[WMARK_HIGH]

    @property
    def watermark_promo(self) -> int:
        """``promo`` of /proc/zoneinfo."""
        return self.watermark[WMARK_PROMO]

    def nr_pcp(self) -> int:
        """Page frames on all per-CPU lists."""
        return sum(pcp.count for pcp in self.pcp)

    def nr_free_highatomic(self) -> int:
        """Free page frames that only high-order atomic requests may have."""
        if self.nr_reserved_highatomic == 0:
            return 0
        return sum(len(self.free_area[order][MIGRATE_HIGHATOMIC]) << order for order in range(NR_PAGE_ORDERS))

    def nr_free_pages_blocks(self) -> int:
        """Free page frames in whole free pageblocks (``nr_free_pages_blocks`` of zoneinfo, since 6.15)."""
        total = 0
        for order in range(PAGEBLOCK_ORDER, NR_PAGE_ORDERS):
            for free_list in self.free_area[order][: MIGRATE_HIGHATOMIC + 1]:
                total += (len(free_list.head) + len(free_list.tail)) << order
        return total

    def free_area_counts(self) -> tuple[tuple[int, ...], ...]:
        """Free blocks: one tuple an order, in it one count a migratetype."""
        # Not len(): every Snapshot counts all lists of all zones, and interpreted a call of it is most of that.
        return tuple([tuple([len(one.head) + len(one.tail) for one in area]) for area in self.free_area])

    def nr_free_blocks(self) -> list[int]:
        """Free blocks per order, as /proc/buddyinfo shows them."""
        return [sum(len(free_list) for free_list in area) for area in self.free_area]

    def unusable_free(self, order: int, alloc_flags: int) -> int:
        """Free page frames that this request can't count on (``__zone_watermark_unusable_free()``)."""
        unusable = (1 << order) - 1
        if self.nr_reserved_highatomic and not alloc_flags & ALLOC_RESERVES:
            unusable += self.nr_free_highatomic()
        return unusable

    def watermark_ok(self, order: int, mark: int, highest_zoneidx: int, alloc_flags: int, free_pages: int) -> bool:
        """Whether a request may go ahead: enough stays free, and a block of its size exists
        (``__zone_watermark_ok()``).
        """
        minimum = mark
        free_pages -= self.unusable_free(order, alloc_flags)
        if alloc_flags & ALLOC_RESERVES:
            if alloc_flags & ALLOC_MIN_RESERVE:
                minimum -= minimum // 2
                if alloc_flags & ALLOC_NON_BLOCK:
                    minimum -= minimum // 4
            if alloc_flags & ALLOC_OOM:
                minimum -= minimum // 2
        if free_pages <= minimum + self.lowmem_reserve[highest_zoneidx]:
            return False
        return order == 0 or self.has_block(order, alloc_flags)

    def has_block(self, order: int, alloc_flags: int) -> bool:
        """Whether a free block of at least ``order`` is on a list that this request may use."""
        for current in range(order, NR_PAGE_ORDERS):
            area = self.free_area[current]
            for mt in range(MIGRATE_PCPTYPES):
                free_list = area[mt]
                if free_list.head or free_list.tail:
                    return True
            if alloc_flags & (ALLOC_HIGHATOMIC | ALLOC_OOM) and not area[MIGRATE_HIGHATOMIC].empty():
                return True
        return False

    def watermark_fast(self, order: int, mark: int, highest_zoneidx: int, alloc_flags: int) -> bool:
        """``zone_watermark_fast()``: ``watermark_ok`` for now, and order-0 requests with GFP_HIGH ignore the boost of
        min.
        """
        if self.watermark_ok(order, mark, highest_zoneidx, alloc_flags, self.nr_free):
            return True
        if (
            order == 0
            and alloc_flags & ALLOC_MIN_RESERVE
            and self.watermark_boost
            and alloc_flags & ALLOC_WMARK_MASK == WMARK_MIN
        ):
            return self.watermark_ok(order, self.watermark[WMARK_MIN], highest_zoneidx, alloc_flags, self.nr_free)
        return False
