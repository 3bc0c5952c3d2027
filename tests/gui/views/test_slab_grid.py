"""The slab grid as a person uses it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PySide6.QtCore import QPoint, QPointF, Qt
from PySide6.QtGui import QColor
from pytestqt.qtbot import QtBot

from memviz.gui.selection import Selection
from memviz.gui.theme import Theme
from memviz.gui.views.slab_grid import SlabGridView
from memviz.snapshot import (
    OBJ_BUSY,
    OBJ_FREE,
    OBJ_ISOLATED,
    OBJ_MOVING,
    OBJ_RCU,
    OBJ_SHEAF,
    OBJ_STATE_NAMES,
    OBJ_USED,
    SLAB_DTYPE,
    Snapshot,
)
from tests.gui.synthetic import SyntheticSource, empty_snapshot, snapshot


@pytest.fixture
def view(qtbot: QtBot, selection: Selection, theme: Theme) -> SlabGridView:
    view = SlabGridView(selection, theme)
    qtbot.addWidget(view)
    view.resize(720, 240)
    with qtbot.waitExposed(view):
        view.show()
    view.show_snapshot(snapshot(65_536))
    return view


def middle(view: SlabGridView, row: int, number: int) -> QPoint:
    """The middle of an object's cell on the widget."""
    return (view._cell(number).center() + QPointF(0, row * view._row_height())).toPoint()


def with_states(one: Snapshot, pfn: int, states: list[int]) -> Snapshot:
    objects = one.objects.copy()
    row = int(np.flatnonzero(one.slabs["pfn"] == pfn)[0])
    objects[row, : len(states)] = states
    return replace(one, seq=one.seq + 1, objects=objects)


def test_sparsest_first_and_by_the_menu_fullest_first(view: SlabGridView) -> None:
    slabs = view.snapshot.slabs
    inuse = dict(zip(slabs["pfn"].tolist(), slabs["inuse"].tolist(), strict=True))
    shown = [inuse[pfn] for pfn in view._shown_pfns.tolist()]
    assert shown == sorted(shown)
    view._fill_sorts()
    next(action for action in view.sort_button.menu().actions() if action.data() == "fullest").trigger()
    assert [inuse[pfn] for pfn in view._shown_pfns.tolist()] == sorted(shown, reverse=True)
    assert view.sort_button.text() == "Fullest ▾"


def test_every_state_has_a_colour_and_a_sign_of_its_own(view: SlabGridView) -> None:
    states = [OBJ_FREE, OBJ_USED, OBJ_SHEAF, OBJ_RCU, OBJ_ISOLATED, OBJ_MOVING, OBJ_BUSY]
    first = int(view._shown_pfns[0])
    view.show_snapshot(with_states(view.snapshot, first, states))
    image = view.grab().toImage()
    pictures = set()
    for number, state in enumerate(states):
        rect = view._cell(number).toRect()
        corner = rect.topLeft() + QPoint(3, 2)
        cell = image.copy(rect.adjusted(2, 2, -3, -3))
        if state not in (OBJ_ISOLATED,):  # hatched all over
            expected = view.theme.color(f"object.{OBJ_STATE_NAMES[state]}").name()
            assert QColor(image.pixel(corner)).name() == expected, OBJ_STATE_NAMES[state]
        grey = cell.convertToFormat(cell.Format.Format_Grayscale8)
        shape = tuple(
            abs(QColor(grey.pixel(x, y)).red() - QColor(grey.pixel(0, 0)).red()) > 40
            for x in range(grey.width()) for y in range(grey.height())
        )  # fmt: skip
        pictures.add((shape, state in (OBJ_FREE, OBJ_USED) and state))
    assert len(pictures) == len(states)  # told apart without colour, but for free and in use: dark and light


def test_a_click_selects_the_object_and_the_page_frame_it_lies_on(
    qtbot: QtBot, view: SlabGridView, selection: Selection
) -> None:
    pfn = int(view._shown_pfns[2])
    qtbot.mouseClick(view, Qt.MouseButton.LeftButton, pos=middle(view, 2, 13))
    assert selection.now.object == (pfn << 12) + 13 * 584
    assert selection.now.pfn == pfn + 13 * 584 // 4096
    qtbot.mouseClick(view, Qt.MouseButton.LeftButton, pos=QPoint(10, int(1.5 * view._row_height())))
    assert selection.now.pfn == int(view._shown_pfns[1])
    assert selection.now.object == -1


def test_a_page_frame_selected_elsewhere_is_scrolled_to_and_framed(view: SlabGridView, selection: Selection) -> None:
    row = view._shown_pfns.size - 20
    selection.select_page(int(view._shown_pfns[row]) + 1)
    top = view._bar.value()
    assert top <= row < top + view._rows_in_sight()
    image = view.grab().toImage()
    y = round((row - top) * view._row_height() - 1)
    plain = view.theme.color("ui.panel").name()
    assert any(QColor(image.pixel(view.width() - 150, y + dy)).name() != plain for dy in (-1, 0, 1))


def test_keys_walk_through_slabs_and_objects(qtbot: QtBot, view: SlabGridView, selection: Selection) -> None:
    view.setFocus()
    qtbot.keyClick(view, Qt.Key.Key_Down)
    assert selection.now.pfn == int(view._shown_pfns[0])
    qtbot.keyClick(view, Qt.Key.Key_Right)
    qtbot.keyClick(view, Qt.Key.Key_Right)
    assert selection.now.object == (int(view._shown_pfns[0]) << 12) + 584
    qtbot.keyClick(view, Qt.Key.Key_Down)
    assert selection.now.object == (int(view._shown_pfns[1]) << 12) + 584
    qtbot.keyClick(view, Qt.Key.Key_End)
    assert selection.now.pfn >> 2 == int(view._shown_pfns[-1]) >> 2
    assert view._bar.value() == view._bar.maximum()


