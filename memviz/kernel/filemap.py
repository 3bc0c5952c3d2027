"""The page cache (``mm/filemap.c``, ``mm/truncate.c``): a file's pages, by index, in a tree of its own (``page_tree``).

Who may do something to a page is settled on the LRU, as isolating a page from it can succeed for one only: truncation,
reclaim and migration each isolate first, and whoever comes second waits or leaves the page alone. (The kernel has the
folio lock and the reference count for this; the LRU bit serves here for both.)

When reclaim takes a page its slot keeps a *shadow*, a value entry that says when: a node of nothing but shadows stays
allocated until ``workingset`` lets it go. That is how a file that nobody has read for hours still pins slab pages.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from memviz.kernel.page import GFP_HIGHUSER_MOVABLE, OWNER_PAGE_CACHE, AddressSpace, PageFrames
from memviz.kernel.page_index import PageIndex
from memviz.kernel.page_tree import REFAULTED, PageTree
from memviz.kernel.smp import Smp
from memviz.kernel.xa_node import value

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
        index: PageIndex,
        smp: Smp,
    ) -> None:
        self.mem = mem
        self.page_alloc = page_alloc
        self.vmscan = vmscan
        self.workingset = workingset
        self.index = index
        self.smp = smp
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
        """Remove a file with all its pages; returns how many there were. Its tree dies with it."""
        pages = file.truncate(0)
        del self.files[file.number]
        self.mem.unregister_mapping(file)
        return pages

    def use_radix(self, radix: bool) -> None:
        """Every file's tree is a radix tree from now on, or an XArray. Nobody is inside any of them."""
        self.index.use_radix(radix)
        for file in self.files.values():
            file.i_pages = self.index.change_over(file.i_pages)

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
        self.i_pages: PageTree = filemap.index.new_tree(number)

    @property
    def nrpages(self) -> int:
        """Pages in the cache."""
        return self.i_pages.nrpages

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
        told = self.i_pages.add(index, pfn)
        if told < 0:
            mem.forget_mapping(pfn)
            filemap.page_alloc.free_pages(pfn, 0)
            return False
        if told == REFAULTED:
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
                self.i_pages.remove(at)
                filemap.mem.forget_mapping(entry)
                filemap.page_alloc.free_pages(entry, 0)
                freed += 1
            else:
                self.i_pages.remove(at)
            at += 1

    def wait_on_folio(self, index: int, pfn: int) -> None:
        """Wait until whoever has isolated the page at ``index`` has decided about it."""
        self.filemap.smp.sleep_until("folio lock", lambda: not self.held_elsewhere(index, pfn))

    def held_elsewhere(self, index: int, pfn: int) -> bool:
        """Whether reclaim or migration has isolated this page and not yet decided about it."""
        mem = self.filemap.mem  # no look into the tree: a wait condition must not be a scheduling point itself
        return (mem.mapping[pfn], mem.index[pfn]) == (self.id, index) and not self.filemap.vmscan.on_lru(pfn)

    def migrate_folio(self, old: int, new: int, index: int) -> bool:
        """``filemap_migrate_folio``: the tree points at ``new`` from now on."""
        return self.i_pages.exchange(index, old, new)

    def release_folio(self, pfn: int, index: int) -> bool:
        """``__remove_mapping``: reclaim takes the page, a shadow stays."""
        return self.i_pages.exchange(index, pfn, value(self.filemap.workingset.pack_shadow()))
