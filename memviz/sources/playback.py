"""A recording as a source: its instants, forwards and backwards, at any speed, from anywhere.

A playback runs by the clock of the recording: at rate 1 an instant comes when it came. ``Speed`` has it run by
operations a second instead, as the simulation did. Events are those since the instant that was shown before; after
winding they are the last ones before the instant, and ``Playback.wound`` has grown.
"""

from __future__ import annotations

import time
from dataclasses import replace
from itertools import pairwise
from typing import Final

import numpy as np

from memviz.kernel import trace
from memviz.kernel.page import MIGRATETYPE_NAMES, OWNER_NAMES, PAGEBLOCK_ORDER
from memviz.recording.format import MARKED
from memviz.recording.reader import Reader
from memviz.recording_state import Playback
from memviz.snapshot import Focus, Outcome, PageDetail, Snapshot, Structured
from memviz.sources.base import Command, Jump, Loop, Pause, Rate, Run, Seek, SetFocus, Speed, Step
from memviz.sources.playback_past import PastFigures

_EVENTS: Final = 2000
"""How many events before the instant come with it after winding."""
_MARKERS: Final = 700
_FIGURES_S: Final = 0.006
"""How long figures for charts are read at a time: seeking and playing go before."""
_OUTCOMES: Final = 16
_GAPS: Final = 100
"""How many of the times at which events were left out are told; a timeline shows no more."""
_JUMPS: Final[dict[str, tuple[int, ...]]] = {
    "failure": (trace.REQUEST_END,),
    "defragmentation": (trace.DEFRAG_END,),
    "grace period": (trace.RCU_GP_END,),
}


class PlaybackSource:
    """A recording under way. Raises RecordingError, one sentence, for a file that can't be played."""

    def __init__(self, path: str, at_ns: int = -1) -> None:
        self._reader = Reader(path)
        self.title = self._reader.meta.get("title", "")
        self._at = self._reader.find(at_ns) if at_ns >= 0 else 1
        self._running = False
        self._rate = 1.0
        self._speed = 0
        self._loop: tuple[int, int] | None = None
        self._focus: Focus | None = None
        self._begin = 0.0
        self._begin_at = (0, 0)
        self._seq = 0
        self._shown = 0
        self._wound = 1
        self._wind = True
        self._snapshot: Snapshot | None = None
        self._notice = ""
        self._outcomes: tuple[Outcome, ...] = ()
        self._past = self._reader.past()
        self._past_events = _merged(self._reader.last_events(MARKED, _MARKERS), self._reader.last_told(_MARKERS))
        self._gaps = self._reader.gaps()
        self._left_out = _joined([*self._reader.gaps("events"), *self._reader.gaps("lanes")])
        self._figures = PastFigures(self._reader)
        self._repeatable = "origin" in self._reader.meta

    def close(self) -> None:
        """Let go of the file."""
        self._reader.close()

    # -- the clock

    def advance(self, seconds: float) -> bool:
        """Go where the clock says. False when that is where it stands, and nothing new is known of the whole."""
        return self._advance() or (not self._figures.complete and self._figures.work(_FIGURES_S))

    def _advance(self) -> bool:
        if not self._running:
            return False
        due = self._due(time.monotonic() - self._begin)
        first, last = self._bounds()
        if (due >= last and self._rate > 0) or (due <= first and self._rate < 0):
            return self._at_end(first, last)
        if due == self._at:
            return False
        self._at = due
        return True

    def _due(self, elapsed: float) -> int:
        """The instant that is due so many seconds after the start."""
        wall_ns, ops = self._begin_at
        if self._speed:
            direction = 1 if self._rate > 0 else -1
            return self._reader.find_ops(ops + int(direction * elapsed * self._speed))
        return self._reader.find_wall(wall_ns + int(elapsed * self._rate * 1e9))

    def _bounds(self) -> tuple[int, int]:
        if self._loop is None:
            return 1, self._reader.instants
        return self._reader.find_from(self._loop[0]), self._reader.find(self._loop[1])

    def _at_end(self, first: int, last: int) -> bool:
        forwards = self._rate > 0
        if self._loop is not None and first < last:
            self._go(first if forwards else last)
            self._start()
            return True
        self._at = last if forwards else first
        self._running = False
        if forwards:
            self._notice = "" if self._reader.finished else "The recording ends here: it was not finished."
        return True

    def _start(self) -> None:
        self._begin = time.monotonic()
        self._begin_at = (self._reader.times_of(self._at)[1], self._reader.ops_of(self._at))

    def _go(self, ident: int) -> None:
        """Wind to an instant."""
        self._at = min(max(1, ident), self._reader.instants)
        self._wind = True
        self._notice = ""
        self._start()

    # -- commands

    def command(self, number: int, command: Command) -> None:
        """Do ``command``; what a recording can't do is an Outcome that says so."""
        try:
            sentence, ok = self._do(command), True
        except ValueError as error:
            sentence, ok = str(error), False
        self._outcomes = (*self._outcomes, Outcome(number, type(command).__name__, ok, sentence))[-_OUTCOMES:]

    def _do(self, command: Command) -> str:
        if isinstance(command, Run):
            self._run()
        elif isinstance(command, Pause):
            self._running = False
        elif isinstance(command, Step):
            self._running = False
            self._at = min(max(1, self._at + command.count), self._reader.instants)
        elif isinstance(command, Seek):
            self._go(self._reader.find(command.time_ns))
        elif isinstance(command, Rate):
            self._rate = command.times or 1.0
            self._start()
        elif isinstance(command, Speed):
            self._speed = max(0, command.ops_per_s)
            self._start()
        elif isinstance(command, Jump):
            return self._jump(command)
        elif isinstance(command, Loop):
            self._set_loop(command)
        elif isinstance(command, SetFocus):
            self._focus = command.focus
        else:
            raise ValueError(
                "This is a recording, where nothing can be done any more: continue from here to run it on."
            )
        return ""

    def _run(self) -> None:
        first, last = self._bounds()
        if self._rate > 0 and self._at >= last:
            self._go(first)
        elif self._rate < 0 and self._at <= first:
            self._go(last)
        self._running = True
        self._start()

    def _set_loop(self, command: Loop) -> None:
        if command.begin_ns < 0:
            self._loop = None
            return
        if command.end_ns <= command.begin_ns:
            raise ValueError("A loop must end after it begins.")
        self._loop = (command.begin_ns, command.end_ns)
        self._go(self._bounds()[0])

    def _jump(self, command: Jump) -> str:
        kinds = _JUMPS[command.to]
        failed = command.to == "failure"
        # An event lies behind the instant before the one that shows it.
        step = 0 if command.forwards else 1
        now = self._reader.times_of(max(1, self._at - step))[0] + step
        found = self._reader.find_event(kinds, now, command.forwards, failed)
        if found is None and failed and self._reader.find_event(kinds, -1, True, True) is None:
            # Nobody asked for memory in this recording: then the failures of the workload are what there is to see.
            found = self._reader.find_event((trace.ALLOC_FAILED,), now, command.forwards)
        if found is None:
            raise ValueError(f"There is no {command.to} {'behind' if command.forwards else 'before'} this instant.")
        self._running = False
        self._go(self._reader.find_from(found))
        return ""

    # -- looking

    def snapshot(self) -> Snapshot:
        """This instant of the recording."""
        self._seq += 1
        moved = self._at != self._shown or self._snapshot is None
        if moved:
            self._snapshot = self._reader.at(self._at)
        found = self._snapshot
        assert found is not None, "an instant was read"
        events, lost = found.events[:0], 0
        if moved or self._wind:
            if self._wind or self._at < self._shown or self._shown == 0:
                self._wound += 1
                events = self._reader.events_before(self._at, _EVENTS)
            elif self._at == self._shown + 1:
                events, lost = found.events, found.lost_events
            else:
                events, lost = self._reader.events_between(self._shown, self._at, _EVENTS)
        lanes = found.lanes if moved else found.lanes[:0]
        self._wind = False
        self._shown = self._at
        return replace(
            found,
            seq=self._seq,
            source="playback",
            state="running" if self._running else "paused",
            events=events,
            lost_events=lost,
            lanes=lanes,
            outcomes=self._outcomes,
            speed=self._speed,
            notice=self._notice or found.notice,
            detail=self._detail(found),
            playback=self._playback(),
            past=self._past,
            past_events=self._past_events,
            past_figures=self._figures.known,
            past_requests=self._figures.requests,
        )

    def _playback(self) -> Playback:
        reader = self._reader
        return Playback(
            path=str(reader.path),
            instants=reader.instants,
            at=self._at - 1,
            first_ns=reader.first_ns,
            last_ns=reader.last_ns,
            wound=self._wound,
            rate=self._rate,
            loop=self._loop,
            gaps=self._gaps,
            repeatable=self._repeatable,
            left_out=self._left_out,
        )

    def _detail(self, found: Snapshot) -> PageDetail | None:
        """What was recorded of the page frame in focus, or what the arrays say of it."""
        if self._focus is None:
            return found.detail
        pfn = self._focus.pfn
        if found.detail is not None and found.detail.pfn == pfn:
            return found.detail
        return page_detail(found, pfn)


