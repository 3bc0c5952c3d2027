"""A cache of objects of one size: its slabs and the slow paths (``struct kmem_cache``, ``mm/slub.c``).

What a CPU keeps for itself is the front end's: ``cpu_slab.py`` (up to 6.17) and ``sheaf.py`` (7.0 and later) derive
from ``KmemCache``. Both end in what is here: new slabs, the partial list, objects returning to their slab, shrinking.
"""

from __future__ import annotations

from typing import Final

from memviz.kernel.cache_base import CacheBase
from memviz.kernel.cache_mobility import CacheMobility
from memviz.kernel.defrag_pass import DefragPass
from memviz.kernel.page import (
    GFP_COMP,
    GFP_DIRECT_RECLAIM,
    GFP_HIGHMEM,
    GFP_KERNEL,
    GFP_MOVABLE,
    GFP_NOFAIL,
    GFP_NOMEMALLOC,
    GFP_NORETRY,
    GFP_NOWARN,
    GFP_RECLAIMABLE,
    GFP_ZERO,
    PAGE_SHIFT,
)
from memviz.kernel.slab import (
    ON_CPU,
    ON_LEAVING,
    ON_NOTHING,
    ON_PARTIAL,
    SLOT_FREE,
    SLOT_USED,
    CacheStats,
    HiddenObjects,
    Slab,
    SlabRow,
)
from memviz.kernel.slab_mover import IsolateCallback, MigrateCallback, MobilityOptions
from memviz.kernel.slab_order import (
    SLAB_RECLAIM_ACCOUNT,
    order_objects,
)
from memviz.kernel.slab_stats import cache_stats, object_states, slab_rows
from memviz.kernel.smp import Cpu
from memviz.kernel.trace import CACHE_SHRINK, KMEM_CACHE_ALLOC, KMEM_CACHE_FREE, SLAB_DISCARD, SLAB_NEW

SHRINK_PROMOTE_MAX: Final = 32
NEW_SLAB_NS: Final = 400  # build a freelist, on top of what the page allocator takes
CTOR_NS: Final = 10  # one constructor call
SLOW_FREE_NS: Final = 30  # one object back to its slab
ZONE_FLAGS: Final = GFP_MOVABLE | GFP_RECLAIMABLE | GFP_HIGHMEM | GFP_ZERO  # none of a slab's business


