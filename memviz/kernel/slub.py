"""The slab allocator: its caches, kmalloc, and the way from a page to its slab (``mm/slub.c``, ``mm/slab_common.c``).

``KmemCache`` (kmem_cache.py) has the slow paths, ``SheafCache`` (sheaf.py) and ``ClassicCache`` (cpu_slab.py) are the
two front ends, ``slab_mobility`` moves objects. Read as of 7.3, the classic front end as of 6.17.
"""

from __future__ import annotations

from memviz.kernel.cpu_slab import ClassicCache
from memviz.kernel.defrag_pass import DefragLedger, DefragPass
from memviz.kernel.kmem_cache import KmemCache
from memviz.kernel.page import GFP_KERNEL, GFP_RECLAIMABLE, OWNER_KERNEL, OWNER_SLAB, PAGE_SHIFT
from memviz.kernel.rcu import Rcu
from memviz.kernel.sheaf import SheafCache
from memviz.kernel.slab import CacheSpec, CacheStats, Constructor, PageSource, Slab, SlubConfig
from memviz.kernel.slab_check import check_cache
from memviz.kernel.slab_mobility import MobilityOptions, SlabMobility
from memviz.kernel.slab_order import (
    KMALLOC_SIZES,
    SLAB_HWCACHE_ALIGN,
    SLAB_NO_MERGE,
    SLAB_RECLAIM_ACCOUNT,
    SLAB_TYPESAFE_BY_RCU,
    calculate_order,
    get_order,
    kmalloc_index,
    kmalloc_name,
    object_layout,
)
from memviz.kernel.smp import Smp

__all__ = [
    "SLAB_HWCACHE_ALIGN",
    "SLAB_NO_MERGE",
    "SLAB_RECLAIM_ACCOUNT",
    "SLAB_TYPESAFE_BY_RCU",
    "CacheStats",
    "DefragPass",
    "KmemCache",
    "MobilityOptions",
    "Slab",
    "Slub",
    "SlubConfig",
    "calculate_order",
]

MERGE_SAME = SLAB_RECLAIM_ACCOUNT | SLAB_HWCACHE_ALIGN


