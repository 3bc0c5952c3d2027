"""What the plots of an experiment are given to draw."""

from __future__ import annotations

from typing import NamedTuple

from memviz.experiment.estimate import Estimate


class Line(NamedTuple):
    """A policy's values, by order, or over time."""

    name: str
    places: tuple[int, ...]
    """Orders, or operations."""
    values: tuple[Estimate, ...]


class Dot(NamedTuple):
    """A run: which policy, which seed, and its value."""

    policy: int
    seed: int
    value: float
