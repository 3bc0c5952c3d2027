"""How an instant becomes bytes: page frames as differences, the small things as MessagePack, all of it under zstd.

Three forms of the per-page arrays (``Planes.form``):

* ``full``: the arrays themselves.
* ``xor``: exclusive or with the base's arrays; best when much has changed.
* ``sparse``: the page frames that changed in any array, as gaps from one to the next, and what they are now. Owner,
  order and flags go together: most frames become one of a few kinds, so each has the number of its kind. Stamps are
  distances from the newest one, for pages that are allocated together were stamped together.

Where nothing has changed the form is ``same``. Multi-byte numbers are stored byte plane by byte plane: high bytes are
mostly equal, and zstd sees them in a row.

Whoever changes anything of this raises ``format.VERSION``.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterable
from typing import Final, Literal

import msgspec
import numpy as np
import numpy.typing as npt
import zstandard

from memviz.recording.format import VERSION
from memviz.recording.migrations import unpacked
from memviz.snapshot import LANE_DTYPE, U8, U32, Pages, Structured

ZSTD: Final = "zstd"
ZSTD_DICT: Final = "zstd-dict"
"""Codecs of a row: the second compresses with the keyframe's small part as dictionary."""
LEVEL: Final = 5
MAX_BYTES: Final = 1 << 31
"""No row unpacks to more: a damaged length must not ask for the moon."""
_APART: Final = 4096  # page frames from which on it pays to compress their arrays one by one
_GROUP: Final = 64  # page frames; of so many together it is known whether something changed
_DENSE: Final = 4  # from one changed frame in so many on, exclusive or of everything is smaller than positions

Form = Literal["full", "xor", "sparse", "same", "sparse-xor"]
"""The last is of older files only: a sparse difference by exclusive or."""
Flat = npt.NDArray[np.generic]


class Planes(msgspec.Struct, array_like=True):
    """The per-page arrays of an instant, as a difference or full."""

    form: Form
    nr: int
    positions: bytes = b""
    owner: bytes = b""
    order: bytes = b""
    flags: bytes = b""
    stamp: bytes = b""
    stamp_base: int = 0
    kinds: bytes = b""
    """Sparse: owner, order and flags of each kind that there is; then ``owner`` holds numbers of kinds."""
    apart: bool = False
    """Each array is compressed by itself: what is in it has statistics of its own."""


class Table(msgspec.Struct, array_like=True):
    """Another array: its shape, and its bytes plane by plane; ``xor``: exclusive or with the base's."""

    shape: tuple[int, ...]
    data: bytes
    xor: bool = False


class Parts(msgspec.Struct, array_like=True):
    """An instant. ``None``: as in the base."""

    planes: Planes
    pageblock_mt: bytes | None
    small: bytes
    slabs: Table | None
    objects: Table | None
    nodes: Table | None
    lanes: Table


def shuffled(array: Flat) -> bytes:
    """The array's bytes, all first bytes of its items, then all second bytes, and so on."""
    if array.dtype.itemsize == 1:
        return array.tobytes()
    flat = np.ascontiguousarray(array).view(np.uint8).reshape(array.size, array.dtype.itemsize)
    return flat.T.tobytes()


def unshuffled(data: bytes, dtype: npt.DTypeLike, count: int) -> Flat:
    """The array that ``shuffled`` made ``data`` of: one dimension, ``count`` items. Raises ValueError."""
    kind = np.dtype(dtype)
    if len(data) != count * kind.itemsize:
        raise ValueError(f"{len(data)} bytes are not {count} items of {kind.itemsize}")
    flat = np.frombuffer(data, np.uint8).reshape(kind.itemsize, count)
    return np.array(flat.T, order="C").view(kind).reshape(count)


def crc_of(arrays: Iterable[Flat], crc: int = 0) -> int:
    """The checksum of arrays, one after the other."""
    for array in arrays:
        crc = zlib.crc32(np.ascontiguousarray(array).data, crc)
    return crc


def _four(of: Pages | Frames) -> tuple[Flat, Flat, Flat, Flat]:
    return of.owner, of.order, of.flags, of.stamp


