"""The two-phase protocol: what moves, what stays and why, the price, and every rule enforced."""

from __future__ import annotations

import pytest

from memviz.kernel.defrag_pass import STEP_ISOLATE, STEP_MIGRATE, step_sentence
from memviz.kernel.page import OWNER_FREE, OWNER_PCP, OWNER_SLAB
from memviz.kernel.schedule import RandomScheduler
from memviz.kernel.slab import OBJ_BUSY
from memviz.kernel.slab_mobility import (
    BARRIER_NONE,
    BARRIER_OBJECT,
    BARRIER_PASS,
    BARRIER_SLAB,
    REFUSED_IN_USE,
    REFUSED_LEFT,
    REFUSED_LOCKED,
    REFUSED_NO_MEMORY,
    REFUSED_RCU,
    REFUSED_REFERENCED,
)
from memviz.kernel.trace import (
    DEFRAG_BEGIN,
    DEFRAG_END,
    OBJECT_MOVED,
    SLAB_ISOLATE,
    SLAB_ISOLATE_REFUSED,
    SLAB_MIGRATED,
)
from tests.kernel.movable_index import FRONT_ENDS, index, kernel


@pytest.mark.parametrize("front_end", FRONT_ENDS)
@pytest.mark.parametrize("through_rcu", [False, True])
@pytest.mark.parametrize("batch", [False, True])
@pytest.mark.parametrize("barrier", [BARRIER_NONE, BARRIER_OBJECT, BARRIER_SLAB, BARRIER_PASS])
@pytest.mark.parametrize("isolate_all", [False, True])
def test_sparse_slabs_come_free_and_nothing_is_lost(
    front_end: str, through_rcu: bool, batch: bool, barrier: int, isolate_all: bool
) -> None:
    it = index(front_end, through_rcu, batch=batch, barrier=barrier, isolate_all=isolate_all)
    it.fill(slabs=30, keep=3)
    slabs, keys = it.cache.stats().slabs, sorted(it.at)
    assert slabs == 30
    done = it.cache.defrag(30)
    it.check()
    assert sorted(it.at) == keys
    it.slub.rcu.rcu_barrier()
    it.cache.shrink()
    it.slub.rcu.rcu_barrier()
    it.cache.flush_all()
    it.cache.shrink_partial()
    it.check()
    if through_rcu and barrier == BARRIER_NONE:
        # What nobody waited for is found again as a partial slab, and what moves next moves into it.
        assert done.slabs_freed <= 1
        assert done.refused[REFUSED_RCU] >= 22
        assert 7 <= it.cache.stats().slabs <= 13
    else:
        assert it.cache.stats().slabs == 7  # 90 objects, 14 to a slab
        assert done.slabs_freed >= 22
        assert done.pages_freed == 2 * done.slabs_freed
        assert done.refusals() == 0


def test_the_price_of_a_pass() -> None:
    it = index(through_rcu=True)
    it.fill(slabs=10, keep=1)
    done = it.cache.defrag(30)
    assert (done.slabs_freed, done.pages_freed) == (9, 18)
    assert (done.objects_moved, done.objects_evicted, done.bytes_copied) == (9, 0, 9 * 576)
    assert (done.slabs_isolated, done.slabs_left, done.holds) == (9, 0, 9)
    assert (done.barriers, done.grace_periods) == (1, 1)
    assert done.barrier_ns >= it.slub.rcu.jiffy_ns
    assert done.hold_ns >= done.longest_hold_ns > 0
    assert done.end - done.begin > done.barrier_ns
    trace = it.slub.smp.trace
    kinds = (DEFRAG_BEGIN, SLAB_ISOLATE, OBJECT_MOVED, SLAB_MIGRATED, DEFRAG_END)
    assert [trace.counts[kind] for kind in kinds] == [1, 9, 9, 9, 1]
    assert trace.notable[-1][3:] == (DEFRAG_END, it.cache.id, 9, 9, 0)
    assert it.slub.ledger.totals.slabs_freed == 9
    assert it.slub.ledger.last() is done
    assert done.sentence() == "index: 9 slabs freed, 18 pages returned, for 9 objects moved."
    assert dict(done.price())["grace periods waited for"] == 1


