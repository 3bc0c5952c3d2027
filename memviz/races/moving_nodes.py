"""What else happens to a node while it moves: readers, stores, huge pages, its tree growing and shrinking."""

from __future__ import annotations

from functools import partial
from typing import Final

from memviz.kernel.page import GFP_KERNEL
from memviz.kernel.schedule import Scheduler
from memviz.kernel.slab_mobility import MobilityOptions
from memviz.kernel.xarray import XArray
from memviz.races.case import RaceCase, Variant
from memviz.races.lab import Lab
from memviz.races.posted import lab_for, movers
from memviz.races.thread_2017 import BY, CORRECTED, UAF

HUGE_ORDER: Final = 6


class HastyMover:
    """Moves a node right, and frees the old one at once, without RCU."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        lab.nodes.cache.setup_mobility(None, self.migrate, MobilityOptions())

    def migrate(self, objects: list[int], private: object) -> None:
        """The second callback."""
        for addr in objects:
            victim = self.lab.mover.node_at(addr)
            xa = victim.array
            node = self.lab.nodes.alloc(GFP_KERNEL)
            if node is None or not isinstance(xa, XArray):
                continue
            xa.xa_lock()
            self.lab.mover.replace(xa, victim, node)
            xa.xa_unlock()
            self.lab.nodes.free(victim)


def readers(scheduler: Scheduler, repaired: str | None, hasty: bool = False) -> Lab:
    """A reader and a writer on the nodes of a slab that is being evacuated."""
    lab = lab_for(scheduler, repaired)
    array, leaf = lab.two_leaves()
    if hasty:
        HastyMover(lab)
    else:
        movers(lab, repaired)
    slab = lab.slab_of(leaf)

    def read() -> None:
        lab.expect(array, 3, "three")
        lab.load(array, 100)
        lab.smp.op_done()
        lab.load(array, 100)

    def write() -> None:
        lab.store(array, 100, "one")
        lab.smp.op_done()
        lab.store(array, 100, "two")

    lab.on_cpu(0, "mover", lambda: lab.evacuate(slab))
    lab.on_cpu(1, "reader", read)
    lab.on_cpu(2, "writer", write)
    lab.after(lambda: lab.expect_now(array, 100, "two"))
    lab.after(lab.no_leak)
    return lab


def huge_store(scheduler: Scheduler, repaired: str | None) -> Lab:
    """One huge entry is stored over all that a moving node holds; a reader stands there."""
    lab = lab_for(scheduler, repaired)
    array, leaf = lab.lonely_leaf()
    movers(lab, repaired)
    slab = lab.slab_of(leaf)

    def read() -> None:
        lab.load(array, 100)
        lab.load(array, 100)
        lab.expect(array, 3, "three")

    lab.on_cpu(0, "mover", lambda: lab.evacuate(slab))
    lab.on_cpu(1, "reader", read)
    lab.on_cpu(2, "huge page", lambda: lab.store(array, 64, "huge", HUGE_ORDER))
    lab.after(lambda: lab.expect_now(array, 127, "huge"))
    lab.after(lab.no_leak)
    return lab


def frees_before_unlink(scheduler: Scheduler, mainline: bool) -> Lab:
    """A node becomes empty and is freed; a reader comes across it."""
    lab = Lab(scheduler, cpus=2, frees_before_unlink=mainline)
    array, _ = lab.two_leaves()

    def read() -> None:
        lab.smp.op_done()  # a quiescent state: a grace period may begin here
        lab.smp.op_done()
        lab.load(array, 100)
        lab.expect(array, 3, "three")

    def erase() -> None:
        lab.store(array, 100, None)
        lab.smp.op_done()

    lab.on_cpu(0, "eraser", erase)
    lab.on_cpu(1, "reader", read)
    lab.after(lab.no_leak)
    return lab


def everything(scheduler: Scheduler, repaired: str | None) -> Lab:
    """A tree that grows and shrinks, two passes over its slab, a reader."""
    lab = lab_for(scheduler, repaired)
    array, leaf = lab.two_leaves()
    movers(lab, repaired)
    slab = lab.slab_of(leaf)

    def write() -> None:
        lab.store(array, 5000, "far")
        lab.smp.op_done()
        lab.store(array, 100, None)
        lab.smp.op_done()
        lab.store(array, 5000, None)
        lab.smp.op_done()
        lab.store(array, 100, "again")

    def read() -> None:
        for index in (100, 5000, 100):
            lab.expect(array, 3, "three")
            lab.load(array, index)
            lab.smp.op_done()

    def move() -> None:
        lab.evacuate(slab)
        lab.smp.op_done()
        for node in array.nodes_in_tree():
            if node.addr >> 12 in lab.slub.slab_of_page:
                lab.evacuate(lab.slab_of(node))
            lab.smp.op_done()

    lab.on_cpu(0, "mover", move)
    lab.on_cpu(1, "reader", read)
    lab.on_cpu(2, "writer", write)
    lab.after(lambda: lab.expect_now(array, 100, "again"))
    lab.after(lab.no_leak)
    return lab


CASES: Final = (
    RaceCase(
        "race-reader",
        "A reader stands on a node while it moves",
        "“We still have to take care of RCU walkers, but that's straightforward to handle.”",
        BY,
        "2017-02-28",
        "The reader has come down to the old node when the copy is published. It goes on there and finds what the copy"
        " has, too; the old node's memory comes back a grace period later.",
        "True: with RCU every load is explained by the stores around it (linearisable), also in the patch as posted."
        " Without RCU the reader reads freed memory.",
        (
            Variant("corrected", CORRECTED, partial(readers, repaired=None), cpus=3),
            Variant("posted", "as posted", partial(readers, repaired=""), cpus=3),
            Variant(
                "no-rcu",
                "the old node is freed at once",
                partial(readers, repaired=None, hasty=True),
                UAF,
                cpus=3,
            ),
        ),
    ),
    RaceCase(
        "race-huge-page",
        "A huge page is stored over a node while it moves",
        "“Something like splatting a huge page over the top of it”: the refcount is ignored and the node freed",
        BY,
        "2017-03-02",
        "One store takes the node and all its entries out of the tree; readers inside find retry entries; the mover"
        " finds the node freed when it gets the lock.",
        "No reference would keep the node in its tree; looking again under the lock is enough. The patch looks"
        " again, and then unlocks the wrong pointer.",
        (
            Variant(
                "posted", "as posted", partial(huge_store, repaired=""), "unlock of a wild pointer", how="pct", cpus=3
            ),
            Variant("corrected", CORRECTED, partial(huge_store, repaired=None), cpus=3),
        ),
    ),
    RaceCase(
        "race-free-before-unlink",
        "Mainline frees an empty node before it unlinks it",
        "xas_delete_node() hands a node to RCU, then clears the slot that leads to it",
        "Linux",
        "7.3",
        "Between the two a grace period begins on the other CPU. A reader that comes after that is not waited for,"
        " finds the node, and is still there when its memory is freed.",
        "Two lines in the wrong order: a use after free that needs a grace period to begin between them. Unlink first.",
        (
            Variant(
                "mainline",
                "free, then unlink",
                partial(frees_before_unlink, mainline=True),
                UAF,
                "all",
            ),
            Variant("corrected", "unlink, then free", partial(frees_before_unlink, mainline=False)),
        ),
    ),
    RaceCase(
        "race-everything",
        "A tree grows and shrinks, is read, written and moved at once",
        "“Most of the nodes will be in use, and most of them can be moved.”",
        BY,
        "2017-03-02",
        "Nodes that are moved get new parents, are shrunk away, are freed, come back.",
        "The corrected code keeps every entry, loses no node, and every load is explained; the patch does not.",
        (
            Variant("corrected", CORRECTED, partial(everything, repaired=None), cpus=3),
            Variant("posted", "as posted", partial(everything, repaired=""), "unlock of a wild pointer", cpus=3),
        ),
    ),
)
