"""The sheaves front end of 7.0 and later (``mm/slub.c``): per-CPU arrays of objects in front of the slabs.

Every CPU has a *main* sheaf to take from and push to, a *spare* one, full or empty, and one that collects objects
for ``kfree_rcu``. A node's *barn* keeps a few full and empty sheaves. Objects in a sheaf are free, but ``slab->inuse``
counts them as used.

What the kernel does not have, as no slab of it ever becomes exempt from allocation: an object of an isolated slab
that is freed goes straight to its slab, and one that is found in a sheaf goes back there instead of being handed out.
"""

from __future__ import annotations

from typing import Final

from memviz.kernel.kmem_cache import KmemCache
from memviz.kernel.page import GFP_DIRECT_RECLAIM, GFP_KERNEL, PAGE_SHIFT
from memviz.kernel.rcu import Rcu
from memviz.kernel.slab import (
    ON_NOTHING,
    SLAB_LOCK_STATE,
    CacheSpec,
    PageSource,
    Slab,
    SlubConfig,
)
from memviz.kernel.slab_order import sheaf_capacity
from memviz.kernel.smp import Smp
from memviz.kernel.spinlock import SpinLock

MAX_FULL_SHEAVES: Final = 10  # in a barn
MAX_EMPTY_SHEAVES: Final = 10
REFILL_NS: Final = 40  # one object from a slab into a sheaf

Sheaf = list[int]  # addresses of free objects, handed out from the end


class PerCpuSheaves:
    """``struct slub_percpu_sheaves``: what one CPU keeps of one cache."""

    def __init__(self) -> None:
        self.main: Sheaf = []
        self.spare: Sheaf = []
        self.rcu_free: Sheaf = []


class NodeBarn:
    """``struct node_barn``: sheaves that no CPU holds now."""

    def __init__(self, lock: SpinLock) -> None:
        self.lock = lock
        self.full: list[Sheaf] = []
        self.empty: list[Sheaf] = []


