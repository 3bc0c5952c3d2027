"""Who holds which block: a look over all page frames, taken when a request has failed (ours; Linux has nothing like
it).

Memory is cut into aligned ranges of the size that was asked for. Each is judged by what would have to go for it to
be free: nothing, pages that compaction could move, slabs that could be evacuated, or something that stays.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from memviz.kernel.page import (
    MIGRATE_HIGHATOMIC,
    OWNER_ANON,
    OWNER_FREE,
    OWNER_HUGE,
    OWNER_ISOLATED,
    OWNER_NAMES,
    OWNER_PAGE_CACHE,
    OWNER_PCP,
    OWNER_RESERVED,
    OWNER_SLAB,
    OWNER_SLAB_VFS,
    OWNER_SLAB_XA,
    OWNER_UNKNOWN,
    PAGEBLOCK_ORDER,
    PG_PINNED,
    PageFrames,
)

if TYPE_CHECKING:
    from memviz.kernel.mmzone import Zone
    from memviz.kernel.slub import Slub

# What each page frame is to somebody who wants its range, one byte a frame.
FREE: Final = 0
MOVABLE: Final = 1
FIXED: Final = 2
SLAB: Final = 3  # of a cache that can't move
MOVABLE_SLAB: Final = 4
HUGE: Final = 5  # already the large block that somebody asked for
NOT_MEMORY: Final = 6  # reserved or unknown: never was a candidate

SLABS: Final = (OWNER_SLAB_XA, OWNER_SLAB_VFS, OWNER_SLAB)
SMALLEST_ORDER: Final = 3  # for smaller requests ranges of 8 frames say enough
MAX_NEAREST: Final = 3
NOT_IN_THE_WAY: Final = bytes((FREE, MOVABLE))
IS_PINNED: Final = bytes(1 if flag & PG_PINNED else 0 for flag in range(256))


def classify(owner: int) -> int:
    """What a page frame of this owner is, as far as its owner tells."""
    if owner in (OWNER_FREE, OWNER_PCP):
        return FREE
    if owner in (OWNER_ANON, OWNER_PAGE_CACHE, OWNER_ISOLATED):
        return MOVABLE
    if owner in SLABS:
        return SLAB
    if owner == OWNER_HUGE:
        return HUGE
    return NOT_MEMORY if owner in (OWNER_RESERVED, OWNER_UNKNOWN) else FIXED


CLASSES: Final = bytes(classify(owner) for owner in range(256))

Pin = tuple[str, int, int]  # whose it is, pageblock, page frame


class Survey:
    """How many aligned ranges of ``1 << order`` frames there are, and what each would take. Counts are ranges."""

    def __init__(self, order: int) -> None:
        self.order = max(order, SMALLEST_ORDER)
        self.total = 0
        self.free = 0
        self.highatomic = 0  # free, but kept for requests that can't wait
        self.movable = 0  # nothing in it but free frames and pages that could move
        self.slab_held = 0  # slab pages are all that keeps it
        self.slab_movable = 0  # ... and every one of them belongs to a movable cache
        self.huge = 0
        self.fixed = 0  # something else stays in it
        self.by_cache: dict[
            str, int
        ] = {}  # ranges that this movable cache alone keeps, or keeps with other movable ones
        self.fixed_by: dict[str, int] = {}  # ranges by the first owner in them that stays
        self.nearest: list[tuple[int, int]] = []  # (frames in the way, first frame) of the best ranges
        self.pins: list[Pin] = []  # who is in the way there

    def unit(self, count: int) -> str:
        """A number of ranges, in words."""
        one = "pageblock" if self.order == PAGEBLOCK_ORDER else f"range of {1 << self.order} pages"
        many = "pageblocks" if self.order == PAGEBLOCK_ORDER else f"ranges of {1 << self.order} pages"
        return f"{count:,} {one if count == 1 else many}"


def name_of(mem: PageFrames, slub: Slub | None, pfn: int) -> str:
    """Whose a page frame is: its slab cache's name, or its owner's."""
    if slub is not None:
        slab = slub.slab_of_page.get(pfn)
        if slab is not None:
            return slab.cache.name
    if mem.flags[pfn] & PG_PINNED:
        return "pinned page"
    return OWNER_NAMES[mem.owner[pfn]]


def classes_of(mem: PageFrames, slub: Slub | None) -> bytearray:
    """One byte a page frame: FREE, MOVABLE, ... Slabs of movable caches are told from the others by asking ``slub``."""
    classes = mem.owner.translate(CLASSES)
    pinned = mem.flags.translate(IS_PINNED)
    at = pinned.find(1)
    while at >= 0:
        classes[at] = FIXED
        at = pinned.find(1, at + 1)
    if slub is None or not any(cache.movable for cache in slub.slab_caches):
        return classes
    at = classes.find(SLAB)
    while at >= 0:
        slab = slub.slab_of_page.get(at)
        if slab is None:
            at = classes.find(SLAB, at + 1)
            continue
        end = slab.pfn + (1 << slab.order)
        if slab.cache.movable:
            classes[at:end] = bytes((MOVABLE_SLAB,)) * (end - at)
        at = classes.find(SLAB, end)
    return classes


def survey(mem: PageFrames, zones: list[Zone], order: int, slub: Slub | None) -> Survey:
    """Look at every aligned range of ``zones``."""
    result = Survey(order)
    classes = classes_of(mem, slub)
    size = 1 << result.order
    for zone in zones:
        start = (zone.start_pfn + size - 1) & ~(size - 1)
        for low in range(start, zone.end_pfn - size + 1, size):
            judge(result, mem, slub, low, bytes(classes[low : low + size]))
    for _, low in result.nearest:
        add_pins(result, mem, slub, low, classes)
    return result


def judge(result: Survey, mem: PageFrames, slub: Slub | None, low: int, frames: bytes) -> None:
    """Count one range."""
    if NOT_MEMORY in frames:
        return
    result.total += 1
    if HUGE in frames:
        result.huge += 1
        return
    if FIXED in frames:
        result.fixed += 1
        name = name_of(mem, slub, low + frames.find(FIXED))
        result.fixed_by[name] = result.fixed_by.get(name, 0) + 1
    elif SLAB in frames:
        result.slab_held += 1
    elif MOVABLE_SLAB in frames:
        result.slab_held += 1
        result.slab_movable += 1
        for name in caches_in(mem, slub, low, frames):
            result.by_cache[name] = result.by_cache.get(name, 0) + 1
    elif MOVABLE in frames:
        result.movable += 1
        return
    else:
        if mem.pageblock_mt[low >> PAGEBLOCK_ORDER] == MIGRATE_HIGHATOMIC:
            result.highatomic += 1
        else:
            result.free += 1
        return
    in_the_way = len(frames.translate(None, NOT_IN_THE_WAY))
    if len(result.nearest) < MAX_NEAREST or in_the_way < result.nearest[-1][0]:
        result.nearest.append((in_the_way, low))
        result.nearest.sort()
        del result.nearest[MAX_NEAREST:]


def caches_in(mem: PageFrames, slub: Slub | None, low: int, frames: bytes) -> list[str]:
    """The movable caches that have slabs in a range."""
    names: list[str] = []
    at = frames.find(MOVABLE_SLAB)
    while at >= 0:
        name = name_of(mem, slub, low + at)
        if name not in names:
            names.append(name)
        at = frames.find(MOVABLE_SLAB, at + (1 << mem.order[low + at]) if mem.order[low + at] else at + 1)
    return names


def add_pins(result: Survey, mem: PageFrames, slub: Slub | None, low: int, classes: bytearray) -> None:
    """Name who is in the way in one range: each owner or cache once, at its first frame."""
    seen: list[str] = []
    for pfn in range(low, low + (1 << result.order)):
        if classes[pfn] in (FIXED, SLAB, MOVABLE_SLAB):
            name = name_of(mem, slub, pfn)
            if name not in seen:
                seen.append(name)
                result.pins.append((name, pfn >> PAGEBLOCK_ORDER, pfn))
