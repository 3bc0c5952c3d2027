"""A request taken apart, as rows to draw. No Qt."""

from __future__ import annotations

from dataclasses import dataclass

from memviz.gui.render.numbers import count, duration
from memviz.kernel.page import PAGE_SHIFT
from memviz.snapshot import RequestAnatomy, Stage

_COLORS = {
    "fast path": "chart.fast",
    "reclaim": "chart.reclaim",
    "compaction": "chart.compaction",
    "slab defrag": "chart.defrag",
    "retry": "chart.retry",
}


@dataclass(frozen=True, slots=True)
class Row:
    """One stage."""

    name: str
    words: str
    """Its outcome, with its figures when the outcome does not name them."""
    tone: str
    """Key of the group ``tone``."""
    color: str
    """Key of the theme for its bar."""
    begin: float
    """Where its bar begins and ends: 0 to 1 of the request's time."""
    end: float
    took: str


@dataclass(frozen=True, slots=True)
class Pin:
    """What stopped the request: a link to a page frame."""

    words: str
    pfn: int


@dataclass(frozen=True, slots=True)
class Anatomy:
    """All that the panel shows."""

    title: str
    subtitle: str
    verdict: str
    ok: bool
    rows: tuple[Row, ...]
    pins: tuple[Pin, ...]


def anatomy(request: RequestAnatomy) -> Anatomy:
    """Take ``request`` apart."""
    ok = request.pfn >= 0
    whole = max(1, request.end_ns - request.begin_ns)
    took = duration(request.end_ns - request.begin_ns)
    rows = tuple(_row(stage, request.begin_ns, whole) for stage in request.stages)
    seen: dict[Pin, None] = {}
    for stage in request.stages:
        for owner, block, where in stage.pinned_by:
            # An address or a page frame: addresses of real page frames are never below 16 MiB.
            pfn = where >> PAGE_SHIFT if where >= 1 << 24 and where >> PAGE_SHIFT >> 9 == block else where
            seen[Pin(f"{owner} in block {block}", pfn)] = None
    return Anatomy(
        f"Request: order {request.order}, {request.gfp}",
        f"{'✓ succeeded' if ok else '✗ failed'} after {took}",
        request.verdict,
        ok,
        rows,
        tuple(seen),
    )


def _row(stage: Stage, begin: int, whole: int) -> Row:
    color = "chart.reclaim"
    for name, key in _COLORS.items():
        if name in stage.name:
            color = key
    words = stage.outcome or " · ".join(f"{name} {count(value)}" for name, value in stage.figures)
    return Row(
        stage.name,
        words,
        "muted" if stage.ok else "bad",
        color if stage.ok or color != "chart.fast" else "chart.failed",
        max(0.0, (stage.begin_ns - begin) / whole),
        min(1.0, (stage.end_ns - begin) / whole),
        duration(stage.end_ns - stage.begin_ns),
    )
