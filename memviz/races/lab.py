"""The machine that every case of the race lab is built from: a few CPUs, RCU, pages, slabs, xa_nodes in them.

Everything is checked: freed nodes are poisoned, so that whoever reads on in one finds poison, and whoever writes into
one is found out when it is allocated again; an array whose owner is freed knows it. What is broken is a ``KernelBug``
with the name of the rule, raised where it happens, so that a stepper stands right there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Final

from memviz.kernel.mmzone import PageAllocConfig
from memviz.kernel.page import GFP_KERNEL, OWNER_KERNEL, OWNER_SLAB_VFS, PAGE_SHIFT, PageFrames
from memviz.kernel.page_alloc import PageAlloc
from memviz.kernel.radix_tree import RadixTree, RadixTreePreload
from memviz.kernel.rcu import Rcu
from memviz.kernel.schedule import Scheduler
from memviz.kernel.slab import Slab, SlubConfig
from memviz.kernel.slub import KmemCache, Slub
from memviz.kernel.smp import Smp, Task
from memviz.kernel.spinlock import SpinLock
from memviz.kernel.trace import Trace
from memviz.kernel.xa_migrate import XaMigrate
from memviz.kernel.xa_node import XA_CHUNK_SIZE, XaNode
from memviz.kernel.xa_slab import SlabNodeCache
from memviz.kernel.xarray import XArray
from memviz.races.linearise import History

FRAMES: Final = 4096  # 16 MiB, the smallest machine there is
INODE_SIZE: Final = 624


class Poison:
    """What is in the slots of a freed node."""

    def __repr__(self) -> str:
        return "poison"


POISON: Final = Poison()


class Inode:
    """An object that has an XArray in it, as an inode has ``i_pages``. It is recycled with its slot."""

    def __init__(self, addr: int) -> None:
        self.addr = addr
        self.i_pages: XArray | None = None


class Lab:
    """One machine, its arrays, its tasks, and what must hold when all of them are done."""

    def __init__(
        self, scheduler: Scheduler, cpus: int = 3, clears_array: bool = True, frees_before_unlink: bool = False
    ) -> None:
        self.smp = Smp(cpus, Trace(), scheduler)
        self.rcu = Rcu(self.smp, jiffy_ns=0)
        self.pages = PageAlloc(PageFrames(FRAMES), self.smp, PageAllocConfig())
        self.slub = Slub(self.pages, self.rcu, self.smp, SlubConfig("classic", checked=True))
        self.nodes = SlabNodeCache(self.slub, self.rcu, 0, clears_array=clears_array)
        self.nodes.frees_before_unlink = frees_before_unlink
        self.nodes.cache.poison(self.poison_node)
        self.mover = XaMigrate(self.nodes, self.smp, self.rcu)
        self.arrays: list[XArray] = []
        self.trees: list[RadixTree] = []
        self.tasks: list[Task] = []
        self.bodies: dict[int, Callable[[], None]] = {}  # by CPU
        self.history = History(self.smp)
        self.checks: list[Callable[[], None]] = []

    # -- building ----------------------------------------------------------------------------------------------------

    def array(self, name: str, lock_irq: bool = True) -> XArray:
        """An array of this machine; its lock is taken with interrupts off, as that of a page cache."""
        lock = SpinLock(self.smp, f"{name} xa_lock")
        array = XArray("none", self.nodes, lock, self.smp, self.rcu, name, lock_irq)
        self.arrays.append(array)
        return array

    def radix_tree(self, name: str, preload: RadixTreePreload | None = None) -> RadixTree:
        """A radix tree of this machine; who uses it brings a lock for it."""
        tree = RadixTree(self.nodes, preload, smp=self.smp, rcu=self.rcu, name=name)
        self.trees.append(tree)
        return tree

    def two_leaves(self, name: str = "file") -> tuple[XArray, XaNode]:
        """An array of three nodes, and the one that holds nothing but index 100."""
        array = self.array(name)
        for index, entry in ((100, "hundred"), (3, "three")):
            array.store(index, entry)
            self.history.starts_with(array, index, entry)
        head = array.head
        assert isinstance(head, XaNode)
        leaf = head.slots[1]
        assert isinstance(leaf, XaNode)
        return array, leaf

    def lonely_leaf(self, name: str = "file") -> tuple[XArray, XaNode]:
        """The same array, its leaf with index 100 alone in a slab."""
        array = self.array(name)
        array.store(3, "three")
        array.store(4000, "four thousand")  # now there is a head
        slab = next(iter(self.nodes.cache.slabs.values()))
        fill = [self.nodes.alloc(GFP_KERNEL) for _ in range(slab.objects - 3)]
        array.store(100, "hundred")
        for index, entry in ((100, "hundred"), (3, "three")):
            self.history.starts_with(array, index, entry)
        for node in fill:
            assert node is not None
            self.nodes.free(node)
        head = array.head
        assert isinstance(head, XaNode)
        leaf = head.slots[1]
        assert isinstance(leaf, XaNode)
        assert self.slab_of(leaf) is not slab
        return array, leaf

    def inodes(self) -> KmemCache:
        """A cache of ``Inode``s."""
        return self.slub.create_cache("inode_cache", INODE_SIZE, Inode, 0, OWNER_SLAB_VFS)

    def on_cpu(self, cpu: int, name: str, body: Callable[[], None]) -> None:
        """``body`` runs on ``cpu``; then that CPU is back in user mode, which is a quiescent state."""

        def whole() -> None:
            body()
            self.smp.op_done()

        self.bodies[cpu] = body
        self.tasks.append(self.smp.spawn(cpu, name, whole))

    def after(self, check: Callable[[], None]) -> None:
        """Call ``check`` when all tasks are done and no callback is pending."""
        self.checks.append(check)

    def fill_memory(self) -> None:
        """Take every free page frame."""
        for order in range(10, -1, -1):
            while self.pages.alloc_pages(order, GFP_KERNEL, OWNER_KERNEL) is not None:
                pass

    # -- running -----------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Run all tasks to their end, then check."""
        self.smp.run(None)
        self.finish()

    def finish(self) -> None:
        """What must hold in the end. Raises KernelBug, or AssertionError from the checks of the kernel itself."""
        self.rcu.drain()
        for array in self.arrays:
            array.check()
        for tree in self.trees:
            tree.check(tight=True)
        self.nodes.cache.flush_all()
        self.slub.check()
        for check in self.checks:
            check()
        unexplained = self.history.unexplained()
        if unexplained:
            self.smp.bug("not linearisable", unexplained)

    def task_of(self, cpu: int) -> Task | None:
        """The task that ``on_cpu`` put there."""
        return next((task for task in self.tasks if task.cpu.id == cpu), None)

    # -- for tasks and checks ----------------------------------------------------------------------------------------

    def load(self, array: XArray, index: int) -> object:
        """``xa_load()``, with what poison and history say about it."""
        entry = self.history.load(array, index)
        if entry is POISON:
            self.smp.bug("use after free", f"load({index}) of {array!r} has read on in a node that was freed")
        return entry

    def store(self, array: XArray, index: int, entry: object, order: int = 0) -> None:
        """``xa_store()``, noted in the history; ``entry`` None erases."""
        self.history.store(array, index, entry, order)

    def expect_now(self, array: XArray, index: int, entry: object) -> None:
        """What an index holds in the end; the history is not asked."""
        found = array.load(index)
        if found != entry:
            self.smp.bug("entry lost", f"index {index} of {array!r} holds {found!r} in the end and not {entry!r}")

    def expect(self, array: XArray, index: int, entry: object) -> None:
        """An entry that is there all the time is found."""
        found = self.load(array, index)
        if found != entry:
            self.smp.bug("entry lost", f"load({index}) of {array!r} found {found!r}; {entry!r} is there all the time")

    def slab_of(self, node: XaNode) -> Slab:
        """The slab that a node lies in."""
        return self.slub.slab_of_page[node.addr >> PAGE_SHIFT]

    def evacuate(self, slab: Slab) -> None:
        """Move everything out of one slab, as compaction asks for: both callbacks, then a second look."""
        mobility = self.nodes.cache.mobility
        assert mobility is not None, "the case has not said who moves nodes"
        mobility.evacuate([slab])

    def no_leak(self) -> None:
        """Every allocated node is in a tree."""
        in_trees = sum(len(array.nodes_in_tree()) for array in self.arrays)
        active = self.nodes.cache.stats().active
        if active != in_trees:
            self.smp.bug("memory leak", f"{active - in_trees} xa_nodes are allocated and in no tree")

    def poison_node(self, content: object, freed: bool) -> None:
        """Called by the slab for a node that was freed, and for one that is handed out."""
        assert isinstance(content, XaNode)
        if freed:
            content.slots = [POISON] * XA_CHUNK_SIZE
            return
        if content.slots.count(POISON) == XA_CHUNK_SIZE:
            content.slots = [None] * XA_CHUNK_SIZE
        elif content.slots.count(None) != XA_CHUNK_SIZE:
            self.smp.bug("write after free", f"{content!r} was written to while it was free")

    # -- its state, for stepping back ----------------------------------------------------------------------------------

    def digest(self) -> str:
        """Of everything that decides how the machine goes on, and of what it has done so far."""
        parts: list[object] = [self.smp.now, self.smp.trace.seq, self.rcu.gp_seq, self.rcu.completed, self.rcu.waiting]
        for cpu in self.smp.cpus:
            tasks = [(task.name, task.state, task.greenlet.dead) for task in cpu.queue]
            locks = [lock.name for lock in cpu.held]
            parts.append((cpu.label, cpu.state, cpu.irq_off, cpu.preempt, cpu.rcu_nesting, cpu.in_softirq))
            parts.append((tasks, locks))
        for queue in self.rcu.callbacks:
            parts.append([need for need, _, _ in queue])
        for array in self.arrays:
            parts.append((array.dump(), [(node.addr, node.array is array) for node in array.nodes_in_tree()]))
        for tree in self.trees:
            parts.append((tree.dump(), [node.addr for node in tree.nodes_in_tree()]))
        for cache in self.slub.slab_caches:
            for pfn, slab in cache.slabs.items():
                parts.append((pfn, slab.place, slab.inuse, bytes(slab.live), slab.freelist))
        parts.append(self.history.ops)
        return hashlib.blake2b(repr(parts).encode(), digest_size=16).hexdigest()
