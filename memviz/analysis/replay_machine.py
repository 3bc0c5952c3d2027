"""The machine that a trace is replayed on: an aged memory under the simulated allocator, reclaim and compaction.

Nothing runs beside the traffic: kswapd and kcompactd do their work at once when a request wakes them, on CPU 0.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from random import Random
from typing import Final

import numpy as np
import numpy.typing as npt

from memviz.analysis.fragmentation import indices, mixed_blocks
from memviz.kernel.compaction import Compaction
from memviz.kernel.kcompactd import Kcompactd
from memviz.kernel.mmzone import PageAllocConfig
from memviz.kernel.page import (
    GFP_HIGHUSER_MOVABLE,
    GFP_KERNEL,
    GFP_RECLAIMABLE,
    MIGRATE_MOVABLE,
    MIGRATE_RECLAIMABLE,
    NR_PAGE_ORDERS,
    OWNER_ANON,
    OWNER_KERNEL,
    OWNER_NET,
    OWNER_PAGE_CACHE,
    OWNER_SLAB,
    AddressSpace,
    PageFrames,
)
from memviz.kernel.page_alloc import PageAlloc
from memviz.kernel.smp import Smp
from memviz.kernel.trace import Trace
from memviz.kernel.vmscan import Vmscan

RESIDENT: Final = 0.2
"""Of memory: what the machine's life so far has left in it."""
_RESIDENT_KERNEL: Final = 0.4  # of that: kernel memory and slabs, which stay; the rest is page cache
_ROUNDS: Final = 1
_OWNERS: Final = {MIGRATE_MOVABLE: OWNER_ANON, MIGRATE_RECLAIMABLE: OWNER_SLAB}


@dataclass(frozen=True, slots=True)
class Index:
    """The free memory of one moment. Tuples have one number an order, 0 to 10."""

    free_pages: int
    nr_free: tuple[int, ...]
    """Free blocks, as /proc/buddyinfo."""
    unusable: tuple[int, ...]
    """unusable_free_index, thousandths."""
    fragmentation: tuple[int, ...]
    """fragmentation_index, thousandths; -1000: a request would not fail."""
    mixed_blocks: int
    """Pageblocks that hold movable pages together with ones that cannot move."""


class PageCache(AddressSpace):
    """Clean page cache of nobody in the trace. Reclaim may have all of it."""

    def __init__(self) -> None:
        super().__init__()
        self.pages: dict[int, int] = {}
        self.dropped = 0

    def migrate_folio(self, old: int, new: int, index: int) -> bool:
        """It moves."""
        self.pages[index] = new
        return True

    def release_folio(self, pfn: int, index: int) -> bool:
        """It goes."""
        del self.pages[index]
        self.dropped += 1
        return True


