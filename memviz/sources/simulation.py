"""The simulated kernel as a source: runs a scenario's machine, turns it into Snapshots, obeys commands.

Pages, zones, CPUs and events are taken for every Snapshot. What takes longer (slabs and their objects, trees, what
could be contiguous) is taken again when a share of the time since allows it: ``DETAIL_SHARE`` while the machine runs,
``COMMAND_SHARE`` in the middle of a command, and always when the machine stands. What each CPU did (lanes) is recorded
throughout when somebody can follow it: paused, stepping, at low speed. At full speed it is recorded for one piece ten
times a second: a look now and then, at a bounded price.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

import msgspec

from memviz import scenario as scenarios
from memviz.analysis.contiguity import Contiguity
from memviz.kernel.page import MAX_PAGE_ORDER
from memviz.kernel.page_index import RADIX_TREE_NODE
from memviz.snapshot import (
    U8,
    Cache,
    Control,
    DefragReport,
    Focus,
    Guide,
    Outcome,
    Pages,
    Snapshot,
    Structured,
    XArrayInfo,
)
from memviz.sources import controls, convert_cpus, convert_pages, convert_request, convert_slabs, convert_xarrays
from memviz.sources.base import (
    Command,
    Compact,
    Defragment,
    Done,
    Pause,
    RequestPages,
    Run,
    SetFocus,
    SetPolicy,
    SetWorkload,
    SourceError,
    Speed,
    Step,
)
from memviz.sources.convert_detail import page_detail
from memviz.sources.detail import Detail
from memviz.sources.play import PIECE, Play
from memviz.sources.unhurried import Unhurried

DETAIL_SHARE: Final = 0.007
"""Of the engine's time, for each detail."""
COMMAND_SHARE: Final = 0.05
"""The same while a command is under way: it is short, and what it does is worth seeing."""
LANES_S: Final = 0.1
OUTCOMES: Final = 16
_SMOOTH_HZ: Final = 20  # slower than PIECE times this a throttled run goes op by op: it would stutter otherwise

_JOURNALED: Final = (Run, Step, SetFocus, RequestPages, Defragment, Compact, SetPolicy, SetWorkload)
"""What makes the machine go another way. Pausing doesn't, nor does looking, except at the bulk of events."""

LOOK: Final = {
    "look": "heatmap",
    "request": "request",
    "defragment": "story",
    "compact": "contiguity",
    "contig": "heatmap",
    "policy": "policies",
}
"""Where to look after a moment that doesn't say it."""


def _nobody() -> None:
    """Nobody looks on."""


