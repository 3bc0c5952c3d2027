"""The price of what was done: Al Viro's question of April 2019, how costly is it and how much of the cache goes."""

from __future__ import annotations

from typing import Final

from memviz.kernel.machine import Machine
from memviz.kernel.page import (
    OWNER_ANON,
    OWNER_FREE,
    OWNER_NAMES,
    OWNER_PAGE_CACHE,
    OWNER_PCP,
    PAGEBLOCK_NR_PAGES,
)

_IDLE: Final = (OWNER_FREE, OWNER_PCP)
_MOVABLE: Final = (OWNER_ANON, OWNER_PAGE_CACHE)


def price(machine: Machine) -> dict[str, int]:
    """Counters since the machine's start, except ``longest_hold_ns``: that is a maximum. Times are virtual."""
    totals = machine.mobility.ledger.totals
    vmstat = machine.page_alloc.vmstat.named()
    return {
        "time_ns": machine.smp.now,
        "slabs_freed": totals.slabs_freed,
        "objects_moved": totals.objects_moved,
        "objects_thrown_away": totals.objects_evicted,
        "bytes_copied": totals.bytes_copied,
        "slabs_isolated_in_vain": totals.slabs_left,
        "slab_lock_holds": totals.holds,
        "slab_lock_held_ns": totals.hold_ns,
        "longest_hold_ns": totals.longest_hold_ns,
        "cpus_blocked": totals.cpus_blocked,
        "cpus_blocked_ns": totals.blocked_ns,
        "spun_ns": sum(cpu.spun_ns for cpu in machine.smp.cpus),
        "grace_periods_waited": totals.grace_periods,
        "rcu_barriers": totals.barriers,
        "rcu_barrier_ns": totals.barrier_ns,
        "names_evicted": machine.dcache.evicted,
        "nodes_reclaimed": machine.workingset.nodereclaim,
        "pages_reclaimed": vmstat["pgsteal_kswapd"] + vmstat["pgsteal_direct"],
        "pages_read_again": machine.filemap.refaults,
        "pages_compacted": vmstat["pgmigrate_success"],
        "direct_reclaims": vmstat["allocstall"],
        "direct_compactions": vmstat["compact_stall"],
        "fallbacks_claimed": vmstat["extfrag_claim"],
        "fallbacks_stolen": vmstat["extfrag_steal"],
        "fallbacks_polluting": vmstat["extfrag_fragmenting"],
        "allocations_failed": vmstat["alloc_fail"],
    }


def paid(before: dict[str, int], after: dict[str, int]) -> dict[str, int]:
    """What was paid between two moments of one machine; what cost nothing is left out. ``longest_hold_ns`` is a maximum
    since the machine's start: it is there when it has risen."""
    rise = {name: value - before.get(name, 0) for name, value in after.items()}
    return {name: after[name] if name == "longest_hold_ns" else by for name, by in rise.items() if by}


def blocks(machine: Machine) -> dict[str, int]:
    """How pageblocks are used. ``mixed``: what can move and what cannot stand in one block, which neither reclaim nor
    compaction can then empty; ``movable``: nothing but what can move; ``unmovable``: nothing that can; ``free``.

    Slab pages count as what cannot move: this is about where the page allocator puts things.
    """
    owner = machine.mem.owner
    found = {"free": 0, "movable": 0, "unmovable": 0, "mixed": 0}
    for first in range(0, machine.mem.nr, PAGEBLOCK_NR_PAGES):
        frames = owner[first : first + PAGEBLOCK_NR_PAGES]
        idle = sum(frames.count(code) for code in _IDLE)
        moves = sum(frames.count(code) for code in _MOVABLE)
        stays = len(frames) - idle - moves
        kind = ("free", "unmovable", "movable", "mixed")[(moves > 0) * 2 + (stays > 0)]
        found[kind] += 1
    return found


def holders(machine: Machine) -> dict[str, int]:
    """Page frames by owner, those that have any."""
    counts = {name: machine.mem.owner.count(code) for code, name in enumerate(OWNER_NAMES)}
    return {name: count for name, count in counts.items() if count}
