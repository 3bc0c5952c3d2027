"""The patch of 2 March 2017: seven defects, each with a schedule that shows it."""

from __future__ import annotations

from collections import OrderedDict
from functools import partial
from typing import Final

from memviz.kernel.page import GFP_KERNEL
from memviz.kernel.schedule import Scheduler
from memviz.kernel.xa_node import XaNode
from memviz.kernel.xarray import XArrayError, XaState
from memviz.races.case import RaceCase, Variant
from memviz.races.lab import Inode, Lab
from memviz.races.posted import lab_for, movers

BY: Final = "Matthew Wilcox"
PATCH: Final = "2017-03-02"
UAF: Final = "use after free"
CORRECTED: Final = "the node is moved as xa_migrate.py does it"


def leaving(scheduler: Scheduler, repaired: str | None) -> Lab:
    """A node is taken out of its tree while somebody moves it."""
    lab = lab_for(scheduler, repaired, cpus=2)
    array, leaf = lab.two_leaves()
    movers(lab, repaired)
    slab = lab.slab_of(leaf)
    lab.on_cpu(0, "mover", lambda: lab.evacuate(slab))
    lab.on_cpu(1, "eraser", lambda: lab.store(array, 100, None))
    lab.after(lab.no_leak)
    lab.after(lambda: lab.expect(array, 3, "three"))
    return lab


def private_list(scheduler: Scheduler) -> Lab:
    """A leaf that holds nothing but a shadow entry is on its user's list: the patch does not move such a node."""
    lab = lab_for(scheduler, "ab", cpus=2)
    array, leaf = lab.two_leaves()
    movers(lab, "ab")
    slab = lab.slab_of(leaf)
    shadows: OrderedDict[XaNode, None] = OrderedDict()

    def workingset(node: XaNode) -> None:
        node.private_list = shadows if node.count == 1 else None

    def truncate() -> None:
        """Page 101 goes: what is left is a shadow."""
        array.xa_lock()
        xas = XaState(array, 101)
        xas.set_update(workingset)
        xas.store(None)
        array.xa_unlock()

    array.store(101, "page")
    lab.on_cpu(0, "mover", lambda: lab.evacuate(slab))
    lab.on_cpu(1, "truncate", truncate)
    lab.after(lab.no_leak)
    return lab


def short_of_memory(scheduler: Scheduler, repaired: str | None) -> Lab:
    """No free page, and outside the slab to be evacuated one free node, which two CPUs want."""
    lab = lab_for(scheduler, repaired, cpus=2)
    others = [lab.nodes.alloc(GFP_KERNEL) for _ in range(lab.nodes.cache.objs_per_slab)]
    array = lab.array("file")
    array.store(3, "three")
    other = lab.array("other")
    leaf = array.head
    assert isinstance(leaf, XaNode)
    spare = others.pop()
    assert spare is not None
    lab.nodes.free(spare)
    lab.nodes.cache.flush_all()
    slab = lab.slab_of(leaf)
    movers(lab, repaired)
    lab.fill_memory()

    def store() -> None:
        try:
            other.store(5, "five")
        except XArrayError:
            return  # no memory is what this CPU is prepared for

    lab.on_cpu(0, "mover", lambda: lab.evacuate(slab))
    lab.on_cpu(1, "store", store)
    lab.after(lambda: lab.expect_now(array, 3, "three"))
    return lab


def barriers(scheduler: Scheduler, repaired: str | None) -> Lab:
    """A slab with three nodes is evacuated while a reader comes and goes."""
    lab = lab_for(scheduler, repaired, cpus=2)
    array, leaf = lab.two_leaves()
    posted = movers(lab, repaired)
    slab = lab.slab_of(leaf)
    nodes = len(array.nodes_in_tree())

    def reader() -> None:
        lab.expect(array, 3, "three")

    def count() -> None:
        waited = lab.slub.ledger.totals.barriers + (posted.barriers if posted is not None else 0)
        if waited > 1:
            told = f"RCU was waited for {waited} times to move {nodes} nodes of one slab"
            lab.smp.bug("a grace period per object", told)

    lab.on_cpu(0, "mover", lambda: lab.evacuate(slab))
    lab.on_cpu(1, "reader", reader)
    lab.after(count)
    return lab


def dying_array(scheduler: Scheduler, repaired: str | None, through_rcu: bool = True) -> Lab:
    """An inode goes away, and the array in it, while somebody moves a node of that array."""
    lab = lab_for(scheduler, repaired, cpus=2)
    inodes = lab.inodes()
    addr = inodes.alloc(GFP_KERNEL)
    assert addr is not None
    inode = inodes.content(addr)
    assert isinstance(inode, Inode)
    array, leaf = lab.two_leaves("i_pages")
    inode.i_pages = array
    inodes.poison(bury)
    movers(lab, repaired)
    slab = lab.slab_of(leaf)

    def evict() -> None:
        array.destroy()
        if through_rcu:
            inodes.free_rcu(addr)
        else:
            inodes.free(addr)
        for _ in range(3):
            lab.smp.op_done()  # back in user mode, where timer interrupts come: grace periods move on

    lab.on_cpu(0, "mover", lambda: lab.evacuate(slab))
    lab.on_cpu(1, "evict_inode", evict)
    lab.after(lab.no_leak)
    return lab


def bury(content: object, freed: bool) -> None:
    """The array in a freed inode is freed memory."""
    assert isinstance(content, Inode)
    if content.i_pages is not None:
        content.i_pages.freed = freed


