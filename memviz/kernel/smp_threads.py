"""Virtual CPUs as OS threads: for stress. What holds under seeded exploration must hold here.

Every task is a thread of the host, spinlocks are real locks, preemption is the interpreter's. Nothing here repeats
from a seed. Virtual time still advances, but as threads race for it, it is a rough sum.

A run starts all tasks and ends when the workload has no operations left and every other task is done; workload tasks
and daemons are then unwound, and start afresh with the next run.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

from memviz.kernel.smp import CPU_RUNS, CPU_SLEEPS, TASK_DONE, TASK_RUNNING, Cpu, Smp, Task
from memviz.kernel.trace import Trace

PATIENCE: Final = 3_000_000  # yields before a waiting thread calls it a deadlock: several seconds of a busy machine


class ThreadStop(BaseException):
    """Unwinds a task at the end of a run; nobody but ``ThreadedSmp`` catches it."""


class ThreadedSmp(Smp):
    """``Smp`` over OS threads."""

    def __init__(self, nr_cpus: int, trace: Trace) -> None:
        super().__init__(nr_cpus, trace, None)
        self.threads = True
        self.local = threading.local()
        self.big = threading.RLock()  # around what real hardware does atomically: tickets, quiescent states
        # one task of a CPU works at a time: its thread holds the CPU until it sleeps or gives way
        self.seats = [threading.Lock() for _ in range(nr_cpus)]
        self.failure: BaseException | None = None
        self.stopping = False

    def this_cpu(self) -> Cpu:
        """The CPU of this thread; CPU 0 for a thread that is no task."""
        cpu: Cpu = getattr(self.local, "cpu", self.cpus[0])
        return cpu

    def in_task(self) -> bool:
        """Whether this thread is a task of a run."""
        return getattr(self.local, "cpu", None) is not None

    def point(self, label: str) -> None:
        """A softirq may run here; other CPUs run all the time."""
        cpu = self.this_cpu()
        cpu.label = label
        if cpu.softirq_pending and cpu.irq_off == 0 and not cpu.in_softirq and self.in_task():
            self.do_softirq(cpu)

    def irq_disable(self) -> None:
        """Interrupts off on this CPU (nests)."""
        self.this_cpu().irq_off += 1

    def irq_enable(self) -> None:
        """Undo one ``irq_disable``."""
        self.this_cpu().irq_off -= 1

    def enter(self, state: int) -> None:
        """This CPU begins to do ``state``."""
        cpu = self.this_cpu()
        cpu.states.append(cpu.state)
        cpu.state = state

    def leave(self) -> None:
        """Back to what this CPU did before."""
        cpu = self.this_cpu()
        cpu.state = cpu.states.pop() if cpu.states else CPU_RUNS

    def might_sleep(self, what: str) -> None:
        """Report a sleeping call where sleeping is forbidden."""
        cpu = self.this_cpu()
        if cpu.atomic():
            self.bug("sleeping function called from invalid context", f"{what} on CPU {cpu.id}")

    def spin_until(self, label: str, ready: Callable[[], bool]) -> None:
        """Busy-wait, yielding the interpreter."""
        begin = self.now
        self.this_cpu().label = label
        self.yield_until(label, ready)
        self.this_cpu().spun_ns += self.now - begin

    def sleep_until(self, label: str, ready: Callable[[], bool], state: int = CPU_SLEEPS) -> None:
        """Wait; the CPU is idle for RCU meanwhile and runs its softirqs."""
        self.might_sleep(label)
        cpu = self.this_cpu()
        cpu.label = label
        for _ in range(PATIENCE):
            if ready():
                return
            if self.stopping or self.failure is not None:
                raise ThreadStop
            self.context_switch(cpu)
            if cpu.softirq_pending:
                self.do_softirq(cpu)
            if not self.in_task() and self.idle is not None:
                with self.big:
                    self.idle()
            self.leave_cpu(cpu)
        self.bug("deadlock", f"{label} on CPU {cpu.id} waits for what nobody does")

    def leave_cpu(self, cpu: Cpu) -> None:
        """Let other tasks of this CPU work, and other CPUs."""
        if not self.in_task():
            time.sleep(0)
            return
        self.seats[cpu.id].release()
        time.sleep(0)
        self.seats[cpu.id].acquire()
        self.local.task.cpu.task = self.local.task

    def sleep_for(self, label: str, ns: int) -> None:
        """Sleep for virtual time."""
        until = self.now + ns
        self.sleep_until(label, lambda: self.now >= until)

    def yield_until(self, label: str, ready: Callable[[], bool]) -> None:
        """Wait without being idle."""
        for _ in range(PATIENCE):
            if ready():
                return
            if self.failure is not None:
                raise ThreadStop
            time.sleep(0)
        self.bug("deadlock", f"{label} on CPU {self.this_cpu().id} spins for ever")

    def cond_resched(self) -> None:
        """A quiescent state."""
        cpu = self.this_cpu()
        if not cpu.atomic() and self.in_task():
            if self.stopping or self.failure is not None:
                raise ThreadStop
            self.context_switch(cpu)
            self.point("cond_resched")
            if len(cpu.queue) > 1:
                self.leave_cpu(cpu)

    def context_switch(self, cpu: Cpu) -> None:
        """Tell RCU, one CPU at a time."""
        if self.quiescent is not None:
            with self.big:
                self.quiescent(cpu)

    def take_ticket(self) -> None:
        """Begin an operation, or leave the run when none is left."""
        if self.failure is not None:
            raise ThreadStop
        with self.big:
            if self.tickets <= 0:
                raise ThreadStop
            self.tickets -= 1

    def op_done(self) -> None:
        """An operation is complete."""
        with self.big:
            self.ops += 1
        cpu = self.this_cpu()
        self.context_switch(cpu)
        self.point("between operations")
        if len(cpu.queue) > 1:
            self.leave_cpu(cpu)

    def spawn(self, cpu_id: int, name: str, body: Callable[[], None], daemon: bool = False) -> Task:
        """A new task on CPU ``cpu_id``. One task a CPU works at a time; others of it wait their turn."""
        task = Task(name, self.cpus[cpu_id], body, daemon)
        self.cpus[cpu_id].queue.append(task)
        return task

    def run_task(self, cpu_id: int, name: str, body: Callable[[], None]) -> None:
        """Between runs no thread runs: a plain call, on CPU 0's data."""
        body()

    def run(self, until: Callable[[], bool] | None) -> None:
        """Start every task, wait for all, raise what the first failing one raised."""
        self.failure = None
        self.stopping = False
        tasks = [task for cpu in self.cpus for task in cpu.queue]
        threads = {task: threading.Thread(target=self.thread_body, args=(task,), name=task.name) for task in tasks}
        for thread in threads.values():
            thread.start()
        for task, thread in threads.items():
            if not task.daemon:
                thread.join()
        self.stopping = True
        for thread in threads.values():
            thread.join()
        self.stopping = False
        for cpu in self.cpus:
            cpu.queue = [task for task in cpu.queue if task.state != TASK_DONE]
            cpu.task = None
        if self.failure is not None:
            raise self.failure

    def thread_body(self, task: Task) -> None:
        """What a task's thread does."""
        cpu = task.cpu
        self.local.cpu = cpu
        self.local.task = task
        self.seats[cpu.id].acquire()
        cpu.task = task
        task.state = TASK_RUNNING
        try:
            task.body()
            task.state = TASK_DONE
        except ThreadStop:
            pass
        except BaseException as error:
            self.failure = self.failure or error
        finally:
            cpu.task = None
            if not cpu.atomic():
                self.context_switch(cpu)
            self.seats[cpu.id].release()
