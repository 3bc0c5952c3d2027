"""What the colour of a page frame can mean: by owner, migratetype, order of the free block, age, mobility, what pins.

Each mode sorts page frames into classes. A class's number is its *rank*: how much it matters that nobody overlooks it.
Where many page frames share a cell of the map the highest rank is shown.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from memviz.gui.render.numbers import bytes_of_frames, percent
from memviz.gui.render.tokens import Tokens
from memviz.kernel.page import (
    MIGRATE_TYPES,
    NR_PAGE_ORDERS,
    OWNER_ANON,
    OWNER_FREE,
    OWNER_HUGE,
    OWNER_ISOLATED,
    OWNER_KERNEL,
    OWNER_NET,
    OWNER_PAGE_CACHE,
    OWNER_PAGE_TABLE,
    OWNER_PCP,
    OWNER_PINNED,
    OWNER_RESERVED,
    OWNER_SLAB,
    OWNER_SLAB_VFS,
    OWNER_SLAB_XA,
    OWNER_UNKNOWN,
    PAGEBLOCK_NR_PAGES,
    PAGEBLOCK_ORDER,
    PG_PINNED,
)
from memviz.snapshot import Cache, Pages, Snapshot

U8 = npt.NDArray[np.uint8]
U32 = npt.NDArray[np.uint32]

RAMP: Final = "chart.possible>owner.anonymous>owner.page cache>owner.huge page>chart.cursor"
"""From dark to light, through hues that stay apart for colour-blind eyes: for what has an order."""


class PageClass(NamedTuple):
    """One class of page frames."""

    label: str
    color: str
    """The theme's colour for it; several joined by ``>`` are a ramp on which ``at`` picks."""
    at: float = 0.0
    """How far along the ramp, 0 to 1."""
    managed: bool = True
    """Counted in percentages: whether the allocator may ever give such a page frame out."""
    lasting: bool = True
    """Shown in the legend even when there is none."""


class Part(NamedTuple):
    """Some page frames of a snapshot: arrays are views, all indexed from the part's first page frame."""

    pages: Pages
    pageblock_mt: U8
    now_ms: int


def part(snapshot: Snapshot, begin: int, end: int) -> Part:
    """The page frames from ``begin`` (of a pageblock) to before ``end``."""
    pages = snapshot.pages
    return Part(
        Pages(pages.owner[begin:end], pages.order[begin:end], pages.flags[begin:end], pages.stamp[begin:end]),
        snapshot.pageblock_mt[begin >> PAGEBLOCK_ORDER : -(-end >> PAGEBLOCK_ORDER)],
        snapshot.time_ns // 1_000_000,
    )


