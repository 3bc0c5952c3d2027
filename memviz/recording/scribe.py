"""The process that writes a recording: ``python -m memviz.recording.scribe``, started by ``recorder.Recorder``.

A thread would do, if it cost nothing: beside one that packs thirty instants a second an interpreted engine lost a
tenth of its speed to taking turns at the interpreter, and a compiled one, which never offers its turn, left it time
for ten. So instants come through shared memory, as Snapshots go to the window, and this process has an interpreter of
its own.

It ends when it is told to finish, or when nobody is there any more to tell it anything: then it writes what it still
has, and makes one file of it. Signals to the whole terminal (Ctrl-C) are for whoever records.
"""

from __future__ import annotations

import contextlib
import pickle
import select
import signal
import socket
import sqlite3
import sys
import time
from pathlib import Path
from typing import Any, Final, cast

from memviz.recording.format import RecordingError, wal_of
from memviz.recording.handover import Taker
from memviz.recording.writer import Writer
from memviz.recording_state import instants
from memviz.sources.shared_buffer import SharedBuffer

BEGIN: Final = "begin"
INSTANT: Final = "instant"
FINISH: Final = "finish"
REFUSED: Final = "refused"
FAILED: Final = "failed"
WRITTEN: Final = "written"
MESSAGE_MAX: Final = 1 << 14


class _Gone(Exception):
    """Nobody listens any more."""


class Scribe:
    """The loop in the process that writes.

    Messages are pickled tuples, one a packet. (BEGIN or INSTANT, block, sequence number, size) come in and say what
    lies in which shared block, then (FINISH,). (WRITTEN, block, instants, missed, left out, bytes) go out: the block
    may be used again (-1: none was used). (REFUSED or FAILED, sentence) are the last word.
    """

    def __init__(self, channel: socket.socket, blocks: tuple[SharedBuffer, ...]) -> None:
        self._channel = channel
        self._blocks = blocks
        self._taker = Taker()
        self._bytes = 0

    def serve(self) -> None:
        """Write until told to finish, or until nobody is there any more."""
        _, block, seq, size = self._receive()
        path, meta = cast(tuple[Path, dict[str, str]], self._blocks[block].read(seq, size))
        try:
            writer = Writer(path, meta)
        except RecordingError as error:
            self._tell(REFUSED, str(error))
            return
        try:
            self._write(writer, block)
        except (sqlite3.Error, OSError) as error:
            writer.close()
            if not path.exists():  # whoever took the file away meant what lies beside it, too
                for beside in (wal_of(path), path.with_name(f"{path.name}-shm")):
                    beside.unlink(missing_ok=True)
            self._tell(FAILED, _sentence(path, writer, error))
        except Exception as error:  # whoever is recorded goes on whatever happens here
            writer.close()
            what = f"{type(error).__name__}: {error}"
            self._tell(FAILED, f"The recording has stopped because of an error in memviz ({what}).")

    def _write(self, writer: Writer, block: int) -> None:
        try:
            self._written(writer, block)
            while True:
                if select.select([self._channel], [], [], max(0.0, writer.due(time.monotonic())))[0]:
                    kind, *values = self._receive()
                    if kind == FINISH:
                        break
                    self._take(writer, *values)
                if writer.due(time.monotonic()) <= 0:
                    writer.commit()
                    self._bytes = writer.size()
        except _Gone:
            with contextlib.suppress(sqlite3.Error):  # somebody reads it already: then it stays as a killed one does
                writer.finish("interrupted")
            return
        writer.finish("finished")
        self._bytes = writer.size()
        self._written(writer, -1)

    def _take(self, writer: Writer, block: int, seq: int, size: int) -> None:
        handed = self._blocks[block].read(seq, size)
        assert isinstance(handed, memoryview), "what Recorder puts there"
        writer.write(self._taker.take(handed))
        with contextlib.suppress(_Gone):  # what was sent before is still to be read
            self._written(writer, block)

    def _written(self, writer: Writer, block: int) -> None:
        self._tell(WRITTEN, block, writer.instants, writer.missed, writer.left_out, self._bytes)

    def _receive(self) -> tuple[Any, ...]:
        while True:
            # Whoever was killed before it had read all of ours leaves a reset in front of what it said last.
            with contextlib.suppress(ConnectionResetError):
                data = self._channel.recv(MESSAGE_MAX)
                break
        if not data:
            raise _Gone
        message: tuple[Any, ...] = pickle.loads(data)
        return message

    def _tell(self, *message: object) -> None:
        try:
            self._channel.send(pickle.dumps(message))
        except (BrokenPipeError, ConnectionResetError):
            raise _Gone from None


def _sentence(path: Path, writer: Writer, error: Exception) -> str:
    kept = f"{instants(writer.safe)} from before that {'is' if writer.safe == 1 else 'are'} in it"
    if isinstance(error, FileNotFoundError):
        return f"The recording has stopped: {path} was removed while it was written; record again."
    if "full" in str(error):
        return f"The recording has stopped: the disk of {path} is full; {kept}. Make room and record again."
    return f"The recording has stopped: {path} can't be written any more ({error}); {kept}."


def main(arguments: list[str]) -> None:
    """``CHANNEL-FD BLOCK-FD …``, all inherited from ``Recorder``."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    channel, *blocks = map(int, arguments)
    with socket.socket(fileno=channel) as stream, contextlib.suppress(_Gone):
        Scribe(stream, tuple(SharedBuffer(fd) for fd in blocks)).serve()


if __name__ == "__main__":
    main(sys.argv[1:])
