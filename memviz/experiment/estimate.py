"""Means with their uncertainty, and differences paired by seed.

Seeds are few and figures are shares with ceilings, so two things are said of a difference: a Student t interval of
the paired differences, and how many seeds agree with its sign.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import Final, NamedTuple

# Two-sided 95 % quantiles of Student's t by degrees of freedom, 1 to 30; beyond that the normal's.
_T95: Final = (
    *(12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228),
    *(2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086),
    *(2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042),
)
_Z95: Final = 1.960


class Estimate(NamedTuple):
    """A mean and its 95 % confidence interval; ``half`` is infinite for a single value."""

    mean: float
    half: float

    @property
    def low(self) -> float:
        """The interval's lower end."""
        return self.mean - self.half

    @property
    def high(self) -> float:
        """The interval's upper end."""
        return self.mean + self.half


class Difference(NamedTuple):
    """What a policy changed, seed by seed."""

    estimate: Estimate
    better: int
    """Seeds with a higher value than the baseline's."""
    worse: int
    seeds: int

    @property
    def sure(self) -> bool:
        """Whether the interval leaves out zero."""
        return self.estimate.low > 0 or self.estimate.high < 0


def estimate(values: Sequence[float]) -> Estimate:
    """Mean and interval of independent values. Raises ValueError when there are none."""
    if not values:
        raise ValueError("there is no mean of nothing: give at least one value")
    mean = statistics.fmean(values)
    if len(values) == 1:
        return Estimate(mean, math.inf)
    freedom = len(values) - 1
    quantile = _T95[freedom - 1] if freedom <= len(_T95) else _Z95
    return Estimate(mean, quantile * statistics.stdev(values) / math.sqrt(len(values)))


def paired(values: Sequence[float], baseline: Sequence[float]) -> Difference:
    """What changed from ``baseline`` to ``values``, whose entries belong together. Raises ValueError when they don't
    pair up."""
    changes = [value - base for value, base in zip(values, baseline, strict=True)]
    better = sum(change > 0 for change in changes)
    worse = sum(change < 0 for change in changes)
    return Difference(estimate(changes), better, worse, len(changes))
