"""The raw ring buffer of a trace instance: sub-buffers of packed records to events, by what the ``format`` files say.

A sub-buffer begins with a time stamp and its length; each record with a word of type, length and time since the record
before. Records are of any length, so finding them is a chain. All sub-buffers of a batch are walked in step, one
record of each at a time: numpy's price is then shared by hundreds of records (include/linux/ring_buffer.h).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from memviz.kernel import trace
from memviz.snapshot import EVENT_DTYPE, Structured
from memviz.sources.base import SourceError
from memviz.sources.ftrace import parse_gfp

I64 = npt.NDArray[np.int64]
U32 = npt.NDArray[np.uint32]

_FIELD: Final = re.compile(r"field:(.*?)(\w+)(?:\[\w*\])?;\s*offset:(\d+);\s*size:(\d+);\s*signed:([01]);")
_GFP_BIT: Final = re.compile(r'1UL\)+ << \((\d+)\)\)+, "(__GFP_[A-Z_]+)"|0x([0-9a-f]+)u?\)+, "(__GFP_[A-Z_]+)"')
_PADDING, _TIME_EXTEND, _TIME_STAMP = 29, 30, 31
_DELTA_BITS: Final = 27
_MISSED: Final = 3 << 30
_MISSED_STORED: Final = 1 << 30
_ROOM: Final = 256  # behind the last sub-buffer, so that a damaged record reads nothing of anybody's


class TraceFormatError(SourceError):
    """A ``format`` file that says nothing of a field that is needed."""


class Field(NamedTuple):
    """Where in a record a value lies, in bytes."""

    offset: int
    size: int
    signed: bool


@dataclass(frozen=True, slots=True)
class Format:
    """One event's record."""

    ident: int
    fields: dict[str, Field]
    gfp_bits: dict[int, str]

    def field(self, name: str) -> Field:
        """Where ``name`` is. Raises TraceFormatError."""
        found = self.fields.get(name)
        if found is None:
            raise TraceFormatError(f"this kernel's trace event {self.ident} has no {name!r}: memviz goes on without it")
        return found


class Sample(NamedTuple):
    """Slab objects that were allocated or freed: their addresses, and the caches' names."""

    addresses: npt.NDArray[np.uint64]
    names: tuple[str, ...]


class Records(NamedTuple):
    """Where the records of a batch are: byte offsets of their data, lengths, and when they happened (ns)."""

    at: I64
    length: I64
    time: I64
    sub_buffer: I64
    missed: int


def parse_format(text: str) -> Format:
    """A ``format`` file. Raises TraceFormatError."""
    ident = re.search(r"^ID: (\d+)$", text, re.MULTILINE)
    if ident is None:
        raise TraceFormatError("a trace event's format file has no ID: memviz goes on without the event")
    fields = {
        name: Field(int(offset), int(size), signed == "1") for _, name, offset, size, signed in _FIELD.findall(text)
    }
    bits = {}
    for shift, name, mask, other in _GFP_BIT.findall(text):
        value = 1 << int(shift) if name else int(mask, 16)
        if value.bit_count() == 1 and (name or other) != "__GFP_RECLAIM":
            bits[value] = name or other
    return Format(int(ident[1]), fields, bits)


def walk(data: npt.NDArray[np.uint8], size: int) -> Records:
    """Find the records in sub-buffers of ``size`` bytes, one after the other, with ``_ROOM`` bytes behind them."""
    words = data.view("<u4")
    count = (data.size - _ROOM) // size
    base = np.arange(count, dtype=np.int64) * size
    longs = data.view("<u8")
    time = longs[base >> 3].astype(np.int64)
    commit = longs[(base >> 3) + 1].astype(np.int64)
    length = commit & (_MISSED_STORED - 1)
    pos = base + 16
    end = np.minimum(pos + length, base + size)
    missed = _missed(commit, pos + length, base + size, longs)
    found: list[tuple[I64, I64, I64, I64]] = []
    numbers = np.arange(count, dtype=np.int64)
    while True:
        alive = pos < end
        if not alive.any():
            break
        if not alive.all():
            pos, end, time, numbers = pos[alive], end[alive], time[alive], numbers[alive]
        word = words[pos >> 2].astype(np.int64)
        second = words[(pos >> 2) + 1].astype(np.int64)
        kind = word & 31
        delta = word >> 5
        begin = pos + 4
        room = kind * 4
        odd = (kind == 0) | (kind >= _PADDING)
        if odd.any():
            begin, room, delta, time = _odd(kind, second, begin, room, delta, time)
        else:
            delta = word >> 5
        time = time + delta
        after = begin + room
        good = (kind < _PADDING) & (after <= end)
        found.append((begin[good], room[good], time[good], numbers[good]))
        # A record that leads nowhere ends its sub-buffer: it is the padding, or damaged.
        pos = np.where((after > pos) & (after <= end) & ~((kind == _PADDING) & (word >> 5 == 0)), after, end)
    if not found:
        none = np.zeros(0, np.int64)
        return Records(none, none, none, none, missed)
    at, room, when, which = (np.concatenate(column) for column in zip(*found, strict=True))
    order = np.argsort(which, kind="stable")
    return Records(at[order], room[order], when[order], which[order], missed)


