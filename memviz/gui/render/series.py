"""Figures over time, bounded: slab utilisation, free memory, and how requests of each order went. No Qt."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from memviz.analysis.figures import COLUMNS, figures
from memviz.gui.render.among import among, table
from memviz.kernel import trace
from memviz.kernel.page import NR_PAGE_ORDERS
from memviz.snapshot import Snapshot, Structured

__all__ = ["COLUMNS", "Series", "figures"]

_ANSWERS: Final = table(trace.REQUEST_END, trace.ALLOC_FAILED)


class Series:
    """``COLUMNS`` over time; when full, every second point is dropped and points come half as often."""

    def __init__(self, capacity: int = 4096) -> None:
        self._times = np.zeros(capacity, np.int64)
        self._values = np.zeros((capacity, len(COLUMNS)), np.int16)
        self._nr = 0
        self._every_ns = 0
        self.ok = [0] * NR_PAGE_ORDERS
        """Requests of each order that succeeded."""
        self.failed = [0] * NR_PAGE_ORDERS
        """Requests of each order that failed."""
        self.refused = [0] * NR_PAGE_ORDERS
        """Allocations of the workload that failed. Nobody counts those that succeed: they are part of no percentage."""
        self._last_event = -1
        self.version = 0

    @property
    def times(self) -> npt.NDArray[np.int64]:
        """When, ns, ascending: shape (n,)."""
        return self._times[: self._nr]

    @property
    def values(self) -> npt.NDArray[np.int16]:
        """Thousandths at these times; -1 unknown: shape (n, len(COLUMNS))."""
        return self._values[: self._nr]

    def clear(self) -> None:
        """Forget everything."""
        self._nr = self._every_ns = 0
        self.ok = [0] * NR_PAGE_ORDERS
        self.failed = [0] * NR_PAGE_ORDERS
        self.refused = [0] * NR_PAGE_ORDERS
        self._last_event = -1
        self.version += 1

    def load(self, past: Structured, requests: tuple[tuple[int, int, int], ...]) -> None:
        """All of a recording at once: FIGURES_DTYPE, and for every order (succeeded, failed, failed allocations)."""
        self.clear()
        past = past[:: -(-past.size // len(self._times)) or 1]
        self._nr = past.size
        self._times[: self._nr] = past["time"]
        self._values[: self._nr] = past["values"]
        for order, (ok, failed, refused) in enumerate(requests):
            self.ok[order], self.failed[order], self.refused[order] = ok, failed, refused

    def add(self, snapshot: Snapshot) -> None:
        """Take what ``snapshot`` says about its instant. Time that goes back starts anew."""
        if self._nr and snapshot.time_ns < self._times[self._nr - 1]:
            self.clear()
        self._count(snapshot)
        if not snapshot.zones and not snapshot.caches:
            return
        if self._nr and snapshot.time_ns - int(self._times[self._nr - 1]) < max(1, self._every_ns):
            return
        if self._nr == len(self._times):
            self._halve()
        self._times[self._nr] = snapshot.time_ns
        self._values[self._nr] = figures(snapshot.caches, snapshot.zones)
        self._nr += 1
        self.version += 1

    def _halve(self) -> None:
        kept = self._nr // 2
        self._times[:kept] = self._times[: self._nr : 2].copy()
        self._values[:kept] = self._values[: self._nr : 2].copy()
        self._nr = kept
        self._every_ns = int(self._times[kept - 1] - self._times[0]) // max(1, kept - 1)

    def _count(self, snapshot: Snapshot) -> None:
        events = snapshot.events
        if not events.size:
            return
        events = events[events["seq"] > self._last_event]
        if not events.size:
            return
        self._last_event = int(events["seq"][-1])
        wanted = among(events["kind"], _ANSWERS)
        for row in events[wanted]:
            order = int(row["a"])
            if not 0 <= order < NR_PAGE_ORDERS:
                continue
            if int(row["kind"]) == trace.ALLOC_FAILED:
                self.refused[order] += 1
            elif int(row["b"]):
                self.ok[order] += 1
            else:
                self.failed[order] += 1
                self.refused[order] = max(0, self.refused[order] - 1)  # it said so twice: first as an allocation
            self.version += 1
