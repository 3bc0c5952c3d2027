"""What the page allocator starts from: zones, reserved page frames, watermarks, sizes of per-CPU lists
(``mm/mm_init.c``).

Physical memory is numbered without the hole that a PC has below 4 GiB. The first MiB belongs to the firmware, the
kernel's image lies at 16 MiB, the page frames' descriptors (64 bytes each) at the end of memory: present, but not
managed. The first zone begins at frame 1 as Linux's does, so its first pageblock straddles the zone's start and is
never retyped.
"""

from __future__ import annotations

from math import isqrt
from typing import Final

from memviz.kernel.buddy import free_one_page
from memviz.kernel.mmzone import (
    MAX_NR_ZONES,
    WMARK_HIGH,
    WMARK_LOW,
    WMARK_MIN,
    WMARK_PROMO,
    ZONE_DMA,
    ZONE_DMA32,
    ZONE_NORMAL,
    PageAllocConfig,
    Zone,
)
from memviz.kernel.page import (
    MAX_PAGE_ORDER,
    MIGRATE_MOVABLE,
    MIGRATE_PCPTYPES,
    OWNER_FREE,
    OWNER_RESERVED,
    OWNER_UNKNOWN,
    PAGEBLOCK_NR_PAGES,
    PAGEBLOCK_ORDER,
    PageFrames,
)
from memviz.kernel.smp import Smp
from memviz.kernel.vmstat import VmStat

MIB: Final = 256  # page frames
MIN_MEMORY_MIB: Final = 16
MAX_ORDER_NR_PAGES: Final = 1 << MAX_PAGE_ORDER
BIOS_HOLE: Final = (0x9F, 0x100)  # video memory and firmware below 1 MiB: no RAM there
KERNEL_IMAGE_PFN: Final = 16 * MIB
STRUCT_PAGE_SIZE: Final = 64
PCP_HIGH_FRACTION_MAX: Final = 8  # MIN_PERCPU_PAGELIST_HIGH_FRACTION: at most 1/8 of a zone on all its per-CPU lists


def free_area_init(mem: PageFrames, smp: Smp, config: PageAllocConfig, vmstat: VmStat) -> list[Zone]:
    """The populated zones of a machine, all memory that isn't reserved free and movable. Raises ValueError when too
    small.
    """
    if mem.nr < MIN_MEMORY_MIB * MIB:
        raise ValueError(f"{mem.nr // MIB} MiB of memory: a machine needs at least {MIN_MEMORY_MIB} MiB")
    limits = (config.dma_mib * MIB, config.dma32_mib * MIB, mem.nr)
    zones: list[Zone] = []
    start = 1
    for idx, limit in zip((ZONE_DMA, ZONE_DMA32, ZONE_NORMAL), limits, strict=True):
        end = min(limit, mem.nr)
        if start < end:  # dma_mib 0: a kernel without CONFIG_ZONE_DMA
            zones.append(Zone(mem, smp, config, vmstat, idx, start, end))
        start = max(start, end)
    for block in range(mem.nr_blocks):
        mem.pageblock_mt[block] = MIGRATE_MOVABLE
    mem.set_owner_range(0, mem.nr, OWNER_RESERVED)
    mem.set_owner_range(BIOS_HOLE[0], BIOS_HOLE[1], OWNER_UNKNOWN)
    zones[0].present -= BIOS_HOLE[1] - BIOS_HOLE[0]
    for start, end in free_ranges(mem.nr):
        for zone in zones:
            free_range(zone, max(start, zone.start_pfn), min(end, zone.end_pfn))
    init_per_zone_wmark_min(zones, config)
    setup_per_zone_lowmem_reserve(zones, config)
    for zone in zones:
        zone_set_pageset_high_and_batch(zone, smp.nr_cpus, config)
    return zones


