"""Why a real request for a huge page was served or not: stages from what the kernel traced while it was asked."""

from __future__ import annotations

from typing import Final

import numpy as np

from memviz.kernel import trace
from memviz.snapshot import RequestAnatomy, Stage, Structured

_RESULTS: Final = (
    "not a suitable zone",
    "skipped: too little is free to compact with",
    "deferred after earlier failures",
    "found no suitable page",
    "goes on",
    "went through the whole zone in vain",
    "went through a part of the zone in vain",
    "gave way to others",
    "made a block free",
)
"""enum compact_result, by number (include/linux/compaction.h)."""
_SUCCESS: Final = 8


def anatomy(
    number: int, order: int, got: bool, span_ns: tuple[int, int], events: Structured, traced: bool
) -> RequestAnatomy:
    """The stages of one request. ``events``: what was traced from its begin to its end, on all CPUs."""
    begin, end = span_ns
    stages = []
    compactions = events[events["kind"] == trace.MM_COMPACTION_END]
    deferred = int((events["kind"] == trace.MM_COMPACTION_DEFERRED).sum())
    failed = events[(events["kind"] == trace.ALLOC_FAILED) & (events["a"] == order)]
    if compactions.size == 0 and got:
        stages.append(Stage("free lists", "a free block was large enough, or one was split", begin, end, True))
    elif traced:
        stages.append(Stage("free lists", f"no free block of order {order} was there for it", begin, end, False))
    if compactions.size:
        last = int(compactions["c"][-1])
        moved = int(compactions["d"].sum())
        result = _RESULTS[last] if 0 <= last < len(_RESULTS) else f"ended with {last}"
        figures = (("runs", int(compactions.size)), ("pages moved", moved))
        outcome = f"{compactions.size} runs moved {moved:,} pages; the last {result}"
        stages.append(Stage("compaction", outcome, begin, end, last == _SUCCESS, figures))
    if deferred:
        stages.append(
            Stage("compaction", f"put off {deferred} times after earlier failures", begin, end, False)
        )  # fmt: skip
    ms = (end - begin) / 1e6
    verdict = (
        f"A huge page was found in {ms:.1f} ms, and given back."
        if got
        else f"There was no huge page to be had: the kernel tried for {ms:.1f} ms."
    )
    if not traced:
        verdict += " How is not known: this machine is not traced."
    elif failed.size:
        verdict += f" {failed.size} requests of order {order} failed meanwhile."
    pfn = _given_back(events, order) if got else -1
    return RequestAnatomy(number, order, "GFP_TRANSHUGE", pfn, 0, end - begin, verdict, tuple(stages))


def _given_back(events: Structured, order: int) -> int:
    """The block of that order that was allocated and then freed; -1: no such was seen."""
    blocks = events[(events["b"] == order) & np.isin(events["kind"], (trace.MM_PAGE_ALLOC, trace.MM_PAGE_FREE))]
    allocated: set[int] = set()
    for kind, pfn in zip(blocks["kind"].tolist(), blocks["a"].tolist(), strict=True):
        if kind == trace.MM_PAGE_ALLOC:
            allocated.add(pfn)
        elif pfn in allocated:
            return int(pfn)
    return -1
