"""A radix tree's node cannot be moved: not for want of a pointer to its tree, but of the lock that its user takes."""

from __future__ import annotations

from functools import partial
from typing import Final

from memviz.kernel.page import GFP_KERNEL
from memviz.kernel.radix_tree import RadixTree
from memviz.kernel.schedule import Scheduler
from memviz.kernel.slab_mover import MobilityOptions
from memviz.kernel.spinlock import SpinLock
from memviz.kernel.xa_node import XaNode
from memviz.races.case import RaceCase, Variant
from memviz.races.lab import Lab

LOST: Final = "entry lost"


class RootMover:
    """Moves radix tree nodes as an XArray's are moved: ``node->root`` (4.11) says which tree, ``lock`` shuts out
    whoever takes it."""

    def __init__(self, lab: Lab, lock: SpinLock) -> None:
        self.lab = lab
        self.lock = lock
        lab.nodes.cache.setup_mobility(None, self.migrate, MobilityOptions())

    def migrate(self, objects: list[int], private: object) -> None:
        """The second callback."""
        for addr in objects:
            node = self.lab.nodes.alloc(GFP_KERNEL)
            victim = self.lab.mover.node_at(addr)
            if node is None:
                continue
            self.lock.lock_irq()
            root = victim.root
            moved = isinstance(root, RadixTree) and victim in root.nodes_in_tree()
            if isinstance(root, RadixTree) and moved:
                self.replace(root, victim, node)
                self.lab.nodes.free_rcu(victim)
            self.lock.unlock_irq()
            if not moved:
                self.lab.nodes.free(node)

    def replace(self, root: RadixTree, victim: XaNode, node: XaNode) -> None:
        """Copy and publish."""
        node.shift, node.offset = victim.shift, victim.offset
        node.count, node.nr_values = victim.count, victim.nr_values
        node.parent, node.root = victim.parent, root
        node.slots, node.marks = list(victim.slots), list(victim.marks)
        for entry in node.slots:
            if isinstance(entry, XaNode):
                entry.parent = node
        self.lab.smp.point("copied, not published")
        if node.parent is None:
            root.rnode = node
        else:
            node.parent.slots[node.offset] = node


def inserting(scheduler: Scheduler, known: bool) -> Lab:
    """Its user puts an item into the node that is being moved, under the lock that the user has chosen for the tree."""
    lab = Lab(scheduler, cpus=2)
    lock = SpinLock(lab.smp, "tree_lock")
    tree = lab.radix_tree("page_tree")
    for index in (100, 3):
        tree.insert(index, "there all the time")
    leaf = tree.nodes_in_tree()[2]
    RootMover(lab, lock if known else SpinLock(lab.smp, "the mover's own lock"))
    slab = lab.slab_of(leaf)

    def insert() -> None:
        for index in (101, 102):
            lock.lock_irq()
            tree.insert(index, "new")
            lock.unlock_irq()
            lab.smp.op_done()

    def nothing_is_lost() -> None:
        for index in (3, 100, 101, 102):
            if tree.lookup(index) is None:
                lab.smp.bug(LOST, f"{tree!r} has no item at {index}, which its user has put there")

    lab.on_cpu(0, "mover", lambda: lab.evacuate(slab))
    lab.on_cpu(1, "insert", insert)
    lab.after(nothing_is_lost)
    return lab


def storing(scheduler: Scheduler) -> Lab:
    """The same with an XArray: who moves the node finds array and lock in one."""
    lab = Lab(scheduler, cpus=2)
    lab.mover.setup_mobility(True)
    array, leaf = lab.two_leaves("i_pages")
    slab = lab.slab_of(leaf)
    lab.on_cpu(0, "mover", lambda: lab.evacuate(slab))

    def store() -> None:
        for index in (101, 102):
            lab.store(array, index, "new")
            lab.smp.op_done()

    lab.on_cpu(1, "store", store)
    for index, entry in ((3, "three"), (100, "hundred"), (101, "new"), (102, "new")):
        lab.after(partial(lab.expect_now, array, index, entry))
    lab.after(lab.no_leak)
    return lab


CASES: Final = (
    RaceCase(
        "race-caller-locked",
        "A node moves while the tree's user holds a lock that the mover does not know",
        "“In order to move a node, we need to be able to lock the tree … But the radix tree API makes callers"
        " responsible for their own locking”",
        "Matthew Wilcox",
        "2017-02-28",
        "The user has found the node for its item when the mover's copy takes that node's place: the lock that each of"
        " them holds is not the other's.",
        "True: the item is lost, though the node says which tree it is in (Linux 4.11). With the lock in the root"
        " (4.17), or in an XArray, nothing is.",
        (
            Variant("own-lock", "the mover takes a lock of its own", partial(inserting, known=False), LOST, how="pct"),
            Variant("root-lock", "the mover takes the lock that the user takes", partial(inserting, known=True)),
            Variant("xarray", "the array has the lock, and the node says which array", storing),
        ),
    ),
)
