"""How fragmented free memory is: the kernel's two indices for every order, and pageblocks that mix what moves with what
does not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np

from memviz.kernel import page
from memviz.kernel.vmstat import fragmentation_index, unusable_free_index
from memviz.snapshot import U8

_MOVES: Final = (page.OWNER_ANON, page.OWNER_PAGE_CACHE)
_EMPTY: Final = (page.OWNER_UNKNOWN, page.OWNER_FREE, page.OWNER_PCP, page.OWNER_RESERVED, page.OWNER_ISOLATED)


class Indices(NamedTuple):
    """Both indices for orders 0 to 10, in thousandths."""

    unusable: tuple[int, ...]
    """Part of free memory that a request of this order cannot use; 1000: all of it."""
    fragmentation: tuple[int, ...]
    """Why a request would fail, 0 lack of memory to 1000 fragmentation; -1000: it would not fail."""


def indices(nr_free: Sequence[int]) -> Indices:
    """The indices of a zone with so many free blocks of each order, 0 to 10."""
    orders = range(page.NR_PAGE_ORDERS)
    return Indices(
        tuple(unusable_free_index(nr_free, order) for order in orders),
        tuple(fragmentation_index(nr_free, order) for order in orders),
    )


def mixed_blocks(owner: U8) -> int:
    """Pageblocks in which movable pages lie beside ones that cannot move: what grouping by mobility shall avoid.

    ``owner``: ``page.OWNER_*`` of every page frame.
    """
    short = -owner.size % page.PAGEBLOCK_NR_PAGES
    whole = np.concatenate((owner, np.zeros(short, np.uint8))) if short else owner
    kind = np.full(256, 2, np.uint8)
    kind[list(_MOVES)] = 1
    kind[list(_EMPTY)] = 0
    kinds = kind[whole].reshape(-1, page.PAGEBLOCK_NR_PAGES)
    return int(np.count_nonzero((kinds == 1).any(axis=1) & (kinds == 2).any(axis=1)))
