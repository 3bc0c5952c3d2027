"""Counting a cache, and what a snapshot shows of its slabs and objects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from memviz.kernel.page import PAGE_SHIFT
from memviz.kernel.slab import (
    OBJ_BUSY,
    OBJ_FREE,
    OBJ_ISOLATED,
    OBJ_MOVING,
    ON_CPU,
    ON_CPU_PARTIAL,
    SLAB_CPU,
    SLAB_EMPTY,
    SLAB_FULL,
    SLAB_ISOLATED,
    SLAB_MIGRATING,
    SLAB_PARTIAL,
    SLOT_USED,
    CacheStats,
    HiddenObjects,
    Slab,
    SlabRow,
)

if TYPE_CHECKING:
    from memviz.kernel.kmem_cache import KmemCache

# What a snapshot shows for a slot that is on no freelist, by SLOT_*: in a CPU's cache, in use, waiting for RCU.
_STATES: Final = bytes([3, 2, 4]) + bytes(253)
_STATES_ISOLATED: Final = bytes([3, OBJ_ISOLATED, 4]) + bytes(253)
_STATES_MOVING: Final = bytes([3, OBJ_MOVING, 4]) + bytes(253)


def cache_stats(cache: KmemCache) -> tuple[CacheStats, HiddenObjects]:
    """Count a cache: see ``CacheStats`` and ``HiddenObjects``."""
    cached = cache.cached_objects()
    with_cached: dict[int, int] = {}
    for obj in cached:
        slab = cache.slab_of_page[obj >> PAGE_SHIFT]
        if slab.inuse == slab.objects:
            with_cached[slab.pfn] = 1
    free = 0
    in_use = cache.node.partial.nr
    for slab in cache.node.partial.slabs():
        free += slab.objects - slab.inuse
    on_lists = free
    others = cache.off_list_slabs()
    if cache.mobility is not None:
        others = others + list(cache.mobility.isolated.values())
    for slab in others:
        free += slab.objects - slab.inuse
        if slab.inuse < slab.objects:
            in_use += 1
    partial = in_use + len(with_cached)
    total = cache.total_objects
    slabs = len(cache.slabs)
    active = total - free - len(cached)
    stats = CacheStats(active, total, partial, slabs - partial, slabs)
    return stats, HiddenObjects(len(cached), total - on_lists, cache.nr_rcu)


def slab_rows(cache: KmemCache) -> list[SlabRow]:
    """One row a slab, in order of address: pfn, order, objects, inuse, SLAB_*, REFUSED_*. Counts end at 255."""
    rows: list[SlabRow] = []
    for pfn in sorted(cache.slabs):
        slab = cache.slabs[pfn]
        objects = min(slab.objects, 255)
        rows.append((pfn, slab.order, objects, min(slab.inuse, 255), slab_state(slab), slab.refused))
    return rows


def object_states(slab: Slab) -> bytes:
    """OBJ_* of every slot of ``slab``."""
    table = _STATES
    if slab.isolated:
        table = _STATES_MOVING if slab.migrating else _STATES_ISOLATED
    states = bytearray(slab.live.translate(table))
    for slot in slab.freelist:
        states[slot] = OBJ_FREE
    if slab.busy_slot >= 0 and slab.refused and slab.live[slab.busy_slot] == SLOT_USED:
        states[slab.busy_slot] = OBJ_BUSY
    return bytes(states)


def slab_state(slab: Slab) -> int:
    """SLAB_* of a slab."""
    if slab.isolated:
        return SLAB_MIGRATING if slab.migrating else SLAB_ISOLATED
    if slab.place == ON_CPU or slab.place == ON_CPU_PARTIAL:
        return SLAB_CPU
    if slab.inuse == 0:
        return SLAB_EMPTY
    return SLAB_FULL if slab.inuse == slab.objects else SLAB_PARTIAL
