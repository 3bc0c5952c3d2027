"""The machine: all parts of the simulated kernel, put together and switched by policies.

``run`` lets the users of memory work, on all CPUs at once. Between runs a command (a request, a defragmentation, a
change of policy) runs as one more task among them. Same configuration, seed and commands: the same ``digest``.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Callable
from typing import Final

from memviz.kernel.compact_control import compaction_defer_reset, reset_isolation_suitable
from memviz.kernel.compaction import Compaction
from memviz.kernel.dcache import Dcache
from memviz.kernel.filemap import Filemap
from memviz.kernel.kcompactd import Kcompactd
from memviz.kernel.machine_config import MAX_CPUS, MAX_MEMORY_MIB, MIN_MEMORY_MIB, MachineConfig
from memviz.kernel.mmzone import PageAllocConfig
from memviz.kernel.page import GFP_KERNEL, MAX_PAGE_ORDER, OWNER_HUGE, OWNER_PINNED, PageFrames
from memviz.kernel.page_alloc import PageAlloc
from memviz.kernel.page_index import PageIndex
from memviz.kernel.page_isolation import ContigResult, PageIsolation
from memviz.kernel.policies import ORIGINS, POLICIES
from memviz.kernel.rcu import Rcu
from memviz.kernel.request import RequestAnatomy, RequestRecorder, watching
from memviz.kernel.schedule import RandomScheduler, Scheduler
from memviz.kernel.slab import SlubConfig
from memviz.kernel.slab_mobility import (
    BARRIER_OBJECT,
    BARRIER_PASS,
    BARRIER_SLAB,
    DefragPass,
    MobilityOptions,
    SlabMobility,
)
from memviz.kernel.slub import SLAB_RECLAIM_ACCOUNT, Slub
from memviz.kernel.smp import Smp
from memviz.kernel.smp_threads import ThreadedSmp
from memviz.kernel.trace import REQUEST_BEGIN, REQUEST_END, Trace
from memviz.kernel.vmscan import Vmscan
from memviz.kernel.workingset import Workingset
from memviz.kernel.xa_slab import SlabNodeCache

__all__ = [
    "MAX_CPUS",
    "MAX_MEMORY_MIB",
    "MIN_MEMORY_MIB",
    "ORIGINS",
    "POLICIES",
    "REMEMBERED",
    "Machine",
    "MachineConfig",
    "User",
]

REMEMBERED: Final = 1000  # requests and passes that a machine can still tell of

BARRIERS: Final = {"pass": BARRIER_PASS, "slab": BARRIER_SLAB, "object": BARRIER_OBJECT}


class User:
    """A user of memory, as the machine sees it: what to call for one operation, and for a check."""

    def __init__(self, name: str, step: Callable[[int], None], check: Callable[[], None]) -> None:
        self.name = name
        self.step = step
        self.check = check


class Machine:
    """A kernel with its memory and CPUs; nobody uses it until something is attached."""

    def __init__(self, config: MachineConfig, scheduler: Scheduler | None = None) -> None:
        self.config = config
        self.trace = Trace()
        if scheduler is None:
            scheduler = RandomScheduler(config.seed, config.quantum)
        self.smp = (
            ThreadedSmp(config.cpus, self.trace)
            if config.scheduler == "threads"
            else Smp(config.cpus, self.trace, scheduler)
        )
        self.rcu = Rcu(self.smp, config.rcu_jiffy_ns, config.rcu_lazy)
        self.mem = PageFrames(config.memory_mib * 256)
        self.page_alloc = PageAlloc(self.mem, self.smp, PageAllocConfig(thp=config.thp, dma_mib=config.dma_mib))
        self.slub = Slub(
            self.page_alloc, self.rcu, self.smp, SlubConfig(front_end=config.front_end, checked=config.checked)
        )
        self.workingset = Workingset(self.smp, self.mem.nr)
        self.vmscan = Vmscan(self.mem, self.page_alloc, self.smp)
        self.compaction = Compaction(self.mem, self.page_alloc, self.vmscan, self.smp)
        self.compaction.pins.slab_name = self.cache_name
        self.kcompactd = Kcompactd(self.compaction)
        self.isolation = PageIsolation(self.compaction)
        self.vmscan.start(0)
        self.kcompactd.start(config.cpus - 1)
        self.xa_nodes = SlabNodeCache(self.slub, self.rcu, SLAB_RECLAIM_ACCOUNT)
        self.page_index = PageIndex(self.xa_nodes, self.slub, self.smp, self.rcu, self.workingset)
        self.filemap = Filemap(self.mem, self.page_alloc, self.vmscan, self.workingset, self.page_index, self.smp)
        self.dcache = Dcache(self.slub, self.rcu, self.smp, SLAB_RECLAIM_ACCOUNT)
        self.mobility: SlabMobility = self.slub.mobility
        self.vmscan.register_shrinker(self.dcache.prune, self.count_dentries)
        self.vmscan.register_shrinker(self.workingset.shrink, self.count_shadow_nodes, seeks=0)
        self.users: list[tuple[list[User], list[int]]] = []
        self.rotations: list[list[User]] = []
        self.policies: dict[str, str] = {}
        self.held: list[tuple[int, int]] = []  # blocks that requests got and that nobody gave back
        self.requests: list[RequestAnatomy] = []  # the last REMEMBERED
        self.nr_requests = 0
        self.passes: list[DefragPass] = []  # the last REMEMBERED
        for name, (values, _) in POLICIES.items():
            self.set_policy(name, values[0])

    # -- users -------------------------------------------------------------------------------------------------------

    def attach(self, users: list[User], weights: list[int]) -> None:
        """Let ``users`` work on every CPU, each in proportion to its weight, in a fixed rotation."""
        rotation = rotation_of(users, weights)
        for cpu in range(self.config.cpus):
            self.smp.spawn(cpu, f"workload/{cpu}", Rotation(self.smp, cpu, rotation).body)
        self.users.append((users, weights))
        self.rotations.append(rotation)

    def set_weight(self, at: int, weight: int) -> None:
        """Let user ``at`` of the first that were attached work more or less often; 0: not at all. Between runs."""
        users, weights = self.users[0]
        if weight < 0 or weight + sum(weights) - weights[at] <= 0:
            raise ValueError(f"{users[at].name} cannot get weight {weight}: somebody has to work")
        weights[at] = weight
        self.rotations[0][:] = rotation_of(users, weights)

    @property
    def ops(self) -> int:
        """Workload operations done so far."""
        return self.smp.ops

    def run(self, ops: int) -> None:
        """Do ``ops`` workload operations; afterwards every CPU stands between two."""
        if ops < 0:
            raise ValueError(f"cannot run {ops} operations: the number must not be negative")
        if self.users:
            self.smp.run_ops(ops)

    # -- commands ------------------------------------------------------------------------------------------------------

    def request(self, order: int, gfp: int = GFP_KERNEL) -> RequestAnatomy:
        """Ask for ``1 << order`` contiguous page frames on CPU 0, watched at every stage. The block is kept.

        Compaction starts as if nobody had failed before: a deferred stage would say nothing about the memory.
        """
        self.reset_compaction()
        observer = RequestRecorder(self.page_alloc, order, gfp, self.slub)
        task = RequestTask(self, observer, order, gfp)
        self.smp.run_task(0, f"request order {order}", task.body)
        self.nr_requests += 1
        anatomy = observer.anatomy(self.nr_requests, task.pfn)
        self.requests.append(anatomy)
        del self.requests[:-REMEMBERED]
        return anatomy

    def release(self) -> int:
        """Give back every block that requests have got; returns how many."""
        count = len(self.held)
        while self.held:
            pfn, order = self.held.pop()
            self.page_alloc.free_pages(pfn, order)
        return count

    def defragment(self, cache: str = "", ratio: int = 30) -> list[DefragPass]:
        """One pass over ``cache`` ("": every movable one): slabs at most ``ratio`` per cent used are emptied.

        A cache that cannot be defragmented has a pass that did nothing and says why."""
        caches = self.slub.caches
        chosen = [caches[cache]] if cache else [c for c in caches.values() if c.movable or (c.why_fixed and c.slabs)]
        passes: list[DefragPass] = []

        def body() -> None:
            for one in chosen:
                passes.append(one.defrag(ratio))
            self.page_alloc.drain_all_pages()
            self.reset_compaction()

        self.smp.run_task(0, "defragment", body)
        self.passes.extend(passes)
        del self.passes[:-REMEMBERED]
        return passes

    def count_dentries(self) -> int:
        """Dentries that the shrinker may evict."""
        return len(self.dcache.lru)

    def count_shadow_nodes(self) -> int:
        """Shadow nodes beyond what ``workingset`` lets be (``count_shadow_nodes``)."""
        return max(len(self.workingset.shadow_nodes) - self.workingset.max_nodes, 0)

    def cache_name(self, pfn: int) -> str:
        """The slab cache that a page frame belongs to, "" when it is no slab page."""
        slab = self.slub.slab_of_page.get(pfn)
        return slab.cache.name if slab is not None else ""

    def reset_compaction(self) -> None:
        """What compaction has learned about blocks is no longer true, or shall not be used."""
        for zone in self.page_alloc.zones:
            compaction_defer_reset(zone, MAX_PAGE_ORDER, True)
            reset_isolation_suitable(zone)

    def compact(self) -> int:
        """Compact all zones (``/proc/sys/vm/compact_memory``); returns pages migrated."""
        migrated = [0]

        def body() -> None:
            migrated[0] = self.compaction.compact_memory()

        self.smp.run_task(0, "compact_memory", body)
        return migrated[0]

    def alloc_contig(self, nr_pages: int, owner: int = OWNER_PINNED) -> ContigResult:
        """Empty the range of ``nr_pages`` that is cheapest to empty and give it to ``owner``, as RDMA and CMA would
        want.
        """
        results: list[ContigResult] = []

        def body() -> None:
            results.append(self.isolation.alloc_contig(nr_pages, owner))

        self.smp.run_task(0, "alloc_contig", body)
        return results[0]

    def defrag_for_request(self, order: int) -> int:
        """Slab defragmentation as a stage of a request; returns pages freed. Tells whoever watches the request."""
        ledger = self.mobility.ledger
        passes = ledger.count
        freed = self.mobility.defrag_for_request(order)
        if freed:
            self.compaction.blocks_changed()
        observer = watching(self.page_alloc)
        for done in ledger.passes:
            if observer is not None and done.number > passes:
                observer.figure(f"{done.cache} slabs", done.slabs_freed)
                observer.figure("objects moved", done.objects_moved)
                observer.figure("objects evicted", done.objects_evicted)
                observer.figure("slabs busy", done.refusals())
        return freed

    def set_policy(self, name: str, value: str) -> None:
        """Turn a switch; raises ValueError that names what there is."""
        if name not in POLICIES:
            raise ValueError(f"no policy is called {name!r}: there are {', '.join(POLICIES)}")
        values = POLICIES[name][0]
        if value not in values:
            raise ValueError(f"policy {name} cannot be {value!r}: choose {' or '.join(values)}")
        before = self.policies.get(name, values[0])
        self.policies[name] = value
        if name == "compaction":
            self.compaction.enable(value == "on", self.kcompactd.wakeup_kcompactd)
        elif name == "grouping":
            self.page_alloc.config.group_by_mobility = value == "on"
        elif name == "defrag_mode":
            self.page_alloc.config.defrag_mode = int(value)
        elif name == "page_cache_index":
            self.use_page_cache_index(value)
        elif name == "xa_nodes" or (name in ("evacuate", "rcu_wait") and value != before):
            self.setup_xa_nodes()
        elif name == "dentries":
            self.dcache.setup_mobility(value == "evict")
        elif name == "request_defrag":
            self.page_alloc.defrag_slabs = self.defrag_for_request if value == "on" else None
        elif name == "compact_slabs":
            self.compaction.isolate_slab = self.mobility.evacuate_page if value == "on" else None
        elif name == "background_defrag":
            self.mobility.background(value == "on")

    def setup_xa_nodes(self) -> None:
        """Register the callbacks of the node cache as the policies say, as far as they are known yet."""
        policies = self.policies
        barrier = BARRIERS[policies.get("rcu_wait", "pass")]
        options = MobilityOptions(batch=policies.get("evacuate", "batch") == "batch", barrier=barrier)
        self.page_index.setup_mobility(policies.get("xa_nodes") == "movable", options)

    def use_page_cache_index(self, value: str) -> None:
        """Change all files' trees over, once every CPU stands between two operations and so in no tree."""
        radix = value == "radix_tree"
        if radix != self.page_index.radix:
            self.run(0)
            self.filemap.use_radix(radix)
            self.setup_xa_nodes()

    # -- what it is ----------------------------------------------------------------------------------------------------

    def check(self) -> None:
        """Verify every invariant; raises AssertionError (one sentence) or KernelBug."""
        self.page_alloc.check()
        self.vmscan.check()
        self.slub.check()
        self.dcache.check()
        self.filemap.check()
        for file in self.filemap.files.values():
            file.i_pages.check()
        self.check_nodes()
        for users, _ in self.users:
            for user in users:
                user.check()

    def check_nodes(self) -> None:
        """Every node of every tree is an allocated object of a node cache, each in one tree only."""
        seen: dict[int, str] = {}
        held = [0] * len(self.page_index.node_caches)
        for file in self.filemap.files.values():
            tree = file.i_pages
            nodes = tree.nodes_in_tree()
            for node in nodes:
                assert tree.holds(node), f"{node!r} of {tree.name} says it is in another tree"
                assert node.addr not in seen, f"{node!r} is in {tree.name} and in {seen[node.addr]}"
                seen[node.addr] = tree.name
            for number, cache in enumerate(self.page_index.node_caches):
                if tree.nodes is cache:
                    held[number] += len(nodes)
        for number, cache in enumerate(self.page_index.node_caches):
            active = cache.cache.stats().active
            waiting = cache.cache.hidden().rcu
            aside = self.page_index.preloaded(cache)
            assert held[number] + waiting + aside == active, (
                f"the trees hold {held[number]} nodes, {waiting} wait for RCU, {aside} are preloaded,"
                f" but {cache.cache.name} counts {active} in use"
            )

    def digest(self) -> str:
        """A fingerprint of the whole state, equal for equal histories: 32 hexadecimal digits."""
        state = hashlib.blake2b(digest_size=16)
        mem = self.mem
        for flat in (mem.owner, mem.order, mem.flags, mem.pageblock_mt):
            state.update(flat)
        for words in (mem.mapping, mem.index, mem.stamp):
            state.update(memoryview(words).cast("B"))
        seq = self.trace.seq - self.trace.told
        numbers: list[int] = [self.smp.now, self.smp.ops, self.smp.switches, seq, self.rcu.gp_seq]
        numbers.extend(self.trace.counts)
        for zone in self.page_alloc.zones:
            for per_order in zone.free_area:
                for free_list in per_order:
                    numbers.extend(free_list.pfns())
        for cache in self.slub.caches.values():
            stats = cache.stats()
            numbers.extend((stats.active, stats.total, stats.partial, stats.full, stats.slabs, cache.hidden().cached))
        for file in self.filemap.files.values():
            numbers.extend((file.number, file.nrpages))
            numbers.extend(node.addr for node in file.i_pages.nodes_in_tree())
        state.update(memoryview(array("q", numbers)).cast("B"))
        return state.hexdigest()


