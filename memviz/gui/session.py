"""The run that the window shows: pulls snapshots from its source, sends it commands, remembers the past.

Nothing is ever queued towards the window: a timer asks the client for the newest snapshot, and whoever is too slow to
show one shows the next.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from PySide6.QtCore import QObject, Qt, QTimer, Signal

from memviz.gui.render import lanes
from memviz.gui.render.event_log import EventLog
from memviz.gui.render.event_text import Names
from memviz.gui.render.history import History
from memviz.gui.render.series import Series
from memviz.gui.selection import Selection
from memviz.kernel.page import GFP_KERNEL
from memviz.snapshot import Outcome, Snapshot
from memviz.sources.base import (
    Command,
    Compact,
    Defragment,
    Pause,
    RequestPages,
    Run,
    SetFocus,
    SetPolicy,
    SetWorkload,
    Speed,
    Step,
)

PULL_MS: Final = 16
AGAIN_MS: Final = 4
"""When nothing had come, look again so soon, and so often, before it is left to the next regular look: one snapshot
that is a little late must not cost a whole redraw."""
AGAIN: Final = 3
FAREWELL_MS: Final = 50
STARTED_AGAIN: Final = "restart"
"""The command of an outcome that what the source says first does not take the place of."""
SPEEDS: Final = (10, 30, 100, 300, 1_000, 3_000, 10_000, 30_000, 100_000, 300_000, 0)
"""Steps of the speed slider, operations a second; 0, the last, is as fast as it can."""


class Client(Protocol):
    """The near end of a source: ``memviz.sources.host.HostClient``. None of its methods but ``close`` waits."""

    failure: str
    report: str

    @property
    def alive(self) -> bool:
        """The source can be talked to."""

    def start(self) -> None:
        """Start the source."""

    def poll(self) -> Snapshot | None:
        """The newest snapshot, if one came since the last call."""

    def send(self, command: Command) -> int:
        """Send a command; returns its number."""

    def leave(self) -> None:
        """End the source, without waiting for it."""

    @property
    def gone(self) -> bool:
        """After ``leave``: nothing is left of it."""

    def close(self) -> None:
        """End the source; waits a bounded time."""


class Session(QObject):
    """One source and what is known of it. ``changed`` carries nothing: read ``snapshot``."""

    changed = Signal()
    """There is a newer snapshot, or the state of the run is another."""
    opened = Signal()
    """Another source was opened: everything of the one before is forgotten."""

    def __init__(self, selection: Selection, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.selection = selection
        self.client: Client | None = None
        self.snapshot: Snapshot | None = None
        self.history = History()
        self.series = Series()
        self.log = EventLog()
        self.lanes = lanes.History()
        self.names = Names()
        self.failure = ""
        """Why there will be no further snapshot, in one sentence; the last one stays."""
        self.outcome: Outcome | None = None
        """What became of the last command that tells something."""
        self.turned: dict[str, str] = {}
        """Policies and controls of the workload that were changed here, and what each is called."""
        self.trouble = ""
        """What went wrong in the window itself, for the report."""
        self._lost_recording = ""
        self._told = 0
        self._notice = ""
        self._waiting: dict[int, str] = {}
        self._running_wanted: bool | None = None
        self._speed_wanted: int | None = None
        self._last_seq = -1
        self._wound = 0
        self._figures = (-1, 0)
        self._timer = QTimer(self)
        self._timer.setTimerType(Qt.TimerType.PreciseTimer)
        self._timer.setInterval(PULL_MS)
        self._timer.timeout.connect(self.pull)
        self._again = 0
        self._leaving: list[Client] = []
        self._farewell = QTimer(self)
        self._farewell.setInterval(FAREWELL_MS)
        self._farewell.timeout.connect(self._see_off)
        selection.focus_changed.connect(self._send_focus)

    # -- the source

    def open(self, make: Callable[[], Client]) -> None:
        """End the source that is there, and start the one that ``make`` makes. Waits for neither, unless a recording
        has to be finished first: it may be what is opened.
        """
        if self.recording:
            self.close()
        else:
            self._leave()
        self.snapshot = None
        self.history.clear()
        self.series.clear()
        self.selection.set_range(None)
        self.log.clear()
        self.lanes.clear()
        self.failure = ""
        self.outcome = None
        self.turned = {}
        self._told = 0
        self._notice = ""
        self._lost_recording = ""
        self._waiting.clear()
        self._running_wanted = None
        self._speed_wanted = None
        self._last_seq = -1
        self._wound = 0
        self._figures = (-1, 0)
        self.selection.clear()
        self.client = make()
        self.client.start()
        self.client.send(SetFocus(self.selection.focus))
        self._timer.start()
        self.opened.emit()
        self.changed.emit()

    def close(self) -> None:
        """End the source. Waits a bounded time for its process, and for those that were left before."""
        self._leave()
        for client in self._leaving:
            client.close()
        self._see_off()

    def _leave(self) -> None:
        """End the source; somebody looks after its process until that has ended."""
        self._timer.stop()
        if self.client is not None:
            self.client.leave()
            self._leaving.append(self.client)
            self.client = None
            self._farewell.start()

    def _see_off(self) -> None:
        self._leaving = [client for client in self._leaving if not client.gone]
        if not self._leaving:
            self._farewell.stop()

    def pull(self) -> None:
        """Take the newest snapshot, if there is one. The timer calls this."""
        client = self.client
        if client is None:
            return
        snapshot = client.poll()
        if snapshot is not None:
            self._take(snapshot)
        if client.failure and not self.failure:
            self.failure = client.failure
        if self.failure and not client.alive:
            self._timer.stop()
            self._waiting.clear()
        self._again = self._again + 1 if snapshot is None and self.running and self._again < AGAIN else 0
        wanted = AGAIN_MS if self._again else PULL_MS
        if self._timer.interval() != wanted:
            self._timer.setInterval(wanted)
        if snapshot is not None or self.failure:
            self.changed.emit()

    def _take(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        if snapshot.seq != self._last_seq:
            self._last_seq = snapshot.seq
            if snapshot.playback is None:
                self.history.add(snapshot)
            elif snapshot.playback.wound != self._wound:
                if not self._wound:
                    self.history.load(snapshot.past, snapshot.past_events)
                self._wound = snapshot.playback.wound
                if self.outcome is not None and not self.outcome.ok:
                    self.outcome = None  # "there is none behind this instant" is about another one by now
                self.log.clear()  # what comes now are the events before the instant that it was wound to
            if snapshot.playback is None:
                self.series.add(snapshot)
            elif self._figures != (known := (snapshot.past_figures.size, len(snapshot.past_requests))):
                self._figures = known
                self.series.load(snapshot.past_figures, snapshot.past_requests)
            self.log.add(snapshot.events, snapshot.lost_events)
            self.lanes.add(snapshot)
            self.names = Names.of(snapshot)
        if snapshot.state == "failed":
            self.failure = snapshot.notice or "It failed without saying why."
        if self._running_wanted is not None and (snapshot.state == "running") == self._running_wanted:
            self._running_wanted = None
        if snapshot.speed == self._speed_wanted:
            self._speed_wanted = None
        if snapshot.notice != self._notice:
            if self._notice or self.outcome is None or self.outcome.command != STARTED_AGAIN:
                self.outcome = None  # what the source has to say now is newer
            self._notice = snapshot.notice
        for outcome in snapshot.outcomes:
            if outcome.number > self._told:
                self._told = outcome.number
                self._waiting.pop(outcome.number, None)
                if outcome.sentence:
                    self.outcome = outcome
        for number in [n for n in self._waiting if n <= self._told]:
            del self._waiting[number]
        self._see_recording(snapshot)

    def _see_recording(self, snapshot: Snapshot) -> None:
        """Say it once when a recording has ended by itself: nobody asked for that, so no command tells it."""
        failure = snapshot.recording.failure if snapshot.recording is not None else ""
        if failure and failure != self._lost_recording:
            self.outcome = Outcome(-1, "", False, failure)
        self._lost_recording = failure

    # -- what can be read

    @property
    def running(self) -> bool:
        """The source goes on by itself, or was just told to."""
        if self._running_wanted is not None:
            return self._running_wanted
        return self.snapshot is not None and self.snapshot.state == "running"

    @property
    def usable(self) -> bool:
        """Commands reach the source and do something."""
        return self.client is not None and self.client.alive and not self.failure

    @property
    def playing(self) -> bool:
        """The source is a recording, which can be wound."""
        return self.usable and self.snapshot is not None and self.snapshot.playback is not None

    @property
    def recording(self) -> bool:
        """A recording of this is being made."""
        now = self.snapshot.recording if self.snapshot is not None else None
        return now is not None and now.active and not self.failure

    @property
    def waiting(self) -> str:
        """The command that has not been answered yet, in words; empty when there is none."""
        return next(reversed(self._waiting.values()), "")

    @property
    def speed(self) -> int:
        """Operations a second that the source is held to, or was just told to; 0: as fast as it can."""
        if self._speed_wanted is not None:
            return self._speed_wanted
        return self.snapshot.speed if self.snapshot is not None else 0

    # -- commands

    def send(self, command: Command, words: str = "") -> None:
        """Send a command. ``words``: what to show until it is answered."""
        if self.client is None or not self.usable:
            return
        number = self.client.send(command)
        if words:
            self._waiting[number] = words
            self.changed.emit()

    def set_running(self, running: bool) -> None:
        """Run or pause."""
        if self.usable:
            self._running_wanted = running
            self.send(Run() if running else Pause())
            self.changed.emit()

    def toggle_run(self) -> None:
        """Run when paused, pause when running."""
        self.set_running(not self.running)

    def step(self, count: int = 1) -> None:
        """Do ``count`` operations, then pause."""
        if self.usable:
            self._running_wanted = None
            self.send(Step(count))

    def request(self, order: int) -> None:
        """Ask for a block of ``1 << order`` page frames."""
        self.send(RequestPages(order, GFP_KERNEL), f"Requesting order {order} …")

    def defragment(self, slowly: bool = False) -> None:
        """One pass over all movable caches."""
        words = "Defragmenting slabs slowly: each object moves in front of your eyes …"
        self.send(Defragment(slowly=slowly), words if slowly else "Defragmenting slabs …")

    def compact(self) -> None:
        """Compact all zones."""
        self.send(Compact(), "Compacting …")

    def set_policy(self, name: str, value: str) -> None:
        """Turn a switch of the engine."""
        self.turned[name] = name
        self.send(SetPolicy(name, value), f"Setting {name} to {value} …")

    def set_workload(self, name: str, value: str) -> None:
        """Turn a control of the workload."""
        known = self.snapshot.controls if self.snapshot is not None else ()
        self.turned[name] = next((one.called for one in known if one.name == name), name)
        self.send(SetWorkload(name, value), f"Setting {name} to {value} …")

    def set_speed(self, ops_per_s: int) -> None:
        """Hold the source to a speed; 0: as fast as it can."""
        if self.usable:
            self._speed_wanted = ops_per_s
            self.send(Speed(ops_per_s))
            self.changed.emit()

    def _send_focus(self) -> None:
        self.send(SetFocus(self.selection.focus))
