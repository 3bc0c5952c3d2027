"""Which nodes are shown, where, and with which words."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memviz.gui.render import tree
from memviz.snapshot import NODE_DTYPE, NODE_MOVED, NODE_NEW, NODE_RCU, Focus, XArrayInfo
from tests.gui.synthetic import snapshot

ADDR = 0x1000000


def grown(middle: int, leaves: int) -> np.ndarray:
    """A root, ``middle`` nodes below it and ``leaves`` below each of those."""
    nodes = np.zeros(1 + middle + middle * leaves, NODE_DTYPE)
    nodes["addr"] = ADDR + 584 * np.arange(nodes.size)
    nodes["shift"][0], nodes["parent"][0] = 12, -1
    nodes["shift"][1 : 1 + middle] = 6
    nodes["offset"][1 : 1 + middle] = np.arange(middle)
    nodes["parent"][1 + middle :] = np.repeat(np.arange(1, 1 + middle), leaves)
    nodes["offset"][1 + middle :] = np.tile(np.arange(leaves), middle)
    nodes["count"] = 1
    return nodes


def assert_sound(drawing: tree.Drawing, nodes: np.ndarray) -> None:
    """Nothing overlaps, nothing lies outside, nobody is lost: each child of a shown node is shown or counted."""
    places = [(box.x, box.y, box.w, box.h) for box in drawing.boxes]
    places += [(more.x, more.y, more.w, more.h) for more in drawing.more]
    for (x0, y0, w0, h0), (x1, y1, w1, h1) in itertools.combinations(places, 2):
        assert x0 + w0 <= x1 + 0.01 or x1 + w1 <= x0 + 0.01 or y0 + h0 <= y1 or y1 + h1 <= y0
    for x, y, w, h in places:
        assert x >= -0.01
        assert x + w <= drawing.width + 0.01
        assert 0 <= y
        assert y + h <= drawing.height
    shown = {box.row for box in drawing.boxes}
    hidden = {more.parent: more.hidden for more in drawing.more}
    for row in shown:
        children = set(np.flatnonzero(nodes["parent"] == row).tolist())
        assert len(children - shown) == hidden.get(row, 0)
    assert len(drawing.edges) == len(drawing.boxes) + len(drawing.more) - sum(box.parent < 0 for box in drawing.boxes)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 20), st.integers(0, 64), st.integers(80, 2000), st.lists(st.integers(0, 1300), max_size=6))
def test_any_tree_in_any_width(middle: int, leaves: int, width: int, lively: list[int]) -> None:
    nodes = grown(middle, leaves)
    for row in lively:
        nodes["readers"][row % nodes.size] = 1
    drawing = tree.draw(nodes, (float(width), 200.0))
    assert_sound(drawing, nodes)
    shown = {box.row for box in drawing.boxes}
    assert {row % nodes.size for row in lively} <= shown


@pytest.mark.parametrize("leaves", [5, 8, 20])
def test_something_happens_below_every_one_of_more_than_fit(leaves: int) -> None:
    """All leaves were just moved, in a narrow panel: there is no plain one to leave out."""
    nodes = grown(1, leaves)
    nodes["state"][2:] = NODE_MOVED
    drawing = tree.draw(nodes, (200.0, 200.0))
    assert_sound(drawing, nodes)
    assert len(drawing.boxes) == 2 + min(leaves, tree.MOST_LIVELY)


def test_a_tree_that_fits_is_shown_whole_parents_centred_over_children() -> None:
    drawing = tree.draw(grown(2, 2), (750.0, 200.0))
    boxes = {box.row: box for box in drawing.boxes}
    assert sorted(boxes) == list(range(7))
    assert drawing.more == ()

    def middle(row: int) -> float:
        return boxes[row].x + boxes[row].w / 2

    assert middle(1) == pytest.approx((middle(3) + middle(4)) / 2)
    assert middle(0) == pytest.approx((middle(1) + middle(2)) / 2)
    assert boxes[0].y < boxes[1].y == boxes[2].y < boxes[3].y == boxes[6].y


def test_a_wide_tree_is_gathered_and_opened_on_request() -> None:
    nodes = grown(60, 64)
    drawing = tree.draw(nodes, (750.0, 200.0))
    assert drawing.width == 750.0
    assert len(drawing.boxes) < 12
    assert sum(more.hidden for more in drawing.more if more.parent == 0) > 50
    opened = tree.draw(nodes, (750.0, 200.0), expanded=(int(nodes["addr"][1]),))
    assert {box.row for box in opened.boxes} >= set(np.flatnonzero(nodes["parent"] == 1).tolist())
    assert opened.width > 750.0
    assert_sound(opened, nodes)


def test_the_selected_node_is_shown_however_deep() -> None:
    nodes = grown(60, 64)
    row = 61 + 64 * 40 + 33
    drawing = tree.draw(nodes, (750.0, 200.0), picked=int(nodes["addr"][row]))
    assert {row, 41, 0} <= {box.row for box in drawing.boxes}


def test_states_are_told_in_words() -> None:
    nodes = grown(1, 5)
    nodes["state"][[2, 3, 4]] = (NODE_MOVED, NODE_RCU, NODE_NEW)
    nodes["readers"][5], nodes["readers"][6] = 0b100, 0b1010
    boxes = {box.row: box for box in tree.draw(nodes, (900.0, 200.0)).boxes}
    assert boxes[0].label == "shift 12 · 1"
    assert (boxes[2].label, boxes[2].captions) == ("copy → new", (("published", "node.just moved"),))
    assert (boxes[3].label, boxes[3].captions) == ("victim", (("waiting for RCU", "node.waiting for RCU"),))
    assert (boxes[4].label, boxes[4].captions) == ("new", (("not yet published", "node.allocated"),))
    assert boxes[5].captions == (("◆ reader on CPU 2", "tone.info"),)
    assert boxes[6].captions == (("◆ readers on CPUs 1, 3", "tone.info"),)


def test_a_victim_without_a_parent_stands_beside_the_tree_on_its_level() -> None:
    nodes = grown(2, 2)
    nodes["parent"][6], nodes["state"][6] = -1, NODE_RCU
    drawing = tree.draw(nodes, (900.0, 200.0))
    boxes = {box.row: box for box in drawing.boxes}
    assert boxes[6].y == boxes[5].y
    assert_sound(drawing, nodes)


def test_a_parent_that_is_not_there_does_no_harm() -> None:
    nodes = grown(1, 1)
    nodes["parent"][2] = 99
    assert len(tree.draw(nodes, (300.0, 100.0)).boxes) == 3


def test_golden_bar() -> None:
    colors = np.array([0, 1, 2, 3, 4, 5], np.uint32)
    used, mark = 0b1011, 0b1000
    pixels = tree.bar(used, (0, mark, 0), colors, 64, 5, 2)
    assert pixels[0].tolist() == [2, 2, 1, 2] + [1] * 60
    assert pixels[2].tolist() == pixels[0].tolist()
    assert pixels[3].tolist() == [0] * 64  # a gap, then the line of the mark
    assert pixels[4].tolist() == [0, 0, 0, 4] + [0] * 60


def test_a_bar_of_few_pixels_hides_no_slot() -> None:
    colors = np.array([0, 1, 2, 3, 4, 5], np.uint32)
    for slot in (0, 17, 63):
        assert np.count_nonzero(tree.bar(1 << slot, (0, 0, 0), colors, 20, 3, 2)[0] == 2) == 1


def test_a_wide_bar_has_gaps() -> None:
    colors = np.array([0, 1, 2, 3, 4, 5], np.uint32)
    assert tree.bar(0b101, (0, 0, 0), colors, 192, 2, 2)[0].tolist() == [2, 2, 0, 1, 1, 0, 2, 2, 0] + [1, 1, 0] * 61


def test_subtitle_of_the_xarray_that_is_shown() -> None:
    one = snapshot()
    assert tree.subtitle(one) == "file 17 · i_pages · 9 nodes · height 3"
    assert tree.subtitle(replace(one, focus=Focus(xarray=2))) == "file 3 · i_pages · 3 nodes · height 2"
    single = (XArrayInfo(5, "ida", 1, 1, 3, False),)
    assert tree.subtitle(replace(one, xarrays=single)) == "ida · 1 node · height 1"
    assert tree.subtitle(replace(one, xarrays=())) == ""


def test_moved_nodes_are_paired_with_what_they_replace_once() -> None:
    before, now = grown(1, 3), grown(1, 3)
    before["index"][2:] = now["index"][2:] = [0, 64, 128]
    now["addr"][3], now["state"][3] = 0x7777000, NODE_MOVED
    assert tree.moved_pairs(before, now) == [(int(before["addr"][3]), 0x7777000)]
    assert tree.moved_pairs(now, now) == []
    assert tree.moved_pairs(before[:0], now) == []