class SheafCache(KmemCache):
    """A cache with sheaves in front."""

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
        self.capacity = sheaf_capacity(self.size)
        self.fill_sheaves = config.fill_sheaves
        self.cpu_sheaves = [PerCpuSheaves() for _ in range(smp.nr_cpus)]
        self.barn = NodeBarn(SpinLock(smp, f"{spec.name} barn", SLAB_LOCK_STATE))

    def alloc(self, gfp: int = GFP_KERNEL) -> int | None:
        """``kmem_cache_alloc``: the address of an object, None when there is no memory."""
        cpu = self.smp.this_cpu()
        if cpu.no_slab:
            self.forbidden("alloc")
        if gfp & GFP_DIRECT_RECLAIM and cpu.atomic():
            self.smp.might_sleep(f"kmem_cache_alloc({self.name}, GFP_KERNEL)")
        sheaves = self.cpu_sheaves[cpu.id]
        while True:
            try:
                obj = sheaves.main.pop()
            except IndexError:
                refilled = self.alloc_slow(sheaves, gfp)
                if refilled is None:
                    return None
                obj = refilled
            slab = self.slab_of_page[obj >> PAGE_SHIFT]
            slot = (obj - slab.base) // self.size
            if not slab.isolated:
                break
            self.meets_isolated(slab, slot)
        self.slab_post_alloc_hook(slab, slot, obj)
        return obj

    def free(self, obj: int) -> None:
        """``kmem_cache_free``: give back the object at address ``obj``."""
        cpu = self.smp.this_cpu()
        slab, slot = self.slab_free_hook(cpu, obj)
        if slab.isolated:
            self.slab_free_slow(slab, slot)
            return
        main = self.cpu_sheaves[cpu.id].main
        if len(main) < self.capacity:
            main.append(obj)
        else:
            self.free_slow(self.cpu_sheaves[cpu.id], obj)

    def meets_isolated(self, slab: Slab, slot: int) -> None:
        """A sheaf holds an object of an isolated slab: it goes back, as that slab is exempt from allocation."""
        mobility = self.mobility
        if mobility is None or not mobility.options.guard_sheaves:
            self.smp.bug(
                "allocation from an isolated slab",
                f"a sheaf hands out object {slab.base + slot * self.size:#x} of {self.name} while its slab is exempt",
            )
        self.slab_free_slow(slab, slot)

    # -- slow paths -------------------------------------------------------------------------------------------------

    def alloc_slow(self, sheaves: PerCpuSheaves, gfp: int) -> int | None:
        """``__pcs_replace_empty_main``: an object, and the main sheaf filled from the spare one, the barn, the
        slabs."""
        barn = self.barn
        while True:
            if sheaves.main:
                return sheaves.main.pop()
            if sheaves.spare:
                sheaves.main, sheaves.spare = sheaves.spare, sheaves.main
                continue
            if not barn.full:
                break
            barn.lock.lock_irq()
            if barn.full and not sheaves.main:
                if len(barn.empty) < MAX_EMPTY_SHEAVES:
                    barn.empty.append(sheaves.main)
                sheaves.main = barn.full.pop()
            barn.lock.unlock_irq()
        one = self.mobility is not None and self.mobility.is_own()
        objects = self.refill_objects(1 if one else self.capacity, gfp)
        if not objects:
            return None
        obj = objects.pop()
        self.install(sheaves, objects)
        return obj

    def install(self, sheaves: PerCpuSheaves, objects: Sheaf) -> None:
        """A sheaf was filled; meanwhile somebody may have filled this CPU's (a softirq that frees)."""
        if not sheaves.main:
            sheaves.main = objects
        elif not sheaves.spare:
            sheaves.spare = objects
        else:
            self.return_objects(objects)

    def refill_objects(self, want: int, gfp: int) -> Sheaf:
        """``refill_objects``: up to ``want`` free objects from partial slabs, then from new ones; the first to be
        handed out comes last."""
        taken: Sheaf = []
        node = self.node
        if node.partial.nr:
            node.list_lock.lock_irq()
            slab = node.partial.head
            while slab is not None and len(taken) < want:
                following = slab.next
                self.take_objects(slab, want, taken)
                if not slab.freelist:
                    self.remove_partial(slab)
                slab = following
            node.list_lock.unlock_irq()
        while len(taken) < want and (self.fill_sheaves or not taken):
            slab = self.new_slab(gfp)
            if slab is None:
                break
            if slab.objects <= want - len(taken):
                self.take_objects(slab, want, taken)
                slab.place = ON_NOTHING
                continue
            node.list_lock.lock_irq()
            self.take_objects(slab, want, taken)
            self.add_partial(slab, tail=False)
            node.list_lock.unlock_irq()
        taken.reverse()
        return taken

    def take_objects(self, slab: Slab, want: int, taken: Sheaf) -> None:
        """Move free objects of ``slab`` to ``taken`` until that has ``want``."""
        count = want - len(taken)
        slots = slab.freelist[-count:]
        del slab.freelist[-count:]
        slots.reverse()
        base = slab.base
        size = self.size
        taken.extend([base + slot * size for slot in slots])
        slab.inuse += len(slots)
        self.smp.advance(REFILL_NS * len(slots))

    def free_slow(self, sheaves: PerCpuSheaves, obj: int) -> None:
        """``__pcs_replace_full_main``: make room in the main sheaf, then push."""
        barn = self.barn
        while len(sheaves.main) >= self.capacity:
            if len(sheaves.spare) < self.capacity:
                sheaves.main, sheaves.spare = sheaves.spare, sheaves.main
                if len(sheaves.main) < self.capacity:
                    break
            if len(barn.full) < MAX_FULL_SHEAVES:
                barn.lock.lock_irq()
                if len(barn.full) < MAX_FULL_SHEAVES and len(sheaves.main) >= self.capacity:
                    barn.full.append(sheaves.main)
                    sheaves.main = barn.empty.pop() if barn.empty else []
                barn.lock.unlock_irq()
            else:
                flush = sheaves.spare
                sheaves.spare = []
                self.return_objects(flush)
        sheaves.main.append(obj)

    # -- kfree_rcu --------------------------------------------------------------------------------------------------

    def free_rcu(self, obj: int) -> None:
        """``kfree_rcu``: the object joins the CPU's rcu sheaf, which goes to RCU as a whole when it is full."""
        self.note_rcu(obj)
        sheaves = self.cpu_sheaves[self.smp.this_cpu().id]
        sheaves.rcu_free.append(obj)
        if len(sheaves.rcu_free) >= self.capacity:
            self.submit_rcu_sheaf(sheaves)

    def submit_rcu_sheaf(self, sheaves: PerCpuSheaves) -> None:
        """Hand a CPU's rcu sheaf to RCU."""
        sheaf = sheaves.rcu_free
        sheaves.rcu_free = []
        if sheaf:
            self.rcu.call_rcu(self.rcu_free_sheaf, sheaf)

    def rcu_free_sheaf(self, sheaf: Sheaf) -> None:
        """The grace period is over: the objects are free."""
        for obj in sheaf:
            self.free(obj)

    # -- flushing, counting -----------------------------------------------------------------------------------------

    def flush_all(self) -> None:
        """Return what is in sheaves and barn to the slabs, on behalf of every CPU (``flush_all``, ``barn_shrink``)."""
        for sheaves in self.cpu_sheaves:
            self.drain(sheaves.main)
            self.drain(sheaves.spare)
            self.submit_rcu_sheaf(sheaves)
        barn = self.barn
        barn.lock.lock_irq()
        full = barn.full
        barn.full = []
        barn.empty = []
        barn.lock.unlock_irq()
        for sheaf in full:
            self.return_objects(sheaf)

    def drain(self, sheaf: Sheaf) -> None:
        """Return the objects that are in ``sheaf`` now; its CPU may go on using it."""
        objects: Sheaf = []
        for _ in range(len(sheaf)):
            try:
                objects.append(sheaf.pop())
            except IndexError:  # its CPU has taken the rest
                break
        self.return_objects(objects)

    def cached_objects(self) -> list[int]:
        """Addresses of the free objects in sheaves and barn."""
        cached: list[int] = []
        for sheaves in self.cpu_sheaves:
            cached += sheaves.main
            cached += sheaves.spare
        for sheaf in self.barn.full:
            cached += sheaf
        return cached
