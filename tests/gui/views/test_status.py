"""The line below the top bar: what is said first, and that a long sentence is not lost."""

from __future__ import annotations

import pytest
from pytestqt.qtbot import QtBot

from memviz.gui.selection import Selection
from memviz.gui.session import Session
from memviz.gui.theme import Theme
from memviz.gui.views.status import StatusLine, told
from memviz.snapshot import Outcome, Snapshot
from tests.gui.clients import FakeClient, PlayedClient
from tests.gui.synthetic import snapshot


@pytest.mark.parametrize(
    ("shot", "sign", "words"),
    [
        (snapshot(state="paused"), "❚❚", "Paused. Space runs, → does one operation."),
        (snapshot(state="ended"), "■", "The run has ended. F5 starts it again."),
        (snapshot(state="running"), "▶", "Memory fills and fragments. Press Request order N to see whether"),
        (snapshot(notice="Look at block 340."), "●", "Look at block 340."),
        (snapshot(outcomes=(Outcome(1, "request", False, "Order 9 failed."),)), "✗", "Order 9 failed."),
        (snapshot(outcomes=(Outcome(1, "run", True, ""),)), "❚❚", "Paused."),
        (snapshot(state="failed", notice="The run has stopped."), "▲", "The run has stopped."),
        (snapshot(state="failed"), "▲", "It failed without saying why."),
    ],
)
def test_the_most_important_thing_is_said(qtbot: QtBot, shot: Snapshot, sign: str, words: str) -> None:
    session = Session(Selection())
    session.open(lambda: PlayedClient([shot]))
    session.pull()
    assert told(session).sign == sign
    assert told(session).words.startswith(words)
    session.close()


def test_without_a_source_it_says_how_to_get_one(qtbot: QtBot) -> None:
    assert told(Session(Selection())).words == (
        "Nothing is open. Ctrl+N: choose a scenario · Ctrl+O: open a recording."
    )


def test_a_long_sentence_takes_two_lines_and_is_read_out_whole(qtbot: QtBot, theme: Theme) -> None:
    sentence = "Order 9 failed: " + "slabs of xa_node hold 41 blocks, " * 8
    client = FakeClient()
    session = Session(Selection())
    session.open(lambda: client)
    line = StatusLine(session, theme)
    qtbot.addWidget(line)
    line.resize(900, line.height())
    line.show()

    def inked_rows() -> int:
        image = line.grab().toImage()
        ground = image.pixel(4, line.height() // 2)
        rows = range(3, line.height() - 3)
        return sum(any(image.pixel(x, y) != ground for x in range(40, 500)) for y in rows)

    for text in ("Short.", sentence):
        client.source.outcomes = (
            *client.source.outcomes,
            Outcome(len(client.source.outcomes) + 1, "request", True, text),
        )
        session.pull()
        line.show_session()
        if text == "Short.":
            one_line = inked_rows()
    assert inked_rows() > 1.5 * one_line
    assert line.accessibleName() == sentence
    session.close()
