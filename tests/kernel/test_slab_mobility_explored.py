"""The two-phase protocol against users on other CPUs: sound variants hold on every schedule, unsound ones are caught.

A case is small: two or three CPUs, slabs of three or four objects, every scheduling point an opportunity to switch.
"""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from memviz.kernel.explore import Verdict, attempt, search_pct, search_random
from memviz.kernel.mmzone import PageAllocConfig
from memviz.kernel.page import GFP_ATOMIC, PageFrames
from memviz.kernel.page_alloc import PageAlloc
from memviz.kernel.rcu import Rcu
from memviz.kernel.schedule import RandomScheduler, Replay, Scheduler
from memviz.kernel.slab_mobility import (
    BARRIER_NONE,
    BARRIER_OBJECT,
    BARRIER_PASS,
    BARRIER_SLAB,
    FREE_BLOCKS,
    FREE_SPINS,
    GUARANTEE_BOTH,
    GUARANTEE_RCU,
    GUARANTEE_REFCOUNT,
    REFUSED_REFERENCED,
    MobilityOptions,
)
from memviz.kernel.slub import KmemCache, Slub, SlubConfig
from memviz.kernel.smp import Smp
from memviz.kernel.smp_threads import ThreadedSmp
from memviz.kernel.spinlock import SpinLock
from memviz.kernel.trace import Trace

FRONT_ENDS = ("classic", "sheaves")
SIZE = 8000  # four objects to a slab of order 3


class Cell:
    """Content of an object. ``refs`` 0: constructed state."""

    def __init__(self, addr: int) -> None:
        self.key = -1
        self.refs = 0
        self.value = 0


class Index:
    """Objects found by key under a lock; a lookup takes a reference and so does isolate.

    ``sound`` off: isolate takes no reference and migrate doesn't look whether the object is still there, as if what
    was found once stayed. ``gfp``: how migrate allocates.
    """

    def __init__(
        self, slub: Slub, options: MobilityOptions, through_rcu: bool, sound: bool = True, size: int = SIZE
    ) -> None:
        self.slub = slub
        self.smp = slub.smp
        self.cache: KmemCache = slub.create_cache("index", size, ctor=Cell)
        self.cache.setup_mobility(self.isolate, self.migrate, options)
        self.gfp = GFP_ATOMIC if options.guarantee == GUARANTEE_RCU else 0xCC0
        self.lock = SpinLock(slub.smp, "index lock")
        self.ref_lock = SpinLock(slub.smp, "references")  # stands for atomic_t: never held while another is taken
        self.through_rcu = through_rcu
        self.sound = sound
        self.at: dict[int, int] = {}

    def cell(self, obj: int) -> Cell:
        cell = self.cache.content(obj)
        assert isinstance(cell, Cell)
        return cell

    def insert(self, key: int) -> None:
        obj = self.cache.alloc()
        assert obj is not None
        self.smp.point("allocated, not yet inserted")
        cell = self.cell(obj)
        assert (cell.key, cell.refs) == (-1, 0), f"object {obj:#x} is handed out while somebody uses it"
        cell.key = key
        cell.value = key * 7
        self.lock.lock()
        cell.refs = 1
        self.at[key] = obj
        self.lock.unlock()

    def remove(self, key: int) -> None:
        self.lock.lock()
        obj = self.at.pop(key)
        self.lock.unlock()
        self.put(obj)

    def lookup(self, key: int) -> None:
        """Take a reference, look, drop it."""
        self.lock.lock()
        obj = self.at.get(key, 0)
        if obj:
            self.cell(obj).refs += 1
        self.lock.unlock()
        if obj:
            self.smp.point("uses the object")
            assert self.cell(obj).value == key * 7, f"the object of key {key} holds {self.cell(obj).value}"
            self.put(obj)

    def put(self, obj: int) -> None:
        self.smp.point("put")
        cell = self.cell(obj)
        cell.refs -= 1
        if cell.refs == 0:
            cell.key = -1
            cell.value = 0
            if self.through_rcu:
                self.cache.note_rcu(obj)
                self.slub.rcu.call_rcu(self.cache.free, obj)
            else:
                self.cache.free(obj)

    def isolate(self, objects: list[int]) -> object:
        if not self.sound:
            return 1
        mobility = self.cache.mobility
        assert mobility is not None
        for obj in objects:
            if self.cell(obj).refs != 1:
                mobility.refuse(obj, REFUSED_REFERENCED)
                return None
        for obj in objects:
            self.cell(obj).refs += 1  # no point since the check: inc_not_zero
        return self

    def migrate(self, objects: list[int], private: object) -> None:
        for old in objects:
            new = self.cache.alloc(self.gfp)
            assert new is not None
            self.smp.point("has a replacement")
            self.lock.lock()
            cell = self.cell(old)
            if self.sound:
                # Ours and the index's reference: nobody else looks at it, and it is still in the index.
                move = cell.refs == 2 and self.at.get(cell.key) == old
            else:
                move = cell.key >= 0
            if move:
                copy = self.cell(new)
                copy.key, copy.value, copy.refs = cell.key, cell.value, 1
                self.at[cell.key] = new
            self.lock.unlock()
            if not move:
                self.cache.free(new)
            elif self.sound:
                self.put(old)
            if self.sound:
                self.put(old)
            else:
                cell.key, cell.refs, cell.value = -1, 0, 0
                self.cache.free(old)

    def check(self, keys: set[int]) -> None:
        self.slub.rcu.rcu_barrier()
        self.slub.check()
        assert set(self.at) == keys, f"keys {sorted(keys ^ set(self.at))} are lost or duplicated"
        assert len(set(self.at.values())) == len(keys)
        for key, obj in self.at.items():
            assert (self.cell(obj).key, self.cell(obj).value, self.cell(obj).refs) == (key, key * 7, 1)
        stats = self.cache.stats()
        assert stats.active == len(keys), f"{stats.active} objects in use for {len(keys)} keys"


