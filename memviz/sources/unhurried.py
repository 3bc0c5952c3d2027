"""A defragmentation at a pace that eyes can follow.

It takes a tenth of a second, between two redraws or six. While somebody looks on, it waits a little behind every slab,
so that slabs come free one after the other. Virtual time, and so the run, knows nothing of that.
"""

from __future__ import annotations

import time
from typing import Final

from memviz.kernel.machine import Machine
from memviz.kernel.smp import WATCH_MASK
from memviz.kernel.trace import SLAB_ISOLATE_REFUSED, SLAB_MIGRATED

SHOW_S: Final = 1.0
"""What all the waiting may take."""
SHOW_SLABS: Final = 16
"""Fewer slabs than this don't take all of that time."""
STEP_S: Final = 0.05
"""Never wait longer at a time: whoever asks for a Snapshot waits too."""


class Unhurried:
    """The pace of one machine."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._slab_s = 0.0
        self._owed_s = self._left_s = 0.0
        self._done = 0

    def begin(self, ratio: int) -> None:
        """Slabs with at most ``ratio`` per cent of their objects in use will be defragmented now."""
        slabs = 0
        for cache in self._machine.slub.slab_caches:
            if cache.movable:
                slabs += sum(slab.inuse * 100 <= ratio * slab.objects for slab in cache.node.partial.slabs())
        self._slab_s = SHOW_S / max(slabs, SHOW_SLABS)
        self._owed_s, self._left_s = 0.0, SHOW_S
        self._done = self._count()
        self._machine.smp.watch_mask = 0  # a look at every switch

    def wait(self) -> None:
        """Wait for the slabs that are done since the last call; nothing outside of ``begin`` and ``end``."""
        if self._slab_s:
            done = self._count()
            self._owed_s += (done - self._done) * self._slab_s
            self._done = done
            now = min(self._owed_s, STEP_S, self._left_s)
            self._owed_s -= now
            self._left_s -= now
            time.sleep(now)

    def end(self) -> None:
        """Everything goes as fast as it can again."""
        self._slab_s = 0.0
        self._machine.smp.watch_mask = WATCH_MASK

    def _count(self) -> int:
        counts = self._machine.trace.counts
        return counts[SLAB_MIGRATED] + counts[SLAB_ISOLATE_REFUSED]
