"""Curves that lose no peak."""

from __future__ import annotations

import numpy as np
import pytest

from memviz.gui.render.curve import peaks


def test_a_curve_keeps_its_peaks_however_narrow_it_is() -> None:
    times = np.arange(100_000, dtype=np.int64)
    values = np.zeros(100_000, np.int16)
    values[77_777] = 1000
    points = peaks(times, values, 0, 100_000, 200)
    assert len(points) <= 400
    assert points[:, 1].max() == 1000
    assert abs(points[np.argmax(points[:, 1]), 0] - 155.5) <= 1


def test_a_short_curve_is_drawn_as_it_is() -> None:
    times = np.array([0, 50, 100], np.int64)
    points = peaks(times, np.array([0, 500, 1000], np.int16), 0, 100, 200)
    assert points.tolist() == [[0, 0], [100, 500], [200, 1000]]


@pytest.mark.parametrize(("begin", "end", "width"), [(0, 0, 100), (5, 4, 100), (0, 10, 0)])
def test_a_curve_of_no_extent_has_no_points(begin: int, end: int, width: int) -> None:
    assert peaks(np.array([1], np.int64), np.array([1], np.int16), begin, end, width).shape == (0, 2)
