"""What a source is, and what can be asked of one.

A source turns its world (a simulated kernel, this Linux machine, a recording) into Snapshots. It runs in a process of
its own (``memviz.sources.host``), so everything here pickles: a ``SourceSpec`` says which source to make there,
commands say what it shall do. A command never fails loudly: what became of it is an ``Outcome`` in a later Snapshot,
found by the number that ``HostClient.send`` returned.
"""

from __future__ import annotations

import importlib
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, Protocol, cast, runtime_checkable

from memviz.snapshot import Focus, Snapshot


class SourceError(Exception):
    """What is wrong with the source or its input, in one sentence that also says what to do. No traceback is needed."""


@dataclass(frozen=True, slots=True)
class Run:
    """Go on until told otherwise."""


@dataclass(frozen=True, slots=True)
class Pause:
    """Stop after the operation at hand."""


@dataclass(frozen=True, slots=True)
class Step:
    """Do ``count`` operations, or pass ``count`` scheduling points, then pause."""

    count: int = 1
    unit: Literal["op", "point"] = "op"


@dataclass(frozen=True, slots=True)
class StepBack:
    """In a case of the race lab: ``count`` scheduling points back, then pause."""

    count: int = 1


@dataclass(frozen=True, slots=True)
class StepCpu:
    """In a case of the race lab: let ``cpu`` go on to its next scheduling point, then pause. The run is another one
    from here on if it is not that CPU's turn."""

    cpu: int


@dataclass(frozen=True, slots=True)
class Speed:
    """Hold the source to so many operations a second; 0: as fast as it can."""

    ops_per_s: int


@dataclass(frozen=True, slots=True)
class RequestPages:
    """Ask for ``1 << order`` contiguous page frames and tell how that went (``Snapshot.request``)."""

    order: int
    gfp: int


@dataclass(frozen=True, slots=True)
class Defragment:
    """One pass of slab defragmentation over ``cache`` ("" is every movable cache).

    Slabs with at most ``ratio`` percent of their objects in use are taken. ``slowly``: for eyes that want to follow
    every object; the run is the same.
    """

    cache: str = ""
    ratio: int = 30
    slowly: bool = False


@dataclass(frozen=True, slots=True)
class Compact:
    """Compact all zones, as writing to /proc/sys/vm/compact_memory does."""


@dataclass(frozen=True, slots=True)
class DropCaches:
    """Give up all clean page cache, and what dentries and inodes can be, as writing 3 to /proc/sys/vm/drop_caches does.

    For a real machine; a simulated one refuses."""


@dataclass(frozen=True, slots=True)
class SetPolicy:
    """Turn a switch of the engine (``Snapshot.policies``)."""

    name: str
    value: str


@dataclass(frozen=True, slots=True)
class SetFocus:
    """Look closely at something: details in later Snapshots are about that."""

    focus: Focus


@dataclass(frozen=True, slots=True)
class SetWorkload:
    """Turn a control of the workload."""

    name: str
    value: str


@dataclass(frozen=True, slots=True)
class Record:
    """Write what comes from here on to a file, which must not be there yet."""

    path: str


@dataclass(frozen=True, slots=True)
class StopRecording:
    """Finish the file that is being written."""


@dataclass(frozen=True, slots=True)
class Seek:
    """Wind a recording to a virtual time."""

    time_ns: int


@dataclass(frozen=True, slots=True)
class Rate:
    """Play a recording so many times as fast as it was recorded; negative: backwards."""

    times: float


@dataclass(frozen=True, slots=True)
class Jump:
    """Wind a recording to the next thing of a kind, or with ``forwards`` off to the one before."""

    to: Literal["failure", "defragmentation", "grace period"]
    forwards: bool = True


@dataclass(frozen=True, slots=True)
class Loop:
    """Play a part of a recording again and again; both -1: all of it, once."""

    begin_ns: int
    end_ns: int


@dataclass(frozen=True, slots=True)
class Quit:
    """Close the source and end its process."""


