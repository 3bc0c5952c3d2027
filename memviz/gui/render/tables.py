"""What a panel shows, as a table: for CSV files and the clipboard. No Qt."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable
from typing import Final

import numpy as np

from memviz.kernel.page import MIGRATETYPE_NAMES, OWNER_NAMES, PAGEBLOCK_NR_PAGES
from memviz.snapshot import CPU_STATE_NAMES, NODE_STATE_NAMES, SLAB_STATE_NAMES, Snapshot

Table = tuple[list[str], list[list[object]]]
"""Header and rows."""


def as_csv(table: Table) -> str:
    """The table as a CSV file's text."""
    return _written(table, ",", "\r\n")


def as_tabs(table: Table) -> str:
    """The table as spreadsheets take it from the clipboard."""
    return _written(table, "\t", "\n")


def _written(table: Table, separator: str, end: str) -> str:
    out = io.StringIO()
    writer = csv.writer(out, delimiter=separator, lineterminator=end)
    writer.writerow(table[0])
    writer.writerows(table[1])
    return out.getvalue()


def heatmap(snapshot: Snapshot) -> Table:
    """A row a pageblock: its first page frame, migratetype, and page frames by owner."""
    owner = snapshot.pages.owner
    rows: list[list[object]] = []
    for block in range(-(-owner.size // PAGEBLOCK_NR_PAGES)):
        first = block * PAGEBLOCK_NR_PAGES
        counts = np.bincount(owner[first : first + PAGEBLOCK_NR_PAGES], minlength=len(OWNER_NAMES))
        code = int(snapshot.pageblock_mt[block]) if block < snapshot.pageblock_mt.size else 255
        rows.append([block, first, _name(MIGRATETYPE_NAMES, code), *counts[: len(OWNER_NAMES)].tolist()])
    return ["block", "first_pfn", "migratetype", *OWNER_NAMES], rows


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
