"""Following page frames: what it may cost, and that nothing is believed of what was not seen."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import Any

import numpy as np
import pytest

from memviz import live_helper
from memviz.kernel import page, trace
from memviz.snapshot import EVENT_DTYPE, U64, Structured
from memviz.sources.linux import LinuxSource
from memviz.sources.linux_access import LiveError
from memviz.sources.linux_caches import CacheFinder
from memviz.sources.linux_sweep import ALLOCATED, LISTED, FrameMap, sweep
from memviz.sources.linux_trace import OVERHEAD, EventBudget, LiveTrace

root = pytest.mark.skipif(
    os.geteuid() != 0 or not os.access(live_helper.KPAGEFLAGS, os.R_OK), reason="needs root and /proc/kpageflags"
)
MS = 1_000_000


def busy(per_ms: int, ms: int, cpu: int = 0, start_ms: int = 0) -> Structured:
    """A program on one CPU that causes so many events in each millisecond."""
    events = np.zeros(per_ms * ms, EVENT_DTYPE)
    events["kind"] = trace.MM_PAGE_ALLOC
    events["cpu"] = cpu
    events["time"] = start_ms * MS + np.arange(events.size) * MS // per_ms
    return events


def share_paid(per_ms: int, share: float, seconds: int = 20) -> float:
    """What a program on one CPU pays that runs all the time, 250 ns an event: of its time."""
    budget = EventBudget(share, 250)
    paid = 0
    for tick in range(seconds * 20):
        on = budget.on
        budget.account([busy(per_ms, 50, start_ms=tick * 50)] if on else [], tick * 0.05)
        paid += on * per_ms * 50 * 250
    return paid / (seconds * 1e9)


@pytest.mark.parametrize("per_ms", [70, 200, 600, 2000])
def test_programs_pay_no_more_than_their_share(per_ms: int) -> None:
    assert per_ms * 250 / MS > OVERHEAD, "more than may be spent, if all were traced"
    assert 0.5 * OVERHEAD < share_paid(per_ms, OVERHEAD) < 1.2 * OVERHEAD


def test_what_costs_little_is_always_traced() -> None:
    assert share_paid(30, OVERHEAD) == pytest.approx(30 * 250 / MS)
    assert share_paid(600, float("inf")) == pytest.approx(600 * 250 / MS)


def test_a_program_on_one_of_many_cpus_does_not_pay_for_all() -> None:
    budget = EventBudget(OVERHEAD, 250)
    quiet = [busy(1, 50, cpu) for cpu in range(1, 8)]
    assert not budget.account([busy(600, 50), *quiet], 1.0)


def test_a_short_burst_is_traced_whole() -> None:
    budget = EventBudget(OVERHEAD, 250)
    for second in range(10):
        assert budget.account([busy(500, 5, start_ms=second * 1000)], float(second)), second


class Tape:
    """A way to a machine whose trace was written beforehand."""

    def __init__(self, *batches: list[tuple[int, bytes]]) -> None:
        self.batches = list(batches)
        self.switched: list[bool] = []
        self.lost = 0

    def trace_start(self) -> dict[str, Any]:
        return {"formats": {}, "cpus": [0], "page": 4096, "event_ns": -5}

    def trace_read(self, pages: int) -> list[tuple[int, bytes]]:
        return self.batches.pop(0) if self.batches else []

    def trace_follow(self, on: bool) -> None:
        self.switched.append(on)

    def trace_ready(self) -> bool:
        return False

    def trace_lost(self) -> int:
        return self.lost

    def trace_sample(self, on: bool) -> None:
        pass

    def trace_stop(self) -> None:
        pass

    def text(self, name: str) -> str:
        raise LiveError(name)

    def slab_figures(self) -> dict[str, dict[str, int]]:
        return {}

    def page_flags_into(self, start: int, words: U64) -> int:
        return 0

    def page_words(self, start: int, count: int, what: str) -> U64:
        return np.zeros(0, np.uint64)

    def page_owner(self, pfn: int) -> str:
        return ""

    def cgroups(self) -> dict[int, str]:
        return {}

    def act(self, action: str, argument: str = "") -> str:
        return ""

    def close(self) -> None:
        pass


def test_lost_events_make_what_the_trace_said_void() -> None:
    frames = FrameMap(2048)
    tape = Tape()
    one = LiveTrace(tape, frames, CacheFinder(frames))
    assert one.event_ns == 50, "a price that cannot be is not believed"
    frames.traced[:3] = (1, 2, 3)
    frames.trusted = True
    tape.lost = 7
    one.drain(0)
    assert (one.lost, one.gaps) == (7, 1)
    assert frames.traced[:3].tolist() == [0, 0, LISTED]
    assert not frames.trusted


# -- the real machine

TOUCH = """
import mmap
for _ in range({rounds}):
    room = mmap.mmap(-1, 64 << 20)
    room.madvise(mmap.MADV_NOHUGEPAGE)
    room[::4096] = bytes(1 << 14)
    room.close()
