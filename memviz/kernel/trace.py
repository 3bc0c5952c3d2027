"""Tracepoints: what happened, when, on which CPU.

An event is a flat tuple of integers so that a ring of them is cheap to fill, turns into one numpy array without
conversion and goes into a database as it is: ``(sequence, time, cpu, kind, a, b, c, d)`` with time in virtual
nanoseconds. What ``a`` to ``d`` mean is in ``FIELDS``; kinds are named as Linux names its tracepoints where Linux has
one.

Two rings. *Notable* events (a failed request, a slab that moved, a grace period's end) are few and always kept. The
*bulk* (every page allocated and freed) is only kept while ``bulk`` is on; it is counted always.
"""

from __future__ import annotations

from collections import deque
from typing import Final

Event = tuple[int, int, int, int, int, int, int, int]

# Bulk: every page. Numbers are a file format (recordings hold them): never renumber, only add.
MM_PAGE_ALLOC: Final = 1
MM_PAGE_FREE: Final = 2
MM_PAGE_PCPU_DRAIN: Final = 3
KMEM_CACHE_ALLOC: Final = 4
KMEM_CACHE_FREE: Final = 5
LAST_BULK: Final = 9

# Notable: the page allocator.
MM_PAGE_ALLOC_EXTFRAG: Final = 10
ALLOC_FAILED: Final = 11
REQUEST_BEGIN: Final = 12
REQUEST_END: Final = 13
MM_VMSCAN_KSWAPD_WAKE: Final = 14
MM_VMSCAN_RECLAIM: Final = 15
MM_COMPACTION_BEGIN: Final = 16
MM_COMPACTION_END: Final = 17
MM_COMPACTION_DEFERRED: Final = 18
COMPACTION_PINNED: Final = 19
ALLOC_CONTIG: Final = 20
OUT_OF_MEMORY: Final = 21
HIGHATOMIC: Final = 22

# Notable: slabs and their mobility.
SLAB_NEW: Final = 30
SLAB_DISCARD: Final = 31
DEFRAG_BEGIN: Final = 32
DEFRAG_END: Final = 33
SLAB_ISOLATE: Final = 34
SLAB_ISOLATE_REFUSED: Final = 35
SLAB_MIGRATED: Final = 36
SLAB_LOCK_SPIN: Final = 37
OBJECT_MOVED: Final = 38
OBJECT_EVICTED: Final = 39
CACHE_SHRINK: Final = 40

# Notable: RCU, locks, CPUs.
RCU_GP_BEGIN: Final = 50
RCU_GP_END: Final = 51
RCU_BATCH: Final = 52
RCU_BARRIER: Final = 53
RCU_STALL: Final = 54
XA_NODE_MOVED: Final = 55
LOCK_CONTENDED: Final = 56
KERNEL_BUG: Final = 57

# Notable: the users of memory.
WORKLOAD_PHASE: Final = 60
FILE_TRUNCATED: Final = 61

# Told: what somebody outside turned.
POLICY_SET: Final = 62
WORKLOAD_SET: Final = 63

NAMES: Final[dict[int, str]] = {
    MM_PAGE_ALLOC: "mm_page_alloc",
    MM_PAGE_FREE: "mm_page_free",
    MM_PAGE_PCPU_DRAIN: "mm_page_pcpu_drain",
    KMEM_CACHE_ALLOC: "kmem_cache_alloc",
    KMEM_CACHE_FREE: "kmem_cache_free",
    MM_PAGE_ALLOC_EXTFRAG: "mm_page_alloc_extfrag",
    ALLOC_FAILED: "alloc_failed",
    REQUEST_BEGIN: "request_begin",
    REQUEST_END: "request_end",
    MM_VMSCAN_KSWAPD_WAKE: "mm_vmscan_kswapd_wake",
    MM_VMSCAN_RECLAIM: "mm_vmscan_reclaim",
    MM_COMPACTION_BEGIN: "mm_compaction_begin",
    MM_COMPACTION_END: "mm_compaction_end",
    MM_COMPACTION_DEFERRED: "mm_compaction_deferred",
    COMPACTION_PINNED: "compaction_pinned",
    ALLOC_CONTIG: "alloc_contig",
    OUT_OF_MEMORY: "out_of_memory",
    HIGHATOMIC: "highatomic",
    SLAB_NEW: "slab_new",
    SLAB_DISCARD: "slab_discard",
    DEFRAG_BEGIN: "defrag_begin",
    DEFRAG_END: "defrag_end",
    SLAB_ISOLATE: "slab_isolate",
    SLAB_ISOLATE_REFUSED: "slab_isolate_refused",
    SLAB_MIGRATED: "slab_migrated",
    SLAB_LOCK_SPIN: "slab_lock_spin",
    OBJECT_MOVED: "object_moved",
    OBJECT_EVICTED: "object_evicted",
    CACHE_SHRINK: "cache_shrink",
    RCU_GP_BEGIN: "rcu_gp_begin",
    RCU_GP_END: "rcu_gp_end",
    RCU_BATCH: "rcu_batch",
    RCU_BARRIER: "rcu_barrier",
    RCU_STALL: "rcu_stall",
    XA_NODE_MOVED: "xa_node_moved",
    LOCK_CONTENDED: "lock_contended",
    KERNEL_BUG: "kernel_bug",
    WORKLOAD_PHASE: "workload_phase",
    FILE_TRUNCATED: "file_truncated",
    POLICY_SET: "policy_set",
    WORKLOAD_SET: "workload_set",
}

