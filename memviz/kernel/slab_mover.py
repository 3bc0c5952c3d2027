"""One isolated slab: the two callbacks and what they are held to, and the choices the thread leaves open.

The protocol as a whole is told in ``slab_mobility``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from memviz.kernel.defrag_pass import (
    REFUSED_IN_USE,
    REFUSED_NONE,
    STEP_BARRIER,
    STEP_ISOLATE,
    STEP_MIGRATE,
    STEP_REFUSED,
    DefragLedger,
    DefragPass,
)
from memviz.kernel.slab import SLOT_FREE, SLOT_USED, Slab
from memviz.kernel.smp import CPU_ISOLATE, CPU_MIGRATE, Cpu
from memviz.kernel.trace import KMEM_CACHE_ALLOC, OBJECT_EVICTED, OBJECT_MOVED, SLAB_ISOLATE, SLAB_ISOLATE_REFUSED

if TYPE_CHECKING:
    from memviz.kernel.kmem_cache import KmemCache

IsolateCallback = Callable[[list[int]], object]  # addresses -> private, None: refused
MigrateCallback = Callable[[list[int], object], None]

# What keeps the objects in existence between the two callbacks.
GUARANTEE_NONE: Final = 0  # nothing: migrate must tell from the content whether an object was freed (2019's xarray)
GUARANTEE_REFCOUNT: Final = 1  # isolate takes references; the engine does nothing
GUARANTEE_RCU: Final = 2  # the engine stays in a read-side section until migrate returns: migrate must not sleep
GUARANTEE_BOTH: Final = 3  # a read-side section around isolate, so that it may look before it takes references

# Where rcu_barrier is called.
BARRIER_NONE: Final = 0  # nowhere: slabs whose objects wait for RCU are found again as partial slabs
BARRIER_OBJECT: Final = 1
BARRIER_SLAB: Final = 2
BARRIER_PASS: Final = 3

# What a free does that meets an isolated slab.
FREE_SPINS: Final = 0  # spins on the slab lock, which is held for isolate only
FREE_BLOCKS: Final = 1  # waits until processing ends; in a softirq it blocks the CPU

SCAN_NS: Final = 8  # look at one partial slab
ISOLATE_NS: Final = 25  # put one object into the vector, take its reference
MIGRATE_NS: Final = 60  # per object, on top of what the callback's own calls take
COPY_BYTES_PER_NS: Final = 8


_NO_CALLBACK: Final = "no isolate callback"  # what ``private`` is inside the engine then; migrate gets None


class MobilityOptions:
    """Answers to what the thread leaves open.

    ``batch``: a slab's objects together, else one by one. ``all_or_nothing``: one busy object leaves the slab alone,
    else what can move moves. ``guarantee``, ``barrier``, ``free_meets``: see the constants; ``BARRIER_OBJECT``
    implies one by one.
    ``isolate_all``: every chosen slab is isolated before the first object moves, as in 2019; else one slab at a time,
    and the pass stops when no further slab can come free. ``guard_sheaves``: an object of an isolated slab found in a
    sheaf goes back. ``flush_first``: CPUs give back what they keep before slabs are chosen. Without either a pass is
    unsound with sheaves, or moves free objects; both are there to show it.
    """

    def __init__(
        self,
        batch: bool = True,
        all_or_nothing: bool = True,
        guarantee: int = GUARANTEE_BOTH,
        barrier: int = BARRIER_PASS,
        free_meets: int = FREE_SPINS,
        isolate_all: bool = False,
        guard_sheaves: bool = True,
        flush_first: bool = True,
    ) -> None:
        self.batch = batch and barrier != BARRIER_OBJECT
        self.all_or_nothing = all_or_nothing
        self.guarantee = guarantee
        self.barrier = barrier
        self.free_meets = free_meets
        self.isolate_all = isolate_all
        self.guard_sheaves = guard_sheaves
        self.flush_first = flush_first


class SlabMover:
    """The two callbacks of a cache, and how they are called for one slab."""

    def __init__(
        self,
        cache: KmemCache,
        isolate: IsolateCallback | None,
        migrate: MigrateCallback,
        options: MobilityOptions,
        ledger: DefragLedger,
    ) -> None:
        self.cache = cache
        self.smp = cache.smp
        self.isolate_name = f"isolate of {cache.name}"
        self.blocked_name = f"free into an isolated slab of {cache.name}"
        self.isolate = isolate
        self.migrate = migrate
        self.options = options
        self.ledger = ledger
        self.isolated: dict[int, Slab] = {}  # by first page frame
        self.current: DefragPass | None = None  # the pass under way
        self.task: object = None  # who runs it
        self.cpu: Cpu | None = None  # and where
        self.reason = REFUSED_NONE  # what a callback gave as its reason
        self.busy_obj = 0
        self.moved = 0  # what migrate has reported during this call
        self.evicted = 0
        self.room = 0  # free objects in the partial slabs, as far as the pass knows

    # -- what callbacks may say -------------------------------------------------------------------------------------

    def refuse(self, obj: int, reason: int) -> None:
        """A callback says which object can't move, and why (REFUSED_*)."""
        if self.reason == REFUSED_NONE:
            self.reason = reason
            self.busy_obj = obj

    def object_moved(self, old: int, new: int) -> None:
        """Migrate says that an object lives at ``new`` now."""
        size = self.cache.object_size
        self.moved += 1
        self.smp.advance(size // COPY_BYTES_PER_NS)
        if self.current is not None:
            self.current.bytes_copied += size
        self.smp.trace.emit(OBJECT_MOVED, old, new, self.cache.id)

    def object_evicted(self, obj: int) -> None:
        """Migrate says that an object was thrown away."""
        self.evicted += 1
        self.smp.trace.emit(OBJECT_EVICTED, obj, self.cache.id)

    # -- one slab ---------------------------------------------------------------------------------------------------

    def move_slab(self, slab: Slab, done: DefragPass) -> None:
        """Both callbacks for one isolated slab, whose lock is held with interrupts off; released on return."""
        objects = self.cache.objects_of(slab)
        if not objects:
            self.unlock_slab(slab, done)
            return
        if not self.options.batch:
            self.move_one_by_one(slab, objects, done)
            return
        reading = self.options.guarantee >= GUARANTEE_RCU and self.isolate is not None
        if reading:
            self.cache.rcu.read_lock()
        granted = self.ask(slab, objects, done)
        if reading and self.options.guarantee == GUARANTEE_BOTH:
            self.cache.rcu.read_unlock()
            reading = False
        self.unlock_slab(slab, done)
        for part, private in granted:
            self.call_migrate(slab, part, private, done)
        if reading:
            self.cache.rcu.read_unlock()

    def move_one_by_one(self, slab: Slab, objects: list[int], done: DefragPass) -> None:
        """Isolate, unlock, migrate, lock again: for every object of a slab."""
        rcu = self.cache.rcu
        reading = self.options.guarantee >= GUARANTEE_RCU and self.isolate is not None
        locked = True
        for obj in objects:
            if not locked:
                self.smp.irq_disable()
                slab.slab_lock().lock()
            if slab.live[(obj - slab.base) // self.cache.size] == SLOT_FREE:
                locked = True  # freed while the lock was dropped
                continue
            if reading:
                rcu.read_lock()
            granted = self.ask(slab, [obj], done)
            if reading and self.options.guarantee == GUARANTEE_BOTH:
                rcu.read_unlock()
            self.unlock_slab(slab, done)
            locked = False
            for part, private in granted:
                self.call_migrate(slab, part, private, done)
            if reading and self.options.guarantee == GUARANTEE_RCU:
                rcu.read_unlock()
            if granted and self.options.barrier == BARRIER_OBJECT:
                self.rcu_barrier(done)
            if not granted and self.options.all_or_nothing:
                return
        if locked:
            self.unlock_slab(slab, done)

    def unlock_slab(self, slab: Slab, done: DefragPass) -> None:
        """Drop the slab lock and let interrupts in."""
        lock = slab.slab_lock()
        done.hold(self.smp.now - lock.taken_at)
        self.smp.irq_enable()  # before the release's scheduling point: pending softirqs run there
        lock.unlock()

    def ask(self, slab: Slab, objects: list[int], done: DefragPass) -> list[tuple[list[int], object]]:
        """The first callback: which of ``objects`` may be migrated together, and with what."""
        private = self.call_isolate(objects)
        if private is not None:
            done.tell(STEP_ISOLATE, slab.pfn, len(objects), slab.objects)
            self.smp.trace.emit(SLAB_ISOLATE, slab.pfn, self.cache.id, len(objects))
            return [(objects, private)]
        self.refused(slab, self.reason or REFUSED_IN_USE, self.busy_obj, done)
        if self.options.all_or_nothing or len(objects) == 1:
            return []
        granted: list[tuple[list[int], object]] = []
        for obj in objects:
            private = self.call_isolate([obj])
            if private is not None:
                granted.append(([obj], private))
        if granted:
            done.tell(STEP_ISOLATE, slab.pfn, len(granted), slab.objects)
            self.smp.trace.emit(SLAB_ISOLATE, slab.pfn, self.cache.id, len(granted))
        return granted

    def call_isolate(self, objects: list[int]) -> object:
        """``isolate(objects)``, with slab calls forbidden. Without a callback there is nothing to refuse."""
        isolate = self.isolate
        if isolate is None:
            return _NO_CALLBACK
        smp = self.smp
        cpu = smp.this_cpu()
        self.reason = REFUSED_NONE
        self.busy_obj = 0
        cpu.no_slab = self.isolate_name
        smp.enter(CPU_ISOLATE)
        smp.advance(ISOLATE_NS * len(objects))
        private = isolate(list(objects))
        smp.leave()
        cpu.no_slab = ""
        return private

    def call_migrate(self, slab: Slab, objects: list[int], private: object, done: DefragPass) -> None:
        """``migrate(objects, private)``, and what became of the objects."""
        smp = self.smp
        self.reason = REFUSED_NONE
        self.busy_obj = 0
        self.moved = self.evicted = 0
        slab.migrating = True
        allocated = smp.trace.counts[KMEM_CACHE_ALLOC]
        smp.enter(CPU_MIGRATE)
        smp.point("migrate")
        smp.advance(MIGRATE_NS * len(objects))
        self.migrate(list(objects), None if private is _NO_CALLBACK else private)
        smp.leave()
        self.left_atomic(smp.this_cpu())
        base, size = slab.base, self.cache.size
        gone = 0
        for obj in objects:
            if slab.live[(obj - base) // size] != SLOT_USED:
                gone += 1
        if self.moved == 0 and self.evicted == 0:
            # A callback that reports nothing: what was allocated meanwhile replaces what is gone, the rest went.
            self.moved = min(gone, smp.trace.counts[KMEM_CACHE_ALLOC] - allocated)
            self.evicted = gone - self.moved
            done.bytes_copied += self.moved * self.cache.object_size
        done.objects_moved += self.moved
        done.objects_evicted += self.evicted
        done.freed_meanwhile += max(0, gone - self.moved - self.evicted)
        self.room -= self.moved
        done.tell(STEP_MIGRATE, slab.pfn, gone, len(objects))
        if self.reason != REFUSED_NONE:
            self.refused(slab, self.reason, self.busy_obj, done)

    def left_atomic(self, cpu: Cpu) -> None:
        """Report a migrate that returned with a lock held, interrupts off or in a read-side section."""
        reading = 1 if self.options.guarantee == GUARANTEE_RCU and self.isolate is not None else 0
        if cpu.preempt or cpu.irq_off or cpu.rcu_nesting > reading:
            locks = ", ".join(lock.name for lock in cpu.held) or "no lock"
            self.smp.bug(
                "migrate returned in atomic context",
                f"migrate of {self.cache.name} on CPU {cpu.id} left with {locks} held,"
                f" irqs {'off' if cpu.irq_off else 'on'}, RCU nesting {cpu.rcu_nesting}",
            )

    def refused(self, slab: Slab, reason: int, obj: int, done: DefragPass) -> None:
        """A slab stays; counted once a pass and slab, with the first reason."""
        if slab.refused == REFUSED_NONE or not slab.isolated:
            done.refused[reason] += 1
            slab.refused = reason
            slab.busy_slot = (obj - slab.base) // self.cache.size if obj else -1
        done.tell(STEP_REFUSED, slab.pfn, reason, obj)
        self.smp.trace.emit(SLAB_ISOLATE_REFUSED, slab.pfn, self.cache.id, reason)

    # -- waiting ----------------------------------------------------------------------------------------------------

    def rcu_barrier(self, done: DefragPass) -> None:
        """Wait until what migrate handed to RCU is free, and count what that costs."""
        rcu = self.cache.rcu
        begin = self.smp.now
        completed = rcu.completed
        rcu.rcu_barrier()
        done.barriers += 1
        done.barrier_ns += self.smp.now - begin
        done.grace_periods += rcu.completed - completed
        done.tell(STEP_BARRIER, self.smp.now - begin, rcu.completed - completed)
