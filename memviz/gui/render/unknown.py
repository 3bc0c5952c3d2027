"""Why a panel about the inside of the kernel has nothing to show of what is open. No Qt."""

from __future__ import annotations

from typing import Final

from memviz.snapshot import Snapshot

RACE_HINT: Final = "A race is only stepped; a scenario has more: Ctrl+N"
"""For panels that otherwise say which button fills them: in the race lab those are off."""


def why_unknown(snapshot: Snapshot | None) -> str:
    """One line: what is missing, and what to do about that."""
    if snapshot is None:
        return ""
    if snapshot.source == "linux":
        return "A real machine does not tell this; a scenario does: Ctrl+N"
    return "There is none in what is open now"
