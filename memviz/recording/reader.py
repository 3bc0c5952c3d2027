"""Reading a recording: any instant of it as the Snapshot that it was.

The file is opened read-only and never changed. Nothing of it is kept in memory but the page frames of a few instants
(``_CACHED`` bytes), whatever its length. Every row's checksum is looked at before it is believed.
"""

from __future__ import annotations

import zlib
from bisect import bisect_right
from collections import OrderedDict
from pathlib import Path
from typing import Any, Final

import numpy as np
import zstandard

from memviz.recording.codec import (
    Flat,
    Frames,
    Parts,
    crc_of,
    dictionary,
    full_frames,
    unpack,
    unpack_lanes,
    unpack_table,
)
from memviz.recording.format import DELTA, KEYFRAME, of_another_build
from memviz.recording.inquiry import Inquiry
from memviz.recording.small import unpack_small
from memviz.recording.writer import row_crc
from memviz.snapshot import LANE_DTYPE, NODE_DTYPE, SLAB_DTYPE, U8, Snapshot, Structured

_CACHED: Final = 64 << 20
_CHAIN_MAX: Final = 10_000
_COLUMNS: Final = (
    "base, kind, codec, seq, time_ns, ops, wall_ns, commands, first_event, events, event_crc, crc, data, shown"
)


class _State:
    """What an instant's row leaves for the rows that refer to it."""

    def __init__(
        self,
        ident: int,
        using: zstandard.ZstdCompressionDict,
        frames: Frames,
        block: U8,
        tables: tuple[Flat, Flat, Flat],
    ) -> None:
        self.ident = ident
        self.using = using
        self.frames = frames
        self.block = block
        self.tables = tables
        self.lanes: Structured = np.zeros(0, LANE_DTYPE)
        """Of this instant only: no row refers to another's lanes."""

    def copy(self) -> _State:
        """One that may be changed. Blocks and tables are replaced, never changed."""
        return _State(self.ident, self.using, self.frames.copy(), self.block, self.tables)


class _Row:
    """A row of ``snapshot``, checked."""

    def __init__(self, ident: int, values: tuple[Any, ...]) -> None:
        self.ident = ident
        self.base, self.kind, self.codec = values[0], values[1], values[2]
        self.seq, self.time_ns, self.ops, self.wall_ns, self.commands = values[3:8]
        self.first_event, self.events, self.event_crc, crc, self.data, self.shown = values[8:14]
        if row_crc(ident, self.base, self.kind, self.codec, values[3:11], self.data, self.shown) != crc:
            raise ValueError(f"the checksum of instant {ident} is wrong")


