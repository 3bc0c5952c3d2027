"""A panel that can't be painted says so, the others go on, and the process lives."""

from __future__ import annotations

import pytest
from PySide6.QtGui import QColor, QPainter, QPaintEvent
from PySide6.QtWidgets import QApplication, QWidget
from pytestqt.qtbot import QtBot

from memviz.gui.controls import Chooser
from memviz.gui.main_window import MainWindow
from memviz.gui.painting import painted
from memviz.gui.panel import PanelDock, View
from memviz.gui.selection import Selection
from memviz.gui.theme import Theme

pytestmark = pytest.mark.qt_log_ignore("Painter ended with", extend=True)  # that it ended is what is wanted


class Torn(View):
    """Gives up in the middle of painting, two painters deep."""

    ident = "torn"
    title = "Torn"

    @painted
    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.save()
        self._inside(painter)
        painter.end()

    def _inside(self, painter: QPainter) -> None:
        painter.drawText(5, 5, "half a")
        raise ZeroDivisionError("word")


class NoTheme(Theme):
    """Has no colours."""

    def color(self, key: str) -> QColor:
        raise LookupError(f"no {key} today")


def test_painters_end_and_the_panel_says_that_it_failed(qtbot: QtBot, theme: Theme) -> None:
    dock = PanelDock(Torn(Selection(), theme))
    qtbot.addWidget(dock)
    told: list[str] = []
    dock.broke.connect(told.append)
    with qtbot.captureExceptions() as raised:
        dock.show()
        qtbot.waitUntil(lambda: dock.failed)
    assert [kind.__name__ for kind, _, _ in raised] == ["ZeroDivisionError"]
    assert len(told) == 1
    assert "ZeroDivisionError: word" in told[0]
    with qtbot.captureExceptions() as raised:
        for _ in range(3):
            dock.repaint()
            dock.grab()
    assert not raised
    assert not dock.view.isVisible()


def painting_widgets(view: View) -> list[QWidget]:
    """The view, and what in it paints itself with the theme."""
    inside = [view, *view.findChildren(QWidget)]
    return [one for one in inside if hasattr(one, "theme") or hasattr(one, "_theme")]


def test_every_panel_survives_that_it_cannot_paint(qtbot: QtBot, window: MainWindow) -> None:
    window.session.pull()
    painters = 0
    for ident, dock in window.docks.all.items():
        dock.show()
        dock.raise_()
        qtbot.waitUntil(lambda dock=dock: dock.in_sight)
        broken = NoTheme("dark")
        for widget in painting_widgets(dock.view):
            for name in ("theme", "_theme"):
                if hasattr(widget, name):
                    setattr(widget, name, broken)
        with qtbot.captureExceptions() as raised:
            dock.view.repaint()
            for widget in painting_widgets(dock.view):
                if widget.isVisible():
                    widget.repaint()
            if raised:
                painters += 1
                qtbot.waitUntil(lambda dock=dock: dock.failed)
                assert dock.view.title in window.session.trouble, ident
            dock.close()
    assert painters >= 7, "hardly a panel was made to fail"
    assert window.isVisible()


@pytest.mark.parametrize("ident", ["timeline", "contiguity"])
def test_a_panel_that_failed_once_can_be_had_again(qtbot: QtBot, window: MainWindow, ident: str) -> None:
    dock = window.docks.all[ident]
    whole = dock.view.theme
    dock.view.theme = NoTheme("dark")
    with qtbot.captureExceptions():
        dock.view.repaint()
        qtbot.waitUntil(lambda: dock.failed)
    dock.view.theme = whole
    dock.try_again()
    with qtbot.captureExceptions() as raised:
        window.session.pull()
        dock.view.repaint()
    assert not raised
    assert dock.view.isVisible()


def test_a_chooser_that_is_too_narrow_ends_its_words_with_an_ellipsis(qtbot: QtBot, theme: Theme) -> None:
    theme.apply(QApplication.instance())  # type: ignore[arg-type]
    chooser = Chooser()
    qtbot.addWidget(chooser)
    chooser.addItem("Seven kernel compiles")
    chooser.resize(400, 28)
    chooser.show()
    assert chooser.shown_text() == "Seven kernel compiles"
    chooser.resize(110, 28)
    assert chooser.shown_text().endswith("…")
    assert "Seven kernel compiles".startswith(chooser.shown_text()[:-1].rstrip())
    assert not chooser.grab().isNull()
