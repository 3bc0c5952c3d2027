"""Controls of a workload: what there is, what may be asked for, and that the machine does otherwise then."""

from __future__ import annotations

import pytest

from memviz.kernel.trace import POLICY_SET, WORKLOAD_SET
from memviz.scenario import parse
from memviz.sources import controls
from memviz.sources.base import SetPolicy, SetWorkload
from memviz.sources.simulation import SimulationSource

SCENARIO = """
title = "t"
summary = "s"
question = "q"
lesson = "l"
ops = 400
[machine]
memory_mib = 32
cpus = 2
[[workload]]
kind = "file-server"
weight = 3
params = { files = 40, pages = 20 }
[[workload]]
kind = "network"
params = { burst = 2, order = 3, hold = 2 }
[[workload]]
kind = "network"
params = { burst = 4 }
"""


@pytest.fixture
def source() -> SimulationSource:
    made = SimulationSource(parse(SCENARIO, "t"))
    made.play.run(100)
    return made


def asked(source: SimulationSource, name: str, value: str) -> tuple[bool, str]:
    source.command(1, SetWorkload(name, value))
    outcome = source.snapshot().outcomes[-1]
    return outcome.ok, outcome.sentence


def test_every_workload_offers_its_turn_and_its_parameters(source: SimulationSource) -> None:
    found = {one.name: one for one in source.snapshot().controls}
    assert found["0.weight"].who == "file-server"
    assert found["0.weight"].value == 3
    assert found["1.order"].who == "network 1"
    assert found["2.burst"].who == "network 2"
    assert (found["2.burst"].value, found["2.burst"].low, found["2.burst"].high) == (4, 1, 64)
    assert found["0.create"].whole is False
    assert found["1.hold"].whole is True


def test_a_workload_that_is_told_to_holds_more(source: SimulationSource) -> None:
    assert asked(source, "1.hold", "9") == (True, "network 1, bursts in flight, a CPU: 9 from now on.")
    source.play.run(300)
    assert len(source.workloads[1].flight[0]) == 9  # type: ignore[attr-defined]
    assert asked(source, "1.hold", "2")[0]
    source.play.run(100)
    assert len(source.workloads[1].flight[0]) <= 2  # type: ignore[attr-defined]
    source.machine.check()


def test_a_weight_of_nothing_stops_a_workload(source: SimulationSource) -> None:
    before = source.workloads[1].flight[0][-1]  # type: ignore[attr-defined]
    assert asked(source, "1.weight", "0") == (True, "network 1, how often its turn comes: 0 from now on.")
    source.play.run(200)
    assert source.workloads[1].flight[0][-1] == before  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("1.order", "11", "order of network cannot be 11: choose 0 to 4"),
        ("1.order", "much", "1.order cannot be 'much': give a number"),
        ("7.order", "1", "this scenario has no control called '7.order': there are 0.weight"),
        ("1.colour", "1", "network has no control called 'colour': there are burst, order, hold"),
    ],
)
def test_what_cannot_be_is_told_and_changes_nothing(
    source: SimulationSource, name: str, value: str, sentence: str
) -> None:
    before = controls.of(source.machine, source.workloads)
    ok, told = asked(source, name, value)
    assert not ok
    assert told.startswith(sentence)
    assert controls.of(source.machine, source.workloads) == before


def test_somebody_has_to_work(source: SimulationSource) -> None:
    assert asked(source, "1.weight", "0")[0]
    assert asked(source, "2.weight", "0")[0]
    assert asked(source, "0.weight", "0") == (False, "file-server cannot get weight 0: somebody has to work")


def told(source: SimulationSource) -> list[tuple[int, ...]]:
    """Changes that the next Snapshot tells of: CPU, kind, a, b, c."""
    events = source.snapshot().events
    found = events[(events["kind"] == POLICY_SET) | (events["kind"] == WORKLOAD_SET)]
    return [tuple(int(row[name]) for name in ("cpu", "kind", "a", "b", "c")) for row in found]


def test_what_is_turned_is_an_event_of_no_cpu(source: SimulationSource) -> None:
    assert told(source) == [], "what the scenario begins with was turned by nobody"
    source.command(1, SetPolicy("defrag_mode", "1"))
    source.command(2, SetPolicy("defrag_mode", "1"))
    source.command(3, SetPolicy("defrag_mode", "9"))
    source.command(4, SetWorkload("0.weight", "5"))
    source.command(5, SetWorkload("0.create", "0.5"))
    source.command(6, SetWorkload("0.create", "7"))
    places = [one.name for one in source.snapshot().controls]
    weight, create = places.index("0.weight"), places.index("0.create")
    source.command(7, SetPolicy("defrag_mode", "0"))
    assert told(source) == [(-1, POLICY_SET, 1, 0, 1)]
    kept = [event[2:7] for event in source.machine.trace.notable if event[3] in (POLICY_SET, WORKLOAD_SET)]
    assert kept[0] == (-1, POLICY_SET, 1, 1, 0), "asked for again, or for what cannot be, nothing was turned"
    assert kept[1] == (-1, WORKLOAD_SET, weight, 5000, 3000)
    assert kept[2][:4] == (-1, WORKLOAD_SET, create, 500)
    assert len(kept) == 4


@pytest.mark.digest
def test_telling_of_a_change_leaves_the_digest_as_it_is(source: SimulationSource) -> None:
    before = source.machine.digest()
    source.machine.trace.tell(POLICY_SET, 1, 1, 0)
    assert source.machine.digest() == before
    assert source.machine.trace.seq == source.machine.trace.notable[-1][0]