def test_a_barrier_for_every_object_costs_a_grace_period_for_every_object() -> None:
    waited = {}
    for barrier in (BARRIER_OBJECT, BARRIER_SLAB, BARRIER_PASS):
        it = index(through_rcu=True, barrier=barrier)
        it.fill(slabs=10, keep=2)
        waited[barrier] = it.cache.defrag(30).grace_periods
    assert waited == {BARRIER_OBJECT: 16, BARRIER_SLAB: 8, BARRIER_PASS: 1}


def test_batch_holds_the_slab_lock_longer_and_less_often() -> None:
    figures = {}
    for batch in (True, False):
        it = index(batch=batch)
        it.fill(slabs=10, keep=4)
        done = it.cache.defrag(30)
        figures[batch] = (done.holds, done.longest_hold_ns, len(it.asked[0]))
    assert figures[True][0] * 4 == figures[False][0]
    assert figures[True][1] > 3 * figures[False][1]
    assert (figures[True][2], figures[False][2]) == (4, 1)


def test_sparsest_slabs_go_first_and_fill_the_fullest() -> None:
    it = index()
    n = it.cache.objs_per_slab
    for key in range(4 * n):
        it.insert(key)
    for slab, keep in enumerate((3, 12, 1, 2)):
        for key in range(slab * n + keep, (slab + 1) * n):
            it.remove(key)
    target = it.at[n] >> 13
    done = it.cache.defrag(30)
    assert [len(objects) for objects in it.asked] == [1, 2]  # then three would only move on to where there is no room
    assert it.at[2 * n] >> 13 == target
    assert done.slabs_freed == 2
    assert done.steps[-1][0] != 0
    it.check()


def test_dense_slabs_and_the_ratio() -> None:
    it = index()
    it.fill(slabs=8, keep=5)  # 5 of 14 is more than 30 %
    assert it.cache.defrag(30).slabs_isolated == 0
    assert it.cache.defrag(36).slabs_freed == 5
    it.check()


def test_one_busy_object_pins_the_slab() -> None:
    """All or nothing: the slab is left alone, no reference taken, and fills up again from the list's tail."""
    it = index()
    it.fill(slabs=4, keep=3)
    it.remove(2)  # the sparsest is asked first
    busy = it.at[0]
    it.cell(busy).refs = 2
    done = it.cache.defrag(30)
    assert done.refused[REFUSED_REFERENCED] == 1
    assert done.slabs_left == 1
    assert it.slub.smp.trace.counts[SLAB_ISOLATE_REFUSED] == 1
    slab = it.slub.virt_to_slab(busy)
    assert slab is not None
    assert it.cache.node.partial.tail is slab
    assert it.cache.object_states(slab)[0] == OBJ_BUSY
    assert [row[5] for row in it.cache.slab_rows() if row[0] == slab.pfn] == [REFUSED_REFERENCED]
    assert it.at[1] >> 13 == busy >> 13  # its neighbour stays too
    assert it.cell(it.at[1]).refs == 1
    it.cell(busy).refs = 1
    it.check()
    assert "Slab 0x" in done.story()[2]
    assert any("left alone: referenced (object 0x" in line for line in done.story())


def test_partial_mode_moves_what_can_move() -> None:
    it = index(all_or_nothing=False)
    it.fill(slabs=4, keep=3)
    it.remove(2)
    busy = it.at[0]
    it.cell(busy).refs = 2
    done = it.cache.defrag(30)
    assert it.at[0] == busy
    assert it.at[1] >> 13 != busy >> 13
    assert done.refused[REFUSED_REFERENCED] == 1
    assert done.slabs_left == 1
    it.cell(busy).refs = 1
    it.check()


@pytest.mark.parametrize("batch", [True, False])
def test_no_memory_for_the_replacement_leaves_everything(batch: bool) -> None:
    it = index(batch=batch)
    it.fill(slabs=3, keep=1)
    it.no_memory = True
    done = it.cache.defrag(30)
    assert (done.slabs_freed, done.objects_moved) == (0, 0)
    assert done.refused[REFUSED_NO_MEMORY] == done.slabs_isolated == done.slabs_left > 0
    it.check()


