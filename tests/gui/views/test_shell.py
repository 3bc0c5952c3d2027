"""Every panel of the shell with nothing and with everything, at any size."""

from __future__ import annotations

import pytest
from pytestqt.qtbot import QtBot

from memviz.gui.render.event_log import EventLog
from memviz.gui.render.history import History
from memviz.gui.selection import Selection
from memviz.gui.theme import Theme
from memviz.gui.views.contiguity import ContiguityView
from memviz.gui.views.events import EventsView
from memviz.gui.views.request import RequestView
from memviz.gui.views.story import StoryView
from memviz.gui.views.timeline import TimelineView
from memviz.sources.base import Defragment, RequestPages
from tests.gui.screen import shown
from tests.gui.synthetic import SyntheticSource, empty_snapshot


@pytest.fixture
def log() -> EventLog:
    return EventLog()


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
