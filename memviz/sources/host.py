"""A source in a process of its own, and the client that pulls Snapshots from it.

The window must never share a GIL with work: an engine thread beside a full window left 10 redraws a second, a process
leaves 62. So the client starts ``python -m memviz.sources.host``, which makes the source and serves it (``serve.py``).

*Snapshots are pulled.* The client asks, the host answers once something changed since its last answer, and the client
asks again when it has taken the answer: at most one Snapshot is on its way, nothing ever queues up, and a slow view
costs the source nothing. Two shared blocks take turns, so that the host may write the next while the client reads.

*Nobody is left behind.* Messages go over a socket pair and bulk through memfds, both inherited: no names, no files. A
host whose client is gone sees the end of the stream, and the kernel kills it (PR_SET_PDEATHSIG) when it is too busy
to look. A client whose host is gone keeps the last Snapshot and says in one sentence what happened.
"""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import os
import pickle
import select
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from dataclasses import replace
from types import TracebackType
from typing import Final

from memviz.snapshot import Snapshot
from memviz.sources import child
from memviz.sources.base import Command, SourceSpec
from memviz.sources.outgoing import received
from memviz.sources.page_sets import PageSets
from memviz.sources.serve import ASK, COMMAND, MESSAGE_MAX, REPORT, SNAPSHOT, SPEC, Host, nothing_yet
from memviz.sources.shared_buffer import SharedBuffer

_PR_SET_PDEATHSIG: Final = 1
_CLOSE_S: Final = 2.0


