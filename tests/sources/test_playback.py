"""A recording as a source: what it shows, where commands take it, and how a simulation goes on from it."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path

import numpy as np
import pytest

from memviz.analysis.figures import figures
from memviz.kernel import trace
from memviz.recording.format import RecordingError
from memviz.recording.reader import Reader
from memviz.recording.writer import Instant, Writer
from memviz.snapshot import Focus, Snapshot
from memviz.sources.base import (
    Command,
    Compact,
    Defragment,
    Jump,
    Loop,
    Pause,
    Rate,
    Record,
    RequestPages,
    Run,
    Seek,
    SetFocus,
    SetPolicy,
    Speed,
    Step,
    StopRecording,
    continued,
    playback,
    simulation,
)
from memviz.sources.continued import ContinuedSource, same_instant
from memviz.sources.host import HostClient
from memviz.sources.playback import PlaybackSource
from memviz.sources.recorded import RecordedSource
from memviz.sources.simulation import SimulationSource
from tests.sources.test_simulation import SCENARIO


@pytest.fixture
def scenario(tmp_path: Path) -> str:
    path = tmp_path / "small.toml"
    path.write_text(SCENARIO)
    return str(path)


class Run1:
    """A recorded run: the file, its source as it stands at the end, and digests by operation on the way."""

    def __init__(self, scenario: str, path: Path) -> None:
        self.path = path
        self.inner = SimulationSource(scenario)
        self.source = RecordedSource(self.inner)
        self.number = 0
        self.digests: dict[tuple[int, int], str] = {}

    def do(self, command: Command) -> None:
        self.number += 1
        self.source.command(self.number, command)

    def go(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.source.advance(0.004)

    def mark(self) -> None:
        """An instant is recorded here, and its digest noted."""
        end = time.monotonic() + 30
        while self.source.behind:
            self.source.advance(0.0)
            assert time.monotonic() < end, "the instant is not recorded"
        self.digests[self.inner.machine.ops, len(self.inner.journal)] = self.inner.digest()


@pytest.fixture
def run(scenario: str, tmp_path: Path) -> Run1:
    """Full speed, single steps, points, slow, commands, full speed: everything that makes a machine go another way."""
    run = Run1(scenario, tmp_path / "run.memviz")
    run.go(0.05)
    run.do(Record(str(run.path)))
    run.go(0.15)
    for command in (Step(7), Step(5, "point"), RequestPages(4, 0xCC0), SetPolicy("xa_nodes", "fixed")):
        run.do(command)
        run.mark()
    run.do(Speed(200))
    run.do(Run())
    run.go(0.2)
    run.do(Speed(0))
    run.do(SetFocus(Focus(bulk_events=True)))
    run.go(0.1)
    run.do(Pause())
    for command in (SetFocus(Focus(bulk_events=False)), Defragment("", 100), Compact(), Step(40), Step(33, "point")):
        run.do(command)
        run.mark()
    run.do(StopRecording())
    return run


def marks(run: Run1) -> list[tuple[int, str]]:
    """(instant, digest) of the marks, by the operations and commands that had been done."""
    found = []
    with Reader(run.path) as reader:
        for ident in range(1, reader.instants + 1):
            digest = run.digests.get((reader.ops_of(ident), reader.commands_of(ident)))
            if digest is not None:
                found.append((ident, digest))
    return found


def arrive(source: ContinuedSource) -> None:
    end = time.monotonic() + 30
    while not source.arrived:
        source.advance(0.05)
        assert time.monotonic() < end


@pytest.mark.digest
def test_going_on_gives_the_digests_that_the_run_had(run: Run1) -> None:
    found = marks(run)
    assert len(found) >= 8
    for ident, digest in found:
        with Reader(run.path) as reader:
            at_ns, goal = reader.times_of(ident)[0], reader.at(ident)
            if reader.find(at_ns) != ident:  # a later command took no time: only the later instant can be named
                continue
        source = ContinuedSource(str(run.path), at_ns)
        arrive(source)
        assert source.digest() == digest, f"instant {ident}"
        assert same_instant(source.snapshot(), goal)


@pytest.mark.digest
def test_going_on_goes_where_the_run_went(run: Run1) -> None:
    """From an early instant, the same commands lead to the same end."""
    with Reader(run.path) as reader:
        middle = reader.find(reader.first_ns + (reader.last_ns - reader.first_ns) // 3)
        rest = reader.commands()[reader.commands_of(middle) :]
        at_ns = reader.times_of(middle)[0]
    source = ContinuedSource(str(run.path), at_ns)
    arrive(source)
    assert rest
    source._left.extend(rest)  # as if the recording had been continued to its end
    with Reader(run.path) as reader:
        source._goal = reader.at(reader.instants)
    source._again = True
    source._state = "running"
    arrive(source)
    assert source.digest() == run.inner.digest()
    assert [one.name for one in source.journal] == [one.name for one in run.inner.journal]


def test_another_future_is_another(run: Run1) -> None:
    source = ContinuedSource(str(run.path))
    arrive(source)
    assert source.snapshot().state == "paused"
    assert "Running again" not in source.snapshot().notice
    source.command(1, SetPolicy("dentries", "fixed"))
    source.command(2, Step(200))
    assert source.digest() != run.inner.digest()
    assert source.snapshot().outcomes[-1].ok


def test_on_the_way_progress_is_told_and_nothing_is_changed(run: Run1) -> None:
    source = ContinuedSource(str(run.path))
    assert source.snapshot().notice == "Running again to where the recording stands: 0 %"
    source.command(1, Compact())
    assert source.snapshot().outcomes[-1][2:] == (
        False,
        "Wait until the machine is where the recording was: it is on its way.",
    )
    source.command(2, Pause())
    assert not source.advance(0.01)
    source.command(3, Run())
    arrive(source)
    assert source.digest() == run.inner.digest()


def test_a_kernel_that_behaves_otherwise_is_noticed(run: Run1, tmp_path: Path) -> None:
    """One page frame of the recording is changed: the machine does not become what it shows."""
    other = tmp_path / "other.memviz"
    with Reader(run.path) as reader:
        last = reader.at(reader.instants)
        owner = last.pages.owner.copy()
        owner[100] ^= 1
        wrong = dataclasses.replace(last, pages=dataclasses.replace(last.pages, owner=owner))
        writer = Writer(other, {"origin": reader.meta["origin"], "memviz": "0.0.1"})
        writer.write(Instant(wrong, 0, tuple(reader.commands())))
        writer.finish("finished")
    source = ContinuedSource(str(other))
    with pytest.raises(RecordingError, match=r"went another way before operation .* recorded by memviz 0\.0\.1"):
        arrive(source)


def test_what_is_no_simulation_cannot_go_on(tmp_path: Path, run: Run1) -> None:
    path = tmp_path / "linux.memviz"
    writer = Writer(path, {"title": "this machine"})
    with Reader(run.path) as reader:
        writer.write(Instant(reader.at(1), 0))
    writer.finish("finished")
    with pytest.raises(RecordingError, match=r"linux\.memviz cannot be run again: it is not of a simulation"):
        ContinuedSource(str(path))
    assert PlaybackSource(str(path)).snapshot().playback.repeatable is False  # type: ignore[union-attr]


# -- playing


def same_picture(one: Snapshot, other: Snapshot) -> bool:
    return same_instant(one, other) and one.caches == other.caches and np.array_equal(one.slabs, other.slabs)


def test_steps_forwards_and_backwards(run: Run1) -> None:
    source = PlaybackSource(str(run.path))
    with Reader(run.path) as reader:
        first, third = reader.at(1), reader.at(3)
        events = [reader.at(ident).events for ident in (1, 2, 3)]
    shown = source.snapshot()
    assert same_picture(shown, first)
    assert (shown.source, shown.state, shown.playback.at) == ("playback", "paused", 0)  # type: ignore[union-attr]
    source.command(1, Step(2))
    shown = source.snapshot()
    assert same_picture(shown, third)
    assert shown.events.tolist() == [*events[1].tolist(), *events[2].tolist()]
    assert source.snapshot().events.size == 0, "events come once"
    source.command(2, Step(-1))
    back = source.snapshot()
    assert back.playback.at == 1  # type: ignore[union-attr]
    assert back.playback.wound > shown.playback.wound  # type: ignore[union-attr]
    source.close()


def test_winding_brings_the_events_before(run: Run1) -> None:
    source = PlaybackSource(str(run.path))
    with Reader(run.path) as reader:
        ident = reader.instants - 2
        at_ns = reader.times_of(ident)[0]
        ident = reader.find(at_ns)
        before = reader.events_before(ident, 2000)
    source.command(1, Seek(at_ns))
    shown = source.snapshot()
    assert (shown.time_ns, shown.playback.at) == (at_ns, ident - 1)  # type: ignore[union-attr]
    assert shown.events.tolist() == before.tolist()
    assert shown.past.size > 5
    source.close()


def test_it_plays_by_the_clock_and_ends(run: Run1) -> None:
    source = PlaybackSource(str(run.path))
    source.command(1, Rate(20.0))
    source.command(2, Run())
    seen = []
    end = time.monotonic() + 10
    while source.snapshot().state == "running" and time.monotonic() < end:
        source.advance(0.01)
        seen.append(source.snapshot().playback.at)  # type: ignore[union-attr]
        time.sleep(0.002)
    assert seen == sorted(seen)
    assert seen[-1] == source.snapshot().playback.instants - 1  # type: ignore[union-attr]
    source.command(3, Rate(-20.0))
    source.command(4, Run())
    while source.snapshot().state == "running" and time.monotonic() < end:
        source.advance(0.01)
        time.sleep(0.002)
    assert source.snapshot().playback.at == 0  # type: ignore[union-attr]
    source.close()


def test_a_loop_begins_again(run: Run1) -> None:
    source = PlaybackSource(str(run.path))
    with Reader(run.path) as reader:
        begin, end = reader.times_of(2)[0], reader.times_of(5)[0]
        first, last = reader.find_from(begin) - 1, reader.find(end) - 1
    source.command(1, Loop(begin, end))
    source.command(2, Rate(50.0))
    source.command(3, Run())
    seen = set()
    wound = set()
    until = time.monotonic() + 20
    while len(wound) < 4 and time.monotonic() < until:
        source.advance(0.001)
        shown = source.snapshot()
        seen.add(shown.playback.at)  # type: ignore[union-attr]
        wound.add(shown.playback.wound)  # type: ignore[union-attr]
    assert len(wound) == 4
    assert first <= min(seen)
    assert max(seen) <= last
    source.command(4, Loop(9, 3))
    assert source.snapshot().outcomes[-1].sentence == "A loop must end after it begins."
    source.command(5, Loop(-1, -1))
    assert source.snapshot().playback.loop is None  # type: ignore[union-attr]
    source.close()


def test_jumps(run: Run1) -> None:
    source = PlaybackSource(str(run.path))
    source.command(1, Jump("defragmentation"))
    shown = source.snapshot()
    assert 33 in shown.events["kind"], "the instant shows the pass that it was wound to"
    source.command(2, Jump("defragmentation"))
    assert source.snapshot().outcomes[-1].sentence.startswith("There is no defragmentation behind this instant")
    source.command(3, Jump("grace period", forwards=False))
    assert source.snapshot().time_ns <= shown.time_ns
    source.close()


def test_memory_cannot_be_changed(run: Run1) -> None:
    source = PlaybackSource(str(run.path))
    source.command(1, Compact())
    assert source.snapshot().outcomes[-1][2:] == (
        False,
        "This is a recording, where nothing can be done any more: continue from here to run it on.",
    )
    source.command(2, SetFocus(Focus(pfn=5)))
    detail = source.snapshot().detail
    assert detail is not None
    assert (detail.pfn, detail.block) == (5, 0)
    source.close()


# -- in processes of their own


def until(client: HostClient, wanted: str, seconds: float = 20) -> Snapshot:
    """The first Snapshot whose recording, state or notice says ``wanted``."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        shown = client.wait(1.0)
        if shown is not None and wanted in (shown.state, shown.source, "recorded" if _recorded(shown) else ""):
            return shown
    raise AssertionError(f"never {wanted}: {client.last}")


