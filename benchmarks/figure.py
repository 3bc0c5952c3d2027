"""One figure of a benchmark, its target, and whether it is met."""

from __future__ import annotations

import os
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
COMPILED = ROOT / "build" / "compiled"


@dataclass(frozen=True, slots=True)
class Figure:
    """A measured value. ``target`` None: only to be known."""

    name: str
    value: float
    unit: str = ""
    target: float | None = None
    at_most: bool = False
    """The target is not to be exceeded; otherwise it is to be reached."""

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None where there is none."""
        if self.target is None:
            return None
        return self.value <= self.target if self.at_most else self.value >= self.target

    @property
    def verdict(self) -> str:
        """``met``, in a word."""
        return {None: "", True: "met", False: "NOT MET"}[self.met]

    def goal(self) -> str:
        """The target, in words."""
        if self.target is None:
            return ""
        return f"{'at most' if self.at_most else 'at least'} {number(self.target)}"


def number(value: float) -> str:
    """With as many digits as matter."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def table(figures: Sequence[Figure]) -> str:
    """All figures, one a line: name, value, target, met or not."""
    rows = [(f.name, f"{number(f.value)} {f.unit}".strip(), f.goal(), f.verdict) for f in figures]
    rows.insert(0, ("figure", "measured", "target", ""))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    lines = []
    for name, value, goal, verdict in rows:
        lines.append(f"{name:<{widths[0]}}  {value:>{widths[1]}}  {goal:>{widths[2]}}  {verdict}".rstrip())
    return "\n".join(lines)


def median_of(runs: int, measure: Callable[[], float]) -> float:
    """The median of so many runs."""
    return statistics.median(measure() for _ in range(runs))


def compiled() -> bool:
    """Whether the kernel that was imported is compiled."""
    import memviz.kernel.page

    return not str(memviz.kernel.page.__file__).endswith(".py")


def build() -> str:
    """Which kernel was imported, in a word."""
    return "compiled" if compiled() else "interpreted"


def compiled_environment() -> dict[str, str] | None:
    """The environment in which a child process imports the compiled build; None when that is not there."""
    if not list(COMPILED.glob("memviz/kernel/*.so")):
        return None
    path = os.pathsep.join((str(COMPILED), str(ROOT)))
    return {**os.environ, "PYTHONPATH": path, "PYTHONSAFEPATH": "1", "PYTHON": sys.executable}
