"""Which panels get a snapshot, and what painting one of them costs the others."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QObject
from PySide6.QtWidgets import QToolButton, QWidget
from pytestqt.qtbot import QtBot

from memviz.gui.feed import AT_ONCE
from memviz.gui.main_window import MainWindow
from memviz.gui.panel import View
from memviz.gui.views.cpu_lanes import CpuLanesView


class Paints(QObject):
    """Counts how often each of some widgets paints itself."""

    def __init__(self, *widgets: QWidget) -> None:
        super().__init__()
        self.count = dict.fromkeys(widgets, 0)
        for widget in widgets:
            widget.installEventFilter(self)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if event.type() == QEvent.Type.Paint and isinstance(watched, QWidget):
            self.count[watched] += 1
        return False


def in_sight(window: MainWindow) -> list[View]:
    """The panels that can be seen."""
    return [dock.view for dock in window.docks.all.values() if dock.in_sight]


def behind(window: MainWindow) -> set[str]:
    """Those of them that show an older snapshot than the newest."""
    newest = window.session.snapshot
    assert newest is not None
    return {view.ident for view in in_sight(window) if view.snapshot is None or view.snapshot.seq != newest.seq}


def test_a_redraw_of_a_run_brings_few_panels_up_to_date_and_the_map_always(window: MainWindow) -> None:
    window.session.set_running(True)
    late = []
    for _ in range(12):
        before = {view.ident: view.snapshot for view in in_sight(window)}
        window.session.pull()
        changed = {view.ident for view in in_sight(window) if view.snapshot is not before[view.ident]}
        often = {view.ident for view in in_sight(window) if not view.period_ms}
        assert "heatmap" in often
        assert often <= changed
        assert len(changed - often) <= AT_ONCE
        late.append(behind(window))
    assert any(late)


def test_all_catch_up_when_nothing_newer_comes(qtbot: QtBot, window: MainWindow) -> None:
    window.session.set_running(True)
    for _ in range(3):
        window.session.pull()
    window.session._timer.stop()
    assert behind(window)
    qtbot.waitUntil(lambda: not behind(window), timeout=3000)


def test_who_pauses_sees_one_instant_in_all_panels(window: MainWindow) -> None:
    window.session.set_running(True)
    for _ in range(3):
        window.session.pull()
    window.session.set_running(False)
    window.session.pull()
    assert not behind(window)


def test_what_changes_in_a_panel_does_not_paint_its_card(qtbot: QtBot, window: MainWindow) -> None:
    lanes = window._view(CpuLanesView)
    dock = window.docks.all["cpu_lanes"]
    window.session._timer.stop()
    qtbot.wait(100)
    paints = Paints(lanes, dock, lanes.header, *lanes.header.findChildren(QToolButton))
    lanes.update()
    qtbot.waitUntil(lambda: paints.count[lanes] == 1)
    assert sum(paints.count.values()) == 1
    lanes.header.subtitle = "grace period 7"
    qtbot.waitUntil(lambda: paints.count[lanes.header] == 1)
    buttons = lanes.header.findChildren(QToolButton)
    assert buttons
    assert not any(paints.count[button] for button in buttons)
