"""The page cache (``mm/filemap.c``, ``mm/truncate.c``): a file's pages, by index, in an XArray of its own.

Who may do something to a page is settled on the LRU, as isolating a page from it can succeed for one only: truncation,
reclaim and migration each isolate first, and whoever comes second waits or leaves the page alone. (The kernel has the
folio lock and the reference count for this; the LRU bit serves here for both.)

When reclaim takes a page its slot keeps a *shadow*, a value entry that says when: a node of nothing but shadows stays
allocated until ``workingset`` lets it go. That is how a file that nobody has read for hours still pins slab pages.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from memviz.kernel.page import GFP_HIGHUSER_MOVABLE, GFP_KERNEL, OWNER_PAGE_CACHE, AddressSpace, PageFrames
from memviz.kernel.rcu import Rcu
from memviz.kernel.smp import CPU_XA_LOCK, Smp
from memviz.kernel.spinlock import SpinLock
from memviz.kernel.xa_node import NodeCache, XaValue, value
from memviz.kernel.xa_state import XaState
from memviz.kernel.xarray import XArray

if TYPE_CHECKING:
    from memviz.kernel.page_alloc import PageAlloc
    from memviz.kernel.vmscan import Vmscan
    from memviz.kernel.workingset import Workingset

READ_NS = 400  # reading one page into memory, less the allocation; the disk is infinitely fast


class Filemap:
    """The page caches of all files of a machine."""

    def __init__(
        self,
        mem: PageFrames,
        page_alloc: PageAlloc,
        vmscan: Vmscan,
        workingset: Workingset,
        nodes: NodeCache,
        smp: Smp,
        rcu: Rcu,
    ) -> None:
        self.mem = mem
        self.page_alloc = page_alloc
        self.vmscan = vmscan
        self.workingset = workingset
        self.nodes = nodes
        self.smp = smp
        self.rcu = rcu
        self.files: dict[int, FileMapping] = {}
        self.next_number = 1
        self.refaults = 0  # pages read again that reclaim had taken

    def open(self) -> FileMapping:
        """A new, empty file."""
        number = self.next_number
        self.next_number += 1
        file = FileMapping(self, number)
        self.mem.register_mapping(file)
        self.files[number] = file
        return file

    def delete(self, file: FileMapping) -> int:
        """Remove a file with all its pages; returns how many there were. Its XArray dies with it."""
        pages = file.truncate(0)
        del self.files[file.number]
        self.mem.unregister_mapping(file)
        return pages

    def check(self) -> None:
        """Every entry of every tree is a page frame that says so itself, and the other way round."""
        mem = self.mem
        seen = 0
        for file in self.files.values():
            found = file.i_pages.find(0)
            pages = 0
            while found is not None:
                index, entry = found
                if isinstance(entry, int):
                    pages += 1
                    assert (mem.mapping[entry], mem.index[entry]) == (file.id, index), (
                        f"file {file.number} index {index} holds pfn {entry:#x},"
                        f" which says mapping {mem.mapping[entry]} index {mem.index[entry]}"
                    )
                found = file.i_pages.find_after(index)
            assert pages == file.nrpages, f"file {file.number} counts {file.nrpages} pages, its tree holds {pages}"
            seen += pages
        cached = mem.owner.count(OWNER_PAGE_CACHE)
        assert seen == cached, f"{cached} page frames say page cache, the trees hold {seen}"


class FileMapping(AddressSpace):
    """``struct address_space`` of one file. Entries of ``i_pages`` are page frame numbers (int) and shadows
    (values).
    """

    def __init__(self, filemap: Filemap, number: int) -> None:
        super().__init__()
        self.filemap = filemap
        self.number = number
        self.nrpages = 0
        smp = filemap.smp
        self.i_pages = XArray(
            nodes=filemap.nodes,
            lock=SpinLock(smp, "xa_lock", CPU_XA_LOCK),
            smp=smp,
            rcu=filemap.rcu,
            name=f"file {number}",
            lock_irq=True,
        )

    def read(self, index: int, count: int) -> int:
        """Make ``count`` pages from ``index`` on present, as readahead does; returns how many had to be read."""
        filemap = self.filemap
        read = 0
        for at in range(index, index + count):
            entry = self.i_pages.load(at)
            if isinstance(entry, int):
                filemap.vmscan.mark_page_accessed(entry)
                continue
            if not self.add_folio(at):
                break
            read += 1
        return read

    def add_folio(self, index: int) -> bool:
        """Allocate a page and put it at ``index`` (``filemap_add_folio``). False: no memory, or somebody was faster."""
        filemap = self.filemap
        mem = filemap.mem
        pfn = filemap.page_alloc.alloc_pages(0, GFP_HIGHUSER_MOVABLE, OWNER_PAGE_CACHE)
        if pfn is None:
            return False
        mem.mapping[pfn] = self.id
        mem.index[pfn] = index
        filemap.smp.advance(READ_NS)
        xas = XaState(self.i_pages, index)
        xas.set_update(filemap.workingset.update_node)
        added = False
        while True:
            self.i_pages.xa_lock()
            old = xas.load()
            if isinstance(old, int):
                self.i_pages.xa_unlock()
                break
            xas.store(pfn)
            if not xas.error():
                self.nrpages += 1
                added = True
            self.i_pages.xa_unlock()
            if not xas.nomem(GFP_KERNEL):
                break
        xas.destroy()
        if not added:
            mem.forget_mapping(pfn)
            filemap.page_alloc.free_pages(pfn, 0)
            return False
        if isinstance(old, XaValue):
            filemap.refaults += 1
        filemap.vmscan.folio_add_lru(pfn)
        return True

    def truncate(self, start: int) -> int:
        """Drop every page and shadow from ``start`` on (``truncate_inode_pages_range``); returns the pages freed."""
        filemap = self.filemap
        freed = 0
        at = start
        while True:
            found = self.i_pages.find(at)
            if found is None:
                return freed
            at, entry = found
            if isinstance(entry, int):
                if not filemap.vmscan.folio_isolate_lru(entry):
                    self.wait_on_folio(at, entry)
                    continue
                if (filemap.mem.mapping[entry], filemap.mem.index[entry]) != (self.id, at):
                    filemap.vmscan.folio_add_lru(entry)  # it moved before we had it: the frame is somebody else's now
                    continue
                self.remove(at)
                filemap.mem.forget_mapping(entry)
                filemap.page_alloc.free_pages(entry, 0)
                freed += 1
            else:
                self.remove(at)
            at += 1

    def wait_on_folio(self, index: int, pfn: int) -> None:
        """Wait until whoever has isolated the page at ``index`` has decided about it."""
        self.filemap.smp.sleep_until("folio lock", lambda: not self.held_elsewhere(index, pfn))

    def held_elsewhere(self, index: int, pfn: int) -> bool:
        """Whether reclaim or migration has isolated this page and not yet decided about it."""
        mem = self.filemap.mem  # no look into the tree: a wait condition must not be a scheduling point itself
        return (mem.mapping[pfn], mem.index[pfn]) == (self.id, index) and not self.filemap.vmscan.on_lru(pfn)

    def remove(self, index: int) -> None:
        """Take the entry at ``index`` out of the tree (``page_cache_delete``)."""
        xas = XaState(self.i_pages, index)
        xas.set_update(self.filemap.workingset.update_node)
        self.i_pages.xa_lock()
        if isinstance(xas.store(None), int):
            self.nrpages -= 1
        self.i_pages.xa_unlock()

    def migrate_folio(self, old: int, new: int, index: int) -> bool:
        """``filemap_migrate_folio``: the tree points at ``new`` from now on."""
        return self.replace(index, old, new)

    def release_folio(self, pfn: int, index: int) -> bool:
        """``__remove_mapping``: reclaim takes the page, a shadow stays."""
        if not self.replace(index, pfn, value(self.filemap.workingset.pack_shadow())):
            return False
        self.nrpages -= 1
        return True

    def replace(self, index: int, old: int, entry: object) -> bool:
        """Put ``entry`` where ``old`` is; False when ``old`` is no longer there. Needs no memory."""
        xas = XaState(self.i_pages, index)
        xas.set_update(self.filemap.workingset.update_node)
        self.i_pages.xa_lock()
        found = xas.load() == old
        if found:
            xas.store(entry)
        self.i_pages.xa_unlock()
        return found
