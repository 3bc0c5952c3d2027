"""Success over time: while machines age under a policy, and while the work goes on after a policy has acted."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Final

from memviz.experiment import figures
from memviz.experiment.demand import Demand
from memviz.experiment.estimate import Estimate, estimate
from memviz.experiment.figures import Group
from memviz.experiment.table import Part

PARTS: Final = 4


def chief(part: Part) -> int:
    """The order that matters most: a pageblock's, as the protocol watches it, or the largest that was asked for."""
    protocol = part.spec.protocol
    asked = protocol.steady or protocol.burst
    return protocol.watch if protocol.watch in asked else max(asked, default=-1)


def served(one: Demand, parts: int = PARTS) -> list[float]:
    """Per cent of the requests that a steady demand served, in each of ``parts`` equal parts of its time; empty for
    results of before that was kept."""
    if not one.served or len(one.served) < parts:
        return []
    ends = [len(one.served) * number // parts for number in range(parts + 1)]
    return [100 * one.served[a:b].count("1") / (b - a) for a, b in itertools.pairwise(ends)]


def steady(part: Part, group: Group, policy: str, order: int, parts: int = PARTS) -> list[Estimate]:
    """``served`` of a policy over all seeds."""
    of_seeds = [served(figures.find(run.outcome.steady, order), parts) for run in figures.runs_of(part, group, policy)]
    if not all(of_seeds):
        return []
    return [estimate(values) for values in zip(*of_seeds, strict=True)]


def marks(part: Part, parts: int = PARTS) -> list[int]:
    """Operations of the workload from a policy's action to the end of each part."""
    protocol = part.spec.protocol
    return [protocol.requests * number // parts * protocol.every for number in range(1, parts + 1)]


def ageing(part: Part, group: Group, policy: str) -> tuple[list[int], list[float], list[float]]:
    """While machines age under a policy: operations, per cent of a burst that is served, per cent of mixed blocks."""
    runs = figures.runs_of(part, group, policy)
    ops = [sample.ops for sample in runs[0].outcome.samples]

    def mean(values: Sequence[float]) -> float:
        return sum(values) / len(values)

    at = range(len(ops))
    bursts = [
        mean([100 * run.outcome.samples[i].burst.got / run.outcome.samples[i].burst.wanted for run in runs]) for i in at
    ]
    mixed = [mean([figures.mixed_share(run.outcome.samples[i]) for run in runs]) for i in at]
    return ops, bursts, mixed
