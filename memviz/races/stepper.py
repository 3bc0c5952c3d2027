"""Stepping through a case: forwards by scheduling points, and back, with the source line that every CPU stands on.

A position is a number of points passed; a run is its list of decisions, which CPU went on at each. One step back is the
same run again, from the start, one point shorter: the same decisions give the same state, to the last digest.
"""

from __future__ import annotations

import linecache
from collections.abc import Callable
from pathlib import Path
from types import FrameType, TracebackType
from typing import Final, NamedTuple

from memviz.kernel.explore import attempt
from memviz.kernel.schedule import RandomScheduler, Schedule, Scheduler
from memviz.kernel.smp import TASK_SLEEPING, TASK_SPINNING, KernelBug
from memviz.races.case import Variant
from memviz.races.lab import Lab

PACKAGE: Final = Path(__file__).resolve().parents[1]
CONTEXT: Final = 9
"""Lines of source shown above and below the one a CPU stands on."""

STEPS_MAX: Final = 100_000

# Where a CPU always stands when it stands still; what called them is what is looked for.
_PLUMBING: Final = frozenset({"smp.py", "sched.py", "cpus.py", "spinlock.py", "schedule.py", "stepper.py"})
_WRAPPERS: Final = frozenset({"xa_lock", "xa_unlock", "read_lock", "read_unlock", "_rcu_read_lock", "_rcu_read_unlock"})


class Line(NamedTuple):
    """A line of source: ``module`` as "kernel/xa_migrate.py", ``text`` without what it is indented by."""

    module: str
    function: str
    number: int
    text: str

    def __str__(self) -> str:
        return f"{self.module}:{self.number} {self.function}"


class Stand(NamedTuple):
    """Where one CPU stands. ``lines``: its stack, innermost first; empty where no source can be shown (compiled)."""

    cpu: int
    task: str
    label: str
    """The scheduling point it stands before; "not begun" or "done"."""
    waits: bool
    locks: tuple[str, ...]
    irqs_off: bool
    rcu_nesting: int
    lines: tuple[Line, ...]

    @property
    def where(self) -> str:
        """Its line, or its label where there is none."""
        return str(self.lines[0]) if self.lines else self.label


class Leg(NamedTuple):
    """A stretch of a run on one CPU."""

    cpu: int
    task: str
    points: int
    until: str
    """What it stands before then: a label, "done", or what it waits for."""
    line: Line | None

    @property
    def told(self) -> str:
        """In words, without the line."""
        points = "1 point" if self.points == 1 else f"{self.points} points"
        return f"CPU {self.cpu} ({self.task}) goes on for {points}, until: {self.until}"


class Steered(Scheduler):
    """Follows ``plan``; goes where ``wanted`` says once; stays on its CPU when there is no plan."""

    def __init__(self, plan: list[int]) -> None:
        self.plan = plan
        self.at = 0
        self.wanted = -1
        self.last = 0

    def next_cpu(self, runnable: list[int], current: int) -> int:
        """A decision that is not the plan's ends the plan."""
        chosen = self.plan[self.at] if self.at < len(self.plan) else self.last
        if self.wanted in runnable:
            chosen = self.wanted
        elif chosen not in runnable:
            chosen = self.last if self.last in runnable else runnable[0]
        self.wanted = -1
        if self.at < len(self.plan) and self.plan[self.at] != chosen:
            del self.plan[self.at :]
        if self.at == len(self.plan):
            self.plan.append(chosen)
        self.at += 1
        self.last = chosen
        return chosen


