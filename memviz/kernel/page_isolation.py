"""A chosen range of memory, contiguous (``mm/page_isolation.c``, ``alloc_contig_range()`` of ``mm/page_alloc.c``).

What CMA and RDMA want: every pageblock of the range is isolated, so that nobody is given frames of it, what is in
it moves elsewhere, then the free frames are taken off the lists. Movable slabs leave when compaction may ask them
to (``Compaction.isolate_slab``). When something stays, the isolation is undone and the result says who is in the
way; pages that have moved stay where they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from memviz.kernel.buddy import free_block_of, move_freepages_block_isolate
from memviz.kernel.compact_control import MIGRATE_SYNC, WHOLE_ZONE, CompactControl
from memviz.kernel.isolate import IS_SLAB, PINS, block_pins, isolate_migratepages_block
from memviz.kernel.migrate import MAX_MIGRATE_RETRY, migrate_pages
from memviz.kernel.page import (
    GFP_HIGHUSER_MOVABLE,
    GFP_RETRY_MAYFAIL,
    MIGRATE_ISOLATE,
    MIGRATE_MOVABLE,
    OWNER_FREE,
    OWNER_HUGE,
    OWNER_ISOLATED,
    OWNER_KERNEL,
    PAGEBLOCK_NR_PAGES,
    PAGEBLOCK_ORDER,
    PG_HEAD,
    PG_LRU,
)
from memviz.kernel.trace import ALLOC_CONTIG

if TYPE_CHECKING:
    from memviz.kernel.compaction import Compaction
    from memviz.kernel.mmzone import Zone

EBUSY: Final = 16
EINVAL: Final = 22
MAX_TRIES: Final = 5  # passes over a range whose pages are busy
MAX_CANDIDATES: Final = 16  # ranges that alloc_contig tries before it gives up
SLAB_COST: Final = 16  # evacuating a slab page, in migrations of one page
BLOCK_MASK: Final = ~(PAGEBLOCK_NR_PAGES - 1)
NOT_FREE: Final = bytes(0 if owner == OWNER_FREE else 1 for owner in range(256))

Pin = tuple[str, int, int]  # whose it is, pageblock, page frame


class ContigResult:
    """What became of a contiguous allocation. ``errno`` 0: frames ``start`` to ``end`` belong to the caller, one by
    one.
    """

    def __init__(self, start: int, end: int) -> None:
        self.start = start
        self.end = end
        self.errno = 0
        self.migrated = 0  # page frames
        self.slabs_evacuated = 0
        self.in_the_way: list[Pin] = []
        self.sentence = ""

    @property
    def ok(self) -> bool:
        """Whether the range was had."""
        return self.errno == 0

    def fail(self, errno: int, sentence: str) -> ContigResult:
        """Give up, and say why."""
        self.errno = errno
        self.sentence = sentence
        return self


class PageIsolation:
    """Contiguous allocation on one machine."""

    def __init__(self, compaction: Compaction) -> None:
        self.compaction = compaction
        self.mem = compaction.mem
        self.page_alloc = compaction.page_alloc
        self.vmscan = compaction.vmscan
        self.smp = compaction.smp

    # -- for callers -----------------------------------------------------------------------------------------------

    def alloc_contig_range(self, start: int, end: int, owner: int = OWNER_KERNEL) -> ContigResult:
        """Evacuate the frames from ``start`` up to ``end`` and give them to ``owner``. May sleep."""
        result = ContigResult(start, end)
        page_zone = self.page_alloc.page_zone
        if not 0 <= start < end <= self.mem.nr or page_zone(start) is not page_zone(end - 1):
            result.fail(EINVAL, f"Pages {start:#x} to {end:#x} are not a range within one zone: choose another range.")
        else:
            zone = page_zone(start)
            isolated = self.start_isolate_page_range(zone, result)
            if result.ok:
                self.empty_range(zone, result)
            if result.ok:
                self.take_range(zone, result, owner)
            self.undo_isolate_page_range(zone, isolated)
        if result.ok:
            result.sentence = (
                f"Pages {start:#x} to {end:#x} are contiguous: {result.migrated:,} pages moved,"
                f" {result.slabs_evacuated:,} slabs evacuated."
            )
        self.smp.trace.emit(ALLOC_CONTIG, start, end - start, result.errno)
        return result

    def alloc_contig(self, nr_pages: int, owner: int = OWNER_KERNEL) -> ContigResult:
        """Find and evacuate any range of ``nr_pages`` frames (``alloc_contig_pages()``), the cheapest to empty first.

        The range is aligned to its size, rounded up to a power of two. Raises ValueError for an impossible size.
        """
        if nr_pages < 1:
            raise ValueError(f"{nr_pages} pages cannot be allocated: ask for one at least")
        candidates = self.candidates(nr_pages)
        migrated = 0
        evacuated = 0
        result = ContigResult(0, nr_pages).fail(EBUSY, "")
        for _, start in candidates[:MAX_CANDIDATES]:
            result = self.alloc_contig_range(start, start + nr_pages, owner)
            result.migrated += migrated
            result.slabs_evacuated += evacuated
            if result.ok:
                return result
            migrated = result.migrated
            evacuated = result.slabs_evacuated
        if candidates:
            return result
        result.in_the_way = self.nearest_pins(nr_pages)
        who = ", ".join(f"{name} at pfn {pfn:#x} in block {block}" for name, block, pfn in result.in_the_way)
        why = f"Every range of {nr_pages:,} pages holds something that stays"
        return result.fail(EBUSY, f"{why}; in the nearest it is {who}." if who else f"{why}.")

    def free_contig_range(self, start: int, nr_pages: int) -> None:
        """Give back frames that ``alloc_contig_range`` has given."""
        for pfn in range(start, start + nr_pages):
            self.page_alloc.free_pages(pfn, 0)

    # -- choosing --------------------------------------------------------------------------------------------------

    def candidates(self, nr_pages: int) -> list[tuple[int, int]]:
        """Ranges that could be emptied, as (cost, first frame), the cheapest first."""
        found: list[tuple[int, int]] = []
        for zone in self.page_alloc.zones:
            for start in self.aligned_starts(zone, nr_pages):
                if self.unmovable(start, start + nr_pages) < 0:
                    owners = self.mem.owner[start : start + nr_pages]
                    slab = owners.translate(IS_SLAB).count(1)
                    movable = nr_pages - slab - owners.count(OWNER_FREE)
                    found.append((movable + slab * SLAB_COST, start))
        found.sort()
        return found

    def aligned_starts(self, zone: Zone, nr_pages: int) -> range:
        """First frames of all aligned ranges in a zone whose pageblocks lie in it wholly."""
        step = 1 << (nr_pages - 1).bit_length()
        first = (zone.start_pfn + PAGEBLOCK_NR_PAGES - 1) & BLOCK_MASK
        last = (zone.end_pfn & BLOCK_MASK) - nr_pages
        return range((first + step - 1) & ~(step - 1), last + 1, step)

    def nearest_pins(self, nr_pages: int) -> list[Pin]:
        """What is in the way in the range that has least of it, each owner once."""
        best = -1
        best_count = nr_pages + 1
        for zone in self.page_alloc.zones:
            for start in self.aligned_starts(zone, nr_pages):
                count = self.mem.owner[start : start + nr_pages].translate(PINS).count(1)
                if count < best_count:
                    best, best_count = start, count
        pins: list[Pin] = []
        at = self.unmovable(best, best + nr_pages) if best >= 0 else -1
        while at >= 0:
            name = self.compaction.pins.name_of(at)
            if all(name != known for known, _, _ in pins):
                pins.append((name, at >> PAGEBLOCK_ORDER, at))
            at = self.unmovable(at + 1, best + nr_pages)
        return pins

    def unmovable(self, start: int, end: int) -> int:
        """The first frame in a range that can't be emptied, -1: none (``has_unmovable_pages()``).

        A slab page counts as unmovable unless slabs may be asked; whether its objects will go is only known then.
        """
        mem = self.mem
        at = block_pins(mem, start, end)
        while at >= 0 and self.compaction.isolate_slab is not None and IS_SLAB[mem.owner[at]]:
            at = block_pins(mem, at + 1, end)
        huge = mem.owner.find(OWNER_HUGE, start, end if at < 0 else at)
        while huge >= 0:
            head = huge
            while not mem.flags[head] & PG_HEAD:
                head -= 1
            if not mem.flags[head] & PG_LRU:
                return huge
            huge = mem.owner.find(OWNER_HUGE, head + (1 << mem.order[head]), end if at < 0 else at)
        return at

    # -- isolating -------------------------------------------------------------------------------------------------

    def start_isolate_page_range(self, zone: Zone, result: ContigResult) -> list[tuple[int, int]]:
        """Isolate every pageblock of the range; returns (first frame, migratetype) of each. Stops where something
        stays.
        """
        isolated: list[tuple[int, int]] = []
        for pfn in range(result.start & BLOCK_MASK, result.end, PAGEBLOCK_NR_PAGES):
            block = pfn >> PAGEBLOCK_ORDER
            zone.lock.lock_irq()
            pin = self.unmovable(max(pfn, result.start), min(pfn + PAGEBLOCK_NR_PAGES, result.end))
            old_mt = zone.pageblock_mt[block]
            moved = -1
            if pin < 0 and old_mt != MIGRATE_ISOLATE:
                moved = move_freepages_block_isolate(zone, pfn, MIGRATE_ISOLATE)
                if moved >= 0:
                    zone.pageblock_mt[block] = MIGRATE_ISOLATE
                    isolated.append((pfn, old_mt))
            zone.lock.unlock_irq()
            if pin >= 0:
                self.blame(result, pin)
                break
            if moved < 0:
                why = "is isolated by somebody else" if old_mt == MIGRATE_ISOLATE else "straddles the zone's end"
                result.fail(EBUSY, f"Block {block} {why}: choose another range.")
                break
        return isolated

    def undo_isolate_page_range(self, zone: Zone, isolated: list[tuple[int, int]]) -> None:
        """Give every isolated pageblock its migratetype back."""
        for pfn, old_mt in isolated:
            zone.lock.lock_irq()
            move_freepages_block_isolate(zone, pfn, old_mt)
            zone.lock.unlock_irq()

    def blame(self, result: ContigResult, pfn: int) -> None:
        """Fail because of one page frame."""
        name = self.compaction.pins.name_of(pfn)
        result.in_the_way.append((name, pfn >> PAGEBLOCK_ORDER, pfn))
        where = f"Pages {result.start:#x} to {result.end:#x}"
        result.fail(EBUSY, f"{where} cannot be emptied: {name} at pfn {pfn:#x} stays.")

    # -- emptying --------------------------------------------------------------------------------------------------

    def empty_range(self, zone: Zone, result: ContigResult) -> None:
        """Have everything in the isolated range move away; fails naming the first frame that is not free afterwards."""
        mem = self.mem
        nr_pages = result.end - result.start
        for _ in range(MAX_TRIES):
            self.page_alloc.drain_all_pages()
            self.evacuate_slabs(result)
            if mem.owner[result.start : result.end].translate(IS_SLAB).find(1) >= 0:
                break
            self.migrate_range(zone, result)
            self.page_alloc.drain_all_pages()
            if mem.owner.count(OWNER_FREE, result.start, result.end) == nr_pages:
                return
            self.smp.cond_resched()
        free = mem.owner[result.start : result.end].translate(NOT_FREE)
        self.blame(result, result.start + free.find(1))

    def evacuate_slabs(self, result: ContigResult) -> None:
        """Ask every slab in the range to leave, until one refuses."""
        isolate_slab = self.compaction.isolate_slab
        if isolate_slab is None:
            return
        at = result.start
        while True:
            offset = self.mem.owner[at : result.end].translate(IS_SLAB).find(1)
            if offset < 0:
                return
            at += offset
            nr_pages = 1 << self.mem.order[at] if self.mem.flags[at] & PG_HEAD else 1
            if not isolate_slab(at):
                return
            result.slabs_evacuated += 1
            at += nr_pages

    def migrate_range(self, zone: Zone, result: ContigResult) -> None:
        """One pass of ``__alloc_contig_migrate_range()``."""
        cc = CompactControl(zone, WHOLE_ZONE, MIGRATE_MOVABLE, MIGRATE_SYNC)
        cc.alloc_contig = cc.no_set_skip_hint = cc.ignore_skip_hint = cc.finish_pageblock = True
        start = result.start
        while start < result.end and not self.mem.flags[start] & PG_HEAD:
            start -= 1  # a folio that begins before the range reaches into it
        while start < result.end:
            end = min((start & BLOCK_MASK) + PAGEBLOCK_NR_PAGES, result.end)
            isolate_migratepages_block(self.vmscan, cc, start, end)
            pages = cc.migratepages
            cc.migratepages = []
            cc.nr_migratepages = 0
            target = self.alloc_migration_target
            done = migrate_pages(self.vmscan, pages, target, self.page_alloc.free_pages, MAX_MIGRATE_RETRY)
            result.migrated += done.migrated
            for pfn in done.left:
                self.vmscan.folio_add_lru(pfn)
            start = end

    def alloc_migration_target(self, order: int) -> int:
        """A frame anywhere else: the range itself is isolated, so nobody is given frames of it. -1: no memory."""
        pfn = self.page_alloc.alloc_pages(order, GFP_HIGHUSER_MOVABLE | GFP_RETRY_MAYFAIL, OWNER_ISOLATED)
        return -1 if pfn is None else pfn

    def take_range(self, zone: Zone, result: ContigResult, owner: int) -> None:
        """All frames are free: take them off the lists, and give back what the outermost blocks hold beyond the
        range.
        """
        mem = self.mem
        zone.lock.lock_irq()
        outer = free_block_of(zone, result.start)
        at = outer
        while 0 <= at < result.end and mem.owner[at] == OWNER_FREE:
            order = self.page_alloc.take_free_block(zone, at)
            zone.pgalloc += 1 << order
            for pfn in range(at, at + (1 << order)):
                mem.flags[pfn] = PG_HEAD
                mem.order[pfn] = 0
            mem.touch_range(at, at + (1 << order))
            at += 1 << order
        zone.lock.unlock_irq()
        for pfn in (*range(outer, result.start), *range(max(result.end, outer), at)):
            self.page_alloc.free_pages(pfn, 0)
        if at < result.end:  # somebody was faster: can't happen while the range is isolated
            for pfn in range(result.start, at):
                self.page_alloc.free_pages(pfn, 0)
            self.blame(result, at)
            return
        now_ms = self.smp.now // 1_000_000
        mem.set_owner_range(result.start, result.end, owner)
        for pfn in range(result.start, result.end):
            mem.stamp[pfn] = now_ms
        mem.touch_range(result.start, result.end)
