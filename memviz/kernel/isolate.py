"""What the two scanners of compaction do inside one pageblock (``mm/compaction.c``: ``isolate_*``).

A pageblock is 512 page frames, most of them of no interest to a scanner. Both look at the flat arrays with searches
that run in C and only then at single frames.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from memviz.kernel.compact_control import COMPACT_CLUSTER_MAX, MIGRATE_ASYNC, CompactControl
from memviz.kernel.page import (
    MIGRATE_MOVABLE,
    NR_PAGE_ORDERS,
    OWNER_ANON,
    OWNER_FREE,
    OWNER_HUGE,
    OWNER_ISOLATED,
    OWNER_PAGE_CACHE,
    OWNER_PCP,
    OWNER_SLAB,
    OWNER_SLAB_VFS,
    OWNER_SLAB_XA,
    PAGE_ALLOC_COSTLY_ORDER,
    PAGEBLOCK_NR_PAGES,
    PAGEBLOCK_ORDER,
    PG_BUDDY,
    PG_HEAD,
    PG_LRU,
    PG_PINNED,
    PageFrames,
)

if TYPE_CHECKING:
    from memviz.kernel.page_alloc import PageAlloc
    from memviz.kernel.vmscan import Vmscan

SCAN_NS: Final = 4  # look at one page frame
FREE_HEAD: Final = PG_HEAD | PG_BUDDY  # flags of the first frame of a free block, exactly

# bytes.translate tables: 1 for what is wanted
IS_LRU: Final = bytes(1 if flag & (PG_LRU | PG_PINNED) == PG_LRU else 0 for flag in range(256))
IS_PINNED: Final = bytes(1 if flag & PG_PINNED else 0 for flag in range(256))
MOVABLE_OWNERS: Final = (OWNER_ANON, OWNER_PAGE_CACHE)
# Neither free nor movable: isolating it fails. Per-CPU lists and what others have isolated fail too, for now.
FAILS: Final = bytes(0 if owner in MOVABLE_OWNERS or owner == OWNER_FREE else 1 for owner in range(256))
# Pins its block until its owner lets go. A huge page doesn't: it *is* what everybody wants.
UNPINNED: Final = (OWNER_HUGE, OWNER_FREE, OWNER_PCP, OWNER_ISOLATED)
PINS: Final = bytes(0 if owner in MOVABLE_OWNERS or owner in UNPINNED else 1 for owner in range(256))
SLAB_OWNERS: Final = (OWNER_SLAB_XA, OWNER_SLAB_VFS, OWNER_SLAB)
IS_SLAB: Final = bytes(1 if owner in SLAB_OWNERS else 0 for owner in range(256))
PINS_BUT_SLAB: Final = bytes(1 if PINS[owner] and not IS_SLAB[owner] else 0 for owner in range(256))


def first_pinned(mem: PageFrames, low_pfn: int, end_pfn: int) -> int:
    """The first page with PG_PINNED in a range, -1 for none."""
    at = mem.flags[low_pfn:end_pfn].translate(IS_PINNED).find(1)
    return low_pfn + at if at >= 0 else -1


def block_pins(mem: PageFrames, low_pfn: int, end_pfn: int) -> int:
    """The first page frame in a range that can't be moved away, -1 for none."""
    at = mem.owner[low_pfn:end_pfn].translate(PINS).find(1)
    pinned = first_pinned(mem, low_pfn, end_pfn)
    if at < 0:
        return pinned
    return low_pfn + at if pinned < 0 else min(low_pfn + at, pinned)


def evacuate_slabs(mem: PageFrames, isolate_slab: Callable[[int], bool], low_pfn: int, end_pfn: int) -> int:
    """Ask every slab in a pageblock to leave; returns how many did. Not worth the price where something else stays
    anyway.
    """
    if mem.owner[low_pfn:end_pfn].translate(PINS_BUT_SLAB).find(1) >= 0 or first_pinned(mem, low_pfn, end_pfn) >= 0:
        return 0
    evacuated = 0
    at = low_pfn
    while True:
        offset = mem.owner[at:end_pfn].translate(IS_SLAB).find(1)
        if offset < 0:
            return evacuated
        at += offset
        nr_pages = 1 << mem.order[at] if mem.flags[at] & PG_HEAD else 1
        if not isolate_slab(at):
            return evacuated  # this one pins the block: leave the others in peace
        evacuated += 1
        at += nr_pages


