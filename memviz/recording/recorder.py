"""Recording without ever waiting: a bounded queue, and a thread that writes.

Whoever makes Snapshots asks ``due`` and calls ``offer``; neither waits for anything. When the disk can't keep up the
queue is full, instants are not taken, and the file holds a gap where they are missing. When the file can't be written
any more the recording ends, ``status`` says why, and what was written stays.

Cost: taking Snapshots for the recording may use ``SHARE`` of the working thread's time; if they take longer, they come
less often.
"""

from __future__ import annotations

import queue
import sqlite3
import statistics
import sys
import threading
import time
from collections import deque
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from memviz import __version__
from memviz.recording.writer import Instant, Writer
from memviz.recording_state import Recording
from memviz.snapshot import Snapshot
from memviz.sources.base import Done

RATE: Final = 30
"""Instants a second."""
SHARE: Final = 0.034
_QUEUE_BYTES: Final = 64 << 20
_QUEUE_MAX: Final = 8
_SWITCH_S: Final = 0.0005
"""How long the writing thread waits for the interpreter: it gives it back twenty times for each instant."""


class Recorder:
    """A recording under way. All calls come from one thread."""

    def __init__(self, path: str | Path, meta: dict[str, object], rate: float = RATE) -> None:
        """Begin. ``meta``: what the file says about itself, beside what it always says. Raises RecordingError."""
        self.path = Path(path).absolute()
        told = {name: value if isinstance(value, str) else _json(value) for name, value in meta.items()}
        now = datetime.now(UTC).isoformat(timespec="seconds")
        self._writer = Writer(self.path, {"memviz": __version__, "created": now, "state": "recording", **told})
        self._queue: queue.SimpleQueue[Instant | None] = queue.SimpleQueue()
        self._period = 1 / rate
        self._begin = time.monotonic()
        self._next = self._begin
        self._end = 0.0
        self._waiting: list[Done] = []
        self._skipped = 0
        self._item_bytes = 0
        self._costs: deque[float] = deque(maxlen=16)
        self._begins = True
        self._rest_s = 0.0
        self._rest_from = (0.0, 0.0)
        self._failure = ""
        self._bytes = 0
        self._switch = sys.getswitchinterval()
        sys.setswitchinterval(min(self._switch, _SWITCH_S))
        self._thread = threading.Thread(target=self._work, name="memviz-recorder")
        self._thread.start()

    # -- the thread that makes snapshots

    def due(self, idle: bool = False) -> bool:
        """It is time for an instant. Where there is no room for it, it is counted as missing and the answer is no.

        ``idle``: whoever is recorded has nothing to do, so nothing can make it slower.
        """
        now = time.monotonic()
        if now < self._next or self._end or self._failure:
            return False
        # By the time that the work has had, not by the clock: on a busy machine it would be made slower still.
        cpu, wall = self._rest_from
        if not idle and time.thread_time() - cpu < self._rest_s and now - wall < 10 * self._rest_s:
            return False
        if self._full():
            self._next = now + self._period
            self._skipped += 1
            return False
        return True

    def _full(self) -> bool:
        waiting = self._queue.qsize()
        return waiting >= _QUEUE_MAX or (waiting > 1 and waiting * self._item_bytes > _QUEUE_BYTES)

    def offer(self, snapshot: Snapshot, digest: str = "", cost_s: float = 0.0, lost_lanes: int = 0) -> None:
        """Record an instant that was ``due``. ``cost_s``: seconds of work that were spent just for it; ``lost_lanes``:
        segments of lanes since the last one that could not be kept for it.
        """
        now = time.monotonic()
        # Even steps, as long as they can be held.
        self._costs.append(cost_s)
        self._rest_s = self._usual_cost() * (1 / SHARE - 1)
        self._rest_from = (time.thread_time(), now)
        self._next = max(self._next + self._period, now - self._period)
        self._item_bytes = snapshot.pages.nr * 7
        wall_ns = int((now - self._begin) * 1e9)
        self._queue.put(Instant(snapshot, wall_ns, tuple(self._waiting), digest, self._skipped, lost_lanes))
        self._waiting.clear()
        self._skipped = 0

    def _usual_cost(self) -> float:
        """Seconds that an instant takes. Now and then one takes details or a digest, which have shares of their own:
        such a one counts as three, and the first not at all.
        """
        if self._begins:
            self._begins = False
            self._costs.clear()
            return 0.0
        most = 3 * statistics.median_low(self._costs)
        return statistics.fmean(min(one, most) for one in self._costs)

    def command(self, row: Done) -> None:
        """Something was done; it goes into the file with the next instant."""
        self._waiting.append(row)

    def status(self) -> Recording:
        """How far it is."""
        writer = self._writer
        seconds = (self._end or time.monotonic()) - self._begin
        return Recording(
            str(self.path),
            writer.instants,
            writer.missed + self._skipped,
            self._bytes,
            seconds,
            not self._end and not self._failure,
            self._failure,
            writer.left_out,
        )

    def close(self) -> Recording:
        """Write what waits, and make one file of it. Waits for the disk."""
        if not self._end:
            self._end = time.monotonic()
            self._queue.put(None)
            self._thread.join()
            sys.setswitchinterval(self._switch)
        return self.status()

    # -- the thread that writes

    def _work(self) -> None:
        try:
            while True:
                try:
                    item = self._queue.get(timeout=max(0.0, self._writer.due(time.monotonic())))
                    if item is None:
                        self._writer.finish("finished")
                        self._bytes = self._writer.size()
                        return
                    self._writer.write(item)
                except queue.Empty:
                    pass
                if self._writer.due(time.monotonic()) <= 0:
                    self._writer.commit()
                    self._bytes = self._writer.size()
        except (sqlite3.Error, OSError) as error:
            self._failure = self._sentence(error)
            self._writer.close()
        except Exception as error:  # the run goes on whatever happens here
            self._failure = (
                f"The recording has stopped because of an error in memviz ({type(error).__name__}: {error})."
            )
            self._writer.close()

    def _sentence(self, error: Exception) -> str:
        kept = f"the {self._writer.safe:,} instants before are in it"
        if isinstance(error, FileNotFoundError):
            return f"The recording has stopped: {self.path} was removed while it was written; record again."
        if "full" in str(error):
            return f"The recording has stopped: the disk of {self.path} is full; {kept}. Make room and record again."
        return f"The recording has stopped: {self.path} can't be written any more ({error}); {kept}."


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