"""
HOLD = """
import mmap
room = mmap.mmap(-1, 32 << 20, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
room.madvise(mmap.MADV_NOHUGEPAGE)
room[::4096] = bytes(1 << 13)
print("held", flush=True)
import sys; sys.stdin.read()
"""


def traced(**arguments: Any) -> LinuxSource:
    one = LinuxSource(**arguments)
    if one.missing:
        one.close()
        pytest.skip(str(one.missing))
    return one


def watch(one: LinuxSource, rounds: int) -> None:
    """Let a program touch memory while ``one`` watches."""
    process = subprocess.Popen([sys.executable, "-c", TOUCH.format(rounds=rounds)])
    while process.poll() is None:
        one.advance(0.01)
        time.sleep(0.01)
    assert process.returncode == 0


@root
def test_a_program_that_touches_memory_and_nothing_else_is_sampled_and_the_window_says_so() -> None:
    one = traced()
    try:
        watch(one, 20)
        assert "Events are sampled" in one.snapshot().notice
    finally:
        one.close()


def compared(one: LinuxSource) -> bool:
    """Compare the followed map with a fresh sweep. False: events were lost meanwhile, which voids what was followed."""
    held = subprocess.Popen([sys.executable, "-c", HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert held.stdout is not None
    assert held.stdout.readline()
    one.drain()
    gaps = one.gaps
    followed, known = one.frames.owner.copy(), one.frames.traced.copy()
    one.frames.traced[:] = 0
    one.look_again()  # what was guessed from gfp flags is looked at
    one.drain()
    owner = one.frames.owner.copy()
    fresh = FrameMap(one.frames.nr)
    sweep(one._access, fresh)
    one._trace.find_lost()  # type: ignore[union-attr]
    one.drain()
    held.communicate()
    if one.gaps != gaps:
        return False
    still = (known == ALLOCATED) & (one.frames.traced == 0)  # not touched while the sweeps went on
    assert np.count_nonzero(still) > 4000
    assert not (followed[still] == page.OWNER_FREE).any()
    assert not (fresh.owner[still] == page.OWNER_FREE).any()
    slabs = (page.OWNER_SLAB, page.OWNER_SLAB_XA, page.OWNER_SLAB_VFS)  # a fresh sweep knows no cache
    same = (fresh.owner == owner) | (np.isin(owner, slabs) & (fresh.owner == page.OWNER_SLAB))
    assert np.count_nonzero(~same[still]) <= 0.001 * np.count_nonzero(still)
    return True


@root
@pytest.mark.slow
def test_after_a_million_events_the_traced_map_equals_a_sweep() -> None:
    one = traced(overhead=float("inf"))
    try:
        while one.event_count < 1_000_000:
            watch(one, 4)
        for _ in range(3):
            if compared(one):
                break
        else:
            pytest.skip("the machine is too busy: events were lost between two sweeps, three times")
    finally:
        one.close()