def isolate_migratepages_block(vmscan: Vmscan, cc: CompactControl, low_pfn: int, end_pfn: int) -> int:
    """``isolate_migratepages_block()``: add movable pages from ``low_pfn`` on to ``cc.migratepages``, a batch at most.

    Returns where to go on. An asynchronous run for a costly order gives up the rest of an aligned block of that
    order as soon as one page in it can't be isolated: it would not become free anyway. ``cc.contended``: the lock
    was busy.
    """
    lock = vmscan.lruvec.lock
    smp = vmscan.smp
    if cc.mode == MIGRATE_ASYNC:
        smp.irq_disable()
        if not lock.trylock():
            smp.irq_enable()
            cc.contended = True
            return low_pfn
    else:
        lock.lock_irq()
    if cc.direct_compaction and cc.mode == MIGRATE_ASYNC and cc.order > PAGE_ALLOC_COSTLY_ORDER:
        stop = isolate_or_skip(vmscan, cc, low_pfn, end_pfn)
    else:
        stop = isolate_all(vmscan, cc, low_pfn, end_pfn)
    cc.total_migrate_scanned += stop - low_pfn
    smp.advance(SCAN_NS * (stop - low_pfn))
    lock.unlock_irq()
    return stop


def isolate_all(vmscan: Vmscan, cc: CompactControl, low_pfn: int, end_pfn: int) -> int:
    """Isolate every movable page there is, until the batch is full."""
    mem = vmscan.mem
    lruvec = vmscan.lruvec
    movable = mem.flags[low_pfn:end_pfn].translate(IS_LRU)
    at = movable.find(1)
    while at >= 0:
        pfn = low_pfn + at
        order = mem.order[pfn]
        if worth_moving(cc, order):
            lruvec.delete(pfn)
            cc.migratepages.append(pfn)
            cc.nr_migratepages += 1 << order
            if cc.nr_migratepages >= COMPACT_CLUSTER_MAX and not cc.finish_pageblock:
                return min(pfn + (1 << order), end_pfn)
        at = movable.find(1, at + (1 << order))
    return end_pfn


def isolate_or_skip(vmscan: Vmscan, cc: CompactControl, low_pfn: int, end_pfn: int) -> int:
    """Isolate movable pages of blocks of ``cc.order``, aligned, that hold nothing else."""
    mem = vmscan.mem
    size = min(1 << cc.order, PAGEBLOCK_NR_PAGES)
    while low_pfn < end_pfn:
        window_end = min((low_pfn & ~(size - 1)) + size, end_pfn)
        fails = mem.owner[low_pfn:window_end].translate(FAILS).find(1)
        pinned = first_pinned(mem, low_pfn, window_end)
        first = low_pfn + fails if fails >= 0 else window_end
        if pinned >= 0:
            first = min(first, pinned)
        stop = isolate_all(vmscan, cc, low_pfn, first)
        if stop < first or (cc.nr_migratepages >= COMPACT_CLUSTER_MAX and not cc.finish_pageblock):
            return stop
        if first < window_end:
            for pfn in cc.migratepages:
                vmscan.lruvec.add(pfn)
            cc.migratepages = []
            cc.nr_migratepages = 0
        low_pfn = window_end
    return end_pfn


def worth_moving(cc: CompactControl, order: int) -> bool:
    """Whether a folio is smaller than what the run wants: moving one block to make another of its size is no gain."""
    if order == 0 or cc.alloc_contig:
        return True
    return order < PAGEBLOCK_ORDER and (cc.order < 0 or order < cc.order)


# -- free frames to move to ----------------------------------------------------------------------------------------


