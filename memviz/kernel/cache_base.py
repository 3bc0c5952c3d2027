"""What a cache is, and how its objects are found, told apart and looked at (``struct kmem_cache``)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NoReturn

from memviz.kernel.cache_mobility import CacheMobility
from memviz.kernel.defrag_pass import DefragLedger
from memviz.kernel.page import (
    PAGE_SHIFT,
)
from memviz.kernel.rcu import Rcu
from memviz.kernel.slab import (
    SLAB_LOCK_STATE,
    SLOT_FREE,
    SLOT_RCU,
    SLOT_USED,
    CacheSpec,
    FreelistOrder,
    KmemCacheNode,
    PageSource,
    Slab,
    SlubConfig,
)
from memviz.kernel.slab_order import (
    SLAB_TYPESAFE_BY_RCU,
    calculate_order,
    get_order,
    min_partial,
    object_layout,
)
from memviz.kernel.smp import Smp
from memviz.kernel.spinlock import SpinLock

if TYPE_CHECKING:
    from memviz.kernel.kmem_cache import KmemCache


class CacheBase:
    """One cache. ``size`` is the distance between objects, ``object_size`` what the user asked for; both in bytes."""

    def __init__(
        self,
        spec: CacheSpec,
        pages: PageSource,
        rcu: Rcu,
        smp: Smp,
        config: SlubConfig,
        slab_of_page: dict[int, Slab],
    ) -> None:
        self.id = spec.id
        self.name = spec.name
        self.object_size = spec.object_size
        self.flags = spec.flags
        self.ctor = spec.ctor
        self.owner = spec.owner
        self.pages = pages
        self.rcu = rcu
        self.smp = smp
        self.trace = smp.trace
        self.config = config
        self.checked = config.checked
        self.threads = smp.threads
        self.slab_of_page = slab_of_page
        self.size = object_layout(spec.object_size, spec.flags, spec.ctor is not None)
        self.order, self.objs_per_slab = calculate_order(self.size, config.cpus or smp.nr_cpus)
        self.min_order = get_order(self.size)
        self.min_partial = min_partial(self.size)
        self.node = KmemCacheNode(SpinLock(smp, f"{spec.name} list_lock", SLAB_LOCK_STATE))
        self.slab_lock_name = f"{spec.name} slab_lock"
        self.slabs: dict[int, Slab] = {}  # all of them, by first page frame
        self.rcu_slabs: dict[int, Slab] = {}  # discarded, waiting for a grace period
        self.total_objects = 0
        self.refcount = 1  # names that share it (merging)
        self.ledger = DefragLedger()  # Slub puts the machine's own here
        self.slab_caches: list[KmemCache] = []  # the machine's, movable ones first; Slub's
        self.mobility: CacheMobility | None = None
        self.movable = False
        self.why_fixed = ""  # more to be said of a cache that is not movable
        self.order_fallbacks = 0  # slabs that had to be smaller than they should
        self.full_to_cpu_partial = False  # a full slab that gets an object back goes to the CPU's list (classic)
        self.typesafe = spec.flags & SLAB_TYPESAFE_BY_RCU != 0
        self.nr_rcu = 0  # objects that their owner handed to RCU and that are not free yet
        self.recolour: Callable[[object, bool], None] | None = None
        seed = config.freelist_random
        self.freelist_order = FreelistOrder(seed * 65537 + spec.id if seed else 0, self.objs_per_slab)

    # -- objects --------------------------------------------------------------------------------------------------

    def find_slot(self, obj: int) -> tuple[Slab, int]:
        """The slab and slot of address ``obj``; reports an address that is no object of this cache."""
        slab = self.slab_of_page.get(obj >> PAGE_SHIFT)
        if slab is None or slab.cache is not self:
            self.bad_address(obj)
        slot, rest = divmod(obj - slab.base, self.size)
        if rest or slot >= slab.objects:
            self.bad_address(obj)
        return slab, slot

    def bad_address(self, obj: int) -> NoReturn:
        """Report an address that is no object of this cache."""
        slab = self.slab_of_page.get(obj >> PAGE_SHIFT)
        whose = "no slab" if slab is None else f"a slab of {slab.cache.name}"
        if slab is not None and slab.cache is self:
            whose = "no object's begin in its slab"
        self.smp.bug("free of a wrong address", f"{obj:#x} given to cache {self.name} is in {whose}")

    def bad_free(self, obj: int) -> NoReturn:
        """Report an object that is freed and free already."""
        self.smp.bug("double free", f"object {obj:#x} of {self.name} is free already")

    def free_not_used(self, slab: Slab, slot: int) -> None:
        """A free of an object that is not plainly in use: it waited for RCU, or was free already."""
        if slab.live[slot] != SLOT_RCU:
            self.bad_free(slab.base + slot * self.size)
        self.nr_rcu -= 1

    def forbidden(self, what: str) -> NoReturn:
        """Report a slab call from within isolate."""
        callback = self.smp.this_cpu().no_slab
        self.smp.bug("slab call inside isolate", f"{callback} calls {what} of {self.name} with the slab lock held")

    def content(self, obj: int) -> object:
        """What the constructor made for the object at ``obj``; None without a constructor.

        Memory is type-safe: content is recycled with its slot. Looking at the content of a freed object is reported
        in checked mode, except where it is allowed: in a ``SLAB_TYPESAFE_BY_RCU`` cache, and in an isolated slab, whose
        objects stay readable until processing ends.
        """
        slab, slot = self.find_slot(obj)
        if self.checked and slab.live[slot] == SLOT_FREE and not (slab.isolated or self.typesafe):
            self.smp.bug("use after free", f"content of the freed object {obj:#x} of {self.name} is looked at")
        return slab.contents[slot] if slab.contents else None

    def poison(self, recolour: Callable[[object, bool], None]) -> None:
        """In checked mode call ``recolour(content, freed)`` whenever an object is freed or handed out: it may poison
        the content and look after it. Raises ValueError without a constructor: there is no content."""
        if self.ctor is None:
            raise ValueError(f"Cache {self.name} has no constructor, so its objects have no content to poison.")
        if self.checked:
            self.recolour = recolour

    def note_rcu(self, obj: int) -> None:
        """The owner of ``obj`` has handed it to RCU and will free it after a grace period: shown, and not to be
        used."""
        slab, slot = self.find_slot(obj)
        if slab.live[slot] != SLOT_USED:
            self.bad_free(obj)
        slab.live[slot] = SLOT_RCU
        self.nr_rcu += 1

    def in_use(self, obj: int) -> bool:
        """Whether ``obj`` is an object that is allocated (waiting for RCU included)."""
        slab, slot = self.find_slot(obj)
        return slab.live[slot] != SLOT_FREE

    def objects_of(self, slab: Slab) -> list[int]:
        """Addresses of a slab's objects that are not on its freelist: what the slab itself believes to be in use."""
        free = bytearray(slab.objects)
        for slot in slab.freelist:
            free[slot] = 1
        size = self.size
        base = slab.base
        return [base + slot * size for slot in range(slab.objects) if not free[slot]]
