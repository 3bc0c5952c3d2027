"""A real kernel's page traffic through the simulated page allocator, and the same under another policy.

The trace says who asked for what and when it was given back; the simulated allocator decides where it lies. So orders,
migratetypes, gfp flags, CPUs and the order of events are the real kernel's, and every fallback, failure and free block
is the policy's. An allocation and its free belong together by the trace's page frame.

The trace's machine is not simulated: it had far more memory than the traffic needs and met no pressure. The replay's
machine has ``PRESSURE`` times the traffic's largest footprint free at its start, and it is not fresh but aged
(``age``): its free memory lies between pages that stay, as on a box that has run for weeks. Among them is clean page
cache of nobody in the trace, which reclaim may take. Where the real zone's free blocks from right before the trace are
known, free memory is made like them instead (``calibrate``). Compaction moves what is movable. A request that may not
fail (__GFP_NOFAIL) counts as failed where the kernel would begin to kill processes.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Final

from memviz.analysis.replay_machine import RESIDENT, Index, ReplayMachine
from memviz.kernel.page import GFP_MOVABLE, GFP_NOFAIL, GFP_RECLAIMABLE, MAX_PAGE_ORDER, NR_PAGE_ORDERS
from memviz.kernel.trace import ALLOC_FAILED, MM_PAGE_ALLOC, MM_PAGE_ALLOC_EXTFRAG, MM_PAGE_FREE, Trace
from memviz.kernel.vmstat import PGMIGRATE_SUCCESS
from memviz.snapshot import Structured

BATCHED: Final = 1
"""Field ``c`` of an MM_PAGE_FREE event that was a ``mm_page_free_batched``: it frees only what nothing freed before."""

PRESSURE: Final = 1.15


@dataclass(frozen=True, slots=True)
class Policy:
    """How the allocator is set up for one replay."""

    name: str
    explanation: str
    defrag_mode: int = 0
    watermark_boost_factor: int = 15000


POLICIES: Final = (
    Policy("default", "Linux as it is set up by default"),
    Policy("defrag_mode=1", "vm.defrag_mode (Linux 6.15): never mix migratetypes while there is another way", 1),
    Policy("no boost", "vm.watermark_boost_factor=0: a fallback does not raise the watermarks", 0, 0),
)


@dataclass(frozen=True, slots=True)
class Replayed:
    """What one policy made of the traffic."""

    policy: str
    explanation: str
    failed: tuple[int, ...]
    """Requests that got nothing, per order."""
    fallbacks: int
    """Allocations from another migratetype's block (``mm_page_alloc_extfrag``)."""
    claimed: int
    """Fallbacks that took the whole pageblock over."""
    polluting: int
    """Fallbacks below pageblock order: they mix what moves with what does not."""
    reclaimed: int
    """Pages of page cache that had to go."""
    migrated: int
    """Pages that compaction moved."""
    at_peak: Index
    at_end: Index
    digest: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """The same traffic under several policies."""

    memory_mib: int
    seed: int
    requests: tuple[int, ...]
    """Requests in the trace, per order, those that failed there included."""
    failed_in_trace: int
    fallbacks_in_trace: int
    frees: int
    """Frees of blocks that the trace allocated."""
    frees_of_older: int
    """Frees of blocks from before the trace: nothing to replay."""
    peak_pages: int
    """Largest number of page frames that the traffic held at once."""
    kept_pages: int
    """Page frames that the traffic still held at its end."""
    results: tuple[Replayed, ...]
    like: tuple[int, ...] = ()
    """Free blocks of each order in the real zone that the memory was made like; empty: it was aged instead."""
    start: Index | None = None
    """The free memory that every policy began with."""

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


