"""Notes are kept beside a recording, whole or not at all; the recording stays as it is."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

import memviz
from memviz.recording.format import RecordingError
from memviz.recording.notes import LONGEST, Notes
from tests.recording.test_migrations import FILES


@pytest.fixture(autouse=True)
def data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return tmp_path / "data"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "rec").mkdir()
    return Path(shutil.copy(FILES / "format-2.memviz", tmp_path / "rec" / "a.memviz"))


def test_notes_come_back_in_the_order_of_time(file: Path) -> None:
    before = file.read_bytes()
    notes = Notes(file)
    assert notes.all == ()
    late = notes.add(2_000_000, "  why here? \u2014 order 4\n")
    early = notes.add(1_000_000)
    assert (late.text, early.text) == ("why here? \u2014 order 4", "")
    assert Notes(file).all == notes.all == (early, late)
    assert notes.change(early.id, "looked at").time_ns == 1_000_000
    notes.remove(late.id)
    assert [(one.time_ns, one.text) for one in Notes(file).all] == [(1_000_000, "looked at")]
    assert file.read_bytes() == before, "the recording stays untouched"
    assert sorted(one.name for one in file.parent.iterdir()) == ["a.memviz", "a.memviz.notes"]
    assert notes.where == ""
    with pytest.raises(KeyError):
        notes.remove(late.id)
    with pytest.raises(RecordingError, match=f"at most {LONGEST:,} characters"):
        notes.add(0, "x" * (LONGEST + 1))


@pytest.mark.parametrize("name", [b"d\xe9j\xe0.memviz", b"x" * 243 + b".memviz"], ids=["latin-1", "long"])
def test_a_recording_may_have_any_name_that_a_file_can_have(file: Path, name: bytes) -> None:
    """One that is no UTF-8 took no note; beside one as long as names get there is no room for the notes' name."""
    other = file.rename(file.parent / os.fsdecode(name))
    note = Notes(other).add(1_000_000, "seen")
    assert Notes(other).all == (note,)
    with memviz.open(other) as run:
        assert [one.text for one in run.notes.all] == ["seen"]


def test_two_windows_lose_no_note_of_each_other(file: Path) -> None:
    one, other = Notes(file), Notes(file)
    one.add(1, "one")
    other.add(2, "other")
    assert one.load()
    assert not one.load(), "nothing new"
    assert [note.text for note in one.all] == ["one", "other"]
    other.remove(other.all[0].id)
    one.change(one.all[1].id, "changed")
    assert [note.text for note in Notes(file).all] == ["changed"]


def test_a_folder_that_nobody_may_write_to(file: Path, data_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Notes that are there are seen; new ones are kept among the user's own data, and that is said."""
    Notes(file).add(5, "from before")
    if os.geteuid() == 0:  # who is never refused anything: then a folder stands where the notes are put together
        refuse(monkeypatch, file.parent)
    else:
        file.parent.chmod(0o500)
    try:
        notes = Notes(file)
        notes.add(7, "kept elsewhere")
        where = f"The folder of a.memviz can't be written to: its notes are in {data_folder}/"
        assert notes.where.startswith(where)
        assert [one.text for one in Notes(file).all] == ["from before", "kept elsewhere"]
        assert len(json.loads((file.parent / "a.memviz.notes").read_text())["notes"]) == 1
    finally:
        file.parent.chmod(0o700)


def test_a_long_name_does_not_hide_where_the_notes_are(
    file: Path, data_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse(monkeypatch, file.parent)
    notes = Notes(file.with_name("n" * 230 + ".memviz"))
    notes.add(7, "kept elsewhere")
    assert notes.where.startswith(
        "The folder of " + "n" * 20 + "…" + "n" * 13 + ".memviz can't be written to: its notes"
    )


def refuse(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """As the kernel refuses whoever is not root."""
    import tempfile

    make = tempfile.mkstemp

    def refusing(dir: Path, prefix: str) -> tuple[int, str]:
        if Path(dir) == folder:
            raise PermissionError(13, "Permission denied", str(dir))
        return make(dir=dir, prefix=prefix)

    monkeypatch.setattr(tempfile, "mkstemp", refusing)


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("{", "holds no notes that can be read"),
        ('{"memviz notes": 1, "recording": "a", "notes": [{"id": 5}]}', "holds no notes that can be read"),
        ("[]", "holds no notes that can be read"),
        ('{"memviz notes": 2}', "was written by a newer memviz"),
    ],
)
def test_a_file_of_notes_that_is_none(file: Path, text: str, wrong: str) -> None:
    beside = file.with_name("a.memviz.notes")
    beside.write_text(text)
    with pytest.raises(RecordingError, match=wrong) as error:
        Notes(file)
    assert str(beside) in str(error.value)
    assert beside.read_text() == text, "what can't be read is not written over"


def test_programs_see_them(file: Path) -> None:
    with memviz.open(file) as run:
        note = run.notes.add(run[4].time_ns, "here")
        assert run.at_note(note).time_ns == run[4].time_ns
    with memviz.open(file) as run:
        assert [one.text for one in run.notes.all] == ["here"]