class KmemCache(CacheBase):
    """A cache of objects of one size."""

    # -- the front end's ------------------------------------------------------------------------------------------

    def alloc(self, gfp: int = GFP_KERNEL) -> int | None:
        """``kmem_cache_alloc``: the address of an object, None when there is no memory."""
        raise NotImplementedError

    def free(self, obj: int) -> None:
        """``kmem_cache_free``: give back the object at address ``obj``."""
        raise NotImplementedError

    def slab_post_alloc_hook(self, slab: Slab, slot: int, obj: int) -> None:
        """An object is about to be handed out: whatever the front end, it is used from now on."""
        slab.live[slot] = SLOT_USED
        if self.recolour is not None:
            self.recolour(slab.contents[slot], False)
        trace = self.trace
        if trace.bulk:
            trace.emit_bulk(KMEM_CACHE_ALLOC, obj, self.id)
        else:
            trace.counts[KMEM_CACHE_ALLOC] += 1

    def slab_free_hook(self, cpu: Cpu, obj: int) -> tuple[Slab, int]:
        """An object comes back: is it one, is it used? Where it lives: its slab and its slot."""
        if cpu.no_slab:
            self.forbidden("free")
        slab = self.slab_of_page.get(obj >> PAGE_SHIFT)
        if slab is None or slab.cache is not self:
            self.bad_address(obj)
        offset = obj - slab.base
        slot = offset // self.size
        if slot * self.size != offset or slot >= slab.objects:
            self.bad_address(obj)
        live = slab.live
        if live[slot] != SLOT_USED:
            self.free_not_used(slab, slot)
        live[slot] = SLOT_FREE
        if self.recolour is not None:
            self.recolour(slab.contents[slot], True)
        trace = self.trace
        if trace.bulk:
            trace.emit_bulk(KMEM_CACHE_FREE, obj, self.id)
        else:
            trace.counts[KMEM_CACHE_FREE] += 1
        return slab, slot

    def free_rcu(self, obj: int) -> None:
        """``kfree_rcu``: give back the object after a grace period."""
        self.note_rcu(obj)
        self.rcu.call_rcu(self.free, obj)

    def flush_all(self) -> None:
        """Return all that CPUs keep for themselves to the slabs."""
        raise NotImplementedError

    def cached_objects(self) -> list[int]:
        """Addresses of the free objects that CPUs keep for themselves."""
        raise NotImplementedError

    def off_list_slabs(self) -> list[Slab]:
        """Slabs with room that belong to a CPU (classic)."""
        return []

    # -- slabs ------------------------------------------------------------------------------------------------------

    def new_slab(self, gfp: int) -> Slab | None:
        """``new_slab``: a slab from the page allocator, all objects free, on no list. Falls back to the smallest
        order."""
        flags = gfp & ~ZONE_FLAGS
        if self.order:
            flags |= GFP_COMP
        if self.flags & SLAB_RECLAIM_ACCOUNT:
            flags |= GFP_RECLAIMABLE
        first = (flags | GFP_NOWARN | GFP_NORETRY) & ~GFP_NOFAIL
        if self.order > self.min_order and first & GFP_DIRECT_RECLAIM:
            first = (first | GFP_NOMEMALLOC) & ~GFP_DIRECT_RECLAIM
        order = self.order
        pfn = self.pages.alloc_pages(order, first, self.owner)
        if pfn is None:
            order = self.min_order
            pfn = self.pages.alloc_pages(order, flags, self.owner)
            if pfn is None:
                return None
            if order < self.order:
                self.order_fallbacks += 1
        slab = Slab(self, pfn, order, order_objects(order, self.size))
        slab.place = ON_CPU
        slab.freelist = self.freelist_order.first_freelist(slab.objects)
        self.construct(slab)
        for frame in range(pfn, pfn + (1 << order)):
            self.slab_of_page[frame] = slab
        self.slabs[pfn] = slab
        self.total_objects += slab.objects
        self.trace.emit(SLAB_NEW, pfn, order, self.id)
        return slab

    def construct(self, slab: Slab) -> None:
        """Call the constructor for every slot (``setup_object``)."""
        ctor = self.ctor
        ns = NEW_SLAB_NS
        if ctor is not None:
            base = slab.base
            size = self.size
            slab.contents = [ctor(base + slot * size) for slot in range(slab.objects)]
            ns += CTOR_NS * slab.objects
        self.smp.advance(ns)

    def discard_slab(self, slab: Slab) -> None:
        """Give the pages of an empty slab, which is on no list, back to the page allocator."""
        assert slab.inuse == 0, f"{slab!r} is discarded with objects in it"
        del self.slabs[slab.pfn]
        self.total_objects -= slab.objects
        slab.place = ON_LEAVING
        if self.typesafe:
            self.rcu_slabs[slab.pfn] = slab
            self.rcu.call_rcu(self.free_slab, slab)
        else:
            self.free_slab(slab)

    def free_slab(self, slab: Slab) -> None:
        """``free_slab``: the pages go back."""
        self.rcu_slabs.pop(slab.pfn, None)
        for frame in range(slab.pfn, slab.pfn + (1 << slab.order)):
            del self.slab_of_page[frame]
        self.trace.emit(SLAB_DISCARD, slab.pfn, slab.order, self.id)
        self.pages.free_pages(slab.pfn, slab.order)

    def add_partial(self, slab: Slab, tail: bool) -> None:
        """Put ``slab`` on the partial list; the caller holds the list lock."""
        slab.place = ON_PARTIAL
        if tail:
            self.node.partial.add_tail(slab)
        else:
            self.node.partial.add(slab)

    def remove_partial(self, slab: Slab) -> None:
        """Take ``slab`` off the partial list; the caller holds the list lock."""
        self.node.partial.remove(slab)
        slab.place = ON_NOTHING

    def takes_list_lock(self, slab: Slab) -> bool:
        """Whether a free to ``slab`` will have to move it between lists."""
        if self.threads:
            return True  # the list lock stands for the atomic update of freelist and counters
        place = slab.place
        if place == ON_PARTIAL:
            return slab.inuse == 1
        return place == ON_NOTHING and not slab.isolated and not (self.full_to_cpu_partial and not slab.freelist)

    def slab_free_slow(self, slab: Slab, slot: int) -> None:
        """``__slab_free``: an object goes back to its slab; the slab may change lists or be discarded.

        A free that meets an isolated slab waits first, as the cache's mobility says.
        """
        lock = self.node.list_lock
        while True:
            if slab.isolated and self.mobility is not None:
                self.mobility.free_meets(slab)
            locked = self.takes_list_lock(slab)
            if not locked:
                break
            lock.lock_irq()
            if not slab.isolated or (self.threads and (slab.lock is None or slab.lock.free())):
                break
            lock.unlock_irq()
        was_full = not slab.freelist
        slab.freelist.append(slot)
        slab.inuse -= 1
        if not locked:
            if was_full and slab.place == ON_NOTHING and not slab.isolated:
                self.put_cpu_partial(slab)
            return
        self.smp.advance(SLOW_FREE_NS)
        discard = False
        if not slab.isolated and (slab.place == ON_PARTIAL or slab.place == ON_NOTHING):
            if slab.inuse == 0 and self.node.partial.nr >= self.min_partial:
                if slab.place == ON_PARTIAL:
                    self.remove_partial(slab)
                slab.place = ON_LEAVING
                discard = True
            elif slab.place == ON_NOTHING:
                self.add_partial(slab, tail=True)
        lock.unlock_irq()
        if discard:
            self.discard_slab(slab)

    def put_cpu_partial(self, slab: Slab) -> None:
        """A slab that was full has room again (classic: the CPU that freed keeps it)."""
        raise NotImplementedError

    def return_objects(self, objects: list[int]) -> None:
        """Return free objects that a CPU kept to their slabs (``sheaf_flush_unused``, ``deactivate_slab``)."""
        slab_of_page = self.slab_of_page
        for obj in objects:
            slab = slab_of_page[obj >> PAGE_SHIFT]
            self.slab_free_slow(slab, (obj - slab.base) // self.size)

    # -- shrinking, mobility ----------------------------------------------------------------------------------------

    def shrink(self) -> int:
        """``kmem_cache_shrink``: slabs given back. Objects move only where the cache is movable."""
        self.flush_all()
        if self.mobility is not None:
            freed = self.mobility.shrink().slabs_freed
            self.flush_all()
        else:
            freed = 0
        freed += self.shrink_partial()
        self.trace.emit(CACHE_SHRINK, self.id, freed)
        return freed

    def shrink_partial(self) -> int:
        """``__kmem_cache_do_shrink``: discard the empty partial slabs, put the fullest in front. Slabs discarded."""
        partial = self.node.partial
        empty: list[Slab] = []
        promote: list[list[Slab]] = [[] for _ in range(SHRINK_PROMOTE_MAX + 1)]
        self.node.list_lock.lock_irq()
        for slab in partial.slabs():
            free = slab.objects - slab.inuse
            if slab.inuse == 0:
                self.remove_partial(slab)
                slab.place = ON_LEAVING
                empty.append(slab)
            elif free <= SHRINK_PROMOTE_MAX:
                self.remove_partial(slab)
                promote[free].append(slab)
        for free in range(SHRINK_PROMOTE_MAX, 0, -1):
            for slab in promote[free]:
                self.add_partial(slab, tail=False)
        self.node.list_lock.unlock_irq()
        for slab in empty:
            self.discard_slab(slab)
        return len(empty)

    def setup_mobility(
        self, isolate: IsolateCallback | None, migrate: MigrateCallback, options: MobilityOptions | None = None
    ) -> None:
        """``kmem_cache_setup_mobility``: the cache's objects can move from now on.

        ``isolate(objects)`` and ``migrate(objects, private)`` get lists of addresses; what they may do is in
        ``slab_mobility``. Raises ValueError for a cache without constructor: its free objects have no recognisable
        state.
        """
        if self.ctor is None:
            raise ValueError(
                f"Cache {self.name} has no constructor, so its objects cannot be moved: create it with one."
            )
        if options is None:
            options = MobilityOptions()
        self.mobility = CacheMobility(self, isolate, migrate, options, self.ledger)
        self.movable = True
        if self in self.slab_caches:
            self.slab_caches.remove(self)
            self.slab_caches.insert(0, self)  # kmem_defrag_slabs stops at the first that is not movable

    def remove_mobility(self) -> None:
        """The cache's objects stay where they are from now on."""
        self.mobility = None
        self.movable = False
        if self in self.slab_caches:
            self.slab_caches.remove(self)
            self.slab_caches.append(self)

    def defrag(self, ratio: int = 30) -> DefragPass:
        """Evacuate partial slabs that are used to ``ratio`` percent or less. What it bought, and its price.

        A cache that is not movable gets a pass that did nothing.
        """
        if self.mobility is None:
            done = DefragPass(self.id, self.name, ratio, self.smp.now)
            done.note = self.why_fixed or "the cache is not movable"
            return done
        return self.mobility.defrag(ratio)

    # -- counting ---------------------------------------------------------------------------------------------------

    def stats(self) -> CacheStats:
        """Count, by objects truly in use: see ``CacheStats``."""
        return cache_stats(self)[0]

    def hidden(self) -> HiddenObjects:
        """Objects that other counts get wrong: see ``HiddenObjects``."""
        return cache_stats(self)[1]

    def slab_rows(self) -> list[SlabRow]:
        """One row a slab, in order of address: pfn, order, objects, inuse, SLAB_*, REFUSED_*. Counts end at 255."""
        return slab_rows(self)

    def object_states(self, slab: Slab) -> bytes:
        """OBJ_* of every slot of ``slab``."""
        return object_states(slab)
