"""What a case of the race lab is: a claim, who made it, and small machines in which it holds or breaks.

A case has *variants*: the algorithm as it was posted, the corrected one, the other answer to an open question. Each is
searched for a schedule that breaks it and says beforehand whether there is one: the *verdict* is whether that is so.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

from memviz.kernel.explore import Verdict, minimise, search_all, search_pct, search_random
from memviz.kernel.schedule import Schedule, Scheduler
from memviz.races.lab import Lab

HOLDS: Final = ""
"""``Variant.breaks`` of what no schedule breaks."""

SCHEDULES: Final = 300
"""Random schedules that a variant expected to hold is given when nobody says how many."""

How = Literal["random", "pct", "all"]


@dataclass(frozen=True, slots=True)
class Variant:
    """One machine of a case."""

    name: str
    says: str
    """What is done here and not in the other variants, in one sentence."""
    scene: Callable[[Scheduler], Lab]
    """Builds the machine around a scheduler, with its tasks on their CPUs; nothing has run yet."""
    breaks: str = HOLDS
    """The rule that some schedule breaks; ``HOLDS``: none does."""
    how: How = "random"
    """The search that finds the breaking schedule."""
    seed: int = 0
    """The first seed tried: one that breaks it, or close before one."""
    cpus: int = 2

    @property
    def preemptions(self) -> int:
        """The schedules with at most so many preemptions are few enough for all of them to be tried."""
        return 3 if self.cpus == 2 else 2

    def build(self, scheduler: Scheduler) -> None:
        """Build the machine, run it to its end and check it: a ``Case`` of ``explore``. Raises what is broken."""
        self.scene(scheduler).run()

    def search(self, schedules: int, seed: int | None = None, how: How | None = None) -> Verdict:
        """Look for a schedule that breaks it, up to ``schedules``."""
        first = self.seed if seed is None else seed
        how = self.how if how is None else how
        if how == "all":
            return self.search_all(schedules)
        if how == "pct":
            return search_pct(self.build, schedules, self.cpus, seed=first)
        return search_random(self.build, schedules, first)

    def search_all(self, limit: int, preemptions: int = -1) -> Verdict:
        """Try every schedule with at most ``preemptions`` (-1: as many as this variant says), up to ``limit``."""
        return search_all(self.build, self.preemptions if preemptions < 0 else preemptions, limit)

    def minimised(self, verdict: Verdict) -> Schedule:
        """The shortest way to the failure that ``verdict`` found; empty when it found none."""
        return minimise(self.build, verdict.schedule) if verdict.failure is not None else []

    def expected(self, verdict: Verdict) -> bool:
        """Did the search find what this variant says?"""
        return verdict.rule == self.breaks


@dataclass(frozen=True, slots=True)
class RaceCase:
    """One claim and what was found about it."""

    name: str
    """``race-…``, as the command line knows it."""
    title: str
    claim: str
    by: str
    """Who made the claim, or whose code it is about."""
    date: str
    """Of the message, ISO 8601; a year or version where there is no message."""
    look_for: str
    """Where to look when the schedule is stepped through."""
    finding: str
    """What the search found, in one sentence."""
    variants: tuple[Variant, ...]

    def variant(self, name: str) -> Variant:
        """A variant by name, "" is the first. Raises ValueError, one sentence."""
        for one in self.variants:
            if name in ("", one.name):
                return one
        names = ", ".join(one.name for one in self.variants)
        raise ValueError(f"{self.name} has no variant called {name!r}: there are {names}")
