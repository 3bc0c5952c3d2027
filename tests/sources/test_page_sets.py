"""Copies of page-frame arrays that cost what changed: they are what they would be if everything were copied."""

from __future__ import annotations

import pickle

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memviz.snapshot import Pages
from memviz.sources.page_sets import KEPT, LINE, SPARE, PageSets

SIZES = (0, 1, 63, 64, 65, 512, 5000)
NAMES = ("owner", "order", "flags", "stamp")


class World:
    """Arrays that change at random."""

    def __init__(self, nr: int, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        self.arrays: list[npt.NDArray[np.generic]] = [
            *(self.random.integers(0, 256, nr).astype(np.uint8) for _ in range(3)),
            self.random.integers(0, 1 << 32, nr).astype(np.uint32),
        ]

    def change(self, frames: int) -> None:
        """Change some page frames of each array."""
        for array in self.arrays:
            if array.size:
                array[self.random.integers(0, array.size, frames)] = self.random.integers(0, 256, frames)

    def copies(self) -> tuple[npt.NDArray[np.generic], ...]:
        """Plain copies of all arrays."""
        return tuple(array.copy() for array in self.arrays)


def arrays_of(pages: Pages) -> tuple[npt.NDArray[np.generic], ...]:
    """All four."""
    return pages.owner, pages.order, pages.flags, pages.stamp


def assert_same(pages: Pages, wanted: tuple[npt.NDArray[np.generic], ...]) -> None:
    """Array by array."""
    for name, found, array in zip(NAMES, arrays_of(pages), wanted, strict=True):
        np.testing.assert_array_equal(found, array, err_msg=name)
        assert found.dtype == array.dtype
        assert not found.flags.writeable


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(SIZES), st.integers(0, 99),
    st.lists(st.tuples(st.integers(0, 40), st.integers(0, 5)), min_size=1, max_size=12),
)  # fmt: skip
def test_every_copy_stays_the_instant_it_was_here_and_behind_a_pipe(
    nr: int, seed: int, steps: list[tuple[int, int]]
) -> None:
    world, here, there = World(nr, seed), PageSets(), PageSets()
    held: list[tuple[Pages, Pages, tuple[npt.NDArray[np.generic], ...]]] = []
    sent = -1
    for frames, keep in steps:
        world.change(frames)
        pages = here.take(*world.arrays)  # type: ignore[arg-type]
        delta = pickle.loads(pickle.dumps(pages.changes.delta(pages, sent)))  # type: ignore[union-attr]
        sent = pages.version
        held.append((pages, there.apply(delta), world.copies()))
        del held[: len(held) - keep - 1]
        del pages
        for mine, yours, wanted in held:
            assert_same(mine, wanted)
            assert_same(yours, wanted)


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(SIZES[1:]), st.integers(0, 99), st.lists(st.integers(0, 30), min_size=2, max_size=8))
def test_no_changed_page_frame_is_missing_among_the_changed_groups(nr: int, seed: int, steps: list[int]) -> None:
    world, sets = World(nr, seed), PageSets()
    taken = []
    for frames in steps:
        world.change(frames)
        taken.append(sets.take(*world.arrays))  # type: ignore[arg-type]
    for older in taken:
        groups = taken[-1].changed_since(older)
        assert groups is not None
        differs = np.zeros(nr, np.bool_)
        for one, other in zip(arrays_of(taken[-1]), arrays_of(older), strict=True):
            differs |= one != other
        missing = set((np.flatnonzero(differs) // LINE).tolist()) - set(groups.tolist())
        assert not missing
        assert groups.tolist() == sorted(set(groups.tolist()))
    assert taken[-1].changed_since(taken[-1]).tolist() == []  # type: ignore[union-attr]


def test_a_delta_is_as_small_as_the_change() -> None:
    world, sets = World(100_000, 1), PageSets()
    first = sets.take(*world.arrays)  # type: ignore[arg-type]
    world.arrays[0][70_000] ^= 1
    world.arrays[3][99_999] ^= 1
    second = sets.take(*world.arrays)  # type: ignore[arg-type]
    delta = second.changes.delta(second, first.version)  # type: ignore[union-attr]
    assert delta.rows.size == 2 * LINE
    assert second.changed_since(first).tolist() == [70_000 // 64, 99_999 // 64]  # type: ignore[union-attr]


def test_blocks_are_used_again_once_nobody_sees_them_not_even_a_slice() -> None:
    world, sets = World(4096, 2), PageSets()
    slices = []
    for _ in range(6):
        world.change(3)
        slices.append(sets.take(*world.arrays).stamp[1:7:2])  # type: ignore[arg-type]
    assert len(sets) == 6
    wanted = [one.copy() for one in slices]
    for _ in range(20):
        world.change(3)
        sets.take(*world.arrays)  # type: ignore[arg-type]
    assert len(sets) <= 6 + SPARE
    np.testing.assert_array_equal(slices, wanted)
    slices.clear()
    for _ in range(3):
        sets.take(*world.arrays)  # type: ignore[arg-type]
    assert len(sets) <= 1 + SPARE


def test_what_is_too_long_ago_is_not_known() -> None:
    world, sets = World(640, 3), PageSets()
    first = sets.take(*world.arrays)  # type: ignore[arg-type]
    for _ in range(KEPT):
        last = sets.take(*world.arrays)  # type: ignore[arg-type]
    assert last.changed_since(first) is not None
    last = sets.take(*world.arrays)  # type: ignore[arg-type]
    assert last.changed_since(first) is None
    other = PageSets().take(*world.arrays)  # type: ignore[arg-type]
    assert last.changed_since(other) is None


def test_pages_given_up_halfway_are_no_trap() -> None:
    world, sets = World(640, 4), PageSets()
    sets.take(*world.arrays)  # type: ignore[arg-type]
    sets.begin(640)
    sets.write(0, 0, np.zeros(640, np.uint8))  # and then something goes wrong
    assert_same(sets.take(*world.arrays), world.copies())  # type: ignore[arg-type]


@pytest.mark.parametrize("other", [64, 0, 6400])
def test_a_memory_of_another_size(other: int) -> None:
    sets = PageSets()
    for nr in (640, other, 640):
        world = World(nr, nr)
        assert_same(sets.take(*world.arrays), world.copies())  # type: ignore[arg-type]
