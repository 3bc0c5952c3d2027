"""CPUs, RCU, lanes and events of a simulated machine, as a Snapshot holds them."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from itertools import chain
from typing import Final

import numpy as np

from memviz import snapshot
from memviz.kernel import rcu as kernel_rcu
from memviz.kernel.smp import Smp, Task
from memviz.kernel.trace import Event, Trace
from memviz.snapshot import EVENT_DTYPE, LANE_DTYPE, Structured, empty

BULK_MAX: Final = 8192
_MACHINERY: Final = frozenset(("smp", "cpus", "spinlock", "rcu"))
"""Modules that every scheduling point leads through: where a CPU stands is the code that called them."""


_NO_ROWS: Final = {dtype: empty(dtype) for dtype in (EVENT_DTYPE, LANE_DTYPE)}


def cpus(smp: Smp, where: bool = False) -> tuple[snapshot.Cpu, ...]:
    """Every CPU, as it stands now; ``where``: with the line of code."""
    return tuple(
        snapshot.Cpu(
            id=cpu.id,
            state=cpu.state,
            task=cpu.task.name if cpu.task is not None else "",
            label=cpu.label,
            locks=tuple(lock.name for lock in cpu.held),
            irqs_off=cpu.irq_off > 0,
            rcu_nesting=cpu.rcu_nesting,
            where=line_of(cpu.task) if where and cpu.task is not None else "",
        )
        for cpu in smp.cpus
    )


def line_of(task: Task) -> str:
    """``module.function:line`` of kernel/ that a task stands on, which waits for its turn.

    Empty for the one that runs, and where the kernel is compiled: its code has no frames.
    """
    frame = task.greenlet.gr_frame
    while frame is not None:
        package, _, module = frame.f_globals.get("__name__", "").rpartition(".")
        if package == "memviz.kernel" and module not in _MACHINERY:
            return f"{module}.{frame.f_code.co_qualname}:{frame.f_lineno}"
        frame = frame.f_back
    return ""


def rcu(state: kernel_rcu.Rcu) -> snapshot.Rcu:
    """Grace periods and callbacks."""
    waiting = tuple(cpu for cpu in range(state.smp.nr_cpus) if state.waiting >> cpu & 1)
    return snapshot.Rcu(state.gp_seq, state.running(), state.pending(), waiting)


def lanes(smp: Smp) -> Structured:
    """What CPUs did since the last call: taken out of the machine."""
    found = _structured(smp.lanes, LANE_DTYPE)
    smp.lanes.clear()
    return found


def _structured(rows: Collection[tuple[int, ...]], dtype: np.dtype[np.void]) -> Structured:
    """Rows of integers as a structured array, read-only: numpy alone takes twenty times as long for tuples."""
    if not rows:
        return _NO_ROWS[dtype]
    names = dtype.names or ()
    flat = np.fromiter(chain.from_iterable(rows), np.int64, len(rows) * len(names)).reshape(-1, len(names))
    found = np.empty(len(rows), dtype)
    for column, name in enumerate(names):
        found[name] = flat[:, column]
    found.flags.writeable = False
    return found


def events(trace: Trace, after: int) -> tuple[Structured, int]:
    """Events with a sequence number above ``after``, oldest first, and how many there were that are gone.

    At most ``BULK_MAX`` of the bulk: a window cannot show more between two redraws.
    """
    new = _newer(trace.notable, after, len(trace.notable))
    if trace.bulk_ring:
        new = sorted(new + _newer(trace.bulk_ring, after, BULK_MAX))
    return _structured(new, EVENT_DTYPE), trace.seq - after - len(new)


def _newer(ring: deque[Event], after: int, limit: int) -> list[Event]:
    found: list[Event] = []
    for event in reversed(ring):
        if event[0] <= after or len(found) == limit:
            break
        found.append(event)
    found.reverse()
    return found
