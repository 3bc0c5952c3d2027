"""A real kernel's page traffic through the simulated page allocator, and the same under another policy.

The trace says who asked for what and when it was given back; the simulated allocator decides where it lies. So orders,
migratetypes, gfp flags, CPUs and the order of events are the real kernel's, and every fallback, failure and free block
is the policy's. An allocation and its free belong together by the trace's page frame.

The trace's machine is not simulated: it had far more memory than the traffic needs and met no pressure. The replay's
machine has ``PRESSURE`` times the traffic's largest footprint free at its start, and it is not fresh but aged
(``age``): its free memory lies between pages that stay, as on a box that has run for weeks. Among them is clean page
cache of nobody in the trace: when memory runs short, reclaim drops it, a cluster of pages at a time, as kswapd and
direct reclaim would. There is no compaction: what is compared is where pages are placed. A request that may not fail
(__GFP_NOFAIL) counts as failed where the kernel would begin to kill processes.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from random import Random
from typing import Any, Final

import numpy as np

from memviz.analysis.fragmentation import indices, mixed_blocks
from memviz.kernel.mmzone import WMARK_HIGH, PageAllocConfig, Zone
from memviz.kernel.page import (
    GFP_HIGHUSER_MOVABLE,
    GFP_KERNEL,
    GFP_MOVABLE,
    GFP_NOFAIL,
    GFP_RECLAIMABLE,
    MAX_PAGE_ORDER,
    MIGRATE_MOVABLE,
    MIGRATE_RECLAIMABLE,
    NR_PAGE_ORDERS,
    OWNER_ANON,
    OWNER_KERNEL,
    OWNER_NET,
    OWNER_PAGE_CACHE,
    OWNER_SLAB,
    PageFrames,
)
from memviz.kernel.page_alloc import PageAlloc
from memviz.kernel.smp import Smp
from memviz.kernel.trace import (
    ALLOC_FAILED,
    MM_PAGE_ALLOC,
    MM_PAGE_ALLOC_EXTFRAG,
    MM_PAGE_FREE,
    Trace,
)
from memviz.snapshot import Structured

BATCHED: Final = 1
"""Field ``c`` of an MM_PAGE_FREE event that was a ``mm_page_free_batched``: it frees only what nothing freed before."""

PRESSURE: Final = 1.15
_RESIDENT: Final = 0.2  # of memory: what the machine's life so far has left in it
_RESIDENT_KERNEL: Final = 0.4  # of that: kernel memory and slabs, which stay; the rest is page cache
_SWAP_CLUSTER_MAX: Final = 32
_ROUNDS: Final = 2
_OWNERS: Final = {MIGRATE_MOVABLE: OWNER_ANON, MIGRATE_RECLAIMABLE: OWNER_SLAB}


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
class Index:
    """The free memory of one moment. Tuples have one number an order, 0 to 10."""

    free_pages: int
    nr_free: tuple[int, ...]
    """Free blocks, as /proc/buddyinfo."""
    unusable: tuple[int, ...]
    """unusable_free_index, thousandths."""
    fragmentation: tuple[int, ...]
    """fragmentation_index, thousandths; -1000: a request would not fail."""
    mixed_blocks: int
    """Pageblocks that hold movable pages together with ones that cannot move."""


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
    frames = peak_pages * PRESSURE / (1 - _RESIDENT)
    return max(16, int(frames * 1.02 / 256) + 1 + 17)  # 1/64 for page descriptors; DMA and the kernel's image


class ReplayMachine:
    """A page allocator with an aged memory."""

    def __init__(self, mib: int, cpus: int, seed: int) -> None:
        self.trace = Trace()
        self.smp = Smp(cpus, self.trace)
        self.mem = PageFrames(mib * 256)
        self.alloc = PageAlloc(self.mem, self.smp, PageAllocConfig())
        self._random = Random(seed).random
        self._resident = int(self.mem.nr * _RESIDENT)
        self._cache: list[int] = []  # clean page cache that reclaim may drop, in the order that it would
        self.reclaimed = 0

    def age(self) -> None:
        """Live through some rounds of: memory full of page cache, some of it dropped, kernel memory into the gaps.

        What is left at the end is scattered and stays. Depends on size and seed only.
        """
        kernel: list[int] = []
        for _ in range(_ROUNDS):
            cache = self._fill(GFP_HIGHUSER_MOVABLE, OWNER_PAGE_CACHE, self.mem.nr)
            self._shuffle(cache)
            gap = len(cache) // 12
            for pfn in cache[:gap]:
                self.alloc.free_pages(pfn, 0)
            for gfp, owner, part in ((GFP_KERNEL, OWNER_KERNEL, 0.3), (GFP_KERNEL | GFP_RECLAIMABLE, OWNER_SLAB, 0.5)):
                kernel += self._fill(gfp, owner, int(gap * part))
            for pfn in cache[gap:]:
                self.alloc.free_pages(pfn, 0)
            self._shuffle(kernel)
            keep = int(self._resident * _RESIDENT_KERNEL)
            for pfn in kernel[keep:]:
                self.alloc.free_pages(pfn, 0)
            del kernel[keep:]
        stays = self._fill(GFP_HIGHUSER_MOVABLE, OWNER_PAGE_CACHE, self.mem.nr)
        self._shuffle(stays)
        self._cache = stays[: max(0, self._resident - len(kernel))]
        for pfn in stays[len(self._cache) :]:
            self.alloc.free_pages(pfn, 0)
        self.alloc.drain_all_pages()
        self.alloc.try_to_free_pages = self._try_to_free_pages
        self.alloc.zone_reclaimable_pages = self._zone_reclaimable_pages
        self.alloc.wakeup_kswapd = self._wakeup_kswapd

    def _try_to_free_pages(self, order: int, gfp: int) -> int:
        """Direct reclaim: a cluster of page cache, at least as much as was asked for."""
        count = min(len(self._cache), max(_SWAP_CLUSTER_MAX, 1 << order))
        for _ in range(count):
            self.alloc.free_pages(self._cache.pop(), 0)
        self.reclaimed += count
        return count

    def _zone_reclaimable_pages(self, zone: Zone) -> int:
        return len(self._cache) if zone is self.alloc.zones[-1] else 0

    def _wakeup_kswapd(self, zone: Zone, order: int) -> None:
        """kswapd, done at once: up to the high watermark with its boost, which has served its purpose then."""
        while zone.nr_free <= zone.wmark_pages(WMARK_HIGH) and self._try_to_free_pages(0, 0):
            pass
        zone.watermark_boost = 0

    def _fill(self, gfp: int, owner: int, count: int) -> list[int]:
        """Up to ``count`` pages, fewer when memory ends."""
        got: list[int] = []
        while len(got) < count:
            pfn = self.alloc.alloc_pages(0, gfp, owner)
            if pfn is None:
                break
            got.append(pfn)
        return got

    def _shuffle(self, pfns: list[int]) -> None:
        """Fisher and Yates, from ``Random.random`` alone: its sequence is the same in every version of Python."""
        random = self._random
        for last in range(len(pfns) - 1, 0, -1):
            other = int(random() * (last + 1))
            pfns[last], pfns[other] = pfns[other], pfns[last]

    def index(self) -> Index:
        """The state of free memory: all zones together, as one zone."""
        nr_free = [0] * NR_PAGE_ORDERS
        for zone in self.alloc.zones:
            for order, blocks in enumerate(zone.nr_free_blocks()):
                nr_free[order] += blocks
        both = indices(nr_free)
        return Index(
            free_pages=sum(blocks << order for order, blocks in enumerate(nr_free)),
            nr_free=tuple(nr_free),
            unusable=both.unusable,
            fragmentation=both.fragmentation,
            mixed_blocks=mixed_blocks(np.frombuffer(self.mem.owner, np.uint8)),
        )

    def replay(self, traffic: Traffic, policy: Policy) -> Replayed:
        """Send the traffic through."""
        alloc, smp = self.alloc, self.smp
        alloc.config.defrag_mode = policy.defrag_mode
        alloc.config.watermark_boost_factor = policy.watermark_boost_factor
        for zone in alloc.zones:
            zone.watermark_boost = 0
        self.trace.notable.clear()
        first_fallback = self.trace.counts[MM_PAGE_ALLOC_EXTFRAG]
        failed = [0] * NR_PAGE_ORDERS
        placed: dict[int, tuple[int, int]] = {}
        counts = Fallbacks(self.trace)
        at_peak = self.index()
        for number, (cpu, allocation, order, migratetype, gfp) in enumerate(traffic.steps):
            smp.current = smp.cpus[cpu]
            if order < 0:
                block = placed.pop(allocation, None)
                if block is not None:
                    alloc.free_pages(*block)
                continue
            pfn = alloc.alloc_pages(order, gfp, _OWNERS.get(migratetype, OWNER_NET))
            if pfn is None:
                failed[order] += 1
            else:
                placed[allocation] = (pfn, order)
            if number + 1 == traffic.peak_step:
                at_peak = self.index()
            counts.collect()
        return Replayed(
            policy=policy.name,
            explanation=policy.explanation,
            failed=tuple(failed),
            fallbacks=self.trace.counts[MM_PAGE_ALLOC_EXTFRAG] - first_fallback,
            claimed=counts.claimed,
            polluting=counts.polluting,
            reclaimed=self.reclaimed,
            at_peak=at_peak,
            at_end=self.index(),
            digest=self.digest(),
        )

    def digest(self) -> str:
        """A fingerprint of where everything lies."""
        state = hashlib.blake2b(digest_size=16)
        for flat in (self.mem.owner, self.mem.order, self.mem.flags, self.mem.pageblock_mt):
            state.update(flat)
        return state.hexdigest()


class Fallbacks:
    """Reads the allocator's fallback events out of the ring before they fall off its end."""

    def __init__(self, trace: Trace) -> None:
        self._trace = trace
        self.claimed = 0
        self.polluting = 0

    def collect(self) -> None:
        """Take what has come since the last call."""
        ring = self._trace.notable
        while ring:
            _, _, _, kind, _, _, fallback_order, types = ring.popleft()
            if kind == MM_PAGE_ALLOC_EXTFRAG:
                self.claimed += types & 1
                self.polluting += fallback_order < 9


def replay(
    events: Structured, policies: tuple[Policy, ...] = POLICIES, seed: int = 1, mib: int | None = None
) -> Comparison:
    """Replay a trace (EVENT_DTYPE, as ``sources.ftrace`` reads it) under each policy, from the same aged memory.

    ``mib`` None: a machine whose size follows from the traffic. Raises ValueError when a machine of ``mib`` cannot be.
    """
    traffic = Traffic(events)
    size = memory_mib(traffic.peak_pages) if mib is None else mib
    results = []
    for policy in policies:
        machine = ReplayMachine(size, traffic.cpus, seed)
        machine.age()
        results.append(machine.replay(traffic, policy))
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
    )
