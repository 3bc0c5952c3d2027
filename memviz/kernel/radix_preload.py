"""Nodes taken aside before a lock is taken (``radix_tree_preload()``, ``lib/radix-tree.c`` up to Linux 4.19).

An insertion under a spinlock may not sleep, so it may find no memory. Its caller fills a stash of this CPU first, for
the worst case. What is not needed stays there for the next insertion, whenever that is: allocated, in no tree, and
immovable.
"""

from __future__ import annotations

from typing import Final

from memviz.kernel.page import GFP_DIRECT_RECLAIM, GFP_KERNEL
from memviz.kernel.smp import Smp
from memviz.kernel.xa_node import NodeCache, XaNode

RADIX_TREE_MAX_PATH: Final = 11  # levels of 6 bits in an index of 64
RADIX_TREE_PRELOAD_SIZE: Final = 2 * RADIX_TREE_MAX_PATH - 1


class RadixTreePreload:
    """``radix_tree_preloads``: a stash of nodes on each CPU, shared by all trees of a machine."""

    def __init__(self, nodes: NodeCache, smp: Smp | None = None) -> None:
        self.nodes = nodes
        self.smp = smp
        self.stash: list[list[XaNode]] = [[] for _ in range(smp.nr_cpus if smp is not None else 1)]

    def this_cpu(self) -> list[XaNode]:
        """The stash of the CPU that runs now."""
        return self.stash[self.smp.this_cpu().id if self.smp is not None else 0]

    def preload(self, gfp: int = GFP_KERNEL) -> bool:
        """``radix_tree_preload()``: fill this CPU's stash so that an insertion can't fail, and disable preemption.

        ``gfp`` must allow to sleep. False: no memory, and preemption stays on. Else call ``preload_end()``."""
        if not gfp & GFP_DIRECT_RECLAIM:
            raise ValueError(f"Preloading with gfp {gfp:#x} can't sleep: use maybe_preload() there.")
        while len(self.this_cpu()) < RADIX_TREE_PRELOAD_SIZE:
            node = self.nodes.alloc(gfp)  # may sleep, and go on on a CPU whose stash is full by now
            if node is None:
                return False
            if len(self.this_cpu()) < RADIX_TREE_PRELOAD_SIZE:
                self.this_cpu().append(node)
            else:
                self.nodes.free(node)
        self._preempt(1)
        return True

    def maybe_preload(self, gfp: int) -> bool:
        """``radix_tree_maybe_preload()``: ``preload()``, or only disable preemption where sleeping is forbidden."""
        if gfp & GFP_DIRECT_RECLAIM:
            return self.preload(gfp)
        self._preempt(1)
        return True

    def preload_end(self) -> None:
        """The insertion is done; what is left of the stash stays for the next."""
        self._preempt(-1)

    def take(self) -> XaNode | None:
        """A preloaded node of this CPU, None when it has none."""
        stash = self.this_cpu()
        return stash.pop() if stash else None

    def preloaded(self) -> list[XaNode]:
        """All stashed nodes: allocated, in no tree, immovable."""
        return [node for stash in self.stash for node in stash]

    def drain(self, cpu: int) -> None:
        """The CPU goes away (``radix_tree_cpu_dead``): its nodes go back."""
        while self.stash[cpu]:
            self.nodes.free(self.stash[cpu].pop())

    def _preempt(self, by: int) -> None:
        if self.smp is not None:
            self.smp.this_cpu().preempt += by
