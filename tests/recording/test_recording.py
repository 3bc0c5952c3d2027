"""What is recorded comes back as it was, instant for instant, from anywhere and in any order."""

from __future__ import annotations

import dataclasses
import sqlite3
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memviz.kernel import trace
from memviz.recording.budget import LANES_BURST
from memviz.recording.format import APPLICATION_ID, VERSION, RecordingError
from memviz.recording.reader import Reader
from memviz.recording.writer import CHAIN, Instant, Writer
from memviz.snapshot import LANE_DTYPE, Snapshot
from memviz.sources.base import Defragment, Done, RequestPages, Step
from memviz.sources.page_sets import PageSets
from memviz.sources.simulation import SimulationSource
from tests.recording.worlds import changed, equal, world


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Snapshot]]:
    """A recorded simulation of 150 instants, and the Snapshots that went into it."""
    path = tmp_path_factory.mktemp("run") / "run.memviz"
    source = SimulationSource("aged-file-server", seed=5, memory_mib=64)
    writer = Writer(path, {"title": source.title})
    snapshots = []
    for number in range(150):
        source.command(number, Step(64))
        if number == 70:
            source.command(0, RequestPages(6, 0xCC0))
            source.command(0, Defragment("", 100))
        taken = source.snapshot()
        snapshots.append(dataclasses.replace(taken, lanes=taken.lanes[:60]))  # what the budget allows
        writer.write(Instant(snapshots[-1], number * 33_000_000))
    writer.finish("finished")
    return path, snapshots


def test_every_instant_comes_back(run: tuple[Path, list[Snapshot]]) -> None:
    path, snapshots = run
    with Reader(path) as reader:
        assert reader.instants == len(snapshots)
        assert reader.finished
        for ident, was in enumerate(snapshots, 1):
            assert equal(reader.at(ident), was), f"instant {ident}"


@settings(max_examples=25)
@given(st.lists(st.integers(1, 150), min_size=1, max_size=12))
def test_in_any_order(run: tuple[Path, list[Snapshot]], order: list[int]) -> None:
    path, snapshots = run
    with Reader(path) as reader:
        for ident in order:
            assert equal(reader.at(ident), snapshots[ident - 1]), f"instant {ident} in {order}"


def test_arrays_that_were_handed_out_never_change(run: tuple[Path, list[Snapshot]]) -> None:
    path, snapshots = run
    with Reader(path) as reader:
        early = reader.at(10)
        for ident in (11, 80, 140, 3):
            reader.at(ident)
        assert equal(early, snapshots[9])
        with pytest.raises(ValueError, match="read-only"):
            early.pages.owner[0] = 1


def test_instants_are_found_by_time(run: tuple[Path, list[Snapshot]]) -> None:
    path, snapshots = run
    times = [one.time_ns for one in snapshots]
    with Reader(path) as reader:
        assert reader.find(times[0] - 1) == 1
        assert reader.find(times[-1] + 1) == 150
        for at in (0, 17, 64, 149):
            assert reader.find(times[at]) == at + 1
            assert reader.find_from(times[at]) == at + 1
        assert reader.find(times[40] - 1) == 40
        assert reader.find_from(times[40] - 1) == 41
        assert reader.find_wall(33_000_000 * 7 + 5) == 8
        assert reader.find_ops(snapshots[99].ops) == 100
        with pytest.raises(IndexError):
            reader.at(151)


def test_events_are_rows_that_sql_can_ask(run: tuple[Path, list[Snapshot]]) -> None:
    path, snapshots = run
    every = np.concatenate([one.events for one in snapshots])
    database = sqlite3.connect(path)
    assert database.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)
    assert database.execute("PRAGMA user_version").fetchone() == (VERSION,)
    assert database.execute("PRAGMA journal_mode").fetchone() == ("delete",)
    rows = database.execute("SELECT seq, time_ns, cpu, kind, a, b, c, d FROM event ORDER BY id").fetchall()
    assert rows == [tuple(row) for row in every.tolist()]
    requests = database.execute("SELECT time_ns, a FROM named_event WHERE name = 'request_end'").fetchall()
    assert [order for _, order in requests] == [6]
    moved = dict(snapshots[-1].counters)
    last = dict(database.execute("SELECT name, value FROM named_counter ORDER BY time_ns").fetchall())
    assert last == moved
    database.close()
    with Reader(path) as reader:
        assert reader.find_event((trace.REQUEST_END,), 0, True) == requests[0][0]
        assert reader.find_event((trace.REQUEST_END,), requests[0][0], True) is None
        assert reader.find_event((trace.RCU_GP_END,), 0, True) == int(every["time"][every["kind"] == 51][0])
        found = reader.events((trace.REQUEST_END,))
        assert found["a"].tolist() == [6]


def test_chains_stay_short(run: tuple[Path, list[Snapshot]]) -> None:
    database = sqlite3.connect(run[0])
    bases = dict(database.execute("SELECT id, base FROM snapshot"))
    database.close()
    for ident in bases:
        length, at = 0, ident
        while bases[at] is not None:
            at = bases[at]
            length += 1
        assert length <= CHAIN + 1