def part_of_runs(snapshot: Snapshot, runs: npt.NDArray[np.intp], size: int) -> Part:
    """Copies of some aligned runs of ``size`` page frames (whole pageblocks), one after the other."""
    pages = snapshot.pages
    whole = pages.nr // size * size
    owner, order, flags = (
        plane[:whole].reshape(-1, size)[runs].ravel() for plane in (pages.owner, pages.order, pages.flags)
    )
    stamp = pages.stamp[:whole].reshape(-1, size)[runs].ravel()
    per_run = size >> PAGEBLOCK_ORDER
    blocks = snapshot.pageblock_mt[: whole >> PAGEBLOCK_ORDER].reshape(-1, per_run)[runs].ravel()
    return Part(Pages(owner, order, flags, stamp), blocks, snapshot.time_ns // 1_000_000)


class Mode(NamedTuple):
    """A meaning of colour."""

    id: str
    title: str
    classes: tuple[PageClass, ...]
    """By rank."""
    raw: Callable[[Part], U8]
    """A code for every page frame of a part."""
    lut: Callable[[Snapshot], U8]
    """The rank of every code: 256 entries."""
    lasts: bool = True
    """The code of a page frame changes only when something about its block or its pageblock does."""


def _lut(pairs: dict[int, int]) -> U8:
    table = np.zeros(256, np.uint8)
    for code, rank in pairs.items():
        table[code] = rank
    return table


def _owner_lut(ranks: tuple[tuple[int, ...], ...]) -> U8:
    return _lut({owner: rank for rank, owners in enumerate(ranks) for owner in owners})


_IDENTITY: Final = _lut({code: code for code in range(256)})


def _identity(snapshot: Snapshot) -> U8:
    return _IDENTITY


# By owner. Reclaim and compaction deal with what comes first; what comes last stops them.
_OWNERS: Final[tuple[tuple[int, PageClass], ...]] = (
    (OWNER_UNKNOWN, PageClass("not managed", "owner.unknown", managed=False, lasting=False)),
    (OWNER_RESERVED, PageClass("reserved", "owner.reserved", managed=False, lasting=False)),
    (OWNER_FREE, PageClass("free", "owner.free")),
    (OWNER_PCP, PageClass("per-CPU list", "owner.per-CPU list", lasting=False)),
    (OWNER_PAGE_CACHE, PageClass("page cache", "owner.page cache")),
    (OWNER_ANON, PageClass("anonymous", "owner.anonymous")),
    (OWNER_HUGE, PageClass("huge page", "owner.huge page", lasting=False)),
    (OWNER_SLAB_VFS, PageClass("dentry, inode slab", "owner.dentry, inode slab")),
    (OWNER_SLAB, PageClass("other slab", "owner.other slab", lasting=False)),
    (OWNER_PAGE_TABLE, PageClass("page table", "owner.page table", lasting=False)),
    (OWNER_NET, PageClass("network", "owner.network", lasting=False)),
    (OWNER_KERNEL, PageClass("unmovable", "owner.unmovable")),
    (OWNER_PINNED, PageClass("pinned", "owner.pinned", lasting=False)),
    (OWNER_SLAB_XA, PageClass("xa_node slab", "owner.xa_node slab")),
    (OWNER_ISOLATED, PageClass("isolated", "owner.isolated", lasting=False)),
)
_OWNER_LUT: Final = _lut({owner: rank for rank, (owner, _) in enumerate(_OWNERS)})


def _owner_raw(some: Part) -> U8:
    return some.pages.owner


def _owner_ranks(snapshot: Snapshot) -> U8:
    return _OWNER_LUT


# By migratetype of the pageblock: in each type the free page frames are a shade of the used ones.
_MIGRATETYPES: Final = (("Movable", 1), ("Reclaimable", 2), ("Unmovable", 0), ("HighAtomic", 3), ("Isolate", 4))
_UNTYPED: Final = 2 * MIGRATE_TYPES
_MIGRATETYPE_LUT: Final = _lut(
    {2 * mt + used: 1 + 2 * rank + used for rank, (_, mt) in enumerate(_MIGRATETYPES) for used in (0, 1)}
)


def _migratetype_raw(some: Part) -> U8:
    owner = some.pages.owner
    doubled = np.minimum(some.pageblock_mt, MIGRATE_TYPES) * np.uint8(2)
    raw = np.full(owner.size, _UNTYPED, np.uint8)
    per_block = np.repeat(doubled, PAGEBLOCK_NR_PAGES)[: owner.size]
    raw[: per_block.size] = per_block
    raw += (owner > OWNER_PCP) & (raw < _UNTYPED)  # FREE and PCP are the lowest codes but for UNKNOWN
    raw[(owner == OWNER_UNKNOWN) | (owner == OWNER_RESERVED)] = _UNTYPED
    return raw


def _migratetype_ranks(snapshot: Snapshot) -> U8:
    return _MIGRATETYPE_LUT


def _migratetype_classes() -> tuple[PageClass, ...]:
    classes = [PageClass("not managed", "owner.unknown", managed=False, lasting=False)]
    for name, _ in _MIGRATETYPES:
        lasting = name in ("Movable", "Reclaimable", "Unmovable")
        classes.append(PageClass(f"{name}, free", f"migratetype.{name}>ui.panel", 0.72, lasting=lasting))
        classes.append(PageClass(name, f"migratetype.{name}", lasting=lasting))
    return tuple(classes)


# By order of the free block that a page frame is in. Larger blocks outrank: they are what is missing.
_ORDER_USED, _ORDER_UNKNOWN, _ORDER_FIRST = 1, 2, 3
_ORDER_LUT: Final = np.full(256, _ORDER_USED, np.uint8)
_ORDER_LUT[[OWNER_UNKNOWN, OWNER_RESERVED]] = 0
_ORDER_LUT[OWNER_FREE] = _ORDER_UNKNOWN
_ORDER_LUT[OWNER_PCP] = _ORDER_FIRST


def free_orders(some: Part) -> U8:
    """Rank of every page frame: 0 not managed, 1 used, 2 free (order unknown), 3 + the free block's order."""
    pages = some.pages
    ranks = np.take(_ORDER_LUT, pages.owner)
    heads = np.flatnonzero((ranks == _ORDER_UNKNOWN) & (pages.order < NR_PAGE_ORDERS))
    orders = pages.order[heads]
    for order in range(NR_PAGE_ORDERS):
        at = heads[orders == order]
        whole = pages.nr >> order << order
        ranks[:whole].reshape(-1, 1 << order)[at[at < whole] >> order] = _ORDER_FIRST + order
    return ranks


# By age: the younger the higher, so that what happens now is seen.
_AGES_MS: Final = (100_000, 10_000, 1_000, 100, 10)
_AGE_LABELS: Final = ("older than 100 s", "10 to 100 s", "1 to 10 s", "0.1 to 1 s", "10 to 100 ms", "under 10 ms")


def ages(some: Part) -> U8:
    """For every page frame 0 (not managed), 1 (free), 2 (unknown), 3 (oldest) to 8 (youngest)."""
    pages, now = some.pages, some.now_ms
    ranks = np.full(pages.nr, 3, np.uint8)
    for age in _AGES_MS:
        if now >= age:
            ranks += (pages.stamp > np.uint32(now - age)).view(np.uint8)
        else:
            ranks += np.uint8(1)
    ranks[pages.stamp == 0] = 2
    ranks[(pages.owner == OWNER_FREE) | (pages.owner == OWNER_PCP)] = 1
    ranks[(pages.owner == OWNER_UNKNOWN) | (pages.owner == OWNER_RESERVED)] = 0
    return ranks


# By mobility: what compaction could do with it.
_MOBILITY: Final[tuple[PageClass, ...]] = (
    PageClass("not managed", "owner.unknown", managed=False, lasting=False),
    PageClass("free", "owner.free"),
    PageClass("movable page", "owner.page cache"),
    PageClass("movable slab", "owner.xa_node slab"),
    PageClass("slab that stays", "owner.dentry, inode slab"),
    PageClass("unmovable", "owner.unmovable"),
    PageClass("pinned", "owner.pinned"),
    PageClass("isolated", "owner.isolated", lasting=False),
)
_PINNED_CODE: Final = 255


def _mobility_raw(some: Part) -> U8:
    pages = some.pages
    raw = pages.owner.copy()
    raw[(pages.flags & PG_PINNED) != 0] = _PINNED_CODE
    return raw


def _mobility_ranks(snapshot: Snapshot) -> U8:
    table = _owner_lut(
        (
            (OWNER_UNKNOWN, OWNER_RESERVED),
            (OWNER_FREE, OWNER_PCP),
            (OWNER_ANON, OWNER_PAGE_CACHE, OWNER_HUGE),
            (),
            (OWNER_SLAB,),
            (OWNER_KERNEL, OWNER_NET, OWNER_PAGE_TABLE),
            (OWNER_PINNED, _PINNED_CODE),
            (OWNER_ISOLATED,),
        )
    )
    table[[OWNER_SLAB_XA, OWNER_SLAB_VFS]] = 4
    # One code may stand for several caches: their slabs can be emptied when all of them are movable.
    for owner in {_slab_owner(cache) for cache in snapshot.caches}:
        if all(cache.movable for cache in snapshot.caches if _slab_owner(cache) == owner):
            table[owner] = 3
    return table


def _slab_owner(cache: Cache) -> int:
    """OWNER_* of a cache's page frames; where the source doesn't say, by its name."""
    if cache.owner >= 0:
        return cache.owner
    if cache.name in ("xa_node", "radix_tree_node"):
        return OWNER_SLAB_XA
    return OWNER_SLAB_VFS if "dentry" in cache.name or "inode" in cache.name else OWNER_SLAB


# By what pins the pageblock: the pinning page frames bright, the others of the block a shade of what pins them.
_PINNING: Final = (
    ("dentry, inode slab", "owner.dentry, inode slab", (OWNER_SLAB_VFS,)),
    ("other slab", "owner.other slab", (OWNER_SLAB,)),
    ("unmovable", "owner.unmovable", (OWNER_KERNEL, OWNER_NET, OWNER_PAGE_TABLE)),
    ("pinned for DMA", "owner.pinned", (OWNER_PINNED,)),
    ("xa_node slab", "owner.xa_node slab", (OWNER_SLAB_XA,)),
)
_SEVERAL: Final = len(_PINNING)
PINNING_LUT: Final = _owner_lut(((), *(owners for _, _, owners in _PINNING)))
"""By owner: 0 pins nothing, else 1 + index of the pinning class."""


def pinned_by(some: Part) -> U8:
    """Rank of every page frame: 0 not managed, 1 nothing pins its block, shades by what pins it, then what pins."""
    owner = some.pages.owner
    nr_blocks = -(-owner.size >> PAGEBLOCK_ORDER)
    padded = np.zeros(nr_blocks << PAGEBLOCK_ORDER, np.uint8)
    padded[: owner.size] = owner
    pins = np.take(PINNING_LUT, padded)
    by_block = pins.reshape(nr_blocks, -1)
    block = np.zeros(nr_blocks, np.uint8)
    for number in range(1, _SEVERAL + 1):
        has = (by_block == number).any(axis=1)
        block[has] = np.where(block[has] == 0, number, _SEVERAL + 1)
    shade = np.repeat(block + np.uint8(1), PAGEBLOCK_NR_PAGES)
    ranks = np.where(pins > 0, pins + np.uint8(_SEVERAL + 2), shade)[: owner.size]
    ranks[(owner == OWNER_UNKNOWN) | (owner == OWNER_RESERVED)] = 0
    return np.ascontiguousarray(ranks, np.uint8)


def _pinned_classes() -> tuple[PageClass, ...]:
    return (
        PageClass("not managed", "owner.unknown", managed=False, lasting=False),
        PageClass("in blocks that nothing pins", "owner.page cache>ui.panel", 0.75),
        *(PageClass(f"held up by: {label}", f"{token}>ui.panel", 0.68, lasting=False) for label, token, _ in _PINNING),
        PageClass("held up by several", "owner.unmovable>ui.panel", 0.45),
        *(PageClass(f"{label} pins", token) for label, token, _ in _PINNING),
    )


MODES: Final[tuple[Mode, ...]] = (
    Mode("owner", "owner", tuple(page_class for _, page_class in _OWNERS), _owner_raw, _owner_ranks),
    Mode("migratetype", "migratetype", _migratetype_classes(), _migratetype_raw, _migratetype_ranks),
    Mode(
        "free_order",
        "free order",
        (
            PageClass("not managed", "owner.unknown", managed=False, lasting=False),
            PageClass("used", "owner.free"),
            PageClass("free, order unknown", "owner.per-CPU list", lasting=False),
            *(PageClass(f"order {order}", RAMP, order / (NR_PAGE_ORDERS - 1)) for order in range(NR_PAGE_ORDERS)),
        ),
        free_orders,
        _identity,
    ),
    Mode(
        "age",
        "age",
        (
            PageClass("not managed", "owner.unknown", managed=False, lasting=False),
            PageClass("free", "owner.free"),
            PageClass("age unknown", "owner.reserved", lasting=False),
            *(PageClass(label, RAMP, number / (len(_AGE_LABELS) - 1)) for number, label in enumerate(_AGE_LABELS)),
        ),
        ages,
        _identity,
        lasts=False,
    ),
    Mode("mobility", "mobility", _MOBILITY, _mobility_raw, _mobility_ranks),
    Mode("pinned_by", "pinned by", _pinned_classes(), pinned_by, _identity),
)


def mix(stops: list[int], at: float) -> int:
    """The colour (0xRRGGBB) ``at`` (0 to 1) of the way along ``stops``."""
    place = min(max(at, 0.0), 1.0) * (len(stops) - 1)
    left = min(int(place), len(stops) - 2) if len(stops) > 1 else 0
    right, part = min(left + 1, len(stops) - 1), place - left
    mixed = 0
    for shift in (16, 8, 0):
        channel = (stops[left] >> shift & 255) * (1.0 - part) + (stops[right] >> shift & 255) * part
        mixed |= round(channel) << shift
    return mixed


RAISED: Final = 31
"""The rank that a class gets while it is singled out: above all others."""


def raised(lut: U8, highlight: int) -> U8:
    """``lut`` with the rank ``highlight`` made the highest: the class is seen in every cell that has some of it."""
    if highlight < 0:
        return lut
    table = lut.copy()
    table[lut == highlight] = RAISED
    return table


def labels(one: Mode, highlight: int = -1) -> tuple[str, ...]:
    """Names by rank, the raised one included."""
    names = [page_class.label for page_class in one.classes]
    names += [""] * (RAISED - len(names)) + [names[highlight] if highlight >= 0 else ""]
    return tuple(names)


def palette(one: Mode, tokens: Tokens, highlight: int = -1) -> U32:
    """Colours by rank, 0xffRRGGBB, the raised one included. While a class is singled out all others fade."""
    colors = [mix([tokens.rgb(key) for key in one_class.color.split(">")], one_class.at) for one_class in one.classes]
    by_rank = np.full(RAISED + 1, 0xFF000000, np.uint32)
    if highlight >= 0:
        by_rank[RAISED] |= colors[highlight]
        back = tokens.rgb("ui.panel")
        colors = [mix([color, back], 0.78) for color in colors]
    by_rank[: len(colors)] |= np.array(colors, np.uint32)
    return by_rank


def mode(mode_id: str) -> Mode:
    """The mode of that id; the first where there is none such."""
    return next((one for one in MODES if one.id == mode_id), MODES[0])


class LegendEntry(NamedTuple):
    """One line of the legend."""

    rank: int
    label: str
    frames: int
    share: str
    """Of all managed page frames, as people read it: "31 %"; a count where not managed."""


def legend(one: Mode, per_rank: npt.NDArray[np.int64], managed: int) -> tuple[LegendEntry, ...]:
    """The legend for page frames counted by rank. ``managed`` is 100 %, whatever is shown or filtered."""
    entries: list[LegendEntry] = []
    by_place = sorted(range(len(one.classes)), key=lambda rank: not one.classes[rank].managed)
    for rank in by_place:  # what is not managed comes last
        page_class = one.classes[rank]
        frames = int(per_rank[rank])
        if frames or page_class.lasting:
            share = percent(frames, managed) if page_class.managed else bytes_of_frames(frames)
            entries.append(LegendEntry(rank, page_class.label, frames, share))
    return tuple(entries)


def per_rank(raw_counts: npt.NDArray[np.int64], lut: U8) -> npt.NDArray[np.int64]:
    """Counts by raw code (256) made counts by rank."""
    return np.bincount(lut, weights=raw_counts, minlength=256).astype(np.int64)
