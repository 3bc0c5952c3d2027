"""The anatomy of a request: what a person reads, and whether it is true."""

from __future__ import annotations

from typing import Any

import pytest

from memviz.kernel.page import (
    GFP_ATOMIC,
    GFP_DMA,
    GFP_HIGHUSER_MOVABLE,
    GFP_KERNEL,
    GFP_NORETRY,
    GFP_NOWARN,
    GFP_TRANSHUGE,
    OWNER_ANON,
    OWNER_FREE,
    OWNER_HUGE,
    OWNER_KERNEL,
    OWNER_PAGE_CACHE,
)
from memviz.kernel.request import MAX_PINS, RequestRecorder, show_gfp_flags
from memviz.kernel.survey import survey


def request(k: Any, order: int, gfp: int) -> Any:
    recorder = RequestRecorder(k.page_alloc, order, gfp)
    return recorder.anatomy(1, k.page_alloc.request_pages(order, gfp, OWNER_HUGE, recorder))


def movable_blocks(k: Any) -> list[int]:
    """Pageblocks of nothing but pages and free frames."""
    found = []
    for block in range(k.mem.nr_blocks):
        owners = k.mem.owner[block * 512 : block * 512 + 512]
        if owners.count(OWNER_PAGE_CACHE) and owners.count(OWNER_PAGE_CACHE) + owners.count(OWNER_FREE) == 512:
            found.append(block)
    return found


def pin_every_block(k: Any) -> list[int]:
    """Make one page of each such block a slab page."""
    blocks = movable_blocks(k)
    for block in blocks:
        k.slab(next(pfn for pfn in range(block * 512, block * 512 + 512) if k.mem.owner[pfn] == OWNER_PAGE_CACHE))
    return blocks


@pytest.mark.parametrize(
    ("gfp", "text"),
    [
        (GFP_KERNEL, "GFP_KERNEL"),
        (GFP_TRANSHUGE, "GFP_TRANSHUGE"),
        (GFP_HIGHUSER_MOVABLE, "GFP_HIGHUSER_MOVABLE"),
        (GFP_ATOMIC | GFP_NOWARN, "GFP_ATOMIC|__GFP_NOWARN"),
        (GFP_KERNEL | GFP_NORETRY | GFP_DMA, "GFP_KERNEL|__GFP_DMA|__GFP_NORETRY"),
        (0, "0"),
    ],
)
def test_gfp_masks_read_as_the_kernel_prints_them(gfp: int, text: str) -> None:
    assert show_gfp_flags(gfp) == text


def test_a_request_that_succeeds_at_once_has_one_stage(tiny: Any) -> None:
    k = tiny()
    anatomy = request(k, 9, GFP_KERNEL)
    block = anatomy.pfn >> 9
    assert [(stage.name, stage.ok) for stage in anatomy.stages] == [("fast path", True)]
    assert anatomy.verdict == f"Succeeded at once: pfn {anatomy.pfn:#x}: whole pageblock {block}."
    assert anatomy.survey is None


def test_compaction_is_told_with_what_it_moved_and_where_the_block_is(tiny: Any) -> None:
    k = tiny()
    k.checkerboard(k.file())
    anatomy = request(k, 9, GFP_TRANSHUGE)
    moved = k.page_alloc.vmstat.named()["pgmigrate_success"]
    names = [stage.name for stage in anatomy.stages]
    assert names[0] == "fast path"
    assert names[-2:] == ["compaction", "retry"]
    compaction = anatomy.stages[-2]
    assert compaction.figures["pages moved"] == moved
    assert compaction.outcome.startswith(f"{moved:,} pages moved · ")
    assert compaction.end_ns - compaction.begin_ns >= 500 * moved
    assert anatomy.stages[-1].outcome == f"pfn {anatomy.pfn:#x}: whole pageblock {anatomy.pfn >> 9}"
    assert anatomy.verdict.startswith("Succeeded after compaction (")
    assert anatomy.begin_ns <= anatomy.stages[0].begin_ns
    assert anatomy.stages[-1].end_ns <= anatomy.end_ns


def test_stages_follow_one_another_in_virtual_time(tiny: Any) -> None:
    k = tiny()
    k.checkerboard(k.file())
    pin_every_block(k)
    anatomy = request(k, 9, GFP_TRANSHUGE)
    assert [stage.name for stage in anatomy.stages] == ["fast path", "compaction", "reclaim", "compaction"]
    for before, after in zip(anatomy.stages, anatomy.stages[1:], strict=False):
        assert before.begin_ns <= before.end_ns <= after.begin_ns <= after.end_ns


def test_a_failed_request_says_who_pins_the_blocks(tiny: Any) -> None:
    k = tiny()
    k.checkerboard(k.file())
    blocks = pin_every_block(k)
    k.compaction.pins.slab_name = lambda pfn: "dentry" if k.mem.owner[pfn] == 7 else ""
    anatomy = request(k, 9, GFP_TRANSHUGE)
    assert anatomy.pfn == -1
    assert f"{len(blocks)} of {anatomy.survey.total} pageblocks are held by slab pages" in anatomy.verdict
    assert "the nearest is block" in anatomy.verdict
    assert "1 pages of other slab stay" in anatomy.verdict
    last = anatomy.stages[-1]
    # What stopped it comes first: who shows only a part of it shows that.
    assert last.outcome.startswith(f"{last.pin_counts['dentry']} block"), last.outcome
    assert " pinned by dentry · " in last.outcome
    assert 0 < len(last.pinned_by) <= MAX_PINS + 3
    for who, block, pfn in last.pinned_by:
        assert pfn >> 9 == block
        assert who in ("dentry", "other slab")
        assert k.mem.owner[pfn] == 7


