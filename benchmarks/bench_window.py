"""The window beside a machine of 1 GiB at full speed: redraws a second, gaps between them, what they cost the engine.

    python -m benchmarks.bench_window [--memory-mib 1024] [--quick] [--profile]

The real window (without a display: offscreen), the real host process, the aged file server. Phases in which the window
pulls Snapshots and redraws alternate with phases in which it lets the engine alone, so that what else the machine does
falls on both. Speeds are given by the clock and by CPU time of the engine: on a busy machine only the second holds.
Targets: up to 4 GiB (1 M page frames) 60 redraws a second, 95 % of the gaps at most 20 ms and 99 % at most 33 ms; 30
redraws a second of larger memories; and 80 % of the speed that the engine has alone.
"""

from __future__ import annotations

import argparse
import cProfile
import os
import pstats
import statistics
import time
from functools import partial
from pathlib import Path
from typing import NamedTuple

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

import numpy as np
from PySide6.QtCore import QEvent, QEventLoop, QObject, QTimer

from benchmarks.figure import Figure, build, table
from memviz.gui.app import collected_here, make_application
from memviz.gui.main_window import MainWindow, Scenario
from memviz.gui.settings import Settings
from memviz.gui.theme import Theme
from memviz.gui.views.heatmap import HeatmapView
from memviz.sources.base import simulation
from memviz.sources.host import HostClient

SCENARIO = "aged-file-server"
SEED = 7
SIZE = (1600, 1000)
MEMORY_MIB = 1024
LARGE_MIB = 4096
LARGEST_MIB = 65536
PHASE_S = 1.5
PHASES = 6
QUICK_PHASES = 2
WARM_OPS = 4000


class Instant(NamedTuple):
    """Where the engine stands."""

    ops: int
    cpu_s: float
    clock_s: float


class Speed(NamedTuple):
    """Operations a second."""

    by_clock: float
    by_cpu: float


class Result(NamedTuple):
    """All of one run."""

    redraws_per_s: float
    gap_p50_ms: float
    gap_p95_ms: float
    gap_p99_ms: float
    frame_cpu_ms: float
    """CPU time that a redraw takes in the window's thread."""
    share_by_clock: float
    share_by_cpu: float
    ops_by_cpu: float


class Redraws(QObject):
    """Notes when the map was painted."""

    def __init__(self) -> None:
        super().__init__()
        self.times: list[float] = []

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if event.type() == QEvent.Type.Paint:
            self.times.append(time.perf_counter())
        return False


def cpu_s(pid: int) -> float:
    """CPU time of a process's first thread so far."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9


def between(first: Instant, last: Instant) -> Speed:
    """The speed from one instant to another."""
    ops = last.ops - first.ops
    return Speed(ops / (last.clock_s - first.clock_s), ops / (last.cpu_s - first.cpu_s))


class Bench:
    """A window with its engine."""

    def __init__(self, memory_mib: int) -> None:
        self.memory_mib = memory_mib
        self.app = make_application()
        theme = Theme("dark")
        theme.apply(self.app)
        self.client = HostClient(simulation(SCENARIO, SEED, memory_mib))
        entry = Scenario(SCENARIO, SCENARIO, partial(self._the_client))
        self.window = MainWindow([entry], theme, Settings(remember=False))
        self.window.resize(*SIZE)
        self.redraws = Redraws()
        heatmap = next(view for view in self.window.views if isinstance(view, HeatmapView))
        heatmap.map.installEventFilter(self.redraws)
        self.window.show()
        self.window.open_scenario(SCENARIO)
        self.session = self.window.session
        self.session.set_speed(0)
        self.session.set_running(True)

    def _the_client(self) -> HostClient:
        return self.client

    def wait(self, seconds: float) -> None:
        """Let the window live for so long."""
        loop = QEventLoop()
        QTimer.singleShot(int(seconds * 1000), loop.quit)
        loop.exec()

    def instant(self) -> Instant:
        """The engine now. What lies in the pipe may be old: the answer to a question put now is taken."""
        self.client.poll()
        for _ in range(2):
            snapshot = self.client.wait(20)
            if snapshot is None or snapshot.state == "failed":
                why = snapshot.notice if snapshot is not None else "no answer"
                raise SystemExit(f"bench_window: {self.client.failure or why}")
        assert snapshot is not None
        return Instant(snapshot.ops, cpu_s(self.client.pid), time.perf_counter())

    def warm(self) -> None:
        """Until memory has begun to fill."""
        while self.session.snapshot is None or self.session.snapshot.ops < WARM_OPS:
            self.wait(0.1)
            if self.session.failure:
                raise SystemExit(f"bench_window: {self.session.failure}\n{self.client.report}")

    def watched(self, seconds: float) -> tuple[Speed, list[float], float]:
        """A phase with redraws: the engine's speed, times of redraws, CPU time of this thread."""
        first = self.instant()
        self.session._timer.start()
        self.redraws.times.clear()
        begin = time.thread_time()
        self.wait(seconds)
        spent = time.thread_time() - begin
        times = list(self.redraws.times)
        self.session._timer.stop()
        return between(first, self.instant()), times, spent

    def alone(self, seconds: float) -> Speed:
        """A phase in which nobody looks: the engine's speed."""
        first = self.instant()
        time.sleep(seconds)
        return between(first, self.instant())

    def close(self) -> None:
        """End both."""
        self.window.close()