def _merged(one: Structured, other: Structured) -> Structured:
    """Events of both, in their order."""
    if not other.size:
        return one
    found: Structured = np.sort(np.concatenate([one, other]), order="seq")
    found.flags.writeable = False
    return found


def _joined(gaps: list[tuple[int, int, int]]) -> tuple[tuple[int, int, int], ...]:
    """Gaps that touch become one, and those that are nearest to each other too until they are few."""
    found: list[tuple[int, int, int]] = []
    nearest = 0
    rest = sorted(gaps)
    while True:
        for begin, end, count in rest:
            if found and begin - found[-1][1] <= nearest:
                found[-1] = (found[-1][0], max(end, found[-1][1]), found[-1][2] + count)
            else:
                found.append((begin, end, count))
        if len(found) <= _GAPS:
            return tuple(found)
        apart = sorted(after[0] - before[1] for before, after in pairwise(found))
        nearest = apart[len(found) - _GAPS - 1]
        rest, found = found, []


def page_detail(snapshot: Snapshot, pfn: int) -> PageDetail | None:
    """What the arrays of a Snapshot say of a page frame; None when there is no such frame."""
    pages = snapshot.pages
    if not 0 <= pfn < pages.nr:
        return None
    zone = next((z.name for z in snapshot.zones if z.start_pfn <= pfn < z.start_pfn + z.spanned), "none")
    block = pfn >> PAGEBLOCK_ORDER
    head = pfn
    while head > 0 and pages.order[head] == 255 and pfn - head < 1024:
        head -= 1
    order = int(pages.order[head]) if pages.order[head] < 16 and pfn < head + (1 << int(pages.order[head])) else 0
    kind = int(snapshot.pageblock_mt[block]) if block < snapshot.pageblock_mt.size else 255
    migratetype = MIGRATETYPE_NAMES[kind] if kind < len(MIGRATETYPE_NAMES) else "unknown"
    number = int(pages.owner[pfn])
    owner = OWNER_NAMES[number] if number < len(OWNER_NAMES) else "unknown"
    return PageDetail(pfn, zone, block, migratetype, owner, order, owner)
