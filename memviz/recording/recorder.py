"""Recording without ever waiting: a bounded queue of shared blocks, and a process that writes (``scribe``).

Whoever makes Snapshots asks ``due`` and calls ``offer``; neither waits for anything. When the disk can't keep up the
queue is full, instants are not taken, and the file holds a gap where they are missing. When the file can't be written
any more the recording ends, ``status`` says why, and what was written stays. When whoever records is killed, what it
had offered is written all the same.

Cost: taking Snapshots for the recording, and handing them over, may use ``SHARE`` of the working thread's time; if that
takes longer, they come less often.
"""

from __future__ import annotations

import contextlib
import pickle
import socket
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path
from pickle import PickleBuffer
from typing import Final, NamedTuple

import msgspec

from memviz import __version__
from memviz.recording import scribe
from memviz.recording.format import RecordingError
from memviz.recording.handover import Giver
from memviz.recording.writer import Instant
from memviz.recording_state import Recording, instants
from memviz.snapshot import Snapshot
from memviz.sources import child
from memviz.sources.base import Done
from memviz.sources.shared_buffer import SharedBuffer

RATE: Final = 30
"""Instants a second."""
SHARE: Final = 0.041
_MADE_UP: Final = 4
"""Instants, behind a piece of work that took longer than from one to the next."""
_QUEUE_BYTES: Final = 64 << 20
_QUEUE_MAX: Final = 8


class _Written(NamedTuple):
    """How far the file is."""

    instants: int
    missed: int
    left_out: int
    bytes: int


