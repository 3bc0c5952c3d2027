"""Plausible snapshots without an engine: what GUI tests and pictures are made of.

``SyntheticSource`` makes a memory that looks like an aged file server; everything follows from ``seed`` and the number
of the snapshot.
"""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np

from memviz.kernel import page, trace
from memviz.snapshot import (
    CPU_IDLE,
    CPU_RCU_READ,
    CPU_RUNS,
    CPU_SOFTIRQ,
    CPU_SPINS,
    CPU_XA_LOCK,
    EVENT_DTYPE,
    LANE_DTYPE,
    NODE_DTYPE,
    NODE_IN_TREE,
    NODE_MOVED,
    NODE_RCU,
    OBJ_FREE,
    OBJ_MOVING,
    OBJ_USED,
    SLAB_DTYPE,
    SLAB_ISOLATED,
    SLAB_MIGRATING,
    SLAB_PARTIAL,
    Cache,
    Cpu,
    DefragReport,
    Focus,
    Outcome,
    PageDetail,
    Pages,
    Rcu,
    RequestAnatomy,
    Snapshot,
    Stage,
    XArrayInfo,
    Zone,
)
from memviz.sources.base import Command, Compact, Defragment, Pause, RequestPages, Run, SetFocus, SetPolicy, Speed, Step

OBJS = 28  # xa_nodes in a slab
NS_PER_SNAPSHOT = 2_000_000


def frozen(array: np.ndarray) -> np.ndarray:
    """``array``, which nobody may write to any more."""
    array.flags.writeable = False
    return array


