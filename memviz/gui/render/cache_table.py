"""Slab caches as a table: what each holds and how well, largest first. No Qt."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from memviz.gui.render.numbers import bytes_of_frames, count
from memviz.snapshot import Cache, Snapshot

COLUMNS: Final = ("Cache", "Memory", "In use", "Slabs (partial)", "Objects", "Size")
WHAT: Final = (
    "The cache's name; → its objects can be moved",
    "Page frames that its slabs hold",
    "Objects in use, of all that its slabs could hold",
    "How many slabs it has, and how many of these are only partly full",
    "Objects in use",
    "Bytes from one object to the next",
)
NAME, MEMORY, USED, SLABS, OBJECTS, SIZE = range(len(COLUMNS))


class CacheRow(NamedTuple):
    """One cache."""

    cache: Cache
    pages: int
    """Page frames that it holds."""
    used: int
    """Objects in use of all that its slabs could hold, thousandths; -1: it has none."""

    def key(self, column: int) -> tuple[float, str]:
        """What a column is sorted by."""
        values: tuple[float, ...] = (0, self.pages, self.used, self.cache.slabs, self.cache.active, self.cache.size)
        return values[column], self.cache.name

    def text(self, column: int) -> str:
        """What stands in a column."""
        one = self.cache
        if column == NAME:
            return f"{one.name}  →" if one.movable else one.name
        if column == MEMORY:
            return bytes_of_frames(self.pages)
        if column == USED:
            return f"{self.used / 10:.0f} %" if self.used >= 0 else "–"
        if column == SLABS:
            return f"{count(one.slabs)} ({count(one.partial)})" if one.partial else count(one.slabs)
        return count(one.active) if column == OBJECTS else f"{count(one.size)} B"


def rows(snapshot: Snapshot, text: str = "", column: int = MEMORY, falling: bool = True) -> list[CacheRow]:
    """Caches whose name holds ``text``, sorted by a column."""
    wanted = text.lower().split()
    found = [
        CacheRow(one, one.slabs << one.order, min(1000, one.active * 1000 // one.total) if one.total else -1)
        for one in snapshot.caches
        if all(word in one.name.lower() for word in wanted)
    ]
    return sorted(found, key=lambda row: row.key(column), reverse=falling)


def subtitle(snapshot: Snapshot, shown: Sequence[CacheRow]) -> str:
    """How many caches, what they hold together, and what the filter hides. The sum is always that of all caches."""
    everything = sum(one.slabs << one.order for one in snapshot.caches)
    nr = len(snapshot.caches)
    words = f"{count(nr)} {'cache holds' if nr == 1 else 'caches hold'} {bytes_of_frames(everything)}"
    words += " · → movable" if any(one.movable for one in snapshot.caches) else ""
    hidden = len(snapshot.caches) - len(shown)
    return f"{words} · {count(hidden)} hidden by the filter" if hidden else words
