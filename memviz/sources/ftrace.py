"""Reads what tracefs prints (``/sys/kernel/tracing/trace``, ``trace_pipe``, ``trace-cmd report``): a real kernel's page
traffic.

Taken from it: ``mm_page_alloc``, ``mm_page_free``, ``mm_page_free_batched``, ``mm_page_alloc_extfrag`` and the
``mm_compaction_*`` events that say begin, end, deferred and how many pages moved. Any other event is passed over.

``mm_page_free_batched`` is not a second free. The kernel prepares each page of a batch with ``free_pages_prepare()``,
which emits ``mm_page_free``, and emits ``mm_page_free_batched`` for the same page when the batch goes on; in the sample
from Linux 6.18 all 117,374 of them follow a ``mm_page_free`` of their page. So a batched free counts only where the
page's own free was not traced: when that event was switched off, or lost.

``pfn`` is hexadecimal since Linux 5.13 and was decimal before. An allocation that failed has pfn 0.
"""

from __future__ import annotations

import gzip
import lzma
import re
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final, cast

import numpy as np

from memviz.analysis.replay import BATCHED
from memviz.kernel import page, trace
from memviz.snapshot import EVENT_DTYPE, Structured
from memviz.sources.base import SourceError

Event = tuple[int, int, int, int, int, int, int, int]

_LINE: Final = re.compile(rb"\s*\S.*?\[(\d{1,4})\]\s+(?:\S+\s+)?(\d+)(?:\.(\d+))?: (?:\w+:)?(\w+):\s*(.*)")
_ALLOC: Final = re.compile(rb"pfn=(\w+) order=(\d+) migratetype=(-?\d+) gfp_flags=(\S+)")
_FREE: Final = re.compile(rb"pfn=(\w+) order=(\d+)")
_FIELD: Final = re.compile(rb"(\w+)=([^\s,]+)")
_ENTRIES: Final = re.compile(rb"# entries-in-buffer/entries-written: (\d+)/(\d+)")
_LOST: Final = re.compile(rb"\s*CPU:\s*\d+ \[LOST (\d+) EVENTS\]")

_GFP: Final[dict[bytes, int]] = {
    b"GFP_HIGHUSER_MOVABLE": page.GFP_HIGHUSER_MOVABLE,
    b"GFP_HIGHUSER": page.GFP_USER | page.GFP_HIGHMEM,
    b"GFP_USER": page.GFP_USER,
    b"GFP_KERNEL_ACCOUNT": page.GFP_KERNEL_ACCOUNT,
    b"GFP_KERNEL": page.GFP_KERNEL,
    b"GFP_NOFS": page.GFP_NOFS,
    b"GFP_NOIO": page.GFP_NOIO,
    b"GFP_ATOMIC": page.GFP_ATOMIC,
    b"GFP_NOWAIT": page.GFP_NOWAIT,
    b"GFP_TRANSHUGE": page.GFP_TRANSHUGE,
    b"GFP_TRANSHUGE_LIGHT": page.GFP_TRANSHUGE_LIGHT,
    b"GFP_DMA": page.GFP_DMA,
    b"GFP_DMA32": page.GFP_DMA32,
    b"__GFP_DMA": page.GFP_DMA,
    b"__GFP_DMA32": page.GFP_DMA32,
    b"__GFP_HIGHMEM": page.GFP_HIGHMEM,
    b"__GFP_MOVABLE": page.GFP_MOVABLE,
    b"__GFP_RECLAIMABLE": page.GFP_RECLAIMABLE,
    b"__GFP_HIGH": page.GFP_HIGH,
    b"__GFP_IO": page.GFP_IO,
    b"__GFP_FS": page.GFP_FS,
    b"__GFP_ZERO": page.GFP_ZERO,
    b"__GFP_DIRECT_RECLAIM": page.GFP_DIRECT_RECLAIM,
    b"__GFP_KSWAPD_RECLAIM": page.GFP_KSWAPD_RECLAIM,
    b"__GFP_RECLAIM": page.GFP_RECLAIM,
    b"__GFP_NOWARN": page.GFP_NOWARN,
    b"__GFP_RETRY_MAYFAIL": page.GFP_RETRY_MAYFAIL,
    b"__GFP_NOFAIL": page.GFP_NOFAIL,
    b"__GFP_NORETRY": page.GFP_NORETRY,
    b"__GFP_MEMALLOC": page.GFP_MEMALLOC,
    b"__GFP_NOMEMALLOC": page.GFP_NOMEMALLOC,
    b"__GFP_COMP": page.GFP_COMP,
    b"__GFP_ACCOUNT": page.GFP_ACCOUNT,
}

# enum compact_result, as include/trace/events/mmflags.h prints it
COMPACT_STATUS: Final = (
    b"not_suitable_zone",
    b"skipped",
    b"deferred",
    b"no_suitable_page",
    b"continue",
    b"complete",
    b"partial_skipped",
    b"contended",
    b"success",
)

