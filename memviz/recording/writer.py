"""Instants into tables: which row refers to which, and what is written beside it.

A row is a difference to the instant before (``delta``). After ``CHAIN`` of them one refers to the last keyframe
instead (``middle``), so that any instant is reached by one keyframe, one middle row and a chain of small differences.
Keyframes come when a middle row would be nearly as big, and every ``KEY_S`` seconds.

Where much changes, keyframes and middle rows are as big as all that the rows between them hold. Then chains become
longer: ``middle`` and ``key`` rows shall be ``ANCHORS`` of the file, beyond what ``FREE_PER_S`` grants them. How long a
chain may become is a question of how long a reader takes for it: ``READ_MS``, counted as ``ROW_MS`` and ``FRAME_MS``.
"""

from __future__ import annotations

import os
import struct
import time
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec
import numpy as np

from memviz.kernel.vmstat import unusable_free_index
from memviz.recording.budget import Budget
from memviz.recording.codec import (
    Packer,
    Parts,
    changed_frames,
    crc_of,
    pack_changed,
    pack_lanes,
    pack_planes,
)
from memviz.recording.codes import META, codes
from memviz.recording.format import DELTA, KEYFRAME, MIDDLE, create
from memviz.recording.small import pack_small
from memviz.snapshot import EVENT_DTYPE, Snapshot, Structured
from memviz.sources.base import Done

CHAIN: Final = 64
ANCHORS: Final = 0.2
FREE_PER_S: Final = 30_000
READ_MS: Final = 100.0
ROW_MS: Final = 0.1
FRAME_MS: Final = 0.00002
KEY_S: Final = 60.0
COMMIT_S: Final = 0.1
"""A killed writer loses what came since its last commit; 250 ms are promised."""
_BIG: Final = 0.6  # of a keyframe: a middle row of this size had better be one
_COUNTERS_S: Final = 1.0
_WAL_PAGES: Final = 512  # in the log before it goes into the file
_GAP_S: Final = 1.0
"""What is left out again within this time belongs to the same gap."""
ROW: Final = struct.Struct("<q?qqqqqqqqI")
SHOWN: Final = struct.Struct("<I")


_EVENT_ROW: Final = "(?,?,?,?,?,?,?,?,?)"
_INSERT_EVENTS: Final = {
    rows: f"INSERT INTO event VALUES {','.join([_EVENT_ROW] * rows)}" for rows in (1, 2, 4, 8, 16, 32, 64, 128)
}


@dataclass(frozen=True, slots=True)
class Instant:
    """What the writer is handed."""

    snapshot: Snapshot
    wall_ns: int
    """Since the recording began."""
    commands: tuple[Done, ...] = ()
    """Done since the instant before."""
    digest: str = ""
    missed: int = 0
    """Instants since the one before that could not be taken."""
    lost_lanes: int = 0
    """Segments of lanes since the one before that were left out on the way here."""


Numbers = tuple[int, int, int, int, int, int, int, int]
"""The columns of a row from ``seq`` to ``event_crc``."""


Packed = tuple[str, int | None, str, bytes, int]
"""Kind, base, codec and data of a row, and the checksum of the arrays that it unpacks to."""


def row_crc(
    ident: int, base: int | None, kind: str, codec: str, numbers: Numbers, data: bytes, shown: int | None
) -> int:
    """The checksum of a row: of its columns and its data. ``shown`` None: in version 1 there was none."""
    head = ROW.pack(ident, base is None, base or 0, *numbers)
    if shown is not None:
        head += SHOWN.pack(shown)
    return zlib.crc32(data, zlib.crc32(f"{kind} {codec}".encode(), zlib.crc32(head)))


