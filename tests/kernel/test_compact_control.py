"""When compaction is tried: deferral, suitability, scores: the kernel's arithmetic."""

from __future__ import annotations

from typing import Any

import pytest

from memviz.kernel.compact_control import (
    MIGRATE_ASYNC,
    MIGRATE_SYNC_LIGHT,
    CompactControl,
    compact_gap,
    compaction_defer_reset,
    compaction_deferred,
    compaction_restarting,
    compaction_suit_allocation_order,
    compaction_suitable,
    defer_compaction,
    fragmentation_score_wmark,
    fragmentation_score_zone,
    reset_isolation_suitable,
)
from memviz.kernel.mmzone import COMPACT_CONTINUE, COMPACT_SKIPPED, COMPACT_SUCCESS, WMARK_MIN
from memviz.kernel.page import GFP_KERNEL, MIGRATE_MOVABLE


def test_each_failure_doubles_the_attempts_skipped_up_to_64(tiny: Any) -> None:
    zone = tiny().page_alloc.zones[0]
    zone.compact_order_failed = 11
    skipped = []
    for _ in range(8):
        defer_compaction(zone, 9)
        count = 0
        while compaction_deferred(zone, 9):
            count += 1
        skipped.append(count)
    # 1 << shift attempts are considered before the next one goes through: the last of them does.
    assert skipped == [1, 3, 7, 15, 31, 63, 63, 63]
    assert zone.compact_defer_shift == 6
    assert compaction_restarting(zone, 9)


def test_smaller_orders_than_the_one_that_failed_are_never_deferred(tiny: Any) -> None:
    zone = tiny().page_alloc.zones[0]
    zone.compact_order_failed = 11
    defer_compaction(zone, 5)
    assert not compaction_deferred(zone, 4)
    assert compaction_deferred(zone, 5)
    assert compaction_deferred(zone, 9) is False  # the second attempt of two


def test_success_moves_the_failed_order_up_and_an_allocation_clears_the_rest(tiny: Any) -> None:
    zone = tiny().page_alloc.zones[0]
    zone.compact_order_failed = 11
    defer_compaction(zone, 5)
    compaction_defer_reset(zone, 6, False)
    assert (zone.compact_order_failed, zone.compact_defer_shift) == (7, 1)
    compaction_defer_reset(zone, 6, True)
    assert (zone.compact_considered, zone.compact_defer_shift) == (0, 0)


@pytest.mark.parametrize(("order", "gap"), [(0, 2), (1, 4), (3, 16), (4, 32), (9, 32), (10, 32)])
def test_compact_gap_is_capped_at_one_batch(order: int, gap: int) -> None:
    assert compact_gap(order) == gap


def test_suitability_wants_free_pages_above_the_watermark_for_the_copies(tiny: Any) -> None:
    k = tiny()
    k.checkerboard(k.file())
    zone = k.page_alloc.zones[-1]
    mark = zone.watermark[WMARK_MIN]
    assert compaction_suitable(zone, 3, mark, 2)
    short = zone.nr_free - 2 * (compact_gap(3) + 1)
    assert not compaction_suitable(zone, 3, short + 2 * compact_gap(3), 2)


def test_costly_orders_are_refused_when_memory_is_short_rather_than_fragmented(tiny: Any) -> None:
    k = tiny()
    file = k.file()
    k.fill(file)
    k.page_alloc.drain_all_pages()
    zone = k.page_alloc.zones[-1]
    # A few free blocks of order 7: the index of order 9 is then near 0.
    pages = sorted(file.pages.items(), key=lambda page: page[1])
    blocks = [at for at, (_, pfn) in enumerate(pages) if pfn % 128 == 0 and pfn >= zone.start_pfn][1:4]
    for first in blocks:
        for index, _ in pages[first : first + 128]:
            file.drop(index)
    k.page_alloc.drain_all_pages()
    assert not compaction_suitable(zone, 9, 0, 2)
    assert compaction_suitable(zone, 3, 0, 2)  # the index is only asked for orders above 3


def test_asynchronous_runs_for_costly_orders_want_the_low_watermark_met(tiny: Any) -> None:
    k = tiny()
    file = k.file()
    k.checkerboard(file)
    zone = k.page_alloc.zones[-1]
    results = []
    for mode in (MIGRATE_ASYNC, MIGRATE_SYNC_LIGHT):
        cc = CompactControl(zone, 9, MIGRATE_MOVABLE, mode)
        cc.direct_compaction = True
        zone.watermark[1] = zone.nr_free if mode == MIGRATE_ASYNC else zone.watermark[1]
        results.append(compaction_suit_allocation_order(cc, zone.nr_free))
        zone.watermark[1] = zone.watermark[0] + 1
    assert results == [COMPACT_SKIPPED, COMPACT_CONTINUE]


def test_nothing_to_do_when_the_block_is_there(tiny: Any) -> None:
    zone = tiny().page_alloc.zones[-1]
    cc = CompactControl(zone, 9, MIGRATE_MOVABLE, MIGRATE_SYNC_LIGHT)
    assert compaction_suit_allocation_order(cc, zone.nr_free) == COMPACT_SUCCESS


def test_proactive_marks_follow_the_tunable() -> None:
    assert [(fragmentation_score_wmark(p, True), fragmentation_score_wmark(p, False)) for p in (0, 20, 50, 100)] == [
        (100, 100),
        (80, 90),
        (50, 60),
        (5, 15),
    ]


def test_the_score_is_the_percentage_that_no_huge_page_can_use(tiny: Any) -> None:
    k = tiny()
    zone = k.page_alloc.zones[-1]
    whole = sum(blocks << order for order, blocks in enumerate(zone.nr_free_blocks()) if order >= 9)
    assert fragmentation_score_zone(zone) == (zone.nr_free - whole) * 100 // zone.nr_free
    k.checkerboard(k.file())
    assert fragmentation_score_zone(zone) == 100


def test_forgetting_skip_hints_touches_one_zone_only(tiny: Any) -> None:
    k = tiny(mib=64)
    low, high = k.page_alloc.zones
    k.mem.pageblock_skip[:] = b"\1" * k.mem.nr_blocks
    low.compact_cached_free_pfn = 7
    reset_isolation_suitable(low)
    assert k.mem.pageblock_skip[: low.end_pfn >> 9].count(1) == 0
    assert k.mem.pageblock_skip[high.start_pfn >> 9 :].count(0) == 0
    assert low.compact_cached_free_pfn == low.end_pfn - 512
    assert k.page_alloc.alloc_pages(0, GFP_KERNEL) is not None
