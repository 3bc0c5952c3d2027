"""The story of a pass."""

from __future__ import annotations

from dataclasses import replace

from pytestqt.qtbot import QtBot

from memviz.gui.selection import Selection
from memviz.gui.theme import Theme
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
