"""What a panel shows, as a table: for CSV files and the clipboard. No Qt."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Final

import numpy as np

from memviz.kernel import page
from memviz.kernel.page import MIGRATETYPE_NAMES, OWNER_NAMES, PAGEBLOCK_NR_PAGES
from memviz.snapshot import CPU_STATE_NAMES, NODE_STATE_NAMES, SLAB_STATE_NAMES, Snapshot

Row = list[object]
Table = tuple[list[str], list[Row]]
"""Header and rows."""
PART: Final = 500
BLOCKS_A_PART: Final = 64
FRAMES_A_PART: Final = 4096


@dataclass(frozen=True, slots=True)
class Parts:
    """A table that is made while it is written, however long it is: a few rows at a time."""

    rows: Iterable[list[Row]]
    """Parts of the table, each made when it is asked for; can be gone through once. The first row is the header."""
    nr: int
    """How many parts there are; 0: nobody knows yet."""


@dataclass(frozen=True, slots=True)
class Lines:
    """The same as text, for tables of millions of rows."""

    text: Iterable[str]
    """Parts of a CSV file, each of them whole lines; the first line is the header."""
    nr: int
    """How many parts there are."""


def in_parts(table: Table) -> Parts:
    """A table that is there, in parts."""
    rows: list[Row] = [list(table[0]), *table[1]]
    count = -(-len(rows) // PART)
    return Parts((rows[at * PART : (at + 1) * PART] for at in range(count)), count)


def later(make: Callable[[Snapshot], Table], snapshot: Snapshot) -> Parts:
    """The table that ``make`` makes of a snapshot, made when the first part is asked for."""

    def rows() -> Iterator[list[Row]]:
        yield from in_parts(make(snapshot)).rows

    return Parts(rows(), 0)


def with_header(header: list[str], parts: Iterable[list[Row]], nr: int) -> Parts:
    """Rows that have no header yet, in ``nr`` parts."""
    return Parts(chain([[list(header)]], parts), nr + 1)


def part_text(rows: list[Row], separator: str, end: str) -> str:
    """A part of a table as text."""
    out = io.StringIO()
    csv.writer(out, delimiter=separator, lineterminator=end).writerows(rows)
    return out.getvalue()


def blocks(snapshot: Snapshot) -> Parts:
    """A row a pageblock: its first page frame, migratetype, and page frames by owner."""
    owner, kinds = snapshot.pages.owner, len(OWNER_NAMES)
    nr = -(-owner.size // PAGEBLOCK_NR_PAGES)

    def part(first: int) -> list[Row]:
        last = min(first + BLOCKS_A_PART, nr)
        some = owner[first * PAGEBLOCK_NR_PAGES : last * PAGEBLOCK_NR_PAGES]
        place = np.arange(some.size) // PAGEBLOCK_NR_PAGES * kinds
        counts = np.bincount(place + np.minimum(some, kinds - 1), minlength=(last - first) * kinds)
        rows: list[Row] = []
        for block, by_owner in enumerate(counts.reshape(-1, kinds).tolist(), first):
            code = int(snapshot.pageblock_mt[block]) if block < snapshot.pageblock_mt.size else 255
            rows.append([block, block * PAGEBLOCK_NR_PAGES, _name(MIGRATETYPE_NAMES, code), *by_owner])
        return rows

    firsts = range(0, nr, BLOCKS_A_PART)
    return with_header(["block", "first_pfn", "migratetype", *OWNER_NAMES], map(part, firsts), len(firsts))


def heatmap(snapshot: Snapshot) -> Table:
    """``blocks``, all of it."""
    header, *rows = (row for part in blocks(snapshot).rows for row in part)
    return [str(name) for name in header], rows


def frames(snapshot: Snapshot) -> Lines:
    """A row a page frame: who owns it, order of the block that starts there, migratetype of its pageblock, when."""
    pages, block_mt = snapshot.pages, snapshot.pageblock_mt

    def part(first: int) -> str:
        last = min(first + FRAMES_A_PART, pages.nr)
        block = np.arange(first, last) // PAGEBLOCK_NR_PAGES
        mts = block_mt[block] if last <= block_mt.size * PAGEBLOCK_NR_PAGES else np.full(last - first, 255)
        # Few page frames differ in more than number and time: what they have in common is put into words once.
        kinds = np.stack([pages.owner[first:last], pages.order[first:last], pages.flags[first:last], mts], axis=1)
        codes = np.ascontiguousarray(kinds, np.uint8).view(np.uint32).ravel()
        _, at, which = np.unique(codes, return_index=True, return_inverse=True)
        words = [_frame_words(*kinds[row].tolist()) for row in at.tolist()]
        stamps = pages.stamp[first:last].tolist()
        return "".join(
            [
                f"{pfn}{words[kind]}{stamp or ''}\r\n"
                for pfn, (kind, stamp) in enumerate(zip(which.tolist(), stamps, strict=True), first)
            ]
        )

    firsts = range(0, pages.nr, FRAMES_A_PART)
    header = part_text([["pfn", "owner", "order", "migratetype_of_block", "flags", "allocated_at_ms"]], ",", "\r\n")
    return Lines(chain([header], map(part, firsts)), len(firsts) + 1)


def _frame_words(owner: int, order: int, flags: int, mt: int) -> str:
    """What stands between the number of a page frame and its time."""
    row: Row = [_name(OWNER_NAMES, owner), "" if order == 255 else order, _name(MIGRATETYPE_NAMES, mt)]
    return f",{part_text([[*row, _FLAG_WORDS[flags]]], ',', '')},"


def slab_grid(snapshot: Snapshot) -> Table:
    """A row a slab of the cache in focus."""
    header = ["cache", "first_pfn", "order", "objects", "inuse", "state"]
    return header, [
        [
            snapshot.focus.cache,
            int(row["pfn"]),
            int(row["order"]),
            int(row["objects"]),
            int(row["inuse"]),
            _name(SLAB_STATE_NAMES, int(row["state"])),
        ]
        for row in snapshot.slabs
    ]


def xarray_tree(snapshot: Snapshot) -> Table:
    """A row a node of the XArray in focus."""
    header = ["address", "parent_row", "shift", "offset", "count", "nr_values", "first_index", "slots_used", "state"]
    return header, [
        [
            hex(int(row["addr"])),
            int(row["parent"]),
            int(row["shift"]),
            int(row["offset"]),
            int(row["count"]),
            int(row["nr_values"]),
            int(row["index"]),
            f"{int(row['used']):#018x}",
            _name(NODE_STATE_NAMES, int(row["state"])),
        ]
        for row in snapshot.nodes
    ]


def cpu_lanes(snapshot: Snapshot) -> Table:
    """A row a stretch of time that a CPU spent in one state, since the snapshot before."""
    return ["cpu", "begin_ns", "end_ns", "state"], [
        [int(row["cpu"]), int(row["begin"]), int(row["end"]), _name(CPU_STATE_NAMES, int(row["state"]))]
        for row in snapshot.lanes
    ]


def contiguity(snapshot: Snapshot) -> Table:
    """A row an order: blocks that are free, and blocks that could be."""
    free = [sum(column) for column in zip(*(zone.nr_free() for zone in snapshot.zones), strict=True)]
    possible: Iterable[object] = snapshot.possible or [""] * len(free)
    return ["order", "free_blocks", "possible_blocks"], [
        list(row) for row in zip(range(len(free)), free, possible, strict=False)
    ]


def request(snapshot: Snapshot) -> Table:
    """A row a stage of the last request."""
    stages = snapshot.request.stages if snapshot.request is not None else ()
    return ["stage", "ok", "begin_ns", "end_ns", "outcome"], [
        [one.name, one.ok, one.begin_ns, one.end_ns, one.outcome] for one in stages
    ]


def story(snapshot: Snapshot) -> Table:
    """A row a figure of the last pass of defragmentation."""
    report = snapshot.defrag
    rows: list[list[object]] = []
    if report is not None:
        rows = [["gain", *pair] for pair in report.gain] + [["price", *pair] for pair in report.price]
    return ["kind", "figure", "value"], rows


def policies(snapshot: Snapshot) -> Table:
    """A row a switch or control."""
    rows: list[list[object]] = [["policy", name, value] for name, value in snapshot.policies]
    rows += [[one.who, one.title, one.value] for one in snapshot.controls]
    return ["of", "name", "value"], rows


TABLES: Final[dict[str, Callable[[Snapshot], Table]]] = {
    "heatmap": heatmap,
    "slab_grid": slab_grid,
    "xarray_tree": xarray_tree,
    "cpu_lanes": cpu_lanes,
    "contiguity": contiguity,
    "request": request,
    "story": story,
    "policies": policies,
}
"""Panels whose table follows from the snapshot alone."""


def _name(names: tuple[str, ...], code: int) -> str:
    return names[code] if code < len(names) else "unknown"


_FLAGS: Final = (
    (page.PG_HEAD, "head"),
    (page.PG_BUDDY, "buddy"),
    (page.PG_LRU, "lru"),
    (page.PG_ACTIVE, "active"),
    (page.PG_REFERENCED, "referenced"),
    (page.PG_LOCKED, "locked"),
    (page.PG_DIRTY, "dirty"),
    (page.PG_PINNED, "pinned"),
)
_FLAG_WORDS: Final = tuple(" ".join(name for bit, name in _FLAGS if bit & flags) for flags in range(256))
