"""The classic front end, up to 6.17 (``mm/slub.c``): a CPU owns a whole slab and allocates from its freelist.

The active slab is *frozen*: its objects all count as used, and objects that other CPUs free into it wait on its own
freelist until the active one is empty. A CPU also keeps a few partial slabs, which since 6.8 are not frozen.
"""

from __future__ import annotations

from memviz.kernel.kmem_cache import KmemCache
from memviz.kernel.page import GFP_DIRECT_RECLAIM, GFP_KERNEL, PAGE_SHIFT
from memviz.kernel.rcu import Rcu
from memviz.kernel.slab import (
    ON_CPU,
    ON_CPU_PARTIAL,
    ON_LEAVING,
    ON_NOTHING,
    CacheSpec,
    PageSource,
    Slab,
    SlubConfig,
)
from memviz.kernel.slab_order import cpu_partial_slabs
from memviz.kernel.smp import Smp
from memviz.kernel.spinlock import SpinLock


class KmemCacheCpu:
    """``struct kmem_cache_cpu``: what one CPU owns of one cache."""

    def __init__(self, local_lock: SpinLock | None) -> None:
        self.slab: Slab | None = None
        self.freelist: list[int] = []  # addresses of free objects of ``slab``, handed out from the end
        self.partial: list[Slab] = []
        self.local_lock = local_lock  # only over OS threads: there a flush comes from another thread, not by interrupt


