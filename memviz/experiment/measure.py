"""Cells: age a machine under a policy, look at it now and then, make demands of it.

What comes out follows from the cell alone: no wall clock, no host. Runs advance in the pieces that every player of a
scenario uses, so the same seed and policy in the window shows the same machine, to the digest.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import msgspec

from memviz import scenario as scenarios
from memviz.experiment.demand import Demand, burst, in_a_copy, steady
from memviz.experiment.look import CacheUse, Look, look
from memviz.experiment.price import holders, paid, price
from memviz.experiment.spec import Cell, Policy, Protocol
from memviz.kernel.machine import POLICIES, Machine
from memviz.kernel.page import OWNER_HUGE, OWNER_NAMES
from memviz.sources.play import PIECE, Play
from memviz.workload.base import Workload

REFERENCE_MIB = 256


class Sample(msgspec.Struct, frozen=True):
    """The ageing machine at one moment: a ``Look``, and what a burst would have got."""

    ops: int
    time_ns: int
    free_pages: int
    unusable: tuple[int, ...]
    blocks: dict[str, int]
    burst: Demand
    caches: dict[str, CacheUse] = {}
    users: dict[str, int] = {}


class Outcome(msgspec.Struct, frozen=True):
    """All that a cell gives."""

    digest: str
    """Of the aged machine, before any demand."""
    ops: int
    price: dict[str, int]
    """Of the ageing; where the policy begins with the aged machine, of its first action."""
    huge_pages: int
    """Page frames in huge pages that the scenario's own users hold: contiguous memory that they got."""
    holders: dict[str, int]
    samples: tuple[Sample, ...]
    burst: tuple[Demand, ...]
    steady: tuple[Demand, ...]
    acted: Look | None = None
    """The machine when the policy is in force and has acted, before any demand."""


def ageing(cell: Cell) -> Policy:
    """What the machine of a cell ages under. Cells that differ in nothing else before their demands can share a
    machine until then."""
    return cell.policy if cell.begin == "start" else cell.baseline


def measure(cells: Sequence[Cell]) -> list[Outcome]:
    """Run cells that share their ageing: one machine ages, each cell goes on with a copy of it.

    Raises KernelBug, AssertionError or CopyFailed when a machine breaks a rule, ScenarioError for a bad text.
    """
    first = cells[0]
    scenario = scenarios.parse(first.text, first.scenario)
    machine, users = scenario.populated(seed=first.seed, memory_mib=first.memory_mib)
    # Neither what a person would do nor what the script changes: the policy alone decides.
    play = Play(msgspec.structs.replace(scenario, moment=()), machine)
    player = Player(machine, play, ageing(first), first.protocol, users)
    aged = player.age()
    machine.check()
    copies = [in_a_copy(functools.partial(player.go_on, cell, aged)) for cell in cells]
    return [msgspec.json.decode(copy, type=Outcome) for copy in copies]


class Player:
    """Plays a scenario under a policy, with the policy's action every so often."""

    def __init__(
        self, machine: Machine, play: Play, policy: Policy, protocol: Protocol, users: list[Workload] | None = None
    ) -> None:
        self.machine = machine
        self.users = users or []
        self.play = play
        self.switch(policy)
        self.protocol = protocol
        self.period = max(PIECE, play.ops // protocol.actions)
        self.next_action = self.period

    def switch(self, policy: Policy) -> None:
        """From now on under ``policy``; what it does not name is as a machine has it by default."""
        self.policy = policy
        for switch, (values, _) in POLICIES.items():
            value = policy.switches.get(switch, values[0])
            if self.machine.policies[switch] != value:
                self.machine.set_policy(switch, value)

    def ends(self) -> list[int]:
        """The operations after which the ageing machine is looked at; the last is its end."""
        samples = self.protocol.samples
        return [self.play.ops * number // samples for number in range(1, samples + 1)]

    def age(self) -> list[Sample]:
        """Live through the whole scenario."""
        samples: list[Sample] = []
        for end in self.ends():
            self.run_to(end)
            samples.append(self.sample())
        return samples

    def go_on(self, cell: Cell, aged: list[Sample]) -> bytes:
        """What comes of a cell whose machine has aged: an Outcome as JSON."""
        machine = self.machine
        digest, before = machine.digest(), price(machine)
        if cell.begin == "aged":
            self.switch(cell.policy)
            self.act()
        held = holders(machine)
        outcome = Outcome(
            digest=digest,
            ops=machine.ops,
            price=paid({} if cell.begin == "start" else before, price(machine)),
            huge_pages=held.get(OWNER_NAMES[OWNER_HUGE], 0),
            holders=held,
            samples=tuple(aged),
            burst=self.bursts(),
            steady=self.steadily(),
            acted=look(machine, self.users),
        )
        return msgspec.json.encode(outcome)

    def run_to(self, end: int) -> None:
        """Go on until operation ``end``, with every action that falls before or on it."""
        while self.next_action <= end:
            self.play.run(self.next_action - self.machine.ops)
            self.next_act()
        self.play.run(end - self.machine.ops)

    def next_act(self) -> None:
        """The action whose time has come."""
        self.act()
        self.next_action += self.period

    def act(self) -> None:
        """The policy's action, as one more task of the machine."""
        machine = self.machine
        if self.policy.action == "defragment":
            machine.defragment("", self.policy.ratio)
        elif self.policy.action == "compact":
            machine.compact()
        elif self.policy.action == "shrink":
            machine.smp.run_task(0, "shrink", functools.partial(_shrink, machine))

    def sample(self) -> Sample:
        """Look, and ask a copy for memory."""
        machine, protocol = self.machine, self.protocol
        got = self.copied(lambda: burst(machine, protocol.watch, protocol.share, protocol.patience))
        now = msgspec.structs.asdict(look(machine, self.users))
        return Sample(**now, burst=msgspec.structs.replace(got, price={}))

    def bursts(self) -> tuple[Demand, ...]:
        """Each order of the protocol in a burst."""
        machine, protocol = self.machine, self.protocol
        return tuple(
            self.copied(functools.partial(burst, machine, order, protocol.share, protocol.patience))
            for order in protocol.burst
        )

    def steadily(self) -> tuple[Demand, ...]:
        """Each order of the protocol while the workload goes on."""
        protocol = self.protocol
        every = max(1, protocol.every * self.machine.config.memory_mib // REFERENCE_MIB)

        def work() -> None:
            self.run_to(self.machine.ops + every)

        return tuple(
            self.copied(functools.partial(self.steadily_asked, order, work))
            for order in protocol.steady
            if protocol.requests
        )

    def steadily_asked(self, order: int, work: Callable[[], None]) -> Demand:
        """One steady demand, and the machine after it."""
        asked = steady(self.machine, order, self.protocol.requests, self.protocol.hold, work)
        return msgspec.structs.replace(asked, left=look(self.machine, self.users))

    def copied(self, work: Callable[[], Demand]) -> Demand:
        """``work`` in a copy, where every invariant must hold at the end as well."""

        def checked() -> bytes:
            self.machine.reset_compaction()
            result = work()
            self.machine.check()
            return msgspec.json.encode(result)

        return msgspec.json.decode(in_a_copy(checked), type=Demand)


def _shrink(machine: Machine) -> None:
    """``echo 1 > /sys/kernel/slab/*/shrink``, and what ``Machine.defragment`` does behind its pass."""
    for cache in list(machine.slub.caches.values()):
        cache.shrink()
    machine.page_alloc.drain_all_pages()
    machine.reset_compaction()
