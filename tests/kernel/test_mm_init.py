"""How the page allocator starts: zones and reserves, and watermarks and list sizes as a real kernel set them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from memviz.kernel.mm_init import (
    init_per_zone_wmark_min,
    setup_per_zone_lowmem_reserve,
    zone_batchsize,
    zone_set_pageset_high_and_batch,
)
from memviz.kernel.mmzone import ZONE_NAMES, PageAllocConfig, Zone
from memviz.kernel.page import OWNER_FREE, OWNER_RESERVED, OWNER_UNKNOWN, PageFrames
from memviz.kernel.page_alloc import PageAlloc
from memviz.kernel.smp import Smp
from memviz.kernel.trace import Trace
from memviz.kernel.vmstat import VmStat

DATA = Path(__file__).parents[1] / "data" / "linux-6.18"


def make(mib, cpus=1, config=None):
    return PageAlloc(PageFrames(mib * 256), Smp(cpus, Trace()), config or PageAllocConfig())


def zoneinfo(snapshot):
    """What /proc/zoneinfo says of the populated zones: name to field to first value."""
    zones = {}
    for part in (DATA / snapshot / "zoneinfo").read_text().split("Node 0, zone")[1:]:
        name = part.split()[0]
        if name in ZONE_NAMES:
            fields = dict(reversed([(k, int(v)) for k, v in re.findall(r"^ +(\w+):? +(\d+)$", part, re.M)]))
            fields["protection"] = [int(v) for v in re.search(r"protection: \((.*)\)", part)[1].split(", ")]
            zones[name] = fields
    return zones


@pytest.mark.parametrize("snapshot", ["before", "after"])
def test_watermarks_and_list_sizes_equal_a_real_kernels(snapshot):
    config = PageAllocConfig()
    smp = Smp(2, Trace())
    kernel = zoneinfo(snapshot)
    zones = []
    for idx, name in enumerate(ZONE_NAMES):
        zone = Zone(PageFrames(4096), smp, config, VmStat(), idx, 1, 4096)
        # The machine gave pages back to its host later; Linux doesn't compute watermarks again for that.
        zone.managed = zoneinfo("before")[name]["managed"]
        zones.append(zone)
    init_per_zone_wmark_min(zones, config)
    setup_per_zone_lowmem_reserve(zones, config)
    for zone in zones:
        zone_set_pageset_high_and_batch(zone, 2, config)
        real = kernel[zone.name]
        assert zone.watermark == [real["min"], real["low"], real["high"], real["promo"]]
        assert zone.lowmem_reserve == real["protection"][:3]
        for pcp in zone.pcp:
            assert (pcp.batch, pcp.high_min, pcp.high_max) == (real["batch"], real["high_min"], real["high_max"])


@pytest.mark.parametrize(
    ("mib", "zones"),
    [
        (16, [("DMA", 1, 4095)]),
        (256, [("DMA", 1, 4095), ("DMA32", 4096, 61440)]),
        (4096, [("DMA", 1, 4095), ("DMA32", 4096, 782336), ("Normal", 786432, 262144)]),
    ],
)
def test_zones_are_those_of_a_pc_with_that_much_memory(mib, zones):
    pa = make(mib)
    assert [(zone.name, zone.start_pfn, zone.spanned) for zone in pa.zones] == zones
    for zone in pa.zones:
        assert zone.managed < zone.present <= zone.spanned
        assert zone.managed == zone.nr_free
    pa.check()


def test_zone_dma_starts_as_on_a_real_machine():
    """Its figures don't depend on the size of memory: present, managed and even the first free lists are known."""
    zone = make(4096).zones[0]
    real = zoneinfo("before")["DMA"]
    assert (zone.start_pfn, zone.spanned, zone.present, zone.managed) == (
        real["start_pfn"], real["spanned"], real["present"], real["managed"],
    )  # fmt: skip
    assert zone.nr_free_blocks() == [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 3]


def test_reserved_frames_are_firmware_kernel_and_descriptors():
    pa = make(256)
    owner = pa.mem.owner
    assert owner[0] == OWNER_RESERVED
    assert set(owner[0x9F:0x100]) == {OWNER_UNKNOWN}  # no memory at all
    assert set(owner[0x100:0x1000]) == {OWNER_FREE}
    assert set(owner[0x1000:0x2000]) == {OWNER_RESERVED}  # a sixteenth: the kernel's image
    assert set(owner[0x2000:-1024]) == {OWNER_FREE}
    assert set(owner[-1024:]) == {OWNER_RESERVED}  # 64 bytes a frame


@pytest.mark.parametrize("mib", [17, 30, 65, 250, 1001])
def test_sizes_that_no_block_divides_lose_no_frame(mib):
    pa = make(mib)
    pa.check()
    free = pa.mem.owner.count(OWNER_FREE)
    assert free == pa.managed
    assert free + pa.mem.owner.count(OWNER_RESERVED) + pa.mem.owner.count(OWNER_UNKNOWN) == mib * 256


@pytest.mark.parametrize("mib", [17, 30, 65])
def test_frames_at_the_end_of_memory_never_look_for_a_buddy_behind_it(mib):
    pa = make(mib)
    pages = []
    while (pfn := pa.alloc_pages(0)) is not None:
        pages.append(pfn)
    for pfn in pages:
        pa.free_pages(pfn, 0)
    pa.drain_all_pages()
    assert pa.nr_free_pages == pa.managed
    pa.check()


def test_too_little_memory_is_refused_in_words():
    with pytest.raises(ValueError, match="8 MiB of memory: a machine needs at least 16 MiB"):
        make(8)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"defrag_mode": 2}, "defrag_mode is 2: it is 0 or 1"),
        ({"watermark_scale_factor": 0}, "watermark_scale_factor is 0"),
        ({"dma32_mib": 63}, "zones end at 16 and 63 MiB"),
    ],
)
def test_impossible_settings_are_refused_in_words(arguments, words):
    with pytest.raises(ValueError, match=words):
        PageAllocConfig(**arguments)


@pytest.mark.parametrize(
    ("managed", "batch"), [(3840, 1), (16384, 3), (61440, 15), (65536, 15), (1 << 20, 63), (1 << 22, 63)]
)
def test_pcp_batch_by_zone_size(managed, batch):
    assert zone_batchsize(managed) == batch


def test_a_configured_fraction_fixes_the_size_of_per_cpu_lists():
    zone = make(256, 2, PageAllocConfig(pcp_high_fraction=16)).zones[1]
    assert zone.pcp[0].high_min == zone.pcp[0].high_max == zone.managed // 16 // 2


def test_min_free_kbytes_as_configured_shares_by_managed_size():
    pa = make(256, 1, PageAllocConfig(min_free_kbytes=4096))
    assert [zone.watermark_min for zone in pa.zones] == [1024 * zone.managed // pa.managed for zone in pa.zones]


def test_without_huge_pages_the_minimum_is_the_square_root():
    pa = make(4096, 1, PageAllocConfig(thp=False))
    kbytes = int((pa.managed * 4 * 16) ** 0.5)
    assert sum(zone.watermark_min for zone in pa.zones) in range(kbytes // 4 - 3, kbytes // 4 + 1)
