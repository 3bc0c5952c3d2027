"""The list of events: searched, filtered, followed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PySide6.QtCore import Qt
from PySide6.QtTest import QAbstractItemModelTester
from pytestqt.qtbot import QtBot

from memviz.gui.render.event_log import NOTABLE, EventLog
from memviz.gui.selection import Selection
from memviz.gui.theme import Theme
from memviz.gui.views.events import EventsView
from memviz.kernel import trace
from memviz.snapshot import EVENT_DTYPE
from memviz.sources.base import Run
from tests.gui.screen import shown
from tests.gui.synthetic import SyntheticSource, frozen, snapshot


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
    assert first_row(view) == ["13.008 104 s", "CPU 0", "RCU: grace period 204 ended, 64 callbacks"]
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


def test_why_there_is_no_event(qtbot: QtBot, selection: Selection, theme: Theme, log: EventLog) -> None:
    """A recording was told to run, and what else there may be was not said."""
    view = events_view(qtbot, selection, theme, log)
    none = replace(snapshot(), events=np.zeros(0, EVENT_DTYPE))
    for changes, hint in (
        ({"state": "paused"}, "Press Run, or Space"),
        ({"state": "running"}, "Only what is notable is listed; “Notable” above chooses more"),
        ({"source": "playback"}, "None was recorded up to this instant"),
    ):
        view.kind.setCurrentIndex(view.kind.findData(NOTABLE))
        view.show_snapshot(replace(none, **changes))  # type: ignore[arg-type]
        assert view.empty_words() == ("Nothing has happened yet", hint)
    view.kind.setCurrentIndex(0)
    view.show_snapshot(replace(none, state="running"))
    assert view.empty_words()[1] == "Whatever happens is listed here"


def test_what_somebody_turned_is_listed_and_on_no_cpu(
    qtbot: QtBot, selection: Selection, theme: Theme, log: EventLog
) -> None:
    view = events_view(qtbot, selection, theme, log)
    source = SyntheticSource(8192)
    fill(log, source, 10)
    seq = int(log.events["seq"][-1]) + 1
    log.add(frozen(np.array([(seq, 1 << 50, -1, trace.POLICY_SET, 1, 1, 0, 0)], EVENT_DTYPE)))
    view.show_snapshot(source.snapshot())
    assert first_row(view)[1:] == ["—", "policy defrag_mode: 0 → 1"]
    view.kind.setCurrentIndex(view.kind.findText("Policies and sliders"))
    assert view.model.rowCount() == 1
