"""What runs on a virtual CPU, and what the CPU is in the middle of (``kernel/sched``, ``linux/preempt.h``)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

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
        self.xa_node: object = None  # inside a read-side section: the XaNode that its walk stands on, if any
        self.spun_ns = 0  # total time blocked, spinning

    def atomic(self) -> bool:
        """Whether sleeping is forbidden here."""
        return self.preempt > 0 or self.irq_off > 0 or self.in_softirq or self.rcu_nesting > 0