class Slub:
    """All slab caches of a machine."""

    def __init__(self, page_alloc: PageSource, rcu: Rcu, smp: Smp, config: SlubConfig | None = None) -> None:
        self.page_alloc = page_alloc
        self.rcu = rcu
        self.smp = smp
        self.config = config if config is not None else SlubConfig()
        self.caches: dict[str, KmemCache] = {}  # by name; a merged cache has several
        self.slab_caches: list[KmemCache] = []  # each once, movable ones first
        self.slab_of_page: dict[int, Slab] = {}  # every page frame of every slab
        self.kmalloc_caches: list[list[KmemCache | None]] = [[None] * len(KMALLOC_SIZES) for _ in range(2)]
        self.kmalloc_large: dict[int, int] = {}  # address to order
        self.next_id = 1
        self.ledger = DefragLedger()
        self.mobility = SlabMobility(self.slab_caches, self.slab_of_page, self.ledger, page_alloc.mem, smp)

    # -- caches -----------------------------------------------------------------------------------------------------

    def create_cache(
        self,
        name: str,
        size: int,
        ctor: Constructor | None = None,
        flags: int = 0,
        owner: int = OWNER_SLAB,
    ) -> KmemCache:
        """``kmem_cache_create``: a cache of objects of ``size`` bytes.

        ``ctor(address)`` makes the content of an object, once a slot when its slab is made. ``flags``: SLAB_*;
        ``owner``: whose its page frames are, ``page.OWNER_*``. Raises ValueError for a name that is taken or a size
        that fits no slab.
        """
        if name in self.caches:
            raise ValueError(f"There is a slab cache {name} already: take another name or use Slub.caches.")
        if self.config.merge:
            alias = self.find_mergeable(size, ctor, flags, owner)
            if alias is not None:
                alias.refcount += 1
                self.caches[name] = alias
                return alias
        front_end = SheafCache if self.config.front_end == "sheaves" else ClassicCache
        cache: KmemCache = front_end(
            CacheSpec(self.next_id, name, size, flags, ctor, owner),
            self.page_alloc,
            self.rcu,
            self.smp,
            self.config,
            self.slab_of_page,
        )
        cache.ledger = self.ledger
        cache.slab_caches = self.slab_caches
        self.next_id += 1
        self.caches[name] = cache
        self.slab_caches.append(cache)
        return cache

    def find_mergeable(self, size: int, ctor: Constructor | None, flags: int, owner: int) -> KmemCache | None:
        """``find_mergeable``: a cache that objects of this kind may share."""
        if ctor is not None or flags & (SLAB_NO_MERGE | SLAB_TYPESAFE_BY_RCU):
            return None
        layout = object_layout(size, flags, False)
        for cache in reversed(self.slab_caches):
            if cache.ctor is not None or cache.flags & (SLAB_NO_MERGE | SLAB_TYPESAFE_BY_RCU):
                continue
            if cache.owner != owner or (cache.flags ^ flags) & MERGE_SAME:
                continue
            if layout <= cache.size < layout + 8:
                return cache
        return None

    def destroy_cache(self, name: str) -> None:
        """``kmem_cache_destroy``: the last name of a cache takes its slabs along. Objects still in use are a bug."""
        cache = self.caches.pop(name)
        cache.refcount -= 1
        if cache.refcount:
            return
        cache.flush_all()
        self.rcu.rcu_barrier()
        cache.shrink_partial()
        if cache.slabs:
            self.smp.bug("objects remaining", f"cache {name} is destroyed with {cache.stats().active} objects in use")
        self.slab_caches.remove(cache)

    # -- kmalloc ----------------------------------------------------------------------------------------------------

    def kmalloc_cache(self, size: int, gfp: int) -> KmemCache | None:
        """The cache that serves ``size`` bytes; None above ``KMALLOC_MAX_CACHE_SIZE``. Made when first needed."""
        index = kmalloc_index(size)
        if index < 0:
            return None
        kind = 1 if gfp & GFP_RECLAIMABLE else 0
        cache = self.kmalloc_caches[kind][index]
        if cache is None:
            name = kmalloc_name(KMALLOC_SIZES[index])
            flags = 0
            if kind:
                name = name.replace("kmalloc-", "kmalloc-rcl-")
                flags = SLAB_RECLAIM_ACCOUNT
            cache = self.create_cache(name, KMALLOC_SIZES[index], flags=flags)
            self.kmalloc_caches[kind][index] = cache
        return cache

    def kmalloc(self, size: int, gfp: int = GFP_KERNEL) -> int | None:
        """``kmalloc``: the address of ``size`` bytes, None when there is no memory."""
        cache = self.kmalloc_cache(size, gfp)
        if cache is not None:
            return cache.alloc(gfp)
        order = get_order(size)
        pfn = self.page_alloc.alloc_pages(order, gfp, OWNER_KERNEL)
        if pfn is None:
            return None
        self.kmalloc_large[pfn << PAGE_SHIFT] = order
        return pfn << PAGE_SHIFT

    def kfree(self, addr: int) -> None:
        """``kfree``: give back what ``kmalloc`` or any cache gave."""
        slab = self.slab_of_page.get(addr >> PAGE_SHIFT)
        if slab is not None:
            slab.cache.free(addr)
            return
        order = self.kmalloc_large.pop(addr, -1)
        if order < 0:
            self.smp.bug("free of a wrong address", f"kfree({addr:#x}): neither a slab object nor a kmalloc block")
        self.page_alloc.free_pages(addr >> PAGE_SHIFT, order)

    # -- looking ----------------------------------------------------------------------------------------------------

    def virt_to_slab(self, addr: int) -> Slab | None:
        """The slab that address ``addr`` is in, None when its page is no slab's."""
        return self.slab_of_page.get(addr >> PAGE_SHIFT)

    def nr_slab_pages(self) -> int:
        """Page frames that slabs own."""
        return len(self.slab_of_page)

    def check(self) -> None:
        """Verify every invariant of every cache. Raises AssertionError with one sentence.

        For a machine that stands between operations: in the middle of one an object may be on its way.
        """
        frames = 0
        for cache in self.slab_caches:
            frames += check_cache(cache)
        assert frames == len(self.slab_of_page), (
            f"{len(self.slab_of_page)} page frames are known as slab pages, but caches have {frames}"
        )