def _recorded(shown: Snapshot) -> bool:
    return shown.recording is not None and not shown.recording.active and shown.recording.instants > 0


def test_a_window_records_plays_and_goes_on(scenario: str, tmp_path: Path) -> None:
    path = str(tmp_path / "w.memviz")
    with HostClient(simulation(scenario)) as client:
        client.send(Record(path))
        client.send(Run())
        while client.last is None or client.last.recording is None or client.last.recording.instants < 8:
            client.wait(1.0)
        client.send(StopRecording())
        shown = until(client, "recorded")
        assert shown.recording is not None
        assert shown.recording.instants > 5
        client.send(Record(path))
        while not (shown := client.wait(2.0) or shown).outcomes[-1].sentence.endswith("remove it first."):
            pass
    with HostClient(playback(path)) as client:
        shown = until(client, "playback")
        assert shown.playback is not None
        last_ns = shown.playback.last_ns
    with HostClient(continued(path, last_ns)) as client:
        client.send(Run())
        shown = until(client, "paused")
        assert (shown.time_ns, shown.source) == (last_ns, "simulation")


def test_closing_the_window_finishes_the_file(scenario: str, tmp_path: Path) -> None:
    path = tmp_path / "w.memviz"
    with HostClient(simulation(scenario)) as client:
        client.send(Record(str(path)))
        client.send(Run())
        while not path.exists() or (client.last is None or client.last.ops < 100):
            client.wait(0.1)
    with Reader(path) as reader:
        assert reader.finished
        assert reader.instants >= 1
    assert [one.name for one in tmp_path.glob("w.*")] == ["w.memviz"]


