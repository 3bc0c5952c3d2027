"""Page frames, zones and counters of a simulated machine, as a Snapshot holds them: memory copies, no loops."""

from __future__ import annotations

from array import array
from functools import lru_cache
from typing import Final

import numpy as np

from memviz import snapshot
from memviz.analysis.contiguity import Contiguity, Mask, contiguity
from memviz.kernel import mmzone
from memviz.kernel.page import PAGEBLOCK_NR_PAGES, PAGEBLOCK_ORDER, PG_HEAD, PageFrames
from memviz.kernel.page_alloc import PageAlloc
from memviz.kernel.slub import Slub
from memviz.snapshot import U8, Pages
from memviz.sources.page_sets import CHUNK, FLAGS, ORDER, OWNER, STAMP, Lines, PageSets

assert PG_HEAD == 1, "_head_orders() computes with it"

MANY: Final = 8
"""When more than one pageblock in so many was touched, looking at all of them is quicker."""
ROUND: Final = 1024
"""Snapshots in which every pageblock is looked at once, marked or not: a mark that the engine forgot is a wrong picture
for half a minute, not for good.
"""


def frozen(array: U8) -> U8:
    """The array, read-only from now on."""
    array.flags.writeable = False
    return array


def pages(mem: PageFrames) -> Pages:
    """Copies of the per-page-frame arrays."""
    sets = PageSets()
    sets.begin(mem.nr)
    _write_range(sets, mem, 0, mem.nr)
    return sets.commit()


class PageCopies:
    """Copies of the per-page-frame arrays of one machine, time and again: only pageblocks that were touched since are
    looked at. There can be one of these a machine, for it takes the marks away.
    """

    def __init__(self, mem: PageFrames, many: int = MANY, round: int = ROUND) -> None:
        self._mem = mem
        self._many = many
        self._step = -(-len(mem.touched) // round) if round else 0
        self._next = 0
        self._touched = np.frombuffer(mem.touched, np.uint8)  # the machine's own bytes
        self._touched[:] = 1
        self._sets = PageSets()

    def pages(self) -> Pages:
        """The arrays as they are now."""
        mem, sets = self._mem, self._sets
        self._touched[self._next : self._next + self._step] = 1
        self._next = (self._next + self._step) % max(1, self._touched.size)
        blocks = np.flatnonzero(self._touched)
        self._touched[blocks] = 0
        sets.begin(mem.nr)
        whole = mem.nr >> PAGEBLOCK_ORDER
        if blocks.size * self._many > whole:
            _write_range(sets, mem, 0, mem.nr)
            return sets.commit()
        if blocks.size and blocks[-1] == whole:  # memory ends in the middle of it
            _write_range(sets, mem, whole << PAGEBLOCK_ORDER, mem.nr)
            blocks = blocks[:-1]
        flags = _of_blocks(mem.flags, blocks, PAGEBLOCK_NR_PAGES)
        sets.write_blocks(OWNER, blocks, _of_blocks(mem.owner, blocks, PAGEBLOCK_NR_PAGES))
        sets.write_blocks(ORDER, blocks, _head_orders(_of_blocks(mem.order, blocks, PAGEBLOCK_NR_PAGES), flags))
        sets.write_blocks(FLAGS, blocks, flags)
        sets.write_blocks(STAMP, blocks, _of_blocks(mem.stamp, blocks, 4 * PAGEBLOCK_NR_PAGES))
        return sets.commit()


def _of_blocks(plane: bytearray | array[int], blocks: Lines, size: int) -> U8:
    """What is in some blocks of ``size`` bytes of a plane, one after the other."""
    whole = np.frombuffer(plane, np.uint8)
    return np.take(whole[: whole.size // size * size].view(np.dtype((np.void, size))), blocks).view(np.uint8)


def _write_range(sets: PageSets, mem: PageFrames, begin: int, end: int) -> None:
    """Write the page frames from ``begin``, a multiple of 64, up to ``end``."""
    owner, flags, order = (np.frombuffer(plane, np.uint8) for plane in (mem.owner, mem.flags, mem.order))
    for at in range(begin, end, CHUNK):  # what is in between stays in the processor's cache
        to = min(at + CHUNK, end)
        sets.write(OWNER, at, owner[at:to])
        sets.write(ORDER, at, _head_orders(order[at:to], flags[at:to]))
        sets.write(FLAGS, at, flags[at:to])
    sets.write(STAMP, 4 * begin, np.frombuffer(mem.stamp, np.uint8)[4 * begin : 4 * end])


def _head_orders(order: U8, flags: U8) -> U8:
    """The order where a block begins, 255 on its other page frames."""
    # A head adds 0, a tail 255: no branch, no mask.
    shown: U8 = np.bitwise_or(order, np.subtract(flags & np.uint8(PG_HEAD), np.uint8(1)))
    return shown


def pageblock_mt(mem: PageFrames) -> U8:
    """A copy of the pageblocks' migratetypes."""
    return frozen(np.frombuffer(mem.pageblock_mt, np.uint8).copy())


def zone(kernel_zone: mmzone.Zone) -> snapshot.Zone:
    """One zone."""
    return snapshot.Zone(
        name=kernel_zone.name,
        start_pfn=kernel_zone.start_pfn,
        spanned=kernel_zone.spanned,
        present=kernel_zone.present,
        managed=kernel_zone.managed,
        free=kernel_zone.nr_free,
        pcp=kernel_zone.nr_pcp(),
        watermark_min=kernel_zone.watermark_min,
        watermark_low=kernel_zone.watermark_low,
        watermark_high=kernel_zone.watermark_high,
        watermark_promo=kernel_zone.watermark_promo,
        watermark_boost=kernel_zone.watermark_boost,
        free_area=kernel_zone.free_area_counts(),
    )


def zones(page_alloc: PageAlloc) -> tuple[snapshot.Zone, ...]:
    """All populated zones, lowest first."""
    return tuple(zone(one) for one in page_alloc.zones)


def counters(page_alloc: PageAlloc) -> tuple[tuple[str, int], ...]:
    """Counters as /proc/vmstat names them, sorted by name."""
    found = page_alloc.vmstat_counters()
    return tuple([(name, found[name]) for name in _in_order(tuple(found))])


@lru_cache(maxsize=8)
def _in_order(names: tuple[str, ...]) -> list[str]:
    """The names sorted: every Snapshot has the same ones."""
    return sorted(names)


def movable_slab_frames(slub: Slub, frames: Pages) -> tuple[Mask | None, int]:
    """Which frames belong to slabs that can be emptied by moving objects, and how many frames packing them would free.

    Slab pages are told apart by owner code, so an owner counts when every cache with that code is movable.
    """
    fixed = {cache.owner for cache in slub.slab_caches if not cache.movable}
    movable = [cache for cache in slub.slab_caches if cache.movable and cache.owner not in fixed]
    if not movable:
        return None, 0
    packed = 0
    for cache in movable:
        stats = cache.stats()
        needed = -(-stats.active // cache.objs_per_slab)
        packed += max(0, stats.slabs - needed) << cache.order
    owners = np.zeros(256, np.bool_)
    owners[[cache.owner for cache in movable]] = True
    mask: Mask = owners[frames.owner]
    return mask, packed


def contiguity_of(slub: Slub, frames: Pages) -> Contiguity:
    """Contiguity now and possible of a simulated machine."""
    mask, packed = movable_slab_frames(slub, frames)
    return contiguity(frames, mask, packed)
