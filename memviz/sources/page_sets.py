"""Copies of page-frame arrays that cost what changed, not what there is.

16.8 million page frames are 117 MB a Snapshot. Copied whole, three times between the engine and a view, and each time
into fresh memory, they left 5 redraws a second; from one Snapshot to the next a few thousand page frames change.

*Lines.* The arrays of a Snapshot are views of one block of memory; what changed is noted in lines of 64 bytes of it.
Only those go from process to process.

*Sets.* A Snapshot stays as it is for as long as somebody holds it. So there are several blocks: the next Snapshot is
made in one that nobody sees any more, which catches up with the newest by the lines that changed since its own. Who
still sees one is known exactly: every array made from it, and every slice of that, holds a reference to the block.
"""

from __future__ import annotations

import sys
from collections import deque
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from memviz.snapshot import U8, U32, Pages

Lines = npt.NDArray[np.intp]

LINE: Final = 64
"""Bytes of a line: 64 page frames of an array of bytes, 16 of the stamps."""
KEPT: Final = 64
"""Versions back that changes are known for."""
SPARE: Final = 2
"""Blocks that nobody sees, kept for the next Snapshots."""
CHUNK: Final = 1 << 20
"""Bytes compared at once: the outcome stays in the processor's cache."""

OWNER, ORDER, FLAGS, STAMP = 0, 1, 2, 3
"""Planes of a block, in their order."""

_LINE_TYPE: Final = np.dtype((np.void, LINE))
_BYTES: Final = (1, 1, 1, 4)


class PageDelta(NamedTuple):
    """What turns one version of the arrays into another. Travels between processes."""

    nr: int
    """Page frames."""
    base: int
    """The version that it starts from; -1: none, it holds everything."""
    version: int
    lines: U32
    """Which lines changed, in ascending order; empty when it holds everything."""
    rows: U8
    """Their content, one after the other."""


