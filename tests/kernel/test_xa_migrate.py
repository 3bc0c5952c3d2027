"""Moving an xa_node: the copy is the node in everything but its address, whoever looks, whatever happens meanwhile."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

import pytest

from memviz.kernel.explore import search_all, search_pct, search_random
from memviz.kernel.machine import Machine, MachineConfig
from memviz.kernel.mmzone import PageAllocConfig
from memviz.kernel.page import GFP_KERNEL, PageFrames
from memviz.kernel.page_alloc import PageAlloc
from memviz.kernel.rcu import Rcu
from memviz.kernel.schedule import RandomScheduler, Scheduler
from memviz.kernel.slab import SlubConfig
from memviz.kernel.slub import Slub
from memviz.kernel.smp import Smp
from memviz.kernel.spinlock import SpinLock
from memviz.kernel.trace import Trace
from memviz.kernel.xa_migrate import XaMigrate
from memviz.kernel.xa_node import XA_RCU_FREE, XaNode
from memviz.kernel.xa_slab import SlabNodeCache
from memviz.kernel.xarray import XArray, XaState, value


class Kernel:
    """Just enough of a machine for nodes to live in slabs."""

    def __init__(self, scheduler: Scheduler | None = None, cpus: int = 3) -> None:
        self.smp = Smp(cpus, Trace(), scheduler if scheduler is not None else RandomScheduler(1))
        self.rcu = Rcu(self.smp, jiffy_ns=0)
        pages = PageAlloc(PageFrames(32 * 256), self.smp, PageAllocConfig())
        self.slub = Slub(pages, self.rcu, self.smp, SlubConfig("classic"))
        self.nodes = SlabNodeCache(self.slub, self.rcu, 0)
        self.mover = XaMigrate(self.nodes, self.smp, self.rcu)
        self.errors: list[str] = []

    def array(self, name: str, flags: str = "none") -> XArray:
        return XArray(flags, self.nodes, SpinLock(self.smp, name), self.smp, self.rcu, name)

    def run(self, *bodies: Callable[[], None]) -> None:
        for cpu, body in enumerate(bodies):
            self.smp.spawn(cpu, body.__name__, body)
        self.smp.run(None)
        self.rcu.drain()
        assert self.errors == []

    def in_use(self) -> int:
        self.rcu.drain()
        return self.nodes.cache.stats().active


def mixed(kernel: Kernel, flags: str = "none") -> XArray:
    """Values, pointers, ranges, reservations, marks, on several levels."""
    xa = kernel.array("mixed", flags)
    for index in (0, 1, 5, 63, 64, 100, 4096, 300_000, 2**40):
        xa.store(index, f"p{index}")
        xa.store(index + 1_000_000, value(index))
        xa.set_mark(index, 1)
    xa.store(8192, "huge", order=9)
    xa.store(16, value(16), order=3)
    xa.reserve(77)
    xa.set_mark(8200, 2)
    return xa


class TestOneNode:
    @pytest.mark.parametrize("flags", ["none", "alloc"])
    def test_every_node_of_a_tree_can_move_and_the_tree_is_the_same(self, flags: str) -> None:
        kernel = Kernel()
        xa = mixed(kernel, flags)
        before = xa.dump()
        nodes = xa.nodes_in_tree()
        in_use = kernel.in_use()
        assert len(nodes) == in_use
        for node in nodes:
            assert kernel.mover.xa_object_migrate(node)
            assert node.array is XA_RCU_FREE
            assert xa.dump() == before
            xa.check(tight=True)
        assert kernel.mover.moved == len(nodes)
        assert not {node.addr for node in nodes} & {node.addr for node in xa.nodes_in_tree()}
        assert kernel.in_use() == in_use
        assert all(node.array is None and not any(node.slots) for node in nodes)
        xa.destroy()
        assert kernel.in_use() == 0

    def test_a_node_in_no_tree_keeps_its_slab(self) -> None:
        kernel = Kernel()
        node = kernel.nodes.alloc(GFP_KERNEL)
        assert node is not None
        assert kernel.mover.isolate([node.addr]) is None
        assert not kernel.mover.xa_object_migrate(node)
        xa = mixed(kernel)
        addrs = [in_tree.addr for in_tree in xa.nodes_in_tree()]
        assert kernel.mover.isolate(addrs) is not None
        assert kernel.mover.isolate([*addrs, node.addr]) is None

    def test_a_node_that_waits_for_rcu_leaves_by_itself(self) -> None:
        kernel = Kernel()
        xa = kernel.array("xa")
        xa.store(70, "a")
        nodes = xa.nodes_in_tree()
        xa.erase(70)
        in_use = kernel.nodes.cache.stats().active
        for node in nodes:
            assert node.array is XA_RCU_FREE
            assert not kernel.mover.xa_object_migrate(node)
        assert kernel.nodes.cache.stats().active == in_use  # no replacement leaked

    def test_a_recycled_node_says_what_it_is(self) -> None:
        """Mainline's RCU callback leaves XA_RCU_FREE in ``array``: the next owner's node would look freed."""
        kernel = Kernel()
        for clears_array, state in ((True, None), (False, XA_RCU_FREE)):
            kernel.nodes.clears_array = clears_array
            xa = kernel.array("xa")
            xa.store(70, "a")
            old = xa.nodes_in_tree()
            xa.erase(70)
            kernel.rcu.drain()
            fresh: list[XaNode] = []
            while not any(node in old for node in fresh):
                node = kernel.nodes.alloc(GFP_KERNEL)
                assert node is not None
                fresh.append(node)
            assert fresh[-1].array is state
            for node in fresh:
                kernel.nodes.free(node)

    def test_a_node_prepared_for_a_split_is_in_no_tree_yet(self) -> None:
        """Mainline's xas_split_alloc() names the array in it already; moved, it would become the head."""
        kernel = Kernel()
        xa = kernel.array("xa")
        xa.store(64, "huge", order=6)
        xa.store(200, "other")
        xas = XaState(xa, 64, 0)
        xas.split_alloc("small", 6, GFP_KERNEL)
        prepared = xas.xa_alloc
        assert prepared is not None
        assert kernel.mover.isolate([prepared.addr]) is None
        assert not kernel.mover.xa_object_migrate(prepared)
        assert xa.load(200) == "other"
        xa.xa_lock()
        xas.split("small", 6)
        xa.xa_unlock()
        assert prepared.array is xa
        assert kernel.mover.xa_object_migrate(prepared)
        assert (xa.load(127), xa.get_order(127), xa.load(200)) == ("small", 0, "other")
        xa.check(tight=True)

    def test_the_copy_takes_the_place_on_a_private_list(self) -> None:
        kernel = Kernel()
        shadows: OrderedDict[XaNode, None] = OrderedDict()

        def update(node: XaNode) -> None:
            if node.count and node.count == node.nr_values:
                node.private_list = shadows
                shadows[node] = None
            elif node.private_list is shadows:
                node.private_list = None
                del shadows[node]

        def replace(old: XaNode, new: XaNode) -> None:
            del shadows[old]
            shadows[new] = None
            old.private_list = None
            new.private_list = shadows

        kernel.nodes.replace_on_list = replace
        xa = kernel.array("xa")
        for index in (0, 64, 65):
            xas = XaState(xa, index)
            xas.set_update(update)
            xas.store(value(index) if index else "page")
            while xas.nomem(GFP_KERNEL):
                xas.store(value(index) if index else "page")
        victim = xa.head.slots[1]
        assert list(shadows) == [victim]
        assert kernel.mover.xa_object_migrate(victim)
        assert list(shadows) == [xa.head.slots[1]]
        assert victim.private_list is None
        xa.check(tight=True)