# What a, b, c, d hold, per kind. "pfn" fields are page frame numbers and link to the map; "cache" is kmem_cache.id.
FIELDS: Final[dict[int, tuple[str, ...]]] = {
    MM_PAGE_ALLOC: ("pfn", "order", "migratetype", "gfp"),
    MM_PAGE_FREE: ("pfn", "order"),
    MM_PAGE_PCPU_DRAIN: ("pfn", "order", "migratetype"),
    KMEM_CACHE_ALLOC: ("addr", "cache"),
    KMEM_CACHE_FREE: ("addr", "cache"),
    MM_PAGE_ALLOC_EXTFRAG: (
        "pfn",
        "alloc_order",
        "fallback_order",
        "migratetypes",
    ),  # d = start << 8 | fallback << 4 | claimed
    ALLOC_FAILED: ("order", "gfp", "reason"),
    REQUEST_BEGIN: ("order", "gfp"),
    REQUEST_END: ("order", "pfn_plus_1", "duration_ns"),
    MM_VMSCAN_KSWAPD_WAKE: ("zone", "order"),
    MM_VMSCAN_RECLAIM: ("reclaimed", "scanned", "order"),
    MM_COMPACTION_BEGIN: ("zone", "order", "sync"),
    MM_COMPACTION_END: ("zone", "order", "result", "migrated"),
    MM_COMPACTION_DEFERRED: ("zone", "order", "shift"),
    COMPACTION_PINNED: ("pfn", "block", "owner"),
    ALLOC_CONTIG: ("pfn", "nr_pages", "errno"),
    OUT_OF_MEMORY: ("order", "gfp"),
    HIGHATOMIC: ("pfn", "reserved"),
    SLAB_NEW: ("pfn", "order", "cache"),
    SLAB_DISCARD: ("pfn", "order", "cache"),
    DEFRAG_BEGIN: ("cache", "ratio"),
    DEFRAG_END: ("cache", "slabs_freed", "moved", "refused"),
    SLAB_ISOLATE: ("pfn", "cache", "objects"),
    SLAB_ISOLATE_REFUSED: ("pfn", "cache", "reason"),
    SLAB_MIGRATED: ("pfn", "cache", "left"),
    SLAB_LOCK_SPIN: ("pfn", "cache", "ns"),
    OBJECT_MOVED: ("from", "to", "cache"),
    OBJECT_EVICTED: ("addr", "cache"),
    CACHE_SHRINK: ("cache", "slabs_freed"),
    RCU_GP_BEGIN: ("gp",),
    RCU_GP_END: ("gp", "callbacks"),
    RCU_BATCH: ("callbacks", "left"),
    RCU_BARRIER: ("waited_ns",),
    RCU_STALL: ("gp", "stalled_cpu", "ns"),
    XA_NODE_MOVED: ("from", "to", "xarray", "index"),
    LOCK_CONTENDED: ("lock", "ns"),
    KERNEL_BUG: ("rule",),
    WORKLOAD_PHASE: ("phase",),
    FILE_TRUNCATED: ("file", "pages"),
    POLICY_SET: ("policy", "value", "before"),  # places in POLICIES, and in what the policy may be
    WORKLOAD_SET: ("control", "value_thousandths", "before_thousandths"),  # control: place in Snapshot.controls
}


class Trace:
    """The machine's event rings: bounded, oldest dropped first, ``lost`` counts what readers missed."""

    def __init__(self, notable_len: int = 16384, bulk_len: int = 65536) -> None:
        self.notable: deque[Event] = deque(maxlen=notable_len)
        self.bulk_ring: deque[Event] = deque(maxlen=bulk_len)
        self.bulk = False
        self.seq = 0
        self.told = 0
        self.counts: list[int] = [0] * 64
        self.now = 0  # virtual time, ns: kept here by Smp.advance so that events need no caller's clock
        self.cpu = 0  # who runs: kept here by Smp for the same reason

    def emit(self, kind: int, a: int = 0, b: int = 0, c: int = 0, d: int = 0) -> None:
        """Record one notable event."""
        self.seq += 1
        self.counts[kind] += 1
        self.notable.append((self.seq, self.now, self.cpu, kind, a, b, c, d))

    def tell(self, kind: int, a: int, b: int, c: int) -> None:
        """Record what somebody outside did, on no CPU. The machine did none of it, so its digest leaves this out."""
        self.seq += 1
        self.told += 1
        self.notable.append((self.seq, self.now, -1, kind, a, b, c, 0))

    def emit_bulk(self, kind: int, a: int = 0, b: int = 0, c: int = 0, d: int = 0) -> None:
        """Count one bulk event; keep it when somebody asked for the bulk."""
        self.counts[kind] += 1
        if self.bulk:
            self.seq += 1
            self.bulk_ring.append((self.seq, self.now, self.cpu, kind, a, b, c, d))
