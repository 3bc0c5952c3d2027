"""A slab, lists of slabs, and what can be said about a cache (``mm/slab.h``).

A slab is a block of page frames cut into objects of one cache. An object's address is ``pfn << 12 | offset`` of its
first byte; its place in the slab is its *slot*. The freelist holds slots; a byte a slot says the truth about the
object, which the kernel does not know: ``slab->inuse`` counts objects that sit free in a CPU's cache as used.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from memviz.kernel.page import GFP_KERNEL, OWNER_KERNEL, PAGE_SHIFT, PageFrames
from memviz.kernel.spinlock import SpinLock

if TYPE_CHECKING:
    from memviz.kernel.kmem_cache import KmemCache

SLAB_LOCK_STATE: Final = 7  # smp.CPU_SLAB_LOCK

# Slab.live, one byte a slot.
SLOT_FREE: Final = 0
SLOT_USED: Final = 1
SLOT_RCU: Final = 2  # freed by its owner, waits for a grace period

# Slab.place: where the slab is.
ON_NOTHING: Final = 0  # full: on no list (sheaves: also while its objects are taken)
ON_PARTIAL: Final = 1  # on the node's partial list
ON_CPU: Final = 2  # a CPU's active slab, frozen (classic); also a new one that a CPU has just made
ON_CPU_PARTIAL: Final = 3  # on a CPU's partial list (classic)
ON_ISOLATED: Final = 4  # taken off for mobility: objects can only leave it
ON_LEAVING: Final = 5  # empty, on its way back to the page allocator, maybe after a grace period

# As snapshots show a slab: snapshot.SLAB_*.
SLAB_PARTIAL: Final = 0
SLAB_FULL: Final = 1
SLAB_CPU: Final = 2
SLAB_ISOLATED: Final = 3
SLAB_MIGRATING: Final = 4
SLAB_EMPTY: Final = 5

# As snapshots show an object: snapshot.OBJ_*.
OBJ_NONE: Final = 0
OBJ_FREE: Final = 1
OBJ_USED: Final = 2
OBJ_SHEAF: Final = 3
OBJ_RCU: Final = 4
OBJ_ISOLATED: Final = 5
OBJ_MOVING: Final = 6
OBJ_BUSY: Final = 7

Constructor = Callable[[int], object]
SlabRow = tuple[int, int, int, int, int, int]  # pfn, order, objects, inuse, state, refused: snapshot.SLAB_DTYPE


class PageSource(Protocol):
    """What slabs need of the page allocator: ``page_alloc.PageAlloc`` has these."""

    mem: PageFrames

    def alloc_pages(self, order: int, gfp: int = GFP_KERNEL, owner: int = OWNER_KERNEL) -> int | None: ...
    def free_pages(self, pfn: int, order: int) -> None: ...


class CacheSpec(NamedTuple):
    """What a cache is asked to be (``struct kmem_cache_args``)."""

    id: int
    name: str
    object_size: int
    """Bytes that the user asked for."""
    flags: int
    """SLAB_*."""
    ctor: Constructor | None
    """Makes the content of an object, given its address, once a slot when its slab is made."""
    owner: int
    """Whose its page frames are, ``page.OWNER_*``."""


class SlubConfig:
    """How the slab allocator is built.

    ``front_end``: "classic" (CPU slabs and CPU partial lists, up to 6.17) or "sheaves" (7.0 and later). ``cpus``: CPUs
    that orders are computed for, 0: those of the machine. ``checked``: freed memory is poisoned, and looking at the
    content of a freed object is reported. ``freelist_random``: seed of CONFIG_SLAB_FREELIST_RANDOM, 0: off, objects
    are handed out in order of address. ``merge``: caches alike share their slabs (CONFIG_SLAB_MERGE_DEFAULT); off, so
    that every user of memory is seen under its own name. ``fill_sheaves``: an empty sheaf is filled to the brim as 7.3
    does, with as many new slabs as that takes; off, it takes what the partial slabs have, else one new slab: the slab
    counts of the 2019 series then hold for both front ends.
    """

    def __init__(
        self,
        front_end: str = "sheaves",
        cpus: int = 0,
        checked: bool = True,
        freelist_random: int = 0,
        merge: bool = False,
        fill_sheaves: bool = False,
    ) -> None:
        if front_end not in ("classic", "sheaves"):
            raise ValueError(f'No slab front end is called "{front_end}": choose "classic" or "sheaves".')
        self.front_end = front_end
        self.cpus = cpus
        self.checked = checked
        self.freelist_random = freelist_random
        self.merge = merge
        self.fill_sheaves = fill_sheaves


class CacheStats(NamedTuple):
    """A cache, counted as the acceptance table of the 2019 series counts: by objects truly in use.

    ``partial``: slabs with a free object, wherever that is cached; ``full``: slabs without.
    """

    active: int
    total: int
    partial: int
    full: int
    slabs: int


class HiddenObjects(NamedTuple):
    """Where a count of objects in use and the truth differ.

    ``cached``: free objects that ``slab->inuse`` counts as used (sheaves, barn, CPU slabs). ``slabinfo_active``: what
    /proc/slabinfo calls active. ``rcu``: objects counted as active that their owner has freed and that wait for a grace
    period.
    """

    cached: int
    slabinfo_active: int
    rcu: int


class Slab:
    """``struct slab``: a block of ``1 << order`` page frames at ``pfn``, holding ``objects`` slots."""

    def __init__(self, cache: KmemCache, pfn: int, order: int, objects: int) -> None:
        self.cache = cache
        self.pfn = pfn
        self.order = order
        self.objects = objects
        self.base = pfn << PAGE_SHIFT
        self.inuse = 0
        self.freelist: list[int] = []  # slots, handed out from the end
        self.live = bytearray(objects)  # SLOT_*
        self.contents: list[object] = []  # what the constructor made, a slot each; empty without one
        self.place = ON_NOTHING
        self.isolated = False
        self.migrating = False
        self.refused = 0  # why its last isolation was refused: slab_mobility.REFUSED_*
        self.busy_slot = -1  # the object that was busy then
        self.lock: SpinLock | None = None  # PG_locked of its first frame, made when first needed
        self.next: Slab | None = None  # neighbours on the partial list
        self.prev: Slab | None = None

    def used(self) -> int:
        """Objects truly in use, those that wait for RCU included."""
        return self.objects - self.live.count(SLOT_FREE)

    def slab_lock(self) -> SpinLock:
        """The slab's lock."""
        lock = self.lock
        if lock is None:
            cache = self.cache
            lock = self.lock = SpinLock(cache.smp, cache.slab_lock_name, SLAB_LOCK_STATE)
        return lock

    def __repr__(self) -> str:
        return f"<Slab {self.cache.name} pfn {self.pfn:#x} {self.inuse}/{self.objects}>"