def reader_writer_mover(scheduler: Scheduler, rounds: int = 2, ops: bool = True) -> None:
    """Two indices are there throughout, one counts up; all nodes move all the time, and the tree grows and shrinks."""
    kernel = Kernel(scheduler)
    xa = kernel.array("xa")
    xa.store(3, "here")
    xa.store(100, "there")
    xa.store(4, 0)
    stored = [0]

    def writer() -> None:
        for i in range(1, rounds + 1):
            xa.store(4, i)
            stored[0] = i
            xa.store(5000, "far")
            if ops:
                kernel.smp.op_done()
            xa.erase(5000)
            if ops:
                kernel.smp.op_done()

    def reader() -> None:
        last = 0
        for _ in range(rounds + 1):
            if xa.load(3) != "here" or xa.load(100) != "there":
                kernel.errors.append("an entry that is there all the time was not found")
            before = stored[0]
            found = xa.load(4)
            if not isinstance(found, int) or found < max(before, last):
                kernel.errors.append(f"load(4) found {found!r}, but {max(before, last)} was stored before it began")
            else:
                last = found
            if ops:
                kernel.smp.op_done()

    def mover() -> None:
        for _ in range(rounds):
            for node in xa.nodes_in_tree():
                kernel.mover.xa_object_migrate(node)
            if ops:
                kernel.smp.op_done()

    kernel.run(writer, reader, mover)
    xa.check(tight=True)
    assert (xa.load(3), xa.load(100), xa.load(4), xa.load(5000)) == ("here", "there", rounds, None)
    assert kernel.in_use() == len(xa.nodes_in_tree())


