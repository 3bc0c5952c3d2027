"""Charts: curves and bars of what was, one range of time and one cursor with the timeline."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PySide6.QtCore import QPoint, QPointF, Qt
from PySide6.QtGui import QFontMetrics, QWheelEvent
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from memviz.gui.render.history import History
from memviz.gui.render.series import Series
from memviz.gui.selection import Selection
from memviz.gui.theme import Theme
from memviz.gui.views.charts import CHARTS, ORDERS, ChartsView, outcome_words
from memviz.gui.views.timeline import TimelineView
from memviz.kernel import trace
from memviz.snapshot import EVENT_DTYPE
from tests.gui.screen import colours, shown
from tests.gui.synthetic import snapshot

STEP = 1_000_000


@pytest.fixture
def past() -> tuple[History, Series]:
    """Fifty instants, a millisecond apart; in the twentieth two requests of order 9: one fails, one succeeds."""
    history, series = History(), Series()
    first = snapshot()
    for at in range(50):
        events = np.zeros(0, EVENT_DTYPE)
        if at == 20:
            events = np.zeros(3, EVENT_DTYPE)
            events["seq"] = (1, 2, 3)
            events["kind"] = (trace.ALLOC_FAILED, trace.REQUEST_END, trace.REQUEST_END)
            events["a"] = 9
            events["b"] = (0, 0, 513)
        now = replace(first, seq=at, time_ns=at * STEP, events=events)
        history.add(now)
        series.add(now)
    return history, series


@pytest.fixture
def view(qtbot: QtBot, selection: Selection, theme: Theme, past: tuple[History, Series]) -> ChartsView:
    made = ChartsView(selection, theme, *past)
    shown(qtbot, made, 640, 260)
    made.show_snapshot(snapshot())
    return made


def test_curves_are_the_history(view: ChartsView, past: tuple[History, Series]) -> None:
    assert [curve.name for curve in view.curves()] == [f"order {n}" for n in ORDERS]
    assert view.curves()[3].values.tolist() == past[0].values[:, 9].tolist()
    header, rows = view.as_table()
    assert header[0] == "time_ns"
    assert len(rows) == 50
    assert rows[7][0] == 7 * STEP
    assert rows[7][4] == past[0].values[7, 9] / 1000


def test_slab_utilisation_is_objects_in_use_of_all(view: ChartsView) -> None:
    view.set_chart("slabs")
    cache = next(one for one in snapshot().caches if one.name == "xa_node")
    names, rows = view.as_table()
    assert rows[0][names.index("xa_node")] == cache.active * 1000 // cache.total / 1000


def test_a_request_that_fails_is_counted_once(view: ChartsView) -> None:
    view.set_chart("success")
    assert view.as_table()[1][9] == [9, 1, 1, 0]
    assert view.as_table()[1][8] == [8, 0, 0, 0]
    assert {view.theme.color("chart.failed").name(), view.theme.color("chart.retry").name()} <= colours(view)


@pytest.mark.parametrize("chart", [ident for ident, _ in CHARTS])
def test_every_chart_is_drawn(view: ChartsView, chart: str) -> None:
    view.set_chart(chart)
    assert len(colours(view)) > 4


def test_zoom_is_shared_with_the_timeline_and_reset_there(
    qtbot: QtBot, view: ChartsView, past: tuple[History, Series], theme: Theme
) -> None:
    line = TimelineView(view.selection, theme, past[0])
    shown(qtbot, line, 640, 100)
    assert view.shown() == line.shown() == (0, 49 * STEP)
    wheel = QWheelEvent(
        QPointF(340, 100), QPointF(340, 100), QPoint(), QPoint(0, 360), Qt.MouseButton.NoButton,
        Qt.KeyboardModifier.NoModifier, Qt.ScrollPhase.NoScrollPhase, False,
    )  # fmt: skip
    QApplication.sendEvent(view, wheel)
    begin, end = view.shown()
    assert (end - begin) == pytest.approx(49 * STEP * 0.8**3, rel=0.01)
    assert line.shown() == (begin, end)
    line.show_all()
    assert view.shown() == (0, 49 * STEP)


def test_a_click_sets_the_one_time_cursor(qtbot: QtBot, view: ChartsView) -> None:
    x = int(view.x_of(30 * STEP))
    qtbot.mouseClick(view, Qt.MouseButton.LeftButton, pos=QPoint(x, 80))
    assert view.selection.now.time_ns == pytest.approx(30 * STEP, abs=STEP)
    before = view.selection.now.time_ns
    qtbot.keyClick(view, Qt.Key.Key_Left)
    assert view.selection.now.time_ns == before - 49 * STEP // 50


def test_nothing_yet_is_said_in_words(qtbot: QtBot, selection: Selection, theme: Theme) -> None:
    made = ChartsView(selection, theme, History(), Series())
    shown(qtbot, made)
    for ident, _ in CHARTS:
        made.set_chart(ident)
        assert len(colours(made)) > 3
    assert made.as_table()[1] == [[order, 0, 0, 0] for order in range(11)]


def test_allocations_that_fail_are_part_of_no_percentage() -> None:
    series = Series()
    events = np.zeros(2, EVENT_DTYPE)
    events["seq"] = (1, 2)
    events["kind"] = trace.ALLOC_FAILED
    events["a"] = 3
    series.add(replace(snapshot(), seq=1, events=events))
    series.add(replace(snapshot(), seq=2, events=events))  # the same events again: counted once
    assert (series.ok[3], series.failed[3], series.refused[3]) == (0, 0, 2)


def test_what_a_chart_shows_is_said_beside_its_name_and_while_there_is_none(view: ChartsView) -> None:
    for ident, begin in (
        ("memory", "Free memory, and"),
        ("success", "Of the requests"),
        ("indices", "The part of free"),
    ):
        view.set_chart(ident)
        assert view.header.what.startswith(begin)
        view.waiting = "starting"
        assert view.empty_words()[1].startswith(begin)
        view.waiting = ""


def test_one_instant_is_no_line_and_says_so(qtbot: QtBot, selection: Selection, theme: Theme) -> None:
    history, series = History(), Series()
    history.add(snapshot())
    series.add(snapshot())
    view = ChartsView(selection, theme, history, series)
    shown(qtbot, view, 640, 260)
    faint = theme.color("ui.muted").name()
    middle = view.grab().toImage().copy(200, 35, 300, 80)
    assert faint in {middle.pixelColor(x, y).name() for x in range(300) for y in range(80)}


def test_what_is_less_than_a_percent_is_not_nothing(view: ChartsView) -> None:
    view.set_chart("memory")
    curve = view.curves()[0]
    for thousandths, words in ((0, "0 %"), (3, "<1 %"), (6, "1 %"), (-1, "–")):
        assert view._value_words(curve._replace(values=np.array([thousandths], np.int16))) == words


def test_what_stands_above_a_bar_fits_its_column(theme: Theme) -> None:
    metrics = QFontMetrics(theme.font("small"))
    room = metrics.horizontalAdvance("12 ✓ 3 ✗")
    assert outcome_words(12, 3, metrics, room) == "12 ✓ 3 ✗"
    assert outcome_words(12, 3, metrics, room - 1) == "80 %"
    assert outcome_words(12, 0, metrics, 20) == "✓"
    assert outcome_words(0, 3, metrics, 20) == "✗"
