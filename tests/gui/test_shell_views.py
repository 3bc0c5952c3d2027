"""The shell's panels, one by one: what they say, what a click or a key in them does."""

from __future__ import annotations

import numpy as np
import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtTest import QAbstractItemModelTester
from PySide6.QtWidgets import QWidget
from pytestqt.qtbot import QtBot

from memviz.gui.panel import CardFrame, View
from memviz.gui.render.event_log import EventLog
from memviz.gui.render.history import History
from memviz.gui.selection import Selection
from memviz.gui.theme import Theme
from memviz.gui.views.contiguity import ContiguityView
from memviz.gui.views.events import EventsView
from memviz.gui.views.request import RequestView
from memviz.gui.views.story import StoryView
from memviz.gui.views.timeline import TimelineView
from memviz.kernel import trace
from memviz.snapshot import EVENT_DTYPE
from memviz.sources.base import Defragment, RequestPages, Run
from tests.gui.synthetic import SyntheticSource, empty_snapshot, frozen


def shown(qtbot: QtBot, view: View, width: int = 440, height: int = 190) -> QWidget:
    """``view`` in a card, on the screen."""
    card = CardFrame(view)
    qtbot.addWidget(card)
    card.resize(width, height)
    card.show()
    view.card = card  # type: ignore[attr-defined]  # nobody else holds it
    return card


def colours(view: QWidget) -> set[str]:
    """The colours that ``view`` is painted with."""
    image = view.grab().toImage()
    return {image.pixelColor(x, y).name() for x in range(0, image.width(), 2) for y in range(0, image.height(), 2)}


# -- contiguity


def test_a_click_on_a_bar_asks_for_its_order(qtbot: QtBot, selection: Selection, theme: Theme) -> None:
    view = ContiguityView(selection, theme)
    shown(qtbot, view)
    view.show_snapshot(SyntheticSource(8192).snapshot())
    picked: list[int] = []
    view.order_picked.connect(picked.append)
    qtbot.mouseClick(view, Qt.MouseButton.LeftButton, pos=QPoint(int(view.width() * 4.5 / 11), 40))
    view.set_order(4)
    assert picked == [4]
    qtbot.keyClick(view, Qt.Key.Key_Right)
    assert picked == [4, 5]
    assert view.accessibleDescription().startswith("order 4 (64 KiB): ")


def test_an_order_of_which_there_is_none_is_red_and_says_0(qtbot: QtBot, selection: Selection, theme: Theme) -> None:
    view = ContiguityView(selection, theme)
    shown(qtbot, view)
    shot = SyntheticSource(8192).snapshot()
    view.show_snapshot(shot)
    assert view.bars is not None
    assert view.bars.now[10] == 0
    assert theme.color("chart.danger").name() in colours(view)
    assert "0 blocks now" in view.bars.sentence(10)


def test_the_same_counts_paint_nothing_anew(qtbot: QtBot, selection: Selection, theme: Theme) -> None:
    view = ContiguityView(selection, theme)
    shown(qtbot, view)
    shot = SyntheticSource(8192).snapshot()
    view.show_snapshot(shot)
    bars = view.bars
    view.show_snapshot(shot)
    assert view.bars is bars


# -- request


def request_view(qtbot: QtBot, selection: Selection, theme: Theme, height: int = 260) -> RequestView:
    view = RequestView(selection, theme)
    shown(qtbot, view, 480, height)
    source = SyntheticSource(262_144)
    source.command(1, RequestPages(9, 0))
    view.show_snapshot(source.snapshot())
    return view


def test_a_failed_request_says_why_and_what_pinned_it(qtbot: QtBot, selection: Selection, theme: Theme) -> None:
    view = request_view(qtbot, selection, theme)
    assert view.words() == [
        "Order 9 failed: slabs of xa_node hold 41 blocks; moving 88 objects would free 3 of them.",
        "fast path: no free block ≥ 9 in Normal",
        "reclaim: 1,204 pages dropped",
        "compaction: 37 blocks scanned · 9,802 moved · pinned by slab 41×",
        "Pinned by xa_node in block 340, dentry in block 12",
    ]
    assert {theme.color("chart.failed").name(), theme.color("chart.compaction").name()} <= colours(view)


