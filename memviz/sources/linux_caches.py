"""Which slab cache a page frame belongs to: learned from the objects that are allocated and freed.

The trace gives the address of an object and the name of its cache. Addresses lie in the kernel's direct map, which
begins at a multiple of 1 GiB that the kernel draws at boot and tells nobody: the one for which the objects' page frames
are slabs is it. A slab that nobody uses is never seen; its cache stays unknown.
"""

from __future__ import annotations

import re
from typing import Final

import numpy as np

from memviz.kernel import page
from memviz.snapshot import Cache
from memviz.sources.linux_sweep import FrameMap
from memviz.sources.linux_tracefs import Sample

_GIB: Final = 30
_ENOUGH: Final = 0.9  # of the objects must lie in slabs
_LEAST: Final = 16
_SLABS: Final = (page.OWNER_SLAB, page.OWNER_SLAB_XA, page.OWNER_SLAB_VFS)
_VFS: Final = re.compile(r"dentry|.*inode.*")
_XA: Final = ("radix_tree_node", "xa_node")


def owner_of(name: str) -> int:
    """What owner the slabs of a cache are shown as."""
    if name in _XA:
        return page.OWNER_SLAB_XA
    return page.OWNER_SLAB_VFS if _VFS.fullmatch(name) else page.OWNER_SLAB


class CacheFinder:
    """Learns; ``FrameMap.cache`` holds what it knows. Names get numbers that stay."""

    def __init__(self, frames: FrameMap) -> None:
        self._frames = frames
        self._base = -1
        self._ids: dict[str, int] = {}

    def number(self, name: str) -> int:
        """The id of a cache, from 1."""
        found = self._ids.get(name)
        if found is None:
            found = self._ids[name] = len(self._ids) + 1
            self._frames.cache_owner[found] = owner_of(name)
        return found

    def numbered(self, caches: tuple[Cache, ...]) -> tuple[Cache, ...]:
        """The caches with ids that stay, and the owners of their slabs."""
        return tuple(one._replace(id=self.number(one.name), owner=owner_of(one.name)) for one in caches)

    def learn(self, sample: Sample) -> int:
        """Take in a sample; returns how many slabs became known."""
        if not sample.names:
            return 0
        frames = self._frames
        slab = np.isin(frames.owner, _SLABS) if self._base < 0 else None
        if slab is not None and not self._find_base(sample, slab):
            return 0
        pfns = ((sample.addresses - np.uint64(self._base)) >> np.uint64(page.PAGE_SHIFT)).astype(np.int64)
        learned = 0
        for pfn, name in zip(pfns.tolist(), sample.names, strict=True):
            if 0 <= pfn < frames.nr and int(frames.owner[pfn]) in _SLABS and frames.cache[pfn] == 0:
                begin, end = self._slab(pfn)
                number = self.number(name)
                frames.cache[begin:end] = number
                frames.owner[begin:end] = frames.cache_owner[number]
                learned += 1
        frames.learned = frames.learned or learned > 0
        return learned

    def _find_base(self, sample: Sample, slab: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> bool:
        addresses = sample.addresses[sample.addresses >= np.uint64(1 << 63)]
        if addresses.size < _LEAST:
            return False
        lowest = int(addresses.min()) >> _GIB << _GIB
        best, base = 0.0, -1
        for step in range((self._frames.nr >> (_GIB - page.PAGE_SHIFT)) + 1):
            start = lowest - (step << _GIB)
            pfns = (addresses - np.uint64(start)) >> np.uint64(page.PAGE_SHIFT)
            inside = pfns < np.uint64(self._frames.nr)
            share = float(np.count_nonzero(slab[pfns[inside].astype(np.int64)])) / addresses.size
            if share > best:
                best, base = share, start
        if best >= _ENOUGH:
            self._base = base
        return self._base >= 0

    def _slab(self, pfn: int) -> tuple[int, int]:
        """First page frame of a slab, and the one behind its last."""
        order = self._frames.order
        begin = pfn
        while begin > 0 and order[begin] == 255 and pfn - begin < 1 << page.MAX_PAGE_ORDER:
            begin -= 1
        size = int(order[begin])
        return begin, begin + (1 << size if size <= page.MAX_PAGE_ORDER else 1)