def pack_planes(base: Pages | None, new: Pages) -> tuple[Planes, int]:
    """``new`` as the shortest of the forms (``base`` None: full), and the checksum of what ``Frames.apply`` has to
    find: all page frames, or of a sparse difference which ones, what they were and what they are.
    """
    if base is None or base.nr != new.nr:
        full = Planes(
            "full", new.nr, b"", new.owner.tobytes(), new.order.tobytes(), new.flags.tobytes(), shuffled(new.stamp)
        )
        return full, crc_of(_four(new))
    at = differing(base, new)
    if not at.size:
        return Planes("same", new.nr), 0
    if at.size * _DENSE >= new.nr:
        dense = Planes(
            "xor",
            new.nr,
            b"",
            (base.owner ^ new.owner).tobytes(),
            (base.order ^ new.order).tobytes(),
            (base.flags ^ new.flags).tobytes(),
            shuffled(base.stamp ^ new.stamp),
        )
        return dense, crc_of(_four(new))
    crc = crc_of(array[at] for array in _four(new))
    crc = crc_of((at.astype("<u4"), *(array[at] for array in _four(base))), crc)
    stamps = new.stamp[at]
    newest = int(stamps.max())
    owner, order, flags, kinds = _by_kind(new.owner[at], new.order[at], new.flags[at])
    positions = shuffled(np.diff(at, prepend=-1).astype(np.uint32))
    arrays = (positions, owner, order, flags, shuffled(np.uint32(newest) - stamps))
    apart = at.size >= _APART
    if apart:
        zstd = zstandard.ZstdCompressor(level=LEVEL)
        arrays = tuple(zstd.compress(array) for array in arrays)  # type: ignore[assignment]
    return Planes("sparse", new.nr, *arrays, newest, kinds, apart), crc


def differing(base: Pages, new: Pages) -> npt.NDArray[np.intp]:
    """The page frames that are others, ascending. Looks only where something may have changed, if that is known."""
    groups = new.changed_since(base)
    if groups is None or groups.size * _GROUP * _DENSE >= new.nr:
        mask = np.zeros(new.nr, np.bool_)
        for old, now in zip(_four(base), _four(new), strict=True):
            mask |= old != now
        return np.flatnonzero(mask)
    frames = (groups[:, None] * _GROUP + np.arange(_GROUP)).ravel()
    if groups.size and frames[-1] >= new.nr:
        frames = frames[frames < new.nr]
    mask = np.zeros(frames.size, np.bool_)
    for old, now in zip(_four(base), _four(new), strict=True):
        mask |= old[frames] != now[frames]
    return frames[mask]


def _by_kind(owner: U8, order: U8, flags: U8) -> tuple[bytes, bytes, bytes, bytes]:
    """The three arrays as numbers of kinds, nothing, nothing, and the kinds; as they are where there are too many."""
    together = owner.astype(np.uint32) << 16 | order.astype(np.uint32) << 8 | flags
    kinds, numbers = np.unique(together, return_inverse=True)
    if kinds.size > 256:
        return owner.tobytes(), order.tobytes(), flags.tobytes(), b""
    table = np.stack([kinds >> 16, kinds >> 8 & 0xFF, kinds & 0xFF], axis=1).astype(np.uint8)
    return numbers.astype(np.uint8).tobytes(), b"", b"", table.tobytes()


def changed_frames(planes: Planes) -> int:
    """How many page frames a difference is about."""
    if planes.form.startswith("sparse"):
        return len(planes.owner) if not planes.apart else zstandard.frame_content_size(planes.owner)
    return 0 if planes.form == "same" else planes.nr