class Writer:
    """One file being written, by one thread. Any method may raise sqlite3.Error or OSError."""

    def __init__(self, path: Path, meta: dict[str, str]) -> None:
        """Raises RecordingError when the file is there already or cannot be made."""
        self.path = path
        self.instants = 0
        self.missed = 0
        self.left_out = 0
        """Events and segments of lanes that are not in the file, for there were too many of them."""
        self.safe = 0
        """Instants that no accident can take away any more."""
        self._database = create(path)
        self._inode = os.stat(path).st_ino
        self._packer = Packer()
        self._budget = Budget()
        self._key: Snapshot | None = None
        self._key_id = 0
        self._key_size = 0
        self._key_wall = 0
        self._last: Snapshot | None = None
        self._since = 0
        self._since_bytes = 0
        self._since_ms = 0.0
        self._since_wall = 0
        self._events = 0
        self._commands = 0
        self._begun = 0.0
        self._indices: tuple[int, ...] = ()
        self._names: dict[str, int] = {}
        self._counters: dict[str, int] = {}
        self._counters_wall = -(10**12)
        self._gaps = 0
        self._gap_open: dict[str, tuple[int, int]] = {}  # by what: row, and when it was last added to
        self._database.execute(f"PRAGMA wal_autocheckpoint={_WAL_PAGES}")
        self._begin()
        self._meta({META: msgspec.json.encode(codes()).decode(), **meta})
        self.commit()

    def _meta(self, values: dict[str, str]) -> None:
        self._database.executemany("INSERT OR REPLACE INTO meta VALUES (?,?)", list(values.items()))

    def _begin(self) -> None:
        if not self._begun:
            self._database.execute("BEGIN")
            self._begun = time.monotonic()

    def due(self, now: float) -> float:
        """Seconds until what has been written must be committed; below 0: overdue. A minute when nothing waits."""
        if not self._begun:
            return 60.0
        return self._begun + (COMMIT_S if self.safe else 0.0) - now

    def commit(self) -> None:
        """Make safe what has been written. Raises FileNotFoundError when somebody took the file away."""
        if self._begun:
            self._database.execute("COMMIT")
            self._begun = 0.0
            self.safe = self.instants
        if os.stat(self.path).st_ino != self._inode:
            raise FileNotFoundError(self.path)

    def size(self) -> int:
        """Bytes on the disk."""
        return sum(os.stat(one).st_size for one in (self.path, f"{self.path}-wal") if os.path.exists(one))

    def write(self, instant: Instant) -> None:
        """Add one instant; it is safe after the next ``commit``."""
        self._begin()
        snapshot, lost_lanes = self._budget.keep(instant.snapshot, instant.wall_ns)
        ident = self.instants + 1
        if self._last is not None:
            self.missed += instant.missed
            self._write_gap("instants", instant.missed, ident, snapshot, -1)
            lost_lanes += instant.lost_lanes
            self.left_out += snapshot.lost_events + lost_lanes
            self._write_gap("events", snapshot.lost_events, ident, snapshot, instant.wall_ns)
            self._write_gap("lanes", lost_lanes, ident, snapshot, instant.wall_ns)
        for command in instant.commands:
            self._commands += 1
            row = (self._commands, command.ops, command.time_ns, command.name, command.arguments)
            self._database.execute("INSERT INTO command VALUES (?,?,?,?,?)", row)
        self._write_row(ident, snapshot, instant.wall_ns)
        if instant.digest:
            self._database.execute("INSERT INTO digest VALUES (?,?)", (ident, instant.digest))
        self._write_fragmentation(ident, snapshot)
        if instant.wall_ns - self._counters_wall >= _COUNTERS_S * 1e9:
            self._counters_wall = instant.wall_ns
            self._write_counters(snapshot)
        self._last = snapshot
        self.instants = ident

    def _write_gap(self, what: str, count: int, ident: int, snapshot: Snapshot, wall_ns: int) -> None:
        """Note that something is not in the file. ``wall_ns`` -1: each time by itself."""
        if not count or self._last is None:
            return
        row, last = self._gap_open.get(what, (0, 0))
        if row and wall_ns >= 0 and wall_ns - last < _GAP_S * 1e9:
            values = (ident, snapshot.time_ns, count, row)
            self._database.execute("UPDATE gap SET snapshot = ?, to_ns = ?, missed = missed + ? WHERE id = ?", values)
        else:
            self._gaps += 1
            row = self._gaps
            gap = (row, what, ident, self._last.time_ns, snapshot.time_ns, count)
            self._database.execute("INSERT INTO gap VALUES (?,?,?,?,?,?)", gap)
        self._gap_open[what] = (row, wall_ns)

    def _write_row(self, ident: int, snapshot: Snapshot, wall_ns: int) -> None:
        kind, base, codec, data, shown = self._packed(ident, snapshot, wall_ns)
        events = np.ascontiguousarray(snapshot.events, EVENT_DTYPE)
        numbers = (
            snapshot.seq,
            snapshot.time_ns,
            snapshot.ops,
            wall_ns,
            self._commands,
            self._events + 1,
            int(events.size),
            zlib.crc32(events.tobytes()),
        )
        crc = row_crc(ident, base, kind, codec, numbers, data, shown)
        self._database.execute(
            "INSERT INTO snapshot VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
            (ident, base, kind, codec, *numbers, crc, shown, data),
        )
        self._write_events(events)

    def _write_events(self, events: Structured) -> None:
        if events.size:
            values: list[int] = []
            for number, row in enumerate(events.tolist(), self._events + 1):
                values += (number, *row)
            self._events += int(events.size)
            # Many rows at once: a statement costs more than its rows.
            at, count = 0, int(events.size)
            while at < count:
                rows = 1 << min(7, (count - at).bit_length() - 1)
                end = at + rows
                self._database.execute(_INSERT_EVENTS[rows], values[9 * at : 9 * end])
                at = end

    def _packed(self, ident: int, snapshot: Snapshot, wall_ns: int) -> Packed:
        """The row."""
        last, key = self._last, self._key
        if key is None or last is None or last.pages.nr != snapshot.pages.nr or wall_ns - self._key_wall >= KEY_S * 1e9:
            return self._keyframe(ident, snapshot, wall_ns)
        if self._since >= CHAIN and (self._since % (CHAIN // 2) == 0 or self._since_ms >= READ_MS):
            parts, shown = parts_of(key, snapshot)
            codec, data = self._packer.pack(parts)
            granted = self._since_bytes * ANCHORS + (wall_ns - self._since_wall) / 1e9 * FREE_PER_S
            if len(data) < granted or self._since_ms >= READ_MS:
                if len(data) >= self._key_size * _BIG:
                    return self._keyframe(ident, snapshot, wall_ns)
                self._anchored(wall_ns)
                return MIDDLE, self._key_id, codec, data, shown
        parts, shown = parts_of(last, snapshot)
        codec, data = self._packer.pack(parts)
        self._since += 1
        self._since_bytes += len(data)
        self._since_ms += ROW_MS + changed_frames(parts.planes) * FRAME_MS
        return DELTA, ident - 1, codec, data, shown

    def _keyframe(self, ident: int, snapshot: Snapshot, wall_ns: int) -> Packed:
        parts, shown = parts_of(None, snapshot)
        codec, data = self._packer.pack(parts)
        self._key, self._key_id, self._key_size, self._key_wall = snapshot, ident, len(data), wall_ns
        self._anchored(wall_ns)
        return KEYFRAME, None, codec, data, shown

    def _anchored(self, wall_ns: int) -> None:
        """Chains begin anew."""
        self._since = self._since_bytes = 0
        self._since_ms = 0.0
        self._since_wall = wall_ns

    def _write_fragmentation(self, ident: int, snapshot: Snapshot) -> None:
        if not snapshot.zones:
            return
        nr_free = tuple(sum(column) for column in zip(*(zone.nr_free() for zone in snapshot.zones), strict=True))
        if nr_free == self._indices:
            return
        self._indices = nr_free
        values = [unusable_free_index(nr_free, order) for order in range(len(nr_free))]
        row = (ident, snapshot.time_ns, *(values + [0] * 11)[:11])
        self._database.execute(f"INSERT INTO fragmentation VALUES ({','.join('?' * 13)})", row)

    def _write_counters(self, snapshot: Snapshot) -> None:
        rows = []
        for name, value in snapshot.counters:
            if self._counters.get(name) == value:
                continue
            self._counters[name] = value
            if name not in self._names:
                self._names[name] = len(self._names) + 1
                self._database.execute("INSERT INTO counter_name VALUES (?,?)", (self._names[name], name))
            rows.append((self._names[name], snapshot.time_ns, value))
        self._database.executemany("INSERT INTO counter VALUES (?,?,?)", rows)

    def finish(self, why: str) -> None:
        """Commit, and make one file of it. ``why`` it ended, in a word."""
        self._begin()
        if self._last is not None:
            self._write_counters(self._last)
        self._meta({"state": why})
        self.commit()
        self._database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._database.execute("PRAGMA journal_mode=DELETE")
        self.close()

    def close(self) -> None:
        """Let go of the file as it is."""
        self._database.close()


def parts_of(base: Snapshot | None, snapshot: Snapshot) -> tuple[Parts, int]:
    """An instant as what differs from ``base`` (None: complete), and the checksum of the arrays that this becomes."""
    planes, crc = pack_planes(None if base is None else base.pages, snapshot.pages)
    if planes.form == "full":
        base = None
    block = snapshot.pageblock_mt.tobytes()
    parts = Parts(
        planes,
        None if base is not None and base.pageblock_mt.tobytes() == block else block,
        pack_small(snapshot),
        pack_changed(None if base is None else base.slabs, snapshot.slabs),
        pack_changed(None if base is None else base.objects, snapshot.objects),
        pack_changed(None if base is None else base.nodes, snapshot.nodes),
        pack_lanes(snapshot.lanes, snapshot.time_ns),
    )
    arrays = (snapshot.pageblock_mt, snapshot.slabs, snapshot.objects, snapshot.nodes)
    return parts, crc_of((*arrays, snapshot.lanes), crc)
