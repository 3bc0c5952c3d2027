"""Whatever happened to a file: one clear sentence, or the instants that were recorded. Never a wrong picture."""

from __future__ import annotations

import os
import random
import re
import shutil
import sqlite3
import struct
from pathlib import Path

import numpy as np
import pytest

from memviz.recording.format import RecordingError, refuse_foreign
from memviz.recording.reader import Reader
from memviz.recording.writer import Instant, Writer
from memviz.snapshot import Snapshot
from tests.recording.worlds import changed, equal, world

SENTENCE = re.compile(
    r" (is no memviz recording|is cut off|is damaged|is empty|holds no instant|does not exist|is a folder|"
    r"was recorded by (a newer memviz|another build)|says that its format)"
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Snapshot]]:
    """A finished recording of 90 instants."""
    path = tmp_path_factory.mktemp("whole") / "whole.memviz"
    rng = np.random.default_rng(11)
    snapshots = [world(rng, 2000)]
    while len(snapshots) < 90:
        snapshots.append(changed(snapshots[-1], rng, 0.01) if len(snapshots) % 30 else world(rng, 2000, len(snapshots)))
    writer = Writer(path, {"title": "Whole"})
    for number, one in enumerate(snapshots):
        writer.write(Instant(one, number * 33_000_000))
    writer.finish("finished")
    return path, snapshots


def read_all(path: Path, snapshots: list[Snapshot]) -> int:
    """Look at everything: each instant is what was recorded, or one sentence says what is wrong. How many came back."""
    good = 0
    try:
        with Reader(path) as reader:
            for ident in range(1, reader.instants + 1):
                try:
                    found = reader.at(ident)
                except RecordingError as error:
                    told(error, path)
                    continue
                assert equal(found, snapshots[ident - 1]), f"instant {ident} is another"
                good += 1
            for ask in (reader.past, reader.gaps, reader.commands, reader.digests, reader.event_counts, reader.events):
                try:
                    ask()  # type: ignore[operator]
                except RecordingError as error:
                    told(error, path)
    except RecordingError as error:
        told(error, path)
    return good


def told(error: RecordingError, path: Path) -> None:
    """One sentence that names the file and what to do."""
    text = str(error)
    assert str(path) in text
    assert SENTENCE.search(text), text
    assert "\n" not in text


def test_truncated_at_every_page(whole: tuple[Path, list[Snapshot]], tmp_path: Path) -> None:
    path, snapshots = whole
    data = path.read_bytes()
    cut = tmp_path / "cut.memviz"
    for size in range(0, len(data), 4096):
        cut.write_bytes(data[:size])
        with pytest.raises(RecordingError, match=r"is empty|is cut off"):
            Reader(cut)
    for size in (1, 50, 99, 100, 1000, len(data) - 1):
        cut.write_bytes(data[:size])
        with pytest.raises(RecordingError, match=r"is cut off"):
            Reader(cut)
    cut.write_bytes(data)
    assert read_all(cut, snapshots) == 90


def test_a_log_that_was_cut_gives_what_was_safe(whole: tuple[Path, list[Snapshot]], tmp_path: Path) -> None:
    """The log of a killed writer, truncated at every 4 KiB: fewer instants, and no wrong one."""
    _, snapshots = whole
    live = tmp_path / "live.memviz"
    writer = Writer(live, {})
    for number, one in enumerate(snapshots[:40]):
        writer.write(Instant(one, number * 33_000_000))
        writer.commit()
    log = Path(f"{live}-wal").read_bytes()
    counts = []
    for size in [*range(0, len(log), 4096), len(log)]:
        killed = tmp_path / "killed.memviz"
        shutil.copy(live, killed)
        Path(f"{killed}-wal").write_bytes(log[:size])
        Path(f"{killed}-shm").unlink(missing_ok=True)
        counts.append(read_all(killed, snapshots))
    writer.finish("finished")
    assert counts == sorted(counts)
    assert counts[-1] == 40


