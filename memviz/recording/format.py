"""What a ``.memviz`` file is: an SQLite database with these tables, and the sentences for files that are none.

``docs/recording.md`` describes the tables for readers of other programs. A file is recognised by ``application_id``
("MEMV") and dated by ``user_version``. Whoever changes a table, or how a row is packed, raises ``VERSION`` and says in
``migrations`` how the old form is read.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import stat
import struct
from pathlib import Path
from typing import Final

from memviz.kernel import trace
from memviz.recording.migrations import MIGRATIONS
from memviz.sources.base import SourceError

APPLICATION_ID: Final = 0x4D454D56  # "MEMV"
VERSION: Final = 2
SUFFIX: Final = ".memviz"

KEYFRAME, MIDDLE, DELTA = "key", "middle", "delta"
"""Kinds of a row of ``snapshot``: complete; what differs from a keyframe; what differs from the instant before."""

SCHEMA: Final = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE snapshot (
    id INTEGER PRIMARY KEY,           -- 1, 2, 3 … in the order of recording
    base INTEGER,                     -- the row that this one is a difference to; NULL: none needed
    kind TEXT NOT NULL,               -- key, middle, delta
    codec TEXT NOT NULL,              -- how data is packed
    seq INTEGER NOT NULL,             -- Snapshot.seq
    time_ns INTEGER NOT NULL,         -- virtual time
    ops INTEGER NOT NULL,
    wall_ns INTEGER NOT NULL,         -- since the recording began
    commands INTEGER NOT NULL,        -- rows of command that had been done
    first_event INTEGER NOT NULL,     -- event.id of the first of its events
    events INTEGER NOT NULL,          -- how many
    event_crc INTEGER NOT NULL,       -- of its events
    crc INTEGER NOT NULL,             -- of all of the row
    shown INTEGER NOT NULL,           -- of the arrays that data unpacks to
    data BLOB NOT NULL
);
CREATE INDEX snapshot_at ON snapshot (time_ns, id, base, kind, ops, wall_ns);
CREATE TABLE fragmentation (          -- unusable free space index of orders 0 to 10, in thousandths
    snapshot INTEGER PRIMARY KEY, time_ns INTEGER NOT NULL,
    o0 INTEGER, o1 INTEGER, o2 INTEGER, o3 INTEGER, o4 INTEGER, o5 INTEGER,
    o6 INTEGER, o7 INTEGER, o8 INTEGER, o9 INTEGER, o10 INTEGER
);
CREATE TABLE event (
    id INTEGER PRIMARY KEY, seq INTEGER NOT NULL, time_ns INTEGER NOT NULL, cpu INTEGER NOT NULL,
    kind INTEGER NOT NULL, a INTEGER NOT NULL, b INTEGER NOT NULL, c INTEGER NOT NULL, d INTEGER NOT NULL
);
CREATE INDEX event_marked ON event (kind, time_ns) WHERE kind IN (11, 13, 21, 33, 54, 57);
CREATE INDEX event_told ON event (kind, time_ns) WHERE kind IN (62, 63);
CREATE TABLE event_kind (kind INTEGER PRIMARY KEY, name TEXT NOT NULL, a TEXT, b TEXT, c TEXT, d TEXT);
CREATE VIEW named_event AS
    SELECT id, seq, time_ns, cpu, name, event.a, event.b, event.c, event.d FROM event JOIN event_kind USING (kind);
CREATE TABLE counter_name (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE counter (                -- a row when the value has changed, looked at about once a second
    name INTEGER NOT NULL, time_ns INTEGER NOT NULL, value INTEGER NOT NULL
);
CREATE VIEW named_counter AS
    SELECT counter_name.name, time_ns, value FROM counter JOIN counter_name ON counter_name.id = counter.name;
CREATE TABLE command (                -- what was done to a simulation, and when: enough to do it again
    id INTEGER PRIMARY KEY, ops INTEGER NOT NULL, time_ns INTEGER NOT NULL, name TEXT NOT NULL, arguments TEXT NOT NULL
);
CREATE TABLE digest (                 -- Machine.digest() now and then
    snapshot INTEGER PRIMARY KEY, digest TEXT NOT NULL
);
CREATE TABLE gap (                    -- what was not recorded
    id INTEGER PRIMARY KEY,
    what TEXT NOT NULL,               -- instants: the disk was too slow; events, lanes: too many of them
    snapshot INTEGER NOT NULL,        -- the last instant that it is about
    from_ns INTEGER NOT NULL, to_ns INTEGER NOT NULL,
    missed INTEGER NOT NULL           -- how many: instants, events, segments of lanes
);
"""

MARKED: Final = (
    trace.ALLOC_FAILED,
    trace.REQUEST_END,
    trace.OUT_OF_MEMORY,
    trace.DEFRAG_END,
    trace.RCU_STALL,
    trace.KERNEL_BUG,
)
"""Kinds of events that have an index: those that somebody wants to jump to, or sees as a marker."""
MARKED_SQL: Final = "kind IN (11, 13, 21, 33, 54, 57)"
TOLD: Final = (trace.POLICY_SET, trace.WORKLOAD_SET)
"""The same with an index of their own: recordings of before there were such events don't have it."""
TOLD_SQL: Final = "kind IN (62, 63)"