_HOW: Final = "record one with `trace-cmd record -e kmem:mm_page_alloc -e kmem:mm_page_free`, then `trace-cmd report`"


_LOOK_LINES: Final = 10_000
_PFN_MAX: Final = 1 << 40  # x86-64 has 52 bits of physical address


class TraceError(SourceError):
    """A file that is no usable trace, in one sentence."""


@dataclass(frozen=True, slots=True)
class PageTraffic:
    """What a trace holds."""

    events: Structured
    """EVENT_DTYPE, in the trace's order; times in ns since its first event. Kinds and fields as ``kernel.trace`` has
    them; what the trace does not tell (a compaction's zone and order) is -1."""
    lines: int
    """Lines of the file that are events, of any kind."""
    lost: int
    """Events that the kernel itself says it lost."""
    missing: int
    """Events that the file's header announces and the file does not hold: it ends early."""

    def count(self, kind: int) -> int:
        """How many events of one kind (``trace.MM_PAGE_ALLOC``...)."""
        return int(np.count_nonzero(self.events["kind"] == kind))


def parse_gfp(text: bytes) -> int:
    """Our gfp mask for what the kernel prints: names joined with ``|``. Names that we do not model are passed over."""
    mask = 0
    for name in text.split(b"|"):
        mask |= _GFP.get(name, 0)
    return mask


def _groups(pattern: re.Pattern[bytes], text: bytes) -> tuple[bytes, ...]:
    found = pattern.search(text)
    if found is None:
        raise ValueError(text)
    return found.groups()


def _pfn(text: bytes) -> int:
    pfn = int(text, 0)
    if not 0 <= pfn < _PFN_MAX:
        raise ValueError(text)
    return pfn


def read_trace(path: Path, progress: Callable[[int, int], None] | None = None) -> PageTraffic:
    """Read a trace: text, or text packed with gzip or xz. Raises TraceError for whatever cannot be used.

    ``progress`` is told now and then how much of the file is read, and its size, in bytes; what it raises ends the
    reading."""
    try:
        with path.open("rb") as raw:
            head = raw.read(1 << 16)
            raw.seek(0)
            size = max(1, path.stat().st_size)
            look = (lambda: progress(min(raw.tell(), size), size)) if progress is not None else None
            return _Reader(path, look).read(_unpacked(raw, head, path))
    except OSError as error:
        raise TraceError(f"cannot read the trace {path}: {error.strerror or error}") from error
    except (EOFError, lzma.LZMAError, zlib.error) as error:
        raise TraceError(f"the trace {path} is cut off or damaged: it does not unpack; copy it again") from error


def _unpacked(raw: BinaryIO, head: bytes, path: Path) -> BinaryIO:
    if head.startswith(b"\xfd7zXZ\0"):
        return cast(BinaryIO, lzma.open(raw))
    if head.startswith(b"\x1f\x8b"):
        return cast(BinaryIO, gzip.open(raw))
    if head.startswith(b"\x17\x08D"):
        raise TraceError(f"{path} is trace-cmd's binary file: give the text that `trace-cmd report -i {path}` prints")
    if b"\0" in head:
        raise TraceError(f"{path} is binary, not the text of a trace: {_HOW}")
    return raw


