"""Page allocators to lay free lists out in by hand."""

from __future__ import annotations

import pytest

from memviz.kernel import buddy, fallback
from memviz.kernel.mmzone import (
    PageAllocConfig,
)
from memviz.kernel.page import (
    MIGRATE_MOVABLE,
    OWNER_FREE,
    OWNER_KERNEL,
    PG_LRU,
    PageFrames,
)
from memviz.kernel.page_alloc import PageAlloc
from memviz.kernel.smp import Smp
from memviz.kernel.trace import MM_PAGE_ALLOC_EXTFRAG, Trace

M = MIGRATE_MOVABLE
NORMAL_PFN = 64 * 256  # where zone Normal begins in these machines


def make_machine(mib=128, cpus=1, **config):
    """DMA to 16 MiB, DMA32 to 64 MiB, Normal above."""
    return PageAlloc(PageFrames(mib * 256), Smp(cpus, Trace()), PageAllocConfig(dma32_mib=64, **config))


class BareMachine:
    """A machine whose zone Normal is all in use, page by page, and whose lower zones have nothing either."""

    def __init__(self, mib=128, cpus=1, **config):
        self.pa = make_machine(mib, cpus, **config)
        self.mem = self.pa.mem
        self.zone = self.pa.zones[2]
        for zone in self.pa.zones:
            for order in range(11):
                for pfn in zone.free_area[order][M].pfns():
                    self.pa.take_free_block(zone, pfn)
                    self.mem.set_owner(pfn, order, OWNER_KERNEL)
                    if zone is self.zone:
                        self.pa.split_page(pfn, order)
        self.end = NORMAL_PFN + self.zone.managed // 512 * 512

    def no_watermarks(self):
        for zone in self.pa.zones:
            zone.watermark[:] = [-1, -1, -1, -1]
            zone.lowmem_reserve[:] = [0, 0, 0]
        return self

    def block_type(self, pfn, migratetype):
        self.mem.pageblock_mt[pfn >> 9] = migratetype

    def free(self, pfn, order, to_tail=False):
        """Free an aligned range that is in use page by page, as one block, straight to the buddy lists."""
        self.mem.flags[pfn : pfn + (1 << order)] = bytes(1 << order)
        self.mem.set_owner(pfn, order, OWNER_FREE)
        buddy.free_one_page(self.zone, pfn, order, self.mem.pageblock_mt[pfn >> 9], to_tail)

    def fill_block(self, pfn, migratetype, free, movable):
        """A pageblock: ``free`` frames at its start, then ``movable`` LRU pages, the rest unmovable."""
        self.block_type(pfn, migratetype)
        at = pfn
        while at < pfn + free:
            order = min((at & -at).bit_length() - 1, (pfn + free - at).bit_length() - 1)
            self.free(at, order)
            at += 1 << order
        for frame in range(at, at + movable):
            self.mem.flags[frame] |= PG_LRU

    def lists(self, order):
        return [self.zone.free_area[order][mt].pfns() for mt in range(5)]

    def extfrag(self):
        return [event[4:] for event in self.pa.trace.notable if event[3] == MM_PAGE_ALLOC_EXTFRAG]


def take_block(bare, order, migratetype, flags=0):
    """``__rmqueue()`` on the bare zone."""
    pfn = fallback.rmqueue_locked(bare.zone, order, migratetype, flags)
    if pfn >= 0:
        bare.mem.set_owner(pfn, order, OWNER_KERNEL)
    return pfn


@pytest.fixture
def machine():
    """Makes a machine of 128 MiB in three zones."""
    return make_machine


@pytest.fixture
def Bare():
    """Makes a machine in which nothing is free until the test frees it."""
    return BareMachine


@pytest.fixture
def take():
    """Takes a block off the bare zone's lists."""
    return take_block
