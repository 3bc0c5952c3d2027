"""What came of a run, for people and for programs. Pure: it follows from the run alone, no clock, no machine."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, NamedTuple

from memviz.analysis.contiguity import Contiguity, who_pins
from memviz.analysis.fragmentation import indices
from memviz.kernel.page import NR_PAGE_ORDERS, OWNER_NAMES
from memviz.snapshot import Cache, DefragReport, RequestAnatomy, Zone

_ORDERS = range(NR_PAGE_ORDERS)


class Happened(NamedTuple):
    """A moment of the scenario's script."""

    ops: int
    do: str
    say: str
    told: str
    """What came of it, in words."""


@dataclass(frozen=True, slots=True)
class RunReport:
    """A run, told from its end."""

    scenario: str
    title: str
    question: str
    lesson: str
    seed: int
    memory_mib: int
    cpus: int
    ops: int
    time_ns: int
    digest: str
    policies: dict[str, str]
    story: tuple[Happened, ...]
    requests: tuple[RequestAnatomy, ...]
    defragmentations: tuple[DefragReport, ...]
    zones: tuple[Zone, ...]
    caches: tuple[Cache, ...]
    contiguity: Contiguity
    counters: dict[str, int]

    def as_dict(self) -> dict[str, Any]:
        """Plain values, in a fixed order."""
        return {
            "scenario": self.scenario,
            "title": self.title,
            "question": self.question,
            "lesson": self.lesson,
            "seed": self.seed,
            "memory_mib": self.memory_mib,
            "cpus": self.cpus,
            "ops": self.ops,
            "time_ns": self.time_ns,
            "digest": self.digest,
            "policies": self.policies,
            "story": [one._asdict() for one in self.story],
            "requests": [_request(one) for one in self.requests],
            "defragmentations": [_defragmentation(one) for one in self.defragmentations],
            "zones": [_zone(one) for one in self.zones],
            "contiguity": {
                "free_blocks": list(self.contiguity.free),
                "servable_now": list(self.contiguity.now),
                "servable_if_moved": list(self.contiguity.possible),
            },
            "pinned_by": [
                {"owner": OWNER_NAMES[one.owner], "frames": one.frames, "pageblocks": one.blocks, "alone": one.alone}
                for one in who_pins(self.contiguity.pins)
            ],
            "caches": [one._asdict() for one in self.caches],
            "counters": self.counters,
        }

    def as_json(self) -> str:
        """The report as JSON."""
        return json.dumps(self.as_dict(), indent=2, ensure_ascii=False)

    def as_text(self) -> str:
        """The report as text."""
        return "\n".join(_text(self))


def _request(one: RequestAnatomy) -> dict[str, Any]:
    told = one._asdict()
    told["ok"] = one.pfn >= 0
    told["stages"] = [
        {
            **stage._asdict(),
            "figures": dict(stage.figures),
            "pinned_by": [{"who": who, "pageblock": block, "at": at} for who, block, at in stage.pinned_by],
        }
        for stage in one.stages
    ]
    return told


def _defragmentation(one: DefragReport) -> dict[str, Any]:
    return {**one._asdict(), "gain": dict(one.gain), "price": dict(one.price), "story": list(one.story)}


def _zone(zone: Zone) -> dict[str, Any]:
    nr_free = zone.nr_free()
    told = zone._asdict()
    told["free_area"] = [list(per_type) for per_type in zone.free_area]
    told["nr_free"] = list(nr_free)
    both = indices(nr_free)
    told["unusable_free_index"] = list(both.unusable)
    told["fragmentation_index"] = list(both.fragmentation)
    return told


def _text(report: RunReport) -> list[str]:
    lines = [
        f"{report.title} ({report.scenario}), seed {report.seed}, {report.memory_mib} MiB, {report.cpus} CPUs",
        report.question,
        f"{report.ops:,} operations, {report.time_ns / 1e9:.3f} s of virtual time",
    ]
    if report.story:
        lines += ["", "What happened"]
        for one in report.story:
            lines.append(f"  at {one.ops:,}: {one.say or one.do}")
            if one.told:
                lines.append(f"    {one.told}")
    for number, request in enumerate(report.requests, start=1):
        lines += ["", f"Request {number}: order {request.order}, {request.gfp}"]
        lines += [f"  {stage.name:<12} {'+' if stage.ok else '-'} {stage.outcome}" for stage in request.stages]
    lines += ["", "Free memory".ljust(18) + "".join(f"order {order}".rjust(9) for order in _ORDERS)]
    for zone in report.zones:
        both = indices(zone.nr_free())
        lines += [
            _row(f"  {zone.name}: blocks", zone.nr_free()),
            _row("    unusable", both.unusable),
            _row("    fragmentation", both.fragmentation),
        ]
    lines += [_row("  now", report.contiguity.now), _row("  if all moved", report.contiguity.possible)]
    lines += ["", "Who pins pageblocks".ljust(24) + "frames".rjust(10) + "pageblocks".rjust(12) + "alone".rjust(8)]
    for pin in who_pins(report.contiguity.pins):
        lines.append(f"  {OWNER_NAMES[pin.owner]:<22}{pin.frames:>10,}{pin.blocks:>12,}{pin.alone:>8,}")
    lines += [
        "",
        "Slab cache".ljust(24) + "slabs".rjust(8) + "partial".rjust(9) + "active".rjust(10) + "total".rjust(10),
    ]
    for cache in report.caches:
        name = cache.name + (" *" if cache.movable else "")
        lines.append(f"  {name:<22}{cache.slabs:>8,}{cache.partial:>9,}{cache.active:>10,}{cache.total:>10,}")
    lines += ["  * movable", "", report.lesson, f"digest {report.digest}"]
    return lines


def _row(label: str, values: tuple[int, ...]) -> str:
    return label.ljust(18) + "".join(str(value).rjust(9) for value in values)
