"""The map's words."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memviz.gui.render import heatmap_modes, heatmap_text
from memviz.gui.render.layout import Blocks, Hilbert, Lod, Rect, Rows
from memviz.gui.render.pyramid import Pyramid
from memviz.kernel import page
from memviz.snapshot import PageDetail, Pages, Snapshot, Zone


def snapshot() -> Snapshot:
    owner = np.full(1024, page.OWNER_ANON, np.uint8)
    order = np.zeros(1024, np.uint8)
    owner[512:520], order[512], order[513:520] = page.OWNER_FREE, 3, 255
    flags = np.zeros(1024, np.uint8)
    flags[5] = page.PG_PINNED | page.PG_DIRTY
    stamp = np.zeros(1024, np.uint32)
    stamp[5] = 800
    zone = Zone("Normal", 0, 1024, 1024, 1000, 8, 0, 1, 2, 3, 4, 0, ((0,) * 5,) * 11)
    return Snapshot(
        seq=1, time_ns=4_000_000_000, ops=0, title="", source="simulation", state="paused", zones=(zone,),
        pages=Pages(owner, order, flags, stamp), pageblock_mt=np.array([1, 255], np.uint8),
    )  # fmt: skip


def test_read_out() -> None:
    one = snapshot()
    assert heatmap_text.readout(one, 5) == (
        "pfn 0x5", "block 0 · Movable", "anonymous", "order 0", "pinned, dirty", "since 3.2 s",
    )  # fmt: skip
    assert heatmap_text.readout(one, 512) == ("pfn 0x200", "block 1 · type unknown", "free", "order 3")
    assert heatmap_text.readout(one, 519)[-1] == "order 3, from 0x200"
    assert heatmap_text.readout(one, -1) == heatmap_text.readout(one, 1024) == ()


def test_read_out_prefers_what_the_source_says_about_that_frame() -> None:
    detail = PageDetail(5, "Normal", 0, "Movable", "anonymous", 0, "slab xa_node 11/28 used, pinned by 1 object")
    one = replace(snapshot(), detail=detail)
    assert heatmap_text.readout(one, 5)[2:] == ("slab xa_node 11/28 used, pinned by 1 object",)
    assert heatmap_text.readout(one, 6)[2] == "anonymous"


def test_a_block_nobody_knows() -> None:
    one = snapshot()
    blind = replace(one, pages=replace(one.pages, order=np.full(1024, 255, np.uint8)))
    assert heatmap_text.block_of(blind, 5) is None
    assert heatmap_text.readout(blind, 512) == ("pfn 0x200", "block 1 · type unknown", "free")


def test_subtitle_and_what_is_a_hundred_per_cent() -> None:
    one = snapshot()
    assert heatmap_text.subtitle(one, 1024) == "1,024 page frames · zone Normal · 2 pageblocks"
    hidden = "512 of 1,024 page frames are shown: nobody manages the last 512 · zone Normal · 2 pageblocks"
    assert heatmap_text.subtitle(one, 512) == hidden
    assert heatmap_text.managed_frames(one) == 1000
    assert heatmap_text.managed_frames(replace(one, zones=())) == 1024


def test_lod_is_told_when_a_cell_is_more_than_a_frame() -> None:
    assert heatmap_text.lod_words(Lod(0, 1, 1)) == ""
    assert heatmap_text.lod_words(Lod(6, 8, 8)) == ("a dot is 64 frames and shows the rarest; percentages count all")


@pytest.mark.parametrize("layout", [Blocks(1024, 2), Rows(1024, 5)])
def test_totals_are_exact(layout: Blocks | Rows) -> None:
    raw = np.random.default_rng(6).integers(1, 5, 1024).astype(np.uint8)
    pyramid = Pyramid()
    pyramid.show(raw)
    box = Rect(3, 2, 11, 20)
    found = heatmap_text.totals(layout, pyramid, box)
    pfns = [layout.pfn(x, y) for x in range(3, 14) for y in range(2, 22)]
    assert found.frames == 220
    assert (found.first, found.last) == (min(pfns), max(pfns))
    assert np.array_equal(found.per_rank, np.bincount(raw[pfns], minlength=256))


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_totals_of_any_box_in_any_layout(data: st.DataObject) -> None:
    nr = data.draw(st.integers(1, 9000))
    layout = data.draw(
        st.sampled_from(
            (Blocks.fitting(nr, 300, 200), Blocks.fitting(nr, 300, 200, 10), Rows.fitting(nr, 300, 200), Hilbert(nr))
        )
    )
    raw = np.random.default_rng(nr).integers(0, 5, nr).astype(np.uint8)
    pyramid = Pyramid()
    pyramid.show(raw)
    x, y = (data.draw(st.integers(-3, side)) for side in (layout.width, layout.height))
    w, h = (data.draw(st.integers(1, side + 5)) for side in (layout.width, layout.height))
    found = heatmap_text.totals(layout, pyramid, Rect(x, y, w, h))
    across, down = range(max(x, 0), min(x + w, layout.width)), range(max(y, 0), min(y + h, layout.height))
    at = layout.index(Lod(0, 1, 1), np.array(down, np.intp), np.array(across, np.intp)).ravel()
    pfns = at[at < nr]
    assert found.frames == pfns.size
    assert np.array_equal(found.per_rank, np.bincount(raw[pfns], minlength=256))
    if pfns.size:
        assert (found.first, found.last) == (pfns.min(), pfns.max())


def test_totals_of_a_huge_memory() -> None:
    raw = np.random.default_rng(7).integers(0, 5, 1 << 21).astype(np.uint8)
    pyramid = Pyramid()
    pyramid.show(raw)
    for layout in (Blocks.fitting(raw.size, 3, 2, 10), Rows.fitting(raw.size, 3, 2), Hilbert(raw.size)):
        found = heatmap_text.totals(layout, pyramid, Rect(0, 0, layout.width, layout.height))
        assert np.array_equal(found.per_rank, np.bincount(raw, minlength=256))
        assert (found.first, found.last) == (0, raw.size - 1)


def test_totals_of_a_box_beyond_memory() -> None:
    pyramid = Pyramid()
    pyramid.show(np.full(700, 2, np.uint8))
    found = heatmap_text.totals(Blocks(700, 2), pyramid, Rect(0, 0, 32, 32))
    assert (found.frames, found.first, found.last, int(found.per_rank[2])) == (700, 0, 699, 700)
    assert heatmap_text.totals(Blocks(700, 2), pyramid, Rect(30, 30, 2, 2)).frames == 0


def test_totals_in_words() -> None:
    per_rank = np.zeros(256, np.int64)
    per_rank[2], per_rank[4], per_rank[5] = 100, 900, 24
    found = heatmap_text.Totals(1024, per_rank, 0x40, 0x5FF)
    assert heatmap_text.totals_words(heatmap_modes.labels(heatmap_modes.mode("owner")), found) == (
        "box: 1,024 page frames, 4 MiB", "0x40 to 0x5ff", "page cache 88 %", "free 10 %", "anonymous 2 %",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "pfn"),
    [("0x2a", 42), (" 42 ", 42), ("1,023", 1023), ("b1", 512), ("block 1", 512), ("@2a000", 42), ("@0x2afff", 42)],
)
def test_page_frames_as_people_type_them(text: str, pfn: int) -> None:
    assert heatmap_text.parse_pfn(text, 1024) == pfn


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "names no page frame"),
        ("xyz", "names no page frame"),
        ("1024", "ends at 0x3ff"),
        ("-1", "outside of this memory"),
    ],
)
def test_what_is_no_page_frame_is_told_in_one_sentence(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says) as caught:
        heatmap_text.parse_pfn(text, 1024)
    assert "\n" not in str(caught.value)