class ClassicCache(KmemCache):
    """A cache with CPU slabs in front."""

    def __init__(
        self,
        spec: CacheSpec,
        pages: PageSource,
        rcu: Rcu,
        smp: Smp,
        config: SlubConfig,
        slab_of_page: dict[int, Slab],
    ) -> None:
        super().__init__(spec, pages, rcu, smp, config, slab_of_page)
        self.full_to_cpu_partial = True
        self.cpu_partial_slabs = cpu_partial_slabs(self.size, self.objs_per_slab)
        self.cpu_slabs = [
            KmemCacheCpu(SpinLock(smp, f"{spec.name} cpu {cpu}") if smp.threads else None) for cpu in range(smp.nr_cpus)
        ]

    def alloc(self, gfp: int = GFP_KERNEL) -> int | None:
        """``kmem_cache_alloc``: the address of an object, None when there is no memory."""
        cpu = self.smp.this_cpu()
        if cpu.no_slab:
            self.forbidden("alloc")
        if gfp & GFP_DIRECT_RECLAIM and cpu.atomic():
            self.smp.might_sleep(f"kmem_cache_alloc({self.name}, GFP_KERNEL)")
        c = self.cpu_slabs[cpu.id]
        try:
            obj = c.freelist.pop()
        except IndexError:
            refilled = self.alloc_slow(c, gfp)
            if refilled is None:
                return None
            obj = refilled
        slab = self.slab_of_page[obj >> PAGE_SHIFT]
        slot = (obj - slab.base) // self.size
        if slab.isolated:
            self.smp.bug(
                "allocation from an isolated slab",
                f"CPU {cpu.id} hands out object {obj:#x} of {self.name} while its slab is exempt",
            )
        self.slab_post_alloc_hook(slab, slot, obj)
        return obj

    def free(self, obj: int) -> None:
        """``kmem_cache_free``: give back the object at address ``obj``."""
        cpu = self.smp.this_cpu()
        slab, slot = self.slab_free_hook(cpu, obj)
        c = self.cpu_slabs[cpu.id]
        lock = c.local_lock
        if lock is not None:
            lock.lock()
            mine = c.slab is slab
            if mine:
                c.freelist.append(obj)
            lock.unlock()
            if mine:
                return
        elif c.slab is slab:
            c.freelist.append(obj)
            return
        self.slab_free_slow(slab, slot)

    # -- slow paths -------------------------------------------------------------------------------------------------

    def alloc_slow(self, c: KmemCacheCpu, gfp: int) -> int | None:
        """``___slab_alloc``: what the active slab got back, a partial slab of this CPU, of the node, a new one."""
        while True:
            if c.freelist:
                return c.freelist.pop()
            slab = c.slab
            if slab is not None:
                self.get_freelist(c, slab)
                continue
            if c.partial:
                slab = c.partial.pop()
            else:
                slab = self.get_partial(c)
                if slab is None:
                    slab = self.new_slab(gfp)
                    if slab is None:
                        return None
                if c.slab is not None:  # a softirq, or a task that ran while this one slept, got one first
                    self.put_cpu_partial(slab)
                    continue
            slab.place = ON_CPU
            c.slab = slab

    def get_freelist(self, c: KmemCacheCpu, slab: Slab) -> None:
        """Take all free objects of the active slab; when it has none it is active no longer."""
        lock = c.local_lock
        if lock is not None:
            lock.lock()
            self.node.list_lock.lock_irq()
        if c.slab is slab:  # else it was flushed a moment ago, by another thread
            slots = slab.freelist
            if slots:
                base = slab.base
                size = self.size
                slab.freelist = []
                slab.inuse = slab.objects
                c.freelist = [base + slot * size for slot in slots]
            else:
                slab.place = ON_NOTHING
                c.slab = None
        if lock is not None:
            self.node.list_lock.unlock_irq()
            lock.unlock()

    def get_partial(self, c: KmemCacheCpu) -> Slab | None:
        """``get_partial_node``: the first partial slab of the node, and some more for this CPU's own list."""
        node = self.node
        if not node.partial.nr:
            return None
        node.list_lock.lock_irq()
        first = node.partial.head
        if first is not None:
            self.remove_partial(first)
            first.place = ON_CPU
            more = self.cpu_partial_slabs // 2
            if self.mobility is not None and self.mobility.is_own():
                more = -1
            while node.partial.head is not None and len(c.partial) <= more:
                slab = node.partial.head
                self.remove_partial(slab)
                slab.place = ON_CPU_PARTIAL
                c.partial.append(slab)
        node.list_lock.unlock_irq()
        return first

    def put_cpu_partial(self, slab: Slab) -> None:
        """Keep ``slab`` on this CPU; when it has enough, all that it had go to the node."""
        c = self.cpu_slabs[self.smp.this_cpu().id]
        slab.place = ON_CPU_PARTIAL
        if len(c.partial) < self.cpu_partial_slabs:
            c.partial.append(slab)
            return
        old = c.partial
        c.partial = [slab]
        self.put_partials(old)

    def put_partials(self, slabs: list[Slab]) -> None:
        """``__put_partials``: slabs of a CPU go to the node's list, or away when empty."""
        discard: list[Slab] = []
        self.node.list_lock.lock_irq()
        for slab in slabs:
            if slab.inuse == 0 and self.node.partial.nr >= self.min_partial:
                slab.place = ON_LEAVING
                discard.append(slab)
            else:
                self.add_partial(slab, tail=True)
        self.node.list_lock.unlock_irq()
        for slab in discard:
            self.discard_slab(slab)

    def deactivate_slab(self, slab: Slab, objects: list[int]) -> None:
        """``deactivate_slab``: a slab stops being a CPU's; ``objects`` are what was left of its active freelist."""
        node = self.node
        node.list_lock.lock_irq()
        tail = bool(slab.freelist)
        slab.freelist += [(obj - slab.base) // self.size for obj in objects]
        slab.inuse -= len(objects)
        discard = slab.inuse == 0 and node.partial.nr >= self.min_partial
        slab.place = ON_LEAVING if discard else ON_NOTHING
        if slab.freelist and not discard:
            self.add_partial(slab, tail)
        node.list_lock.unlock_irq()
        if discard:
            self.discard_slab(slab)

    # -- flushing, counting -----------------------------------------------------------------------------------------

    def flush_all(self) -> None:
        """Every CPU gives its slabs back (``flush_all``)."""
        for c in self.cpu_slabs:
            if c.local_lock is not None:
                c.local_lock.lock()
            slab = c.slab
            freelist = c.freelist
            c.slab = None
            c.freelist = []
            if c.local_lock is not None:
                c.local_lock.unlock()
            if slab is not None:
                objects: list[int] = []
                while freelist:
                    objects.append(freelist.pop())
                objects.reverse()
                self.deactivate_slab(slab, objects)
            partial: list[Slab] = []
            while c.partial:
                partial.append(c.partial.pop())
            if partial:
                partial.reverse()
                self.put_partials(partial)

    def cached_objects(self) -> list[int]:
        """Addresses of the free objects on active freelists."""
        cached: list[int] = []
        for c in self.cpu_slabs:
            cached += c.freelist
        return cached

    def off_list_slabs(self) -> list[Slab]:
        """Slabs that belong to a CPU."""
        slabs: list[Slab] = []
        for c in self.cpu_slabs:
            if c.slab is not None:
                slabs.append(c.slab)
            slabs += c.partial
        return slabs
