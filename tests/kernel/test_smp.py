"""Virtual CPUs: determinism, waiting, deadlocks, stepping; spinlocks and RCU on top of them."""

from __future__ import annotations

import pytest

from memviz.kernel.rcu import Rcu
from memviz.kernel.schedule import RandomScheduler, Replay
from memviz.kernel.smp import KernelBug, Smp
from memviz.kernel.smp_threads import ThreadedSmp
from memviz.kernel.spinlock import SpinLock
from memviz.kernel.trace import RCU_GP_END, Trace


def machine(seed: int = 1, cpus: int = 4) -> Smp:
    return Smp(cpus, Trace(), RandomScheduler(seed))


def interleaving(smp: Smp) -> list[tuple[int, int]]:
    """Let every CPU pass ten points; who came when."""
    seen: list[tuple[int, int]] = []

    def body(cpu: int) -> None:
        for step in range(10):
            smp.point("step")
            seen.append((cpu, step))

    for cpu in range(smp.nr_cpus):
        smp.spawn(cpu, f"task {cpu}", lambda cpu=cpu: body(cpu))  # type: ignore[misc]
    smp.run(None)
    return seen


def test_same_seed_same_interleaving_other_seed_another() -> None:
    first = interleaving(machine(7))
    assert interleaving(machine(7)) == first
    assert interleaving(machine(8)) != first
    assert sorted(first) == [(cpu, step) for cpu in range(4) for step in range(10)]


def test_a_recorded_schedule_replays_without_the_seed() -> None:
    smp = machine(3)
    smp.record = []
    first = interleaving(smp)
    again = Smp(4, Trace(), Replay(smp.record))
    assert interleaving(again) == first


def test_spinlock_excludes_and_counts_waiting() -> None:
    smp = machine(5)
    lock = SpinLock(smp, "lock")
    inside: list[int] = []
    most = 0

    def body() -> None:
        nonlocal most
        for _ in range(20):
            lock.lock()
            inside.append(smp.this_cpu().id)
            smp.advance(100)
            smp.point("critical section")
            most = max(most, len(inside))
            inside.pop()
            lock.unlock()

    for cpu in range(4):
        smp.spawn(cpu, "t", body)
    smp.run(None)
    assert most == 1
    assert lock.contended > 0
    assert lock.total_hold >= 80 * 100
    assert sum(cpu.spun_ns for cpu in smp.cpus) == lock.waited > 0


def test_two_locks_in_opposite_order_deadlock_by_name() -> None:
    found = None
    for seed in range(50):
        smp = machine(seed, cpus=2)
        a, b = SpinLock(smp, "lock A"), SpinLock(smp, "lock B")

        def body(first: SpinLock, second: SpinLock) -> None:
            first.lock()
            second.lock()
            second.unlock()
            first.unlock()

        smp.spawn(0, "ab", lambda a=a, b=b: body(a, b))  # type: ignore[misc]
        smp.spawn(1, "ba", lambda a=a, b=b: body(b, a))  # type: ignore[misc]
        try:
            smp.run(None)
        except KernelBug as bug:
            found = bug
            break
    assert found is not None
    assert found.rule == "deadlock"
    assert "CPU 0 [ab] at lock B; locks: lock A" in found.stacks[0]
    assert "CPU 1 [ba] at lock A; locks: lock B" in found.stacks[1]


def test_recursive_lock_and_foreign_unlock_are_reported() -> None:
    smp = machine()
    lock = SpinLock(smp, "slab lock")
    lock.lock()
    with pytest.raises(KernelBug, match="recursive locking: CPU 0 takes slab lock"):
        lock.lock()
    lock.unlock()
    with pytest.raises(KernelBug, match="unlock of a lock not held"):
        lock.unlock()


def test_sleeping_with_a_lock_held_is_reported() -> None:
    smp = machine()
    rcu = Rcu(smp)
    lock = SpinLock(smp, "xa_lock")
    lock.lock_irq()
    with pytest.raises(KernelBug, match=r"sleeping function called from invalid context: .* xa_lock held, irqs off"):
        rcu.rcu_barrier()
    lock.unlock_irq()
    rcu.read_lock()
    with pytest.raises(KernelBug, match="RCU nesting 1"):
        rcu.synchronize_rcu()


@pytest.mark.parametrize("seed", range(20))
def test_no_callback_runs_before_its_readers_left(seed: int) -> None:
    smp = machine(seed)
    rcu = Rcu(smp, jiffy_ns=0)
    alive = [True]
    freed_at: list[int] = []

    def reader() -> None:
        for _ in range(5):
            rcu.read_lock()
            saw = alive[0]
            for _ in range(3):
                smp.point("reading")
                assert alive[0] == saw or not saw or freed_at == [], "freed under a reader that had seen it"
            rcu.read_unlock()
            smp.op_done()

    def updater() -> None:
        smp.point("before")
        alive[0] = False
        rcu.call_rcu(lambda _arg: freed_at.append(smp.now), None)
        rcu.rcu_barrier()
        assert freed_at, "rcu_barrier returned before the callback had run"

    for cpu in range(3):
        smp.spawn(cpu, "reader", reader)
    smp.spawn(3, "updater", updater)
    smp.run(None)
    assert len(freed_at) == 1


