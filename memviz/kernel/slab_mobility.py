"""Moving slab objects in two phases: the protocol of the thread, with the names of the 2019 series.

=====================  ============================================================================================
choose slabs           partial slabs used to the ratio or less, sparsest first; caches flushed first; a slab whose
                       lock can't be had at once is skipped
isolate(objects)       slab lock held, interrupts off: no slab calls, no sleeping. Takes whatever reference makes the
                       objects stay. None: in use, leave the slab alone, no reference was taken
slab exempt            objects can only leave it until processing ends
migrate(objects, p)    no locks held: may allocate, free, sleep. Drops the references
look again             empty: its pages go back; else to the partial list's tail, to be filled up again
=====================  ============================================================================================

Never merged into Linux: ``kmem_cache_setup_mobility`` and the ratio of 30 are Tobin Harding's series of June 2019,
the two callbacks Christoph Lameter's of 2007 to 2017. Where the thread leaves a question open, ``MobilityOptions``
has the answers to choose from.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from memviz.kernel.cache_mobility import CacheMobility
from memviz.kernel.defrag_pass import (
    REFUSED_IMMOVABLE,
    REFUSED_IN_USE,
    REFUSED_LEFT,
    REFUSED_LOCKED,
    REFUSED_NAMES,
    REFUSED_NEW,
    REFUSED_NO_MEMORY,
    REFUSED_NONE,
    REFUSED_ON_CPU,
    REFUSED_ON_LIST,
    REFUSED_RCU,
    REFUSED_REFERENCED,
    STEP_TARGET,
    DefragLedger,
    DefragPass,
)
from memviz.kernel.page import (
    OWNER_ANON,
    OWNER_FREE,
    OWNER_PAGE_CACHE,
    OWNER_PCP,
    OWNER_SLAB,
    OWNER_SLAB_VFS,
    OWNER_SLAB_XA,
    PAGEBLOCK_NR_PAGES,
    PAGEBLOCK_ORDER,
    PageFrames,
)
from memviz.kernel.slab import Slab
from memviz.kernel.slab_mover import (
    BARRIER_NONE,
    BARRIER_OBJECT,
    BARRIER_PASS,
    BARRIER_SLAB,
    FREE_BLOCKS,
    FREE_SPINS,
    GUARANTEE_BOTH,
    GUARANTEE_NONE,
    GUARANTEE_RCU,
    GUARANTEE_REFCOUNT,
    IsolateCallback,
    MigrateCallback,
    MobilityOptions,
)
from memviz.kernel.slab_order import MAX_PARTIAL
from memviz.kernel.smp import TASK_DONE, Smp, Task

if TYPE_CHECKING:
    from memviz.kernel.kmem_cache import KmemCache

__all__ = [
    "BARRIER_NONE",
    "BARRIER_OBJECT",
    "BARRIER_PASS",
    "BARRIER_SLAB",
    "FREE_BLOCKS",
    "FREE_SPINS",
    "GUARANTEE_BOTH",
    "GUARANTEE_NONE",
    "GUARANTEE_RCU",
    "GUARANTEE_REFCOUNT",
    "REFUSED_IMMOVABLE",
    "REFUSED_IN_USE",
    "REFUSED_LEFT",
    "REFUSED_LOCKED",
    "REFUSED_NAMES",
    "REFUSED_NEW",
    "REFUSED_NONE",
    "REFUSED_NO_MEMORY",
    "REFUSED_ON_CPU",
    "REFUSED_ON_LIST",
    "REFUSED_RCU",
    "REFUSED_REFERENCED",
    "CacheMobility",
    "DefragLedger",
    "DefragPass",
    "IsolateCallback",
    "MigrateCallback",
    "MobilityOptions",
    "SlabMobility",
]

DEFRAG_USED_RATIO: Final = 30  # percent; defrag_used_ratio of the 2019 series
MAX_TARGETS: Final = 8  # blocks that a request tries before it gives up
TARGET_NS: Final = 200  # look at one block
PASS_WAITS: Final = 64  # how often a request looks whether somebody else's pass is over
PASS_WAIT_NS: Final = 100_000  # between two looks; an rcu_barrier, the longest part of a pass, takes about 1.5 ms
SLAB_OWNERS: Final = (OWNER_SLAB_XA, OWNER_SLAB_VFS, OWNER_SLAB)
EASY_OWNERS: Final = (OWNER_FREE, OWNER_PCP, OWNER_ANON, OWNER_PAGE_CACHE)  # free, or compaction's own business
BACKGROUND_INTERVAL_NS: Final = 100_000_000  # between two looks of the background task


class SlabMobility:
    """Mobility of all caches: passes over more than one."""

    def __init__(
        self,
        slab_caches: list[KmemCache],
        slab_of_page: dict[int, Slab],
        ledger: DefragLedger,
        mem: PageFrames,
        smp: Smp,
    ) -> None:
        self.mem = mem
        self.slab_caches = slab_caches
        self.slab_of_page = slab_of_page
        self.ledger = ledger
        self.smp = smp
        self.busy = False  # slab_mutex, which kmem_defrag_slabs only tries
        self.stop = False  # asks the background task to return
        self.task: Task | None = None  # the background task
        self.ratio = DEFRAG_USED_RATIO
        self.interval_ns = BACKGROUND_INTERVAL_NS

    def kmem_defrag_slabs(self, ratio: int = -1, more_than: int = MAX_PARTIAL) -> list[DefragPass]:
        """One pass over every movable cache with more than ``more_than`` partial slabs. ``ratio`` -1: the usual one;
        0: switched off. Gives up when somebody else is at it."""
        if ratio < 0:
            ratio = self.ratio
        if self.busy or ratio == 0:
            return []
        self.busy = True
        passes: list[DefragPass] = []
        for cache in list(self.slab_caches):
            if not cache.movable:
                break  # movable caches come first
            if cache.node.partial.nr > more_than:
                passes.append(cache.defrag(ratio))
        self.busy = False
        return passes

    def background(self, on: bool) -> None:
        """Defragment in the background (kslabdefragd, on the last CPU), or stop doing so."""
        self.stop = not on
        if on and (self.task is None or self.task.state == TASK_DONE):
            self.task = self.smp.spawn(self.smp.nr_cpus - 1, "kslabdefragd", self.kslabdefragd, daemon=True)

    def kslabdefragd(self) -> None:
        """Look now and then whether a cache has many partial slabs, until ``stop``."""
        while not self.stop:
            self.smp.sleep_for("slab defrag", self.interval_ns)
            if not self.stop:
                self.kmem_defrag_slabs()

    def evacuate_block(self, block: int) -> list[DefragPass]:
        """Targeted: evacuate the slabs of one pageblock. A pass for each movable cache that has slabs there; slabs of
        other caches are not touched."""
        return self.evacuate_range(block * PAGEBLOCK_NR_PAGES, PAGEBLOCK_NR_PAGES)

    def evacuate_range(self, first: int, nr_pages: int) -> list[DefragPass]:
        """The same for any range of page frames."""
        by_cache: dict[int, list[Slab]] = {}
        pfn = first
        while pfn < first + nr_pages:
            slab = self.slab_of_page.get(pfn)
            if slab is None:
                pfn += 1
                continue
            by_cache.setdefault(slab.cache.id, []).append(slab)
            pfn = slab.pfn + (1 << slab.order)
        passes: list[DefragPass] = []
        for cache in list(self.slab_caches):
            slabs = by_cache.get(cache.id)
            if slabs is not None and cache.mobility is not None:
                done = cache.mobility.evacuate(slabs)
                done.steps.insert(0, (STEP_TARGET, len(slabs), first >> PAGEBLOCK_ORDER, 0))
                passes.append(done)
        return passes

    def defrag_for_request(self, order: int) -> int:
        """A request for ``1 << order`` page frames is about to fail: free slabs where that could help it. Pages freed.

        First the blocks that nothing but movable slabs and movable pages stand in, those with the least slab memory
        first, until one of them has no slab left; when there is none, one pass over every movable cache.
        """
        self.let_others_finish()
        before = self.ledger.totals.pages_freed
        size = 1 << order
        for first in self.promising(size):
            self.evacuate_range(first, size)
            if not self.slabs_in(first, size):
                self.mem.pageblock_skip[first >> PAGEBLOCK_ORDER] = 0  # what pinned it is gone: compaction may look
                break
        if self.ledger.totals.pages_freed == before:
            self.kmem_defrag_slabs(100, 1)
        return self.ledger.totals.pages_freed - before

    def let_others_finish(self) -> None:
        """Sleep while kcompactd or anybody else is in the middle of a pass: a cache has one at a time, and a request
        that gave up over that would fail for no reason. Not for ever: the other may wait for memory that we hold."""
        for _ in range(PASS_WAITS):
            if not self.under_way():
                return
            self.smp.sleep_for("slab defrag", PASS_WAIT_NS)

    def under_way(self) -> bool:
        """Whether a pass over some cache has begun and not ended."""
        return any(cache.mobility is not None and cache.mobility.current is not None for cache in self.slab_caches)

    def promising(self, size: int) -> list[int]:
        """The first page frames of the aligned blocks of ``size`` that movable slabs alone keep from being compacted;
        at most ``MAX_TARGETS``. First those without dentries and inodes, which stay when they are in use, then those
        with the fewest page frames in use, as compaction has to move the rest."""
        owner = self.mem.owner
        found: list[tuple[int, int, int]] = []
        for first in range(0, self.mem.nr - size + 1, size):
            frames = owner[first : first + size]
            slabs = 0
            for code in SLAB_OWNERS:
                slabs += frames.count(code)
            if slabs == 0:
                continue
            easy = 0
            for code in EASY_OWNERS:
                easy += frames.count(code)
            if slabs + easy == size:
                used = size - frames.count(OWNER_FREE) - frames.count(OWNER_PCP)
                found.append((frames.count(OWNER_SLAB_VFS), used, first))
        self.smp.advance(len(found) * TARGET_NS)
        found.sort()
        out: list[int] = []
        for _, _, first in found:
            if self.all_movable(first, size):
                out.append(first)
                if len(out) == MAX_TARGETS:
                    break
        return out

    def all_movable(self, first: int, size: int) -> bool:
        """Whether every slab in a range belongs to a movable cache."""
        for pfn in range(first, first + size):
            slab = self.slab_of_page.get(pfn)
            if slab is not None and not slab.cache.movable:
                return False
        return True

    def slabs_in(self, first: int, size: int) -> int:
        """Page frames of a range that belong to slabs."""
        count = 0
        for pfn in range(first, first + size):
            if pfn in self.slab_of_page:
                count += 1
        return count

    def evacuate_page(self, pfn: int) -> bool:
        """Evacuate the slab that page frame ``pfn`` belongs to. True: its pages have gone back to the page allocator.

        Compaction's hook. May sleep.
        """
        slab = self.slab_of_page.get(pfn)
        if slab is None or slab.cache.mobility is None:
            return False
        slab.cache.mobility.evacuate([slab])
        if slab.cache.typesafe and slab.pfn in slab.cache.rcu_slabs:
            slab.cache.rcu.rcu_barrier()
        return self.slab_of_page.get(pfn) is not slab
