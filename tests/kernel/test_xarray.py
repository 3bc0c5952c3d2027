"""The normal API: what a person who knows <linux/xarray.h> expects of each call."""

from __future__ import annotations

import errno

import pytest

from memviz.kernel.page import GFP_KERNEL, GFP_NOWAIT
from memviz.kernel.xarray import (
    RETRY,
    XA_RCU_FREE,
    ZERO,
    NodeCache,
    XaNode,
    XArray,
    XArrayError,
    is_sibling,
    is_value,
    to_sibling,
    to_value,
    value,
    xa_delete_node,
)

ULONG_MAX = 2**64 - 1


class Scarce(NodeCache):
    """Gives out ``left`` nodes; without direct reclaim none at all, like a slab under its own lock."""

    def __init__(self, left: int, nowait: bool = False) -> None:
        super().__init__()
        self.left = left
        self.nowait = nowait
        self.asked: list[int] = []
        self.freed: list[XaNode] = []

    def alloc(self, gfp: int) -> XaNode | None:
        self.asked.append(gfp)
        if gfp == GFP_NOWAIT and not self.nowait:
            return None
        if self.left == 0:
            return None
        self.left -= 1
        return XaNode()

    def free(self, node: XaNode) -> None:
        super().free(node)
        self.left += 1

    def free_rcu(self, node: XaNode) -> None:
        self.freed.append(node)


def errno_of(call: object, *args: object) -> int:
    with pytest.raises(XArrayError) as caught:
        call(*args)  # type: ignore[operator]
    return caught.value.errno


class TestEntries:
    def test_values_are_equal_by_number_and_hold_63_bits(self) -> None:
        assert value(7) == value(7)
        assert value(7) != value(8)
        assert value(7) != 7
        assert to_value(value(2**63 - 1)) == 2**63 - 1
        assert is_value(value(0))
        assert not is_value(0)
        with pytest.raises(ValueError, match="63 bits"):
            value(2**63)
        with pytest.raises(ValueError, match="63 bits"):
            value(-1)

    def test_a_sibling_says_where_its_entry_is(self) -> None:
        xa = XArray()
        xa.store(8, "page", order=2)
        leaf = xa.head
        assert leaf.slots[8] == "page"
        assert [is_sibling(leaf.slots[i]) for i in range(7, 13)] == [False, False, True, True, True, False]
        assert to_sibling(leaf.slots[11]) == 8
        with pytest.raises(TypeError, match="not a sibling"):
            to_sibling("page")
        with pytest.raises(TypeError, match="not a value"):
            to_value("page")

    @pytest.mark.parametrize("entry", [RETRY, XaNode()])
    def test_internal_entries_are_refused(self, entry: object) -> None:
        xa = XArray()
        assert errno_of(xa.store, 0, entry) == errno.EINVAL
        assert errno_of(xa.insert, 0, entry) == errno.EINVAL
        assert errno_of(xa.cmpxchg, 0, None, entry) == errno.EINVAL
        assert errno_of(xa.store_range, 0, 5, entry) == errno.EINVAL
        assert xa.empty()