def recycled(scheduler: Scheduler, repaired: str | None) -> Lab:
    """A node that was in a tree once is allocated again, and is in no tree yet, when its slab is evacuated."""
    lab = lab_for(scheduler, repaired, cpus=2)
    array, leaf = lab.two_leaves()
    slab = lab.slab_of(leaf)
    array.erase(100)
    lab.rcu.drain()
    movers(lab, repaired, trusting=True)

    def insert() -> None:
        """As ``xas_nomem()`` does it when memory is short: allocate without the lock, then store."""
        xas = XaState(array, 100)
        xas.xa_alloc = lab.nodes.alloc(GFP_KERNEL)
        if xas.xa_alloc is not None:
            xas.xa_alloc.parent = None
        lab.smp.point("allocated, not yet inserted")
        array.xa_lock()
        xas.store("again")
        array.xa_unlock()
        xas.destroy()

    lab.on_cpu(0, "insert", insert)
    lab.on_cpu(1, "mover", lambda: lab.evacuate(slab))
    lab.after(lab.no_leak)
    lab.after(lambda: lab.expect_now(array, 100, "again"))
    return lab


CASES: Final = (
    RaceCase(
        "race-posted-unlock",
        "The patch unlocks what it has not locked",
        "“Might have been freed since we last checked”: then unlock and be done",
        BY,
        PATCH,
        "The mover has read node->array and waits for that array's lock; meanwhile the eraser takes the node out of the"
        " tree. The second look at node->array overwrites the pointer that is unlocked next.",
        "On the path for the race it was written for, the patch unlocks (struct xarray *)1.",
        (
            Variant("posted", "as posted", partial(leaving, repaired=""), "unlock of a wild pointer"),
            Variant("corrected", CORRECTED, partial(leaving, repaired=None)),
        ),
    ),
    RaceCase(
        "race-posted-double-free",
        "The patch frees a freed node",
        "A victim that was freed meanwhile goes the way of one that was moved",
        BY,
        PATCH,
        "The eraser has handed the node to RCU; behind the unlock the mover hands it to RCU again.",
        "The same path, its unlock repaired, queues the node for RCU twice.",
        (
            Variant("posted", "as posted, (a) repaired", partial(leaving, repaired="a"), "double free"),
            Variant("corrected", CORRECTED, partial(leaving, repaired=None)),
        ),
    ),
    RaceCase(
        "race-posted-leak",
        "The patch forgets the replacement",
        "The replacement is allocated before the lock is taken",
        BY,
        PATCH,
        "The mover has its replacement when the node leaves the tree, or turns up on a private list. Nobody gives it"
        " back.",
        "Both ways out that don't use the replacement lose it.",
        (
            Variant("posted", "as posted, (a) and (b) repaired", partial(leaving, repaired="ab"), "memory leak"),
            Variant("posted-busy", "the node is on a private list: busy", private_list, "memory leak"),
            Variant("corrected", CORRECTED, partial(leaving, repaired=None)),
        ),
    ),
    RaceCase(
        "race-posted-no-memory",
        "The patch copies to NULL",
        "“We can allocate a replacement using GFP_KERNEL”",
        BY,
        PATCH,
        "One free node is left and no page. The other CPU takes it first; the mover copies the victim to NULL.",
        "An allocation that may sleep may fail all the same, just when memory is what defragmentation is run for.",
        (
            Variant("posted", "as posted", partial(short_of_memory, repaired=""), "NULL pointer dereference"),
            Variant("corrected", CORRECTED, partial(short_of_memory, repaired=None)),
        ),
    ),
    RaceCase(
        "race-posted-barrier",
        "The patch waits for RCU once an object",
        "rcu_barrier() at the end of every xa_reclaim()",
        BY,
        PATCH,
        "The lane of the mover: between any two nodes of one slab it waits for all callbacks of the machine.",
        "Three nodes of one slab cost three waits for RCU where one would do; a slab of 28 costs 28.",
        (
            Variant("posted", "as posted", partial(barriers, repaired=""), "a grace period per object"),
            Variant("corrected", "one barrier for the whole pass", partial(barriers, repaired=None)),
        ),
    ),
    RaceCase(
        "race-posted-dying-array",
        "The array dies before its lock is taken",
        "READ_ONCE(victim->array), allocate, xa_lock_irq(xa)",
        BY,
        PATCH,
        "The mover has read which array the node is in, and may sleep for a replacement. The inode with that array is"
        " evicted, and its memory freed. The mover takes a lock in freed memory.",
        "Nothing keeps the array. Reading and locking it inside one RCU read-side section does, if whoever owns an"
        " array frees it through RCU; an owner that does not is caught. The series of 2019 has the defect, too.",
        (
            Variant(
                "posted",
                "as posted, (a) to (c) repaired; the inode is freed through RCU",
                partial(dying_array, repaired="abc"),
                UAF,
                "all",
            ),
            Variant("corrected", CORRECTED + "; the inode is freed through RCU", partial(dying_array, repaired=None)),
            Variant(
                "corrected-kfree",
                CORRECTED + "; the owner of the array frees it at once",
                partial(dying_array, repaired=None, through_rcu=False),
                UAF,
                "all",
            ),
        ),
    ),
    RaceCase(
        "race-posted-recycled",
        "A recycled node looks freed",
        "“I use the ->array member of the xa_node to distinguish between the three states of the node”",
        BY,
        PATCH,
        "The node was freed once, so node->array still says XA_RCU_FREE. It is allocated again and not yet inserted:"
        " the mover takes it for one that only waits for RCU, and reports its memory free.",
        "Mainline's RCU callback does not touch ->array, so two of the three states can't be told apart. Reset it"
        " there, and they can.",
        (
            Variant(
                "posted", "as posted", partial(recycled, repaired=""), "page freed with an object in use", how="all"
            ),
            Variant("reset", "as posted; the callback resets ->array", partial(recycled, repaired="abg")),
            Variant("corrected", CORRECTED, partial(recycled, repaired=None)),
        ),
    ),
)
