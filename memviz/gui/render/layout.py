"""Where page frames lie on the map: as tiles of one pageblock, as rows, along a Hilbert curve.

A layout is a bijection between page frame numbers and cells of a grid ``width`` × ``height``. All of them place an
aligned run of ``1 << k`` page frames (a buddy block) as one rectangle. That is what makes free blocks visible as
shapes, and what lets one pyramid of runs (``pyramid.py``) serve every layout and zoom.
"""

from __future__ import annotations

from math import ceil, sqrt
from typing import Final, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

Intp = npt.NDArray[np.intp]

TILE_ASPECT: Final = 0.84
"""Width to height of a tile on the screen: its 16 × 32 cells are then wide enough for a number when zoomed in."""


class Rect(NamedTuple):
    """A rectangle of cells."""

    x: int
    y: int
    w: int
    h: int


class Lod(NamedTuple):
    """One level of detail: a cell of the picture stands for ``cell_w`` × ``cell_h`` page frames."""

    level: int
    """Level of the pyramid."""
    cell_w: int
    cell_h: int
    planes: tuple[int, ...] = (0,)
    """Elements of the pyramid's level, beside the first, that fall into the cell too."""

    @property
    def frames(self) -> int:
        """Page frames in a cell."""
        return self.cell_w * self.cell_h


class Layout(Protocol):
    """A way to place ``nr`` page frames on a grid."""

    nr: int
    width: int
    height: int
    tile_w: int
    """Tiles are drawn with a gap between them; as large as the map where a layout has none."""
    tile_h: int

    def lods(self) -> tuple[Lod, ...]:
        """Levels of detail, finest first."""

    def index(self, lod: Lod, ys: Intp, xs: Intp) -> Intp:
        """Pyramid elements of the cells ``ys`` × ``xs`` (cells of ``lod``), shape (ys, xs); too large outside."""

    def cell(self, pfn: int) -> tuple[int, int]:
        """Where a page frame lies: x, y."""

    def pfn(self, x: int, y: int) -> int:
        """Which page frame lies there; -1 outside memory."""

    def rects(self, pfn: int, order: int) -> tuple[Rect, ...]:
        """The cells of the aligned block of ``1 << order`` page frames that ``pfn`` is in."""


def _align(pfn: int, order: int) -> int:
    return pfn >> order << order


