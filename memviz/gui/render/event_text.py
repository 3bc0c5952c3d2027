"""Events in words, and which tone they have. No Qt.

A tone is a key of the theme's group ``tone``; the words alone say the same, so that colour is never the only sign.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from memviz.gui.render.numbers import count, duration
from memviz.kernel import trace
from memviz.kernel.page import MAX_PAGE_ORDER, OWNER_NAMES, PAGE_SHIFT
from memviz.kernel.policies import POLICIES
from memviz.snapshot import Control, Snapshot

PFN_FIELDS: Final = ("pfn",)
ADDRESS_FIELDS: Final = ("addr", "to")


@dataclass(frozen=True, slots=True)
class Names:
    """What numbers in events stand for, taken from the newest snapshot."""

    caches: Mapping[int, str] = field(default_factory=dict)
    xarrays: Mapping[int, str] = field(default_factory=dict)
    controls: tuple[Control, ...] = ()

    @staticmethod
    def of(snapshot: Snapshot) -> Names:
        """The names that ``snapshot`` knows."""
        return Names(
            {cache.id: cache.name for cache in snapshot.caches},
            {xarray.id: xarray.name for xarray in snapshot.xarrays},
            snapshot.controls,
        )

    def cache(self, number: int) -> str:
        """Name of a cache."""
        return self.caches.get(number, f"cache {number}")

    def xarray(self, number: int) -> str:
        """Name of an XArray: that of a file, which may be none of those that a Snapshot lists."""
        return self.xarrays.get(number, f"file {number}" if number else "an XArray")

    def control(self, place: int) -> str:
        """What a control of the workload is called."""
        return self.controls[place].called if 0 <= place < len(self.controls) else f"control {place}"


Arguments = tuple[int, int, int, int]
Writer = Callable[[Arguments, Names], str]


def _owner(code: int) -> str:
    return OWNER_NAMES[code] if 0 <= code < len(OWNER_NAMES) else f"owner {code}"


def _request_end(a: Arguments, names: Names) -> str:
    took = duration(a[2])
    if a[1]:
        return f"request of order {a[0]} ✓ pfn {a[1] - 1:#x}, after {took}"
    return f"request of order {a[0]} ✗ failed after {took}"


def _moved(a: Arguments, names: Names) -> str:
    # The engine does not know which file it is: it numbers files from 1.
    where = f"{names.xarray(a[2])} [{a[3]:#x}]" if a[2] else f"index {a[3]:#x}"
    return f"xa_node moved: {where} → {a[1]:#x}"


def _compacted(order: int) -> str:
    # The kernel's -1: all of memory, for nobody in particular.
    return f", for order {order}" if 0 <= order <= MAX_PAGE_ORDER else ", of a whole zone"


def _policy_set(a: Arguments, names: Names) -> str:
    policies = list(POLICIES.items())
    if not 0 <= a[0] < len(policies):
        return f"policy {a[0]} changed"  # of a newer memviz
    name, (values, _) = policies[a[0]]
    before, now = (values[at] if 0 <= at < len(values) else str(at) for at in (a[2], a[1]))
    return f"policy {name}: {before} → {now}"


_WRITERS: Final[dict[int, tuple[str, Writer]]] = {
    trace.MM_PAGE_ALLOC: ("muted", lambda a, n: f"page allocated: pfn {a[0]:#x}, order {a[1]}"),
    trace.MM_PAGE_FREE: ("muted", lambda a, n: f"page freed: pfn {a[0]:#x}, order {a[1]}"),
    trace.MM_PAGE_PCPU_DRAIN: ("muted", lambda a, n: f"per-CPU page drained: pfn {a[0]:#x}, order {a[1]}"),
    trace.KMEM_CACHE_ALLOC: ("muted", lambda a, n: f"object allocated: {n.cache(a[1])} at {a[0]:#x}"),
    trace.KMEM_CACHE_FREE: ("muted", lambda a, n: f"object freed: {n.cache(a[1])} at {a[0]:#x}"),
    trace.MM_PAGE_ALLOC_EXTFRAG: (
        "warn",
        lambda a, n: (
            f"fallback: order {a[1]} taken from a foreign block, pfn {a[0]:#x}"
            + (" (block claimed)" if a[3] & 1 else "")
        ),
    ),
    trace.ALLOC_FAILED: ("bad", lambda a, n: f"allocation of order {a[0]} ✗ failed"),
    trace.REQUEST_BEGIN: ("plain", lambda a, n: f"request of order {a[0]} begins"),
    trace.REQUEST_END: ("plain", _request_end),
    trace.MM_VMSCAN_KSWAPD_WAKE: ("plain", lambda a, n: f"kswapd wakes for order {a[1]}"),
    trace.MM_VMSCAN_RECLAIM: ("plain", lambda a, n: f"reclaim: {count(a[0])} of {count(a[1])} pages dropped"),
    trace.MM_COMPACTION_BEGIN: ("plain", lambda a, n: f"compaction begins{_compacted(a[1])}"),
    trace.MM_COMPACTION_END: ("plain", lambda a, n: f"compaction ends: {count(a[3])} pages moved{_compacted(a[1])}"),
    trace.MM_COMPACTION_DEFERRED: ("warn", lambda a, n: f"compaction deferred, for order {a[1]}"),
    trace.COMPACTION_PINNED: ("warn", lambda a, n: f"compaction: block {a[1]} pinned by {_owner(a[2])}, pfn {a[0]:#x}"),
    trace.ALLOC_CONTIG: (
        "plain",
        lambda a, n: f"alloc_contig of {count(a[1])} pages at pfn {a[0]:#x} " + ("✗ failed" if a[2] else "✓"),
    ),
    trace.OUT_OF_MEMORY: ("bad", lambda a, n: f"out of memory, order {a[0]}"),
    trace.HIGHATOMIC: ("plain", lambda a, n: f"block at pfn {a[0]:#x} reserved for atomic requests"),
    trace.SLAB_NEW: ("muted", lambda a, n: f"new slab for {n.cache(a[2])}: pfn {a[0]:#x}, order {a[1]}"),
    trace.SLAB_DISCARD: (
        "good",
        lambda a, n: f"slab of {n.cache(a[2])} emptied: {1 << a[1]} pages freed, pfn {a[0]:#x}",
    ),
    trace.DEFRAG_BEGIN: ("plain", lambda a, n: f"defragmentation of {n.cache(a[0])} begins: slabs up to {a[1]} % used"),
    trace.DEFRAG_END: (
        "good",
        lambda a, n: (
            f"defragmentation of {n.cache(a[0])} ends: {count(a[1])} slabs freed, {count(a[2])} objects moved, "
            f"{count(a[3])} refused"
        ),
    ),
    trace.SLAB_ISOLATE: ("moved", lambda a, n: f"slab of {n.cache(a[1])} isolated: {a[2]} objects, pfn {a[0]:#x}"),
    trace.SLAB_ISOLATE_REFUSED: (
        "bad",
        lambda a, n: f"isolate → None: object of {n.cache(a[1])} in use, pfn {a[0]:#x}",
    ),
    trace.SLAB_MIGRATED: (
        "moved",
        lambda a, n: f"slab of {n.cache(a[1])} processed: {a[2]} objects left, pfn {a[0]:#x}",
    ),
    trace.SLAB_LOCK_SPIN: (
        "bad",
        lambda a, n: f"kmem_cache_free spins {duration(a[2])}: slab at pfn {a[0]:#x} isolated",
    ),
    trace.OBJECT_MOVED: ("moved", lambda a, n: f"{n.cache(a[2])} object moved: {a[0]:#x} → {a[1]:#x}"),
    trace.OBJECT_EVICTED: ("moved", lambda a, n: f"{n.cache(a[1])} object evicted: {a[0]:#x}"),
    trace.CACHE_SHRINK: ("plain", lambda a, n: f"{n.cache(a[0])} shrunk: {count(a[1])} slabs freed"),
    trace.RCU_GP_BEGIN: ("muted", lambda a, n: f"RCU: grace period {a[0]} begins"),
    trace.RCU_GP_END: ("plain", lambda a, n: f"RCU: grace period {a[0]} ended, {count(a[1])} callbacks"),
    trace.RCU_BATCH: ("muted", lambda a, n: f"RCU: {count(a[0])} callbacks run, {count(a[1])} left"),
    trace.RCU_BARRIER: ("plain", lambda a, n: f"RCU: barrier waited {duration(a[0])}"),
    trace.RCU_STALL: ("bad", lambda a, n: f"RCU: stall, CPU {a[1]} holds up grace period {a[0]} for {duration(a[2])}"),
    trace.XA_NODE_MOVED: ("moved", _moved),
    trace.LOCK_CONTENDED: ("warn", lambda a, n: f"lock contended: {duration(a[1])}"),
    trace.KERNEL_BUG: ("bad", lambda a, n: "BUG: the kernel broke one of its rules"),
    trace.WORKLOAD_PHASE: ("info", lambda a, n: f"workload: phase {a[0]} begins"),
    trace.FILE_TRUNCATED: ("plain", lambda a, n: f"file {a[0]} truncated: {count(a[1])} pages freed"),
    trace.POLICY_SET: ("info", _policy_set),
    trace.WORKLOAD_SET: ("info", lambda a, n: f"{n.control(a[0])}: {a[2] / 1000:g} → {a[1] / 1000:g}"),
}


def text_of(kind: int, arguments: Arguments, names: Names) -> str:
    """The event in words. A kind that this version does not know is shown with its numbers."""
    found = _WRITERS.get(kind)
    if found is None:
        return f"event {kind}: {', '.join(map(str, arguments))}"
    return found[1](arguments, names)


def tone_of(kind: int, arguments: Arguments) -> str:
    """Key of the group ``tone`` of the theme."""
    if kind == trace.REQUEST_END:
        return "good" if arguments[1] else "bad"
    if kind == trace.ALLOC_CONTIG:
        return "bad" if arguments[2] else "good"
    found = _WRITERS.get(kind)
    return found[0] if found is not None else "plain"


def pfn_of(kind: int, arguments: Arguments) -> int:
    """The page frame that the event is about, -1 when it is about none."""
    for name, value in zip(trace.FIELDS.get(kind, ()), arguments, strict=False):
        if name in PFN_FIELDS:
            return value
        if name in ADDRESS_FIELDS and value > 0:
            return value >> PAGE_SHIFT
        if name == "pfn_plus_1":
            return value - 1
    return -1


def cache_of(kind: int, arguments: Arguments) -> int:
    """The cache that the event is about, -1 when it is about none."""
    for name, value in zip(trace.FIELDS.get(kind, ()), arguments, strict=False):
        if name == "cache":
            return value
    return -1
