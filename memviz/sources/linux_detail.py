"""What is known of one page frame of a real machine, in words."""

from __future__ import annotations

from memviz.kernel import page
from memviz.snapshot import PageDetail
from memviz.sources.linux_sweep import FrameMap
from memviz.sources.linux_texts import LiveTexts


def page_detail(pfn: int, frames: FrameMap, told: LiveTexts) -> PageDetail | None:
    """Of page frame ``pfn``; None where there is no such."""
    if not 0 <= pfn < frames.nr:
        return None
    owner = page.OWNER_NAMES[int(frames.owner[pfn])]
    block = pfn // page.PAGEBLOCK_NR_PAGES
    kind = int(told.block_mt[block])
    cache = int(frames.cache[pfn])
    name = next((one.name for one in told.caches if one.id == cache), "")
    return PageDetail(
        pfn=pfn,
        zone=next((one.name for one in told.zones if one.start_pfn <= pfn < one.start_pfn + one.spanned), ""),
        block=block,
        migratetype=page.MIGRATETYPE_NAMES[kind] if kind < page.MIGRATE_TYPES else "unknown",
        owner=owner,
        order=int(frames.order[pfn]),
        sentence=f"slab {name}" if name else owner,
    )
