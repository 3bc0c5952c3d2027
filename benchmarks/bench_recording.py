"""What recording costs, and how quickly a recording is read: ``python -m benchmarks.bench_recording [--minutes 60]``.

* aged-file-server with 1,048,576 page frames at 30 instants a second (29 count as such): at most 6 MB a minute, and at
  most 5 % of the engine's speed. Counted by the engine's CPU time, as a busy machine's clock says nothing; what writes
  is another process, so that is all that the engine pays.
* 1 % of 1,048,576 page frames changing at random between instants: at most 45 MB a minute.
* a recording of so many minutes: open in under 1 s, seek in under 100 ms (99th percentile), memory under 300 MB.
"""

from __future__ import annotations

import argparse
import dataclasses
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.figure import Figure, table
from memviz.kernel.page import OWNER_PAGE_CACHE, PG_HEAD, PG_LRU
from memviz.recording.reader import Reader
from memviz.recording.recorder import RATE
from memviz.recording.writer import Instant, Writer
from memviz.snapshot import Pages, Snapshot
from memviz.sources import garbage
from memviz.sources.recorded import RecordedSource
from memviz.sources.simulation import SimulationSource

SCENARIO, SEED, MIB = "aged-file-server", 7, 4096
FRAMES = MIB * 256


def engine(seconds: float, path: str) -> tuple[float, float, float]:
    """Per cent of the engine's CPU time that recording takes; instants and bytes a second.

    The scenario from operation 4,000 on, as ``memviz run --record`` runs it. What recording takes is counted where it
    is taken: two runs of one machine differ by ten per cent without any recording.
    """
    source = SimulationSource(SCENARIO, SEED, MIB)
    source.only_recorded()
    recorded = RecordedSource(source)
    while source.machine.ops < 4000:
        source.run_piece(4000, False)
    recorded.start(path)
    begin, begin_cpu = time.monotonic(), time.thread_time()
    spent = 0.0
    with garbage.seldom():
        while time.monotonic() < begin + seconds:
            source.run_piece(1 << 40, False)
            before = time.thread_time()
            recorded.worked()
            spent += time.thread_time() - before
    elapsed, cpu_s = time.monotonic() - begin, time.thread_time() - begin_cpu
    recorded.close()
    status = recorded.snapshot().recording
    assert status is not None, "it was recorded"
    return spent * 100 / cpu_s, status.instants / elapsed, status.bytes / elapsed


def frame(base: Snapshot, pages: Pages, number: int) -> Snapshot:
    """The next instant of a made-up run."""
    return dataclasses.replace(base, seq=number, time_ns=number * 1_000_000, ops=number * 100, pages=pages)


def changing(base: Pages, rng: np.random.Generator, count: int, now: int) -> Pages:
    """``count`` page frames anywhere have another owner, the flags that go with it, and a new stamp."""
    at = rng.integers(0, base.nr, count)
    owner, flags, stamp = base.owner.copy(), base.flags.copy(), base.stamp.copy()
    owner[at] = rng.integers(1, 12, at.size)
    flags[at] = np.where(owner[at] <= OWNER_PAGE_CACHE, PG_HEAD | PG_LRU, PG_HEAD)
    stamp[at] = now
    return Pages(owner, base.order, flags, stamp)


def start() -> Snapshot:
    """A machine of 1,048,576 page frames, before anything ran."""
    return SimulationSource(SCENARIO, SEED, MIB).snapshot()


