"""Clients without a process behind them: a second implementation of what ``memviz.sources.host.HostClient`` offers."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from memviz.snapshot import Snapshot
from memviz.sources.base import Command
from memviz.sources.linux import LinuxSource
from tests.gui.synthetic import SyntheticSource


class FakeClient:
    """Plays a source in this process: every ``poll`` is an instant. ``die()`` does what a killed host does."""

    def __init__(self, source: SyntheticSource | LinuxSource | None = None) -> None:
        self.source = source or SyntheticSource(nr_frames=8192)
        self.alive = False
        self.failure = ""
        self.report = ""
        self.closed = False
        self.sent: list[Command] = []
        self.on_send: Callable[[Command], None] | None = None

    def start(self) -> None:
        """Begin to answer."""
        self.alive = True

    def poll(self) -> Snapshot | None:
        """The next snapshot."""
        return self.source.snapshot() if self.alive else None

    def send(self, command: Command) -> int:
        """Do the command at once; returns its number."""
        self.sent.append(command)
        if self.alive:
            self.source.command(len(self.sent), command)
        return len(self.sent)

    def leave(self) -> None:
        """End; it is gone at once."""
        self.close()

    @property
    def gone(self) -> bool:
        """Whether it has ended."""
        return self.closed

    def close(self) -> None:
        """End."""
        self.alive = False
        self.closed = True

    def die(self, sentence: str) -> None:
        """Be dead, with a reason."""
        self.alive = False
        self.failure = sentence


class PlayedClient(FakeClient):
    """Plays given snapshots, the last one for ever."""

    def __init__(self, snapshots: Iterable[Snapshot]) -> None:
        super().__init__()
        self.snapshots = list(snapshots)

    def poll(self) -> Snapshot | None:
        """The next of the list."""
        if not self.alive or not self.snapshots:
            return None
        return self.snapshots.pop(0) if len(self.snapshots) > 1 else self.snapshots[0]
