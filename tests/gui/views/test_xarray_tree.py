"""The tree as a person uses it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PySide6.QtCore import QEvent, QPoint, QPointF, Qt
from PySide6.QtGui import QColor, QHelpEvent
from PySide6.QtWidgets import QApplication, QToolTip
from pytestqt.qtbot import QtBot

from memviz.gui.render import tree as render
from memviz.gui.selection import Selection
from memviz.gui.theme import Theme
from memviz.gui.views.xarray_tree import XArrayTreeView
from memviz.snapshot import NODE_DTYPE, NODE_IN_TREE, NODE_MOVED, Snapshot
from memviz.sources.simulation import SimulationSource
from tests.gui.synthetic import empty_snapshot, snapshot


@pytest.fixture
def view(qtbot: QtBot, selection: Selection, theme: Theme) -> XArrayTreeView:
    view = XArrayTreeView(selection, theme)
    qtbot.addWidget(view)
    view.resize(750, 200)
    with qtbot.waitExposed(view):
        view.show()
    view.show_snapshot(snapshot(65_536))
    return view


def middle(view: XArrayTreeView, box: render.Box | render.More) -> QPoint:
    at = QPointF(box.x + box.w / 2, box.y + box.h / 2)
    return (at * view.scale + view.shift + view._centering()).toPoint()


def wide() -> Snapshot:
    one = snapshot(65_536)
    nodes = np.zeros(101, NODE_DTYPE)
    nodes["addr"] = 0x1000000 + 584 * np.arange(101)
    nodes["shift"][0], nodes["parent"][0] = 6, -1
    nodes["offset"][1:] = np.arange(100) % 64
    return replace(one, nodes=nodes)


def test_a_click_selects_the_node_and_its_page_frame(qtbot: QtBot, view: XArrayTreeView, selection: Selection) -> None:
    box = view.drawing.boxes[5]
    qtbot.mouseClick(view, Qt.MouseButton.LeftButton, pos=middle(view, box))
    assert selection.now.node == box.addr
    assert selection.now.pfn == box.addr >> 12


def test_a_node_selected_elsewhere_is_outlined_in_white(view: XArrayTreeView, selection: Selection) -> None:
    box = view.drawing.boxes[3]
    selection.select_object(box.addr)
    image = view.grab().toImage()
    edge = QPointF(box.x, box.y + box.h / 2) + view.shift + view._centering()
    brightest = max(QColor(image.pixel(int(edge.x()) + dx, int(edge.y()))).lightness() for dx in (-1, 0, 1))
    assert brightest >= view.theme.color("chart.cursor").lightness() - 20


def test_keys_walk_the_tree(qtbot: QtBot, view: XArrayTreeView, selection: Selection) -> None:
    nodes = view.snapshot.nodes
    view.setFocus()
    walked = []
    for key in (Qt.Key.Key_Down, Qt.Key.Key_Down, Qt.Key.Key_Right, Qt.Key.Key_Down, Qt.Key.Key_Up, Qt.Key.Key_Up):
        qtbot.keyClick(view, key)
        walked.append(int(np.flatnonzero(nodes["addr"] == selection.now.node)[0]))
    assert walked == [0, 1, 2, 6, 2, 0]


def test_gathered_nodes_are_shown_on_a_click_and_can_be_panned_to(
    qtbot: QtBot, view: XArrayTreeView, selection: Selection
) -> None:
    view.show_snapshot(wide())
    assert view.accessibleDescription() == f"{len(view.drawing.boxes)} of 101 nodes shown"
    more = view.drawing.more[0]
    assert more.hidden == 100 - (len(view.drawing.boxes) - 1)
    qtbot.mouseClick(view, Qt.MouseButton.LeftButton, pos=middle(view, more))
    assert len(view.drawing.boxes) == 101
    assert view.drawing.width > view.width()
    last = max(view.drawing.boxes, key=lambda box: box.x)
    selection.select_node(last.addr)
    assert view.rect().contains(middle(view, last))
    view.fit_button.click()
    assert view.drawing.width * view.scale <= view.width() + 1


def test_the_pages_of_a_move_are_animated_for_a_moment(qtbot: QtBot, view: XArrayTreeView) -> None:
    before = view.snapshot
    nodes = before.nodes.copy()
    leaf = int(np.flatnonzero((nodes["shift"] == 0) & (nodes["state"] == NODE_IN_TREE))[0])
    nodes["addr"][leaf], nodes["state"][leaf] = 0x7770000, NODE_MOVED
    view.show_snapshot(replace(before, seq=before.seq + 1, nodes=nodes))
    assert len(view._ghosts) == 1
    moving = view.grab().toImage()
    qtbot.waitUntil(lambda: not view._ghost_timer.isActive(), timeout=5000)
    assert view.grab().toImage() != moving
    view.show_snapshot(replace(view.snapshot, seq=before.seq + 2))
    assert not view._ghost_timer.isActive()


def test_nothing_moves_while_hidden(view: XArrayTreeView) -> None:
    view._start_ghosts([(view.drawing.boxes[0].addr, view.drawing.boxes[1].addr)], {})
    assert view._ghost_timer.isActive()
    view.hide()
    assert not view._ghost_timer.isActive()


def test_another_xarray_is_asked_for(view: XArrayTreeView, selection: Selection) -> None:
    view._fill_arrays()
    actions = view.array_button.menu().actions()
    assert [action.text().split("   ")[0] for action in actions] == [
        "Automatic: where nodes were moved last, or the largest",
        "file 17: i_pages",
        "file 3: i_pages",
    ]
    actions[2].trigger()
    assert selection.focus.xarray == 2


@pytest.mark.parametrize("theme_name", ["dark", "light"])
def test_outlines_have_the_colour_of_the_state(view: XArrayTreeView, theme_name: str) -> None:
    view.theme.choose(theme_name)
    view.show_snapshot(view.snapshot)
    image = view.grab().toImage()
    for box in view.drawing.boxes:
        left = QPointF(box.x, box.y + 8) + view.shift + view._centering()
        expected = view.theme.color(box.color)
        near = min(
            sum(
                abs(a - b)
                for a, b in zip(
                    QColor(image.pixel(int(left.x()) + dx, int(left.y()))).getRgb(), expected.getRgb(), strict=True
                )
            )
            for dx in (-1, 0, 1)
        )
        assert near < 140, box.label


def test_nothing_known(view: XArrayTreeView) -> None:
    view.show_snapshot(empty_snapshot())
    assert view._why_empty() == "A real machine does not tell this; a scenario does: Ctrl+N"
    assert not view.grab().isNull()
    view.show_snapshot(replace(snapshot(), nodes=np.zeros(0, NODE_DTYPE)))
    assert view._why_empty() == "It has no nodes: its entries fit into its head"


def test_what_stands_on_a_box_is_told_beside_the_pointer(qtbot: QtBot, view: XArrayTreeView) -> None:
    """A low panel has no room for a legend."""
    view.show_snapshot(wide())
    at = middle(view, view.drawing.boxes[0])
    QApplication.sendEvent(view, QHelpEvent(QEvent.Type.ToolTip, at, view.mapToGlobal(at)))
    assert QToolTip.text() == "A node: 0 of its 64 slots are in use\nshift 6: each slot stands for 2^6 = 64 pages"
    QToolTip.hideText()
    assert view.tip_at(QPointF(-5, -5)) == ""


def test_the_name_is_that_of_the_file_whose_nodes_are_shown(view: XArrayTreeView) -> None:
    """The largest by pages, as the source has it: of compilers many a file has more nodes and fewer pages."""
    source = SimulationSource("kernel-compile", memory_mib=64)
    source.play.run(1250)
    shot = source.snapshot()
    view.show_snapshot(shot)
    assert max(one.nodes for one in shot.xarrays) > shot.nodes.size, "or it shows nothing"
    named = f"{shot.nodes.size} node{'s' if shot.nodes.size != 1 else ''} "
    assert named in view.header.subtitle