def rotation_of(users: list[User], weights: list[int]) -> list[User]:
    """Users in turn, each as often as its weight says, interleaved so that none works in one long burst."""
    rotation: list[User] = []
    left = list(weights)
    while any(left):
        for at, user in enumerate(users):
            if left[at] > 0:
                left[at] -= 1
                rotation.append(user)
    return rotation


class Rotation:
    """What one CPU does all day: serve its users one after the other."""

    def __init__(self, smp: Smp, cpu: int, rotation: list[User]) -> None:
        self.smp = smp
        self.cpu = cpu
        self.rotation = rotation

    def body(self) -> None:
        """The task."""
        smp = self.smp
        at = self.cpu  # CPUs start at different places, so that they don't march in step
        while True:
            smp.take_ticket()
            at += 1
            self.rotation[at % len(self.rotation)].step(self.cpu)
            smp.op_done()


class RequestTask:
    """A request for contiguous memory, as a task."""

    def __init__(self, machine: Machine, observer: RequestRecorder, order: int, gfp: int) -> None:
        self.machine = machine
        self.observer = observer
        self.order = order
        self.gfp = gfp
        self.pfn: int | None = None

    def body(self) -> None:
        """Ask, with the observer attached to just this allocation."""
        alloc = self.machine.page_alloc
        trace = self.machine.trace
        begin = self.machine.smp.now
        trace.emit(REQUEST_BEGIN, self.order, self.gfp)
        self.pfn = alloc.request_pages(self.order, self.gfp, OWNER_HUGE, self.observer)
        if self.pfn is not None:
            self.machine.held.append((self.pfn, self.order))
        trace.emit(REQUEST_END, self.order, 0 if self.pfn is None else self.pfn + 1, self.machine.smp.now - begin)
