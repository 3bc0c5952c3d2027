"""One side of a comparison: an instant of a recording, or the run that the window shows."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from memviz.gui.session import Client, Session
from memviz.snapshot import Snapshot
from memviz.sources.base import Seek, playback
from memviz.sources.host import HostClient

_PATIENCE_S: Final = 2.0
"""After this long an answer to a seek isn't waited for any more."""

Curve = tuple[npt.NDArray[np.int64], npt.NDArray[np.int16]]
"""Times (ns), shape (n,), and unusable indices (thousandths), shape (n, 11)."""


class RecordingSide:
    """A recording, in a process of its own: at most one seek is on its way, and the last one wins."""

    fixed: Final = False
    """Its instant can't be chosen."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.title = Path(path).name
        self.snapshot: Snapshot | None = None
        self._client: Client = HostClient(playback(path))
        self._client.start()
        self._wanted = -1
        self._asked = -1
        self._asked_at = 0.0
        self._wound = 0

    @property
    def failure(self) -> str:
        """Why there is nothing to see, in a sentence."""
        shown = self.snapshot
        if shown is not None and shown.state == "failed":
            return shown.notice
        return self._client.failure

    @property
    def range(self) -> tuple[int, int] | None:
        """First and last instant, ns."""
        shown = self.snapshot
        return None if shown is None or shown.playback is None else (shown.playback.first_ns, shown.playback.last_ns)

    @property
    def curve(self) -> Curve:
        """Its unusable indices, all along."""
        shown = self.snapshot
        if shown is None or not shown.past.size:
            return np.zeros(0, np.int64), np.zeros((0, 11), np.int16)
        return shown.past["time"].astype(np.int64), shown.past["unusable"].astype(np.int16)

    def seek(self, time_ns: int) -> None:
        """Show another instant, as soon as it can."""
        self._wanted = time_ns

    def poll(self) -> bool:
        """Take what came. Whether another instant is shown."""
        newest = self._client.poll()
        came = newest is not None
        if newest is not None:
            self.snapshot = newest
            if newest.playback is not None and newest.playback.wound != self._wound:
                self._wound = newest.playback.wound
                self._asked_at = 0.0
        waiting = self._asked_at and time.monotonic() - self._asked_at < _PATIENCE_S
        if self._wanted >= 0 and self._wanted != self._asked and not waiting and self.snapshot is not None:
            self._asked, self._asked_at = self._wanted, time.monotonic()
            self._client.send(Seek(self._wanted))
        return came

    def close(self) -> None:
        """End its process."""
        self._client.close()


class RunSide:
    """The run that the window shows, as it is now."""

    fixed: Final = True
    path = ""

    def __init__(self, session: Session, title: str) -> None:
        self.title = title
        self._session = session
        self._seq = -1

    @property
    def snapshot(self) -> Snapshot | None:
        """This instant."""
        return self._session.snapshot

    @property
    def failure(self) -> str:
        """Why it goes on no more."""
        return self._session.failure

    @property
    def range(self) -> tuple[int, int] | None:
        """From the first instant that is known to now."""
        times = self._session.history.times
        return (int(times[0]), int(times[-1])) if times.size else None

    @property
    def curve(self) -> Curve:
        """What the window knows of the past."""
        history = self._session.history
        return history.times, history.values

    def seek(self, time_ns: int) -> None:
        """It is always now."""

    def poll(self) -> bool:
        """Whether there is another instant."""
        snapshot = self._session.snapshot
        seq = -1 if snapshot is None else snapshot.seq
        changed, self._seq = seq != self._seq, seq
        return changed

    def close(self) -> None:
        """The window keeps its run."""


Side = RecordingSide | RunSide