class SimulationSource:
    """A scenario under way. Raises SourceError, one sentence, for a scenario or size that cannot be."""

    def __init__(
        self,
        scenario: str | scenarios.Scenario,
        seed: int | None = None,
        memory_mib: int | None = None,
        scripted: bool = False,
        ops: int | None = None,
        guided: bool = False,
    ) -> None:
        """``scripted``, ``ops``: as ``Play`` has them. ``guided``: with every moment, and a pause behind each."""
        try:
            self.scenario = scenarios.load(scenario) if isinstance(scenario, str) else scenario
            self.machine, self.workloads = self.scenario.populated(seed=seed, memory_mib=memory_mib)
        except ValueError as error:
            raise SourceError(str(error)) from error
        self.machine.smp.lanes_on = True
        self.title = self.scenario.title
        self.play = Play(self.scenario, self.machine, scripted or guided, ops, guided)
        self.play.before_moment = self._moment_comes
        self.play.on_moment = self._moment_came
        self._moment_ops = 0
        self.journal: list[Done] = []
        """All that was done to the machine from outside, and where it ran by single operations instead of pieces."""
        self._origin = {"seed": seed, "memory_mib": memory_mib, "scripted": scripted, "ops": ops, "guided": guided}
        self._singly = False
        self.detail_share = DETAIL_SHARE
        """Of the engine's time, for each detail; less where nobody sits and looks."""
        self.focus = Focus()
        self._state = "running"
        self._notice = ""
        self._until_end = scripted and not guided
        self._seq = 0
        self._event_seq = 0
        self._fresh = True
        self._busy = False
        self._look: Callable[[], None] = _nobody
        self._unhurried = Unhurried(self.machine)
        self._watch = convert_xarrays.NodeWatch(self.machine.rcu, self.machine.slub)
        self._followed = 0
        """The file whose nodes were moved last: it is shown while nobody has chosen one."""
        self._defrag: DefragReport | None = None
        self._outcomes: tuple[Outcome, ...] = ()
        self._speed = 0
        self._lanes_due = 0.0
        self._pace_begin = 0.0
        self._pace_ops = 0
        self._copies = convert_pages.PageCopies(self.machine.mem)
        self._pages: Pages | None = None
        self._controls: Detail[tuple[Control, ...]] = Detail(lambda: controls.of(self.machine, self.workloads))
        self._slabs: Detail[tuple[tuple[Cache, ...], Structured, U8]] = Detail(self._make_slabs)
        self._xarrays: Detail[tuple[XArrayInfo, ...]] = Detail(self._make_xarrays)
        self._nodes: Detail[Structured] = Detail(self._make_nodes)
        self._contiguity: Detail[Contiguity] = Detail(self._make_contiguity)

    # -- working -----------------------------------------------------------------------------------------------------

    def advance(self, seconds: float) -> bool:
        """Run for about ``seconds``, at the speed that is set. False when paused or nothing is due yet."""
        if self._state != "running":
            return False
        begin = time.perf_counter()
        if self._speed:
            return self._advance_paced(begin, seconds)
        endless = self.machine.ops + (1 << 40)
        if self._until_end and self.machine.ops < self.play.ops:
            endless = self.play.ops
        smp = self.machine.smp
        while True:
            now = time.perf_counter()
            smp.lanes_on = now >= self._lanes_due
            if smp.lanes_on:
                self._lanes_due = now + LANES_S
            self.run_piece(endless, False)
            self._end_with_script()
            smp.lanes_on = True  # commands are few, and everything about them is worth seeing
            if self._state != "running" or time.perf_counter() - begin >= seconds:
                return True

    def _advance_paced(self, begin: float, seconds: float) -> bool:
        due = self._pace_ops + int((begin - self._pace_begin) * self._speed)
        if due - self.machine.ops > self._speed // 2 + 1:
            # The machine cannot keep up with what was asked for: do not chase it later on.
            self._pace()
            due = self.machine.ops + 1
        worked = False
        by_piece = self._speed >= PIECE * _SMOOTH_HZ
        while self.machine.ops + (PIECE if by_piece else 1) <= due:
            self.run_piece(due if by_piece else self.machine.ops + 1, not by_piece)
            self._end_with_script()
            worked = True
            if self._state != "running" or time.perf_counter() - begin >= seconds:
                break
        return worked

    def _end_with_script(self) -> None:
        """A scripted run stops behind its last moment; whoever wants may let it go on."""
        if self._until_end and self.machine.ops >= self.play.ops:
            self._until_end = False
            self._state = "ended"
            self._fresh = True

    def _pace(self) -> None:
        self._pace_begin = time.perf_counter()
        self._pace_ops = self.machine.ops

    def run_piece(self, end: int, singly: bool) -> None:
        """Do the next piece, or the next operation. A machine takes another course by single operations, so the
        journal says where that was."""
        if singly != self._singly:
            self._singly = singly
            self._write_down("RunSingly", {"on": singly})
        before = self.machine.ops
        self.play.run_piece(before + 1 if singly else end)
        if self.machine.ops == before:
            self._write_down("RunPiece", {})

    def first_moments(self) -> None:
        """Do the moments that come before the first operation, as a run from beginning to end does them."""
        self._write_down("Moments", {})
        self.play.run(0)

    def origin(self) -> dict[str, object]:
        """The scenario itself, and what it was started with."""
        return {"scenario": msgspec.to_builtins(self.scenario), **self._origin}

    def digest(self) -> str:
        """The machine's."""
        return self.machine.digest()

    def _write_down(self, name: str, arguments: object) -> None:
        text = msgspec.json.encode(arguments).decode()
        self.journal.append(Done(self.machine.ops, self.machine.smp.now, name, text))

    def only_recorded(self) -> None:
        """Nobody looks on but a recording: details come less often, and what CPUs did when somebody asks for it."""
        self.machine.smp.lanes_on = False  # a third of the speed
        self.detail_share = DETAIL_SHARE / 12

    @property
    def _in_command(self) -> bool:
        return self._busy or self.play.at_moment is not None

    def watch(self, look: Callable[[], None]) -> None:
        """Call ``look`` from inside of runs and commands: between two switches of CPUs nothing is half written that a
        Snapshot reads, though every CPU may be in the middle of an operation.

        For an onlooker's eyes a defragmentation is slowed down (``Unhurried``).
        """
        self._look = look
        self.machine.smp.watch = self._looked_at

    def _looked_at(self) -> None:
        self._look()
        while self._unhurried.wait():
            self._look()

    def close(self) -> None:
        """Nothing is held that the process's end does not give back."""

    # -- commands ------------------------------------------------------------------------------------------------------

    def command(self, number: int, command: Command) -> None:
        """Do ``command``; what a person asked wrongly is an Outcome, what breaks the machine is raised."""
        looks = isinstance(command, SetFocus) and command.focus.bulk_events == self.focus.bulk_events
        if isinstance(command, _JOURNALED) and not looks:
            self._write_down(type(command).__name__, command)
        self._busy = True
        if isinstance(command, Defragment):
            self._unhurried.begin(command.ratio, command.slowly)
        try:
            sentence = self._do(command)
            ok = not isinstance(command, RequestPages) or self.machine.requests[-1].ok
        except ValueError as error:
            sentence, ok = str(error), False
        finally:
            self._busy = False
            self._unhurried.end()
        self._outcomes = (*self._outcomes, Outcome(number, type(command).__name__, ok, sentence))[-OUTCOMES:]
        self._fresh = True

    def _do(self, command: Command) -> str:
        machine = self.machine
        if isinstance(command, Run):
            machine.smp.points_left = -1
            self._state = "running"
            self._pace()
        elif isinstance(command, Pause):
            self._state = "paused"
        elif isinstance(command, Step):
            self._state = "paused"
            self._step(command)
        elif isinstance(command, Speed):
            self._speed = max(0, command.ops_per_s)
            self._pace()
        elif isinstance(command, SetFocus):
            self.focus = command.focus
            machine.trace.bulk = command.focus.bulk_events
        elif isinstance(command, RequestPages):
            if not 0 <= command.order <= MAX_PAGE_ORDER:
                raise ValueError(f"there is no order {command.order}: ask for one from 0 to {MAX_PAGE_ORDER}")
            return machine.request(command.order, command.gfp).verdict
        elif isinstance(command, Defragment):
            return self._defragment(command)
        elif isinstance(command, Compact):
            return f"Compaction of all zones has moved {machine.compact():,} pages."
        elif isinstance(command, SetPolicy):
            return controls.switch(machine, command.name, command.value)
        elif isinstance(command, SetWorkload):
            return controls.turn(machine, self.workloads, command.name, command.value)
        return ""

    def _moment_comes(self, moment: scenarios.Moment) -> None:
        if moment.do == "defragment":
            self._unhurried.begin(moment.ratio)

    def _moment_came(self, moment: scenarios.Moment) -> None:
        """A moment of the script has just been; a guided run stops there."""
        self._unhurried.end()
        if moment.do == "defragment":
            ended = self.machine.smp.now
            passes = [one for one in self.machine.passes if one.end <= ended][-len(self.machine.slub.caches) :]
            self._defrag = convert_request.defrag_report(passes) if passes else None
        self._fresh = True
        # In a guided run the words are in the bar below the line: the line has what came of them.
        self._notice = self.play.told if self.play.guided else f"{moment.say} {self.play.told}".strip()
        if self.play.guided:
            self._moment_ops = self.machine.ops
            self._state = "paused"

    def _guide(self) -> Guide | None:
        play = self.play
        if not play.guided:
            return None
        last = play.last
        say, look = ("", "") if last is None else (last.say, last.look or LOOK[last.do])
        return Guide(play.step, play.steps, say, look, play.told, self._moment_ops, play.next_at)

    def _step(self, command: Step) -> None:
        if command.unit == "op":
            end = self.machine.ops + command.count
            while self.machine.ops < end:
                self.play.run_piece(end)
                if self.play.guided and self.play.arrived is not None:
                    break
            return
        smp = self.machine.smp
        smp.points_left = command.count
        self.machine.run(1 << 20)  # stops in the middle of operations, at the last of the points
        smp.points_left = -1
        smp.tickets = 0  # what is in the middle may end with the next command or step, but nothing else begins

    def _defragment(self, command: Defragment) -> str:
        caches = self.machine.slub.caches
        if command.cache and command.cache not in caches:
            raise ValueError(f"there is no slab cache called {command.cache!r}")
        passes = self.machine.defragment(command.cache, command.ratio)
        if not passes:
            return (
                "Nothing was defragmented: no slab cache is movable; the policies xa_nodes and dentries say which are."
            )
        self._defrag = convert_request.defrag_report(passes)
        return self._defrag.sentence

    # -- looking -------------------------------------------------------------------------------------------------------

    def snapshot(self) -> Snapshot:
        """This instant."""
        machine = self.machine
        share = 1.0 if self._fresh or self._state != "running" else self.detail_share
        if self._in_command:
            share = COMMAND_SHARE
        else:
            self._fresh = False
        self._seq += 1
        events, lost = convert_cpus.events(machine.trace, self._event_seq)
        self._event_seq = machine.trace.seq
        self._watch.note(events)
        followed = self._watch.moved_in not in (0, self._followed)
        self._followed = self._watch.moved_in or self._followed
        # Nodes on the move are what one wants to see, but there are policies under which they always are.
        moving = max(share, min(COMMAND_SHARE, 8 * self.detail_share))
        self._pages = pages = self._copies.pages()
        possible = self._contiguity.get(share).possible
        self._pages = None  # held by the Snapshot alone: when that is let go, its memory serves for the next
        caches, slabs, objects = self._slabs.get(share)
        return Snapshot(
            seq=self._seq,
            time_ns=machine.smp.now,
            ops=machine.ops,
            title=self.title,
            source="simulation",
            state=self._state,
            zones=convert_pages.zones(machine.page_alloc),
            pages=pages,
            pageblock_mt=convert_pages.pageblock_mt(machine.mem),
            possible=possible,
            caches=caches,
            slabs=slabs,
            objects=objects,
            xarrays=self._xarrays.get(moving if followed else share),
            nodes=self._nodes.get(moving if self._watch.moved else share),
            cpus=convert_cpus.cpus(machine.smp, self._state != "running"),
            lanes=convert_cpus.lanes(machine.smp),
            rcu=convert_cpus.rcu(machine.rcu),
            counters=convert_pages.counters(machine.page_alloc),
            events=events,
            lost_events=lost,
            request=convert_request.anatomy(machine.requests[-1]) if machine.requests else None,
            defrag=self._defrag,
            focus=self._effective_focus(),
            detail=page_detail(machine, self.focus.pfn),
            outcomes=self._outcomes,
            policies=tuple(machine.policies.items()),
            speed=self._speed,
            notice=self._notice,
            guide=self._guide(),
            controls=self._controls.get(share),
        )

    def _effective_focus(self) -> Focus:
        """The focus. Where there is no xa_node, as files have radix trees, those trees' nodes are shown instead; where
        no file is chosen, that whose nodes were moved last."""
        focus, caches = self.focus, self.machine.slub.caches
        if focus.cache == "xa_node" and RADIX_TREE_NODE in caches and not caches["xa_node"].slabs:
            focus = focus._replace(cache=RADIX_TREE_NODE)
        if focus.xarray < 0 and self._followed in self.machine.filemap.files:
            focus = focus._replace(xarray=self._followed)
        return focus

    def _make_slabs(self) -> tuple[tuple[Cache, ...], Structured, U8]:
        """Both at once: what a cache's figures say and what its slabs show is of one moment."""
        slub = self.machine.slub
        return convert_slabs.caches(slub), *convert_slabs.slabs_and_objects(slub, self._effective_focus().cache)

    def _make_xarrays(self) -> tuple[XArrayInfo, ...]:
        return convert_xarrays.largest(self.machine.filemap, self._followed)

    def _make_nodes(self) -> Structured:
        files = self.machine.filemap.files
        file = files.get(self._effective_focus().xarray)
        if file is None and files:
            file = max(files.values(), key=lambda one: (one.nrpages, -one.number))
        return self._watch.nodes(file)

    def _make_contiguity(self) -> Contiguity:
        assert self._pages is not None, "pages come first"
        return convert_pages.contiguity_of(self.machine.slub, self._pages)
