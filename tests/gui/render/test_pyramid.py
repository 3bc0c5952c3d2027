"""The pyramid: every level is the maximum of its runs, whatever changed since, however it was brought up to date."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memviz.gui.render import pyramid as module
from memviz.gui.render.pyramid import Pyramid


def assert_whole(pyramid: Pyramid, raw: np.ndarray, lut: np.ndarray) -> None:
    """Compare with the definition, level by level."""
    ranks = np.zeros(pyramid.levels[0].size - 1, np.uint8)
    ranks[: raw.size] = lut[raw]
    for level, found in enumerate(pyramid.levels):
        expected = ranks.reshape(-1, 1 << level).max(axis=1)
        assert np.array_equal(found[:-1], expected), f"level {level}"
        assert found[-1] == 0
    assert np.array_equal(pyramid.counts, np.bincount(raw, minlength=256))


def test_golden() -> None:
    pyramid = Pyramid()
    pyramid.show(np.array([1, 0, 0, 2, 5, 5, 0, 0, 3, 0, 0], np.uint8))
    assert [level.tolist() for level in pyramid.levels] == [
        [1, 0, 0, 2, 5, 5, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0],
        [1, 2, 5, 0, 3, 0, 0, 0, 0],
        [2, 5, 3, 0, 0],
        [5, 3, 0],
        [5, 0],
    ]


def test_one_odd_page_among_a_million_reaches_the_top() -> None:
    raw = np.ones(1 << 20, np.uint8)
    pyramid = Pyramid()
    pyramid.show(raw)
    raw[777_777] = 9
    pyramid.show(raw)
    assert all(level.max() == 9 and np.count_nonzero(level == 9) == 1 for level in pyramid.levels)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 5000), st.integers(0, 2**32 - 1), st.lists(st.integers(0, 400), min_size=1, max_size=5))
def test_changes_few_or_many_give_what_building_anew_gives(nr: int, seed: int, changes: list[int]) -> None:
    rng = np.random.default_rng(seed)
    lut = rng.permutation(256).astype(np.uint8)
    lut[0] = 0
    raw = rng.integers(0, 20, nr).astype(np.uint8)
    pyramid = Pyramid()
    pyramid.show(raw, lut)
    for count in changes:
        raw = raw.copy()
        raw[rng.integers(0, nr, count)] = rng.integers(0, 20, count)
        pyramid.show(raw, lut)
        assert_whole(pyramid, raw, lut)


def test_slices_are_independent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SLICE", 1 << module.MAX_LEVEL)
    nr = 3 * module.SLICE + 4321
    rng = np.random.default_rng(3)
    raw = rng.integers(0, 9, nr).astype(np.uint8)
    pyramid = Pyramid()
    pyramid.restart(nr)
    assert pyramid.slices == 4
    for number in (2, 0, 3, 1):
        assert not pyramid.complete
        piece = raw[number * module.SLICE : (number + 1) * module.SLICE]
        assert pyramid.update(number, piece)
        assert not pyramid.update(number, piece)
    assert pyramid.complete
    assert_whole(pyramid, raw, module.IDENTITY)
    raw[5], raw[nr - 1] = 200, 201
    for number in range(4):
        changed = pyramid.update(number, raw[number * module.SLICE : (number + 1) * module.SLICE])
        assert changed == (number in (0, 3))
    assert_whole(pyramid, raw, module.IDENTITY)


def test_version_grows_only_with_changes() -> None:
    raw = np.zeros(4096, np.uint8)
    pyramid = Pyramid()
    pyramid.show(raw)
    version = pyramid.version
    assert not pyramid.show(raw.copy())
    assert pyramid.version == version
    raw[3] = 1
    assert pyramid.show(raw)
    assert pyramid.version > version


def test_the_array_may_be_overwritten_afterwards() -> None:
    raw = np.ones(64, np.uint8)
    pyramid = Pyramid()
    pyramid.show(raw)
    raw[:] = 7
    assert pyramid.levels[0][:64].tolist() == [1] * 64
    assert pyramid.show(raw)


def test_a_slice_of_another_length_is_refused() -> None:
    pyramid = Pyramid()
    pyramid.restart(100)
    with pytest.raises(ValueError, match="slice 0 has 100 page frames, not 99"):
        pyramid.update(0, np.zeros(99, np.uint8))


def test_no_page_frames() -> None:
    pyramid = Pyramid()
    pyramid.show(np.ones(50, np.uint8))
    pyramid.show(np.zeros(0, np.uint8))
    assert (pyramid.nr, pyramid.levels, pyramid.slices, pyramid.complete) == (0, [], 0, True)
