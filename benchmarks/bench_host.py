"""What a window costs the engine: operations a second alone and behind 60 snapshots a second.

    python -m benchmarks.bench_host [--memory-mib 1024] [--from 4000] [--to 20000]

Both measurements cover the same operations of the same run, as the machine slows down while its memory fills. Speeds
are given by the clock and by CPU time of the engine's process: on a busy machine only the second can be compared.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path
from typing import NamedTuple

from benchmarks.figure import Figure
from memviz.scenario import load
from memviz.snapshot import Snapshot
from memviz.sources.base import simulation
from memviz.sources.host import HostClient
from memviz.sources.outgoing import Outgoing, Unsent, received
from memviz.sources.page_sets import PageSets
from memviz.sources.play import Play
from memviz.sources.shared_buffer import SharedBuffer
from memviz.sources.simulation import SimulationSource

SCENARIO = "aged-file-server"
SEED = 7
REDRAW_S = 1 / 60


class Speed(NamedTuple):
    """Operations a second."""

    by_clock: float
    by_cpu: float


class Hosted(NamedTuple):
    """The engine behind a client."""

    speed: Speed
    snapshots_per_s: float
    pull_ms: float


def cpu_s(pid: int) -> float:
    """CPU time of a process so far."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9


def alone(memory_mib: int, begin: int, end: int) -> Speed:
    """The engine in its own process, nobody looking."""
    scenario = load(SCENARIO)
    machine = scenario.machine(seed=SEED, memory_mib=memory_mib)
    play = Play(scenario, machine, scripted=False)
    play.run(begin)
    start, start_cpu = time.perf_counter(), time.process_time()
    play.run(end - machine.ops)
    ops = end - begin
    return Speed(ops / (time.perf_counter() - start), ops / (time.process_time() - start_cpu))


def hosted(memory_mib: int, begin: int, end: int) -> Hosted:
    """The engine behind a client that pulls 60 times a second."""
    first = last = (0.0, 0, 0.0)
    pulls: list[float] = []
    with HostClient(simulation(SCENARIO, SEED, memory_mib)) as client:
        while last[1] < end:
            now = time.perf_counter()
            snapshot = client.poll()
            spent = time.perf_counter() - now
            if client.failure or (snapshot is not None and snapshot.state == "failed"):
                raise SystemExit(f"bench_host: {client.failure or (snapshot.notice if snapshot else '')}")
            if snapshot is not None and snapshot.ops >= begin:
                last = (now, snapshot.ops, cpu_s(client.pid))
                if not pulls:
                    first = last
                pulls.append(spent)
            time.sleep(max(0.0, now + REDRAW_S - time.perf_counter()))
    seconds, ops = last[0] - first[0], last[1] - first[1]
    speed = Speed(ops / seconds, ops / (last[2] - first[2]))
    return Hosted(speed, (len(pulls) - 1) / seconds, statistics.median(pulls) * 1000)


class Way:
    """A Snapshot's way from the engine to the window, without the two processes."""

    def __init__(self, memory_mib: int, begin: int) -> None:
        self.source = SimulationSource(SCENARIO, SEED, memory_mib)
        while self.source.machine.ops < begin:
            self.source.advance(0.004)
        self._block = SharedBuffer.create()
        self._outgoing = Outgoing()
        self._unsent = Unsent()
        self._incoming = PageSets()
        self._seq = self._size = 0
        self._shown: Snapshot | None = None

    def write(self) -> None:
        """Make a Snapshot and put it into shared memory, as the host does."""
        snapshot = self.source.snapshot()
        self._seq += 1
        message = (self._unsent.of(snapshot), self._outgoing.delta(snapshot.pages))
        self._size = self._block.write(self._seq, message)

    def read(self) -> None:
        """Take it out, as the window does, which has shown the one before until now."""
        message = self._block.read(self._seq, self._size)
        assert isinstance(message, tuple)
        fields, delta = message
        self._shown = received(self._shown, fields, self._incoming.apply(delta))

    def close(self) -> None:
        """Give the shared memory back."""
        self._block.close()


def way_ms(memory_mib: int, begin: int) -> tuple[float, float]:
    """Median ms of CPU time to make a Snapshot of a machine at full speed and share it, and to take it out."""
    way = Way(memory_mib, begin)
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(60):
        due = time.thread_time() + REDRAW_S
        while time.thread_time() < due:
            way.source.advance(0.004)
        start = time.thread_time()
        way.write()
        middle = time.thread_time()
        way.read()
        times[0].append(middle - start)
        times[1].append(time.thread_time() - middle)
    way.close()
    return statistics.median(times[0]) * 1000, statistics.median(times[1]) * 1000


def share(memory_mib: int, begin: int, end: int) -> float:
    """The part of the engine's CPU time that 60 Snapshots a second leave to it, in this process.

    They are counted by the clock of the CPU: what else this computer does has no part in it.
    """
    way = Way(memory_mib, begin)
    way.write()
    start = due = time.process_time()
    spent = 0.0
    while way.source.machine.ops < end:
        way.source.advance(0.004)
        now = time.process_time()
        while now >= due:
            due += REDRAW_S
            way.write()
        spent += time.process_time() - now
    way.close()
    return 1 - spent / (time.process_time() - start)


def figures(quick: bool) -> list[Figure]:
    """Of this build, at 1 GiB and at 64 GiB."""
    begin, end = (1000, 3000) if quick else (4000, 20000)
    found = []
    for memory_mib, most_ms in ((1024, 2.0), (65536, 4.0)):
        name = f"host, {memory_mib // 1024} GiB:"
        write, read = way_ms(memory_mib, begin)
        left = share(memory_mib, begin, end)
        found += [
            Figure(f"{name} a Snapshot made and shared", write, "ms", most_ms, at_most=True),
            Figure(f"{name} and taken out", read, "ms", most_ms, at_most=True),
            Figure(f"{name} what 60 Snapshots a second leave to the engine", left, "", 0.8),
        ]
    return found


def main() -> None:
    """Print every figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--memory-mib", type=int, default=1024)
    parser.add_argument("--from", dest="begin", type=int, default=4000)
    parser.add_argument("--to", dest="end", type=int, default=20000)
    options = parser.parse_args()
    frames = options.memory_mib * 256
    write, read = way_ms(options.memory_mib, options.begin)
    print(
        f"snapshot of {frames:,} page frames: {write:.2f} ms to make it and into shared memory, {read:.2f} ms out of it"
    )
    headless = alone(options.memory_mib, options.begin, options.end)
    behind = hosted(options.memory_mib, options.begin, options.end)
    clock = behind.speed.by_clock / headless.by_clock
    cpu = behind.speed.by_cpu / headless.by_cpu
    print(f"engine alone: {headless.by_clock:,.0f} ops/s, {headless.by_cpu:,.0f} per CPU second")
    print(f"engine behind {behind.snapshots_per_s:.0f} snapshots/s: {behind.speed.by_clock:,.0f} ops/s,", end=" ")
    print(f"{behind.speed.by_cpu:,.0f} per CPU second: {clock:.0%} by the clock, {cpu:.0%} by CPU time")
    print(f"  a pull takes the window {behind.pull_ms:.2f} ms (median)")


if __name__ == "__main__":
    main()
