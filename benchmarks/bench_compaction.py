"""Compaction of an aged machine, LRU reclaim, contiguous ranges: ``python -m benchmarks.bench_compaction``.

The machine has 4 GiB, filled with page cache; slab pages lie between (1 in 250 allocations), then half of all pages
go, at random: free memory everywhere, hardly a block of order 3. Target: compacting all of it takes less than 1.5 s
compiled.
"""

from __future__ import annotations

import random
import time

import memviz.kernel.compaction as compaction_module
from benchmarks.figure import Figure, compiled
from memviz.kernel.compaction import Compaction
from memviz.kernel.mmzone import PageAllocConfig
from memviz.kernel.page import (
    GFP_DIRECT_RECLAIM,
    GFP_HIGHUSER_MOVABLE,
    GFP_KERNEL,
    GFP_RECLAIMABLE,
    GFP_TRANSHUGE,
    OWNER_HUGE,
    OWNER_PAGE_CACHE,
    OWNER_SLAB,
    AddressSpace,
    PageFrames,
)
from memviz.kernel.page_alloc import PageAlloc
from memviz.kernel.page_isolation import PageIsolation
from memviz.kernel.request import RequestRecorder
from memviz.kernel.smp import Smp
from memviz.kernel.survey import survey
from memviz.kernel.trace import Trace
from memviz.kernel.vmscan import Vmscan

MIB = 4096
TARGET_S = 1.5
GFP_FILL = GFP_HIGHUSER_MOVABLE & ~GFP_DIRECT_RECLAIM


class File(AddressSpace):
    """One file whose page cache is a dict: what is measured is compaction, not an XArray."""

    def __init__(self) -> None:
        super().__init__()
        self.pages: dict[int, int] = {}

    def migrate_folio(self, old: int, new: int, index: int) -> bool:
        self.pages[index] = new
        return True

    def release_folio(self, pfn: int, index: int) -> bool:
        del self.pages[index]
        return True


class Aged:
    """An aged machine."""

    def __init__(self, mib: int, seed: int = 1) -> None:
        self.smp = Smp(4, Trace())
        self.mem = PageFrames(mib * 256)
        self.page_alloc = PageAlloc(self.mem, self.smp, PageAllocConfig())
        self.vmscan = Vmscan(self.mem, self.page_alloc, self.smp)
        self.compaction = Compaction(self.mem, self.page_alloc, self.vmscan, self.smp)
        self.isolation = PageIsolation(self.compaction)
        self.file = File()
        self.mem.register_mapping(self.file)
        rng = random.Random(seed)
        self.fill(rng)
        self.thin_out(rng)

    def fill(self, rng: random.Random) -> None:
        """Page cache to the brim, a slab of order 1 now and then."""
        alloc = self.page_alloc.alloc_pages
        index = 0
        while True:
            if rng.random() < 0.004:
                alloc(1, GFP_KERNEL & ~GFP_DIRECT_RECLAIM | GFP_RECLAIMABLE, OWNER_SLAB)
            pfn = alloc(0, GFP_FILL, OWNER_PAGE_CACHE)
            if pfn is None:
                return
            self.mem.mapping[pfn] = self.file.id
            self.mem.index[pfn] = index
            self.file.pages[index] = pfn
            self.vmscan.folio_add_lru(pfn)
            index += 1

    def thin_out(self, rng: random.Random) -> None:
        """Half of the pages go."""
        for index, pfn in list(self.file.pages.items()):
            if rng.random() < 0.5:
                del self.file.pages[index]
                self.vmscan.folio_isolate_lru(pfn)
                self.page_alloc.free_pages(pfn, 0)
        self.page_alloc.drain_all_pages()

    def take_whole_blocks(self) -> list[tuple[int, int]]:
        """Leave no whole block free, so that a request has to work for one."""
        taken: list[tuple[int, int]] = []
        for order in (10, 9):
            while (pfn := self.page_alloc.alloc_pages(order, GFP_FILL, OWNER_HUGE)) is not None:
                taken.append((pfn, order))
        return taken

    def whole_blocks(self) -> int:
        """Free blocks of order 9 and 10, in pageblocks."""
        return sum(zone.nr_free_pages_blocks() for zone in self.page_alloc.zones) // 512


def figures(quick: bool) -> list[Figure]:
    """Of this build, by CPU time; ``quick``: a quarter of the machine."""
    mib = MIB // 4 if quick else MIB
    aged = Aged(mib)
    begin = time.process_time()
    moved = aged.compaction.compact_memory()
    took = time.process_time() - begin
    begin = time.process_time()
    survey(aged.mem, aged.page_alloc.zones, 9, None)
    looked = time.process_time() - begin
    begin = time.process_time()
    freed = sum(aged.vmscan.try_to_free_pages(0, GFP_KERNEL) for _ in range(500))
    reclaim = freed / (time.process_time() - begin)
    target = TARGET_S * mib / MIB if compiled() else None
    return [
        Figure(f"compaction: all of {mib:,} MiB", took, "s", target, at_most=True),
        Figure("compaction: a page moved", 1e6 * took / max(moved, 1), "µs"),
        Figure(f"compaction: survey of {mib:,} MiB", 1000 * looked, "ms"),
        Figure("compaction: reclaim", reclaim, "pages a second"),
    ]


def main() -> None:
    """Print all figures."""
    build = "interpreted" if str(compaction_module.__file__).endswith(".py") else "compiled"
    aged = Aged(MIB)
    pages = len(aged.file.pages)
    print(f"aged machine of {MIB} MiB, {build}: {pages:,} pages, {aged.whole_blocks()} whole free blocks")

    taken = aged.take_whole_blocks()
    recorder = RequestRecorder(aged.page_alloc, 9, GFP_TRANSHUGE)
    begin = time.process_time()
    pfn = aged.page_alloc.request_pages(9, GFP_TRANSHUGE, OWNER_HUGE, recorder)
    took = time.process_time() - begin
    print(f"  request of order 9:    {1000 * took:8.1f} ms: {recorder.anatomy(1, pfn).verdict}")
    begin = time.process_time()
    seen = survey(aged.mem, aged.page_alloc.zones, 9, None)
    took = time.process_time() - begin
    held = f"{seen.slab_held} held by slabs, {seen.movable} by movable pages only"
    print(f"  survey of all blocks:  {1000 * took:8.1f} ms: {held}")
    for block, order in taken:
        aged.page_alloc.free_pages(block, order)

    begin = time.process_time()
    result = aged.isolation.alloc_contig(2048)
    print(f"  alloc_contig of 8 MiB: {1000 * (time.process_time() - begin):8.1f} ms: {result.sentence}")

    begin = time.process_time()
    moved = aged.compaction.compact_memory()
    took = time.process_time() - begin
    target = f"target {TARGET_S} s {'met' if took < TARGET_S else 'MISSED'}" if build == "compiled" else "no target"
    print(
        f"  compact all of it:     {took:8.2f} s ({target}): {moved:,} pages moved,"
        f" {1e6 * took / max(moved, 1):.1f} µs each, {aged.whole_blocks()} whole free blocks"
    )

    begin = time.process_time()
    freed = sum(aged.vmscan.try_to_free_pages(0, GFP_KERNEL) for _ in range(2000))
    took = time.process_time() - begin
    print(f"  direct reclaim:        {took:8.2f} s: {freed:,} pages dropped, {freed / took:,.0f} a second")

    aged.page_alloc.check()
    aged.vmscan.check()
    assert all(aged.mem.index[pfn] == index for index, pfn in aged.file.pages.items())


if __name__ == "__main__":
    main()
