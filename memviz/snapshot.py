"""Snapshot: one instant of a memory, immutable. The only thing that sources make and views show.

A simulated kernel, a recording and a real Linux machine all become this. Bulk data are numpy arrays that nobody may
write to (``flags.writeable`` is off); small things are tuples and NamedTuples. What a source cannot know is empty or
``None``, never invented: views say "unknown" for it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from memviz.races.shown import Race
from memviz.recording_state import Playback, Recording

U8 = npt.NDArray[np.uint8]
U32 = npt.NDArray[np.uint32]
U64 = npt.NDArray[np.uint64]
Structured = npt.NDArray[np.void]

EVENT_DTYPE: Final = np.dtype(
    [
        ("seq", "<i8"),
        ("time", "<i8"),
        ("cpu", "<i2"),
        ("kind", "<i2"),
        ("a", "<i8"),
        ("b", "<i8"),
        ("c", "<i8"),
        ("d", "<i8"),
    ]
)
"""An event as ``memviz.kernel.trace`` makes it: what ``a`` to ``d`` mean is in ``trace.FIELDS[kind]``."""

SLAB_DTYPE: Final = np.dtype(
    [
        ("pfn", "<u4"),  # first page frame
        ("order", "u1"),
        ("objects", "u1"),  # how many fit
        ("inuse", "u1"),  # as slab->inuse counts: objects in sheaves are "in use"
        ("state", "u1"),  # SLAB_*
        ("refused", "u1"),  # why the last isolation was refused: 0 none, else slab_mobility.REFUSED_*
    ]
)

PAST_DTYPE: Final = np.dtype([("time", "<i8"), ("unusable", "<i2", (11,))])
"""An instant of a recording: when, and its unusable free space index of each order, in thousandths."""

FIGURES_DTYPE: Final = np.dtype([("time", "<i8"), ("values", "<i2", (6,))])
"""An instant of a recording: when, and ``analysis.figures.COLUMNS``."""

# state of a slab
SLAB_PARTIAL, SLAB_FULL, SLAB_CPU, SLAB_ISOLATED, SLAB_MIGRATING, SLAB_EMPTY = 0, 1, 2, 3, 4, 5
SLAB_STATE_NAMES: Final = ("partial", "full", "on a CPU", "isolated", "moving", "empty")

# state of an object in a slab: what Snapshot.objects holds
OBJ_NONE, OBJ_FREE, OBJ_USED, OBJ_SHEAF, OBJ_RCU, OBJ_ISOLATED, OBJ_MOVING, OBJ_BUSY = 0, 1, 2, 3, 4, 5, 6, 7
OBJ_STATE_NAMES: Final = ("", "free", "in use", "in a sheaf", "waiting for RCU", "isolated", "moving", "busy")

NODE_DTYPE: Final = np.dtype(
    [
        ("addr", "<u8"),
        ("parent", "<i4"),  # row of the parent in this array, -1 for the root
        ("shift", "u1"),
        ("offset", "u1"),
        ("count", "u1"),
        ("nr_values", "u1"),
        ("state", "u1"),  # NODE_*
        ("readers", "u1"),  # bitmap of CPUs that stand on it inside an RCU read-side section
        ("used", "<u8"),  # bitmap of occupied slots
        ("mark0", "<u8"),
        ("mark1", "<u8"),
        ("mark2", "<u8"),
        ("index", "<u8"),  # first index below this node
    ]
)
NODE_IN_TREE, NODE_RCU, NODE_NEW, NODE_MOVED = 0, 1, 2, 3
NODE_STATE_NAMES: Final = ("in the tree", "waiting for RCU", "allocated", "just moved")

LANE_DTYPE: Final = np.dtype([("begin", "<i8"), ("end", "<i8"), ("cpu", "<i2"), ("state", "<i2")])
"""What a CPU did from ``begin`` to ``end`` (virtual ns); ``state`` indexes ``CPU_STATE_NAMES``."""

CPU_STATE_NAMES: Final = (
    "idle",
    "runs",
    "xa_lock",
    "rcu read",
    "softirq: rcu",
    "spins",
    "waits for RCU",
    "slab lock",
    "zone lock",
    "sleeps",
    "irqs off",
    "isolate",
    "migrate",
)
CPU_IDLE, CPU_RUNS, CPU_XA_LOCK, CPU_RCU_READ, CPU_SOFTIRQ, CPU_SPINS, CPU_WAITS_RCU = 0, 1, 2, 3, 4, 5, 6
CPU_SLAB_LOCK, CPU_ZONE_LOCK, CPU_SLEEPS, CPU_IRQS_OFF, CPU_ISOLATE, CPU_MIGRATE = 7, 8, 9, 10, 11, 12


class Zone(NamedTuple):
    """One zone. Sizes are in page frames."""

    name: str
    start_pfn: int
    spanned: int
    present: int
    managed: int
    """What the allocator may give out: less than present, and the base of every percentage."""
    free: int
    pcp: int
    """Free, but on per-CPU lists."""
    watermark_min: int
    watermark_low: int
    watermark_high: int
    watermark_promo: int
    watermark_boost: int
    free_area: tuple[tuple[int, ...], ...]
    """Free blocks: one tuple an order (0 to 10), in it one count a migratetype (``page.MIGRATETYPE_NAMES``)."""

    def nr_free(self) -> tuple[int, ...]:
        """Free blocks per order, as /proc/buddyinfo shows them."""
        return tuple(sum(per_type) for per_type in self.free_area)


class Changes(Protocol):
    """What is known of how Pages came from one another (``sources.page_sets.ChangeLog``)."""

    def changed_groups(self, since: int, until: int) -> npt.NDArray[np.intp] | None:
        """Groups of 64 page frames that may differ between two versions; None when that is not known."""


@dataclass(frozen=True, slots=True)
class Pages:
    """Per-page-frame arrays, all of the same length, indexed by pfn."""

    owner: U8
    """``page.OWNER_*``."""
    order: U8
    """Order of the block that *starts* here; 255 on tails and where unknown."""
    flags: U8
    """``page.PG_*`` bits."""
    stamp: U32
    """When it was allocated: virtual milliseconds; 0 where unknown."""
    changes: Changes | None = field(default=None, compare=False, repr=False)
    version: int = field(default=0, compare=False, repr=False)
    """Counted by ``changes``."""

    def changed_since(self, older: Pages) -> npt.NDArray[np.intp] | None:
        """Which groups of 64 page frames may differ from ``older``, ascending; None: nothing is known of that."""
        return self.changed_since_version(older.changes, older.version)

    def changed_since_version(self, changes: Changes | None, version: int) -> npt.NDArray[np.intp] | None:
        """The same by number: who keeps Pages for this keeps all of their memory."""
        return changes.changed_groups(version, self.version) if changes is self.changes and changes else None

    @property
    def nr(self) -> int:
        """How many page frames."""
        return int(self.owner.size)


class Cache(NamedTuple):
    """One slab cache, counted as the table of kernel-facts 1.3 counts."""

    id: int
    name: str
    object_size: int
    size: int
    """Bytes from one object to the next."""
    order: int
    objs_per_slab: int
    slabs: int
    partial: int
    full: int
    active: int
    """Objects truly in use."""
    total: int
    cached: int
    """Free objects that slab->inuse counts as used: in sheaves, barns and CPU slabs."""
    slabinfo_active: int
    """What /proc/slabinfo would show as active_objs (it overstates)."""
    movable: bool
    owner: int = -1
    """``page.OWNER_*`` of its page frames, -1 where unknown."""


class XArrayInfo(NamedTuple):
    """One XArray (or radix tree) in the machine."""

    id: int
    name: str
    nodes: int
    height: int
    entries: int
    movable: bool


class Cpu(NamedTuple):
    """One CPU at this instant."""

    id: int
    state: int
    """Index into ``CPU_STATE_NAMES``."""
    task: str
    label: str
    """The scheduling point it stands before."""
    locks: tuple[str, ...]
    irqs_off: bool
    rcu_nesting: int
    where: str
    """``module.function:line`` of kernel/ that it stands on, when that was asked for."""


class Rcu(NamedTuple):
    """The state of RCU."""

    gp: int
    """Number of the current or last grace period."""
    running: bool
    callbacks: int
    """Callbacks queued and not yet run."""
    waiting_for: tuple[int, ...]
    """CPUs that have not passed a quiescent state yet."""


class Stage(NamedTuple):
    """One stage of a request: fast path, reclaim, compaction, slab defragmentation, retry."""

    name: str
    outcome: str
    """One line in words: what it looked at, what it moved, what stopped it."""
    begin_ns: int
    end_ns: int
    ok: bool
    figures: tuple[tuple[str, int], ...] = ()
    pinned_by: tuple[tuple[str, int, int], ...] = ()
    """What stopped it: (owner or cache name, pageblock, address or pfn)."""


class RequestAnatomy(NamedTuple):
    """Why a request for ``1 << order`` page frames failed or succeeded."""

    number: int
    order: int
    gfp: str
    pfn: int
    """First page frame, -1 when it failed."""
    begin_ns: int
    end_ns: int
    verdict: str
    """One sentence: what happened, and what would have made it succeed."""
    stages: tuple[Stage, ...]


class DefragReport(NamedTuple):
    """What one pass of slab defragmentation bought, and its price."""

    number: int
    cache: str
    gain: tuple[tuple[str, int], ...]
    """Slabs freed, pages returned."""
    price: tuple[tuple[str, int], ...]
    """Objects moved, thrown away, refusals by reason, lock holds (ns), CPUs blocked (ns), grace periods, bytes
    copied.
    """
    story: tuple[str, ...]
    """The pass told step by step."""
    sentence: str


class Focus(NamedTuple):
    """What the window looks at closely: sources fill details in only for this."""

    cache: str = "xa_node"
    xarray: int = -1
    """XArray id; -1: the largest."""
    pfn: int = -1
    bulk_events: bool = False
    sight: tuple[tuple[int, int], ...] = ()
    """Runs of page frames (first, one behind the last) that are on the screen; empty: all of memory. A source that
    can't know everything at once looks there first."""


