"""What a recording keeps of the things that come by the thousand: routine events, and what each CPU did.

At full speed a simulation makes more of them in a second than anybody reads in a year, and they would be most of the
file. So they have an allowance that fills up with time: at low speed, while stepping, and in any short burst all are
kept; at full speed a part. Events that are no routine are always kept. What was left out is counted: events in
``Snapshot.lost_events``, and both in the file's table of gaps.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np

from memviz.kernel import trace
from memviz.snapshot import Snapshot

ROUTINE: Final = np.array(
    [
        *range(trace.LAST_BULK + 1),
        trace.MM_PAGE_ALLOC_EXTFRAG,
        trace.MM_VMSCAN_KSWAPD_WAKE,
        trace.MM_VMSCAN_RECLAIM,
        trace.MM_COMPACTION_DEFERRED,
        trace.SLAB_NEW,
        trace.SLAB_DISCARD,
        trace.RCU_GP_BEGIN,
        trace.RCU_GP_END,
        trace.RCU_BATCH,
        trace.LOCK_CONTENDED,
    ],
    np.int16,
)
EVENTS_PER_S: Final = 400
EVENTS_BURST: Final = 5_000
LANES_PER_S: Final = 600
LANES_BURST: Final = 10_000


class Allowance:
    """So many a second, and as many at once as have been saved up."""

    def __init__(self, per_s: float, burst: float) -> None:
        self._per_s = per_s
        self._burst = burst
        self._left = burst
        self._at = 0

    def left(self, wall_ns: int) -> int:
        """How many there are at this time; time never goes back."""
        self._left = min(self._burst, self._left + (wall_ns - self._at) / 1e9 * self._per_s)
        self._at = wall_ns
        return int(self._left)

    def spend(self, count: int) -> None:
        """Use some of them up."""
        self._left -= count


class Budget:
    """The allowances of one recording."""

    def __init__(self) -> None:
        self._events = Allowance(EVENTS_PER_S, EVENTS_BURST)
        self._lanes = Allowance(LANES_PER_S, LANES_BURST)

    def keep(self, snapshot: Snapshot, wall_ns: int) -> tuple[Snapshot, int]:
        """The snapshot with as much of its events and lanes as is allowed (lanes all or none), and how many segments
        of lanes were left out.
        """
        lost_lanes = 0
        if snapshot.lanes.size:
            if snapshot.lanes.size > self._lanes.left(wall_ns):
                lost_lanes = int(snapshot.lanes.size)
                snapshot = replace(snapshot, lanes=snapshot.lanes[:0])
            self._lanes.spend(snapshot.lanes.size)
        events = snapshot.events
        if events.size:
            routine = np.flatnonzero(np.isin(events["kind"], ROUTINE))
            allowed = max(0, self._events.left(wall_ns))
            self._events.spend(min(allowed, routine.size))
            if routine.size > allowed:
                kept = np.delete(events, routine[: routine.size - allowed])
                lost = snapshot.lost_events + events.size - kept.size
                snapshot = replace(snapshot, events=kept, lost_events=lost)
        return snapshot, lost_lanes