class Frames:
    """Per-page arrays that differences are applied to."""

    def __init__(self, owner: U8, order: U8, flags: U8, stamp: U32) -> None:
        self.owner = owner
        self.order = order
        self.flags = flags
        self.stamp = stamp

    @property
    def nbytes(self) -> int:
        """How much memory they take."""
        return self.owner.size * 7

    def copy(self) -> Frames:
        """Arrays of one's own."""
        return Frames(self.owner.copy(), self.order.copy(), self.flags.copy(), self.stamp.copy())

    def crc(self) -> int:
        """The checksum that ``pack_planes`` gives of a complete row."""
        return crc_of(_four(self))

    def pages(self) -> Pages:
        """As a Snapshot holds them: copies that nobody may write to."""
        found = self.copy()
        for array in (found.owner, found.order, found.flags, found.stamp):
            array.flags.writeable = False
        return Pages(found.owner, found.order, found.flags, found.stamp)

    def apply(self, planes: Planes) -> int:
        """Become what ``planes`` says; the checksum that ``pack_planes`` gave. Raises ValueError when it is no
        difference to this.
        """
        if planes.form == "same":
            return 0
        if planes.nr != self.owner.size:
            raise ValueError(f"a difference for {planes.nr} page frames, but there are {self.owner.size}")
        if planes.form == "xor":
            self.owner ^= _bytes(planes.owner, planes.nr)
            self.order ^= _bytes(planes.order, planes.nr)
            self.flags ^= _bytes(planes.flags, planes.nr)
            self.stamp ^= unshuffled(planes.stamp, np.uint32, planes.nr)  # type: ignore[arg-type]
            return crc_of(_four(self))
        if planes.apart:
            planes = _together(planes)
        count = len(planes.owner)
        at = np.cumsum(unshuffled(planes.positions, np.uint32, count), dtype=np.int64) - 1
        if not count or at[0] < 0 or at[-1] >= planes.nr:
            raise ValueError("a difference names page frames that are not there")
        before = [array[at] for array in _four(self)]
        owner, order, flags = _bytes(planes.owner, count), planes.order, planes.flags
        if planes.form == "sparse-xor":
            self.owner[at] ^= owner
            self.order[at] ^= _bytes(order, count)
            self.flags[at] ^= _bytes(flags, count)
        elif planes.kinds:
            kinds = np.frombuffer(planes.kinds, np.uint8).reshape(-1, 3)
            self.owner[at], self.order[at], self.flags[at] = kinds[owner].T
        else:
            self.owner[at], self.order[at], self.flags[at] = owner, _bytes(order, count), _bytes(flags, count)
        self.stamp[at] = np.uint32(planes.stamp_base) - unshuffled(planes.stamp, np.uint32, count)  # type: ignore[operator]
        return crc_of((at.astype("<u4"), *before), crc_of(array[at] for array in _four(self)))


def _together(planes: Planes) -> Planes:
    zstd = zstandard.ZstdDecompressor()
    most = planes.nr * 4
    arrays = (planes.positions, planes.owner, planes.order, planes.flags, planes.stamp)
    try:
        if max(zstandard.frame_content_size(array) for array in arrays) > most:
            raise ValueError("a difference of more page frames than there are")
        positions, owner, order, flags, stamp = (zstd.decompress(array) for array in arrays)
    except zstandard.ZstdError as error:
        raise ValueError(str(error)) from error
    return Planes(planes.form, planes.nr, positions, owner, order, flags, stamp, planes.stamp_base, planes.kinds)


def full_frames(planes: Planes) -> Frames:
    """The arrays of a complete row. Raises ValueError."""
    if planes.form != "full":
        raise ValueError("a keyframe that is not complete")
    nr = planes.nr
    return Frames(
        _bytes(planes.owner, nr).copy(),
        _bytes(planes.order, nr).copy(),
        _bytes(planes.flags, nr).copy(),
        unshuffled(planes.stamp, np.uint32, nr),  # type: ignore[arg-type]
    )


def _bytes(data: bytes, count: int) -> U8:
    if len(data) != count:
        raise ValueError(f"{len(data)} bytes instead of {count}")
    return np.frombuffer(data, np.uint8)


def unpack_table(table: Table, base: Flat | None, dtype: npt.DTypeLike) -> Flat:
    """The array again, read-only. Raises ValueError."""
    if min(table.shape, default=0) < 0:
        raise ValueError("a table of a negative size")
    data = table.data
    if table.xor:
        if base is None or base.shape != table.shape:
            raise ValueError("a difference to a table of another shape")
        data = (np.frombuffer(shuffled(base), np.uint8) ^ _bytes(data, base.nbytes)).tobytes()
    array = unshuffled(data, dtype, math.prod(table.shape)).reshape(table.shape)
    array.flags.writeable = False
    return array


