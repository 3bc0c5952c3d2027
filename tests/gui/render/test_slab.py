"""The slab grid's rows, cells and words."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memviz.gui.render import slab
from memviz.snapshot import (
    OBJ_FREE,
    OBJ_USED,
    SLAB_CPU,
    SLAB_DTYPE,
    SLAB_FULL,
    SLAB_ISOLATED,
    SLAB_MIGRATING,
    SLAB_PARTIAL,
    Focus,
)
from tests.gui.synthetic import snapshot

ROWS = (
    (0x100, 2, 28, 20, SLAB_PARTIAL, 0),
    (0x1FE, 2, 28, 3, SLAB_PARTIAL, 1),  # reaches into the next pageblock
    (0x210, 2, 28, 28, SLAB_FULL, 0),
    (0x400, 2, 28, 9, SLAB_MIGRATING, 0),
    (0x500, 2, 28, 3, SLAB_PARTIAL, 0),
    (0x600, 2, 28, 15, SLAB_ISOLATED, 0),
)


def table() -> np.ndarray:
    return np.array(list(ROWS), SLAB_DTYPE)


@pytest.mark.parametrize(
    ("sort", "pfns"),
    [
        ("sparsest", [0x400, 0x600, 0x1FE, 0x500, 0x100, 0x210]),
        ("fullest", [0x600, 0x400, 0x210, 0x100, 0x1FE, 0x500]),
        ("address", [0x100, 0x1FE, 0x210, 0x400, 0x500, 0x600]),
    ],
)
def test_order(sort: str, pfns: list[int]) -> None:
    slabs = table()
    assert slabs["pfn"][slab.ordered(slabs, sort)].tolist() == pfns


def test_slabs_of_a_pageblock_count_those_that_reach_into_it() -> None:
    assert slab.in_block(table(), 0x210).tolist() == [False, True, True, False, False, False]
    assert slab.in_block(table(), 0x0).tolist() == [True, True, False, False, False, False]


def test_find_tells_which_are_gone() -> None:
    wanted = np.array([0x400, 0x101, 0x100, 0x9999], np.uint32)
    assert slab.find(table(), wanted).tolist() == [3, -1, 0, -1]
    assert slab.find(table()[:0], wanted).tolist() == [-1] * 4


def test_slab_of_a_page_frame() -> None:
    assert [slab.slab_of(table(), pfn) for pfn in (0xFF, 0x100, 0x103, 0x104, 0x201, 0x202, 0x603)] == [
        -1, 0, 0, -1, 1, -1, 5,
    ]  # fmt: skip


def test_addresses_and_numbers_are_inverse() -> None:
    for number in (0, 1, 27):
        address = slab.object_address(0x2A940, number, 584)
        assert slab.object_number(0x2A940, address, 584) == number
        assert slab.object_number(0x2A940, address + 583, 584) == number
    assert slab.object_address(0x2A940, 27, 584) >> 12 == 0x2A943


def test_words() -> None:
    slabs = table()
    assert slab.words(slabs[0]) == ("20/28", "", "ui.muted")
    assert slab.words(slabs[1]) == ("3/28", "slab locked", "tone.bad")
    assert slab.words(slabs[2]) == ("28/28", "", "ui.muted")
    assert slab.words(slabs[3]) == ("9/28", "moving", "slab.moving")
    assert slab.words(slabs[5]) == ("15/28", "isolated", "slab.isolated")
    assert slab.words(slabs[0], gone=True) == ("–", "freed", "tone.good")
    slabs["state"][0], slabs["refused"][4] = SLAB_CPU, 77
    assert slab.words(slabs[0])[1] == "on a CPU"
    assert slab.words(slabs[4])[1] == "refused"


def test_subtitle_says_what_a_filter_hides() -> None:
    one = snapshot()
    cache = one.caches[0]
    used = round(100 * cache.active / cache.total)
    whole = f"{used} % used · 120 slabs · 28 × 584 B a slab · xa_node"
    assert slab.subtitle(one, 120, -1) == whole
    assert slab.subtitle(one, 9, 340) == f"block 340: 9 of 120 slabs · {whole}"
    assert slab.subtitle(replace(one, focus=Focus(cache="no such")), 0, -1) == ""


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 512), st.integers(10, 1500), st.integers(8, 40), st.integers(3, 9))
def test_all_objects_of_a_slab_have_room(objects: int, width: int, row: int, least: int) -> None:
    grid = slab.fit(objects, width, row, least)
    assert grid.per_line * grid.lines >= objects
    assert grid.per_line * grid.pitch_x <= width or grid.per_line == 1
    assert grid.pitch_x >= least or grid.per_line == 1
    assert grid.row_height >= grid.lines


def test_golden_picture() -> None:
    sprites = np.zeros((8, 2, 3), np.uint32)
    sprites[OBJ_FREE], sprites[OBJ_USED] = 1, 2
    sprites[OBJ_USED, 1, 2] = 9
    states = np.array([[OBJ_USED, OBJ_FREE, OBJ_FREE], [OBJ_FREE, OBJ_USED, OBJ_USED]], np.uint8)
    pixels = slab.picture(sprites, states, slab.Grid(2, 2, 3, 2))
    assert pixels.tolist() == [
        [2, 2, 2, 1, 1, 1],
        [2, 2, 9, 1, 1, 1],
        [1, 1, 1, 0, 0, 0],
        [1, 1, 1, 0, 0, 0],
        [1, 1, 1, 2, 2, 2],
        [1, 1, 1, 2, 2, 9],
        [2, 2, 2, 0, 0, 0],
        [2, 2, 9, 0, 0, 0],
    ]