class _Reader:
    """The state of reading one file."""

    def __init__(self, path: Path, look: Callable[[], None] | None = None) -> None:
        self.path = path
        self.look = look
        self.events: list[Event] = []
        self.lines = 0
        self.strange = 0
        self.lost = 0
        self.announced = 0
        self.overwritten = 0
        self.start = -1
        self.migrated = 0
        self.gfp: dict[bytes, int] = {}

    def read(self, stream: BinaryIO) -> PageTraffic:
        number = 0
        for number, line in enumerate(stream, start=1):
            if self.look is not None and number % _LOOK_LINES == 0:
                self.look()
            if line.startswith(b"#"):
                self._comment(line)
                continue
            whole = line.endswith(b"\n")
            if not self._line(line, number, whole) and line.strip():
                if not whole:
                    raise self._cut(number)
                self.strange += 1
                if self.strange > self.lines + 100:
                    break
        self._verdict(number)
        return PageTraffic(
            np.array(self.events, EVENT_DTYPE),
            self.lines,
            self.lost + self.overwritten,
            max(0, self.announced - self.lines),
        )

    def _comment(self, line: bytes) -> None:
        found = _ENTRIES.match(line)
        if found:
            self.announced = int(found[1])
            self.overwritten = int(found[2]) - int(found[1])

    def _line(self, line: bytes, number: int, whole: bool) -> bool:
        """Take one line. False: it is none of a trace's."""
        found = _LINE.match(line)
        if found is None:
            lost = _LOST.match(line)
            if lost:
                self.lost += int(lost[1])
            return lost is not None or line.lstrip().startswith(b"=>")
        self.lines += 1
        cpu, seconds, fraction, name, rest = found.groups()
        parse = _PARSERS.get(name)
        if parse is None:
            return True
        if not whole:
            raise self._cut(number)
        time = int(seconds) * 1_000_000_000 + int((fraction or b"0").ljust(9, b"0")[:9])
        if self.start < 0:
            self.start = time
        try:
            for kind, a, b, c, d in parse(self, rest):
                self.events.append((len(self.events) + 1, time - self.start, int(cpu), kind, a, b, c, d))
        except (KeyError, ValueError) as error:
            raise TraceError(
                f"line {number} of the trace {self.path} is damaged: {name.decode()} without the fields it must have"
            ) from error
        return True

    def _cut(self, number: int) -> TraceError:
        return TraceError(
            f"the trace {self.path} is cut off in the middle of line {number}: copy it again, or delete that line"
        )

    def _verdict(self, number: int) -> None:
        if number == 0:
            raise TraceError(f"the trace {self.path} is empty: {_HOW}")
        if self.strange > self.lines:
            raise TraceError(f"{self.path} is not the text of a trace: {_HOW}")
        kinds = {event[3] for event in self.events}
        if not {trace.MM_PAGE_ALLOC, trace.MM_PAGE_FREE} <= kinds:
            raise TraceError(f"the trace {self.path} holds no mm_page_alloc or no mm_page_free events: {_HOW}")

    # What each event becomes: (kind, a, b, c, d)

    def alloc(self, rest: bytes) -> Iterator[tuple[int, int, int, int, int]]:
        pfn, order, migratetype, names = _groups(_ALLOC, rest)
        gfp = self.gfp.get(names)
        if gfp is None:
            gfp = self.gfp[names] = parse_gfp(names)
        if int(order) > page.MAX_PAGE_ORDER or not 0 <= int(migratetype) < page.MIGRATE_PCPTYPES:
            raise ValueError(rest)
        number = _pfn(pfn)
        if number:
            yield trace.MM_PAGE_ALLOC, number, int(order), int(migratetype), gfp
        else:
            yield trace.ALLOC_FAILED, int(order), gfp, 0, 0

    def free(self, rest: bytes) -> Iterator[tuple[int, int, int, int, int]]:
        pfn, order = _groups(_FREE, rest)
        if int(order) > page.MAX_PAGE_ORDER:
            raise ValueError(rest)
        yield trace.MM_PAGE_FREE, _pfn(pfn), int(order), 0, 0

    def free_batched(self, rest: bytes) -> Iterator[tuple[int, int, int, int, int]]:
        for kind, pfn, order, _, _ in self.free(rest):
            yield kind, pfn, order, BATCHED, 0

    def extfrag(self, rest: bytes) -> Iterator[tuple[int, int, int, int, int]]:
        fields = dict(_FIELD.findall(rest))
        types = int(fields[b"alloc_migratetype"]) << 8 | int(fields[b"fallback_migratetype"]) << 4
        types |= int(fields[b"change_ownership"])
        yield (
            trace.MM_PAGE_ALLOC_EXTFRAG,
            _pfn(fields[b"pfn"]),
            int(fields[b"alloc_order"]),
            int(fields[b"fallback_order"]),
            types,
        )

    def compaction_begin(self, rest: bytes) -> Iterator[tuple[int, int, int, int, int]]:
        self.migrated = 0
        yield trace.MM_COMPACTION_BEGIN, -1, -1, int(dict(_FIELD.findall(rest))[b"mode"] == b"sync"), 0

    def compaction_migrate(self, rest: bytes) -> Iterator[tuple[int, int, int, int, int]]:
        self.migrated += int(dict(_FIELD.findall(rest))[b"nr_migrated"])
        yield from ()

    def compaction_end(self, rest: bytes) -> Iterator[tuple[int, int, int, int, int]]:
        status = COMPACT_STATUS.index(dict(_FIELD.findall(rest))[b"status"])
        yield trace.MM_COMPACTION_END, -1, -1, status, self.migrated

    def compaction_deferred(self, rest: bytes) -> Iterator[tuple[int, int, int, int, int]]:
        fields = dict(_FIELD.findall(rest))
        shift = int(fields.get(b"limit", b"1")).bit_length() - 1
        yield trace.MM_COMPACTION_DEFERRED, -1, int(fields[b"order"]), shift, 0


_PARSERS: Final = {
    b"mm_page_alloc": _Reader.alloc,
    b"mm_page_free": _Reader.free,
    b"mm_page_free_batched": _Reader.free_batched,
    b"mm_page_alloc_extfrag": _Reader.extfrag,
    b"mm_compaction_begin": _Reader.compaction_begin,
    b"mm_compaction_migratepages": _Reader.compaction_migrate,
    b"mm_compaction_end": _Reader.compaction_end,
    b"mm_compaction_deferred": _Reader.compaction_deferred,
}
