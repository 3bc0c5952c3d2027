"""When compaction is worth a try (``mm/compaction.c``: suitability, deferral, skip hints) and the state of one run.

All of it is arithmetic over one zone, as of 7.3. ``compact_gap`` is capped at 32 pages there; up to 6.12 it was
``2 << order``. The functions change nothing but the zone's own compaction fields.
"""

from __future__ import annotations

from typing import Final

from memviz.kernel.mmzone import (
    ALLOC_WMARK_MASK,
    COMPACT_CONTINUE,
    COMPACT_SKIPPED,
    COMPACT_SUCCESS,
    WMARK_LOW,
    WMARK_MIN,
    Zone,
)
from memviz.kernel.page import NR_PAGE_ORDERS, PAGE_ALLOC_COSTLY_ORDER, PAGEBLOCK_NR_PAGES, PAGEBLOCK_ORDER
from memviz.kernel.vmstat import extfrag_for_order, fragmentation_index

# enum migrate_mode
MIGRATE_ASYNC: Final = 0  # never waits for anybody
MIGRATE_SYNC_LIGHT: Final = 1  # waits, but not for writeback
MIGRATE_SYNC: Final = 2

COMPACT_CLUSTER_MAX: Final = 32
COMPACT_MAX_DEFER_SHIFT: Final = 6
EXTFRAG_THRESHOLD: Final = 500  # vm.extfrag_threshold
WHOLE_ZONE: Final = -1  # order of a run that somebody asked for by hand (/proc/sys/vm/compact_memory)
COMPACTION_HPAGE_ORDER: Final = PAGEBLOCK_ORDER  # what proactive compaction keeps score of


class CompactControl:
    """One run of compaction over one zone (``struct compact_control``). ``order`` WHOLE_ZONE: everything there is."""

    def __init__(self, zone: Zone, order: int, migratetype: int, mode: int) -> None:
        self.zone = zone
        self.order = order
        self.migratetype = migratetype  # of the request that compaction works for
        self.mode = mode
        self.highest_zoneidx = zone.idx
        self.alloc_flags = WMARK_MIN
        self.direct_compaction = False
        self.proactive_compaction = False
        self.whole_zone = False
        self.ignore_skip_hint = False
        self.ignore_block_suitable = False
        self.finish_pageblock = False
        self.contended = False
        self.no_set_skip_hint = False
        self.alloc_contig = False
        self.migrate_pfn = zone.start_pfn
        self.free_pfn = first_free_pfn(zone)
        self.last_migrated_pfn = 0
        self.migratepages: list[int] = []
        self.nr_migratepages = 0  # page frames in migratepages
        self.freepages: list[list[int]] = [[] for _ in range(NR_PAGE_ORDERS)]
        self.nr_freepages = 0
        # What it did, for reports.
        self.total_migrate_scanned = 0
        self.total_free_scanned = 0
        self.migrated = 0
        self.failed = 0
        self.blocks_scanned = 0
        self.blocks_skipped = 0  # on hints of earlier runs
        self.blocks_pinned = 0
        self.slabs_evacuated = 0

    def scanners_met(self) -> bool:
        """``compact_scanners_met()``: both stand in the same pageblock, or are past each other."""
        return self.free_pfn >> PAGEBLOCK_ORDER <= self.migrate_pfn >> PAGEBLOCK_ORDER


def compact_gap(order: int) -> int:
    """Free pages that a run needs for its copies: both lists of one batch."""
    return min(2 << order, COMPACT_CLUSTER_MAX)


def enough_for_compaction(zone: Zone, order: int, watermark: int, highest_zoneidx: int, free_pages: int) -> bool:
    """``__compaction_suitable()``: whether copies can be made without going below the watermark."""
    watermark += compact_gap(order)
    if order > PAGE_ALLOC_COSTLY_ORDER:
        watermark += zone.wmark_pages(WMARK_LOW) - zone.wmark_pages(WMARK_MIN)
    return zone.watermark_ok(0, watermark, highest_zoneidx, 0, free_pages)


def compaction_suitable(zone: Zone, order: int, watermark: int, highest_zoneidx: int) -> bool:
    """``compaction_suitable()``: enough memory is free, and it is fragmentation rather than lack of memory that
    hurts.
    """
    if not enough_for_compaction(zone, order, watermark, highest_zoneidx, zone.nr_free):
        return False
    if order > PAGE_ALLOC_COSTLY_ORDER:
        index = fragmentation_index(zone.nr_free_blocks(), order)
        return not 0 <= index <= EXTFRAG_THRESHOLD
    return True