def test_a_link_selects_the_page_that_pinned(qtbot: QtBot, selection: Selection, theme: Theme) -> None:
    view = request_view(qtbot, selection, theme)
    view.grab()
    box, pfn = view._links[0]
    qtbot.mouseMove(view, box.center().toPoint())
    qtbot.mouseClick(view, Qt.MouseButton.LeftButton, pos=box.center().toPoint())
    assert selection.now.pfn == pfn == 0x2A94F
    qtbot.keyClick(view, Qt.Key.Key_Right)
    assert selection.now.pfn == 0x1801


@pytest.mark.parametrize("height", [60, 120, 400])
def test_all_stages_are_painted_at_any_height(qtbot: QtBot, selection: Selection, theme: Theme, height: int) -> None:
    view = request_view(qtbot, selection, theme, height + 44)
    if height >= 120:
        assert theme.color("chart.compaction").name() in colours(view)
    assert not view.grab().isNull()


# -- defragmentation


def test_the_story_tells_gain_price_and_steps(qtbot: QtBot, selection: Selection, theme: Theme) -> None:
    view = StoryView(selection, theme)
    shown(qtbot, view)
    assert view.text.isHidden()
    source = SyntheticSource(8192)
    source.command(1, Defragment())
    view.show_snapshot(source.snapshot())
    text = view.text.toPlainText()
    assert "40 slabs freed, 88 objects moved" in text
    assert "longest lock hold" in text
    assert "42 µs" in text
    assert "88 xa_nodes were copied and republished" in text


# -- events


@pytest.fixture
def log() -> EventLog:
    return EventLog()


def fill(log: EventLog, source: SyntheticSource, snapshots: int) -> None:
    """Let ``source`` run."""
    source.command(1, Run())
    for _ in range(snapshots):
        log.add(source.snapshot().events)


def events_view(qtbot: QtBot, selection: Selection, theme: Theme, log: EventLog) -> EventsView:
    view = EventsView(selection, theme, log)
    shown(qtbot, view, 500, 300)
    view.kind.setCurrentIndex(0)
    return view


def first_row(view: EventsView) -> list[str]:
    return [str(view.model.index(0, column).data()) for column in range(3)]


def test_events_newest_first_in_words(qtbot: QtBot, selection: Selection, theme: Theme, log: EventLog) -> None:
    view = events_view(qtbot, selection, theme, log)
    tester = QAbstractItemModelTester(view.model, QAbstractItemModelTester.FailureReportingMode.Fatal)
    source = SyntheticSource(8192)
    for _ in range(5):
        fill(log, source, 20)
        view.show_snapshot(source.snapshot())
    assert view.model.rowCount() == 100
    assert first_row(view) == ["13.008 104", "CPU 0", "RCU: grace period 204 ended, 64 callbacks"]
    assert view.header.subtitle == "100"
    del tester


def test_search_and_filter_hide_rows_and_say_how_many(
    qtbot: QtBot, selection: Selection, theme: Theme, log: EventLog
) -> None:
    view = events_view(qtbot, selection, theme, log)
    source = SyntheticSource(8192)
    fill(log, source, 60)
    view.show_snapshot(source.snapshot())
    qtbot.keyClicks(view.search, "grace period")
    assert view.model.rowCount() == 10
    assert view.header.subtitle == "10 of 60 shown, 50 hidden by the filter"
    view.cpu.setCurrentIndex(view.cpu.findText("CPU 0"))
    assert 0 < view.model.rowCount() < 10
    view.search.clear()
    view.cpu.setCurrentIndex(0)
    view.cache.setCurrentIndex(view.cache.findText("xa_node"))
    assert 0 < view.model.rowCount() < 60
    for row in range(view.model.rowCount()):
        assert "xa_node" in view.model.words(row)
    view.kind.setCurrentIndex(view.kind.findText("Users of memory"))
    assert view.model.rowCount() == 0
    assert view.empty_words()[0] == "No event passes the filter"


