"""Spinlocks (``include/linux/spinlock.h``): who holds them, for how long, who had to wait."""

from __future__ import annotations

import threading
from typing import Final

from memviz.kernel.smp import CPU_RUNS, Cpu, Smp
from memviz.kernel.trace import LOCK_CONTENDED

LOCK_NS: Final = 20  # an uncontended locked instruction on a line that another CPU had


class SpinLock:
    """A spinlock. ``state`` is what the CPU's lane shows while it is held.

    Taking and releasing are scheduling points. Taking a lock that this very CPU holds is reported, not waited for.
    """

    def __init__(self, smp: Smp, name: str, state: int = CPU_RUNS) -> None:
        self.smp = smp
        self.name = name
        self.state = state
        self.owner: Cpu | None = None
        self.taken_at = 0
        self.longest_hold = 0  # ns
        self.total_hold = 0  # ns
        self.contended = 0  # times somebody had to spin
        self.waited = 0  # ns spent spinning for it
        self.real: threading.Lock | None = threading.Lock() if smp.threads else None

    def free(self) -> bool:
        """Whether nobody holds it."""
        return self.owner is None

    def lock(self) -> None:
        """Take it; spins while another CPU has it."""
        smp = self.smp
        smp.point(self.name)
        cpu = smp.this_cpu()
        if self.owner is not None and (self.real is None or self.owner is cpu):
            self.contend(cpu)
        if self.real is not None:
            self.real.acquire()
        self.take(cpu)

    def take(self, cpu: Cpu) -> None:
        """It is free and now ours."""
        smp = self.smp
        self.owner = cpu
        cpu.held.append(self)
        cpu.preempt += 1
        smp.advance(LOCK_NS)
        self.taken_at = smp.now
        if smp.lanes_on:
            smp.enter(self.state)

    def contend(self, cpu: Cpu) -> None:
        """Wait for another CPU to release it."""
        smp = self.smp
        if self.owner is cpu:
            where = "softirq" if cpu.in_softirq else "task"
            smp.bug("recursive locking", f"CPU {cpu.id} takes {self.name} in {where} while it holds it already")
        self.contended += 1
        begin = smp.now
        smp.spin_until(self.name, self.free)
        self.waited += smp.now - begin
        smp.trace.emit(LOCK_CONTENDED, 0, smp.now - begin)

    def trylock(self) -> bool:
        """Take it if nobody has it."""
        smp = self.smp
        smp.point(self.name)
        if self.real is not None:
            if not self.real.acquire(blocking=False):
                return False
        elif self.owner is not None:
            return False
        self.take(smp.this_cpu())
        return True

    def unlock(self) -> None:
        """Release it."""
        smp = self.smp
        cpu = smp.this_cpu()
        if self.owner is not cpu:
            smp.bug("unlock of a lock not held", f"CPU {cpu.id} releases {self.name}, which it does not hold")
        held = smp.now - self.taken_at
        self.total_hold += held
        if held > self.longest_hold:
            self.longest_hold = held
        self.owner = None
        if cpu.held[-1] is self:
            cpu.held.pop()
        else:
            cpu.held.remove(self)
        cpu.preempt -= 1
        if smp.lanes_on:
            smp.leave()
        if self.real is not None:
            self.real.release()
        smp.point(self.name)

    def lock_irq(self) -> None:
        """Take it with interrupts off (``spin_lock_irqsave``: nests)."""
        self.smp.irq_disable()
        self.lock()

    def unlock_irq(self) -> None:
        """Release it and undo one interrupt disabling."""
        cpu = self.smp.this_cpu()
        cpu.irq_off -= 1  # before the release's scheduling point: pending softirqs run there
        self.unlock()
