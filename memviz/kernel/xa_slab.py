"""Where a machine's xa_nodes live: ``radix_tree_node_cachep`` (``lib/radix-tree.c``), split as the 2019 series split
it.

584 bytes in the slab: 576 of ``struct xa_node`` and, as the cache has a constructor, a free pointer that may not lie
in the object. Nodes are freed through RCU; the callback returns them to the constructed state and then to the slab.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from memviz.kernel.page import OWNER_SLAB_XA
from memviz.kernel.rcu import Rcu
from memviz.kernel.xa_node import XA_NODE_BYTES, NodeCache, XaNode

if TYPE_CHECKING:
    from memviz.kernel.slub import KmemCache, Slub


RECENT: Final = 64


class SlabNodeCache(NodeCache):
    """xa_nodes as slab objects at addresses of the machine."""

    def __init__(self, slub: Slub, rcu: Rcu, flags: int, name: str = "xa_node", clears_array: bool = True) -> None:
        super().__init__(clears_array)
        self.rcu = rcu
        self.cache: KmemCache = slub.create_cache(name, XA_NODE_BYTES, construct, flags, OWNER_SLAB_XA)
        self.replace_on_list: Callable[[XaNode, XaNode], None] = keep_off_lists
        self.recent: deque[XaNode] = deque(maxlen=RECENT)  # handed out last: some of them are in no tree yet

    def alloc(self, gfp: int) -> XaNode | None:
        """A constructed node from the slab, None without memory."""
        addr = self.cache.alloc(gfp)
        if addr is None:
            return None
        node = self.cache.content(addr)
        assert isinstance(node, XaNode)
        self.recent.append(node)
        return node

    def free(self, node: XaNode) -> None:
        """Take back a node that no reader ever saw: no grace period needed."""
        self.free_node(node)

    def free_rcu(self, node: XaNode) -> None:
        """Take back a node that readers may still stand on."""
        self.cache.note_rcu(node.addr)
        self.rcu.call_rcu(self.free_node, node)

    def free_node(self, node: XaNode) -> None:
        """The RCU callback (``radix_tree_node_rcu_free``)."""
        self.rcu_free(node)
        self.cache.free(node.addr)


def keep_off_lists(old: XaNode, new: XaNode) -> None:
    """No user of this cache keeps private lists: a node that is on one has no business here."""
    raise AssertionError(f"{old!r} is on a private list that nobody can replace it on")


def construct(addr: int) -> object:
    """``radix_tree_node_ctor``: once per slab slot, not per allocation."""
    return XaNode(addr)
