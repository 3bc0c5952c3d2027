"""Asking a recording: when its instants are, what happened between them, what its counters said.

The file is opened read-only and never changed, from a read-only place too.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import sqlite3
import struct
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import numpy as np

from memviz.kernel import trace
from memviz.kernel.page import NR_PAGE_ORDERS
from memviz.recording.codes import META, disagreement
from memviz.recording.format import (
    MARKED,
    MARKED_SQL,
    TOLD,
    TOLD_SQL,
    RecordingError,
    damaged,
    of_another_build,
    refuse_foreign,
    wal_of,
)
from memviz.recording.migrations import MIGRATIONS
from memviz.snapshot import EVENT_DTYPE, PAST_DTYPE, Structured
from memviz.sources.base import Done


class Inquiry:
    """An open recording and what can be asked of its tables. Instants are numbered from 1. For one thread."""

    def __init__(self, path: str | Path) -> None:
        """Raises RecordingError: what is wrong with the file and what to do, in a sentence."""
        self.path = Path(path).absolute()
        self.version = refuse_foreign(self.path)
        """Of the format."""
        self._copy: tempfile.TemporaryDirectory[str] | None = None
        self._database = self._connect()
        try:
            with self._reading():
                if self.version in MIGRATIONS:
                    self._database.executescript(f"PRAGMA temp_store=MEMORY; {MIGRATIONS[self.version].views}")
                self.meta: dict[str, str] = dict(self._database.execute("SELECT key, value FROM meta"))
                self._refuse_other_codes()
                last = self._database.execute("SELECT max(id) FROM snapshot").fetchone()[0]
                self.instants = int(last or 0)
                if not self.instants:
                    raise RecordingError(
                        f"{self.path} holds no instant: its recording ended before the first; record again"
                    )
                self.first_ns, _ = self._time_of(1)
                self.last_ns, self.wall_ns = self._time_of(self.instants)
        except BaseException:
            self.close()
            raise

    @property
    def finished(self) -> bool:
        """Its recording came to an ordinary end. Otherwise it is still under way, or its program was killed."""
        return self.meta.get("state") == "finished"

    def _connect(self) -> sqlite3.Connection:
        """Read-only. Where SQLite can't do that beside a log that nobody put into the file, from a copy."""
        try:
            return self._try(f"{self.path.as_uri()}?mode=ro")
        except sqlite3.OperationalError as error:
            if "malformed" in str(error):
                raise damaged(self.path, error) from error
        except sqlite3.DatabaseError as error:
            raise damaged(self.path, error) from error
        try:
            if not wal_of(self.path).exists():
                return self._try(f"{self.path.as_uri()}?mode=ro&immutable=1")
            # A folder that may not be written to, and a recording that was killed: a log needs an index beside it.
            self._copy = tempfile.TemporaryDirectory(prefix="memviz-")
            copy = Path(self._copy.name, "recording")
            shutil.copy(self.path, copy)
            shutil.copy(wal_of(self.path), wal_of(copy))
            return self._try(f"{copy.as_uri()}?mode=ro")
        except (sqlite3.Error, OSError) as error:
            if self._copy is not None:
                self._copy.cleanup()
            raise RecordingError(f"{self.path} cannot be read ({error}): copy it to another folder") from error

    def _try(self, uri: str) -> sqlite3.Connection:
        database = sqlite3.connect(uri, uri=True, isolation_level=None)
        try:
            database.execute("SELECT key FROM meta LIMIT 1").fetchall()
        except sqlite3.Error:
            database.close()
            raise
        return database

    def _refuse_other_codes(self) -> None:
        """Raise RecordingError when the file's numbers mean something else than this memviz would show."""
        kinds = self._database.execute("SELECT kind, name FROM event_kind").fetchall()
        found = disagreement(self.told(META), kinds)
        if found:
            raise of_another_build(self.path, self.meta.get("memviz", ""), found)

    @contextlib.contextmanager
    def _reading(self) -> Iterator[None]:
        """Turns what SQLite or a row has to complain about into one sentence."""
        try:
            yield
        except RecordingError:
            raise
        except (sqlite3.Error, struct.error, ValueError, TypeError, IndexError, OverflowError) as error:
            raise damaged(self.path, error) from error

    def close(self) -> None:
        """Let go of the file."""
        self._database.close()
        if self._copy is not None:
            self._copy.cleanup()
            self._copy = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _time_of(self, ident: int) -> tuple[int, int]:
        found = self._database.execute("SELECT time_ns, wall_ns FROM snapshot WHERE id = ?", (ident,)).fetchone()
        if found is None:
            raise ValueError(f"instant {ident} is missing")
        return int(found[0]), int(found[1])

    def times_of(self, ident: int) -> tuple[int, int]:
        """Virtual time of an instant, and time since the recording began, ns."""
        with self._reading():
            return self._time_of(ident)

    def ops_of(self, ident: int) -> int:
        """Operations done at an instant."""
        return self._number("ops", ident)

    def commands_of(self, ident: int) -> int:
        """How many commands had been done at an instant."""
        return self._number("commands", ident)

    def _number(self, column: str, ident: int) -> int:
        with self._reading():
            found = self._database.execute(f"SELECT {column} FROM snapshot WHERE id = ?", (ident,)).fetchone()
            if found is None:
                raise ValueError(f"instant {ident} is missing")
            return int(found[0])

    def find(self, time_ns: int) -> int:
        """The last instant at or before a virtual time; the first when that is before all."""
        return self._last_where("time_ns", time_ns)

    def find_wall(self, wall_ns: int) -> int:
        """The last instant at or before so much time of recording; the first when there is none."""
        return self._search("wall_ns", wall_ns)

    def find_ops(self, ops: int) -> int:
        """The last instant with at most so many operations done; the first when there is none."""
        return self._search("ops", ops)

    def _search(self, column: str, most: int) -> int:
        low, high = 1, self.instants
        while low < high:
            middle = (low + high + 1) // 2
            if self._number(column, middle) <= most:
                low = middle
            else:
                high = middle - 1
        return low

    def _last_where(self, column: str, value: int) -> int:
        with self._reading():
            query = f"SELECT id FROM snapshot WHERE {column} <= ? ORDER BY {column} DESC, id DESC LIMIT 1"
            found = self._database.execute(query, (value,)).fetchone()
        return 1 if found is None else int(found[0])

    def find_from(self, time_ns: int) -> int:
        """The first instant at or after a virtual time; the last when that is behind all."""
        with self._reading():
            found = self._database.execute(
                "SELECT id FROM snapshot WHERE time_ns >= ? ORDER BY time_ns, id LIMIT 1", (time_ns,)
            ).fetchone()
        return self.instants if found is None else int(found[0])

    def find_event(self, kinds: tuple[int, ...], time_ns: int, forwards: bool, failed: bool = False) -> int | None:
        """Virtual time of the next (or last) event of some kinds after (before) a time; None when there is none.

        ``failed``: only where argument ``b`` is 0, which says of a request that it got nothing.
        """
        best: int | None = None
        word, order = (">", "ASC") if forwards else ("<", "DESC")
        with self._reading():
            for kind in kinds:
                where = f"{MARKED_SQL} AND " if kind in MARKED else ""
                where += "b = 0 AND " if failed else ""
                by = "time_ns" if kind in MARKED else "id"
                found = self._database.execute(
                    f"SELECT time_ns FROM event WHERE {where}kind = ? AND time_ns {word} ? "
                    f"ORDER BY {by} {order} LIMIT 1",
                    (kind, time_ns),
                ).fetchone()
                if found is not None and (best is None or (found[0] < best) == forwards):
                    best = int(found[0])
        return best

    # -- what is beside the instants

    def events_of(self, first: int, count: int) -> Structured:
        """``count`` events from ``event.id`` ``first`` on (EVENT_DTYPE), read-only."""
        with self._reading():
            rows = self._database.execute(
                "SELECT seq, time_ns, cpu, kind, a, b, c, d FROM event WHERE id >= ? AND id < ? ORDER BY id",
                (first, first + count),
            ).fetchall()
            return events_array(rows)

    def events_between(self, after: int, ident: int, most: int) -> tuple[Structured, int]:
        """The events behind one instant and up to another, at most the last so many, and how many are left out."""
        with self._reading():
            begin = self._database.execute(
                "SELECT first_event + events FROM snapshot WHERE id = ?", (after,)
            ).fetchone()
            end = self._database.execute("SELECT first_event + events FROM snapshot WHERE id = ?", (ident,)).fetchone()
            if begin is None or end is None:
                raise ValueError(f"instant {after} or {ident} is missing")
        first = max(begin[0], end[0] - most)
        return self.events_of(first, end[0] - first), first - begin[0]

    def events(self, kinds: tuple[int, ...] = (), begin_ns: int = 0, end_ns: int = 1 << 62) -> Structured:
        """Events of some kinds (none named: of all) from one time up to another (EVENT_DTYPE)."""
        query = "SELECT seq, time_ns, cpu, kind, a, b, c, d FROM event WHERE time_ns >= ? AND time_ns < ?"
        if kinds:
            query += f" AND kind IN ({','.join(str(int(kind)) for kind in kinds)})"
        with self._reading():
            return events_array(self._database.execute(query + " ORDER BY id", (begin_ns, end_ns)).fetchall())

    def last_events(self, kinds: tuple[int, ...], count: int) -> Structured:
        """The last ``count`` events of each of some ``MARKED`` kinds, in the order of time."""
        with self._reading():
            return events_array(sorted(self._last(MARKED_SQL, kinds, count)))

    def last_told(self, count: int) -> Structured:
        """The last ``count`` changes each of policies and of sliders, in the order of time."""
        with self._reading():
            if self._database.execute("SELECT 1 FROM sqlite_master WHERE name = 'event_told'").fetchone() is None:
                return events_array([])  # it is of before there were such events
            return events_array(sorted(self._last(TOLD_SQL, TOLD, count)))

    def _last(self, indexed: str, kinds: tuple[int, ...], count: int) -> list[tuple[int, ...]]:
        rows: list[tuple[int, ...]] = []
        query = (
            f"SELECT seq, time_ns, cpu, kind, a, b, c, d FROM event WHERE {indexed} AND kind = ? "
            "ORDER BY time_ns DESC LIMIT ?"
        )
        for kind in kinds:
            rows += self._database.execute(query, (kind, count)).fetchall()
        return rows

    def past(self, points: int = 4096) -> Structured:
        """Unusable indices over all of the recording, at most ``points`` of them (PAST_DTYPE)."""
        query = (
            "SELECT time_ns, o0, o1, o2, o3, o4, o5, o6, o7, o8, o9, o10 FROM fragmentation "
            "WHERE snapshot >= ? ORDER BY snapshot LIMIT 1"
        )
        rows: dict[int, tuple[int, ...]] = {}
        with self._reading():
            if self.instants <= points:
                for row in self._database.execute(query.replace("LIMIT 1", ""), (1,)):
                    rows[row[0]] = row[1:]
            else:
                for step in range(points):
                    row = self._database.execute(query, (1 + step * self.instants // points,)).fetchone()
                    if row is not None:
                        rows[row[0]] = row[1:]
            found = np.array(sorted(rows.items()), PAST_DTYPE)
        found.flags.writeable = False
        return found

    def requests(self) -> tuple[tuple[int, int, int], ...]:
        """For every order: requests that succeeded, requests that failed, and allocations of the workload that did."""
        found = [[0, 0, 0] for _ in range(NR_PAGE_ORDERS)]
        query = (
            f"SELECT kind, a, b > 0, count(*) FROM event WHERE {MARKED_SQL} AND kind IN (?, ?) GROUP BY kind, a, b > 0"
        )
        with self._reading():
            for kind, order, ok, count in self._database.execute(query, (trace.REQUEST_END, trace.ALLOC_FAILED)):
                if 0 <= order < NR_PAGE_ORDERS:
                    found[order][2 if kind == trace.ALLOC_FAILED else 0 if ok else 1] += count
        # A request that fails says so twice: first as an allocation.
        return tuple((ok, failed, max(0, refused - failed)) for ok, failed, refused in found)

    def counters(self, name: str) -> tuple[tuple[int, int], ...]:
        """(time, value) wherever a counter had changed."""
        with self._reading():
            query = "SELECT time_ns, value FROM named_counter WHERE name = ? ORDER BY time_ns"
            return tuple((int(at), int(value)) for at, value in self._database.execute(query, (name,)))

    def rows(self, query: str) -> Iterator[tuple[object, ...]]:
        """The rows of an SQL query, one by one."""
        with self._reading():
            yield from self._database.execute(query)

    def count(self, table: str) -> int:
        """How many rows a table has."""
        with self._reading():
            return int(self._database.execute(f"SELECT count(*) FROM {table}").fetchone()[0])

    def event_counts(self) -> dict[str, int]:
        """How many events of each kind there are, the most frequent first."""
        with self._reading():
            query = "SELECT name, count(*) AS n FROM named_event GROUP BY name ORDER BY n DESC"
            return {str(name): int(count) for name, count in self._database.execute(query)}

    def gaps(self, what: str = "instants") -> tuple[tuple[int, int, int], ...]:
        """(from, to, how many are missing there), in virtual time; ``what``: "instants", "events" or "lanes"."""
        with self._reading():
            query = "SELECT from_ns, to_ns, missed FROM gap WHERE what = ? ORDER BY snapshot, id"
            rows = self._database.execute(query, (what,)).fetchall()
            return tuple((int(a), int(b), int(c)) for a, b, c in rows)

    def commands(self, count: int = -1) -> list[Done]:
        """The first ``count`` of what was done to the simulation; all of it by default."""
        with self._reading():
            query = "SELECT ops, time_ns, name, arguments FROM command ORDER BY id LIMIT ?"
            return [Done(*row) for row in self._database.execute(query, (count,))]

    def digests(self) -> dict[int, str]:
        """Digests of the machine, by the number of the instant at which they were taken."""
        with self._reading():
            return {int(a): str(b) for a, b in self._database.execute("SELECT snapshot, digest FROM digest")}

    def told(self, key: str) -> Any:
        """A value of ``meta`` that is JSON; None when there is none."""
        with self._reading():
            return json.loads(self.meta[key]) if key in self.meta else None

    def check(self) -> str:
        """Look at everything: SQLite's own integrity check. "ok", or what is wrong."""
        with self._reading():
            return "; ".join(str(row[0]) for row in self._database.execute("PRAGMA integrity_check(5)"))

    def size(self) -> int:
        """Bytes of the file."""
        return self.path.stat().st_size


def events_array(rows: list[tuple[int, ...]]) -> Structured:
    """Rows of ``event`` as a Snapshot has them: EVENT_DTYPE, read-only."""
    found = np.array(rows, EVENT_DTYPE)
    found.flags.writeable = False
    return found
