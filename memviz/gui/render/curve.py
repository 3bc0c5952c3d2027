"""A curve as polygon points: as many as there are pixels, none of its peaks lost. No Qt."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def peaks(
    times: npt.NDArray[np.int64], values: npt.NDArray[np.int16], begin: int, end: int, width: int
) -> npt.NDArray[np.float64]:
    """The curve from ``begin`` to ``end`` (ns), ``width`` pixels wide.

    Returns shape (n, 2): x in pixels, value as given; n is at most ``2 * width``. Where several points share a
    pixel, the lowest and the highest are kept. The value before ``begin`` and the last one are held to the edges.
    """
    if not times.size or end <= begin or width <= 0:
        return np.zeros((0, 2))
    first = max(0, int(np.searchsorted(times, begin, "right")) - 1)
    last = int(np.searchsorted(times, end, "right"))
    if last <= first:
        return np.zeros((0, 2))
    shown = times[first:last].astype(np.float64)
    x = np.clip((shown - begin) * (width / (end - begin)), 0, width)
    y = values[first:last].astype(np.float64)
    if x.size <= 2 * width:
        return np.column_stack((x, y))
    column = np.minimum(x.astype(np.int64), width - 1)
    starts = np.flatnonzero(np.diff(column, prepend=-1))
    low, high = np.minimum.reduceat(y, starts), np.maximum.reduceat(y, starts)
    centre = column[starts] + 0.5
    return np.column_stack((np.repeat(centre, 2), np.column_stack((low, high)).ravel()))
