"""Who runs next: all nondeterminism of the machine behind one small interface.

``Smp`` asks a ``Scheduler`` two things: which of the CPUs that can run goes on, and for how many scheduling points
before it asks again. What a scheduler answered is a ``Schedule``: a list of (cpu, points) that ``Replay`` plays
back, so that any run can be repeated from its seed or from its schedule (the shape is that of the *shuttle* library
for Rust).
"""

from __future__ import annotations

from random import Random

from mypy_extensions import mypyc_attr

Schedule = list[tuple[int, int]]


@mypyc_attr(allow_interpreted_subclasses=True)
class Scheduler:
    """The interface, and its simplest form: keep to the current CPU while it can run, then the lowest-numbered."""

    def next_cpu(self, runnable: list[int], current: int) -> int:
        """One of ``runnable`` (ascending, never empty). ``current`` ran last and may not be in it."""
        return current if current in runnable else runnable[0]

    def points(self) -> int:
        """How many scheduling points the chosen CPU passes before the next question; 0: ask at every point."""
        return 0


class RandomScheduler(Scheduler):
    """Seeded. ``mean`` 1 asks at every point, as an explorer of races wants; more lets each CPU run on a while."""

    def __init__(self, seed: int, mean: int = 1) -> None:
        self.random = Random(seed)
        self.spread = 2 * mean - 1

    def next_cpu(self, runnable: list[int], current: int) -> int:
        """A uniform draw. ``Random.random`` is the one method whose sequence Python promises to keep."""
        return runnable[int(self.random.random() * len(runnable))]

    def points(self) -> int:
        """Uniform between 0 and twice the mean."""
        if self.spread <= 1:
            return 0
        return int(self.random.random() * self.spread)


class Replay(Scheduler):
    """Plays a recorded schedule; after its end it stays with whoever can run."""

    def __init__(self, schedule: Schedule) -> None:
        self.schedule = schedule
        self.at = 0

    def next_cpu(self, runnable: list[int], current: int) -> int:
        """The recorded CPU; when that one cannot run here (the code has changed since), the nearest that can."""
        if self.at < len(self.schedule):
            wanted = self.schedule[self.at][0]
            if wanted in runnable:
                return wanted
        return current if current in runnable else runnable[0]

    def points(self) -> int:
        """The recorded run length of the choice just made."""
        if self.at < len(self.schedule):
            points = self.schedule[self.at][1]
            self.at += 1
            return points
        return 0


class Chosen(Scheduler):
    """Somebody outside (the stepper in the window, a test) says before every point who goes on."""

    def __init__(self, cpu: int = 0) -> None:
        self.cpu = cpu

    def next_cpu(self, runnable: list[int], current: int) -> int:
        """The CPU named last if it can run, else the lowest-numbered that can."""
        return self.cpu if self.cpu in runnable else runnable[0]
