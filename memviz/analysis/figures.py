"""What charts draw over time: how full slabs are, how memory is shared, how requests of each order went."""

from __future__ import annotations

from typing import Final

from memviz.snapshot import Cache, Zone

WATCHED: Final = ("xa_node", "dentry", "ext4_inode_cache")
"""Caches that have a curve of their own. Where no xa_node is (a real Linux, a page cache of radix trees), the first is
of radix_tree_node, which has the nodes there."""
COLUMNS: Final = ("all slabs", *WATCHED, "memory free", "memory in slabs")
"""Thousandths: objects in use of all that the slabs could hold; page frames of all that are managed."""


def figures(caches: tuple[Cache, ...], zones: tuple[Zone, ...]) -> list[int]:
    """One value for each of ``COLUMNS``, thousandths; -1: unknown or nothing there."""
    by_name = {cache.name: cache for cache in caches}
    active = sum(cache.active for cache in caches)
    total = sum(cache.total for cache in caches)
    out = [_part(active, total)]
    for name in WATCHED:
        cache = by_name.get(name)
        if name == "xa_node" and (cache is None or not cache.total):
            cache = by_name.get("radix_tree_node")
        out.append(_part(cache.active, cache.total) if cache is not None else -1)
    managed = sum(zone.managed for zone in zones)
    out.append(_part(sum(zone.free + zone.pcp for zone in zones), managed))
    out.append(_part(sum(cache.slabs << cache.order for cache in caches), managed))
    return out


def _part(some: int, whole: int) -> int:
    return min(1000, some * 1000 // whole) if whole > 0 else -1
