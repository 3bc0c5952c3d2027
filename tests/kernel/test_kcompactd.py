"""kcompactd: woken by kswapd, and of its own accord."""

from __future__ import annotations

from typing import Any

from memviz.kernel.kcompactd import HPAGE_FRAG_CHECK_NS
from memviz.kernel.page import OWNER_FREE, OWNER_PAGE_CACHE


def test_kswapd_hands_over_and_kcompactd_makes_the_block(tiny: Any) -> None:
    k = tiny()
    k.checkerboard(k.file())
    assert k.whole_blocks() == 0
    zone = k.page_alloc.zones[-1]
    # More is free than the high watermark: for order 0 kswapd has nothing to do, for order 9 only compaction helps.
    k.vmscan.wakeup_kswapd(zone, 9)
    k.vmscan.kswapd_once()
    assert k.kcompactd.max_order == 9
    k.kcompactd.kcompactd_once()
    assert k.whole_blocks() >= 1
    assert k.page_alloc.vmstat.named()["compact_daemon_wake"] == 1
    k.check()


def test_both_run_as_tasks(tiny: Any) -> None:
    k = tiny(mib=32, cpus=2)
    k.checkerboard(k.file())
    k.vmscan.start(0)
    k.kcompactd.start(1)
    k.smp.run(None)
    assert k.whole_blocks() == 0
    k.vmscan.wakeup_kswapd(k.page_alloc.zones[-1], 9)
    k.smp.run(None)
    assert k.whole_blocks() >= 1
    k.check()


def test_nothing_to_do_is_no_reason_to_wake(tiny: Any) -> None:
    k = tiny()
    k.kcompactd.wakeup_kcompactd(9, 2)
    assert k.kcompactd.max_order == 0
    k.checkerboard(k.file())
    k.kcompactd.wakeup_kcompactd(0, 2)
    assert k.kcompactd.max_order == 0
    k.kcompactd.wakeup_kcompactd(9, 2)
    assert k.kcompactd.max_order == 9


def test_proactive_compaction_starts_above_its_mark_and_stops_below(tiny: Any) -> None:
    k = tiny()
    k.checkerboard(k.file())
    assert k.kcompactd.fragmentation_score_node() >= 90
    k.kcompactd.kcompactd_once()
    assert k.kcompactd.proactive_runs == 0  # not time yet
    k.smp.advance(HPAGE_FRAG_CHECK_NS)
    k.kcompactd.kcompactd_once()
    assert k.kcompactd.proactive_runs == 1
    after = k.kcompactd.fragmentation_score_node()
    assert after <= 90
    k.smp.advance(HPAGE_FRAG_CHECK_NS)
    k.kcompactd.kcompactd_once()
    assert k.kcompactd.proactive_runs == 1
    k.check()


def test_proactive_compaction_that_brings_nothing_waits_64_times_as_long(tiny: Any) -> None:
    k = tiny()
    k.checkerboard(k.file())
    for block in range(k.mem.nr_blocks):
        frames = range(block * 512, block * 512 + 512)
        pages = [pfn for pfn in frames if k.mem.owner[pfn] == OWNER_PAGE_CACHE]
        if pages and all(k.mem.owner[pfn] in (OWNER_PAGE_CACHE, OWNER_FREE) for pfn in frames):
            k.slab(pages[0])
    k.smp.advance(HPAGE_FRAG_CHECK_NS)
    k.kcompactd.kcompactd_once()
    assert k.kcompactd.proactive_runs == 1
    assert k.kcompactd.next_check - k.smp.now == 64 * HPAGE_FRAG_CHECK_NS


def test_the_tunable_switches_it_off(tiny: Any) -> None:
    k = tiny()
    k.checkerboard(k.file())
    k.compaction.proactiveness = 0
    k.smp.advance(HPAGE_FRAG_CHECK_NS)
    k.kcompactd.kcompactd_once()
    assert k.kcompactd.proactive_runs == 0


def test_defrag_mode_wants_whole_blocks_up_to_the_high_watermark(tiny: Any) -> None:
    k = tiny(mib=64, defrag_mode=1)
    k.checkerboard(k.file(), keep=4)
    zone = k.page_alloc.zones[-1]
    assert zone.nr_free_pages_blocks() < zone.watermark_high
    k.kcompactd.wakeup_kcompactd(9, 2)
    k.kcompactd.kcompactd_once()
    assert zone.nr_free_pages_blocks() > zone.watermark_high
    k.check()
