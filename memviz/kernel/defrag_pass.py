"""One pass of slab defragmentation: what it bought, its price, and its story.

The question is Al Viro's of April 2019: how much does it help, how costly is it, and how much of the cache does it
throw away?
"""

from __future__ import annotations

from typing import Final

# Why a slab was left alone. Codes are a file format (SLAB_DTYPE.refused): never renumber, only add.
REFUSED_NONE: Final = 0
REFUSED_LOCKED: Final = 1  # somebody held the slab lock
REFUSED_IN_USE: Final = 2  # isolate said no, without saying why
REFUSED_REFERENCED: Final = 3  # a positive reference count: "leave it alone, period"
REFUSED_NEW: Final = 4  # allocated, not yet inserted anywhere
REFUSED_ON_LIST: Final = 5  # on a list of its user that can't be locked here
REFUSED_NO_MEMORY: Final = 6  # no memory for the replacement
REFUSED_LEFT: Final = 7  # isolated, but objects were still there after migrate
REFUSED_IMMOVABLE: Final = 8  # the cache has no callbacks
REFUSED_ON_CPU: Final = 9  # a CPU took the slab as its own meanwhile
REFUSED_RCU: Final = 10  # objects wait for a grace period that nobody waited for
REFUSED_NAMES: Final = (
    "",
    "slab locked",
    "in use",
    "referenced",
    "not yet inserted",
    "on a list",
    "no memory",
    "objects left",
    "immovable",
    "on a CPU",
    "waits for RCU",
)
NR_REFUSED: Final = 11

# Steps of the story: (code, a, b, c).
STEP_FLUSH: Final = 0
STEP_CHOOSE: Final = 1  # candidates, partial slabs, dense ones
STEP_ISOLATE: Final = 2  # pfn, objects, slots
STEP_REFUSED: Final = 3  # pfn, reason, address of the object
STEP_MIGRATE: Final = 4  # pfn, objects that left, objects asked for
STEP_BARRIER: Final = 5  # ns, grace periods
STEP_FREED: Final = 6  # pfn, page frames
STEP_LEFT: Final = 7  # pfn, objects left, slots
STEP_BLOCKED: Final = 8  # pfn, cpu, ns
STEP_STOP: Final = 9  # partial slabs left, room in them
STEP_EMPTY: Final = 10  # empty slabs discarded
STEP_FILLED: Final = 11  # pfn: changed since it was chosen
STEP_TARGET: Final = 12  # slabs of the pageblock, pageblock
MAX_STORY: Final = 512

Step = tuple[int, int, int, int]


class DefragPass:
    """What one pass over one cache did. Counters only grow; ``end`` closes it. Times are virtual nanoseconds."""

    def __init__(self, cache_id: int, cache: str, ratio: int, begin: int) -> None:
        self.number = 0
        self.cache_id = cache_id
        self.cache = cache
        self.ratio = ratio
        self.begin = begin
        self.end = begin
        # the gain
        self.slabs_freed = 0
        self.pages_freed = 0
        # the price
        self.slabs_isolated = 0
        self.slabs_left = 0  # isolated in vain: back to the partial list's tail, to be filled up again
        self.objects_moved = 0
        self.objects_evicted = 0  # cache thrown away
        self.bytes_copied = 0
        self.refused = [0] * NR_REFUSED  # slabs left alone, by REFUSED_*
        self.holds = 0  # times a slab lock was held for isolate
        self.hold_ns = 0
        self.longest_hold_ns = 0
        self.list_lock_ns = 0  # longest hold of the list lock
        self.cpus_blocked = 0  # frees that had to wait for the pass
        self.blocked_ns = 0
        self.barriers = 0
        self.barrier_ns = 0
        self.grace_periods = 0
        self.freed_meanwhile = 0  # objects that their owners freed while their slab was isolated
        self.steps: list[Step] = []
        self.steps_left_out = 0
        self.note = ""  # why it did nothing at all

    def tell(self, step: int, a: int = 0, b: int = 0, c: int = 0) -> None:
        """Add a step to the story, which is bounded."""
        if len(self.steps) < MAX_STORY:
            self.steps.append((step, a, b, c))
        else:
            self.steps_left_out += 1

    def hold(self, ns: int) -> None:
        """A slab lock was held for ``ns``."""
        self.holds += 1
        self.hold_ns += ns
        if ns > self.longest_hold_ns:
            self.longest_hold_ns = ns

    def refusals(self) -> int:
        """Slabs left alone, for whatever reason."""
        return sum(self.refused)

    def add(self, other: DefragPass) -> None:
        """Add the figures of ``other``: totals of a machine or a run."""
        self.slabs_freed += other.slabs_freed
        self.pages_freed += other.pages_freed
        self.slabs_isolated += other.slabs_isolated
        self.slabs_left += other.slabs_left
        self.objects_moved += other.objects_moved
        self.objects_evicted += other.objects_evicted
        self.bytes_copied += other.bytes_copied
        for reason in range(NR_REFUSED):
            self.refused[reason] += other.refused[reason]
        self.holds += other.holds
        self.hold_ns += other.hold_ns
        self.longest_hold_ns = max(self.longest_hold_ns, other.longest_hold_ns)
        self.list_lock_ns = max(self.list_lock_ns, other.list_lock_ns)
        self.cpus_blocked += other.cpus_blocked
        self.blocked_ns += other.blocked_ns
        self.barriers += other.barriers
        self.barrier_ns += other.barrier_ns
        self.grace_periods += other.grace_periods
        self.freed_meanwhile += other.freed_meanwhile

    def gain(self) -> tuple[tuple[str, int], ...]:
        """What it bought, by name."""
        return (("slabs freed", self.slabs_freed), ("pages returned", self.pages_freed))

    def price(self) -> tuple[tuple[str, int], ...]:
        """What it cost, by name; refusals by reason, those that did not occur left out."""
        figures = [
            ("objects moved", self.objects_moved),
            ("objects thrown away", self.objects_evicted),
            ("bytes copied", self.bytes_copied),
            ("slabs isolated", self.slabs_isolated),
            ("slabs isolated in vain", self.slabs_left),
        ]
        for reason in range(1, NR_REFUSED):
            if self.refused[reason]:
                figures.append((f"refused: {REFUSED_NAMES[reason]}", self.refused[reason]))
        figures += [
            ("slab lock held, total ns", self.hold_ns),
            ("slab lock held, longest ns", self.longest_hold_ns),
            ("list lock held, longest ns", self.list_lock_ns),
            ("CPUs blocked", self.cpus_blocked),
            ("CPUs blocked, total ns", self.blocked_ns),
            ("grace periods waited for", self.grace_periods),
            ("rcu_barrier calls", self.barriers),
            ("rcu_barrier, total ns", self.barrier_ns),
            ("objects freed meanwhile", self.freed_meanwhile),
            ("duration ns", self.end - self.begin),
        ]
        return tuple(figures)

    def story(self) -> list[str]:
        """The pass told step by step, a short sentence each."""
        lines = [step_sentence(step) for step in self.steps]
        if self.steps_left_out:
            lines.append(f"… and {self.steps_left_out} more steps like these.")
        lines.append(self.sentence())
        return lines

    def sentence(self) -> str:
        """The pass in one sentence."""
        if self.note:
            return f"{self.cache}: {self.note}."
        text = f"{self.cache}: {plural(self.slabs_freed, 'slab')} freed, {plural(self.pages_freed, 'page')} returned"
        text += f", for {plural(self.objects_moved, 'object')} moved"
        if self.objects_evicted:
            text += f" and {self.objects_evicted} thrown away"
        refused = self.refusals()
        if refused:
            reasons = [
                f"{self.refused[reason]} {REFUSED_NAMES[reason]}"
                for reason in range(1, NR_REFUSED)
                if self.refused[reason]
            ]
            text += f"; {plural(refused, 'slab')} left alone ({', '.join(reasons)})"
        return text + "."