def test_a_slab_that_is_freed_says_so_in_its_row(view: SlabGridView) -> None:
    from memviz.gui.render import slab

    before = view._shown_pfns.copy()
    one = view.snapshot
    keep = one.slabs["pfn"] != before[0]
    less = replace(one, seq=one.seq + 1, slabs=one.slabs[keep], objects=one.objects[keep])
    view.show_snapshot(less)
    assert np.array_equal(view._shown_pfns, before)  # rows hold still
    assert slab.find(less.slabs, view._shown_pfns)[:2].tolist()[0] == -1
    assert not view.grab().isNull()
    view._sorted_at = 0.0
    view.show_snapshot(less)
    assert before[0] not in view._shown_pfns


def test_only_slabs_of_the_selected_pageblock_and_what_that_hides(
    qtbot: QtBot, view: SlabGridView, selection: Selection
) -> None:
    pfn = int(view._shown_pfns[40])
    selection.select_page(pfn)
    view.block_button.click()
    expected = [one for one in view.snapshot.slabs["pfn"].tolist() if one >> 9 == pfn >> 9 or one + 3 >> 9 == pfn >> 9]
    assert sorted(view._shown_pfns.tolist()) == sorted(expected)
    assert view.header.subtitle.startswith(f"block {pfn >> 9}: {len(expected)} of 120 slabs")
    taken = {one + part >> 9 for one in view.snapshot.slabs["pfn"].tolist() for part in (0, 3)}
    empty = min(set(range(128)) - taken)
    selection.select_page(empty << 9)
    assert view._shown_pfns.size == 0
    assert f"None lies in block {empty}: 120 are hidden" in view._why_empty(view.snapshot)
    view.block_button.click()
    assert view._shown_pfns.size == 120


def test_another_cache_is_asked_for(view: SlabGridView, selection: Selection) -> None:
    view._fill_caches()
    texts = [action.text() for action in view.cache_button.menu().actions()]
    assert [text.split()[0] for text in texts] == ["dentry", "inode_cache", "xa_node"]
    assert "movable" in texts[0]
    assert "movable" not in texts[1]
    view.cache_button.menu().actions()[1].trigger()
    assert selection.focus.cache == "inode_cache"


@pytest.mark.parametrize("objects", [1, 3, 64, 512])
def test_slabs_of_few_and_of_many_objects(view: SlabGridView, objects: int) -> None:
    one = view.snapshot
    slabs = np.zeros(50, SLAB_DTYPE)
    slabs["pfn"], slabs["objects"] = np.arange(50), min(objects, 255)
    states = np.full((50, objects), OBJ_USED, np.uint8)
    view.show_snapshot(replace(one, seq=2, slabs=slabs, objects=states))
    image = view.grab().toImage()
    last = view._cell(objects - 1).center().toPoint()
    assert last.x() < view.width() - view._right
    assert image.pixel(last) == view.theme.color("object.in use").rgb()


def test_a_hundred_thousand_slabs_are_scrolled(view: SlabGridView) -> None:
    nr = 100_000
    slabs = np.zeros(nr, SLAB_DTYPE)
    slabs["pfn"], slabs["objects"], slabs["inuse"] = np.arange(nr) * 4, 28, np.arange(nr) % 29
    view.show_snapshot(replace(view.snapshot, seq=2, slabs=slabs, objects=np.full((nr, 28), OBJ_FREE, np.uint8)))
    view._sorted_at = 0.0
    view.show_snapshot(replace(view.snapshot, seq=3))
    view._bar.setValue(view._bar.maximum())
    assert view._bar.maximum() + view._rows_in_sight() == nr
    assert view.slab_at(QPointF(5, 3))[0] == int(view._shown_pfns[view._bar.maximum()])
    assert not view.grab().isNull()


def test_nothing_known_about_slabs(view: SlabGridView) -> None:
    view.show_snapshot(empty_snapshot())
    assert view._why_empty(view.snapshot) == "A real machine does not tell this; a scenario does: Ctrl+N"
    view.show_snapshot(replace(empty_snapshot(), source="race"))
    assert view._why_empty(view.snapshot) == "There is none in what is open now"
    assert not view.grab().isNull()


def test_hidden_costs_nothing_and_is_caught_up_with(view: SlabGridView) -> None:
    view.hide()
    before = view._shown_pfns
    view.show_snapshot(SyntheticSource(4096, nr_slabs=7).snapshot())
    assert view._shown_pfns is before
    view.show()
    assert view._shown_pfns.size == 7


def test_the_colours_are_explained_in_a_small_window_too(view: SlabGridView, theme: Theme) -> None:
    """As large as the panel is in a window of 1280×720: three slabs, and what their colours mean. All of it."""
    moving = theme.color("object.moving").name()
    view.resize(553, 62)
    picture = view.grab().toImage()
    line = [QColor(picture.pixel(x, y)).name() for y in range(48, 62) for x in range(picture.width())]
    assert moving in line
    right = max(x for x in range(picture.width()) if QColor(picture.pixel(x, 57)) == theme.color("object.busy"))
    assert right < picture.width() - 30, "the last of them has its name"
    assert view._rows_in_sight() >= 3
