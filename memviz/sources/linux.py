"""This Linux machine as a source: its page frames, zones, slab caches and page traffic as Snapshots.

A sweep over the page flags gives the map. Between sweeps the trace says which page frames were allocated and freed;
what it touched is swept first, then what is on screen, then the rest, round and round. All of that together may use
``SHARE`` of one CPU, after a first picture that is made at once. Each feature is tried, none is required: what is
missing is in ``notice``, with what would bring it.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import Any, Final, cast

import numpy as np

from memviz.analysis.contiguity import contiguity
from memviz.kernel import page, trace
from memviz.snapshot import (
    EVENT_DTYPE,
    U8,
    Cache,
    Focus,
    Outcome,
    Snapshot,
    Structured,
    Zone,
)
from memviz.sources import linux_procfs as procfs
from memviz.sources.base import (
    Command,
    Pause,
    Run,
    SetFocus,
    Speed,
)
from memviz.sources.due import Due
from memviz.sources.linux_access import Access, Direct, LiveError, Rights, connect, told_missing
from memviz.sources.linux_actions import Actions
from memviz.sources.linux_caches import CacheFinder
from memviz.sources.linux_detail import Belongings, page_detail
from memviz.sources.linux_remote import connect_to
from memviz.sources.linux_sweep import CHUNK, UNIT, FrameMap, read_units, sweep
from memviz.sources.linux_texts import LiveTexts
from memviz.sources.linux_trace import OVERHEAD, LiveTrace
from memviz.sources.linux_tracefs import TraceFormatError

SHARE: Final = 0.09
"""Of one CPU; with what can't be counted beforehand it stays below a tenth."""
_SNAPSHOT_SHARE: Final = 0.05
_SNAPSHOT_S: Final = 0.2
_SAVED_S: Final = 0.2
_TRACE_S: Final = 0.1
_TURN_S: Final = 0.1
_BEYOND_S: Final = 0.2
"""So often something is swept that is not on the screen."""
_TEXT_S: Final = 1.0
_RETRY_S: Final = 5.0
_SAMPLE_FOR_S: Final = 0.02
_EVENTS_MAX: Final = 20_000
_OUTCOMES: Final = 16


