"""The figures of a whole recording for charts, read a little at a time while it is played."""

from __future__ import annotations

import time
from typing import Final

import numpy as np

from memviz.analysis.figures import figures
from memviz.recording.reader import Reader
from memviz.snapshot import FIGURES_DTYPE, Structured

POINTS: Final = 1000
_TELL: Final = 100
"""Points that are told at once: each time a Snapshot goes out for them."""


class PastFigures:
    """Figures of ``POINTS`` instants all over a recording: coarsely first, then in between."""

    def __init__(self, reader: Reader, points: int = POINTS) -> None:
        self._reader = reader
        idents = sorted({1 + at * (reader.instants - 1) // max(1, points - 1) for at in range(points)})
        # Every 16th first, then those in the middle: the curve is there at once and becomes finer.
        self._left = [ident for step in (16, 8, 4, 2, 1) for ident in idents[::step]]
        self._left = list(dict.fromkeys(self._left))[::-1]
        self._rows: list[tuple[int, list[int]]] = []
        self._told = 0
        self.known: Structured = np.zeros(0, FIGURES_DTYPE)
        """FIGURES_DTYPE, in the order of time."""

        self.requests: tuple[tuple[int, int, int], ...] = ()
        """For every order: requests that succeeded, that failed, failed allocations. They are counted last."""

    @property
    def complete(self) -> bool:
        """All of it was read."""
        return bool(self.requests)

    def work(self, seconds: float) -> bool:
        """Read for so long. Whether something is known that was not before."""
        if not self._left and not self.requests:
            self.requests = self._reader.requests()
            return True
        end = time.monotonic() + seconds
        while self._left and time.monotonic() < end:
            time_ns, small = self._reader.small(self._left.pop())
            self._rows.append((time_ns, figures(small["caches"], small["zones"])))
        count = len(self._rows)
        if count == self._told or (self._left and count - self._told < _TELL):
            return False
        self._told = count
        found = np.array([(at, values) for at, values in sorted(self._rows)], FIGURES_DTYPE)
        found.flags.writeable = False
        self.known = found
        return True
