"""XArrays or radix trees of a simulated machine (a page cache each), and the nodes of the one in focus, as a Snapshot
holds them."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Final, Protocol

import numpy as np

from memviz.kernel.filemap import Filemap, FileMapping
from memviz.kernel.radix_tree import RadixTree
from memviz.kernel.rcu import Rcu
from memviz.kernel.slub import Slub
from memviz.kernel.trace import XA_NODE_MOVED
from memviz.kernel.xa_node import ALL_MARKED, XA_CHUNK_SHIFT, XA_CHUNK_SIZE, XA_RCU_FREE, NodeCache, XaNode
from memviz.kernel.xa_slab import SlabNodeCache
from memviz.snapshot import NODE_DTYPE, NODE_IN_TREE, NODE_MOVED, NODE_NEW, NODE_RCU, Structured, XArrayInfo
from memviz.sources import convert_slabs

LISTED: Final = 64
NODES_MAX: Final = 8192
FREED_MAX: Final = 2048
"""Callbacks of a CPU that are looked through for nodes."""
MAX_HEIGHT: Final = 11


class Tree(Protocol):
    """An XArray or a radix tree."""

    nodes: NodeCache

    def top(self) -> object:
        """The top node, or what there is in its place."""


class HasTree(Protocol):
    """A file, or something else with a tree like its page cache."""

    @property
    def i_pages(self) -> Tree: ...


NodeRow = tuple[int, int, int, int, int, int, int, int, int, int, int, int, int]


def info(file: FileMapping) -> XArrayInfo:
    """One file's tree."""
    nodes = file.i_pages.nodes
    movable = isinstance(nodes, SlabNodeCache) and nodes.cache.movable
    head = file.i_pages.top()
    height = head.shift // XA_CHUNK_SHIFT + 1 if isinstance(head, XaNode) else 0
    name = file.i_pages.name + (" (radix tree)" if isinstance(file.i_pages, RadixTree) else "")
    return XArrayInfo(file.number, name, count_nodes(head), height, file.nrpages, movable)


def count_nodes(entry: object) -> int:
    """Nodes at and below ``entry``."""
    if not isinstance(entry, XaNode):
        return 0
    if entry.shift == 0:
        return 1
    return 1 + sum(count_nodes(slot) for slot in entry.slots if slot is not None)


def largest(filemap: Filemap, besides: int = -1) -> tuple[XArrayInfo, ...]:
    """The files with the most pages, largest first; at most ``LISTED``, and file ``besides``."""
    files = heapq.nlargest(LISTED, filemap.files.values(), key=lambda file: (file.nrpages, -file.number))
    other = filemap.files.get(besides)
    if other is not None and other not in files:
        files.append(other)
    return tuple(info(file) for file in files)