@settings(max_examples=30)
@given(st.data())
def test_any_memory_comes_back(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """Arrays that change by nothing, a little, everything, and in length."""
    path = tmp_path_factory.mktemp("any") / "any.memviz"
    rng = np.random.default_rng(data.draw(st.integers(0, 1000)))
    frames = data.draw(st.sampled_from([1, 7, 512, 3000]))
    snapshots = [world(rng, frames)]
    for _ in range(data.draw(st.integers(0, 12))):
        if data.draw(st.booleans()):
            snapshots.append(changed(snapshots[-1], rng, data.draw(st.sampled_from([0.0, 0.01, 0.2, 0.9]))))
        else:
            frames = data.draw(st.sampled_from([frames, frames + 1]))
            snapshots.append(world(rng, frames, len(snapshots)))
    writer = Writer(path, {})
    for number, one in enumerate(snapshots):
        writer.write(Instant(one, number))
    writer.finish("finished")
    with Reader(path) as reader:
        for ident, was in enumerate(snapshots, 1):
            assert equal(reader.at(ident), was)


def test_what_is_known_to_have_changed_is_enough(tmp_path: Path) -> None:
    """Page frames of which the source says where they changed are looked at there only, with the same outcome."""
    rng = np.random.default_rng(8)
    sets = PageSets()
    last = world(rng, 5000)
    known, plain = [], []
    for number in range(30):
        last = changed(last, rng, [0.0, 0.001, 0.02, 0.3][number % 4])
        plain.append(last)
        of = last.pages
        known.append(dataclasses.replace(last, pages=sets.take(of.owner, of.order, of.flags, of.stamp)))
    assert known[1].pages.changed_since(known[0].pages) is not None
    files = []
    for name, snapshots in (("known", known), ("plain", plain)):
        writer = Writer(tmp_path / name, {})
        for number, one in enumerate(snapshots):
            writer.write(Instant(one, number))
        writer.finish("finished")
        database = sqlite3.connect(tmp_path / name)
        files.append(database.execute("SELECT kind, base, crc, shown, data FROM snapshot ORDER BY id").fetchall())
        database.close()
    assert files[0] == files[1]


def test_an_older_recording_is_never_written_over(tmp_path: Path) -> None:
    path = tmp_path / "old.memviz"
    path.write_bytes(b"precious")
    with pytest.raises(RecordingError, match=r"old.memviz exists already: choose another name, or remove it first"):
        Writer(path, {})
    assert path.read_bytes() == b"precious"


def test_commands_digests_and_gaps_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "a.memviz"
    rng = np.random.default_rng(1)
    first = world(rng, 64)
    second = changed(first, rng, 0.1)
    writer = Writer(path, {"title": "A", "origin": '{"seed": 4}'})
    writer.write(Instant(first, 0, (Done(0, 0, "Run", "{}"),), "0123"))
    writer.write(Instant(second, 100, (Done(5, 9, "Compact", "{}"), Done(5, 9, "Run", "{}")), "", 3))
    writer.finish("finished")
    with Reader(path) as reader:
        assert reader.commands_of(1) == 1
        assert reader.commands(reader.commands_of(1)) == [Done(0, 0, "Run", "{}")]
        assert [done.name for done in reader.commands()] == ["Run", "Compact", "Run"]
        assert reader.digests() == {1: "0123"}
        assert reader.gaps() == ((first.time_ns, second.time_ns, 3),)
        assert reader.told("origin") == {"seed": 4}
        assert reader.told("nothing") is None


def test_what_is_left_out_is_counted_and_has_its_time(tmp_path: Path) -> None:
    """Routine events and lanes of which there were too many: a gap each, as long as it goes on."""
    path = tmp_path / "a.memviz"
    rng = np.random.default_rng(6)
    first = dataclasses.replace(world(rng, 64), lost_events=9)
    lanes = np.zeros(LANES_BURST + 1, LANE_DTYPE)
    lanes["begin"] = lanes["end"] = 5
    moments = [(33, 4, 0), (66, 2, 3), (99, 0, 0), (3000, 1, 0), (3033, 0, 7)]  # ms, events lost, lanes lost
    writer = Writer(path, {})
    writer.write(Instant(first, 0))
    last = first
    for at, events, lost in moments:
        last = changed(last, rng, 0.1)
        # Lanes that are too many at once are left out here, others were left out before.
        shown = dataclasses.replace(last, lost_events=events, lanes=lanes if at == 99 else lanes[:0])
        writer.write(Instant(shown, at * 1_000_000, lost_lanes=lost))
    writer.finish("finished")
    assert writer.left_out == 7 + 10 + lanes.size
    with Reader(path) as reader:
        times = [reader.times_of(ident)[0] for ident in range(1, 7)]
        assert reader.gaps() == ()
        assert reader.gaps("events") == ((times[0], times[2], 6), (times[3], times[4], 1))
        assert reader.gaps("lanes") == ((times[1], times[3], 3 + lanes.size), (times[4], times[5], 7))
        assert reader.at(2).lost_events == 4


def test_a_recording_under_way_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "now.memviz"
    rng = np.random.default_rng(2)
    writer = Writer(path, {})
    one = world(rng, 600)
    writer.write(Instant(one, 0))
    writer.commit()
    with Reader(path) as reader:
        assert equal(reader.at(1), one)
        assert not reader.finished
        writer.write(Instant(changed(one, rng, 0.01), 1))
        writer.commit()
        assert reader.instants == 1
    with Reader(path) as reader:
        assert reader.instants == 2
    writer.finish("finished")


def test_reading_changes_nothing(run: tuple[Path, list[Snapshot]]) -> None:
    path, _ = run
    before = (path.read_bytes(), path.stat().st_mtime_ns)
    with Reader(path) as reader:
        reader.at(30)
        assert reader.check() == "ok"
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before
    assert [one.name for one in path.parent.iterdir()] == [path.name]


def test_seeking_is_quick_and_needs_little(run: tuple[Path, list[Snapshot]]) -> None:
    """The bound is far from what is measured; benchmarks/bench_recording.py prints figures for an hour."""
    with Reader(run[0]) as reader:
        begin = time.process_time()
        for ident in (149, 1, 75, 63, 128, 2):
            reader.at(ident)
        assert time.process_time() - begin < 1.0