def test_events_come_once_to_the_window_and_once_to_the_file(scenario: str, tmp_path: Path) -> None:
    path = tmp_path / "w.memviz"
    source = RecordedSource(SimulationSource(scenario))
    seen: list[int] = source.snapshot().events["seq"].tolist()
    first = len(seen)
    source.command(1, Record(str(path)))
    for number in range(60):
        source.advance(0.004)
        if number % 7 == 0:
            seen += source.snapshot().events["seq"].tolist()
    source.command(2, StopRecording())
    seen += source.snapshot().events["seq"].tolist()
    assert seen == sorted(set(seen))
    with Reader(path) as reader:
        assert reader.events()["seq"].tolist() == seen[first:]
    source.close()


def test_charts_have_all_of_the_recording_from_the_beginning(run: Run1) -> None:
    """Whatever of it was played: figures of instants all over it, and what became of every request."""
    source = PlaybackSource(str(run.path))
    sizes = [source.snapshot().past_figures.size]
    end = time.monotonic() + 20
    while not source._figures.complete and time.monotonic() < end:
        source.advance(0.004)
        sizes.append(source.snapshot().past_figures.size)
    found = source.snapshot()
    with Reader(run.path) as reader:
        every = [reader.at(ident) for ident in range(1, reader.instants + 1)]
        times = [one.time_ns for one in every]
        values = [figures(one.caches, one.zones) for one in every]
        ended = reader.events((trace.REQUEST_END,))
        for ident in (1, 5, reader.instants):
            time_ns, small = reader.small(ident)
            assert (time_ns, small["caches"], small["zones"]) == (
                times[ident - 1],
                every[ident - 1].caches,
                every[ident - 1].zones,
            )
    assert found.past_figures.size == min(len(every), 1000)
    assert sizes == sorted(sizes)
    assert found.past_figures["time"].tolist() == sorted(times)
    assert sorted(found.past_figures["values"].tolist()) == sorted(values)
    asked = [sum(one[:2]) for one in found.past_requests]
    assert asked == np.bincount(ended["a"], minlength=11).tolist()
    assert sum(asked) >= 1
    assert found.state == "paused", "nothing was played for that"
    source.close()


def test_a_recording_marks_what_was_turned_and_one_of_before_has_nothing_to_mark(scenario: str, tmp_path: Path) -> None:
    source = RecordedSource(SimulationSource(scenario))
    path = tmp_path / "turned.memviz"
    source.command(1, Record(str(path)))
    source.command(2, Step(200))
    source.command(3, SetPolicy("defrag_mode", "1"))
    source.command(4, Step(50))
    source.advance(0.01)
    source.close()
    played = PlaybackSource(str(path))
    past = played.snapshot().past_events
    turned = past[past["kind"] == trace.POLICY_SET]
    assert [(int(row["a"]), int(row["b"]), int(row["c"])) for row in turned] == [(1, 1, 0)]
    assert np.all(np.diff(past["seq"]) > 0)
    played.close()
    old = PlaybackSource("tests/data/recordings/format-2.memviz")
    assert not np.isin(old.snapshot().past_events["kind"], (trace.POLICY_SET, trace.WORKLOAD_SET)).any()
    old.close()
