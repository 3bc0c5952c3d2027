"""The process that writes: nobody waits for it, and what it could not do is said."""

from __future__ import annotations

import os
import resource
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from memviz.recording.format import RecordingError, create
from memviz.recording.reader import Reader
from memviz.recording.recorder import SHARE, Recorder
from memviz.sources.base import Done
from tests.recording.worlds import changed, equal, world

RNG = np.random.default_rng(3)


def record_some(recorder: Recorder, count: int, frames: int = 600) -> list:
    """Offer ``count`` instants, each when it is due."""
    given = []
    one = world(np.random.default_rng(4), frames)
    while len(given) < count:
        if recorder.due(idle=True):
            one = changed(one, RNG, 0.02)
            recorder.offer(one)
            given.append(one)
        time.sleep(0.0005)
    return given


def test_what_is_offered_is_in_the_file(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "a.memviz", {"title": "A", "origin": {"seed": 1}}, rate=500)
    recorder.command(Done(0, 0, "Run", "{}"))
    given = record_some(recorder, 20)
    status = recorder.close()
    assert (status.instants, status.missed, status.active, status.failure) == (20, 0, False, "")
    assert status.bytes == (tmp_path / "a.memviz").stat().st_size
    with Reader(tmp_path / "a.memviz") as reader:
        assert [equal(reader.at(n + 1), one) for n, one in enumerate(given)] == [True] * 20
        assert reader.commands_of(1) == 1
        assert reader.told("origin") == {"seed": 1}
        assert reader.meta["title"] == "A"
    assert [one.name for one in tmp_path.iterdir()] == ["a.memviz"], "one file, and nothing beside it"
    assert not Path(f"/proc/{recorder.pid}").exists(), "nobody is left behind"


