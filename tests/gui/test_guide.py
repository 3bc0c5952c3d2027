"""Guided runs in the window: the words of a stop, the panel that is framed, and on to the next."""

from __future__ import annotations

from dataclasses import replace

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from memviz.gui.main_window import MainWindow, Scenario
from memviz.gui.settings import Settings
from memviz.gui.theme import Theme
from memviz.kernel.page import OWNER_HUGE
from memviz.scenario import parse
from memviz.snapshot import Guide
from memviz.sources.base import Run
from memviz.sources.simulation import SimulationSource
from tests.gui.clients import PlayedClient
from tests.gui.screen import wheel
from tests.gui.synthetic import snapshot

ON_THE_WAY = Guide(0, 2, "", "", "", 0, 100)
FIRST = Guide(1, 2, "See how many slabs there are.", "slab_grid", "", 100, 200)
LAST = Guide(2, 2, "That was it.", "policies", "", 200, -1)


@pytest.fixture
def tour(qtbot: QtBot, theme: Theme) -> tuple[MainWindow, PlayedClient]:
    """A tour of two stops, half way to the first."""
    client = PlayedClient([replace(snapshot(), seq=1, ops=50, state="running", guide=ON_THE_WAY)])
    window = MainWindow([Scenario("t", "T", lambda: client, lambda: client)], theme, Settings())
    qtbot.addWidget(window)
    window.resize(1280, 720)
    window.show()
    window.open_scenario("t", guided=True)
    window.session.pull()
    return window, client


def arrive(window: MainWindow, client: PlayedClient, guide: Guide, ops: int, state: str = "paused") -> None:
    client.snapshots = [replace(snapshot(), seq=ops, ops=ops, state=state, guide=guide)]
    window.session.pull()


def test_on_the_way_it_says_how_far(tour: tuple[MainWindow, PlayedClient]) -> None:
    window, _ = tour
    assert window.guide.isVisible()
    assert window.guide.headline() == "To stop 1 of 2: 50 %"
    assert not window.guide.next.isEnabled()


