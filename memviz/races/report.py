"""A case, searched: what every variant was found to do, as text for people and as figures for programs."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from memviz.kernel.explore import Verdict
from memviz.races.case import HOLDS, SCHEDULES, RaceCase, Variant
from memviz.races.stepper import Leg, Stepper

WIDTH: Final = 100
QUICK_PREEMPTIONS: Final = 1
QUICK_LIMIT: Final = 2_000
FEW: Final = 5_000
"""What a search in order is given, which costs nothing once it has found what it should."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What became of one variant."""

    variant: Variant
    verdict: Verdict
    every: Verdict | None
    """Every schedule with ``preemptions``: looked at when the first search found nothing."""
    preemptions: int
    legs: tuple[Leg, ...]
    """The shortest way to the failure."""

    @property
    def failing(self) -> Verdict:
        """The search that found a failure; the first one when none did."""
        return self.every if self.every is not None and self.every.failure is not None else self.verdict

    @property
    def expected(self) -> bool:
        """Is it as the variant says?"""
        return self.variant.expected(self.failing)


@dataclass(frozen=True, slots=True)
class Examination:
    """What became of a case."""

    case: RaceCase
    findings: tuple[Finding, ...]

    @property
    def expected(self) -> bool:
        """Is everything as the case says?"""
        return all(finding.expected for finding in self.findings)

    def as_json(self) -> str:
        """Everything, as one JSON object."""
        case = self.case
        told = {
            "race": case.name,
            "title": case.title,
            "claim": case.claim,
            "by": case.by,
            "date": case.date,
            "look_for": case.look_for,
            "finding": case.finding,
            "expected": self.expected,
            "variants": [_finding_dict(finding) for finding in self.findings],
        }
        return json.dumps(told, indent=2, ensure_ascii=False)

    def as_text(self) -> str:
        """For people."""
        case = self.case
        lines = [f"{case.name}: {case.title}", ""]
        for name, words in (
            ("claim", case.claim),
            ("by", f"{case.by}, {case.date}"),
            ("look for", case.look_for),
            ("finding", case.finding),
        ):
            lines += textwrap.wrap(words, WIDTH, initial_indent=f"{name:10}", subsequent_indent=" " * 10)
        for finding in self.findings:
            lines += ["", *_finding_lines(case, finding)]
        lines += ["", f"verdict:  {'as expected' if self.expected else 'NOT as expected'}"]
        return "\n".join(lines)


def examine(
    case: RaceCase,
    only: str = "",
    seed: int | None = None,
    schedules: int | None = None,
    thorough: bool = False,
    progress: Callable[[Variant], None] | None = None,
) -> Examination:
    """Search the variants of ``case``, or ``only`` one. ``thorough``: every schedule within the variant's bound, not
    just those with one preemption. Raises ValueError for a variant that there is not."""
    variants = (case.variant(only),) if only else case.variants
    found: list[Finding] = []
    for variant in variants:
        if progress is not None:
            progress(variant)
        found.append(_examine(variant, seed, schedules, thorough))
    return Examination(case, tuple(found))


def _examine(variant: Variant, seed: int | None, schedules: int | None, thorough: bool) -> Finding:
    count = schedules if schedules is not None else SCHEDULES
    if schedules is None and variant.how == "all":
        count = FEW
    verdict = variant.search(count, seed)
    every: Verdict | None = None
    bound = variant.preemptions if thorough else QUICK_PREEMPTIONS
    if verdict.failure is None and variant.breaks == HOLDS:
        limit = 1_000_000 if thorough else QUICK_LIMIT
        every = variant.search_all(limit, bound)
    failing = every if every is not None and every.failure is not None else verdict
    legs: tuple[Leg, ...] = ()
    if failing.failure is not None:
        legs = tuple(Stepper(variant, variant.minimised(failing)).legs())
    return Finding(variant, verdict, every, bound, legs)


def _finding_lines(case: RaceCase, finding: Finding) -> list[str]:
    variant, verdict = finding.variant, finding.failing
    lines = [f"{variant.name}: {variant.says}"]
    if verdict.failure is None:
        word = "as expected" if finding.expected else f"NOT as expected ({variant.breaks})"
        held = f"holds on {_searched(finding)}"
        return lines + textwrap.wrap(f"{word}: {held}", WIDTH, initial_indent="  ", subsequent_indent="    ")
    word = "broken, as expected" if finding.expected else f"broken, NOT as expected ({variant.breaks or 'it holds'})"
    lines += textwrap.wrap(f"{word}: {verdict.failure}", WIDTH, initial_indent="  ", subsequent_indent="    ")
    seed = f"seed {verdict.seed}" if verdict.seed >= 0 else "tried in order"
    lines.append(f"  found in schedule {verdict.schedules} ({seed}); the shortest way there:")
    for number, leg in enumerate(finding.legs, 1):
        lines.append(f"    {number}. {leg.told}")
        if leg.line is not None:
            lines.append(f"       {leg.line}: {leg.line.text}")
    lines.append(f"  again: {_again(case, finding)}")
    return lines


def _searched(finding: Finding) -> str:
    verdict, every = finding.verdict, finding.every
    told = f"{verdict.schedules:,} random schedules from seed {verdict.seed}"
    if finding.variant.how == "all":
        told = f"{verdict.schedules:,} schedules in order"
    if every is not None:
        which = "all" if every.complete else "the first"
        plural = "" if finding.preemptions == 1 else "s"
        told += f", and on {which} {every.schedules:,} with at most {finding.preemptions} preemption{plural}"
    points = verdict.points + (every.points if every is not None else 0)
    return f"{told}: {points:,} scheduling points"


def _again(case: RaceCase, finding: Finding) -> str:
    told = f"memviz run {case.name} --variant {finding.variant.name}"
    if finding.failing.seed >= 0:
        told += f" --seed {finding.failing.seed} --schedules 1"
    return told


def _finding_dict(finding: Finding) -> dict[str, object]:
    variant, verdict, every = finding.variant, finding.failing, finding.every
    return {
        "name": variant.name,
        "says": variant.says,
        "breaks": variant.breaks or None,
        "expected": finding.expected,
        "rule": verdict.rule or None,
        "failure": verdict.failure,
        "search": variant.how,
        "schedules": finding.verdict.schedules,
        "points": finding.verdict.points,
        "seed": verdict.seed if verdict.seed >= 0 else None,
        "schedule": [cpu for cpu, _ in verdict.schedule],
        "exhaustive": None
        if every is None
        else {
            "preemptions": finding.preemptions,
            "schedules": every.schedules,
            "points": every.points,
            "complete": every.complete,
        },
        "steps": [
            {
                "cpu": leg.cpu,
                "task": leg.task,
                "points": leg.points,
                "until": leg.until,
                "where": str(leg.line) if leg.line is not None else None,
                "source": leg.line.text if leg.line is not None else None,
            }
            for leg in finding.legs
        ],
    }
