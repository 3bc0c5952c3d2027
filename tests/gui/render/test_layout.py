"""Layouts are bijections, place buddy blocks as rectangles, and agree with themselves at every level of detail."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memviz.gui.render.layout import Blocks, Hilbert, Layout, Lod, Rect, Rows


def layouts(nr: int, columns: int) -> tuple[Layout, ...]:
    return Blocks(nr, columns), Rows(nr, 5 + columns % 4), Hilbert(nr)


def grid(layout: Layout, lod: Lod) -> np.ndarray:
    """Pyramid elements of the whole map at a level of detail."""
    ys = np.arange(-(-layout.height // lod.cell_h), dtype=np.intp)
    xs = np.arange(-(-layout.width // lod.cell_w), dtype=np.intp)
    return layout.index(lod, ys, xs)


sizes = st.integers(1, 6000)
columns = st.integers(1, 9)


@settings(max_examples=30, deadline=None)
@given(sizes, columns)
def test_every_page_frame_has_one_cell_and_every_cell_at_most_one(nr: int, columns: int) -> None:
    for layout in layouts(nr, columns):
        pfns = grid(layout, Lod(0, 1, 1)).ravel()
        assert sorted(pfns[pfns < nr].tolist()) == list(range(nr)), type(layout).__name__


@settings(max_examples=30, deadline=None)
@given(sizes, columns, st.data())
def test_cell_and_pfn_are_inverse(nr: int, columns: int, data: st.DataObject) -> None:
    for layout in layouts(nr, columns):
        pfn = data.draw(st.integers(0, nr - 1))
        x, y = layout.cell(pfn)
        assert layout.pfn(x, y) == pfn
        assert grid(layout, Lod(0, 1, 1))[y, x] == pfn


@settings(max_examples=20, deadline=None)
@given(sizes, columns)
def test_a_coarse_cell_holds_exactly_the_frames_below_it(nr: int, columns: int) -> None:
    for layout in layouts(nr, columns):
        fine = grid(layout, Lod(0, 1, 1))
        for lod in layout.lods()[:8]:
            coarse = grid(layout, lod)
            y, x = coarse.shape[0] // 2, coarse.shape[1] // 3
            below = fine[y * lod.cell_h : (y + 1) * lod.cell_h, x * lod.cell_w : (x + 1) * lod.cell_w]
            named = {
                (int(coarse[y, x]) + plane << lod.level) + inner
                for plane in lod.planes
                for inner in range(1 << lod.level)
            }
            assert {pfn for pfn in below.ravel().tolist() if pfn < nr} == {pfn for pfn in named if pfn < nr}


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 6), columns, st.integers(0, 10), st.data())
def test_a_buddy_block_is_drawn_as_its_rectangles(blocks: int, columns: int, order: int, data: st.DataObject) -> None:
    nr = blocks * 1024
    pfn = data.draw(st.integers(0, nr - 1))
    first = pfn >> order << order
    for layout in layouts(nr, columns):
        fine = grid(layout, Lod(0, 1, 1))
        covered = np.concatenate([fine[r.y : r.y + r.h, r.x : r.x + r.w].ravel() for r in layout.rects(pfn, order)])
        assert sorted(covered.tolist()) == list(range(first, first + (1 << order))), type(layout).__name__


def test_hilbert_neighbours_in_memory_are_neighbours_on_the_map() -> None:
    layout = Hilbert(1 << 12)
    cells = [layout.cell(pfn) for pfn in range(layout.nr)]
    assert (layout.width, layout.height) == (64, 64)
    assert all(abs(a[0] - b[0]) + abs(a[1] - b[1]) == 1 for a, b in itertools.pairwise(cells))


@settings(max_examples=30, deadline=None)
@given(st.integers(1 << 12, 1 << 21), st.data())
def test_a_part_of_hilbert_s_curve_is_numbered_as_its_cells_are(nr: int, data: st.DataObject) -> None:
    layout = Hilbert(nr)
    lod = data.draw(st.sampled_from([lod for lod in layout.lods() if layout.height >> lod.level // 2 > 40]))
    width, height = layout.width // lod.cell_w, layout.height // lod.cell_h
    x, y = data.draw(st.integers(0, width - 20)), data.draw(st.integers(0, height - 20))
    xs = np.arange(x, data.draw(st.integers(x + 17, width)), dtype=np.intp)
    ys = np.arange(y, data.draw(st.integers(y + 17, height)), dtype=np.intp)
    found = layout.index(lod, ys, xs)
    assert found.shape == (ys.size, xs.size)
    for _ in range(20):
        row, column = data.draw(st.integers(0, ys.size - 1)), data.draw(st.integers(0, xs.size - 1))
        at = layout.cell(int(found[row, column]) << lod.level)
        assert (at[0] // lod.cell_w, at[1] // lod.cell_h) == (xs[column], ys[row])


def test_hilbert_of_an_odd_power_is_two_squares_that_meet() -> None:
    layout = Hilbert(1 << 13)
    assert (layout.width, layout.height) == (128, 64)
    assert (layout.cell(4095), layout.cell(4096)) == ((63, 0), (64, 0))


def test_a_tile_is_a_pageblock_with_even_bits_down_and_odd_bits_right() -> None:
    layout = Blocks(4 * 512, 3)
    assert (layout.tile_w, layout.tile_h, layout.width, layout.height) == (16, 32, 48, 64)
    assert [layout.cell(pfn) for pfn in (0, 1, 2, 3, 4, 511, 512, 3 * 512)] == [
        (0, 0), (0, 1), (1, 0), (1, 1), (0, 2), (15, 31), (16, 0), (0, 32),
    ]  # fmt: skip
    assert layout.rects(512, 9) == (Rect(16, 0, 16, 32),)
    assert layout.rects(1024, 10) == (Rect(32, 0, 16, 32), Rect(0, 32, 16, 32))
    assert layout.pfn(16, 32) == -1
    assert layout.pfn(-1, 0) == -1


def test_the_reference_window_gets_32_columns_of_16() -> None:
    layout = Blocks.fitting(262_144, 873, 520)
    assert (layout.columns, layout.height // layout.tile_h) == (32, 16)


@pytest.mark.parametrize("nr", [1, 500, 8192, 262_144, 1 << 20])
@pytest.mark.parametrize(("width", "height"), [(900, 500), (300, 900), (1, 1), (4000, 60)])
def test_fitting_layouts_leave_little_of_the_view_empty(nr: int, width: int, height: int) -> None:
    for layout in (Blocks.fitting(nr, width, height), Rows.fitting(nr, width, height)):
        assert layout.width * layout.height >= nr
        assert layout.width * layout.height < 2.2 * max(nr, 512)