def test_flipped_bytes_never_give_a_wrong_picture(whole: tuple[Path, list[Snapshot]], tmp_path: Path) -> None:
    path, snapshots = whole
    data = bytearray(path.read_bytes())
    flipped = tmp_path / "flipped.memviz"
    chance = random.Random(4)
    damaged = 0
    for _ in range(60):
        copy = bytearray(data)
        for _ in range(chance.choice([1, 1, 1, 20])):
            copy[chance.randrange(len(copy))] ^= 1 << chance.randrange(8)
        flipped.write_bytes(copy)
        damaged += read_all(flipped, snapshots) < 90
    assert damaged > 20, "most of a recording is data, and most flips hit it"


def test_foreign_newer_and_missing_files(whole: tuple[Path, list[Snapshot]], tmp_path: Path) -> None:
    foreign = tmp_path / "a.memviz"
    foreign.write_text("ok\n")
    with pytest.raises(RecordingError, match=r"a\.memviz is no memviz recording"):
        Reader(foreign)
    foreign.write_text("this is a letter\n" * 100)
    with pytest.raises(RecordingError, match=r"a\.memviz is no memviz recording"):
        Reader(foreign)
    foreign.unlink()
    other = sqlite3.connect(foreign)
    other.execute("CREATE TABLE t (a)")
    other.close()
    with pytest.raises(RecordingError, match=r"a\.memviz is no memviz recording"):
        Reader(foreign)
    data = bytearray(whole[0].read_bytes())
    data[60:64] = struct.pack(">I", 7)
    foreign.write_bytes(data)
    newer = r"was recorded by a newer memviz \(format 7, this one reads up to 2\): update memviz"
    with pytest.raises(RecordingError, match=newer):
        Reader(foreign)
    with pytest.raises(RecordingError, match=r"nothing\.memviz does not exist: check its name"):
        Reader(tmp_path / "nothing.memviz")
    with pytest.raises(RecordingError, match=r"is a folder: name a \.memviz file"):
        Reader(tmp_path)
    pipe = tmp_path / "pipe.memviz"
    os.mkfifo(pipe)
    with pytest.raises(RecordingError, match=r"pipe\.memviz is no file: name a \.memviz file"):
        Reader(pipe)


def test_from_a_folder_that_nobody_may_write_to(whole: tuple[Path, list[Snapshot]], tmp_path: Path) -> None:
    folder = tmp_path / "archive"
    folder.mkdir()
    copy = folder / "whole.memviz"
    shutil.copy(whole[0], copy)
    copy.chmod(0o400)
    folder.chmod(0o500)
    try:
        assert read_all(copy, whole[1]) == 90
        assert [one.name for one in folder.iterdir()] == ["whole.memviz"]
    finally:
        folder.chmod(0o700)


def test_a_killed_recording_in_such_a_folder_is_read_from_a_copy(
    whole: tuple[Path, list[Snapshot]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite refuses a log without its index there; root is never refused anything, so the refusal is made here."""
    live = tmp_path / "live.memviz"
    writer = Writer(live, {})
    for number, one in enumerate(whole[1][:5]):
        writer.write(Instant(one, number))
    writer.commit()
    killed = tmp_path / "killed.memviz"
    shutil.copy(live, killed)
    shutil.copy(f"{live}-wal", f"{killed}-wal")
    writer.finish("finished")
    first = Reader._try
    refused = []

    def refusing(self: Reader, uri: str) -> sqlite3.Connection:
        if not refused:
            refused.append(uri)
            raise sqlite3.OperationalError("unable to open database file")
        return first(self, uri)

    monkeypatch.setattr(Reader, "_try", refusing)
    assert read_all(killed, whole[1]) == 5
    assert refused


def test_a_file_of_the_kernel_that_says_it_is_empty_is_not_waited_for() -> None:
    """Whoever reads /proc/kmsg waits for the kernel's next word; the window stood still. All below /proc say so."""
    with pytest.raises(RecordingError, match=r"^/proc/version is empty"):
        refuse_foreign(Path("/proc/version"))
