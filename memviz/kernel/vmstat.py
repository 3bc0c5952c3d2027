"""Fragmentation indices and event counters (``mm/vmstat.c``).

The indices use the kernel's integer divisions in the kernel's order, so that they equal
``/sys/kernel/debug/extfrag`` digit for digit (there 66 reads ``0.066``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from memviz.kernel.page import NR_PAGE_ORDERS


class ContigPageInfo:
    """What a zone's free blocks say about requests of one order (``struct contig_page_info``)."""

    def __init__(self, nr_free: Sequence[int], suitable_order: int) -> None:
        free_pages = 0
        free_blocks_total = 0
        free_blocks_suitable = 0
        for order, blocks in enumerate(nr_free):
            free_blocks_total += blocks
            free_pages += blocks << order
            if order >= suitable_order:
                free_blocks_suitable += blocks << (order - suitable_order)
        self.free_pages = free_pages
        self.free_blocks_total = free_blocks_total
        self.free_blocks_suitable = free_blocks_suitable  # in blocks of suitable_order


def check_order(nr_free: Sequence[int], order: int) -> None:
    """Raise ValueError unless ``order`` is one that ``nr_free`` counts."""
    if not 0 <= order < len(nr_free):
        raise ValueError(f"order {order} is not between 0 and {len(nr_free) - 1}: give an order that nr_free has")


def fragmentation_index(nr_free: Sequence[int], order: int) -> int:
    """Why a request of ``order`` would fail, in thousandths: towards 0 lack of memory, towards 1000 fragmentation.

    -1000: it would not fail. ``nr_free`` holds the free blocks of each order, from 0 up, as /proc/buddyinfo shows them.
    """
    check_order(nr_free, order)
    info = ContigPageInfo(nr_free, order)
    if info.free_blocks_total == 0:
        return 0
    if info.free_blocks_suitable:
        return -1000
    return 1000 - (1000 + info.free_pages * 1000 // (1 << order)) // info.free_blocks_total


def unusable_free_index(nr_free: Sequence[int], order: int) -> int:
    """The part of free memory that a request of ``order`` can't use, in thousandths (1000 when nothing is free)."""
    check_order(nr_free, order)
    info = ContigPageInfo(nr_free, order)
    if info.free_pages == 0:
        return 1000
    return (info.free_pages - (info.free_blocks_suitable << order)) * 1000 // info.free_pages


def extfrag_for_order(nr_free: Sequence[int], order: int) -> int:
    """External fragmentation as proactive compaction scores it: unusable free memory in percent, 0 when nothing is
    free.
    """
    check_order(nr_free, order)
    info = ContigPageInfo(nr_free, order)
    if info.free_pages == 0:
        return 0
    return (info.free_pages - (info.free_blocks_suitable << order)) * 100 // info.free_pages


# enum vm_event_item: those that the simulated kernel counts. pgalloc_*, pgfree live in the per-CPU lists and zones
# (their locks make the counts exact) and are added when somebody reads.
ALLOCSTALL: Final = 0
COMPACTSTALL: Final = 1
COMPACTSUCCESS: Final = 2
COMPACTFAIL: Final = 3
COMPACTMIGRATE_SCANNED: Final = 4
COMPACTFREE_SCANNED: Final = 5
COMPACTISOLATED: Final = 6
KCOMPACTD_WAKE: Final = 7
KCOMPACTD_MIGRATE_SCANNED: Final = 8
KCOMPACTD_FREE_SCANNED: Final = 9
PGMIGRATE_SUCCESS: Final = 10
PGMIGRATE_FAIL: Final = 11
PGSCAN_KSWAPD: Final = 12
PGSCAN_DIRECT: Final = 13
PGSTEAL_KSWAPD: Final = 14
PGSTEAL_DIRECT: Final = 15
PGACTIVATE: Final = 16
PGDEACTIVATE: Final = 17
PGREFILL: Final = 18
PGROTATED: Final = 19
KSWAPD_LOW_WMARK_HIT_QUICKLY: Final = 20
KSWAPD_HIGH_WMARK_HIT_QUICKLY: Final = 21
OOM_KILL: Final = 22
SLABS_SCANNED: Final = 23
PAGEOUTRUN: Final = 24
DROP_PAGECACHE: Final = 25
THP_FAULT_ALLOC: Final = 26
THP_FAULT_FALLBACK: Final = 27
# Ours: fallbacks as the mm_page_alloc_extfrag tracepoint tells them apart.
EXTFRAG_CLAIM: Final = 28
EXTFRAG_STEAL: Final = 29
EXTFRAG_FRAGMENTING: Final = 30
ALLOC_FAIL: Final = 31

EVENT_NAMES: Final = (
    "allocstall",
    "compact_stall",
    "compact_success",
    "compact_fail",
    "compact_migrate_scanned",
    "compact_free_scanned",
    "compact_isolated",
    "compact_daemon_wake",
    "compact_daemon_migrate_scanned",
    "compact_daemon_free_scanned",
    "pgmigrate_success",
    "pgmigrate_fail",
    "pgscan_kswapd",
    "pgscan_direct",
    "pgsteal_kswapd",
    "pgsteal_direct",
    "pgactivate",
    "pgdeactivate",
    "pgrefill",
    "pgrotated",
    "kswapd_low_wmark_hit_quickly",
    "kswapd_high_wmark_hit_quickly",
    "oom_kill",
    "slabs_scanned",
    "pageoutrun",
    "drop_pagecache",
    "thp_fault_alloc",
    "thp_fault_fallback",
    "extfrag_claim",
    "extfrag_steal",
    "extfrag_fragmenting",
    "alloc_fail",
)


class VmStat:
    """Event counters of one machine, named as /proc/vmstat names them where it does."""

    def __init__(self) -> None:
        self.events = [0] * len(EVENT_NAMES)

    def count(self, item: int, nr: int = 1) -> None:
        """``count_vm_events()``."""
        self.events[item] += nr

    def named(self) -> dict[str, int]:
        """All counters by name, in the order of the enum."""
        return dict(zip(EVENT_NAMES, self.events, strict=True))


def nr_free_blocks(free_area: Sequence[Sequence[int]]) -> tuple[int, ...]:
    """Free blocks per order, of counts per order and migratetype."""
    return tuple(sum(free_area[order]) for order in range(NR_PAGE_ORDERS))
