"""Compaction: what it makes whole, what pins a block, which pages move where, and that nothing is lost on the way."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memviz.kernel.compact_control import MIGRATE_ASYNC, MIGRATE_SYNC, MIGRATE_SYNC_LIGHT, WHOLE_ZONE, CompactControl
from memviz.kernel.isolate import isolate_freepages, release_free_list
from memviz.kernel.mmzone import (
    COMPACT_COMPLETE,
    COMPACT_DEFERRED,
    COMPACT_PRIO_ASYNC,
    COMPACT_PRIO_SYNC_FULL,
    COMPACT_PRIO_SYNC_LIGHT,
    COMPACT_SKIPPED,
    COMPACT_SUCCESS,
)
from memviz.kernel.page import (
    GFP_HIGHUSER_MOVABLE,
    GFP_KERNEL,
    GFP_NOFS,
    GFP_TRANSHUGE,
    MIGRATE_MOVABLE,
    MIGRATE_UNMOVABLE,
    NO_PFN,
    OWNER_FREE,
    OWNER_HUGE,
    OWNER_PAGE_CACHE,
    OWNER_SLAB,
    PG_DIRTY,
    PG_HEAD,
    PG_PINNED,
    PG_REFERENCED,
)
from memviz.kernel.trace import COMPACTION_PINNED, MM_COMPACTION_DEFERRED


def blocks_with_pages(k: Any) -> list[int]:
    """Pageblocks that hold nothing but free frames and pages of files, and some of the latter."""
    found = []
    for block in range(k.mem.nr_blocks):
        owners = k.mem.owner[block * 512 : block * 512 + 512]
        pages = owners.count(OWNER_PAGE_CACHE)
        if pages and pages + owners.count(OWNER_FREE) == 512:
            found.append(block)
    return found


def test_compaction_of_a_checkerboard_makes_the_block(tiny: Any) -> None:
    k = tiny()
    file = k.file()
    k.checkerboard(file)
    assert k.whole_blocks() == 0
    before = (k.free_frames(), set(file.pages))
    pfn = k.page_alloc.alloc_pages(9, GFP_TRANSHUGE, OWNER_HUGE)
    assert pfn is not None
    assert pfn % 512 == 0
    k.check()
    assert (k.free_frames() + 512, set(file.pages)) == before


def test_the_whole_machine_is_compacted_down_to_what_must_remain(tiny: Any) -> None:
    k = tiny()
    file = k.file()
    k.checkerboard(file)
    free = k.free_frames()
    moved = k.compaction.compact_memory()
    k.check()
    assert k.free_frames() == free
    assert moved >= 512
    # Half of memory is free: all but a few blocks' worth of that is whole now.
    assert k.whole_blocks() * 512 > free // 2
    assert k.page_alloc.vmstat.named()["pgmigrate_success"] == moved


def test_pages_move_towards_the_zones_end(tiny: Any) -> None:
    k = tiny()
    file = k.file()
    k.checkerboard(file)
    before = dict(file.pages)
    k.compaction.compact_memory()
    changed = [index for index, pfn in file.pages.items() if before[index] != pfn]
    assert changed
    for index in changed:
        zone = k.page_alloc.page_zone(before[index])
        assert zone is k.page_alloc.page_zone(file.pages[index])
        assert file.pages[index] > before[index]


def test_what_a_page_is_moves_with_it(tiny: Any) -> None:
    k = tiny()
    file = k.file()
    k.smp.advance(5_000_000)
    k.checkerboard(file)
    k.smp.advance(90_000_000)
    index = min(file.pages, key=file.pages.__getitem__)
    old = file.pages[index]
    k.mem.flags[old] |= PG_DIRTY | PG_REFERENCED
    k.compaction.compact_memory()
    new = file.pages[index]
    assert new != old
    assert k.mem.flags[new] & (PG_DIRTY | PG_REFERENCED) == PG_DIRTY | PG_REFERENCED
    assert k.mem.stamp[new] in range(5, 90)
    assert k.mem.owner[old] != k.mem.owner[new]


def test_one_slab_page_pins_its_block(tiny: Any) -> None:
    k = tiny()
    file = k.file()
    k.checkerboard(file)
    blocks = blocks_with_pages(k)
    for block in blocks:
        k.slab(next(pfn for pfn in range(block * 512, block * 512 + 512) if k.mem.owner[pfn] == OWNER_PAGE_CACHE))
    k.compaction.compact_memory()
    k.check()
    assert k.whole_blocks() == 0
    assert k.compaction.pins.counts[OWNER_SLAB] > 0
    pinned = [block for block in blocks if k.compaction.pins.pfn[block] != NO_PFN]
    assert pinned
    assert all(k.mem.owner[k.compaction.pins.pfn[block]] == OWNER_SLAB for block in pinned)
    told = {(event[4], event[5], event[6]) for event in k.smp.trace.notable if event[3] == COMPACTION_PINNED}
    assert told >= {(k.compaction.pins.pfn[block], block, OWNER_SLAB) for block in pinned}
    assert k.page_alloc.alloc_pages(9, GFP_TRANSHUGE) is None


def test_with_the_hook_slabs_leave_and_the_block_is_free(tiny: Any) -> None:
    k = tiny()
    file = k.file()
    k.checkerboard(file)
    for block in blocks_with_pages(k):
        k.slab(next(pfn for pfn in range(block * 512, block * 512 + 512) if k.mem.owner[pfn] == OWNER_PAGE_CACHE))
    asked: list[int] = []

    def evacuate(pfn: int) -> bool:
        asked.append(pfn)
        k.page_alloc.free_pages(pfn, 0)
        return True

    k.compaction.isolate_slab = evacuate
    assert k.page_alloc.alloc_pages(9, GFP_TRANSHUGE) is not None
    k.check()
    assert len(asked) == k.compaction.slabs_evacuated
    k.compaction.compact_memory()
    assert k.whole_blocks() > 2
    k.check()


def test_slabs_beside_something_that_stays_are_left_in_peace(tiny: Any) -> None:
    k = tiny()
    file = k.file()
    k.checkerboard(file)
    for block in blocks_with_pages(k):
        frames = [pfn for pfn in range(block * 512, block * 512 + 512) if k.mem.owner[pfn] == OWNER_PAGE_CACHE]
        k.slab(frames[0])
        k.mem.flags[frames[1]] |= PG_PINNED
    asked: list[int] = []
    k.compaction.isolate_slab = lambda pfn: asked.append(pfn) or False
    k.compaction.compact_memory()
    assert asked == []


def test_a_slab_that_refuses_is_asked_once_a_run_and_pins(tiny: Any) -> None:
    k = tiny()
    file = k.file()
    k.checkerboard(file)
    block = blocks_with_pages(k)[0]
    frames = [pfn for pfn in range(block * 512, block * 512 + 512) if k.mem.owner[pfn] == OWNER_PAGE_CACHE]
    k.slab(frames[0])
    k.slab(frames[9])
    asked: list[int] = []
    k.compaction.isolate_slab = lambda pfn: asked.append(pfn) or False
    k.compaction.compact_memory()
    assert asked == [frames[0]]
    assert k.compaction.pins.pfn[block] == frames[0]


def test_pinned_pages_do_not_move_and_are_named(tiny: Any) -> None:
    k = tiny()
    file = k.file()
    k.checkerboard(file)
    block = blocks_with_pages(k)[0]
    pfn = next(pfn for pfn in range(block * 512, block * 512 + 512) if k.mem.owner[pfn] == OWNER_PAGE_CACHE)
    _, index = k.index_at(pfn)
    k.mem.flags[pfn] |= PG_PINNED
    k.compaction.compact_memory()
    assert file.pages[index] == pfn
    assert k.compaction.pins.pfn[pfn >> 9] == pfn
    k.check()


def test_a_busy_page_stays_where_it_is_and_the_others_move(tiny: Any) -> None:
    k = tiny()
    file = k.file()
    k.checkerboard(file)
    first = sorted(file.pages, key=file.pages.__getitem__)[:3]
    before = [file.pages[index] for index in first]
    file.busy.add(first[1])
    k.compaction.compact_memory()
    assert file.pages[first[1]] == before[1]
    assert file.pages[first[0]] != before[0]
    assert k.page_alloc.vmstat.named()["pgmigrate_fail"] >= 1
    k.check()


def test_folios_move_whole(tiny: Any) -> None:
    k = tiny()
    file = k.file()
    count = 0
    while file.add(count, order=2) is not None:
        count += 1
    for index in range(0, count, 2):
        file.drop(index)
    k.page_alloc.drain_all_pages()
    k.compaction.compact_memory()
    k.check()
    assert k.whole_blocks() > 2
    assert all(pfn % 4 == 0 and k.mem.order[pfn] == 2 for pfn in file.pages.values())


def test_frames_to_move_to_come_from_movable_blocks_at_the_end(tiny: Any) -> None:
    k = tiny()
    k.checkerboard(k.file())
    zone = k.page_alloc.zones[-1]
    free = zone.free_area
    blocks = sorted({pfn >> 9 for order in range(11) for pfn in free[order][MIGRATE_MOVABLE].pfns()})
    for block in blocks[-3:]:
        for order in range(11):
            for pfn in zone.free_area[order][MIGRATE_MOVABLE].pfns():
                if pfn >> 9 == block:
                    zone.free_area[order][MIGRATE_MOVABLE].remove(pfn)
                    zone.free_area[order][MIGRATE_UNMOVABLE].tail[pfn] = None
        k.mem.pageblock_mt[block] = MIGRATE_UNMOVABLE
    cc = CompactControl(zone, 9, MIGRATE_MOVABLE, MIGRATE_SYNC_LIGHT)
    cc.nr_migratepages = 32
    isolate_freepages(k.page_alloc, cc)
    taken = sorted(pfn for blocks_of_order in cc.freepages for pfn in blocks_of_order)
    assert cc.nr_freepages == 32
    assert {pfn >> 9 for pfn in taken} == {blocks[-4]}
    assert all(k.mem.flags[pfn] == PG_HEAD for pfn in taken)
    release_free_list(k.page_alloc, cc)
    k.check()


def test_an_asynchronous_run_leaves_a_block_at_the_first_frame_that_fails(tiny: Any) -> None:
    k = tiny()
    file = k.file()
    k.checkerboard(file)
    zone = k.page_alloc.zones[-1]
    for block in blocks_with_pages(k):
        frames = [pfn for pfn in range(block * 512, block * 512 + 512) if k.mem.owner[pfn] == OWNER_PAGE_CACHE]
        k.slab(frames[5])  # fewer pages before it than one batch
    assert k.compaction.try_to_compact_pages(9, GFP_TRANSHUGE, COMPACT_PRIO_ASYNC) == COMPACT_COMPLETE
    assert k.page_alloc.vmstat.named()["pgmigrate_success"] == 0
    k.check()
    cc = CompactControl(zone, 9, MIGRATE_MOVABLE, MIGRATE_SYNC_LIGHT)
    cc.whole_zone = cc.ignore_skip_hint = True
    k.compaction.compact_zone(cc)
    assert cc.migrated > 0  # a synchronous one doesn't mind
    k.check()


def test_asynchronous_runs_take_from_blocks_of_the_requests_type_only(tiny: Any) -> None:
    k = tiny()
    k.checkerboard(k.file())
    zone = k.page_alloc.zones[-1]
    for mode, migratetype, moves in (
        (MIGRATE_ASYNC, MIGRATE_UNMOVABLE, False),
        (MIGRATE_ASYNC, MIGRATE_MOVABLE, True),
        (MIGRATE_SYNC, MIGRATE_UNMOVABLE, True),
    ):
        cc = CompactControl(zone, WHOLE_ZONE, migratetype, mode)
        cc.direct_compaction = cc.ignore_skip_hint = cc.whole_zone = True
        while not cc.migratepages and not cc.scanners_met():
            k.compaction.isolate_migratepages(cc)
        assert bool(cc.migratepages) is moves
        k.compaction.putback_movable_pages(cc)
    k.check()


def test_a_failed_run_defers_the_next_ones_and_the_highest_priority_never_is(tiny: Any) -> None:
    k = tiny()
    k.checkerboard(k.file())
    for block in blocks_with_pages(k):
        k.slab(next(pfn for pfn in range(block * 512, block * 512 + 512) if k.mem.owner[pfn] == OWNER_PAGE_CACHE))
    compact = k.compaction.try_to_compact_pages
    assert compact(9, GFP_KERNEL, COMPACT_PRIO_SYNC_LIGHT) == COMPACT_COMPLETE
    assert compact(9, GFP_KERNEL, COMPACT_PRIO_SYNC_LIGHT) == COMPACT_DEFERRED
    assert [event[5] for event in k.smp.trace.notable if event[3] == MM_COMPACTION_DEFERRED] == [9] * len(
        k.page_alloc.zones
    )
    assert compact(9, GFP_KERNEL, COMPACT_PRIO_SYNC_FULL) == COMPACT_COMPLETE


def test_skip_hints_spare_the_next_run_and_are_forgotten_on_request(tiny: Any) -> None:
    k = tiny(mib=64)
    k.checkerboard(k.file())
    zone = k.page_alloc.zones[-1]
    for block in blocks_with_pages(k):
        k.slab(next(pfn for pfn in range(block * 512, block * 512 + 512) if k.mem.owner[pfn] == OWNER_PAGE_CACHE))
    scanned = []
    for _ in range(2):
        cc = CompactControl(zone, WHOLE_ZONE, MIGRATE_MOVABLE, MIGRATE_SYNC_LIGHT)
        k.compaction.compact_zone(cc)
        scanned.append(cc.blocks_scanned)
    assert scanned[0] > 10
    assert scanned[1] <= 1  # the block where the scanners met had no hint yet
    cc = CompactControl(zone, WHOLE_ZONE, MIGRATE_MOVABLE, MIGRATE_SYNC_LIGHT)
    cc.ignore_skip_hint = cc.whole_zone = True
    k.compaction.compact_zone(cc)
    assert cc.blocks_scanned > 10
    k.check()


def test_requests_that_may_not_do_io_are_not_compacted_for(tiny: Any) -> None:
    k = tiny()
    k.checkerboard(k.file())
    assert k.compaction.try_to_compact_pages(3, 0, COMPACT_PRIO_SYNC_LIGHT) == COMPACT_SKIPPED
    assert k.compaction.try_to_compact_pages(3, GFP_NOFS, COMPACT_PRIO_SYNC_LIGHT) == COMPACT_SUCCESS


def test_a_run_never_takes_the_last_pages_below_the_watermark(tiny: Any) -> None:
    k = tiny()
    file = k.file()
    k.checkerboard(file)
    zone = k.page_alloc.zones[-1]
    zone.watermark[0] = zone.nr_free - 40
    cc = CompactControl(zone, WHOLE_ZONE, MIGRATE_MOVABLE, MIGRATE_SYNC)
    cc.whole_zone = True
    cc.nr_migratepages = 512
    isolate_freepages(k.page_alloc, cc)
    assert 0 < cc.nr_freepages <= 40
    release_free_list(k.page_alloc, cc)
    k.check()


@settings(max_examples=25)
@given(
    seed=st.integers(0, 1 << 16),
    commands=st.lists(
        st.tuples(
            st.sampled_from(
                ["add", "drop", "touch", "pin", "reclaim", "async", "light", "full", "all", "kernel", "request"]
            ),
            st.integers(0, 1 << 16),
        ),
        min_size=5,
        max_size=60,
    ),
)
def test_every_page_is_found_whatever_happens(tiny: Any, seed: int, commands: list[tuple[str, int]]) -> None:
    k = tiny(mib=16, seed=seed)
    file = k.file()
    k.checkerboard(file, keep=2 + seed % 3)
    lost = set()
    next_index = max(file.pages, default=0) + 1
    for what, number in commands:
        indexes = list(file.pages)
        if what == "add":
            for _ in range(number % 200):
                if file.add(next_index, gfp=GFP_HIGHUSER_MOVABLE) is not None:
                    next_index += 1
        elif what == "drop" and indexes:
            for index in indexes[number % len(indexes) :: 7]:
                if not k.mem.flags[file.pages[index]] & PG_PINNED:
                    file.drop(index)
                    lost.add(index)
        elif what == "touch" and indexes:
            for index in indexes[number % len(indexes) :: 5]:
                k.vmscan.mark_page_accessed(file.pages[index])
        elif what == "pin" and indexes:
            k.mem.flags[file.pages[indexes[number % len(indexes)]]] |= PG_PINNED
        elif what == "reclaim":
            k.vmscan.try_to_free_pages(number % 10, GFP_KERNEL)
        elif what in ("async", "light", "full"):
            priority = {"full": 0, "light": 1, "async": 2}[what]
            k.compaction.try_to_compact_pages(1 + number % 10, GFP_TRANSHUGE, priority)
        elif what == "all":
            k.compaction.compact_memory()
        elif what == "kernel":
            k.page_alloc.alloc_pages(number % 4, GFP_KERNEL)
        elif what == "request":
            pfn = k.page_alloc.alloc_pages(9, GFP_TRANSHUGE, OWNER_HUGE)
            if pfn is not None:
                k.page_alloc.free_pages(pfn, 9)
        k.check()
    assert set(file.pages).isdisjoint(lost | set(file.dropped))


@settings(max_examples=15)
@given(seed=st.integers(0, 1 << 16))
def test_users_on_four_cpus_lose_nothing_while_memory_is_compacted(tiny: Any, seed: int) -> None:
    k = tiny(mib=16, cpus=4, seed=seed)
    files = [k.file() for _ in range(3)]
    k.fill(files[0], 1500)

    def user(file: Any, step: int) -> None:
        for at in range(120):
            file.add(100_000 + at, gfp=GFP_HIGHUSER_MOVABLE)
            k.smp.point("added")
            victim = next(iter(file.pages))
            if (at + step) % 3 == 0:
                file.drop(victim)
            else:
                k.vmscan.mark_page_accessed(file.pages[victim])
            k.smp.point("dropped")

    def compactor() -> None:
        for _ in range(3):
            k.compaction.compact_memory()
            k.vmscan.try_to_free_pages(0, GFP_KERNEL)

    for cpu in range(3):
        k.smp.spawn(cpu, f"user {cpu}", lambda cpu=cpu: user(files[cpu], cpu))
    k.smp.spawn(3, "compactor", compactor)
    k.smp.run(None)
    k.check()


def test_users_on_threads_lose_nothing_either(tiny: Any) -> None:
    k = tiny(mib=16, cpus=4, threads=True)
    files = [k.file() for _ in range(3)]
    k.fill(files[0], 1500)

    def user(file: Any) -> None:
        for at in range(200):
            file.add(100_000 + at, gfp=GFP_HIGHUSER_MOVABLE)
            victim = next(iter(list(file.pages)))
            pfn = file.pages.get(victim)
            if at % 3 == 0 and pfn is not None:
                file.drop(victim)
            elif pfn is not None:
                k.vmscan.mark_page_accessed(pfn)

    def compactor() -> None:
        for _ in range(4):
            k.compaction.compact_memory()
            k.vmscan.try_to_free_pages(0, GFP_KERNEL)

    for cpu, file in enumerate(files):
        k.smp.spawn(cpu, f"user {cpu}", lambda file=file: user(file))
    k.smp.spawn(3, "compactor", compactor)
    k.smp.run(None)
    k.check()
    assert k.page_alloc.vmstat.named()["pgmigrate_success"] > 0


@pytest.mark.digest
def test_compaction_repeats_to_the_last_frame(tiny: Any) -> None:
    def run() -> tuple[bytes, int]:
        k = tiny(seed=3)
        k.checkerboard(k.file(), keep=3)
        k.compaction.compact_memory()
        return bytes(k.mem.owner) + k.mem.index.tobytes(), k.smp.now

    assert run() == run()
