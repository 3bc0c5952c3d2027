"""Why the free lists don't serve a request, in words (``mm/show_mem.c`` tells it in tables)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from memviz.kernel.mmzone import ALLOC_WMARK_MASK, Zone
from memviz.kernel.page import NR_PAGE_ORDERS
from memviz.kernel.vmstat import fragmentation_index

if TYPE_CHECKING:
    from memviz.kernel.slowpath import AllocContext

# Why a request failed: ALLOC_FAILED's last field.
FAILED_NO_MEMORY: Final = 0  # watermarks: too little is free
FAILED_FRAGMENTED: Final = 1  # enough is free, no block is large enough


def failure_reason(ac: AllocContext) -> int:
    """FAILED_FRAGMENTED when some zone has enough free page frames and only lacks a large enough block."""
    for zone in ac.zonelist:
        mark = zone.wmark_pages(ac.alloc_flags & ALLOC_WMARK_MASK)
        free = zone.nr_free - (1 << ac.order) + 1
        if zone.watermark_ok(0, mark, ac.highest_zoneidx, ac.alloc_flags, free):
            return FAILED_FRAGMENTED
    return FAILED_NO_MEMORY


def why_not(ac: AllocContext) -> str:
    """Why the free lists don't serve the request now, zone by zone, in one line."""
    return "; ".join(explain_zone(zone, ac) for zone in ac.zonelist)


def explain_zone(zone: Zone, ac: AllocContext) -> str:
    """One zone's answer: which watermark, or which block is missing and how fragmented it is."""
    which = ac.alloc_flags & ALLOC_WMARK_MASK
    mark = zone.wmark_pages(which)
    reserve = zone.lowmem_reserve[ac.highest_zoneidx]
    if not zone.watermark_ok(0, mark, ac.highest_zoneidx, ac.alloc_flags, zone.nr_free - (1 << ac.order) + 1):
        kept = f" and {reserve:,} kept for lower zones" if reserve else ""
        name = ("min", "low", "high")[which]
        return f"{zone.name}: {zone.nr_free:,} pages free, watermark {name} {mark:,}{kept}"
    blocks = zone.nr_free_blocks()
    if zone.has_block(ac.order, ac.alloc_flags):
        return f"{zone.name}: a block is free, but not for this migratetype without fragmenting a pageblock"
    largest = max((order for order in range(NR_PAGE_ORDERS) if blocks[order]), default=-1)
    index = fragmentation_index(blocks, ac.order)
    return (
        f"{zone.name}: {zone.nr_free:,} pages free, largest block order {largest}"
        f" · fragmentation index {index / 1000:.3f}"
    )