Command = (
    Run | Pause | Step | Speed | RequestPages | Defragment | Compact | DropCaches | SetPolicy | SetFocus | SetWorkload
    | Record | StopRecording | Seek | Rate | Jump | Loop | StepBack | StepCpu | Quit
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Done:
    """Something that was done to a source, in a form that can be stored and done again."""

    ops: int
    """Operations done before it."""
    time_ns: int
    name: str
    arguments: str
    """JSON."""


class Source(Protocol):
    """One world. All calls come from one thread."""

    title: str

    def snapshot(self) -> Snapshot:
        """This instant. Its arrays are copies: nothing the source does later changes them."""

    def command(self, number: int, command: Command) -> None:
        """Do what ``command`` says; its Outcome carries ``number``."""

    def advance(self, seconds: float) -> bool:
        """Work for about ``seconds`` of wall time. True: something changed; False: nothing was due."""

    def close(self) -> None:
        """Give back what the source holds."""


@runtime_checkable
class Repeatable(Protocol):
    """A source whose every run can be had again from where it came from and what was done to it."""

    journal: list[Done]
    """What was done to it so far; only ever grows at its end."""

    def origin(self) -> dict[str, object]:
        """What it takes to make the source again, as JSON knows it; empty: it cannot be made from that alone."""

    def digest(self) -> str:
        """A fingerprint of its whole state. May take a while."""


@runtime_checkable
class Watched(Protocol):
    """A source that can be looked at in the middle of its work: a long command is seen while it is done."""

    def watch(self, look: Callable[[], None]) -> None:
        """Call ``look`` every millisecond or so from inside ``advance`` and ``command``, wherever ``snapshot`` may be
        called. ``look`` does nothing else to the source and raises nothing."""


@dataclass(frozen=True, slots=True)
class SourceSpec:
    """Which source to make, in a form that another process can read."""

    factory: str
    """``"package.module:callable"``; called with ``arguments`` as keywords it returns a Source."""
    arguments: Mapping[str, object] = field(default_factory=dict)

    def make(self) -> Source:
        """Make the source, here. Raises whatever its factory raises (SourceError for bad input)."""
        module, _, name = self.factory.partition(":")
        factory = cast(Callable[..., Source], getattr(importlib.import_module(module), name))
        return factory(**self.arguments)


def simulation(
    scenario: str,
    seed: int | None = None,
    memory_mib: int | None = None,
    guided: bool = False,
    scripted: bool = False,
) -> SourceSpec:
    """The spec of a simulated kernel. ``None`` leaves seed and size to the scenario.

    ``scripted``: what a person would do is done by the scenario's script, and the run ends with it."""
    return SourceSpec(
        "memviz.sources.simulation:SimulationSource",
        {"scenario": scenario, "seed": seed, "memory_mib": memory_mib, "guided": guided, "scripted": scripted},
    )


def playback(path: str, at_ns: int = -1) -> SourceSpec:
    """The spec of a recording that is played, from ``at_ns`` on."""
    return SourceSpec("memviz.sources.playback:PlaybackSource", {"path": path, "at_ns": at_ns})


def continued(path: str, at_ns: int = -1) -> SourceSpec:
    """The spec of a recorded simulation that runs again up to ``at_ns`` (-1: its end) and goes on from there."""
    return SourceSpec("memviz.sources.continued:ContinuedSource", {"path": path, "at_ns": at_ns})


LIVE: Final = "this-machine"
"""What the machine that memviz runs on is called where a scenario could be named."""


def live(actions: bool = False, host: str = "") -> SourceSpec:
    """The spec of the machine that this runs on. Who is not root is asked for rights, where polkit can ask.

    ``actions``: it may be compacted, caches shrunk, a huge page asked for; otherwise it is only read.
    ``host``: another machine, over ssh.
    """
    if host:
        return SourceSpec("memviz.sources.linux:LinuxSource", {"host": host, "actions": actions})
    rights = "pkexec" if os.geteuid() != 0 and shutil.which("pkexec") else "auto"
    return SourceSpec("memviz.sources.linux:LinuxSource", {"rights": rights, "actions": actions})


def race(case: str, variant: str = "", seed: int | None = None) -> SourceSpec:
    """The spec of a case of the race lab. ``variant`` "": its first; ``seed`` None: the schedule that breaks it."""
    return SourceSpec("memviz.sources.race:RaceSource", {"case": case, "variant": variant, "seed": seed})
