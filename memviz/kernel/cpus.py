"""The CPUs of a machine, its clock, and what each CPU has been doing (the lanes of the window)."""

from __future__ import annotations

from collections import deque
from typing import NoReturn

from memviz.kernel.sched import CPU_RUNS, Cpu, KernelBug
from memviz.kernel.trace import KERNEL_BUG, Trace


class Cpus:
    """What kernel code may ask of the CPU it runs on. ``Smp`` adds who runs next."""

    def __init__(self, nr_cpus: int, trace: Trace) -> None:
        self.nr_cpus = nr_cpus
        self.trace = trace
        self.cpus = [Cpu(i) for i in range(nr_cpus)]
        self.current = self.cpus[0]
        self.now = 0  # virtual time, ns
        self.lanes_on = False
        self.lanes: deque[tuple[int, int, int, int]] = deque(maxlen=8192)  # (begin, end, cpu, state)

    def this_cpu(self) -> Cpu:
        """The CPU that runs now."""
        return self.current

    def advance(self, ns: int) -> None:
        """Work takes virtual time."""
        self.now += ns
        self.trace.now = self.now

    def might_sleep(self, what: str) -> None:
        """Report a sleeping call where sleeping is forbidden."""
        cpu = self.current
        if cpu.atomic():
            locks = ", ".join(lock.name for lock in cpu.held) or "no lock"
            self.bug(
                "sleeping function called from invalid context",
                f"{what} on CPU {cpu.id} with {locks} held, irqs {'off' if cpu.irq_off else 'on'},"
                f" RCU nesting {cpu.rcu_nesting}",
            )

    def irq_disable(self) -> None:
        """Interrupts off on this CPU (nests)."""
        self.current.irq_off += 1

    def irq_enable(self) -> None:
        """Undo one ``irq_disable``."""
        self.current.irq_off -= 1

    def bug(self, rule: str, message: str) -> NoReturn:
        """Stop the machine: a rule of the kernel was broken."""
        self.trace.emit(KERNEL_BUG)
        raise KernelBug(rule, message, tuple(self.stack_of(cpu) for cpu in self.cpus))

    def stack_of(self, cpu: Cpu) -> str:
        """Where ``cpu`` stands, in one line."""
        task = cpu.task.name if cpu.task is not None else ("boot" if cpu is self.current else "idle")
        locks = ", ".join(lock.name for lock in cpu.held) or "none"
        return f"CPU {cpu.id} [{task}] at {cpu.label or 'start'}; locks: {locks}; RCU nesting {cpu.rcu_nesting}"

    def enter(self, state: int) -> None:
        """This CPU begins to do ``state``, inside of what it did until now."""
        cpu = self.current
        cpu.states.append(cpu.state)
        self.set_state(cpu, state)

    def leave(self) -> None:
        """Back to what this CPU did before ``enter``."""
        cpu = self.current
        self.set_state(cpu, cpu.states.pop() if cpu.states else CPU_RUNS)

    def set_state(self, cpu: Cpu, state: int) -> None:
        """Change the state shown, closing the segment of the one before."""
        if self.lanes_on and self.now > cpu.since:
            self.lanes.append((cpu.since, self.now, cpu.id, cpu.state))
        cpu.since = self.now
        cpu.state = state
