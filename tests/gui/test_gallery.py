"""The start page: what its cards say, and that keys alone reach and open every one of them."""

from __future__ import annotations

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QApplication, QLabel
from pytestqt.qtbot import QtBot

from memviz import resources, scenario
from memviz.gui.controls import Button
from memviz.gui.gallery import Entry, Gallery
from memviz.gui.main_window import MainWindow, Scenario
from memviz.gui.settings import Settings
from memviz.gui.theme import Theme
from memviz.sources.base import Run
from tests.gui.clients import FakeClient


@pytest.fixture
def start(qtbot: QtBot, theme: Theme) -> tuple[MainWindow, Gallery, dict[str, FakeClient]]:
    """A window that shows its start page, with three scenarios, two of them with a tour."""
    clients: dict[str, FakeClient] = {}

    def make(name: str) -> FakeClient:
        clients[name] = FakeClient()
        return clients[name]

    scenarios = [
        Scenario(
            name,
            name.title(),
            lambda name=name: make(name),
            (lambda name=name: make(f"{name} guided")) if stops else None,
            Entry(name, name.title(), f"{name} summary", f"{name}?", f"{name}!", stops),
        )
        for name, stops in (("one", 3), ("two", 0), ("three", 2))
    ]
    window = MainWindow(scenarios, theme, Settings())
    qtbot.addWidget(window)
    window.resize(1280, 720)
    window.show()
    window.show_gallery()
    assert window.gallery is not None
    return window, window.gallery, clients


def words_of(gallery: Gallery, name: str) -> str:
    card = next(card for card in gallery.cards if card.name == name)
    return " ".join(label.text() for label in card.findChildren(QLabel))


def focused() -> str:
    widget = QApplication.focusWidget()
    return widget.objectName() if widget is not None else ""


def test_a_card_says_what_the_scenario_asks_and_teaches(start: tuple[MainWindow, Gallery, object]) -> None:
    _, gallery, _ = start
    assert gallery.isVisible()
    assert words_of(gallery, "one") == "One one summary <b>Asks:</b> one? <b>Teaches:</b> one!"
    assert gallery.findChild(Button, "guide_one").text() == "Guided tour · 3 stops"  # type: ignore[union-attr]
    assert gallery.findChild(Button, "guide_two") is None


def test_a_click_opens_and_runs(qtbot: QtBot, start: tuple[MainWindow, Gallery, dict[str, FakeClient]]) -> None:
    window, gallery, clients = start
    qtbot.mouseClick(gallery.findChild(Button, "open_two"), Qt.MouseButton.LeftButton)
    assert not gallery.isVisible()
    assert list(clients) == ["two"]
    assert Run() in clients["two"].sent
    assert window.scenario == "two"
    assert not window.guided


def test_the_tour_is_another_source_and_starts_again_as_one(
    qtbot: QtBot, start: tuple[MainWindow, Gallery, dict[str, FakeClient]]
) -> None:
    window, gallery, clients = start
    qtbot.mouseClick(gallery.findChild(Button, "guide_three"), Qt.MouseButton.LeftButton)
    assert list(clients) == ["three guided"]
    window.restart()
    assert list(clients) == ["three guided"]
    window.end_tour()
    assert list(clients) == ["three guided", "three"]


@pytest.mark.usefixtures("start")
def test_tab_goes_round_the_page_and_never_behind_it(qtbot: QtBot) -> None:
    seen = []
    for _ in range(8):
        seen.append(focused())
        qtbot.keyClick(QApplication.focusWidget(), Qt.Key.Key_Tab)
    others = ["card_button_action_experiment", "card_button_action_open_recording"]
    assert seen == ["open_one", "guide_one", "open_two", "open_three", "guide_three", *others, "open_one"]
    for _ in range(4):
        qtbot.keyClick(QApplication.focusWidget(), Qt.Key.Key_Backtab)
    assert focused() == "guide_three"


def test_arrows_and_return(qtbot: QtBot, start: tuple[MainWindow, Gallery, dict[str, FakeClient]]) -> None:
    _, gallery, clients = start
    qtbot.waitUntil(lambda: gallery.cards[1].x() > gallery.cards[0].x())
    for _ in range(2):
        qtbot.keyClick(QApplication.focusWidget(), Qt.Key.Key_Right)
    assert focused() == "open_two"
    qtbot.keyClick(QApplication.focusWidget(), Qt.Key.Key_Return)
    assert list(clients) == ["two"]


def test_it_comes_back_over_a_run_and_goes_with_escape(
    qtbot: QtBot, start: tuple[MainWindow, Gallery, dict[str, FakeClient]]
) -> None:
    window, gallery, clients = start
    assert not gallery.back.isVisible()
    qtbot.keyClick(QApplication.focusWidget(), Qt.Key.Key_Escape)
    assert gallery.isVisible()  # there is nothing behind it yet
    window.open_scenario("two")
    assert not gallery.isVisible()
    window.actions_by_name["gallery"].trigger()
    assert gallery.isVisible()
    assert focused() == "open_two"
    qtbot.keyClick(QApplication.focusWidget(), Qt.Key.Key_Escape)
    assert not gallery.isVisible()
    assert list(clients) == ["two"]


def test_it_covers_the_window_at_any_size(qtbot: QtBot, start: tuple[MainWindow, Gallery, object]) -> None:
    window, gallery, _ = start
    for width, height, columns in ((1280, 720, 3), (1920, 1080, 4), (900, 600, 2)):
        window.resize(width, height)
        QApplication.processEvents()
        assert gallery.geometry() == window.rect()
        assert gallery.grid.itemAtPosition(0, columns - 1) is not None
        assert gallery.grid.itemAtPosition(0, columns) is None


@pytest.mark.parametrize("name", scenario.names())
def test_every_scenario_has_pictures_a_question_and_stops(name: str) -> None:
    found = scenario.load(name)
    assert found.question.endswith("?")
    assert found.lesson.endswith(".")
    assert found.moment
    assert all(moment.say for moment in found.moment)
    for theme in ("dark", "light"):
        assert resources.path(f"gallery/{name}-{theme}.png").stat().st_size > 500


def test_a_start_page_leaves_the_fonts_of_the_theme_alone(qtbot: QtBot, window: MainWindow) -> None:
    before = window.theme.font("big").pointSizeF()
    window.show_gallery()
    assert window.theme.font("big").pointSizeF() == before
