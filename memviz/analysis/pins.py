"""Who pins which pageblock, and what it would take to get blocks back.

A block is *pinned* when it holds a page frame whose content nothing can move. One such frame keeps 2 MiB from being
one free block, so blocks with few pins are worth most. Blocks with reserved memory, holes or huge pages are left out:
nothing can be gained there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from memviz.analysis.contiguity import SLAB_OWNERS, Mask, pinned_frames
from memviz.kernel import page
from memviz.snapshot import Cache, Pages

U16 = npt.NDArray[np.uint16]

BLOCK: Final = page.PAGEBLOCK_NR_PAGES
STEPS: Final = (1, 10, 100, 1000, 10_000, 100_000)
"""Of how many blocks a report says what they would take."""
_ORDERS: Final = 16
_CACHES: Final = page.NR_OWNERS + _ORDERS
_OUT: Final = (page.OWNER_RESERVED, page.OWNER_UNKNOWN, page.OWNER_HUGE)


class Pin(NamedTuple):
    """What one owner or slab cache does to the pageblocks."""

    who: str
    frames: int
    """Page frames that it pins."""
    blocks: int
    """Pageblocks that it has pinned frames in."""
    alone: int
    """Pageblocks that nobody else pins: without it they could be free."""


class Price(NamedTuple):
    """``frames`` page frames would have to go for ``blocks`` more pageblocks to be free."""

    blocks: int
    frames: int
    who: tuple[tuple[str, int], ...]
    """Whose they are."""

    def sentence(self) -> str:
        """For a person."""
        whose = ", ".join(f"{count:,} of {who}" for who, count in self.who[:3])
        more = " and others" if len(self.who) > 3 else ""
        frames = "this page" if self.frames == 1 else f"these {self.frames:,} pages"
        blocks = "1 block" if self.blocks == 1 else f"{self.blocks:,} blocks"
        return f"If {frames} went ({whose}{more}), {blocks} of 2 MiB would be free."


class CheapBlock(NamedTuple):
    """A block that little keeps from being free."""

    block: int
    frames: tuple[tuple[int, str], ...]
    """The page frames that pin it: (pfn, whose)."""


@dataclass(frozen=True, slots=True)
class PinReport:
    """Pins of one instant. Blocks are pageblocks of 2 MiB."""

    blocks: int
    """That the allocator could ever give out whole."""
    free: int
    """Free as one block now."""
    clean: int
    """Not free, but nothing in them is pinned: compaction alone could free them."""
    pinned: int
    huge: int
    """Huge pages already."""
    by_who: tuple[Pin, ...]
    prices: tuple[Price, ...]
    cheapest: tuple[CheapBlock, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "blocks": self.blocks,
            "free": self.free,
            "clean": self.clean,
            "pinned": self.pinned,
            "huge": self.huge,
            "pinned_by": [one._asdict() for one in self.by_who],
            "prices": [
                {"blocks": one.blocks, "frames": one.frames, "who": dict(one.who), "sentence": one.sentence()}
                for one in self.prices
            ],
            "cheapest": [
                {"block": one.block, "frames": [{"pfn": pfn, "who": who} for pfn, who in one.frames]}
                for one in self.cheapest
            ],
        }


def _names(caches: tuple[Cache, ...]) -> list[str]:
    """What each group of frames is called: owners, slabs of each order whose cache nobody saw, caches by id."""
    names = [f"{name} slab" if "slab" not in name and owner in SLAB_OWNERS else name
             for owner, name in enumerate(page.OWNER_NAMES)]  # fmt: skip
    for order in range(_ORDERS):
        there = sorted(((c.slabs << order, c.name) for c in caches if c.order == order), reverse=True)
        whole = sum(frames for frames, _ in there)
        if len(there) == 1:
            names.append(f"slab {there[0][1]}")
        elif there:
            frames, likely = there[0]
            names.append(f"slab of order {order} ({likely}: {frames * 100 // whole} % of such)")
        else:
            names.append(f"slab of order {order}")
    by_id = {cache.id: f"slab {cache.name}" for cache in caches}
    names += [by_id.get(ident, "slab") for ident in range(max(by_id, default=0) + 1)]
    return names


def _groups(pages: Pages, at: npt.NDArray[np.intp], cache: U16 | None) -> npt.NDArray[np.int64]:
    """Which group each pinned frame belongs to: an index into ``_names``."""
    groups = pages.owner[at].astype(np.int64)
    slabs = np.flatnonzero(np.isin(groups, SLAB_OWNERS))
    orders = pages.order[at[slabs]]
    heads = np.maximum.accumulate(np.where(orders != 255, np.arange(slabs.size), 0)) if slabs.size else slabs
    groups[slabs] = page.NR_OWNERS + np.minimum(orders[heads], _ORDERS - 1)
    if cache is not None:
        known = cache[at[slabs]]
        seen = np.flatnonzero(known)
        groups[slabs[seen]] = _CACHES + known[seen].astype(np.int64)
    return groups


def pin_report(pages: Pages, caches: tuple[Cache, ...] = (), cache: U16 | None = None, show: int = 10) -> PinReport:
    """Who pins what. ``cache``: for every frame of a slab the ``Cache.id`` of its cache, 0 where that is not known.

    ``show``: how many of the cheapest blocks are told frame by frame.
    """
    whole = pages.nr // BLOCK
    owner = pages.owner[: whole * BLOCK].reshape(whole, BLOCK)
    left_out = np.zeros(256, np.bool_)
    left_out[list(_OUT)] = True
    usable: Mask = ~np.asarray(left_out[owner].any(axis=1), np.bool_)
    huge = int(np.count_nonzero((owner == page.OWNER_HUGE).all(axis=1)))
    free = int(np.count_nonzero((owner[usable] == page.OWNER_FREE).all(axis=1)))
    pinned = pinned_frames(pages)[: whole * BLOCK]
    at = np.flatnonzero(pinned.reshape(whole, BLOCK) & usable[:, None])
    names = _names(caches)
    groups = _groups(pages, at, cache)
    block = at // BLOCK
    per_block = np.bincount(block, minlength=whole)
    dirty = np.flatnonzero(per_block)
    return PinReport(
        blocks=int(np.count_nonzero(usable)),
        free=free,
        clean=int(np.count_nonzero(usable)) - free - dirty.size,
        pinned=int(dirty.size),
        huge=huge,
        by_who=_by_who(names, groups, block),
        prices=_prices(pages, names, groups, block, per_block),
        cheapest=_cheapest(names, groups, at, block, per_block, show),
    )


def _by_who(names: list[str], groups: npt.NDArray[np.int64], block: npt.NDArray[np.intp]) -> tuple[Pin, ...]:
    labels = sorted({names[group] for group in np.unique(groups).tolist()})
    number = {name: index for index, name in enumerate(labels)}
    label = np.array([number.get(name, 0) for name in names], np.int64)[groups]
    cells = np.unique(block.astype(np.int64) * max(1, len(labels)) + label)
    who = cells % max(1, len(labels))
    where = cells // max(1, len(labels))
    only = np.bincount(where, minlength=1)[where] == 1
    frames = np.bincount(label, minlength=len(labels))
    blocks = np.bincount(who, minlength=len(labels))
    alone = np.bincount(who[only], minlength=len(labels))
    pins = [Pin(name, int(frames[i]), int(blocks[i]), int(alone[i])) for i, name in enumerate(labels)]
    return tuple(sorted(pins, key=lambda pin: (-pin.alone, -pin.blocks, pin.who)))


def _ranked(per_block: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
    """Pinned blocks, those with the fewest pins first."""
    dirty = np.flatnonzero(per_block)
    return dirty[np.argsort(per_block[dirty], kind="stable")]


def _prices(
    pages: Pages,
    names: list[str],
    groups: npt.NDArray[np.int64],
    block: npt.NDArray[np.intp],
    per_block: npt.NDArray[np.intp],
) -> tuple[Price, ...]:
    ranked = _ranked(per_block)
    # What is movable in those blocks has to go somewhere: no more blocks than the free memory fills.
    room = int(np.count_nonzero((pages.owner == page.OWNER_FREE) | (pages.owner == page.OWNER_PCP))) // BLOCK
    most = min(ranked.size, room)
    rank = np.full(per_block.size, ranked.size, np.int64)
    rank[ranked] = np.arange(ranked.size)
    prices = []
    for count in sorted({min(step, most) for step in STEPS} - {0}):
        chosen = groups[rank[block] < count]
        shares: dict[str, int] = {}
        for group, frames in enumerate(np.bincount(chosen).tolist()):
            if frames:
                shares[names[group]] = shares.get(names[group], 0) + frames
        whose = tuple(sorted(shares.items(), key=lambda one: (-one[1], one[0])))
        prices.append(Price(count, int(chosen.size), whose))
    return tuple(prices)


def _cheapest(
    names: list[str],
    groups: npt.NDArray[np.int64],
    at: npt.NDArray[np.intp],
    block: npt.NDArray[np.intp],
    per_block: npt.NDArray[np.intp],
    show: int,
) -> tuple[CheapBlock, ...]:
    found = []
    for number in _ranked(per_block)[:show].tolist():
        begin, end = np.searchsorted(block, [number, number + 1]).tolist()
        end = min(end, begin + 16)
        pins = zip(at[begin:end].tolist(), groups[begin:end].tolist(), strict=True)
        found.append(CheapBlock(number, tuple((pfn, names[group]) for pfn, group in pins)))
    return tuple(found)
