"""A defragmentation for eyes: it waits behind slabs while somebody looks on, and the run knows nothing of it."""

from __future__ import annotations

import pytest

from memviz.kernel.machine import Machine
from memviz.kernel.trace import OBJECT_MOVED
from memviz.scenario import load
from memviz.sources.unhurried import SHOW_S, SLOW_S, STEP_S, Unhurried


@pytest.fixture
def machine() -> Machine:
    """A file server whose slabs are sparse."""
    machine = load("aged-file-server").machine(seed=7, memory_mib=64)
    machine.run(1500)
    return machine


def test_every_slab_has_its_share_of_the_time(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr("memviz.sources.unhurried.time.sleep", slept.append)
    pace = Unhurried(machine)
    machine.smp.watch = pace.wait
    machine.defragment()
    assert slept == [], "nobody has asked for it"
    machine.run(1000)
    pace.begin(100)
    passes = machine.defragment(ratio=100)
    pace.end()
    assert sum(one.slabs_freed for one in passes) > 3
    assert 0.05 < sum(slept) <= SHOW_S + 1e-9
    assert max(slept) <= STEP_S
    assert sum(1 for seconds in slept if seconds) > 3
    before = len(slept)
    machine.run(200)
    assert len(slept) == before


@pytest.mark.digest
def test_the_run_takes_the_same_course(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("memviz.sources.unhurried.time.sleep", lambda seconds: None)

    def digest(unhurried: bool, slowly: bool = False) -> str:
        machine = load("aged-file-server").machine(seed=7, memory_mib=64)
        machine.run(1000)
        pace = Unhurried(machine)
        machine.smp.watch = pace.wait
        if unhurried:
            pace.begin(100, slowly)
        machine.defragment(ratio=100)
        pace.end()
        machine.run(500)
        return machine.digest()

    assert digest(True) == digest(False) == digest(True, slowly=True)


def test_slowly_every_object_has_its_share(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr("memviz.sources.unhurried.time.sleep", slept.append)
    pace = Unhurried(machine)

    def wait() -> None:
        while pace.wait():
            pass

    machine.smp.watch = wait
    machine.run(1000)
    moved = machine.trace.counts[OBJECT_MOVED]
    pace.begin(100, slowly=True)
    machine.defragment(ratio=100)
    pace.end()
    assert machine.trace.counts[OBJECT_MOVED] > moved
    assert SLOW_S * 0.6 < sum(slept) <= SLOW_S + 1e-9
    assert max(slept) <= STEP_S
    assert sum(1 for seconds in slept if seconds) > 20
    machine.run(200)
    assert sum(slept) <= SLOW_S + 1e-9
