"""Side by side: two instants of a recording, a recording and the run that goes on from it."""

from __future__ import annotations

import csv
import json
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import QPointF, Qt
from PySide6.QtGui import QImage
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from memviz.analysis.difference import difference
from memviz.gui import export
from memviz.gui.compare import STEPS, CompareWindow
from memviz.gui.compare_views import Maps
from memviz.gui.controls import Button
from memviz.gui.jobs import Progress
from memviz.gui.main_window import MainWindow
from memviz.gui.render.shown_end import GRAIN
from memviz.kernel.page import OWNER_UNKNOWN
from memviz.recording.reader import Reader
from memviz.recording.writer import Instant, Writer
from memviz.snapshot import Snapshot
from memviz.sources.base import SetPolicy, Step
from memviz.sources.simulation import SimulationSource
from tests.gui.synthetic import SyntheticSource
from tests.gui.test_recordings import PATIENCE_MS, playing, recording

__all__ = ["playing", "recording"]


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """The same machine with the same seed, under another policy."""
    path = tmp_path / "fixed.memviz"
    source = SimulationSource("aged-file-server", seed=5, memory_mib=32)
    source.command(1, SetPolicy("xa_nodes", "fixed"))
    writer = Writer(path, {"title": "Fixed", "origin": json.dumps(source.origin())})
    for number in range(40):
        source.command(number, Step(64))
        writer.write(Instant(source.snapshot(), number * 33_000_000))
    writer.finish("finished")
    return path


def opened(window: MainWindow) -> CompareWindow:
    found = window.findChild(CompareWindow)
    assert found is not None
    return found


def settled(qtbot: QtBot, shown: CompareWindow, first: int, second: int) -> None:
    """Both sides show these instants, and are compared."""

    def there() -> bool:
        times = [
            side.snapshot.time_ns if side is not None and side.snapshot is not None else -1 for side in shown.sides
        ]
        return times == [first, second] and shown.found is not None and not shown._stale

    qtbot.waitUntil(there, timeout=PATIENCE_MS)


def test_two_instants_of_the_recording_that_is_played(qtbot: QtBot, playing: MainWindow, recording: Path) -> None:
    with Reader(recording) as reader:
        first, last = reader.at(1), reader.at(reader.instants)
        expected = difference(first, last)
    playing.actions_by_name["compare"].trigger()
    shown = opened(playing)
    settled(qtbot, shown, first.time_ns, last.time_ns)
    assert shown.found is not None
    assert expected.frames is not None
    assert np.array_equal(shown.found.frames, expected.frames), "as the command line has it"
    assert shown.found[1:] == expected[1:]
    assert shown.maps.titles[1].text() == f"What differs: {int((expected.frames != 0).sum()):,} of 8,192 page frames"
    rows = shown.table.rows()
    free = next(row for row in expected.owners if row.name == "free")
    assert ["free", f"{free.first:,}", f"{free.second:,}", f"{free.by:+,}"] in rows
    assert "The same policies" in shown.words.text()
    # The map in the middle is the difference, frame for frame.
    assert np.array_equal(shown.maps._pyramids[1].levels[0][: expected.frames.size], expected.frames)
    qtbot.keyClick(shown.table, Qt.Key.Key_C, Qt.KeyboardModifier.ControlModifier)
    assert QApplication.clipboard().text().splitlines()[0] == "what\tfirst\tsecond\tby"
    # One cursor for both: they are alike.
    shown.linked.click()
    settled(qtbot, shown, first.time_ns, first.time_ns)
    assert shown.table.rows() == [["what", "first", "second", "by"]]
    shown.sliders[1].setValue(STEPS)
    settled(qtbot, shown, last.time_ns, last.time_ns)
    assert shown.sliders[0].value() == STEPS
    shown.close()


