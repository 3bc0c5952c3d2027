"""Moving a page to another frame (``mm/migrate.c``): its owner swaps the frames, everything else is copied over.

The page has been isolated from its LRU list, so nobody else reclaims, moves or truncates it meanwhile. On success the
old frame is free and the page is on its list again, in its new frame; on failure it goes back where it was.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from memviz.kernel.page import OWNER_ISOLATED, PG_ACTIVE, PG_DIRTY, PG_HEAD, PG_REFERENCED
from memviz.kernel.vmstat import PGMIGRATE_FAIL, PGMIGRATE_SUCCESS

if TYPE_CHECKING:
    from memviz.kernel.vmscan import Vmscan

MIGRATE_NS: Final = 500  # unmap, copy 4 KiB, map again
KEPT_FLAGS: Final = PG_ACTIVE | PG_REFERENCED | PG_DIRTY
MAX_MIGRATE_RETRY: Final = 3  # passes over what was busy; asynchronous migration makes one


class MigrateResult:
    """What became of a batch: page frames moved and failed, and the pages that are still isolated, for lack of
    memory.
    """

    def __init__(self) -> None:
        self.migrated = 0
        self.failed = 0
        self.left: list[int] = []


def migrate_folio(vmscan: Vmscan, src: int, dst: int) -> bool:
    """Move the isolated page at ``src`` to the allocated block ``dst`` of the same order. False: busy, nothing
    changed.
    """
    mem = vmscan.mem
    order = mem.order[src]
    space = mem.mappings.get(mem.mapping[src])
    if space is None:
        return False
    index = mem.index[src]
    # Once it is in the tree anybody may look at the new frame: it must know by then whose it is.
    mem.mapping[dst] = mem.mapping[src]
    mem.index[dst] = index
    vmscan.smp.advance(MIGRATE_NS << order)
    if not space.migrate_folio(src, dst, index):
        mem.mapping[dst] = 0
        return False
    mem.set_owner(dst, order, mem.owner[src])
    mem.flags[dst] |= mem.flags[src] & KEPT_FLAGS
    mem.touch_range(dst, dst + (1 << order))
    mem.touch_range(src, src + (1 << order))
    if order == 0:
        mem.stamp[dst] = mem.stamp[src]
    else:
        mem.stamp[dst : dst + (1 << order)] = mem.stamp[src : src + (1 << order)]
    mem.mapping[src] = 0
    mem.flags[src] = PG_HEAD
    mem.set_owner(src, order, OWNER_ISOLATED)
    vmscan.folio_add_lru(dst)
    vmscan.page_alloc.free_pages(src, order)
    return True


def migrate_pages(
    vmscan: Vmscan,
    pages: list[int],
    get_new: Callable[[int], int],
    put_new: Callable[[int, int], None],
    passes: int,
) -> MigrateResult:
    """Move isolated pages to frames from ``get_new(order)`` (-1: none left); unused ones go to ``put_new(pfn, order)``.

    What stays busy after ``passes`` passes is put back on its LRU list.
    """
    mem = vmscan.mem
    result = MigrateResult()
    todo = pages
    for _ in range(passes):
        busy: list[int] = []
        for at, src in enumerate(todo):
            order = mem.order[src]
            dst = get_new(order)
            if dst < 0:
                result.left = todo[at:]
                break
            if migrate_folio(vmscan, src, dst):
                result.migrated += 1 << order
            else:
                put_new(dst, order)
                busy.append(src)
        todo = busy
        if not busy or result.left:
            break
        vmscan.smp.point("migrate_pages")
    for src in todo:
        result.failed += 1 << mem.order[src]
        vmscan.folio_add_lru(src)
    vmscan.page_alloc.vmstat.count(PGMIGRATE_SUCCESS, result.migrated)
    vmscan.page_alloc.vmstat.count(PGMIGRATE_FAIL, result.failed)
    return result