def test_objects_that_nobody_mentions_are_left_and_said_so() -> None:
    it = index()
    it.cache.setup_mobility(lambda objects: 1, lambda objects, private: None)
    it.fill(slabs=3, keep=1)
    done = it.cache.defrag(30)
    assert done.refused[REFUSED_LEFT] == 2
    it.cache.setup_mobility(lambda objects: None, lambda objects, private: None)
    assert it.cache.defrag(30).refused[REFUSED_IN_USE] == 2


def test_callbacks_that_report_nothing_are_counted_all_the_same() -> None:
    """Without object_moved and object_evicted: what was allocated meanwhile replaces what is gone."""
    it = index()

    def evict(objects: list[int], private: object) -> None:
        for obj in objects:
            del it.at[it.cell(obj).key]
            it.cell(obj).refs = 0
            it.cache.free(obj)

    it.cache.setup_mobility(None, evict)
    it.fill(slabs=3, keep=2)
    done = it.cache.defrag(30)
    # What is thrown away needs no room elsewhere: all three slabs go.
    assert (done.objects_moved, done.objects_evicted, done.slabs_freed) == (0, 6, 3)


def test_a_locked_slab_is_skipped() -> None:
    it = index()
    it.fill(slabs=3, keep=2)
    it.remove(1)
    it.cache.flush_all()
    slab = it.slub.virt_to_slab(it.at[0])
    assert slab is not None
    lock = slab.slab_lock()
    lock.owner = it.slub.smp.cpus[1]
    done = it.cache.defrag(30)
    assert done.refused[REFUSED_LOCKED] == 1
    lock.owner = None
    it.check()


def test_a_cache_without_constructor_cannot_become_movable() -> None:
    cache = kernel().create_cache("plain", 64)
    with pytest.raises(ValueError, match="has no constructor"):
        cache.setup_mobility(None, lambda objects, private: None)
    done = cache.defrag(30)
    assert done.sentence() == "plain: the cache is not movable."


def test_mobility_can_be_taken_back() -> None:
    it = index()
    it.fill(slabs=3, keep=1)
    it.cache.remove_mobility()
    assert it.cache.defrag(100).slabs_freed == 0
    assert it.cache.shrink() == 0
    assert it.slub.mobility.kmem_defrag_slabs(30, 0) == []


def test_background_rules_more_than_ten_partial_slabs() -> None:
    it = index()
    it.slub.create_cache("immovable", 64)
    assert it.slub.slab_caches[0] is it.cache
    it.fill(slabs=10, keep=1)
    it.cache.flush_all()
    assert it.slub.mobility.kmem_defrag_slabs() == []
    for key in range(1000, 1000 + 14):
        it.insert(key)
    for key in range(1001, 1000 + 14):
        it.remove(key)
    it.cache.flush_all()
    it.fill(slabs=20, keep=1)
    it.cache.flush_all()
    assert it.cache.node.partial.nr > 10
    assert it.slub.mobility.kmem_defrag_slabs(0) == []
    (done,) = it.slub.mobility.kmem_defrag_slabs()
    assert done.ratio == 30
    assert done.slabs_freed > 10


def test_background_task_works_beside_others_and_can_be_stopped() -> None:
    it = index()
    smp = it.slub.smp
    it.slub.mobility.background(True)
    it.slub.mobility.background(True)
    assert [task.name for task in smp.cpus[1].queue] == ["kslabdefragd"]

    def work() -> None:
        it.fill(slabs=40, keep=1)
        it.cache.flush_all()
        for _ in range(20):
            smp.sleep_for("work", 100_000_000)

    smp.run_task(0, "work", work)
    assert it.slub.ledger.totals.slabs_freed >= 36
    it.check()
    it.slub.mobility.background(False)
    smp.run_task(0, "wait", lambda: smp.sleep_for("wait", 200_000_000))
    assert smp.cpus[1].queue == []


