"""The map's words: the read-out of a page frame, the totals of a box, what a cell of the picture stands for."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from memviz.gui.render.layout import Layout, Lod, Rect
from memviz.gui.render.numbers import bytes_of_frames, percent
from memviz.gui.render.pyramid import Pyramid
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

_FLAGS = ((PG_PINNED, "pinned"), (PG_DIRTY, "dirty"), (PG_LOCKED, "locked"), (PG_LRU, "on the LRU"))


def managed_frames(snapshot: Snapshot) -> int:
    """What is 100 %: the page frames that the allocator may give out; all known ones where zones don't say."""
    managed = sum(zone.managed for zone in snapshot.zones)
    if managed:
        return managed
    owner = snapshot.pages.owner
    return int(np.count_nonzero((owner != OWNER_UNKNOWN) & (owner != OWNER_RESERVED)))


def subtitle(snapshot: Snapshot) -> str:
    """ "262,144 frames · zone Normal · 512 pageblocks"."""
    nr = snapshot.pages.nr
    names = [zone.name for zone in snapshot.zones]
    zones = f" · zone {names[0]}" if len(names) == 1 else f" · zones {', '.join(names)}" if names else ""
    blocks = -(-nr >> PAGEBLOCK_ORDER)
    return f"{nr:,} page frames{zones} · {blocks:,} pageblock{'s' if blocks != 1 else ''}"


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
    """What a cell stands for, empty when it is one page frame."""
    return f"a cell is {lod.frames:,} frames, the rarest shows" if lod.frames > 1 else ""


class Totals(NamedTuple):
    """What lies in a box."""

    frames: int
    per_rank: npt.NDArray[np.int64]
    first: int
    last: int
    """Lowest and highest page frame number."""


def totals(layout: Layout, pyramid: Pyramid, box: Rect) -> Totals:
    """Count the page frames of a rectangle of cells by rank. Exact, whatever level of detail is shown."""
    counts = np.zeros(256, np.int64)
    frames, first, last = 0, -1, -1
    if not pyramid.levels:
        return Totals(0, counts, -1, -1)
    xs = np.arange(max(box.x, 0), min(box.x + box.w, layout.width), dtype=np.intp)
    rows = max(1, (1 << 19) // max(xs.size, 1))
    bottom = min(box.y + box.h, layout.height)
    for top in range(max(box.y, 0), bottom, rows):
        ys = np.arange(top, min(top + rows, bottom), dtype=np.intp)
        pfns = layout.index(Lod(0, 1, 1), ys, xs).ravel()
        if pfns.size and int(pfns.max()) >= pyramid.nr:
            pfns = pfns[pfns < pyramid.nr]
        if pfns.size:
            counts += np.bincount(np.take(pyramid.levels[0], pfns), minlength=256)
            frames += int(pfns.size)
            low, high = int(pfns.min()), int(pfns.max())
            first, last = (low if first < 0 else min(first, low)), max(last, high)
    return Totals(frames, counts, first, last)


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
