"""Older forms of the file, and how each is read as today's: recordings are never changed by reading them.

An older file gets views of the connection that reads it (SQLite's ``TEMP`` schema, which comes before the file's own
tables), and its rows are taken apart in the old way. Nothing is copied, so that a file of any length opens at once.

Whoever raises ``format.VERSION`` adds the version before it here, with a small file of that version in
``tests/data/recordings``; a test fails when a row is packed in another way and the version is not raised.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

import msgspec


class Migration(NamedTuple):
    """How files of one older version are read."""

    what: str
    """What was different, in words."""
    views: str
    """SQL: temporary views that look like today's tables."""
    parts: Callable[[list[Any]], list[Any]]
    """What a row unpacks to, as today's rows do. Raises ValueError."""


def parts_of_1(parts: list[Any]) -> list[Any]:
    """Version 1 was written in three ways, told apart by how many fields ``Planes`` had.

    8 and 9 fields: a sparse difference held what changed by exclusive or; 9: and each array may be compressed by
    itself. 10: as today.
    """
    planes = list(parts[0])
    if len(planes) in (8, 9):
        if planes[0] == "sparse":
            planes[0] = "sparse-xor"
        planes[8:] = [b"", *planes[8:]]
    elif len(planes) != 10:
        raise ValueError(f"page frames in {len(planes)} fields, which never were")
    return [planes, *parts[1:]]


MIGRATIONS: Final[dict[int, Migration]] = {
    1: Migration(
        "instants had no checksum of what they unpack to, and only instants that are missing were noted",
        """
        CREATE TEMP VIEW snapshot AS SELECT id, base, kind, codec, seq, time_ns, ops, wall_ns, commands, first_event,
            events, event_crc, crc, NULL AS shown, data FROM main.snapshot;
        CREATE TEMP VIEW gap AS SELECT snapshot AS id, 'instants' AS what, snapshot, from_ns, to_ns, missed
            FROM main.gap;
        """,
        parts_of_1,
    ),
}
"""By version. A version that is in neither this nor ``format.VERSION`` can't be read."""


def unpacked(version: int, raw: bytes) -> list[Any]:
    """A row of an older version, MessagePack, as today's lists. Raises ValueError."""
    try:
        parts = msgspec.msgpack.decode(raw)
    except msgspec.DecodeError as error:
        raise ValueError(str(error)) from error
    if not isinstance(parts, list) or not parts or not isinstance(parts[0], list):
        raise ValueError("a row that is no list of parts")
    return MIGRATIONS[version].parts(parts)