def free_ranges(nr: int) -> list[tuple[int, int]]:
    """What remains of ``nr`` page frames after the reservations, as (start, end)."""
    memmap = nr * STRUCT_PAGE_SIZE // 4096
    # A rest that no largest block fits in goes to the descriptors too: then no buddy is ever behind the end of memory.
    end = nr - max(memmap, nr % MAX_ORDER_NR_PAGES)
    image = min(8192, nr // 16)  # the kernel and its initramfs: up to 32 MiB
    if nr <= KERNEL_IMAGE_PFN + image + MAX_ORDER_NR_PAGES:
        return [(MIB + image, end)]
    return [(MIB, KERNEL_IMAGE_PFN), (KERNEL_IMAGE_PFN + image, end)]


def free_range(zone: Zone, start: int, end: int) -> None:
    """Hand ``start`` to ``end`` to the allocator in blocks as large as they go (``memblock_free_all()``)."""
    if start >= end:
        return
    zone.mem.set_owner_range(start, end, OWNER_FREE)
    zone.managed += end - start
    while start < end:
        order = min(MAX_PAGE_ORDER, (start & -start).bit_length() - 1)
        while start + (1 << order) > end:
            order -= 1
        free_one_page(zone, start, order, zone.pageblock_mt[start >> PAGEBLOCK_ORDER], True)
        start += 1 << order


def nr_free_buffer_pages(zones: list[Zone]) -> int:
    """Managed page frames above the high watermarks."""
    return sum(max(zone.managed - zone.watermark[WMARK_HIGH], 0) for zone in zones)


def init_per_zone_wmark_min(zones: list[Zone], config: PageAllocConfig) -> None:
    """Set all watermarks: ``min_free_kbytes`` from the size of memory, raised for huge pages, or as configured."""
    kbytes = config.min_free_kbytes
    if kbytes > 0:
        setup_per_zone_wmarks(zones, config, kbytes)
        return
    kbytes = min(max(isqrt(nr_free_buffer_pages(zones) * 4 * 16), 128), 262144)
    setup_per_zone_wmarks(zones, config, kbytes)
    if config.thp:
        # khugepaged: two free blocks a zone, and one for each pair of migratetypes that could fall back; at most 5 %.
        wanted = PAGEBLOCK_NR_PAGES * len(zones) * (2 + MIGRATE_PCPTYPES * MIGRATE_PCPTYPES)
        wanted = min(wanted, nr_free_buffer_pages(zones) // 20)
        if wanted * 4 > kbytes:
            setup_per_zone_wmarks(zones, config, wanted * 4)


def setup_per_zone_wmarks(zones: list[Zone], config: PageAllocConfig, min_free_kbytes: int) -> None:
    """``__setup_per_zone_wmarks()``: each zone's share of the minimum by its managed size, and the gaps above."""
    pages_min = min_free_kbytes // 4
    lowmem_pages = sum(zone.managed for zone in zones)
    for zone in zones:
        minimum = pages_min * zone.managed // lowmem_pages
        gap = max(minimum // 4, zone.managed * config.watermark_scale_factor // 10000)
        zone.watermark_boost = 0
        zone.watermark[WMARK_MIN] = minimum
        zone.watermark[WMARK_LOW] = minimum + gap
        zone.watermark[WMARK_HIGH] = minimum + 2 * gap
        zone.watermark[WMARK_PROMO] = minimum + 3 * gap


def setup_per_zone_lowmem_reserve(zones: list[Zone], config: PageAllocConfig) -> None:
    """What a zone keeps back from requests that could also be served by higher zones."""
    managed = [0] * MAX_NR_ZONES
    for zone in zones:
        managed[zone.idx] = zone.managed
    for zone in zones:
        ratio = config.lowmem_reserve_ratio[zone.idx]
        higher = 0
        for idx in range(zone.idx + 1, MAX_NR_ZONES):
            higher += managed[idx]
            zone.lowmem_reserve[idx] = higher // ratio if ratio and zone.managed else 0


def zone_batchsize(managed: int) -> int:
    """How many pages move between a per-CPU list and the buddy allocator at once."""
    batch = max(min(managed >> 12, 64), 1)
    batch += batch // 2
    return max((1 << (batch.bit_length() - 1)) - 1, 1)


def zone_highsize(zone: Zone, batch: int, cpus: int, fraction: int) -> int:
    """How many pages a CPU may keep: its share of the low watermark, or of 1/``fraction`` of the zone; four batches at
    least.
    """
    total = zone.managed // fraction if fraction else zone.watermark[WMARK_LOW]
    return max(total // cpus, batch << 2)


def zone_set_pageset_high_and_batch(zone: Zone, cpus: int, config: PageAllocConfig) -> None:
    """Size the zone's per-CPU lists."""
    batch = zone_batchsize(zone.managed)
    fraction = config.pcp_high_fraction
    high_min = zone_highsize(zone, batch, cpus, fraction)
    # A configured fraction fixes the size; else it tunes itself between the two.
    high_max = high_min if fraction else zone_highsize(zone, batch, cpus, PCP_HIGH_FRACTION_MAX)
    for pcp in zone.pcp:
        pcp.batch = batch
        pcp.high_min = high_min
        pcp.high_max = high_max
