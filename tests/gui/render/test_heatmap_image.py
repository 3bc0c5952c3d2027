"""Pixels: tiny golden pictures, nothing lost between pixels, and what is under a pixel is what its colour says."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memviz.gui.render.heatmap_image import Camera, HeatmapImage, clamp, largest_zoom, zoom_about
from memviz.gui.render.layout import Blocks, Hilbert, Layout, Rect, Rows
from memviz.gui.render.pyramid import Pyramid

ALL = Camera()
BACK = 0xFF0000FF
PALETTE = (0xFF000000 + 0x010000 * np.arange(32)).astype(np.uint32)
"""Rank r is red r: a pixel tells the rank."""


def shown(layout: Layout, raw: np.ndarray, width: int, height: int, camera: Camera = ALL) -> tuple:
    pyramid = Pyramid()
    pyramid.show(raw)
    image = HeatmapImage()
    image.set_view(layout, camera, width, height)
    return image, pyramid, image.render(pyramid, PALETTE, BACK)


def ranks_of(pixels: np.ndarray) -> np.ndarray:
    """Ranks of pixels; -1 for the background."""
    return np.where(pixels == BACK, -1, (pixels >> 16 & 255).astype(int))


def test_golden_rows_at_one_pixel_a_frame() -> None:
    raw = (np.arange(64) % 5 + 1).astype(np.uint8)
    _, _, pixels = shown(Rows(64, 5), raw, 32, 2)
    assert ranks_of(pixels).tolist() == raw.reshape(2, 32).tolist()


def test_golden_rows_enlarged_with_gaps() -> None:
    raw = np.arange(1, 33, dtype=np.uint8) % 30
    _, _, pixels = shown(Rows(32, 5), raw, 32 * 6, 6)
    line = [rank for value in raw.tolist() for rank in [value] * 5 + [-1]]
    assert ranks_of(pixels).tolist() == [line] * 5 + [[-1] * 192]


def test_golden_two_tiles_with_a_gap() -> None:
    raw = np.array([3] * 512 + [4] * 512, np.uint8)
    raw[0], raw[512 + 511] = 7, 9
    _, _, pixels = shown(Blocks(1024, 2), raw, 34, 33)
    expected = np.full((33, 34), -1)
    expected[:32, :16], expected[:32, 17:33] = 3, 4
    expected[0, 0], expected[31, 32] = 7, 9
    assert ranks_of(pixels).tolist() == expected.tolist()


def test_golden_fewer_pixels_than_frames_shows_the_rarest() -> None:
    raw = np.ones(64, np.uint8)
    raw[37] = 6
    image, _, pixels = shown(Rows(64, 5), raw, 8, 1)
    assert ranks_of(pixels).tolist() == [[1, 6, 1, 1, 1, 1, 1, 1]]
    assert (image.lod.frames, image.lod.cell_w, image.lod.cell_h) == (8, 4, 2)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2), st.integers(1, 40_000), st.integers(20, 300), st.integers(20, 300), st.integers(0, 2**32 - 1))
def test_a_single_rare_page_is_never_hidden(kind: int, nr: int, width: int, height: int, seed: int) -> None:
    layout = (Blocks.fitting(nr, width, height), Rows.fitting(nr, width, height), Hilbert(nr))[kind]
    raw = np.ones(nr, np.uint8)
    rare = seed % nr
    raw[rare] = 30
    image, pyramid, pixels = shown(layout, raw, width, height)
    lit = np.argwhere(ranks_of(pixels) == 30)
    assert lit.size, f"pfn {rare} of {nr} can't be seen"
    y, x = (int(value) for value in lit[0])
    assert image.pfn_at(pyramid, x, y) == rare


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 2),
    st.floats(1.0, 60.0),
    st.floats(0, 1),
    st.floats(0, 1),
    st.integers(30, 250),
    st.integers(30, 250),
)
def test_a_pixel_has_the_colour_of_the_frame_that_is_read_out_there(
    kind: int, zoom: float, x: float, y: float, width: int, height: int
) -> None:
    nr = 9_000
    layout = (Blocks.fitting(nr, width, height), Rows.fitting(nr, width, height), Hilbert(nr))[kind]
    raw = (np.random.default_rng(4).integers(1, 30, nr)).astype(np.uint8)
    camera = clamp(Camera(zoom, x, y), largest_zoom(layout, width, height))
    image, pyramid, pixels = shown(layout, raw, width, height, camera)
    ranks = ranks_of(pixels)
    for row in range(0, height, 7):
        for column in range(0, width, 5):
            pfn = image.pfn_at(pyramid, column, row)
            assert ranks[row, column] == (raw[pfn] if pfn >= 0 else ranks[row, column])
            assert pfn >= 0 or ranks[row, column] in (-1, 0)


@pytest.mark.parametrize("kind", [0, 1, 2])
@pytest.mark.parametrize("zoom", [1.0, 7.3, 40.0])
def test_the_box_of_a_frame_holds_its_colour(kind: int, zoom: float) -> None:
    nr = 4096
    layout: Layout = (Blocks(nr, 4), Rows(nr, 6), Hilbert(nr))[kind]
    raw = np.ones(nr, np.uint8)
    raw[1234] = 30
    x, y = layout.cell(1234)
    camera = clamp(Camera(zoom, (x + 0.5) / layout.width, (y + 0.5) / layout.height), 1e9)
    image, _, pixels = shown(layout, raw, 640, 480, camera)
    left, top, right, bottom = image.box(Rect(x, y, 1, 1))
    assert 0 <= left < right <= 640
    assert 0 <= top < bottom <= 480
    inside = ranks_of(pixels)[top:bottom, left:right]
    outside = ranks_of(pixels).copy()
    outside[top:bottom, left:right] = 0
    assert (inside == 30).any()
    assert not (outside == 30).any()


def test_frames_in_sight_are_listed_with_their_places() -> None:
    nr = 512
    raw = np.random.default_rng(5).integers(1, 30, nr).astype(np.uint8)
    image, _, pixels = shown(Blocks(nr, 1), raw, 16 * 20, 32 * 20)
    found = image.frames()
    assert found is not None
    pfns, boxes = found
    assert sorted(pfns.tolist()) == list(range(nr))
    for pfn, (left, top, right, bottom) in zip(pfns.tolist(), boxes.tolist(), strict=True):
        assert (ranks_of(pixels)[top:bottom, left:right] == raw[pfn]).all()


def test_zooming_about_a_point_keeps_it_there() -> None:
    camera = Camera(2.0, 0.4, 0.6)
    closer = zoom_about(camera, 1.5, 0.8, 0.3, 100.0)

    def under(one: Camera) -> tuple[float, float]:
        return one.x + (0.8 - 0.5) / one.zoom, one.y + (0.3 - 0.5) / one.zoom

    assert closer.zoom == 3.0
    assert under(closer) == pytest.approx(under(camera))
    assert zoom_about(camera, 0.01, 0.8, 0.3, 100.0) == Camera(1.0, 0.5, 0.5)


def test_buffers_are_used_again_while_nothing_moves() -> None:
    image, pyramid, first = shown(Rows(64, 5), np.ones(64, np.uint8), 64, 4)
    assert image.render(pyramid, PALETTE, BACK) is first


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2), st.integers(1, 3), st.data())
def test_what_is_drawn_over_an_older_picture_is_what_is_drawn_anew(
    kind: int, changes: int, data: st.DataObject
) -> None:
    nr = 4096 + 512 * data.draw(st.integers(0, 3))
    layout: Layout = (Blocks(nr, 4), Rows(nr, 6), Hilbert(nr))[kind]
    raw = np.ones(nr, np.uint8)
    camera = data.draw(st.sampled_from([ALL, Camera(3.0, 0.4, 0.5), Camera(20.0, 0.2, 0.7)]))
    image, pyramid, _ = shown(layout, raw, 150, 130, camera)
    for _ in range(changes):
        for _ in range(data.draw(st.integers(0, 30))):
            raw[data.draw(st.integers(0, nr - 1))] = data.draw(st.integers(0, 31))
        pyramid.show(raw)
        back = data.draw(st.sampled_from([BACK, BACK + 1]))
        palette = data.draw(st.sampled_from([PALETTE, PALETTE[::-1].copy()]))
        camera = data.draw(st.sampled_from([camera, camera, camera._replace(x=camera.x + 0.003)]))
        image.set_view(layout, camera, 150, 130)
        fresh = HeatmapImage()
        fresh.set_view(layout, camera, 150, 130)
        assert np.array_equal(image.render(pyramid, palette, back), fresh.render(pyramid, palette, back))
