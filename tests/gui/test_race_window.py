"""A case of the race lab in the whole window: opened, stepped, left again for a scenario."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from memviz.gui.app import WindowOptions, list_races, list_scenarios
from memviz.gui.main_window import MainWindow, Scenario
from memviz.gui.selection import Selection
from memviz.gui.settings import Settings
from memviz.gui.theme import Theme
from memviz.gui.views.policies import PoliciesView
from memviz.gui.views.request import RequestView
from memviz.gui.views.status import told
from memviz.gui.views.story import StoryView
from memviz.races.catalogue import CASES, names
from memviz.sources.base import Step
from memviz.sources.race import RaceSource
from tests.gui.clients import FakeClient


def race_client(name: str) -> FakeClient:
    """A case without a process of its own."""
    client = FakeClient()
    client.source = RaceSource(name)  # type: ignore[assignment]
    return client


@pytest.fixture
def lab(qtbot: QtBot, theme: Theme) -> Iterator[MainWindow]:
    """A window with a scenario and every race."""
    theme.apply(QApplication.instance())  # type: ignore[arg-type]
    races = [Scenario(case.name, case.title, lambda name=case.name: race_client(name)) for case in CASES]  # type: ignore[misc]
    window = MainWindow([Scenario("aged", "Aged file server", FakeClient)], theme, Settings(), races)
    qtbot.addWidget(window)
    window.resize(1280, 800)
    window.show()
    window.open_scenario("aged")
    window.session.pull()
    yield window
    window.close()


def test_a_case_is_chosen_stepped_and_left(qtbot: QtBot, lab: MainWindow) -> None:
    stepper = lab.stepper
    assert lab.docks.all["heatmap"].in_sight
    row = names().index("race-posted-unlock")
    stepper.cases.itemClicked.emit(stepper.cases.item(row))
    lab.session.pull()
    qtbot.waitUntil(lambda: stepper.race is not None)
    assert lab.windowTitle() == "The patch unlocks what it has not locked — memviz"
    assert lab.docks.all["stepper"].in_sight
    stepper.buttons["end"].click()
    lab.session.pull()
    assert stepper.race is not None
    assert stepper.race.broken
    assert "unlock of a wild pointer" in stepper.about.toPlainText()
    end = stepper.race.position
    stepper.buttons["back"].click()
    lab.session.pull()
    assert (stepper.race.position, stepper.race.ended) == (end - 1, False)
    snapshot = lab.session.snapshot
    assert snapshot is not None
    assert snapshot.cpus[0].where.startswith("races/posted.py:")
    assert lab.settings.scenario == "aged"  # the next window opens a scenario
    lab.open_scenario("aged")
    lab.session.pull()
    qtbot.waitUntil(lambda: stepper.race is None or lab.docks.all["heatmap"].in_sight)
    assert lab.docks.all["heatmap"].in_sight


def test_the_window_is_given_every_case_and_can_begin_with_one() -> None:
    options = WindowOptions(scenario="race-umount", seed=5)
    _, first = list_scenarios(options)
    assert first == "race-umount"
    assert [one.name for one in list_races(options)] == names()


def test_in_a_race_no_panel_names_a_button_that_is_off(qtbot: QtBot, selection: Selection, theme: Theme) -> None:
    source = RaceSource("race-reader")
    source.command(1, Step(3, "point"))
    shot = source.snapshot()
    for kind in (RequestView, StoryView, PoliciesView):
        view = kind(selection, theme)
        qtbot.addWidget(view)
        view.show_snapshot(shot)
        assert view.hint() == "A race is only stepped; a scenario has more: Ctrl+N"


def test_the_line_at_the_top_says_what_keys_do_to_a_race(lab: MainWindow) -> None:
    lab.open_scenario("race-reader")
    lab.session.pull()
    assert told(lab.session).words == "Paused. → takes the next step, ← the last one back, Space goes on by itself."
