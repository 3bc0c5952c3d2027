"""Page frames, migratetypes, gfp flags: the vocabulary of ``include/linux/{mmzone,gfp_types,page-flags}.h``.

Page frames are flat arrays, one byte or word a page frame and attribute: a snapshot is a memory copy. There is no
object per page. All in all 23 bytes a page frame, where Linux spends 64 on its ``struct page``.
"""

from __future__ import annotations

from array import array
from typing import Final

from mypy_extensions import mypyc_attr

PAGE_SHIFT: Final = 12
PAGE_SIZE: Final = 4096
MAX_PAGE_ORDER: Final = 10
NR_PAGE_ORDERS: Final = 11
PAGEBLOCK_ORDER: Final = 9  # x86-64 with huge pages: 2 MiB
PAGEBLOCK_NR_PAGES: Final = 512
PAGE_ALLOC_COSTLY_ORDER: Final = 3

# enum migratetype, with CONFIG_CMA off as distributions for x86-64 servers do; ISOLATE is a pageblock bit in 7.3.
MIGRATE_UNMOVABLE: Final = 0
MIGRATE_MOVABLE: Final = 1
MIGRATE_RECLAIMABLE: Final = 2
MIGRATE_PCPTYPES: Final = 3
MIGRATE_HIGHATOMIC: Final = 3
MIGRATE_ISOLATE: Final = 4
MIGRATE_TYPES: Final = 5
MIGRATETYPE_NAMES: Final = ("Unmovable", "Movable", "Reclaimable", "HighAtomic", "Isolate")

# gfp flags. Bit numbers are ours (the kernel's change with its configuration); names and compositions are the kernel's,
# less the leading underscores of single bits (GFP_MOVABLE is __GFP_MOVABLE): inside a class Python would mangle them.
GFP_MOVABLE: Final = 0x08
GFP_RECLAIMABLE: Final = 0x10
GFP_HIGH: Final = 0x20
GFP_IO: Final = 0x40
GFP_FS: Final = 0x80
GFP_ZERO: Final = 0x100
GFP_DIRECT_RECLAIM: Final = 0x400
GFP_KSWAPD_RECLAIM: Final = 0x800
GFP_NOWARN: Final = 0x2000
GFP_RETRY_MAYFAIL: Final = 0x4000
GFP_NOFAIL: Final = 0x8000
GFP_NORETRY: Final = 0x10000
GFP_MEMALLOC: Final = 0x20000
GFP_COMP: Final = 0x40000
GFP_NOMEMALLOC: Final = 0x80000
GFP_ACCOUNT: Final = 0x400000
GFP_DMA32: Final = 0x04
GFP_DMA: Final = 0x01
GFP_HIGHMEM: Final = 0x02
GFP_RECLAIM: Final = 0xC00  # direct and kswapd
GFP_ATOMIC: Final = 0x820  # HIGH | KSWAPD_RECLAIM
GFP_NOWAIT: Final = 0x2800  # KSWAPD_RECLAIM | NOWARN
GFP_NOIO: Final = 0xC00
GFP_NOFS: Final = 0xC40
GFP_KERNEL: Final = 0xCC0  # RECLAIM | IO | FS
GFP_KERNEL_ACCOUNT: Final = 0x400CC0
GFP_USER: Final = 0xCC0
GFP_HIGHUSER_MOVABLE: Final = 0xCCA  # USER | HIGHMEM | MOVABLE
GFP_TRANSHUGE_LIGHT: Final = 0xC20CA  # (HIGHUSER_MOVABLE | COMP | NOMEMALLOC | NOWARN) without reclaim
GFP_TRANSHUGE: Final = 0xC24CA  # ... with direct reclaim

# Who owns a page frame now. Codes are a file format (recordings and themes hold them): never renumber, only add.
OWNER_UNKNOWN: Final = 0  # not managed, or nothing is known about it
OWNER_FREE: Final = 1  # in the buddy allocator
OWNER_PCP: Final = 2  # on a per-CPU list: free, but not for the buddy allocator
OWNER_ANON: Final = 3
OWNER_PAGE_CACHE: Final = 4
OWNER_SLAB_XA: Final = 5  # a slab of xa_nodes
OWNER_SLAB_VFS: Final = 6  # a slab of dentries or inodes
OWNER_SLAB: Final = 7  # any other slab
OWNER_KERNEL: Final = 8  # unmovable: stacks, page tables of the kernel, drivers
OWNER_NET: Final = 9  # network buffers
OWNER_HUGE: Final = 10  # a huge page: the block that somebody asked for
OWNER_PINNED: Final = 11  # pinned for DMA (RDMA, VFIO)
OWNER_PAGE_TABLE: Final = 12
OWNER_RESERVED: Final = 13  # firmware, the kernel image, struct pages: never given to the allocator
OWNER_ISOLATED: Final = 14  # taken off by compaction or alloc_contig, on its way
OWNER_NAMES: Final = (
    "unknown",
    "free",
    "per-CPU list",
    "anonymous",
    "page cache",
    "xa_node slab",
    "dentry, inode slab",
    "other slab",
    "unmovable",
    "network",
    "huge page",
    "pinned",
    "page table",
    "reserved",
    "isolated",
)
NR_OWNERS: Final = 15
# OWNER_RUNS[owner][order]: what a block's owner bytes look like.
OWNER_RUNS: Final = tuple(
    tuple(bytes((who,)) * (1 << order) for order in range(NR_PAGE_ORDERS)) for who in range(NR_OWNERS)
)

