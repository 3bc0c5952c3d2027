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
from memviz.kernel.page import PAGEBLOCK_NR_PAGES
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
BACKGROUND_INTERVAL_NS: Final = 100_000_000  # between two looks of the background task


class SlabMobility:
    """Mobility of all caches: passes over more than one."""

    def __init__(
        self, slab_caches: list[KmemCache], slab_of_page: dict[int, Slab], ledger: DefragLedger, smp: Smp
    ) -> None:
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
        """Targeted: evacuate the slabs of one pageblock. A pass for each cache that has slabs there; a slab of an
        immovable cache is not touched."""
        first = block * PAGEBLOCK_NR_PAGES
        by_cache: dict[int, list[Slab]] = {}
        for cache in self.slab_caches:
            by_cache[cache.id] = []
        for pfn in range(first, first + PAGEBLOCK_NR_PAGES):
            slab = self.slab_of_page.get(pfn)
            if slab is not None and (slab.pfn == pfn or pfn == first):
                by_cache[slab.cache.id].append(slab)
        passes: list[DefragPass] = []
        for cache in list(self.slab_caches):
            slabs = by_cache[cache.id]
            if slabs and cache.mobility is not None:
                done = cache.mobility.evacuate(slabs)
                done.steps.insert(0, (STEP_TARGET, len(slabs), block, 0))
                passes.append(done)
        return passes

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
