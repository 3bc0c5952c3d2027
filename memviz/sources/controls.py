"""What can be changed while a machine runs: its policies, how often a workload's turn comes, and parameters that the
workload names. Each change is an event of the trace, so that whoever looks back sees when it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from memviz.kernel.machine import Machine
from memviz.kernel.policies import POLICIES
from memviz.kernel.trace import POLICY_SET, WORKLOAD_SET
from memviz.snapshot import Control
from memviz.workload.base import Workload

WEIGHT: Final = "weight"
MAX_WEIGHT: Final = 20


def of(machine: Machine, workloads: Sequence[Workload]) -> tuple[Control, ...]:
    """All controls. Names are ``number.parameter``, counted from 0 in the order of the scenario's file."""
    found: list[Control] = []
    for number, one in enumerate(workloads):
        who = label(workloads, number)
        weight = machine.users[0][1][number]
        high: float = max(MAX_WEIGHT, weight)
        found.append(Control(f"{number}.{WEIGHT}", who, "how often its turn comes", weight, 0, high, True))
        for name, bounds in one.controls.items():
            whole = isinstance(getattr(one.params, name), int)
            high = max(bounds.high, one.value(name))
            found.append(Control(f"{number}.{name}", who, bounds.title, one.value(name), bounds.low, high, whole))
    return tuple(found)


def label(workloads: Sequence[Workload], number: int) -> str:
    """What to call a workload: its kind, counted where there are several of a kind."""
    kind = workloads[number].kind
    same = [at for at, one in enumerate(workloads) if one.kind == kind]
    return f"{kind} {same.index(number) + 1}" if len(same) > 1 else kind


def switch(machine: Machine, name: str, value: str) -> str:
    """Turn a policy; what is so from now on, in a sentence. Raises ValueError, one sentence."""
    before = machine.policies.get(name)
    machine.set_policy(name, value)
    if before != value:
        values = POLICIES[name][0]
        at = values.index(before) if before is not None else 0
        machine.trace.tell(POLICY_SET, list(POLICIES).index(name), values.index(value), at)
    return f"{name} is {value} from now on."


def turn(machine: Machine, workloads: Sequence[Workload], name: str, value: str) -> str:
    """Change a control; what is so from now on, in a sentence. Raises ValueError, one sentence."""
    number, _, parameter = name.partition(".")
    if not number.isdecimal() or int(number) >= len(workloads) or not parameter:
        names = ", ".join(one.name for one in of(machine, workloads)) or "none"
        raise ValueError(f"this scenario has no control called {name!r}: there are {names}")
    at = int(number)
    try:
        wanted = float(value)
    except ValueError:
        raise ValueError(f"{name} cannot be {value!r}: give a number") from None
    before = next((one for one in of(machine, workloads) if one.name == name), None)
    if parameter == WEIGHT:
        machine.set_weight(at, int(wanted))
    else:
        workloads[at].control(parameter, wanted)
    place, now = next((place, one) for place, one in enumerate(of(machine, workloads)) if one.name == name)
    if before is not None and before.value != now.value:
        machine.trace.tell(WORKLOAD_SET, place, round(now.value * 1000), round(before.value * 1000))
    return f"{label(workloads, at)}, {now.title}: {wanted:g} from now on."