def _missed(commit: I64, at: I64, limit: I64, longs: npt.NDArray[np.uint64]) -> int:
    """Events that were lost before these sub-buffers; at least one where the kernel doesn't say how many."""
    lost = (commit & _MISSED) != 0
    if not lost.any():
        return 0
    stored = lost & ((commit & _MISSED_STORED) != 0) & (at + 8 <= limit)
    told = int(sum(int(longs[place >> 3]) for place in at[stored].tolist() if place % 8 == 0))
    return max(told, int(np.count_nonzero(lost)))


def _odd(kind: I64, second: I64, begin: I64, room: I64, delta: I64, time: I64) -> tuple[I64, I64, I64, I64]:
    """Records that are long, or none: (begin of the data, its length, time since the one before, time)."""
    long = kind == 0
    room = np.where(long, (second - 4 + 3) & ~np.int64(3), room)
    room = np.where(kind == _PADDING, second, room)
    clock = kind >= _TIME_EXTEND
    room = np.where(clock, 4, room)
    begin = np.where(long, begin + 4, begin)
    far = (second << _DELTA_BITS) + delta
    stamp = kind == _TIME_STAMP
    time = np.where(stamp, far, time)
    delta = np.where(kind == _TIME_EXTEND, far, np.where(stamp, 0, delta))
    return begin, room, delta, time


