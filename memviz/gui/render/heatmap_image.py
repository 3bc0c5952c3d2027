"""The map as an array of pixels: which page frames a device pixel shows, and back.

Three steps, each a few large numpy calls (small ones cost more than they do): the view decides which cells of which
level lie where (only when it changes); the cells' ranks are gathered from the pyramid; the palette makes them pixels
that are repeated to the size of the view. Every cell has at least one device pixel, or a coarser level is taken:
nothing is lost between pixels.
"""

from __future__ import annotations

from bisect import bisect_right
from math import ceil, floor
from typing import Final, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from memviz.gui.render.layout import Intp, Layout, Lod, Rect
from memviz.gui.render.pyramid import Pyramid
from memviz.kernel.page import MAX_PAGE_ORDER

U8 = npt.NDArray[np.uint8]
U32 = npt.NDArray[np.uint32]
S = TypeVar("S", bound=np.generic)

CELL_GAP_FROM: Final = 5.0
"""Cells this wide and high (device pixels) have a gap between them."""
TILE_GAPS_FROM: Final = (7.0, 24.0, 200.0, 600.0)
"""Tiles at least this large are one, two, three, four device pixels apart."""
WIDEST_CELL: Final = 220.0
_UNIT: Final = 1 << MAX_PAGE_ORDER
_SAMPLES: Final = 64
"""Cells across and down that are looked at to know what is seen."""


class Camera(NamedTuple):
    """What is looked at: how many times larger than fitted, and the point of the map (0 to 1) in the view's middle."""

    zoom: float = 1.0
    x: float = 0.5
    y: float = 0.5


class Axis:
    """One direction of the view: where its cells begin and end in device pixels."""

    def __init__(self, origin: float, tile: float, tiles: int, cells: int, gap: int, cell_gap: int, view: int) -> None:
        """``tiles`` of ``tile`` pixels each begin at ``origin``; each has ``cells`` cells; ``view`` pixels are seen."""
        first = min(max(0, floor(-origin / tile)), tiles)
        last = max(first, min(tiles, ceil((view - origin) / tile)))
        edges = np.floor(origin + np.arange(first, last + 1) * tile + 0.5).astype(np.int64)
        widths = np.diff(edges) - gap
        steps = np.arange(cells + 1, dtype=np.int64)
        inner = edges[:-1, np.newaxis] + widths[:, np.newaxis] * steps // cells
        begin, end = inner[:, :-1].ravel(), inner[:, 1:].ravel() - cell_gap
        seen = np.flatnonzero((end > 0) & (begin < view))
        low, high = (int(seen[0]), int(seen[-1]) + 1) if seen.size else (0, 0)
        self.first = first * cells + low
        """Number of the first cell that is seen."""
        self.begin: npt.NDArray[np.int64] = begin[low:high]
        self.end: npt.NDArray[np.int64] = end[low:high]
        self.count = high - low
        self.pixel: Intp = self._pixels(view)
        """For each pixel the cell that it shows, from 0; ``count`` in gaps and outside."""

    def _pixels(self, view: int) -> Intp:
        pixel = np.full(view, self.count, np.intp)
        if self.count:
            at = np.arange(view, dtype=np.int64)
            found = np.searchsorted(self.begin, at, side="right") - 1
            inside = (found >= 0) & (at < self.end[np.maximum(found, 0)])
            pixel[inside] = found[inside]
        return pixel