def measure(memory_mib: int, phases: int, profile: bool = False) -> Result:
    """Alternate; medians over all phases."""
    bench = Bench(memory_mib)
    gaps: list[float] = []
    rates: list[float] = []
    frame: list[float] = []
    shares: list[Speed] = []
    with collected_here(bench.app):
        bench.warm()
        bench.session._timer.stop()
        before = bench.alone(PHASE_S)
        profiler = cProfile.Profile(time.thread_time)
        for _ in range(phases):
            if profile:
                profiler.enable()
            beside, times, spent = bench.watched(PHASE_S)
            profiler.disable()
            after = bench.alone(PHASE_S)
            gaps.extend(np.diff(times) * 1000)
            rates.append((len(times) - 1) / (times[-1] - times[0]))
            frame.append(1000 * spent / len(times))
            clock = 2 * beside.by_clock / (before.by_clock + after.by_clock)
            shares.append(Speed(clock, 2 * beside.by_cpu / (before.by_cpu + after.by_cpu)))
            before = after
        bench.close()
    if profile:
        pstats.Stats(profiler).sort_stats("tottime").print_stats(35)
    return Result(
        statistics.median(rates),
        float(np.percentile(gaps, 50)),
        float(np.percentile(gaps, 95)),
        float(np.percentile(gaps, 99)),
        statistics.median(frame),
        statistics.median(one.by_clock for one in shares),
        statistics.median(one.by_cpu for one in shares),
        before.by_cpu,
    )


def as_figures(memory_mib: int, result: Result) -> list[Figure]:
    """With their targets."""
    name = f"window, {memory_mib // 1024} GiB:"
    large = memory_mib > LARGE_MIB
    redraws, p95, p99, cpu = (30, 50, 100, 33) if large else (60, 20, 33, 16)
    return [
        Figure(f"{name} redraws", result.redraws_per_s, "a second", redraws),
        Figure(f"{name} 95 % of gaps", result.gap_p95_ms, "ms", p95, at_most=True),
        Figure(f"{name} 99 % of gaps", result.gap_p99_ms, "ms", p99, at_most=True),
        Figure(f"{name} CPU time of a redraw", result.frame_cpu_ms, "ms", cpu, at_most=True),
        Figure(f"{name} engine's share of its speed alone, by CPU time", result.share_by_cpu, "", 0.8),
        Figure(f"{name} the same by the clock", result.share_by_clock, "", 0.8),
        Figure(f"{name} engine alone", result.ops_by_cpu, "ops per CPU second"),
    ]


def figures(quick: bool) -> list[Figure]:
    """Of this build, small and large."""
    phases = QUICK_PHASES if quick else PHASES
    sizes = (MEMORY_MIB, LARGEST_MIB)
    return [figure for size in sizes for figure in as_figures(size, measure(size, phases))]


def main() -> None:
    """Measure this build and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--memory-mib", type=int, default=MEMORY_MIB)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--profile", action="store_true")
    options = parser.parse_args()
    result = measure(options.memory_mib, QUICK_PHASES if options.quick else PHASES, options.profile)
    print(f"{build()}:")
    print(table(as_figures(options.memory_mib, result)))


if __name__ == "__main__":
    main()
