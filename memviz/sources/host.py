"""A source in a process of its own, and the client that pulls Snapshots from it.

The window must never share a GIL with work: an engine thread beside a full window left 10 redraws a second, a process
leaves 62. So the client starts ``python -m memviz.sources.host``, which makes the source and loops: work for a few
milliseconds, then look whether somebody asked for something.

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
import gc
import os
import pickle
import select
import signal
import site
import socket
import subprocess
import sys
import time
import traceback
from collections import deque
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Final

import numpy as np

from memviz.snapshot import Outcome, Pages, Snapshot
from memviz.sources.base import Command, Quit, Source, SourceError, SourceSpec
from memviz.sources.shared_buffer import SharedBuffer

_SLICE_S: Final = 0.004  # work between two looks at the messages: a quarter of a redraw
_IDLE_S: Final = 0.02  # how long to wait for a message when the source has nothing to do
_MESSAGE_MAX: Final = 1 << 16
_PR_SET_PDEATHSIG: Final = 1
_CLOSE_S: Final = 2.0

_SPEC, _ASK, _COMMAND, _SNAPSHOT, _REPORT = "spec", "ask", "command", "snapshot", "report"


def nothing_yet(title: str) -> Snapshot:
    """The Snapshot of a source that never made one: no page frames, nothing known."""
    none8, none32 = np.zeros(0, np.uint8), np.zeros(0, np.uint32)
    for array in (none8, none32):
        array.flags.writeable = False
    pages = Pages(none8, none8, none8, none32)
    return Snapshot(0, 0, 0, title, "simulation", "failed", (), pages, none8)


class _Gone(Exception):
    """The client went away or asked us to go: the ordinary end of a host."""


class _Host:
    """The loop in the source's process."""

    def __init__(self, channel: socket.socket, buffers: tuple[SharedBuffer, SharedBuffer]) -> None:
        self._channel = channel
        self._buffers = buffers
        self._seq = 0
        self._asked = False
        self._changed = True
        self._spec: SourceSpec | None = None
        self._source: Source | None = None
        self._last: Snapshot | None = None
        self._failed = False

    def serve(self) -> None:
        """Run until the client goes."""
        try:
            while True:
                worked = self._advance()
                self._messages(0.0 if worked or (self._asked and self._changed) else _IDLE_S)
                if self._asked and self._changed:
                    self._answer()
        except _Gone:
            pass
        finally:
            if self._source is not None:
                self._source.close()

    def _advance(self) -> bool:
        if self._source is None or self._failed:
            return False
        try:
            worked = self._source.advance(_SLICE_S)
        except Exception as error:
            self._fail(error)
            return True
        self._changed = self._changed or worked
        return worked

    def _messages(self, wait: float) -> None:
        """Take every message that is there; wait up to ``wait`` seconds for the first."""
        while select.select([self._channel], [], [], wait)[0]:
            wait = 0.0
            try:
                data = self._channel.recv(_MESSAGE_MAX)
            except ConnectionResetError:
                raise _Gone from None
            if not data:
                raise _Gone
            kind, *values = pickle.loads(data)
            if kind == _ASK:
                self._asked = True
            elif kind == _COMMAND:
                self._command(*values)
            elif kind == _SPEC:
                self._make(*values)

    def _make(self, spec: SourceSpec) -> None:
        self._spec = spec
        try:
            self._source = spec.make()
        except Exception as error:
            self._fail(error)
        # What was built so far lives as long as the process: the collector need not look at it again and again.
        gc.collect()
        gc.freeze()
        self._changed = True

    def _command(self, number: int, command: Command) -> None:
        if isinstance(command, Quit):
            raise _Gone
        self._changed = True
        if self._failed or self._source is None:
            self._refuse(number, command)
            return
        try:
            self._source.command(number, command)
        except Exception as error:
            self._fail(error)
            self._refuse(number, command)

    def _refuse(self, number: int, command: Command) -> None:
        if self._last is not None:
            name = type(command).__name__
            outcome = Outcome(number, name, False, f"{name}: nothing was done, for the run has failed before.")
            self._last = replace(self._last, outcomes=(*self._last.outcomes, outcome)[-16:])

    def _fail(self, error: Exception) -> None:
        """The source is broken: keep what can still be seen of it, and say why."""
        report = ""
        if self._spec is not None:
            arguments = ", ".join(f"{name}={value!r}" for name, value in self._spec.arguments.items())
            report = f"{self._spec.factory} ({arguments})\n"
        if self._last is not None:
            report += f"last Snapshot shown: after {self._last.ops} operations, {self._last.time_ns} ns\n"
        report += "\n" + "".join(traceback.format_exception(error))
        for stack in getattr(error, "stacks", ()):
            report += f"\n{stack}"
        last = self._last
        if self._source is not None:
            # The state that it failed in tells more than the last one that was shown, if it can be had.
            with contextlib.suppress(Exception):
                last = self._source.snapshot()
        if last is None:
            last = nothing_yet(getattr(self._source, "title", ""))
        elif last is self._last:
            last = replace(last, events=last.events[:0], lanes=last.lanes[:0])
        self._last = replace(last, seq=last.seq + 1, state="failed", notice=_sentence(error))
        self._failed = True
        self._changed = True
        self._write(_REPORT, report)

    def _answer(self) -> None:
        if self._source is not None and not self._failed:
            try:
                self._last = self._source.snapshot()
            except Exception as error:
                self._fail(error)
        if self._last is None:
            return
        self._asked = self._changed = False
        self._write(_SNAPSHOT, self._last)

    def _write(self, kind: str, value: object) -> None:
        self._seq += 1
        which = self._seq % 2
        size = self._buffers[which].write(self._seq, value)
        try:
            self._channel.send(pickle.dumps((kind, which, self._seq, size)))
        except (BrokenPipeError, ConnectionResetError):
            raise _Gone from None


