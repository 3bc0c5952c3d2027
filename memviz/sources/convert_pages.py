"""Page frames, zones and counters of a simulated machine, as a Snapshot holds them: memory copies, no loops."""

from __future__ import annotations

import numpy as np

from memviz import snapshot
from memviz.analysis.contiguity import Contiguity, Mask, contiguity
from memviz.kernel import mmzone
from memviz.kernel.page import PG_HEAD, PageFrames
from memviz.kernel.page_alloc import PageAlloc
from memviz.kernel.slub import Slub
from memviz.snapshot import U8, Pages

assert PG_HEAD == 1, "pages() computes with it"


def frozen(array: U8) -> U8:
    """The array, read-only from now on."""
    array.flags.writeable = False
    return array


def pages(mem: PageFrames) -> Pages:
    """Copies of the per-page-frame arrays."""
    owner = np.frombuffer(mem.owner, np.uint8).copy()
    flags = np.frombuffer(mem.flags, np.uint8).copy()
    order = np.frombuffer(mem.order, np.uint8).copy()
    order |= (flags & PG_HEAD) - np.uint8(1)  # a head adds 0, a tail 255: no branch, no mask
    stamp = np.frombuffer(mem.stamp, np.uint32).copy()
    for array in (owner, flags, order, stamp):
        array.flags.writeable = False
    return Pages(owner, order, flags, stamp)


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
    return tuple(sorted(page_alloc.vmstat_counters().items()))


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