def compaction_suit_allocation_order(cc: CompactControl, free_pages: int) -> int:
    """COMPACT_SUCCESS: the block is there already; COMPACT_SKIPPED: not worth a try; COMPACT_CONTINUE: go on."""
    zone = cc.zone
    watermark = zone.wmark_pages(cc.alloc_flags & ALLOC_WMARK_MASK)
    if zone.watermark_ok(cc.order, watermark, cc.highest_zoneidx, cc.alloc_flags, free_pages):
        return COMPACT_SUCCESS
    if cc.order > PAGE_ALLOC_COSTLY_ORDER and cc.mode == MIGRATE_ASYNC and cc.direct_compaction:
        # Nobody should pay for compaction that the low watermark would undo at once.
        low = zone.wmark_pages(WMARK_LOW) + compact_gap(cc.order)
        if not zone.watermark_ok(0, low, cc.highest_zoneidx, 0, zone.nr_free):
            return COMPACT_SKIPPED
    if not compaction_suitable(zone, cc.order, watermark, cc.highest_zoneidx):
        return COMPACT_SKIPPED
    return COMPACT_CONTINUE


# -- deferral: a zone where compaction failed is left alone for a growing number of attempts -----------------------


def defer_compaction(zone: Zone, order: int) -> None:
    """Compaction for ``order`` failed here: skip the next ``1 << compact_defer_shift`` attempts, at most 64."""
    zone.compact_considered = 0
    zone.compact_defer_shift = min(zone.compact_defer_shift + 1, COMPACT_MAX_DEFER_SHIFT)
    zone.compact_order_failed = min(zone.compact_order_failed, order)


def compaction_deferred(zone: Zone, order: int) -> bool:
    """Whether to skip this attempt. Counts it."""
    limit = 1 << zone.compact_defer_shift
    if order < zone.compact_order_failed:
        return False
    zone.compact_considered += 1
    if zone.compact_considered >= limit:
        zone.compact_considered = limit
        return False
    return True


def compaction_defer_reset(zone: Zone, order: int, alloc_success: bool) -> None:
    """Compaction for ``order`` worked. The counters only restart when the page was really allocated."""
    if alloc_success:
        zone.compact_considered = 0
        zone.compact_defer_shift = 0
    if order >= zone.compact_order_failed:
        zone.compact_order_failed = order + 1


def compaction_restarting(zone: Zone, order: int) -> bool:
    """Whether deferral has just run its full length: time to forget the skip hints too."""
    if order < zone.compact_order_failed:
        return False
    return (
        zone.compact_defer_shift == COMPACT_MAX_DEFER_SHIFT and zone.compact_considered >= 1 << zone.compact_defer_shift
    )


# -- skip hints and cached positions -------------------------------------------------------------------------------


def first_migrate_pfn(zone: Zone) -> int:
    """Where the migration scanner starts."""
    return zone.start_pfn


def first_free_pfn(zone: Zone) -> int:
    """Where the free scanner starts: the zone's last pageblock."""
    return (zone.end_pfn - 1) & ~(PAGEBLOCK_NR_PAGES - 1)


def reset_cached_positions(zone: Zone) -> None:
    """Both scanners start from the zone's ends next time."""
    zone.compact_cached_migrate_pfn[0] = first_migrate_pfn(zone)
    zone.compact_cached_migrate_pfn[1] = first_migrate_pfn(zone)
    zone.compact_cached_free_pfn = first_free_pfn(zone)


def reset_isolation_suitable(zone: Zone) -> None:
    """``__reset_isolation_suitable()``: forget all skip hints of the zone and where the scanners stood."""
    first = zone.start_pfn >> PAGEBLOCK_ORDER
    last = (zone.end_pfn - 1) >> PAGEBLOCK_ORDER
    zone.compact_blockskip_flush = False
    zone.mem.pageblock_skip[first : last + 1] = bytes(last + 1 - first)
    reset_cached_positions(zone)
    zone.compact_init_migrate_pfn = first_migrate_pfn(zone)
    zone.compact_init_free_pfn = first_free_pfn(zone)


# -- proactive compaction: how bad is it? --------------------------------------------------------------------------


def fragmentation_score_zone(zone: Zone) -> int:
    """``fragmentation_score_zone()``: percent of free memory that no huge page can be made of."""
    return extfrag_for_order(zone.nr_free_blocks(), COMPACTION_HPAGE_ORDER)


def fragmentation_score_zone_weighted(zone: Zone, present_pages: int) -> int:
    """A zone's part in its node's score: small zones count little."""
    return zone.present * fragmentation_score_zone(zone) // (present_pages + 1)


def fragmentation_score_wmark(proactiveness: int, low: bool) -> int:
    """Above the high mark proactive compaction starts, below the low mark it stops (20: 90 and 80)."""
    wmark_low = max(100 - proactiveness, 5)
    return wmark_low if low else min(wmark_low + 10, 100)
