"""Controls of a workload: what there is, what may be asked for, and that the machine does otherwise then."""

from __future__ import annotations

import pytest

from memviz.scenario import parse
from memviz.sources import controls
from memviz.sources.base import SetWorkload
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
