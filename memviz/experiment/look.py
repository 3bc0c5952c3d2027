"""What a machine looks like at one moment: how its memory is cut up, and what its slabs and users hold."""

from __future__ import annotations

import msgspec

from memviz.experiment.price import blocks
from memviz.kernel.machine import Machine
from memviz.kernel.page import NR_PAGE_ORDERS
from memviz.kernel.vmstat import unusable_free_index
from memviz.workload.base import Workload


class CacheUse(msgspec.Struct, frozen=True):
    """A slab cache. Objects that CPUs keep for themselves are not in use."""

    slabs: int
    pages: int
    in_use: int
    room: int
    """Objects that the slabs could hold."""


class Look(msgspec.Struct, frozen=True):
    """One moment of a machine."""

    ops: int
    time_ns: int
    free_pages: int
    unusable: tuple[int, ...]
    """The kernel's unusable free space index of all free memory, thousandths, by order."""
    blocks: dict[str, int]
    """Pageblocks by how they are used: see ``price.blocks``."""
    caches: dict[str, CacheUse] = {}
    """Slab caches that have slabs, by name."""
    users: dict[str, int] = {}
    """What the scenario's users have got and missed so far: ``network.fallbacks``."""


def look(machine: Machine, users: list[Workload]) -> Look:
    """How ``machine`` looks now; nothing changes by it."""
    nr_free = [0] * NR_PAGE_ORDERS
    for zone in machine.page_alloc.zones:
        for order, count in enumerate(zone.nr_free_blocks()):
            nr_free[order] += count
    return Look(
        ops=machine.ops,
        time_ns=machine.smp.now,
        free_pages=sum(count << order for order, count in enumerate(nr_free)),
        unusable=tuple(unusable_free_index(nr_free, order) for order in range(NR_PAGE_ORDERS)),
        blocks=blocks(machine),
        caches=caches(machine),
        users=counts(users),
    )


def caches(machine: Machine) -> dict[str, CacheUse]:
    """The slab caches of a machine."""
    found: dict[str, CacheUse] = {}
    for name, cache in machine.slub.caches.items():
        stats = cache.stats()
        if stats.slabs:
            pages = sum(1 << slab.order for slab in cache.slabs.values())
            found[name] = CacheUse(stats.slabs, pages, stats.active, stats.total)
    return found


def counts(users: list[Workload]) -> dict[str, int]:
    """What users have counted; of several of a kind, the sum."""
    found: dict[str, int] = {}
    for user in users:
        for name, count in user.counts().items():
            key = f"{user.kind}.{name}"
            found[key] = found.get(key, 0) + count
    return found