class SlabList:
    """A doubly linked list of slabs (``list_head``): order matters and both ends do."""

    def __init__(self) -> None:
        self.head: Slab | None = None
        self.tail: Slab | None = None
        self.nr = 0

    def add(self, slab: Slab) -> None:
        """Put ``slab`` first."""
        slab.prev = None
        slab.next = self.head
        if self.head is None:
            self.tail = slab
        else:
            self.head.prev = slab
        self.head = slab
        self.nr += 1

    def add_tail(self, slab: Slab) -> None:
        """Put ``slab`` last."""
        slab.next = None
        slab.prev = self.tail
        if self.tail is None:
            self.head = slab
        else:
            self.tail.next = slab
        self.tail = slab
        self.nr += 1

    def remove(self, slab: Slab) -> None:
        """Take ``slab``, which is on this list, off it."""
        if slab.prev is None:
            self.head = slab.next
        else:
            slab.prev.next = slab.next
        if slab.next is None:
            self.tail = slab.prev
        else:
            slab.next.prev = slab.prev
        slab.next = slab.prev = None
        self.nr -= 1

    def slabs(self) -> list[Slab]:
        """All slabs, first to last."""
        out: list[Slab] = []
        slab = self.head
        while slab is not None:
            out.append(slab)
            slab = slab.next
        return out


class KmemCacheNode:
    """``struct kmem_cache_node``: the partial list of a NUMA node (there is one node) and the lock over it."""

    def __init__(self, list_lock: SpinLock) -> None:
        self.list_lock = list_lock
        self.partial = SlabList()


class FreelistOrder:
    """In which order a new slab hands out its objects. ``seed`` 0: in order of address."""

    def __init__(self, seed: int, objects: int) -> None:
        self.random: Random | None = Random(seed) if seed else None
        self.random_seq: list[int] = self.permutation(objects) if seed else []

    def permutation(self, count: int) -> list[int]:
        """A shuffle of ``count`` slots (``cache_random_seq_create``)."""
        sequence = list(range(count))
        random = self.random
        assert random is not None
        for i in range(count - 1, 0, -1):
            j = int(random.random() * (i + 1))
            sequence[i], sequence[j] = sequence[j], sequence[i]
        return sequence

    def first_freelist(self, objects: int) -> list[int]:
        """The freelist of a new slab: slots, the one to be handed out first at the end."""
        if self.random is None:
            return list(range(objects - 1, -1, -1))
        if objects != len(self.random_seq):
            return self.permutation(objects)
        start = int(self.random.random() * objects)  # shuffle_freelist: one sequence a cache, another start a slab
        return self.random_seq[start:] + self.random_seq[:start]