def isolate_freepages(page_alloc: PageAlloc, cc: CompactControl) -> None:
    """``isolate_freepages()``: from ``free_pfn`` down, take free blocks until there are as many as pages to move."""
    block_start = cc.free_pfn & ~(PAGEBLOCK_NR_PAGES - 1)
    start = cc.free_pfn
    end = min(block_start + PAGEBLOCK_NR_PAGES, cc.zone.end_pfn)
    low = (cc.migrate_pfn & ~(PAGEBLOCK_NR_PAGES - 1)) + PAGEBLOCK_NR_PAGES
    while block_start >= low:
        block = block_start >> PAGEBLOCK_ORDER
        if suitable_migration_target(cc, block_start) and (
            cc.ignore_skip_hint or not cc.zone.mem.pageblock_skip[block]
        ):
            stop, isolated, watermark_hit = isolate_freepages_block(page_alloc, cc, start, end)
            if stop >= end and isolated == 0 and not cc.no_set_skip_hint:
                cc.zone.mem.pageblock_skip[block] = 1
                cc.zone.compact_cached_free_pfn = min(cc.zone.compact_cached_free_pfn, block_start)
            if cc.nr_freepages >= max(cc.nr_migratepages, 1) or watermark_hit:
                if stop >= end:
                    stop = block_start - PAGEBLOCK_NR_PAGES
                cc.free_pfn = max(stop, 0)
                return
            page_alloc.smp.point("isolate_freepages")
        end = block_start
        block_start -= PAGEBLOCK_NR_PAGES
        start = block_start
    cc.free_pfn = max(start, 0)


def suitable_migration_target(cc: CompactControl, block_start: int) -> bool:
    """Only movable blocks that are not what everybody wants already: one whole free block."""
    mem = cc.zone.mem
    at = max(block_start, cc.zone.start_pfn)
    if mem.flags[at] & PG_BUDDY and mem.order[at] >= (cc.order if cc.order > 0 else PAGEBLOCK_ORDER):
        return False
    return cc.ignore_block_suitable or mem.pageblock_mt[block_start >> PAGEBLOCK_ORDER] == MIGRATE_MOVABLE


def isolate_freepages_block(page_alloc: PageAlloc, cc: CompactControl, start: int, end: int) -> tuple[int, int, bool]:
    """Take free blocks between ``start`` and ``end`` off their lists.

    Returns where it stopped, page frames taken, and whether the watermark forbade more.
    """
    zone = cc.zone
    mem = zone.mem
    flags = mem.flags
    isolated = 0
    watermark_hit = False
    stop = end
    start = max(start, zone.start_pfn)
    zone.lock.lock_irq()
    at = flags.find(FREE_HEAD, start, end)
    while at >= 0:
        order = page_alloc.isolate_free_page(zone, at)
        if order < 0:
            watermark_hit = True
            stop = at
            break
        cc.freepages[order].append(at)
        cc.nr_freepages += 1 << order
        isolated += 1 << order
        at += 1 << order
        if cc.nr_freepages >= cc.nr_migratepages:
            stop = min(at, end)
            break
        at = flags.find(FREE_HEAD, at, end)
    page_alloc.smp.advance(SCAN_NS * (stop - start))
    zone.lock.unlock_irq()
    cc.total_free_scanned += stop - start
    return stop, isolated, watermark_hit


def release_free_list(page_alloc: PageAlloc, cc: CompactControl) -> int:
    """Free what the free scanner took in vain; returns the highest frame of it."""
    highest = 0
    for order, blocks in enumerate(cc.freepages):
        for pfn in blocks:
            page_alloc.free_pages(pfn, order)
            highest = max(highest, pfn)
        blocks.clear()
    cc.nr_freepages = 0
    return highest


class CompactionTarget:
    """Where a batch of one run goes: the frames that its free scanner finds."""

    def __init__(self, page_alloc: PageAlloc, cc: CompactControl) -> None:
        self.page_alloc = page_alloc
        self.cc = cc
        self.mem = page_alloc.mem

    def compaction_alloc(self, order: int) -> int:
        """A block for a page of ``order``, split from a larger one if need be; -1: none."""
        freepages = self.cc.freepages
        refilled = False
        while True:
            for current in range(order, NR_PAGE_ORDERS):
                if freepages[current]:
                    pfn = freepages[current].pop()
                    while current > order:
                        current -= 1
                        upper = pfn + (1 << current)
                        self.mem.flags[upper] = PG_HEAD
                        self.mem.order[upper] = current
                        self.mem.touched[upper >> PAGEBLOCK_ORDER] = 1
                        freepages[current].append(upper)
                    self.mem.order[pfn] = order
                    self.mem.touched[pfn >> PAGEBLOCK_ORDER] = 1
                    self.cc.nr_freepages -= 1 << order
                    return pfn
            if refilled:
                return -1
            isolate_freepages(self.page_alloc, self.cc)
            refilled = True

    def compaction_free(self, pfn: int, order: int) -> None:
        """A block that was not needed after all."""
        self.cc.freepages[order].append(pfn)
        self.cc.nr_freepages += 1 << order
