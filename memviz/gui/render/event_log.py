"""The events that the window keeps, newest last, and which of them a filter lets through. No Qt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from memviz.gui.render.event_text import Names, text_of
from memviz.gui.render.numbers import instant
from memviz.kernel import trace
from memviz.snapshot import EVENT_DTYPE, Structured

KEPT: Final = 10_000
ROUTINE_KEPT: Final = 5_000
WAITING: Final = 40_000
"""Events that may wait for somebody to look at them: until then a snapshot costs a copy of its own."""

BULK: Final = frozenset(range(trace.LAST_BULK + 1))
ROUTINE: Final = BULK | {
    trace.MM_PAGE_ALLOC_EXTFRAG,
    trace.MM_VMSCAN_KSWAPD_WAKE,
    trace.MM_VMSCAN_RECLAIM,
    trace.HIGHATOMIC,
    trace.SLAB_NEW,
    trace.SLAB_DISCARD,
    trace.RCU_GP_BEGIN,
    trace.RCU_GP_END,
    trace.RCU_BATCH,
    trace.LOCK_CONTENDED,
}
"""Kinds that come by the thousand while all goes well."""

NOTABLE: Final = "Notable"
EVERY_PAGE: Final = "Every page and object"


def _kinds(first: int, last: int) -> frozenset[int]:
    return frozenset(range(first, last + 1))


GROUPS: Final[dict[str, frozenset[int]]] = {
    NOTABLE: frozenset(trace.NAMES) - ROUTINE,
    "Page allocator": _kinds(trace.MM_PAGE_ALLOC_EXTFRAG, trace.HIGHATOMIC),
    "Slabs and objects": _kinds(trace.SLAB_NEW, trace.CACHE_SHRINK),
    "RCU, locks, XArray": _kinds(trace.RCU_GP_BEGIN, trace.KERNEL_BUG),
    "Users of memory": _kinds(trace.WORKLOAD_PHASE, trace.FILE_TRUNCATED),
    "Policies and sliders": _kinds(trace.POLICY_SET, trace.WORKLOAD_SET),
    EVERY_PAGE: BULK,
}
"""Groups of kinds that the filter offers."""


@dataclass(frozen=True, slots=True)
class EventFilter:
    """What to let through; the default is everything."""

    group: str = ""
    """A key of ``GROUPS``."""
    cpu: int = -1
    cache: int = -1
    text: str = ""
    """Every word of it must be found in the event's words, case ignored."""

    @property
    def is_open(self) -> bool:
        """Nothing is hidden."""
        return self == EventFilter()


class EventLog:
    """A bounded list of events, by sequence number. ``seen`` counts all that ever came.

    Routine has a smaller bound of its own: it never drives out what matters.
    """

    def __init__(self, kept: int = KEPT) -> None:
        self._kept = kept
        self._parts: list[Structured] = []
        self._waiting = 0
        self._events: Structured = np.zeros(0, EVENT_DTYPE)
        self.seen = 0
        self.lost = 0
        self.generation = 0
        """Grows when more than the oldest are gone: positions of before mean nothing any more."""

    def add(self, events: Structured, lost: int = 0) -> None:
        """Append the events of a snapshot."""
        self.lost += lost
        if events.size:
            self._parts.append(events.copy())  # a view would keep all of its snapshot
            self.seen += int(events.size)
            self._waiting += int(events.size)
            if self._waiting > WAITING:  # nobody looks at the list
                self._gather()

    def clear(self) -> None:
        """Forget everything."""
        self._parts.clear()
        self._waiting = 0
        self._events = np.zeros(0, EVENT_DTYPE)
        self.seen = self.lost = 0
        self.generation += 1

    @property
    def events(self) -> Structured:
        """What is kept, oldest first (EVENT_DTYPE)."""
        if self._parts:
            self._gather()
        return self._events

    def _gather(self) -> None:
        self._events = np.concatenate([self._events, *self._parts])
        self._parts.clear()
        self._waiting = 0
        self._tidy()

    def _tidy(self) -> None:
        seq = self._events["seq"]
        if np.any(seq[1:] < seq[:-1]):
            self._events = self._events[np.argsort(seq, kind="stable")]
            self.generation += 1
        routine = np.flatnonzero(np.isin(self._events["kind"], _ROUTINE))
        if routine.size > ROUTINE_KEPT:  # half of it at once: whoever shows the list has to look through it anew
            self._events = np.delete(self._events, routine[: routine.size - ROUTINE_KEPT // 2])
            self.generation += 1
        self._events = self._events[-self._kept :].copy()

    def since(self, seen: int) -> Structured:
        """What came after the first ``seen`` events, as far as it is kept. Only while ``generation`` is the same."""
        new = min(self.seen - seen, len(self.events))
        return self.events[len(self.events) - new :] if new > 0 else self.events[:0]


_ROUTINE: Final = np.array(sorted(ROUTINE), np.int16)


def arguments_of(row: np.void) -> tuple[int, int, int, int]:
    """``a`` to ``d`` of one event."""
    return int(row["a"]), int(row["b"]), int(row["c"]), int(row["d"])


def let_through(events: Structured, wanted: EventFilter, names: Names) -> Structured:
    """The events that ``wanted`` lets through, in their order."""
    mask = np.ones(events.size, bool)
    if wanted.group:
        mask &= np.isin(events["kind"], sorted(GROUPS[wanted.group]))
    if wanted.cpu >= 0:
        mask &= events["cpu"] == wanted.cpu
    if wanted.cache >= 0:
        mask &= _about_cache(events, wanted.cache)
    found: Structured = events[mask]
    words = wanted.text.lower().split()
    if not words or not found.size:
        return found
    hit = np.fromiter((_has_words(row, words, names) for row in found), bool, found.size)
    kept: Structured = found[hit]
    return kept


def _about_cache(events: Structured, cache: int) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    mask = np.zeros(events.size, bool)
    for kind, fields in trace.FIELDS.items():
        if "cache" in fields:
            column = "abcd"[fields.index("cache")]
            mask |= (events["kind"] == kind) & (events[column] == cache)
    return mask


def _has_words(row: np.void, words: list[str], names: Names) -> bool:
    kind = int(row["kind"])
    text = f"{text_of(kind, arguments_of(row), names)} {trace.NAMES.get(kind, '')} {instant(int(row['time']))}".lower()
    return all(word in text for word in words)
