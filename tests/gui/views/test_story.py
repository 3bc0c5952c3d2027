"""The story of a pass."""

from __future__ import annotations

from pytestqt.qtbot import QtBot

from memviz.gui.selection import Selection
from memviz.gui.theme import Theme
from memviz.gui.views.story import StoryView
from memviz.sources.base import Defragment
from tests.gui.screen import shown
from tests.gui.synthetic import SyntheticSource


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
