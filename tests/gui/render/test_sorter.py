"""Whatever is said of what changed, the pyramid comes to be what sorting everything anew gives."""

from __future__ import annotations

from time import perf_counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memviz.gui.render import heatmap_modes
from memviz.gui.render.pyramid import SLICE, Pyramid
from memviz.gui.render.sorter import Sorter
from memviz.kernel.page import NR_OWNERS, PAGEBLOCK_ORDER
from memviz.snapshot import Pages, Snapshot
from memviz.sources.page_sets import KEPT, PageSets

NR = 1 << 16


class Memory:
    """Page frames that change at random, as a source passes them on."""

    def __init__(self, nr: int, seed: int, telling: bool = True) -> None:
        self.random = np.random.default_rng(seed)
        self.sets = PageSets() if telling else None
        self.owner = self.random.integers(0, NR_OWNERS, nr).astype(np.uint8)
        self.order = np.full(nr, 255, np.uint8)
        self.order[:: 1 << 4] = 4
        self.flags = self.random.integers(0, 256, nr).astype(np.uint8)
        self.stamp = self.random.integers(0, 5000, nr).astype(np.uint32)
        self.types = self.random.integers(0, 5, nr >> PAGEBLOCK_ORDER).astype(np.uint8)
        self.seq = 0

    def change(self, frames: int, blocks: int) -> None:
        """Some page frames, and the types of some pageblocks."""
        at = self.random.integers(0, self.owner.size, frames)
        self.owner[at] = self.random.integers(0, NR_OWNERS, frames)
        self.flags[at] ^= 4
        self.stamp[at] += 1
        free = at & ~15
        self.order[free] = self.random.integers(0, 5, frames)
        self.types[self.random.integers(0, self.types.size, blocks)] = self.random.integers(0, 5, blocks)

    def snapshot(self) -> Snapshot:
        """This instant."""
        arrays = [array.copy() for array in (self.owner, self.order, self.flags)]
        pages = Pages(*arrays, self.stamp.copy())
        if self.sets is not None:
            pages = self.sets.take(pages.owner, pages.order, pages.flags, pages.stamp)
        self.seq += 1
        return Snapshot(self.seq, 5_000_000_000 + self.seq, 0, "", "", "running", (), pages, self.types.copy())


def assert_as_anew(pyramid: Pyramid, snapshot: Snapshot, mode: heatmap_modes.Mode) -> None:
    """Compare with all sorted at once."""
    anew = Pyramid()
    anew.show(mode.raw(heatmap_modes.part(snapshot, 0, snapshot.pages.nr)), mode.lut(snapshot))
    assert np.array_equal(pyramid.counts, anew.counts)
    for level, (found, wanted) in enumerate(zip(pyramid.levels, anew.levels, strict=True)):
        assert np.array_equal(found, wanted), f"level {level}"


@pytest.mark.parametrize("mode", heatmap_modes.MODES, ids=lambda mode: mode.id)
@settings(max_examples=15, deadline=None)
@given(
    st.integers(0, 999), st.booleans(),
    st.lists(st.tuples(st.integers(0, 60), st.integers(0, 3), st.booleans()), min_size=1, max_size=8),
)  # fmt: skip
def test_sorted_in_pieces_is_sorted_at_once(
    mode: heatmap_modes.Mode, seed: int, telling: bool, steps: list[tuple[int, int, bool]]
) -> None:
    memory, pyramid = Memory(NR, seed, telling), Pyramid()
    sorter = Sorter(pyramid)
    for frames, blocks, look in steps:
        memory.change(frames, blocks)
        snapshot = memory.snapshot()
        if look:
            sorter.show(snapshot, mode, mode.lut(snapshot))
            assert not sorter.work(perf_counter() + 60)
            assert_as_anew(pyramid, snapshot, mode)


@pytest.mark.parametrize("mode", heatmap_modes.MODES, ids=lambda mode: mode.id)
def test_a_memory_of_several_slices_that_changes_while_it_is_looked_through(mode: heatmap_modes.Mode) -> None:
    memory, pyramid = Memory(3 * SLICE, 5), Pyramid()
    sorter = Sorter(pyramid)
    for looks in (5, 2, 1):
        for _ in range(looks):
            memory.change(50, 2)
            snapshot = memory.snapshot()
            sorter.show(snapshot, mode, mode.lut(snapshot))
            sorter.work(0.0)  # one slice, no time for more
        while sorter.work(0.0):
            pass
        assert pyramid.complete
        assert_as_anew(pyramid, snapshot, mode)
        sorter.show(snapshot, mode, np.zeros(256, np.uint8))  # all anew


def test_only_what_changed_is_looked_at() -> None:
    memory, pyramid, mode = Memory(3 * SLICE, 6), Pyramid(), heatmap_modes.mode("owner")
    sorter = Sorter(pyramid)
    sorter.show(first := memory.snapshot(), mode, mode.lut(first))
    while sorter.work(0.0):
        pass
    assert sorter.percent == 100
    memory.change(20, 0)
    snapshot = memory.snapshot()
    sorter.show(snapshot, mode, mode.lut(snapshot))
    assert sorter.percent == 100, "nothing is left to do slice by slice"
    assert_as_anew(pyramid, snapshot, mode)


def test_who_was_away_for_long_looks_at_everything() -> None:
    memory, pyramid, mode = Memory(NR, 7), Pyramid(), heatmap_modes.mode("owner")
    sorter = Sorter(pyramid)
    snapshot = memory.snapshot()
    for steps in (1, KEPT, KEPT + 1, 2):
        sorter.show(snapshot, mode, mode.lut(snapshot))
        sorter.work(perf_counter() + 60)
        assert_as_anew(pyramid, snapshot, mode)
        for _ in range(steps):
            memory.change(9, 1)
            snapshot = memory.snapshot()
