"""The notes on the recording that is played: kept beside the file, shown in their panel and in the timeline."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from PySide6.QtCore import QObject, Signal, Slot

from memviz.gui.session import Session
from memviz.recording.format import RecordingError
from memviz.recording.notes import Note, Notes

T = TypeVar("T")


class RecordingNotes(QObject):
    """The notes of the recording that the session plays. ``changed`` carries nothing: read ``all``."""

    changed = Signal()
    told = Signal(bool, str)
    """Something went wrong, or is not where one would look for it: (well, sentence)."""

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._session = session
        self._path = ""
        self._notes: Notes | None = None
        session.changed.connect(self._session_changed)

    @property
    def all(self) -> tuple[Note, ...]:
        """In the order of time."""
        return () if self._notes is None else self._notes.all

    @property
    def path(self) -> str:
        """The recording that they belong to; empty: none is played."""
        return self._path

    @Slot()
    def _session_changed(self) -> None:
        snapshot = self._session.snapshot
        path = "" if snapshot is None or snapshot.playback is None else snapshot.playback.path
        if path != self._path:
            self._path = path
            self._notes = None if not path else self._tried(lambda: Notes(path))
            self.changed.emit()

    def look_again(self) -> None:
        """Others may have written notes meanwhile."""
        notes = self._notes
        if notes is not None and self._tried(notes.load):
            self.changed.emit()

    def add(self, text: str = "") -> Note | None:
        """A note on the instant that is shown. None when that can't be kept, which is said."""
        snapshot, notes = self._session.snapshot, self._notes
        if snapshot is None or notes is None:
            return None
        time_ns = snapshot.time_ns
        elsewhere = notes.where
        note = self._tried(lambda: notes.add(time_ns, text))
        if notes.where != elsewhere:
            self.told.emit(True, notes.where)
        self.changed.emit()
        return note

    def change(self, ident: str, text: str) -> None:
        """Another text for a note."""
        notes = self._notes
        if notes is not None and text != next((one.text for one in notes.all if one.id == ident), text):
            self._tried(lambda: notes.change(ident, text))
            self.changed.emit()

    def remove(self, ident: str) -> None:
        """Take a note away."""
        notes = self._notes
        if notes is not None:
            self._tried(lambda: notes.remove(ident))
            self.changed.emit()

    def beside(self, time_ns: int, forwards: bool) -> Note | None:
        """The next note behind an instant, or the one before it."""
        found = [one for one in self.all if (one.time_ns > time_ns if forwards else one.time_ns < time_ns)]
        return (found[0] if forwards else found[-1]) if found else None

    def _tried(self, work: Callable[[], T]) -> T | None:
        try:
            return work()
        except RecordingError as error:
            self.told.emit(False, f"{error}.")
        except KeyError:
            self.told.emit(False, "This note is not there any more: somebody else has removed it.")
        return None
