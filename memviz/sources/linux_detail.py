"""What is known of one page frame of a real machine, in words."""

from __future__ import annotations

import contextlib

from memviz.kernel import page
from memviz.snapshot import PageDetail
from memviz.sources.linux_access import Access, LiveError
from memviz.sources.linux_sweep import FrameMap
from memviz.sources.linux_texts import LiveTexts


class Belongings:
    """Who uses a page frame, as far as the kernel counts that: how often it is mapped, which cgroup pays for it."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._names: dict[int, str] = {}

    def of(self, pfn: int) -> str:
        """In words; empty where nothing is known."""
        found = []
        mapped = self._word(pfn, "count")
        if mapped:
            found.append("mapped once" if mapped == 1 else f"mapped {mapped:,} times")
        inode = self._word(pfn, "cgroup")
        if inode and inode not in self._names:
            with contextlib.suppress(LiveError):
                self._names = self._access.cgroups()
            self._names.setdefault(inode, f"that is gone, inode {inode}")
        if inode:
            found.append(f"cgroup {self._names[inode]}")
        return ", ".join(found)

    def _word(self, pfn: int, what: str) -> int:
        try:
            words = self._access.page_words(pfn, 1, what)
        except LiveError:
            return 0
        return int(words[0]) if words.size else 0


def page_detail(pfn: int, frames: FrameMap, told: LiveTexts, belongings: Belongings) -> PageDetail | None:
    """Of page frame ``pfn``; None where there is no such."""
    if not 0 <= pfn < frames.nr:
        return None
    owner = page.OWNER_NAMES[int(frames.owner[pfn])]
    block = pfn // page.PAGEBLOCK_NR_PAGES
    kind = int(told.block_mt[block])
    cache = int(frames.cache[pfn])
    name = next((one.name for one in told.caches if one.id == cache), "")
    sentence = f"slab {name}" if name else owner
    more = belongings.of(pfn)
    return PageDetail(
        pfn=pfn,
        zone=next((one.name for one in told.zones if one.start_pfn <= pfn < one.start_pfn + one.spanned), ""),
        block=block,
        migratetype=page.MIGRATETYPE_NAMES[kind] if kind < page.MIGRATE_TYPES else "unknown",
        owner=owner,
        order=int(frames.order[pfn]),
        sentence=f"{sentence}, {more}" if more else sentence,
    )