def test_a_full_queue_is_a_gap_and_nobody_waits(tmp_path: Path) -> None:
    """Another program locks the file: nothing can be written until it lets go."""
    path = tmp_path / "a.memviz"
    recorder = Recorder(path, {}, rate=1000)
    record_some(recorder, 1)
    other = sqlite3.connect(path, isolation_level=None, timeout=5)
    other.execute("BEGIN IMMEDIATE")
    one = world(RNG, 600)
    waits = []
    offered = 1
    end = time.monotonic() + 0.3
    while time.monotonic() < end:
        begin = time.perf_counter()
        if recorder.due(idle=True):
            recorder.offer(one)
            offered += 1
        waits.append(time.perf_counter() - begin)
        time.sleep(0.001)
    other.execute("ROLLBACK")
    other.close()
    record_some(recorder, 1)
    status = recorder.close()
    assert offered < 40, "the queue is bounded"
    assert status.missed > 50
    assert status.instants == offered + 1
    assert sorted(waits)[len(waits) // 2] < 0.002
    with Reader(path) as reader:
        assert sum(missed for _, _, missed in reader.gaps()) == status.missed


def test_an_expensive_snapshot_makes_instants_rarer(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "a.memviz", {}, rate=1000)
    one = world(RNG, 64)
    taken = 0
    end = time.monotonic() + 0.3
    while time.monotonic() < end:
        if recorder.due():
            recorder.offer(one, cost_s=0.003)  # three milliseconds are a lot
            taken += 1
    recorder.close()
    assert 1 <= taken <= 2 + 0.3 * SHARE / 0.003, "the first costs nothing, and the second comes at once"


def test_a_removed_file_is_said(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "a.memviz", {}, rate=200)
    record_some(recorder, 1)
    (tmp_path / "a.memviz").unlink()
    one = world(RNG, 64)
    end = time.monotonic() + 5
    while not recorder.status().failure and time.monotonic() < end:
        if recorder.due():
            recorder.offer(one)
        time.sleep(0.005)
    status = recorder.close()
    assert "a.memviz was removed while it was written; record again." in status.failure
    assert not status.active
    assert not recorder.due()
    assert not list(tmp_path.iterdir()), "nor is what lay beside it left behind"


def test_a_full_disk_is_said_and_what_was_written_stays(tmp_path: Path) -> None:
    """A limit on the size of files has the same effect on SQLite as a disk without room."""
    path = tmp_path / "a.memviz"
    recorder = Recorder(path, {}, rate=500)
    given = record_some(recorder, 10)
    while recorder.status().bytes == 0 or recorder.status().instants < 10:
        time.sleep(0.01)
    time.sleep(0.2)  # two commits
    _, most = resource.prlimit(recorder.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(recorder.pid, resource.RLIMIT_FSIZE, (path.stat().st_size + 400_000, most))
    rng = np.random.default_rng(1)
    end = time.monotonic() + 10
    while not recorder.status().failure and time.monotonic() < end:
        if recorder.due(idle=True):
            recorder.offer(world(rng, 20_000))
        time.sleep(0.001)
    status = recorder.close()
    assert status.failure.startswith("The recording has stopped: ")
    with Reader(path) as reader:
        assert reader.instants >= 10
        assert f"{reader.instants:,} instants from before that are in it" in status.failure
        assert reader.check() == "ok"
        assert equal(reader.at(3), given[2])


def test_a_killed_writer_is_said_and_what_was_written_stays(tmp_path: Path) -> None:
    path = tmp_path / "a.memviz"
    recorder = Recorder(path, {}, rate=200)
    given = record_some(recorder, 20)
    while recorder.status().instants < 20:
        time.sleep(0.01)
    os.kill(recorder.pid, signal.SIGKILL)
    while not recorder.status().failure:
        time.sleep(0.01)
    status = recorder.close()
    assert status.failure == (
        f"The recording to {path} has stopped: the process that writes it was killed by signal 9; 20 instants from "
        "before that should be in it."
    )
    assert not status.active
    assert not recorder.due()
    with Reader(path) as reader:
        assert 1 <= reader.instants <= 20
        assert equal(reader.at(1), given[0])


def test_a_process_that_cannot_begin_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "broken" / "numpy"
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text("raise SystemExit(3)")
    monkeypatch.setenv("PYTHONPATH", str(broken.parent))
    with pytest.raises(RecordingError, match=r"a\.memviz cannot be written: the process .* has ended by itself \(3\)"):
        Recorder(tmp_path / "a.memviz", {})
    assert not (tmp_path / "a.memviz").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_to_the_whole_terminal_are_for_whoever_records(tmp_path: Path, number: int) -> None:
    recorder = Recorder(tmp_path / "a.memviz", {}, rate=200)
    record_some(recorder, 3)
    os.kill(recorder.pid, number)
    record_some(recorder, 3)
    status = recorder.close()
    assert (status.instants, status.failure) == (6, "")


@pytest.mark.parametrize("name", ["no/such/folder/a.memviz", "/proc/a.memviz"])
def test_where_nothing_can_be_written(tmp_path: Path, name: str) -> None:
    with pytest.raises(Exception, match=r"a\.memviz cannot be written: .*; choose another folder"):
        Recorder(tmp_path / name, {})


WRITER = """
import sys, time
import numpy as np
from memviz.recording.recorder import SHARE, Recorder
sys.path.insert(0, {root!r})
from tests.recording.worlds import changed, world
rng = np.random.default_rng(1)
one = world(rng, 5000)
recorder = Recorder({path!r}, {{}}, rate=200)
while True:
    if recorder.due(idle=True):
        one = changed(one, rng, 0.01)
        recorder.offer(one)
        print(time.monotonic_ns(), flush=True)
    time.sleep(0.001)
"""


@pytest.mark.parametrize("number", range(int(os.environ.get("MEMVIZ_KILLS", "6"))))
def test_killed_at_any_moment(tmp_path: Path, checkout: Path, number: int) -> None:
    """The file opens, is whole, and lacks at most the last 250 ms. MEMVIZ_KILLS=200 takes ten minutes."""
    path = tmp_path / "killed.memviz"
    code = WRITER.format(root=str(checkout), path=str(path))
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=checkout)
    assert process.stdout is not None
    first = int(process.stdout.readline())
    time.sleep(np.random.default_rng(number).uniform(0.0, 1.0))
    process.kill()
    killed = time.monotonic_ns()
    offered = process.stdout.read().split()
    process.wait()
    process.stdout.close()
    kept = whole_instants(path)
    lost = offered[max(0, kept - 1) :]  # the first line was read before
    if lost:
        assert killed - int(lost[0]) < 250_000_000, f"{len(lost)} instants are lost"
    if not kept:
        assert killed - first < 250_000_000, "not even the first instant is there"


def whole_instants(path: Path) -> int:
    """How many instants a file holds; every one is looked at."""
    try:
        with Reader(path) as reader:
            assert reader.check() == "ok"
            for ident in range(1, reader.instants + 1):
                reader.at(ident)
            return reader.instants
    except RecordingError as error:
        if "holds no instant: its recording ended before the first; record again" in str(error):
            return 0
        raise


def test_a_name_that_is_too_long_is_told_as_such(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="File name too long; choose a shorter name"):
        create(tmp_path / f"{'n' * 300}.memviz")
