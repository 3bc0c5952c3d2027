"""kcompactd: compaction in the background (``mm/compaction.c``), for kswapd and, since 5.9, of its own accord.

kswapd wakes it when it has reclaimed enough for a higher order. Every 500 ms it looks how fragmented the node is,
and compacts proactively when the score is above its mark; when that brings nothing, it leaves the node alone 64
times as long.
"""

from __future__ import annotations

from typing import Final

from memviz.kernel.compact_control import (
    COMPACT_MAX_DEFER_SHIFT,
    MIGRATE_SYNC_LIGHT,
    WHOLE_ZONE,
    CompactControl,
    compaction_defer_reset,
    compaction_deferred,
    compaction_suit_allocation_order,
    defer_compaction,
    fragmentation_score_wmark,
    fragmentation_score_zone_weighted,
)
from memviz.kernel.compaction import Compaction
from memviz.kernel.mmzone import COMPACT_COMPLETE, COMPACT_CONTINUE, COMPACT_PARTIAL_SKIPPED, COMPACT_SUCCESS
from memviz.kernel.page import MIGRATE_MOVABLE
from memviz.kernel.vmstat import KCOMPACTD_FREE_SCANNED, KCOMPACTD_MIGRATE_SCANNED, KCOMPACTD_WAKE

HPAGE_FRAG_CHECK_NS: Final = 500_000_000


class Kcompactd:
    """The kcompactd of a machine's one node. The constructor lets kswapd wake it; ``start`` spawns the task."""

    def __init__(self, compaction: Compaction) -> None:
        self.compaction = compaction
        self.page_alloc = compaction.page_alloc
        self.smp = compaction.smp
        self.max_order = 0  # what it is asked for; 0: nothing
        self.highest_zoneidx = 0
        self.next_check = HPAGE_FRAG_CHECK_NS  # virtual time of the next proactive look
        self.proactive_runs = 0
        compaction.vmscan.wakeup_kcompactd = self.wakeup_kcompactd

    def start(self, cpu: int = 0) -> None:
        """Spawn the task."""
        self.smp.spawn(cpu, "kcompactd0", self.kcompactd, daemon=True)

    def wakeup_kcompactd(self, order: int, highest_zoneidx: int) -> None:
        """kswapd has done its part for ``order``, or finds nothing to do."""
        if order == 0 or order <= self.max_order or not self.node_suitable(order, highest_zoneidx):
            return
        self.max_order = order
        self.highest_zoneidx = max(self.highest_zoneidx, highest_zoneidx)

    def node_suitable(self, order: int, highest_zoneidx: int) -> bool:
        """Whether compaction could do something in some zone (``kcompactd_node_suitable()``)."""
        return any(
            self.zone_result(CompactControl(zone, order, MIGRATE_MOVABLE, MIGRATE_SYNC_LIGHT)) == COMPACT_CONTINUE
            for zone in self.page_alloc.zones
            if zone.idx <= highest_zoneidx
        )

    def zone_result(self, cc: CompactControl) -> int:
        """Whether to compact a zone; under defrag_mode only whole free blocks count as free."""
        zone = cc.zone
        free = zone.nr_free_pages_blocks() if self.page_alloc.config.defrag_mode else zone.nr_free
        return compaction_suit_allocation_order(cc, free)

    def ready(self) -> bool:
        """Whether there is work, or time for a look."""
        return self.max_order > 0 or self.smp.now >= self.next_check

    def kcompactd(self) -> None:
        """The task."""
        while True:
            self.smp.sleep_until("kcompactd", self.ready)
            self.kcompactd_once()

    def kcompactd_once(self) -> None:
        """Do what was asked for; without a request, look whether proactive compaction is due."""
        self.page_alloc.memalloc_noreclaim_save()
        try:
            if self.max_order > 0:
                self.kcompactd_do_work()
            if self.smp.now >= self.next_check:
                self.proactive_look()
        finally:
            self.page_alloc.memalloc_noreclaim_restore()

    def kcompactd_do_work(self) -> None:
        """Compact every zone for the order asked for (``kcompactd_do_work()``)."""
        order = self.max_order
        highest_zoneidx = self.highest_zoneidx
        self.max_order = 0
        self.highest_zoneidx = 0
        self.page_alloc.vmstat.count(KCOMPACTD_WAKE)
        for zone in self.page_alloc.zones:
            if zone.idx > highest_zoneidx or compaction_deferred(zone, order):
                continue
            cc = CompactControl(zone, order, MIGRATE_MOVABLE, MIGRATE_SYNC_LIGHT)
            cc.highest_zoneidx = highest_zoneidx
            if self.zone_result(cc) != COMPACT_CONTINUE:
                continue
            status = self.compaction.compact_zone(cc)
            if status == COMPACT_SUCCESS:
                compaction_defer_reset(zone, order, False)
            elif status in (COMPACT_PARTIAL_SKIPPED, COMPACT_COMPLETE):
                self.page_alloc.drain_all_pages()
                defer_compaction(zone, order)
            self.count(cc)

    def count(self, cc: CompactControl) -> None:
        """Add a run to the counters."""
        self.page_alloc.vmstat.count(KCOMPACTD_MIGRATE_SCANNED, cc.total_migrate_scanned)
        self.page_alloc.vmstat.count(KCOMPACTD_FREE_SCANNED, cc.total_free_scanned)

    # -- proactive -------------------------------------------------------------------------------------------------

    def fragmentation_score_node(self) -> int:
        """How fragmented the node is, 0 to 100."""
        present = sum(zone.present for zone in self.page_alloc.zones)
        return sum(fragmentation_score_zone_weighted(zone, present) for zone in self.page_alloc.zones)

    def should_proactive_compact_node(self) -> bool:
        """Whether the score is above the high mark, and reclaim isn't at work."""
        if self.compaction.proactiveness == 0 or self.compaction.vmscan.kswapd_running:
            return False
        return self.fragmentation_score_node() > fragmentation_score_wmark(self.compaction.proactiveness, False)

    def proactive_look(self) -> None:
        """The look that comes every 500 ms."""
        self.next_check = self.smp.now + HPAGE_FRAG_CHECK_NS
        if not self.should_proactive_compact_node():
            return
        before = self.fragmentation_score_node()
        self.proactive_compact_node()
        if self.fragmentation_score_node() >= before:
            self.next_check = self.smp.now + (HPAGE_FRAG_CHECK_NS << COMPACT_MAX_DEFER_SHIFT)

    def proactive_compact_node(self) -> None:
        """Compact every zone until its score is below the low mark."""
        self.proactive_runs += 1
        for zone in self.page_alloc.zones:
            cc = CompactControl(zone, WHOLE_ZONE, MIGRATE_MOVABLE, MIGRATE_SYNC_LIGHT)
            cc.whole_zone = cc.ignore_skip_hint = cc.proactive_compaction = True
            self.compaction.compact_zone(cc)
            self.count(cc)
        self.page_alloc.drain_all_pages()
