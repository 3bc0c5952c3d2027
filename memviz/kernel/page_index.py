"""Which tree finds the pages of files: an XArray, or the radix tree that it has replaced (Linux 4.20).

On a real machine the release decides. Here it can be told of a machine that runs: its files' trees change over as they
are, every node stays at its address. What differs from then on is what the thread is about and nothing else: whether a
node says which array it is in, and the array has its lock.
"""

from __future__ import annotations

from typing import Final

from memviz.kernel.page_tree import PageTree
from memviz.kernel.radix_pages import RadixPages
from memviz.kernel.radix_preload import RadixTreePreload
from memviz.kernel.rcu import Rcu
from memviz.kernel.slab_mover import MobilityOptions
from memviz.kernel.slub import SLAB_RECLAIM_ACCOUNT, Slub
from memviz.kernel.smp import Smp
from memviz.kernel.workingset import Workingset
from memviz.kernel.xa_migrate import XaMigrate
from memviz.kernel.xa_node import XA_MAX_MARKS, NodeCache
from memviz.kernel.xa_pages import XArrayPages
from memviz.kernel.xa_slab import SlabNodeCache

RADIX_TREE_NODE: Final = "radix_tree_node"
NO_LOCK: Final = "its nodes cannot move: the lock of a radix tree is its user's own, and nobody else knows which it is"


class PageIndex:
    """Makes the trees of a machine's files. ``radix``: which they are by now.

    ``node_caches[0]`` has the nodes of XArrays. Radix trees get a cache of their own, ``radix_tree_node``, when the
    first is wanted. A tree that changes over keeps the cache that its nodes live in.
    """

    def __init__(self, nodes: SlabNodeCache, slub: Slub, smp: Smp, rcu: Rcu, workingset: Workingset) -> None:
        self.slub = slub
        self.smp = smp
        self.rcu = rcu
        self.workingset = workingset
        self.radix = False
        self.node_caches: list[SlabNodeCache] = []
        self.movers: list[XaMigrate] = []
        self.stashes: list[RadixTreePreload] = []  # one for each node cache
        self.enter(nodes)

    def enter(self, nodes: SlabNodeCache) -> None:
        """A cache of nodes that files' trees may have."""
        nodes.replace_on_list = self.workingset.replace_node
        self.node_caches.append(nodes)
        self.movers.append(XaMigrate(nodes, self.smp, self.rcu))
        self.stashes.append(RadixTreePreload(nodes, self.smp))

    def new_tree(self, number: int) -> PageTree:
        """The empty tree of a new file."""
        if self.radix:
            return self.radix_tree(self.node_caches[1], number)
        return self.xarray(self.node_caches[0], number)

    def xarray(self, nodes: NodeCache, number: int) -> XArrayPages:
        """An empty XArray for a file, with nodes from ``nodes``."""
        return XArrayPages(nodes, self.smp, self.rcu, self.workingset.update_node, number)

    def radix_tree(self, nodes: NodeCache, number: int) -> RadixPages:
        """An empty radix tree for a file, with nodes from ``nodes``, and preloaded ones from there too."""
        stash = next(one for one in self.stashes if one.nodes is nodes)
        return RadixPages(nodes, stash, self.smp, self.rcu, self.workingset.update_node, number)

    def use_radix(self, radix: bool) -> None:
        """What new trees shall be; what there is changes over with ``change_over()``. Nobody is inside any tree."""
        self.radix = radix
        if radix and len(self.node_caches) == 1:
            self.enter(SlabNodeCache(self.slub, self.rcu, SLAB_RECLAIM_ACCOUNT, RADIX_TREE_NODE))
        if not radix:  # nobody preloads any more
            for stash in self.stashes:
                for cpu in range(self.smp.nr_cpus):
                    stash.drain(cpu)

    def change_over(self, tree: PageTree) -> PageTree:
        """The tree that takes over all nodes of ``tree`` as they are, and all that is in them. It may be the same."""
        if isinstance(tree, RadixPages) and not self.radix:
            return self.to_xarray(tree)
        if isinstance(tree, XArrayPages) and self.radix:
            return self.to_radix_tree(tree)
        return tree

    def to_xarray(self, tree: RadixPages) -> XArrayPages:
        """Every node says from now on which array it is in."""
        array = self.xarray(tree.nodes, tree.ident)
        array.head = tree.rnode
        array.nrpages = tree.nrpages
        for tag in range(XA_MAX_MARKS):
            if tree.tagged(tag):
                array.mark_set(tag)
        for node in array.nodes_in_tree():
            node.array = array
            node.root = None
        return array

    def to_radix_tree(self, array: XArrayPages) -> RadixPages:
        """No node says any longer where its lock is."""
        assert not array.multi, f"{array!r} has had entries of several indices: a radix tree cannot hold them"
        tree = self.radix_tree(array.nodes, array.ident)
        tree.rnode = array.head
        tree.nrpages = array.nrpages
        for mark in range(XA_MAX_MARKS):
            if array.marked(mark):
                tree.tags |= 1 << mark
        for node in tree.nodes_in_tree():
            node.array = None
            node.root = tree
        return tree

    def setup_mobility(self, movable: bool, options: MobilityOptions) -> None:
        """Let nodes move, which takes an XArray; or keep slab defragmentation off their caches."""
        for mover in self.movers:
            mover.setup_mobility(movable and not self.radix, options)
        for nodes in self.node_caches:
            nodes.cache.why_fixed = NO_LOCK if self.radix else ""

    def preloaded(self, nodes: SlabNodeCache) -> int:
        """Nodes of a cache that CPUs have taken aside: in no tree."""
        return sum(len(one.preloaded()) for one in self.stashes if one.nodes is nodes)
