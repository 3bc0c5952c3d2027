"""CPUs A, B and C of the mail of 3 March 2017: a free from an RCU callback meets the slab that is being evacuated."""

from __future__ import annotations

from functools import partial
from typing import Final

from memviz.kernel.schedule import Scheduler
from memviz.kernel.slab_mobility import (
    BARRIER_NONE,
    BARRIER_SLAB,
    FREE_BLOCKS,
    FREE_SPINS,
    GUARANTEE_BOTH,
    GUARANTEE_RCU,
    MobilityOptions,
)
from memviz.races.case import RaceCase, Variant
from memviz.races.lab import Lab

DEADLOCK: Final = "deadlock"
NOT_HELD_OFF: Final = "freed under the RCU read lock"


class Watcher:
    """Callbacks that move nothing: do the objects stay while CPU C is in its read-side section?"""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        options = MobilityOptions(guarantee=GUARANTEE_RCU, barrier=BARRIER_NONE)
        lab.nodes.cache.setup_mobility(lambda objects: objects, self.migrate, options)

    def migrate(self, objects: list[int], private: object) -> None:
        """The second callback, still inside the section that began before the first."""
        for _ in range(4):
            self.lab.smp.point("objects are expected to stay")
            for addr in objects:
                if not self.lab.nodes.cache.in_use(addr):
                    self.lab.smp.bug(
                        NOT_HELD_OFF,
                        f"node {addr:#x} was handed back to the slab while CPU {self.lab.smp.this_cpu().id} is in a"
                        f" read-side section that began before it isolated the slab",
                    )


def a_b_c(scheduler: Scheduler, free_meets: int, watch: bool = False) -> Lab:
    """A reads the node, B takes it out of the tree and hands it to RCU, C isolates its slab."""
    lab = Lab(scheduler)
    array, leaf = lab.lonely_leaf()
    if watch:
        Watcher(lab)
    else:
        lab.mover.setup_mobility(True, MobilityOptions(True, True, GUARANTEE_BOTH, BARRIER_SLAB, free_meets))
    slab = lab.slab_of(leaf)

    def cpu_a() -> None:
        lab.load(array, 100)

    def cpu_b() -> None:
        lab.store(array, 100, None)
        for _ in range(4):
            lab.smp.op_done()  # user mode: its callbacks run on the way

    def cpu_c() -> None:
        for _ in range(2):
            lab.smp.op_done()  # it comes from user mode: no grace period that began before waits for it
        lab.evacuate(slab)

    lab.on_cpu(0, "A reads", cpu_a)
    lab.on_cpu(1, "B frees", cpu_b)
    lab.on_cpu(2, "C isolates", cpu_c)
    lab.after(lambda: lab.expect_now(array, 3, "three"))
    if not watch:
        lab.after(lab.no_leak)
    return lab


CASES: Final = (
    RaceCase(
        "race-softirq-free",
        "CPUs A, B and C: a free from softirq meets an isolated slab",
        "“CPU B is going to block in softirq context. Nasty. I also don't see how to avoid it. Unless by ‘block’,"
        " you mean ‘will spin on slab_lock()’, which isn't too bad, I suppose.”",
        "Matthew Wilcox",
        "2017-03-03",
        "B's callback runs on top of whatever B was doing, and frees into the slab that C has isolated. If it waits"
        " there for C to be done, and C waits with rcu_barrier() for B's callbacks, neither goes on.",
        "Blocking deadlocks with rcu_barrier(). Spinning on the slab lock, held only while the first callback runs,"
        " holds. And the RCU read lock alone keeps nothing: it was taken after call_rcu(), as the mail says.",
        (
            Variant(
                "blocks", "a free waits until processing ends", partial(a_b_c, free_meets=FREE_BLOCKS), DEADLOCK, cpus=3
            ),
            Variant("spins", "a free spins on the slab lock", partial(a_b_c, free_meets=FREE_SPINS), cpus=3),
            Variant(
                "read-lock",
                "C is in a read-side section all the time",
                partial(a_b_c, free_meets=FREE_SPINS, watch=True),
                NOT_HELD_OFF,
                "all",
                cpus=3,
            ),
        ),
    ),
)
