"""CPU lanes without Qt: what CPUs did in a sliding window of virtual time, as rows of pixels and labels.

Segments come with each snapshot and are kept in a bounded ring. A segment narrower than a pixel is not lost: of all
that share a pixel the state that matters most is shown.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from memviz.gui.render.among import among, table
from memviz.kernel.trace import RCU_GP_BEGIN, RCU_GP_END
from memviz.snapshot import (
    CPU_IDLE,
    CPU_IRQS_OFF,
    CPU_ISOLATE,
    CPU_MIGRATE,
    CPU_RCU_READ,
    CPU_RUNS,
    CPU_SLAB_LOCK,
    CPU_SLEEPS,
    CPU_SOFTIRQ,
    CPU_SPINS,
    CPU_STATE_NAMES,
    CPU_WAITS_RCU,
    CPU_XA_LOCK,
    CPU_ZONE_LOCK,
    LANE_DTYPE,
    U8,
    U32,
    Rcu,
    Snapshot,
    Structured,
)

I64 = npt.NDArray[np.int64]

RING: Final = 1 << 15
"""Segments that are kept."""
GRACE_PERIODS: Final = 512

RANK: Final = (
    CPU_IDLE, CPU_SLEEPS, CPU_RUNS, CPU_RCU_READ, CPU_SOFTIRQ, CPU_IRQS_OFF, CPU_ZONE_LOCK, CPU_XA_LOCK, CPU_SLAB_LOCK,
    CPU_WAITS_RCU, CPU_MIGRATE, CPU_ISOLATE, CPU_SPINS,
)  # fmt: skip
"""States by how much it matters that they are seen, least first."""
_RANK_OF: Final = np.argsort(np.array(RANK)).astype(np.uint8)
_PLAIN: Final = table(CPU_IDLE, CPU_RUNS, CPU_SLEEPS)
_RESTS: Final = table(CPU_IDLE, CPU_SLEEPS, CPU_WAITS_RCU)
_GRACE: Final = table(RCU_GP_BEGIN, RCU_GP_END)
NOTHING: Final = len(CPU_STATE_NAMES)
"""Pixel of a time of which nothing is known."""

LADDER: Final = tuple(base * 10**power for power in range(2, 10) for base in (1, 2, 5))
"""Lengths of the window that are chosen by themselves, ns: 100 ns to 5 s."""
PER_CPU: Final = 15
"""So many segments a CPU are readable."""


class Label(NamedTuple):
    """Words in a segment."""

    cpu: int
    x: int
    w: int
    """Pixels."""
    state: int


class Mark(NamedTuple):
    """A moment that concerns all CPUs."""

    time_ns: int
    words: str
    ends: bool


class History:
    """The last segments and grace periods: bounded, oldest dropped first."""

    def __init__(self) -> None:
        self._ring = np.zeros(RING, LANE_DTYPE)
        self._filled = 0
        self._next = 0
        self.marks: list[Mark] = []
        self.now = 0
        self.latest = 0
        """When the window ends that shows the present best."""
        self.cpus = 0
        self.span = LADDER[6]
        """Length of the window, ns, as it suits what comes in."""

    def clear(self) -> None:
        """Forget all: another machine, or a jump in time."""
        self._filled = self._next = self.now = 0
        self.marks = []

    def add(self, snapshot: Snapshot) -> None:
        """Take over what happened since the snapshot before. Time that runs backwards (a jump) begins anew."""
        if snapshot.time_ns < self.now:
            self.clear()
        self.now = snapshot.time_ns
        lanes = snapshot.lanes[-RING:]
        self.cpus = max(len(snapshot.cpus), int(lanes["cpu"].max()) + 1 if lanes.size else 0)
        room = min(lanes.size, RING - self._next)
        self._ring[self._next : self._next + room] = lanes[:room]
        self._ring[: lanes.size - room] = lanes[room:]
        self._next = (self._next + int(lanes.size)) % RING
        self._filled = min(self._filled + int(lanes.size), RING)
        for event in snapshot.events[among(snapshot.events["kind"], _GRACE)]:
            ends = int(event["kind"]) == RCU_GP_END
            words = f"grace period {int(event['a'])} {'ends' if ends else 'begins'}"
            self.marks.append(Mark(int(event["time"]), words, ends))
        del self.marks[:-GRACE_PERIODS]
        if lanes.size:
            self._follow(snapshot.state == "running")

    def _follow(self, running: bool) -> None:
        """Choose the window: its length by the pace of segments, in steps and not at once, for a scale that flickers
        can't be read; its end where the last rush of them was, and now while the machine stands.

        A machine at full speed is recorded for a piece of the time only, and now and then all CPUs sleep.
        """
        number = PER_CPU * max(self.cpus, 1)
        recent = self._ring[np.arange(self._next - min(self._filled, 8 * number), self._next)]
        busy = recent[~among(recent["state"], _RESTS)]
        self.latest = int(recent["end"].max())
        if not busy.size:
            return
        wanted = self._pace(busy[-4 * number :], number) if running else self._since_rest(busy[-number:])
        if not self.span / 3 < wanted < self.span * 3:
            self.span = min(LADDER, key=lambda step: abs(step - wanted))
        if running:
            begins, ends = np.sort(busy["begin"]), np.sort(busy["end"])
            seen = np.arange(1, begins.size + 1) - np.searchsorted(begins, ends - self.span)
            self.latest = int(ends[np.flatnonzero(seen >= min(number // 4, int(seen.max())))[-1]])

    @staticmethod
    def _pace(busy: Structured, number: int) -> float:
        """How long ``number`` segments take, rest not counted."""
        return float((busy["end"] - busy["begin"]).sum()) * number / busy.size

    def _since_rest(self, busy: Structured) -> float:
        """How long ago all CPUs rested last: steps that the user makes are told apart from what went before."""
        by_begin = busy[np.argsort(busy["begin"], kind="stable")]
        begins, length = by_begin["begin"], float((busy["end"] - busy["begin"]).mean())
        ended = np.maximum.accumulate(by_begin["end"])
        rests = np.flatnonzero(begins[1:] - ended[:-1] > 10 * length)
        first = int(begins[rests[-1] + 1]) if rests.size else int(begins[0])
        return 1.2 * (self.latest - first)

    def segments(self) -> Structured:
        """All that is kept, in no particular order."""
        return self._ring[: self._filled]

    @property
    def empty(self) -> bool:
        """Whether nothing is known."""
        return self._filled == 0


class Window(NamedTuple):
    """The time that is looked at."""

    begin: int
    end: int
    width: int
    """Pixels."""

    def x(self, time_ns: I64 | int) -> I64:
        """Pixel of a moment; may lie outside."""
        scaled = (np.asarray(time_ns, np.float64) - self.begin) * (self.width / max(self.end - self.begin, 1))
        return np.floor(np.clip(scaled, -1e6, 1e6)).astype(np.int64)

    def time(self, x: float) -> int:
        """Moment of a pixel."""
        return self.begin + round(x * (self.end - self.begin) / max(self.width, 1))


def in_sight(segments: Structured, window: Window, cpus: int) -> Structured:
    """Those that lie in the window, at least in part: few of the many that are kept."""
    inside = (segments["end"] > window.begin) & (segments["begin"] < window.end) & (segments["cpu"] < cpus)
    found: Structured = segments[inside]
    return found


def rows(segments: Structured, window: Window, cpus: int) -> U8:
    """For each CPU and pixel a state, ``NOTHING`` where none is known: shape (cpus, width).

    Neighbours of the same state stay apart by colour only where ``begins`` draws a line.
    """
    ranks = np.zeros((cpus, window.width), np.uint8)
    seen = in_sight(segments, window, cpus)
    if seen.size:
        left = np.clip(window.x(seen["begin"]), 0, window.width - 1)
        right = np.clip(window.x(seen["end"]), left + 1, window.width)
        rank = _RANK_OF[np.clip(seen["state"], 0, NOTHING - 1)] + np.uint8(1)
        # Each segment as all its pixels, so that one maximum settles who is seen.
        length = right - left
        start = np.cumsum(length) - length
        pixel = np.arange(int(length.sum())) - np.repeat(start - left, length)
        flat = np.repeat(seen["cpu"].astype(np.int64) * window.width, length) + pixel
        np.maximum.at(ranks.reshape(-1), flat, np.repeat(rank, length))
    states = np.array((NOTHING, *RANK), np.uint8)
    return states[ranks]


def begins(segments: Structured, window: Window, cpus: int, least: int = 3) -> npt.NDArray[np.bool_]:
    """Where a segment of at least ``least`` pixels begins: shape (cpus, width). Plain running flows together."""
    lines = np.zeros((cpus, window.width), np.bool_)
    inside = (segments["begin"] >= window.begin) & (segments["begin"] < window.end) & (segments["cpu"] < cpus)
    seen = segments[inside]
    left, right = window.x(seen["begin"]), window.x(seen["end"])
    wide = (right - left >= least) & (left >= 0) & (left < window.width)
    wide &= ~among(seen["state"], _PLAIN)
    lines[seen["cpu"][wide], left[wide]] = True
    return lines


def picture(states: U8, lines: npt.NDArray[np.bool_], palette: U32, back: int) -> U32:
    """One line of pixels a CPU: shape (cpus, width). ``palette`` has a colour a state and one for ``NOTHING``."""
    pixels = np.take(palette, states)
    pixels[lines] = back
    return pixels


def labels(segments: Structured, window: Window, cpus: int, least: int) -> list[Label]:
    """Segments with room for words: at least ``least`` pixels wide in sight. Idle and plain running need none."""
    seen = in_sight(segments, window, cpus)
    left = np.clip(window.x(seen["begin"]), 0, window.width)
    right = np.clip(window.x(seen["end"]), 0, window.width)
    told = (right - left >= least) & ~among(seen["state"], _PLAIN)
    return [
        Label(int(segment["cpu"]), int(x), int(w), int(segment["state"]))
        for segment, x, w in zip(seen[told], left[told], (right - left)[told], strict=True)
    ]


def at(segments: Structured, cpu: int, time_ns: int) -> tuple[int, int, int] | None:
    """State, begin and end of what a CPU did at a moment; None where nobody knows."""
    found = np.flatnonzero((segments["cpu"] == cpu) & (segments["begin"] <= time_ns) & (segments["end"] > time_ns))
    if not found.size:
        return None
    one = segments[found[-1]]
    return int(one["state"]), int(one["begin"]), int(one["end"])


def subtitle(rcu: Rcu | None) -> str:
    """ "virtual time · grace period 118 running · waits for CPU 2"."""
    if rcu is None:
        return "virtual time"
    text = f"virtual time · grace period {rcu.gp} {'running' if rcu.running else 'over'}"
    if rcu.running and rcu.waiting_for:
        cpus = ", ".join(str(cpu) for cpu in rcu.waiting_for)
        text += f" · waits for CPU{'s' if len(rcu.waiting_for) > 1 else ''} {cpus}"
    if rcu.callbacks:
        text += f" · {rcu.callbacks:,} callback{'s' if rcu.callbacks != 1 else ''} queued"
    return text
