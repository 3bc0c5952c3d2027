"""RCU (``kernel/rcu/tree.c``, as of 7.3): grace periods from per-CPU quiescent states, callbacks in softirq.

- A grace period ends when every CPU that was busy at its start has passed a quiescent state. Only readers that were
  there before it began are waited for. Since 5.0 regions with interrupts, softirqs or preemption off count as
  readers too: a quiescent state is only ever reported between operations, on a context switch, or by an idle CPU.
- ``call_rcu``: the callback runs after a full grace period, in softirq on the CPU that queued it, at most ``blimit``
  callbacks a time (more when many are pending), and so maybe beside readers that started later.
- ``rcu_barrier`` waits for the callbacks that are queued; it is *not* a grace period and returns at once when there
  are none.
- Lazy callbacks (``CONFIG_RCU_LAZY``) may delay the start of a grace period for seconds.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Final

from memviz.kernel.smp import CPU_RCU_READ, CPU_WAITS_RCU, Cpu, Smp
from memviz.kernel.trace import RCU_BARRIER, RCU_BATCH, RCU_GP_BEGIN, RCU_GP_END, RCU_STALL

BLIMIT: Final = 10  # callbacks a softirq runs, at least
QHIMARK: Final = 10_000  # above this many pending the limit is off
QLOWMARK: Final = 100  # below it is on again
CALLBACK_NS: Final = 150
LAZY_NS: Final = 10_000_000_000  # how long lazy callbacks may wait for a grace period to start
STALL_NS: Final = 21_000_000_000  # CONFIG_RCU_CPU_STALL_TIMEOUT

Callback = tuple[int, Callable[[Any], None], Any]  # (grace period it needs, function, argument)


class Rcu:
    """The machine's one flavour of RCU.

    ``jiffy_ns``: a grace period takes at least this long, as its end is noticed by a scan once a jiffy; 0 for small
    cases that want every interleaving short.
    """

    def __init__(self, smp: Smp, jiffy_ns: int = 1_000_000, lazy: bool = False, stall_ns: int = STALL_NS) -> None:
        self.smp = smp
        self.jiffy_ns = jiffy_ns
        self.lazy = lazy
        self.stall_ns = stall_ns
        self.gp_seq = 0  # number of the last grace period begun
        self.completed = 0  # number of the last grace period ended
        self.waiting = 0  # bitmap of CPUs that the running one still waits for
        self.gp_begin = 0  # when it began, ns
        self.wanted = 0  # highest grace period that somebody needs
        self.lazy_until = -1  # lazy callbacks hold the start back until then
        self.stall_at = 0
        self.callbacks: list[deque[Callback]] = [deque() for _ in range(smp.nr_cpus)]
        self.blimit = [BLIMIT] * smp.nr_cpus
        self.barrier_left = 0
        self.all_cpus = (1 << smp.nr_cpus) - 1
        self.invoked = 0  # callbacks run
        smp.quiescent = self.note_quiescent
        smp.softirq = self.rcu_do_batch
        smp.idle = self.note_idle

    # -- readers -----------------------------------------------------------------------------------------------------

    def read_lock(self) -> None:
        """Enter a read-side section (nests)."""
        smp = self.smp
        cpu = smp.this_cpu()
        cpu.rcu_nesting += 1
        cpu.xa_node = None
        if smp.lanes_on:
            smp.enter(CPU_RCU_READ)
        smp.point("rcu_read_lock")

    def read_unlock(self) -> None:
        """Leave a read-side section."""
        smp = self.smp
        cpu = smp.this_cpu()
        if cpu.rcu_nesting <= 0:
            smp.bug("rcu_read_unlock without rcu_read_lock", f"CPU {cpu.id} is in no read-side section")
        cpu.rcu_nesting -= 1
        if smp.lanes_on:
            smp.leave()
        smp.point("rcu_read_unlock")

    # -- updaters ----------------------------------------------------------------------------------------------------

    def call_rcu(self, func: Callable[[Any], None], arg: object, hurry: bool = False) -> None:
        """Run ``func(arg)`` after a grace period. ``hurry``: even where callbacks are lazy (``call_rcu_hurry``)."""
        cpu = self.smp.this_cpu()
        need = self.next_gp()
        self.callbacks[cpu.id].append((need, func, arg))
        if need > self.wanted:
            self.wanted = need
        if self.lazy and not hurry and self.pending() < QHIMARK:
            if self.lazy_until < 0:
                self.lazy_until = self.smp.now + LAZY_NS
        else:
            self.lazy_until = -1
        if self.smp.running is None and len(self.callbacks[cpu.id]) > QHIMARK and not cpu.atomic():
            self.drain()  # boot context has no softirqs of its own

    def next_gp(self) -> int:
        """The first grace period that begins after now: a running one began too early to count."""
        return self.gp_seq + 1

    def synchronize_rcu(self) -> None:
        """Wait for a full grace period. It says nothing about callbacks having run."""
        need = self.next_gp()
        if need > self.wanted:
            self.wanted = need
        self.lazy_until = -1
        self.smp.sleep_until("synchronize_rcu", lambda: self.completed >= need, CPU_WAITS_RCU)

    def rcu_barrier(self) -> None:
        """Wait until every callback queued by now, on any CPU, has run. Not a grace period of its own."""
        smp = self.smp
        smp.might_sleep("rcu_barrier")
        begin = smp.now
        self.lazy_until = -1
        left = [0]
        for queue in self.callbacks:
            if queue:
                left[0] += 1
                need = queue[-1][0]
                queue.append((need, _count_down, left))
                self.wanted = max(self.wanted, need)
        if left[0]:
            smp.sleep_until("rcu_barrier", lambda: left[0] == 0, CPU_WAITS_RCU)
        smp.trace.emit(RCU_BARRIER, smp.now - begin)

    def pending(self) -> int:
        """Callbacks queued and not yet run, on all CPUs."""
        return sum(len(queue) for queue in self.callbacks)

    def drain(self) -> None:
        """In boot context, with no reader anywhere: end grace periods and run callbacks until none is left."""
        self.rcu_barrier()

    # -- grace periods -----------------------------------------------------------------------------------------------

    def running(self) -> bool:
        """Whether a grace period is under way."""
        return self.completed < self.gp_seq

    def note_quiescent(self, cpu: Cpu) -> None:
        """``cpu`` holds no reference now: it is between operations, or switches tasks."""
        if cpu.rcu_nesting == 0:
            if self.waiting:
                self.waiting &= ~(1 << cpu.id)
            if self.wanted > self.completed:
                self.advance_gp()
        queue = self.callbacks[cpu.id]
        if queue and queue[0][0] <= self.completed:
            cpu.softirq_pending = True

    def note_idle(self) -> bool:
        """No task can run anywhere. True: a grace period has moved on or callbacks have run."""
        moved = self.invoked
        completed = self.completed
        for cpu in self.smp.cpus:
            if cpu.rcu_nesting == 0 and not cpu.held:
                self.waiting &= ~(1 << cpu.id)
        if self.wanted > self.completed:
            if not self.running():
                self.lazy_until = -1
                self.begin_gp()
            if self.waiting == 0:
                due = self.gp_begin + self.jiffy_ns
                if self.smp.now < due:
                    self.smp.advance(due - self.smp.now)
                self.end_gp()
        for cpu in self.smp.cpus:
            self.run_softirq_on_idle(cpu)
        return self.invoked > moved or self.completed > completed

    def run_softirq_on_idle(self, cpu: Cpu) -> None:
        """An idle CPU takes the timer interrupt and runs its callbacks on the way out."""
        queue = self.callbacks[cpu.id]
        if queue and queue[0][0] <= self.completed and not cpu.atomic():
            smp = self.smp
            outer = smp.current
            running = smp.running
            smp.current = cpu
            smp.running = None  # on top of no task: a callback that waits must not be taken for the last one that ran
            smp.trace.cpu = cpu.id
            smp.do_softirq(cpu)
            smp.running = running
            smp.current = outer
            smp.trace.cpu = outer.id

    def advance_gp(self) -> None:
        """Begin the grace period that is wanted, or end the running one when all CPUs have reported."""
        now = self.smp.now
        if not self.running():
            if self.lazy_until < 0 or now >= self.lazy_until:
                self.begin_gp()
            return
        if self.waiting == 0:
            if now >= self.gp_begin + self.jiffy_ns:
                self.end_gp()
        elif now >= self.stall_at:
            self.report_stall()

    def begin_gp(self) -> None:
        """A grace period begins: every CPU that is not idle now must pass a quiescent state."""
        smp = self.smp
        self.gp_seq += 1
        self.gp_begin = smp.now
        self.stall_at = smp.now + self.stall_ns
        self.lazy_until = -1
        self.waiting = 0
        for cpu in smp.cpus:
            if cpu.task is not None or cpu.rcu_nesting > 0 or cpu.held:
                self.waiting |= 1 << cpu.id
        smp.trace.emit(RCU_GP_BEGIN, self.gp_seq)

    def end_gp(self) -> None:
        """All have reported: callbacks that needed this grace period are ready."""
        self.completed = self.gp_seq
        self.smp.trace.emit(RCU_GP_END, self.gp_seq, self.pending())
        for cpu in self.smp.cpus:
            queue = self.callbacks[cpu.id]
            if queue and queue[0][0] <= self.completed:
                cpu.softirq_pending = True

    def report_stall(self) -> None:
        """A CPU has not reported for too long: say so, then again after three timeouts and three seconds."""
        self.stall_at = self.smp.now + 3 * self.stall_ns + 3_000_000_000
        for cpu in self.smp.cpus:
            if self.waiting >> cpu.id & 1:
                self.smp.trace.emit(RCU_STALL, self.gp_seq, cpu.id, self.smp.now - self.gp_begin)

    # -- softirq -----------------------------------------------------------------------------------------------------

    def rcu_do_batch(self, cpu: Cpu) -> None:
        """Run ready callbacks of ``cpu``, at most its limit; the rest waits for the next softirq."""
        smp = self.smp
        queue = self.callbacks[cpu.id]
        if len(queue) > QHIMARK:
            self.blimit[cpu.id] = QHIMARK
        elif len(queue) < QLOWMARK:
            self.blimit[cpu.id] = BLIMIT
        limit = max(self.blimit[cpu.id], len(queue) >> 7)
        done = 0
        while queue and queue[0][0] <= self.completed and done < limit:
            _, func, arg = queue.popleft()
            smp.advance(CALLBACK_NS)
            func(arg)
            self.invoked += 1
            done += 1
        if queue and queue[0][0] <= self.completed:
            cpu.softirq_pending = True
        if done:
            smp.trace.emit(RCU_BATCH, done, len(queue))


def _count_down(left: list[int]) -> None:
    left[0] -= 1
