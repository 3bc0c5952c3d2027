"""What the numbers in a recording stand for.

Arrays hold numbers: of owners, of states, of kinds of events. A memviz that numbers them in another way would show
another memory than the one that was recorded, so every file says what its numbers mean (``meta.codes``), and one that
disagrees with this memviz is refused in a sentence. Numbers that are new at the end of a list hurt nobody.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from memviz.kernel import page, trace
from memviz.snapshot import (
    CPU_STATE_NAMES,
    EVENT_DTYPE,
    LANE_DTYPE,
    NODE_DTYPE,
    NODE_STATE_NAMES,
    OBJ_STATE_NAMES,
    SLAB_DTYPE,
    SLAB_STATE_NAMES,
)

META: Final = "codes"


def codes() -> dict[str, list[str]]:
    """What this memviz means by its numbers: names, in the order of the numbers."""
    flags = ("HEAD", "BUDDY", "LRU", "ACTIVE", "REFERENCED", "LOCKED", "DIRTY", "PINNED")
    return {
        "owner": list(page.OWNER_NAMES),
        "migratetype": list(page.MIGRATETYPE_NAMES),
        "page flags": sorted(flags, key=lambda name: int(getattr(page, f"PG_{name}"))),
        "slab state": list(SLAB_STATE_NAMES),
        "object state": list(OBJ_STATE_NAMES),
        "node state": list(NODE_STATE_NAMES),
        "CPU state": list(CPU_STATE_NAMES),
        "slab": _fields(SLAB_DTYPE),
        "node": _fields(NODE_DTYPE),
        "lane": _fields(LANE_DTYPE),
        "event": _fields(EVENT_DTYPE),
    }


def _fields(kind: np.dtype[np.void]) -> list[str]:
    return [f"{name} {kind[name].str}" for name in kind.names or ()]


def disagreement(told: Any, kinds: list[tuple[int, str]]) -> str:
    """What a file means by a number that this memviz does not, in words; empty when there is no such thing.

    ``told``: ``meta.codes`` of the file, None where there is none. ``kinds``: its table ``event_kind``.
    """
    for number, name in kinds:
        if trace.NAMES.get(number, name) != name:
            return f"event {number} is {name!r} there and {trace.NAMES[number]!r} here"
    ours = codes()
    for what, names in (told or {}).items():
        here = ours.get(what, [])
        if what in ("slab", "node", "lane", "event") and names != here:
            return f"a {what} has other fields there"
        for number, name in enumerate(names):
            if number >= len(here) or here[number] != name:
                other = repr(here[number]) if number < len(here) else "nothing"
                return f"{what} {number} is {name!r} there and {other} here"
    return ""
