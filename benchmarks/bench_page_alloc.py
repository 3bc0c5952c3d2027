"""Page operations a second, and bytes a page frame: ``python -m benchmarks.bench_page_alloc``.

An operation is one allocation or one free: random orders 0 to 4, per-CPU lists and events included, on machines that
are 70 % full. Targets: on 4 GiB interpreted 200,000 and compiled 600,000 a second; cost within 1.5 times from 256 MiB
to 16 GiB; at most 40 bytes a page frame. Each figure of speed is the best of three runs.
"""

from __future__ import annotations

import random
import time
import tracemalloc
from array import array

from benchmarks.figure import Figure, compiled
from memviz.kernel.mmzone import PageAllocConfig
from memviz.kernel.page import (
    GFP_HIGHUSER_MOVABLE,
    GFP_KERNEL,
    GFP_RECLAIMABLE,
    OWNER_KERNEL,
    OWNER_PAGE_CACHE,
    OWNER_SLAB,
    PageFrames,
)
from memviz.kernel.page_alloc import PageAlloc
from memviz.kernel.smp import Smp
from memviz.kernel.trace import Trace

OPERATIONS = 100_000
SIZES_MIB = (256, 1024, 4096, 16384)
TARGETS = (200_000, 600_000)
MAX_SPREAD = 1.5
MAX_BYTES = 40
# Mostly movable memory, as on a machine in use.
KINDS = (
    (GFP_HIGHUSER_MOVABLE, OWNER_PAGE_CACHE),
    (GFP_HIGHUSER_MOVABLE, OWNER_PAGE_CACHE),
    (GFP_HIGHUSER_MOVABLE, OWNER_PAGE_CACHE),
    (GFP_KERNEL | GFP_RECLAIMABLE, OWNER_SLAB),
    (GFP_KERNEL, OWNER_KERNEL),
)
Command = tuple[bool, int, int, float]


def machine(mib: int) -> PageAlloc:
    """An allocator of four CPUs with nobody using it."""
    return PageAlloc(PageFrames(mib * 256), Smp(4, Trace()), PageAllocConfig())


def fill(pa: PageAlloc, rng: random.Random) -> array[int]:
    """Use 70 % of memory in random orders; the blocks in use, each as ``pfn << 4 | order`` (packed: no cache misses of
    objects that are the benchmark's own).
    """
    blocks = array("Q")
    left = pa.managed * 7 // 10
    while left > 0:
        order = rng.randrange(5)
        gfp, owner = KINDS[rng.randrange(len(KINDS))]
        pfn = pa.alloc_pages(order, gfp, owner)
        assert pfn is not None
        blocks.append(pfn << 4 | order)
        left -= 1 << order
    return blocks


def churn(pa: PageAlloc, blocks: array[int], commands: list[Command]) -> float:
    """Operations a second of one run, by this process's own time: what else the machine does is not counted."""
    begin = time.process_time()
    for allocate, order, kind, where in commands:
        if allocate:
            gfp, owner = KINDS[kind]
            pfn = pa.alloc_pages(order, gfp, owner)
            if pfn is not None:
                blocks.append(pfn << 4 | order)
        else:
            at = int(where * len(blocks))
            block = blocks[at]
            blocks[at] = blocks[-1]
            blocks.pop()
            pa.free_pages(block >> 4, block & 15)
    return len(commands) / (time.process_time() - begin)


def speeds(sizes: tuple[int, ...] = SIZES_MIB) -> dict[int, float]:
    """Operations a second by size of machine, the best of three runs; the sizes take turns."""
    rng = random.Random(1)
    machines = {mib: machine(mib) for mib in sizes}
    blocks = {mib: fill(pa, rng) for mib, pa in machines.items()}
    best = dict.fromkeys(sizes, 0.0)
    for _ in range(3):
        commands = [
            (rng.random() < 0.5, rng.randrange(5), rng.randrange(len(KINDS)), rng.random()) for _ in range(OPERATIONS)
        ]
        for mib, pa in machines.items():
            best[mib] = max(best[mib], churn(pa, blocks[mib], commands))
    for pa in machines.values():
        pa.check()
    return best


def bytes_per_frame(mib: int, singles: bool) -> float:
    """Bytes that an allocator takes for each page frame after use; ``singles``: at worst, every second frame free."""
    tracemalloc.start()
    pa = machine(mib)
    rng = random.Random(1)
    if singles:
        pages: list[int] = []
        while (pfn := pa.alloc_pages(0, GFP_HIGHUSER_MOVABLE, OWNER_PAGE_CACHE)) is not None:
            pages.append(pfn)
        for pfn in pages:
            if pfn & 1:
                pa.free_pages(pfn, 0)
        pages.clear()
    else:
        fill(pa, rng)
    taken = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    return taken / pa.mem.nr


def figures(quick: bool) -> list[Figure]:
    """Of this build; ``quick``: without the largest machine."""
    rates = speeds(SIZES_MIB[:-1] if quick else SIZES_MIB)
    spread = max(rates.values()) / min(rates.values())
    sizes = f"{min(rates):,} MiB to {max(rates) // 1024} GiB"
    return [
        Figure("pages: allocations and frees, 4 GiB", rates[4096], "a second", TARGETS[compiled()]),
        Figure(f"pages: fastest to slowest, {sizes}", spread, "times", MAX_SPREAD, at_most=True),
        Figure("pages: memory", bytes_per_frame(64 if quick else 256, False), "bytes a frame", MAX_BYTES, at_most=True),
    ]


def main() -> None:
    """Print every figure with its target."""
    fast = compiled()
    print(f"page allocator ({'compiled' if fast else 'interpreted'})")
    rates = speeds()
    for mib, rate in rates.items():
        target = f"  (target {TARGETS[fast]:,})" if mib == 4096 else ""
        print(f"  {mib:6} MiB {rate:12,.0f} operations/s{target}")
    print(f"  slowest to fastest {max(rates.values()) / min(rates.values()):.2f}  (target at most {MAX_SPREAD})")
    print(f"  {bytes_per_frame(256, False):.1f} bytes a page frame, 70 % full  (target at most {MAX_BYTES})")
    print(f"  {bytes_per_frame(64, True):.1f} bytes a page frame when every second frame is free")
    begin = time.perf_counter()
    machine(16384)
    print(f"  {time.perf_counter() - begin:.3f} s to set up 16 GiB")


if __name__ == "__main__":
    main()
