"""``memviz run race-…``: a case of the race lab, searched and told."""

from __future__ import annotations

import sys

import click

from memviz.races.case import RaceCase, Variant
from memviz.races.catalogue import CASES, PREFIX, RaceError, find
from memviz.races.report import examine


def is_race(name: str) -> bool:
    """Is it the name of a case, or meant to be?"""
    return name.startswith(PREFIX)


def summaries() -> list[dict[str, str]]:
    """What ``memviz list`` says about the cases."""
    return [
        {"name": case.name, "title": case.title, "summary": f"{case.title}. {case.finding}", "question": case.claim}
        for case in CASES
    ]


def run(name: str, variant: str, seed: int | None, schedules: int | None, thorough: bool, as_json: bool) -> int:
    """Search, tell, and return the exit code: 0 when all is as the case says. Raises UsageError."""
    case = _find(name)
    show = None if as_json or not sys.stderr.isatty() else _show
    try:
        found = examine(case, variant, seed, schedules, thorough, show)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    if show is not None:
        click.echo("\r\033[K", nl=False, err=True)
    click.echo(found.as_json() if as_json else found.as_text())
    return 0 if found.expected else 1


def check(name: str, memory_mib: int | None) -> None:
    """See that there is such a case to open. Raises UsageError."""
    _find(name)
    if memory_mib is not None:
        raise click.UsageError(f"--memory-mib says nothing to {name}")


def report(name: str, seed: int | None) -> str:
    """What is found about a case, as JSON."""
    return examine(_find(name), seed=seed).as_json()


def _find(name: str) -> RaceCase:
    try:
        return find(name)
    except RaceError as error:
        raise click.UsageError(str(error)) from error


def _show(variant: Variant) -> None:
    click.echo(f"\r\033[K{variant.name} …", nl=False, err=True)