def test_grace_period_waits_only_for_readers_that_were_there() -> None:
    smp = machine(0, cpus=2)
    rcu = Rcu(smp, jiffy_ns=0)
    order: list[str] = []

    def old_reader() -> None:
        rcu.read_lock()
        while not smp.now:
            smp.point("inside")
        for _ in range(6):
            smp.point("still inside")
        order.append("reader leaves")
        rcu.read_unlock()
        smp.op_done()

    def updater() -> None:
        for _ in range(30):
            smp.point("wait for the reader to enter")
        smp.advance(1)
        rcu.synchronize_rcu()
        order.append("grace period over")

    smp.spawn(0, "reader", old_reader)
    smp.spawn(1, "updater", updater)
    smp.run(None)
    assert order == ["reader leaves", "grace period over"]
    assert smp.trace.counts[RCU_GP_END] >= 1


def test_rcu_barrier_without_callbacks_is_no_grace_period() -> None:
    smp = machine()
    rcu = Rcu(smp)
    rcu.rcu_barrier()
    assert rcu.gp_seq == 0
    rcu.synchronize_rcu()
    assert rcu.gp_seq == 1


def test_softirq_batches_are_limited() -> None:
    smp = machine(cpus=1)
    rcu = Rcu(smp)
    ran: list[int] = []
    for number in range(95):
        rcu.call_rcu(ran.append, number)
    rcu.rcu_barrier()
    assert ran == list(range(95))
    from memviz.kernel.trace import RCU_BATCH

    batches = [event[4] for event in smp.trace.notable if event[3] == RCU_BATCH]
    assert max(batches) == 10


def test_stepping_stops_before_the_wanted_point() -> None:
    smp = machine(2, cpus=2)
    passed: list[str] = []

    def body(name: str) -> None:
        for step in range(5):
            smp.point(f"{name}{step}")
            passed.append(f"{name}{step}")

    smp.spawn(0, "a", lambda: body("a"))
    smp.spawn(1, "b", lambda: body("b"))
    for steps in range(1, 8):
        smp.stopped = False
        smp.points_left = 1
        smp.run(None)
        started = sum(cpu.label != "" for cpu in smp.cpus)
        assert len(passed) == steps - started, "a step takes one CPU to its next point"
    smp.points_left = -1
    smp.stopped = False
    smp.stop_before = lambda cpu: cpu.label == "never"
    smp.run(None)
    assert len(passed) == 10


def test_operations_stop_on_the_exact_count() -> None:
    smp = machine(4)
    done = [0]

    def body() -> None:
        while True:
            smp.take_ticket()
            smp.point("working")
            done[0] += 1
            smp.op_done()

    for cpu in range(4):
        smp.spawn(cpu, "workload", body, daemon=False)
    smp.run_ops(1001)
    assert done[0] == smp.ops == 1001
    smp.run_ops(9)
    assert done[0] == 1010


def test_timed_sleep_passes_virtual_time_when_nothing_else_runs() -> None:
    smp = machine()
    Rcu(smp)
    woke: list[int] = []

    def body() -> None:
        smp.sleep_for("nap", 5_000)
        woke.append(smp.now)

    smp.spawn(1, "sleeper", body)
    smp.run(None)
    assert woke == [5_000]


def test_threads_keep_the_same_promises() -> None:
    smp = ThreadedSmp(4, Trace())
    rcu = Rcu(smp, jiffy_ns=0)
    lock = SpinLock(smp, "lock")
    total = [0]
    freed: list[int] = []

    def body() -> None:
        while True:
            smp.take_ticket()
            lock.lock()
            before = total[0]
            smp.point("critical section")
            total[0] = before + 1
            lock.unlock()
            rcu.read_lock()
            rcu.read_unlock()
            rcu.call_rcu(freed.append, before)
            smp.op_done()

    for cpu in range(4):
        smp.spawn(cpu, "workload", body)
    smp.run_ops(2000)
    assert total[0] == smp.ops == 2000
    rcu.rcu_barrier()
    assert sorted(freed) == list(range(2000))


def test_a_failing_thread_ends_the_run_and_is_heard() -> None:
    smp = ThreadedSmp(2, Trace())

    def fails() -> None:
        raise ValueError("a rule was broken")

    def waits() -> None:
        smp.sleep_until("for ever", lambda: False)

    smp.spawn(0, "fails", fails)
    smp.spawn(1, "waits", waits)
    with pytest.raises(ValueError, match="a rule was broken"):
        smp.run(None)
