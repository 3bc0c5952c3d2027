"""How far the map goes: a long end of memory that nobody manages is left out, and the map says how long it is. No Qt.

Machines that can be given more memory while they run name page frames for all that could come: of a guest of 9 GiB two
thirds of the map were such. What is left out is only not drawn: it is counted, exported and selected as before.
"""

from __future__ import annotations

from typing import Final

from memviz.kernel.page import OWNER_UNKNOWN
from memviz.snapshot import U8, Snapshot

GRAIN: Final = 1 << 15
"""Page frames, 128 MiB: memory comes and goes in sections of so many."""
LEAST_PART: Final = 8
"""An end is left out from an eighth of all page frames on."""


def managed_end(owner: U8) -> int:
    """Behind the last section in which anybody manages a page frame; looked for from the end."""
    end = int(owner.size)
    while end:
        begin = (end - 1) // GRAIN * GRAIN
        if (owner[begin:end] != OWNER_UNKNOWN).any():
            return end
        end = begin
    return 0


class ShownEnd:
    """Where the map ends. It stays, but for memory that comes: a map that changed its shape could not be followed."""

    def __init__(self) -> None:
        self.end = 0
        self.all = False
        """Nothing is left out: somebody wants to see the end."""
        self._of: tuple[object, ...] = ()

    def follow(self, snapshot: Snapshot, look: bool = True) -> int:
        """The page frames of ``snapshot`` that are drawn: those below this. ``look``: whether somebody manages some of
        the end by now, which costs as much as it is long; another memory is looked at anyway.
        """
        nr = snapshot.pages.nr
        of = (nr, snapshot.source, snapshot.title, snapshot.playback.path if snapshot.playback is not None else "")
        if of != self._of:
            self._of, self.end, self.all, look = of, 0, False, True
        if look and self.end < nr:
            self.end = max(self.end, self._found(snapshot.pages.owner))
        return nr if self.all else self.end

    @staticmethod
    def _found(owner: U8) -> int:
        nr, end = int(owner.size), managed_end(owner)
        return end if end and nr - end >= max(nr // LEAST_PART, GRAIN) else nr


def end_words(nr: int, end: int) -> str:
    """How many page frames there are; of a map that leaves out its end first how many of them are shown."""
    if end >= nr:
        return f"{nr:,} page frames"
    return f"{end:,} of {nr:,} page frames are shown: nobody manages the last {nr - end:,}"
