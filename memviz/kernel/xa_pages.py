"""A file's pages in an XArray (``i_pages``, ``mm/filemap.c`` since Linux 4.20): the array locks itself."""

from __future__ import annotations

from memviz.kernel.page import GFP_KERNEL
from memviz.kernel.page_tree import ADDED, EEXIST, ENOMEM, REFAULTED, PageTree
from memviz.kernel.rcu import Rcu
from memviz.kernel.smp import CPU_XA_LOCK, Smp
from memviz.kernel.spinlock import SpinLock
from memviz.kernel.xa_node import NodeCache, UpdateNode, XaNode, XaValue
from memviz.kernel.xa_state import XaState
from memviz.kernel.xarray import XArray


class XArrayPages(XArray, PageTree):
    """``update(node)`` hears of every change of a node's counts, lock held: ``workingset`` keeps shadow nodes on a
    list."""

    def __init__(self, nodes: NodeCache, smp: Smp, rcu: Rcu, update: UpdateNode, number: int) -> None:
        super().__init__("none", nodes, SpinLock(smp, "xa_lock", CPU_XA_LOCK), smp, rcu, f"file {number}", True)
        self.ident = number
        self.update = update
        self.nrpages = 0

    def add(self, index: int, pfn: int) -> int:
        """``__filemap_add_folio()``."""
        xas = XaState(self, index)
        xas.set_update(self.update)
        told = ENOMEM
        while True:
            self.xa_lock()
            old = xas.load()
            if isinstance(old, int):
                self.xa_unlock()
                told = EEXIST
                break
            xas.store(pfn)
            if not xas.error():
                self.nrpages += 1
                told = REFAULTED if isinstance(old, XaValue) else ADDED
            self.xa_unlock()
            if not xas.nomem(GFP_KERNEL):
                break
        xas.destroy()
        return told

    def remove(self, index: int) -> object:
        """``page_cache_delete()``."""
        xas = XaState(self, index)
        xas.set_update(self.update)
        self.xa_lock()
        old = xas.store(None)
        if isinstance(old, int):
            self.nrpages -= 1
        self.xa_unlock()
        return old

    def exchange(self, index: int, old: int, entry: object) -> bool:
        """See ``PageTree``."""
        xas = XaState(self, index)
        xas.set_update(self.update)
        self.xa_lock()
        found = xas.load() == old
        if found:
            xas.store(entry)
            if not isinstance(entry, int):
                self.nrpages -= 1
        self.xa_unlock()
        return found

    def holds(self, node: XaNode) -> bool:
        """``node.array``: that it says so is what makes it movable."""
        return node.array is self