class Stepper:
    """One run of ``variant``, at one position. ``schedule`` or ``seed``: the run to follow for as long as nobody
    chooses another CPU; without either CPU 0 goes first."""

    def __init__(self, variant: Variant, schedule: Schedule | None = None, seed: int | None = None) -> None:
        if schedule is None and seed is not None:
            schedule = attempt(variant.build, RandomScheduler(seed))[0]
        self.variant = variant
        self.plan = [cpu for cpu, _ in schedule or []]
        self.restart()

    def restart(self) -> None:
        """Back to where nothing has run yet."""
        self.position = 0
        self.ended = False
        self.failure = ""
        self.rule = ""
        self.scheduler = Steered(self.plan)
        self.fatal: tuple[Line, ...] = ()
        self.ran: list[int] = []  # who went on in the last step, in that order
        self.lab: Lab = self.variant.scene(self.scheduler)
        self.lab.smp.lanes_on = True

    # -- forwards and back ---------------------------------------------------------------------------------------------

    def forward(self, cpu: int = -1) -> bool:
        """Go on to the next scheduling point, on ``cpu`` if that can run. False: the run had ended already."""
        if self.ended:
            return False
        smp = self.lab.smp
        self.scheduler.wanted = cpu
        before = self.scheduler.at
        self.position += 1
        smp.stopped = False
        smp.points_left = 1
        try:
            smp.run(None)
            if not smp.stopped:
                self.ended = True
                self.lab.finish()
        except KernelBug as bug:
            self._failed(str(bug), bug.rule, bug)
        except AssertionError as error:
            self._failed(str(error), "check failed", error)
        self.ran = self.plan[before : self.scheduler.at]
        return True

    def _failed(self, failure: str, rule: str, error: BaseException) -> None:
        if not self.ended:  # else it is a check at the end, where no CPU stands anywhere
            self.fatal = _lines_of_traceback(error.__traceback__)
        self.ended = True
        self.failure = failure
        self.rule = rule

    def back(self) -> bool:
        """One point back. False: at the start."""
        if self.position == 0:
            return False
        self.go_to(self.position - 1)
        return True

    def go_to(self, position: int) -> None:
        """To any position, of the past or of the run that is being followed."""
        if position < self.position:
            self.restart()
        while self.position < position and self.forward():
            pass

    def until(self, stop: Callable[[Stepper], bool]) -> bool:
        """Go on until ``stop(self)``; False when the run ended before."""
        for _ in range(STEPS_MAX):
            if not self.forward():
                return False
            if stop(self):
                return True
        return False

    def until_label(self, label: str, cpu: int = -1) -> bool:
        """Go on until a CPU (or just ``cpu``) has come to a point whose label contains ``label``."""
        return self.until(
            lambda at: (cpu < 0 or at.scheduler.last == cpu) and label in at.lab.smp.cpus[at.scheduler.last].label
        )

    def to_end(self) -> None:
        """Go on to the verdict."""
        while self.forward():
            pass

    # -- looking -------------------------------------------------------------------------------------------------------

    @property
    def verdict(self) -> str:
        """One sentence about this run."""
        if self.failure:
            return self.failure
        return "This run ends well: everything that must hold does." if self.ended else ""

    def digest(self) -> str:
        """Of the state: the same for the same position of the same run."""
        return self.lab.digest()

    def stands(self) -> tuple[Stand, ...]:
        """Where every CPU stands."""
        return tuple(self._stand(cpu) for cpu in range(self.lab.smp.nr_cpus))

    def _stand(self, number: int) -> Stand:
        cpu = self.lab.smp.cpus[number]
        task = self.lab.task_of(number)
        lines: tuple[Line, ...] = ()
        label = cpu.label
        waits = False
        if task is None:
            label = "nothing to do"
        elif self.fatal and number == self.scheduler.last:
            lines = self.fatal
        elif task.greenlet.dead:
            label = "done"
        elif not task.greenlet:
            label = "not begun"
            lines = _first_line(self.lab.bodies[number])
        else:
            waits = task.state in (TASK_SPINNING, TASK_SLEEPING)
            lines = _lines(task.greenlet.gr_frame)
        return Stand(
            number,
            task.name if task is not None else "",
            label,
            waits,
            tuple(lock.name for lock in cpu.held),
            cpu.irq_off > 0,
            cpu.rcu_nesting,
            lines,
        )

    def legs(self) -> list[Leg]:
        """The whole run in as few words as it takes: from the start, one leg each time another CPU goes on."""
        here = self.position
        self.restart()
        found: list[Leg] = []
        while self.forward():
            stands = self.stands()
            for number in dict.fromkeys([*self.ran, self.scheduler.last]):
                stand = stands[number]
                points = 1
                if found and found[-1].cpu == number:
                    points += found.pop().points
                told = f"it waits: {stand.label}" if stand.waits else stand.label
                found.append(Leg(number, stand.task, points, told, stand.lines[0] if stand.lines else None))
        self.restart()
        self.go_to(here)
        return found


def source(line: Line, context: int = CONTEXT) -> list[tuple[int, str]]:
    """Lines around ``line``, with their numbers; empty where the source is not at hand."""
    text = linecache.getlines(str(PACKAGE / line.module))
    first = max(1, line.number - context)
    return [(number, text[number - 1].rstrip()) for number in range(first, min(len(text), line.number + context) + 1)]


def _line(filename: str, function: str, number: int) -> Line | None:
    """A line of the kernel's or of a case's, None for any other."""
    path = Path(filename)
    if path.name in _PLUMBING or function in _WRAPPERS or PACKAGE not in path.parents:
        return None
    text = linecache.getline(filename, number).strip()
    return Line(path.relative_to(PACKAGE).as_posix(), function, number, text)


def _lines(frame: FrameType | None) -> tuple[Line, ...]:
    """The stack of a CPU that stands still, innermost first."""
    found: list[Line] = []
    while frame is not None:
        line = _line(frame.f_code.co_filename, frame.f_code.co_name, frame.f_lineno)
        if line is not None:
            found.append(line)
        frame = frame.f_back
    return tuple(found)


def _lines_of_traceback(traceback: TracebackType | None) -> tuple[Line, ...]:
    """The stack of the CPU that broke a rule, innermost first."""
    found: list[Line] = []
    while traceback is not None:
        code = traceback.tb_frame.f_code
        line = _line(code.co_filename, code.co_name, traceback.tb_lineno)
        if line is not None:
            found.append(line)
        traceback = traceback.tb_next
    return tuple(reversed(found))


def _first_line(body: Callable[[], None]) -> tuple[Line, ...]:
    """Where what a CPU will run begins."""
    code = getattr(body, "__code__", None)
    line = _line(code.co_filename, code.co_name, code.co_firstlineno) if code is not None else None
    return () if line is None else (line,)