class LinuxSource:
    """The machine that this process runs on. Raises LiveError when not even its zones can be read."""

    def __init__(
        self,
        rights: Rights = "auto",
        actions: bool = False,
        tracing: bool = True,
        share: float = SHARE,
        access: Access | None = None,
        overhead: float = OVERHEAD,
        host: str = "",
    ) -> None:
        """``share``: of one CPU, for all that this does. ``overhead``: of the time that programs run, what tracing
        may cost them; where it would cost more, events are sampled. ``host``: another machine, over ssh."""
        self.title = host or "This machine"
        self._missing: dict[str, str] = {}
        self._access = access if access is not None else self._connect(rights, actions, host)
        self._acts = Actions(self, self._access, actions)
        self._share = share
        self._begin = time.monotonic()
        self._cpu_begin = time.process_time()
        self._state = "running"
        self._seq = 0
        self._notable: list[Structured] = []
        self._gaps_before = 0
        self._lost_told = 0
        self._outcomes: tuple[Outcome, ...] = ()
        self._focus = Focus()
        self._due = Due()
        self._snapshot_cost = 0.0
        self._witnessed: list[Structured] | None = None
        self._cursor = 0
        self._in_sight = np.zeros(0, np.intp)
        self._sight_cursor = 0
        self._drained_at = self._begin
        self.event_count = 0
        """Page events that were traced so far."""
        self.sweeps = 0
        """Whole sweeps so far."""
        self._possible: tuple[int, ...] = ()
        self._belongings = Belongings(self._access)
        self._told = LiveTexts(self._access, self._missing)
        self._words = np.zeros(CHUNK, np.uint64)
        self.frames = self._map(self._told.nr)
        self.finder = CacheFinder(self.frames)
        self._trace: LiveTrace | None = None
        try:
            if tracing and self.frames.nr:
                self._trace = self._traced(overhead)
            self.read_texts()
            if self.frames.nr:
                self._first_sweep()
        except BaseException:
            self._access.close()  # a trace instance would outlive us
            raise
        self._spent_first = time.process_time() - self._cpu_begin

    # -- making it

    def _connect(self, rights: Rights, actions: bool, host: str) -> Access:
        if host:
            return connect_to(host, rights, actions)
        try:
            return connect(rights, actions)
        except LiveError as error:
            self._missing["rights"] = str(error)
            return connect("none")

    def _map(self, nr: int) -> FrameMap:
        """The map, empty when page flags can't be read."""
        try:
            self._access.page_flags_into(0, self._words[:UNIT])
        except LiveError as error:
            self._missing["page flags"] = str(error)
            return FrameMap(0)
        return FrameMap(nr)

    def _traced(self, overhead: float) -> LiveTrace | None:
        try:
            return LiveTrace(self._access, self.frames, self.finder, overhead)
        except (LiveError, TraceFormatError) as error:
            self._missing["trace"] = str(error)
        return None

    def _first_sweep(self) -> None:
        sweep(self._access, self.frames, 2 if isinstance(self._access, Direct) else 1)  # a helper answers one by one
        if self._trace is not None:
            try:
                self._trace.begin()
            except LiveError as error:
                self._untraced(error)
        self.read_texts()
        self._swept()

    # -- working

    def advance(self, seconds: float) -> bool:
        """Work for about ``seconds`` where the budget allows. True: it is time for another Snapshot."""
        if self._state != "running":
            return False
        end = time.monotonic() + seconds
        if self._due.take("trace", _TRACE_S) or (self._trace is not None and self._trace.pressing):
            self._drain_for_little()
        while self._budget() > 0 and time.monotonic() < end:
            if self._due.take("text", _TEXT_S):
                self.read_texts()
            elif not self.frames.nr or not self._looked():
                break
        now = time.monotonic()
        wait = max(_SNAPSHOT_S, self._snapshot_cost / _SNAPSHOT_SHARE)
        if self._budget() <= 0 and now < self._due.since("snapshot") + wait:
            return False
        return self._due.take("snapshot", wait)

    @property
    def gaps(self) -> int:
        """Times that something was not traced, or that events were lost."""
        return self._trace.gaps if self._trace is not None else 0

    def _budget(self) -> float:
        """CPU seconds that may be used now. The first picture is not on the bill."""
        used = time.process_time() - self._cpu_begin - self._spent_first
        allowed = (time.monotonic() - self._begin) * self._share
        if used < allowed - _SAVED_S:  # what is not used is not saved up for long
            self._cpu_begin -= allowed - _SAVED_S - used
            used = allowed - _SAVED_S
        return allowed - used

    def _drain_for_little(self) -> None:
        """Take in what was traced; sweeps keep at least half of the budget, however much that was."""
        wall, spent = time.monotonic(), time.process_time()
        self.drain()
        spent = time.process_time() - spent
        self._cpu_begin += max(0.0, spent - self._share / 2 * (wall - self._drained_at))
        self._drained_at = wall

    def drain(self) -> None:
        """Take in what was traced."""
        if self._trace is None:
            return
        try:
            for events in self._trace.drain(int((time.monotonic() - self._begin) * 1000)):
                self.event_count += int(events.size)
                if self._witnessed is not None:
                    self._witnessed.append(events)
                self._keep(events)
            if self._trace.sample_due():
                self._due.put_off("trace", _SAMPLE_FOR_S)
        except LiveError as error:
            self._untraced(error)

    def _untraced(self, error: LiveError) -> None:
        """Go on without a trace."""
        self._missing["trace"] = str(error)
        self._trace = None
        with contextlib.suppress(LiveError):
            self._access.trace_stop()

    def _keep(self, events: Structured) -> None:
        """Keep what the next Snapshot shall tell: notable events, the rest only when somebody asked for it."""
        changed = events[events["kind"] == trace.MM_PAGE_ALLOC_EXTFRAG]
        for row in changed[(changed["d"] & 1) != 0]:
            block = int(row["a"]) // page.PAGEBLOCK_NR_PAGES
            if block < self._told.block_mt.size:
                self._told.block_mt[block] = min(255, int(row["d"]) >> 8)
        if not self._focus.bulk_events:
            events = events[events["kind"] > trace.LAST_BULK]
        if events.size:
            self._notable.append(events[-_EVENTS_MAX:])

    def _looked(self) -> bool:
        """Sweep one piece. False: it can't be read; it is tried again in a while."""
        if time.monotonic() < self._due.since("retry"):
            return False
        try:
            self._look()
        except LiveError as error:
            self._missing["page flags"] = str(error)
            self._due.put_off("retry", _RETRY_S)
            return False
        self._missing.pop("page flags", None)
        return True

    def _look(self) -> None:
        """Sweep one piece: what the trace touched, what is looked at, or the next in turn."""
        room = self.frames.owner.size
        focused = self._focus.pfn // UNIT * UNIT
        touched = np.flatnonzero(self.frames.dirty)
        if 0 <= focused < room and self._due.take("focus", _SNAPSHOT_S):
            start, count = focused, UNIT
        elif self._in_sight.size and not self._due.take("beyond", _BEYOND_S):
            start, count = self._next_in_sight()
        elif touched.size and not self._due.take("turn", _TURN_S):
            first = int(touched[0])
            run = touched[: CHUNK // UNIT] - np.arange(min(touched.size, CHUNK // UNIT))
            start, count = first * UNIT, int(np.count_nonzero(run == first)) * UNIT
        else:
            start, count = self._cursor, min(CHUNK, room - self._cursor)
            self._cursor += count
        read_units(self._access, self.frames, start, count, self._words)
        if self._cursor >= room:
            self._cursor = 0
            self._swept()

    def _next_in_sight(self) -> tuple[int, int]:
        """The next piece of what is on the screen: round and round."""
        units = self._in_sight
        self._sight_cursor %= units.size
        chosen = units[self._sight_cursor : self._sight_cursor + CHUNK // UNIT]
        run = int(np.count_nonzero(chosen - np.arange(chosen.size) == chosen[0]))
        self._sight_cursor += run
        return int(chosen[0]) * UNIT, run * UNIT

    def _set_focus(self, focus: Focus) -> None:
        if focus.sight != self._focus.sight:
            seen = np.zeros(self.frames.dirty.size, np.bool_)
            for first, end in focus.sight:
                seen[max(0, first) // UNIT : -(-max(0, end) // UNIT)] = True
            self._in_sight = np.flatnonzero(seen)
            self._sight_cursor = 0
        self._focus = focus

    def _swept(self) -> None:
        """A whole sweep is done: what only a whole sweep can tell."""
        self.sweeps += 1
        self.frames.trusted = self._trace is not None and self._trace.following and self.gaps == self._gaps_before
        self._gaps_before = self.gaps
        self.frames.find_unmanaged(self.zones)
        self.frames.find_listed(self.zones)
        self._possible = contiguity(self.frames.pages()).possible

    def follow(self, seconds: float) -> None:
        """Follow every slab object for so long, to learn which slabs are whose. Without a trace nothing happens."""
        end = time.monotonic() + seconds
        if self._trace is None:
            return
        self._trace.sample_for(seconds)
        while self._trace is not None and time.monotonic() < end:
            time.sleep(min(_TRACE_S, max(0.0, end - time.monotonic())))
            self.drain()
        if self._trace is not None:
            self._trace.stop_sample()

    def look_again(self) -> None:
        """Sweep everything now, whatever the budget says."""
        if self.frames.nr:
            sweep(self._access, self.frames, 1)
        self._told.read(self.finder, everything=True)
        if self.frames.nr:
            self._swept()

    # -- commands

    def command(self, number: int, command: Command) -> None:
        """Do what can be done to a real machine; everything else is refused in a sentence."""
        ok = True
        sentence = ""
        try:
            if isinstance(command, Run):
                self._state = "running"
            elif isinstance(command, Pause):
                self._state = "paused"
            elif isinstance(command, SetFocus):
                self._set_focus(command.focus)
            elif not isinstance(command, Speed):
                sentence, ok = self._acts.act(command)
        except LiveError as error:
            sentence, ok = str(error), False
        self._outcomes = (*self._outcomes, Outcome(number, type(command).__name__, ok, sentence))[-_OUTCOMES:]

    def read_texts(self) -> None:
        """Read what the kernel tells as text now: zones, slab caches, counters."""
        self._told.read(self.finder)

    @property
    def zones(self) -> tuple[Zone, ...]:
        """The newest that is known of each."""
        return self._told.zones

    @property
    def caches(self) -> tuple[Cache, ...]:
        """The newest that is known of each."""
        return self._told.caches

    @property
    def types(self) -> procfs.PageTypes | None:
        """What blocks are for; None: the kernel doesn't tell."""
        return self._told.types

    def told(self, name: str) -> str:
        """The first line of one of ``live_helper.FILES``; empty where it can't be read."""
        try:
            return self._access.text(name).partition("\n")[0]
        except LiveError:
            return ""

    def witness(self, act: Callable[[], str]) -> tuple[str, Structured]:
        """Do something and see what happens meanwhile: what it returned, and all events of that time, if traced."""
        self.drain()
        self._witnessed = []
        try:
            if self._trace is not None:
                self._trace.insist(True)
            result = act()
            self.drain()
            if self._trace is not None:
                self._trace.insist(False)
            return result, np.concatenate((np.zeros(0, EVENT_DTYPE), *self._witnessed))
        finally:
            self._witnessed = None

    @property
    def traced(self) -> bool:
        """Page events are read."""
        return self._trace is not None

    # -- looking

    @property
    def access(self) -> Access:
        """The way to the machine's kernel."""
        return self._access

    @property
    def missing(self) -> dict[str, str]:
        """What can't be seen, and what would bring it."""
        return dict(self._missing)

    def snapshot(self) -> Snapshot:
        """This instant, as far as it is known."""
        begin = time.process_time()
        self._seq += 1
        events = np.concatenate(self._notable)[-_EVENTS_MAX:] if self._notable else None
        self._notable.clear()
        extra = {} if events is None else {"events": events}
        notices = told_missing(self._missing)
        lost = 0
        if self._trace is not None:
            lost = self._trace.lost
            notices += [self._trace.remark] if self._trace.remark else []
        block_mt: U8 = self._told.block_mt[: -(-self.frames.nr // page.PAGEBLOCK_NR_PAGES)].copy()
        block_mt.flags.writeable = False
        found = Snapshot(
            seq=self._seq,
            time_ns=int((time.monotonic() - self._begin) * 1e9),
            ops=0,
            title=self.title,
            source="linux",
            state=self._state,
            zones=self.zones,
            pages=self.frames.pages(),
            pageblock_mt=block_mt,
            possible=self._possible,
            caches=self.caches,
            counters=self._told.counters,
            lost_events=lost - self._lost_told,
            request=self._acts.anatomy,
            focus=self._focus,
            detail=page_detail(self._focus.pfn, self.frames, self._told, self._belongings),
            outcomes=self._outcomes,
            policies=(("actions", "on" if self._acts.allowed else "off"),),
            notice=" ".join(notices),
            **cast(Any, extra),
        )
        self._lost_told = lost
        # The transport copies once more what was copied here.
        self._snapshot_cost = 2 * (time.process_time() - begin)
        return found

    def close(self) -> None:
        """Remove the trace instance, end the helper."""
        self._access.close()
