"""A long end of memory that nobody manages is left out of the map."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from memviz.gui.render.shown_end import GRAIN, ShownEnd, managed_end
from memviz.kernel.page import OWNER_ANON, OWNER_RESERVED, OWNER_UNKNOWN
from memviz.snapshot import Snapshot
from tests.gui.synthetic import snapshot

NR = 8 * GRAIN


def ending(at: int, nr: int = NR) -> Snapshot:
    """A memory whose page frames from ``at`` on nobody manages."""
    one = snapshot(nr)
    owner = one.pages.owner.copy()
    owner[at:] = OWNER_UNKNOWN
    owner[at - 1] = OWNER_ANON
    return replace(one, pages=replace(one.pages, owner=owner))


@pytest.mark.parametrize(
    ("at", "end"),
    [
        (NR, NR),
        (NR - 1, NR),
        (NR - GRAIN, NR - GRAIN),  # an eighth
        (NR - GRAIN + 1, NR),
        (3 * GRAIN - 5, 3 * GRAIN),
        (1, GRAIN),
    ],
)
def test_a_long_end_is_left_out_to_the_section(at: int, end: int) -> None:
    assert ShownEnd().follow(ending(at)) == end


def test_where_nobody_manages_anything_everything_is_shown() -> None:
    one = snapshot(NR)
    unknown = replace(one, pages=replace(one.pages, owner=np.full(NR, OWNER_UNKNOWN, np.uint8)))
    assert ShownEnd().follow(unknown) == NR


def test_reserved_memory_is_not_left_out() -> None:
    """It is there, and somebody has it."""
    owner = np.full(NR, OWNER_UNKNOWN, np.uint8)
    owner[5 * GRAIN] = OWNER_RESERVED
    assert managed_end(owner) == 6 * GRAIN


def test_the_end_moves_only_for_memory_that_comes() -> None:
    """A map that took another shape whenever memory goes could not be followed."""
    ends = ShownEnd()
    assert ends.follow(ending(2 * GRAIN)) == 2 * GRAIN
    assert ends.follow(ending(4 * GRAIN), look=False) == 2 * GRAIN, "looked for now and then"
    assert ends.follow(ending(4 * GRAIN)) == 4 * GRAIN
    assert ends.follow(ending(2 * GRAIN)) == 4 * GRAIN
    assert ends.follow(replace(ending(2 * GRAIN), title="Another"), look=False) == 2 * GRAIN
    ends.all = True
    assert ends.follow(ending(2 * GRAIN, NR)) == 2 * GRAIN, "wanted for the other memory"
    ends.all = True
    assert ends.follow(ending(2 * GRAIN)) == NR
