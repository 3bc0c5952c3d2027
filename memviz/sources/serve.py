"""The loop in the source's process: work for a few milliseconds, then look whether somebody asked for something.

A source that lets itself be watched is asked for Snapshots in the middle of its work too, so that neither a long
command nor a slow piece of a run stops the picture. Commands wait until the source is done with what it does.

Messages are pickled tuples, one a packet: (SPEC, spec) first, then (ASK,) and (COMMAND, number, command) come in;
(SNAPSHOT or REPORT, block, sequence number, size) go out and say what lies in which of the two shared blocks. Of a
Snapshot only what is another than in the last one goes out (``outgoing.py``). A source that raises leaves
a last Snapshot with ``state`` "failed", one sentence, and a report.
"""

from __future__ import annotations

import contextlib
import pickle
import select
import socket
import time
import traceback
from collections import deque
from dataclasses import replace
from typing import Final

import numpy as np

from memviz.snapshot import Outcome, Pages, Snapshot
from memviz.sources import garbage
from memviz.sources.base import Command, Quit, Source, SourceError, SourceSpec
from memviz.sources.outgoing import Outgoing, Unsent
from memviz.sources.recorded import RecordedSource
from memviz.sources.shared_buffer import SharedBuffer

SPEC: Final = "spec"
ASK: Final = "ask"
COMMAND: Final = "command"
SNAPSHOT: Final = "snapshot"
REPORT: Final = "report"
MESSAGE_MAX: Final = 1 << 16

_SLICE_S: Final = 0.004  # work between two looks at the messages: a quarter of a redraw
_LOOK_S: Final = 0.004  # between two looks from inside of the work
_IDLE_S: Final = 0.02  # how long to wait for a message when the source has nothing to do


def _no_pages() -> Pages:
    none8, none32 = np.zeros(0, np.uint8), np.zeros(0, np.uint32)
    for array in (none8, none32):
        array.flags.writeable = False
    return Pages(none8, none8, none8, none32)


NO_PAGES: Final = _no_pages()


def nothing_yet(title: str) -> Snapshot:
    """The Snapshot of a source that never made one: no page frames, nothing known."""
    return Snapshot(0, 0, 0, title, "simulation", "failed", (), NO_PAGES, NO_PAGES.owner)


class _Gone(Exception):
    """The client went away or asked us to go: the ordinary end of a host."""


class Host:
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
        self._lasting = contextlib.ExitStack()
        self._outgoing = Outgoing()
        self._unsent = Unsent()
        self._failed = False
        self._commands: deque[tuple[int, Command]] = deque()
        self._look_due = 0.0
        self._gone = False

    def serve(self) -> None:
        """Run until the client goes."""
        try:
            while True:
                worked = self._advance()
                self._messages(0.0 if worked or (self._asked and self._changed) else _IDLE_S)
                while self._commands:
                    self._command(*self._commands.popleft())
                if self._asked and self._changed:
                    self._answer()
        except _Gone:
            pass
        finally:
            if self._source is not None:
                self._source.close()
            self._lasting.close()

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

    def _look(self) -> None:
        """The source is in the middle of something: answer who has asked, obey nobody yet."""
        if self._failed or self._gone or time.perf_counter() < self._look_due:
            return
        try:
            self._messages(0.0)
            if self._asked:
                self._changed = True
                self._answer()
        except _Gone:
            self._gone = True  # nothing may fly through the middle of the work: the loop sees the end by itself
        self._look_due = time.perf_counter() + _LOOK_S

    def _messages(self, wait: float) -> None:
        """Take every message that is there; wait up to ``wait`` seconds for the first."""
        while select.select([self._channel], [], [], wait)[0]:
            wait = 0.0
            try:
                data = self._channel.recv(MESSAGE_MAX)
            except ConnectionResetError:
                raise _Gone from None
            if not data:
                raise _Gone
            kind, *values = pickle.loads(data)
            if kind == ASK:
                self._asked = True
            elif kind == COMMAND:
                self._commands.append((values[0], values[1]))
            elif kind == SPEC:
                self._make(*values)

    def _make(self, spec: SourceSpec) -> None:
        self._spec = spec
        try:
            self._source = source = RecordedSource(spec.make())
            source.watch(self._look)
        except Exception as error:
            self._fail(error)
        self._lasting.enter_context(garbage.seldom())
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
        self._changed = True  # again: whoever looked on has not seen the end

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
        self._write(REPORT, report)

    def _answer(self) -> None:
        if self._source is not None and not self._failed:
            try:
                self._last = self._source.snapshot()
            except Exception as error:
                self._fail(error)
        if self._last is None:
            return
        self._asked = self._changed = False
        self._write(SNAPSHOT, (self._unsent.of(self._last), self._outgoing.delta(self._last.pages)))

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