def test_evacuating_a_pageblock_empties_just_that_block() -> None:
    it = index()
    n = it.cache.objs_per_slab
    for key in range(300 * n):
        it.insert(key)
    block = it.at[150 * n] >> 21
    inside = [slab for slab in it.cache.slabs.values() if slab.pfn >> 9 == block]
    outside = [slab.pfn for slab in it.cache.slabs.values() if slab.pfn >> 9 != block]
    assert inside
    assert any(slab.inuse == slab.objects for slab in inside)
    (done,) = it.slub.mobility.evacuate_block(block)
    assert done.slabs_freed == len(inside)
    assert done.refusals() == 0
    assert set(outside) <= set(it.cache.slabs)
    assert not {slab.pfn for slab in inside} & set(it.cache.slabs) or block in {pfn >> 9 for pfn in it.cache.slabs}
    assert done.story()[0] == f"Pageblock {block} holds {len(inside)} slabs of this cache."
    it.check()


def test_evacuate_page_is_compactions_hook() -> None:
    it = index()
    it.fill(slabs=3, keep=1)
    pfn = it.at[0] >> 12
    assert it.slub.mobility.evacuate_page(pfn)
    assert pfn not in it.slub.slab_of_page
    assert not it.slub.mobility.evacuate_page(pfn)  # not a slab's any more
    obj = it.at[0]
    it.cell(obj).refs = 2
    assert not it.slub.mobility.evacuate_page(obj >> 12)
    it.cell(obj).refs = 1
    it.check()


def test_a_request_gets_its_block_emptied() -> None:
    it = index()
    n = it.cache.objs_per_slab
    for key in range(200 * n):
        it.insert(key)
    freed = it.slub.mobility.defrag_for_request(3)
    assert freed == 8  # one block of eight frames: four slabs of two frames
    it.check()


def test_a_request_looks_only_at_blocks_that_movable_slabs_alone_pin() -> None:
    it = index()
    n = it.cache.objs_per_slab
    pages = it.slub.page_alloc
    pinned = it.slub.create_cache("pinned", 2048)
    for key in range(100 * n):
        it.insert(key)
        if key % (25 * n) == 0:
            assert pages.alloc_pages(0) is not None
            assert pinned.alloc() is not None
    owner = pages.mem.owner
    targets = it.slub.mobility.promising(16)
    assert targets
    for first in targets:
        assert set(owner[first : first + 16]) <= {OWNER_FREE, OWNER_PCP, OWNER_SLAB}
        slabs = {it.slub.slab_of_page[pfn].cache for pfn in range(first, first + 16) if pfn in it.slub.slab_of_page}
        assert slabs == {it.cache}
    used = [16 - owner[first : first + 16].count(OWNER_FREE) for first in targets]
    assert used[0] == min(used)
    # A block with free frames may get the replacements themselves; then the next one is tried, until one is empty.
    assert it.slub.mobility.defrag_for_request(4) >= 8
    assert any(it.slub.mobility.slabs_in(first, 16) == 0 for first in targets)
    it.check()


@pytest.mark.parametrize("seed", range(6))
def test_a_request_waits_for_the_pass_of_somebody_else(seed: int) -> None:
    it = index(through_rcu=True)
    it.slub.smp.scheduler = RandomScheduler(seed)
    n = it.cache.objs_per_slab
    for key in range(200 * n):
        it.insert(key)
    smp, freed = it.slub.smp, []

    def request() -> None:
        smp.sleep_until("a pass under way", it.slub.mobility.under_way)
        freed.append(it.slub.mobility.defrag_for_request(3))

    def evacuate() -> None:
        it.slub.mobility.evacuate_page(it.at[0] >> 12)  # an rcu_barrier in the middle of it

    smp.spawn(0, "kcompactd", evacuate)
    smp.spawn(1, "request", request)
    smp.run(None)
    assert freed == [8]  # one block of eight frames, though the cache was busy when it was asked for
    it.check()


def test_the_story_counts_as_people_do() -> None:
    assert step_sentence((STEP_ISOLATE, 0x200, 1, 1)) == (
        "Slab 0x200 isolated: its only object gets a reference; nobody may allocate from it now."
    )
    assert step_sentence((STEP_ISOLATE, 0x200, 1, 7)).startswith("Slab 0x200 isolated: 1 of 7 objects get")
    assert step_sentence((STEP_MIGRATE, 0x200, 1, 1)) == "Slab 0x200: its object left it."
    assert step_sentence((STEP_MIGRATE, 0x200, 7, 7)) == "Slab 0x200: all 7 objects left it."
    assert step_sentence((STEP_MIGRATE, 0x200, 0, 7)) == "Slab 0x200: none of 7 objects left it."
