"""The cursor: the advanced API, and the cases of it that are easy to get wrong."""

from __future__ import annotations

import errno
from itertools import pairwise

import pytest

from memviz.kernel.page import GFP_KERNEL
from memviz.kernel.xarray import (
    RETRY,
    XAS_BOUNDS,
    XAS_RESTART,
    ZERO,
    NodeCache,
    XaNode,
    XArray,
    XaState,
    try_split_min_order,
    value,
)

ULONG_MAX = 2**64 - 1


class Empty(NodeCache):
    """Has no memory, until ``left`` is raised."""

    def __init__(self, left: int = 0) -> None:
        super().__init__()
        self.left = left
        self.returned = 0

    def alloc(self, gfp: int) -> XaNode | None:
        if self.left == 0:
            return None
        self.left -= 1
        return XaNode()

    def free(self, node: XaNode) -> None:
        super().free(node)
        self.returned += 1


def filled(*indices: int) -> XArray:
    xa = XArray()
    for index in indices:
        xa.store(index, f"p{index}")
    return xa


class TestWalking:
    def test_find_visits_each_entry_once_and_then_stands_behind_the_array(self) -> None:
        xa = filled(0, 5, 63, 64, 5000)
        xas = xa.state(0)
        found = []
        while (entry := xas.find(ULONG_MAX)) is not None:
            found.append((xas.xa_index, entry))
        assert found == [(0, "p0"), (5, "p5"), (63, "p63"), (64, "p64"), (5000, "p5000")]
        assert xas.xa_status == XAS_BOUNDS
        assert xas.find(ULONG_MAX) is None

    def test_find_to_a_limit_can_be_continued(self) -> None:
        xas = filled(1, 70, 80).state(0)
        assert xas.find(50) == "p1"
        assert xas.find(50) is None
        assert xas.find(100) == "p70"

    def test_after_a_vain_find_the_cursor_can_store(self) -> None:
        xa = filled(3)
        xas = xa.state(0)
        while xas.find(ULONG_MAX) is not None:
            pass
        assert xas.xa_index == 64  # the first index the tree does not cover
        xas.store("new")
        assert xa.load(64) == "new"

    def test_pause_goes_on_behind_a_multi_index_entry(self) -> None:
        xa = filled(1, 100)
        xa.store(8, "r", order=3)
        xas = xa.state(0)
        assert xas.find(ULONG_MAX) == "p1"
        assert xas.find(ULONG_MAX) == "r"
        xas.pause()
        assert (xas.xa_index, xas.xa_status) == (16, XAS_RESTART)
        xa.erase(1)
        assert xas.find(ULONG_MAX) == "p100"

    def test_pause_at_the_last_index_ends_the_walk(self) -> None:
        xas = filled(ULONG_MAX).state(0)
        assert xas.find(ULONG_MAX) == f"p{ULONG_MAX}"
        xas.pause()
        assert xas.xa_status == XAS_BOUNDS
        assert xas.find(ULONG_MAX) is None

    def test_next_and_prev_see_every_index(self) -> None:
        xa = filled(62, 65)
        xas = xa.state(61)
        assert [xas.next() for _ in range(6)] == [None, "p62", None, None, "p65", None]
        assert xas.xa_index == 66
        assert [xas.prev() for _ in range(4)] == ["p65", None, None, "p62"]

    def test_walking_round_both_ends(self) -> None:
        xa = filled(0, ULONG_MAX)
        xas = xa.state(ULONG_MAX)
        assert xas.load() == f"p{ULONG_MAX}"
        assert xas.next() == "p0"
        assert xas.prev() == f"p{ULONG_MAX}"

    def test_find_marked_tells_end_of_array_from_end_of_range(self) -> None:
        xa = filled(1, 2, 70)
        xa.set_mark(2, 1)
        xas = xa.state(0)
        assert xas.find_marked(ULONG_MAX, 1) == "p2"
        assert xas.find_marked(50, 1) is None
        assert xas.xa_status == XAS_RESTART
        xas = xa.state(3)
        assert xas.find_marked(ULONG_MAX, 1) is None
        assert (xas.xa_status, xas.xa_index) == (XAS_BOUNDS, 4096)

    def test_find_conflict_lists_what_is_in_a_range(self) -> None:
        xa = filled(64, 70, 127, 128)
        xas = XaState(xa, 64, 6)
        conflicts = []
        while (entry := xas.find_conflict()) is not None:
            conflicts.append(entry)
        assert conflicts == ["p64", "p70", "p127"]
        assert XaState(xa, 192, 6).find_conflict() is None
        assert XaState(filled(0), 0, 3).find_conflict() == "p0"

    def test_retry_restarts_at_the_head_and_zero_goes_on(self) -> None:
        xa = filled(1, 70)
        xas = xa.state(1)
        xas.load()
        assert not xas.retry("p1")
        assert xas.retry(ZERO)
        assert xas.xa_node is not None
        assert xas.retry(RETRY)
        assert (xas.xa_node, xas.xa_status) == (None, XAS_RESTART)

    def test_a_cursor_on_a_freed_node_meets_retry(self) -> None:
        xa = filled(0, 1)
        xas = xa.state(0)
        assert xas.load() == "p0"
        xa.erase(1)  # the only node goes, its entry moves to the head
        assert xa.head == "p0"
        assert xas.reload() is RETRY
        assert xas.retry(RETRY)
        assert xas.load() == "p0"

    def test_an_outdated_sibling_reads_as_retry(self) -> None:
        xa = XArray()
        xa.store(128, "huge", order=7)
        node = xa.head
        child = XaNode()
        node.slots[2] = child  # what a reader may see between the two slots that a split writes
        assert xa.state(200).load() is RETRY

    def test_an_error_sticks_until_reset(self) -> None:
        xas = filled(3).state(3)
        xas.set_err(-errno.EINVAL)
        assert (xas.load(), xas.find(9), xas.next(), xas.error()) == (None, None, None, -errno.EINVAL)
        xas.store("x")
        xas.set_mark(0)
        xas.reset()
        assert xas.load() == "p3"

    def test_advance_moves_within_a_node(self) -> None:
        xa = XArray()
        xa.store(0, "r", order=3)
        xa.store(8, "after")
        xas = xa.state(0)
        xas.load()
        xas.advance(7)
        assert xas.next() == "after"


