"""A case of the race lab as a source: a run that is stepped through, forwards and back.

A variant that some schedule breaks comes with the shortest such run that the search finds; one that holds with the run
of a seed. ``Run`` plays it at a pace that can be watched and stops at the verdict.
"""

from __future__ import annotations

import time
from typing import Final

from memviz.kernel.radix_tree import RadixTree
from memviz.kernel.xa_node import XA_CHUNK_SHIFT, XaNode
from memviz.kernel.xarray import XArray
from memviz.races.case import HOLDS, Variant
from memviz.races.catalogue import CASES, RaceError, find
from memviz.races.report import FEW
from memviz.races.shown import Race, RaceCpu
from memviz.races.stepper import Stand, Stepper, source
from memviz.snapshot import (
    Focus,
    Outcome,
    Snapshot,
    Structured,
    XArrayInfo,
)
from memviz.sources import convert_cpus, convert_pages, convert_request, convert_slabs
from memviz.sources.base import Command, Pause, Run, SetFocus, SetWorkload, SourceError, Speed, Step, StepBack, StepCpu
from memviz.sources.convert_xarrays import NodeWatch

OUTCOMES: Final = 16
PACE: Final = 10
"""Points a second."""
_AS_FAST_AS_IT_CAN: Final = 1_000
_SEED: Final = 1


class Tree:
    """An array as the page cache of a file has it."""

    def __init__(self, tree: XArray | RadixTree) -> None:
        self.i_pages = tree


