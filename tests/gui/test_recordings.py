"""The window records, plays and goes on."""

from __future__ import annotations

import dataclasses
import itertools
import json
from pathlib import Path

import pytest
from PySide6.QtCore import QPoint, Qt

from memviz.gui.main_window import MainWindow, Scenario
from memviz.gui.settings import Settings
from memviz.gui.theme import Theme
from memviz.recording.reader import Reader
from memviz.recording.writer import Instant, Writer
from memviz.sources.base import Rate, RequestPages, Step, simulation
from memviz.sources.continued import AGAIN
from memviz.sources.host import HostClient
from memviz.sources.simulation import SimulationSource
from tests.gui.clients import FakeClient


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """Forty instants of a small machine, with a request in the middle."""
    path = tmp_path / "small.memviz"
    source = SimulationSource("aged-file-server", seed=5, memory_mib=32)
    writer = Writer(path, {"title": "Small", "origin": json.dumps(source.origin())})
    done = 0
    for number in range(40):
        source.command(number, Step(64))
        if number == 20:
            source.command(100, RequestPages(9, 0xCC0))
        journal = tuple(source.journal[done:])
        done = len(source.journal)
        writer.write(Instant(source.snapshot(), number * 33_000_000, journal))
    writer.finish("finished")
    return path


PATIENCE_MS = 20_000  # a process starts, on a machine that may be busy


def shown(window: MainWindow) -> int:
    """Which instant the window shows, from 0; -1: none."""
    snapshot = window.session.snapshot
    return -1 if snapshot is None or snapshot.playback is None else snapshot.playback.at


def recorded(window: MainWindow) -> int:
    """How many instants the recording has that is being made."""
    snapshot = window.session.snapshot
    return 0 if snapshot is None or snapshot.recording is None else snapshot.recording.instants


@pytest.fixture
def playing(qtbot, window: MainWindow, recording: Path) -> MainWindow:  # type: ignore[no-untyped-def]
    window.recordings.open(str(recording))
    qtbot.waitUntil(lambda: shown(window) >= 0, timeout=PATIENCE_MS)
    window.session.set_running(False)
    qtbot.waitUntil(lambda: window.session.snapshot.state == "paused", timeout=PATIENCE_MS)  # type: ignore[union-attr]
    yield window
    window.session.close()


def test_a_recording_opens_with_all_of_its_past(playing: MainWindow, recording: Path) -> None:
    with Reader(recording) as reader:
        past = reader.past()
    assert playing.session.history.times.tolist() == past["time"].tolist()
    assert [marker.kind for marker in playing.session.history.markers if marker.order == 9]
    assert playing.windowTitle() == "small.memviz — memviz"
    assert playing.top_bar.source.text.startswith("Recording · ")
    assert playing.top_bar.source.text.endswith(" of 40")
    assert playing.actions_by_name["continue"].isEnabled()


def test_the_pointer_winds_it(qtbot, playing: MainWindow) -> None:  # type: ignore[no-untyped-def]
    timeline = playing.timeline
    middle = timeline.height() // 2
    for part in (0.9, 0.1, 0.6):
        x = int(timeline.width() * part)
        wanted = timeline.time_at(x)
        qtbot.mousePress(timeline, Qt.MouseButton.LeftButton, pos=QPoint(x, middle))
        qtbot.mouseRelease(timeline, Qt.MouseButton.LeftButton, pos=QPoint(x, middle))
        qtbot.waitUntil(
            lambda wanted=wanted: abs(playing.session.snapshot.time_ns - wanted) < 6_000_000, timeout=PATIENCE_MS
        )
        assert playing.session.snapshot.time_ns <= wanted


