"""Virtual CPUs and who runs next (``kernel/smp.c``, the scheduler, softirqs: as much of them as mm/ can see).

Kernel code runs in a *task* on a virtual CPU, each task in a greenlet of its own, one at a time. Wherever real hardware
could switch, the code calls ``point(label)``; there a ``Scheduler`` may let another CPU go on. Same seed and same
commands: the same run. ``smp_threads.ThreadedSmp`` is the same interface over OS threads.

Outside any task (*boot context*: a test, a command between two runs) everything is a plain call on CPU 0: points do
nothing, and a wait runs the other tasks until its condition holds.

Virtual time is one clock for the machine, in nanoseconds: the sum of all CPUs' work, as only one works at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from greenlet import getcurrent, greenlet

from memviz.kernel.cpus import Cpus
from memviz.kernel.sched import (
    CPU_IDLE,
    CPU_IRQS_OFF,
    CPU_ISOLATE,
    CPU_MIGRATE,
    CPU_RCU_READ,
    CPU_RUNS,
    CPU_SLAB_LOCK,
    CPU_SLEEPS,
    CPU_SOFTIRQ,
    CPU_SPINS,
    CPU_WAITS_RCU,
    CPU_XA_LOCK,
    CPU_ZONE_LOCK,
    TASK_DONE,
    TASK_RUNNING,
    TASK_SLEEPING,
    TASK_SPINNING,
    Cpu,
    KernelBug,
    Task,
)
from memviz.kernel.schedule import RandomScheduler, Schedule, Scheduler
from memviz.kernel.trace import Trace

__all__ = [
    "CPU_IDLE",
    "CPU_IRQS_OFF",
    "CPU_ISOLATE",
    "CPU_MIGRATE",
    "CPU_RCU_READ",
    "CPU_RUNS",
    "CPU_SLAB_LOCK",
    "CPU_SLEEPS",
    "CPU_SOFTIRQ",
    "CPU_SPINS",
    "CPU_WAITS_RCU",
    "CPU_XA_LOCK",
    "CPU_ZONE_LOCK",
    "TASK_DONE",
    "TASK_RUNNING",
    "TASK_SLEEPING",
    "TASK_SPINNING",
    "Cpu",
    "KernelBug",
    "Smp",
    "Task",
]


WATCH_MASK: Final = 3  # watch at one switch in 4: thousands of times a second of the clock


class Smp(Cpus):
    """All CPUs of a machine, its tasks, its clock."""

    def __init__(self, nr_cpus: int, trace: Trace, scheduler: Scheduler | None = None) -> None:
        super().__init__(nr_cpus, trace)
        self.scheduler: Scheduler = scheduler if scheduler is not None else RandomScheduler(0)
        self.running: Task | None = None  # None: boot context
        self.budget = 0  # points before the scheduler is asked again
        self.switches = 0  # times it was asked
        self.record: Schedule | None = None  # a list: every answer of the scheduler is appended
        self.ops = 0  # workload operations done
        self.tickets = 0  # workload operations still to do in this run
        self.points_left = -1  # single-stepping: stop after so many points; -1: don't count
        self.stop_before: Callable[[Cpu], bool] | None = None  # stop before a point for which this is true
        self.stopped = False
        self.picking = False
        self.parking = False  # daemons stop at their next safe point once the workload stands between operations
        self.quiescent: Callable[[Cpu], None] | None = None  # RCU: this CPU passes a quiescent state
        self.softirq: Callable[[Cpu], None] | None = None  # RCU: run the callbacks of this CPU
        self.idle: Callable[[], bool] | None = None  # RCU: nothing can run; True: now something may
        self.boot_greenlet: Any = None
        self.threads = False  # True in ThreadedSmp: locks are real ones
        self.watch: Callable[[], None] | None = None  # who looks on while the machine runs: may read, and nothing else
        self.watch_mask = WATCH_MASK

    # -- for kernel code ------------------------------------------------------------------------------------------

    def point(self, label: str) -> None:
        """Another CPU may run here, or a softirq on this one."""
        if self.running is None:
            return
        cpu = self.current
        cpu.label = label
        if cpu.softirq_pending and cpu.irq_off == 0 and not cpu.in_softirq:
            self.do_softirq(cpu)
        self.budget -= 1
        if self.budget < 0:
            self.schedule_point()

    def spin_until(self, label: str, ready: Callable[[], bool]) -> None:
        """Busy-wait: the CPU stays occupied. The time is charged to ``Cpu.spun_ns``."""
        cpu = self.current
        cpu.label = label
        begin = self.now
        self.enter(CPU_SPINS)
        self.wait(TASK_SPINNING, ready)
        self.leave()
        cpu.spun_ns += self.now - begin

    def sleep_until(self, label: str, ready: Callable[[], bool], state: int = CPU_SLEEPS) -> None:
        """The task sleeps until ``ready()``; its CPU may run another task meanwhile."""
        self.might_sleep(label)
        self.current.label = label
        self.enter(state)
        self.wait(TASK_SLEEPING, ready)
        self.leave()

    def sleep_for(self, label: str, ns: int) -> None:
        """The task sleeps for ``ns`` of virtual time."""
        until = self.now + ns
        if self.running is None:
            self.advance(ns)
            return
        self.running.wake_at = until
        self.sleep_until(label, lambda: self.now >= until)
        self.running.wake_at = -1

    def cond_resched(self) -> None:
        """A long-running task lets others of its CPU run; a quiescent state."""
        cpu = self.current
        if cpu.atomic() or self.running is None:
            return
        self.give_way(cpu, "cond_resched")

    # -- tasks -----------------------------------------------------------------------------------------------------

    def spawn(self, cpu_id: int, name: str, body: Callable[[], None], daemon: bool = False) -> Task:
        """A new task on CPU ``cpu_id``; it runs when the machine runs."""
        cpu = self.cpus[cpu_id]
        task = Task(name, cpu, body, daemon)
        task.greenlet = greenlet(body)
        cpu.queue.append(task)
        return task

    def run_task(self, cpu_id: int, name: str, body: Callable[[], None]) -> None:
        """Run ``body`` on a CPU among all other tasks until it is done. A plain call when there is nobody else."""
        if self.running is not None or not any(cpu.queue for cpu in self.cpus):
            body()
            return
        task = self.spawn(cpu_id, name, body)
        cpu = self.cpus[cpu_id]
        if cpu.task is None or cpu.task.state == TASK_SLEEPING:
            cpu.queue.insert(0, cpu.queue.pop())  # a command goes before what only waits
        self.run(lambda: task.state == TASK_DONE)
        self.settle()
        if task.state != TASK_DONE and not self.stopped:
            self.bug("hung task", f"{name} on CPU {cpu_id} never finished: everything it waits for sleeps")

    def run_ops(self, count: int) -> None:
        """Let the workload tasks do ``count`` more operations; return when all of them stand between operations."""
        self.tickets = count
        self.stopped = False
        self.settle()

    def settle(self) -> None:
        """Run until every task stands where nothing is half done: the workload between operations, daemons where they
        hold no lock and no page. They go on with the next run, so that a short run gives them no more time than a long
        one."""
        self.parking = True
        self.run(None)
        self.parking = False

    def at_rest(self) -> bool:
        """Whether daemons should stop now: a run is over, and all of the workload stands between operations."""
        if not self.parking or self.tickets > 0:
            return False
        return all(task.daemon for cpu in self.cpus for task in cpu.queue)

    def in_motion(self) -> bool:
        """The opposite, as a condition to wait for."""
        return not self.at_rest()

    def take_ticket(self) -> None:
        """A workload task asks to begin an operation; it sleeps here when this run has none left."""
        if self.tickets <= 0:
            task = self.running
            assert task is not None, "only tasks do workload operations"
            task.daemon = True
            self.sleep_until("between operations", self.has_ticket, CPU_IDLE)
            task.daemon = False
        self.tickets -= 1

    def has_ticket(self) -> bool:
        """Whether another workload operation may begin."""
        return self.tickets > 0

    def op_done(self) -> None:
        """A workload operation is complete: back in user mode, a quiescent state, maybe another task's turn."""
        self.ops += 1
        self.give_way(self.current, "between operations")

    def give_way(self, cpu: Cpu, label: str) -> None:
        """A point at which this CPU may also go on with another of its tasks; a quiescent state."""
        if self.quiescent is not None:
            self.quiescent(cpu)
        me = self.running
        if me is not None and me.daemon and self.at_rest():
            self.sleep_until(label, self.in_motion, CPU_IDLE)
            return
        if me is None or len(cpu.queue) == 1:
            self.point(label)
            return
        cpu.label = label
        if cpu.softirq_pending:  # before the CPU is without a task: a softirq runs on top of one
            self.do_softirq(cpu)
        cpu.queue.remove(me)
        cpu.queue.append(me)
        cpu.task = None
        self.schedule_point()

    # -- the scheduler -----------------------------------------------------------------------------------------------

    def run(self, until: Callable[[], bool] | None) -> None:
        """Run tasks until ``until()`` holds or none can run (all done, or asleep for what only a command brings)."""
        me = getcurrent()
        outer_boot, outer_cpu, outer_running = self.boot_greenlet, self.current, self.running
        self.boot_greenlet = me
        for cpu in self.cpus:
            for queued in cpu.queue:
                if queued.greenlet is not me:
                    queued.greenlet.parent = me
        try:
            while not self.stopped and not (until is not None and until()):
                task = self.pick()
                if task is None:
                    if self.wake_idle():
                        continue
                    self.report_deadlock()
                    return
                self.switch_to(task)
                last = self.running  # tasks switch among themselves: who comes back is rarely who was sent off
                if last is not None and last.greenlet.dead:
                    self.reap(last)
        finally:
            self.boot_greenlet = outer_boot
            self.current = outer_cpu
            self.trace.cpu = outer_cpu.id
            self.running = outer_running

    def pick(self) -> Task | None:
        """Ask the scheduler for a CPU among those that can run."""
        if self.picking:
            self.bug("scheduling inside a wait condition", f"a condition of {self.current.label} is a scheduling point")
        if self.watch is not None and self.switches & self.watch_mask == 0:
            self.watch()
        self.picking = True
        runnable: list[int] = []
        tasks: list[Task] = []
        for cpu in self.cpus:
            task = self.candidate(cpu)
            if task is not None:
                runnable.append(cpu.id)
                tasks.append(task)
        self.picking = False
        if not runnable:
            return None
        chosen = self.scheduler.next_cpu(runnable, self.current.id)
        points = self.scheduler.points()
        self.switches += 1
        if self.record is not None:
            self.record.append((chosen, points))
        self.budget = 0 if self.points_left >= 0 or self.stop_before is not None else points
        return tasks[runnable.index(chosen)]

    def candidate(self, cpu: Cpu) -> Task | None:
        """The task that ``cpu`` would go on with, None when it has none that can run."""
        task = cpu.task
        if task is not None:
            if task.state == TASK_RUNNING:
                return task
            if task.state == TASK_SPINNING:
                return task if task.ready is not None and task.ready() else None
        for waiting in cpu.queue:
            if waiting.state == TASK_RUNNING:
                return waiting
            if waiting.state == TASK_SLEEPING and waiting.ready is not None and waiting.ready():
                return waiting
        return None

    def switch_to(self, task: Task) -> None:
        """Go on with ``task``; returns when something switches back to the caller's greenlet."""
        cpu = task.cpu
        if cpu.task is not task:
            cpu.task = task
            if cpu.state == CPU_IDLE:
                self.set_state(cpu, CPU_RUNS)
        self.current = cpu
        self.trace.cpu = cpu.id
        self.running = task
        task.greenlet.switch()

    def schedule_point(self) -> None:
        """Slow half of ``point``: stop here if asked to, else maybe let another CPU go on."""
        me = self.running
        assert me is not None
        if (self.points_left >= 0 or self.stop_before is not None) and self.count_point():
            return  # whoever ran the machine again has asked the scheduler already
        task = self.pick()
        if task is None or task is me:
            if me.cpu.task is not me:
                me.cpu.task = me
            return
        self.switch_to(task)
        self.resume(me)

    def count_point(self) -> bool:
        """Single-stepping: give control back to whoever called ``run`` when the wanted point is reached.

        True when it did, and the machine has been run again since.
        """
        me = self.running
        assert me is not None
        if self.points_left > 0:
            self.points_left -= 1
        if self.points_left == 0 or (self.stop_before is not None and self.stop_before(me.cpu)):
            self.stopped = True
            self.boot_greenlet.switch()
            self.resume(me)
            return True
        return False

    def resume(self, me: Task) -> None:
        """``me`` runs again after somebody switched to it."""
        self.running = me
        self.current = me.cpu
        self.trace.cpu = me.cpu.id

    def wait(self, state: int, ready: Callable[[], bool]) -> None:
        """The current task waits. In boot context: run the others until ``ready()``."""
        me = self.running
        if me is None:
            cpu = self.current
            if state == TASK_SLEEPING and self.quiescent is not None:
                self.quiescent(cpu)
            while not ready():
                self.run(ready)
                if not ready() and not self.wake_idle():
                    self.bug("deadlock", f"{cpu.label} on CPU {cpu.id} waits for what nobody will do")
            return
        cpu = me.cpu
        if state == TASK_SLEEPING and self.quiescent is not None:
            self.quiescent(cpu)
        while not ready():
            me.state = state
            me.ready = ready
            if state == TASK_SLEEPING:
                cpu.task = None
            task = self.pick()
            if task is not me:
                if task is None:
                    self.boot_greenlet.switch()
                else:
                    self.switch_to(task)
                self.resume(me)
            me.state = TASK_RUNNING
            cpu.task = me
        me.ready = None

    def wake_idle(self) -> bool:
        """Nothing can run: let RCU see idle CPUs, then let time pass to the next timer. True: try again."""
        if self.idle is not None and self.idle():
            return True
        wake_at = -1
        for cpu in self.cpus:
            for task in cpu.queue:
                if task.wake_at > self.now and not task.daemon and (wake_at < 0 or task.wake_at < wake_at):
                    wake_at = task.wake_at
        if wake_at < 0:
            return False
        self.advance(wake_at - self.now)
        return True

    def report_deadlock(self) -> None:
        """Nothing can run and nothing will: a bug when somebody spins or a non-daemon sleeps."""
        stuck = [
            task
            for cpu in self.cpus
            for task in cpu.queue
            if task.state == TASK_SPINNING or (task.state == TASK_SLEEPING and not task.daemon)
        ]
        if stuck:
            names = ", ".join(f"{task.name} at {task.cpu.label}" for task in stuck)
            self.bug("deadlock", f"all CPUs wait: {names}")

    def reap(self, task: Task) -> None:
        """A task has returned."""
        task.state = TASK_DONE
        cpu = task.cpu
        cpu.queue.remove(task)
        if cpu.task is task:
            cpu.task = None
            cpu.states.clear()
            self.set_state(cpu, CPU_IDLE)

    def do_softirq(self, cpu: Cpu) -> None:
        """Run pending softirqs of ``cpu`` on top of what it was doing."""
        cpu.softirq_pending = False
        if self.softirq is None:
            return
        cpu.in_softirq = True
        self.enter(CPU_SOFTIRQ)
        self.softirq(cpu)
        self.leave()
        cpu.in_softirq = False
