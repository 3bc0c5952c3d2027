"""Scheduling points a second, and what the searches of the race lab get done: ``python -m benchmarks.bench_schedule``.

Target: 300,000 scheduling points a second at which the scheduler is asked and may switch to another CPU. Each figure is
the best of three runs.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import memviz.kernel.smp as smp_module
from benchmarks.figure import Figure
from memviz.kernel.schedule import RandomScheduler, Scheduler
from memviz.kernel.smp import Smp
from memviz.kernel.spinlock import SpinLock
from memviz.kernel.trace import Trace
from memviz.races.catalogue import CASES
from memviz.races.stepper import Stepper

POINTS = 100_000
SCHEDULES = 200
TARGET = 300_000


def machine(scheduler: Scheduler, cpus: int) -> Smp:
    """CPUs that do nothing but pass scheduling points."""
    smp = Smp(cpus, Trace(), scheduler)

    def body() -> None:
        for _ in range(POINTS // cpus):
            smp.point("point")

    for cpu in range(cpus):
        smp.spawn(cpu, f"cpu {cpu}", body)
    return smp


def locks() -> Smp:
    """Four CPUs that take and release one lock: two points each, and spinning."""
    smp = Smp(4, Trace(), RandomScheduler(1))
    lock = SpinLock(smp, "lock")

    def body() -> None:
        for _ in range(POINTS // 8):
            lock.lock()
            lock.unlock()

    for cpu in range(4):
        smp.spawn(cpu, f"cpu {cpu}", body)
    return smp


def best(make: Callable[[], Smp]) -> float:
    """Points a second."""
    times = []
    for _ in range(3):
        smp = make()
        begin = time.perf_counter()
        smp.run(None)
        times.append(time.perf_counter() - begin)
    return POINTS / min(times)


def figures(quick: bool) -> list[Figure]:
    """Of this build."""
    return [
        Figure("scheduling: points, 4 CPUs", best(lambda: machine(RandomScheduler(1), 4)), "a second", TARGET),
        Figure("scheduling: points, one CPU", best(lambda: machine(Scheduler(), 4)), "a second", TARGET),
        Figure("scheduling: lock and unlock, 4 CPUs", best(locks), "points a second"),
    ]


def main() -> None:
    build = "interpreted" if smp_module.__file__.endswith(".py") else "compiled"
    print(f"scheduling, {build} build")
    for name, make in (
        ("every point asks, 4 CPUs, random", lambda: machine(RandomScheduler(1), 4)),
        ("every point asks, stays on its CPU", lambda: machine(Scheduler(), 4)),
        ("asks at every 32nd point", lambda: machine(RandomScheduler(1, 32), 4)),
        ("lock and unlock, 4 CPUs, random", locks),
    ):
        rate = best(make)
        target = f"  target {TARGET:,}: {'met' if rate >= TARGET else 'missed'}" if name.startswith("every") else ""
        print(f"  {name:38} {rate:12,.0f} points/s{target}")
    for case in CASES:
        for variant in case.variants:
            if variant.name == "corrected":
                begin = time.perf_counter()
                verdict = variant.search(SCHEDULES)
                spent = time.perf_counter() - begin
                print(
                    f"  {case.name:38} {SCHEDULES / spent:12,.0f} schedules/s of {verdict.points // SCHEDULES} points"
                )
    stepper = Stepper(CASES[-2].variant("corrected"), seed=1)
    while stepper.forward():
        pass
    begin = time.perf_counter()
    steps = 0
    while stepper.back():
        steps += 1
    spent = (time.perf_counter() - begin) / steps
    print(f"  {'one step back, race-everything':38} {spent * 1000:12.1f} ms")


if __name__ == "__main__":
    main()
