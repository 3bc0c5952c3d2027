"""Keeps a pyramid up to date with the newest snapshot, in pieces that no redraw notices.

Where a source says what changed (``Pages.changed_since``) only that is looked at, whatever the colours mean. Where it
doesn't, and where all page frames change at once (their age), a huge memory is gone through slice by slice, again and
again.
"""

from __future__ import annotations

from time import perf_counter

import numpy as np
import numpy.typing as npt

from memviz.gui.render import heatmap_modes
from memviz.gui.render.heatmap_modes import U8, Mode
from memviz.gui.render.pyramid import RUN, SLICE, Pyramid
from memviz.kernel.page import PAGEBLOCK_ORDER
from memviz.snapshot import Changes, Snapshot

GROUPS_PER_RUN = RUN // 64
BLOCKS_PER_RUN = RUN >> PAGEBLOCK_ORDER
MANY = 8
"""When more than one run in so many changed, going through all of them is quicker."""


class Sorter:
    """Sorts page frames into the classes of a mode, into ``pyramid``."""

    def __init__(self, pyramid: Pyramid) -> None:
        self._pyramid = pyramid
        self._snapshot: Snapshot | None = None
        self._mode = heatmap_modes.MODES[0]
        self._shown: tuple[object, ...] = ()
        self._next = 0
        """The slice to look at next."""
        self._left = 0
        """Slices to look at until all are at least as new as the base."""
        self._base: tuple[Changes, int] | None = None
        """The version that no slice is older than."""
        self._types: U8 = np.zeros(0, np.uint8)
        self._retyped: npt.NDArray[np.bool_] = np.zeros(0, np.bool_)
        """Pageblocks whose type changed since the base."""

    @property
    def percent(self) -> int:
        """How much of all page frames was looked at in this round."""
        return 100 - 100 * self._left // max(1, self._pyramid.slices)

    def show(self, snapshot: Snapshot, mode: Mode, lut: U8) -> bool:
        """Sort this from now on; ``lut`` gives the rank of every code. True: the pyramid was begun anew."""
        fresh = snapshot is not self._snapshot
        self._snapshot, self._mode = snapshot, mode
        nr = snapshot.pages.nr
        wanted = (nr, mode.id, lut.tobytes())
        anew = wanted != self._shown
        if anew:
            self._shown = wanted
            self._pyramid.restart(nr, lut)
            self._next, self._base = 0, None
        if anew or fresh:
            self._note_types(snapshot)
            self._plan(snapshot, mode)
        return anew

    def work(self, until: float) -> bool:
        """Go on with what is to be done until ``until`` (``perf_counter``), a slice at least. True: there is more."""
        snapshot = self._snapshot
        while snapshot is not None and self._left:
            first = self._next * SLICE
            some = heatmap_modes.part(snapshot, first, min(first + SLICE, snapshot.pages.nr))
            self._pyramid.update(self._next, self._mode.raw(some))
            self._next = (self._next + 1) % self._pyramid.slices
            self._left -= 1
            if not self._left and self._base is not None and self._base[1] != snapshot.pages.version:
                self._plan(snapshot, self._mode)  # what has changed while we looked
            if perf_counter() > until:
                break
        return self._left > 0

    def _note_types(self, snapshot: Snapshot) -> None:
        types = snapshot.pageblock_mt
        if types.size != self._types.size:
            self._retyped = np.zeros(types.size, np.bool_)
        else:
            self._retyped |= types != self._types
        self._types = types

    def _plan(self, snapshot: Snapshot, mode: Mode) -> None:
        pages = snapshot.pages
        if pages.changes is None or not mode.lasts or pages.nr % RUN:
            self._base, self._left = None, self._pyramid.slices
            return
        if self._base is not None and self._base[0] is pages.changes and self._left:
            return  # what is new is seen when this round is over
        runs = self._changed_runs(snapshot)
        self._base = (pages.changes, pages.version)
        self._retyped[:] = False
        if runs is None or runs.size * MANY > pages.nr // RUN:
            self._left = self._pyramid.slices
        elif runs.size:
            self._pyramid.update_runs(runs, mode.raw(heatmap_modes.part_of_runs(snapshot, runs, RUN)))

    def _changed_runs(self, snapshot: Snapshot) -> npt.NDArray[np.intp] | None:
        """Runs of page frames in which something may have changed since the base; None: nobody knows."""
        groups = None if self._base is None else snapshot.pages.changed_since_version(*self._base)
        if groups is None:
            return None
        marked = np.zeros(snapshot.pages.nr // RUN, np.bool_)
        marked[groups // GROUPS_PER_RUN] = True
        marked[np.flatnonzero(self._retyped) // BLOCKS_PER_RUN] = True
        return np.flatnonzero(marked)
