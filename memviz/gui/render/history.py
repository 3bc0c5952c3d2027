"""The past, bounded: indices over time for the timeline, and what happened when. No Qt.

A curve of any length fits: when the arrays are full every second point is dropped, and points come half as often.
"""

from __future__ import annotations

from collections import deque
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from memviz.gui.render.among import among, table
from memviz.kernel import trace
from memviz.kernel.page import NR_PAGE_ORDERS
from memviz.kernel.vmstat import unusable_free_index
from memviz.snapshot import Snapshot, Structured

FAILED, DEFRAG, SUCCESS, REFUSED = "failed request", "defragmentation", "success", "failed allocation"
TURNED = "policy or slider"
MARKER_KINDS: Final = (FAILED, DEFRAG, SUCCESS, REFUSED, TURNED)
"""Requests are the user's, allocations those of the workload."""

_TURNED: Final = (trace.POLICY_SET, trace.WORKLOAD_SET)
_MARKS: Final = table(trace.REQUEST_END, trace.DEFRAG_END, trace.ALLOC_FAILED, *_TURNED)
_SAME_NS: Final = 5_000_000


class Marker(NamedTuple):
    """Something that happened, for the timeline."""

    time_ns: int
    kind: str
    """One of ``MARKER_KINDS``."""
    order: int
    """Order of the request; -1 where there is none."""
    seq: int
    """Sequence number of the event."""
    cpu: int


def free_blocks(snapshot: Snapshot) -> tuple[int, ...]:
    """Free blocks of every order over all zones, shape (11,). Empty when no zone is known."""
    if not snapshot.zones:
        return ()
    per_zone = [zone.nr_free() for zone in snapshot.zones]
    return tuple(sum(column) for column in zip(*per_zone, strict=True))


def indices(nr_free: tuple[int, ...]) -> tuple[int, ...]:
    """Unusable free space index of every order, in thousandths: shape (11,)."""
    return tuple(unusable_free_index(nr_free, order) for order in range(len(nr_free)))


class History:
    """Unusable indices over time, and markers."""

    def __init__(self, capacity: int = 4096, markers: int = 2000) -> None:
        self._times = np.zeros(capacity, np.int64)
        self._values = np.zeros((capacity, NR_PAGE_ORDERS), np.int16)
        self._nr = 0
        self._every_ns = 0
        self._last: tuple[int, ...] = ()
        self.markers: deque[Marker] = deque(maxlen=markers)
        self.version = 0
        """Grows when there is something new to draw."""

    @property
    def times(self) -> npt.NDArray[np.int64]:
        """When, ns, ascending: shape (n,)."""
        return self._times[: self._nr]

    @property
    def values(self) -> npt.NDArray[np.int16]:
        """The indices at these times, thousandths: shape (n, 11)."""
        return self._values[: self._nr]

    def clear(self) -> None:
        """Forget everything: another source, or the same from its start."""
        self._nr = 0
        self._every_ns = 0
        self._last = ()
        self.markers.clear()
        self.version += 1

    def load(self, past: Structured, events: Structured) -> None:
        """All of a recording at once: PAST_DTYPE, and the events that are worth a marker."""
        self.clear()
        past = past[:: -(-past.size // len(self._times)) or 1]
        self._nr = past.size
        self._times[: self._nr] = past["time"]
        self._values[: self._nr] = past["unusable"]
        self._mark(events)

    def add(self, snapshot: Snapshot) -> None:
        """Take what ``snapshot`` says about its instant. Time that goes back starts a new history."""
        if self._nr and snapshot.time_ns < self._times[self._nr - 1]:
            self.clear()
        self._mark(snapshot.events)
        nr_free = free_blocks(snapshot)
        if not nr_free:
            return
        if self._nr and snapshot.time_ns - int(self._times[self._nr - 1]) < max(1, self._every_ns):
            return
        if self._nr == len(self._times):
            self._halve()
        self._times[self._nr] = snapshot.time_ns
        self._values[self._nr] = indices(nr_free)
        self._nr += 1
        self.version += 1

    def _halve(self) -> None:
        kept = self._nr // 2
        self._times[:kept] = self._times[: self._nr : 2].copy()
        self._values[:kept] = self._values[: self._nr : 2].copy()
        self._nr = kept
        self._every_ns = int(self._times[kept - 1] - self._times[0]) // max(1, kept - 1)

    def _mark(self, events: Structured) -> None:
        if not events.size:
            return
        wanted = among(events["kind"], _MARKS)
        for row in events[wanted]:
            kind, a, b = int(row["kind"]), int(row["a"]), int(row["b"])
            if kind == trace.REQUEST_END:
                name, order = (SUCCESS if b else FAILED), a
            elif kind == trace.ALLOC_FAILED:
                name, order = REFUSED, a
            elif kind in _TURNED:
                name, order = TURNED, -1
            else:
                name, order = DEFRAG, -1
            time_ns = int(row["time"])
            last = self.markers[-1] if self.markers else None
            # A request that fails says so twice: first as an allocation.
            if name == FAILED and last is not None and (last.kind, last.order) == (REFUSED, order):
                if time_ns - last.time_ns < _SAME_NS:
                    self.markers.pop()
            self.markers.append(Marker(time_ns, name, order, int(row["seq"]), int(row["cpu"])))
            self.version += 1
