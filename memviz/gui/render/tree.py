"""The XArray as a drawing: which nodes are shown, where, and what is written on them. No Qt.

A file of 4 GiB has 16,000 leaf nodes. What is shown is chosen top down: each node gets as much width as there is, shows
its children in order of index, those that something happens to before all others, and gathers the rest into "118 more
nodes".
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from memviz.snapshot import (
    NODE_IN_TREE,
    NODE_MOVED,
    NODE_NEW,
    NODE_RCU,
    U32,
    Snapshot,
    Structured,
    XArrayInfo,
)

BOX_W: Final = 106.0
BOX_H: Final = 31.0
SLOT_W: Final = 116.0
"""A box and the space to the next."""
LEAST_SLOT: Final = 66.0
LOW_BOX_H: Final = 24.0
"""Of a box where the view is low."""
MOST_LEVEL_H: Final = 84.0
MOST_LIVELY: Final = 8
"""Of so many siblings that something happens to, no more are shown."""
CAPTION_H: Final = 15.0
SLOTS: Final = 64

Bits = npt.NDArray[np.bool_]


class Box(NamedTuple):
    """A node that is shown. Places are in logical pixels of an unscaled drawing."""

    row: int
    """Row of ``Snapshot.nodes``."""
    addr: int
    parent: int
    """Row of the parent, -1: none."""
    x: float
    y: float
    w: float
    h: float
    label: str
    captions: tuple[tuple[str, str], ...]
    """Lines below the box: words and their colour."""
    color: str
    """Of the outline."""
    leaf: bool


class More(NamedTuple):
    """Nodes that are gathered."""

    parent: int
    parent_addr: int
    hidden: int
    x: float
    y: float
    w: float
    h: float


class Edge(NamedTuple):
    """From the lower middle of one box to the upper middle of another."""

    x0: float
    y0: float
    x1: float
    y1: float
    color: str
    dashed: bool


class Drawing(NamedTuple):
    """All that is drawn, and how large that is."""

    boxes: tuple[Box, ...]
    more: tuple[More, ...]
    edges: tuple[Edge, ...]
    width: float
    height: float


LEGEND: Final = (
    "a box is a node with 64 slots · shift n: a slot stands for 2ⁿ pages · then how many slots are in use",
    "a box is a node · shift n: a slot stands for 2ⁿ pages · slots in use",
)
"""What is written on boxes, for somebody who sees them for the first time: at length, and shorter."""
EMPTY: Final = Drawing((), (), (), 0.0, 0.0)


class _Tree:
    """Children and weights of all nodes, worked out with a few large calls."""

    def __init__(self, nodes: Structured) -> None:
        self.nodes = nodes
        self.parent = nodes["parent"].astype(np.intp)
        # A parent beyond the array is a source's mistake: such a node is shown beside the tree.
        self.parent[self.parent >= nodes.size] = -1
        offset = np.where(nodes["state"] == NODE_RCU, nodes["offset"].astype(np.intp) * 2 + 1, nodes["offset"] * 2)
        self.order = np.lexsort((offset, self.parent))
        sorted_parents = self.parent[self.order]
        rows = np.arange(nodes.size)
        self.begin = np.searchsorted(sorted_parents, rows, side="left")
        self.end = np.searchsorted(sorted_parents, rows, side="right")
        self.nr_roots = int(np.searchsorted(sorted_parents, 0, side="left"))
        self.lively = (nodes["state"] != NODE_IN_TREE) | (nodes["readers"] != 0)
        self.leaves = self._leaves()

    def _leaves(self) -> npt.NDArray[np.int64]:
        """How many boxes wide each subtree would be."""
        leaves = np.zeros(self.nodes.size, np.int64)
        for shift in np.unique(self.nodes["shift"]):
            rows = np.flatnonzero(self.nodes["shift"] == shift)
            leaves[rows] = np.maximum(leaves[rows], 1)
            above = self.parent[rows]
            np.add.at(leaves, above[above >= 0], leaves[rows][above >= 0])
        return leaves

    def roots(self) -> list[int]:
        return [int(row) for row in self.order[: self.nr_roots]]

    def children(self, row: int) -> npt.NDArray[np.intp]:
        return self.order[self.begin[row] : self.end[row]]

    def mark(self, row: int) -> None:
        """``row`` is to be seen: it and all above it."""
        while row >= 0 and not self.lively[row]:
            self.lively[row] = True
            row = int(self.parent[row])

    def mark_all_above(self) -> None:
        for row in np.flatnonzero(self.lively)[:64]:
            self.mark(int(self.parent[row]))


def find(nodes: Structured, addr: int) -> int:
    """Row of the node at an address, -1: none. An address inside of a node finds it too."""
    if addr < 0 or not nodes.size:
        return -1
    found = np.flatnonzero(nodes["addr"] == np.uint64(addr))
    return int(found[0]) if found.size else -1


def draw(nodes: Structured, size: tuple[float, float], picked: int = -1, expanded: Collection[int] = ()) -> Drawing:
    """Lay the tree out for a view of ``size`` (width, height).

    ``picked``: address of the selected node, which is always shown. ``expanded``: addresses of nodes all of whose
    children are shown, however wide that gets.
    """
    if not nodes.size:
        return EMPTY
    tree = _Tree(nodes)
    tree.mark(find(nodes, picked))
    tree.mark_all_above()
    plan = _Plan(tree, frozenset(expanded))
    roots = tree.roots()
    needed = sum(plan.needs(row) for row in roots)
    wanted = sum(int(tree.leaves[row]) for row in roots)
    budget = max(int(size[0] / SLOT_W), min(needed, int(size[0] / LEAST_SLOT)), 1)
    if budget < wanted <= int(size[0] / LEAST_SLOT):
        budget = wanted  # narrow boxes, but all of them
    for row, share in zip(roots, plan.shares(roots, budget), strict=True):
        plan.place(row, share)
    pitch = min(max(size[0] / max(plan.next, 1), LEAST_SLOT), 1.5 * SLOT_W)
    return plan.drawing(pitch, max(size[0], plan.next * pitch), size[1])


class _Plan:
    """Which nodes are shown, and in which column (in slots, may be half)."""

    def __init__(self, tree: _Tree, expanded: frozenset[int]) -> None:
        self.tree = tree
        self.expanded = expanded
        self.column: dict[int, float] = {}
        self.span: dict[int, int] = {}
        """Slots that a node and what is shown below it take."""
        self.more: list[tuple[int, int, float]] = []
        self.next = 0

    def needs(self, row: int) -> int:
        """Slots without which something that happens below ``row`` would not be seen."""
        children = self.tree.children(row)
        if not children.size:
            return 1
        if int(self.tree.nodes["addr"][row]) in self.expanded:
            return sum(self.needs(int(child)) for child in children)
        lively = [int(child) for child in children[self.tree.lively[children]][:MOST_LIVELY]]
        return sum(self.needs(child) for child in lively) + (len(lively) < children.size)

    def shares(self, rows: list[int], budget: int) -> list[int]:
        """Split ``budget`` slots among ``rows``: what each needs, then what each could use, evenly."""
        shares = [self.needs(row) for row in rows]
        left = budget - sum(shares)
        while left > 0:
            hungry = [number for number, row in enumerate(rows) if shares[number] < self.tree.leaves[row]]
            if not hungry:
                break
            for number in sorted(hungry, key=lambda number: shares[number])[:left]:
                shares[number] += 1
                left -= 1
        return shares

    def place(self, row: int, budget: int) -> None:
        """Show ``row`` and what fits below it into ``budget`` slots."""
        children, first = self.tree.children(row), self.next
        if not children.size:
            self.column[row] = float(self.next)
            self.next += 1
            return
        shown = self._shown(row, children, budget)
        hidden = int(children.size) - len(shown)
        columns = []
        for child, share in zip(shown, self.shares(shown, budget - (hidden > 0)), strict=True):
            self.place(child, share)
            columns.append(self.column[child])
        if hidden:
            self.more.append((row, hidden, float(self.next)))
            columns.append(float(self.next))
            self.next += 1
        self.column[row] = (columns[0] + columns[-1]) / 2
        self.span[row] = self.next - first

    def _shown(self, row: int, children: npt.NDArray[np.intp], budget: int) -> list[int]:
        """Children that are shown: all if they fit, else the lively ones, then the first while there is room."""
        if children.size <= budget or int(self.tree.nodes["addr"][row]) in self.expanded:
            return [int(child) for child in children]
        lively = self.tree.lively[children]
        chosen = [int(child) for child in children[lively][:MOST_LIVELY]]
        room = budget - 1 - sum(self.needs(child) for child in chosen)
        plain = children[~lively]
        # Children that have children look better with some of them: rather fewer, but whole.
        each = 2 if plain.size and self.tree.children(int(plain[0])).size else 1
        chosen += [int(child) for child in plain[: max(room // each, 0)]]
        return sorted(chosen, key=lambda child: int(np.flatnonzero(children == child)[0]))

    def drawing(self, pitch: float, width: float, height: float) -> Drawing:
        """All places, now that it is known what is shown."""
        nodes = self.tree.nodes
        top, bottom = int(nodes["shift"].max()), int(nodes["shift"].min())
        levels = max((top - bottom) // 6, 1)
        box_h = BOX_H if height >= (BOX_H + 12) * levels + BOX_H + CAPTION_H else LOW_BOX_H
        level_h = min(max((height - box_h - CAPTION_H - 4) / levels, box_h + 8), MOST_LEVEL_H)
        left = (width - self.next * pitch) / 2
        box_w = min(BOX_W, pitch - 8)
        boxes: dict[int, Box] = {}
        for row in sorted(self.column):
            shift = int(nodes["shift"][row])
            wide = min(BOX_W * 1.16, self.span[row] * pitch - 8) if row in self.span else box_w
            x = left + (self.column[row] + 0.5) * pitch - wide / 2
            y = (top - shift) / 6 * level_h + 2
            boxes[row] = _box(nodes[row], row, int(self.tree.parent[row]), (x, y, wide, box_h))
        more = []
        edges = [_edge(boxes[box.parent], box) for box in boxes.values() if box.parent in boxes]
        for row, hidden, column in self.more:
            x = left + (column + 0.5) * pitch - box_w / 2
            y = boxes[row].y + level_h + 3
            more.append(More(row, boxes[row].addr, hidden, x, y, box_w, box_h - 6))
            edges.append(Edge(*_lower(boxes[row]), x + box_w / 2, y, "ui.border", True))
        low = max([box.y for box in boxes.values()] + [one.y for one in more]) + box_h + CAPTION_H + 2
        lines = max((len(box.captions) for box in boxes.values()), default=0)
        low += CAPTION_H * max(lines - 1, 0)
        return Drawing(tuple(boxes.values()), tuple(more), tuple(edges), width, low)


def _lower(box: Box) -> tuple[float, float]:
    return box.x + box.w / 2, box.y + box.h


def _edge(upper: Box, lower: Box) -> Edge:
    moved = lower.color == "node.just moved"
    gone = lower.color == "node.waiting for RCU"
    color = lower.color if moved else "ui.raised_pressed"
    return Edge(*_lower(upper), lower.x + lower.w / 2, lower.y, color, moved or gone)


_LOOK: Final = {
    NODE_IN_TREE: ("", "node.in the tree", ""),
    NODE_RCU: ("victim", "node.waiting for RCU", "waiting for RCU"),
    NODE_NEW: ("new", "node.allocated", "not yet published"),
    NODE_MOVED: ("copy → new", "node.just moved", "published"),
}


def _box(node: np.void, row: int, parent: int, place: tuple[float, float, float, float]) -> Box:
    state, shift = int(node["state"]), int(node["shift"])
    label, color, caption = _LOOK.get(state, ("", "node.in the tree", ""))
    captions = [(caption, color)] if caption else []
    readers = readers_words(int(node["readers"]))
    if readers:
        captions.append((readers, "tone.info"))
    if label and place[2] < 92:
        label = label.removeprefix("copy ")
    plain = f"shift {shift} · {int(node['count'])}" if place[2] > 98 else f"{shift} · {int(node['count'])}"
    return Box(row, int(node["addr"]), parent, *place, label or plain, tuple(captions), color, shift == 0)


def box_words(node: np.void) -> str:
    """What is written on a box and what happens to its node, for a pointer that rests on it."""
    shift, used = int(node["shift"]), int(node["count"])
    each = "one page" if not shift else f"2^{shift} = {1 << shift:,} pages"
    lines = [f"A node: {used} of its {SLOTS} slots {'is' if used == 1 else 'are'} in use"]
    lines.append(f"shift {shift}: each slot stands for {each}")
    label, _, caption = _LOOK.get(int(node["state"]), ("", "", ""))
    if caption:
        lines.append(f"{label.replace(' → new', '')}: {caption}")
    readers = readers_words(int(node["readers"]))
    return "\n".join([*lines, readers] if readers else lines)


def readers_words(readers: int) -> str:
    """ "◆ reader on CPU 2" from a bitmap of CPUs; empty for none."""
    cpus = [str(cpu) for cpu in range(8) if readers >> cpu & 1]
    if not cpus:
        return ""
    return f"◆ reader on CPU {cpus[0]}" if len(cpus) == 1 else f"◆ readers on CPUs {', '.join(cpus)}"


def slot_bits(word: int) -> Bits:
    """The 64 slots of a bitmap, slot 0 first."""
    return np.unpackbits(np.frombuffer(word.to_bytes(8, "little"), np.uint8), bitorder="little").astype(np.bool_)


def bar(used: int, marks: tuple[int, int, int], colors: U32, width: int, height: int, mark_height: int) -> U32:
    """The 64 slots as pixels, shape (height, width), 0xffRRGGBB; below them a line for each mark that is set anywhere.

    ``colors``: background, empty slot, used slot, marks 0 to 2. With 192 pixels or more there is a gap between slots.
    """
    edges = np.arange(width + 1) * SLOTS // max(width, 1)
    slot = edges[:-1]
    set_marks = [(mark, colors[3 + number]) for number, mark in enumerate(marks) if mark]
    body = max(2, height - len(set_marks) * mark_height)
    lines = [(used, colors[2], colors[1], 0, body)]
    for number, (mark, color) in enumerate(set_marks):
        top = body + number * mark_height
        lines.append((mark, color, colors[0], top + 1, top + mark_height))
    pixels = np.full((height, width), colors[0], np.uint32)
    for word, on, off, top, bottom in lines:
        bits = slot_bits(word)
        # Fewer pixels than slots: a pixel is lit when one of its slots is.
        lit = bits[slot] if width >= SLOTS else np.maximum.reduceat(bits, slot)
        pixels[top:bottom] = np.where(lit, on, off)
    if width >= 3 * SLOTS:  # room for a gap between slots
        pixels[:, np.flatnonzero(np.diff(edges) > 0)] = colors[0]
    return pixels


def info_of(snapshot: Snapshot) -> XArrayInfo | None:
    """The XArray whose nodes the snapshot holds: the one in focus, or the first: sources list the largest first, by
    pages. By nodes it can be another, and its name stood above a tree that was not its own.
    """
    if not snapshot.xarrays:
        return None
    if snapshot.focus.xarray >= 0:
        return next((one for one in snapshot.xarrays if one.id == snapshot.focus.xarray), None)
    return snapshot.xarrays[0]


def subtitle(snapshot: Snapshot) -> str:
    """ "file 17 · i_pages · 9 nodes · height 3"."""
    info = info_of(snapshot)
    if info is None:
        return ""
    nodes = f"{info.nodes:,} node{'s' if info.nodes != 1 else ''}"
    return f"{info.name.replace(': ', ' · ')} · {nodes} · height {info.height}"


def moved_pairs(before: Structured, now: Structured) -> list[tuple[int, int]]:
    """Nodes that were published as copies since: (old address, new address), matched by parent and place in it."""
    fresh = np.flatnonzero(now["state"] == NODE_MOVED)
    if not fresh.size or not before.size:
        return []
    shown = set(before["addr"][before["state"] == NODE_MOVED].tolist())
    pairs = []
    for row in fresh[:8]:
        node = now[row]
        if int(node["addr"]) in shown:
            continue
        same = (
            (before["shift"] == node["shift"]) & (before["index"] == node["index"]) & (before["state"] == NODE_IN_TREE)
        )
        old = np.flatnonzero(same)
        if old.size and int(before["addr"][old[0]]) != int(node["addr"]):
            pairs.append((int(before["addr"][old[0]]), int(node["addr"])))
    return pairs


def neighbour(boxes: Sequence[Box], box: Box | None, way: tuple[int, int]) -> Box:
    """The box to go to from ``box``: up (0, -1) its parent, down its first child, left and right the next beside it.

    Where there is none it is ``box`` itself; without a ``box`` the first of all."""
    if box is None:
        return boxes[0]
    if way == (0, -1):
        near = [one for one in boxes if one.row == box.parent]
    elif way == (0, 1):
        near = sorted((one for one in boxes if one.parent == box.row), key=lambda one: one.x)
    else:
        beside = [one for one in boxes if one.y == box.y and (one.x - box.x) * way[0] > 0]
        near = sorted(beside, key=lambda one: abs(one.x - box.x))
    return near[0] if near else box
