"""What a user of memory looks like to the machine: a name, a weight, and one operation at a time on a CPU."""

from __future__ import annotations

from abc import ABC, abstractmethod
from random import Random
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import msgspec

if TYPE_CHECKING:
    from memviz.kernel.machine import Machine


class Draw:
    """Seeded choices of one workload on one CPU.

    Each CPU draws from a sequence of its own, so what it does depends on the seed and not on how CPUs were interleaved.
    Only ``Random.random`` is used: the one method whose sequence Python promises to keep from version to version.
    """

    def __init__(self, seed: int) -> None:
        self.random = Random(seed).random

    def below(self, n: int) -> int:
        """Uniform in 0 .. n-1."""
        return int(self.random() * n)

    def between(self, low: int, high: int) -> int:
        """Uniform in low .. high, both included."""
        return low + int(self.random() * (high - low + 1))

    def chance(self, probability: float) -> bool:
        """True with the given probability."""
        return self.random() < probability

    def skewed(self, n: int) -> int:
        """In 0 .. n-1, low numbers far more often: half of all draws fall on the first eighth."""
        return int(self.random() ** 3 * n)


class Bounds(NamedTuple):
    """What a parameter may be while the workload runs."""

    title: str
    low: float
    high: float


class Workload(ABC):
    """One user of memory. ``step`` is called between operations of a CPU and does one operation there."""

    kind = ""
    controls: ClassVar[dict[str, Bounds]] = {}
    """Parameters that may be changed while it runs."""

    params: msgspec.Struct

    def __init__(self, machine: Machine, seed: int) -> None:
        self.machine = machine
        self.draws = [Draw(seed * 1_000_003 + cpu) for cpu in range(machine.config.cpus)]

    @abstractmethod
    def step(self, cpu: int) -> None:
        """One operation on CPU ``cpu``."""

    def value(self, name: str) -> float:
        """The parameter ``name`` now."""
        return float(getattr(self.params, name))

    def control(self, name: str, value: float) -> None:
        """Change a parameter while the workload runs. Raises ValueError, one sentence, for what cannot be."""
        bounds = self.controls.get(name)
        if bounds is None:
            raise ValueError(f"{self.kind} has no control called {name!r}: there are {', '.join(self.controls)}")
        if not bounds.low <= value <= bounds.high:
            raise ValueError(f"{name} of {self.kind} cannot be {value:g}: choose {bounds.low:g} to {bounds.high:g}")
        whole = isinstance(getattr(self.params, name), int)
        self.params = msgspec.structs.replace(self.params, **{name: int(value) if whole else value})

    def counts(self) -> dict[str, int]:
        """What this user has got and missed since the machine's start, by name."""
        return {}

    def check(self) -> None:
        """Raise AssertionError when what this user holds and what the machine says differ."""
        return
