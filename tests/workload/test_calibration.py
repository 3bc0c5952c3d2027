"""The users of memory that the literature is compared with do what their parameters say."""

from __future__ import annotations

import pytest

from memviz.kernel.machine import Machine, MachineConfig, User
from memviz.kernel.page import OWNER_HUGE
from memviz.workload.base import Workload
from memviz.workload.calibration import NightlyUpdatedb, NightlyUpdatedbParams, ThpBursts, ThpBurstsParams


def machine_of(cpus: int = 1, memory_mib: int = 64) -> Machine:
    return Machine(MachineConfig(memory_mib=memory_mib, cpus=cpus, seed=3, thp=False, dma_mib=0))


def attached(machine: Machine, user: Workload) -> None:
    machine.attach([User(user.kind, user.step, user.check)], [1])


def test_bursts_come_in_turn_and_give_back_what_the_last_one_had() -> None:
    machine = machine_of()
    user = ThpBursts(machine, 1, ThpBurstsParams(size=3, every=5))
    attached(machine, user)
    machine.run(1)
    assert machine.mem.owner.count(OWNER_HUGE) == 3 * 512
    machine.run(4)
    assert user.counts() == {"fault_alloc": 3, "fault_fallback": 0}
    machine.run(1)  # the next burst: the old memory is back, the new is taken
    assert user.counts() == {"fault_alloc": 6, "fault_fallback": 0}
    assert machine.mem.owner.count(OWNER_HUGE) == 3 * 512
    machine.check()


def test_a_fault_without_a_huge_page_is_counted_and_goes_on() -> None:
    machine = machine_of()
    user = ThpBursts(machine, 1, ThpBurstsParams(size=64, every=1))
    attached(machine, user)
    machine.run(1)
    got = machine.mem.owner.count(OWNER_HUGE) // 512
    assert 0 < got < 32
    assert user.counts() == {"fault_alloc": got, "fault_fallback": 64 - got}
    machine.check()


def test_names_are_walked_by_night_and_some_are_used_by_day() -> None:
    machine = machine_of(cpus=2)
    params = NightlyUpdatedbParams(period=200, night=80, batch=5, names=10, again=1.0)
    user = NightlyUpdatedb(machine, 1, params)
    attached(machine, user)
    machine.run(80)
    assert user.counts() == {"walked": 400}
    assert len(machine.dcache.lru) == 400, "each was looked up once, and nobody uses it"
    machine.run(120)
    assert user.counts() == {"walked": 400}, "nothing is walked by day"
    in_use = [one for one in machine.dcache.by_dentry.values() if one.refcount]
    assert len(in_use) == 20, "ten a CPU are held, as many as may be"
    machine.run(80)
    assert user.counts() == {"walked": 800}
    machine.check()


@pytest.mark.parametrize(("name", "value"), [("size", 0), ("every", 5000), ("batch", 1)])
def test_what_cannot_be_set_is_refused(name: str, value: float) -> None:
    user = ThpBursts(machine_of(), 1, ThpBurstsParams())
    with pytest.raises(ValueError, match=r"choose|has no control"):
        user.control(name, value)
