"""The map's words: the read-out of a page frame, the totals of a box, what a cell of the picture stands for."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from memviz.gui.render.layout import Layout, Lod, Rect
from memviz.gui.render.numbers import bytes_of_frames, percent
from memviz.gui.render.pyramid import Pyramid
from memviz.gui.render.shown_end import end_words
from memviz.kernel.page import (
    MIGRATETYPE_NAMES,
    NR_PAGE_ORDERS,
    OWNER_NAMES,
    OWNER_RESERVED,
    OWNER_UNKNOWN,
    PAGEBLOCK_ORDER,
    PG_DIRTY,
    PG_LOCKED,
    PG_LRU,
    PG_PINNED,
)
from memviz.snapshot import Snapshot

_RUN_LEVEL: Final = 10
"""Page frames are counted in runs of at most ``1 << 10``."""
_AT_ONCE: Final = 1 << 19

_FLAGS = ((PG_PINNED, "pinned"), (PG_DIRTY, "dirty"), (PG_LOCKED, "locked"), (PG_LRU, "on the LRU"))


def managed_frames(snapshot: Snapshot) -> int:
    """What is 100 %: the page frames that the allocator may give out; all known ones where zones don't say."""
    managed = sum(zone.managed for zone in snapshot.zones)
    if managed:
        return managed
    owner = snapshot.pages.owner
    return int(np.count_nonzero((owner != OWNER_UNKNOWN) & (owner != OWNER_RESERVED)))


def subtitle(snapshot: Snapshot, end: int) -> str:
    """ "262,144 frames · zone Normal · 512 pageblocks"; ``end``: the map shows the page frames below that."""
    nr = snapshot.pages.nr
    names = [zone.name for zone in snapshot.zones]
    zones = f" · zone {names[0]}" if len(names) == 1 else f" · zones {', '.join(names)}" if names else ""
    blocks = -(-nr >> PAGEBLOCK_ORDER)
    return f"{end_words(nr, end)}{zones} · {blocks:,} pageblock{'s' if blocks != 1 else ''}"


def block_of(snapshot: Snapshot, pfn: int) -> tuple[int, int] | None:
    """First page frame and order of the free or allocated block that ``pfn`` is in; None where nobody knows.

    A block is aligned to its size, so its head is one of the eleven page frames that ``pfn`` rounds down to.
    """
    order = snapshot.pages.order
    for larger in range(NR_PAGE_ORDERS):
        head = pfn >> larger << larger
        found = int(order[head])
        if found < NR_PAGE_ORDERS and head + (1 << found) > pfn:
            return head, found
    return None


