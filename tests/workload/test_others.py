"""The other users of memory: what they hold is theirs, and what they give back is whole."""

from __future__ import annotations

import pytest

from memviz.kernel.machine import Machine, MachineConfig, User
from memviz.kernel.page import OWNER_ANON, OWNER_HUGE, OWNER_KERNEL, OWNER_NET
from memviz.workload.base import Workload
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


def machine() -> Machine:
    return Machine(MachineConfig(memory_mib=64, cpus=2, seed=1))


def work(m: Machine, user: Workload, ops: int) -> None:
    m.attach([User(user.kind, user.step, user.check)], [1])
    m.run(ops=ops)
    m.check()


def test_kernel_noise_holds_at_most_its_blocks_and_never_moves() -> None:
    m = machine()
    noise = KernelNoise(m, 1, NoiseParams(blocks=40, max_order=2))
    work(m, noise, 2000)
    held = [block for cpu in noise.held for block in cpu]
    assert 0 < len(held) <= 80
    assert m.mem.owner.count(OWNER_KERNEL) == sum(1 << order for _, order in held)
    before = sorted(held)
    m.compact()
    assert sorted(block for cpu in noise.held for block in cpu) == before


def test_network_bursts_are_given_back_in_turn() -> None:
    m = machine()
    network = Network(m, 1, NetworkParams(burst=4, order=3, hold=3))
    work(m, network, 500)
    flights = [flight for flight in network.flight if flight]
    assert [len(flight) for flight in flights] == [3] * len(flights)
    pages = sum(1 << order for flight in flights for burst in flight for _, order in burst)
    assert m.mem.owner.count(OWNER_NET) == pages


@pytest.mark.parametrize("keep", [False, True])
def test_huge_pages_are_held_up_to_the_limit(keep: bool) -> None:
    m = machine()
    huge = HugePages(m, 1, HugePagesParams(hold=3, keep=keep))
    work(m, huge, 200)
    held = sum(len(cpu) for cpu in huge.held)
    assert held == 6
    assert m.mem.owner.count(OWNER_HUGE) == held * 512
    assert (huge.got == held) == keep


def test_nobody_asks_for_huge_pages_before_their_time() -> None:
    m = machine()
    huge = HugePages(m, 1, HugePagesParams(delay=1000))
    work(m, huge, 900)
    assert huge.tried == 0


def test_processes_come_and_go_and_their_pages_follow_when_moved() -> None:
    m = machine()
    processes = Processes(m, 1, ProcessesParams(processes=3, pages=200, chunk=16))
    work(m, processes, 800)
    mapped = sum(len(process.table) for cpu in processes.running for process in cpu)
    assert m.mem.owner.count(OWNER_ANON) == mapped > 0
    m.compact()
    m.check()


def test_updatedb_leaves_names_that_may_be_thrown_away() -> None:
    m = machine()
    updatedb = Updatedb(m, 1, UpdatedbParams(names=20, batch=4))
    work(m, updatedb, 500)
    assert [len(cpu) for cpu in updatedb.held] == [20, 20]
    assert len(m.dcache.by_dentry) - len(m.dcache.lru) == 40
    for dentry in list(m.dcache.lru.values())[::2]:
        assert m.dcache.dget(dentry)
        m.dcache.d_delete(dentry)
    m.rcu.rcu_barrier()
    before = m.dcache.dentry_cache.stats().active
    m.defragment("dentry", ratio=100)
    m.rcu.rcu_barrier()
    assert m.dcache.dentry_cache.stats().active < before
    assert all(dentry.addr in m.dcache.by_dentry for cpu in updatedb.held for dentry in cpu), "in use: left alone"
    m.check()
