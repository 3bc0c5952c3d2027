"""Slab caches of a simulated machine, and slabs and objects of the one in focus, as a Snapshot holds them."""

from __future__ import annotations

import numpy as np

from memviz.kernel.kmem_cache import KmemCache
from memviz.kernel.page import PAGE_SHIFT
from memviz.kernel.slab_stats import object_states, slab_rows
from memviz.kernel.slub import Slub
from memviz.snapshot import SLAB_DTYPE, U8, Cache, Structured


def cache_row(cache: KmemCache) -> Cache:
    """One cache, counted by objects truly in use."""
    stats = cache.stats()
    hidden = cache.hidden()
    return Cache(
        id=cache.id,
        name=cache.name,
        object_size=cache.object_size,
        size=cache.size,
        order=cache.order,
        objs_per_slab=cache.objs_per_slab,
        slabs=stats.slabs,
        partial=stats.partial,
        full=stats.full,
        active=stats.active,
        total=stats.total,
        cached=hidden.cached,
        slabinfo_active=hidden.slabinfo_active,
        movable=cache.movable,
        owner=cache.owner,
    )


def caches(slub: Slub) -> tuple[Cache, ...]:
    """All caches, movable ones first."""
    return tuple(cache_row(cache) for cache in slub.slab_caches)


def slabs_and_objects(slub: Slub, name: str) -> tuple[Structured, U8]:
    """Slabs of the cache called ``name`` in order of address, and the state of each object, shape (slabs, objects).

    Both empty when there is no such cache. A slab of a smaller order than the cache's has OBJ_NONE where it ends.
    """
    cache = slub.caches.get(name)
    if cache is None:
        none = np.zeros(0, SLAB_DTYPE), np.zeros((0, 0), np.uint8)
        for array in none:
            array.flags.writeable = False
        return none
    rows = np.array(slab_rows(cache), SLAB_DTYPE)
    width = cache.objs_per_slab
    states = b"".join(object_states(cache.slabs[pfn]).ljust(width, b"\0") for pfn in rows["pfn"].tolist())
    rows.flags.writeable = False
    return rows, np.frombuffer(states, np.uint8).reshape(len(rows), width)


def content(slub: Slub, addr: int) -> object:
    """What the constructor made for the object at ``addr``, in use or not; None when there is no object."""
    slab = slub.slab_of_page.get(addr >> PAGE_SHIFT)
    if slab is None or not slab.contents:
        return None
    number = (addr - (slab.pfn << PAGE_SHIFT)) // slab.cache.size
    # Another slab may be there by now, of larger objects, with a rest behind its last one.
    return slab.contents[number] if number < len(slab.contents) else None
