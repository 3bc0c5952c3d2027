"""A file's pages in a radix tree (``page_tree`` and ``tree_lock`` of ``struct address_space``, up to Linux 4.16).

The lock is the mapping's own, beside the tree and not in it; that it is a spinlock taken with interrupts off nobody
but the page cache knows. Insertions preload (``__add_to_page_cache_locked()``). 4.17 renamed the two and moved the lock
into the root, 4.20 made an XArray of it.
"""

from __future__ import annotations

from memviz.kernel.page import GFP_ATOMIC, GFP_KERNEL
from memviz.kernel.page_tree import ADDED, EEXIST, ENOMEM, REFAULTED, PageTree
from memviz.kernel.radix_preload import RadixTreePreload
from memviz.kernel.radix_tree import RadixTree, RadixTreeError
from memviz.kernel.rcu import Rcu
from memviz.kernel.smp import CPU_XA_LOCK, Smp
from memviz.kernel.spinlock import SpinLock
from memviz.kernel.xa_node import ULONG_MAX, XA_CHUNK_SIZE, NodeCache, UpdateNode, XaNode


class RadixPages(RadixTree, PageTree):
    """``update`` as in ``XArrayPages``; ``preload``: of the machine, shared by all its trees.

    One difference: Linux 4.16 leaves no shadow of a page that the root itself held, as it counts shadows by node.
    """

    def __init__(
        self, nodes: NodeCache, preload: RadixTreePreload, smp: Smp, rcu: Rcu, update: UpdateNode, number: int
    ) -> None:
        super().__init__(nodes, preload, GFP_ATOMIC, smp, rcu, f"file {number}", update)
        self.ident = number
        self.stashes = preload
        self.tree_lock = SpinLock(smp, "tree_lock", CPU_XA_LOCK)
        self.nrpages = 0

    def load(self, index: int) -> object:
        """See ``PageTree``."""
        return self.lookup(index)

    def find(self, index: int, max: int = ULONG_MAX, mark: int | None = None) -> tuple[int, object] | None:
        """See ``PageTree``."""
        found = self.gang_lookup(index, 1, mark)
        return found[0] if found and found[0][0] <= max else None

    def find_after(self, index: int, max: int = ULONG_MAX, mark: int | None = None) -> tuple[int, object] | None:
        """See ``PageTree``."""
        return None if index >= ULONG_MAX else self.find(index + 1, max, mark)

    def add(self, index: int, pfn: int) -> int:
        """``page_cache_tree_insert()``, with the preloading around it."""
        if not self.stashes.preload(GFP_KERNEL):
            return ENOMEM
        self.tree_lock.lock_irq()
        try:
            told = self._add(index, pfn)
        except RadixTreeError:
            told = ENOMEM
        self.stashes.preload_end()
        self.tree_lock.unlock_irq()
        return told

    def _add(self, index: int, pfn: int) -> int:
        old = self._find(index)[1]
        if isinstance(old, int):
            return EEXIST
        if old is None:
            self.insert(index, pfn)
        else:
            self.replace(index, pfn)
        self.nrpages += 1
        return ADDED if old is None else REFAULTED

    def remove(self, index: int) -> object:
        """``page_cache_tree_delete()``, and nothing stays."""
        self.tree_lock.lock_irq()
        old = self.delete(index)
        if isinstance(old, int):
            self.nrpages -= 1
        self.tree_lock.unlock_irq()
        return old

    def exchange(self, index: int, old: int, entry: object) -> bool:
        """See ``PageTree``."""
        self.tree_lock.lock_irq()
        found = self._find(index)[1] == old
        if found:
            self.replace(index, entry)
            if not isinstance(entry, int):
                self.nrpages -= 1
        self.tree_lock.unlock_irq()
        return found

    def delete_shadow_node(self, node: XaNode) -> bool:
        """Take out a node of nothing but shadows (``shadow_lru_isolate()``, ``__radix_tree_delete_node()``). False: it
        has left the tree meanwhile, or holds a page again.

        The page cache may do this to a node and slab defragmentation may not: only nodes of page caches are on its
        list, so ``root`` leads it to a mapping (``container_of()``) and to the lock.
        """
        self.tree_lock.lock_irq()
        taken = node.root is self and node.private_list is not None
        if taken:
            for offset in range(XA_CHUNK_SIZE):
                if node.slots[offset] is not None:
                    self._publish(node, offset, None)
                    node.count -= 1
                    node.nr_values -= 1
            if self.update is not None:
                self.update(node)
            self._delete_empty(node)
        self.tree_lock.unlock_irq()
        return taken

    def holds(self, node: XaNode) -> bool:
        """``node.root``: it says so since 4.11, but not where the lock is."""
        return node.root is self and node.array is None
