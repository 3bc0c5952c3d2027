"""Searching the schedules of a small case for one that breaks it.

A *case* is a function that builds everything anew around the ``Scheduler`` it is given, runs it and raises when a
rule is broken (``KernelBug``, or ``AssertionError`` from a check). As all nondeterminism is in the scheduler, running
it again with the recorded schedule repeats it exactly; the search only decides which schedules to try:

- ``search_random``: uniform at every point, one seed a try.
- ``search_pct``: probabilistic concurrency testing (Burckhardt et al., ASPLOS 2010): random priorities and ``depth -
  1`` priority changes; finds a bug that needs d ordered switches among k points of n CPUs with probability 1/(n
  k^(d-1)).
- ``search_all``: every schedule with at most ``preemptions`` switches away from a CPU that could have gone on (CHESS);
  all schedules when that is not limited. Complete for what it covers, and says how much that was.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import NamedTuple

from memviz.kernel.schedule import RandomScheduler, Replay, Schedule, Scheduler
from memviz.kernel.smp import KernelBug

Case = Callable[[Scheduler], None]


class Verdict(NamedTuple):
    """What a search found. ``failure`` is None when nothing broke; ``schedule`` repeats it, ``seed`` too where there
    is one.

    ``points`` counts scheduling decisions over all schedules tried; ``complete``: nothing within the bounds is left
    to try.
    """

    schedules: int
    points: int
    complete: bool
    failure: str | None
    rule: str
    schedule: Schedule
    seed: int


class Recorder(Scheduler):
    """Passes every question on and writes down the answers."""

    def __init__(self, inner: Scheduler) -> None:
        self.inner = inner
        self.schedule: Schedule = []

    def next_cpu(self, runnable: list[int], current: int) -> int:
        """As the inner scheduler says."""
        chosen = self.inner.next_cpu(runnable, current)
        self.schedule.append((chosen, 0))
        return chosen

    def points(self) -> int:
        """As the inner scheduler says."""
        points = self.inner.points()
        self.schedule[-1] = (self.schedule[-1][0], points)
        return points


class Pct(Scheduler):
    """Priorities per CPU, lowered at a few random points of the run."""

    def __init__(self, seed: int, cpus: int, depth: int, length: int) -> None:
        random = Random(seed).random
        order = sorted((random(), cpu) for cpu in range(cpus))
        self.priority = [0.0] * cpus
        for rank, (_, cpu) in enumerate(order):
            self.priority[cpu] = depth + rank
        self.changes = sorted(int(random() * length) for _ in range(depth - 1))
        self.at = 0
        self.lowered = 0

    def next_cpu(self, runnable: list[int], current: int) -> int:
        """The runnable CPU of the highest priority; at a change point the one that would go on falls behind all
        others.
        """
        best = max(runnable, key=lambda cpu: self.priority[cpu])
        while self.lowered < len(self.changes) and self.at >= self.changes[self.lowered]:
            self.priority[best] = len(self.changes) - self.lowered - 1
            self.lowered += 1
            best = max(runnable, key=lambda cpu: self.priority[cpu])
        self.at += 1
        return best


class Choice:
    """One decision of a depth-first search: what could be chosen there, in the order of trying, and which is being
    tried.
    """

    def __init__(self, options: list[int]) -> None:
        self.options = options
        self.at = 0


class DepthFirst(Scheduler):
    """Follows the path of decisions so far, then takes the first option everywhere."""

    def __init__(self, path: list[Choice], preemptions: int) -> None:
        self.path = path
        self.preemptions = preemptions
        self.depth = 0

    def next_cpu(self, runnable: list[int], current: int) -> int:
        """The option of this depth. Going on with ``current`` comes first, as it costs no preemption."""
        going_on = self.depth > 0 and current in runnable  # at the very start nobody is preempted
        if self.depth == len(self.path):
            if going_on:
                others = [cpu for cpu in runnable if cpu != current]
                self.path.append(Choice([current, *others] if self.preemptions != 0 else [current]))
            else:
                self.path.append(Choice(list(runnable)))
        choice = self.path[self.depth]
        self.depth += 1
        chosen = choice.options[choice.at]
        if going_on and chosen != current and self.preemptions > 0:
            self.preemptions -= 1
        return chosen


def attempt(case: Case, scheduler: Scheduler) -> tuple[Schedule, str | None, str]:
    """Run ``case`` once: the schedule it took, and what broke (message, rule) or None."""
    recorder = Recorder(scheduler)
    try:
        case(recorder)
    except KernelBug as bug:
        return recorder.schedule, str(bug), bug.rule
    except AssertionError as error:
        return recorder.schedule, str(error), "check failed"
    return recorder.schedule, None, ""


def search_random(case: Case, schedules: int, seed: int = 0) -> Verdict:
    """Try ``schedules`` seeds from ``seed`` on; stops at the first that breaks the case."""
    points = 0
    for number in range(schedules):
        schedule, failure, rule = attempt(case, RandomScheduler(seed + number))
        points += len(schedule)
        if failure is not None:
            return Verdict(number + 1, points, False, failure, rule, schedule, seed + number)
    return Verdict(schedules, points, False, None, "", [], seed)


def search_pct(case: Case, schedules: int, cpus: int, depth: int = 3, seed: int = 0) -> Verdict:
    """Try ``schedules`` seeds of PCT with ``depth - 1`` priority changes. How long runs are is told by one that is the
    same for all seeds, so that every seed repeats its schedule alone."""
    first, failure, rule = attempt(case, Scheduler())
    points = len(first)
    if failure is not None:
        return Verdict(1, points, False, failure, rule, first, -1)
    for number in range(schedules):
        schedule, failure, rule = attempt(case, Pct(seed + number, cpus, depth, len(first)))
        points += len(schedule)
        if failure is not None:
            return Verdict(number + 1, points, False, failure, rule, schedule, seed + number)
    return Verdict(schedules, points, False, None, "", [], seed)


def search_all(case: Case, preemptions: int = -1, limit: int = 1_000_000) -> Verdict:
    """Try every schedule with at most ``preemptions`` (-1: any number), up to ``limit`` schedules."""
    path: list[Choice] = []
    points = 0
    for number in range(1, limit + 1):
        schedule, failure, rule = attempt(case, DepthFirst(path, preemptions))
        points += len(schedule)
        if failure is not None:
            return Verdict(number, points, False, failure, rule, schedule, -1)
        while path and path[-1].at + 1 == len(path[-1].options):
            path.pop()
        if not path:
            return Verdict(number, points, True, None, "", [], -1)
        path[-1].at += 1
    return Verdict(limit, points, False, None, "", [], -1)


def minimise(case: Case, schedule: Schedule) -> Schedule:
    """A schedule that still breaks the same rule of ``case`` with as few switches as a greedy search finds.

    Stretches of one CPU are moved behind its next one, or dropped, as long as the failure stays.
    """
    best, _, rule = attempt(case, Replay(schedule))
    improved = True
    while improved:
        improved = False
        for begin, end in runs(best):
            for merged in merges(best, begin, end):
                tried, failure, broken = attempt(case, Replay(merged))
                if failure is not None and broken == rule and len(runs(tried)) < len(runs(best)):
                    best = tried
                    improved = True
                    break
            if improved:
                break
    return best


def merges(schedule: Schedule, begin: int, end: int) -> list[Schedule]:
    """``schedule`` without the run ``begin:end``, and with that run moved behind the next one of the same CPU."""
    cpu = schedule[begin][0]
    without = schedule[:begin] + schedule[end:]
    later = begin
    while later < len(without) and without[later][0] != cpu:
        later += 1
    return [without[:later] + schedule[begin:end] + without[later:], without]


def runs(schedule: Schedule) -> list[tuple[int, int]]:
    """Where one CPU goes on: (begin, end) of each stretch."""
    found: list[tuple[int, int]] = []
    begin = 0
    for at in range(1, len(schedule) + 1):
        if at == len(schedule) or schedule[at][0] != schedule[begin][0]:
            found.append((begin, at))
            begin = at
    return found if schedule else []