class RaceSource:
    """One run of one variant. Raises SourceError, one sentence, for a case or variant that there is not."""

    def __init__(self, case: str, variant: str = "", seed: int | None = None) -> None:
        try:
            self.case = find(case)
            chosen = self.case.variant(variant)
        except (RaceError, ValueError) as error:
            raise SourceError(str(error)) from error
        self.title = self.case.title
        self.focus = Focus()
        self._seed = seed
        self._state = "paused"
        self._speed = PACE
        self._due = 0.0
        self._seq = 0
        self._outcomes: tuple[Outcome, ...] = ()
        self._found = ""
        self._event_seq = 0
        self.stepper = self._open(chosen)
        self._look_anew()

    def _open(self, variant: Variant) -> Stepper:
        """The run to step through."""
        self.variant = variant
        if self._seed is not None or variant.breaks == HOLDS:
            seed = _SEED if self._seed is None else self._seed
            self._found = f"the run of seed {seed}"
            return Stepper(variant, seed=seed)
        verdict = variant.search(FEW)
        tried = f"{verdict.schedules:,} schedule{'s' if verdict.schedules != 1 else ''}"
        self._found = f"the shortest run that breaks it, found after {tried}"
        return Stepper(variant, variant.minimised(verdict))

    # -- working -----------------------------------------------------------------------------------------------------

    def advance(self, seconds: float) -> bool:
        """Play on, when it is time for the next point. False when paused or nothing is due yet."""
        now = time.perf_counter()
        if self._state != "running" or now < self._due:
            return False
        self._due = max(self._due + 1 / (self._speed or _AS_FAST_AS_IT_CAN), now - 0.1)
        self._forward(1)
        return True

    def _forward(self, count: int, cpu: int = -1) -> None:
        for _ in range(count):
            if not self.stepper.forward(cpu) or self.stepper.ended:
                self._state = "paused"
                return

    def command(self, number: int, command: Command) -> None:
        """Do ``command``; what a person asked wrongly is an Outcome."""
        try:
            sentence, ok = self._do(command), True
        except ValueError as error:
            sentence, ok = str(error), False
        self._outcomes = (*self._outcomes, Outcome(number, type(command).__name__, ok, sentence))[-OUTCOMES:]

    def _do(self, command: Command) -> str:
        if isinstance(command, Run):
            self._state = "paused" if self.stepper.ended else "running"
            self._due = time.perf_counter()
        elif isinstance(command, Pause):
            self._state = "paused"
        elif isinstance(command, Step):
            self._state = "paused"
            self._forward(command.count)
        elif isinstance(command, StepBack):
            self._state = "paused"
            self.stepper.go_to(max(0, self.stepper.position - command.count))
        elif isinstance(command, StepCpu):
            self._state = "paused"
            return self._step_cpu(command.cpu)
        elif isinstance(command, Speed):
            self._speed = max(0, command.ops_per_s)
        elif isinstance(command, SetFocus):
            self.focus = command.focus
        elif isinstance(command, SetWorkload):
            self._choose(command.name, command.value)
        else:
            raise ValueError("A case of the race lab can only be stepped, forwards and back: open a scenario for more.")
        return ""

    def _step_cpu(self, cpu: int) -> str:
        if not 0 <= cpu < self.stepper.lab.smp.nr_cpus:
            raise ValueError(f"This case has no CPU {cpu}: it has {self.stepper.lab.smp.nr_cpus}.")
        self._forward(1, cpu)
        if self.stepper.scheduler.last == cpu or self.stepper.ended:
            return ""
        return f"CPU {cpu} cannot go on here: it waits, or has nothing left to do. Another one went."

    def _choose(self, name: str, value: str) -> None:
        if name == "seed":
            self._seed = int(value) if value else None
            self.stepper = self._open(self.variant)
        elif name == "variant":
            self.stepper = self._open(self.case.variant(value))
        else:
            raise ValueError(f"A case of the race lab has no control called {name!r}: there are variant and seed.")
        self._state = "paused"

    def close(self) -> None:
        """Nothing is held that the process's end does not give back."""

    # -- looking -----------------------------------------------------------------------------------------------------

    def snapshot(self) -> Snapshot:
        """This instant."""
        stepper = self.stepper
        lab = stepper.lab
        if lab is not self._lab:
            self._look_anew()
        self._seq += 1
        events, lost = convert_cpus.events(lab.smp.trace, self._event_seq)
        self._event_seq = lab.smp.trace.seq
        self._watch.note(events)
        stands = stepper.stands()
        pages = convert_pages.pages(lab.pages.mem)
        name = self.focus.cache if self.focus.cache in lab.slub.caches else "xa_node"
        slabs, objects = convert_slabs.slabs_and_objects(lab.slub, name)
        last = lab.slub.ledger.last()
        return Snapshot(
            seq=self._seq,
            time_ns=lab.smp.now,
            ops=stepper.position,
            title=self.title,
            source="simulation",
            state="ended" if stepper.ended else self._state,
            zones=convert_pages.zones(lab.pages),
            pages=pages,
            pageblock_mt=convert_pages.pageblock_mt(lab.pages.mem),
            possible=convert_pages.contiguity_of(lab.slub, pages).possible,
            caches=convert_slabs.caches(lab.slub),
            slabs=slabs,
            objects=objects,
            xarrays=tuple(self._info(number, tree) for number, tree in enumerate(self._trees())),
            nodes=self._nodes(),
            cpus=tuple(
                cpu._replace(where=str(stand.lines[0]) if stand.lines else "")
                for cpu, stand in zip(convert_cpus.cpus(lab.smp), stands, strict=True)
            ),
            lanes=convert_cpus.lanes(lab.smp),
            rcu=convert_cpus.rcu(lab.rcu),
            counters=convert_pages.counters(lab.pages),
            events=events,
            lost_events=lost,
            defrag=convert_request.defrag_report([last]) if last is not None else None,
            focus=self.focus,
            outcomes=self._outcomes,
            speed=self._speed,
            notice=stepper.verdict,
            race=self._race(stands),
        )

    def _look_anew(self) -> None:
        """A run that went back is a machine anew: what happened in it is told again."""
        self._lab = self.stepper.lab
        self._event_seq = 0
        self._watch = NodeWatch(self._lab.rcu, self._lab.slub)

    def _race(self, stands: tuple[Stand, ...]) -> Race:
        case, variant, stepper = self.case, self.variant, self.stepper
        return Race(
            name=case.name,
            title=case.title,
            claim=case.claim,
            by=case.by,
            date=case.date,
            look_for=case.look_for,
            finding=case.finding,
            variants=tuple((one.name, one.says) for one in case.variants),
            variant=variant.name,
            breaks=variant.breaks,
            found=self._found,
            position=stepper.position,
            last=stepper.scheduler.last,
            ended=stepper.ended,
            broken=bool(stepper.failure),
            verdict=stepper.verdict,
            cpus=tuple(race_cpu(stand) for stand in stands),
            cases=tuple((one.name, one.title) for one in CASES),
        )

    def _info(self, number: int, array: XArray | RadixTree) -> XArrayInfo:
        head = array.top()
        height = head.shift // XA_CHUNK_SHIFT + 1 if isinstance(head, XaNode) else 0
        movable = self.stepper.lab.nodes.cache.movable
        nodes = array.nodes_in_tree()
        entries = sum(node.count for node in nodes if node.shift == 0)
        return XArrayInfo(number, array.name, len(nodes), height, entries, movable)

    def _trees(self) -> list[XArray | RadixTree]:
        return [*self.stepper.lab.arrays, *self.stepper.lab.trees]

    def _nodes(self) -> Structured:
        """The tree in focus: its nodes, those that wait for RCU, those not published yet, the readers on them."""
        trees = self._trees()
        number = self.focus.xarray if 0 <= self.focus.xarray < len(trees) else 0
        return self._watch.nodes(Tree(trees[number]) if trees else None)


def race_cpu(stand: Stand) -> RaceCpu:
    """Where one CPU stands, with the lines around it."""
    line = stand.lines[0] if stand.lines else None
    return RaceCpu(
        id=stand.cpu,
        task=stand.task,
        label=stand.label,
        waits=stand.waits,
        locks=stand.locks,
        irqs_off=stand.irqs_off,
        rcu_nesting=stand.rcu_nesting,
        module=line.module if line is not None else "",
        function=line.function if line is not None else "",
        line=line.number if line is not None else 0,
        source=tuple(source(line)) if line is not None else (),
    )