def test_new_events_that_the_filter_hides_stay_hidden(
    qtbot: QtBot, selection: Selection, theme: Theme, log: EventLog
) -> None:
    view = events_view(qtbot, selection, theme, log)
    source = SyntheticSource(8192)
    fill(log, source, 6)
    view.show_snapshot(source.snapshot())
    view.search.setText("isolate")
    before = view.model.rowCount()
    fill(log, source, 12)
    view.show_snapshot(source.snapshot())
    assert view.model.rowCount() == before + 2


def test_picking_an_event_selects_its_page_cpu_and_time(
    qtbot: QtBot, selection: Selection, theme: Theme, log: EventLog
) -> None:
    view = events_view(qtbot, selection, theme, log)
    log.add(frozen(np.array([(5, 12_000, 3, trace.SLAB_NEW, 0x2C2, 2, 1, 0)], EVENT_DTYPE)))
    view.show_snapshot(SyntheticSource(8192).snapshot())
    at = view.table.visualRect(view.model.index(0, 2)).center()
    qtbot.mouseClick(view.table.viewport(), Qt.MouseButton.LeftButton, pos=at)
    now = selection.now
    assert (now.event, now.pfn, now.cpu, now.time_ns) == (5, 0x2C2, 3, 12_000)


def test_an_event_that_another_view_picks_is_shown(
    qtbot: QtBot, selection: Selection, theme: Theme, log: EventLog
) -> None:
    view = events_view(qtbot, selection, theme, log)
    source = SyntheticSource(8192)
    fill(log, source, 200)
    view.show_snapshot(source.snapshot())
    selection.select_event(5, int(log.events["time"][4]), 1)
    assert view.model.row_of(5) == 195
    assert view.table.currentIndex().row() == 195
    assert not view.table.visualRect(view.model.index(195, 0)).isEmpty()
    assert view.table.viewport().rect().intersects(view.table.visualRect(view.model.index(195, 0)))


def test_who_has_scrolled_down_keeps_what_he_reads(
    qtbot: QtBot, selection: Selection, theme: Theme, log: EventLog
) -> None:
    view = events_view(qtbot, selection, theme, log)
    source = SyntheticSource(8192)
    fill(log, source, 200)
    view.show_snapshot(source.snapshot())
    bar = view.table.verticalScrollBar()
    qtbot.waitUntil(lambda: bar.maximum() > 150)
    bar.setValue(50)
    top = view.model.event_at(view.table.rowAt(0))["seq"]
    fill(log, source, 30)
    view.show_snapshot(source.snapshot())
    assert view.model.event_at(view.table.rowAt(0))["seq"] == top


def test_the_list_stays_bounded(qtbot: QtBot, selection: Selection, theme: Theme) -> None:
    log = EventLog(kept=50)
    view = events_view(qtbot, selection, theme, log)
    tester = QAbstractItemModelTester(view.model, QAbstractItemModelTester.FailureReportingMode.Fatal)
    source = SyntheticSource(8192)
    for _ in range(10):
        fill(log, source, 20)
        view.show_snapshot(source.snapshot())
    assert view.model.rowCount() == 50
    assert view.header.subtitle == "the last 50 of 200"
    log.clear()
    view.show_snapshot(source.snapshot())
    assert view.model.rowCount() == 0
    del tester


def test_routine_is_hidden_at_first_and_counted(
    qtbot: QtBot, selection: Selection, theme: Theme, log: EventLog
) -> None:
    view = EventsView(selection, theme, log)
    shown(qtbot, view)
    rows = np.zeros(4000, EVENT_DTYPE)
    rows["seq"] = np.arange(4000)
    rows["kind"] = trace.RCU_BATCH
    for i in range(3):
        rows["seq"] += 4000
        rows["kind"][10] = trace.DEFRAG_END
        log.add(frozen(rows.copy()))
        view.show_snapshot(SyntheticSource(8192).snapshot())
        assert view.model.rowCount() == i + 1
    assert view.header.subtitle == "3 · 2,500 of routine hidden"
    selection.select_event(8010, 0, 0)
    assert view.table.currentIndex().row() == 1
    rows["seq"] += 4000
    log.add(frozen(rows.copy()))
    view.show_snapshot(SyntheticSource(8192).snapshot())
    assert view.model.event_at(view.table.currentIndex().row())["seq"] == 8010


