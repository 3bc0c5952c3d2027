"""What has been published, held against what comes out here: the report's part "Against the literature".

Only directions are compared. Published figures are of real machines with gigabytes; here memory is small and virtual.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from memviz.experiment import figures
from memviz.experiment.estimate import Difference, Estimate, estimate, paired
from memviz.experiment.figures import Figure, Group, Value
from memviz.experiment.measure import Outcome
from memviz.experiment.spec import Claim, ExperimentError
from memviz.experiment.table import Part, Results

AGREES: Final = "agrees"
LEANS: Final = "same direction, not sure"
DIFFERS: Final = "does not show"


class Verdict(NamedTuple):
    """A claim and what became of it. ``here`` and ``there``: the two sides that are compared, as estimates."""

    claim: Claim
    part: Part
    figure: Figure
    here: Estimate
    there: Estimate
    change: Difference
    words: str


def verdicts(results: Results) -> list[Verdict]:
    """Of all claims of an experiment and of those that were run along."""
    return [verdict(part, claim) for part in (results, *results.literature) for claim in part.spec.claim]


def verdict(part: Part, claim: Claim) -> Verdict:
    """What came of a claim. Raises ExperimentError when it is about a figure that there is not."""
    one, other = figure(claim.figure), figure(claim.than_figure or claim.figure)
    group = figures.groups(part)[0]
    here = _values(part, group, claim.policy, one.value)
    there = _values(part, group, claim.than or claim.policy, other.value)
    change = paired(here, there)
    return Verdict(claim, part, one, estimate(here), estimate(there), change, judged(claim.expect, change))


def judged(expect: str, change: Difference) -> str:
    """AGREES, LEANS or DIFFERS."""
    mean = change.estimate.mean
    if expect == "same":
        return DIFFERS if change.sure else AGREES
    right = mean > 0 if expect == "more" else mean < 0
    if not right:
        return DIFFERS
    return AGREES if change.sure else LEANS


def figure(title: str) -> Figure:
    """The figure of that name."""
    found = next((one for one in FIGURES if one.title == title), None)
    if found is None:
        raise ExperimentError(f"no figure is called {title!r}: there are {', '.join(one.title for one in FIGURES)}")
    return found


def _values(part: Part, group: Group, policy: str, value: Value) -> list[float]:
    return figures.values(part, group, policy, value)


# -- figures that claims are about -------------------------------------------------------------------------------------


def paid(name: str) -> Value:
    """A part of the price of the machine's whole life, or of the action on an aged one."""
    return lambda outcome: outcome.price.get(name, 0)


def part_of(name: str, *others: str, half: int = 0) -> Value:
    """What users counted as ``name``, per cent of it and ``others`` together; ``half``: in the first (1) or second (2)
    half of the machine's life."""

    def value(outcome: Outcome) -> float:
        got = counted(outcome, name, half)
        whole = got + sum(counted(outcome, other, half) for other in others)
        return 100 * got / whole if whole else 0.0

    return value


def counted(outcome: Outcome, name: str, half: int = 0) -> int:
    """What users counted over the machine's life, or in one half of it."""
    samples = outcome.samples
    middle = samples[len(samples) // 2 - 1].users.get(name, 0)
    end = samples[-1].users.get(name, 0)
    return (end, middle, end - middle)[half]


def of_buffers(name: str) -> Value:
    """What the network counted, per cent of all buffers."""
    return lambda outcome: 100 * counted(outcome, f"network.{name}") / max(1, counted(outcome, "network.buffers"))


_NAMES: Final = ("dentry", "ext4_inode_cache")


def pages_returned(*caches: str) -> Value:
    """Page frames of slabs that the policy's action gave back."""

    def value(outcome: Outcome) -> float:
        assert outcome.acted is not None
        before, after = outcome.samples[-1].caches, outcome.acted.caches
        return sum(
            (before[name].pages if name in before else 0) - (after[name].pages if name in after else 0)
            for name in caches
        )

    return value


def used(cache: str, acted: bool) -> Value:
    """Objects in use, per cent of what the cache's slabs could hold: before the action, or after it."""

    def value(outcome: Outcome) -> float:
        moment = outcome.acted if acted else outcome.samples[-1]
        assert moment is not None
        use = moment.caches.get(cache)
        return 100 * use.in_use / use.room if use is not None else 100.0

    return value


FIGURES: Final = (
    Figure("order 9 in a burst, %", figures.success("burst", 9), ".0f", 1),
    Figure("order 10 in a burst, %", figures.success("burst", 10), ".0f", 1),
    Figure("mixed pageblocks, %", figures.last_sample(figures.mixed_share), ".0f", -1),
    Figure("polluting fallbacks", paid("fallbacks_polluting"), ",.0f", -1),
    Figure("pageblocks claimed", paid("fallbacks_claimed"), ",.0f", -1),
    Figure("huge page faults served, %", part_of("thp-bursts.fault_alloc", "thp-bursts.fault_fallback"), ".0f", 1),
    Figure(
        "huge page faults served, first half, %",
        part_of("thp-bursts.fault_alloc", "thp-bursts.fault_fallback", half=1),
        ".0f",
        1,
    ),
    Figure(
        "huge page faults served, second half, %",
        part_of("thp-bursts.fault_alloc", "thp-bursts.fault_fallback", half=2),
        ".0f",
        1,
    ),
    Figure("buffers made of single pages, %", of_buffers("fallbacks"), ".1f", -1),
    Figure("buffers not made at all, %", of_buffers("failed"), ".2f", -1),
    Figure("none of it", lambda _: 0.0, ".0f", 0),
    Figure("all of it, %", lambda _: 100.0, ".0f", 0),
    Figure("pages of dentry and inode slabs returned", pages_returned(*_NAMES), ",.0f", 1),
    Figure("objects thrown away", paid("objects_thrown_away"), ",.0f", -1),
    Figure("dentry slabs used, %", used("dentry", acted=False), ".0f", 1),
    Figure("dentry slabs used after the action, %", used("dentry", acted=True), ".0f", 1),
    Figure("xa_node slabs used, %", used("xa_node", acted=False), ".0f", 1),
    Figure("xa_node slabs used after the action, %", used("xa_node", acted=True), ".0f", 1),
)
