"""Which of many small numbers (kinds of events, states) are among a few: as ``np.isin``, by a table.

``np.isin`` sorts and merges; of the 13 ms that a redraw had taken it took one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Bools = npt.NDArray[np.bool_]


def table(*wanted: int) -> Bools:
    """A table of ``wanted`` numbers, each from 0 to 254, for ``among``."""
    found = np.zeros(256, np.bool_)
    found[list(wanted)] = True
    return found


def among(numbers: npt.NDArray[Any], wanted: Bools) -> Bools:
    """For each of ``numbers`` whether ``wanted`` has it. Negative ones count as 0, those from 255 on are not."""
    found: Bools = np.take(wanted, numbers, mode="clip")
    return found
