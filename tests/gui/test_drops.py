"""Files that are dropped onto the window, and onto the pages that lie over it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from PySide6.QtCore import QMimeData, QPoint, QPointF, Qt, QUrl
from PySide6.QtGui import QDragEnterEvent, QDragMoveEvent, QDropEvent
from pytestqt.qtbot import QtBot

from memviz.experiment.publish import brought_along
from memviz.gui.main_window import MainWindow
from memviz.gui.settings import Settings
from memviz.gui.theme import Theme
from tests.gui.clients import FakeClient

MOVE, COPY = Qt.DropAction.MoveAction, Qt.DropAction.CopyAction
LEFT, NONE = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier


def files(*paths: str | Path) -> QMimeData:
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(path)) for path in paths])
    return data


def drop(window: MainWindow, *paths: str | Path) -> QDropEvent:
    """Drag files from a program that proposes to move them over the window, and let go."""
    data = files(*paths)
    enter = QDragEnterEvent(QPoint(50, 50), MOVE | COPY, data, LEFT, NONE)
    window.dragEnterEvent(enter)
    assert enter.isAccepted()
    over = QDragMoveEvent(QPoint(60, 60), MOVE | COPY, data, LEFT, NONE)
    window.dragMoveEvent(over)
    assert over.dropAction() == COPY
    event = QDropEvent(QPointF(60, 60), MOVE | COPY, data, LEFT, NONE)
    window.dropEvent(event)
    return event


@pytest.fixture
def opened(window: MainWindow, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Recordings that the window was told to open."""
    paths: list[str] = []
    monkeypatch.setattr(window.recordings, "open", paths.append)
    return paths


def test_a_recording_is_opened_and_stays_where_it_is(window: MainWindow, opened: Sequence[str]) -> None:
    event = drop(window, "/data/night.memviz")
    assert opened == ["/data/night.memviz"]
    assert event.dropAction() == COPY, "who is told that it was moved takes it away"


def test_of_several_the_first_that_can_be_opened_is(window: MainWindow, opened: Sequence[str]) -> None:
    drop(window, "/data/letter.txt", "/data/night.memviz", "/data/day.memviz")
    assert opened == ["/data/night.memviz"]
    assert window.status.told.words == "One file at a time: night.memviz was taken, 2 more were left."


def test_anything_else_is_told_what_to_do(window: MainWindow, opened: Sequence[str]) -> None:
    window.show_gallery()
    drop(window, "/data/trace.txt")
    assert opened == []
    assert window.status.told.words.startswith("trace.txt is no recording (*.memviz)")
    assert "memviz import FILE" in window.status.told.words
    assert window.gallery is not None
    assert window.gallery.below.text() == window.status.told.words, "the start page lies over that line"
    window.show_gallery()
    assert window.gallery.below.text().startswith("Choose a scenario")


def test_results_of_an_experiment_are_shown(qtbot: QtBot, window: MainWindow) -> None:
    path = brought_along()
    assert path is not None
    window.show_gallery()
    drop(window, path)
    page = window.experiments.page
    assert page is not None
    assert page.isVisible()
    qtbot.waitUntil(lambda: not page.loading.running and page.results is not None, timeout=10_000)
    drop(window, "/data/trace.txt")
    assert page.told.text.startswith("trace.txt is no recording")
    about = page.results.spec.question if page.results is not None else ""
    page.choose_run(0, page.seed)
    assert page.told.text.startswith(about), "what was said gives way to what the page is about"


def test_a_recording_takes_the_experiments_place(
    qtbot: QtBot, window: MainWindow, client: FakeClient, tmp_path: Path
) -> None:
    letter = tmp_path / "letter.memviz"
    letter.write_text("Dear Sir or Madam, " * 20)
    page = window.experiments.show()
    qtbot.waitUntil(lambda: not page.loading.running, timeout=10_000)
    drop(window, letter)
    assert page.isVisible()
    assert f"{letter} is no memviz recording" in page.told.text
    window.open_scenario("aged")
    assert page.isHidden(), "what was opened would lie under the page"


def test_onto_a_start_page_with_nothing_below(qtbot: QtBot, theme: Theme, tmp_path: Path) -> None:
    letter = tmp_path / "letter.memviz"
    letter.write_text("Dear Sir or Madam, " * 20)
    window = MainWindow([], theme, Settings())
    qtbot.addWidget(window)
    window.show()
    window.show_gallery()
    drop(window, letter)
    assert window.gallery is not None
    assert window.gallery.isVisible()
    assert f"{letter} is no memviz recording" in window.gallery.below.text()
    assert window.session.client is None


def test_what_is_no_file_cannot_be_dropped(window: MainWindow) -> None:
    assert window.acceptDrops()
    words, link = QMimeData(), QMimeData()
    words.setText("words")
    link.setUrls([QUrl("https://example.org/night.memviz")])
    for data in (words, link):
        enter = QDragEnterEvent(QPoint(50, 50), COPY, data, LEFT, NONE)
        enter.ignore()
        window.dragEnterEvent(enter)
        assert not enter.isAccepted()


def test_what_is_said_while_results_are_read_is_there_when_they_are(qtbot: QtBot, window: MainWindow) -> None:
    path = brought_along()
    assert path is not None
    drop(window, path, "/data/day.memviz")
    page = window.experiments.page
    assert page is not None
    qtbot.waitUntil(lambda: not page.loading.running and page.results is not None, timeout=60_000)
    assert page.told.text.startswith("One file at a time")
    page.choose_run(1, page.seed)
    assert page.results is not None
    assert page.told.text.startswith(page.results.spec.question)
    drop(window, path)
    qtbot.waitUntil(lambda: not page.loading.running and page.results is not None, timeout=60_000)
    assert page.told.text.startswith(page.results.spec.question), "it was about the file of before"
