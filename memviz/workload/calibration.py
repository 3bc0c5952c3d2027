"""Users of memory whose effect has been published: they are here so that the simulation can be held against it.

``ThpBursts``: processes that fault in several huge pages at once and exit, beside a kernel build (Johannes Weiner's
test of "reliable huge page allocator", 2025). ``NightlyUpdatedb``: a walk over all names at night, of which the day
uses some again (Christoph Lameter's motive for slab defragmentation, 2007).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import msgspec

from memviz.kernel.dcache import Dentry
from memviz.kernel.page import GFP_TRANSHUGE, OWNER_HUGE, PAGEBLOCK_ORDER
from memviz.workload.base import Bounds, Workload

if TYPE_CHECKING:
    from memviz.kernel.machine import Machine


class ThpBurstsParams(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """``size``: huge pages that a process faults in, all at once. ``every``: operations of this user on a CPU from one
    process to the next; the process before exits then, so that memory is given back as it was taken.
    """

    size: int = 2
    every: int = 20


class ThpBursts(Workload):
    """Huge pages in bursts. A fault that gets none goes on with small pages, which the build has plenty of: counted,
    and not made here."""

    kind = "thp-bursts"
    controls: ClassVar = {
        "size": Bounds("huge pages a burst", 1, 64),
        "every": Bounds("turns from burst to burst", 1, 1000),
    }
    params: ThpBurstsParams

    def __init__(self, machine: Machine, seed: int, params: ThpBurstsParams) -> None:
        super().__init__(machine, seed)
        self.params = params
        self.held: list[list[int]] = [[] for _ in range(machine.config.cpus)]
        self.turns = [0] * machine.config.cpus
        self.fault_alloc = 0
        self.fault_fallback = 0

    def step(self, cpu: int) -> None:
        """Wait for the turn; then the old process exits, and a new one faults its memory in."""
        turn = self.turns[cpu]
        self.turns[cpu] = turn + 1
        if turn % self.params.every:
            return
        alloc = self.machine.page_alloc
        held = self.held[cpu]
        while held:
            alloc.free_pages(held.pop(), PAGEBLOCK_ORDER)
        for _ in range(self.params.size):
            pfn = alloc.alloc_pages(PAGEBLOCK_ORDER, GFP_TRANSHUGE, OWNER_HUGE)
            if pfn is None:
                self.fault_fallback += 1
            else:
                self.fault_alloc += 1
                held.append(pfn)

    def counts(self) -> dict[str, int]:
        """As ``/proc/vmstat`` names them, without ``thp_``."""
        return {"fault_alloc": self.fault_alloc, "fault_fallback": self.fault_fallback}


class NightlyUpdatedbParams(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """``period``: operations of the machine from one night to the next, of which ``night`` are the night. ``batch``:
    names an operation by night. ``names``: how many stay in use for a while, per CPU. ``again``: part of the
    operations by day that use a name of the night once more.
    """

    period: int = 9000
    night: int = 2500
    batch: int = 8
    names: int = 60
    again: float = 0.5


class NightlyUpdatedb(Workload):
    """By night a walk looks every name up once. By day users want some of them again, here and there: those stay, and
    what lies between them in a slab goes when memory is short."""

    kind = "nightly-updatedb"
    controls: ClassVar = {
        "batch": Bounds("names an operation by night", 0, 64),
        "again": Bounds("names used again, part of operations by day", 0.0, 1.0),
    }
    params: NightlyUpdatedbParams

    def __init__(self, machine: Machine, seed: int, params: NightlyUpdatedbParams) -> None:
        super().__init__(machine, seed)
        self.params = params
        cpus = machine.config.cpus
        self.seen: list[list[Dentry]] = [[] for _ in range(cpus)]
        self.used: list[list[Dentry]] = [[] for _ in range(cpus)]
        self.walked = 0

    def step(self, cpu: int) -> None:
        """A part of the walk by night; by day a name of the last walk is used."""
        p = self.params
        if self.machine.ops % p.period < p.night:
            self.walk(cpu)
        elif self.draws[cpu].chance(p.again):
            self.use(cpu)

    def walk(self, cpu: int) -> None:
        """Look up the next names, once each."""
        dcache = self.machine.dcache
        for _ in range(self.params.batch):
            dentry = dcache.d_alloc()
            if dentry is not None:
                self.walked += 1
                self.seen[cpu].append(dentry)
                dcache.dput(dentry)

    def use(self, cpu: int) -> None:
        """Somebody opens a file whose name is still there; the one that has been open longest is closed."""
        draw = self.draws[cpu]
        seen, used = self.seen[cpu], self.used[cpu]
        dcache = self.machine.dcache
        while seen:
            at = draw.below(len(seen))
            seen[at], seen[-1] = seen[-1], seen[at]
            dentry = seen.pop()
            if dcache.dget(dentry):  # else it has been evicted
                used.append(dentry)
                break
        while len(used) > self.params.names:
            dcache.dput(used.pop(0))

    def counts(self) -> dict[str, int]:
        """Names that the walks have looked up."""
        return {"walked": self.walked}
