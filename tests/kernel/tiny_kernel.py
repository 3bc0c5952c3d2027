"""A small kernel without slabs or files: page allocator, reclaim, compaction, and files that one can see through."""

from __future__ import annotations

from memviz.kernel.compaction import Compaction
from memviz.kernel.kcompactd import Kcompactd
from memviz.kernel.mmzone import PageAllocConfig
from memviz.kernel.page import (
    GFP_DIRECT_RECLAIM,
    GFP_HIGHUSER_MOVABLE,
    OWNER_PAGE_CACHE,
    OWNER_SLAB,
    PG_HEAD,
    AddressSpace,
    PageFrames,
)
from memviz.kernel.page_alloc import PageAlloc
from memviz.kernel.page_isolation import PageIsolation
from memviz.kernel.schedule import RandomScheduler
from memviz.kernel.smp import Smp
from memviz.kernel.smp_threads import ThreadedSmp
from memviz.kernel.trace import Trace
from memviz.kernel.vmscan import Vmscan

GFP_FILL = GFP_HIGHUSER_MOVABLE & ~GFP_DIRECT_RECLAIM


class TinyFile(AddressSpace):
    """A file whose page cache is a dict. Pages in ``busy`` can neither be moved nor released."""

    def __init__(self, kernel: TinyKernel) -> None:
        super().__init__()
        self.kernel = kernel
        self.pages: dict[int, int] = {}
        self.dropped: list[int] = []
        self.busy: set[int] = set()
        kernel.mem.register_mapping(self)

    def add(self, index: int, order: int = 0, gfp: int = GFP_FILL, owner: int = OWNER_PAGE_CACHE) -> int | None:
        """Bring in a page; None: no memory, or somebody was faster."""
        kernel = self.kernel
        pfn = kernel.page_alloc.alloc_pages(order, gfp, owner)
        if pfn is None:
            return None
        if index in self.pages:
            kernel.page_alloc.free_pages(pfn, order)
            return None
        kernel.mem.mapping[pfn] = self.id
        kernel.mem.index[pfn] = index
        self.pages[index] = pfn
        kernel.vmscan.folio_add_lru(pfn)
        return pfn

    def drop(self, index: int) -> bool:
        """Truncate a page; False: somebody else has isolated it, moved it or dropped it."""
        kernel = self.kernel
        pfn = self.pages.get(index)
        if pfn is None or not kernel.vmscan.folio_isolate_lru(pfn):
            return False
        if self.pages.get(index) != pfn:  # moved before we had it: this is somebody else's page by now
            kernel.vmscan.folio_add_lru(pfn)
            return False
        order = kernel.mem.order[pfn]
        del self.pages[index]
        kernel.mem.flags[pfn] = PG_HEAD
        kernel.page_alloc.free_pages(pfn, order)
        return True

    def migrate_folio(self, old: int, new: int, index: int) -> bool:
        self.kernel.smp.point("migrate_folio")
        if index in self.busy or self.pages.get(index) != old:
            return False
        self.pages[index] = new
        return True

    def release_folio(self, pfn: int, index: int) -> bool:
        self.kernel.smp.point("release_folio")
        if index in self.busy or self.pages.get(index) != pfn:
            return False
        del self.pages[index]
        self.dropped.append(index)
        return True


class TinyKernel:
    """The parts of memory management that work without slabs."""

    def __init__(
        self,
        mib: int = 32,
        cpus: int = 1,
        seed: int = 1,
        swap_pages: int = 0,
        defrag_mode: int = 0,
        threads: bool = False,
    ) -> None:
        self.smp = ThreadedSmp(cpus, Trace()) if threads else Smp(cpus, Trace(), RandomScheduler(seed))
        self.mem = PageFrames(mib * 256)
        self.page_alloc = PageAlloc(self.mem, self.smp, PageAllocConfig(defrag_mode=defrag_mode))
        self.vmscan = Vmscan(self.mem, self.page_alloc, self.smp, swap_pages)
        self.compaction = Compaction(self.mem, self.page_alloc, self.vmscan, self.smp)
        self.kcompactd = Kcompactd(self.compaction)
        self.isolation = PageIsolation(self.compaction)
        self.files: list[TinyFile] = []

    def file(self) -> TinyFile:
        """A new, empty file."""
        self.files.append(TinyFile(self))
        return self.files[-1]

    def fill(self, file: TinyFile, pages: int = 1 << 30, owner: int = OWNER_PAGE_CACHE) -> int:
        """Give ``file`` pages until it has so many more, or memory is full; returns how many it got."""
        first = max(file.pages, default=-1) + 1
        for count in range(pages):
            if file.add(first + count, owner=owner) is None:
                return count
        return pages

    def checkerboard(self, file: TinyFile, keep: int = 2) -> None:
        """Fill memory with pages of ``file``, then keep only every ``keep``-th frame."""
        self.fill(file)
        self.page_alloc.drain_all_pages()
        for index, pfn in list(file.pages.items()):
            if pfn % keep:
                file.drop(index)
        self.page_alloc.drain_all_pages()

    def index_at(self, pfn: int) -> tuple[TinyFile, int]:
        """Whose page is in a frame."""
        for file in self.files:
            for index, at in file.pages.items():
                if at == pfn:
                    return file, index
        raise LookupError(f"no file has a page in frame {pfn:#x}")

    def slab(self, pfn: int) -> None:
        """Make the page in frame ``pfn`` a slab page."""
        file, index = self.index_at(pfn)
        assert self.vmscan.folio_isolate_lru(pfn)
        del file.pages[index]
        self.mem.mapping[pfn] = 0
        self.mem.owner[pfn] = OWNER_SLAB

    def free_frames(self) -> int:
        """Free frames, those on per-CPU lists too."""
        return sum(zone.nr_free + zone.nr_isolate_free + zone.nr_pcp() for zone in self.page_alloc.zones)

    def whole_blocks(self) -> int:
        """Free blocks of at least a pageblock."""
        return sum(sum(zone.nr_free_blocks()[9:]) for zone in self.page_alloc.zones)

    def check(self) -> None:
        """Everything is where it says: zones, lists, and every page of every file."""
        self.page_alloc.check()
        self.vmscan.check()
        pages = 0
        for file in self.files:
            for index, pfn in file.pages.items():
                assert (self.mem.mapping[pfn], self.mem.index[pfn]) == (file.id, index)
                assert self.vmscan.on_lru(pfn)
                pages += 1
        assert sum(1 for lru in range(4) for _ in self.vmscan.lruvec.pfns(lru)) == pages
