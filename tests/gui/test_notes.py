"""Notes in the window: written, jumped to, changed and taken away, by keys and by the pointer."""

from __future__ import annotations

from pathlib import Path

import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtWidgets import QApplication, QLineEdit
from pytestqt.qtbot import QtBot

from memviz.gui.main_window import MainWindow
from memviz.recording.notes import Notes
from memviz.recording.reader import Reader
from tests.gui.test_recordings import PATIENCE_MS, playing, recording, shown

__all__ = ["playing", "recording"]


@pytest.fixture(autouse=True)
def data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


def wound_to(qtbot: QtBot, window: MainWindow, at: int) -> None:
    qtbot.waitUntil(lambda: shown(window) == at, timeout=PATIENCE_MS)


def test_a_note_is_written_where_one_is(qtbot: QtBot, playing: MainWindow, recording: Path) -> None:
    with Reader(recording) as reader:
        times = [reader.times_of(ident)[0] for ident in (6, 31)]
    before = recording.read_bytes()
    for at_ns, text in zip(times, ("the first slab", "no order 9 from here on"), strict=True):
        playing.recordings.seek(at_ns)
        qtbot.waitUntil(lambda at_ns=at_ns: playing.session.snapshot.time_ns == at_ns, timeout=PATIENCE_MS)
        qtbot.keyClick(playing, Qt.Key.Key_D, Qt.KeyboardModifier.ControlModifier)
        editor = QApplication.focusWidget()
        assert isinstance(editor, QLineEdit)
        assert playing.notes_view.isVisible()
        editor.selectAll()
        qtbot.keyClicks(editor, text)
        qtbot.keyClick(editor, Qt.Key.Key_Return)
        qtbot.waitUntil(lambda text=text: text in [one.text for one in Notes(recording).all], timeout=PATIENCE_MS)
    assert [(one.time_ns, one.text) for one in Notes(recording).all] == [
        (times[0], "the first slab"),
        (times[1], "no order 9 from here on"),
    ]
    assert recording.read_bytes() == before
    assert playing.timeline._notes == playing.notes.all
    assert playing.notes_view.header.subtitle == "2 notes"
    assert playing.notes_view.as_table() == (
        ["time_ns", "text"],
        [[times[0], "the first slab"], [times[1], "no order 9 from here on"]],
    )


def test_notes_are_jumped_to(qtbot: QtBot, playing: MainWindow, recording: Path) -> None:
    notes = Notes(recording)
    with Reader(recording) as reader:
        for ident in (4, 12, 33):
            notes.add(reader.times_of(ident)[0], f"at {ident}")
    playing.notes.look_again()
    playing.recordings.seek(0)
    wound_to(qtbot, playing, 0)
    playing.actions_by_name["next_note"].trigger()
    wound_to(qtbot, playing, 3)
    playing.actions_by_name["next_note"].trigger()
    wound_to(qtbot, playing, 11)
    playing.actions_by_name["last_note"].trigger()
    wound_to(qtbot, playing, 3)
    playing.actions_by_name["last_note"].trigger()
    assert playing.session.outcome is not None
    assert playing.session.outcome.sentence == "There is no note before this instant."
    # From the list, by keys.
    playing.docks.all["notes"].raise_()
    rows = playing.notes_view.list
    rows.setFocus()
    rows.setCurrentItem(rows.topLevelItem(2))
    qtbot.keyClick(rows, Qt.Key.Key_Return)
    wound_to(qtbot, playing, 32)
    # In the timeline, by its flag.
    flag = QPoint(int(playing.timeline.x_of(notes.all[1].time_ns)) + 4, 5)
    qtbot.mouseClick(playing.timeline, Qt.MouseButton.LeftButton, pos=flag)
    wound_to(qtbot, playing, 11)


def test_a_note_is_changed_and_taken_away(qtbot: QtBot, playing: MainWindow, recording: Path) -> None:
    note = Notes(recording).add(1_000_000, "here")
    playing.notes.look_again()
    playing.docks.all["notes"].raise_()
    rows = playing.notes_view.list
    rows.setFocus()
    rows.setCurrentItem(rows.topLevelItem(0), 1)
    qtbot.keyClick(rows, Qt.Key.Key_F2)
    editor = rows.findChild(QLineEdit)
    assert editor is not None
    editor.end(False)
    qtbot.keyClicks(editor, " and there")
    qtbot.keyClick(editor, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: [one.text for one in Notes(recording).all] == ["here and there"], timeout=PATIENCE_MS)
    assert Notes(recording).all[0].id == note.id
    qtbot.keyClick(rows, Qt.Key.Key_Delete)
    assert Notes(recording).all == ()
    assert playing.notes_view.list.topLevelItemCount() == 0
    assert not playing.notes_view.remove_button.isEnabled()


def test_notes_that_cannot_be_read_are_told_and_left_alone(qtbot: QtBot, window: MainWindow, recording: Path) -> None:
    beside = recording.with_name(recording.name + ".notes")
    beside.write_text("Dear diary")
    window.recordings.open(str(recording))
    qtbot.waitUntil(lambda: shown(window) >= 0, timeout=PATIENCE_MS)
    assert window.session.outcome is not None
    assert "holds no notes that can be read" in window.session.outcome.sentence
    window.recordings.add_note()
    assert beside.read_text() == "Dear diary"
    window.session.close()


def test_without_a_recording_there_is_nothing_to_note(window: MainWindow) -> None:
    assert not window.actions_by_name["add_note"].isEnabled()
    assert not window.notes_view.add_button.isEnabled()
    assert window.notes_view.why_empty()[0] == "No recording is played"
