"""Contiguity now and possible: which blocks are free, which could be, and who stands in the way.

*Pinned* is a page frame whose content nothing can move: unmovable kernel memory, network buffers, page tables, pages
held for DMA, huge pages (already the block that somebody wanted), and slab pages, unless their cache is movable.
Everything else is free or could go elsewhere. Whole-array numpy: a million page frames take a few milliseconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from memviz.kernel import page
from memviz.snapshot import Pages

Mask = npt.NDArray[np.bool_]

_LARGEST: Final = 1 << page.MAX_PAGE_ORDER

SLAB_OWNERS: Final = (page.OWNER_SLAB_XA, page.OWNER_SLAB_VFS, page.OWNER_SLAB)
PINNING_OWNERS: Final = (
    page.OWNER_UNKNOWN,
    page.OWNER_KERNEL,
    page.OWNER_NET,
    page.OWNER_HUGE,
    page.OWNER_PINNED,
    page.OWNER_PAGE_TABLE,
    page.OWNER_RESERVED,
    *SLAB_OWNERS,
)


def _owners(owners: tuple[int, ...]) -> Mask:
    """A table: is this owner one of ``owners``?"""
    table = np.zeros(256, np.bool_)
    table[list(owners)] = True
    return table


_PINS: Final = _owners(PINNING_OWNERS)
_FREE: Final = _owners((page.OWNER_FREE, page.OWNER_PCP))


@dataclass(frozen=True, slots=True)
class Contiguity:
    """Contiguity of one instant. Tuples have one number an order, 0 to 10."""

    free: tuple[int, ...]
    """Free blocks, as /proc/buddyinfo counts them."""
    now: tuple[int, ...]
    """Requests that the free blocks could serve one after the other; larger blocks are split."""
    possible: tuple[int, ...]
    """The same, if first every movable page and slab object moved out of the way."""
    pins: npt.NDArray[np.uint16]
    """Pinned page frames, shape (pageblocks, ``page.NR_OWNERS``)."""


class Pinning(NamedTuple):
    """What one owner does to the pageblocks of a machine."""

    owner: int
    frames: int
    """Page frames that it pins."""
    blocks: int
    """Pageblocks that it has pinned frames in."""
    alone: int
    """Pageblocks that nobody else pins: were this owner's memory movable, they could be free."""


def pinned_frames(pages: Pages, movable_slab: Mask | None = None) -> Mask:
    """Which page frames hold what cannot be moved, shape (nr,).

    ``movable_slab`` marks frames of slabs whose cache is movable; None: there is no such cache.
    """
    pinned: Mask = _PINS[pages.owner]
    if movable_slab is not None:
        pinned &= ~movable_slab
    pinned |= (pages.flags & page.PG_PINNED) != 0
    return pinned


def clean_blocks(pinned: Mask) -> tuple[int, ...]:
    """Aligned blocks of each order without a pinned page frame. A block that memory ends in counts as pinned."""
    short = -pinned.size % _LARGEST
    level = np.concatenate((pinned, np.ones(short, np.bool_))) if short else pinned
    counts = []
    for order in range(page.NR_PAGE_ORDERS):
        if order:
            level = level[0::2] | level[1::2]
        counts.append(level.size - int(np.count_nonzero(level)))
    return tuple(counts)


def free_blocks(pages: Pages) -> tuple[int, ...]:
    """Free blocks of each order, counted on the map."""
    heads = pages.order[(pages.flags & page.PG_BUDDY) != 0]
    counts = np.bincount(heads, minlength=page.NR_PAGE_ORDERS)[: page.NR_PAGE_ORDERS]
    return tuple(counts.tolist())


def servable(free: tuple[int, ...]) -> tuple[int, ...]:
    """Requests of each order that so many free blocks can serve, splitting larger ones."""
    counts = []
    larger = 0
    for blocks in reversed(free):
        larger = 2 * larger + blocks
        counts.append(larger)
    return tuple(reversed(counts))


def pins_by_block(pages: Pages, pinned: Mask) -> npt.NDArray[np.uint16]:
    """How many frames each owner pins in each pageblock, shape (pageblocks, ``page.NR_OWNERS``)."""
    blocks = (pages.nr + page.PAGEBLOCK_NR_PAGES - 1) >> page.PAGEBLOCK_ORDER
    at = np.flatnonzero(pinned)
    cell = (at >> page.PAGEBLOCK_ORDER) * page.NR_OWNERS + pages.owner[at]
    counts = np.bincount(cell, minlength=blocks * page.NR_OWNERS)
    return counts.reshape(blocks, page.NR_OWNERS).astype(np.uint16)


def contiguity(pages: Pages, movable_slab: Mask | None = None, packed: int = 0) -> Contiguity:
    """Contiguity of these page frames.

    ``packed``: page frames that movable slabs would give back if their objects were packed densely. Moving does not
    make memory free, so of the blocks without a pin no more can be free than the free page frames fill.
    """
    pinned = pinned_frames(pages, movable_slab)
    free = free_blocks(pages)
    frames = int(np.count_nonzero(_FREE[pages.owner])) + packed
    possible = tuple(min(clean, frames >> order) for order, clean in enumerate(clean_blocks(pinned)))
    return Contiguity(free, servable(free), possible, pins_by_block(pages, pinned))


def who_pins(pins: npt.NDArray[np.uint16]) -> list[Pinning]:
    """Who pins pageblocks, those first whose memory stands alone in most of them."""
    present = pins > 0
    alone = present & (np.count_nonzero(present, axis=1) == 1)[:, None]
    found = [
        Pinning(owner, int(pins[:, owner].sum()), int(present[:, owner].sum()), int(alone[:, owner].sum()))
        for owner in np.flatnonzero(present.any(axis=0)).tolist()
    ]
    return sorted(found, key=lambda one: (-one.alone, -one.blocks, one.owner))