def plural(count: int, noun: str) -> str:
    """ "1 slab", "2 slabs"."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def microseconds(ns: int) -> str:
    """A short time in words."""
    return f"{ns} ns" if ns < 1000 else f"{ns / 1000:.1f} µs"


def step_sentence(step: Step) -> str:
    """One step of the story as a person reads it."""
    code, a, b, c = step
    if code == STEP_FLUSH:
        return "CPUs gave back the free objects they kept for themselves."
    if code == STEP_CHOOSE:
        return f"Of {plural(b, 'partial slab')} {a} are sparse enough; {c} are too dense."
    if code == STEP_ISOLATE:
        held = f"{b} of {c} objects get" if c > 1 else "its only object gets"
        return f"Slab {a:#x} isolated: {held} a reference; nobody may allocate from it now."
    if code == STEP_REFUSED:
        which = f" (object {c:#x})" if c else ""
        return f"Slab {a:#x} left alone: {REFUSED_NAMES[b]}{which}."
    if code == STEP_MIGRATE:
        if b == c:
            return f"Slab {a:#x}: {'its object' if c == 1 else f'all {c} objects'} left it."
        return f"Slab {a:#x}: {b or 'none'} of {plural(c, 'object')} left it."
    if code == STEP_BARRIER:
        return f"Waited {microseconds(a)} for RCU callbacks, {plural(b, 'grace period')} long."
    if code == STEP_FREED:
        return f"Slab {a:#x} is empty: {plural(b, 'page')} back to the page allocator."
    if code == STEP_LEFT:
        return (
            f"Slab {a:#x} keeps {b} of {plural(c, 'object')}: to the tail of the partial list, to be filled up again."
        )
    if code == STEP_BLOCKED:
        return f"CPU {b} wanted to free into slab {a:#x} and had to wait {microseconds(c)}."
    if code == STEP_STOP:
        return f"Stopped: {plural(a, 'partial slab')} left, and moving more objects would free no slab."
    if code == STEP_EMPTY:
        return f"{plural(a, 'slab')} held no object at all and went back at once."
    if code == STEP_FILLED:
        return f"Slab {a:#x} has changed since it was chosen: left alone."
    return f"Pageblock {b} holds {plural(a, 'slab')} of this cache."


class DefragLedger:
    """All passes of a machine: the last ones, and the totals."""

    def __init__(self) -> None:
        self.passes: list[DefragPass] = []
        self.totals = DefragPass(0, "all caches", 0, 0)
        self.count = 0

    def enter(self, done: DefragPass) -> None:
        """Number a pass that is over and count it."""
        self.count += 1
        done.number = self.count
        self.totals.add(done)
        self.passes.append(done)
        if len(self.passes) > 64:
            del self.passes[0]

    def last(self) -> DefragPass | None:
        """The newest pass, None before the first."""
        return self.passes[-1] if self.passes else None
