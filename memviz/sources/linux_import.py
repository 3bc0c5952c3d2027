"""A trace, or page flags that somebody saved, made into a recording: to look at here what happened there.

A trace alone knows only the page frames that its events name; all others are unknown. With the machine's state from
right before (a folder with ``kpageflags`` and copies of /proc's files) the map is whole from the beginning. Instants
come at even distances of the trace's time; every page event changes the map, and those that are no routine are kept
as events, too.
"""

from __future__ import annotations

import lzma
import shutil
import subprocess
import tempfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

import numpy as np

from memviz.analysis.contiguity import contiguity, free_blocks
from memviz.kernel import page, trace
from memviz.recording.writer import Instant, Writer
from memviz.snapshot import U64, Cache, Pages, Snapshot, Structured, Zone
from memviz.sources import linux_procfs as procfs
from memviz.sources.base import SourceError
from memviz.sources.ftrace import PageTraffic, TraceError, read_trace
from memviz.sources.linux_deltas import apply_events
from memviz.sources.linux_sweep import FrameMap, sweep

INSTANTS: Final = 600
_STEP_NS: Final = 33_000_000
_BINARY: Final = b"\x17\x08D"
_FLAGS: Final = ("kpageflags", "kpageflags.xz")
_HALF: Final = 500
_FRAMES_MAX: Final = 1 << 28  # 1 TiB of memory: a map of 2 GB

Progress = Callable[[int, int], None]
"""Told how much of the work is done, and how much there is. What it raises ends the import."""


@dataclass(frozen=True, slots=True)
class Still:
    """A machine's state as somebody saved it."""

    frames: FrameMap
    zones: tuple[Zone, ...]
    caches: tuple[Cache, ...]
    counters: tuple[tuple[str, int], ...]
    missing: tuple[str, ...]
    """Files of it that are not there or can't be read, each as a sentence."""


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import made."""

    path: str
    instants: int
    events: int
    """Page events that changed the map."""
    lost: int
    """Events that the kernel says it lost, or that the file lacks at its end."""
    page_frames: int
    seconds: float
    """Of the trace's time."""
    double_allocations: int
    """Page frames that were allocated twice without a free between: where events are missing."""
    notes: tuple[str, ...]


class _Words:
    """Saved page flags."""

    def __init__(self, words: U64) -> None:
        self._words = words

    def page_flags_into(self, start: int, words: U64) -> int:
        part = self._words[start : start + words.size]
        words[: part.size] = part
        return int(part.size)


def is_still(path: Path) -> bool:
    """Is ``path`` saved page flags, or a folder with them?"""
    if path.is_dir():
        return any((path / name).exists() for name in _FLAGS)
    return path.name in _FLAGS