class TestStoreAndLoad:
    def test_store_returns_the_old_entry(self) -> None:
        xa = XArray()
        assert xa.store(5, "a") is None
        assert xa.store(5, "b") == "a"
        assert xa.load(5) == "b"
        assert xa.erase(5) == "b"
        assert xa.erase(5) is None
        assert xa.empty()

    def test_indices_have_64_bits_and_wrap(self) -> None:
        xa = XArray()
        xa.store(ULONG_MAX, "last")
        xa.store(2**64 + 3, "three")
        assert xa.load(-1) == "last"
        assert xa.load(3) == "three"
        assert xa.load(2**65 + 3) == "three"
        assert xa.find(4) == (ULONG_MAX, "last")
        assert xa.find_after(ULONG_MAX) is None
        xa.check(tight=True)

    def test_a_single_entry_at_0_needs_no_node(self) -> None:
        xa = XArray()
        xa.store(0, "root")
        assert xa.head == "root"
        assert xa.load(0) == "root"
        assert xa.load(1) is None
        xa.store(1, "one")
        assert isinstance(xa.head, XaNode)
        xa.erase(1)
        assert xa.head == "root"

    def test_storing_null_in_an_allocating_array_keeps_the_index(self) -> None:
        xa = XArray("alloc")
        assert xa.alloc("a") == 0
        xa.store(0, None)
        assert xa.load(0) is None
        assert not xa.empty()
        assert xa.alloc("b") == 1
        assert xa.erase(0) is None
        assert xa.alloc("c") == 0

    def test_nodes_know_where_they_are(self) -> None:
        xa = XArray()
        xa.store(64 * 64 * 3 + 64 * 5 + 7, "deep")
        top = xa.head
        middle = top.slots[3]
        leaf = middle.slots[5]
        assert (top.shift, middle.shift, leaf.shift) == (12, 6, 0)
        assert (middle.offset, leaf.offset) == (3, 5)
        assert leaf.parent is middle
        assert middle.parent is top
        assert top.parent is None
        assert leaf.array is xa
        assert leaf.slots[7] == "deep"
        xa.store(64 * 64 * 3 + 64 * 5 + 8, value(1))
        assert (leaf.count, leaf.nr_values, middle.count) == (2, 1, 1)
        assert xa.dump() == "(n 12 0 1 0 0 0 0 3:(n 6 3 1 0 0 0 0 5:(n 0 5 2 1 0 0 0 7:deep 8:v1)))"

    def test_replacing_values_keeps_the_value_count(self) -> None:
        xa = XArray()
        xa.store(9, value(1))
        xa.store(9, "page")
        assert xa.head.nr_values == 0
        xa.store(9, value(2))
        xa.store(9, value(3))
        assert xa.head.nr_values == 1
        xa.store(10, ZERO)
        xa.store(10, value(4))
        assert xa.head.nr_values == 2
        xa.check(tight=True)

    def test_unknown_flags_are_refused(self) -> None:
        with pytest.raises(ValueError, match='"none", "alloc" or "alloc1"'):
            XArray("alloc2")


class TestConditionalStores:
    def test_insert_only_where_nothing_is(self) -> None:
        xa = XArray()
        xa.insert(3, "a")
        assert errno_of(xa.insert, 3, "b") == errno.EBUSY
        xa.reserve(4)
        assert errno_of(xa.insert, 4, "b") == errno.EBUSY
        assert xa.load(3) == "a"

    def test_cmpxchg_compares_what_is_stored_not_what_loads_show(self) -> None:
        xa = XArray()
        assert xa.cmpxchg(3, None, "a") is None
        assert xa.cmpxchg(3, "x", "b") == "a"
        assert xa.cmpxchg(3, "a", "b") == "a"
        assert xa.load(3) == "b"
        xa.reserve(9)
        assert xa.cmpxchg(9, None, "c") is None
        assert xa.load(9) is None  # a reservation is not NULL

    def test_reservations_are_invisible_and_released_only_if_unused(self) -> None:
        xa = XArray()
        xa.reserve(70)
        assert xa.load(70) is None
        assert xa.find(0) is None
        assert not xa.empty()
        xa.store(70, "used")
        xa.release(70)
        assert xa.load(70) == "used"
        xa.reserve(71)
        xa.release(71)
        xa.erase(70)
        assert xa.empty()


class TestAllocation:
    def test_lowest_free_index_within_limits(self) -> None:
        xa = XArray("alloc")
        assert [xa.alloc(c) for c in "abc"] == [0, 1, 2]
        xa.erase(1)
        assert xa.alloc("d") == 1
        assert xa.alloc("e", 10, 11) == 10
        assert xa.alloc("f", 10, 11) == 11
        assert errno_of(xa.alloc, "g", 10, 11) == errno.EBUSY
        xa.check(tight=True)

    def test_alloc1_never_gives_index_0(self) -> None:
        xa = XArray("alloc1")
        assert xa.alloc("a") == 1
        assert xa.alloc("b") == 2
        xa.erase(1)
        xa.erase(2)
        assert xa.empty()
        assert xa.alloc("c") == 1

    def test_cyclic_goes_on_behind_the_last_and_wraps(self) -> None:
        xa = XArray("alloc")
        assert xa.alloc_cyclic("a", 3, 5) == (3, False)
        xa.erase(3)
        assert xa.alloc_cyclic("b", 3, 5) == (4, False)
        assert xa.alloc_cyclic("c", 3, 5) == (5, False)
        assert xa.alloc_cyclic("d", 3, 5) == (3, True)
        assert errno_of(xa.alloc_cyclic, "e", 3, 5) == errno.EBUSY

    def test_cyclic_ids_have_32_bits(self) -> None:
        xa = XArray("alloc")
        xa.alloc_next = 2**32 - 1
        assert xa.alloc_cyclic("a") == (2**32 - 1, False)
        assert xa.alloc_next == 0
        assert xa.alloc_cyclic("b") == (0, True)
        assert xa.alloc_cyclic("c") == (1, False)

    def test_only_allocating_arrays_allocate(self) -> None:
        assert errno_of(XArray().alloc, "a") == errno.EINVAL
        assert errno_of(XArray().alloc_cyclic, "a") == errno.EINVAL


