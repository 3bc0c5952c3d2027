"""The immovable ancestor: what it does, how it preloads, and that nothing moves its nodes."""

from __future__ import annotations

import errno

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from memviz.kernel.explore import search_all
from memviz.kernel.machine import Machine, MachineConfig
from memviz.kernel.page import GFP_ATOMIC, GFP_KERNEL
from memviz.kernel.radix_tree import RADIX_TREE_PRELOAD_SIZE, RadixTree, RadixTreeError, RadixTreePreload
from memviz.kernel.rcu import Rcu
from memviz.kernel.schedule import RandomScheduler, Scheduler
from memviz.kernel.smp import KernelBug, Smp
from memviz.kernel.spinlock import SpinLock
from memviz.kernel.trace import Trace
from memviz.kernel.xa_node import NodeCache, XaNode
from memviz.kernel.xarray import XArray, value

ULONG_MAX = 2**64 - 1


class Scarce(NodeCache):
    def __init__(self, left: int) -> None:
        super().__init__()
        self.left = left

    def alloc(self, gfp: int) -> XaNode | None:
        if self.left == 0:
            return None
        self.left -= 1
        return XaNode()

    def free(self, node: XaNode) -> None:
        self.left += 1

    def free_rcu(self, node: XaNode) -> None:
        self.left += 1


class TestTree:
    def test_insert_lookup_delete(self) -> None:
        tree = RadixTree()
        tree.insert(5000, "a")
        tree.insert(0, "b")
        assert (tree.lookup(5000), tree.lookup(0), tree.lookup(1), tree.lookup(ULONG_MAX)) == ("a", "b", None, None)
        assert tree.delete(5000) == "a"
        assert tree.rnode == "b"  # index 0 alone needs no node
        assert tree.delete(0) == "b"
        assert tree.delete(0) is None
        assert tree.empty()

    def test_what_is_there_is_not_inserted_over(self) -> None:
        tree = RadixTree(name="files")
        tree.insert(3, "a")
        with pytest.raises(RadixTreeError, match=r"<RadixTree files> holds an item at 3") as caught:
            tree.insert(3, "b")
        assert caught.value.errno == errno.EEXIST
        assert tree.replace(3, "b") == "a"
        with pytest.raises(KeyError, match="holds nothing at 4"):
            tree.replace(4, "c")
        with pytest.raises(ValueError, match="can't hold None"):
            tree.insert(4, None)

    def test_tags_reach_the_root_and_leave_with_the_item(self) -> None:
        tree = RadixTree()
        for index in (0, 70, 5000):
            tree.insert(index, index + 1)
        tree.tag_set(70, 1)
        tree.tag_set(5000, 1)
        assert tree.tagged(1)
        assert [tree.tag_get(index, 1) for index in (0, 70, 5000)] == [False, True, True]
        assert tree.gang_lookup(0, 9, tag=1) == [(70, 71), (5000, 5001)]
        assert tree.gang_lookup(1, 1) == [(70, 71)]
        tree.delete(5000)
        tree.tag_clear(70, 1)
        assert not tree.tagged(1)
        tree.check()
        with pytest.raises(KeyError, match="to tag"):
            tree.tag_set(9, 0)

    def test_its_structure_is_the_xarrays(self) -> None:
        tree = RadixTree()
        xa = XArray()
        for index in (3, 64, 4100, 262144 + 7, ULONG_MAX):
            tree.insert(index, f"p{index}")
            xa.store(index, f"p{index}")
            assert tree.dump() == xa.dump()
        for index in (ULONG_MAX, 64, 262144 + 7):
            tree.delete(index)
            xa.erase(index)
            assert tree.dump() == xa.dump()

    def test_a_user_hears_of_counts(self) -> None:
        seen: list[tuple[int, int]] = []
        tree = RadixTree(update=lambda node: seen.append((node.count, node.nr_values)))
        tree.insert(64, "page")
        tree.insert(1, value(3))
        tree.replace(64, value(7))
        tree.delete(64)
        assert seen == [(1, 0), (1, 1), (1, 1), (0, 0)]
        tree.insert(0, "page")
        tree.delete(1)  # the node goes, index 0 moves into the root
        assert seen[4:] == [(2, 1), (1, 0), (0, 0)]

    def test_a_user_hears_of_a_node_that_holds_what_the_root_held(self) -> None:
        seen: list[tuple[int, int, int]] = []
        tree = RadixTree(update=lambda node: seen.append((node.shift, node.count, node.nr_values)))
        tree.insert(0, value(7))
        tree.insert(64, "page")
        assert seen == [(0, 1, 1), (6, 1, 0), (0, 1, 0)]