def read_still(path: Path) -> Still:
    """Saved page flags (raw, or packed with xz) and what lies beside them. Raises SourceError."""
    folder = path if path.is_dir() else path.parent
    file = path if not path.is_dir() else next((folder / name for name in _FLAGS if (folder / name).exists()), None)
    if file is None:
        raise SourceError(f"{path} holds no kpageflags: copy /proc/kpageflags of the machine into it")
    try:
        data = file.read_bytes()
        if data.startswith(b"\xfd7zXZ\0"):
            data = lzma.decompress(data)
    except OSError as error:
        raise SourceError(f"cannot read {file}: {error.strerror or error}") from error
    except (EOFError, lzma.LZMAError, zlib.error) as error:
        raise SourceError(f"{file} is cut off or damaged: it does not unpack; copy it again") from error
    if not data or len(data) % 8:
        raise SourceError(f"{file} is no /proc/kpageflags: that has 8 bytes for every page frame; copy it again")
    frames = FrameMap(len(data) // 8)
    sweep(_Words(np.frombuffer(data, "<u8")), frames, 1)
    missing: list[str] = []
    zones = _zones(folder, missing)
    if zones:
        frames.find_unmanaged(zones)
        frames.find_listed(zones)
    caches = _parsed(folder / "slabinfo", procfs.parse_slabinfo, (), missing)
    counters = _parsed(folder / "vmstat", procfs.parse_counters, (), missing)
    return Still(frames, zones, caches, counters, tuple(missing))


def _parsed(path: Path, parse: Callable[[str], Any], default: Any, missing: list[str]) -> Any:
    try:
        return parse(path.read_text(errors="replace"))
    except OSError as error:
        missing.append(f"{path.name}: {error.strerror}")
    except procfs.ProcError as error:
        missing.append(str(error))
    return default


def _zones(folder: Path, missing: list[str]) -> tuple[Zone, ...]:
    infos = _parsed(folder / "zoneinfo", procfs.parse_zoneinfo, (), missing)
    buddy = _parsed(folder / "buddyinfo", procfs.parse_buddyinfo, {}, missing)
    types = _parsed(folder / "pagetypeinfo", procfs.parse_pagetypeinfo, None, missing)
    return procfs.zones_of(infos, buddy, types)


def free_area(path: Path) -> tuple[int, ...]:
    """Free blocks of each order in the highest zone that has any, which is asked first: of a buddyinfo, or a folder
    that holds one. Raises SourceError."""
    file = path / "buddyinfo" if path.is_dir() else path
    try:
        found = procfs.parse_buddyinfo(file.read_text(errors="replace"))
    except OSError as error:
        raise SourceError(f"cannot read {file}: {error.strerror or error}") from error
    except procfs.ProcError as error:
        raise SourceError(f"{file} is no copy of /proc/buddyinfo: copy it again") from error
    area = next((area for area in reversed(found.values()) if any(area)), None)
    if area is None:
        raise SourceError(f"{file} tells of no free block in any zone: copy it again, right before the trace")
    return area


def read_any_trace(path: Path, progress: Progress | None = None) -> PageTraffic:
    """A trace in any form: text, packed text, or trace-cmd's binary through ``trace-cmd``. Raises TraceError.

    ``progress`` as for ``read_trace``."""
    try:
        with path.open("rb") as file:
            head = file.read(len(_BINARY))
    except OSError as error:
        raise TraceError(f"cannot read the trace {path}: {error.strerror or error}") from error
    if head != _BINARY:
        return read_trace(path, progress)
    if shutil.which("trace-cmd") is None:
        raise TraceError(
            f"{path} is trace-cmd's binary file and trace-cmd is not installed here: install it, or give the text that"
            f" `trace-cmd report -i {path}` prints"
        )
    with tempfile.NamedTemporaryFile(prefix="memviz-") as text:
        done = subprocess.run(
            ["trace-cmd", "report", "-i", str(path)], stdout=text, stderr=subprocess.PIPE, text=True, check=False
        )
        if done.returncode:
            said = " ".join(done.stderr.split()[-20:])
            raise TraceError(f"trace-cmd cannot read {path}: {said or f'exit code {done.returncode}'}")
        return read_trace(Path(text.name), progress)


def double_allocations(events: Structured) -> int:
    """Allocations of a page frame that was allocated before, with no free of it between: events are missing there."""
    paged = events[np.isin(events["kind"], (trace.MM_PAGE_ALLOC, trace.MM_PAGE_FREE))]
    sizes = 1 << np.clip(paged["b"], 0, page.MAX_PAGE_ORDER)
    which = np.repeat(np.arange(paged.size), sizes)
    pfns = paged["a"][which] + np.arange(which.size) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    order = np.argsort(pfns, kind="stable")
    same = pfns[order][1:] == pfns[order][:-1]
    allocated = paged["kind"][which[order]] == trace.MM_PAGE_ALLOC
    return int(np.count_nonzero(same & allocated[1:] & allocated[:-1]))


def import_file(path: Path, output: Path, before: Path | None = None, progress: Progress | None = None) -> Imported:
    """Make a recording of a trace or of saved page flags. Raises SourceError; nothing half-made is left behind."""
    if is_still(path):
        still = read_still(path)
        notes = tuple(f"not known: {one}" for one in still.missing)
        writer = _writer(output, path, notes)
        with _Whole(writer):
            writer.write(Instant(_snapshot(path.name, still.frames.pages(), still, None, 1, 0), 0))
            writer.finish("finished")
        return Imported(str(output), 1, 0, 0, still.frames.nr, 0.0, 0, notes)
    traffic = read_any_trace(path, _half(progress, 0))
    start = read_still(before) if before is not None else _nothing(traffic.events)
    return _import_trace(path, output, traffic, start, before is not None, _half(progress, 1))


def _half(progress: Progress | None, which: int) -> Progress | None:
    """Reading is the first half of the work, writing the second."""
    if progress is None:
        return None
    return lambda done, whole: progress(which * _HALF + done * _HALF // max(1, whole), 2 * _HALF)


def _nothing(events: Structured) -> Still:
    """A map on which everything is unknown, as large as the trace's page frames need."""
    last = int(events["a"][np.isin(events["kind"], (trace.MM_PAGE_ALLOC, trace.MM_PAGE_FREE))].max(initial=0))
    return Still(FrameMap(min(_FRAMES_MAX, last + (1 << page.MAX_PAGE_ORDER))), (), (), (), ())


def _import_trace(
    path: Path, output: Path, traffic: PageTraffic, start: Still, whole: bool, progress: Progress | None
) -> Imported:
    events = traffic.events
    duration = int(events["time"][-1]) if events.size else 0
    step = max(_STEP_NS, duration // INSTANTS + 1)
    doubles = double_allocations(events)
    notes = [f"not known: {one}" for one in start.missing]
    lost = traffic.lost + traffic.missing
    if lost:
        notes.append(f"{lost:,} events are missing from the trace: page frames that they name are wrong until the next")
    if doubles:
        notes.append(f"{doubles:,} page frames were allocated twice without a free between: their frees are missing")
    if not whole:
        notes.append("page frames that no event names are unknown: --before FOLDER gives the machine's state before")
    writer = _writer(output, path, tuple(notes))
    notable = events["kind"] > trace.LAST_BULK
    edges = np.arange(step, duration + step + 1, step)
    cuts = np.searchsorted(events["time"], edges, side="left")
    at = 0
    with _Whole(writer):
        first = _snapshot(path.name, start.frames.pages(), start, events[:0], 1, 0)
        writer.write(Instant(first, 0))
        for number, (edge, cut) in enumerate(zip(edges.tolist(), cuts.tolist(), strict=True), start=2):
            part = events[at:cut]
            apply_events(start.frames, part, edge // 1_000_000)
            kept = part[notable[at:cut]]
            snapshot = _snapshot(path.name, start.frames.pages(), start, kept, number, min(edge, duration))
            writer.write(Instant(snapshot, min(edge, duration)))
            at = cut
            if writer.due(0) < 0:
                writer.commit()
            if progress is not None:
                progress(cut, events.size)
        writer.finish("finished")
    paged = int(np.count_nonzero(~notable))
    return Imported(
        str(output), writer.instants, paged, lost, start.frames.nr, duration / 1e9, doubles, tuple(notes)
    )  # fmt: skip


def _snapshot(title: str, pages: Pages, still: Still, events: Structured | None, seq: int, time_ns: int) -> Snapshot:
    block_mt = np.full(-(-pages.nr // page.PAGEBLOCK_NR_PAGES), 255, np.uint8)
    block_mt.flags.writeable = False
    zones = still.zones if events is None else tuple(_counted(zone, pages) for zone in still.zones)
    extra: dict[str, Any] = {} if events is None else {"events": events}
    return Snapshot(
        seq=seq,
        time_ns=time_ns,
        ops=0,
        title=title,
        source="linux",
        state="paused" if events is None else "running",
        zones=zones,
        pages=pages,
        pageblock_mt=block_mt,
        possible=contiguity(pages).possible if events is None else (),
        caches=still.caches,
        counters=still.counters,
        **cast(Any, extra),
    )


def _counted(zone: Zone, pages: Pages) -> Zone:
    """The zone with the free blocks that the map shows."""
    here = slice(zone.start_pfn, zone.start_pfn + zone.spanned)
    part = Pages(pages.owner[here], pages.order[here], pages.flags[here], pages.stamp[here])
    blocks = free_blocks(part)
    free = sum(count << order for order, count in enumerate(blocks))
    return zone._replace(free=free, free_area=tuple((count,) for count in blocks))


def _writer(output: Path, path: Path, notes: tuple[str, ...]) -> Writer:
    meta = {"title": path.name, "imported_from": str(path), "notes": "\n".join(notes)}
    return Writer(output, meta)


class _Whole:
    """Takes the file away again when it could not be finished."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self._writer.close()
            for suffix in ("", "-wal", "-shm", "-journal"):
                Path(f"{self._writer.path}{suffix}").unlink(missing_ok=True)