class Reader(Inquiry):
    """An open recording, any instant of it a Snapshot. Instants are numbered from 1 to ``instants``. For one thread."""

    def __init__(self, path: str | Path) -> None:
        """Raises RecordingError: what is wrong with the file and what to do, in a sentence."""
        super().__init__(path)
        self._state: _State | None = None
        self._cache: OrderedDict[int, _State] = OrderedDict()
        self._keys: list[int] = []
        self._using: tuple[int, zstandard.ZstdCompressionDict] | None = None

    def at(self, ident: int) -> Snapshot:
        """The Snapshot of an instant. Raises RecordingError where the file is damaged, IndexError beyond its ends."""
        if not 1 <= ident <= self.instants:
            raise IndexError(f"there is no instant {ident}: the recording has 1 to {self.instants}")
        with self._reading():
            chain, begin = self._chain(ident)
            self._state = None  # what fails on the way leaves nothing half done behind
            state, row, parts = self._step(begin, chain.pop())
            while chain:
                state, row, parts = self._step(state, chain.pop())
            self._state = state
            return self._snapshot(state, row, parts)

    def _step(self, state: _State | None, ident: int) -> tuple[_State, _Row, Parts]:
        row = self._row(ident)
        try:
            state, parts = self._apply(state, row)
        except (ValueError, TypeError, IndexError, OverflowError) as error:
            # What was written is what is read, as its checksum says: then it means something else here than there.
            raise of_another_build(self.path, self.meta.get("memviz", ""), error) from error
        if row.kind != DELTA:
            self._remember(state)
        return state, row, parts

    def _chain(self, ident: int) -> tuple[list[int], _State | None]:
        """The rows to apply, last first, and the state to begin with."""
        chain: list[int] = []
        at: int | None = ident
        while at is not None:
            if chain and self._state is not None and self._state.ident == at:
                return chain, self._state
            if chain and at in self._cache:
                self._cache.move_to_end(at)
                return chain, self._cache[at].copy()
            chain.append(at)
            found = self._database.execute("SELECT base FROM snapshot WHERE id = ?", (at,)).fetchone()
            if found is None:
                raise ValueError(f"instant {at} is missing")
            if (found[0] is not None and not 0 < found[0] < at) or len(chain) > _CHAIN_MAX:
                raise ValueError(f"instant {at} refers to no instant before it")
            at = found[0]
        return chain, None

    def _row(self, ident: int) -> _Row:
        values = self._database.execute(f"SELECT {_COLUMNS} FROM snapshot WHERE id = ?", (ident,)).fetchone()
        if values is None:
            raise ValueError(f"instant {ident} is missing")
        return _Row(ident, values)

    def _apply(self, state: _State | None, row: _Row) -> tuple[_State, Parts]:
        if row.kind == KEYFRAME or state is None:
            parts = unpack(row.codec, row.data, None, self.version)
            frames = full_frames(parts.planes)
            crc = frames.crc()
            nothing = (np.zeros(0, SLAB_DTYPE), np.zeros((0, 0), np.uint8), np.zeros(0, NODE_DTYPE))
            state = _State(row.ident, dictionary(parts.small), frames, np.zeros(0, np.uint8), nothing)
        else:
            parts = unpack(row.codec, row.data, state.using, self.version)
            crc = state.frames.apply(parts.planes)
        if parts.pageblock_mt is not None:
            state.block = np.frombuffer(parts.pageblock_mt, np.uint8)
        slabs, objects, nodes = state.tables
        state.tables = (
            slabs if parts.slabs is None else unpack_table(parts.slabs, slabs, SLAB_DTYPE),
            objects if parts.objects is None else unpack_table(parts.objects, objects, np.uint8),
            nodes if parts.nodes is None else unpack_table(parts.nodes, nodes, NODE_DTYPE),
        )
        state.ident = row.ident
        state.lanes = unpack_lanes(parts.lanes, row.time_ns)
        if row.shown is not None and crc_of((state.block, *state.tables, state.lanes), crc) != row.shown:
            raise ValueError(f"instant {row.ident} does not unpack to what was recorded")
        return state, parts

    def _remember(self, state: _State) -> None:
        self._cache[state.ident] = state.copy()
        while len(self._cache) > max(1, _CACHED // max(1, state.frames.nbytes)):
            self._cache.popitem(last=False)

    def small(self, ident: int) -> tuple[int, dict[str, Any]]:
        """Virtual time and the small parts of an instant (``small.SMALL``), without looking at any page frame."""
        with self._reading():
            if not self._keys:
                query = "SELECT id FROM snapshot WHERE kind = ? ORDER BY id"
                self._keys = [int(row[0]) for row in self._database.execute(query, (KEYFRAME,))]
            row = self._row(ident)
            using = None
            if row.kind != KEYFRAME:
                using = self._dictionary(self._keys[bisect_right(self._keys, ident) - 1])
            try:
                return row.time_ns, unpack_small(unpack(row.codec, row.data, using, self.version).small)
            except ValueError as error:
                raise of_another_build(self.path, self.meta.get("memviz", ""), error) from error

    def _dictionary(self, key: int) -> zstandard.ZstdCompressionDict:
        """The dictionary of the rows that refer to a keyframe. The last one is kept."""
        if self._using is None or self._using[0] != key:
            row = self._row(key)
            self._using = (key, dictionary(unpack(row.codec, row.data, None, self.version).small))
        return self._using[1]

    def events_before(self, ident: int, count: int) -> Structured:
        """The last ``count`` events up to and with an instant's own."""
        with self._reading():
            row = self._row(ident)
        end = row.first_event + row.events
        begin = max(1, end - count)
        return self.events_of(begin, end - begin)

    def _snapshot(self, state: _State, row: _Row, parts: Parts) -> Snapshot:
        events = self.events_of(row.first_event, row.events)
        if zlib.crc32(events.tobytes()) != row.event_crc:
            raise ValueError(f"the checksum of the events of instant {row.ident} is wrong")
        try:
            small = unpack_small(parts.small)
        except ValueError as error:
            raise of_another_build(self.path, self.meta.get("memviz", ""), error) from error
        slabs, objects, nodes = state.tables
        return Snapshot(
            seq=row.seq,
            time_ns=row.time_ns,
            ops=row.ops,
            pages=state.frames.pages(),
            pageblock_mt=state.block,
            slabs=slabs,  # type: ignore[arg-type]
            objects=objects,  # type: ignore[arg-type]
            nodes=nodes,  # type: ignore[arg-type]
            lanes=state.lanes,
            events=events,
            **small,
        )
