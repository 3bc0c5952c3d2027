"""Experiments: what two processes buy, what more seeds cost: ``python -m benchmarks.bench_experiment``.

Two processes shall be at least 1.8 times as fast as one (on a machine with two idle cores), and twice the seeds cost
twice the time. Where others use the machine at the same time, look at the figures by CPU time: what two processes would
be with a core each, and what twice the seeds cost, whoever else was there.
"""

from __future__ import annotations

import os
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import msgspec

from benchmarks.figure import Figure, table
from memviz.experiment import spec
from memviz.experiment.runner import executor, run
from memviz.experiment.spec import Spec
from memviz.experiment.store import Kept, Store
from memviz.experiment.worker import bound_mib

SPEED_UP = 1.8
LINEAR = 2.3


class Taken(NamedTuple):
    """What all cells took, from nothing: seconds, and seconds of CPUs."""

    wall: float
    cpu: float
    kept: list[Kept]


def measured(chosen: Spec, processes: int) -> Taken:
    """Run all cells."""
    with tempfile.TemporaryDirectory() as folder, executor(processes) as workers:
        begin, before = time.perf_counter(), cpu_seconds()
        kept = run(spec.cells(chosen), Store(Path(folder)), workers)
        return Taken(time.perf_counter() - begin, cpu_seconds() - before, kept)


def cpu_seconds() -> float:
    """Of this process and of those that it has waited for."""
    return sum(
        usage.ru_utime + usage.ru_stime
        for usage in (resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN))
    )


def figures(quick: bool) -> list[Figure]:
    """Cells of ``quick``, each ageing alone, so that there is as much work for two processes as for one."""
    base = msgspec.structs.replace(spec.load("quick"), begin=("start",))
    few = msgspec.structs.replace(base, seeds=(1, 2) if quick else (1, 2, 3, 4))
    many = msgspec.structs.replace(base, seeds=tuple(range(1, 2 * len(few.seeds) + 1)))
    one, two, double = measured(few, 1), measured(few, 2), measured(many, 1)
    idle = (os.cpu_count() or 1) >= 2
    return [
        Figure("experiment: two processes against one", one.wall / two.wall, "times", SPEED_UP if idle else None),
        Figure("experiment: the same by CPU time", 2 * one.cpu / two.cpu, "times", SPEED_UP),
        Figure("experiment: twice the seeds", double.wall / one.wall, "times the time", LINEAR, at_most=True),
        Figure("experiment: the same by CPU time (seeds)", double.cpu / one.cpu, "times", LINEAR, at_most=True),
        Figure("experiment: a run of 64 MiB", one.cpu / len(one.kept), "s of CPU"),
        Figure("experiment: largest process, 64 MiB", max(each.cost.peak_mib for each in one.kept), "MiB"),
        Figure("experiment: a process is bounded to, 64 MiB", bound_mib(64), "MiB"),
    ]


if __name__ == "__main__":
    print(table(figures("--quick" in sys.argv)))
