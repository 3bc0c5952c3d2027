"""Free lists have two ends; watermarks say who may have what is left."""

from __future__ import annotations

import pytest

from memviz.kernel.mmzone import (
    ALLOC_HIGHATOMIC,
    ALLOC_MIN_RESERVE,
    ALLOC_NON_BLOCK,
    ALLOC_OOM,
    FreeList,
)
from memviz.kernel.page import (
    GFP_ATOMIC,
    GFP_DMA,
    GFP_DMA32,
    GFP_HIGHUSER_MOVABLE,
    GFP_KERNEL,
    GFP_NOWAIT,
    GFP_RECLAIMABLE,
    MIGRATE_HIGHATOMIC,
    MIGRATE_ISOLATE,
    MIGRATE_MOVABLE,
    MIGRATE_RECLAIMABLE,
    MIGRATE_UNMOVABLE,
)

U, M, R, H, ISO = MIGRATE_UNMOVABLE, MIGRATE_MOVABLE, MIGRATE_RECLAIMABLE, MIGRATE_HIGHATOMIC, MIGRATE_ISOLATE
NORMAL_PFN = 64 * 256  # where zone Normal begins in these machines
BLOCK = NORMAL_PFN  # a pageblock to lay things out in, its free part chosen by the test
GFP_OF = {U: GFP_KERNEL, M: GFP_HIGHUSER_MOVABLE, R: GFP_KERNEL | GFP_RECLAIMABLE}


# -- free lists have two ends ----------------------------------------------------------------------------------------


def test_free_list_keeps_list_order_at_both_ends():
    pages = FreeList()
    for pfn in (1, 2):
        pages.head[pfn] = None
    for pfn in (3, 4):
        pages.tail[pfn] = None
    assert pages.pfns() == [2, 1, 3, 4]
    assert (pages.first(), len(pages), 3 in pages, 9 in pages) == (2, 4, True, False)
    pages.remove(2)
    pages.remove(1)
    assert pages.first() == 3  # the tail's turn
    pages.tail[5] = None
    pages.head[6] = None
    assert pages.pfns() == [6, 3, 4, 5]
    for pfn in (3, 4, 5, 6):
        pages.remove(pfn)
    assert pages.first() == -1
    assert pages.empty()
    with pytest.raises(KeyError):
        pages.remove(3)


# -- watermarks ------------------------------------------------------------------------------------------------------

WATERMARKS = [
    # flags, the part of the mark that must stay free (of 1000)
    (0, 1000),
    (ALLOC_MIN_RESERVE, 500),
    (ALLOC_MIN_RESERVE | ALLOC_NON_BLOCK, 375),
    (ALLOC_NON_BLOCK, 1000),
    (ALLOC_OOM, 500),
    (ALLOC_MIN_RESERVE | ALLOC_OOM, 250),
]


@pytest.mark.parametrize(("flags", "minimum"), WATERMARKS)
def test_watermark_by_reserve(flags, minimum, Bare):
    zone = Bare().zone
    zone.lowmem_reserve[2] = 77
    assert not zone.watermark_ok(0, 1000, 2, flags, minimum + 77)
    assert zone.watermark_ok(0, 1000, 2, flags, minimum + 78)
    assert zone.watermark_ok(0, 1000, 1, flags, minimum + 1)  # no reserve against requests that may not go higher


def test_watermark_counts_a_high_order_request_and_wants_a_block(Bare):
    bare = Bare()
    bare.free(BLOCK, 3)
    assert bare.zone.watermark_ok(3, 1000, 2, 0, 1008)
    assert not bare.zone.watermark_ok(3, 1000, 2, 0, 1007)  # 1 << 3, less one
    assert not bare.zone.watermark_ok(4, 1000, 2, 0, 5000)  # none of order 4


def test_watermark_does_not_count_the_atomic_reserve_for_others(Bare):
    bare = Bare()
    bare.block_type(BLOCK, H)
    bare.free(BLOCK, 8)
    bare.zone.nr_reserved_highatomic = 512
    assert bare.zone.nr_free_highatomic() == 256
    assert not bare.zone.watermark_ok(0, 1000, 2, 0, 1256)
    assert bare.zone.watermark_ok(0, 1000, 2, 0, 1257)
    assert bare.zone.watermark_ok(0, 1000, 2, ALLOC_NON_BLOCK, 1001)
    assert not bare.zone.watermark_ok(3, 1000, 2, ALLOC_NON_BLOCK, 5000)  # its blocks are not for this request
    assert bare.zone.watermark_ok(3, 1000, 2, ALLOC_HIGHATOMIC, 5000)


@pytest.mark.parametrize(
    ("gfp", "numerator", "denominator"),
    [(GFP_KERNEL, 1, 1), (GFP_NOWAIT, 1, 1), (GFP_HIGHUSER_MOVABLE, 1, 1), (GFP_ATOMIC, 3, 8)],
)
def test_a_request_never_passes_the_watermark_that_its_gfp_mask_sets(gfp, numerator, denominator, machine):
    """Drawn dry without reclaim: what is left is the minimum, or the part of it that the mask does not open."""
    pa = machine(cpus=1, watermark_boost_factor=0)
    while pa.alloc_pages(4, gfp) is not None:
        pass
    for zone in pa.zones:
        minimum = zone.wmark_pages(0)
        if numerator == 3:
            minimum -= minimum // 2
            minimum -= minimum // 4
        floor = minimum + zone.lowmem_reserve[2]
        assert floor < zone.nr_free + 16, zone.name
        assert zone.nr_free > floor - 16, zone.name
    pa.check()


def test_lowmem_reserve_keeps_low_zones_for_those_who_need_them(machine):
    pa = machine()
    dma = pa.zones[0]
    dma.lowmem_reserve[2] = dma.managed
    while pa.alloc_pages(9, GFP_KERNEL) is not None:
        pass
    assert dma.nr_free == dma.managed
    pfn = pa.alloc_pages(3, GFP_DMA)
    assert pfn is not None
    assert pfn < 4096


@pytest.mark.parametrize(("gfp", "below"), [(GFP_KERNEL | GFP_DMA, 4096), (GFP_KERNEL | GFP_DMA32, NORMAL_PFN)])
def test_zone_modifiers_are_obeyed(gfp, below, machine):
    pa = machine()
    pfns = [pa.alloc_pages(0, gfp) for _ in range(50)]
    assert all(pfn is not None and pfn < below for pfn in pfns)
