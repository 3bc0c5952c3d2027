"""The rest of the kernel, and the users besides the file server: small, but never asked to leave.

``KernelNoise``: unmovable pages with random lifetimes. ``Network``: bursts of order-3 buffers that fall back to order
0. ``HugePages``: wants 2 MiB now and then, without insisting. ``Processes``: anonymous memory that grows and exits.
``Updatedb``: the nightly walk that fills the dentry and inode caches.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import msgspec

from memviz.kernel.dcache import Dentry
from memviz.kernel.page import (
    GFP_ATOMIC,
    GFP_COMP,
    GFP_HIGHUSER_MOVABLE,
    GFP_KERNEL,
    GFP_NOWARN,
    GFP_TRANSHUGE,
    GFP_TRANSHUGE_LIGHT,
    OWNER_ANON,
    OWNER_HUGE,
    OWNER_KERNEL,
    OWNER_NET,
    AddressSpace,
)
from memviz.workload.base import Bounds, Workload

if TYPE_CHECKING:
    from memviz.kernel.machine import Machine


class NoiseParams(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """``blocks``: how many are held at most, per CPU; ``max_order``: the largest."""

    blocks: int = 500
    max_order: int = 2


class KernelNoise(Workload):
    """Stacks, page tables, driver buffers: allocated for a random while, never movable."""

    kind = "kernel-noise"
    controls: ClassVar = {
        "blocks": Bounds("blocks held, a CPU", 0, 5000),
        "max_order": Bounds("largest order", 0, 5),
    }
    params: NoiseParams

    def __init__(self, machine: Machine, seed: int, params: NoiseParams) -> None:
        super().__init__(machine, seed)
        self.params = params
        self.held: list[list[tuple[int, int]]] = [[] for _ in range(machine.config.cpus)]

    def step(self, cpu: int) -> None:
        """Allocate one block, or free a random one."""
        draw = self.draws[cpu]
        held = self.held[cpu]
        if held and (len(held) >= self.params.blocks or draw.chance(0.45)):
            at = draw.below(len(held))
            pfn, order = held[at]
            held[at] = held[-1]
            held.pop()
            self.machine.page_alloc.free_pages(pfn, order)
            return
        order = draw.skewed(self.params.max_order + 1)
        got = self.machine.page_alloc.alloc_pages(order, GFP_KERNEL, OWNER_KERNEL)
        if got is not None:
            held.append((got, order))


class NetworkParams(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """``burst``: buffers a burst, ``order``: their size, ``hold``: bursts in flight, per CPU.

    ``period``: operations of the machine from quiet to busy and back; 0: always busy.
    """

    burst: int = 8
    order: int = 3
    hold: int = 4
    period: int = 0


class Network(Workload):
    """Receive buffers: order 3 if there is one, order 0 if not, given back soon."""

    kind = "network"
    controls: ClassVar = {
        "burst": Bounds("buffers a burst", 1, 64),
        "order": Bounds("order of a buffer", 0, 4),
        "hold": Bounds("bursts in flight, a CPU", 1, 64),
    }
    params: NetworkParams

    def __init__(self, machine: Machine, seed: int, params: NetworkParams) -> None:
        super().__init__(machine, seed)
        self.params = params
        self.flight: list[list[list[tuple[int, int]]]] = [[] for _ in range(machine.config.cpus)]
        self.buffers = 0
        self.fallbacks = 0
        self.failed = 0

    def step(self, cpu: int) -> None:
        """Receive one burst; free the oldest."""
        alloc = self.machine.page_alloc
        flight = self.flight[cpu]
        period = self.params.period
        if period and self.machine.ops // period % 2 == 0:
            if flight:
                self.give_back(flight.pop(0))
            return
        while len(flight) >= self.params.hold:
            self.give_back(flight.pop(0))
        burst: list[tuple[int, int]] = []
        for _ in range(self.params.burst):
            self.buffers += 1
            order = self.params.order
            got = alloc.alloc_pages(order, GFP_ATOMIC | GFP_COMP | GFP_NOWARN, OWNER_NET)
            if got is None:
                self.fallbacks += 1
                order = 0
                got = alloc.alloc_pages(0, GFP_ATOMIC | GFP_NOWARN, OWNER_NET)
            if got is None:
                self.failed += 1  # the packet is dropped
            else:
                burst.append((got, order))
        flight.append(burst)

    def counts(self) -> dict[str, int]:
        """Buffers wanted, those made of single pages instead, and those not made at all."""
        return {"buffers": self.buffers, "fallbacks": self.fallbacks, "failed": self.failed}

    def give_back(self, burst: list[tuple[int, int]]) -> None:
        """The packets have been read."""
        for pfn, order in burst:
            self.machine.page_alloc.free_pages(pfn, order)


class HugePagesParams(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """``hold``: huge pages held at most, per CPU; ``keep``: for good, else the oldest is given back for a new one.

    ``insist``: reclaim and compact for one. ``delay``: operations of the machine before the first is wanted.
    """

    hold: int = 8
    order: int = 9
    keep: bool = False
    insist: bool = False
    delay: int = 0


class HugePages(Workload):
    """Huge pages: 2 MiB if it is there for the taking, or with some effort."""

    kind = "huge-pages"
    controls: ClassVar = {
        "hold": Bounds("huge pages held, a CPU", 0, 64),
    }
    params: HugePagesParams

    def __init__(self, machine: Machine, seed: int, params: HugePagesParams) -> None:
        super().__init__(machine, seed)
        self.params = params
        self.held: list[list[int]] = [[] for _ in range(machine.config.cpus)]
        self.tried = 0
        self.got = 0

    def step(self, cpu: int) -> None:
        """Try for one; give the oldest back when holding enough."""
        alloc = self.machine.page_alloc
        held = self.held[cpu]
        p = self.params
        if self.machine.ops < p.delay or (p.keep and len(held) >= p.hold):
            return
        if len(held) >= p.hold:
            if held:
                alloc.free_pages(held.pop(0), p.order)
            if len(held) >= p.hold:
                return
        self.tried += 1
        pfn = alloc.alloc_pages(p.order, GFP_TRANSHUGE if p.insist else GFP_TRANSHUGE_LIGHT, OWNER_HUGE)
        if pfn is not None:
            self.got += 1
            held.append(pfn)

    def counts(self) -> dict[str, int]:
        """Huge pages wanted and got."""
        return {"tried": self.tried, "got": self.got}


class ProcessesParams(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """``processes``: at most, per CPU; ``pages``: the largest; ``chunk``: pages touched an operation."""

    processes: int = 12
    pages: int = 2000
    chunk: int = 16


class Process(AddressSpace):
    """Anonymous memory of one process: page frames by virtual page number."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size
        self.table: list[int] = []

    def migrate_folio(self, old: int, new: int, index: int) -> bool:
        """The page table entry changes."""
        if index >= len(self.table) or self.table[index] != old:
            return False
        self.table[index] = new
        return True

    def release_folio(self, pfn: int, index: int) -> bool:
        """There is no swap to write it to."""
        return False


