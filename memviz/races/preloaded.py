"""The radix tree's preloaded nodes pin the slabs they lie in."""

from __future__ import annotations

from functools import partial
from typing import Final

from memviz.kernel.radix_tree import RadixTreePreload
from memviz.kernel.schedule import Scheduler
from memviz.kernel.spinlock import SpinLock
from memviz.races.case import RaceCase, Variant
from memviz.races.lab import Lab


def one_entry_each(scheduler: Scheduler, radix: bool) -> Lab:
    """Two CPUs store one entry each, in trees of their own; a third wants the slabs back."""
    lab = Lab(scheduler)
    lab.mover.setup_mobility(True)
    preload = RadixTreePreload(lab.nodes, lab.smp)

    def insert(cpu: int) -> None:
        lock = SpinLock(lab.smp, f"tree {cpu} lock")
        tree = lab.radix_tree(f"tree {cpu}", preload)
        preload.preload()
        lock.lock()
        tree.insert(70, "item")
        lock.unlock()
        preload.preload_end()
        lab.smp.op_done()
        lock.lock()
        tree.delete(70)
        lock.unlock()

    def store(cpu: int) -> None:
        array = lab.array(f"array {cpu}")
        array.store(70, "item")
        lab.smp.op_done()
        array.erase(70)

    def shrink() -> None:
        lab.nodes.cache.shrink()

    body = insert if radix else store
    lab.on_cpu(0, "cpu 0", lambda: body(0))
    lab.on_cpu(1, "cpu 1", lambda: body(1))
    lab.on_cpu(2, "defragmentation", shrink)

    def want_slabs() -> None:
        """Nobody stores anything any more, and no tree holds an entry."""
        lab.nodes.cache.shrink()
        slabs = len(lab.nodes.cache.slabs)
        if slabs:
            nodes = len(preload.preloaded())
            lab.smp.bug("slab pinned", f"all trees are empty; {nodes} preloaded nodes keep {slabs} slabs")

    lab.after(want_slabs)
    return lab


CASES: Final = (
    RaceCase(
        "race-preloaded",
        "A preloaded node pins its slab",
        "“The radix tree is not movable given its current API. … Also the xarray doesn't use huge numbers of"
        " preallocated nodes”",
        "Matthew Wilcox",
        "2017-02-28",
        "Each CPU takes 21 nodes aside before it takes its lock. They belong to no tree, nobody may touch them, and"
        " they stay for the next insertion, whenever that is.",
        "True: one entry stored and deleted a CPU leaves slabs that no defragmentation gets back. The XArray leaves"
        " none.",
        (
            Variant("radix-tree", "nodes are preloaded", partial(one_entry_each, radix=True), "slab pinned", cpus=3),
            Variant(
                "xarray", "nodes are allocated under the array's lock", partial(one_entry_each, radix=False), cpus=3
            ),
        ),
    ),
)