class HeatmapImage:
    """Renders a layout of a pyramid as seen by a camera. One object a view: it keeps its buffers."""

    def __init__(self) -> None:
        self.layout: Layout | None = None
        self.camera = Camera()
        self.width = 0
        self.height = 0
        """Device pixels."""
        self.lod = Lod(0, 1, 1)
        self.tile_gap = 0
        self.cell_gap = 0
        self.scale_x = 1.0
        self.scale_y = 1.0
        """Device pixels per page frame, before rounding."""
        self.origin_x = 0.0
        self.origin_y = 0.0
        self._columns: Axis | None = None
        self._rows: Axis | None = None
        self._index_known: Intp | None = None
        self._outside: npt.NDArray[np.bool_] | None = None
        self._bytes: dict[str, U8] = {}
        self._words: dict[str, U32] = {}
        self._drawn: tuple[object, ...] = ()
        """Palette and background of the picture that there is; empty: there is none of this view."""

    def set_view(self, layout: Layout, camera: Camera, width: int, height: int) -> None:
        """Look at ``layout`` through ``camera`` in ``width`` × ``height`` device pixels. Cheap: which page frames are
        seen is worked out when somebody asks, for a view that is put together is resized many times at once.
        """
        if layout is self.layout and (camera, width, height) == (self.camera, self.width, self.height):
            return
        self.layout, self.camera, self.width, self.height = layout, camera, width, height
        self.scale_x = width * camera.zoom / layout.width
        self.scale_y = height * camera.zoom / layout.height
        self.origin_x = width / 2 - camera.x * width * camera.zoom
        self.origin_y = height / 2 - camera.y * height * camera.zoom
        tile_w, tile_h = layout.tile_w * self.scale_x, layout.tile_h * self.scale_y
        tiled = layout.tile_w < layout.width or layout.tile_h < layout.height
        smallest = min(tile_w, tile_h)
        self.tile_gap = bisect_right(TILE_GAPS_FROM, smallest) if tiled else 0
        self.lod = self._choose_lod(layout, tile_w, tile_h)
        cell_w, cell_h = self.lod.cell_w * self.scale_x, self.lod.cell_h * self.scale_y
        self.cell_gap = int(min(cell_w, cell_h) >= CELL_GAP_FROM) + int(min(cell_w, cell_h) >= 24)
        across, down = -(-layout.width // layout.tile_w), -(-layout.height // layout.tile_h)
        cells_x, cells_y = -(-layout.tile_w // self.lod.cell_w), -(-layout.tile_h // self.lod.cell_h)
        self._columns = Axis(self.origin_x, tile_w, across, cells_x, self.tile_gap, self.cell_gap, width)
        self._rows = Axis(self.origin_y, tile_h, down, cells_y, self.tile_gap, self.cell_gap, height)
        self._index_known, self._drawn = None, ()

    @property
    def _index(self) -> Intp:
        """Pyramid elements of the cells in sight, shape (rows, columns); too large outside of memory."""
        if self._index_known is None:
            if self.layout is None or self._columns is None or self._rows is None:
                return np.zeros((0, 0), np.intp)
            xs = np.arange(self._columns.first, self._columns.first + self._columns.count, dtype=np.intp)
            ys = np.arange(self._rows.first, self._rows.first + self._rows.count, dtype=np.intp)
            self._index_known = self.layout.index(self.lod, ys, xs)
            outside = self._index_known << self.lod.level >= self.layout.nr
            self._outside = outside if outside.any() else None
        return self._index_known

    def _choose_lod(self, layout: Layout, tile_w: float, tile_h: float) -> Lod:
        """The finest level whose every cell gets a pixel."""
        lods = layout.lods()
        for lod in lods:
            fits_x = layout.tile_w <= lod.cell_w * max(1, floor(tile_w) - self.tile_gap)
            fits_y = layout.tile_h <= lod.cell_h * max(1, floor(tile_h) - self.tile_gap)
            if fits_x and fits_y:
                return lod
        return lods[-1]

    def ranks(self, pyramid: Pyramid) -> U8:
        """The rank that each visible cell shows. The array is overwritten by the next call."""
        if not pyramid.levels or not self._index.size:
            return np.zeros(self._index.shape, np.uint8)
        level = pyramid.levels[min(self.lod.level, len(pyramid.levels) - 1)]
        index = self._index
        ranks, other = (
            _room(self._bytes, np.uint8, "ranks", index.shape),
            _room(self._bytes, np.uint8, "other", index.shape),
        )
        np.take(level, index, out=ranks, mode="clip")
        for plane in self.lod.planes[1:]:
            np.maximum(ranks, np.take(level[plane:], index, out=other, mode="clip"), out=ranks)
        return ranks

    def render(self, pyramid: Pyramid, palette: U32, background: int) -> U32:
        """The picture, shape (height, width), 0xffRRGGBB. The array is overwritten by the next call, which draws only
        rows of cells in which something has changed.
        """
        assert self._columns is not None, "set_view comes first"
        assert self._rows is not None
        ranks = self.ranks(pyramid)
        wide = _room(self._words, np.uint32, "wide", (ranks.shape[0] + 1, self.width))
        pixels = _room(self._words, np.uint32, "pixels", (self.height, self.width))
        drawn = (palette.tobytes(), background)
        changed = self._changed(ranks) if drawn == self._drawn else None
        if changed is None:
            self._widen(ranks, self._outside, palette, background, wide[:-1])
            wide[-1] = background
            np.take(wide, self._rows.pixel, axis=0, out=pixels, mode="clip")
        elif changed.any():
            outside = self._outside[changed[:-1]] if self._outside is not None else None
            wide[changed] = self._widen(ranks[changed[:-1]], outside, palette, background)
            lines = np.flatnonzero(changed[self._rows.pixel])
            pixels[lines] = wide[self._rows.pixel[lines]]
        self._drawn = drawn
        self._bytes["before"] = self._bytes.pop("ranks", ranks)
        return pixels

    def _changed(self, ranks: U8) -> npt.NDArray[np.bool_] | None:
        """Which rows of cells differ from those that were drawn last, shape (rows + 1): the last is no row; None: so
        many that all are drawn.
        """
        before = self._bytes.get("before")
        if before is None or before.shape != ranks.shape:
            return None
        differs = _room(self._bytes, np.uint8, "differs", ranks.shape).view(np.bool_)
        changed = np.zeros(ranks.shape[0] + 1, np.bool_)
        np.not_equal(ranks, before, out=differs).any(axis=1, out=changed[:-1])
        return changed if np.count_nonzero(changed) * 2 < changed.size else None

    def _widen(
        self, ranks: U8, outside: npt.NDArray[np.bool_] | None, palette: U32, background: int, out: U32 | None = None
    ) -> U32:
        """Rows of cells as lines of pixels, shape (rows, width)."""
        assert self._columns is not None
        rows, columns = ranks.shape
        colors = _room(self._words, np.uint32, "colors", ranks.shape)
        np.take(palette, ranks, out=colors, mode="clip")
        if outside is not None:
            colors[outside] = background
        cells = _room(self._words, np.uint32, "cells", (rows, columns + 1))
        cells[:, :-1], cells[:, -1] = colors, background
        return np.take(cells, self._columns.pixel, axis=1, out=out, mode="clip")

    def pfn_at(self, pyramid: Pyramid, x: int, y: int) -> int:
        """The page frame that a device pixel shows: of those that share its cell the one of that colour; -1: none."""
        if self.layout is None or self._columns is None or self._rows is None:
            return -1
        if not (0 <= x < self.width and 0 <= y < self.height):
            return -1
        column, row = int(self._columns.pixel[x]), int(self._rows.pixel[y])
        if column == self._columns.count or row == self._rows.count:
            return -1
        base, nr = int(self._index[row, column]), min(pyramid.nr, self.layout.nr)
        best, best_rank = -1, -1
        for plane in self.lod.planes:
            first = base + plane << self.lod.level
            if first < nr:
                run = pyramid.levels[0][first : min(first + (1 << self.lod.level), nr)]
                at = int(run.argmax())
                if int(run[at]) > best_rank:
                    best, best_rank = first + at, int(run[at])
        return best

    def frames(self) -> tuple[Intp, npt.NDArray[np.int64]] | None:
        """Page frames in sight and where each is drawn: pfns (n), and left, top, right, bottom (n, 4) in device pixels.

        None while a cell stands for more than one.
        """
        if self.lod.frames > 1 or self.layout is None or self._columns is None or self._rows is None:
            return None
        rows, columns = np.nonzero(self._index < self.layout.nr)
        edges = (self._columns.begin[columns], self._rows.begin[rows], self._columns.end[columns], self._rows.end[rows])
        return self._index[rows, columns], np.stack(edges, axis=1)

    def box(self, rect: Rect, whole: bool = False) -> tuple[int, int, int, int]:
        """Device pixels of a rectangle of cells: left, top, right, bottom (exclusive); ``whole``: with a tile's gap."""
        assert self.layout is not None
        gap = 0 if whole else self.tile_gap
        left, right = self._span(rect.x, rect.x + rect.w, self.origin_x, self.scale_x, self.layout.tile_w, gap)
        top, bottom = self._span(rect.y, rect.y + rect.h, self.origin_y, self.scale_y, self.layout.tile_h, gap)
        return left, top, right, bottom

    def _span(self, begin: int, end: int, origin: float, scale: float, tile: int, gap: int) -> tuple[int, int]:
        def edge(cell: int) -> int:
            number, inner = divmod(cell, tile)
            left = floor(origin + number * tile * scale + 0.5)
            width = floor(origin + (number + 1) * tile * scale + 0.5) - left - self.tile_gap
            return left + width * inner // tile

        last = end - 1
        right = edge(last) + max(1, edge(last + 1) - edge(last)) if (last + 1) % tile else 0
        if not right:
            right = floor(origin + (last // tile + 1) * tile * scale + 0.5) - gap
        return edge(begin), max(right, edge(begin) + 1)

    def visible(self) -> tuple[float, float, float, float]:
        """The part of the map that is seen, as fractions: left, top, right, bottom."""
        half = 0.5 / self.camera.zoom
        return self.camera.x - half, self.camera.y - half, self.camera.x + half, self.camera.y + half

    def sight(self) -> tuple[tuple[int, int], ...]:
        """Runs of page frames that are seen, to the unit of the largest block: (first, one past the last)."""
        if self.layout is None:
            return ()
        left, top, right, bottom = self.visible()
        xs = np.linspace(left * self.layout.width, right * self.layout.width - 1, _SAMPLES).astype(np.intp)
        ys = np.linspace(top * self.layout.height, bottom * self.layout.height - 1, _SAMPLES).astype(np.intp)
        pfns = self.layout.index(Lod(0, 1, 1), np.maximum(ys, 0), np.maximum(xs, 0)).ravel()
        units = np.unique(pfns[pfns < self.layout.nr] // _UNIT)
        if not units.size:
            return ()
        breaks = np.flatnonzero(np.diff(units) > 1)
        firsts = units[np.concatenate(([0], breaks + 1))]
        lasts = units[np.concatenate((breaks, [units.size - 1]))]
        return tuple(zip((firsts * _UNIT).tolist(), ((lasts + 1) * _UNIT).tolist(), strict=True))


def _room(kept: dict[str, npt.NDArray[S]], kind: type[S], name: str, shape: tuple[int, ...]) -> npt.NDArray[S]:
    """The array of that name, with whatever is in it. Arrays of this size are given back to the system when they are
    dropped: to take them anew with every picture would double what the picture costs.
    """
    found = kept.get(name)
    if found is None or found.shape != shape:
        found = kept[name] = np.empty(shape, kind)
    return found


def largest_zoom(layout: Layout, width: int, height: int) -> float:
    """The zoom at which a page frame is as wide as it need ever be."""
    return max(1.0, WIDEST_CELL * max(layout.width / max(width, 1), 0.6 * layout.height / max(height, 1)))


def clamp(camera: Camera, limit: float) -> Camera:
    """A camera that looks at the map, not beside it."""
    zoom = min(max(camera.zoom, 1.0), limit)
    half = 0.5 / zoom
    return Camera(zoom, min(max(camera.x, half), 1.0 - half), min(max(camera.y, half), 1.0 - half))


def zoom_about(camera: Camera, factor: float, x: float, y: float, limit: float) -> Camera:
    """Zoom so that the point of the map under ``x``, ``y`` (fractions of the view) stays there."""
    zoom = min(max(camera.zoom * factor, 1.0), limit)
    map_x, map_y = camera.x + (x - 0.5) / camera.zoom, camera.y + (y - 0.5) / camera.zoom
    return clamp(Camera(zoom, map_x - (x - 0.5) / zoom, map_y - (y - 0.5) / zoom), limit)
