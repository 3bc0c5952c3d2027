"""XArrays of a simulated machine (a page cache each) and the nodes of the one in focus, as a Snapshot holds them."""

from __future__ import annotations

import heapq
from typing import Final

import numpy as np

from memviz.kernel.filemap import Filemap, FileMapping
from memviz.kernel.xa_node import ALL_MARKED, XA_CHUNK_SHIFT, XA_CHUNK_SIZE, XaNode
from memviz.snapshot import NODE_DTYPE, NODE_IN_TREE, NODE_MOVED, Structured, XArrayInfo

LISTED: Final = 64
NODES_MAX: Final = 8192

NodeRow = tuple[int, int, int, int, int, int, int, int, int, int, int, int, int]


def info(file: FileMapping, movable: bool) -> XArrayInfo:
    """One file's XArray."""
    head = file.i_pages.head
    height = head.shift // XA_CHUNK_SHIFT + 1 if isinstance(head, XaNode) else 0
    return XArrayInfo(file.number, file.i_pages.name, count_nodes(head), height, file.nrpages, movable)


def count_nodes(entry: object) -> int:
    """Nodes at and below ``entry``."""
    if not isinstance(entry, XaNode):
        return 0
    if entry.shift == 0:
        return 1
    return 1 + sum(count_nodes(slot) for slot in entry.slots if slot is not None)


def largest(filemap: Filemap, movable: bool) -> tuple[XArrayInfo, ...]:
    """The files with the most pages, largest first; at most ``LISTED``."""
    files = heapq.nlargest(LISTED, filemap.files.values(), key=lambda file: (file.nrpages, -file.number))
    return tuple(info(file, movable) for file in files)


def nodes(file: FileMapping | None, moved: frozenset[int] = frozenset()) -> Structured:
    """The nodes of a file's tree, parents before children, at most ``NODES_MAX``. ``moved``: addresses of nodes that
    have just been moved there."""
    rows: list[NodeRow] = []
    if file is not None and isinstance(file.i_pages.head, XaNode):
        level: list[tuple[XaNode, int, int]] = [(file.i_pages.head, -1, 0)]
        while level and len(rows) < NODES_MAX:
            below: list[tuple[XaNode, int, int]] = []
            for node, parent, index in level:
                if node.shift:
                    for offset, slot in enumerate(node.slots):
                        if isinstance(slot, XaNode):
                            below.append((slot, len(rows), index + (offset << node.shift)))
                rows.append(node_row(node, parent, index, moved))
            level = below
    found = np.array(rows[:NODES_MAX], NODE_DTYPE)
    found.flags.writeable = False
    return found


def node_row(node: XaNode, parent: int, index: int, moved: frozenset[int]) -> NodeRow:
    """One row of NODE_DTYPE."""
    if node.count == XA_CHUNK_SIZE:
        used = ALL_MARKED
    else:
        used = sum(1 << offset for offset, slot in enumerate(node.slots) if slot is not None)
    state = NODE_MOVED if node.addr in moved else NODE_IN_TREE
    marks = node.marks
    return (
        node.addr,
        parent,
        node.shift,
        node.offset,
        node.count,
        node.nr_values,
        state,
        0,
        used,
        marks[0],
        marks[1],
        marks[2],
        index,
    )


def first_index(node: XaNode) -> int:
    """The first index below ``node``."""
    index = 0
    while node.parent is not None:
        index |= node.offset << node.parent.shift
        node = node.parent
    return index
