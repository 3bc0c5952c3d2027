"""Moving an xa_node: what the thread is about (``xa_object_migrate`` of the 2019 series, corrected).

``node->array`` tells three states apart: None, the node is free or allocated and in no tree yet; ``XA_RCU_FREE``, it
has left its tree and waits for a grace period; an array, it is in that tree. Only the last can move.

Two things that the patch of 2 March 2017 and the series of 2019 leave open, and how they are closed here:

*Recycled nodes.* Mainline's RCU callback does not touch ``array``, so a node that has been freed and allocated again,
and is in no tree yet, looks like one that waits for RCU. Here the callback resets it to None
(``NodeCache.clears_array``), as the constructor leaves it: the three states are then what they claim to be for the
whole life of the slab.

*An array that dies.* Between reading ``node->array`` and taking that array's lock the array itself (an inode's
i_pages) may be torn down. Here both happen inside one RCU read-side section, and every owner of an array frees it
through RCU, as inodes are. The lock of an array that is being torn down can then be taken safely, and the second look
at ``node->array`` under the lock settles it: tearing down takes each node out of the tree under that very lock.
"""

from __future__ import annotations

from memviz.kernel.defrag_pass import REFUSED_NEW, REFUSED_NO_MEMORY
from memviz.kernel.page import GFP_KERNEL
from memviz.kernel.rcu import Rcu
from memviz.kernel.slab_mover import MobilityOptions
from memviz.kernel.smp import Smp
from memviz.kernel.trace import XA_NODE_MOVED
from memviz.kernel.xa_node import XA_RCU_FREE, XaHead, XaNode, xa_node_free
from memviz.kernel.xa_slab import SlabNodeCache


class XaMigrate:
    """The two callbacks of the node cache, and what they do to one node."""

    def __init__(self, nodes: SlabNodeCache, smp: Smp, rcu: Rcu) -> None:
        self.nodes = nodes
        self.smp = smp
        self.rcu = rcu
        self.moved = 0

    def setup_mobility(self, movable: bool, options: MobilityOptions | None = None) -> None:
        """Register the callbacks, or take them back."""
        if movable:
            self.nodes.cache.setup_mobility(self.isolate, self.migrate, options)
        else:
            self.nodes.cache.remove_mobility()

    def node_at(self, addr: int) -> XaNode:
        """The node that lives at a slab address."""
        node = self.nodes.cache.content(addr)
        assert isinstance(node, XaNode)
        return node

    def isolate(self, objects: list[int]) -> object | None:
        """First callback. A node in no tree yet belongs to a CPU that is about to insert it: the slab stays.

        No reference is taken, as a node has none that would keep it. None is needed: whoever takes a node out of its
        tree frees it through RCU, the slab hands no object of an isolated slab out again, and ``migrate`` looks at
        each node anew under the lock of its array.
        """
        for addr in objects:
            if self.node_at(addr).array is None:
                self.refuse(addr, REFUSED_NEW)
                return None
        return True

    def migrate(self, objects: list[int], private: object) -> None:
        """Second callback. Nodes of one slab may be in as many arrays: each is locked on its own."""
        for addr in objects:
            self.xa_object_migrate(self.node_at(addr))

    def xa_object_migrate(self, victim: XaNode) -> bool:
        """Move one node to another slab. False: it has left its tree meanwhile, or there is no memory."""
        if victim.array is None or victim.array is XA_RCU_FREE:
            return False  # the node leaves by itself
        node = self.nodes.alloc(GFP_KERNEL)
        if node is None:
            self.refuse(victim.addr, REFUSED_NO_MEMORY)
            return False
        self.rcu.read_lock()  # keeps the array, not the node: see the module
        xa = victim.array
        if xa is None or xa is XA_RCU_FREE:
            self.rcu.read_unlock()
            self.nodes.free(node)
            return False
        self.smp.point("xa_object_migrate: array read, not locked")
        self.smp.cond_resched()  # where a preemptible kernel puts tasks aside: not in a read-side section, so not here
        xa.xa_lock()
        still = victim.array is xa
        if still:
            self.replace(xa, victim, node)
            xa_node_free(xa, victim)
        xa.xa_unlock()
        self.rcu.read_unlock()
        if not still:
            self.nodes.free(node)
        return still

    def replace(self, xa: XaHead, victim: XaNode, node: XaNode) -> None:
        """Put a copy in the victim's place. Lock held; readers may stand on the victim and go on there."""
        node.shift = victim.shift
        node.offset = victim.offset
        node.count = victim.count
        node.nr_values = victim.nr_values
        node.parent = victim.parent
        node.array = xa
        node.slots = list(victim.slots)
        node.marks = list(victim.marks)
        if victim.private_list is not None:
            self.nodes.replace_on_list(victim, node)
        for entry in node.slots:
            if isinstance(entry, XaNode):
                entry.parent = node
        self.smp.point("xa_object_migrate: copied, not published")
        if node.parent is None:
            xa.head = node
        else:
            node.parent.slots[node.offset] = node
        self.moved += 1
        mobility = self.nodes.cache.mobility
        if mobility is not None:
            mobility.object_moved(victim.addr, node.addr)
        self.smp.trace.emit(XA_NODE_MOVED, victim.addr, node.addr, xa.ident, node.first_index())

    def refuse(self, addr: int, reason: int) -> None:
        """Tell the pass why this one stays."""
        mobility = self.nodes.cache.mobility
        if mobility is not None:
            mobility.refuse(addr, reason)
