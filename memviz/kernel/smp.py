"""Virtual CPUs and who runs next (``kernel/smp.c``, the scheduler, softirqs: as much of them as mm/ can see).

Kernel code runs in a *task* on a virtual CPU, each task in a greenlet of its own, one at a time. Wherever real hardware
could switch, the code calls ``point(label)``; there a ``Scheduler`` may let another CPU go on. Same seed and same
commands: the same run. ``smp_threads.ThreadedSmp`` is the same interface over OS threads.

Outside any task (*boot context*: a test, a command between two runs) everything is a plain call on CPU 0: points do
nothing, and a wait runs the other tasks until its condition holds.

Virtual time is one clock for the machine, in nanoseconds: the sum of all CPUs' work, as only one works at a time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, NoReturn

from greenlet import getcurrent, greenlet

from memviz.kernel.schedule import RandomScheduler, Schedule, Scheduler
from memviz.kernel.trace import KERNEL_BUG, Trace

if TYPE_CHECKING:
    from memviz.kernel.spinlock import SpinLock

TASK_RUNNING: Final = 0
TASK_SPINNING: Final = 1  # busy-waits: its CPU can do nothing else
TASK_SLEEPING: Final = 2  # its CPU may run another task
TASK_DONE: Final = 3

# What a CPU does, as snapshots and lanes show it.
CPU_IDLE: Final = 0
CPU_RUNS: Final = 1
CPU_XA_LOCK: Final = 2
CPU_RCU_READ: Final = 3
CPU_SOFTIRQ: Final = 4
CPU_SPINS: Final = 5
CPU_WAITS_RCU: Final = 6
CPU_SLAB_LOCK: Final = 7
CPU_ZONE_LOCK: Final = 8
CPU_SLEEPS: Final = 9
CPU_IRQS_OFF: Final = 10
CPU_ISOLATE: Final = 11
CPU_MIGRATE: Final = 12


class KernelBug(Exception):
    """A rule of the kernel was broken. ``rule`` names it as lockdep would; ``stacks`` says where every CPU stood."""

    def __init__(self, rule: str, message: str, stacks: tuple[str, ...] = ()) -> None:
        super().__init__(f"{rule}: {message}")
        self.rule = rule
        self.message = message
        self.stacks = stacks


class Task:
    """A thread of the kernel: a workload on its CPU, kswapd, a command. ``daemon``: may sleep for ever."""

    def __init__(self, name: str, cpu: Cpu, body: Callable[[], None], daemon: bool) -> None:
        self.name = name
        self.cpu = cpu
        self.body = body
        self.daemon = daemon
        self.state = TASK_RUNNING
        self.ready: Callable[[], bool] | None = None
        self.wake_at = -1  # virtual time at which a timed sleep ends, -1: no timer
        self.greenlet: Any = None


class Cpu:
    """One virtual CPU."""

    def __init__(self, cpu_id: int) -> None:
        self.id = cpu_id
        self.irq_off = 0
        self.preempt = 0  # spinlocks held
        self.in_softirq = False
        self.softirq_pending = False
        self.rcu_nesting = 0
        self.held: list[SpinLock] = []
        self.no_slab = ""  # name of the callback in which slab calls are forbidden, "" outside of one
        self.task: Task | None = None
        self.queue: list[Task] = []
        self.label = ""
        self.state = CPU_IDLE
        self.since = 0  # when ``state`` began, ns
        self.states: list[int] = []  # states to return to
        self.spun_ns = 0  # total time blocked, spinning

    def atomic(self) -> bool:
        """Whether sleeping is forbidden here."""
        return self.preempt > 0 or self.irq_off > 0 or self.in_softirq or self.rcu_nesting > 0


class Smp:
    """All CPUs of a machine, its tasks, its clock."""

    def __init__(self, nr_cpus: int, trace: Trace, scheduler: Scheduler | None = None) -> None:
        self.nr_cpus = nr_cpus
        self.trace = trace
        self.scheduler: Scheduler = scheduler if scheduler is not None else RandomScheduler(0)
        self.cpus = [Cpu(i) for i in range(nr_cpus)]
        self.current = self.cpus[0]
        self.running: Task | None = None  # None: boot context
        self.now = 0
        self.budget = 0  # points before the scheduler is asked again
        self.switches = 0  # times it was asked
        self.record: Schedule | None = None  # a list: every answer of the scheduler is appended
        self.ops = 0  # workload operations done
        self.tickets = 0  # workload operations still to do in this run
        self.points_left = -1  # single-stepping: stop after so many points; -1: don't count
        self.stop_before: Callable[[Cpu], bool] | None = None  # stop before a point for which this is true
        self.stopped = False
        self.picking = False
        self.lanes_on = False
        self.lanes: deque[tuple[int, int, int, int]] = deque(maxlen=8192)  # (begin, end, cpu, state)
        self.quiescent: Callable[[Cpu], None] | None = None  # RCU: this CPU passes a quiescent state
        self.softirq: Callable[[Cpu], None] | None = None  # RCU: run the callbacks of this CPU
        self.idle: Callable[[], bool] | None = None  # RCU: nothing can run; True: now something may
        self.boot_greenlet: Any = None
        self.threads = False  # True in ThreadedSmp: locks are real ones

    # -- for kernel code ------------------------------------------------------------------------------------------

    def this_cpu(self) -> Cpu:
        """The CPU that runs now."""
        return self.current

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

    def advance(self, ns: int) -> None:
        """Work takes virtual time."""
        self.now += ns
        self.trace.now = self.now

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

    def cond_resched(self) -> None:
        """A long-running task lets others of its CPU run; a quiescent state."""
        cpu = self.current
        if cpu.atomic() or self.running is None:
            return
        self.give_way(cpu, "cond_resched")

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

    # -- lanes: what each CPU does, over time -----------------------------------------------------------------------

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
        if task.state != TASK_DONE and not self.stopped:
            self.bug("hung task", f"{name} on CPU {cpu_id} never finished: everything it waits for sleeps")

    def run_ops(self, count: int) -> None:
        """Let the workload tasks do ``count`` more operations; return when all of them stand between operations."""
        self.tickets = count
        self.stopped = False
        self.run(None)

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