def test_every_page_is_only_asked_for_when_wanted(
    qtbot: QtBot, selection: Selection, theme: Theme, log: EventLog
) -> None:
    view = events_view(qtbot, selection, theme, log)
    assert not selection.focus.bulk_events
    view.kind.setCurrentIndex(view.kind.findText("Every page and object"))
    assert selection.focus.bulk_events
    view.kind.setCurrentIndex(0)
    assert not selection.focus.bulk_events


# -- timeline


def timeline(qtbot: QtBot, selection: Selection, theme: Theme) -> TimelineView:
    history = History()
    source = SyntheticSource(8192)
    source.command(1, Run())
    for i in range(100):
        if i == 50:
            source.command(2, RequestPages(9, 0))
        history.add(source.snapshot())
    view = TimelineView(selection, theme, history)
    shown(qtbot, view, 1022, 110)
    view.show_snapshot(source.snapshot())
    return view


def test_a_click_sets_the_time_cursor(qtbot: QtBot, selection: Selection, theme: Theme) -> None:
    view = timeline(qtbot, selection, theme)
    begin, end = view.shown()
    qtbot.mouseClick(view, Qt.MouseButton.LeftButton, pos=QPoint(view.width() // 4, 30))
    assert abs(selection.now.time_ns - (begin + (end - begin) // 4)) <= (end - begin) / view.width()
    assert theme.color("chart.cursor").name() in colours(view)


def test_a_click_on_a_marker_picks_its_event(qtbot: QtBot, selection: Selection, theme: Theme) -> None:
    view = timeline(qtbot, selection, theme)
    marker = view.history.markers[0]
    qtbot.mouseClick(view, Qt.MouseButton.LeftButton, pos=QPoint(int(view.x_of(marker.time_ns)) + 2, 40))
    assert selection.now.event == marker.seq
    assert selection.now.time_ns == marker.time_ns


def test_the_wheel_zooms_around_the_pointer_and_a_double_click_shows_all(
    qtbot: QtBot, selection: Selection, theme: Theme
) -> None:
    view = timeline(qtbot, selection, theme)
    begin, end = view.shown()
    fixed = view.time_at(250)
    view.zoom(0.5, 250)
    assert abs(view.time_at(250) - fixed) <= (end - begin) / view.width()
    assert view.shown()[1] - view.shown()[0] == (end - begin) // 2
    qtbot.mousePress(view, Qt.MouseButton.LeftButton, pos=QPoint(500, 30))
    qtbot.mouseMove(view, QPoint(400, 30))
    qtbot.mouseRelease(view, Qt.MouseButton.LeftButton, pos=QPoint(400, 30))
    assert selection.now.time_ns == -1
    qtbot.mouseDClick(view, Qt.MouseButton.LeftButton, pos=QPoint(400, 30))
    assert view.shown() == (begin, end)


def test_left_goes_to_the_marker_before(qtbot: QtBot, selection: Selection, theme: Theme) -> None:
    view = timeline(qtbot, selection, theme)
    qtbot.keyClick(view, Qt.Key.Key_Left)
    assert selection.now.event == view.history.markers[-1].seq


# -- all of them


@pytest.mark.parametrize("size", [(60, 60), (300, 120), (1600, 900)])
@pytest.mark.parametrize("name", ["dark", "light"])
def test_nothing_and_everything_at_any_size(
    qtbot: QtBot, selection: Selection, theme: Theme, log: EventLog, name: str, size: tuple[int, int]
) -> None:
    """Empty, then full, then empty again: every panel paints, and says in words that there is nothing."""
    theme.choose(name)
    history = History()
    source = SyntheticSource(8192)
    source.command(1, RequestPages(9, 0))
    source.command(2, Defragment())
    full = source.snapshot()
    for view in (
        ContiguityView(selection, theme),
        RequestView(selection, theme),
        EventsView(selection, theme, log),
        StoryView(selection, theme),
        TimelineView(selection, theme, history),
    ):
        card = shown(qtbot, view, *size)
        for shot in (empty_snapshot(), full, empty_snapshot()):
            history.add(shot)
            view.show_snapshot(shot)
            assert not card.grab().isNull()
        assert view.empty