class Traffic:
    """A trace, paired: what to allocate, and which allocation each free gives back."""

    def __init__(self, events: Structured) -> None:
        # (cpu, allocation, order, migratetype, gfp); order -1 frees the allocation
        self.steps: list[tuple[int, int, int, int, int]] = []
        self.requests = [0] * NR_PAGE_ORDERS
        self.failed_in_trace = 0
        self.fallbacks_in_trace = 0
        self.frees = 0
        self.frees_of_older = 0
        self.lost_frees = 0
        self.peak_pages = 0
        self.peak_step = 0
        self.kept_pages = 0
        self.cpus = int(events["cpu"].max(initial=0)) + 1
        self._live: dict[int, tuple[int, int, int]] = {}  # pfn in the trace: (allocation, order, frames still held)
        columns = (events[name].tolist() for name in ("kind", "cpu", "a", "b", "c", "d"))
        for kind, cpu, a, b, c, d in zip(*columns, strict=True):
            if kind == MM_PAGE_ALLOC:
                self._alloc(cpu, a, b, c, d)
            elif kind == MM_PAGE_FREE:
                self._free(cpu, a, b, c)
            elif kind == ALLOC_FAILED:
                self.requests[a] += 1
                self.failed_in_trace += 1
            elif kind == MM_PAGE_ALLOC_EXTFRAG:
                self.fallbacks_in_trace += 1

    def _alloc(self, cpu: int, pfn: int, order: int, migratetype: int, gfp: int) -> None:
        if pfn in self._live:  # its free was lost
            self.lost_frees += 1
            self._give_back(cpu, pfn)
        gfp &= ~(GFP_MOVABLE | GFP_RECLAIMABLE | GFP_NOFAIL)
        gfp |= (0, GFP_MOVABLE, GFP_RECLAIMABLE)[migratetype]
        self._live[pfn] = (len(self.steps), order, 1 << order)
        self.steps.append((cpu, len(self.steps), order, migratetype, gfp))
        self.requests[order] += 1
        self.kept_pages += 1 << order
        if self.kept_pages > self.peak_pages:
            self.peak_pages = self.kept_pages
            self.peak_step = len(self.steps)

    def _free(self, cpu: int, pfn: int, order: int, batched: int) -> None:
        head = self._head(pfn)
        if head < 0:
            if not batched:
                self.frees_of_older += 1
            return
        allocation, whole, left = self._live[head]
        left -= 1 << order
        if left > 0:  # freed piece by piece, after a split: the simulated block goes with the last one
            self._live[head] = (allocation, whole, left)
            return
        self.frees += 1
        self._give_back(cpu, head)

    def _head(self, pfn: int) -> int:
        """Where the live block that holds ``pfn`` begins in the trace, -1: there is none."""
        if pfn in self._live:
            return pfn
        for order in range(1, MAX_PAGE_ORDER + 1):
            head = pfn >> order << order
            found = self._live.get(head)
            if found is not None and pfn < head + (1 << found[1]):
                return head
        return -1

    def _give_back(self, cpu: int, head: int) -> None:
        allocation, order, _ = self._live.pop(head)
        self.steps.append((cpu, allocation, -1, 0, 0))
        self.kept_pages -= 1 << order


def memory_mib(peak_pages: int) -> int:
    """The size of machine on which ``PRESSURE`` times ``peak_pages`` is free beside what stays and what is reserved."""
    frames = peak_pages * PRESSURE / (1 - RESIDENT)
    return max(16, int(frames * 1.02 / 256) + 1 + 17)  # 1/64 for page descriptors; DMA and the kernel's image


class Fallbacks:
    """Reads the allocator's fallback events out of the ring before they fall off its end."""

    def __init__(self, trace: Trace) -> None:
        self._trace = trace
        self.fallbacks = 0
        self.claimed = 0
        self.polluting = 0

    def collect(self) -> None:
        """Take what has come since the last call."""
        ring = self._trace.notable
        while ring:
            _, _, _, kind, _, _, fallback_order, types = ring.popleft()
            if kind == MM_PAGE_ALLOC_EXTFRAG:
                self.fallbacks += 1
                self.claimed += types & 1
                self.polluting += fallback_order < 9


def run(machine: ReplayMachine, traffic: Traffic, policy: Policy) -> Replayed:
    """Send the traffic through an aged machine under one policy."""
    alloc = machine.alloc
    alloc.config.defrag_mode = policy.defrag_mode
    alloc.config.watermark_boost_factor = policy.watermark_boost_factor
    counts = Fallbacks(machine.trace)
    failed = [0] * NR_PAGE_ORDERS
    at_peak = machine.index()
    for number, (cpu, allocation, order, migratetype, gfp) in enumerate(traffic.steps, start=1):
        if order < 0:
            machine.give_back(cpu, allocation)
            continue
        if not machine.request(cpu, allocation, order, migratetype, gfp):
            failed[order] += 1
        if number == traffic.peak_step:
            at_peak = machine.index()
        counts.collect()
    return Replayed(
        policy=policy.name,
        explanation=policy.explanation,
        failed=tuple(failed),
        fallbacks=counts.fallbacks,
        claimed=counts.claimed,
        polluting=counts.polluting,
        reclaimed=machine.cache.dropped,
        migrated=alloc.vmstat.events[PGMIGRATE_SUCCESS],
        at_peak=at_peak,
        at_end=machine.index(),
        digest=machine.digest(),
    )


def replay(
    events: Structured,
    policies: tuple[Policy, ...] = POLICIES,
    seed: int = 1,
    mib: int | None = None,
    like: tuple[int, ...] = (),
) -> Comparison:
    """Replay a trace (EVENT_DTYPE, as ``sources.ftrace`` reads it) under each policy, from the same aged memory.

    ``mib`` None: a machine whose size follows from the traffic. ``like``: free blocks of each order of the real zone
    right before the trace; the memory is made like that instead of aged. Raises ValueError when a machine of ``mib``
    cannot be.
    """
    traffic = Traffic(events)
    size = memory_mib(traffic.peak_pages) if mib is None else mib
    results = []
    start: Index | None = None
    for policy in policies:
        machine = ReplayMachine(size, traffic.cpus, seed)
        if like:
            machine.calibrate(like)
        else:
            machine.age()
        start = machine.index()
        results.append(run(machine, traffic, policy))
    return Comparison(
        memory_mib=size,
        seed=seed,
        requests=tuple(traffic.requests),
        failed_in_trace=traffic.failed_in_trace,
        fallbacks_in_trace=traffic.fallbacks_in_trace,
        frees=traffic.frees,
        frees_of_older=traffic.frees_of_older,
        peak_pages=traffic.peak_pages,
        kept_pages=traffic.kept_pages,
        results=tuple(results),
        like=like,
        start=start,
    )
