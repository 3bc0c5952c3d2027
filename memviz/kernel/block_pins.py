"""What pins which pageblock, written down while compaction looks for pages to move. Linux only counts failures."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from typing import TYPE_CHECKING

from memviz.kernel.compact_control import MIGRATE_ASYNC, CompactControl
from memviz.kernel.isolate import block_pins, evacuate_slabs
from memviz.kernel.page import (
    NO_PFN,
    NR_OWNERS,
    OWNER_NAMES,
    OWNER_RESERVED,
    OWNER_UNKNOWN,
    PAGEBLOCK_ORDER,
    PageFrames,
)
from memviz.kernel.request import watching
from memviz.kernel.trace import COMPACTION_PINNED

if TYPE_CHECKING:
    from memviz.kernel.page_alloc import PageAlloc


class BlockPins:
    """``pfn[block]``: the frame that pinned a pageblock when a scanner last looked, NO_PFN for none.
    ``counts[owner]``: how often frames of each owner did. ``slab_name(pfn)``, when set, names the cache of a slab
    page.
    """

    def __init__(self, mem: PageFrames, page_alloc: PageAlloc) -> None:
        self.mem = mem
        self.page_alloc = page_alloc
        self.slab_name: Callable[[int], str] | None = None
        self.pfn: array[int] = array("I", (NO_PFN,)) * mem.nr_blocks
        self.counts = [0] * NR_OWNERS

    def enter_block(
        self, cc: CompactControl, low_pfn: int, end_pfn: int, isolate_slab: Callable[[int], bool] | None
    ) -> None:
        """A scanner enters a block: have movable slabs leave, write down what pins it for good."""
        pin = block_pins(self.mem, low_pfn, end_pfn)
        if pin >= 0 and isolate_slab is not None and cc.mode != MIGRATE_ASYNC:
            cc.slabs_evacuated += evacuate_slabs(self.mem, isolate_slab, low_pfn, end_pfn)
            pin = block_pins(self.mem, low_pfn, end_pfn)
        block = low_pfn >> PAGEBLOCK_ORDER
        if pin < 0:
            self.pfn[block] = NO_PFN
            return
        cc.blocks_pinned += 1
        owner = self.mem.owner[pin]
        self.counts[owner] += 1
        if self.pfn[block] != pin:
            self.pfn[block] = pin
            self.page_alloc.trace.emit(COMPACTION_PINNED, pin, block, owner)
        self.tell(pin)

    def tell(self, pin: int) -> None:
        """Tell whoever watches the request what pins a block. NO_PFN: nothing does."""
        observer = watching(self.page_alloc)
        # Reserved memory never was a candidate: naming it would only hide who could leave.
        if observer is not None and pin != NO_PFN and self.mem.owner[pin] not in (OWNER_RESERVED, OWNER_UNKNOWN):
            observer.pinned(self.name_of(pin), pin >> PAGEBLOCK_ORDER, pin)

    def name_of(self, pfn: int) -> str:
        """Whose a page frame is: a cache's name where that is known, else its owner's."""
        name = "" if self.slab_name is None else self.slab_name(pfn)
        return name if name else OWNER_NAMES[self.mem.owner[pfn]]
