"""One selection and one time cursor: what is picked in one panel is shown by all others."""

from __future__ import annotations

import numpy as np
import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtGui import QColor
from PySide6.QtWidgets import QWidget
from pytestqt.qtbot import QtBot

from memviz.gui.main_window import MainWindow
from memviz.gui.selection import Picked, Selection
from memviz.gui.views.cpu_lanes import CpuLanesView
from memviz.gui.views.slab_grid import SlabGridView
from memviz.gui.views.xarray_tree import XArrayTreeView
from memviz.kernel.page import PAGE_SHIFT
from tests.gui.clients import FakeClient


@pytest.fixture
def busy(qtbot: QtBot, window: MainWindow, client: FakeClient) -> MainWindow:
    """A window in which something has happened, standing still."""
    window.session.set_running(True)
    for _ in range(30):
        window.session.pull()
    window.session.set_running(False)
    window.session.request(9)
    window.session.pull()
    window.session.pull()
    return window


def cursor_pixels(window: MainWindow, widget: QWidget) -> int:
    """How many pixels have the colour of cursors and of what is selected."""
    image = widget.grab().toImage()
    wanted = QColor(window.theme.color("chart.cursor")).rgb()
    return sum(image.pixel(x, y) == wanted for x in range(image.width()) for y in range(0, image.height(), 3))


def test_a_node_is_shown_in_the_tree_in_its_slab_and_on_the_map(busy: MainWindow) -> None:
    snapshot = busy.session.snapshot
    assert snapshot is not None
    tree, slabs = busy._view(XArrayTreeView), busy._view(SlabGridView)
    addr = int(snapshot.nodes["addr"][0])
    before = cursor_pixels(busy, busy.heatmap.map)
    busy.selection.select_node(addr)
    box = tree._box_of(addr)
    assert box is not None
    assert cursor_pixels(busy, busy.heatmap.map) > before
    assert busy.heatmap.read_out.parts[0].endswith(f"{addr >> PAGE_SHIFT:#x}")
    row, number = slabs._picked()
    if row >= 0:
        assert number >= 0


def test_a_page_that_is_picked_on_the_map_marks_the_nodes_on_it(busy: MainWindow) -> None:
    snapshot = busy.session.snapshot
    assert snapshot is not None
    tree = busy._view(XArrayTreeView)
    busy.selection.select_page(0)
    plain = tree.grab().toImage()
    busy.selection.select_page(int(snapshot.nodes["addr"][0]) >> PAGE_SHIFT)
    assert busy.selection.now.node == -1, "a page is no node"
    assert tree.grab().toImage() != plain
    busy.selection.select_page(0)
    assert tree.grab().toImage() == plain


def test_a_page_of_a_slab_is_marked_among_the_slabs(busy: MainWindow) -> None:
    snapshot = busy.session.snapshot
    assert snapshot is not None
    slabs = busy._view(SlabGridView)
    busy.selection.select_page(int(snapshot.slabs["pfn"][3]) + 1)
    row, number = slabs._picked()
    assert int(slabs._shown_pfns[row]) == int(snapshot.slabs["pfn"][3])
    assert number == -1, "the page is picked, none of its objects"


def test_an_event_moves_every_time_cursor(qtbot: QtBot, busy: MainWindow) -> None:
    lanes = busy._view(CpuLanesView)
    charts = busy.docks.all["charts"]
    events = busy.session.log.events
    last = events[-1]
    row = busy.events.model.row_of(int(last["seq"]))
    assert row >= 0
    busy.events.table.selectRow(row)
    now = busy.selection.now
    assert (now.event, now.time_ns, now.cpu) == (int(last["seq"]), int(last["time"]), int(last["cpu"]))
    assert cursor_pixels(busy, busy.timeline) > 0
    charts.raise_()
    qtbot.waitUntil(lambda: charts.in_sight)
    assert cursor_pixels(busy, charts.view) > 0
    assert lanes._cursor == int(last["time"])
    assert busy.status._right_words().startswith(f"time cursor {int(last['time']) / 1e9:.3f} s")