def random_changes(path: Path, instants: int) -> tuple[float, float]:
    """Bytes a minute at 30 instants a second, and CPU ms for each instant."""
    base = start()
    rng = np.random.default_rng(1)
    owner = rng.choice(np.array([0, 1, OWNER_PAGE_CACHE, 5], np.uint8), FRAMES)
    pages = Pages(owner, base.pages.order, base.pages.flags, np.zeros(FRAMES, np.uint32))
    writer = Writer(path, {})
    spent = 0.0
    for number in range(instants):
        pages = changing(pages, rng, FRAMES // 100, number * 33)
        begin = time.process_time()
        writer.write(Instant(frame(base, pages, number), int(number / RATE * 1e9)))
        spent += time.process_time() - begin
    writer.finish("finished")
    return path.stat().st_size / instants * RATE * 60, spent * 1000 / instants


def long_one(path: Path, minutes: float) -> None:
    """A recording of ``minutes``: real instants of the scenario, forwards and backwards again and again."""
    source = SimulationSource(SCENARIO, SEED, MIB)
    source.machine.smp.lanes_on = False
    while source.machine.ops < 20_000:
        source.run_piece(1 << 40, False)
    snapshots = []
    while len(snapshots) < 120:
        for _ in range(4):
            source.run_piece(1 << 40, False)
        snapshots.append(source.snapshot())
    there_and_back = [*snapshots, *snapshots[-2:0:-1]]
    writer = Writer(path, {"title": "Long"})
    for number in range(int(minutes * 60 * RATE)):
        shown = there_and_back[number % len(there_and_back)]
        shown = dataclasses.replace(shown, seq=number, time_ns=number * 1_000_000, ops=number * 100)
        writer.write(Instant(shown, int(number / RATE * 1e9)))
        if number % 10 == 0:
            writer.commit()
    writer.finish("finished")


def read_long(path: Path) -> None:
    """Print: seconds to open and show the first instant, ms of 300 seeks (median, 99 %, most), MB of memory at most."""
    begin = time.perf_counter()
    reader = Reader(path)
    reader.past()
    reader.at(1)
    opened = time.perf_counter() - begin
    chance = random.Random(5)
    times = []
    for _ in range(300):
        goal = chance.randint(1, reader.instants)
        begin = time.perf_counter()
        reader.at(goal)
        times.append((time.perf_counter() - begin) * 1000)
    times.sort()
    # Not ru_maxrss: that of a new process begins with what its parent had.
    most = int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) / 1024
    print(opened, times[150], times[297], times[-1], most)


def figures(quick: bool) -> list[Figure]:
    """Every figure."""
    return figures_of(quick, 1.0 if quick else 60.0)


def figures_of(quick: bool, minutes: float) -> list[Figure]:
    """The same, with a long recording of ``minutes``."""
    with tempfile.TemporaryDirectory() as folder:
        cost, instants, per_s = engine(5.0 if quick else 60.0, f"{folder}/aged.memviz")
        size, ms = random_changes(Path(folder, "random.memviz"), 60 if quick else 600)
        long = Path(folder, "long.memviz")
        long_one(long, minutes)
        said = subprocess.run(
            [sys.executable, "-m", "benchmarks.bench_recording", "--read", str(long)],
            stdout=subprocess.PIPE, text=True, check=True,
        ).stdout.split()  # fmt: skip
        long_bytes = long.stat().st_size
    opened, median, most_99, most, memory = map(float, said)
    return [
        Figure("recording: aged-file-server, 1,048,576 page frames", per_s * 60 / 1e6, "MB a minute", 6, True),
        Figure("recording: instants a second there", instants, "", 29),
        Figure("recording: what it costs the engine", cost, "%", 5, True),
        Figure("recording: 1 % of 1,048,576 page frames change at random", size / 1e6, "MB a minute", 45, True),
        Figure("recording: CPU for such an instant, in the process that writes", ms, "ms"),
        Figure(f"recording: {minutes:g} minutes are", long_bytes / 1e6, "MB"),
        Figure("recording: opens, shows its first instant", opened, "s", 1, True),
        Figure("recording: a seek, median", median, "ms"),
        Figure("recording: a seek, 99 %", most_99, "ms", 100, True),
        Figure("recording: the longest of 300 seeks", most, "ms"),
        Figure("recording: memory while seeking", memory, "MB", 300, True),
    ]


def main() -> None:
    """Print every figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--read", type=Path)
    options = parser.parse_args()
    if options.read is not None:
        read_long(options.read)
        return
    print(table(figures_of(options.quick, options.minutes)))


if __name__ == "__main__":
    main()