def build(
    smp: Smp, front_end: str, options: MobilityOptions, through_rcu: bool, sound: bool = True, size: int = SIZE
) -> Index:
    pages = PageAlloc(PageFrames(16 * 256), smp, PageAllocConfig())
    slub = Slub(pages, Rcu(smp, jiffy_ns=0), smp, SlubConfig(front_end, checked=True))
    return Index(slub, options, through_rcu, sound, size)


def scene(scheduler: Scheduler, index: Index, tasks: int = 3) -> None:
    """Four slabs, half used; one CPU defragments while others remove, look up and insert."""
    smp = index.smp
    for key in range(16):
        index.insert(key)
    for key in range(16):
        if key % 4 >= 2:
            index.remove(key)
    index.slub.rcu.rcu_barrier()
    index.cache.flush_all()

    def remover() -> None:
        for key in (12, 8, 5):
            index.remove(key)
            smp.cond_resched()

    def user() -> None:
        index.lookup(13)
        index.insert(100)
        smp.cond_resched()
        index.lookup(9)

    smp.spawn(0, "defrag", lambda: [index.cache.defrag(80), None][1])
    smp.spawn(1, "remover", remover)
    if tasks > 2:
        smp.spawn(2, "user", user)
    smp.run(None)
    index.check({0, 1, 4, 9, 13} | ({100} if tasks > 2 else set()))


def search(front_end: str, options: MobilityOptions, through_rcu: bool, sound: bool, schedules: int) -> Verdict:
    def case(scheduler: Scheduler) -> None:
        smp = Smp(3, Trace(), RandomScheduler(0))
        index = build(smp, front_end, options, through_rcu, sound)
        smp.scheduler = scheduler
        scene(scheduler, index)

    half = schedules // 2
    verdict = search_random(case, half)
    if verdict.failure is None:
        verdict = search_pct(case, half, 3)
    if verdict.failure is not None:
        _, again, rule = attempt(case, Replay(verdict.schedule))
        # The schedule repeats it (what pytest adds to a failed assert holds addresses of this process).
        assert (again or "").splitlines()[0] == verdict.failure.splitlines()[0]
        assert rule == verdict.rule
    return verdict


SOUND = [
    (front_end, through_rcu, batch, all_or_nothing, guarantee, barrier, isolate_all)
    for front_end in FRONT_ENDS
    for through_rcu, batch, all_or_nothing, guarantee, barrier, isolate_all in (
        (False, True, True, GUARANTEE_BOTH, BARRIER_PASS, False),
        (True, True, True, GUARANTEE_BOTH, BARRIER_PASS, False),
        (True, True, False, GUARANTEE_REFCOUNT, BARRIER_SLAB, True),
        (True, False, False, GUARANTEE_BOTH, BARRIER_OBJECT, False),
        (False, False, True, GUARANTEE_RCU, BARRIER_NONE, False),
        (True, True, True, GUARANTEE_RCU, BARRIER_PASS, True),
    )
]


