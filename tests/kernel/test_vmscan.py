"""Reclaim: who goes first, who stays, when it stops, and kswapd."""

from __future__ import annotations

from typing import Any

import pytest

from memviz.kernel.lruvec import LRU_ACTIVE_FILE, LRU_INACTIVE_FILE
from memviz.kernel.mmzone import WMARK_HIGH, WMARK_LOW
from memviz.kernel.page import (
    GFP_DMA,
    GFP_HIGHUSER_MOVABLE,
    GFP_KERNEL,
    GFP_NOFS,
    OWNER_ANON,
    PG_DIRTY,
    PG_PINNED,
)
from memviz.kernel.shrink import SWAP_CLUSTER_MAX, ScanControl, get_scan_count, inactive_is_low
from memviz.kernel.trace import MM_VMSCAN_KSWAPD_WAKE


def test_the_oldest_pages_go_first(tiny: Any) -> None:
    k = tiny()
    file = k.file()
    k.fill(file, 2000)
    freed = k.vmscan.try_to_free_pages(0, GFP_KERNEL)
    assert freed >= SWAP_CLUSTER_MAX
    assert file.dropped == list(range(freed))
    k.check()


def test_pages_touched_twice_outlive_pages_touched_once(tiny: Any) -> None:
    k = tiny()
    file = k.file()
    k.fill(file, 2000)
    for index in range(500):
        k.vmscan.mark_page_accessed(file.pages[index])
    for index in range(0, 500, 2):
        k.vmscan.mark_page_accessed(file.pages[index])
    while len(file.pages) > 1000:
        assert k.vmscan.try_to_free_pages(0, GFP_KERNEL) > 0
    assert file.dropped[:250] == list(range(1, 500, 2))
    assert all(index in file.pages for index in range(0, 500, 2))
    k.check()