class ChangeLog:
    """Which lines changed from each version to the next. Versions count from 0, which is all zeros.

    One thread adds; others, as that of a recording, may ask meanwhile.
    """

    def __init__(self, nr: int) -> None:
        self.version = 0
        self.edges = _edges(nr)
        self._steps: deque[tuple[int, Lines]] = deque(maxlen=KEPT)
        """Version, and what changed from it to the next."""

    def add(self, lines: Lines) -> None:
        """The next version differs from this one in ``lines``."""
        self._steps.append((self.version, lines))
        self.version += 1

    def changed(self, since: int, until: int) -> Lines | None:
        """Lines that may differ between two versions, in ascending order; None when that is not known any more."""
        steps = [lines for version, lines in self._steps.copy() if since <= version < until]
        if len(steps) != until - since or since > until:
            return None
        if len(steps) == 1:
            return steps[0]
        marked = np.zeros(self.edges[-1] // LINE, np.bool_)
        for step in steps:
            marked[step] = True
        return np.flatnonzero(marked)

    def changed_groups(self, since: int, until: int) -> Lines | None:
        """As ``changed``, in groups of 64 page frames, counted from 0."""
        lines = self.changed(since, until)
        if lines is None:
            return None
        first, second, third, fourth, _ = (edge // LINE for edge in self.edges)
        marked = np.zeros(second - first, np.bool_)
        at = np.searchsorted(lines, (second, third, fourth)).tolist()
        marked[lines[: at[0]]] = True
        marked[lines[at[0] : at[1]] - second] = True
        marked[lines[at[1] : at[2]] - third] = True
        marked[lines[at[2] :] - fourth >> 2] = True
        return np.flatnonzero(marked)

    def delta(self, pages: Pages, since: int) -> PageDelta:
        """What turns the version ``since`` into ``pages``, which must be of this log; everything when that is less."""
        memory = pages.owner.base
        assert isinstance(memory, np.ndarray), "the arrays are views of one block"
        lines = self.changed(since, pages.version)
        if lines is None or 2 * lines.size * LINE > memory.size:
            return PageDelta(pages.nr, -1, pages.version, np.zeros(0, np.uint32), memory)
        rows = np.take(memory.view(_LINE_TYPE), lines).view(np.uint8)
        return PageDelta(pages.nr, since, pages.version, lines.astype(np.uint32), rows)


class _Set:
    """One block and the version that is in it."""

    __slots__ = ("memory", "version")

    def __init__(self, memory: U8, version: int) -> None:
        self.memory = memory
        self.version = version

    @property
    def references(self) -> int:
        """To the block: ours, that of the call, and one for every array that is made of it."""
        return sys.getrefcount(self.memory)

    @property
    def seen(self) -> bool:
        """Somebody has an array that is made of it."""
        return self.references > _OURS


_OURS: Final = _Set(np.zeros(LINE, np.uint8), 0).references


class PageSets:
    """Makes the ``Pages`` of one memory after another, each an instant that stays as it is."""

    def __init__(self) -> None:
        self._nr = -1
        self._log = ChangeLog(0)
        self._sets: list[_Set] = []
        """The newest is the last."""
        self._draft: _Set | None = None
        self._differs = np.zeros(CHUNK // 8, np.bool_)
        self._found: list[Lines] = []

    def __len__(self) -> int:
        return len(self._sets)

    # -- from arrays

    def take(self, owner: U8, order: U8, flags: U8, stamp: U32) -> Pages:
        """Copies of these arrays."""
        self.begin(owner.size)
        for plane, array in enumerate((owner, order, flags, stamp)):
            self.write(plane, 0, np.ascontiguousarray(array).view(np.uint8))
        return self.commit()

    def begin(self, nr: int) -> None:
        """Begin the next Pages, of ``nr`` page frames; it is as the one before until something is written."""
        if nr != self._nr or self._draft is not None:  # another memory, or one that was given up halfway
            self._forget(nr)
        self._draft = self._next_set()
        self._found = []

    def _forget(self, nr: int) -> None:
        self._nr = nr
        self._log = ChangeLog(nr)
        self._sets = [_Set(np.zeros(self._log.edges[-1], np.uint8), 0)]

    def write(self, plane: int, begin: int, content: U8) -> None:
        """The bytes of a plane (``OWNER`` to ``STAMP``) from byte ``begin``, a multiple of 64, on."""
        assert self._draft is not None, "begin comes first"
        memory = self._draft.memory
        edge = self._log.edges[plane] + begin
        whole = content.size // LINE * LINE
        for at in range(0, whole, CHUNK):
            piece = content[at : min(at + CHUNK, whole)]
            old = memory[edge + at : edge + at + piece.size]
            differs = np.not_equal(old.view(np.uint64), piece.view(np.uint64), out=self._differs[: piece.size // 8])
            lines = np.flatnonzero(differs.view(np.uint64))  # eight words are a line
            if lines.size:
                np.put(old.view(_LINE_TYPE), lines, np.take(piece.view(_LINE_TYPE), lines))
                self._found.append(lines + (edge + at) // LINE)
        rest = memory[edge + whole : edge + content.size]
        if not np.array_equal(rest, content[whole:]):
            rest[:] = content[whole:]
            self._found.append(np.array([(edge + whole) // LINE], np.intp))

    def write_blocks(self, plane: int, blocks: Lines, content: U8) -> None:
        """Some aligned blocks of a plane: their numbers, ascending, and what is in them, one after the other. All are
        of one size, a multiple of 64 bytes.
        """
        assert self._draft is not None, "begin comes first"
        if not blocks.size:
            return
        size = content.size // blocks.size
        edge = self._log.edges[plane]
        kind = np.dtype((np.void, size))
        memory = self._draft.memory
        end = edge + (int(blocks[-1]) + 1) * size
        old = np.take(memory[edge:end].view(kind), blocks)
        differs = content.view(np.uint64) != old.view(np.uint64)
        found = np.flatnonzero(differs.view(np.uint64))  # eight words are a line
        if found.size:
            per_block = size // LINE
            lines = blocks[found // per_block] * per_block + found % per_block + edge // LINE
            np.put(memory.view(_LINE_TYPE), lines, np.take(content.view(_LINE_TYPE), found))
            self._found.append(lines)

    def commit(self) -> Pages:
        """What was written is the newest."""
        assert self._draft is not None, "begin comes first"
        newest, self._draft = self._draft, None
        self._log.add(np.concatenate(self._found) if self._found else np.zeros(0, np.intp))
        newest.version = self._log.version
        spare = [one for one in self._sets if not one.seen]
        for one in spare[:-SPARE]:
            self._sets.remove(one)
        self._sets.append(newest)
        return self._pages(newest)

    # -- from another process

    def apply(self, delta: PageDelta) -> Pages:
        """The Pages that the other side had, which sends every version that it makes."""
        if delta.base < 0:
            self._forget(delta.nr)
        self.begin(delta.nr)
        assert self._draft is not None
        memory = self._draft.memory
        if delta.base < 0:
            memory[:] = delta.rows
            self._found.append(np.arange(memory.size // LINE, dtype=np.intp))
        else:
            lines = delta.lines.astype(np.intp)
            np.put(memory.view(_LINE_TYPE), lines, delta.rows.view(_LINE_TYPE))
            self._found.append(lines)
        return self.commit()

    # -- the sets

    def _next_set(self) -> _Set:
        """A block that nobody sees, with the content of the newest."""
        newest = self._sets[-1]
        if not newest.seen:
            return self._sets.pop()
        free = [one for one in self._sets if not one.seen]
        if not free:
            return _Set(newest.memory.copy(), newest.version)
        found = max(free, key=lambda one: one.version)
        self._sets.remove(found)
        lines = self._log.changed(found.version, newest.version)
        if lines is None:
            np.copyto(found.memory, newest.memory)
        else:
            rows = np.take(newest.memory.view(_LINE_TYPE), lines)
            np.put(found.memory.view(_LINE_TYPE), lines, rows)
        return found

    def _pages(self, one: _Set) -> Pages:
        first, second, third, fourth, _ = self._log.edges
        memory, nr = one.memory, self._nr
        stamp: U32 = memory[fourth : fourth + 4 * nr].view(np.uint32)
        owner, order, flags = (memory[edge : edge + nr] for edge in (first, second, third))
        for plane in (owner, order, flags, stamp):
            plane.flags.writeable = False
        return Pages(owner, order, flags, stamp, self._log, one.version)


def _edges(nr: int) -> tuple[int, ...]:
    """Where the planes begin in a block, and where the last ends."""
    edges = [0]
    for width in _BYTES:
        edges.append(edges[-1] + -(-nr * width // LINE) * LINE)
    return tuple(edges)
