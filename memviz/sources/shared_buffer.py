"""A block of memory that two processes share, and how an object with big arrays lies in it.

The memory is a memfd: it has no name, so that nothing can be left behind when a process is killed. The writer puts an
object into it with pickle protocol 5: arrays out of band (a copy each into the shared memory, 64-byte aligned), the
small rest as one pickle in front of them. The reader copies the block out once and the arrays are views of that copy.

Why a copy and not views of the shared memory: views may hold a Snapshot for as long as they like, so that the writer
would have to be told which blocks are free again. For 262,144 page frames the copy takes a tenth of a millisecond of
a 16 ms redraw (``python -m benchmarks.bench_host`` prints it); a release too early would show torn pictures.

The memory is as private as a pipe between the two: pickle is safe here because the reader started the writer itself.
"""

from __future__ import annotations

import mmap
import os
import pickle
import struct
from typing import Final

_HEADER: Final = struct.Struct("<QQQQ")  # sequence number before, sequence number after, pickle's length, arrays
_ENTRY: Final = struct.Struct("<QQ")  # offset, length of an array
_ALIGN: Final = 64
_GROW: Final = 1 << 20


class TornBlock(Exception):
    """A block that was being written while it was read."""


def _aligned(offset: int) -> int:
    return (offset + _ALIGN - 1) & ~(_ALIGN - 1)


class SharedBuffer:
    """One block. Grows when its writer needs more, never shrinks."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._size = os.fstat(fd).st_size
        self._map: mmap.mmap | None = mmap.mmap(fd, self._size) if self._size else None

    @classmethod
    def create(cls) -> SharedBuffer:
        """A new, empty block. The descriptor is inherited only by processes that it is passed to."""
        return cls(os.memfd_create("memviz-snapshot", os.MFD_CLOEXEC))

    def _room(self, size: int) -> mmap.mmap:
        """The mapping, at least ``size`` bytes long; the file grows when it has to."""
        if self._map is None or size > self._size:
            grown = max(os.fstat(self.fd).st_size, (size + _GROW - 1) // _GROW * _GROW)
            os.ftruncate(self.fd, grown)
            if self._map is not None:
                self._map.close()
            self._map, self._size = mmap.mmap(self.fd, grown), grown
        return self._map

    def write(self, seq: int, value: object) -> int:
        """Put ``value`` into the block under the sequence number ``seq``; returns how many bytes it takes."""
        buffers: list[pickle.PickleBuffer] = []
        small = pickle.dumps(value, protocol=5, buffer_callback=buffers.append)
        views = [buffer.raw() for buffer in buffers]
        table = _HEADER.size
        offset = table + _ENTRY.size * len(views) + len(small)
        entries: list[tuple[int, int]] = []
        for view in views:
            offset = _aligned(offset)
            entries.append((offset, view.nbytes))
            offset += view.nbytes
        room = self._room(offset)
        _HEADER.pack_into(room, 0, seq, 0, len(small), len(views))
        for number, entry in enumerate(entries):
            _ENTRY.pack_into(room, table + number * _ENTRY.size, *entry)
        start = table + _ENTRY.size * len(views)
        room[start : start + len(small)] = small
        for (begin, length), view in zip(entries, views, strict=True):
            room[begin : begin + length] = view
            view.release()
        _HEADER.pack_into(room, 0, seq, seq, len(small), len(views))
        return offset

    def read(self, seq: int, size: int) -> object:
        """The value written under ``seq`` with ``size`` bytes. Its arrays are read-only and belong to the caller.

        Raises TornBlock when the block holds something else, or is being written.
        """
        block = self._room(size)[:size]
        before, after, length, count = _HEADER.unpack_from(block)
        if before != seq or after != seq or _HEADER.unpack_from(self._room(size))[:2] != (seq, seq):
            raise TornBlock(f"shared block holds snapshot {before}/{after} instead of {seq}")
        view = memoryview(block)
        start = _HEADER.size + count * _ENTRY.size
        entries = [_ENTRY.unpack_from(block, _HEADER.size + number * _ENTRY.size) for number in range(count)]
        return pickle.loads(
            view[start : start + length], buffers=[view[begin : begin + nbytes] for begin, nbytes in entries]
        )

    def close(self) -> None:
        """Unmap and close. Values read before stay as they are."""
        if self._map is not None:
            self._map.close()
            self._map = None
        os.close(self.fd)
