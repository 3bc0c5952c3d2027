"""What the two-phase protocol forbids is reported by name; objects of an isolated slab can only leave it."""

from __future__ import annotations

import pytest

from memviz.kernel.page import GFP_ATOMIC
from memviz.kernel.slab import OBJ_ISOLATED, OBJ_MOVING, SLAB_ISOLATED, SLAB_MIGRATING
from memviz.kernel.slab_mobility import (
    GUARANTEE_RCU,
    REFUSED_REFERENCED,
    MobilityOptions,
)
from memviz.kernel.smp import KernelBug
from memviz.kernel.spinlock import SpinLock
from tests.kernel.movable_index import FRONT_ENDS, index, run


class TestRules:
    """What the contract forbids is reported by name, with the CPUs' stacks."""

    @pytest.mark.parametrize("call", ["alloc", "free"])
    @pytest.mark.parametrize("front_end", FRONT_ENDS)
    def test_slab_call_inside_isolate(self, call: str, front_end: str) -> None:
        it = index(front_end)
        other = it.slub.create_cache("other", 64)

        def isolate(objects: list[int]) -> object:
            if call == "alloc":
                other.alloc(GFP_ATOMIC)
            else:
                it.cache.free(objects[0])
            return 1

        it.cache.setup_mobility(isolate, it.migrate)
        it.fill(slabs=3, keep=1)
        with pytest.raises(KernelBug, match="slab call inside isolate: isolate of index calls") as caught:
            it.cache.defrag(30)
        assert "index slab_lock" in caught.value.stacks[0]

    def test_sleeping_inside_isolate(self) -> None:
        it = index()

        def isolate(objects: list[int]) -> object:
            it.slub.smp.sleep_for("a nap", 1000)
            return 1

        it.cache.setup_mobility(isolate, it.migrate)
        it.fill(slabs=3, keep=1)
        with pytest.raises(KernelBug, match=r"invalid context: a nap on CPU 0 with .*index slab_lock"):
            run(it, lambda: it.cache.defrag(30))

    def test_migrate_in_a_read_side_section_must_not_sleep(self) -> None:
        """Holding the RCU read lock for the whole of the processing: the thread doubts that we can."""
        it = index(guarantee=GUARANTEE_RCU)
        it.fill(slabs=3, keep=1)
        with pytest.raises(KernelBug, match="sleeping function called from invalid context: kmem_cache_alloc"):
            it.cache.defrag(30)

    def test_migrate_must_drop_its_locks(self) -> None:
        it = index()
        lock = SpinLock(it.slub.smp, "index lock")
        it.cache.setup_mobility(None, lambda objects, private: lock.lock())
        it.fill(slabs=3, keep=1)
        with pytest.raises(KernelBug, match=r"migrate returned in atomic context: .* left with index lock held"):
            it.cache.defrag(30)

    def test_allocating_from_an_isolated_slab(self) -> None:
        """Sheaves that are not looked after hand out objects of a slab that is exempt."""
        it = index()
        options = MobilityOptions(guard_sheaves=False, flush_first=False)
        it.cache.setup_mobility(None, lambda objects, private: it.insert(999), options)
        it.fill(slabs=2, keep=2)
        slab = it.slub.virt_to_slab(it.at[it.cache.objs_per_slab])
        assert slab is not None
        mobility = it.cache.mobility
        assert mobility is not None
        with pytest.raises(KernelBug, match="allocation from an isolated slab"):
            mobility.evacuate([slab])

    def test_looked_after_sheaves_return_objects_of_an_isolated_slab(self) -> None:
        it = index()
        it.cache.setup_mobility(None, lambda objects, private: it.insert(999), MobilityOptions(flush_first=False))
        it.fill(slabs=2, keep=2)
        slab = it.slub.virt_to_slab(it.at[it.cache.objs_per_slab])
        assert slab is not None
        mobility = it.cache.mobility
        assert mobility is not None
        mobility.evacuate([slab])
        assert it.slub.virt_to_slab(it.at[999]) is not slab
        it.check()

    def test_without_a_flush_free_objects_look_like_used_ones(self) -> None:
        """A pass that doesn't flush asks the user about objects that sit free in a sheaf."""
        it = index(flush_first=False)
        it.fill(slabs=2, keep=2)
        slab = it.slub.virt_to_slab(it.at[0])
        assert slab is not None
        mobility = it.cache.mobility
        assert mobility is not None
        assert mobility.evacuate([slab]).refused[REFUSED_REFERENCED] == 1
        assert len(it.asked[0]) == 14

    def test_defragmenting_in_atomic_context(self) -> None:
        it = index()
        it.slub.smp.irq_disable()
        with pytest.raises(KernelBug, match="slab defragmentation on CPU 0"):
            it.cache.defrag(30)


def test_while_a_slab_is_isolated_objects_can_only_leave_it() -> None:
    it = index()
    it.fill(slabs=3, keep=2)
    seen: list[tuple[int, bytes, int]] = []

    def look(objects: list[int], private: object) -> None:
        slab = it.slub.virt_to_slab(objects[0])
        assert slab is not None
        states = it.cache.object_states(slab)
        (row,) = [row for row in it.cache.slab_rows() if row[0] == slab.pfn]
        seen.append((row[4], states[:2], it.cache.stats().slabs))
        again = [it.cache.alloc() for _ in range(50)]
        assert all(obj is not None and it.slub.virt_to_slab(obj) is not slab for obj in again)
        for obj in again:
            it.cache.free(obj or 0)
        it.migrate(objects, private)

    def ask(objects: list[int]) -> object:
        slab = it.slub.virt_to_slab(objects[0])
        assert slab is not None
        (row,) = [row for row in it.cache.slab_rows() if row[0] == slab.pfn]
        seen.append((row[4], it.cache.object_states(slab)[:2], it.cache.stats().slabs))
        return it.isolate(objects)

    it.cache.setup_mobility(ask, look)
    it.cache.defrag(30)
    isolated, moving = bytes([OBJ_ISOLATED] * 2), bytes([OBJ_MOVING] * 2)
    assert seen[:2] == [(SLAB_ISOLATED, isolated, 3), (SLAB_MIGRATING, moving, 3)]
    it.check()