def shrinking(scheduler: Scheduler) -> None:
    """A reader looks for an item while the node that it stands on leaves the tree."""
    smp = Smp(2, Trace(), scheduler)
    tree = RadixTree(smp=smp, rcu=Rcu(smp))
    lock = SpinLock(smp, "the caller's own")
    tree.insert(0, "stays")
    tree.insert(5, "goes")

    def delete() -> None:
        lock.lock()
        tree.delete(5)
        lock.unlock()

    def look() -> None:
        assert tree.gang_lookup(0, 1) == [(0, "stays")]
        assert tree.lookup(0) == "stays"
        assert tree.gang_lookup(0, 9)[0] == (0, "stays")

    smp.spawn(0, "delete", delete)
    smp.spawn(1, "look", look)
    smp.run(None)
    assert tree.rnode == "stays"


def test_a_reader_on_a_node_that_leaves_the_tree_finds_what_stays() -> None:
    verdict = search_all(shrinking, preemptions=3)
    assert verdict.failure is None, f"{verdict.failure}: {verdict.schedule}"
    assert verdict.complete
    assert verdict.schedules > 100


class LikeADict(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.cache = Scarce(10_000)
        self.tree = RadixTree(self.cache)
        self.model: dict[int, object] = {}
        self.tagged: set[int] = set()

    indices = st.one_of(st.integers(0, 150), st.sampled_from([4095, 4096, 2**32, 2**63, ULONG_MAX]))

    @rule(index=indices, item=st.one_of(st.text("ab", min_size=1), st.integers(0, 9).map(value)))
    def insert(self, index: int, item: object) -> None:
        if index in self.model:
            with pytest.raises(RadixTreeError):
                self.tree.insert(index, item)
        else:
            self.tree.insert(index, item)
            self.model[index] = item

    @rule(index=indices)
    def delete(self, index: int) -> None:
        assert self.tree.delete(index) == self.model.pop(index, None)
        self.tagged.discard(index)

    @rule(index=indices)
    def tag(self, index: int) -> None:
        if index in self.model:
            self.tree.tag_set(index, 2)
            self.tagged.add(index)

    @rule(index=indices)
    def untag(self, index: int) -> None:
        self.tree.tag_clear(index, 2)
        self.tagged.discard(index)

    @rule(first=indices, n=st.integers(0, 9))
    def gang_lookup(self, first: int, n: int) -> None:
        assert self.tree.gang_lookup(first, n) == sorted((i, e) for i, e in self.model.items() if i >= first)[:n]
        wanted = [(i, self.model[i]) for i in sorted(self.tagged) if i >= first][:n]
        assert self.tree.gang_lookup(first, n, tag=2) == wanted

    @invariant()
    def same(self) -> None:
        self.tree.check(tight=True)
        for index, item in self.model.items():
            assert self.tree.lookup(index) == item
            assert self.tree.tag_get(index, 2) == (index in self.tagged)
        assert self.tree.tagged(2) == bool(self.tagged)
        if not self.model:
            assert self.cache.left == 10_000


TestLikeADict = LikeADict.TestCase
TestLikeADict.settings = settings(max_examples=25, stateful_step_count=30, deadline=None)


class TestPreload:
    def test_a_preloaded_insertion_cannot_fail(self) -> None:
        cache = Scarce(RADIX_TREE_PRELOAD_SIZE)
        preload = RadixTreePreload(cache)
        tree = RadixTree(cache, preload)
        tree.insert(0, "a")  # the root itself
        assert preload.preload()
        assert cache.left == 0
        tree.insert(ULONG_MAX, "b")  # the worst case: 11 levels up, 10 down
        preload.preload_end()
        assert tree.lookup(ULONG_MAX) == "b"
        assert len(preload.preloaded()) == 0
        tree.check()

    def test_without_memory_preload_says_so_and_an_insertion_leaves_the_tree_as_it_was(self) -> None:
        cache = Scarce(2)
        preload = RadixTreePreload(cache)
        assert not preload.preload()
        tree = RadixTree(cache, preload)
        tree.insert(1, "a")
        before = tree.dump()
        with pytest.raises(RadixTreeError, match="preload before taking the lock") as caught:
            tree.insert(63 << 30, "b")
        assert caught.value.errno == errno.ENOMEM
        assert tree.lookup(1) == "a"
        tree.check()
        assert len(tree.nodes_in_tree()) >= before.count("(n")

    def test_preload_disables_preemption_until_its_end(self) -> None:
        smp = Smp(2, Trace(), RandomScheduler(1))
        preload = RadixTreePreload(NodeCache(), smp)
        assert preload.preload()
        assert smp.this_cpu().preempt == 1
        with pytest.raises(KernelBug, match="sleeping function called from invalid context"):
            smp.might_sleep("kmalloc")
        preload.preload_end()
        assert smp.this_cpu().preempt == 0
        assert preload.maybe_preload(GFP_ATOMIC)
        preload.preload_end()
        with pytest.raises(ValueError, match="maybe_preload"):
            preload.preload(GFP_ATOMIC)
        assert [len(stash) for stash in preload.stash] == [RADIX_TREE_PRELOAD_SIZE, 0]
        preload.drain(0)
        assert preload.preloaded() == []


class TestImmovable:
    def spread(self, machine: Machine, tree: RadixTree | XArray) -> int:
        """Fill many nodes and empty all but every tenth, so that slabs are sparse; returns the slabs."""
        lock = SpinLock(machine.smp, "the caller's own")
        for i in range(600):
            if isinstance(tree, RadixTree):
                lock.lock()
                tree.insert(i * 64, value(i))
                lock.unlock()
            else:
                tree.store(i * 64, value(i))
        for i in range(600):
            if i % 10:
                if isinstance(tree, RadixTree):
                    tree.delete(i * 64)
                else:
                    tree.erase(i * 64)
        machine.rcu.drain()
        machine.xa_nodes.cache.flush_all()
        return machine.xa_nodes.cache.stats().slabs

    def machine(self) -> Machine:
        machine = Machine(MachineConfig(memory_mib=64, cpus=1, seed=1))
        machine.set_policy("xa_nodes", "movable")
        return machine

    def test_the_same_nodes_move_in_an_xarray_and_stay_in_a_radix_tree(self) -> None:
        after: dict[str, tuple[int, int]] = {}
        for name in ("xarray", "radix tree"):
            machine = self.machine()
            if name == "xarray":
                lock = SpinLock(machine.smp, "xa_lock")
                tree: XArray | RadixTree = XArray(
                    nodes=machine.xa_nodes, lock=lock, smp=machine.smp, rcu=machine.rcu, name=name
                )
            else:
                tree = RadixTree(machine.xa_nodes, smp=machine.smp, rcu=machine.rcu, name=name)
            before = self.spread(machine, tree)
            machine.defragment("xa_node", ratio=60)
            machine.rcu.drain()
            after[name] = (before, machine.xa_nodes.cache.stats().slabs)
            tree.check()
            kept = [tree.load(i) if isinstance(tree, XArray) else tree.lookup(i) for i in range(0, 38400, 640)]
            assert kept == [value(i) for i in range(0, 600, 10)]
        assert after["xarray"][1] * 2 < after["xarray"][0]
        assert after["radix tree"][1] == after["radix tree"][0]

    def test_a_preloaded_node_pins_its_slab(self) -> None:
        machine = self.machine()
        nodes = machine.xa_nodes
        preload = RadixTreePreload(nodes, machine.smp)
        assert preload.preload(GFP_KERNEL)
        preload.preload_end()
        pinned = {machine.slub.virt_to_slab(node.addr) for node in preload.preloaded()}
        lock = SpinLock(machine.smp, "xa_lock")
        xa = XArray(nodes=nodes, lock=lock, smp=machine.smp, rcu=machine.rcu)
        self.spread(machine, xa)
        machine.defragment("xa_node", ratio=100)
        machine.rcu.drain()
        assert {machine.slub.virt_to_slab(node.addr) for node in preload.preloaded()} == pinned
        assert all(node.array is None for node in preload.preloaded())
