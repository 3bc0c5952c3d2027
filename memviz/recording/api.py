"""Recordings for programs and notebooks: ``memviz.open(path)``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import overload

import numpy as np
import numpy.typing as npt

from memviz.kernel import trace
from memviz.recording.notes import Note, Notes
from memviz.recording.reader import Reader
from memviz.snapshot import Snapshot, Structured


class Recording(Sequence[Snapshot]):
    """A recording as a sequence of Snapshots, read one by one as they are asked for. Close it, or use ``with``."""

    def __init__(self, path: str | Path) -> None:
        """Raises RecordingError, one sentence, when there is no recording, or it is damaged."""
        self.reader = Reader(path)
        self.title = self.reader.meta.get("title", "")
        self.meta = dict(self.reader.meta)
        """What the file says about itself; ``origin`` is the JSON of the scenario, seed and size."""
        self._notes: Notes | None = None

    def __len__(self) -> int:
        return self.reader.instants

    @overload
    def __getitem__(self, index: int) -> Snapshot: ...

    @overload
    def __getitem__(self, index: slice) -> list[Snapshot]: ...

    def __getitem__(self, index: int | slice) -> Snapshot | list[Snapshot]:
        if isinstance(index, slice):
            return [self[at] for at in range(*index.indices(len(self)))]
        at = index + len(self) if index < 0 else index
        if not 0 <= at < len(self):
            raise IndexError(f"the recording has {len(self)} instants, there is no {index}")
        return self.reader.at(at + 1)

    def __iter__(self) -> Iterator[Snapshot]:
        return (self.reader.at(ident) for ident in range(1, len(self) + 1))

    def at(self, seconds: float) -> Snapshot:
        """The last instant at or before a virtual time."""
        return self.reader.at(self.reader.find(int(seconds * 1e9)))

    @property
    def notes(self) -> Notes:
        """The notes beside the recording; they can be added to. Raises RecordingError where they can't be read."""
        if self._notes is None:
            self._notes = Notes(self.reader.path)
        return self._notes

    def at_note(self, note: Note) -> Snapshot:
        """The instant that a note is about."""
        return self.reader.at(self.reader.find(note.time_ns))

    @property
    def duration(self) -> tuple[float, float]:
        """Virtual time of the first and the last instant, seconds."""
        return self.reader.first_ns / 1e9, self.reader.last_ns / 1e9

    def events(self, *names: str, begin: float = 0.0, end: float = 1e9) -> Structured:
        """Events of some kinds (``"request_end"``; none named: of all) between two virtual times, in seconds.

        A structured array (``memviz.snapshot.EVENT_DTYPE``); what ``a`` to ``d`` mean is in ``kernel.trace.FIELDS``.
        Raises ValueError for a kind that there is not.
        """
        by_name = {name: kind for kind, name in trace.NAMES.items()}
        unknown = [name for name in names if name not in by_name]
        if unknown:
            raise ValueError(f"no event is called {unknown[0]!r}: there are {', '.join(sorted(by_name))}")
        return self.reader.events(tuple(by_name[name] for name in names), int(begin * 1e9), int(end * 1e9))

    def fragmentation(self, points: int = 1 << 30) -> Structured:
        """``time`` (ns) and ``unusable`` (thousandths, per order) wherever they changed, at most ``points`` of them."""
        return self.reader.past(points)

    def counters(self, name: str) -> npt.NDArray[np.int64]:
        """A counter as rows of (virtual ns, value), wherever it had changed: shape (n, 2)."""
        return np.array(self.reader.counters(name), np.int64).reshape(-1, 2)

    def close(self) -> None:
        """Let go of the file."""
        self.reader.close()

    def __enter__(self) -> Recording:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