def _sentence(error: Exception) -> str:
    """One sentence for the window: what stopped the run."""
    text = " ".join(str(error).split())
    if isinstance(error, SourceError):
        return text
    if hasattr(error, "rule"):  # KernelBug: its text is a sentence already
        return f"The run has stopped: {text}"
    detail = f"{type(error).__name__}: {text}" if text else type(error).__name__
    return f"The run has stopped because of an error in memviz ({detail}); please save the report and send it."


class HostClient:
    """The window's end: starts a source in its own process, pulls Snapshots from it, sends it commands."""

    def __init__(self, spec: SourceSpec) -> None:
        self._spec = spec
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: socket.socket | None = None
        self._buffers: tuple[SharedBuffer, ...] = ()
        self._stderr = -1
        self._outbox: deque[bytes] = deque()
        self._asked = False
        self._number = 0
        self._closed = False
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
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "memviz.sources.host", str(os.getpid()), *map(str, fds)],
                stdin=subprocess.DEVNULL,
                stdout=self._stderr,
                stderr=self._stderr,
                pass_fds=fds,
                env=_environment(),
            )
        ours.setblocking(False)
        self._channel = ours
        self._post(_SPEC, self._spec)

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
                self._post(_ASK)
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
        self._post(_COMMAND, self._number, command)
        return self._number

    def close(self) -> None:
        """End the host and give everything back; ``last`` stays. A host that does not go by itself is killed."""
        self._closed = True
        self._hang_up()
        if self._process is not None:
            try:
                self._process.wait(_CLOSE_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None
        if self._stderr >= 0:
            os.close(self._stderr)
            self._stderr = -1

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
                data = self._channel.recv(_MESSAGE_MAX)
            except BlockingIOError:
                break
            except ConnectionResetError:
                data = b""
            if not data:
                self._hang_up()
                break
            kind, which, seq, size = pickle.loads(data)
            value = self._buffers[which].read(seq, size)
            if kind == _SNAPSHOT and isinstance(value, Snapshot):
                newest = value
                self._asked = False
            elif kind == _REPORT:
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
        self.failure = f"The process that runs the source {how}: what you see is its last picture."
        said = os.pread(self._stderr, _MESSAGE_MAX, max(0, os.fstat(self._stderr).st_size - _MESSAGE_MAX))
        self.report += f"{self.failure}\n{said.decode(errors='replace')}"
        return True


def _environment() -> dict[str, str]:
    """The host's environment: it must import the memviz that we are, wherever that was imported from."""
    environment = dict(os.environ)
    root = str(Path(__file__).resolve().parents[2])
    if root not in site.getsitepackages():
        paths = [root, environment.get("PYTHONPATH", "")]
        environment["PYTHONPATH"] = os.pathsep.join(path for path in paths if path)
    return environment


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
        _Host(stream, (first, second)).serve()


if __name__ == "__main__":
    main(sys.argv[1:])