def readout(snapshot: Snapshot, pfn: int) -> tuple[str, ...]:
    """What is known about a page frame, in parts of one line; what a source has in detail comes last."""
    pages = snapshot.pages
    if not 0 <= pfn < pages.nr:
        return ()
    block = pfn >> PAGEBLOCK_ORDER
    mt = int(snapshot.pageblock_mt[block]) if block < snapshot.pageblock_mt.size else 255
    type_name = MIGRATETYPE_NAMES[mt] if mt < len(MIGRATETYPE_NAMES) else "type unknown"
    parts = [f"pfn {pfn:#x}", f"block {block} · {type_name}"]
    detail = snapshot.detail
    if detail is not None and detail.pfn == pfn and detail.sentence:
        return (*parts, detail.sentence)
    owner = int(pages.owner[pfn])
    parts.append(OWNER_NAMES[owner] if owner < len(OWNER_NAMES) else f"owner {owner}")
    found = block_of(snapshot, pfn)
    if found is not None:
        head, order = found
        parts.append(f"order {order}" if head == pfn else f"order {order}, from {head:#x}")
    flags = [name for bit, name in _FLAGS if int(pages.flags[pfn]) & bit]
    if flags:
        parts.append(", ".join(flags))
    if pages.stamp[pfn]:
        parts.append(age(snapshot.time_ns // 1_000_000 - int(pages.stamp[pfn])))
    return tuple(parts)


def age(milliseconds: int) -> str:
    """ "since 3.2 s"."""
    if milliseconds < 1000:
        return f"since {max(milliseconds, 0)} ms"
    if milliseconds < 100_000:
        return f"since {milliseconds / 1000:.1f} s"
    return f"since {milliseconds // 1000:,} s"


def lod_words(lod: Lod) -> str:
    """What a cell stands for, empty when it is one page frame. A map that is mostly of a colour that the legend gives
    5 % looks wrong to whoever does not know that.
    """
    return f"a dot is {lod.frames:,} frames and shows the rarest; percentages count all" if lod.frames > 1 else ""


class Totals(NamedTuple):
    """What lies in a box."""

    frames: int
    per_rank: npt.NDArray[np.int64]
    first: int
    last: int
    """Lowest and highest page frame number."""


def totals(layout: Layout, pyramid: Pyramid, box: Rect) -> Totals:
    """Count the page frames of a rectangle of cells by rank. Exact, whatever level of detail is shown.

    Squares of the layout that lie inside are runs of page frames and counted as such; only the cells at the edges are
    looked up one by one.
    """
    counts = np.zeros(256, np.int64)
    if not pyramid.levels:
        return Totals(0, counts, -1, -1)
    left, top = max(box.x, 0), max(box.y, 0)
    right, bottom = min(box.x + box.w, layout.width), min(box.y + box.h, layout.height)
    largest = min(_RUN_LEVEL, len(pyramid.levels) - 1)
    lod = [one for one in layout.lods() if one.level <= largest and one.planes == (0,)][-1]
    # The squares that lie inside of the box as a whole: from x0 and y0 up to x1 and y1.
    x0, x1 = -(-left // lod.cell_w), right // lod.cell_w
    y0, y1 = -(-top // lod.cell_h), bottom // lod.cell_h
    if lod.level == 0 or x0 >= x1 or y0 >= y1:
        lod, x0, x1, y0, y1 = Lod(0, 1, 1), left, max(left, right), top, max(top, bottom)
    ends = _count(layout, pyramid, lod, (x0, x1, y0, y1), counts)
    if lod.level:
        x0, x1, y0, y1 = x0 * lod.cell_w, x1 * lod.cell_w, y0 * lod.cell_h, y1 * lod.cell_h
        for edge in ((left, right, top, y0), (left, right, y1, bottom), (left, x0, y0, y1), (x1, right, y0, y1)):
            ends += _count(layout, pyramid, Lod(0, 1, 1), edge, counts)
    return Totals(int(counts.sum()), counts, min(ends, default=-1), max(ends, default=-1))


def _count(
    layout: Layout, pyramid: Pyramid, lod: Lod, area: tuple[int, int, int, int], counts: npt.NDArray[np.int64]
) -> list[int]:
    """Add up the page frames in an area of cells of ``lod``: left, right, top, bottom. Returns the lowest and the
    highest of them, if there are any.
    """
    left, right, top, bottom = area
    ranks, size, ends = pyramid.levels[0][:-1], 1 << lod.level, []
    runs_of = ranks[: ranks.size // size * size].view(np.dtype((np.void, size)))
    xs = np.arange(left, right, dtype=np.intp)
    rows = max(1, (_AT_ONCE >> lod.level) // max(xs.size, 1))
    for begin in range(top, bottom, rows):
        runs = layout.index(lod, np.arange(begin, min(begin + rows, bottom), dtype=np.intp), xs).ravel()
        runs = runs[runs << lod.level < min(pyramid.nr, layout.nr)]
        if not runs.size:
            continue
        first, last = int(runs.min()), int(runs.max())
        ends += [first << lod.level, min((last + 1) << lod.level, pyramid.nr) - 1]
        found = np.take(runs_of, runs).view(np.uint8)
        outside = max(0, ((last + 1) << lod.level) - pyramid.nr)  # memory may end in the middle of the last run
        counts += _histogram(found)
        counts[0] -= outside
    return ends


def _histogram(ranks: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    """How many there are of each. Many are counted in pairs: twice as quick."""
    if ranks.size < 1 << 17:
        return np.bincount(ranks, minlength=256)
    even = ranks.size & ~1
    pairs = np.bincount(ranks[:even].view(np.uint16), minlength=1 << 16).reshape(256, 256)
    counts: npt.NDArray[np.int64] = np.bincount(ranks[even:], minlength=256)
    counts += pairs.sum(axis=0) + pairs.sum(axis=1)
    return counts


def totals_words(labels: tuple[str, ...], found: Totals) -> tuple[str, ...]:
    """The totals of a box in parts of one line, the largest class first."""
    if not found.frames:
        return ("box: no page frames",)
    parts = [
        f"box: {found.frames:,} page frames, {bytes_of_frames(found.frames)}",
        f"{found.first:#x} to {found.last:#x}",
    ]
    ranked = sorted(range(len(labels)), key=lambda rank: -int(found.per_rank[rank]))
    for rank in ranked[:5]:
        if found.per_rank[rank]:
            parts.append(f"{labels[rank]} {percent(int(found.per_rank[rank]), found.frames)}")
    return tuple(parts)


def parse_pfn(text: str, nr: int) -> int:
    """A page frame number that somebody typed: decimal, 0x hexadecimal, a physical address with @, b and a block.

    Raises ValueError with a sentence.
    """
    words = text.strip().lower().replace(",", "")
    try:
        if words.startswith("b"):
            pfn = int(words.lstrip("block "), 0) << PAGEBLOCK_ORDER
        elif words.startswith("@"):
            pfn = int(words[1:], 16) >> 12
        else:
            pfn = int(words, 0)
    except ValueError:
        raise ValueError(
            f"{text.strip()!r} names no page frame: type 0x2a94f, 174415, b340 (a pageblock) or @2a94f000 (an address)"
        ) from None
    if not 0 <= pfn < nr:
        raise ValueError(f"page frame {pfn:#x} is outside of this memory: it ends at {nr - 1:#x}")
    return pfn
