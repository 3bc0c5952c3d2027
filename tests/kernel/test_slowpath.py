"""What a request goes through when the fast path found nothing: the kernel's stages, in the kernel's order."""

from __future__ import annotations

import pytest

from memviz.kernel.mmzone import (
    COMPACT_COMPLETE,
    COMPACT_DEFERRED,
    COMPACT_PRIO_ASYNC,
    COMPACT_PRIO_SYNC_FULL,
    COMPACT_PRIO_SYNC_LIGHT,
    COMPACT_SKIPPED,
    COMPACT_SUCCESS,
    PageAllocConfig,
)
from memviz.kernel.page import (
    GFP_ATOMIC,
    GFP_DMA,
    GFP_HIGHUSER_MOVABLE,
    GFP_KERNEL,
    GFP_NOFAIL,
    GFP_NOMEMALLOC,
    GFP_NORETRY,
    GFP_NOWAIT,
    GFP_RETRY_MAYFAIL,
    GFP_TRANSHUGE,
    MIGRATE_MOVABLE,
    OWNER_HUGE,
    OWNER_KERNEL,
    PageFrames,
)
from memviz.kernel.page_alloc import PageAlloc
from memviz.kernel.request import RequestObserver
from memviz.kernel.smp import KernelBug, Smp
from memviz.kernel.trace import ALLOC_FAILED, OUT_OF_MEMORY, Trace

ASYNC, LIGHT, FULL = COMPACT_PRIO_ASYNC, COMPACT_PRIO_SYNC_LIGHT, COMPACT_PRIO_SYNC_FULL


class Short:
    """A machine with nothing left, in use page by page. Its reclaim and compaction write down that they were called."""

    def __init__(self, compact=(COMPACT_COMPLETE,), progress=0, slabs=True, kills=0, **config):
        self.pa = PageAlloc(PageFrames(64 * 256), Smp(1, Trace()), PageAllocConfig(dma32_mib=32, **config))
        self.calls = []
        self.compact_results = list(compact)
        self.progress = progress
        self.kills = kills
        for zone in self.pa.zones:
            for order in range(11):
                for pfn in zone.free_area[order][MIGRATE_MOVABLE].pfns():
                    self.pa.take_free_block(zone, pfn)
                    self.pa.mem.set_owner(pfn, order, OWNER_KERNEL)
                    self.pa.split_page(pfn, order)
        assert self.pa.nr_free_pages == 0
        self.pa.try_to_free_pages = self.reclaim
        self.pa.try_to_compact_pages = self.compact
        self.pa.defrag_slabs = self.slabs if slabs else None
        self.pa.wakeup_kswapd = self.kswapd
        self.pa.out_of_memory = self.oom
        self.freed_by = {}  # stage: page frames that it frees when it comes

    def free_for(self, stage):
        for pfn in self.freed_by.pop(stage, []):
            self.pa.free_pages(pfn, 0)

    def reclaim(self, order, gfp):
        self.calls.append(("reclaim", order))
        self.free_for("reclaim")
        return self.progress

    def compact(self, order, gfp, priority):
        self.calls.append(("compact", order, priority))
        self.free_for("compact")
        return self.compact_results.pop(0) if len(self.compact_results) > 1 else self.compact_results[0]

    def slabs(self, order):
        self.calls.append(("slabs", order))
        freed = len(self.freed_by.get("slabs", []))
        self.free_for("slabs")
        return freed

    def kswapd(self, zone, order):
        if zone is self.pa.zones[-1]:
            self.calls.append(("kswapd", order))

    def oom(self, order, gfp):
        self.calls.append(("oom", order))
        self.kills -= 1
        if self.kills < 0:
            return False
        self.free_for("oom")
        return True

    def run(self):
        """Frames enough to get over every watermark of the highest zone, in whole pageblocks."""
        zone = self.pa.zones[-1]
        start = zone.start_pfn
        return list(range(start, start + 4096))

    def stages(self):
        return [call for call in self.calls if call[0] != "kswapd"]