class Processes(Workload):
    """Programs start, touch their memory bit by bit, and exit."""

    kind = "processes"
    controls: ClassVar = {
        "processes": Bounds("processes, a CPU", 1, 64),
        "pages": Bounds("pages of the largest", 10, 8000),
    }
    params: ProcessesParams

    def __init__(self, machine: Machine, seed: int, params: ProcessesParams) -> None:
        super().__init__(machine, seed)
        self.params = params
        self.running: list[list[Process]] = [[] for _ in range(machine.config.cpus)]

    def step(self, cpu: int) -> None:
        """Start, grow or exit one process."""
        draw = self.draws[cpu]
        running = self.running[cpu]
        if len(running) < self.params.processes and (not running or draw.chance(0.1)):
            process = Process(draw.between(self.params.pages // 10, self.params.pages))
            self.machine.mem.register_mapping(process)
            running.append(process)
            return
        process = running[draw.below(len(running))]
        if len(process.table) >= process.size:
            running.remove(process)
            self.exit(process)
        else:
            self.grow(process)

    def grow(self, process: Process) -> None:
        """Touch the next pages."""
        machine = self.machine
        for _ in range(min(self.params.chunk, process.size - len(process.table))):
            pfn = machine.page_alloc.alloc_pages(0, GFP_HIGHUSER_MOVABLE, OWNER_ANON)
            if pfn is None:
                return
            machine.mem.mapping[pfn] = process.id
            machine.mem.index[pfn] = len(process.table)
            process.table.append(pfn)
            machine.vmscan.folio_add_lru(pfn)

    def exit(self, process: Process) -> None:
        """Unmap everything; a page that compaction holds is waited for."""
        machine = self.machine
        for index in range(len(process.table)):
            pfn = self.isolate(process, index)
            machine.mem.forget_mapping(pfn)
            machine.page_alloc.free_pages(pfn, 0)
        machine.mem.unregister_mapping(process)

    def isolate(self, process: Process, index: int) -> int:
        """Take the page at ``index`` off the LRU, wherever compaction has moved it by then; returns its frame."""
        vmscan = self.machine.vmscan
        while True:
            pfn = process.table[index]
            if not vmscan.folio_isolate_lru(pfn):
                self.wait_on_folio(process, index)
            elif process.table[index] == pfn:
                return pfn
            else:  # it moved between the look and the isolation, and the frame is somebody else's now
                vmscan.folio_add_lru(pfn)

    def wait_on_folio(self, process: Process, index: int) -> None:
        """Wait until compaction has put the page back, wherever it is then."""
        vmscan = self.machine.vmscan
        self.machine.smp.sleep_until("folio lock", lambda: vmscan.on_lru(process.table[index]))

    def check(self) -> None:
        """Every page table entry's page frame says so itself."""
        mem = self.machine.mem
        for running in self.running:
            for process in running:
                for index, pfn in enumerate(process.table):
                    assert (mem.mapping[pfn], mem.index[pfn]) == (process.id, index), (
                        f"process {process.id} page {index} is pfn {pfn:#x}, which belongs to {mem.mapping[pfn]}"
                    )


class UpdatedbParams(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """``names``: how many the walk keeps referenced for a while, per CPU; ``batch``: names an operation."""

    names: int = 200
    batch: int = 4


class Updatedb(Workload):
    """A walk over all names: each is looked up once and hardly ever again."""

    kind = "updatedb"
    controls: ClassVar = {
        "names": Bounds("names in use, a CPU", 0, 2000),
        "batch": Bounds("names an operation", 0, 16),
    }
    params: UpdatedbParams

    def __init__(self, machine: Machine, seed: int, params: UpdatedbParams) -> None:
        super().__init__(machine, seed)
        self.params = params
        self.held: list[list[Dentry]] = [[] for _ in range(machine.config.cpus)]

    def step(self, cpu: int) -> None:
        """Look up a few names; let go of some others, one by one and at random."""
        draw = self.draws[cpu]
        held = self.held[cpu]
        for _ in range(self.params.batch):
            dentry = self.machine.dcache.d_alloc()
            if dentry is not None:
                held.append(dentry)
            while len(held) > self.params.names:
                at = draw.below(len(held))
                held[at], held[-1] = held[-1], held[at]
                self.machine.dcache.dput(held.pop())