class TestRanges:
    def test_an_entry_of_an_order_covers_its_aligned_range(self) -> None:
        xa = XArray()
        xa.store(77, "huge", order=9)
        assert [xa.load(i) for i in (0, 511, 512)] == ["huge", "huge", None]
        assert xa.get_order(300) == 9
        assert xa.find(0) == (0, "huge")
        assert xa.find_after(5) is None
        assert xa.erase(100) == "huge"
        assert xa.empty()

    def test_storing_inside_updates_the_whole_entry(self) -> None:
        xa = XArray()
        xa.store(8, "a", order=3)
        assert xa.store(13, "b") == "a"
        assert [xa.load(i) for i in (8, 15)] == ["b", "b"]
        xa.check(tight=True)

    @pytest.mark.parametrize("order", range(1, 64))
    def test_every_order(self, order: int) -> None:
        xa = XArray()
        first = 1 << order if order < 63 else 0
        xa.store(first, "x", order=order)
        assert xa.load(first) == "x"
        assert xa.load(first + (1 << order) - 1) == "x"
        assert xa.load(first + (1 << order)) is None
        assert xa.get_order(first + (1 << order) // 2) == order
        xa.check(tight=True)
        assert xa.erase(first) == "x"
        assert xa.empty()

    def test_a_huge_entry_over_a_subtree_frees_its_nodes_and_leaves_retry(self) -> None:
        cache = Scarce(100)
        xa = XArray(nodes=cache)
        for i in (0, 64, 65, 4096):
            xa.store(i, i + 1)
        leaf = xa.head.slots[0].slots[1]
        assert xa.store(0, "huge", order=12) is None
        assert xa.load(64) == "huge"
        assert leaf in cache.freed
        assert (leaf.slots[0], leaf.slots[1], leaf.slots[2]) == (RETRY, RETRY, None)
        assert leaf.array is XA_RCU_FREE
        assert (leaf.count, leaf.nr_values) == (0, 0)
        xa.check(tight=True)

    def test_store_range_uses_few_slots(self) -> None:
        xa = XArray()
        xa.store_range(60, 200, "r")
        assert [xa.load(i) for i in (59, 60, 200, 201)] == [None, "r", "r", None]
        assert xa.get_order(70) == 7
        assert [index for index, _ in every(xa)] == [60, 64, 192]  # four, two whole nodes' worth, nine
        assert errno_of(xa.store_range, 5, 4, "x") == errno.EINVAL
        xa.store_range(0, 300, None)
        assert xa.empty()

    def test_store_range_to_the_last_index_ends(self) -> None:
        xa = XArray()
        xa.store_range(2**63, ULONG_MAX, "upper half")
        assert [xa.load(i) for i in (0, 2**63 - 1, 2**63, ULONG_MAX)] == [None, None, "upper half", "upper half"]
        xa.check(tight=True)
        xa.store_range(0, ULONG_MAX, "all")
        assert [xa.load(i) for i in (0, 1, 2**63, ULONG_MAX)] == ["all"] * 4
        xa.check(tight=True)
        xa.store_range(0, ULONG_MAX, None)
        assert xa.empty()


def every(xa: XArray) -> list[tuple[int, object]]:
    """All present entries in order, as xa_for_each() visits them."""
    out = []
    hit = xa.find(0)
    while hit is not None:
        out.append(hit)
        hit = xa.find_after(hit[0])
    return out


class TestMarksAndSearch:
    def test_marks_are_on_entries_and_known_at_the_head(self) -> None:
        xa = XArray()
        xa.store(100, "a")
        xa.store(5000, "b")
        xa.set_mark(5000, 1)
        xa.set_mark(101, 1)  # nothing there
        assert xa.marked(1)
        assert not xa.marked(0)
        assert xa.get_mark(5000, 1)
        assert not xa.get_mark(100, 1)
        assert not xa.get_mark(101, 1)
        assert xa.find(0, mark=1) == (5000, "b")
        assert xa.extract(0, 9, mark=1) == ["b"]
        assert xa.extract(0, 9) == ["a", "b"]
        xa.store(5000, "c")
        assert xa.get_mark(5000, 1)  # marks stay with the index
        xa.erase(5000)
        assert not xa.marked(1)
        xa.check(tight=True)

    def test_a_mark_on_a_range_is_one_mark(self) -> None:
        xa = XArray()
        xa.store(16, "a", order=4)
        xa.set_mark(20, 2)
        assert xa.get_mark(16, 2)
        assert xa.get_mark(31, 2)
        assert xa.find(0, mark=2) == (16, "a")
        xa.clear_mark(31, 2)
        assert not xa.marked(2)

    def test_marks_of_what_a_huge_entry_replaces_are_its_own(self) -> None:
        xa = XArray()
        xa.store(3, "a")
        xa.set_mark(3, 0)
        xa.store(0, "huge", order=2)
        assert xa.get_mark(0, 0)
        xa.check(tight=True)

    def test_find_stops_at_the_limit(self) -> None:
        xa = XArray()
        xa.store(10, "a")
        xa.store(20, "b")
        assert xa.find(0, 9) is None
        assert xa.find(0, 10) == (10, "a")
        assert xa.find_after(10, 19) is None
        assert xa.find_after(10, 20) == (20, "b")
        assert xa.find(21) is None
        assert xa.extract(10, 1) == ["a"]
        assert xa.extract(0, 0) == []

    def test_destroy_frees_every_node(self) -> None:
        cache = Scarce(200)
        xa = XArray("alloc", nodes=cache)
        for i in range(0, 10000, 100):
            xa.store(i, i)
        used = 200 - cache.left
        xa.destroy()
        assert len(cache.freed) == used
        assert len({id(node) for node in cache.freed}) == used
        assert xa.empty()
        assert xa.alloc("again") == 0


class TestMemory:
    def test_no_node_without_the_lock_is_needed_when_the_atomic_attempt_succeeds(self) -> None:
        cache = Scarce(10, nowait=True)
        XArray(nodes=cache).store(5000, "a")
        assert cache.asked == [GFP_NOWAIT] * 3

    def test_the_nomem_loop_allocates_one_node_a_round(self) -> None:
        cache = Scarce(10)
        xa = XArray(nodes=cache)
        xa.store(5000, "a")
        assert xa.load(5000) == "a"
        assert cache.asked == [GFP_NOWAIT, GFP_KERNEL] * 3
        xa.check(tight=True)

    def test_without_memory_the_store_fails_and_the_array_stays_usable(self) -> None:
        cache = Scarce(2)
        xa = XArray(nodes=cache, name="poor")
        with pytest.raises(XArrayError, match=r"No memory for a node of <XArray poor>") as caught:
            xa.store(5000, "a")
        assert caught.value.errno == errno.ENOMEM
        assert xa.load(5000) is None
        xa.check()
        cache.left = 1
        xa.store(5000, "b")
        assert xa.load(5000) == "b"
        xa.check(tight=True)

    def test_not_allowed_to_sleep_means_one_attempt(self) -> None:
        cache = Scarce(10)
        with pytest.raises(XArrayError) as caught:
            XArray(nodes=cache).store(5000, "a", gfp=GFP_NOWAIT)
        assert caught.value.errno == errno.ENOMEM

    def test_a_reserved_index_needs_no_memory(self) -> None:
        cache = Scarce(3)
        xa = XArray(nodes=cache)
        xa.reserve(5000)
        cache.left = 0
        xa.store(5000, "a")
        assert xa.load(5000) == "a"

    def test_range_and_alloc_go_through_the_same_loop(self) -> None:
        xa = XArray("alloc", nodes=Scarce(50))
        xa.store_range(10, 5000, "r")
        assert xa.load(5000) == "r"
        assert xa.alloc("a", 5001) == 5001
        xa.check(tight=True)
        assert errno_of(XArray("alloc", nodes=Scarce(0)).alloc, "a", 5, 9) == errno.ENOMEM
        assert errno_of(XArray(nodes=Scarce(1)).store_range, 10, 5000, "r") == errno.ENOMEM

    def test_a_node_goes_back_to_its_cache_as_it_was_constructed(self) -> None:
        node = XaNode(addr=0x1000)
        node.slots[5] = "x"
        node.marks[1] = 32
        node.private_list = object()
        node.array = XA_RCU_FREE
        NodeCache().rcu_free(node)
        assert (node.slots, node.marks, node.private_list) == ([None] * 64, [0, 0, 0], None)
        assert node.array is None
        node.array = XA_RCU_FREE
        NodeCache(clears_array=False).rcu_free(node)
        assert node.array is XA_RCU_FREE  # mainline: the next user finds it "freed"


class TestDeleteNode:
    def test_a_shadow_node_goes_with_all_its_entries(self) -> None:
        xa = XArray()
        xa.store(1, "page")
        for i in range(64, 128):
            xa.store(i, value(i))
        node = xa.head.slots[1]
        assert (node.count, node.nr_values) == (64, 64)
        seen: list[tuple[int, int]] = []
        xa_delete_node(node, lambda changed: seen.append((changed.shift, changed.count)))
        assert seen == [(0, 0), (6, 1), (6, 0)]  # emptied; one less above; then the top is not needed either
        assert xa.load(64) is None
        assert xa.load(1) == "page"
        xa.check(tight=True)


class TestCheck:
    """Damage each thing that check() looks at; it must say what is wrong."""

    def damaged(self, flags: str = "none", siblings: bool = False) -> XArray:
        xa = XArray(flags)
        for i in (1, 2, 65, 200):
            xa.store(i, value(i))
        for i in range(72, 80):
            xa.store(i, "r", order=3 if siblings else 0)
        xa.set_mark(65, 1)
        xa.check(tight=True)
        return xa

    @pytest.mark.parametrize(
        ("attribute", "wrong", "sentence"),
        [
            ("count", 7, "counts 7 entries: there are 9"),
            ("nr_values", 7, "counts 7 values: there are 1"),
            ("offset", 7, "says its offset is 7"),
            ("shift", 6, "one level down is 0"),
            ("parent", None, "has another parent"),
            ("array", None, "its array is None"),
        ],
    )
    def test_a_wrong_field(self, attribute: str, wrong: object, sentence: str) -> None:
        xa = self.damaged()
        setattr(xa.head.slots[1], attribute, wrong)
        with pytest.raises(AssertionError, match=sentence):
            xa.check()

    def test_mainline_counts_a_value_stored_over_an_entry_of_two_slots_as_one(self) -> None:
        xa = XArray()
        xa.store(0, "page", order=1)
        xa.store(0, value(1))
        assert xa.head.nr_values == 1
        xa.store(5, "other")
        xa.erase(0)
        assert xa.head.nr_values == 255  # an unsigned char below zero
        xa.check()

    def test_wrong_marks(self) -> None:
        xa = self.damaged()
        xa.head.slots[1].marks[1] = 0
        with pytest.raises(AssertionError, match="Mark 1 of slot 1 of"):
            xa.check()
        xa = self.damaged()
        xa.head.marks[2] = 1
        with pytest.raises(AssertionError, match="Mark 2 of slot 0"):
            xa.check()
        xa = self.damaged()
        xa.flags = 0
        with pytest.raises(AssertionError, match="Mark 1 of the head is False"):
            xa.check()

    def test_wrong_slots(self) -> None:
        xa = self.damaged()
        xa.head.slots[1].slots[1] = RETRY
        with pytest.raises(AssertionError, match="is a retry entry, but the node is still in the array"):
            xa.check()
        xa = self.damaged(siblings=True)
        xa.head.slots[1].slots[8] = None
        with pytest.raises(AssertionError, match="which holds None: it must hold the entry"):
            xa.check()

    def test_an_empty_slot_of_an_allocating_array_is_marked_free(self) -> None:
        xa = self.damaged("alloc")
        xa.head.slots[1].marks[0] &= ~(1 << 50)
        with pytest.raises(AssertionError, match=r"Slot 50 .* is empty, but mark 0 is clear"):
            xa.check()


class TestLockHeldCalls:
    def test_they_do_what_the_locking_ones_do(self) -> None:
        xa = XArray("alloc")
        assert xa.alloc_locked("a") == 0
        assert xa.store_locked(0, "b") == "a"
        assert xa.cmpxchg_locked(0, "b", "c") == "b"
        xa.set_mark_locked(0, 1)
        assert xa.get_mark(0, 1)
        xa.clear_mark_locked(0, 1)
        assert not xa.marked(1)
        assert errno_of(xa.insert_locked, 0, "d") == errno.EBUSY
        assert xa.erase_locked(0) == "c"
        xa.insert_locked(0, "d")
        assert xa.load(0) == "d"
        assert errno_of(xa.alloc_locked, "x", 0, 0) == errno.EBUSY
