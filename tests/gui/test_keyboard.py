"""Keys alone: Tab reaches every panel and everything in the bars, in a sane order, and all of it is named."""

from __future__ import annotations

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QAbstractButton, QApplication, QComboBox, QLineEdit, QSlider, QWidget
from pytestqt.qtbot import QtBot

from memviz.gui.main_window import MainWindow
from memviz.gui.panel import PanelDock


def walk(qtbot: QtBot, window: MainWindow, steps: int = 400) -> list[QWidget]:
    """Every widget that Tab comes to, from the menu button round to it again."""
    window.top_bar.menu_button.setFocus(Qt.FocusReason.TabFocusReason)
    found: list[QWidget] = []
    for _ in range(steps):
        widget = QApplication.focusWidget()
        assert widget is not None
        if widget in found:
            break
        found.append(widget)
        qtbot.keyClick(widget, Qt.Key.Key_Tab)
    return found


def panel_of(widget: QWidget) -> str:
    at: QWidget | None = widget
    while at is not None and not isinstance(at, PanelDock):
        at = at.parentWidget()
    return at.view.ident if isinstance(at, PanelDock) else ""


def test_tab_reaches_every_panel_that_can_be_seen_and_comes_round(qtbot: QtBot, window: MainWindow) -> None:
    found = walk(qtbot, window)
    assert QApplication.focusWidget() is window.top_bar.menu_button
    reached = {panel_of(widget) for widget in found} - {""}
    assert reached == {name for name, dock in window.docks.all.items() if dock.in_sight}


@pytest.mark.parametrize("ident", ["charts", "policies", "story"])
def test_tab_reaches_a_panel_behind_another_once_it_is_in_front(qtbot: QtBot, window: MainWindow, ident: str) -> None:
    window.docks.all[ident].raise_()
    qtbot.waitUntil(lambda: window.docks.all[ident].in_sight)
    window.session.pull()
    assert ident in {panel_of(widget) for widget in walk(qtbot, window)}


def test_a_panel_is_left_before_the_next_begins(qtbot: QtBot, window: MainWindow) -> None:
    panels = [name for name in map(panel_of, walk(qtbot, window)) if name]
    blocks = [name for at, name in enumerate(panels) if at == 0 or panels[at - 1] != name]
    assert len(blocks) == len(set(blocks)), f"Tab comes twice to the same panel: {blocks}"


def test_whatever_tab_reaches_has_a_name_to_be_read_out(qtbot: QtBot, window: MainWindow) -> None:
    for ident in ("charts", "policies"):
        window.docks.all[ident].raise_()
    window.session.pull()
    nameless = [
        f"{type(widget).__name__} {widget.objectName()} in {panel_of(widget)}"
        for widget in walk(qtbot, window)
        if not widget.accessibleName() and not (isinstance(widget, QAbstractButton) and widget.text())
    ]
    assert nameless == []


def test_every_control_of_the_window_can_be_focused(window: MainWindow) -> None:
    kinds = (QAbstractButton, QComboBox, QLineEdit, QSlider)
    for kind in kinds:
        for widget in window.findChildren(kind):
            if widget.isVisible() and widget.isEnabled() and not widget.objectName().startswith("qt_"):
                assert widget.focusPolicy() & Qt.FocusPolicy.TabFocus or _inside_of_qt(widget), widget.objectName()


def _inside_of_qt(widget: QWidget) -> bool:
    """Arrows of a tab bar, the editor of a spin box: their owner has the keys."""
    parent = widget.parentWidget()
    return parent is not None and type(parent).__module__.startswith("PySide6")