@pytest.mark.parametrize(
    ("front_end", "through_rcu", "batch", "all_or_nothing", "guarantee", "barrier", "isolate_all"), SOUND
)
def test_sound_variants_hold_on_every_schedule_tried(
    front_end: str,
    through_rcu: bool,
    batch: bool,
    all_or_nothing: bool,
    guarantee: int,
    barrier: int,
    isolate_all: bool,
) -> None:
    options = MobilityOptions(batch, all_or_nothing, guarantee, barrier, FREE_SPINS, isolate_all)
    verdict = search(front_end, options, through_rcu, True, 100)
    assert verdict.failure is None, f"{verdict.failure} (seed {verdict.seed})"


@pytest.mark.parametrize("front_end", FRONT_ENDS)
def test_without_references_an_object_is_freed_twice_or_lost(front_end: str) -> None:
    verdict = search(front_end, MobilityOptions(), False, False, 400)
    assert verdict.failure is not None
    assert verdict.rule in ("double free", "use after free", "free of a wrong address", "check failed"), verdict.failure


def test_a_free_that_blocks_in_softirq_deadlocks_with_rcu_barrier() -> None:
    """The thread's race: CPU B frees from an RCU callback into the slab that CPU C has isolated."""
    options = MobilityOptions(free_meets=FREE_BLOCKS, barrier=BARRIER_SLAB)
    verdict = search("sheaves", options, True, True, 200)
    assert verdict.rule == "deadlock", verdict
    assert "defrag at rcu_barrier" in (verdict.failure or "")


@pytest.mark.parametrize(("through_rcu", "barrier"), [(False, BARRIER_PASS), (True, BARRIER_NONE)])
def test_a_free_that_blocks_just_waits_where_the_pass_waits_for_nothing(through_rcu: bool, barrier: int) -> None:
    options = MobilityOptions(free_meets=FREE_BLOCKS, barrier=barrier)
    assert search("sheaves", options, through_rcu, True, 100).failure is None


def test_sheaves_that_nobody_looks_after_hand_out_objects_of_an_isolated_slab() -> None:
    options = MobilityOptions(guard_sheaves=False, isolate_all=True)
    verdict = search("sheaves", options, False, True, 600)
    assert verdict.rule == "allocation from an isolated slab"


@pytest.mark.parametrize("front_end", FRONT_ENDS)
@pytest.mark.parametrize("through_rcu", [False, True])
def test_evacuating_any_page_while_others_allocate_and_free(front_end: str, through_rcu: bool) -> None:
    """Compaction comes at any moment: slabs that a CPU has just made, filled, or is about to give back."""

    def case(scheduler: Scheduler) -> None:
        smp = Smp(3, Trace(), RandomScheduler(0))
        # Eight objects to a slab, four to a sheaf: a new slab is taken in two steps. No empty slab is kept.
        index = build(smp, front_end, MobilityOptions(), through_rcu, size=4088)
        index.cache.min_partial = 0
        smp.scheduler = scheduler

        def evacuate() -> None:
            for _ in range(12):
                for pfn in list(index.slub.slab_of_page)[::8]:
                    index.slub.mobility.evacuate_page(pfn)
                smp.cond_resched()

        def churn(base: int) -> None:
            for key in range(base, base + 24):
                index.insert(key)
            for key in range(base, base + 24):
                if key % 8:
                    index.remove(key)
                smp.cond_resched()

        smp.spawn(0, "evacuate", evacuate)
        smp.spawn(1, "churn 1", lambda: churn(0))
        smp.spawn(2, "churn 2", lambda: churn(100))
        smp.run(None)
        index.check({0, 8, 16, 104, 112, 120})

    for verdict in (search_random(case, 60), search_pct(case, 30, 3)):
        assert verdict.failure is None, f"{verdict.failure} (seed {verdict.seed})"


def test_blocked_frees_are_counted_with_their_time() -> None:
    """A CPU that frees into a slab while isolate holds its lock spins, and the pass is charged for it."""
    blocked = 0
    for seed in range(200):
        smp = Smp(3, Trace(), RandomScheduler(seed))
        index = build(smp, "sheaves", MobilityOptions(), False)
        scene(smp.scheduler, index)
        totals = index.slub.ledger.totals
        assert (totals.cpus_blocked > 0) == (totals.blocked_ns > 0)
        blocked += totals.cpus_blocked
    assert blocked > 0


def test_same_seed_same_story() -> None:
    def story(seed: int) -> tuple[list[str], int]:
        smp = Smp(3, Trace(), RandomScheduler(seed))
        index = build(smp, "sheaves", MobilityOptions(), True)
        scene(smp.scheduler, index)
        last = index.slub.ledger.last()
        assert last is not None
        return last.story(), smp.now

    assert story(3) == story(3)
    assert story(3) != story(4)