class PageDetail(NamedTuple):
    """All that is known about the page frame in focus."""

    pfn: int
    zone: str
    block: int
    migratetype: str
    owner: str
    order: int
    sentence: str
    """For the read-out line: e.g. "slab xa_node 11/28 used, pinned by 1 object: file 17, index 0x4c0"."""


class Guide(NamedTuple):
    """Where a guided run stands: at one of its moments, or on the way to the next."""

    step: int
    """How many moments have been."""
    steps: int
    say: str
    """What to look at, in words; empty before the first moment."""
    look: str
    """The panel to look at."""
    told: str
    """What came of the moment."""
    from_ops: int
    """The operation of the last moment."""
    next_ops: int
    """The operation of the next moment; -1 when there is none."""


class Control(NamedTuple):
    """Something about the workload that can be changed while it runs (``SetWorkload``)."""

    name: str
    who: str
    title: str
    value: float
    low: float
    high: float
    whole: bool
    """Only whole numbers."""

    @property
    def called(self) -> str:
        """Whose it is and what it does, as sentences name it."""
        return f"{self.who}, {self.title}"


class Outcome(NamedTuple):
    """What became of a command, told in words."""

    number: int
    command: str
    ok: bool
    sentence: str


def empty(dtype: np.dtype[np.void]) -> Structured:
    """No rows, read-only."""
    array = np.zeros(0, dtype)
    array.flags.writeable = False
    return array