ORDER_OF_STAGES = [
    # an order-0 request: reclaim, then kill
    ("order 0", GFP_KERNEL, 0, {}, [("reclaim", 0), ("slabs", 0), ("oom", 0)]),
    # movable, not costly: reclaim before compaction
    (
        "movable order 2", GFP_HIGHUSER_MOVABLE, 2, {},
        [("reclaim", 2), ("compact", 2, LIGHT), ("slabs", 2), ("oom", 2)],
    ),
    # unmovable high order: async compaction first
    (
        "unmovable order 2", GFP_KERNEL, 2, {},
        [("compact", 2, ASYNC), ("reclaim", 2), ("compact", 2, LIGHT), ("slabs", 2), ("oom", 2)],
    ),
    # while reclaim gets somewhere, compaction tries harder
    (
        "with progress", GFP_KERNEL, 2, {"progress": 1},
        [("compact", 2, ASYNC), ("reclaim", 2), ("compact", 2, LIGHT), ("reclaim", 2), ("compact", 2, FULL),
         ("slabs", 2), ("oom", 2)],
    ),
    # costly: one round, nobody is killed
    (
        "costly", GFP_TRANSHUGE, 9, {"progress": 1},
        [("compact", 9, ASYNC), ("reclaim", 9), ("compact", 9, LIGHT), ("slabs", 9)],
    ),
    # costly and asked to try hard: never beyond light
    (
        "costly, may fail", GFP_TRANSHUGE | GFP_RETRY_MAYFAIL, 9, {"progress": 1},
        [("compact", 9, ASYNC), ("reclaim", 9), ("compact", 9, LIGHT), ("slabs", 9)],
    ),
    # costly, without retry: stays async; fails at once when compaction was not even tried
    (
        "no retry", GFP_TRANSHUGE | GFP_NORETRY, 9, {"progress": 1},
        [("compact", 9, ASYNC), ("reclaim", 9), ("compact", 9, ASYNC), ("slabs", 9)],
    ),
    (
        "no retry, deferred", GFP_TRANSHUGE | GFP_NORETRY, 9, {"compact": (COMPACT_DEFERRED,)},
        [("compact", 9, ASYNC), ("slabs", 9)],
    ),
    (
        "no retry, skipped", GFP_TRANSHUGE | GFP_NORETRY, 9, {"compact": (COMPACT_SKIPPED,)},
        [("compact", 9, ASYNC), ("slabs", 9)],
    ),
    # who may not sleep gets nothing of this
    ("atomic", GFP_ATOMIC, 2, {}, []),
    ("nowait", GFP_NOWAIT, 0, {}, []),
    # nobody is killed for a low zone
    ("DMA", GFP_KERNEL | GFP_DMA, 0, {}, [("reclaim", 0), ("slabs", 0)]),
    # compaction keeps succeeding and somebody else takes the block: a quarter of 16 retries when costly
    (
        "races", GFP_TRANSHUGE | GFP_RETRY_MAYFAIL, 9, {"progress": 1, "compact": (COMPACT_SUCCESS,)},
        [("compact", 9, ASYNC)] + [("reclaim", 9), ("compact", 9, LIGHT)] * 5 + [("slabs", 9)],
    ),
    # defrag_mode: a non-movable request reclaims and compacts whole pageblocks, then gives up on that
    (
        "defrag_mode", GFP_KERNEL, 2, {"defrag_mode": 1},
        [("compact", 9, ASYNC), ("reclaim", 9), ("compact", 9, LIGHT), ("reclaim", 2), ("compact", 2, LIGHT),
         ("slabs", 2), ("oom", 2)],
    ),
    (
        "defrag_mode, movable", GFP_HIGHUSER_MOVABLE, 2, {"defrag_mode": 1},
        [("reclaim", 2), ("compact", 2, LIGHT), ("reclaim", 2), ("compact", 2, LIGHT), ("slabs", 2), ("oom", 2)],
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("gfp", "order", "machine", "stages"),
    [row[1:] for row in ORDER_OF_STAGES],
    ids=[row[0] for row in ORDER_OF_STAGES],
)
def test_order_of_stages(gfp, order, machine, stages):
    short = Short(**machine)
    assert short.pa.alloc_pages(order, gfp) is None
    assert short.stages() == stages
    assert short.pa.trace.counts[ALLOC_FAILED] == 1
    assert short.pa.trace.counts[OUT_OF_MEMORY] == sum(stage[0] == "oom" for stage in stages)
    short.pa.check()


@pytest.mark.parametrize(
    ("gfp", "order", "mode", "woken_for"),
    [
        (GFP_KERNEL, 2, 0, 2),
        (GFP_ATOMIC, 0, 0, 0),
        (GFP_KERNEL, 2, 1, 9),
        (GFP_ATOMIC, 0, 1, 9),
        (GFP_KERNEL, 10, 1, 10),
    ],
)
def test_kswapd_is_woken_before_anything_else(gfp, order, mode, woken_for):
    short = Short(defrag_mode=mode)
    short.pa.alloc_pages(order, gfp)
    assert short.calls[0] == ("kswapd", woken_for)


def test_kswapd_is_left_alone_by_who_says_so():
    short = Short()
    short.pa.alloc_pages(0, GFP_KERNEL & ~0x800)
    assert ("kswapd", 0) not in short.calls
    assert short.stages()[0] == ("reclaim", 0)


@pytest.mark.parametrize(
    ("stage", "gfp", "order", "machine"),
    [
        ("reclaim", GFP_KERNEL, 0, {"progress": 32}),
        ("reclaim", GFP_HIGHUSER_MOVABLE, 3, {"progress": 32}),
        ("compact", GFP_TRANSHUGE, 9, {"compact": (COMPACT_SUCCESS,)}),
        ("slabs", GFP_TRANSHUGE, 9, {}),
        ("slabs", GFP_KERNEL, 1, {}),
        ("oom", GFP_KERNEL, 2, {"kills": 1}),
    ],
)
def test_the_stage_that_frees_enough_serves_the_request(stage, gfp, order, machine):
    short = Short(**machine)
    short.freed_by[stage] = short.run()
    if stage in ("compact", "oom"):  # nobody drains the per-CPU lists for these two
        free = short.free_for
        short.free_for = lambda name: (free(name), short.pa.drain_all_pages())
    watcher = Watcher()
    pfn = short.pa.request_pages(order, gfp, OWNER_HUGE, watcher)
    assert pfn is not None
    assert short.stages()[-1][0] == stage
    assert short.pa.mem.owner[pfn] == OWNER_HUGE
    name = {"compact": "compaction", "slabs": "slab defragmentation", "oom": "out of memory"}.get(stage, stage)
    assert watcher.stages[-1][:2] == (name, True)
    short.pa.check()


def test_slab_defragmentation_that_freed_too_little_is_followed_by_compaction():
    short = Short(progress=0)
    short.freed_by["slabs"] = short.run()[:7]
    assert short.pa.alloc_pages(9, GFP_TRANSHUGE) is None
    assert short.stages()[-2:] == [("slabs", 9), ("compact", 9, LIGHT)]


def test_without_any_hook_a_request_fails_and_says_why():
    short = Short()
    pa = short.pa
    pa.try_to_free_pages = pa.try_to_compact_pages = pa.defrag_slabs = pa.wakeup_kswapd = pa.out_of_memory = None
    assert pa.alloc_pages(0, GFP_KERNEL) is None
    assert [event[3:7] for event in pa.trace.notable][-1] == (ALLOC_FAILED, 0, GFP_KERNEL, 0)


def test_a_failure_by_fragmentation_is_told_from_one_by_lack_of_memory():
    short = Short()
    for pfn in short.run()[::2]:  # plenty, but no two frames side by side
        short.pa.free_pages(pfn, 0)
    short.pa.drain_all_pages()
    watcher = Watcher()
    assert short.pa.request_pages(4, GFP_TRANSHUGE, OWNER_HUGE, watcher) is None
    assert [event[3:7] for event in short.pa.trace.notable][-1] == (ALLOC_FAILED, 4, GFP_TRANSHUGE, 1)
    assert "Normal: 2,048 pages free, largest block order 0 · fragmentation index 0.938" in watcher.stages[0][2]
    assert "DMA32: 0 pages free, watermark low " in watcher.stages[0][2]


def test_reclaim_is_tried_again_while_all_that_is_reclaimable_would_be_enough():
    short = Short(progress=1)
    short.pa.zone_reclaimable_pages = lambda zone: zone.managed
    rounds = []

    def reclaim(order, gfp):
        rounds.append(order)
        return 1 if len(rounds) < 5 else 0

    short.pa.try_to_free_pages = reclaim
    assert short.pa.alloc_pages(0, GFP_KERNEL) is None
    # four rounds with progress, then sixteen without, and the one that is too many
    assert len(rounds) == 4 + 17


def test_reclaim_may_have_everything_and_does_not_call_itself():
    short = Short(progress=1)
    free = short.run()[:3]
    got = []

    def reclaim(order, gfp):
        short.calls.append(("reclaim", order))
        for pfn in free[len(got) :][:1]:
            short.pa.free_pages(pfn, 0)
            short.pa.drain_all_pages()
            got.append(short.pa.alloc_pages(0, GFP_KERNEL))  # below every watermark
        got.append(short.pa.alloc_pages(0, GFP_KERNEL))  # nothing left: fails, without recursion
        got.append(short.pa.alloc_pages(0, GFP_KERNEL | GFP_NOMEMALLOC))
        return 0

    short.pa.try_to_free_pages = reclaim
    assert short.pa.alloc_pages(0, GFP_KERNEL) is None
    assert got == [free[0], None, None]
    assert short.stages().count(("reclaim", 0)) == 1
    assert not short.pa.memalloc_active()


def test_the_atomic_reserve_is_given_up_before_anybody_is_killed():
    short = Short(kills=0)
    zone = short.pa.zones[-1]
    block = zone.start_pfn
    zone.nr_reserved_highatomic = 512
    short.pa.mem.pageblock_mt[block >> 9] = 3
    zone.watermark[:] = [100, 200, 300, 400]
    for pfn in range(block, block + 512):
        short.pa.free_pages(pfn, 0)
    short.pa.drain_all_pages()
    assert zone.nr_free_highatomic() == 512
    assert short.pa.alloc_pages(0, GFP_KERNEL) is not None
    assert zone.nr_reserved_highatomic == 0
    assert short.stages() == [("reclaim", 0)] * 1


def test_a_request_that_may_not_fail_is_reported_instead_of_looping_for_ever():
    with pytest.raises(KernelBug, match="order 0 may not fail") as caught:
        Short(slabs=False).pa.alloc_pages(0, GFP_KERNEL | GFP_NOFAIL)
    assert caught.value.rule == "endless allocation"


def test_a_request_that_may_not_fail_has_half_of_the_minimum():
    short = Short(slabs=False)
    zone = short.pa.zones[-1]
    for pfn in short.run()[: zone.watermark_min // 2 + 100]:
        short.pa.free_pages(pfn, 0)
    short.pa.drain_all_pages()
    assert short.pa.alloc_pages(0, GFP_KERNEL) is None
    assert short.pa.alloc_pages(0, GFP_KERNEL | GFP_NOFAIL) is not None


# -- defrag_mode -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "gfp", "pollutes"), [(0, GFP_KERNEL, True), (1, GFP_KERNEL, False), (1, GFP_ATOMIC, True)]
)
def test_defrag_mode_does_not_mix_types_for_who_can_wait(mode, gfp, pollutes):
    """Half a movable pageblock is free, enough by far: only defrag_mode makes an unmovable request work."""
    short = Short(defrag_mode=mode)
    zone = short.pa.zones[-1]
    for at in range(zone.start_pfn, zone.start_pfn + 4096, 512):
        for pfn in range(at, at + 256):
            short.pa.free_pages(pfn, 0)
    short.pa.drain_all_pages()
    for low in short.pa.zones:
        low.watermark[:] = [10, 10, 10, 10]
    seen = []
    short.pa.try_to_free_pages = lambda order, gfp: seen.append(order) or 0
    assert short.pa.alloc_pages(0, gfp) is not None  # in the end everybody gets a page
    assert seen == ([] if pollutes else [9] * 17)  # as often as is tried without progress


# -- the observer ----------------------------------------------------------------------------------------------------


class Watcher(RequestObserver):
    def __init__(self):
        self.stages = []
        self.open = None

    def stage_begin(self, name):
        assert self.open is None, f"{name} begins inside of {self.open}"
        self.open = name

    def stage_end(self, ok, text):
        self.stages.append((self.open, ok, text))
        self.open = None


def test_observer_of_a_request_that_the_fast_path_serves():
    pa = PageAlloc(PageFrames(64 * 256), Smp(1, Trace()), PageAllocConfig())
    watcher = Watcher()
    assert pa.request_pages(3, GFP_KERNEL, OWNER_KERNEL, watcher) is not None
    assert watcher.stages == [("fast path", True, "zone DMA32 had a free block of order 3 or more")]
    assert pa.current_observer() is None


def test_observer_hears_every_stage_once_and_nothing_of_requests_within():
    short = Short(progress=1)
    short.pa.try_to_free_pages = lambda order, gfp: (short.pa.alloc_pages(1, GFP_KERNEL), 1)[1]
    watcher = Watcher()
    assert short.pa.request_pages(9, GFP_TRANSHUGE, OWNER_HUGE, watcher) is None
    assert watcher.open is None
    assert [stage[:2] for stage in watcher.stages] == [
        ("fast path", False), ("compaction", False), ("reclaim", False), ("compaction", False),
        ("slab defragmentation", False),
    ]  # fmt: skip
    assert watcher.stages[2][2].startswith("1 pages reclaimed; Normal: 0 pages free, watermark min ")
    assert watcher.stages[1][2].startswith("complete; ")
