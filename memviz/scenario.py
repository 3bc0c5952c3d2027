"""Scenarios: a machine, its users and a script of moments, read from ``resources/scenarios/*.toml``.

A scenario file says what question of the thread it is about, which machine to build, who uses its memory with which
parameters, and at which operation what happens. Unknown fields are errors with the field's name.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import msgspec

from memviz import resources
from memviz.kernel.machine import Machine, MachineConfig, User
from memviz.workload.base import Workload
from memviz.workload.calibration import NightlyUpdatedb, NightlyUpdatedbParams, ThpBursts, ThpBurstsParams
from memviz.workload.file_server import FileServer, FileServerParams
from memviz.workload.others import (
    HugePages,
    HugePagesParams,
    KernelNoise,
    Network,
    NetworkParams,
    NoiseParams,
    Processes,
    ProcessesParams,
    Updatedb,
    UpdatedbParams,
)

WORKLOADS: dict[str, tuple[Callable[..., Workload], type[msgspec.Struct]]] = {
    "file-server": (FileServer, FileServerParams),
    "kernel-noise": (KernelNoise, NoiseParams),
    "network": (Network, NetworkParams),
    "huge-pages": (HugePages, HugePagesParams),
    "processes": (Processes, ProcessesParams),
    "updatedb": (Updatedb, UpdatedbParams),
    "nightly-updatedb": (NightlyUpdatedb, NightlyUpdatedbParams),
    "thp-bursts": (ThpBursts, ThpBurstsParams),
}


Panel = Literal[
    "",
    "heatmap",
    "slab_grid",
    "xarray_tree",
    "cpu_lanes",
    "contiguity",
    "request",
    "story",
    "events",
    "timeline",
    "charts",
    "policies",
]
"""Names of the window's panels, as a moment may point at them."""


class ScenarioError(ValueError):
    """One sentence: what is wrong with the scenario, where, and what to do."""


class MachineSpec(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """The machine to build; see ``MachineConfig``."""

    memory_mib: int = 1024
    cpus: int = 4
    seed: int = 1
    front_end: Literal["sheaves", "classic"] = "sheaves"
    quantum: int = 32
    thp: bool = True
    dma_mib: int = 16


class WorkloadSpec(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """One user of memory: which, how often its turn comes, and its parameters."""

    kind: str
    weight: int = 1
    params: dict[str, Any] = {}


class Moment(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """At operation ``at`` do something; ``say`` tells a viewer what to look at, ``look`` in which panel.

    ``times``: so many requests one after the other. ``contig`` empties a range of ``pages`` page frames wherever that
    is cheapest, as RDMA and CMA want it.
    """

    at: int
    do: Literal["request", "defragment", "compact", "policy", "look", "contig"]
    say: str = ""
    look: Panel = ""
    order: int = 9
    times: int = 1
    pages: int = 512
    cache: str = ""
    ratio: int = 100
    name: str = ""
    value: str = ""


class Scenario(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """A scenario, as its file says it."""

    title: str
    summary: str
    question: str
    lesson: str
    ops: int
    machine_spec: MachineSpec = msgspec.field(name="machine", default_factory=MachineSpec)
    policy: dict[str, str] = {}
    workload: tuple[WorkloadSpec, ...] = ()
    moment: tuple[Moment, ...] = ()

    def sized(self, memory_mib: int) -> Scenario:
        """The same scenario for another size of memory: filling and ageing it takes operations in proportion."""
        factor = memory_mib / self.machine_spec.memory_mib
        moments = tuple(msgspec.structs.replace(one, at=int(one.at * factor)) for one in self.moment)
        return msgspec.structs.replace(self, ops=int(self.ops * factor), moment=moments)

    def machine(
        self,
        seed: int | None = None,
        memory_mib: int | None = None,
        cpus: int | None = None,
        scheduler: str = "seeded",
    ) -> Machine:
        """Build the machine with its users attached; ``None`` keeps what the scenario says.

        Raises ValueError, one sentence, when the machine cannot be built.
        """
        return self.populated(seed, memory_mib, cpus, scheduler)[0]

    def populated(
        self,
        seed: int | None = None,
        memory_mib: int | None = None,
        cpus: int | None = None,
        scheduler: str = "seeded",
    ) -> tuple[Machine, list[Workload]]:
        """The machine, and its users in the order of the file. Raises as ``machine`` does."""
        spec = self.machine_spec
        config = MachineConfig(
            memory_mib=spec.memory_mib if memory_mib is None else memory_mib,
            cpus=spec.cpus if cpus is None else cpus,
            seed=spec.seed if seed is None else seed,
            front_end=spec.front_end,
            quantum=spec.quantum,
            thp=spec.thp,
            dma_mib=spec.dma_mib,
            scheduler=scheduler,
        )
        machine = Machine(config)
        for name, value in self.policy.items():
            machine.set_policy(name, value)
        users: list[User] = []
        workloads: list[Workload] = []
        for number, one in enumerate(self.workload):
            make, params = WORKLOADS[one.kind]
            scaled = scale(one.params, config.memory_mib / spec.memory_mib)
            user = make(machine, config.seed * 64 + number, msgspec.convert(scaled, params))
            users.append(User(one.kind, user.step, user.check))
            workloads.append(user)
        if users:
            machine.attach(users, [one.weight for one in self.workload])
        return machine, workloads


# Parameters that count things held: they grow and shrink with the machine, so that a scenario fits any size of it.
SCALED = ("files", "processes", "names", "period", "night", "delay", "blocks")


def scale(params: dict[str, Any], factor: float) -> dict[str, Any]:
    """Parameters for a machine ``factor`` times the size that the scenario was written for."""
    return {name: max(1, int(value * factor)) if name in SCALED else value for name, value in params.items()}


def names() -> list[str]:
    """Names of the scenarios that memviz brings along."""
    return resources.names("scenarios", ".toml")


def load(name: str) -> Scenario:
    """A scenario by name, or by the path of a ``.toml`` file. Raises ScenarioError."""
    if name.endswith(".toml"):
        try:
            text = Path(name).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ScenarioError(f"cannot read the scenario {name}: {error}") from error
    elif name in names():
        text = resources.read_text(f"scenarios/{name}.toml")
    else:
        near = difflib.get_close_matches(name, names(), n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(names())}"
        raise ScenarioError(f"no scenario is called {name!r}: {hint}")
    return parse(text, name)


def parse(text: str, name: str) -> Scenario:
    """A scenario from the text of its file; ``name`` is for messages. Raises ScenarioError."""
    try:
        scenario = msgspec.convert(tomllib.loads(text), Scenario)
        for one in scenario.workload:
            if one.kind not in WORKLOADS:
                raise ScenarioError(f"scenario {name}: no workload is called {one.kind!r}: {', '.join(WORKLOADS)}")
            msgspec.convert(one.params, WORKLOADS[one.kind][1])
    except tomllib.TOMLDecodeError as error:
        raise ScenarioError(f"scenario {name} is not TOML: {error}") from error
    except msgspec.ValidationError as error:
        raise ScenarioError(f"scenario {name}: {error}") from error
    return scenario