def test_a_stop_says_what_to_look_at_and_frames_the_panel(tour: tuple[MainWindow, PlayedClient]) -> None:
    window, client = tour
    arrive(window, client, FIRST, 100)
    assert window.guide.headline() == "Stop 1 of 2"
    assert window.guide.words() == "See how many slabs there are."
    assert [name for name, dock in window.docks.all.items() if dock.attention] == ["slab_grid"]
    accent = window.theme.color("ui.accent").name()
    picture = window.docks.all["slab_grid"].grab().toImage()
    assert picture.pixelColor(picture.width() // 2, 1).name() == accent


def test_n_goes_on_and_the_last_stop_ends_it(qtbot: QtBot, tour: tuple[MainWindow, PlayedClient]) -> None:
    window, client = tour
    arrive(window, client, FIRST, 100)
    client.sent.clear()
    window.actions_by_name["next_stop"].trigger()
    assert client.sent == [Run()]
    assert not any(dock.attention for dock in window.docks.all.values())
    arrive(window, client, FIRST, 150, "running")
    arrive(window, client, LAST, 200)
    assert window.docks.all["policies"].attention
    assert window.docks.all["policies"].in_sight
    assert not window.guide.next.isEnabled()
    client.sent.clear()
    window.actions_by_name["next_stop"].trigger()
    assert client.sent == []


def test_next_keeps_the_keys_from_stop_to_stop(qtbot: QtBot, tour: tuple[MainWindow, PlayedClient]) -> None:
    """They went to the menu button, and the second Return opened the menu."""
    window, client = tour
    arrive(window, client, FIRST, 100)
    window.guide.next.setFocus()
    qtbot.keyClick(window.guide.next, Qt.Key.Key_Return)
    arrive(window, client, FIRST, 150, "running")
    assert QApplication.focusWidget() is window.guide
    arrive(window, client, FIRST._replace(step=2, steps=3), 200)
    assert QApplication.focusWidget() is window.guide.next
    arrive(window, client, LAST, 300)
    qtbot.keyClick(window.guide, Qt.Key.Key_Tab)
    assert QApplication.focusWidget() is window.guide.leave


def test_no_other_scenario_is_opened_in_passing(qtbot: QtBot, tour: tuple[MainWindow, PlayedClient]) -> None:
    """By the wheel, by a letter, or by an arrow: there and back the tour was over."""
    window, _ = tour
    chooser = window.top_bar.scenarios
    window.top_bar.set_scenarios([("t", "T"), ("n", "Network"), ("u", "Updatedb")], "t")
    opened: list[str] = []
    window.top_bar.scenario_chosen.connect(opened.append)
    chooser.setFocus()
    wheel(chooser)
    for key in (Qt.Key.Key_U, Qt.Key.Key_Down):
        qtbot.keyClick(chooser, key)
        assert (opened, chooser.currentText()) == ([], "T")
    assert chooser.view().isVisible(), "an arrow opens the list"
    qtbot.keyClick(chooser.view(), Qt.Key.Key_Down)
    qtbot.keyClick(chooser.view(), Qt.Key.Key_Return)
    assert opened == ["n"]


def test_a_run_that_goes_on_by_itself_leaves_the_panel(tour: tuple[MainWindow, PlayedClient]) -> None:
    """With Space instead of N; behind the last stop there is no N."""
    window, client = tour
    arrive(window, client, LAST, 200)
    assert window.docks.all["policies"].attention
    arrive(window, client, LAST, 250, "running")
    assert not any(dock.attention for dock in window.docks.all.values())


def test_an_ordinary_run_has_no_bar(qtbot: QtBot, tour: tuple[MainWindow, PlayedClient]) -> None:
    window, client = tour
    client.snapshots = [replace(snapshot(), seq=9)]
    qtbot.mouseClick(window.guide.leave, Qt.MouseButton.LeftButton)
    window.session.pull()
    assert not window.guide.isVisible()
    assert not window.guided


SCRIPT = """
title = "t"
summary = "s"
question = "q"
lesson = "l"
ops = 200
[machine]
memory_mib = 32
cpus = 2
[[workload]]
kind = "file-server"
params = { files = 20, pages = 20 }
[[workload]]
kind = "network"
[[moment]]
at = 50
do = "look"
look = "cpu_lanes"
say = "Look."
[[moment]]
at = 120
do = "request"
order = 4
times = 3
say = "Three."
[[moment]]
at = 120
do = "defragment"
say = "Defragment."
[[moment]]
at = 120
do = "contig"
pages = 1024
say = "A range."
"""


def test_a_source_stops_at_every_moment_and_reaches_the_same_state() -> None:
    guided = SimulationSource(parse(SCRIPT, "t"), guided=True)
    stops = []
    for _ in range(4):
        while guided.advance(0.01):
            pass
        guide = guided.snapshot().guide
        assert guide is not None
        stops.append((guide.step, guide.from_ops, guide.look, guide.say, guide.next_ops))
        assert guided.snapshot().state == "paused"
        if guide.say == "Three.":
            assert guide.told == "3 of 3 requests of order 4 succeeded (100 %)."
            assert guided.snapshot().notice == guide.told, "nobody told what came of it"
        if guide.say == "Defragment.":
            assert guided.snapshot().defrag is not None
        if len(stops) < 4:
            guided.command(len(stops), Run())
    assert stops == [
        (1, 50, "cpu_lanes", "Look.", 120),
        (2, 120, "request", "Three.", 120),
        (3, 120, "story", "Defragment.", 120),
        (4, 120, "heatmap", "A range.", -1),
    ]
    assert sum(1 for pfn in range(guided.machine.mem.nr) if guided.machine.mem.owner[pfn] == OWNER_HUGE) == 3 * 16
    plain = SimulationSource(parse(SCRIPT, "t"), scripted=True)
    plain.play.run(120)
    assert plain.digest() == guided.digest()
