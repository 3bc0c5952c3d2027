"""``xa_reclaim()`` as posted on 2 March 2017 ("This should do the trick ... untested"): its steps, and its defects.

The code is ours, the order of steps is the patch's. Each defect can be repaired on its own by its letter, because the
first one met would hide those behind it:

====  =================================================================================================
a     what is unlocked is not what was locked: ``xa`` was read again in between
b     a node that was found freed is freed once more
c     the replacement is not given back where it was not needed
d     the replacement may not be there: the allocation is not checked
e     ``rcu_barrier()`` is called for every node
f     nothing keeps the array itself between reading ``node->array`` and taking its lock
g     a recycled node looks like one that was freed: ``array`` still says so (repaired: the node cache resets it,
      ``NodeCache.clears_array``, and the second look asks for the very array that was locked)
====  =================================================================================================
"""

from __future__ import annotations

from memviz.kernel.page import GFP_KERNEL
from memviz.kernel.schedule import Scheduler
from memviz.kernel.slab_mobility import BARRIER_NONE, BARRIER_PASS, MobilityOptions
from memviz.kernel.xa_node import XA_RCU_FREE, XaHead, XaNode, xa_node_free
from memviz.races.lab import Lab


def lab_for(scheduler: Scheduler, repaired: str | None, cpus: int = 3) -> Lab:
    """A machine for the patch with some defects repaired, or (None) for the corrected code."""
    return Lab(scheduler, cpus, clears_array=repaired is None or "g" in repaired)


def movers(lab: Lab, repaired: str | None, trusting: bool = False) -> PostedReclaim | None:
    """Who moves nodes: the patch with some defects repaired, or (None) the corrected code."""
    if repaired is None:
        lab.mover.setup_mobility(True)
        return None
    return PostedReclaim(lab, repaired, trusting)


class PostedReclaim:
    """The patch's ``xa_reclaim()`` behind the two callbacks. ``repaired``: letters of the defects that are mended."""

    def __init__(self, lab: Lab, repaired: str = "", trusting: bool = False) -> None:
        self.lab = lab
        self.smp = lab.smp
        self.nodes = lab.nodes
        self.repaired = repaired
        self.trusting = trusting  # the slab believes the returned bool: the node is gone
        self.barriers = 0
        barrier = BARRIER_PASS if "e" in repaired else BARRIER_NONE
        lab.nodes.cache.setup_mobility(self.isolate, self.migrate, MobilityOptions(barrier=barrier))

    def isolate(self, objects: list[int]) -> object:
        """The first callback: nothing to do for it, "I assume returning (void *)1 will be acceptable"."""
        return 1

    def migrate(self, objects: list[int], private: object) -> None:
        """The second callback: one node after the other."""
        for addr in objects:
            gone = self.xa_reclaim(self.lab.mover.node_at(addr))
            if gone and self.trusting and self.nodes.cache.in_use(addr):
                self.smp.bug(
                    "page freed with an object in use",
                    f"xa_reclaim() says that node {addr:#x} is gone, and its page goes back; its owner has it still",
                )

    def xa_reclaim(self, victim: XaNode) -> bool:
        """Move one node. True: its memory is free now."""
        xa = victim.array
        if xa is None:
            return False  # allocated, not yet in a tree
        if xa is not XA_RCU_FREE:
            self.smp.point("xa_reclaim: array read")
            node = self.nodes.alloc(GFP_KERNEL)
            if "d" in self.repaired and node is None:
                return False
            self.smp.cond_resched()  # the allocation may sleep, and a preemptible kernel puts tasks aside anywhere
            locked = xa
            locked.xa_lock()
            xa = victim.array
            moved = False
            here = xa is locked if "g" in self.repaired else xa is not XA_RCU_FREE
            if here and victim.private_list is not None:
                self.unlock(locked)
                if "c" in self.repaired and node is not None:
                    self.nodes.free(node)
                return False
            if here:
                self.copy(locked, victim, node)
                moved = True
            self.unlock(locked if "a" in self.repaired else xa)
            if moved or "b" not in self.repaired:
                xa_node_free(locked, victim)
            if not moved and "c" in self.repaired and node is not None:
                self.nodes.free(node)
        if "e" not in self.repaired:
            self.barriers += 1
            self.lab.rcu.rcu_barrier()
        return True

    def copy(self, xa: XaHead, victim: XaNode, node: XaNode | None) -> None:
        """The copy takes the victim's place: what the patch does here is right, given a node."""
        if node is None:
            self.smp.bug("NULL pointer dereference", f"memcpy() of node {victim.addr:#x} to NULL: there is no memory")
        self.lab.mover.replace(xa, victim, node)

    def unlock(self, xa: XaHead | None) -> None:
        """``xa_unlock_irq()``."""
        if xa is None or xa is XA_RCU_FREE:
            self.smp.bug(
                "unlock of a wild pointer", "xa_unlock_irq() of (struct xarray *)1, which stands for freed, not locked"
            )
        xa.xa_unlock()
