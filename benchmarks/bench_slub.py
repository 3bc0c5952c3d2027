"""Slab objects a second, and what a defragmentation pass takes: ``python -m benchmarks.bench_slub``.

An operation is one ``kmem_cache_alloc`` or one ``kmem_cache_free``, counted and in checked mode, over the real page
allocator: 2,000 objects in use, a random one replaced each time. Targets: 300,000 a second interpreted, 1,000,000
compiled. A pass over 10,000 sparse slabs (3 of 14 objects in use in each): under 5 s interpreted. Best of three runs,
by this process's own time.
"""

from __future__ import annotations

import random
import time

from benchmarks.figure import Figure, compiled
from memviz.kernel.defrag_pass import DefragPass
from memviz.kernel.kmem_cache import KmemCache
from memviz.kernel.mmzone import PageAllocConfig
from memviz.kernel.page import PageFrames
from memviz.kernel.page_alloc import PageAlloc
from memviz.kernel.rcu import Rcu
from memviz.kernel.slub import Slub, SlubConfig
from memviz.kernel.smp import Smp
from memviz.kernel.trace import Trace

PAIRS = 100_000
IN_USE = 2_000
SLABS = 10_000
KEEP = 3
TARGETS = (300_000, 1_000_000)
PASS_TARGET_S = 5.0


def slub(front_end: str, mib: int) -> Slub:
    """Slabs of a machine with two CPUs, so that a slab of xa_nodes holds 14."""
    smp = Smp(2, Trace())
    return Slub(PageAlloc(PageFrames(mib * 256), smp, PageAllocConfig()), Rcu(smp), smp, SlubConfig(front_end))


def churn(front_end: str) -> float:
    """Operations a second."""
    cache = slub(front_end, 64).create_cache("bench", 256)
    rng = random.Random(1)
    where = [rng.randrange(IN_USE) for _ in range(PAIRS)]
    objects = [cache.alloc() or 0 for _ in range(IN_USE)]
    alloc = cache.alloc
    free = cache.free
    begin = time.process_time()
    for at in where:
        free(objects[at])
        objects[at] = alloc() or 0
    return 2 * PAIRS / (time.process_time() - begin)


class User:
    """Moves its objects and nothing else."""

    def __init__(self, cache: KmemCache) -> None:
        self.cache = cache

    def migrate(self, objects: list[int], private: object) -> None:
        """The second callback."""
        for old in objects:
            if self.cache.alloc() is not None:
                self.cache.free(old)


def isolate(objects: list[int]) -> object:
    """The first callback."""
    return 1


def nothing(addr: int) -> object:
    """A constructor that makes nothing."""
    return None


def sparse_pass(front_end: str) -> tuple[float, DefragPass, int]:
    """Seconds that a pass takes, the pass, and slabs before it."""
    machine = slub(front_end, 128)
    cache = machine.create_cache("sparse", 576, ctor=nothing)
    user = User(cache)
    cache.setup_mobility(isolate, user.migrate)
    n = cache.objs_per_slab
    objects = [cache.alloc() or 0 for _ in range(SLABS * n)]
    for at, obj in enumerate(objects):
        if at % n >= KEEP:
            cache.free(obj)
    slabs = cache.stats().slabs
    begin = time.process_time()
    done = cache.defrag(30)
    seconds = time.process_time() - begin
    machine.check()
    return seconds, done, slabs


def figures(quick: bool) -> list[Figure]:
    """Of this build; a pass takes no longer than its target in either."""
    found: list[Figure] = []
    for front_end in ("classic", "sheaves"):
        rate = max(churn(front_end) for _ in range(1 if quick else 3))
        seconds, done, _ = sparse_pass(front_end)
        found.append(Figure(f"slab, {front_end}: objects", rate, "a second", TARGETS[compiled()]))
        found.append(
            Figure(f"slab, {front_end}: a pass over {SLABS:,} sparse slabs", seconds, "s", PASS_TARGET_S, True)
        )
        found.append(Figure(f"slab, {front_end}: an object moved", 1e6 * seconds / max(done.objects_moved, 1), "µs"))
    return found


def verdict(ok: bool) -> str:
    """How a figure stands to its target."""
    return "ok" if ok else "MISSED"


def main() -> None:
    """Print every figure with its target."""
    build = "compiled" if compiled() else "interpreted"
    target = TARGETS[compiled()]
    for front_end in ("classic", "sheaves"):
        rate = max(churn(front_end) for _ in range(3))
        print(f"slab objects, {front_end}, {build}: {rate:,.0f} alloc or free a second (target {target:,}: ", end="")
        print(f"{verdict(rate >= target)})")
    for front_end in ("classic", "sheaves"):
        seconds, done, slabs = min((sparse_pass(front_end) for _ in range(3)), key=lambda run: run[0])
        print(f"defragmentation, {front_end}, {build}: {slabs:,} sparse slabs in {seconds:.2f} s ", end="")
        print(f"(target {PASS_TARGET_S:.0f} s: {verdict(seconds < PASS_TARGET_S)}): {done.sentence()}")


if __name__ == "__main__":
    main()
