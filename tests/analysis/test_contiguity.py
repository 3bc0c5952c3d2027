"""Contiguity now and possible, on maps small enough to count by hand and on random ones against brute force."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memviz.analysis.contiguity import (
    PINNING_OWNERS,
    clean_blocks,
    contiguity,
    pinned_frames,
    servable,
    who_pins,
)
from memviz.kernel import page
from memviz.snapshot import Pages


def pages_of(nr: int, owner: int = page.OWNER_FREE) -> Pages:
    """``nr`` page frames of one owner; free ones lie in blocks of order 10."""
    order = np.full(nr, 255, np.uint8)
    flags = np.zeros(nr, np.uint8)
    if owner == page.OWNER_FREE:
        order[::1024] = 10
        flags[::1024] = page.PG_BUDDY | page.PG_HEAD
    return Pages(np.full(nr, owner, np.uint8), order, flags, np.zeros(nr, np.uint32))


def test_all_free_memory_is_contiguous_now() -> None:
    found = contiguity(pages_of(4096))
    assert found.free == (0,) * 10 + (4,)
    assert found.now == (4096, 2048, 1024, 512, 256, 128, 64, 32, 16, 8, 4)
    assert found.possible == found.now
    assert not found.pins.any()


def test_one_unmovable_page_pins_its_blocks_of_every_order() -> None:
    pages = pages_of(2048, page.OWNER_FREE)
    pages.owner[700] = page.OWNER_KERNEL
    found = contiguity(pages)
    assert found.possible == (2047, 1023, 511, 255, 127, 63, 31, 15, 7, 3, 1)
    assert found.pins.shape == (4, page.NR_OWNERS)
    assert np.argwhere(found.pins).tolist() == [[1, page.OWNER_KERNEL]]


def test_movable_pages_could_make_room_but_not_memory() -> None:
    """Half of memory free, every second page: nothing above order 0 now, half of everything after moving."""
    pages = pages_of(2048, page.OWNER_PAGE_CACHE)
    pages.owner[::2] = page.OWNER_FREE
    pages.order[::2] = 0
    pages.flags[::2] = page.PG_BUDDY
    found = contiguity(pages)
    assert found.now == (1024,) + (0,) * 10
    assert found.possible == (1024, 512, 256, 128, 64, 32, 16, 8, 4, 2, 1)
    assert contiguity(pages, packed=1024).possible[10] == 2


def test_slab_pages_pin_unless_their_cache_is_movable() -> None:
    pages = pages_of(1024)
    pages.owner[::512] = page.OWNER_SLAB_XA
    assert contiguity(pages).possible[9] == 0
    movable = pages.owner == page.OWNER_SLAB_XA
    found = contiguity(pages, movable, packed=2)
    assert found.possible[9:] == (2, 1)
    assert not found.pins.any()
    assert contiguity(pages, movable).possible[9:] == (1, 0)  # the objects need the room that they have now


def test_a_page_held_for_dma_pins_whoever_owns_it() -> None:
    pages = pages_of(1024, page.OWNER_ANON)
    pages.flags[3] = page.PG_PINNED
    assert np.flatnonzero(pinned_frames(pages)).tolist() == [3]
    assert contiguity(pages).pins[0, page.OWNER_ANON] == 1


def test_who_pins_names_first_whom_it_pays_to_move() -> None:
    pages = pages_of(2048)
    pages.owner[0:3] = page.OWNER_SLAB_VFS  # alone in block 0
    pages.owner[512] = page.OWNER_SLAB_VFS  # with kernel memory in block 1
    pages.owner[513:600] = page.OWNER_KERNEL
    found = who_pins(contiguity(pages).pins)
    assert [tuple(one) for one in found] == [(page.OWNER_SLAB_VFS, 4, 2, 1), (page.OWNER_KERNEL, 87, 1, 0)]


@given(
    owners=st.lists(st.sampled_from((1, 2, 3, 4, 8, 13)), min_size=1, max_size=40),
    nr=st.integers(1, 3000),
    seed=st.integers(0, 1000),
)
@settings(max_examples=40, deadline=None)
def test_clean_blocks_are_those_that_brute_force_finds(owners: list[int], nr: int, seed: int) -> None:
    choice = np.random.default_rng(seed).integers(0, len(owners), nr)
    owner = np.array(owners, np.uint8)[choice // (1 + seed % 200)]
    pages = Pages(owner, np.full(nr, 255, np.uint8), np.zeros(nr, np.uint8), np.zeros(nr, np.uint32))
    pinned = [one in PINNING_OWNERS for one in owner.tolist()]
    for order, clean in enumerate(clean_blocks(pinned_frames(pages))):
        size = 1 << order
        whole = (pinned[at : at + size] for at in range(0, nr - size + 1, size))
        assert clean == sum(not any(block) for block in whole)


def test_servable_splits_larger_blocks() -> None:
    assert servable((1, 0, 2, 0, 0, 0, 0, 0, 0, 0, 1)) == (1033, 516, 258, 128, 64, 32, 16, 8, 4, 2, 1)


@pytest.mark.parametrize("nr", [1 << 20])
def test_a_million_page_frames_take_at_most_20_ms(nr: int) -> None:
    random = np.random.default_rng(1)
    owner = random.integers(0, page.NR_OWNERS, nr, np.uint8)
    order = np.full(nr, 255, np.uint8)
    order[owner == page.OWNER_FREE] = 0
    flags = np.where(owner == page.OWNER_FREE, page.PG_BUDDY, 0).astype(np.uint8)
    pages = Pages(owner, order, flags, np.zeros(nr, np.uint32))
    movable = owner == page.OWNER_SLAB_XA
    times = []
    for _ in range(7):
        begin = time.perf_counter()
        contiguity(pages, movable)
        times.append(time.perf_counter() - begin)
    assert min(times) < 0.020
