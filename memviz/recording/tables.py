"""What of a recording fits into a table, row by row, so that a file of any length is exported in little memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from memviz.kernel import trace
from memviz.recording.notes import Notes
from memviz.recording.reader import Reader
from memviz.snapshot import Cache

Row = tuple[object, ...]


class Table(NamedTuple):
    """A table: what it holds, its columns, its rows, and about how many there are."""

    what: str
    columns: tuple[str, ...]
    rows: Callable[[Reader], Iterator[Row]]
    count: Callable[[Reader], int]


def _instants(reader: Reader) -> int:
    return reader.instants


def _caches(reader: Reader) -> Iterator[Row]:
    for ident in range(1, reader.instants + 1):
        shown = reader.at(ident)
        for cache in shown.caches:
            yield (shown.time_ns, shown.ops, *cache)


def _zones(reader: Reader) -> Iterator[Row]:
    for ident in range(1, reader.instants + 1):
        shown = reader.at(ident)
        for zone in shown.zones:
            figures = (zone.managed, zone.free, zone.pcp, zone.watermark_min, zone.watermark_low, zone.watermark_high)
            yield (shown.time_ns, shown.ops, zone.name, *figures, *zone.nr_free())


TABLES: Final[dict[str, Table]] = {
    "events": Table(
        "every event, its arguments by their names",
        ("seq", "time_ns", "cpu", "event", "a", "b", "c", "d", "arguments"),
        lambda reader: (_event(row) for row in reader.rows("SELECT seq, time_ns, cpu, kind, a, b, c, d FROM event")),
        lambda reader: reader.count("event"),
    ),
    "counters": Table(
        "counters as /proc/vmstat names them, where they changed",
        ("name", "time_ns", "value"),
        lambda reader: reader.rows("SELECT name, time_ns, value FROM named_counter ORDER BY time_ns, name"),
        lambda reader: reader.count("counter"),
    ),
    "fragmentation": Table(
        "unusable free space index of each order in thousandths, where it changed",
        ("time_ns", *(f"order_{order}" for order in range(11))),
        lambda reader: reader.rows(
            "SELECT time_ns, o0, o1, o2, o3, o4, o5, o6, o7, o8, o9, o10 FROM fragmentation ORDER BY snapshot"
        ),
        lambda reader: reader.count("fragmentation"),
    ),
    "instants": Table(
        "when each instant was, how many bytes it takes and what it refers to",
        ("id", "time_ns", "ops", "wall_ns", "kind", "base", "bytes", "events"),
        lambda reader: reader.rows(
            "SELECT id, time_ns, ops, wall_ns, kind, base, length(data), events FROM snapshot ORDER BY id"
        ),
        _instants,
    ),
    "commands": Table(
        "what was done to the simulation",
        ("ops", "time_ns", "command", "arguments"),
        lambda reader: ((one.ops, one.time_ns, one.name, one.arguments) for one in reader.commands()),
        lambda reader: reader.count("command"),
    ),
    "gaps": Table(
        "where instants, events or segments of lanes are missing",
        ("what", "from_ns", "to_ns", "missed"),
        lambda reader: reader.rows("SELECT what, from_ns, to_ns, missed FROM gap ORDER BY snapshot, id"),
        lambda reader: reader.count("gap"),
    ),
    "notes": Table(
        "what somebody has noted on instants",
        ("time_ns", "text", "made"),
        lambda reader: ((one.time_ns, one.text, one.made) for one in Notes(reader.path).all),
        lambda reader: len(Notes(reader.path).all),
    ),
    "caches": Table(
        "every slab cache at every instant",
        ("time_ns", "ops", *Cache._fields),
        _caches,
        _instants,
    ),
    "zones": Table(
        "every zone at every instant: pages free, watermarks, free blocks of each order",
        (
            *("time_ns", "ops", "zone", "managed", "free", "pcp", "min", "low", "high"),
            *(f"free_{order}" for order in range(11)),
        ),
        _zones,
        _instants,
    ),
}


def _event(row: Row) -> Row:
    kind = row[3]
    assert isinstance(kind, int), "a column of integers"
    names = trace.FIELDS.get(kind, ())
    told = " ".join(f"{name}={value}" for name, value in zip(names, row[4:], strict=False))
    return (*row[:3], trace.NAMES.get(kind, str(kind)), *row[4:], told)
