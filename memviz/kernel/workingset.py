"""Shadow entries and the nodes that hold nothing else (``mm/workingset.c``).

A node whose every entry is a shadow is of no use to any reader; it goes on a list, and under memory pressure a shrinker
takes such nodes apart. On a real machine they are many: 36,389 ``workingset_nodes`` where all of radix_tree_node had
47,000 objects.
"""

from __future__ import annotations

from collections import OrderedDict

from memviz.kernel.radix_pages import RadixPages
from memviz.kernel.smp import Smp
from memviz.kernel.xa_node import XA_RCU_FREE, XaNode
from memviz.kernel.xarray import xa_delete_node


class Workingset:
    """The list of shadow nodes of a machine.

    Up to ``max_nodes`` of them are left alone: one for every eight page frames of the machine, as
    ``count_shadow_nodes`` reckons, so that shadows remember about as many pages as there is memory.
    """

    def __init__(self, smp: Smp, present_pages: int) -> None:
        self.smp = smp
        self.max_nodes = present_pages >> 3
        # oldest first; an OrderedDict, as its front stays cheap to reach after many removals there
        self.shadow_nodes: OrderedDict[XaNode, None] = OrderedDict()
        self.evictions = 0
        self.nodereclaim = 0

    def pack_shadow(self) -> int:
        """What a shadow says: the eviction counter when the page went (``pack_shadow``)."""
        self.evictions += 1
        return self.evictions

    def update_node(self, node: XaNode) -> None:
        """Called by the tree whenever a node's counts change, lock held (``workingset_update_node``)."""
        if node.count and node.count == node.nr_values:
            if node.private_list is None:
                node.private_list = self
                self.shadow_nodes[node] = None
        elif node.private_list is self:
            node.private_list = None
            del self.shadow_nodes[node]

    def replace_node(self, old: XaNode, new: XaNode) -> None:
        """A migrating node's copy takes its place on the list (``list_replace``)."""
        if old in self.shadow_nodes:
            del self.shadow_nodes[old]
            self.shadow_nodes[new] = None
            new.private_list = self
            old.private_list = None

    def shrink(self, nr_to_scan: int) -> int:
        """Take apart up to ``nr_to_scan`` of the oldest shadow nodes (``scan_shadow_nodes``); returns how many."""
        freed = 0
        for _ in range(nr_to_scan):
            # asked each time: other CPUs fill and empty the list while this one waits for a lock
            if len(self.shadow_nodes) <= self.max_nodes:
                break
            node = next(iter(self.shadow_nodes))
            root = node.root
            if isinstance(root, RadixPages):
                if root.delete_shadow_node(node):
                    freed += 1
                    self.nodereclaim += 1
                continue
            array = node.array
            if array is None or array is XA_RCU_FREE:
                raise AssertionError(f"{node!r} is on the shadow list and in no tree")
            array.xa_lock()
            if node.array is array and node in self.shadow_nodes:
                xa_delete_node(node, self.update_node)
                freed += 1
                self.nodereclaim += 1
            array.xa_unlock()
        return freed
