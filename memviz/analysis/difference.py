"""What two instants differ in: of one run, of two runs, of two policies from one seed."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from memviz.kernel.page import NR_PAGE_ORDERS, OWNER_FREE, OWNER_NAMES, OWNER_PCP
from memviz.kernel.vmstat import unusable_free_index
from memviz.snapshot import Snapshot

SAME, OTHER_OWNER, ONLY_FIRST, ONLY_SECOND = 0, 1, 2, 3
"""What ``Difference.frames`` says of a page frame: free (on whatever list) or used alike; used by another; used in one
of the two only.
"""
_AS_FREE = np.arange(256, dtype=np.uint8)
_AS_FREE[OWNER_PCP] = OWNER_FREE


class Change(NamedTuple):
    """A figure in both instants."""

    name: str
    first: int
    second: int

    @property
    def by(self) -> int:
        """How much more the second has."""
        return self.second - self.first


class Difference(NamedTuple):
    """Two instants, compared."""

    frames: npt.NDArray[np.uint8] | None
    """One code a page frame; None when the two have not the same number of them."""
    owners: tuple[Change, ...]
    """Page frames of each owner."""
    unusable: tuple[Change, ...]
    """Unusable free space index of each order, thousandths."""
    free_blocks: tuple[Change, ...]
    """Free blocks of each order."""
    caches: tuple[Change, ...]
    """Slabs of each cache."""
    counters: tuple[Change, ...]
    """Counters that differ."""
    policies: tuple[tuple[str, str, str], ...]
    """Switches that differ: (name, first, second)."""

    def tables(self) -> tuple[tuple[str, tuple[Change, ...]], ...]:
        """What differs, for people: (what it counts, its figures that differ), tables without any left out."""
        every = (
            ("page frames", self.owners),
            ("unusable free space index (thousandths)", self.unusable),
            ("free blocks", self.free_blocks),
            ("slabs", self.caches),
            ("counters", self.counters),
        )
        found = ((title, tuple(row for row in rows if row.by)) for title, rows in every)
        return tuple((title, rows) for title, rows in found if rows)


def difference(first: Snapshot, second: Snapshot) -> Difference:
    """Compare two instants."""
    free = _free_blocks(first), _free_blocks(second)
    unusable = [
        Change(f"order {order}", *(unusable_free_index(blocks, order) for blocks in free))
        for order in range(NR_PAGE_ORDERS)
    ]
    owners = [np.bincount(one.pages.owner, minlength=len(OWNER_NAMES)) for one in (first, second)]
    policies = dict(first.policies), dict(second.policies)
    return Difference(
        frames=_frames(first, second),
        owners=tuple(Change(name, int(owners[0][at]), int(owners[1][at])) for at, name in enumerate(OWNER_NAMES)),
        unusable=tuple(unusable),
        free_blocks=tuple(Change(f"order {order}", free[0][order], free[1][order]) for order in range(NR_PAGE_ORDERS)),
        caches=_changes(
            {cache.name: cache.slabs for cache in first.caches}, {cache.name: cache.slabs for cache in second.caches}
        ),
        counters=tuple(one for one in _changes(dict(first.counters), dict(second.counters)) if one.by),
        policies=tuple(
            (name, policies[0].get(name, ""), policies[1].get(name, ""))
            for name in sorted(policies[0].keys() | policies[1].keys())
            if policies[0].get(name) != policies[1].get(name)
        ),
    )


def _frames(first: Snapshot, second: Snapshot) -> npt.NDArray[np.uint8] | None:
    if first.pages.nr != second.pages.nr:
        return None
    # Whether a free page frame waits on a CPU's list or in the buddy allocator is no difference that a map should show.
    one, other = _AS_FREE[first.pages.owner], _AS_FREE[second.pages.owner]
    codes = np.where(one == other, SAME, OTHER_OWNER).astype(np.uint8)
    codes[(one != OWNER_FREE) & (other == OWNER_FREE)] = ONLY_FIRST
    codes[(one == OWNER_FREE) & (other != OWNER_FREE)] = ONLY_SECOND
    return codes


def _free_blocks(of: Snapshot) -> tuple[int, ...]:
    blocks = [0] * NR_PAGE_ORDERS
    for zone in of.zones:
        for order, count in enumerate(zone.nr_free()):
            blocks[order] += count
    return tuple(blocks)


def _changes(first: dict[str, int], second: dict[str, int]) -> tuple[Change, ...]:
    names = [*first, *(name for name in second if name not in first)]
    return tuple(Change(name, first.get(name, 0), second.get(name, 0)) for name in names)