def an_array_dies(scheduler: Scheduler) -> None:
    """One CPU tears the array down while another moves its nodes, and a third takes the freed ones for its own."""
    kernel = Kernel(scheduler)
    xa = kernel.array("dying")
    heir = kernel.array("heir")
    for index in (0, 64, 5000):
        xa.store(index, "x")
    nodes = xa.nodes_in_tree()

    def destroyer() -> None:
        xa.destroy()
        kernel.smp.op_done()

    def mover() -> None:
        for node in nodes:
            kernel.mover.xa_object_migrate(node)
            kernel.smp.op_done()

    def heir_stores() -> None:
        for index in (1, 70, 9000):
            heir.store(index, "y")
            kernel.smp.op_done()

    kernel.run(destroyer, mover, heir_stores)
    assert xa.empty()
    heir.check(tight=True)
    assert heir.extract(0, 9) == ["y", "y", "y"]
    assert kernel.in_use() == len(heir.nodes_in_tree())


class TestRaces:
    def test_random_schedules(self) -> None:
        verdict = search_random(reader_writer_mover, 150)
        assert verdict.failure is None, f"{verdict.failure} (seed {verdict.seed})"
        assert verdict.points > 150 * 100

    def test_pct_schedules(self) -> None:
        verdict = search_pct(reader_writer_mover, 150, cpus=3, depth=4)
        assert verdict.failure is None, f"{verdict.failure} (seed {verdict.seed})"

    def test_every_schedule_with_one_preemption(self) -> None:
        verdict = search_all(lambda scheduler: reader_writer_mover(scheduler, rounds=1, ops=False), 1, limit=400)
        assert verdict.failure is None, f"{verdict.failure}: {verdict.schedule}"
        assert verdict.schedules >= 100

    def test_an_array_that_dies_meanwhile(self) -> None:
        for verdict in (search_random(an_array_dies, 100), search_pct(an_array_dies, 100, cpus=3)):
            assert verdict.failure is None, f"{verdict.failure} (seed {verdict.seed})"

    def test_a_mover_that_does_not_look_again_is_found_out(self) -> None:
        """The search can fail: leave out the second look at ``array`` and it does."""

        def careless(scheduler: Scheduler) -> None:
            kernel = Kernel(scheduler, cpus=2)
            xa = kernel.array("xa")
            xa.store(3, "here")
            xa.store(100, "going")
            xa.store(200, "stays")
            victim = xa.head.slots[1]

            def mover() -> None:
                node = kernel.nodes.alloc(GFP_KERNEL)
                array = victim.array
                if node is None or array is None or array is XA_RCU_FREE:
                    return
                kernel.smp.point("array read, not locked")
                array.xa_lock()
                kernel.mover.replace(array, victim, node)
                array.xa_unlock()

            def writer() -> None:
                xa.erase(100)

            kernel.run(mover, writer)
            xa.check(tight=True)
            assert xa.load(100) is None

        assert search_all(careless, 1).failure is not None


class TestPass:
    def test_a_defragmentation_pass_empties_slabs_and_loses_nothing(self) -> None:
        machine = Machine(MachineConfig(memory_mib=64, cpus=2, seed=3))
        machine.set_policy("xa_nodes", "movable")
        arrays = [
            XArray("none", machine.xa_nodes, SpinLock(machine.smp, "xa_lock"), machine.smp, machine.rcu, f"file {i}")
            for i in range(5)
        ]
        for index in range(0, 200 * 64, 64):
            for xa in arrays:
                xa.store(index, value(index))
        for index in range(0, 200 * 64, 64):
            for xa in arrays:
                if index % (64 * 9):
                    xa.erase(index)
        machine.rcu.drain()
        dumps = [xa.dump() for xa in arrays]
        before = machine.xa_nodes.cache.stats().slabs
        machine.defragment("xa_node", ratio=60)
        machine.rcu.drain()
        assert [xa.dump() for xa in arrays] == dumps
        assert machine.xa_nodes.cache.stats().slabs * 2 < before
        for xa in arrays:
            xa.check(tight=True)