class TestCreateRange:
    def test_stores_into_a_created_range_need_no_memory(self) -> None:
        cache = Empty(40)
        xa = XArray(nodes=cache)
        xas = XaState(xa, 1024, 10)
        xas.create_range()
        assert xas.error() == 0
        assert (xas.xa_index, xas.xa_shift, xas.xa_sibs) == (1024, 0, 0)
        cache.left = 0
        for index in range(1024, 2048):
            xas.set(index)
            xas.store(index)
            assert xas.error() == 0
        assert xa.load(2047) == 2047
        xa.check(tight=True)

    def test_without_memory_the_cursor_is_as_before_and_holds_the_error(self) -> None:
        cache = Empty(4)
        xa = XArray(nodes=cache)
        xas = XaState(xa, 1024, 10)
        xas.create_range()
        assert (xas.error(), xas.xa_index, xas.xa_shift, xas.xa_sibs) == (-errno.ENOMEM, 1024, 6, 15)
        while xas.error():
            cache.left = 1
            assert xas.nomem(GFP_KERNEL)
            xas.create_range()
        assert xa.load(1024) is None
        xa.check()


class TestMemory:
    def test_an_unused_node_goes_back(self) -> None:
        cache = Empty(1)
        xas = XArray(nodes=cache).state(0)
        xas.set_err(-errno.ENOMEM)
        assert xas.nomem(GFP_KERNEL)
        assert not xas.nomem(GFP_KERNEL)  # no error now: what was allocated ahead is returned
        assert (xas.xa_alloc, cache.returned) == (None, 1)

    def test_a_user_with_lists_is_told_of_every_count(self) -> None:
        xa = XArray()
        seen: list[tuple[int, int, int]] = []
        xas = xa.state(70)
        xas.set_update(lambda node: seen.append((node.shift, node.count, node.nr_values)))
        xas.store(value(1))
        assert seen == [(6, 1, 0), (0, 1, 1)]
        xas.store(None)
        assert seen[2:] == [(0, 0, 0), (6, 0, 0)]

    def test_a_listed_node_needs_a_callback(self) -> None:
        xa = filled(1, 2)
        xa.head.private_list = object()
        with pytest.raises(AssertionError, match="private list, but this store has no update callback"):
            xa.erase(1)