def test_maps_move_together(qtbot: QtBot, playing: MainWindow) -> None:
    playing.actions_by_name["compare"].trigger()
    shown = opened(playing)
    qtbot.waitUntil(lambda: shown.found is not None, timeout=PATIENCE_MS)
    shown.maps.maps[1].zoom(4.0, QPointF(10, 10))
    cameras = [one.camera for one in shown.maps.maps]
    assert cameras[0].zoom == 4.0
    assert len(set(cameras)) == 1
    shown.maps.maps[2].fit()
    assert {one.camera.zoom for one in shown.maps.maps} == {1.0}
    shown.grab()  # what is at a point is what is painted there
    pfn = shown.maps.maps[0].pfn_at(QPointF(40, 40))
    qtbot.mouseClick(shown.maps.maps[2], Qt.MouseButton.LeftButton, pos=QPointF(40, 40).toPoint())
    assert playing.selection.now.pfn == shown.maps.maps[1].pfn_at(QPointF(40, 40)) == pfn
    shown.close()


def test_two_recordings_of_two_policies(qtbot: QtBot, playing: MainWindow, recording: Path, other: Path) -> None:
    playing.recordings.compare()
    shown = opened(playing)
    shown.choose(1, str(other))
    shown.linked.setChecked(True)
    shown.sliders[0].setValue(STEPS)
    with Reader(recording) as one, Reader(other) as two:
        end = max(one.last_ns, two.last_ns)
        first, second = one.at(one.find(end)), two.at(two.find(end))
        curves = [reader.past() for reader in (one, two)]
    settled(qtbot, shown, first.time_ns, second.time_ns)
    assert shown.words.text() == "Policies that differ (first / second): xa nodes: movable / fixed."
    assert shown.curves.names == ("small.memviz", "fixed.memviz")
    for (times, values), past in zip(shown.curves.curves, curves, strict=True):
        assert times.tolist() == past["time"].tolist()
        assert values.tolist() == past["unusable"].tolist()
    shown.choose(1, "/etc/hostname")
    qtbot.waitUntil(lambda: "Second: /etc/hostname is no memviz recording" in shown.words.text(), timeout=PATIENCE_MS)
    shown.close()


def test_what_is_compared_can_be_taken_out(qtbot: QtBot, playing: MainWindow, recording: Path, tmp_path: Path) -> None:
    """As every panel can: what is shown, what differs, the curves."""
    playing.recordings.compare()
    shown = opened(playing)
    with Reader(recording) as reader:
        first, last = reader.at(1), reader.at(reader.instants)
        expected, past = difference(first, last), reader.past()
    settled(qtbot, shown, first.time_ns, last.time_ns)
    names = iter(["shown.png", "shown.svg", "differs.csv", "curves.csv"])
    playing.ask_file = lambda title, name, kinds: str(tmp_path / next(names))  # type: ignore[method-assign]
    before = playing.status.told.words
    for button, name in (
        ("compare_picture", "shown.png"),
        ("compare_picture", "shown.svg"),
        ("compare_table", "differs.csv"),
        ("compare_curves", "curves.csv"),
    ):
        qtbot.mouseClick(shown.findChild(Button, button), Qt.MouseButton.LeftButton)
        # Said where it was asked for: the window may be behind it.
        said = f"✓  {name} is written: "
        qtbot.waitUntil(lambda said=said: shown.told.text.startswith(said), timeout=PATIENCE_MS)  # type: ignore[misc]
        assert playing.status.told.words == before
    assert QImage(str(tmp_path / "shown.png")).size() == shown.size()
    assert "What differs" in (tmp_path / "shown.svg").read_text()
    with (tmp_path / "differs.csv").open() as file:
        rows = list(csv.reader(file))
    free = next(row for row in expected.owners if row.name == "free")
    assert rows[0] == ["part", "what", "first", "second", "by"]
    assert ["page frames", "free", str(free.first), str(free.second), str(free.by)] in rows
    with (tmp_path / "curves.csv").open() as file:
        rows = list(csv.reader(file))
    assert [int(row[2]) for row in rows[1:]] == 2 * past["time"].tolist()
    assert [int(row[12]) for row in rows[1:]] == 2 * past["unusable"][:, 9].tolist()
    shown.close()


