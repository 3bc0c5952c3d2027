"""Page flags (/proc/kpageflags) to what a Snapshot says of page frames: owner, order, flags.

Words are classified in chunks of 64 Ki that stay in the cache: two table look-ups of 16 bits each, and the higher rank
wins. The order of a free block is not exported: the buddy allocator merges whatever can be merged, so in a run of free
frames it is the largest aligned block that fits. The order of any other block is the distance from its head to the
last of its tails.

*No flag at all* means one of three things: the kernel's own memory (stacks, drivers: nobody flags those), a page on a
per-CPU list, or memory that the allocator does not manage (taken by a hypervisor, not brought up yet). A zone says how
much of each it has, and that decides:

* as much flagless memory as is too much to be managed is not managed, the longest runs first;
* what the trace saw freed and not allocated since is on a per-CPU list. The others that must be on one are taken from
  pageblocks that hold nothing else unmovable, the blocks with the fewest first: the kernel keeps its own together.
"""

from __future__ import annotations

import itertools
import threading
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from memviz.kernel import page
from memviz.snapshot import U8, U64, Pages, Zone

CHUNK: Final = 1 << 16
UNIT: Final = 1 << page.MAX_PAGE_ORDER
"""Page frames that are classified together at least: no free block crosses its border."""
UNTOUCHED, ALLOCATED, IN_BUDDY, FREED, LISTED = 0, 1, 2, 3, 4
"""What the trace last said of a page frame; LISTED: nothing, but it must be on a per-CPU list."""

# Bits of include/uapi/linux/kernel-page-flags.h, and of 32 on those that fs/proc/page.c adds.
KPF: Final = {
    "locked": 0,
    "error": 1,
    "referenced": 2,
    "uptodate": 3,
    "dirty": 4,
    "lru": 5,
    "active": 6,
    "slab": 7,
    "writeback": 8,
    "reclaim": 9,
    "buddy": 10,
    "mmap": 11,
    "anon": 12,
    "swapcache": 13,
    "swapbacked": 14,
    "head": 15,
    "tail": 16,
    "huge": 17,
    "unevictable": 18,
    "hwpoison": 19,
    "nopage": 20,
    "ksm": 21,
    "thp": 22,
    "offline": 23,
    "zero": 24,
    "idle": 25,
    "pgtable": 26,
    "reserved": 32,
}

_NONE, _KERNEL, _CACHE, _ANON, _FREE, _SLAB, _TABLE, _HUGE, _RESERVED, _UNKNOWN = range(10)
# What a class becomes. The rank decides where a word says two things: leftovers of a slab's fields read as "anonymous".
_OWNERS: Final = np.array(
    [
        page.OWNER_KERNEL,
        page.OWNER_KERNEL,
        page.OWNER_PAGE_CACHE,
        page.OWNER_ANON,
        page.OWNER_FREE,
        page.OWNER_SLAB,
        page.OWNER_PAGE_TABLE,
        page.OWNER_HUGE,
        page.OWNER_RESERVED,
        page.OWNER_UNKNOWN,
    ],
    np.uint8,
)
_FIXED: Final = np.isin(
    np.arange(256),
    (page.OWNER_SLAB_XA, page.OWNER_SLAB_VFS, page.OWNER_SLAB, page.OWNER_PAGE_TABLE, page.OWNER_RESERVED),
)
"""Owners that show that a pageblock is one of the kernel's."""
_FLAGGED: Final = np.isin(
    np.arange(256),
    (page.OWNER_FREE, page.OWNER_ANON, page.OWNER_PAGE_CACHE, page.OWNER_HUGE, page.OWNER_PAGE_TABLE, page.OWNER_SLAB),
)
"""Owners whose page frames carry flags."""
_TAIL: Final = 255
_TAIL_BIT: Final = np.uint16(1 << (KPF["tail"] - 16))
_THP_BIT: Final = np.uint16(1 << (KPF["thp"] - 16))
_HEAD_BIT: Final = np.uint16(1 << KPF["head"])
_BUDDY_WORD: Final = 1 << KPF["buddy"]
_PAGE_FLAGS: Final = (
    ("lru", page.PG_LRU),
    ("active", page.PG_ACTIVE),
    ("referenced", page.PG_REFERENCED),
    ("locked", page.PG_LOCKED),
    ("dirty", page.PG_DIRTY),
)
_LOW_RANKS: Final = (
    ("uptodate", _CACHE),
    ("lru", _CACHE),
    ("writeback", _CACHE),
    ("mmap", _CACHE),
    ("head", _KERNEL),
    ("anon", _ANON),
    ("swapcache", _ANON),
    ("buddy", _FREE),
    ("slab", _SLAB),
)
_HIGH_RANKS: Final = (
    ("tail", _KERNEL),
    ("zero", _KERNEL),
    ("unevictable", _CACHE),
    ("pgtable", _TABLE),
    ("huge", _HUGE),
    ("hwpoison", _RESERVED),
    ("offline", _UNKNOWN),
    ("nopage", _UNKNOWN),
)


