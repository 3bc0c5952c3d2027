"""Notes on instants of a recording, in a file beside it: ``FILE.memviz.notes``. The recording itself stays untouched.

The file is JSON: ``{"memviz notes": 1, "recording": "FILE.memviz", "notes": [{"id", "time_ns", "text", "made"}, …]}``.
It is put in place whole or not at all. Where the folder may not be written to, the notes are kept in the user's own
data folder instead, under the recording's path; ``Notes.where`` says so.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import secrets
import tempfile
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import msgspec

from memviz.recording.format import RecordingError

SUFFIX: Final = ".notes"
VERSION: Final = 1
NAME_SHOWN: Final = 40
"""Characters of a file's name in a sentence."""
LONGEST: Final = 10_000
"""Characters of a note."""


class Note(msgspec.Struct, frozen=True):
    """A note on an instant."""

    id: str
    time_ns: int
    """Virtual time of the instant."""
    text: str
    """Empty: a bookmark."""
    made: str = ""
    """When it was last written, ISO 8601."""


class _File(msgspec.Struct, rename={"version": "memviz notes"}):
    version: int
    recording: str
    notes: list[Note]


class Notes:
    """The notes on one recording. Every change is on the disk when the call returns.

    Raises RecordingError, one sentence, where the notes that are there can't be read, or none can be written.
    """

    def __init__(self, recording: str | Path) -> None:
        """``recording``: its path."""
        self.recording = Path(recording).absolute()
        self._beside = self.recording.with_name(self.recording.name + SUFFIX)
        self._own = _data_folder() / f"{hashlib.sha256(os.fsencode(self.recording)).hexdigest()[:24]}{SUFFIX}"
        self._read: dict[Path, bytes] = {}
        self.all: tuple[Note, ...] = ()
        """In the order of time."""
        self.load()

    @property
    def where(self) -> str:
        """Where the notes are, when that is not beside the recording: in a sentence."""
        if not self._own.exists():
            return ""
        name = self.recording.name
        if len(name) > NAME_SHOWN:  # or the line of the window would hold the name, and nothing else
            name = f"{name[: NAME_SHOWN // 2]}…{name[-NAME_SHOWN // 2 :]}"
        return f"The folder of {name} can't be written to: its notes are in {self._own}."

    def load(self) -> bool:
        """Look at the files again, for others may have written. Whether there was something new."""
        found: dict[Path, bytes] = {}
        for path in (self._beside, self._own):
            try:
                found[path] = path.read_bytes()
            except FileNotFoundError:
                continue
            except OSError as error:
                if error.errno == errno.ENAMETOOLONG:
                    continue  # so it can't be there: the recording's own name is as long as names get
                raise RecordingError(f"{path} cannot be read: {error.strerror}; look at its rights") from error
        if found == self._read:
            return False
        notes: dict[str, Note] = {}
        # What was kept elsewhere is all there was then, and what has been done since.
        last = list(found)[-1:]
        for path in last:
            notes = {note.id: note for note in _decoded(path, found[path])}
        self._read = found
        self.all = tuple(sorted(notes.values(), key=lambda one: (one.time_ns, one.id)))
        return True

    def add(self, time_ns: int, text: str = "") -> Note:
        """A new note on the instant at ``time_ns``."""
        self.load()
        note = Note(secrets.token_hex(8), int(time_ns), _checked(text), _now())
        self._write((*self.all, note))
        return note

    def change(self, ident: str, text: str) -> Note:
        """Another text for a note. Raises KeyError when there is none called ``ident``."""
        self.load()
        old = {one.id: one for one in self.all}[ident]
        note = Note(ident, old.time_ns, _checked(text), _now())
        self._write(note if one.id == ident else one for one in self.all)
        return note

    def remove(self, ident: str) -> None:
        """Take a note away. Raises KeyError when there is none called ``ident``."""
        self.load()
        if ident not in {one.id for one in self.all}:
            raise KeyError(ident)
        self._write(one for one in self.all if one.id != ident)

    def _write(self, notes: Iterable[Note]) -> None:
        ordered = sorted(notes, key=lambda one: (one.time_ns, one.id))
        name = os.fsencode(self.recording.name).decode(errors="replace")  # it need not be UTF-8, and JSON is
        data = msgspec.json.format(msgspec.json.encode(_File(VERSION, name, ordered)), indent=1) + b"\n"
        path = self._own if self._own.exists() else self._beside
        try:
            _put(path, data)
        except OSError as error:
            if path == self._own:
                raise RecordingError(f"{path} cannot be written: {error.strerror}; make room there") from error
            path = self._own
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                _put(path, data)
            except OSError as other:
                raise RecordingError(
                    f"no note can be kept, neither in {self._beside} ({error.strerror}) nor in {path} "
                    f"({other.strerror}): copy the recording to a folder of yours"
                ) from other
        self._read[path] = data
        self.all = tuple(ordered)


def _checked(text: str) -> str:
    text = text.strip()
    if len(text) > LONGEST:
        raise RecordingError(f"a note has at most {LONGEST:,} characters, this one has {len(text):,}: shorten it")
    return text


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _decoded(path: Path, data: bytes) -> list[Note]:
    try:
        raw: Any = msgspec.json.decode(data)
        version = raw.get("memviz notes") if isinstance(raw, dict) else None
        if isinstance(version, int) and version > VERSION:
            raise RecordingError(f"{path} was written by a newer memviz: update memviz, or move the file away")
        return msgspec.convert(raw, _File).notes
    except msgspec.DecodeError as error:
        raise RecordingError(f"{path} holds no notes that can be read ({error}): move it away, or mend it") from error


def _put(path: Path, data: bytes) -> None:
    """Write a file, whole or not at all."""
    number, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(number, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(0o666 & ~_umask())
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _data_folder() -> Path:
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "memviz" / "notes"