# Flag bits of PageFrames.flags.
PG_HEAD: Final = 0x01  # first frame of an allocated or free block: order[pfn] is valid
PG_BUDDY: Final = 0x02  # head of a free block in a free list
PG_LRU: Final = 0x04  # on an LRU list: reclaim and compaction may isolate it
PG_ACTIVE: Final = 0x08
PG_REFERENCED: Final = 0x10
PG_LOCKED: Final = 0x20
PG_DIRTY: Final = 0x40
PG_PINNED: Final = 0x80  # elevated reference (get_user_pages): can't be migrated

NO_PFN: Final = 0xFFFFFFFF


@mypyc_attr(allow_interpreted_subclasses=True)
class AddressSpace:
    """Who a movable page belongs to: a file's page cache or a process's memory (``struct address_space``, rmap).

    Registered with ``PageFrames.register_mapping``; ``PageFrames.mapping[pfn]`` holds its ``id``, ``index[pfn]`` where
    in it the page is. Reclaim and compaction reach the owner of a page only through these two calls.
    """

    def __init__(self) -> None:
        self.id = 0

    def migrate_folio(self, old: int, new: int, index: int) -> bool:
        """Make the page at ``index`` live in frame ``new`` instead of ``old``. False: busy, stays where it is.

        The caller copies attributes (owner, mapping, index, LRU) and frees ``old``.
        """
        raise NotImplementedError

    def release_folio(self, pfn: int, index: int) -> bool:
        """Reclaim takes the page at ``index`` away (clean page cache: drop it from the tree). False: refused.

        The caller frees the page frame.
        """
        raise NotImplementedError


class PageFrames:
    """All page frames of a machine: ``mem_map`` as flat arrays of length ``nr`` (indexed by pfn, from 0)."""

    def __init__(self, nr: int) -> None:
        self.nr = nr
        self.nr_blocks = (nr + PAGEBLOCK_NR_PAGES - 1) // PAGEBLOCK_NR_PAGES
        self.owner = bytearray(nr)  # OWNER_*, on every frame of a block, tails included
        self.order = bytearray(nr)  # valid where PG_HEAD
        self.flags = bytearray(nr)  # PG_*
        zero4 = bytes(4 * nr)
        self.mapping = array("I", zero4)  # AddressSpace.id, 0: none
        self.index = array("I", zero4)  # where in the mapping
        self.lru_next = array("I", zero4)  # LRU links, valid where PG_LRU
        self.lru_prev = array("I", zero4)
        self.stamp = array("I", zero4)  # allocated when: virtual time in ms
        self.pageblock_mt = bytearray(self.nr_blocks)  # MIGRATE_* of each pageblock
        self.pageblock_skip = bytearray(self.nr_blocks)  # compaction's skip hint
        # Pageblocks of which a frame's owner, order, flags or stamp was written, as soft-dirty bits tell: whoever
        # changes one of these sets it, whoever copies them clears it. No part of what the machine does.
        self.touched = bytearray(b"\1") * self.nr_blocks
        self.mappings: dict[int, AddressSpace] = {}
        self.next_mapping = 1

    def register_mapping(self, space: AddressSpace) -> int:
        """Give ``space`` an id that page frames can carry; returns it."""
        space.id = self.next_mapping
        self.next_mapping += 1
        self.mappings[space.id] = space
        return space.id

    def unregister_mapping(self, space: AddressSpace) -> None:
        """Forget ``space``: no page frame may carry its id any more."""
        del self.mappings[space.id]

    def set_owner_range(self, start: int, end: int, owner: int) -> None:
        """Say who owns the page frames from ``start`` up to ``end``."""
        self.owner[start:end] = bytes((owner,)) * (end - start)
        self.touch_range(start, end)

    def forget_mapping(self, pfn: int) -> None:
        """The page leaves its mapping and may be freed: what it was on the LRU is over (``__page_cache_release``)."""
        self.mapping[pfn] = 0
        self.flags[pfn] &= PG_HEAD
        self.touched[pfn >> PAGEBLOCK_ORDER] = 1

    def set_owner(self, pfn: int, order: int, owner: int) -> None:
        """Say who owns the block of ``1 << order`` frames at ``pfn`` (head and tails)."""
        self.touched[pfn >> PAGEBLOCK_ORDER] = 1
        if order == 0:
            self.owner[pfn] = owner
        else:
            self.owner[pfn : pfn + (1 << order)] = OWNER_RUNS[owner][order]
            if order > PAGEBLOCK_ORDER:
                self.touch_range(pfn, pfn + (1 << order))

    def touch_range(self, start: int, end: int) -> None:
        """Frames from ``start`` up to ``end`` were written."""
        first = start >> PAGEBLOCK_ORDER
        last = (end + PAGEBLOCK_NR_PAGES - 1) >> PAGEBLOCK_ORDER
        self.touched[first:last] = b"\1" * (last - first)


def gfp_migratetype(gfp: int) -> int:
    """The migratetype of a request: the two mobility bits of its gfp mask, as ``gfp_migratetype()`` reads them."""
    if gfp & GFP_MOVABLE:
        return MIGRATE_MOVABLE
    if gfp & GFP_RECLAIMABLE:
        return MIGRATE_RECLAIMABLE
    return MIGRATE_UNMOVABLE