class TestSplit:
    @pytest.mark.parametrize("order", range(1, 12))
    @pytest.mark.parametrize("new_order", [0, 1, 3, 5, 6, 8])
    def test_a_split_entry_is_many_of_the_new_order(self, order: int, new_order: int) -> None:
        if new_order >= order or new_order // 6 + 2 <= order / 6:
            return
        xa = XArray()
        first = 1 << order
        xa.store(first, "huge", order=order)
        xa.set_mark(first, 1)
        xas = XaState(xa, first, new_order)
        xas.split_alloc("small", order, GFP_KERNEL)
        assert xas.error() == 0
        xas.split("small", order)
        assert xas.xa_alloc is None
        pieces = range(first, 2 * first, 1 << new_order)
        for index in pieces:
            assert xa.load(index) == "small"
            assert xa.get_order(index) == new_order
            assert xa.get_mark(index, 1)
        found = []
        xas = xa.state(0)
        while xas.find_marked(ULONG_MAX, 1) is not None:
            found.append(xas.xa_index)
        assert found == list(pieces)
        xa.check(tight=True)
        xa.store_range(first, 2 * first - 1, None)
        assert xa.empty()

    def test_values_are_counted_through_a_split(self) -> None:
        xa = XArray()
        xa.store(64, value(1), order=6)
        xas = XaState(xa, 64, 0)
        xas.split_alloc(value(2), 6, GFP_KERNEL)
        xas.split(value(2), 6)
        assert (xa.head.nr_values, xa.head.slots[1].nr_values) == (0, 64)

    def test_two_levels_at_once_are_refused_and_no_memory_is_reported(self) -> None:
        cache = Empty(2)
        xa = XArray(nodes=cache)
        xas = XaState(xa, 0, 0)
        xas.split_alloc("x", 12, GFP_KERNEL)
        assert xas.error() == -errno.ENOMEM
        xas.reset()
        xas.split_alloc("x", 8, GFP_KERNEL)  # takes four nodes
        assert (xas.error(), xas.xa_alloc, cache.returned) == (-errno.ENOMEM, None, 2)

    def test_try_split_takes_one_node_from_order_9_down_to_a_page(self) -> None:
        cache = Empty(3)
        xa = XArray(nodes=cache)
        xa.store(512, "huge", order=9)
        index = 700
        orders = [9]
        while orders[-1]:
            orders.append(try_split_min_order(orders[-1]))
        cache.left = 1
        for order, new_order in pairwise(orders):
            xas = XaState(xa, index, new_order)
            xas.try_split("part", order)
            assert xas.error() == 0
            xa.check(tight=True)
        assert orders == [9, 6, 5, 0]
        assert cache.left == 0
        assert xa.get_order(700) == 0
        assert [xa.get_order(i) for i in (512, 640, 672, 704, 1023)] == [6, 5, 0, 6, 6]
        assert {xa.load(i) for i in range(512, 1024)} == {"part"}

    def test_try_split_of_more_than_one_node_is_invalid(self) -> None:
        xa = XArray()
        xa.store(512, "huge", order=8)
        xas = XaState(xa, 512, 0)
        xas.try_split("part", 8)
        assert xas.error() == -errno.EINVAL
        assert xa.get_order(512) == 8

    def test_try_split_without_memory(self) -> None:
        cache = Empty(3)
        xa = XArray(nodes=cache)
        xa.store(64, "huge", order=6)
        cache.left = 0
        xas = XaState(xa, 64, 5)
        xas.try_split("part", 6)
        assert xas.error() == -errno.ENOMEM
        assert xa.load(64) == "huge"

    def test_min_orders(self) -> None:
        assert [try_split_min_order(order) for order in (0, 1, 5, 6, 7, 9, 12, 13)] == [0, 0, 0, 5, 6, 6, 11, 12]
