"""Every invariant of the page allocator, checked against the page frames themselves.

Only for a machine at rest: a block on its way from a list to its owner counts as lost.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from memviz.kernel.buddy import PG_FREE, ZEROS
from memviz.kernel.mmzone import NR_PCP_LISTS, Zone
from memviz.kernel.page import (
    MIGRATE_HIGHATOMIC,
    MIGRATE_ISOLATE,
    MIGRATE_TYPES,
    MIGRATETYPE_NAMES,
    NR_PAGE_ORDERS,
    OWNER_FREE,
    OWNER_NAMES,
    OWNER_PCP,
    OWNER_RESERVED,
    OWNER_RUNS,
    OWNER_UNKNOWN,
    PAGEBLOCK_NR_PAGES,
    PAGEBLOCK_ORDER,
    PG_BUDDY,
    PG_HEAD,
    PageFrames,
)
from memviz.kernel.pcp import pindex_to_order

if TYPE_CHECKING:
    from memviz.kernel.page_alloc import PageAlloc

UNMANAGED: Final = (OWNER_RESERVED, OWNER_UNKNOWN)


def check_page_alloc(pa: PageAlloc) -> None:
    """Raise AssertionError with a sentence when the allocator's books and the page frames disagree."""
    for zone in pa.zones:
        listed = check_free_lists(zone)
        on_pcp = check_pcp(zone)
        free, pcp, used = count_frames(zone)
        where = f"zone {zone.name}"
        assert free == listed, f"{where}: {free} frames are marked free, {listed} are on free lists"
        assert free == zone.nr_free + zone.nr_isolate_free, (
            f"{where}: {free} frames are free, the counters say {zone.nr_free} and {zone.nr_isolate_free} isolated"
        )
        assert pcp == on_pcp, f"{where}: {pcp} frames are marked as per-CPU, {on_pcp} are on per-CPU lists"
        assert free + pcp + used == zone.managed, (
            f"{where}: {free} free + {pcp} per-CPU + {used} used frames are not the {zone.managed} managed ones"
        )
        check_highatomic(zone)


def check_free_lists(zone: Zone) -> int:
    """Every listed block is free, of this order, in a pageblock of this type, and has no free buddy. Returns the
    frames.
    """
    mem = zone.mem
    total = 0
    isolated = 0
    for order in range(NR_PAGE_ORDERS):
        for mt in range(MIGRATE_TYPES):
            free_list = zone.free_area[order][mt]
            pfns = free_list.pfns()
            where = f"zone {zone.name}, list of order {order} {MIGRATETYPE_NAMES[mt]}"
            assert len(set(pfns)) == len(pfns), f"{where}: a block is listed twice"
            total += len(pfns) << order
            if mt == MIGRATE_ISOLATE:
                isolated += len(pfns) << order
            for pfn in pfns:
                check_free_block(zone, mem, pfn, order, mt, where)
    assert isolated == zone.nr_isolate_free, (
        f"zone {zone.name}: {isolated} isolated free frames are listed, the counter says {zone.nr_isolate_free}"
    )
    return total


def check_free_block(zone: Zone, mem: PageFrames, pfn: int, order: int, mt: int, where: str) -> None:
    """One block of a free list against the arrays."""
    assert pfn & ((1 << order) - 1) == 0, f"{where}: frame {pfn} is not aligned"
    assert zone.spans_pfn(pfn), f"{where}: frame {pfn} belongs to another zone"
    assert (mem.flags[pfn], mem.order[pfn]) == (PG_FREE, order), (
        f"{where}: frame {pfn} has flags {mem.flags[pfn]:#x} and order {mem.order[pfn]}"
    )
    for block in range(pfn >> PAGEBLOCK_ORDER, ((pfn + (1 << order) - 1) >> PAGEBLOCK_ORDER) + 1):
        assert mem.pageblock_mt[block] == mt, (
            f"{where}: frame {pfn} is in pageblock {block}, whose type is {MIGRATETYPE_NAMES[mem.pageblock_mt[block]]}"
        )
    if order < PAGEBLOCK_ORDER:
        buddy = pfn ^ (1 << order)
        assert not (mem.flags[buddy] & PG_BUDDY and mem.order[buddy] == order), (
            f"{where}: frames {pfn} and {buddy} are free buddies and were not merged"
        )


def check_pcp(zone: Zone) -> int:
    """Every block on a per-CPU list is marked so, and the counts add up. Returns the frames."""
    mem = zone.mem
    total = 0
    seen: set[int] = set()
    for cpu, pcp in enumerate(zone.pcp):
        count = 0
        where = f"zone {zone.name}, per-CPU list of CPU {cpu}"
        for pindex in range(NR_PCP_LISTS):
            order = pindex_to_order(pindex)
            for pfn in pcp.lists[pindex]:
                assert pfn not in seen, f"{where}: frame {pfn} is listed twice"
                seen.add(pfn)
                assert (mem.flags[pfn], mem.order[pfn], mem.owner[pfn]) == (PG_HEAD, order, OWNER_PCP), (
                    f"{where}: frame {pfn} is {OWNER_NAMES[mem.owner[pfn]]}, flags {mem.flags[pfn]:#x}"
                )
                count += 1 << order
        assert count == pcp.count, f"{where}: {count} frames are listed, the counter says {pcp.count}"
        total += count
    return total


def count_frames(zone: Zone) -> tuple[int, int, int]:
    """Free, per-CPU and used frames, block by block; every frame of a block has the block's owner."""
    mem = zone.mem
    counts = [0, 0, 0]
    pfn = zone.start_pfn
    end = zone.end_pfn
    while pfn < end:
        owner = mem.owner[pfn]
        if not mem.flags[pfn] & PG_HEAD:
            assert owner in UNMANAGED, f"frame {pfn} ({OWNER_NAMES[owner]}) belongs to no block: it is lost"
            pfn += 1
            continue
        order = mem.order[pfn]
        nr = 1 << order
        assert owner not in UNMANAGED, f"frame {pfn} begins a block of order {order}, but is {OWNER_NAMES[owner]}"
        assert mem.owner[pfn : pfn + nr] == OWNER_RUNS[owner][order], (
            f"the block of order {order} at frame {pfn} has more than one owner"
        )
        assert mem.flags[pfn + 1 : pfn + nr] == ZEROS[: nr - 1], (
            f"inside the block of order {order} at frame {pfn} another block begins"
        )
        is_free = mem.flags[pfn] & PG_BUDDY != 0
        assert is_free == (owner == OWNER_FREE), (
            f"the block at frame {pfn} is {'free' if is_free else 'in use'}, but its owner is {OWNER_NAMES[owner]}"
        )
        counts[0 if is_free else 1 if owner == OWNER_PCP else 2] += nr
        pfn += nr
    return counts[0], counts[1], counts[2]


def check_highatomic(zone: Zone) -> None:
    """The reserve for high-order atomic requests is as large as its pageblocks."""
    first = zone.start_pfn >> PAGEBLOCK_ORDER
    last = (zone.end_pfn + PAGEBLOCK_NR_PAGES - 1) >> PAGEBLOCK_ORDER
    blocks = zone.pageblock_mt[first:last].count(MIGRATE_HIGHATOMIC)
    assert blocks * PAGEBLOCK_NR_PAGES <= zone.nr_reserved_highatomic, (
        f"zone {zone.name}: {blocks} pageblocks are HighAtomic, the reserve is {zone.nr_reserved_highatomic} frames"
    )