_PAGE: Final = 8192  # a row of a busy simulation takes one to two KiB: more of them fit without waste than into 4096

_HEADER: Final = struct.Struct(">16sH10xI")  # magic, page size …, size in pages at byte 28
_MAGIC: Final = b"SQLite format 3\0"


_FOREIGN: Final = "{} is no memviz recording: memviz play opens files that memviz has recorded"


class RecordingError(SourceError):
    """What is wrong with a recording, in one sentence that also says what to do."""


def _instead(error: OSError) -> str:
    return "choose a shorter name" if error.errno == errno.ENAMETOOLONG else "choose another folder"


def create(path: Path) -> sqlite3.Connection:
    """A new, empty recording in WAL mode. Raises RecordingError when there is such a file, or it can't be written."""
    try:
        # Exclusively: no older recording is ever lost, whatever else happens at this moment.
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o666))
    except FileExistsError:
        raise RecordingError(f"{path} exists already: choose another name, or remove it first") from None
    except OSError as error:
        raise RecordingError(f"{path} cannot be written: {error.strerror}; {_instead(error)}") from error
    database = sqlite3.connect(path, isolation_level=None)
    try:
        # The tables go into the file itself before anything goes into the log beside it: whatever happens from here
        # on, the file says what it is. Whoever begins a recording should not wait for the disk, though.
        database.executescript(
            f"PRAGMA page_size={_PAGE}; PRAGMA synchronous=OFF; PRAGMA application_id={APPLICATION_ID}; "
            f"PRAGMA user_version={VERSION}; BEGIN; "
            f"{SCHEMA}"
        )
        kinds = [(kind, name, *trace.FIELDS.get(kind, ())) for kind, name in trace.NAMES.items()]
        database.executemany("INSERT INTO event_kind VALUES (?,?,?,?,?,?)", [(*row, *[None] * 4)[:6] for row in kinds])
        database.execute("COMMIT")
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("PRAGMA synchronous=NORMAL")
    except sqlite3.Error as error:
        database.close()
        path.unlink(missing_ok=True)
        raise RecordingError(f"{path} cannot be written: {error}; choose another folder") from error
    return database


def refuse_foreign(path: Path) -> int:
    """The version of a recording. Raises RecordingError when ``path`` is none, is cut off, or can't be read here."""
    try:
        # The log first: whoever finishes the file at this very moment empties the log when all of it is in the file.
        logged = _size_of(wal_of(path))
        found = path.stat()
        if not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)):  # a pipe would have us wait for ever
            raise RecordingError(f"{path} is no file: name a {SUFFIX} file")
        if stat.S_ISREG(found.st_mode) and not found.st_size:  # and so would /proc/kmsg, which says that it is empty
            raise RecordingError(f"{path} is empty: it is no memviz recording")
        with path.open("rb") as file:
            head = file.read(100)
        size = path.stat().st_size
    except IsADirectoryError:
        raise RecordingError(f"{path} is a folder: name a {SUFFIX} file") from None
    except FileNotFoundError:
        raise RecordingError(f"{path} does not exist: check its name") from None
    except OSError as error:
        raise RecordingError(f"{path} cannot be read: {error.strerror}") from error
    if len(head) < 100:
        if _MAGIC.startswith(head[:16]):
            raise RecordingError(f"{path} is cut off after {size} bytes: copy it again from where it was recorded")
        raise RecordingError(_FOREIGN.format(path))
    magic, page_size, pages = _HEADER.unpack_from(head)
    version, application = int.from_bytes(head[60:64], "big"), int.from_bytes(head[68:72], "big")
    if magic != _MAGIC or application != APPLICATION_ID:
        raise RecordingError(_FOREIGN.format(path))
    if version > VERSION:
        raise RecordingError(
            f"{path} was recorded by a newer memviz (format {version}, this one reads up to {VERSION}): update memviz"
        )
    if version < 1:
        raise RecordingError(f"{path} says that its format is {version}, which never was: it is damaged")
    if version < VERSION and version not in MIGRATIONS:
        raise RecordingError(
            f"{path} is of format {version}, which this memviz does not read any more: play it with the memviz that "
            "recorded it"
        )
    page_size = 65536 if page_size == 1 else page_size
    if not logged and pages * page_size > size:
        raise RecordingError(
            f"{path} is cut off: {size:,} of {pages * page_size:,} bytes are there; copy it again from where it was "
            "recorded"
        )
    return version


def of_another_build(path: Path, by: str, what: object) -> RecordingError:
    """The error for a file that is whole, but can't be understood."""
    return RecordingError(
        f"{path} was recorded by another build of memviz ({by or 'unknown'}), and this one would show it wrongly "
        f"({what}): play it with the memviz that recorded it"
    )


def damaged(path: Path, what: object) -> RecordingError:
    """The error for a file whose content contradicts itself."""
    return RecordingError(f"{path} is damaged ({what}): copy it again, or record again")


def wal_of(path: Path) -> Path:
    """Where SQLite keeps what is not in the file itself yet; beside finished recordings there is none."""
    return path.with_name(path.name + "-wal")


def _size_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
