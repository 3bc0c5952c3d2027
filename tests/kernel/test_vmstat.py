"""Fragmentation indices: a real kernel's own figures, digit for digit, and what the formulas promise."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memviz.kernel.vmstat import extfrag_for_order, fragmentation_index, unusable_free_index

DATA = Path(__file__).parents[1] / "data" / "linux-6.18"
ZONE_LINE = re.compile(r"Node 0, zone +(\w+) (.*)")
NR_FREE = st.lists(st.integers(0, 5000), min_size=11, max_size=11)
ORDERS = st.integers(0, 10)


def table(snapshot: str, name: str) -> dict[str, list[str]]:
    """The columns of one of these files, by zone."""
    text = (DATA / snapshot / name).read_text()
    return {match[1]: match[2].split() for match in map(ZONE_LINE.match, text.splitlines()) if match}


def thousandths(index: int) -> str:
    """As debugfs prints an index."""
    return f"{'-' if index < 0 else ''}{abs(index) // 1000}.{abs(index) % 1000:03d}"


@pytest.mark.parametrize("snapshot", ["before", "after"])
@pytest.mark.parametrize(
    ("name", "function"), [("extfrag_index", fragmentation_index), ("unusable_index", unusable_free_index)]
)
def test_index_equals_the_kernels_own_figures(snapshot, name, function):
    blocks = table(snapshot, "buddyinfo")
    kernel = table(snapshot, name)
    ours = {
        zone: [thousandths(function([int(n) for n in columns], order)) for order in range(11)]
        for zone, columns in blocks.items()
    }
    assert ours == kernel
    assert set(kernel) == {"DMA", "DMA32", "Normal"}


@pytest.mark.parametrize(
    ("nr_free", "order", "index", "unusable", "extfrag"),
    [
        # 100 single frames: order 1 would need 50 blocks' worth of merging; 1000 - (1000 + 50000) // 100
        ([100], 1, 490, 1000, 100),
        ([100], 3, 865, 1000, 100),
        ([100], 9, 989, 1000, 100),
        # one frame and nobody: not fragmentation, lack of memory
        ([1], 1, -500, 1000, 100),
        ([1], 10, 0, 1000, 100),
        # nothing free at all
        ([], 4, 0, 1000, 0),
        # a block is there: the request would not fail
        ([5, 0, 1], 2, -1000, 555, 55),
        ([0, 0, 0, 1], 2, -1000, 0, 0),
        # integer divisions, in the kernel's order: 7 + 6 frames in 10 blocks
        ([7, 3], 2, 1000 - (1000 + 13000 // 4) // 10, 1000, 100),
        ([7, 3], 1, -1000, 538, 53),
    ],
)
def test_indices_of_hand_counted_lists(nr_free, order, index, unusable, extfrag):
    nr_free = nr_free + [0] * (11 - len(nr_free))
    assert fragmentation_index(nr_free, order) == index
    assert unusable_free_index(nr_free, order) == unusable
    assert extfrag_for_order(nr_free, order) == extfrag


@given(NR_FREE, ORDERS)
def test_a_request_that_would_succeed_has_no_fragmentation_index(nr_free, order):
    index = fragmentation_index(nr_free, order)
    suitable = any(nr_free[order:])
    assert (index == -1000) == suitable
    assert index <= 1000


@given(NR_FREE, ORDERS)
def test_unusable_is_what_lies_in_smaller_blocks(nr_free, order):
    free = sum(blocks << o for o, blocks in enumerate(nr_free))
    smaller = sum(blocks << o for o, blocks in enumerate(nr_free[:order]))
    assert unusable_free_index(nr_free, order) == (smaller * 1000 // free if free else 1000)
    assert extfrag_for_order(nr_free, order) == (smaller * 100 // free if free else 0)


@pytest.mark.parametrize("order", [-1, 11])
@pytest.mark.parametrize("function", [fragmentation_index, unusable_free_index, extfrag_for_order])
def test_an_impossible_order_is_refused_in_words(function, order):
    with pytest.raises(ValueError, match=f"order {order} is not between 0 and 10"):
        function([1] * 11, order)