class SyntheticSource:
    """A source of ``nr_frames`` page frames; ``command()`` answers like a machine."""

    title = "Aged file server — seed 7"

    def __init__(self, nr_frames: int = 262_144, seed: int = 7, nr_slabs: int = 120, cpus: int = 4) -> None:
        self.rng = np.random.default_rng(seed)
        self.nr = nr_frames
        self.cpus = cpus
        self.nr_slabs = nr_slabs
        self.seq = 0
        self.event_seq = 0
        self.state = "paused"
        self.speed = 0
        self.focus = Focus()
        self.outcomes: tuple[Outcome, ...] = ()
        self.request: RequestAnatomy | None = None
        self.defrag: DefragReport | None = None
        self.policies: dict[str, str] = {"compact_slabs": "off", "front_end": "classic"}
        self._defragged = False
        self._pending_events: list[tuple[int, ...]] = []
        self._build_memory()
        self._build_slabs()

    # -- the protocol of a source

    @property
    def time_ns(self) -> int:
        """Virtual time of the snapshot made last."""
        return 12_800_000_000 + self.seq * NS_PER_SNAPSHOT

    def snapshot(self) -> Snapshot:
        """The next instant. While running, a few thousand page frames change owner from one to the next."""
        self.seq += 1
        if self.state == "running":
            self._churn()
        free_area = self._free_area()
        nodes = self._nodes()
        slabs, objects = self._slab_table()
        return Snapshot(
            seq=self.seq,
            time_ns=self.time_ns,
            ops=self.seq * 1000,
            title=self.title,
            source="simulation",
            state=self.state,
            zones=(self._zone(free_area),),
            pages=Pages(
                owner=frozen(self.owner.copy()),
                order=frozen(self.order.copy()),
                flags=frozen(np.where(self.order != 255, page.PG_HEAD, 0).astype(np.uint8)),
                stamp=frozen(self.stamp.copy()),
            ),
            pageblock_mt=frozen(self.block_mt.copy()),
            possible=tuple(int(self.nr * 0.31) >> order for order in range(11)),
            caches=self._caches(),
            slabs=slabs,
            objects=objects,
            xarrays=(
                XArrayInfo(1, "file 17: i_pages", 9, 3, 117, True),
                XArrayInfo(2, "file 3: i_pages", 3, 2, 40, True),
            ),
            nodes=nodes,
            cpus=tuple(
                Cpu(i, (CPU_RUNS, CPU_XA_LOCK, CPU_RCU_READ, CPU_SPINS)[i % 4], f"task {i}",
                    "xa_store: before the slot is published", ("xa_lock",) if i % 4 == 1 else (),
                    i % 4 == 1, int(i % 4 == 2), "")
                for i in range(self.cpus)
            ),
            lanes=self._lanes(),
            rcu=Rcu(gp=118, running=True, callbacks=64, waiting_for=(2,)),
            counters=(("compact_fail", 3), ("compact_success", 1), ("pgalloc_normal", self.seq * 900)),
            events=self._events(),
            request=self.request,
            defrag=self.defrag,
            focus=self.focus,
            detail=self._detail(),
            outcomes=self.outcomes,
            policies=tuple(sorted(self.policies.items())),
            speed=self.speed,
        )  # fmt: skip

    def command(self, number: int, command: Command) -> None:
        """Do what ``command`` says, with an Outcome in words."""
        match command:
            case Run():
                self.state = "running"
            case Pause() | Step():
                self.state = "paused"
            case Speed(ops_per_s=speed):
                self.speed = speed
            case SetFocus(focus=focus):
                self.focus = focus
            case SetPolicy(name=name, value=value):
                self.policies[name] = value
                self._tell(number, "policy", True, f"{name} is {value} now.")
            case Compact():
                self._tell(number, "compact", True, "Compaction moved 9,802 pages and freed 3 blocks of order 9.")
            case Defragment():
                self._defragment(number)
            case RequestPages(order=order):
                self._request(number, order)

    def close(self) -> None:
        """Nothing to give back."""

    # -- memory

    def _build_memory(self) -> None:
        rng, nr = self.rng, self.nr
        blocks = -(-nr // 512)
        kinds = rng.choice(6, blocks, p=[0.30, 0.24, 0.22, 0.12, 0.04, 0.08])
        base = np.array([page.OWNER_PAGE_CACHE, page.OWNER_ANON, page.OWNER_FREE, page.OWNER_SLAB_VFS,
                         page.OWNER_KERNEL, page.OWNER_PAGE_CACHE], np.uint8)  # fmt: skip
        fill = np.array([0.8, 0.85, 0.1, 0.7, 0.95, 0.3])
        owner = np.repeat(base[kinds], 512)[:nr].copy()
        owner[rng.random(nr) > np.repeat(fill[kinds], 512)[:nr]] = page.OWNER_FREE
        sprinkle = np.repeat(np.isin(kinds, (0, 5)), 512)[:nr] & (rng.random(nr) < 0.03)
        owner[sprinkle] = page.OWNER_SLAB_XA
        owner[np.repeat(kinds == 2, 512)[:nr]] = page.OWNER_FREE
        self.owner = owner
        self.block_mt = np.array([1, 1, 1, 2, 0, 1], np.uint8)[kinds]  # Movable, Reclaimable, Unmovable
        self.order = np.zeros(nr, np.uint8)
        self.stamp = rng.integers(1, 12_000, nr, dtype=np.uint32)

    def _churn(self) -> None:
        at = self.rng.integers(0, self.nr, 2000)
        at = at[np.isin(self.owner[at], (page.OWNER_FREE, page.OWNER_PAGE_CACHE, page.OWNER_ANON))]
        self.owner[at] = self.rng.choice(
            np.array([page.OWNER_FREE, page.OWNER_PAGE_CACHE, page.OWNER_ANON], np.uint8), at.size, p=[0.3, 0.4, 0.3]
        )
        self.stamp[at] = self.time_ns // 1_000_000

    def _free_area(self) -> tuple[tuple[int, ...], ...]:
        """Free blocks as a buddy allocator would hold them: the largest aligned ones. Sets ``order`` on their heads."""
        free = self.owner == page.OWNER_FREE
        self.order[:] = np.where(free, 255, 0)
        rows = []
        merged = free
        for order in range(11):
            size = merged.size // 2 * 2
            pairs = merged[:size:2] & merged[1:size:2] if order < 10 else np.zeros(merged.size // 2, bool)
            alone = merged.copy()
            alone[:size][np.repeat(pairs, 2)] = False
            heads = np.flatnonzero(alone) << order
            self.order[heads] = order
            mt = np.bincount(self.block_mt[heads >> 9], minlength=page.MIGRATE_TYPES)
            rows.append(tuple(int(n) for n in mt))
            merged = pairs
        return tuple(rows)

    def _zone(self, free_area: tuple[tuple[int, ...], ...]) -> Zone:
        free = sum(sum(row) << order for order, row in enumerate(free_area))
        return Zone(
            "Normal", 0, self.nr, self.nr, self.nr - self.nr // 60, free, 320, 800, 1000, 1200, 1400, 0, free_area
        )

    def _detail(self) -> PageDetail | None:
        pfn = self.focus.pfn
        if not 0 <= pfn < self.nr:
            return None
        owner = int(self.owner[pfn])
        words = page.OWNER_NAMES[owner]
        if owner == page.OWNER_SLAB_XA:
            words = "slab xa_node 11/28 used, pinned by 1 object: file 17, index 0x4c0"
        mt = page.MIGRATETYPE_NAMES[int(self.block_mt[pfn >> 9])]
        return PageDetail(pfn, "Normal", pfn >> 9, mt, page.OWNER_NAMES[owner], 0, words)

    # -- slabs and nodes

    def _build_slabs(self) -> None:
        fill = np.linspace(0.99, 0.05, self.nr_slabs)
        self.objects = np.where(self.rng.random((self.nr_slabs, OBJS)) < fill[:, None], OBJ_USED, OBJ_FREE).astype(
            np.uint8
        )
        self.slab_pfn = np.sort(self.rng.choice(self.nr // 4, self.nr_slabs, replace=False)).astype(np.uint32) * 4
        for pfn in self.slab_pfn:
            self.owner[pfn : pfn + 4] = page.OWNER_SLAB_XA

    def _slab_table(self) -> tuple[np.ndarray, np.ndarray]:
        slabs = np.zeros(len(self.objects), SLAB_DTYPE)
        objects = self.objects.copy()
        slabs["pfn"] = self.slab_pfn[: len(slabs)]
        slabs["order"] = 2
        slabs["objects"] = OBJS
        slabs["state"] = SLAB_PARTIAL
        if len(slabs) > 3 and self.state == "running":
            slabs["state"][-3] = SLAB_ISOLATED
            slabs["state"][-2] = SLAB_MIGRATING
            slabs["refused"][-4] = 1
            objects[-2][objects[-2] == OBJ_USED] = OBJ_MOVING
        slabs["inuse"] = (objects != OBJ_FREE).sum(axis=1)
        return frozen(slabs), frozen(objects)

    def _caches(self) -> tuple[Cache, ...]:
        used = int((self.objects != OBJ_FREE).sum())
        total = int(self.objects.size)
        n = len(self.objects)
        return (
            Cache(1, "xa_node", 576, 584, 2, OBJS, n, n - 2, 2, used, total, 12, used + 12, True),
            Cache(2, "dentry", 192, 192, 0, 21, 900, 400, 500, 17_000, 18_900, 80, 17_080, True),
            Cache(3, "inode_cache", 632, 640, 2, 25, 210, 60, 150, 4_900, 5_250, 40, 4_940, False),
        )

    def _nodes(self) -> np.ndarray:
        nodes = np.zeros(9, NODE_DTYPE)
        shifts = (12, 6, 6, 6, 0, 0, 0, 0, 0)
        parents = (-1, 0, 0, 0, 1, 1, 2, 3, 3)
        offsets = (0, 0, 7, 19, 3, 30, 12, 5, 41)
        for i in range(9):
            pfn = int(self.slab_pfn[min(i, len(self.slab_pfn) - 1)])
            used = 0
            if shifts[i]:
                for j in range(9):
                    if parents[j] == i:
                        used |= 1 << offsets[j]
            else:
                used = (0x0F0F_F00F_1234_8001 << i) & 0xFFFF_FFFF_FFFF_FFFF
            state = {7: NODE_MOVED, 8: NODE_RCU}.get(i, NODE_IN_TREE)
            nodes[i] = (pfn << 12 | 584 * i, parents[i], shifts[i], offsets[i], used.bit_count(), 0, state,
                        0b100 if i == 5 else 0, used, used & 0xFF00, 0, 0, i * 64)  # fmt: skip
        return frozen(nodes)

    # -- CPUs and events

    def _lanes(self) -> np.ndarray:
        states = np.array([CPU_IDLE, CPU_RUNS, CPU_RUNS, CPU_XA_LOCK, CPU_RCU_READ, CPU_SOFTIRQ, CPU_SPINS])
        rows = []
        for cpu in range(self.cpus):
            cuts = np.sort(self.rng.integers(self.time_ns - NS_PER_SNAPSHOT, self.time_ns, 6))
            for begin, end in itertools.pairwise(cuts):
                rows.append((begin, end, cpu, int(self.rng.choice(states))))
        return frozen(np.array(rows, LANE_DTYPE))

    def emit(self, kind: int, *arguments: int) -> None:
        """Put an event into the next snapshot."""
        self.event_seq += 1
        a, b, c, d = (*arguments, 0, 0, 0, 0)[:4]
        cpu = self.event_seq % self.cpus
        self._pending_events.append(
            (self.event_seq, self.time_ns + self.event_seq % 1000 * 1000, cpu, kind, a, b, c, d)
        )

    def _events(self) -> np.ndarray:
        if self.state == "running":
            pfn = int(self.rng.integers(0, self.nr))
            kinds = (
                (trace.SLAB_NEW, pfn, 2, 1),
                (trace.MM_COMPACTION_END, 0, 9, 2, 37),
                (trace.RCU_GP_END, 100 + self.seq, 64),
                (trace.XA_NODE_MOVED, pfn << 12 | 584, pfn << 12 | 1168, 1, 0x4C0),
                (trace.SLAB_ISOLATE_REFUSED, pfn, 1, 1),
                (trace.COMPACTION_PINNED, pfn, pfn >> 9, page.OWNER_SLAB_XA),
            )
            self.emit(*kinds[self.seq % len(kinds)])
        events = np.array(self._pending_events, EVENT_DTYPE)
        self._pending_events.clear()
        return frozen(events)

    # -- commands

    def _tell(self, number: int, command: str, ok: bool, sentence: str) -> None:
        self.outcomes = (*self.outcomes[-7:], Outcome(number, command, ok, sentence))

    def _defragment(self, number: int) -> None:
        keep = len(self.objects) * 2 // 3
        freed = len(self.objects) - keep
        for pfn in self.slab_pfn[keep:]:
            self.owner[pfn : pfn + 4] = page.OWNER_FREE
        self.objects, self.slab_pfn = self.objects[:keep], self.slab_pfn[:keep]
        sentence = f"xa_node: {freed} slabs freed, 88 objects moved, 3 slabs refused."
        self.defrag = DefragReport(
            number,
            "xa_node",
            (("slabs freed", freed), ("pages returned", freed * 4)),
            (("objects moved", 88), ("refused: in use", 3), ("longest lock hold, ns", 42_000), ("grace periods", 2)),
            ("40 slabs at or below 30 % were isolated", "3 isolations were refused: an object was in use",
             "88 xa_nodes were copied and republished", "one grace period later the old nodes were freed"),
            sentence,
        )  # fmt: skip
        self._defragged = True
        self.emit(trace.DEFRAG_END, 1, freed, 88, 3)
        self._tell(number, "Defragment", True, sentence)

    def _request(self, number: int, order: int) -> None:
        begin = self.time_ns
        ok = self._defragged
        pfn = 0x2C200 % self.nr if ok else -1
        if ok:
            self.owner[pfn : pfn + (1 << order)] = page.OWNER_HUGE
        stages = [
            Stage("fast path", f"no free block ≥ {order} in Normal", begin, begin + 150_000, False),
            Stage("reclaim", "1,204 pages dropped", begin + 150_000, begin + 900_000, True, (("reclaimed", 1204),)),
            Stage("compaction", "37 blocks scanned · 9,802 moved · pinned by slab 41×", begin + 900_000,
                  begin + 2_000_000, False, (("scanned", 37), ("moved", 9802)),
                  (("xa_node", 340, 0x2A94F), ("dentry", 12, 0x1801))),
        ]  # fmt: skip
        if ok:
            stages.append(
                Stage(
                    "slab defrag",
                    "xa_node: 12 slabs · 88 objects moved · 3 busy",
                    begin + 2_000_000,
                    begin + 2_900_000,
                    True,
                )
            )
            stages.append(
                Stage("retry", f"pfn {pfn:#x} — whole pageblock {pfn >> 9}", begin + 2_900_000, begin + 3_100_000, True)
            )
        verdict = (
            f"Order {order} succeeded after 3.1 ms: block {pfn >> 9} is whole again."
            if ok
            else f"Order {order} failed: slabs of xa_node hold 41 blocks; moving 88 objects would free 3 of them."
        )
        self.request = RequestAnatomy(
            number, order, "GFP_KERNEL", pfn, begin, stages[-1].end_ns, verdict, tuple(stages)
        )
        if not ok:
            self.emit(trace.ALLOC_FAILED, order, page.GFP_KERNEL, 1)
        self.emit(trace.REQUEST_END, order, pfn + 1, 3_100_000)
        self._tell(number, "RequestPages", ok, verdict)


def snapshot(nr_frames: int = 8192, **changes: object) -> Snapshot:
    """One plausible instant, with fields replaced."""
    return replace(SyntheticSource(nr_frames).snapshot(), **changes)  # type: ignore[arg-type]


def empty_snapshot() -> Snapshot:
    """The least a source may say: a memory of no page frames, nothing known."""
    none = frozen(np.zeros(0, np.uint8))
    return Snapshot(
        seq=1, time_ns=0, ops=0, title="nothing", source="linux", state="paused", zones=(),
        pages=Pages(none, none, none, frozen(np.zeros(0, np.uint32))), pageblock_mt=none,
    )  # fmt: skip
