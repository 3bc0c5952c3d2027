"""The cyclic garbage collector in a process that runs a machine.

What the machine was built of lives as long as the process: the collector need not look at it again and again. Nor at
all that lives, now and then: a machine makes no garbage that only the collector finds (a test holds it to that), and
looking at one of 1 GiB stops it for a sixth of a second. A run of the simulation is a tenth quicker for it.
"""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator
from typing import Final

_THRESHOLDS: Final = (700, 10, 1000)
"""The young as always, everything a hundred times less often."""


@contextlib.contextmanager
def seldom() -> Iterator[None]:
    """As long as this lasts look seldom at what is old, and at what there is now not at all. Of the whole process."""
    before = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_THRESHOLDS)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