class Blocks:
    """One tile a pageblock, tiles row by row. In a tile a Z-order curve: buddies lie side by side.

    Even bits of the page frame number count downwards, odd bits to the right, so a tile of 512 is 16 wide and 32 high.
    """

    def __init__(self, nr: int, columns: int, tile_order: int = 9) -> None:
        self.nr = nr
        self.columns = columns
        self.tile_order = tile_order
        self.tiles = max(1, -(-nr >> tile_order))
        self.tile_w = 1 << tile_order // 2
        self.tile_h = 1 << tile_order - tile_order // 2
        self.width = columns * self.tile_w
        self.height = -(-self.tiles // columns) * self.tile_h
        self._x_bits = _spread(self.tile_w) << 1
        self._y_bits = _spread(self.tile_h)

    @classmethod
    def fitting(cls, nr: int, view_w: float, view_h: float, tile_order: int = 9) -> Blocks:
        """The number of columns that fills the view best with tiles of a pleasant shape."""
        tiles = max(1, -(-nr >> tile_order))
        ideal = sqrt(tiles * max(view_w, 1.0) / max(view_h, 1.0) / TILE_ASPECT)

        def cost(columns: int) -> float:
            empty = -(-tiles // columns) * columns - tiles
            return abs(columns / ideal - 1.0) + 2.0 * empty / tiles

        lowest, highest = min(max(1, int(ideal * 0.75)), tiles), min(tiles, ceil(ideal * 1.3))
        return cls(nr, min(range(lowest, max(lowest, highest) + 1), key=cost), tile_order)

    def lods(self) -> tuple[Lod, ...]:
        return tuple(Lod(level, 1 << level // 2, 1 << level - level // 2) for level in range(self.tile_order + 1))

    def index(self, lod: Lod, ys: Intp, xs: Intp) -> Intp:
        x, y = xs * lod.cell_w, ys * lod.cell_h
        across = (x // self.tile_w << self.tile_order) + self._x_bits[x % self.tile_w]
        down = (y // self.tile_h * self.columns << self.tile_order) + self._y_bits[y % self.tile_h]
        return np.asarray(np.add.outer(down >> lod.level, across >> lod.level), np.intp)

    def cell(self, pfn: int) -> tuple[int, int]:
        tile, local = pfn >> self.tile_order, pfn & (1 << self.tile_order) - 1
        x, y = _gather(local >> 1), _gather(local)
        return tile % self.columns * self.tile_w + x, tile // self.columns * self.tile_h + y

    def pfn(self, x: int, y: int) -> int:
        if not (0 <= x < self.width and 0 <= y < self.height):
            return -1
        tile = y // self.tile_h * self.columns + x // self.tile_w
        pfn = (tile << self.tile_order) + int(self._x_bits[x % self.tile_w]) + int(self._y_bits[y % self.tile_h])
        return pfn if pfn < self.nr else -1

    def rects(self, pfn: int, order: int) -> tuple[Rect, ...]:
        first = _align(pfn, order)
        if order <= self.tile_order:
            return (Rect(*self.cell(first), 1 << order // 2, 1 << order - order // 2),)
        return tuple(
            Rect(*self.cell(tile), self.tile_w, self.tile_h)
            for tile in range(first, min(first + (1 << order), self.nr), 1 << self.tile_order)
        )


class Rows:
    """Page frames row by row, left to right: addresses read like text."""

    def __init__(self, nr: int, row_order: int) -> None:
        self.nr = nr
        self.row_order = row_order
        self.width = self.tile_w = 1 << row_order
        self.height = self.tile_h = max(1, -(-nr >> row_order))

    @classmethod
    def fitting(cls, nr: int, view_w: float, view_h: float) -> Rows:
        """Rows of a power of two, about as long as makes a cell square."""
        length = sqrt(max(nr, 1) * max(view_w, 1.0) / max(view_h, 1.0))
        return cls(nr, max(5, int(length).bit_length() - 1))

    def lods(self) -> tuple[Lod, ...]:
        steps: list[Lod] = []
        for step in range(self.row_order + 1):
            for right, down in ((step, step), (step + 1, step)):
                if right <= self.row_order:
                    stride = 1 << self.row_order - right
                    steps.append(Lod(right, 1 << right, 1 << down, tuple(row * stride for row in range(1 << down))))
        return tuple(steps)

    def index(self, lod: Lod, ys: Intp, xs: Intp) -> Intp:
        return np.asarray(np.add.outer(ys * lod.cell_h << self.row_order - lod.level, xs), np.intp)

    def cell(self, pfn: int) -> tuple[int, int]:
        return pfn & self.width - 1, pfn >> self.row_order

    def pfn(self, x: int, y: int) -> int:
        pfn = (y << self.row_order) + x
        return pfn if 0 <= x < self.width and y >= 0 and pfn < self.nr else -1

    def rects(self, pfn: int, order: int) -> tuple[Rect, ...]:
        first = _align(pfn, order)
        x, y = self.cell(first)
        if order <= self.row_order:
            return (Rect(x, y, 1 << order, 1),)
        return (Rect(0, y, self.width, 1 << order - self.row_order),)


class Hilbert:
    """Page frames along a Hilbert curve: near in address is near on the map, at every scale.

    One square, or two side by side.
    """

    def __init__(self, nr: int) -> None:
        self.nr = nr
        bits = max(2, (max(nr, 1) - 1).bit_length())
        self.side_bits = bits // 2
        side = 1 << self.side_bits
        self.width = self.tile_w = side << (bits & 1)
        self.height = self.tile_h = side

    def lods(self) -> tuple[Lod, ...]:
        # Odd runs are dominoes that lie either way: only squares make a grid.
        return tuple(Lod(2 * step, 1 << step, 1 << step) for step in range(min(self.side_bits, 7) + 1))

    def index(self, lod: Lod, ys: Intp, xs: Intp) -> Intp:
        bits = self.side_bits - lod.level // 2
        if bits > _STEP and min(ys.size, xs.size) > 1 << _STEP and _run(ys) and _run(xs):
            return self._index_of_run(bits, ys, xs)
        return self._walk(bits, ys, xs)[0]

    @staticmethod
    def _walk(bits: int, ys: Intp, xs: Intp) -> tuple[Intp, Intp]:
        """Number and orientation of each of these cells: squares of ``1 << bits`` cells lie side by side."""
        number, state = _hilbert_walk(bits, ys, xs & (1 << bits) - 1)
        return number + ((xs >> bits) << 2 * bits)[np.newaxis, :], state

    def _index_of_run(self, bits: int, ys: Intp, xs: Intp) -> Intp:
        """The same for rows and columns without gaps: a few large squares, each filled from a table."""
        top, left = int(ys[0]) >> _STEP, int(xs[0]) >> _STEP
        down = np.arange(top, (int(ys[-1]) >> _STEP) + 1, dtype=np.intp)
        across = np.arange(left, (int(xs[-1]) >> _STEP) + 1, dtype=np.intp)
        number, state = self._walk(bits - _STEP, down, across)
        side = 1 << _STEP
        inside = _SQUARES[state].swapaxes(1, 2)  # shape (down, side, across, side)
        whole = (inside + (number << 2 * _STEP)[:, np.newaxis, :, np.newaxis]).reshape(down.size * side, -1)
        y, x = int(ys[0]) - top * side, int(xs[0]) - left * side
        return np.ascontiguousarray(whole[y : y + ys.size, x : x + xs.size])

    def cell(self, pfn: int) -> tuple[int, int]:
        square, distance = pfn >> 2 * self.side_bits, pfn & (1 << 2 * self.side_bits) - 1
        x, y = _hilbert_cell(self.side_bits, distance)
        return x + (square << self.side_bits), y

    def pfn(self, x: int, y: int) -> int:
        if not (0 <= x < self.width and 0 <= y < self.height):
            return -1
        one = self.index(Lod(0, 1, 1), np.array([y], np.intp), np.array([x], np.intp))
        pfn = int(one[0, 0])
        return pfn if pfn < self.nr else -1

    def rects(self, pfn: int, order: int) -> tuple[Rect, ...]:
        first = _align(pfn, order)
        if order & 1:  # a domino: two squares
            one, two = self.rects(first, order - 1)[0], self.rects(first + (1 << order - 1), order - 1)[0]
            x, y = min(one.x, two.x), min(one.y, two.y)
            return (Rect(x, y, max(one.x, two.x) + one.w - x, max(one.y, two.y) + one.h - y),)
        side = 1 << order // 2
        x, y = self.cell(first)
        return (Rect(x // side * side, y // side * side, side, side),)


def _spread(size: int) -> Intp:
    """For each number below ``size``: its bits moved to the even places."""
    numbers = np.arange(size, dtype=np.intp)
    spread = np.zeros(size, np.intp)
    for bit in range(size.bit_length()):
        spread |= (numbers >> bit & 1) << 2 * bit
    return spread


def _gather(number: int) -> int:
    """The bits at even places, moved together: the inverse of ``_spread``."""
    found, place = 0, 0
    while number:
        found |= (number & 1) << place
        number >>= 2
        place += 1
    return found


# The curve's four orientations as a state machine. In orientation s the quadrant (y, x) is passed as number
# QUADRANT[s][y, x] and entered in orientation TURN[s][y, x]. Orientation 0 runs from the top left to the top right.
_QUADRANT: Final = np.array([[0, 3, 1, 2], [0, 1, 3, 2], [2, 1, 3, 0], [2, 3, 1, 0]], np.int32)
_TURN: Final = np.array([[1, 3, 0, 0], [0, 1, 2, 1], [2, 2, 1, 3], [3, 0, 3, 2]], np.int32)


def _digits(step: int) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """The machine taken ``step`` bits at a time: tables by orientation, y bits, x bits."""
    side = 1 << step
    state, y, x = np.meshgrid(np.arange(4), np.arange(side), np.arange(side), indexing="ij")
    distance = np.zeros(state.shape, np.int32)
    for bit in reversed(range(step)):
        corner = (y >> bit & 1) << 1 | (x >> bit & 1)
        distance = distance << 2 | _QUADRANT[state, corner]
        state = _TURN[state, corner]
    return distance.astype(np.int32).ravel(), state.astype(np.int32).ravel()


_STEP: Final = 4
_TABLES: Final = {step: _digits(step) for step in range(1, _STEP + 1)}


_SQUARES: Final = _TABLES[_STEP][0].reshape(4, 1 << _STEP, 1 << _STEP).astype(np.intp)
"""By orientation: the numbers of the cells of a square of ``1 << _STEP`` on a side."""


def _run(numbers: Intp) -> bool:
    """Each is one more than the one before."""
    return bool((np.diff(numbers) == 1).all())


def _hilbert_walk(bits: int, ys: Intp, xs: Intp) -> tuple[Intp, Intp]:
    """Distance along the curve through a square of ``1 << bits`` cells, for all ``ys`` × ``xs``, and the orientation in
    which the curve enters each cell.
    """
    distance = np.zeros((ys.size, xs.size), np.int32)
    state = np.zeros((ys.size, xs.size), np.int32)
    left = bits
    while left > 0:
        step = left % _STEP or _STEP
        left -= step
        mask = (1 << step) - 1
        digits, turns = _TABLES[step]
        corner = np.add.outer((ys >> left & mask) << step, xs >> left & mask).astype(np.int32)
        corner |= state << 2 * step
        distance = distance << 2 * step | digits[corner]
        state = turns[corner]
    return distance.astype(np.intp), state.astype(np.intp)


def _hilbert_cell(bits: int, distance: int) -> tuple[int, int]:
    """The inverse of ``_hilbert_walk`` for one distance: x, y."""
    x = y = state = 0
    for bit in reversed(range(bits)):
        number = distance >> 2 * bit & 3
        corner = int(np.flatnonzero(_QUADRANT[state] == number)[0])
        y, x = y << 1 | corner >> 1, x << 1 | (corner & 1)
        state = int(_TURN[state, corner])
    return x, y
