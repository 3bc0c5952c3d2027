"""What a Snapshot says of recordings: of the one that is made of it, or of the one that it comes from."""

from __future__ import annotations

from typing import NamedTuple


def instants(count: int) -> str:
    """So many instants, in words."""
    return f"{count:,} instant{'' if count == 1 else 's'}"


class Recording(NamedTuple):
    """A recording that is being written, or was until just now."""

    path: str
    instants: int
    missed: int
    """Instants that the disk was too slow for; the file says where."""
    bytes: int
    seconds: float
    active: bool
    failure: str = ""
    """Why it ended by itself, in one sentence."""
    left_out: int = 0
    """Routine events and segments of lanes that there were too many of; the file says where."""


class Playback(NamedTuple):
    """Where a recording that is being played stands. Times are virtual, ns."""

    path: str
    instants: int
    at: int
    """Which of them this is, from 0."""
    first_ns: int
    last_ns: int
    wound: int
    """Grows when the recording was wound to somewhere else: what came before this Snapshot is not what it follows
    on.
    """
    rate: float
    """Times the speed of recording; negative: backwards."""
    loop: tuple[int, int] | None
    gaps: tuple[tuple[int, int, int], ...]
    """(from, to, instants that are missing there)."""
    repeatable: bool
    """It can be run again from here."""
    left_out: tuple[tuple[int, int, int], ...] = ()
    """(from, to, routine events and segments of lanes that are missing there, for there were too many)."""