class Recorder:
    """A recording under way. All calls come from one thread."""

    def __init__(self, path: str | Path, meta: dict[str, object], rate: float = RATE) -> None:
        """Begin. ``meta``: what the file says about itself, beside what it always says. Raises RecordingError."""
        self.path = Path(path).absolute()
        self._period = 1 / rate
        self._end = 0.0
        self._waiting: list[Done] = []
        self._skipped = 0
        self._usual_s = 0.0
        """What an instant usually takes, seconds of the working thread; 0: not known yet."""
        self._begins = True
        self._rest_until = (0.0, 0.0)
        """Times of the working thread, and of the clock: by either of them it has rested."""
        self._failure = ""
        self._refused = ""
        self._written = _Written(0, 0, 0, 0)
        self._giver = Giver()
        self._blocks = tuple(SharedBuffer.create() for _ in range(_QUEUE_MAX))
        self._free = list(range(_QUEUE_MAX))
        """Blocks that nothing waits in. The last is taken first: blocks never shrink, and so few of them grow."""
        self._queued: dict[int, int] = {}
        """Blocks that something waits in, and how many bytes."""
        self._seq = 0
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            fds = (theirs.fileno(), *(block.fd for block in self._blocks))
            self._process: subprocess.Popen[bytes] = child.start("memviz.recording.scribe", fds)
        self._begin_file(meta)
        self._begin = self._next = time.monotonic()

    def _begin_file(self, meta: dict[str, object]) -> None:
        """Wait until there is a file: from then on no accident loses more than the last instants."""
        told = {name: value if isinstance(value, str) else _json(value) for name, value in meta.items()}
        now = datetime.now(UTC).isoformat(timespec="seconds")
        self._put(scribe.BEGIN, (self.path, {"memviz": __version__, "created": now, "state": "recording", **told}))
        while self._queued and not self._gone:
            self._listen(wait=True)
        if self._gone:
            self._release()
            raise RecordingError(self._refused or f"{self.path} cannot be written: {self._how_it_ended()}")

    @property
    def pid(self) -> int:
        """The process that writes."""
        return self._process.pid

    # -- whoever makes snapshots

    def due(self, idle: bool = False) -> bool:
        """It is time for an instant. Where there is no room for it, it is counted as missing and the answer is no.

        ``idle``: whoever is recorded has nothing to do, so nothing can make it slower.
        """
        now = time.monotonic()
        if now < self._next or self._end or self._failure:
            return False
        # By the time that the work has had, not by the clock: on a busy machine it would be made slower still.
        cpu, wall = self._rest_until
        if not idle and now < wall and time.thread_time() < cpu:
            return False
        if len(self._free) <= _QUEUE_MAX // 2:  # each look costs more than all else here
            self._listen()
        if self._full():
            self._next = now + self._period
            self._skipped += 1
            return False
        return not self._failure

    def _full(self) -> bool:
        return not self._free or (len(self._queued) > 1 and sum(self._queued.values()) > _QUEUE_BYTES)

    def offer(self, snapshot: Snapshot, digest: str = "", cost_s: float = 0.0, lost_lanes: int = 0) -> None:
        """Record an instant that was ``due``. ``cost_s``: seconds of work that were spent just for it; ``lost_lanes``:
        segments of lanes since the last one that could not be kept for it.
        """
        begin_cpu, now = time.thread_time(), time.monotonic()
        wall_ns = int((now - self._begin) * 1e9)
        instant = Instant(snapshot, wall_ns, tuple(self._waiting), digest, self._skipped, lost_lanes)
        self._put(scribe.INSTANT, PickleBuffer(self._giver.give(instant)))
        self._waiting.clear()
        self._skipped = 0
        self._pay(cost_s + time.thread_time() - begin_cpu, now)
        # Even steps, as long as they can be held; behind a long piece of work a few are made up for.
        self._next = max(self._next + self._period, now - _MADE_UP * self._period)

    def _pay(self, cost_s: float, now: float) -> None:
        """Rest for what an instant has taken. What was rested too long before counts, up to a few periods: whoever
        works asks only now and then.
        """
        if self._begins:  # the first takes everything
            self._begins = False
            return
        usual = self._usual_s or cost_s
        # Now and then one takes details or a digest, which have shares of their own: such a one counts as three.
        self._usual_s = usual + (min(cost_s, 3 * usual) - usual) / 8
        rest_s = self._usual_s / SHARE
        cpu_s = time.thread_time()
        self._rest_until = (max(self._rest_until[0], cpu_s - _MADE_UP * self._period) + rest_s, now + 10 * rest_s)

    def command(self, row: Done) -> None:
        """Something was done; it goes into the file with the next instant."""
        self._waiting.append(row)

    def status(self) -> Recording:
        """How far it is."""
        self._listen()
        done = self._written
        return Recording(
            str(self.path),
            done.instants,
            done.missed + self._skipped,
            done.bytes,
            (self._end or time.monotonic()) - self._begin,
            not self._end and not self._failure,
            self._failure,
            done.left_out,
        )

    def close(self) -> Recording:
        """Write what waits, and make one file of it. Waits for the disk."""
        if not self._end:
            self._end = time.monotonic()
            self._post(scribe.FINISH)
            while not self._gone:
                self._listen(wait=True)
            self._release()
        return self.status()

    # -- the process that writes

    @property
    def _gone(self) -> bool:
        return self._channel.fileno() < 0

    def _put(self, kind: str, value: object) -> None:
        block = self._free.pop()
        self._seq += 1
        self._queued[block] = size = self._blocks[block].write(self._seq, value)
        self._post(kind, block, self._seq, size)

    def _post(self, *message: object) -> None:
        # What waits is bounded by the number of blocks, so there is always room. An end of the other side is noticed
        # by listening, after what it said before.
        if not self._gone:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                self._channel.send(pickle.dumps(message))

    def _listen(self, wait: bool = False) -> None:
        """Take what the process has said; ``wait`` for the first word."""
        flags = 0 if wait else socket.MSG_DONTWAIT
        while not self._gone:
            try:
                data = self._channel.recv(scribe.MESSAGE_MAX, flags)
            except BlockingIOError:
                return
            except ConnectionResetError:
                continue  # it went without reading all of ours: what it said before is still to be had
            flags = socket.MSG_DONTWAIT
            if not data:
                self._channel.close()
                self._ended()
                return
            kind, *values = pickle.loads(data)
            if kind == scribe.WRITTEN:
                block, *numbers = values
                self._written = _Written(*numbers)
                if block >= 0:
                    del self._queued[block]
                    self._free.append(block)
            elif kind == scribe.REFUSED:
                self._refused = values[0]
            else:
                self._failure = values[0]

    def _ended(self) -> None:
        """The process is gone. Unless it was told to go, or has said why, something has killed it."""
        finished = self._end and not self._queued
        if not finished and not self._failure:
            kept = f"{instants(self._written.instants)} from before that should be in it"
            self._failure = f"The recording to {self.path} has stopped: {self._how_it_ended()}; {kept}."

    def _how_it_ended(self) -> str:
        code = self._process.wait()
        how = f"was killed by signal {-code}" if code < 0 else f"has ended by itself ({code})"
        return f"the process that writes it {how}"

    def _release(self) -> None:
        self._process.wait()
        for block in self._blocks:
            block.close()


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