@pytest.mark.parametrize(
    ("inactive", "active", "low"),
    [
        (99, 100, True),  # below 1 GiB: at least half should be inactive
        (100, 100, False),
        (262144 // 4, 3 * 262144 // 4 + 1, True),  # 1 GiB: ratio 3
        (262144 // 4 + 2, 3 * 262144 // 4, False),
        (10 * 262144 // 11 // 10, 10 * 262144, True),  # 10 GiB: ratio 10
    ],
)
def test_inactive_is_low_by_the_size_of_the_lists(tiny: Any, inactive: int, active: int, low: bool) -> None:
    k = tiny(mib=16)
    k.vmscan.lruvec.size[LRU_INACTIVE_FILE] = inactive
    k.vmscan.lruvec.size[LRU_ACTIVE_FILE] = active
    assert inactive_is_low(k.vmscan.lruvec, LRU_INACTIVE_FILE) is low


def test_each_round_scans_twice_as_much(tiny: Any) -> None:
    k = tiny()
    k.fill(k.file(), 4096)
    counts = []
    for priority in (12, 11, 2, 0):
        sc = ScanControl(0, GFP_KERNEL, 2, SWAP_CLUSTER_MAX)
        sc.priority = priority
        counts.append(get_scan_count(k.vmscan, sc))
    assert counts == [[0, 0, 1, 0], [0, 0, 2, 0], [0, 0, 1024, 0], [0, 0, 4096, 0]]


def test_anonymous_pages_stay_without_swap_and_fill_it_when_there_is_some(tiny: Any) -> None:
    k = tiny()
    k.fill(k.file(), 1000, owner=OWNER_ANON)
    assert k.vmscan.try_to_free_pages(0, GFP_KERNEL) == 0
    k = tiny(swap_pages=100)
    heap = k.file()
    k.fill(heap, 1000, owner=OWNER_ANON)
    freed = sum(k.vmscan.try_to_free_pages(0, GFP_KERNEL) for _ in range(20))
    assert freed == 100 == k.vmscan.swap_used
    assert len(heap.pages) == 900
    k.vmscan.swap_free(40)
    assert k.vmscan.swap_used == 60
    k.check()


def test_pinned_and_busy_pages_stay(tiny: Any) -> None:
    k = tiny()
    file = k.file()
    k.fill(file, 100)
    k.mem.flags[file.pages[3]] |= PG_PINNED
    file.busy.add(5)
    while k.vmscan.try_to_free_pages(0, GFP_KERNEL):
        pass
    assert sorted(file.pages) == [3, 5]
    k.check()


def test_a_dirty_page_is_written_and_goes_a_round_later(tiny: Any) -> None:
    k = tiny()
    file = k.file()
    k.fill(file, 64)
    for index in range(0, 64, 2):
        k.mem.flags[file.pages[index]] |= PG_DIRTY
    k.vmscan.try_to_free_pages(0, GFP_KERNEL)
    named = k.page_alloc.vmstat.named()
    written = {
        index for index in range(0, 64, 2) if index not in file.pages or not k.mem.flags[file.pages[index]] & PG_DIRTY
    }
    assert len(file.dropped) >= SWAP_CLUSTER_MAX
    assert named["pgrotated"] == len(written) > 0
    assert named["pgscan_direct"] == len(file.dropped) + len(written)  # a dirty page is looked at twice
    k.check()


def test_a_request_for_low_memory_leaves_high_pages_alone(tiny: Any) -> None:
    k = tiny(mib=64)
    file = k.file()
    k.fill(file)
    dma_end = k.page_alloc.zones[0].end_pfn
    low = {index for index, pfn in file.pages.items() if pfn < dma_end}
    assert k.vmscan.try_to_free_pages(0, GFP_KERNEL | GFP_DMA) > 0
    assert set(file.dropped) <= low
    k.check()


def test_reclaim_stops_for_compaction_when_enough_is_free(tiny: Any) -> None:
    k = tiny()
    file = k.file()
    k.checkerboard(file)
    pages = len(file.pages)
    assert k.vmscan.try_to_free_pages(9, GFP_KERNEL) == 1
    assert len(file.pages) == pages


def test_shrinkers_are_asked_unless_the_request_is_from_a_file_system(tiny: Any) -> None:
    k = tiny()
    asked: list[int] = []
    k.vmscan.register_shrinker(lambda nr: asked.append(nr) or 0)
    k.vmscan.try_to_free_pages(0, GFP_NOFS)
    assert asked == []
    k.vmscan.try_to_free_pages(0, GFP_KERNEL)
    assert asked == [128] * 13  # one batch a round: there was nothing to be had


def test_a_cache_that_counts_is_asked_for_its_share_and_small_shares_add_up(tiny: Any) -> None:
    k = tiny()
    objects = [4096]
    asked: list[int] = []

    def scan(nr_to_scan: int) -> int:
        asked.append(nr_to_scan)
        freed = min(nr_to_scan, objects[0])
        objects[0] -= freed
        return freed

    k.vmscan.register_shrinker(scan, lambda: objects[0])
    sc = ScanControl(0, GFP_KERNEL, 2, SWAP_CLUSTER_MAX)
    k.vmscan.shrink_slab(sc)
    assert asked == []  # 4096 >> 12, twice that: not worth a batch
    assert k.vmscan.shrinkers[0].nr_deferred == 2
    sc.priority = 6
    k.vmscan.shrink_slab(sc)
    assert asked == [128]
    sc.priority = 0
    k.vmscan.shrink_slab(sc)
    assert objects == [0]
    assert sc.nr_objects == 4096


def test_frames_that_shrinkers_free_count_as_reclaimed(tiny: Any) -> None:
    k = tiny()
    block = k.page_alloc.alloc_pages(6, GFP_KERNEL)

    def shrink(nr_to_scan: int) -> int:
        nonlocal block
        if block is None:
            return 0
        k.page_alloc.free_pages(block, 6)
        block = None
        return 100

    k.vmscan.register_shrinker(shrink)
    assert k.vmscan.try_to_free_pages(0, GFP_KERNEL) == 64


def test_an_allocation_that_needs_it_reclaims_directly(tiny: Any) -> None:
    k = tiny()
    file = k.file()
    k.fill(file)
    assert file.add(1 << 29, gfp=GFP_HIGHUSER_MOVABLE) is not None
    assert file.dropped[:3] == [0, 1, 2]
    assert k.page_alloc.vmstat.named()["pgsteal_direct"] == len(file.dropped)
    k.check()


def test_kswapd_sleeps_until_the_low_watermark_and_works_until_the_high_one(tiny: Any) -> None:
    k = tiny(mib=64, cpus=2)
    file = k.file()
    k.vmscan.start(1)
    lowest: list[int] = []
    zone = k.page_alloc.zones[-1]

    def user() -> None:
        for index in range(30_000):
            assert file.add(index, gfp=GFP_HIGHUSER_MOVABLE) is not None
            lowest.append(zone.nr_free)
            k.smp.point("between pages")

    k.smp.spawn(0, "user", user)
    k.smp.run(None)
    k.check()
    named = k.page_alloc.vmstat.named()
    assert named["pgsteal_kswapd"] > 10_000
    assert named["pgsteal_kswapd"] > 10 * named["pgsteal_direct"]
    assert zone.nr_free + zone.nr_pcp() > zone.watermark[WMARK_LOW]
    wakes = [event for event in k.smp.trace.notable if event[3] == MM_VMSCAN_KSWAPD_WAKE]
    assert wakes
    assert min(lowest) < zone.watermark[WMARK_LOW]


def test_kswapd_gives_up_after_sixteen_rounds_without_a_page(tiny: Any) -> None:
    k = tiny()
    k.fill(k.file(), owner=OWNER_ANON)
    zone = k.page_alloc.zones[0]
    for _ in range(20):
        k.vmscan.wakeup_kswapd(zone, 0)
        k.vmscan.kswapd_once()
    assert k.vmscan.kswapd_failures == 16
    assert not k.vmscan.kswapd_wanted()


def test_kswapd_reclaims_what_a_fallback_boosted(tiny: Any) -> None:
    k = tiny(mib=64)
    file = k.file()
    k.fill(file, 8000)
    zone = k.page_alloc.zones[-1]
    assert zone.nr_free > zone.watermark[WMARK_HIGH]
    zone.watermark_boost = 512
    k.vmscan.wakeup_kswapd(zone, 0)
    k.vmscan.kswapd_once()
    assert zone.watermark_boost == 0
    assert len(file.dropped) >= 32
    k.check()
