"""The story of a pass."""

from __future__ import annotations

from dataclasses import replace

from PySide6.QtCore import QEvent, QObject
from PySide6.QtWidgets import QApplication, QWidget
from pytestqt.qtbot import QtBot

from memviz.gui.selection import Selection
from memviz.gui.theme import Theme
from memviz.gui.views.request import RequestView
from memviz.gui.views.story import StoryView
from memviz.sources.base import Defragment
from tests.gui.screen import shown
from tests.gui.synthetic import SyntheticSource, snapshot


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


def test_how_there_could_be_a_pass(qtbot: QtBot, selection: Selection, theme: Theme) -> None:
    """On a real machine it said: press Defragment slabs. There is no such button."""
    view = StoryView(selection, theme)
    one = replace(snapshot(), defrag=None)
    for source, hint in (
        ("simulation", "Press Defragment slabs, or D"),
        ("playback", "No pass was recorded up to this instant"),
        ("linux", "Linux does not move slab objects; a scenario shows what that would do: Ctrl+N"),
    ):
        view.show_snapshot(replace(one, source=source))
        assert view.hint() == hint


def test_what_to_do_is_painted_anew_when_it_is_something_else(qtbot: QtBot, selection: Selection, theme: Theme) -> None:
    """A recording was opened, and the panel went on saying which button to press."""
    one = replace(snapshot(), defrag=None, request=None)
    for view in (StoryView(selection, theme), RequestView(selection, theme)):
        shown(qtbot, view)
        view.show_snapshot(replace(one, source="simulation"))
        QApplication.processEvents()
        painted = Painted(view)
        view.show_snapshot(replace(one, source="simulation"))
        QApplication.processEvents()
        assert painted.times == 0
        view.show_snapshot(replace(one, source="playback"))
        qtbot.waitUntil(lambda painted=painted: painted.times > 0)


class Painted(QObject):
    """Counts how often a widget is painted."""

    def __init__(self, widget: QWidget) -> None:
        super().__init__(widget)
        self.times = 0
        widget.installEventFilter(self)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Look, and let it pass."""
        self.times += event.type() == QEvent.Type.Paint
        return False