class NodeWatch:
    """Nodes of a machine as somebody sees them who looks again and again: also those that have left their tree and wait
    for RCU, those that no reader can reach yet, and who stands where."""

    def __init__(self, rcu: Rcu, slub: Slub) -> None:
        self._rcu = rcu
        self._slub = slub
        self._left: dict[int, XaNode] = {}
        self.moved: frozenset[int] = frozenset()
        """Addresses that nodes have moved to since the look before."""
        self.moved_in = 0
        """The file in whose tree most of them were; 0: in none."""

    def note(self, events: Structured) -> None:
        """Take what has happened since the look before."""
        self.moved, self.moved_in = frozenset(), 0
        moves = events[events["kind"] == XA_NODE_MOVED] if events.size else events
        if not moves.size:
            return
        self.moved = frozenset(moves["b"].tolist())
        self.moved_in = max(counted := Counter(moves["c"].tolist()), key=lambda number: (counted[number], -number))
        for old, new in zip(moves["a"].tolist(), moves["b"].tolist(), strict=True):
            node = convert_slabs.content(self._slub, new)
            if isinstance(node, XaNode):
                self._left[old] = node

    def nodes(self, file: HasTree | None) -> Structured:
        """The nodes of a file's tree, parents before children, then those that are in it no more or not yet; at most
        ``NODES_MAX``."""
        freed = self._freed()
        if file is None:
            return _frozen([])
        readers = self._readers()
        at: dict[int, tuple[int, int]] = {}  # address -> row, first index
        rows: list[NodeRow] = []
        tree = file.i_pages
        for node, parent, index in in_tree(tree.top()):
            at[node.addr] = len(rows), index
            state = NODE_MOVED if node.addr in self.moved else NODE_IN_TREE
            rows.append(node_row(node, parent, index, state, readers.get(node.addr, 0)))
        home: object = tree
        outside = [(node, NODE_RCU) for node in freed if self._home(node) is home]
        waiting = {node.addr for node, _ in outside}
        handed_out = tree.nodes.recent if isinstance(tree.nodes, SlabNodeCache) else ()
        recent = {node.addr: node for node in handed_out if home in (node.array, node.root)}
        outside.extend((node, NODE_NEW) for addr, node in recent.items() if addr not in at and addr not in waiting)
        for node, state in outside:
            parent, index = self._place(node, at)
            rows.append(node_row(node, parent, index, state, readers.get(node.addr, 0)))
        return _frozen(rows)

    def _freed(self) -> list[XaNode]:
        """Nodes that wait for a grace period, the first ``FREED_MAX`` of each CPU."""
        waiting = (arg for queue in self._rcu.callbacks for _, _, arg in islice(queue, FREED_MAX))
        freed = [arg for arg in waiting if isinstance(arg, XaNode)]
        self._left = {node.addr: self._left[node.addr] for node in freed if node.addr in self._left}
        return freed

    def _readers(self) -> dict[int, int]:
        """Bitmap of CPUs by the address of the node that they stand on; CPU 7 stands for all above it."""
        readers: dict[int, int] = {}
        for cpu in self._rcu.smp.cpus:
            node = cpu.xa_node
            if cpu.rcu_nesting > 0 and isinstance(node, XaNode):
                readers[node.addr] = readers.get(node.addr, 0) | 1 << min(cpu.id, 7)
        return readers

    def _home(self, node: XaNode) -> object:
        """The tree that a freed node was in, as far as what it still points at tells; None: nothing tells."""
        if node.root is not None:
            return node.root
        found: XaNode | None = node
        for _ in range(2 * MAX_HEIGHT):
            if found is None:
                return None
            if found.array is not XA_RCU_FREE:
                return found.array
            found = self._left.get(found.addr, found.parent)
        return None

    def _place(self, node: XaNode, at: Mapping[int, tuple[int, int]]) -> tuple[int, int]:
        """The row that a node outside of the tree hangs from, -1 when there is none, and its first index."""
        parent = node.parent
        for _ in range(MAX_HEIGHT):
            if parent is None or parent.addr in at:
                break
            parent = self._left.get(parent.addr)
        if parent is None or parent.addr not in at:
            return -1, 0
        row, index = at[parent.addr]
        return row, index + (node.offset << parent.shift)


def in_tree(head: object) -> Iterator[tuple[XaNode, int, int]]:
    """The nodes at and below ``head``, level by level, each with its parent's number (-1: none) and first index."""
    level = [(head, -1, 0)] if isinstance(head, XaNode) else []
    number = 0
    while level and number < NODES_MAX:
        below: list[tuple[XaNode, int, int]] = []
        for node, parent, index in level:
            yield node, parent, index
            if node.shift:
                for offset, slot in enumerate(node.slots):
                    if isinstance(slot, XaNode):
                        below.append((slot, number, index + (offset << node.shift)))
            number += 1
        level = below


def _frozen(rows: list[NodeRow]) -> Structured:
    found = np.array(rows[:NODES_MAX], NODE_DTYPE)
    found.flags.writeable = False
    return found


def node_row(node: XaNode, parent: int, index: int, state: int, readers: int) -> NodeRow:
    """One row of NODE_DTYPE."""
    if node.count == XA_CHUNK_SIZE:
        used = ALL_MARKED
    else:
        used = sum(1 << offset for offset, slot in enumerate(node.slots) if slot is not None)
    mark0, mark1, mark2 = node.marks
    known = node.addr, parent, node.shift, node.offset, node.count, node.nr_values
    return *known, state, readers, used, mark0, mark1, mark2, index
