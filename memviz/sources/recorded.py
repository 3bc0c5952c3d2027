"""A source that can be recorded: any other one, with a ``Recorder`` beside it.

The window's pulls and the recording share Snapshots: one that was made for the window is recorded if it is time, and
the recording makes its own only when the window hasn't asked for a while. Events and lanes come only once from a
source, so what one of the two has seen is kept for the other, up to a bound.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Final

import numpy as np

from memviz.recording.recorder import RATE, Recorder
from memviz.recording_state import Recording, instants
from memviz.snapshot import EVENT_DTYPE, LANE_DTYPE, Outcome, Snapshot, Structured
from memviz.sources.base import Command, Record, Repeatable, Source, SourceError, StopRecording, Watched

_KEPT: Final = 50_000
"""Events, and segments of lanes, that are kept for whoever comes later."""
_PATIENCE_S: Final = 0.6 / RATE
"""How much longer than due the recording waits for the next pull of a window that pulls."""
_DIGEST_SHARE: Final = 0.0003
"""Of the time, for digests. One may take ten times as long as the one before, as machines fill."""
_OUTCOMES: Final = 16


class _Pending:
    """Events and lanes that somebody has not seen yet."""

    def __init__(self) -> None:
        self._events: list[Structured] = []
        self._lanes: list[Structured] = []
        self._count = 0
        self._lost = 0
        self._lost_lanes = 0

    def add(self, snapshot: Snapshot) -> None:
        """Keep what came with a Snapshot; too much of it is counted as lost."""
        self._lost += snapshot.lost_events
        if self._count + snapshot.events.size > _KEPT:
            self._lost += snapshot.events.size
        elif snapshot.events.size:
            self._events.append(snapshot.events)
            self._count += snapshot.events.size
        if sum(part.size for part in self._lanes) < _KEPT:
            self._lanes.append(snapshot.lanes)
        else:
            self._lost_lanes += snapshot.lanes.size

    def take_lost_lanes(self) -> int:
        """How many segments of lanes were too many to keep, since this was last asked."""
        lost, self._lost_lanes = self._lost_lanes, 0
        return lost

    def take(self, snapshot: Snapshot) -> Snapshot:
        """The Snapshot with what was kept in front of its own."""
        if not (self._events or self._lanes or self._lost):
            return snapshot
        merged = replace(
            snapshot,
            events=_joined([*self._events, snapshot.events], EVENT_DTYPE),
            lanes=_joined([*self._lanes, snapshot.lanes], LANE_DTYPE),
            lost_events=snapshot.lost_events + self._lost,
        )
        self._events, self._lanes, self._count, self._lost = [], [], 0, 0
        return merged


def _joined(parts: list[Structured], kind: np.dtype[np.void]) -> Structured:
    found = np.concatenate(parts) if parts else np.zeros(0, kind)
    found.flags.writeable = False
    return found


class RecordedSource:
    """``inner``, and a recording of it whenever there shall be one."""

    def __init__(self, inner: Source) -> None:
        self.inner = inner
        self.title = inner.title
        # Asked once: whether an object has all that a protocol wants takes long to find out.
        self._repeatable = inner if isinstance(inner, Repeatable) else None
        self._recorder: Recorder | None = None
        self._status: Recording | None = None
        self._journal = 0
        self._changed = False
        self._pulled = 0.0
        self._digest_due = 0.0
        self._for_window = _Pending()
        self._for_file = _Pending()
        self._outcomes: tuple[Outcome, ...] = ()
        self._working = False
        self._end = ""
        """What became of the last recording, in a sentence."""

    @property
    def recording(self) -> bool:
        """A file is being written."""
        return self._recorder is not None

    @property
    def behind(self) -> bool:
        """Something has changed that is not in the file yet."""
        return self._changed

    @property
    def status(self) -> Recording | None:
        """What became of the last recording that ended, or how far one was when it was last looked at."""
        return self._status

    # -- the source

    def advance(self, seconds: float) -> bool:
        """Work, then record if it is time. What stops the source is the recording's last instant."""
        self._working = True
        try:
            worked = self.inner.advance(seconds)
        except Exception as error:
            self.failed(error)
            raise
        finally:
            self._working = False
        if worked:
            self.worked()
        else:
            self._record_if_due(idle=True)
        return worked

    def worked(self) -> None:
        """The source has changed, and stands between two operations: record it if it is time."""
        self._changed = True
        self._record_if_due()

    def snapshot(self) -> Snapshot:
        """This instant, for the window."""
        snapshot = self.inner.snapshot()
        self._pulled = time.monotonic()
        recorder = self._recorder
        if recorder is not None:
            # In the middle of its work the source stands where no run can be taken up again.
            if self._changed and not self._working and recorder.due():
                self._record(snapshot, time.thread_time())  # the Snapshot is the window's: it costs nothing here
            else:
                self._for_file.add(snapshot)
        snapshot = self._for_window.take(snapshot)
        outcomes = tuple(sorted((*snapshot.outcomes, *self._outcomes))[-_OUTCOMES:])
        if recorder is not None:
            self._status = recorder.status()
            if self._status.failure:
                self.stop()
        return replace(snapshot, recording=self._status, outcomes=outcomes)

    def command(self, number: int, command: Command) -> None:
        """Begin or end a recording; everything else is for ``inner``."""
        if not isinstance(command, Record | StopRecording):
            self._working = True
            try:
                self.inner.command(number, command)
            except Exception as error:
                self.failed(error)
                raise
            finally:
                self._working = False
            self._changed = True
            return
        try:
            sentence = self.start(command.path) if isinstance(command, Record) else self.stop()
            outcome = Outcome(number, type(command).__name__, True, sentence)
        except SourceError as error:
            outcome = Outcome(number, type(command).__name__, False, f"{error}.")
        self._outcomes = (*self._outcomes, outcome)[-_OUTCOMES:]

    def watch(self, look: Callable[[], None]) -> None:
        """Let ``look`` look on while ``inner`` works, if that can be watched."""
        if isinstance(self.inner, Watched):
            self.inner.watch(look)

    def close(self) -> None:
        """Finish the file, and close the source."""
        self.stop()
        self.inner.close()

    # -- the recording

    def start(self, path: str) -> str:
        """Begin a recording; says so in a sentence. Raises RecordingError."""
        self.stop()
        meta: dict[str, object] = {"title": self.inner.title}
        if self._repeatable is not None and (origin := self._repeatable.origin()):
            meta["origin"] = origin
        self._recorder = Recorder(path, meta)
        self._journal = 0
        self._changed = True
        self._digest_due = 0.0
        self._for_file = _Pending()
        self._record_if_due()
        self._status = self._recorder.status()
        return f"Recording to {self._recorder.path}."

    def stop(self) -> str:
        """Finish the recording; says in a sentence what has become of it."""
        recorder, self._recorder = self._recorder, None
        if recorder is None:
            return self._end or "Nothing was being recorded."
        if self._changed and not recorder.status().failure:
            self._digest_due = 0.0  # how it ended can always be checked
            self._record(self._take_for_file(), time.thread_time(), recorder)
        self._status = status = recorder.close()
        missed = f" {status.missed:,} are missing, for the disk was too slow." if status.missed else ""
        if status.left_out:
            missed += f" {status.left_out:,} routine events and bits of what CPUs did were left out, being too many."
        size = f"{status.bytes / 1e6:.1f} MB"
        self._end = status.failure or f"Recorded {instants(status.instants)}, {size}, to {status.path}.{missed}"
        return self._end

    def _record_if_due(self, idle: bool = False) -> None:
        recorder = self._recorder
        if recorder is None or not self._changed or time.monotonic() - self._pulled < 1 / RATE + _PATIENCE_S:
            return
        if not recorder.due(idle):
            return
        begin = time.thread_time()
        self._record(self._take_for_file(), begin)

    def _take_for_file(self) -> Snapshot:
        snapshot = self.inner.snapshot()
        if self._pulled:  # somebody looks, and would miss what comes only once
            self._for_window.add(snapshot)
        return snapshot

    def _record(self, snapshot: Snapshot, begin_s: float, into: Recorder | None = None) -> None:
        """``begin_s``: the thread's time when work for the recording began."""
        recorder = into or self._recorder
        assert recorder is not None, "somebody records"
        self._changed = False
        digest = ""
        if self._repeatable is not None:
            for done in self._repeatable.journal[self._journal :]:
                recorder.command(done)
            self._journal = len(self._repeatable.journal)
            digest = self._digest(self._repeatable)
        snapshot = self._for_file.take(snapshot)
        recorder.offer(snapshot, digest, time.thread_time() - begin_s, self._for_file.take_lost_lanes())

    def _digest(self, source: Repeatable) -> str:
        """The source's digest, if its share of the time allows one."""
        begin = time.process_time()
        if begin < self._digest_due:
            return ""
        digest = source.digest()
        end = time.process_time()
        self._digest_due = end + (end - begin) / _DIGEST_SHARE
        return digest

    def failed(self, error: Exception) -> None:
        """The source has failed: its last state, and why, are the recording's end."""
        recorder = self._recorder
        if recorder is None:
            return
        notice = " ".join(str(error).split()) or type(error).__name__
        try:
            snapshot = replace(self._take_for_file(), state="failed", notice=notice)
            self._record(snapshot, time.thread_time())
        except Exception:
            self._changed = False  # it can't be looked at any more: what was recorded must do
        self.stop()