class Traced(AddressSpace):
    """What the traffic has allocated: movable blocks can be moved, none can be taken away."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks: dict[int, tuple[int, int]] = {}  # by allocation: (pfn, order)

    def migrate_folio(self, old: int, new: int, index: int) -> bool:
        """It moves."""
        self.blocks[index] = (new, self.blocks[index][1])
        return True

    def release_folio(self, pfn: int, index: int) -> bool:
        """There is no swap."""
        return False


class ReplayMachine:
    """A page allocator with an aged memory, reclaim and compaction. ``age`` it before the first ``request``."""

    def __init__(self, mib: int, cpus: int, seed: int) -> None:
        self.trace = Trace()
        self.smp = Smp(cpus, self.trace)
        self.mem = PageFrames(mib * 256)
        self.alloc = PageAlloc(self.mem, self.smp, PageAllocConfig())
        self._random = Random(seed).random
        self._resident = int(self.mem.nr * RESIDENT)
        self.cache = PageCache()
        self.traced = Traced()

    def age(self) -> None:
        """Live through some rounds of: memory full of page cache, some of it dropped, kernel memory into the gaps.

        What is left at the end is scattered and stays. Depends on size and seed only.
        """
        kernel: list[int] = []
        for _ in range(_ROUNDS):
            cache = self._fill(GFP_HIGHUSER_MOVABLE, OWNER_PAGE_CACHE, self.mem.nr)
            self._shuffle(cache)
            gap = len(cache) // 12
            for pfn in cache[:gap]:
                self.alloc.free_pages(pfn, 0)
            for gfp, owner, part in ((GFP_KERNEL, OWNER_KERNEL, 0.3), (GFP_KERNEL | GFP_RECLAIMABLE, OWNER_SLAB, 0.5)):
                kernel += self._fill(gfp, owner, int(gap * part))
            for pfn in cache[gap:]:
                self.alloc.free_pages(pfn, 0)
            self._shuffle(kernel)
            keep = int(self._resident * _RESIDENT_KERNEL)
            for pfn in kernel[keep:]:
                self.alloc.free_pages(pfn, 0)
            del kernel[keep:]
        stays = self._fill(GFP_HIGHUSER_MOVABLE, OWNER_PAGE_CACHE, self.mem.nr)
        self._shuffle(stays)
        cached = max(0, self._resident - len(kernel))
        for pfn in stays[cached:]:
            self.alloc.free_pages(pfn, 0)
        self.alloc.drain_all_pages()
        self._employ(stays[:cached])

    def calibrate(self, free_area: tuple[int, ...]) -> None:
        """Instead of ``age``: free memory as a real zone's lay, where ``free_area`` has its free blocks of each order.

        This machine is smaller: as much is free as after ``age``, of each order the same part of it as there. A free
        block has a buddy that is not whole, so that no more of it merges than there.
        """
        whole = sum(count << order for order, count in enumerate(free_area))
        if not whole:
            raise ValueError("the zone has no free block: there is nothing to be like")
        kernel = self._fill(GFP_KERNEL, OWNER_KERNEL, int(self._resident * _RESIDENT_KERNEL / 2))
        kernel += self._fill(GFP_KERNEL | GFP_RECLAIMABLE, OWNER_SLAB, int(self._resident * _RESIDENT_KERNEL / 2))
        cache = self._fill(GFP_HIGHUSER_MOVABLE, OWNER_PAGE_CACHE, self.mem.nr)
        mine = np.zeros(self.mem.nr, np.bool_)
        mine[cache] = True
        scale = (len(kernel) + len(cache) - self._resident) / whole
        rest = 0.0
        for order in range(NR_PAGE_ORDERS - 1, -1, -1):
            wanted = free_area[order] * scale + 2 * rest  # the part of a block that is too large goes into smaller ones
            rest = wanted - int(wanted)
            for pfn in self._places(mine, order)[: int(wanted)]:
                mine[pfn : pfn + (1 << order)] = False
                for page in range(pfn, pfn + (1 << order)):
                    self.alloc.free_pages(page, 0)
        self.alloc.drain_all_pages()
        self._employ(np.flatnonzero(mine).tolist())

    def _places(self, mine: npt.NDArray[np.bool_], order: int) -> list[int]:
        """Blocks of one order to free, one of each pair of buddies, in an order of chance."""
        size = 1 << order
        top = order == NR_PAGE_ORDERS - 1
        step = size if top else 2 * size
        starts = np.arange(0, self.mem.nr // step * step, step)
        ours = np.flatnonzero(mine.reshape(-1)[: starts.size * step].reshape(-1, step).all(axis=1))
        places: list[int] = starts[ours].tolist()
        self._shuffle(places)
        return [pfn if top or self._random() < 0.5 else pfn + size for pfn in places]

    def _employ(self, cache: list[int]) -> None:
        """Life begins: reclaim and compaction at their work, ``cache`` theirs to take and to move."""
        self.vmscan = Vmscan(self.mem, self.alloc, self.smp)
        self.compaction = Compaction(self.mem, self.alloc, self.vmscan, self.smp)
        self.kcompactd = Kcompactd(self.compaction)
        self.mem.register_mapping(self.cache)
        self.mem.register_mapping(self.traced)
        for index, pfn in enumerate(cache):
            self.cache.pages[index] = pfn
            self._hand_over(pfn, self.cache, index)
        for zone in self.alloc.zones:
            zone.watermark_boost = 0
        self.trace.notable.clear()

    def _hand_over(self, pfn: int, space: AddressSpace, index: int) -> None:
        """From now on the page can be moved, and taken away if ``space`` lets go."""
        self.mem.mapping[pfn] = space.id
        self.mem.index[pfn] = index
        self.vmscan.folio_add_lru(pfn)

    def request(self, cpu: int, allocation: int, order: int, migratetype: int, gfp: int) -> bool:
        """Serve one request of the traffic; False: nothing to be had. kswapd and kcompactd run when it wakes them."""
        smp = self.smp
        smp.current = smp.cpus[cpu]
        pfn = self.alloc.alloc_pages(order, gfp, _OWNERS.get(migratetype, OWNER_NET))
        if pfn is not None:
            self.traced.blocks[allocation] = (pfn, order)
            if migratetype == MIGRATE_MOVABLE:
                self._hand_over(pfn, self.traced, allocation)
        if self.vmscan.kswapd_wanted() or self.kcompactd.ready():
            smp.current = smp.cpus[0]
            self.vmscan.kswapd_once()
            if self.kcompactd.ready():
                self.kcompactd.kcompactd_once()
        return pfn is not None

    def give_back(self, cpu: int, allocation: int) -> None:
        """The traffic frees what ``request`` got, wherever that is by now; nothing to do when it got nothing."""
        block = self.traced.blocks.pop(allocation, None)
        if block is None:
            return
        pfn, order = block
        self.smp.current = self.smp.cpus[cpu]
        if self.mem.mapping[pfn]:
            self.vmscan.folio_isolate_lru(pfn)
            self.mem.forget_mapping(pfn)
        self.alloc.free_pages(pfn, order)

    def _fill(self, gfp: int, owner: int, count: int) -> list[int]:
        """Up to ``count`` pages, fewer when memory ends."""
        got: list[int] = []
        while len(got) < count:
            pfn = self.alloc.alloc_pages(0, gfp, owner)
            if pfn is None:
                break
            got.append(pfn)
        return got

    def _shuffle(self, pfns: list[int]) -> None:
        """Fisher and Yates, from ``Random.random`` alone: its sequence is the same in every version of Python."""
        random = self._random
        for last in range(len(pfns) - 1, 0, -1):
            other = int(random() * (last + 1))
            pfns[last], pfns[other] = pfns[other], pfns[last]

    def index(self) -> Index:
        """The state of free memory: all zones together, as one zone."""
        nr_free = [0] * NR_PAGE_ORDERS
        for zone in self.alloc.zones:
            for order, blocks in enumerate(zone.nr_free_blocks()):
                nr_free[order] += blocks
        both = indices(nr_free)
        return Index(
            free_pages=sum(blocks << order for order, blocks in enumerate(nr_free)),
            nr_free=tuple(nr_free),
            unusable=both.unusable,
            fragmentation=both.fragmentation,
            mixed_blocks=mixed_blocks(np.frombuffer(self.mem.owner, np.uint8)),
        )

    def digest(self) -> str:
        """A fingerprint of where everything lies."""
        state = hashlib.blake2b(digest_size=16)
        for flat in (self.mem.owner, self.mem.order, self.mem.flags, self.mem.pageblock_mt):
            state.update(flat)
        return state.hexdigest()