class RingReader:
    """Turns batches of sub-buffers into events. ``formats``: event ("kmem/mm_page_alloc") to its ``format`` file."""

    def __init__(self, formats: dict[str, str], size: int = 4096) -> None:
        self.size = size
        self.formats = {name.rpartition("/")[2]: parse_format(text) for name, text in formats.items()}
        self.seq = 0
        self.missed = 0
        self.start = -1
        self._gfp: dict[int, int] = {}
        self._migrated = 0
        alloc = self.formats.get("mm_page_alloc")
        self._gfp_bits = {bit: parse_gfp(name.encode()) for bit, name in alloc.gfp_bits.items()} if alloc else {}

    def decode(self, parts: list[tuple[int, bytes]]) -> tuple[Structured, Sample]:
        """Events (EVENT_DTYPE, by time; times in ns since the first) and slab objects of a batch."""
        whole = b"".join(data[: len(data) // self.size * self.size] for _, data in parts)
        data = np.frombuffer(whole + bytes(_ROOM), np.uint8)
        records = walk(data, self.size)
        self.missed += records.missed
        cpus = np.repeat([cpu for cpu, _ in parts], [len(part) // self.size for _, part in parts]).astype(np.int64)
        words = data.view("<u4")
        types = (words[records.at >> 2] & 0xFFFF).astype(np.int64)
        tables = []
        for name, make in _MAKERS.items():
            form = self.formats.get(name)
            if form is None:
                continue
            least = max((field.offset + field.size for field in form.fields.values()), default=0)
            chosen = np.flatnonzero((types == form.ident) & (records.length >= least - 7))
            if chosen.size:
                table = make(self, words, records.at[chosen], form)
                table["time"] = records.time[chosen]
                table["cpu"] = cpus[records.sub_buffer[chosen]] if cpus.size else 0
                tables.append(table)
        events = np.concatenate(tables) if tables else np.zeros(0, EVENT_DTYPE)
        events = events[np.argsort(events["time"], kind="stable")]
        if events.size:
            self._compaction(events)
            events = events[events["kind"] != 0]
        if events.size:
            if self.start < 0:
                self.start = int(events["time"][0])
            events["time"] -= self.start
            events["seq"] = np.arange(self.seq + 1, self.seq + 1 + events.size)
            self.seq += events.size
        return events, self._sample(data, words, types, records)

    def _sample(self, data: npt.NDArray[np.uint8], words: U32, types: I64, records: Records) -> Sample:
        addresses: list[int] = []
        names: list[str] = []
        for name in ("kmem_cache_alloc", "kmem_cache_free"):
            form = self.formats.get(name)
            if form is None or "name" not in form.fields or "ptr" not in form.fields:
                continue
            at = records.at[types == form.ident]
            if not at.size:
                continue
            pointers = _value(words, at, form.field("ptr"))
            # one object of a page is enough: all of a slab's belong to one cache
            _, first = np.unique(pointers >> 12, return_index=True)
            where = _value(words, at[first], form.field("name"))
            for pointer, place, start in zip(pointers[first].tolist(), where.tolist(), at[first].tolist(), strict=True):
                begin = start + (place & 0xFFFF)
                text = data[begin : begin + max(0, ((place >> 16) & 0xFFFF) - 1)].tobytes()
                if pointer and text:
                    addresses.append(pointer & 0xFFFF_FFFF_FFFF_FFFF)
                    names.append(text.decode(errors="replace"))
        return Sample(np.array(addresses, np.uint64), tuple(names))

    def gfp(self, mask: int) -> int:
        """Our gfp mask for the kernel's."""
        found = self._gfp.get(mask)
        if found is None:
            found = 0
            for bit, ours in self._gfp_bits.items():
                if mask & bit:
                    found |= ours
            self._gfp[mask] = found
        return found

    # -- what each event becomes

    def alloc(self, words: U32, at: I64, form: Format) -> Structured:
        """mm_page_alloc; a pfn of -1 is a request that got nothing."""
        table = _table(at.size, trace.MM_PAGE_ALLOC)
        pfn = _value(words, at, form.field("pfn"))
        order = _value(words, at, form.field("order"))
        masks, inverse = np.unique(_value(words, at, form.field("gfp_flags")), return_inverse=True)
        gfp = np.array([self.gfp(mask) for mask in masks.tolist()], np.int64)[inverse]
        failed = pfn == -1
        table["kind"][failed] = trace.ALLOC_FAILED
        table["a"] = np.where(failed, order, pfn)
        table["b"] = np.where(failed, gfp, order)
        table["c"] = np.where(failed, 0, _value(words, at, form.field("migratetype")))
        table["d"] = np.where(failed, 0, gfp)
        return table

    def free(self, words: U32, at: I64, form: Format) -> Structured:
        """mm_page_free."""
        table = _table(at.size, trace.MM_PAGE_FREE)
        table["a"] = _value(words, at, form.field("pfn"))
        table["b"] = _value(words, at, form.field("order"))
        return table

    def drain(self, words: U32, at: I64, form: Format) -> Structured:
        """mm_page_pcpu_drain."""
        table = self.free(words, at, form)
        table["kind"] = trace.MM_PAGE_PCPU_DRAIN
        table["c"] = _value(words, at, form.field("migratetype"))
        return table

    def extfrag(self, words: U32, at: I64, form: Format) -> Structured:
        """mm_page_alloc_extfrag."""
        table = _table(at.size, trace.MM_PAGE_ALLOC_EXTFRAG)
        table["a"] = _value(words, at, form.field("pfn"))
        table["b"] = _value(words, at, form.field("alloc_order"))
        table["c"] = _value(words, at, form.field("fallback_order"))
        types = _value(words, at, form.field("alloc_migratetype")) << 8
        types |= _value(words, at, form.field("fallback_migratetype")) << 4
        table["d"] = types | _value(words, at, form.field("change_ownership"))
        return table

    def begin(self, words: U32, at: I64, form: Format) -> Structured:
        """mm_compaction_begin."""
        table = _table(at.size, trace.MM_COMPACTION_BEGIN)
        table["a"] = table["b"] = -1
        table["c"] = _value(words, at, form.field("sync"))
        return table

    def end(self, words: U32, at: I64, form: Format) -> Structured:
        """mm_compaction_end; ``_compaction`` fills in how many pages moved."""
        table = _table(at.size, trace.MM_COMPACTION_END)
        table["a"] = table["b"] = -1
        table["c"] = _value(words, at, form.field("status"))
        return table

    def deferred(self, words: U32, at: I64, form: Format) -> Structured:
        """mm_compaction_deferred."""
        table = _table(at.size, trace.MM_COMPACTION_DEFERRED)
        table["a"] = -1
        table["b"] = _value(words, at, form.field("order"))
        table["c"] = _value(words, at, form.field("defer_shift"))
        return table

    def migrated(self, words: U32, at: I64, form: Format) -> Structured:
        """mm_compaction_migratepages: no event of ours, kind 0; counted for the end of its compaction."""
        table = _table(at.size, 0)
        table["a"] = _value(words, at, form.field("nr_migrated"))
        return table

    def _compaction(self, events: Structured) -> None:
        for row in np.flatnonzero((events["kind"] == 0) | (events["kind"] == trace.MM_COMPACTION_END)).tolist():
            if events["kind"][row] == 0:
                self._migrated += int(events["a"][row])
            else:
                events["d"][row] = self._migrated
                self._migrated = 0


def _table(count: int, kind: int) -> Structured:
    table = np.zeros(count, EVENT_DTYPE)
    table["kind"] = kind
    return table


def _value(words: U32, at: I64, field: Field) -> I64:
    """A field of many records. Records begin at multiples of four; so do fields of four bytes and more."""
    place = at + field.offset
    value: I64 = words[place >> 2].astype(np.int64)
    if field.size == 8:
        whole: I64 = value | (words[(place >> 2) + 1].astype(np.int64) << 32)
        return whole
    bits = field.size * 8
    value = (value >> ((place & 3) * 8)) & ((1 << bits) - 1)
    if not field.signed:
        return value
    signed: I64 = np.where(value >> (bits - 1), value - (1 << bits), value)
    return signed


_MAKERS: Final[dict[str, Callable[[RingReader, U32, I64, Format], Structured]]] = {
    "mm_page_alloc": RingReader.alloc,
    "mm_page_free": RingReader.free,
    "mm_page_pcpu_drain": RingReader.drain,
    "mm_page_alloc_extfrag": RingReader.extfrag,
    "mm_compaction_begin": RingReader.begin,
    "mm_compaction_end": RingReader.end,
    "mm_compaction_deferred": RingReader.deferred,
    "mm_compaction_migratepages": RingReader.migrated,
}