@pytest.mark.parametrize("front_end", FRONT_ENDS)
@pytest.mark.parametrize("through_rcu", [False, True])
def test_over_os_threads(front_end: str, through_rcu: bool) -> None:
    smp = ThreadedSmp(3, Trace())
    index = build(smp, front_end, MobilityOptions(), through_rcu)
    keys = [{cpu * 1000 + key for key in range(60)} for cpu in range(3)]

    def worker(cpu: int) -> None:
        for key in sorted(keys[cpu]):
            index.insert(key)
        for key in sorted(keys[cpu]):
            if key % 3:
                index.remove(key)
                keys[cpu].discard(key)
            smp.cond_resched()

    def defrag() -> None:
        for _ in range(5):
            index.cache.defrag(60)
            smp.cond_resched()

    smp.spawn(0, "defrag", defrag)
    for cpu in (1, 2):
        smp.spawn(cpu, f"worker {cpu}", lambda cpu=cpu: worker(cpu))  # type: ignore[misc]
    smp.run(None)
    index.check(keys[1] | keys[2])
    index.cache.shrink()
    index.check(keys[1] | keys[2])


@pytest.mark.parametrize("front_end", FRONT_ENDS)
def test_acceptance_table_over_os_threads(front_end: str) -> None:
    smp = ThreadedSmp(2, Trace())
    index = build(smp, front_end, MobilityOptions(), False)
    n = index.cache.objs_per_slab
    seen: list[tuple[int, ...]] = []

    def body() -> None:
        for key in range(n + 1):
            index.insert(key)
        seen.append(index.cache.stats()[:5])
        index.remove(0)
        seen.append(index.cache.stats()[:5])

    smp.spawn(1, "body", body)
    smp.run(None)
    index.cache.shrink()
    seen.append(index.cache.stats()[:5])
    assert seen == [(n + 1, 2 * n, 1, 1, 2), (n, 2 * n, 2, 0, 2), (n, n, 0, 1, 1)]


COMMANDS = st.lists(
    st.one_of(
        st.tuples(st.just("insert"), st.integers(0, 40)),
        st.tuples(st.just("remove"), st.integers(0, 40)),
        st.tuples(st.sampled_from(["defrag", "evacuate"]), st.integers(0, 100)),
        st.tuples(st.sampled_from(["shrink", "flush", "barrier", "kmem_defrag_slabs"]), st.just(0)),
    ),
    max_size=60,
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(
    front_end=st.sampled_from(FRONT_ENDS),
    through_rcu=st.booleans(),
    batch=st.booleans(),
    all_or_nothing=st.booleans(),
    barrier=st.sampled_from([BARRIER_NONE, BARRIER_OBJECT, BARRIER_SLAB, BARRIER_PASS]),
    isolate_all=st.booleans(),
    commands=COMMANDS,
    seed=st.integers(0, 1000),
)
def test_any_commands_on_two_cpus_keep_every_object(
    front_end: str,
    through_rcu: bool,
    batch: bool,
    all_or_nothing: bool,
    barrier: int,
    isolate_all: bool,
    commands: list[tuple[str, int]],
    seed: int,
) -> None:
    """One CPU runs the commands, the other inserts and removes keys of its own all the while."""
    smp = Smp(2, Trace(), RandomScheduler(seed))
    options = MobilityOptions(batch, all_or_nothing, GUARANTEE_BOTH, barrier, FREE_SPINS, isolate_all)
    index = build(smp, front_end, options, through_rcu)
    keys: set[int] = set()

    def one(name: str, number: int) -> None:
        if name == "insert" and number not in keys:
            index.insert(number)
            keys.add(number)
        elif name == "remove" and number in keys:
            index.remove(number)
            keys.discard(number)
        elif name == "defrag":
            index.cache.defrag(number)
        elif name == "evacuate" and keys:
            index.slub.mobility.evacuate_page(index.at[min(keys)] >> 12)
        elif name == "shrink":
            index.cache.shrink()
        elif name == "flush":
            index.cache.flush_all()
        elif name == "barrier":
            index.slub.rcu.rcu_barrier()
        else:
            index.slub.mobility.kmem_defrag_slabs(50, 0)
        smp.cond_resched()

    def commander() -> None:
        for name, number in commands:
            one(name, number)

    def bystander() -> None:
        for key in range(100, 112):
            index.insert(key)
            index.lookup(key)
            if key % 3:
                index.remove(key)
            smp.cond_resched()

    smp.spawn(0, "commander", commander)
    smp.spawn(1, "bystander", bystander)
    smp.run(None)
    index.check(keys | {102, 105, 108, 111})
    index.cache.shrink()
    index.check(keys | {102, 105, 108, 111})
