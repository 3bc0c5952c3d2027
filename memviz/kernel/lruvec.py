"""LRU lists (``struct lruvec``, ``mm/swap.c``, ``include/linux/mm_inline.h``): which pages reclaim looks at, in
which order.

Four lists, file and anonymous, inactive and active, linked through ``PageFrames.lru_next`` and ``lru_prev``: adding
and removing are O(1) and need no memory. A page is on the list that its owner and ``PG_ACTIVE`` say, while
``PG_LRU`` is set. Whoever clears ``PG_LRU`` (``folio_isolate_lru``) has the page to itself: reclaim, compaction,
truncation. Only the first frame of a larger folio is linked; sizes count page frames.

The kernel batches additions per CPU to spare ``lru_lock``. Here the links change between two scheduling points, so
a seeded run needs no lock for one page; under OS threads the lock is taken for real.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from memviz.kernel.page import (
    NO_PFN,
    OWNER_PAGE_CACHE,
    PAGEBLOCK_ORDER,
    PG_ACTIVE,
    PG_HEAD,
    PG_LRU,
    PG_REFERENCED,
    PageFrames,
)
from memviz.kernel.smp import Smp
from memviz.kernel.spinlock import SpinLock

LRU_INACTIVE_ANON: Final = 0
LRU_ACTIVE_ANON: Final = 1
LRU_INACTIVE_FILE: Final = 2
LRU_ACTIVE_FILE: Final = 3
NR_LRU_LISTS: Final = 4
LRU_ACTIVE: Final = 1  # added to an inactive list's number
LRU_FILE: Final = 2
LRU_NAMES: Final = ("inactive_anon", "active_anon", "inactive_file", "active_file")


class Lruvec:
    """The LRU lists of one node. ``size[lru]`` is in page frames; pages enter at the head and reclaim takes from the
    tail.
    """

    def __init__(self, mem: PageFrames, smp: Smp) -> None:
        self.mem = mem
        self.lock = SpinLock(smp, "lru_lock")
        self.head = [NO_PFN] * NR_LRU_LISTS
        self.tail = [NO_PFN] * NR_LRU_LISTS
        self.size = [0] * NR_LRU_LISTS
        self.activated = 0  # pages that a second access made active
        # What the flat arrays are, at hand: these are read for every page.
        self.flags = mem.flags
        self.touched = mem.touched
        self.next = mem.lru_next
        self.prev = mem.lru_prev

    def lru_of(self, pfn: int) -> int:
        """Which list a page belongs on (``folio_lru_list``)."""
        lru = LRU_INACTIVE_FILE if self.mem.owner[pfn] == OWNER_PAGE_CACHE else LRU_INACTIVE_ANON
        return lru | LRU_ACTIVE if self.flags[pfn] & PG_ACTIVE else lru

    # -- one page, for the owners of pages -----------------------------------------------------------------------------

    def on_lru(self, pfn: int) -> bool:
        """Whether the page is on a list: nobody has isolated it."""
        return self.flags[pfn] & PG_LRU != 0

    def folio_add_lru(self, pfn: int) -> None:
        """Put a page on its list. Wants owner, mapping and index set; the page may be reclaimed or moved from now
        on.
        """
        if self.lock.real is None:
            self.add(pfn)
            return
        self.lock.lock()
        self.add(pfn)
        self.lock.unlock()

    def folio_isolate_lru(self, pfn: int) -> bool:
        """Take a page off its list. False: it is on none, somebody else has it."""
        if self.lock.real is None:
            if not self.flags[pfn] & PG_LRU:
                return False
            self.delete(pfn)
            return True
        self.lock.lock()
        isolated = self.flags[pfn] & PG_LRU != 0
        if isolated:
            self.delete(pfn)
        self.lock.unlock()
        return isolated

    def mark_page_accessed(self, pfn: int) -> None:
        """Somebody used the page: unreferenced becomes referenced, referenced and inactive becomes active."""
        if self.lock.real is None:
            self.mark(pfn)
            return
        self.lock.lock()
        self.mark(pfn)
        self.lock.unlock()

    # -- lock held -----------------------------------------------------------------------------------------------------

    def mark(self, pfn: int) -> None:
        """``mark_page_accessed()``. Wants ``lock`` held, as flags change.

        Who looked the page up held no reference: a frame that is on no list may be free or another's by now.
        """
        flag = self.flags[pfn]
        if not flag & PG_LRU:
            return
        if not flag & PG_REFERENCED:
            self.flags[pfn] = flag | PG_REFERENCED
            self.touched[pfn >> PAGEBLOCK_ORDER] = 1
        elif not flag & PG_ACTIVE:
            self.delete(pfn)
            self.flags[pfn] = (self.flags[pfn] | PG_ACTIVE) & ~PG_REFERENCED
            self.activated += 1
            self.add(pfn)

    def add(self, pfn: int) -> None:
        """``lruvec_add_folio()``: at the head. Wants ``lock`` held."""
        lru = self.lru_of(pfn)
        first = self.head[lru]
        self.prev[pfn] = NO_PFN
        self.next[pfn] = first
        if first == NO_PFN:
            self.tail[lru] = pfn
        else:
            self.prev[first] = pfn
        self.head[lru] = pfn
        self.flags[pfn] |= PG_LRU
        self.touched[pfn >> PAGEBLOCK_ORDER] = 1
        self.size[lru] += 1 << self.mem.order[pfn]

    def add_tail(self, pfn: int) -> None:
        """``lruvec_add_folio_tail()``: reclaim sees it next. Wants ``lock`` held."""
        lru = self.lru_of(pfn)
        last = self.tail[lru]
        self.next[pfn] = NO_PFN
        self.prev[pfn] = last
        if last == NO_PFN:
            self.head[lru] = pfn
        else:
            self.next[last] = pfn
        self.tail[lru] = pfn
        self.flags[pfn] |= PG_LRU
        self.touched[pfn >> PAGEBLOCK_ORDER] = 1
        self.size[lru] += 1 << self.mem.order[pfn]

    def delete(self, pfn: int) -> None:
        """``lruvec_del_folio()``. Wants ``lock`` held and the page on a list."""
        lru = self.lru_of(pfn)
        before = self.prev[pfn]
        after = self.next[pfn]
        if before == NO_PFN:
            self.head[lru] = after
        else:
            self.next[before] = after
        if after == NO_PFN:
            self.tail[lru] = before
        else:
            self.prev[after] = before
        self.flags[pfn] &= ~PG_LRU
        self.touched[pfn >> PAGEBLOCK_ORDER] = 1
        self.size[lru] -= 1 << self.mem.order[pfn]

    # -- for whoever looks -----------------------------------------------------------------------------------------

    def pfns(self, lru: int) -> Iterator[int]:
        """The pages of one list, from head to tail."""
        pfn = self.head[lru]
        while pfn != NO_PFN:
            yield pfn
            pfn = self.next[pfn]

    def check(self) -> None:
        """Links, flags and sizes agree, and every page says whose it is. Raises AssertionError with one sentence."""
        linked = 0
        mem = self.mem
        for lru in range(NR_LRU_LISTS):
            before = NO_PFN
            pages = 0
            for pfn in self.pfns(lru):
                name = f"pfn {pfn:#x} on {LRU_NAMES[lru]}"
                assert self.flags[pfn] & (PG_LRU | PG_HEAD) == PG_LRU | PG_HEAD, f"{name} has no PG_LRU or is no head"
                assert self.prev[pfn] == before, f"{name} links back to {self.prev[pfn]:#x} instead of {before:#x}"
                assert self.lru_of(pfn) == lru, f"{name} belongs on {LRU_NAMES[self.lru_of(pfn)]}"
                assert mem.mapping[pfn] in mem.mappings, (
                    f"{name} has mapping {mem.mapping[pfn]}, which nobody registered"
                )
                before = pfn
                pages += 1 << mem.order[pfn]
                linked += 1
                assert linked <= mem.nr, f"{LRU_NAMES[lru]} runs in a circle"
            assert self.tail[lru] == before, f"{LRU_NAMES[lru]} ends at {before:#x}, its tail says {self.tail[lru]:#x}"
            assert self.size[lru] == pages, f"{LRU_NAMES[lru]} counts {self.size[lru]} page frames, holds {pages}"
        flagged = sum(mem.flags.count(value) for value in range(256) if value & PG_LRU)
        assert flagged == linked, f"{flagged} page frames have PG_LRU, the lists link {linked}"
