"""What Linux tells about its memory as text: /proc/{buddyinfo,pagetypeinfo,zoneinfo,slabinfo,vmstat,meminfo}.

Parsers pass over lines that they don't know, so that a newer kernel is no obstacle. A file without a single line that
they do know raises ProcError, one sentence.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from memviz.kernel.page import MIGRATE_MOVABLE, MIGRATETYPE_NAMES, NR_PAGE_ORDERS
from memviz.snapshot import Cache, Zone
from memviz.sources.base import SourceError

ZoneKey = tuple[int, str]
"""Node and zone: (0, "Normal")."""

_BUDDY: Final = re.compile(r"Node (\d+), zone\s+(\w+)\s+(\d[\d\s]*)$")
_FREE_TYPE: Final = re.compile(r"Node\s+(\d+), zone\s+(\w+), type\s+(\w+)\s+([>\d][>\d\s]*)$")
_ZONE: Final = re.compile(r"Node (\d+), zone\s+(\w+)")
_KB: Final = re.compile(r"(\S+):\s+(\d+)")


class ProcError(SourceError):
    """A file of /proc that is not what it should be, in one sentence."""


class ZoneInfo(NamedTuple):
    """A zone as /proc/zoneinfo has it. Sizes in page frames."""

    node: int
    name: str
    start_pfn: int
    spanned: int
    present: int
    managed: int
    free: int
    pcp: int
    watermark_min: int
    watermark_low: int
    watermark_high: int
    watermark_promo: int
    watermark_boost: int


class PageTypes(NamedTuple):
    """/proc/pagetypeinfo: what the free blocks are for, and what the pageblocks are."""

    free: dict[ZoneKey, dict[str, tuple[int, ...]]]
    """Free blocks of each order, by migratetype."""
    blocks: dict[ZoneKey, dict[str, int]]
    """Pageblocks by migratetype."""


@dataclass
class _Section:
    """A zone of zoneinfo while it is read."""

    node: int
    name: str
    figures: dict[str, int] = field(default_factory=dict)
    pcp: int = 0


def parse_buddyinfo(text: str) -> dict[ZoneKey, tuple[int, ...]]:
    """Free blocks of each order, by zone."""
    found = {}
    for line in text.splitlines():
        match = _BUDDY.match(line)
        if match:
            counts = tuple(map(int, match[3].split()))
            found[int(match[1]), match[2]] = counts[:NR_PAGE_ORDERS] + (0,) * (NR_PAGE_ORDERS - len(counts))
    if not found:
        raise ProcError("/proc/buddyinfo holds no zone: this is not what a Linux kernel prints")
    return found


def parse_pagetypeinfo(text: str) -> PageTypes:
    """Free blocks and pageblocks by migratetype. A count too long to count (``>100000``) is that number."""
    free: dict[ZoneKey, dict[str, tuple[int, ...]]] = {}
    blocks: dict[ZoneKey, dict[str, int]] = {}
    types: list[str] = []
    for line in text.splitlines():
        match = _FREE_TYPE.match(line)
        if match:
            counts = tuple(int(one.lstrip(">") or 0) for one in match[4].split())
            free.setdefault((int(match[1]), match[2]), {})[match[3]] = counts
        elif line.startswith("Number of blocks type"):
            types = line.split()[4:]
        elif types:
            match = _BUDDY.match(line)
            if match and len(match[3].split()) == len(types):
                blocks[int(match[1]), match[2]] = dict(zip(types, map(int, match[3].split()), strict=True))
    if not free:
        raise ProcError("/proc/pagetypeinfo holds no zone: this is not what a Linux kernel prints")
    return PageTypes(free, blocks)


def parse_zoneinfo(text: str) -> tuple[ZoneInfo, ...]:
    """All zones that memory is present in, lowest first."""
    sections: list[_Section] = []
    for line in text.splitlines():
        match = _ZONE.match(line)
        if match:
            sections.append(_Section(int(match[1]), match[2]))
            continue
        words = line.replace(":", " ").split()
        if not sections or len(words) < 2 or not words[-1].isdigit():
            continue
        name, value = words[-2], int(words[-1])
        if name == "count":
            sections[-1].pcp += value
        else:  # a zone's own figures come before the statistics that may bear the same names
            sections[-1].figures.setdefault(name, value)
    zones = [_zone_info(one) for one in sections if one.figures.get("present")]
    if not zones:
        raise ProcError("/proc/zoneinfo holds no zone with memory: this is not what a Linux kernel prints")
    return tuple(sorted(zones, key=lambda zone: (zone.start_pfn, zone.node)))


def _zone_info(section: _Section) -> ZoneInfo:
    got = section.figures
    low = got.get("low", 0)
    high = got.get("high", 0)
    return ZoneInfo(
        node=section.node,
        name=section.name,
        start_pfn=got.get("start_pfn", 0),
        spanned=got.get("spanned", 0),
        present=got.get("present", 0),
        managed=got.get("managed", 0),
        free=got.get("free", 0),
        pcp=section.pcp,
        watermark_min=got.get("min", 0),
        watermark_low=low,
        watermark_high=high,
        watermark_promo=got.get("promo", high + (high - low)),
        watermark_boost=got.get("boost", 0),
    )


def zones_of(
    infos: tuple[ZoneInfo, ...], buddy: dict[ZoneKey, tuple[int, ...]], types: PageTypes | None
) -> tuple[Zone, ...]:
    """Zones as a Snapshot has them. Without pagetypeinfo a free block's migratetype is not known: one count an order.

    CMA's free blocks count as movable, for that is who uses them. How many blocks are free is buddyinfo's word:
    ``types`` may be older, and tells what part of them is of which type.
    """
    nodes = {info.node for info in infos}
    zones = []
    for info in infos:
        key = (info.node, info.name)
        counts = buddy.get(key)
        area: tuple[tuple[int, ...], ...] = tuple((count,) for count in counts or (0,) * NR_PAGE_ORDERS)
        if types is not None and key in types.free:
            area = _by_type(types.free[key], counts)
        name = info.name if len(nodes) == 1 else f"{info.name}, node {info.node}"
        zones.append(Zone(name, *info[2:], area))
    return tuple(zones)


def _by_type(free: dict[str, tuple[int, ...]], totals: tuple[int, ...] | None) -> tuple[tuple[int, ...], ...]:
    area = [[0] * len(MIGRATETYPE_NAMES) for _ in range(NR_PAGE_ORDERS)]
    for name, counts in free.items():
        column = MIGRATETYPE_NAMES.index(name) if name in MIGRATETYPE_NAMES else MIGRATE_MOVABLE
        for order, count in enumerate(counts[:NR_PAGE_ORDERS]):
            area[order][column] += count
    if totals is None:
        return tuple(tuple(row) for row in area)
    return tuple(_scaled(row, total) for row, total in zip(area, totals, strict=True))


def _scaled(row: list[int], total: int) -> tuple[int, ...]:
    """The counts, made to sum up to ``total``: each in proportion, the largest takes what is left."""
    known = sum(row)
    if known == total:
        return tuple(row)
    found = [count * total // known if known else 0 for count in row]
    largest = row.index(max(row)) if known else MIGRATE_MOVABLE
    found[largest] += total - sum(found)
    return tuple(found)


def parse_slabinfo(text: str, figures: dict[str, dict[str, int]] | None = None) -> tuple[Cache, ...]:
    """All slab caches that have slabs, in the file's order. ``figures``: partial and CPU slabs from /sys/kernel/slab.

    ``active`` is what slabinfo says: an upper bound, for free objects on CPUs count as used.
    """
    caches: list[Cache] = []
    known = False
    for line in text.splitlines():
        words = line.split()
        if line.startswith(("slabinfo", "#")) or len(words) < 16 or not words[1].isdigit():
            known = known or line.startswith("slabinfo")
            continue
        try:
            active, total, size, per_slab, pages = map(int, words[1:6])
            slabs = int(words[14])
        except ValueError:
            continue
        known = True
        if not slabs:
            continue
        extra = (figures or {}).get(words[0], {})
        partial = min(slabs, extra.get("partial", 0))
        caches.append(
            Cache(
                id=len(caches) + 1,
                name=words[0],
                object_size=size,
                size=size,
                order=max(0, pages.bit_length() - 1),
                objs_per_slab=per_slab,
                slabs=slabs,
                partial=partial,
                full=slabs - partial,
                active=active,
                total=total,
                cached=0,
                slabinfo_active=active,
                movable=False,
            )
        )
    if not known:
        raise ProcError("/proc/slabinfo holds no slab cache: this is not what a Linux kernel prints")
    return tuple(caches)


def parse_counters(text: str) -> tuple[tuple[str, int], ...]:
    """/proc/vmstat: counters, sorted by name."""
    found = []
    for line in text.splitlines():
        name, _, value = line.partition(" ")
        if value.strip().isdigit():
            found.append((name, int(value)))
    return tuple(sorted(found))


def parse_meminfo(text: str) -> dict[str, int]:
    """/proc/meminfo: KiB by name."""
    return {name: int(value) for name, value in _KB.findall(text)}
