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
from memviz.sources import convert_pages
from memviz.sources.base import simulation
from memviz.sources.host import HostClient
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


def buffer_ms(memory_mib: int) -> tuple[float, float]:
    """Median ms to put a Snapshot into shared memory, and to copy it out."""
    source = SimulationSource(SCENARIO, SEED, memory_mib)
    snapshot = source.snapshot()
    block = SharedBuffer.create()
    times: tuple[list[float], list[float]] = ([], [])
    for seq in range(1, 51):
        start = time.perf_counter()
        size = block.write(seq, snapshot)
        middle = time.perf_counter()
        block.read(seq, size)
        times[0].append(middle - start)
        times[1].append(time.perf_counter() - middle)
    block.close()
    return statistics.median(times[0]) * 1000, statistics.median(times[1]) * 1000


def snapshot_ms(memory_mib: int) -> float:
    """Median ms that the page arrays of a Snapshot take in the engine's process."""
    machine = load(SCENARIO).machine(seed=SEED, memory_mib=memory_mib)
    times = []
    for _ in range(50):
        start = time.perf_counter()
        convert_pages.pages(machine.mem)
        times.append(time.perf_counter() - start)
    return statistics.median(times) * 1000


def share(memory_mib: int, begin: int, end: int) -> float:
    """The part of the engine's CPU time that 60 Snapshots a second leave to it, in this process.

    They are counted by the clock of the CPU: what else this computer does has no part in it.
    """
    source = SimulationSource(SCENARIO, SEED, memory_mib)
    while source.machine.ops < begin:
        source.advance(0.004)
    block = SharedBuffer.create()
    start = due = time.process_time()
    spent = 0.0
    while source.machine.ops < end:
        source.advance(0.004)
        now = time.process_time()
        while now >= due:
            due += REDRAW_S
            block.write(1, source.snapshot())
        spent += time.process_time() - now
    block.close()
    return 1 - spent / (time.process_time() - start)


def figures(quick: bool) -> list[Figure]:
    """Of this build, at 1 GiB."""
    write, read = buffer_ms(1024)
    begin, end = (1000, 3000) if quick else (4000, 20000)
    return [
        Figure("host: page arrays of a Snapshot", snapshot_ms(1024), "ms"),
        Figure("host: a Snapshot into shared memory", write, "ms"),
        Figure("host: and out of it", read, "ms"),
        Figure("host: what 60 Snapshots a second leave to the engine", share(1024, begin, end), "", 0.8),
    ]


def main() -> None:
    """Print every figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--memory-mib", type=int, default=1024)
    parser.add_argument("--from", dest="begin", type=int, default=4000)
    parser.add_argument("--to", dest="end", type=int, default=20000)
    options = parser.parse_args()
    frames = options.memory_mib * 256
    write, read = buffer_ms(options.memory_mib)
    print(f"snapshot of {frames:,} page frames: {snapshot_ms(options.memory_mib):.2f} ms to copy from the machine,")
    print(f"  {write:.2f} ms into shared memory, {read:.2f} ms out of it")
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