def test_lack_of_memory_is_not_called_fragmentation(tiny: Any) -> None:
    k = tiny()
    k.fill(k.file(), owner=OWNER_ANON)
    anatomy = request(k, 0, GFP_KERNEL)
    assert anatomy.pfn == -1
    assert anatomy.verdict.startswith("Failed for lack of memory: of ")
    assert "more free pages in one zone would let it through" in anatomy.verdict


def test_an_atomic_request_could_have_been_compacted_for(tiny: Any) -> None:
    k = tiny()
    k.checkerboard(k.file())
    blocks = movable_blocks(k)
    anatomy = request(k, 9, GFP_ATOMIC)
    assert anatomy.pfn == -1
    assert "GFP_ATOMIC may not wait" in anatomy.verdict
    assert f"compaction could empty {len(blocks)} pageblocks" in anatomy.verdict
    assert request(k, 9, GFP_TRANSHUGE).ok  # and it is true


def test_reclaim_counts_what_it_dropped(tiny: Any) -> None:
    k = tiny()
    file = k.file()
    k.fill(file)
    anatomy = request(k, 0, GFP_KERNEL)
    assert anatomy.ok
    reclaim = next(stage for stage in anatomy.stages if stage.name == "reclaim")
    assert reclaim.figures["pages dropped"] == len(file.dropped)
    assert reclaim.outcome.startswith(f"{len(file.dropped)} pages dropped · ")


def test_what_others_do_meanwhile_is_not_this_requests_doing(tiny: Any) -> None:
    k = tiny()
    k.checkerboard(k.file())
    recorder = RequestRecorder(k.page_alloc, 9, GFP_KERNEL)
    k.page_alloc.observer = recorder
    k.page_alloc.observed = k.smp.spawn(0, "requester", lambda: None)
    recorder.stage_begin("compaction")
    k.compaction.compact_memory()  # in boot context, not in the observed task
    recorder.stage_end(False, "nothing")
    assert recorder.stages[0].figures == {}
    assert recorder.stages[0].outcome == "nothing"


def test_slab_defragmentation_reads_as_in_the_panel(tiny: Any) -> None:
    recorder = RequestRecorder(tiny().page_alloc, 9, GFP_KERNEL)
    recorder.stage_begin("slab defragmentation")
    for name, value in (("xa_node slabs", 12), ("objects moved", 88), ("objects evicted", 0), ("slabs busy", 3)):
        recorder.figure(name, value)
    recorder.stage_end(True, "48 pages freed")
    assert recorder.stages[0].name == "slab defrag"
    assert recorder.stages[0].outcome == "xa_node: 12 slabs · 88 objects moved · 3 busy"


def test_many_retries_are_added_up(tiny: Any) -> None:
    k = tiny()
    recorder = RequestRecorder(k.page_alloc, 3, GFP_KERNEL)
    for _ in range(50):
        for name in ("reclaim", "compaction"):
            recorder.stage_begin(name)
            recorder.figure("pages looked at" if name == "reclaim" else "blocks scanned", 2)
            recorder.stage_end(False, "")
    assert len(recorder.stages) == 10
    assert recorder.stages[-1].figures == {"blocks scanned": 92, "repetitions": 45}
    assert sum(stage.figures.get("pages looked at", 0) for stage in recorder.stages) == 100


def test_the_survey_counts_every_range_once(tiny: Any) -> None:
    k = tiny(mib=64)
    k.checkerboard(k.file())
    blocks = movable_blocks(k)
    for block in blocks[:3]:
        k.slab(next(pfn for pfn in range(block * 512, block * 512 + 512) if k.mem.owner[pfn] == OWNER_PAGE_CACHE))
    for block in blocks[3:5]:
        pfn = next(pfn for pfn in range(block * 512, block * 512 + 512) if k.mem.owner[pfn] == OWNER_PAGE_CACHE)
        k.slab(pfn)
        k.mem.owner[pfn] = OWNER_KERNEL
    seen = survey(k.mem, k.page_alloc.zones, 9, None)
    assert (seen.slab_held, seen.fixed, seen.movable) == (3, 2, len(blocks) - 5)
    assert seen.fixed_by == {"unmovable": 2}
    assert seen.total == seen.free + seen.highatomic + seen.movable + seen.slab_held + seen.fixed + seen.huge
    assert [frames for frames, _ in seen.nearest] == [1, 1, 1]
    assert [name for name, _, _ in seen.pins] == ["other slab"] * 3
    small = survey(k.mem, k.page_alloc.zones, 4, None)
    assert small.slab_held == 3
    assert small.total > 32 * (seen.total - 1)


def test_a_stage_that_looked_at_nothing_says_only_that(tiny: Any) -> None:
    """Three figures of which two are nothing were cut before the one that tells why."""
    recorder = RequestRecorder(tiny().page_alloc, 9, GFP_KERNEL)
    recorder.stage_begin("compaction")
    recorder.figure("blocks skipped", 29)
    recorder.stage_end(False, "")
    assert recorder.stages[0].outcome == "nothing scanned: 29 blocks skipped on hints"