class HostClient:
    """The window's end: starts a source in its own process, pulls Snapshots from it, sends it commands."""

    def __init__(self, spec: SourceSpec) -> None:
        self._spec = spec
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: socket.socket | None = None
        self._buffers: tuple[SharedBuffer, ...] = ()
        self._pages = PageSets()
        self._received: Snapshot | None = None
        """The newest that the host has sent: what comes next is told as a difference to it."""
        self._stderr = -1
        self._outbox: deque[bytes] = deque()
        self._asked = False
        self._number = 0
        self._closed = False
        self._patience = 0.0
        self.last: Snapshot | None = None
        """The newest Snapshot; stays when the host is gone."""
        self.failure = ""
        """Why the host is gone, in one sentence; empty while it is alive."""
        self.report = ""
        """Traceback or last words of a source or host that failed; empty when nothing did."""

    def start(self) -> None:
        """Start the host. Call it from a thread that lives as long as the host shall (the main thread): Linux kills
        the host when the *thread* that started it ends."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._buffers = (SharedBuffer.create(), SharedBuffer.create())
        self._stderr = os.memfd_create("memviz-host-stderr", os.MFD_CLOEXEC)
        fds = (theirs.fileno(), *(buffer.fd for buffer in self._buffers))
        with theirs:
            self._process = child.start("memviz.sources.host", fds, os.getpid(), output=self._stderr)
        ours.setblocking(False)
        self._channel = ours
        self._post(SPEC, self._spec)

    @property
    def alive(self) -> bool:
        """The host runs and can be talked to."""
        return self._channel is not None

    @property
    def pid(self) -> int:
        """The host's process id."""
        return self._process.pid if self._process is not None else -1

    def fileno(self) -> int:
        """What becomes readable when there is something to poll; -1 when the host is gone."""
        return self._channel.fileno() if self._channel is not None else -1

    def poll(self) -> Snapshot | None:
        """The newest Snapshot if one arrived since the last call, and ask for the next one. Never blocks.

        When the host has died, the last Snapshot comes once more with ``state`` "failed" and ``notice`` saying why.
        """
        newest = self._receive()
        if self._channel is not None:
            if not self._asked:
                self._asked = True
                self._post(ASK)
            self._flush()
        elif not self.failure and not self._closed and self._reap():
            newest = replace(self.last or nothing_yet(""), state="failed", notice=self.failure)
        if newest is not None:
            self.last = newest
        return newest

    def wait(self, seconds: float) -> Snapshot | None:
        """As ``poll``, but wait up to ``seconds`` for a Snapshot. For commands and tests; a window polls."""
        deadline = time.monotonic() + seconds
        while (snapshot := self.poll()) is None and not self.failure:
            left = deadline - time.monotonic()
            if left <= 0:
                return None
            if self._channel is not None:
                select.select([self._channel], [self._channel] if self._outbox else [], [], left)
            elif self._process is not None:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._process.wait(left)
        return snapshot

    def send(self, command: Command) -> int:
        """Send a command; returns its number, which its Outcome will carry. Never blocks."""
        self._number += 1
        self._post(COMMAND, self._number, command)
        return self._number

    def leave(self) -> None:
        """End the host without waiting for it: ``gone`` says when everything was given back; ``close`` may be called
        too.
        """
        if not self._closed:
            self._closed = True
            self._patience = time.monotonic() + _CLOSE_S
            self._hang_up()

    @property
    def gone(self) -> bool:
        """After ``leave``: the host has ended. One that does not go by itself is killed."""
        if self._process is not None:
            if self._process.poll() is None:
                if time.monotonic() > self._patience:
                    self._process.kill()
                return False
            self._process = None
        if self._stderr >= 0:
            os.close(self._stderr)
            self._stderr = -1
        return True

    def close(self) -> None:
        """End the host and give everything back; ``last`` stays. A host that does not go by itself is killed."""
        self.leave()
        while not self.gone:
            assert self._process is not None
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(max(0.01, self._patience - time.monotonic()))

    def __enter__(self) -> HostClient:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _post(self, *message: object) -> None:
        if self._channel is not None:
            self._outbox.append(pickle.dumps(message))
            self._flush()

    def _flush(self) -> None:
        """Send what the socket takes now; the rest goes with a later poll."""
        while self._outbox and self._channel is not None:
            try:
                self._channel.send(self._outbox[0])
            except BlockingIOError:
                return
            except (BrokenPipeError, ConnectionResetError):
                return  # the next poll reads the end of the stream, after what the host said before
            self._outbox.popleft()

    def _receive(self) -> Snapshot | None:
        """Take every message that is there. After the end of the stream the channel is gone."""
        newest: Snapshot | None = None
        while self._channel is not None:
            try:
                data = self._channel.recv(MESSAGE_MAX)
            except BlockingIOError:
                break
            except ConnectionResetError:
                continue  # it went without reading all of ours: what it said before is still to be had
            if not data:
                self._hang_up()
                break
            kind, which, seq, size = pickle.loads(data)
            value = self._buffers[which].read(seq, size)
            if kind == SNAPSHOT and isinstance(value, tuple):
                fields, delta = value
                newest = self._received = received(self._received, fields, self._pages.apply(delta))
                self._asked = False
            elif kind == REPORT:
                self.report = str(value)
        return newest

    def _hang_up(self) -> None:
        if self._channel is not None:
            self._channel.close()
            self._channel = None
        for buffer in self._buffers:
            buffer.close()
        self._buffers = ()
        self._outbox.clear()

    def _reap(self) -> bool:
        """The stream has ended: find out how the process did. False: it is not known yet."""
        assert self._process is not None
        code = self._process.poll()
        if code is None:
            return False
        if code < 0:
            name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
            how = f"was killed by {name}"
        else:
            how = f"ended by itself with exit code {code}"
        self.failure = f"The background process of memviz {how}: what you see is its last picture."
        said = os.pread(self._stderr, MESSAGE_MAX, max(0, os.fstat(self._stderr).st_size - MESSAGE_MAX))
        self.report += f"{self.failure}\n{said.decode(errors='replace')}"
        return True


def main(arguments: list[str]) -> None:
    """The host process: ``PARENT-PID CHANNEL-FD BLOCK-FD BLOCK-FD``, all inherited from ``HostClient.start``."""
    parent, channel, *blocks = map(int, arguments)
    faulthandler.enable()  # a crash of an extension module leaves its stack among the last words
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the whole terminal; the window decides what it means
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        return  # it went before we could ask to be told
    first, second = (SharedBuffer(fd) for fd in blocks)
    with socket.socket(fileno=channel) as stream:
        Host(stream, (first, second)).serve()


if __name__ == "__main__":
    main(sys.argv[1:])
