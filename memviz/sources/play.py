"""A scenario under way: its machine, and the moments of its script that are still to come.

A machine that runs 10 operations ten times takes another course than one that runs 100 at once: its CPUs all come to
stand between the two. So whoever plays a scenario, headless or in a window and however fast, runs it in the same
pieces: ``PIECE`` operations, ending at multiples of it and at moments. Then the same scenario, seed and commands give
the same digest.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from memviz.kernel.machine import Machine
from memviz.scenario import Moment, Scenario
from memviz.sources import controls

PIECE: Final = 32


class Play:
    """Runs a scenario's machine through its script. ``scripted`` False leaves out what a person would do themselves:
    requests, defragmentation and compaction (the window's buttons).

    ``ops``: how long it shall be, None as long as the scenario says. Moments at the scenario's end move with it.
    ``guided``: one moment at a time, so that whoever plays it can stop there (``arrived``).
    """

    def __init__(
        self,
        scenario: Scenario,
        machine: Machine,
        scripted: bool = True,
        ops: int | None = None,
        guided: bool = False,
    ) -> None:
        scenario = scenario.sized(machine.config.memory_mib)
        self.scenario = scenario
        self.machine = machine
        self.before_moment: Callable[[Moment], None] | None = None
        self.on_moment: Callable[[Moment], None] | None = None
        self.ops = scenario.ops if ops is None else ops
        moments = [
            msgspec.structs.replace(one, at=self.ops) if one.at >= scenario.ops else one
            for one in scenario.moment
            if scripted or one.do in ("policy", "look")
        ]
        self._moments = sorted(moments, key=lambda one: one.at)
        self.guided = guided
        self.steps = len(self._moments)
        self.arrived: Moment | None = None
        """The moment that has just been, until the next piece begins."""
        self.last: Moment | None = None
        """The last moment that has been."""
        self.at_moment: Moment | None = None
        """The moment that is under way."""
        self.told = ""
        """What came of the last moment, in words."""

    def run(self, ops: int, progress: Callable[[], None] | None = None) -> None:
        """Do ``ops`` operations, with every moment that falls before or right behind them."""
        end = self.machine.ops + ops
        self._do_moments()
        while self.machine.ops < end:
            self.run_piece(end)
            if progress is not None:
                progress()

    @property
    def step(self) -> int:
        """How many moments have been; one that is under way has not: what it says is not there yet."""
        return self.steps - len(self._moments) - (self.at_moment is not None)

    @property
    def next_at(self) -> int:
        """The operation of the next moment; -1 when there is none any more."""
        return self._moments[0].at if self._moments else -1

    def run_piece(self, end: int) -> None:
        """Do the next piece, but none of it behind operation ``end``."""
        self.arrived = None
        if self.guided and self._do_moments():
            return
        ops = self.machine.ops
        stop = min(end, (ops // PIECE + 1) * PIECE)
        if self._moments:
            stop = min(stop, max(self._moments[0].at, ops + 1))
        self.machine.run(stop - ops)
        self._do_moments()

    def _do_moments(self) -> bool:
        """Do the moments whose time has come: all, or one when guided. Whether there was one."""
        before = len(self._moments)
        while self._moments and self._moments[0].at <= self.machine.ops:
            moment = self._moments.pop(0)
            self.at_moment = moment
            if self.before_moment is not None:
                self.before_moment(moment)
            self.told = self._do(moment)
            self.at_moment = None
            self.arrived = self.last = moment
            if self.on_moment is not None:
                self.on_moment(moment)
            if self.guided:
                break
        return len(self._moments) < before

    def _do(self, moment: Moment) -> str:
        machine = self.machine
        if moment.do == "request":
            return self._request(moment)
        if moment.do == "defragment":
            passes = machine.defragment(moment.cache, moment.ratio)
            return " ".join(one.sentence() for one in passes) or "No slab cache is movable."
        if moment.do == "compact":
            return f"Compaction of all zones has moved {machine.compact():,} pages."
        if moment.do == "policy":
            return controls.switch(machine, moment.name, moment.value)
        if moment.do == "contig":
            return self._contig(moment)
        return ""

    def _request(self, moment: Moment) -> str:
        if moment.times == 1:
            return self.machine.request(moment.order).verdict
        had = sum(self.machine.request(moment.order).ok for _ in range(moment.times))
        return f"{had} of {moment.times} requests of order {moment.order} succeeded ({had * 100 // moment.times} %)."

    def _contig(self, moment: Moment) -> str:
        found = self.machine.alloc_contig(moment.pages)
        if not found.ok:
            return found.sentence
        words = f"Pages {found.start:#x} to {found.end:#x} are one piece: {found.migrated:,} pages moved away"
        return f"{words}, {found.slabs_evacuated} slabs evacuated."
