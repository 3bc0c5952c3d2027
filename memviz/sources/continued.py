"""Going on from a recording: the simulation that was recorded runs again up to an instant, and on from there.

A recording holds where its simulation came from and all that was done to it. So the machine is built anew and led the
same way, and must then be what the recording shows, page frame for page frame; if it is not (the simulated kernel of
this version behaves otherwise), that is said, and nothing goes on.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import replace
from typing import Any, Final

import msgspec
import numpy as np

from memviz import __version__
from memviz.recording.format import RecordingError
from memviz.recording.reader import Reader
from memviz.scenario import Scenario
from memviz.snapshot import Outcome, Snapshot
from memviz.sources import base
from memviz.sources.base import Command, Done, Pause, Run, SetFocus, Speed
from memviz.sources.simulation import SimulationSource

_COMMANDS: Final[dict[str, type[Command]]] = {
    one.__name__: one
    for one in (
        base.Run,
        base.Step,
        base.SetFocus,
        base.RequestPages,
        base.Defragment,
        base.Compact,
        base.SetPolicy,
        base.SetWorkload,
    )
}

AGAIN: Final = "Running again to where the recording stands: "
"""How the notice of a source on its way begins; then comes how far it is, as ``7 %``."""


class ContinuedSource(SimulationSource):
    """A simulation on its way back to where a recording stands; then one like any other, and paused."""

    def __init__(self, path: str, at_ns: int = -1) -> None:
        """Raises SourceError, one sentence, for a recording that can't be run again."""
        with Reader(path) as reader:
            origin = reader.told("origin")
            if not isinstance(origin, dict):
                raise RecordingError(f"{path} cannot be run again: it is not of a simulation; memviz play shows it")
            goal = reader.find(at_ns) if at_ns >= 0 else reader.instants
            self._goal = reader.at(goal)
            self._left: deque[Done] = deque(reader.commands(reader.commands_of(goal)))
            self._recorded_by = reader.meta.get("memviz", "")
        super().__init__(**origin_arguments(origin))
        self._path = path
        self._again = True
        self._held = False
        self._wanted_singly = False

    # -- on the way

    @property
    def arrived(self) -> bool:
        """The machine is where the recording stands."""
        return not self._again

    def advance(self, seconds: float) -> bool:
        """Run again for about ``seconds``; once arrived, as any simulation."""
        if not self._again:
            return super().advance(seconds)
        if self._held:
            return False
        begin = time.perf_counter()
        smp = self.machine.smp
        while self._again and time.perf_counter() - begin < seconds:
            smp.lanes_on = not smp.lanes
            self._do_next()
            smp.lanes_on = True
        return True

    def _do_next(self) -> None:
        until = self._left[0].ops if self._left else self._goal.ops
        if self.machine.ops < until:
            # Where a recorded run stood, it stood between two pieces: one that ends here ended here then.
            self.run_piece(until, self._wanted_singly)
            return
        if self.machine.ops > until:
            raise self._astray()
        if not self._left:
            self._reach()
            return
        self._redo(self._left.popleft())

    def _redo(self, done: Done) -> None:
        arguments: Any = msgspec.json.decode(done.arguments)
        if done.name == "RunSingly":
            self._wanted_singly = bool(arguments["on"])
        elif done.name == "RunPiece":
            self.run_piece(self.machine.ops + 1, self._wanted_singly)
        elif done.name == "Moments":
            self.first_moments()
        elif done.name in _COMMANDS:
            arguments.pop("slowly", None)  # nobody watches it again
            super().command(0, msgspec.convert(arguments, _COMMANDS[done.name]))
        else:
            raise RecordingError(f"{self._path} cannot be run again: it holds a command {done.name!r}; update memviz")

    def _reach(self) -> None:
        if not same_instant(super().snapshot(), self._goal):
            raise self._astray()
        self._again = False
        self._state = "paused"
        self._fresh = True

    def _astray(self) -> RecordingError:
        by = f"memviz {self._recorded_by}" if self._recorded_by != __version__ else "a memviz of another build"
        return RecordingError(
            f"{self._path} cannot be continued: run again, its machine went another way before operation "
            f"{self._goal.ops:,}, for it was recorded by {by}; it can still be played"
        )

    def command(self, number: int, command: Command) -> None:
        """As any simulation does it; on the way only what changes nothing."""
        if not self._again:
            super().command(number, command)
            return
        sentence, ok = "", True
        if isinstance(command, Run | Pause):
            self._held = isinstance(command, Pause)
        elif isinstance(command, SetFocus):
            self.focus = command.focus._replace(bulk_events=self.focus.bulk_events)
        elif not isinstance(command, Speed):
            sentence, ok = "Wait until the machine is where the recording was: it is on its way.", False
        self._outcomes = (*self._outcomes, Outcome(number, type(command).__name__, ok, sentence))[-16:]
        self._fresh = True

    def snapshot(self) -> Snapshot:
        """This instant, and how far it is."""
        found = super().snapshot()
        if not self._again:
            return found
        percent = self.machine.ops * 100 // max(1, self._goal.ops)
        notice = f"{AGAIN}{percent} %"
        return replace(found, state="paused" if self._held else "running", notice=notice)


def origin_arguments(origin: dict[str, Any]) -> dict[str, Any]:
    """What ``SimulationSource`` was made with. Raises RecordingError."""
    try:
        return {**origin, "scenario": msgspec.convert(origin["scenario"], Scenario)}
    except (KeyError, msgspec.ValidationError) as error:
        raise RecordingError(
            f"the recording cannot be run again: its scenario is not one of today ({error})"
        ) from error


def same_instant(one: Snapshot, other: Snapshot) -> bool:
    """Two Snapshots show the same state of the same machine at the same time."""
    return (
        (one.time_ns, one.ops, one.zones, one.counters, one.rcu)
        == (other.time_ns, other.ops, other.zones, other.counters, other.rcu)
        and np.array_equal(one.pages.owner, other.pages.owner)
        and np.array_equal(one.pages.order, other.pages.order)
        and np.array_equal(one.pages.flags, other.pages.flags)
        and np.array_equal(one.pages.stamp, other.pages.stamp)
        and np.array_equal(one.pageblock_mt, other.pageblock_mt)
    )
