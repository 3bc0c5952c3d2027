"""Instants on their way to the process that writes them: only what is another than in the instant before.

Much of a Snapshot is the very same object as in the one before: slabs, trees and tables are taken anew only now and
then. What is the same object isn't sent again; of the page frames only lines that have changed are (``outgoing``).
All of it is one piece of MessagePack: whoever is recorded pays for every step of Python that this takes.
"""

from __future__ import annotations

from typing import Final

import msgspec
import numpy as np

from memviz.recording.codec import Flat
from memviz.recording.small import ARRAYS, SOME_NAMES, pack_some, unpack_some
from memviz.recording.writer import Instant
from memviz.snapshot import EVENT_DTYPE, LANE_DTYPE, NODE_DTYPE, SLAB_DTYPE, Snapshot
from memviz.sources.base import Done
from memviz.sources.outgoing import Outgoing, Unsent, received
from memviz.sources.page_sets import PageDelta, PageSets

_ARRAYS: Final = {
    "pageblock_mt": np.dtype(np.uint8),
    "slabs": SLAB_DTYPE,
    "objects": np.dtype(np.uint8),
    "nodes": NODE_DTYPE,
    "lanes": LANE_DTYPE,
    "events": EVENT_DTYPE,
}
assert ARRAYS == _ARRAYS.keys() | {"pages"}


class _Handed(msgspec.Struct, array_like=True, gc=False):
    """An instant as it travels. Of its Snapshot only fields that are others than in the instant before."""

    small: bytes
    arrays: dict[str, tuple[tuple[int, ...], memoryview]]
    """Shape and bytes."""
    delta: tuple[int, int, int, memoryview, memoryview]
    """``PageDelta``."""
    wall_ns: int
    commands: tuple[tuple[int, int, str, str], ...]
    """``Done``."""
    digest: str
    missed: int
    lost_lanes: int


_ENCODE: Final = msgspec.msgpack.Encoder()
_DECODE: Final = msgspec.msgpack.Decoder(_Handed)


class Giver:
    """The end that hands instants over."""

    def __init__(self) -> None:
        self._unsent = Unsent()
        self._pages = Outgoing()

    def give(self, instant: Instant) -> bytes:
        """What the other end needs, which has all instants before."""
        snapshot = instant.snapshot
        pages = self._pages.delta(snapshot.pages)
        handed = _Handed(
            pack_some(self._unsent.of(snapshot, SOME_NAMES)),
            {name: (array.shape, _bytes(array)) for name, array in self._unsent.of(snapshot, _ARRAYS).items()},
            (pages.nr, pages.base, pages.version, _bytes(pages.lines), _bytes(pages.rows)),
            instant.wall_ns,
            tuple((one.ops, one.time_ns, one.name, one.arguments) for one in instant.commands),
            instant.digest,
            instant.missed,
            instant.lost_lanes,
        )
        return _ENCODE.encode(handed)


class Taker:
    """The end that takes them."""

    def __init__(self) -> None:
        self._last: Snapshot | None = None
        self._pages = PageSets()

    def take(self, data: bytes | memoryview) -> Instant:
        """The instant that was given. Raises msgspec.DecodeError for what is none."""
        handed = _DECODE.decode(data)
        fields = unpack_some(handed.small)
        for name, (shape, content) in handed.arrays.items():
            fields[name] = np.frombuffer(content, _ARRAYS[name]).reshape(shape)
        nr, base, version, lines, rows = handed.delta
        delta = PageDelta(nr, base, version, np.frombuffer(lines, np.uint32), np.frombuffer(rows, np.uint8))
        self._last = received(self._last, fields, self._pages.apply(delta))
        commands = tuple(Done(*one) for one in handed.commands)
        return Instant(self._last, handed.wall_ns, commands, handed.digest, handed.missed, handed.lost_lanes)


def _bytes(array: Flat) -> memoryview:
    flat: memoryview = np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
    return flat