def test_what_is_being_saved_is_saved_though_the_comparison_is_closed(
    qtbot: QtBot, playing: MainWindow, tmp_path: Path
) -> None:
    """It would be gone without a word: the window goes on with it, and says so."""
    playing.recordings.compare()
    shown = opened(playing)
    target = tmp_path / "late.csv"
    go_on = threading.Event()

    def write(path: Path, _: Progress) -> None:
        go_on.wait()
        path.write_text("late")

    export.begin_file(shown.jobs, str(target), ".csv", write)
    shown.close()
    go_on.set()
    qtbot.waitUntil(lambda: playing.status.told.words.startswith("late.csv is written: "), timeout=PATIENCE_MS)
    assert target.read_text() == "late"


def test_the_comparison_does_not_lie_over_the_window(playing: MainWindow) -> None:
    """Or no policy could be turned while both futures are looked at."""
    playing.recordings.compare()
    shown = opened(playing)
    assert shown.windowHandle().transientParent() is None
    assert shown.windowFlags() & Qt.WindowType.WindowType_Mask == Qt.WindowType.Window
    playing.close()
    assert not shown.isVisible(), "and it goes with the window"


def test_both_futures(qtbot: QtBot, playing: MainWindow, recording: Path) -> None:
    """Continue from an instant, turn a policy, and see what was recorded beside what becomes of it now."""
    with Reader(recording) as reader:
        at_ns, last_ns = reader.times_of(25)[0], reader.last_ns
    playing.recordings.go_on(str(recording), at_ns)

    def arrived() -> bool:
        shown = playing.session.snapshot
        return shown is not None and shown.source == "simulation" and shown.state == "paused" and shown.time_ns == at_ns

    qtbot.waitUntil(arrived, timeout=PATIENCE_MS)
    playing.recordings.compare()
    shown = opened(playing)
    settled(qtbot, shown, at_ns, at_ns)
    assert shown.found is not None
    assert shown.found.frames is not None
    assert not shown.found.frames.any(), "bit for bit"
    assert [side.title for side in shown.sides if side is not None] == ["small.memviz", "This run"]
    playing.session.set_policy("xa_nodes", "fixed")
    before = playing.session.snapshot.ops
    playing.session.step(400)
    qtbot.waitUntil(lambda: playing.session.snapshot.ops == before + 400, timeout=PATIENCE_MS)
    qtbot.wait(300)  # what comes from the middle of the work is past
    now = playing.session.snapshot.time_ns
    with Reader(recording) as reader:
        then = reader.times_of(reader.find(now))[0]
    settled(qtbot, shown, then, now)
    assert shown.words.text() == "Policies that differ (first / second): xa nodes: movable / fixed."
    assert now <= last_ns
    assert not shown.sliders[0].isEnabled(), "the recording follows the run"
    shown.close()


def test_maps_leave_out_the_end_that_neither_side_manages(qtbot: QtBot, window: MainWindow) -> None:
    """What one of the two manages is shown on both: one place is one page frame."""
    maps = Maps(window.selection, window.theme)
    qtbot.addWidget(maps)
    maps.resize(900, 300)
    with qtbot.waitExposed(maps):
        maps.show()

    def ending_at(end: int) -> Snapshot:
        one = SyntheticSource(nr_frames=8 * GRAIN).snapshot()
        owner = one.pages.owner.copy()
        owner[end:] = OWNER_UNKNOWN
        return replace(one, pages=replace(one.pages, owner=owner))

    first, second = ending_at(2 * GRAIN), ending_at(4 * GRAIN)
    maps.show_sides(first, second, difference(first, second))
    assert [one.layout_.nr for one in maps.maps if one.layout_ is not None] == [4 * GRAIN] * 3
    assert maps.left_out == "131,072 of 262,144 page frames are shown: nobody manages the last 131,072"
    whole = ending_at(8 * GRAIN)
    maps.show_sides(first, whole, difference(first, whole))
    assert [one.layout_.nr for one in maps.maps if one.layout_ is not None] == [8 * GRAIN] * 3
    assert maps.left_out == ""
