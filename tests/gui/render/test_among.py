"""A table answers as ``np.isin`` does."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from memviz.gui.render.among import among, table


@given(st.lists(st.integers(0, 300)), st.lists(st.integers(0, 254)))
def test_as_isin(numbers: list[int], wanted: list[int]) -> None:
    of = np.array(numbers, np.int16)
    assert among(of, table(*wanted)).tolist() == np.isin(of, wanted).tolist()
