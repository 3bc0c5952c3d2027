"""Means, intervals, paired differences."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memviz.experiment.estimate import estimate, paired


def test_an_interval_as_a_textbook_has_it() -> None:
    # sd of 1..5 is sqrt(2.5); t(0.975, 4) = 2.776
    found = estimate([1, 2, 3, 4, 5])
    assert found.mean == 3
    assert found.half == pytest.approx(2.776 * math.sqrt(2.5 / 5))
    assert (found.low, found.high) == (3 - found.half, 3 + found.half)


def test_one_value_has_no_interval_and_none_no_mean() -> None:
    assert estimate([7]) == (7, math.inf)
    with pytest.raises(ValueError, match="at least one value"):
        estimate([])


def test_the_table_of_quantiles_runs_into_the_normal_distribution() -> None:
    halves = [estimate([0.0, 1.0] * (n // 2)).half * math.sqrt(n) for n in (2, 10, 30, 32, 100)]
    assert halves == sorted(halves, reverse=True)
    assert halves[-1] == pytest.approx(1.96 * 0.5, rel=0.01)


def test_pairs_see_what_means_hide() -> None:
    baseline = [10.0, 50.0, 90.0]
    found = paired([12.0, 53.0, 92.0], baseline)
    assert (found.better, found.worse, found.seeds) == (3, 0, 3)
    assert found.estimate.mean == pytest.approx(7 / 3)
    assert found.sure
    assert estimate([12.0, 53.0, 92.0]).low < 10 < estimate(baseline).high  # unpaired: nothing to be seen


def test_no_change_is_not_sure() -> None:
    found = paired([1.0, 2.0], [1.0, 2.0])
    assert (found.better, found.worse, found.sure) == (0, 0, False)


def test_what_does_not_pair_up_is_refused() -> None:
    with pytest.raises(ValueError, match="zip"):
        paired([1.0, 2.0], [1.0])


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=40), st.floats(-1e6, 1e6))
def test_an_interval_moves_with_its_values(values: list[float], shift: float) -> None:
    first, second = estimate(values), estimate([value + shift for value in values])
    assert second.mean == pytest.approx(first.mean + shift, abs=1e-3)
    assert second.half == pytest.approx(first.half, rel=1e-6, abs=1e-3)
