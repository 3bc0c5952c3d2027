"""Requests and defragmentation passes of a simulated machine, as a Snapshot holds them."""

from __future__ import annotations

from collections.abc import Sequence

from memviz import snapshot
from memviz.kernel.defrag_pass import DefragPass
from memviz.kernel.request import RequestAnatomy, RequestStage


def stage(one: RequestStage) -> snapshot.Stage:
    """One stage of a request."""
    return snapshot.Stage(
        name=one.name,
        outcome=one.outcome,
        begin_ns=one.begin_ns,
        end_ns=one.end_ns,
        ok=one.ok,
        figures=tuple(one.figures.items()),
        pinned_by=tuple(one.pinned_by),
    )


def anatomy(request: RequestAnatomy) -> snapshot.RequestAnatomy:
    """A request taken apart."""
    return snapshot.RequestAnatomy(
        number=request.number,
        order=request.order,
        gfp=request.gfp_name,
        pfn=request.pfn,
        begin_ns=request.begin_ns,
        end_ns=request.end_ns,
        verdict=request.verdict,
        stages=tuple(stage(one) for one in request.stages),
    )


def defrag_report(passes: Sequence[DefragPass]) -> snapshot.DefragReport:
    """What one press of *Defragment slabs* did: a pass over each cache, told as one. ``passes`` is not empty."""
    if len(passes) == 1:
        total = passes[0]
    else:
        total = DefragPass(0, "all movable caches", passes[0].ratio, passes[0].begin)
        for one in passes:
            total.add(one)
        total.end = passes[-1].end
    story = [line for one in passes for line in one.story()]
    return snapshot.DefragReport(
        number=passes[-1].number,
        cache=", ".join(one.cache for one in passes),
        gain=total.gain(),
        price=total.price(),
        story=tuple(story),
        sentence=" ".join(one.sentence() for one in passes),
    )
