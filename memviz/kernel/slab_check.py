"""What must hold for a cache between operations: counts against freelists, lists, page frames."""

from __future__ import annotations

from memviz.kernel.kmem_cache import KmemCache
from memviz.kernel.page import PAGE_SHIFT
from memviz.kernel.slab import ON_CPU, ON_CPU_PARTIAL, ON_NOTHING, ON_PARTIAL, SLOT_FREE, SLOT_RCU, Slab


def check_cache(cache: KmemCache) -> int:
    """Verify one cache; how many page frames it owns. Raises AssertionError with one sentence."""
    cached = cached_slots(cache)
    frames = 0
    total = rcu = 0
    for pfn, slab in cache.slabs.items():
        assert (slab.pfn, slab.cache) == (pfn, cache), f"{slab!r} is filed under pfn {pfn:#x} of {cache.name}"
        check_slots(slab, cached.pop(pfn, []))
        frames += check_frames(cache, slab)
        total += slab.objects
        rcu += slab.live.count(SLOT_RCU)
    assert not cached, f"cache {cache.name} keeps objects of pages {list(cached)} that are no slabs of it"
    assert total == cache.total_objects, f"cache {cache.name} counts {cache.total_objects} objects, its slabs {total}"
    assert rcu == cache.nr_rcu, f"cache {cache.name} counts {cache.nr_rcu} objects waiting for RCU, its slabs {rcu}"
    for slab in cache.rcu_slabs.values():
        assert slab.inuse == 0 == slab.used(), f"{slab!r} was discarded with objects in it"
        frames += check_frames(cache, slab)
    check_lists(cache)
    return frames


def cached_slots(cache: KmemCache) -> dict[int, list[int]]:
    """Slots that sit in CPUs' caches, by first page frame of their slab."""
    cached: dict[int, list[int]] = {}
    for obj in cache.cached_objects():
        slab, slot = cache.find_slot(obj)
        cached.setdefault(slab.pfn, []).append(slot)
    return cached


def check_slots(slab: Slab, cached: list[int]) -> None:
    """Every object of a slab is exactly one of: in use, on the freelist, in a CPU's cache."""
    where = bytearray(slab.objects)
    for slot in slab.freelist + cached:
        assert 0 <= slot < slab.objects, f"{slab!r} has a free object in slot {slot}"
        assert not where[slot], f"slot {slot} of {slab!r} is free twice"
        assert slab.live[slot] == SLOT_FREE, f"slot {slot} of {slab!r} is free and in use"
        where[slot] = 1
    lost = slab.live.count(SLOT_FREE) - len(slab.freelist) - len(cached)
    assert lost == 0, f"{slab!r} has lost {lost} free objects: they are on no freelist and in no CPU's cache"
    free = len(slab.freelist)
    assert slab.inuse + free == slab.objects, f"{slab!r} counts {slab.inuse} in use, but has {free} on its freelist"
    if slab.contents:
        assert len(slab.contents) == slab.objects, f"{slab!r} has content for {len(slab.contents)} objects"


def check_frames(cache: KmemCache, slab: Slab) -> int:
    """The page frames of a slab are its own; how many they are."""
    owner = cache.pages.mem.owner
    count = 1 << slab.order
    for frame in range(slab.pfn, slab.pfn + count):
        assert cache.slab_of_page.get(frame) is slab, f"page frame {frame:#x} does not lead to {slab!r}"
        assert owner[frame] == cache.owner, f"page frame {frame:#x} of {slab!r} is marked as owner {owner[frame]}"
    assert slab.base == slab.pfn << PAGE_SHIFT, f"{slab!r} begins at {slab.base:#x}"
    return count


def check_lists(cache: KmemCache) -> None:
    """The partial list holds exactly the slabs that have room and belong to nobody else."""
    partial = cache.node.partial
    listed = partial.slabs()
    assert len(listed) == partial.nr, f"cache {cache.name} counts {partial.nr} partial slabs and lists {len(listed)}"
    for slab in listed:
        assert slab.place == ON_PARTIAL, f"{slab!r} is on the partial list but believes to be at {slab.place}"
        assert slab.inuse < slab.objects, f"{slab!r} is on the partial list but full"
        assert not slab.isolated, f"{slab!r} is on the partial list but isolated"
    counts = [0] * 6
    for slab in cache.slabs.values():
        counts[slab.place] += 1
        if slab.place == ON_NOTHING:
            assert slab.inuse == slab.objects, f"{slab!r} has room but is on no list"
    assert counts[ON_PARTIAL] == partial.nr, (
        f"{counts[ON_PARTIAL]} slabs of {cache.name} believe to be partial, not all"
    )
    owned = len(cache.off_list_slabs())
    assert counts[ON_CPU] + counts[ON_CPU_PARTIAL] == owned, f"CPUs have {owned} slabs of {cache.name}, not all know it"
