"""The timeline: cursor, markers, zoom."""

from __future__ import annotations

from PySide6.QtCore import QPoint, Qt
from pytestqt.qtbot import QtBot

from memviz.gui.render.history import DEFRAG, FAILED, SUCCESS, History, Marker
from memviz.gui.selection import Selection
from memviz.gui.theme import Theme
from memviz.gui.views.timeline import TimelineView
from memviz.sources.base import RequestPages, Run
from tests.gui.screen import colours, shown
from tests.gui.synthetic import SyntheticSource, snapshot


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


def test_signs_of_what_happened_at_once_stand_side_by_side(qtbot: QtBot, selection: Selection, theme: Theme) -> None:
    """A failure, a pass and a success at the very end: all three signs can be told apart, none is beyond the edge."""
    view = TimelineView(selection, theme, History())
    shown(qtbot, view, 600, 110)
    view.history.add(snapshot(seq=1, time_ns=0))
    view.history.add(snapshot(seq=2, time_ns=1_000_000_000))
    ends = 1_000_000_000
    for number, kind in enumerate((FAILED, DEFRAG, SUCCESS)):
        view.history.markers.append(Marker(ends - 3 + number, kind, 9, number, 0))
    image = view.grab().toImage()
    places = []
    for key in ("chart.failed", "chart.defrag", "chart.retry"):
        wanted = theme.color(key).rgb()
        xs = [x for x in range(image.width()) for y in range(13) if _near(image.pixel(x, y), wanted)]
        assert xs, key
        places.append((min(xs), max(xs)))
    assert places[0][1] < places[1][0] <= places[1][1] < places[2][0] <= places[2][1] < image.width()


def test_a_sign_at_the_left_edge_is_seen_whole(qtbot: QtBot, selection: Selection, theme: Theme) -> None:
    view = TimelineView(selection, theme, History())
    shown(qtbot, view, 600, 110)
    view.history.add(snapshot(seq=1, time_ns=0))
    view.history.add(snapshot(seq=2, time_ns=1_000_000_000))
    wide = []
    for time_ns in (0, 500_000_000):
        view.history.markers.clear()
        view.history.markers.append(Marker(time_ns, FAILED, 9, 0, 0))
        image = view.grab().toImage()
        wanted = theme.color("chart.failed").rgb()
        xs = [x for x in range(image.width()) for y in range(13) if _near(image.pixel(x, y), wanted)]
        wide.append(max(xs) - min(xs))
    assert wide[0] == wide[1]


def _near(one: int, other: int) -> bool:
    return all(abs((one >> shift & 255) - (other >> shift & 255)) < 60 for shift in (0, 8, 16))
