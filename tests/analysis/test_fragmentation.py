"""The kernel's indices for every order, and pageblocks that mix."""

from __future__ import annotations

import numpy as np

from memviz.analysis.fragmentation import indices, mixed_blocks
from memviz.kernel import page


def test_indices_of_every_order_are_the_kernels() -> None:
    """A zone of a real machine's buddyinfo line, and what extfrag of debugfs said of it by hand calculation."""
    nr_free = (4, 2, 0, 1, 0, 0, 0, 0, 0, 0, 0)  # 4 + 4 + 8 = 16 page frames in 7 blocks
    found = indices(nr_free)
    assert found.unusable == (0, 250, 500, 500, *(1000,) * 7)
    # Above order 3: 1000 - (1000 + 16 * 1000 // 2**order) // 7.
    assert found.fragmentation == (-1000, -1000, -1000, -1000, 715, 786, 822, 840, 849, 853, 855)


def test_no_free_memory_is_no_fragmentation() -> None:
    found = indices((0,) * 11)
    assert found.unusable == (1000,) * 11
    assert found.fragmentation == (0,) * 11


def test_a_block_is_mixed_when_it_holds_both_kinds() -> None:
    owner = np.full(4 * 512 + 7, page.OWNER_FREE, np.uint8)
    owner[0:100] = page.OWNER_ANON  # movable only
    owner[512:520] = page.OWNER_KERNEL  # unmovable only
    owner[1024:1030] = page.OWNER_PAGE_CACHE
    owner[1500] = page.OWNER_SLAB_XA  # both
    owner[2048] = page.OWNER_PAGE_CACHE
    owner[2054] = page.OWNER_NET  # both, in the piece at the end
    assert mixed_blocks(owner) == 2