_NO_OBJECTS: Final = np.zeros((0, 0), np.uint8)
_NO_SLABS, _NO_NODES, _NO_LANES, _NO_EVENTS, _NO_PASTS, _NO_FIGURES = map(
    empty, (SLAB_DTYPE, NODE_DTYPE, LANE_DTYPE, EVENT_DTYPE, PAST_DTYPE, FIGURES_DTYPE)
)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One instant."""

    seq: int
    time_ns: int
    """Virtual time (simulation), or time since the start of watching (Linux)."""
    ops: int
    """Workload operations done."""
    title: str
    source: str
    """"simulation", "linux" or "playback"."""
    state: str
    """"running", "paused", "ended" or "failed"."""
    zones: tuple[Zone, ...]
    pages: Pages
    pageblock_mt: U8
    """Migratetype of each pageblock; 255 unknown."""
    possible: tuple[int, ...] = ()
    """Blocks of each order (0 to 10) that could be free if every movable page and slab object moved."""
    caches: tuple[Cache, ...] = ()
    slabs: Structured = field(default_factory=lambda: _NO_SLABS)
    """All slabs of ``focus.cache`` (SLAB_DTYPE)."""
    objects: U8 = field(default_factory=lambda: _NO_OBJECTS)
    """State of every object of those slabs: OBJ_*, shape (len(slabs), objs_per_slab)."""
    xarrays: tuple[XArrayInfo, ...] = ()
    nodes: Structured = field(default_factory=lambda: _NO_NODES)
    """The nodes of the XArray in focus, parents before children (NODE_DTYPE)."""
    cpus: tuple[Cpu, ...] = ()
    lanes: Structured = field(default_factory=lambda: _NO_LANES)
    """What CPUs did since the snapshot before (LANE_DTYPE)."""
    rcu: Rcu | None = None
    counters: tuple[tuple[str, int], ...] = ()
    """Counters named as /proc/vmstat names them, sorted by name."""
    events: Structured = field(default_factory=lambda: _NO_EVENTS)
    """Events since the snapshot before (EVENT_DTYPE)."""
    lost_events: int = 0
    request: RequestAnatomy | None = None
    """The last request for higher-order memory."""
    defrag: DefragReport | None = None
    focus: Focus = Focus()
    detail: PageDetail | None = None
    outcomes: tuple[Outcome, ...] = ()
    """The last few commands and what became of them, newest last."""
    policies: tuple[tuple[str, str], ...] = ()
    """Switches of the engine and their values now."""
    speed: int = 0
    """Operations a second that it is held to; 0: as fast as it can."""
    notice: str = ""
    """One sentence to show (why it ended or failed), empty when there is nothing to say."""
    guide: Guide | None = None
    """Only in a guided run."""
    controls: tuple[Control, ...] = ()
    """What of the workload can be changed."""
    race: Race | None = None
    """Only in a case of the race lab."""
    recording: Recording | None = None
    """The recording that is being made of this."""
    playback: Playback | None = None
    """The recording that this comes from."""
    past: Structured = field(default_factory=lambda: _NO_PASTS)
    """All of the recording that this comes from, thinned out (PAST_DTYPE)."""
    past_events: Structured = field(default_factory=lambda: _NO_EVENTS)
    """What of it is worth a marker (EVENT_DTYPE)."""
    past_figures: Structured = field(default_factory=lambda: _NO_FIGURES)
    """Figures of instants all over it, more of them as they are read (FIGURES_DTYPE)."""
    past_requests: tuple[tuple[int, int, int], ...] = ()
    """For every order: requests that succeeded, that failed, and failed allocations of the workload, in all of it."""
