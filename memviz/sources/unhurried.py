"""A defragmentation at a pace that eyes can follow.

It takes a tenth of a second, between two redraws or six. While somebody looks on, it waits a little behind every slab,
so that slabs come free one after the other. Who asks for it slowly sees every object move, too: copied, published, and
the old one waiting for RCU. Virtual time, and so the run, knows nothing of that.
"""

from __future__ import annotations

import time
from typing import Final

from memviz.kernel.machine import Machine
from memviz.kernel.smp import WATCH_MASK
from memviz.kernel.trace import OBJECT_EVICTED, OBJECT_MOVED, SLAB_ISOLATE, SLAB_ISOLATE_REFUSED, SLAB_MIGRATED

SHOW_S: Final = 1.0
"""What all the waiting may take."""
SLOW_S: Final = 12.0
"""The same of a pass that was asked for slowly."""
SHOW_SLABS: Final = 16
"""Fewer slabs than this don't take all of that time."""
STEP_S: Final = 0.05
"""Never wait longer at a time: whoever asks for a Snapshot waits too."""
_SLABS: Final[tuple[int, ...]] = (SLAB_MIGRATED, SLAB_ISOLATE_REFUSED)
_ALL: Final[tuple[int, ...]] = (*_SLABS, SLAB_ISOLATE, OBJECT_MOVED, OBJECT_EVICTED)


class Unhurried:
    """The pace of one machine."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._slab_s = 0.0
        self._kinds: tuple[int, ...] = _SLABS
        self._owed_s = self._left_s = 0.0
        self._done = 0

    def begin(self, ratio: int, slowly: bool = False) -> None:
        """Slabs with at most ``ratio`` per cent of their objects in use will be defragmented now."""
        sparse = [
            slab.inuse
            for cache in self._machine.slub.slab_caches
            if cache.movable
            for slab in cache.node.partial.slabs()
            if slab.inuse * 100 <= ratio * slab.objects
        ]
        show_s = SLOW_S if slowly else SHOW_S
        self._kinds = _ALL if slowly else _SLABS
        self._slab_s = show_s / max(2 * len(sparse) + sum(sparse) if slowly else len(sparse), SHOW_SLABS)
        self._owed_s, self._left_s = 0.0, show_s
        self._done = self._count()
        self._machine.smp.watch_mask = 0  # a look at every switch

    def wait(self) -> bool:
        """Wait for what was done since the last call; nothing outside of ``begin`` and ``end``. True: look, and
        wait on here, for it goes slowly.
        """
        if not self._slab_s:
            return False
        done = self._count()
        self._owed_s += (done - self._done) * self._slab_s
        self._done = done
        now = min(self._owed_s, STEP_S, self._left_s)
        self._owed_s -= now
        self._left_s -= now
        time.sleep(now)
        return self._kinds is _ALL and min(self._owed_s, self._left_s) > 0

    def end(self) -> None:
        """Everything goes as fast as it can again."""
        self._slab_s = 0.0
        self._machine.smp.watch_mask = WATCH_MASK

    def _count(self) -> int:
        counts = self._machine.trace.counts
        return sum(counts[kind] for kind in self._kinds)