def _table(ranks: tuple[tuple[str, int], ...], shift: int) -> npt.NDArray[np.uint16]:
    """Rank << 8 | PG_* flags for every value of 16 bits of a word."""
    index = np.arange(1 << 16, dtype=np.uint32)
    rank = np.zeros(1 << 16, np.uint16)
    for name, value in ranks:
        np.maximum(rank, ((index >> (KPF[name] - shift)) & 1).astype(np.uint16) * np.uint16(value), out=rank)
    flags = np.zeros(1 << 16, np.uint16)
    for name, flag in _PAGE_FLAGS if shift == 0 else ():
        flags |= ((index >> KPF[name]) & 1).astype(np.uint16) * np.uint16(flag)
    table: npt.NDArray[np.uint16] = (rank << np.uint16(8)) | flags
    return table


_LOW: Final = _table(_LOW_RANKS, 0)
_HIGH: Final = (_table(_HIGH_RANKS, 16) >> 8).astype(np.uint8)


class FlagReader(Protocol):
    """Who reads page flags."""

    def page_flags_into(self, start: int, words: U64) -> int:
        """Fill ``words`` with the flags of the page frames from ``start``; returns how many there were."""


class FrameMap:
    """What is known of every page frame. Arrays are as long as memory is, rounded up to ``UNIT``."""

    def __init__(self, nr: int) -> None:
        room = -(-nr // UNIT) * UNIT
        self.nr = nr
        self.owner = np.zeros(room, np.uint8)
        self.order = np.full(room, _TAIL, np.uint8)
        self.flags = np.zeros(room, np.uint8)
        self.stamp = np.zeros(room, np.uint32)
        self.traced = np.zeros(room, np.uint8)
        self.cache = np.zeros(room, np.uint16)
        """Which slab cache a frame belongs to (``Cache.id``), 0 where nobody knows."""
        self.cache_owner = np.full(1 << 16, page.OWNER_SLAB, np.uint8)
        """What owner the slabs of a cache are shown as."""
        self.bare = np.zeros(room // UNIT, np.uint32)
        """Frames without any flag, by unit."""
        self.outside = np.zeros(room // UNIT, np.uint32)
        """Frames that their flags call holes or reserved, by unit."""
        self.unmanaged = np.zeros(room // UNIT, np.bool_)
        """Units that nobody manages: as long as they are bare."""
        self.dirty = np.zeros(room // UNIT, np.bool_)
        """Units that the trace has touched since they were swept."""
        self.unsettled = np.zeros(room // UNIT, np.bool_)
        """Units whose free blocks have changed since their orders were found."""
        self.trusted = False
        """Every allocation since the last sweep was seen: memory that lost its flags without one is on a list."""
        self.learned = False

    def pages(self) -> Pages:
        """Copies, as a Snapshot holds them."""
        self.settle()
        arrays = [one[: self.nr].copy() for one in (self.owner, self.order, self.flags)]
        stamp = self.stamp[: self.nr].copy()
        stamp.flags.writeable = False
        for array in arrays:
            array.flags.writeable = False
        return Pages(arrays[0], arrays[1], arrays[2], stamp)

    def classify(self, start: int, words: U64) -> None:
        """Take in the flags of the page frames from ``start`` (a multiple of ``UNIT``), up to ``CHUNK`` of them."""
        short = -words.size % UNIT
        if short:
            words = np.concatenate((words, np.full(short, 1 << KPF["nopage"], np.uint64)))
        end = start + words.size
        first = int(words[0])
        if first in (0, _BUDDY_WORD) and not (words != first).any():
            self._uniform(start, end, first)
            return
        parts = words.view("<u2").reshape(-1, 4)
        low, high = parts[:, 0], parts[:, 1]
        found = _LOW.take(low)
        rank = (found >> 8).astype(np.uint8)
        np.maximum(rank, _HIGH.take(high), out=rank)
        reserved = parts[:, 2] & np.uint16(1)
        if reserved.any():
            rank[(reserved != 0) & (rank != _UNKNOWN)] = _RESERVED
        flags = found.astype(np.uint8)
        bare = words == 0
        units = slice(start // UNIT, end // UNIT)
        self.dirty[units] = self.unsettled[units] = False
        self.bare[units] = np.count_nonzero(bare.reshape(-1, UNIT), axis=1)
        self.outside[units] = np.count_nonzero((rank >= _RESERVED).reshape(-1, UNIT), axis=1)
        self.unmanaged[units] &= self.bare[units] == UNIT
        owner = self.owner[start:end]
        if self.trusted:
            self._lost_flags(start, end, bare)
        _OWNERS.take(rank, out=owner, mode="clip")
        order = self.order[start:end]
        tail = (high & _TAIL_BIT) != 0
        self._block_orders(order, rank, tail, low, flags)
        if ((high & _THP_BIT) != 0).any():
            _mark_huge(owner, order, high, rank)
        free_orders(order, rank == _FREE, flags)
        np.putmask(order, rank >= _RESERVED, _TAIL)
        self.flags[start:end] = flags
        self._bare_frames(start, end, bare)
        if self.learned:
            self._slabs(start, end, rank == _SLAB)

    def _uniform(self, start: int, end: int, word: int) -> None:
        """A whole chunk without flags, or all free: nothing to look up."""
        units = slice(start // UNIT, end // UNIT)
        self.outside[units] = 0
        self.dirty[units] = self.unsettled[units] = False
        if word:
            self.owner[start:end] = page.OWNER_FREE
            self.order[start:end] = _TAIL
            self.order[start:end:UNIT] = page.MAX_PAGE_ORDER
            self.flags[start:end] = 0
            self.flags[start:end:UNIT] = page.PG_HEAD | page.PG_BUDDY
            self.bare[units] = 0
            self.unmanaged[units] = False
        else:
            if self.trusted:
                self._lost_flags(start, end, np.ones(end - start, np.bool_))
            self.owner[start:end] = page.OWNER_KERNEL
            self.order[start:end] = 0
            self.flags[start:end] = page.PG_HEAD
            self.bare[units] = UNIT
            self._bare_frames(start, end, None)
        if self.learned:
            self.cache[start:end] = 0

    def _block_orders(
        self, order: U8, rank: U8, tail: npt.NDArray[np.bool_], low: npt.NDArray[np.uint16], flags: U8
    ) -> None:
        """Orders of blocks that are not free: a head and its tails."""
        np.negative(tail.view(np.uint8), out=order)  # 255 where there is a tail
        heads = np.flatnonzero(low & _HEAD_BIT)
        heads = heads[heads + 1 < order.size]
        heads = heads[tail[heads + 1]]
        if heads.size:
            ends = np.flatnonzero(np.append(tail[:-1] & ~tail[1:], tail[-1]))
            lengths = ends[np.searchsorted(ends, heads)] - heads + 1
            # floor(log2): lengths are powers of two, or cut off by the end of the chunk
            sizes = np.frexp(lengths.astype(np.float32))[1] - 1
            order[heads] = np.minimum(sizes, page.MAX_PAGE_ORDER)
        flags |= ~tail.view(np.uint8) & np.uint8(page.PG_HEAD)

    def _lost_flags(self, start: int, end: int, bare: npt.NDArray[np.bool_]) -> None:
        """Frames that had an owner and have no flag now, though nobody allocated them: they are on a per-CPU list."""
        traced = self.traced[start:end]
        traced[bare & _FLAGGED[self.owner[start:end]] & (traced != ALLOCATED)] = FREED

    def _bare_frames(self, start: int, end: int, bare: npt.NDArray[np.bool_] | None) -> None:
        """Frames without flags: on a per-CPU list where the trace saw them freed; not managed where a zone says so."""
        owner = self.owner[start:end]
        listed = self.traced[start:end] >= FREED
        if bare is not None:
            listed &= bare
        if listed.any():
            owner[listed] = page.OWNER_PCP
        for unit in (np.flatnonzero(self.unmanaged[start // UNIT : end // UNIT]) + start // UNIT).tolist():
            self.owner[unit * UNIT : (unit + 1) * UNIT] = page.OWNER_UNKNOWN
            self.order[unit * UNIT : (unit + 1) * UNIT] = _TAIL
            self.flags[unit * UNIT : (unit + 1) * UNIT] = 0

    def _slabs(self, start: int, end: int, slab: npt.NDArray[np.bool_]) -> None:
        """Slabs whose cache is known are shown as that cache's; frames that left their slab are forgotten."""
        cache = self.cache[start:end]
        cache[~slab] = 0
        known = cache != 0
        self.owner[start:end][known] = self.cache_owner[cache[known]]

    def settle(self) -> None:
        """Blocks of free frames as the buddy allocator would have merged and split them."""
        units = np.flatnonzero(self.unsettled)
        if not units.size:
            return
        self.unsettled[units] = False
        free = (self.owner.reshape(-1, UNIT)[units] == page.OWNER_FREE).ravel()
        order = self.order.reshape(-1, UNIT)[units].ravel()
        flags = self.flags.reshape(-1, UNIT)[units].ravel()
        order[free] = 0
        flags[free] = 0
        free_orders(order, free, flags)
        self.order.reshape(-1, UNIT)[units] = order.reshape(-1, UNIT)
        self.flags.reshape(-1, UNIT)[units] = flags.reshape(-1, UNIT)

    def forget(self) -> None:
        """Something was not traced: what the trace said of page frames may have changed since. Sweeps tell the rest."""
        freed = self.traced == FREED
        self.traced[:] = UNTOUCHED
        self.traced[freed] = LISTED
        self.trusted = False

    def find_unmanaged(self, zones: tuple[Zone, ...]) -> None:
        """After a whole sweep: mark the flagless memory that is too much to be the kernel's own."""
        self.unmanaged[:] = False
        for zone in zones:
            end = min(zone.start_pfn + zone.spanned, self.nr)
            units = slice(zone.start_pfn // UNIT, -(-end // UNIT))
            bare = int(self.bare[units].sum())
            flagged = (units.stop - units.start) * UNIT - bare - int(self.outside[units].sum())
            spare = (bare - max(0, zone.managed - flagged)) // UNIT
            if spare > 0:
                self._mark(units, spare)

    def find_listed(self, zones: tuple[Zone, ...]) -> None:
        """After a whole sweep: mark the flagless frames that must be on a per-CPU list, as many as the zones say."""
        self.traced[self.traced == LISTED] = UNTOUCHED
        kernel = (self.owner == page.OWNER_KERNEL) | (self.owner == page.OWNER_PCP)
        single = kernel & (self.order == 0)
        blocks = self.owner.size // page.PAGEBLOCK_NR_PAGES
        fixed = _FIXED[self.owner] | (kernel & ~single)
        mixed = fixed.reshape(blocks, -1).any(axis=1)
        known = self.owner == page.OWNER_PCP
        known &= self.traced == FREED
        self.owner[kernel & ~known] = page.OWNER_KERNEL
        alone = np.count_nonzero((single & ~known).reshape(blocks, -1), axis=1)
        alone[mixed] = 0
        for zone in zones:
            first, last = zone.start_pfn // page.PAGEBLOCK_NR_PAGES, (zone.start_pfn + zone.spanned) // 512
            counts = alone[first:last]
            left = zone.pcp - int(np.count_nonzero(known[zone.start_pfn : zone.start_pfn + zone.spanned]))
            ranked = np.flatnonzero(counts)
            ranked = ranked[np.argsort(counts[ranked], kind="stable")]
            chosen = ranked[np.cumsum(counts[ranked]) <= left] + first
            listed = np.zeros(blocks, np.bool_)
            listed[chosen] = True
            here = single & ~known & np.repeat(listed, page.PAGEBLOCK_NR_PAGES)
            self.owner[here] = page.OWNER_PCP
            self.traced[here] = LISTED

    def _mark(self, units: slice, spare: int) -> None:
        """Mark ``spare`` units among those that are bare, the longest runs first, the end of a run first."""
        empty = np.concatenate(([False], self.bare[units] == UNIT, [False]))
        edges = np.flatnonzero(empty[1:] != empty[:-1])
        runs = sorted(zip(edges[0::2].tolist(), edges[1::2].tolist(), strict=True), key=lambda run: run[0] - run[1])
        for begin, end in runs:
            begin = max(begin, end - spare)
            first, last = units.start + begin, units.start + end
            self.unmanaged[first:last] = True
            self.owner[first * UNIT : last * UNIT] = page.OWNER_UNKNOWN
            self.order[first * UNIT : last * UNIT] = _TAIL
            self.flags[first * UNIT : last * UNIT] = 0
            spare -= end - begin
            if spare <= 0:
                return


def _mark_huge(owner: U8, order: U8, high: npt.NDArray[np.uint16], rank: U8) -> None:
    """Anonymous folios of a pageblock or more are huge pages. Any other folio is what its flags say, however large:
    the page cache has large ones too, and counts them as its own."""
    heads = np.flatnonzero((order >= page.PAGEBLOCK_ORDER) & (order != _TAIL) & ((high & _THP_BIT) != 0))
    for head in heads[rank[heads] == _ANON].tolist():
        owner[head : head + (1 << int(order[head]))] = page.OWNER_HUGE


def free_orders(order: U8, free: npt.NDArray[np.bool_], flags: U8) -> None:
    """Orders of free blocks: two free neighbours that make an aligned block of the next order are one block."""
    if not free.any():
        return
    level = free.view(np.uint8)
    for size in range(1, page.NR_PAGE_ORDERS):
        level = (level.view("<u2") == 0x0101).view(np.uint8)
        merged = np.flatnonzero(level)
        if not merged.size:
            break
        heads = merged << size
        order[heads] = size
        order[heads + (1 << (size - 1))] = _TAIL
    heads_of_all = (order != _TAIL).view(np.uint8)
    # what a free frame may still carry of its last owner is over
    flags *= np.uint8(1) - free.view(np.uint8)
    flags |= free.view(np.uint8) * heads_of_all * np.uint8(page.PG_BUDDY | page.PG_HEAD)


def read_units(reader: FlagReader, frames: FrameMap, start: int, count: int, words: U64) -> None:
    """Read and classify ``count`` page frames from ``start``, a multiple of ``UNIT``, with ``words`` as room."""
    room = words[: min(count, words.size)]
    got = reader.page_flags_into(start, room)
    room[got:] = 1 << KPF["nopage"]  # memory has ended, or was taken out while we read
    frames.classify(start, room)


def sweep(reader: FlagReader, frames: FrameMap, threads: int = 2) -> None:
    """Read and classify all page frames. Raises what the reader raises."""
    chunks = itertools.count()
    failures: list[BaseException] = []

    def work() -> None:
        words = np.zeros(CHUNK, np.uint64)
        room = frames.owner.size
        try:
            while not failures and (start := next(chunks) * CHUNK) < room:
                read_units(reader, frames, start, min(CHUNK, room - start), words)
        except BaseException as error:
            failures.append(error)

    others = [threading.Thread(target=work, name="memviz-sweep") for _ in range(threads - 1)]
    for thread in others:
        thread.start()
    work()
    for thread in others:
        thread.join()
    if failures:
        raise failures[0]


def counts(frames: Pages) -> dict[str, int]:
    """Page frames by owner, those that there are."""
    found = np.bincount(frames.owner, minlength=page.NR_OWNERS)
    return {name: int(found[owner]) for owner, name in enumerate(page.OWNER_NAMES) if found[owner]}
