"""Bars of contiguity: what can be given out, by order."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from memviz.gui.render.contiguity import contiguity
from tests.gui.synthetic import empty_snapshot, snapshot


def test_bars_count_what_can_be_given_out() -> None:
    shot = snapshot()
    zone = shot.zones[0]._replace(free_area=tuple((n, 0, 0, 0, 0) for n in (4, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0)))
    bars = contiguity(snapshot(zones=(zone,), possible=(16, 8, 4, 2, 1, 0, 0, 0, 0, 0, 0)))
    assert bars is not None
    assert bars.now == (12, 4, 1, 0, 0, 0, 0, 0, 0, 0, 0)
    assert bars.now_share == (0.75, 0.5, 0.25, 0, 0, 0, 0, 0, 0, 0, 0)
    assert bars.possible_share[:6] == (1, 1, 1, 1, 1, 0)
    assert bars.unusable[0] == 0
    assert bars.unusable[3] == 1000
    assert bars.sentence(1) == "order 1 (8 KiB): 4 blocks now, 8 if movable objects moved; unusable index 0.33"


def test_a_source_without_zones_has_no_bars() -> None:
    assert contiguity(empty_snapshot()) is None


@given(st.lists(st.integers(0, 1000), min_size=11, max_size=11))
def test_the_first_bar_is_all_of_free_memory_and_none_is_higher(nr_free: list[int]) -> None:
    zone = snapshot().zones[0]._replace(free_area=tuple((n,) for n in nr_free))
    bars = contiguity(snapshot(zones=(zone,), possible=()))
    assert bars is not None
    assert bars.now[0] == sum(n << order for order, n in enumerate(nr_free))
    assert all(a >= b for a, b in zip(bars.now_share, bars.now_share[1:], strict=False))
    assert bars.now[10] == nr_free[10]
