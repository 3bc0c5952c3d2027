"""The read-out line: all that is known about one page frame of a simulated machine."""

from __future__ import annotations

from memviz.kernel.filemap import FileMapping
from memviz.kernel.machine import Machine
from memviz.kernel.page import (
    MIGRATETYPE_NAMES,
    OWNER_NAMES,
    OWNER_PAGE_CACHE,
    PAGEBLOCK_ORDER,
    PG_HEAD,
    PG_PINNED,
)
from memviz.kernel.radix_tree import RadixTree
from memviz.kernel.slab import SLOT_FREE, SLOT_RCU, Slab
from memviz.kernel.xa_node import XaNode
from memviz.kernel.xarray import XArray
from memviz.snapshot import PageDetail

_NAMED = 3  # objects that a sentence names


def page_detail(machine: Machine, pfn: int) -> PageDetail | None:
    """The page frame ``pfn``; None when there is no such frame."""
    mem = machine.mem
    if not 0 <= pfn < mem.nr:
        return None
    zone = next((one.name for one in machine.page_alloc.zones if one.spans_pfn(pfn)), "none")
    block = pfn >> PAGEBLOCK_ORDER
    head = pfn
    while head > 0 and not mem.flags[head] & PG_HEAD and pfn - head < 1024:
        head -= 1
    order = mem.order[head] if mem.flags[head] & PG_HEAD and pfn < head + (1 << mem.order[head]) else 0
    return PageDetail(
        pfn=pfn,
        zone=zone,
        block=block,
        migratetype=MIGRATETYPE_NAMES[mem.pageblock_mt[block]],
        owner=OWNER_NAMES[mem.owner[pfn]],
        order=order,
        sentence=_sentence(machine, pfn, head),
    )


def _sentence(machine: Machine, pfn: int, head: int) -> str:
    mem = machine.mem
    slab = machine.slub.slab_of_page.get(pfn)
    if slab is not None:
        return _slab_sentence(slab)
    text = OWNER_NAMES[mem.owner[pfn]]
    if mem.owner[pfn] == OWNER_PAGE_CACHE:
        space = mem.mappings.get(mem.mapping[head])
        if isinstance(space, FileMapping):
            text += f" of file {space.number}, index {mem.index[head]:#x}"
    if mem.flags[head] & PG_PINNED:
        text += ", pinned for DMA"
    return text


def _slab_sentence(slab: Slab) -> str:
    used = [slot for slot, state in enumerate(slab.live) if state != SLOT_FREE]
    text = f"slab {slab.cache.name} {len(used)}/{slab.objects} used"
    if not used:
        return text
    names = [_object_name(slab, slot) for slot in used[:_NAMED]]
    named = "; ".join(name for name in names if name)
    noun = "1 object" if len(used) == 1 else f"{len(used)} objects"
    text += f", pinned by {noun}"
    if named:
        text += f": {named}" + (" …" if len(used) > _NAMED else "")
    return text


def _object_name(slab: Slab, slot: int) -> str:
    """What an object of the slab is, in words; empty when it says nothing about itself."""
    content = slab.contents[slot] if slab.contents else None
    if isinstance(content, XaNode):
        if slab.live[slot] == SLOT_RCU:
            return "a node that waits for RCU"
        tree = content.array if content.root is None else content.root
        if isinstance(tree, (XArray, RadixTree)):
            return f"{tree.name}, index {content.first_index():#x}"
        return "a node in no tree yet"
    name = getattr(content, "name", "")
    return str(name) if name else ""
