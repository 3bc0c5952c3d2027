"""A case of the race lab as a Snapshot shows it: plain values, which pickle."""

from __future__ import annotations

from typing import NamedTuple


class RaceCpu(NamedTuple):
    """Where a CPU stands in a case of the race lab."""

    id: int
    task: str
    label: str
    """The scheduling point it stands before; "not begun", "done"."""
    waits: bool
    locks: tuple[str, ...]
    irqs_off: bool
    rcu_nesting: int
    module: str
    """Source file as "kernel/xa_migrate.py"; empty where there is no source to show."""
    function: str
    line: int
    source: tuple[tuple[int, str], ...]
    """Lines around it, with their numbers."""


class Race(NamedTuple):
    """A case of the race lab, and where its run stands."""

    name: str
    title: str
    claim: str
    by: str
    date: str
    look_for: str
    finding: str
    variants: tuple[tuple[str, str], ...]
    """Name, and what is done in it."""
    variant: str
    breaks: str
    """The rule that some schedule of this variant breaks; empty: none does."""
    found: str
    """What the search for the run that is shown has found."""
    position: int
    """Scheduling points passed."""
    last: int
    """The CPU that came last to where it stands."""
    ended: bool
    broken: bool
    verdict: str
    """One sentence about this run, when it has ended."""
    cpus: tuple[RaceCpu, ...]
    cases: tuple[tuple[str, str], ...]
    """Name and title of every case there is."""