def pack_changed(base: Flat | None, new: Flat) -> Table | None:
    """``new``, or None when it is what the base has."""
    if base is new:
        return None
    data = shuffled(new)
    if base is None or base.shape != new.shape:
        return Table(new.shape, data)
    before = shuffled(base)
    if before == data:
        return None
    changed = np.frombuffer(before, np.uint8) ^ np.frombuffer(data, np.uint8)
    return Table(new.shape, changed.tobytes(), True)


def pack_lanes(lanes: Structured, now: int) -> Table:
    """Segments of lanes: when they began and how long they last, each as the difference to the one before."""
    if not lanes.size:
        return Table((0,), b"")
    whole = np.concatenate(([now], lanes["begin"]))
    begin = np.diff(whole)
    lasts = lanes["end"] - lanes["begin"]
    columns = [
        shuffled(begin.astype("<i8")),
        shuffled(lasts.astype("<i8")),
        shuffled(lanes["cpu"].astype("<i2")),
        shuffled(lanes["state"].astype("<i2")),
    ]
    return Table((lanes.size,), b"".join(columns))


def unpack_lanes(table: Table, now: int) -> Structured:
    """The segments again (LANE_DTYPE). Raises ValueError."""
    count = table.shape[0]
    if len(table.data) != count * LANE_DTYPE.itemsize:
        raise ValueError("lanes of a wrong length")
    lanes = np.zeros(count, LANE_DTYPE)
    at = 0
    columns: list[Flat] = []
    for kind in ("<i8", "<i8", "<i2", "<i2"):
        size = count * np.dtype(kind).itemsize
        columns.append(unshuffled(table.data[at : at + size], kind, count))
        at += size
    lanes["begin"] = now + np.cumsum(columns[0])
    lanes["end"] = lanes["begin"] + columns[1]
    lanes["cpu"], lanes["state"] = columns[2], columns[3]
    lanes.flags.writeable = False
    return lanes


class Packer:
    """zstd both ways, with a dictionary that keyframes change. One thread each."""

    def __init__(self) -> None:
        self._plain = zstandard.ZstdCompressor(level=LEVEL)
        self._with_dict = self._plain
        self._encode = msgspec.msgpack.Encoder()

    def pack(self, parts: Parts) -> tuple[str, bytes]:
        """Codec and data. A complete row becomes the dictionary for those that follow."""
        raw = self._encode.encode(parts)
        if parts.planes.form == "full":
            self._with_dict = zstandard.ZstdCompressor(level=LEVEL, dict_data=dictionary(parts.small))
            return ZSTD, self._plain.compress(raw)
        return ZSTD_DICT, self._with_dict.compress(raw)


def dictionary(small: bytes) -> zstandard.ZstdCompressionDict:
    """The dictionary that a keyframe's small part makes for the rows that refer to it."""
    return zstandard.ZstdCompressionDict(small, dict_type=zstandard.DICT_TYPE_RAWCONTENT)


_DECODE: Final = msgspec.msgpack.Decoder(Parts)


def unpack(codec: str, data: bytes, using: zstandard.ZstdCompressionDict | None, version: int = VERSION) -> Parts:
    """The parts of a row of a file of some version. Raises ValueError for what is none."""
    if codec not in (ZSTD, ZSTD_DICT):
        raise ValueError(f"its codec {codec!r} is unknown")
    if codec == ZSTD_DICT and using is None:
        raise ValueError("a difference without its keyframe")
    reader = zstandard.ZstdDecompressor(dict_data=using) if codec == ZSTD_DICT else zstandard.ZstdDecompressor()
    try:
        if zstandard.frame_content_size(data) > MAX_BYTES:
            raise ValueError("it claims to be bigger than any recording")
        raw = reader.decompress(data)
        return _DECODE.decode(raw) if version == VERSION else msgspec.convert(unpacked(version, raw), Parts)
    except (zstandard.ZstdError, msgspec.DecodeError) as error:
        raise ValueError(str(error)) from error
