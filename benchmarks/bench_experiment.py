"""Experiments: what two processes buy, what more seeds cost: ``python -m benchmarks.bench_experiment``.

Two processes shall be at least 1.8 times as fast as one (on a machine with two idle cores), and twice the seeds cost
twice the time.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

import msgspec

from benchmarks.figure import Figure, table
from memviz.experiment import spec
from memviz.experiment.runner import executor, run
from memviz.experiment.spec import Spec
from memviz.experiment.store import Kept, Store

SPEED_UP = 1.8
LINEAR = 2.3


def measured(chosen: Spec, processes: int) -> tuple[float, list[Kept]]:
    """Seconds for all cells, from nothing."""
    with tempfile.TemporaryDirectory() as folder, executor(processes) as workers:
        begin = time.perf_counter()
        kept = run(spec.cells(chosen), Store(Path(folder)), workers)
        return time.perf_counter() - begin, kept


def figures(quick: bool) -> list[Figure]:
    """Cells of ``quick``, each ageing alone, so that there is as much work for two processes as for one."""
    base = msgspec.structs.replace(spec.load("quick"), begin=("start",))
    few = msgspec.structs.replace(base, seeds=(1, 2) if quick else (1, 2, 3, 4))
    many = msgspec.structs.replace(base, seeds=tuple(range(1, 2 * len(few.seeds) + 1)))
    one, kept = measured(few, 1)
    two, _ = measured(few, 2)
    double, _ = measured(many, 1)
    idle = (os.cpu_count() or 1) >= 2
    return [
        Figure("experiment: two processes against one", one / two, "times", SPEED_UP if idle else None),
        Figure("experiment: twice the seeds", double / one, "times the time", LINEAR, at_most=True),
        Figure("experiment: a run of 64 MiB", one / len(kept), "s"),
        Figure("experiment: largest process, 64 MiB", max(each.cost.peak_mib for each in kept), "MiB"),
    ]


if __name__ == "__main__":
    print(table(figures("--quick" in sys.argv)))
