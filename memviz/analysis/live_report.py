"""A real machine's memory at one instant, told as text or JSON: what ``memviz report --live`` prints."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from memviz.analysis.contiguity import Contiguity
from memviz.analysis.fragmentation import indices
from memviz.analysis.pins import PinReport
from memviz.kernel.page import NR_PAGE_ORDERS
from memviz.snapshot import Cache, Zone

_CACHES_SHOWN: Final = 12


class CgroupFrames(NamedTuple):
    """Page frames that a memory cgroup is charged for."""

    path: str
    frames: int
    pinned: int
    """Those that can't be moved."""


@dataclass(frozen=True, slots=True)
class LiveReport:
    """One instant of a real machine. Sizes in page frames of 4 KiB."""

    host: str
    kernel: str
    when: str
    """ISO 8601, UTC."""
    zones: tuple[Zone, ...]
    frames: dict[str, int]
    """By owner; empty when page flags can't be read."""
    pageblocks: dict[str, int]
    """By migratetype."""
    contiguity: Contiguity | None
    pins: PinReport | None
    caches: tuple[Cache, ...]
    slabs_named: int
    """Page frames of slabs whose cache the trace has shown."""
    missing: dict[str, str]
    """What can't be seen, and what would bring it."""
    cgroups: tuple[CgroupFrames, ...] = ()
    """Those with most page frames first; empty where the kernel doesn't tell."""
    call_sites: dict[int, str] = field(default_factory=dict)
    """Who allocated the page frames that pin the cheapest blocks, by pfn, where page_owner knows."""

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        told: dict[str, Any] = {
            "host": self.host,
            "kernel": self.kernel,
            "when": self.when,
            "zones": [_zone(one) for one in self.zones],
            "page_frames": self.frames,
            "pageblocks": self.pageblocks,
            "missing": self.missing,
            "slab_frames_named": self.slabs_named,
            "caches": [one._asdict() for one in self.caches],
            "cgroups": [one._asdict() for one in self.cgroups],
            "call_sites": {str(pfn): site for pfn, site in self.call_sites.items()},
        }
        if self.contiguity is not None:
            told["contiguity"] = {
                "free_blocks": list(self.contiguity.free),
                "servable_now": list(self.contiguity.now),
                "servable_if_moved": list(self.contiguity.possible),
            }
        if self.pins is not None:
            told["pins"] = self.pins.as_dict()
        return told

    def as_json(self) -> str:
        """The report as JSON."""
        return json.dumps(self.as_dict(), indent=2, ensure_ascii=False)

    def as_text(self) -> str:
        """The report as text, for a terminal of 100 columns."""
        lines = [f"{self.host}, Linux {self.kernel}, {self.when}"]
        lines += _pins_text(self.pins, self.call_sites) if self.pins is not None else []
        lines += _frames_text(self.frames)
        lines += _zones_text(self.zones, self.contiguity)
        lines += _caches_text(self.caches)
        lines += _cgroups_text(self.cgroups)
        if self.missing:
            lines += ["", "What can't be seen"]
            lines += [f"  {what}: {why}" for what, why in self.missing.items()]
        return "\n".join(lines)


def _zone(zone: Zone) -> dict[str, Any]:
    both = indices(zone.nr_free())
    return {
        **zone._asdict(),
        "nr_free": list(zone.nr_free()),
        "unusable_free_index": list(both.unusable),
        "fragmentation_index": list(both.fragmentation),
    }


def _size(frames: int) -> str:
    return f"{frames * 4 / 1024:,.1f} MiB"


def _cgroups_text(cgroups: tuple[CgroupFrames, ...]) -> list[str]:
    if not cgroups:
        return []
    lines = ["", f"{'Memory cgroup':<58}{'pages':>12}{'pinned':>10}"]
    return lines + [f"  {one.path[-56:]:<56}{one.frames:>12,}{one.pinned:>10,}" for one in cgroups[:_CACHES_SHOWN]]


def _pins_text(pins: PinReport, sites: dict[int, str]) -> list[str]:
    lines = [
        "",
        f"Blocks of 2 MiB: {pins.blocks:,}, free {pins.free:,}, movable {pins.clean:,}, pinned {pins.pinned:,}",
    ]
    lines += [f"  {price.sentence()}" for price in pins.prices]
    if pins.by_who:
        lines += ["", f"{'Who pins pageblocks':<58}{'pages':>12}{'blocks':>10}{'alone':>9}"]
        lines += [f"  {pin.who:<56}{pin.frames:>12,}{pin.blocks:>10,}{pin.alone:>9,}" for pin in pins.by_who[:16]]
        lines.append("  alone: blocks that nobody else pins")
    if pins.cheapest:
        lines += ["", "Blocks that the fewest pages pin"]
        for block in pins.cheapest:
            whose: dict[str, list[int]] = {}
            for pfn, who in block.frames:
                by = f", from {sites[pfn]}" if pfn in sites else ""
                whose.setdefault(who + by, []).append(pfn)
            told = "; ".join(
                f"{who} at {', '.join(f'{pfn:#x}' for pfn in at[:4])}{' …' if len(at) > 4 else ''}"
                for who, at in whose.items()
            )
            lines.append(f"  block {block.block}: {told}")
    return lines


def _frames_text(frames: dict[str, int]) -> list[str]:
    if not frames:
        return []
    lines = ["", "Page frames"]
    for name, count in sorted(frames.items(), key=lambda one: -one[1]):
        shown = "not managed" if name == "unknown" else name
        lines.append(f"  {shown:<24}{count:>12,}{_size(count):>16}")
    return lines


def _zones_text(zones: tuple[Zone, ...], contiguous: Contiguity | None) -> list[str]:
    if not zones:
        return []
    lines = ["", "Free blocks".ljust(24) + "".join(f"{order:>8}" for order in range(NR_PAGE_ORDERS))]
    for zone in zones:
        both = indices(zone.nr_free())
        lines += [
            _row(f"  {zone.name}", zone.nr_free()),
            _row("    unusable, 1/1000", both.unusable),
            f"    managed {zone.managed:,} of {zone.present:,}, free {zone.free:,}, on per-CPU lists {zone.pcp:,}",
        ]
    if contiguous is not None:
        lines += [_row("  requests now", contiguous.now), _row("  if all moved", contiguous.possible)]
    return lines


def _row(label: str, values: tuple[int, ...]) -> str:
    return label.ljust(24) + "".join(f"{value:>8}" for value in values)


def _caches_text(caches: tuple[Cache, ...]) -> list[str]:
    if not caches:
        return []
    lines = ["", f"{'Slab cache':<30}{'pages':>10}{'slabs':>10}{'order':>7}{'in use':>12}{'objects':>12}{'used':>7}"]
    largest = sorted(caches, key=lambda one: -(one.slabs << one.order))[:_CACHES_SHOWN]
    for one in largest:
        used = f"{one.active * 100 // max(1, one.total)} %"
        lines.append(
            f"  {one.name:<28}{one.slabs << one.order:>10,}{one.slabs:>10,}{one.order:>7}"
            f"{one.active:>12,}{one.total:>12,}{used:>7}"
        )
    return lines
