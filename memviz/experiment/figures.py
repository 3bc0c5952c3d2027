"""What the report and the plots say of results: chosen figures, as estimates over seeds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from memviz.experiment.demand import Demand
from memviz.experiment.estimate import Difference, Estimate, estimate, paired
from memviz.experiment.look import Look
from memviz.experiment.measure import Outcome, Sample
from memviz.experiment.table import Part, Run

Value = Callable[[Outcome], float]


COLOURS: Final = (
    *("#8695a8", "#5f86c0", "#c8577a", "#e58fc1", "#d9a441", "#3fa7e0", "#38a89d"),
    *("#2f7fd6", "#1f9a70", "#8a9a2f", "#b79bff", "#e07b39", "#7fd46b", "#e0605a"),
)
"""Of policies, in their order, on paper and in the window; they stay legible on light and dark ground."""


def colour(policy: int) -> str:
    """Of a policy, by its place."""
    return COLOURS[policy % len(COLOURS)]


class Group(NamedTuple):
    """Runs that compare: one scenario on one size of memory, policies beginning at one time."""

    scenario: str
    memory_mib: int
    begin: str

    @property
    def machine(self) -> str:
        """Scenario and size of memory, for people."""
        return f"{self.scenario.rsplit('/', 1)[-1].removesuffix('.toml')}, {self.memory_mib} MiB"


class Figure(NamedTuple):
    """A figure of an outcome: what it is called, how it is read, how it is written, and in which direction it is
    good."""

    title: str
    value: Value
    form: str
    better: int
    """1: more is better; -1: less is; 0: neither."""


def groups(results: Part) -> list[Group]:
    """All of them, in the order of the specification."""
    spec = results.spec
    return [
        Group(scenario, memory_mib, begin)
        for scenario in spec.scenarios
        for memory_mib in spec.memory_mib
        for begin in spec.begin
    ]


def runs_of(results: Part, group: Group, policy: str) -> list[Run]:
    """A policy's runs in a group, by seed."""
    found = [run for run in results.runs if (run.scenario, run.memory_mib, run.begin) == group and run.policy == policy]
    return sorted(found, key=lambda run: run.seed)


def values(results: Part, group: Group, policy: str, value: Value) -> list[float]:
    """A figure of a policy, a value a seed."""
    return [value(run.outcome) for run in runs_of(results, group, policy)]


def estimated(results: Part, group: Group, policy: str, value: Value) -> Estimate:
    """A figure of a policy over all seeds."""
    return estimate(values(results, group, policy, value))


def compared(results: Part, group: Group, policy: str, value: Value) -> Difference:
    """What a policy changed of a figure, compared with the baseline seed by seed."""
    baseline = values(results, group, results.spec.baseline, value)
    return paired(values(results, group, policy, value), baseline)


# -- figures -------------------------------------------------------------------------------------------------------


def find(demands: Sequence[Demand], order: int) -> Demand:
    """The demand of an order."""
    return next(one for one in demands if one.order == order)


def success(phase: str, order: int) -> Value:
    """Part of the requests of an order that succeeded, per cent; ``phase`` burst or steady."""

    def value(outcome: Outcome) -> float:
        one = find(getattr(outcome, phase), order)
        return 100 * one.got / one.wanted

    return value


def latency_us(phase: str, order: int) -> Value:
    """Mean virtual time of a request of an order, microseconds."""
    return lambda outcome: find(getattr(outcome, phase), order).mean_ns / 1000


def huge_pages(outcome: Outcome) -> float:
    """2 MiB blocks that the scenario's own users hold at the end of the ageing."""
    return outcome.huge_pages / 512


def whole_price(name: str, scale: float = 1) -> Value:
    """A part of the price: of ageing (or the policy's first action), and of the steady demand of every order."""

    def value(outcome: Outcome) -> float:
        return (outcome.price.get(name, 0) + sum(one.price.get(name, 0) for one in outcome.steady)) / scale

    return value


def longest_hold_us(outcome: Outcome) -> float:
    """The longest a slab lock was held for ``isolate``, microseconds."""
    return max(each.get("longest_hold_ns", 0) for each in (outcome.price, *(one.price for one in outcome.steady))) / 1e3


def last_sample(value: Callable[[Sample], float]) -> Value:
    """A figure of the machine at the end of its ageing."""
    return lambda outcome: value(outcome.samples[-1])


def acted(value: Callable[[Sample | Look], float]) -> Value:
    """A figure of the machine when the policy is in force and has acted."""
    return lambda outcome: value(outcome.acted or outcome.samples[-1])


def left(order: int, value: Callable[[Sample | Look], float]) -> Value:
    """A figure of the machine after the steady demand of an order."""
    return lambda outcome: value(find(outcome.steady, order).left or outcome.samples[-1])


def mixed_share(sample: Sample | Look) -> float:
    """Per cent of the pageblocks in use where what can move and what cannot stand together."""
    used = sum(count for kind, count in sample.blocks.items() if kind != "free")
    return 100 * sample.blocks.get("mixed", 0) / used if used else 0.0


PRICE: Final = (
    Figure("objects moved", whole_price("objects_moved"), ",.0f", -1),
    Figure("objects thrown away", whole_price("objects_thrown_away"), ",.0f", -1),
    Figure("KiB of objects copied", whole_price("bytes_copied", 1024), ",.0f", -1),
    Figure("slabs isolated in vain", whole_price("slabs_isolated_in_vain"), ",.0f", -1),
    Figure("slab lock holds", whole_price("slab_lock_holds"), ",.0f", -1),
    Figure("slab lock held, ms", whole_price("slab_lock_held_ns", 1e6), ",.2f", -1),
    Figure("longest hold, µs", longest_hold_us, ",.2f", -1),
    Figure("CPUs blocked", whole_price("cpus_blocked"), ",.1f", -1),
    Figure("grace periods waited", whole_price("grace_periods_waited"), ",.0f", -1),
    Figure("rcu_barrier, ms", whole_price("rcu_barrier_ns", 1e6), ",.1f", -1),
    Figure("pages compacted", whole_price("pages_compacted"), ",.0f", -1),
    Figure("pages reclaimed", whole_price("pages_reclaimed"), ",.0f", -1),
    Figure("pages read again", whole_price("pages_read_again"), ",.0f", -1),
    Figure("virtual time, s", whole_price("time_ns", 1e9), ",.3f", -1),
)
