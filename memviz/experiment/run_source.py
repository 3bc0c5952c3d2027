"""A run of an experiment as a source: the very machine lives through its ageing again, up to the moment of its demands.

It goes in the pieces that the measuring went in, so it is the same machine to the digest, as long as the simulation has
not changed since. Whether it is, is said when it has arrived; from there on it is a machine like any other.
"""

from __future__ import annotations

import time
from typing import Final

import msgspec

from memviz import scenario as scenarios
from memviz.experiment.measure import Player, ageing
from memviz.experiment.spec import Cell, scenario_text
from memviz.experiment.table import Results, Run
from memviz.scenario import ScenarioError
from memviz.sources.base import SourceError, SourceSpec
from memviz.sources.simulation import SimulationSource

ON_THE_WAY: Final = "On the way to the run: operation "
ARRIVED: Final = "Here the demands of the report were made."


class RunSource(SimulationSource):
    """See the module. ``cell``: a Cell as JSON; ``digest``: of its aged machine, as it was measured; empty: unknown."""

    def __init__(self, cell: str, digest: str = "") -> None:
        self.cell = msgspec.json.decode(cell, type=Cell)
        try:
            scenario = scenarios.parse(self.cell.text, self.cell.scenario)
        except ScenarioError as error:
            raise SourceError(str(error)) from error
        super().__init__(msgspec.structs.replace(scenario, moment=()), self.cell.seed, self.cell.memory_mib)
        self.title = f"{self.cell.policy.name}, seed {self.cell.seed}: {scenario.title}"
        self.player = Player(self.machine, self.play, ageing(self.cell), self.cell.protocol, self.workloads)
        self.ends = self.player.ends()
        self.measured = digest
        self.arrived = False

    def origin(self) -> dict[str, object]:
        """A run's recording can be played; going on from it would need the experiment, which it does not have."""
        return {}

    def advance(self, seconds: float) -> bool:
        """As fast as it can until the moment of the demands; there it stands."""
        if self.arrived:
            return super().advance(seconds)
        if self._state != "running":
            return False
        begin = time.perf_counter()
        self.machine.smp.lanes_on = False
        while not self.arrived and time.perf_counter() - begin < seconds:
            self.piece()
        self.machine.smp.lanes_on = True
        if not self.arrived:
            self._notice = f"{ON_THE_WAY}{self.machine.ops:,} of {self.play.ops:,}."
        return True

    def piece(self) -> None:
        """The next piece of the ageing, or the policy's next action, or the arrival."""
        player, machine = self.player, self.machine
        if not self.ends:
            self.arrive()
            return
        stop = min(self.ends[0], player.next_action)
        if machine.ops < stop:
            self.play.run_piece(stop)
        elif player.next_action <= self.ends[0]:
            player.next_act()
        else:
            self.ends.pop(0)

    def arrive(self) -> None:
        """The aged machine: compare it with the one that was measured, and put the policy in force."""
        same = not self.measured or self.machine.digest() == self.measured
        if self.cell.begin == "aged":
            self.player.switch(self.cell.policy)
            self.player.act()
        self.arrived = True
        self._state = "paused"
        self._fresh = True
        words = (
            "It is the machine of the report, to the digest."
            if same
            else "It is not the machine of the report: the simulation, or what was done here, is another."
        )
        self._notice = f"{ARRIVED} {words}"


def run_spec(results: Results, run: Run) -> SourceSpec:
    """What a host needs to bring a run to its moment. Raises ScenarioError when its scenario is no longer there."""
    part = next(one for one in (results, *results.literature) if run in one.runs)
    spec = part.spec
    cell = Cell(
        scenario=run.scenario,
        text=scenario_text(run.scenario),
        policy=spec.named(run.policy),
        begin="start" if run.begin == "start" else "aged",
        baseline=spec.named(spec.baseline),
        seed=run.seed,
        memory_mib=run.memory_mib,
        protocol=spec.protocol,
        sources=results.sources,
    )
    told = {"cell": msgspec.json.encode(cell).decode(), "digest": run.outcome.digest}
    return SourceSpec("memviz.experiment.run_source:RunSource", told)