def test_the_lanes_go_where_the_time_cursor_is(busy: MainWindow) -> None:
    lanes = busy._view(CpuLanesView)
    known = lanes.history.segments()
    then = int(known["begin"].min()) + 1
    lanes.span = int(known["end"].max() - known["begin"].min()) // 20
    assert not lanes._window().begin <= then <= lanes._window().end
    busy.selection.select_time(then)
    assert lanes._window().begin <= then <= lanes._window().end
    assert cursor_pixels(busy, lanes) > 0
    lanes.fit()
    assert lanes.back == 0


def test_a_stage_of_a_request_is_an_instant(qtbot: QtBot, busy: MainWindow) -> None:
    view = busy.request_view
    view.grab()
    box, begin = view._stages[-1]
    qtbot.mouseClick(view, Qt.MouseButton.LeftButton, pos=QPoint(30, int(box.center().y())))
    snapshot = busy.session.snapshot
    assert snapshot is not None
    assert snapshot.request is not None
    assert busy.selection.now.time_ns == begin == snapshot.request.stages[-1].begin_ns
    assert cursor_pixels(busy, view) > 0
    busy.selection.select_time(-1)
    assert cursor_pixels(busy, view) == 0


def test_what_pinned_is_reached_by_keys_where_there_is_no_room_for_it(qtbot: QtBot, busy: MainWindow) -> None:
    view = busy.request_view
    view.resize(view.width(), 80)
    view.grab()
    assert view._links == []
    assert view.anatomy is not None
    view.setFocus()
    picked = []
    for _ in view.anatomy.pins:
        qtbot.keyClick(view, Qt.Key.Key_Right)
        picked.append(busy.selection.now.pfn)
    assert picked == [pin.pfn for pin in view.anatomy.pins]


def test_filters_hide_rows_and_change_no_percentage(busy: MainWindow, qtbot: QtBot) -> None:
    qtbot.waitUntil(lambda: not busy.heatmap._recount.isActive())  # the legend follows a moment later
    shares = {entry.label: entry.share for entry in busy.heatmap.legend._entries}
    busy.heatmap.single_out(busy.heatmap.legend._entries[1].rank)
    assert {entry.label: entry.share for entry in busy.heatmap.legend._entries} == shares
    mode = busy.heatmap.mode
    kept = len(busy.session.log.events)
    busy.events.search.setText("xyzzy")
    assert busy.events.header.subtitle == f"0 of {kept} shown, {kept} hidden by the filter"
    assert busy.heatmap.mode is mode
    busy.events.search.clear()
    grid = busy._view(SlabGridView)
    used = grid.header.subtitle
    busy.selection.select_page(0)
    grid.set_block_only(True)
    assert "hidden" in grid.header.subtitle or "of" in grid.header.subtitle
    grid.set_block_only(False)
    assert grid.header.subtitle == used


def test_back_knows_the_part_of_time_too(selection: Selection) -> None:
    heard: list[object] = []
    selection.range_changed.connect(lambda: heard.append(selection.range))
    selection.select_page(7)
    selection._since_move.invalidate()
    selection.set_range((10, 20))
    selection._since_move.invalidate()
    selection.select_page(8)
    selection.back()
    assert (selection.now.pfn, selection.range) == (7, (10, 20))
    selection.back()
    assert (selection.now.pfn, selection.range) == (7, None)
    selection.forward()
    assert (selection.now.pfn, selection.range) == (7, (10, 20))
    selection.select_page(9)
    selection.forward()
    assert selection.now.pfn == 9, "there is no way forward from somewhere new"
    assert heard == [(10, 20), None, (10, 20)]
    selection.forget()
    selection.back()
    assert (selection.now, selection.range) == (Picked(), None)


def test_moves_in_a_row_are_one(selection: Selection) -> None:
    for pfn in range(50):
        selection.select_page(pfn)
    selection.back()
    assert selection.now.pfn == -1


def test_every_owner_is_counted(busy: MainWindow) -> None:
    """The legend's shares are of what the kernel manages, whatever is selected."""
    snapshot = busy.session.snapshot
    assert snapshot is not None
    assert sum(entry.frames for entry in busy.heatmap.legend._entries) == np.count_nonzero(snapshot.pages.owner >= 0)
