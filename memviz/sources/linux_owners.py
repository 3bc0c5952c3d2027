"""Who a real machine's page frames belong to, beyond what their flags say: memory cgroups, and where they came from.

Cgroups come from /proc/kpagecgroup (an inode a page frame) and the cgroup file system; who allocated a page frame from
page_owner, on kernels that were built and booted with it. Both are optional.
"""

from __future__ import annotations

import re
from typing import Final

import numpy as np
import numpy.typing as npt

from memviz.analysis.live_report import CgroupFrames
from memviz.analysis.pins import PinReport
from memviz.sources.linux_access import Access, LiveError

_CHUNK: Final = 1 << 18
_SHOWN: Final = 64
"""Page frames that page_owner is asked about."""
_PFN: Final = re.compile(r"^PFN (0x[0-9a-f]+|\d+) ", re.MULTILINE)
_HEAD: Final = re.compile(r"allocated via order (\d+).*?(?:tgid \d+ \(([^)]*)\)|pid \d+ \(([^)]*)\)|$)", re.MULTILINE)
_FRAME: Final = re.compile(r"^\s+([A-Za-z_][\w.]*)\+0x", re.MULTILINE)
_ALLOCATOR: Final = re.compile(
    r"(__)?(set_page_owner|post_alloc_hook|prep_new_page|get_page_from_freelist|alloc_pages|alloc_frozen_pages|folio_alloc"
    r"|get_free_pages|alloc_slab_page|allocate_slab|new_slab|slab_alloc|kmalloc|kmem_cache_alloc|kvmalloc|refill_objects"
    r"|alloc_from_pcs|refill_sheaf|vmalloc|krealloc|register_dummy_stack)"
)
"""The allocator's own functions; who called them is of interest."""


def frames_by_cgroup(access: Access, nr: int, pinned: npt.NDArray[np.bool_]) -> tuple[CgroupFrames, ...]:
    """Page frames of every memory cgroup, those with most first. ``pinned``: which can't be moved. Raises LiveError."""
    names = access.cgroups()
    whole: dict[int, list[int]] = {}
    for start in range(0, nr, _CHUNK):
        words = access.page_words(start, min(_CHUNK, nr - start), "cgroup")
        if not words.size:
            break
        fixed = pinned[start : start + words.size]
        inodes, inverse = np.unique(words, return_inverse=True)
        counts = np.bincount(inverse, minlength=inodes.size)
        stuck = np.bincount(inverse[fixed], minlength=inodes.size)
        for inode, count, fixed_count in zip(inodes.tolist(), counts.tolist(), stuck.tolist(), strict=True):
            both = whole.setdefault(inode, [0, 0])
            both[0] += count
            both[1] += fixed_count
    whole.pop(0, None)  # nobody's
    found = [CgroupFrames(names.get(inode, f"gone, inode {inode}"), *both) for inode, both in whole.items()]
    return tuple(sorted(found, key=lambda one: (-one.frames, one.path)))


def parse_page_owner(text: str) -> dict[int, str]:
    """Who allocated page frames, by pfn: ``function, for process``, the first function that is none of the allocator's.

    The last entry may be cut off."""
    found = {}
    for entry in text.split("\n\n"):
        pfn, head = _PFN.search(entry), _HEAD.search(entry)
        if pfn is None or head is None:
            continue
        site = next((name for name in _FRAME.findall(entry) if not _ALLOCATOR.match(name)), "")
        who = head[2] or head[3]
        if site:
            found[int(pfn[1], 0)] = f"{site}, for {who}" if who else site
    return found


def call_sites(access: Access, pins: PinReport) -> dict[int, str]:
    """Who allocated the page frames that pin the cheapest blocks, by pfn. Raises LiveError."""
    wanted = [pfn for block in pins.cheapest for pfn, _ in block.frames][:_SHOWN]
    found: dict[int, str] = {}
    for pfn in wanted:
        if pfn not in found:
            found.update(parse_page_owner(access.page_owner(pfn)))
    return {pfn: found[pfn] for pfn in wanted if pfn in found}


def add_owners(
    access: Access, nr: int, pinned: npt.NDArray[np.bool_], pins: PinReport, missing: dict[str, str]
) -> tuple[tuple[CgroupFrames, ...], dict[int, str]]:
    """Both, as far as this kernel tells; what it doesn't is named in ``missing``."""
    cgroups: tuple[CgroupFrames, ...] = ()
    sites: dict[int, str] = {}
    try:
        cgroups = frames_by_cgroup(access, nr, pinned)
    except LiveError as error:
        missing["cgroups"] = str(error)
    try:
        sites = call_sites(access, pins)
    except LiveError as error:
        missing["call sites"] = str(error)
    return cgroups, sites
