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

PIECE: Final = 32


class Play:
    """Runs a scenario's machine through its script. ``scripted`` False leaves out what a person would do themselves:
    requests, defragmentation and compaction (the window's buttons).

    ``ops``: how long it shall be, None as long as the scenario says. Moments at the scenario's end move with it.
    """

    def __init__(self, scenario: Scenario, machine: Machine, scripted: bool = True, ops: int | None = None) -> None:
        scenario = scenario.sized(machine.config.memory_mib)
        self.scenario = scenario
        self.machine = machine
        self.on_moment: Callable[[Moment], None] | None = None
        self.ops = scenario.ops if ops is None else ops
        moments = [
            msgspec.structs.replace(one, at=self.ops) if one.at >= scenario.ops else one
            for one in scenario.moment
            if scripted or one.do in ("policy", "look")
        ]
        self._moments = sorted(moments, key=lambda one: one.at)

    def run(self, ops: int, progress: Callable[[], None] | None = None) -> None:
        """Do ``ops`` operations, with every moment that falls before or right behind them."""
        end = self.machine.ops + ops
        self._do_moments()
        while self.machine.ops < end:
            self.run_piece(end)
            if progress is not None:
                progress()

    def run_piece(self, end: int) -> None:
        """Do the next piece, but none of it behind operation ``end``."""
        ops = self.machine.ops
        stop = min(end, (ops // PIECE + 1) * PIECE)
        if self._moments:
            stop = min(stop, max(self._moments[0].at, ops + 1))
        self.machine.run(stop - ops)
        self._do_moments()

    def _do_moments(self) -> None:
        while self._moments and self._moments[0].at <= self.machine.ops:
            moment = self._moments.pop(0)
            self._do(moment)
            if self.on_moment is not None:
                self.on_moment(moment)

    def _do(self, moment: Moment) -> None:
        if moment.do == "request":
            self.machine.request(moment.order)
        elif moment.do == "defragment":
            self.machine.defragment(moment.cache, moment.ratio)
        elif moment.do == "compact":
            self.machine.compact()
        elif moment.do == "policy":
            self.machine.set_policy(moment.name, moment.value)
