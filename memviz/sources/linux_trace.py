"""Follows a real machine's page frames between two sweeps, and sees to it that this costs the machine little.

Every event costs whoever allocates or frees a quarter of a microsecond or so: a program that does nothing but touch
memory would pay a sixth of its time. So programs shall pay no more than a share of the time that they run: when more
has been spent, the events of page frames are switched off until that is made up for. What the trace said of them is
void then, for something may have happened to them since; the sweeps go on all the while.
"""

from __future__ import annotations

import time
from typing import Any, Final

import numpy as np

from memviz.snapshot import Structured
from memviz.sources.due import Due
from memviz.sources.linux_access import Access
from memviz.sources.linux_caches import CacheFinder
from memviz.sources.linux_deltas import apply_events
from memviz.sources.linux_sweep import FrameMap
from memviz.sources.linux_tracefs import RingReader

OVERHEAD: Final = 0.01
"""Of the time that programs run: what following their page frames may cost them."""
EVENT_NS: Final = 250
"""What an event costs, where nothing better is known: measured on Linux 6.18 in a virtual machine."""
_PRICES: Final = (50, 500)
"""Between which a measured price is believed."""
_DEBT_NS: Final = 3_000_000
"""CPU time that may be spent ahead: below it nothing is switched off, for switching has a price too."""
_SLICE_NS: Final = 1_000_000
"""A program that allocates runs so long around each event, as far as events tell."""
_LEAST_RUN: Final = 0.1
"""Of a CPU: who runs less than that is treated as if it ran so much, so that bursts that are rare are seen whole."""
_SAMPLE_S: Final = 10.0
_FIRST_SAMPLES_S: Final = 2.0
_FIRST_S: Final = 30.0  # in which more often is learned which slabs are whose
_LOST_S: Final = 1.0
_TOLD_S: Final = 10.0
_SUB_BUFFERS: Final = 2048


class EventBudget:
    """What tracing may cost programs: a share of the time that they run, as far as the events themselves tell.

    By CPU: one program on one of many CPUs shall not pay for all.
    """

    def __init__(self, share: float, event_ns: int) -> None:
        self._share = share
        self._event_ns = event_ns
        self._debt: dict[int, float] = {}
        self._last = -1.0
        self._until = 0.0
        self.on = True
        """Events of page frames shall be traced."""

    def account(self, events: list[Structured], now: float) -> bool:
        """Take in what was traced since the last call; ``now`` in seconds. Returns ``on``."""
        wall = max(1e-3, now - self._last) if self._last >= 0 else 1e-3
        self._last = now
        if not self.on:
            self.on = now >= self._until
            return self.on
        forgiven = _LEAST_RUN * self._share * wall * 1e9
        for cpu, debt in self._debt.items():
            self._debt[cpu] = max(0.0, debt - forgiven)
        ran: dict[int, int] = {}
        for part in events:
            for cpu in np.unique(part["cpu"]).tolist():
                times = part["time"][part["cpu"] == cpu] // _SLICE_NS
                slices = (1 + int(np.count_nonzero(np.diff(times)))) * _SLICE_NS
                ran[cpu] = ran.get(cpu, 0) + slices
                cost = times.size * self._event_ns - self._share * slices
                self._debt[cpu] = max(0.0, self._debt.get(cpu, 0.0) + cost)
        worst = max(self._debt, key=lambda cpu: self._debt[cpu], default=0)
        if self._debt.get(worst, 0.0) > _DEBT_NS:
            share_run = min(1.0, max(_LEAST_RUN, ran.get(worst, 0) / 1e9 / wall))
            self._until = now + self._debt[worst] / 1e9 / self._share / share_run
            self._debt.clear()
            self.on = False
        return self.on


class LiveTrace:
    """The trace of a live machine. Raises LiveError when there can be none."""

    def __init__(self, access: Access, frames: FrameMap, finder: CacheFinder, share: float = OVERHEAD) -> None:
        """Begin to trace. ``share``: of the time that programs run, what it may cost them; infinite: no matter what."""
        told: dict[str, Any] = access.trace_start()
        self._access = access
        self._frames = frames
        self._finder = finder
        self._ring = RingReader(told["formats"], int(told["page"]))
        measured = int(told.get("event_ns", EVENT_NS))
        self.event_ns = min(_PRICES[1], max(_PRICES[0], measured))
        """What an event costs the program that it happens to."""
        self.budget = EventBudget(share, self.event_ns)
        self.lost = 0
        """Events that were overwritten before they were read."""
        self.gaps = 0
        """Times that something was not seen: events were lost, or not traced."""
        self._begin = time.monotonic()
        self._following = True
        self._paused_at = float("-inf")
        self._sampling = False
        self._due = Due()

    @property
    def following(self) -> bool:
        """Every page frame that is allocated or freed is seen."""
        return self._following

    @property
    def remark(self) -> str:
        """A sentence for the window where not every event is seen; else empty."""
        if self._following and time.monotonic() > self._paused_at + _TOLD_S:
            return ""
        return (
            "Events are sampled: pages come and go so fast that following each would slow programs down; between the "
            "samples the map comes from sweeps alone."
        )

    @property
    def pressing(self) -> bool:
        """So much has been traced that reading it should not wait."""
        return self._following and self._access.trace_ready()

    def insist(self, on: bool) -> None:
        """Follow page frames for a moment even where events are sampled. Raises LiveError."""
        if not self._following:
            self._access.trace_follow(on)

    def begin(self) -> None:
        """Take in what was traced so far without a bill: it was the first sweep's own doing. Raises LiveError."""
        self._read(0)

    def drain(self, now_ms: int) -> list[Structured]:
        """Take in what was traced: the map and the slab caches know it then. Returns the events. Raises LiveError."""
        found = self._read(now_ms)
        if self._sampling:
            self._sampling = False
            self._access.trace_sample(False)
        if self._due.take("lost", _LOST_S):
            self.find_lost()
        if self.budget.account(found, time.monotonic()) != self._following:
            self._follow(self.budget.on)
            found += self._read(now_ms)
            self._forget()
        return found

    def find_lost(self) -> None:
        """See whether events were lost. Raises LiveError."""
        lost = self._access.trace_lost()
        if lost != self.lost:
            self.lost = lost
            self._forget()

    def sample_due(self) -> bool:
        """Switch the events of every slab object on where it is time for that. True: read on in a moment."""
        young = time.monotonic() < self._begin + _FIRST_S
        if self._sampling or not self._due.take("sample", _FIRST_SAMPLES_S if young else _SAMPLE_S):
            return False
        self._sampling = True
        self._access.trace_sample(True)
        return True

    def sample_for(self, seconds: float) -> None:
        """Switch the events of every slab object on for longer; ``stop_sample`` ends it. Raises LiveError."""
        self._access.trace_sample(True)
        self._due.put_off("sample", seconds + 1)

    def stop_sample(self) -> None:
        """Switch the events of every slab object off. Raises LiveError."""
        self._access.trace_sample(False)

    def _read(self, now_ms: int) -> list[Structured]:
        found = []
        while parts := self._access.trace_read(_SUB_BUFFERS):
            events, sample = self._ring.decode(parts)
            apply_events(self._frames, events, now_ms, settle=False)
            self._finder.learn(sample)
            if events.size:
                found.append(events)
            if all(len(data) < _SUB_BUFFERS * self._ring.size for _, data in parts):
                break
        return found

    def _follow(self, on: bool) -> None:
        self._access.trace_follow(on)
        self._following = on
        self._paused_at = time.monotonic()

    def _forget(self) -> None:
        self.gaps += 1
        self._frames.forget()
