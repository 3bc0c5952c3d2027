"""All cases, in the order of the thread."""

from __future__ import annotations

import difflib
from typing import Final

from memviz.races import caller_locked, moving_nodes, preloaded, softirq_free, thread_2017, umount
from memviz.races.case import RaceCase

CASES: Final[tuple[RaceCase, ...]] = (
    *caller_locked.CASES,
    *preloaded.CASES,
    *thread_2017.CASES,
    *softirq_free.CASES,
    *moving_nodes.CASES,
    *umount.CASES,
)

PREFIX: Final = "race-"


class RaceError(ValueError):
    """One sentence: which case there is not."""


def names() -> list[str]:
    """Names of all cases."""
    return [case.name for case in CASES]


def find(name: str) -> RaceCase:
    """The case called ``name``. Raises RaceError."""
    for case in CASES:
        if case.name == name:
            return case
    near = difflib.get_close_matches(name, names(), n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(names())}"
    raise RaceError(f"no race is called {name!r}: {hint}")
