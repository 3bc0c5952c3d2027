"""What to compare: read from ``resources/experiments/*.toml``. Unknown fields are errors with the field's name."""

from __future__ import annotations

import difflib
import tomllib
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from memviz import resources
from memviz import scenario as scenarios
from memviz.experiment.sources_digest import sources_digest
from memviz.kernel.machine import MAX_MEMORY_MIB, MIN_MEMORY_MIB, POLICIES

Positive = Annotated[int, msgspec.Meta(ge=1)]
Count = Annotated[int, msgspec.Meta(ge=0)]
Order = Annotated[int, msgspec.Meta(ge=0, le=10)]
Begin = Literal["start", "aged"]
Action = Literal["", "shrink", "defragment", "compact"]


class ExperimentError(ValueError):
    """One sentence: what is wrong with the experiment, where, and what to do."""


class Policy(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """``switches``: of the machine, for the whole run. ``action``: what somebody does ``Protocol.actions`` times while
    the machine ages, the last time right before the demand: ``shrink`` every slab cache as mainline does,
    ``defragment`` every movable one at ``ratio`` percent, ``compact`` all memory.
    """

    name: str
    says: str = ""
    switches: dict[str, str] = {}
    action: Action = ""
    ratio: Annotated[int, msgspec.Meta(ge=0, le=100)] = 100


class Protocol(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """How a machine is treated. Ageing takes as long as the scenario says for its size of memory.
    ``actions``: how often a policy's action comes. ``samples``: how often the ageing machine is looked at; each time
    a copy of it serves a burst of ``watch``. ``burst``: orders asked for in a row, each in a copy of the aged machine,
    until ``share`` per cent of memory is got or ``patience`` requests in a row have failed. ``steady``: orders asked
    for one by one, each in a copy, while the workload goes on: ``requests`` of them, one every ``every`` operations,
    each kept for ``hold`` further ones. With 256 MiB; ``every`` scales with memory.
    """

    actions: Positive = 10
    samples: Positive = 8
    watch: Order = 9
    burst: tuple[Order, ...] = (2, 3, 4, 5, 6, 7, 8, 9, 10)
    share: Annotated[int, msgspec.Meta(ge=1, le=90)] = 25
    patience: Positive = 4
    steady: tuple[Order, ...] = (3, 9)
    requests: Count = 40
    every: Positive = 200
    hold: Positive = 4


class Claim(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """What somebody has published, and which figure of this experiment should show the same direction.

    ``figure``: a name of ``claims.FIGURES``. ``expect``: with ``policy`` it is more, less, or the same as with the
    policy ``than``; or as the figure ``than_figure`` with the same policy. ``doubt``: what is not the same there and
    here.
    """

    source: str
    published: str
    figure: str
    policy: str
    expect: Literal["more", "less", "same"]
    than: str = ""
    than_figure: str = ""
    doubt: str = ""


class Spec(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """An experiment, as its file says it.

    ``begin``: when a policy comes into force. "start": it rules the whole life of the machine, and the scenario's own
    users profit first. "aged": the machine ages under the baseline, the same for all policies to the digest, and the
    policy is switched on, and its action done once, right before the demand. ``headline``: policies that the README
    shows. ``pairs``: policies to compare in words, (this, with that). ``claim``: what has been published about it.
    ``literature``: other experiments that are run along, for their claims.
    """

    title: str
    question: str
    scenarios: tuple[str, ...]
    seeds: tuple[Count, ...]
    memory_mib: tuple[int, ...]
    policy: tuple[Policy, ...]
    baseline: str
    limits: tuple[str, ...] = ()
    headline: tuple[str, ...] = ()
    begin: tuple[Begin, ...] = ("aged", "start")
    protocol: Protocol = Protocol()
    pairs: tuple[tuple[str, str], ...] = ()
    claim: tuple[Claim, ...] = ()
    literature: tuple[str, ...] = ()

    def named(self, name: str) -> Policy:
        """The policy called ``name``."""
        return next(one for one in self.policy if one.name == name)


class Cell(msgspec.Struct, frozen=True):
    """Everything that the outcome of one run follows from; its encoding is hashed, so the order of fields matters."""

    scenario: str
    text: str
    """The scenario file itself: a worker elsewhere need not have it."""
    policy: Policy
    begin: Begin
    baseline: Policy
    """What the machine ages under when the policy begins with the aged machine."""
    seed: int
    memory_mib: int
    protocol: Protocol
    sources: str
    """Digest of the code that runs it."""


def names() -> list[str]:
    """Experiments that memviz brings along."""
    return resources.names("experiments", ".toml")


def load(name: str) -> Spec:
    """An experiment by name, or by the path of a ``.toml`` file. Raises ExperimentError."""
    if name.endswith(".toml"):
        try:
            text = Path(name).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ExperimentError(f"cannot read the experiment {name}: {error}") from error
    elif name in names():
        text = resources.read_text(f"experiments/{name}.toml")
    else:
        near = difflib.get_close_matches(name, names(), n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(names())}, or give a .toml file"
        raise ExperimentError(f"no experiment is called {name!r}: {hint}")
    return parse(text, name)


def parse(text: str, name: str) -> Spec:
    """An experiment from the text of its file; ``name`` is for messages. Raises ExperimentError."""
    try:
        spec = msgspec.convert(tomllib.loads(text), Spec)
    except tomllib.TOMLDecodeError as error:
        raise ExperimentError(f"experiment {name} is not TOML: {error}") from error
    except msgspec.ValidationError as error:
        raise ExperimentError(f"experiment {name}: {error}") from error
    fault = _fault(spec)
    if fault:
        raise ExperimentError(f"experiment {name}: {fault}")
    return spec


def _fault(spec: Spec) -> str:
    """What makes no sense in a well-formed spec, in words; empty when all does."""
    called = [one.name for one in spec.policy]
    for what, values in (
        ("scenarios", spec.scenarios),
        ("seeds", spec.seeds),
        ("memory_mib", spec.memory_mib),
        ("begin", spec.begin),
        ("policy", called),
    ):
        if not values:
            return f"{what} is empty: name at least one"
        if len(set(values)) != len(values):
            return f"{what} names something twice"
    claimed = [name for one in spec.claim for name in (one.policy, one.than) if name]
    paired = [name for pair in spec.pairs for name in pair]
    for name in (spec.baseline, *spec.headline, *paired, *claimed):
        if name not in called:
            return f"no policy is called {name!r}: there are {', '.join(called)}"
    for size in spec.memory_mib:
        if not MIN_MEMORY_MIB <= size <= MAX_MEMORY_MIB:
            return f"memory_mib {size} is not between {MIN_MEMORY_MIB} and {MAX_MEMORY_MIB}"
    for policy in spec.policy:
        for switch, value in policy.switches.items():
            if switch not in POLICIES:
                return f"policy {policy.name!r}: no switch is called {switch!r}: there are {', '.join(POLICIES)}"
            allowed = POLICIES[switch][0]
            if value not in allowed:
                return f"policy {policy.name!r}: {switch} cannot be {value!r}: choose {' or '.join(allowed)}"
    return ""


def scenario_text(name: str) -> str:
    """The file of a scenario, by name or path, seen to be a good one. Raises ScenarioError."""
    scenarios.load(name)
    if name.endswith(".toml"):
        return Path(name).read_text(encoding="utf-8")
    return resources.read_text(f"scenarios/{name}.toml")


def cells(spec: Spec) -> list[Cell]:
    """Every combination; seeds vary slowest, so that an experiment that was stopped has whole pairs.

    Raises ScenarioError for a scenario that is not there.
    """
    sources = sources_digest()
    baseline = spec.named(spec.baseline)
    texts = {name: scenario_text(name) for name in spec.scenarios}
    return [
        Cell(name, texts[name], policy, begin, baseline, seed, memory_mib, spec.protocol, sources)
        for seed in spec.seeds
        for name in spec.scenarios
        for memory_mib in spec.memory_mib
        for begin in spec.begin
        for policy in spec.policy
    ]