def test_there_is_one_time_cursor_wherever_it_is_moved(qtbot, playing: MainWindow) -> None:  # type: ignore[no-untyped-def]
    """Charts had one of their own, and Home and End moved nothing that could be seen."""
    playing.docks.all["charts"].raise_()
    charts = playing.charts
    qtbot.waitUntil(lambda: charts.snapshot is not None and charts.history.times.size == 40, timeout=PATIENCE_MS)
    times = playing.session.history.times
    playing.actions_by_name["go_end"].trigger()
    qtbot.waitUntil(lambda: shown(playing) == 39, timeout=PATIENCE_MS)
    qtbot.waitUntil(lambda: charts._cursor() == int(times[39]), timeout=PATIENCE_MS)
    place = QPoint(round(charts.x_of(int(times[20]))) + 1, charts.height() // 2)
    qtbot.mouseClick(charts, Qt.MouseButton.LeftButton, pos=place)
    qtbot.waitUntil(lambda: abs(shown(playing) - 20) <= 1, timeout=PATIENCE_MS)
    qtbot.waitUntil(lambda: charts._cursor() == playing.session.snapshot.time_ns, timeout=PATIENCE_MS)  # type: ignore[union-attr]
    at = shown(playing)
    qtbot.keyClick(charts, Qt.Key.Key_Left)
    qtbot.waitUntil(lambda: shown(playing) < at, timeout=PATIENCE_MS)
    playing.actions_by_name["go_begin"].trigger()
    qtbot.waitUntil(lambda: shown(playing) == 0, timeout=PATIENCE_MS)


def test_keys_step_and_jump(qtbot, playing: MainWindow) -> None:  # type: ignore[no-untyped-def]
    playing.recordings.seek(0)
    qtbot.waitUntil(lambda: shown(playing) == 0, timeout=PATIENCE_MS)
    playing.actions_by_name["step"].trigger()
    qtbot.waitUntil(lambda: shown(playing) == 1, timeout=PATIENCE_MS)
    playing.actions_by_name["step_back"].trigger()
    qtbot.waitUntil(lambda: shown(playing) == 0, timeout=PATIENCE_MS)
    playing.actions_by_name["next_failure"].trigger()
    qtbot.waitUntil(lambda: shown(playing) == 20, timeout=PATIENCE_MS)
    events = playing.session.log.events
    assert 13 in events["kind"]
    playing.actions_by_name["next_failure"].trigger()
    qtbot.waitUntil(lambda: playing.session.outcome is not None, timeout=PATIENCE_MS)
    assert "no failure behind this instant" in playing.session.outcome.sentence


def test_what_the_timeline_shows_is_repeated(qtbot, playing: MainWindow, recording: Path) -> None:  # type: ignore[no-untyped-def]
    with Reader(recording) as reader:
        begin, end = reader.times_of(8)[0], reader.times_of(14)[0]
    playing.selection.set_range((begin, end))
    playing.session.send(Rate(8.0))
    playing.actions_by_name["loop"].trigger()
    qtbot.waitUntil(lambda: playing.session.snapshot.playback.loop == (begin, end), timeout=PATIENCE_MS)
    seen: list[int] = []

    def round_twice() -> bool:
        seen.append(shown(playing))
        return sum(after < before for before, after in itertools.pairwise(seen)) >= 2

    qtbot.waitUntil(round_twice, timeout=PATIENCE_MS)
    assert 7 <= min(seen[1:])
    assert max(seen[1:]) <= 13
    playing.actions_by_name["loop"].trigger()
    qtbot.waitUntil(lambda: playing.session.snapshot.playback.loop is None, timeout=PATIENCE_MS)
    playing.selection.set_range(None)


def test_charts_show_all_of_it_before_it_was_played(qtbot, playing: MainWindow, recording: Path) -> None:  # type: ignore[no-untyped-def]
    with Reader(recording) as reader:
        times = [reader.times_of(ident)[0] for ident in range(1, 41)]
    qtbot.waitUntil(lambda: playing.session.series.times.tolist() == times, timeout=PATIENCE_MS)
    qtbot.waitUntil(lambda: playing.session.series.failed[9] + playing.session.series.ok[9] == 1, timeout=PATIENCE_MS)
    playing.recordings.seek(times[20])
    qtbot.waitUntil(lambda: shown(playing) == 20, timeout=PATIENCE_MS)
    assert playing.session.series.times.tolist() == times, "winding changes nothing of that"


def test_what_is_missing_is_said_where_it_is(qtbot, playing: MainWindow) -> None:  # type: ignore[no-untyped-def]
    shown_now = playing.session.snapshot
    times = playing.session.history.times
    begin, middle, end = int(times[0]), int(times[len(times) // 2]), int(times[-1])
    played = shown_now.playback._replace(gaps=((middle, end, 12),), left_out=((begin, middle, 3400),))
    timeline = playing.timeline
    timeline.show_snapshot(dataclasses.replace(shown_now, playback=played))
    left = timeline.missing_at(timeline.x_of(begin + (middle - begin) // 4))
    assert left == "3,400 routine events and bits of what CPUs did are left out here: too many came."
    assert timeline.missing_at(timeline.x_of(end)) == "12 instants are missing here: the disk was too slow."
    assert timeline.header.subtitle.endswith("▂ instants missing"), "what the bar below the curve is"


def test_the_legend_is_of_the_instant_that_it_was_wound_to(qtbot, playing: MainWindow, recording: Path) -> None:  # type: ignore[no-untyped-def]
    """Also when the one before was counted just then."""
    heatmap = playing.views[0]
    with Reader(recording) as reader:
        first, last = reader.at(1), reader.at(40)
    heatmap._counted_at = 0.0
    heatmap.show_snapshot(first)
    before = heatmap.legend.accessibleDescription()
    heatmap.show_snapshot(last)
    qtbot.waitUntil(lambda: heatmap.legend.accessibleDescription() != before, timeout=3000)
    said = heatmap.legend.accessibleDescription()
    heatmap._show_legend()
    assert heatmap.legend.accessibleDescription() == said


def test_going_on_from_an_instant(qtbot, playing: MainWindow, recording: Path) -> None:  # type: ignore[no-untyped-def]
    with Reader(recording) as reader:
        at_ns, ops = reader.times_of(30)[0], reader.ops_of(30)
    playing.recordings.seek(at_ns)
    qtbot.waitUntil(lambda: shown(playing) == 29, timeout=PATIENCE_MS)
    playing.actions_by_name["continue"].trigger()
    qtbot.waitUntil(
        lambda: (
            playing.session.snapshot is not None
            and playing.session.snapshot.source == "simulation"
            and playing.session.snapshot.state == "paused"
        ),
        timeout=20_000,
    )
    assert (playing.session.snapshot.time_ns, playing.session.snapshot.ops) == (at_ns, ops)
    assert not playing.actions_by_name["continue"].isEnabled()


def test_going_on_can_be_called_off(qtbot, playing: MainWindow, recording: Path) -> None:  # type: ignore[no-untyped-def]
    """Back to the recording, where it stood."""
    with Reader(recording) as reader:
        at_ns = reader.times_of(31)[0]
    bar = playing.catch_up
    now = dataclasses.replace(playing.session.snapshot, playback=None, state="running", notice=f"{AGAIN}37 %")  # type: ignore[type-var]
    playing.recordings.go_on(str(recording), at_ns)
    playing.session.snapshot = now
    bar.look()
    assert bar.isVisible()
    assert (bar.bar.value(), bar.bar.maximum()) == (37, 100)
    assert bar.words.text.endswith("on the way to where the recording stands …")
    bar.cancel.click()
    qtbot.waitUntil(lambda: shown(playing) == 30, timeout=PATIENCE_MS)
    qtbot.waitUntil(lambda: playing.session.snapshot.state == "paused", timeout=PATIENCE_MS)  # type: ignore[union-attr]
    assert not bar.isVisible()
    assert not playing.recordings.go_back()


def test_start_again_is_the_recording_and_then_the_run_that_goes_on(qtbot, playing: MainWindow) -> None:  # type: ignore[no-untyped-def]
    """And not the scenario that was open before, in place of both."""
    names: list[str] = []
    playing.ask_file = lambda title, name, kinds: names.append(name) or ""  # type: ignore[method-assign, func-returns-value]
    playing.recordings.seek_paused(playing.session.snapshot.playback.last_ns)  # type: ignore[union-attr]
    qtbot.waitUntil(lambda: shown(playing) == 39, timeout=PATIENCE_MS)
    playing.actions_by_name["restart"].trigger()
    assert playing.windowTitle() == "small.memviz — memviz"
    qtbot.waitUntil(lambda: 0 <= shown(playing) < 39, timeout=PATIENCE_MS)
    playing.recordings.toggle()
    playing.recordings.go_on()
    playing.actions_by_name["restart"].trigger()
    assert playing.windowTitle() == "small.memviz, going on — memviz"
    playing.recordings.toggle()
    assert [name.startswith("small-2") for name in names] == [True, True], "called after what it is of"
    playing.open_scenario("aged")
    playing.actions_by_name["restart"].trigger()
    assert playing.scenario == "aged"
    assert "small" not in playing.windowTitle()


def test_the_record_button(qtbot, theme: Theme, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    spec = simulation("aged-file-server", 3, 32)
    window = MainWindow([Scenario("aged", "Aged", lambda: HostClient(spec))], theme, Settings())
    qtbot.addWidget(window)
    window.show()
    window.open_scenario("aged")
    window.session.set_running(True)
    path = tmp_path / "mine"
    window.ask_file = lambda title, name, kinds: str(path)  # type: ignore[method-assign]
    record = window.actions_by_name["record"]
    qtbot.waitUntil(lambda: window.session.snapshot is not None, timeout=PATIENCE_MS)
    record.trigger()
    qtbot.waitUntil(lambda: recorded(window) > 3, timeout=PATIENCE_MS)
    assert record.isChecked()
    assert window.top_bar.source.text.startswith("● ")
    record.trigger()
    qtbot.waitUntil(lambda: not window.session.recording, timeout=PATIENCE_MS)
    assert not record.isChecked()
    qtbot.waitUntil(lambda: window.session.outcome is not None, timeout=PATIENCE_MS)
    assert "mine.memviz." in window.session.outcome.sentence
    record.trigger()
    qtbot.waitUntil(
        lambda: "exists already" in (window.session.outcome.sentence if window.session.outcome else ""),
        timeout=PATIENCE_MS,
    )
    assert not record.isChecked()
    window.session.close()
    with Reader(path.with_suffix(".memviz")) as reader:
        assert reader.finished


def test_nobody_chose_a_file(window: MainWindow, client: FakeClient) -> None:
    window.ask_file = lambda title, name, kinds: ""  # type: ignore[method-assign]
    before = len(client.sent)
    window.actions_by_name["record"].trigger()
    assert len(client.sent) == before
    assert not window.actions_by_name["record"].isChecked()


def test_a_file_that_is_none_says_so_and_the_run_stays(window: MainWindow, client: FakeClient, tmp_path: Path) -> None:
    path = tmp_path / "letter.memviz"
    path.write_text("Dear Sir or Madam, " * 20)
    window.show_gallery()
    for act in (window.recordings.open, window.recordings.go_on):
        act(str(path))
        assert f"{path} is no memviz recording" in window.status.told.words
        assert window.status.told.tone == "bad"
        assert window.session.client is client
        assert client.alive
        assert window.windowTitle().startswith("Aged file server")
        assert window.gallery is not None
        assert window.gallery.isHidden(), "it would lie over the sentence"


def test_where_nothing_runs_the_file_that_is_none_takes_that_place(qtbot, theme: Theme, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "letter.memviz"
    path.write_text("Dear Sir or Madam, " * 20)
    window = MainWindow([], theme, Settings())
    qtbot.addWidget(window)
    window.recordings.open(str(path))
    qtbot.waitUntil(lambda: window.session.failure != "", timeout=PATIENCE_MS)
    assert "letter.memviz is no memviz recording" in window.session.failure
    window.session.close()
