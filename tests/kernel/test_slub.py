"""Caches: both front ends, counted right; slabs, lists, kmalloc; what is forbidden is reported."""

from __future__ import annotations

import pytest

from memviz.kernel.mmzone import PageAllocConfig
from memviz.kernel.page import GFP_ATOMIC, GFP_KERNEL, OWNER_FREE, OWNER_PCP, OWNER_SLAB, OWNER_SLAB_XA, PageFrames
from memviz.kernel.page_alloc import PageAlloc
from memviz.kernel.rcu import Rcu
from memviz.kernel.schedule import RandomScheduler
from memviz.kernel.slub import SLAB_TYPESAFE_BY_RCU, KmemCache, Slub, SlubConfig
from memviz.kernel.smp import KernelBug, Smp
from memviz.kernel.trace import KMEM_CACHE_ALLOC, KMEM_CACHE_FREE, SLAB_DISCARD, SLAB_NEW, Trace

FRONT_ENDS = ("classic", "sheaves")
SIZES = (8, 64, 192, 256, 576, 1128, 4096, 8192)


def kernel(front_end: str = "sheaves", cpus: int = 2, mib: int = 32, seed: int = 1, **config: object) -> Slub:
    """Slabs over a real page allocator."""
    smp = Smp(cpus, Trace(), RandomScheduler(seed))
    pages = PageAlloc(PageFrames(mib * 256), smp, PageAllocConfig())
    return Slub(pages, Rcu(smp), smp, SlubConfig(front_end, **config))  # type: ignore[arg-type]


class Cell:
    """Content of an object: what its user wrote into it."""

    def __init__(self, addr: int) -> None:
        self.addr = addr
        self.key = -1  # constructed state: in nobody's use


class Keys:
    """A user of a movable cache: objects found by key, as an index finds them."""

    def __init__(self, cache: KmemCache) -> None:
        self.cache = cache
        self.at: dict[int, int] = {}

    def insert(self, key: int) -> None:
        obj = self.cache.alloc()
        assert obj is not None
        self.cell(obj).key = key
        self.at[key] = obj

    def remove(self, key: int) -> None:
        obj = self.at.pop(key)
        self.cell(obj).key = -1
        self.cache.free(obj)

    def cell(self, obj: int) -> Cell:
        cell = self.cache.content(obj)
        assert isinstance(cell, Cell)
        return cell

    def isolate(self, objects: list[int]) -> object:
        return 1

    def migrate(self, objects: list[int], private: object) -> None:
        for old in objects:
            key = self.cell(old).key
            if key < 0:
                continue
            new = self.cache.alloc()
            assert new is not None
            self.cell(new).key = key
            self.cell(old).key = -1
            self.at[key] = new
            self.cache.free(old)

    def check(self) -> None:
        for key, obj in self.at.items():
            assert self.cell(obj).key == key
        assert len(set(self.at.values())) == len(self.at)


def counts(cache: KmemCache) -> tuple[int, ...]:
    return cache.stats()[:5]


@pytest.mark.parametrize("front_end", FRONT_ENDS)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("movable", [False, True])
def test_acceptance_table_of_the_2019_series(front_end: str, size: int, movable: bool) -> None:
    slub = kernel(front_end)
    cache = slub.create_cache("test", size, ctor=Cell)
    keys = Keys(cache)
    if movable:
        cache.setup_mobility(keys.isolate, keys.migrate)
    n = cache.objs_per_slab
    for key in range(n + 1):
        keys.insert(key)
    assert counts(cache) == (n + 1, 2 * n, 1, 1, 2)
    slub.check()
    keys.remove(0)
    assert counts(cache) == (n, 2 * n, 2, 0, 2)
    slub.check()
    freed = cache.shrink()
    assert freed == (1 if movable else 0)
    assert counts(cache) == ((n, n, 0, 1, 1) if movable else (n, 2 * n, 2, 0, 2))
    slub.check()
    keys.check()
    assert sorted(keys.at) == list(range(1, n + 1))


@pytest.mark.parametrize("front_end", FRONT_ENDS)
def test_slabinfo_overstates_use_as_the_kernel_does(front_end: str) -> None:
    cache = kernel(front_end).create_cache("test", 576, ctor=Cell)
    objects = [cache.alloc() for _ in range(5)]
    stats = cache.stats()
    assert stats.active == 5
    assert cache.hidden().cached == cache.objs_per_slab - 5
    assert cache.hidden().slabinfo_active == cache.objs_per_slab
    for obj in objects:
        assert obj is not None
        cache.free(obj)
    assert cache.stats().active == 0
    assert cache.hidden().slabinfo_active == cache.objs_per_slab
    cache.flush_all()
    assert cache.hidden().slabinfo_active == 0


def test_a_full_sheaf_takes_as_many_slabs_as_it_needs() -> None:
    """7.3 fills a sheaf of 60 from three slabs of 21; by default one slab is enough."""
    full = kernel("sheaves", fill_sheaves=True).create_cache("dentry", 192)
    full.alloc()
    assert (full.stats().active, full.stats().slabs, full.hidden().cached) == (1, 3, 59)
    lazy = kernel("sheaves").create_cache("dentry", 192)
    lazy.alloc()
    assert (lazy.stats().active, lazy.stats().slabs, lazy.hidden().cached) == (1, 1, 20)


@pytest.mark.parametrize("front_end", FRONT_ENDS)
def test_pages_come_and_go_with_the_owner_of_the_cache(front_end: str) -> None:
    slub = kernel(front_end)
    cache = slub.create_cache("xa_node", 576, ctor=Cell, owner=OWNER_SLAB_XA)
    owner = slub.page_alloc.mem.owner
    objects = [cache.alloc() for _ in range(100)]
    frames = [pfn for pfn in range(len(owner)) if owner[pfn] == OWNER_SLAB_XA]
    assert len(frames) == slub.nr_slab_pages() == cache.stats().slabs << cache.order
    for obj in objects:
        assert obj is not None
        slab = slub.virt_to_slab(obj)
        assert slab is not None
        assert (obj - (slab.pfn << 12)) % 584 == 0
        cache.free(obj)
    cache.shrink()
    assert cache.stats().slabs == 0
    assert {owner[pfn] for pfn in frames} <= {OWNER_FREE, OWNER_PCP}
    assert slub.smp.trace.counts[SLAB_NEW] == slub.smp.trace.counts[SLAB_DISCARD] == 8
    slub.check()


@pytest.mark.parametrize("front_end", FRONT_ENDS)
def test_empty_slabs_above_min_partial_go_back_at_once(front_end: str) -> None:
    slub = kernel(front_end)
    cache = slub.create_cache("test", 4096)
    objects = [cache.alloc() for _ in range(400)]
    for obj in objects:
        assert obj is not None
        cache.free(obj)
    cache.flush_all()
    # nr_partial is compared while a slab that frees its last object is still counted; a CPU's slab is not.
    kept = {"classic": 6, "sheaves": 5}[front_end]
    assert cache.min_partial == 6
    assert counts(cache) == (0, kept * 8, kept, 0, kept)
    slub.check()


def test_shrink_puts_the_fullest_slabs_in_front() -> None:
    slub = kernel("sheaves")
    cache = slub.create_cache("test", 576, ctor=Cell)
    n = cache.objs_per_slab
    objects = [cache.alloc() for _ in range(4 * n)]
    keep = {0: 3, 1: 13, 2: 0, 3: 7}
    for at, obj in enumerate(objects):
        if at % n >= keep[at // n]:
            assert obj is not None
            cache.free(obj)
    assert cache.shrink() == 1
    assert [slab.inuse for slab in cache.node.partial.slabs()] == [13, 7, 3]
    assert [(row[3], row[4]) for row in cache.slab_rows()] == [(3, 0), (13, 0), (7, 0)]


def test_no_memory_is_none_and_leaves_everything_in_order() -> None:
    slub = kernel("sheaves", mib=16)
    cache = slub.create_cache("test", 4096)
    count = 0
    while cache.alloc(GFP_ATOMIC) is not None:
        count += 1
    assert count > 2000
    assert cache.order_fallbacks > 0
    slub.check()


def test_freelist_random_is_seeded() -> None:
    def order(seed: int) -> list[int | None]:
        cache = kernel("classic", freelist_random=seed).create_cache("test", 576)
        return [cache.alloc() for _ in range(20)]

    assert order(0) == sorted(order(0), key=lambda obj: obj or 0)
    assert order(1) == order(1)
    assert order(1) != order(2)
    assert sorted(order(1)[:14], key=lambda obj: obj or 0) == order(0)[:14]


@pytest.mark.parametrize("front_end", FRONT_ENDS)
def test_object_states_say_where_every_object_is(front_end: str) -> None:
    slub = kernel(front_end)
    cache = slub.create_cache("test", 576, ctor=Cell)
    objects = [cache.alloc() for _ in range(4)]
    assert None not in objects
    slab = slub.virt_to_slab(objects[0] or 0)
    assert slab is not None
    assert cache.object_states(slab) == bytes([2, 2, 2, 2] + [3] * 10)
    cache.note_rcu(objects[1] or 0)
    assert cache.hidden().rcu == 1
    cache.flush_all()
    assert cache.object_states(slab) == bytes([2, 4, 2, 2] + [1] * 10)
    assert cache.objects_of(slab) == objects
    cache.free(objects[1] or 0)
    cache.flush_all()
    assert cache.object_states(slab) == bytes([2, 1, 2, 2] + [1] * 10)
    assert cache.hidden().rcu == 0


@pytest.mark.parametrize("front_end", FRONT_ENDS)
def test_kfree_rcu_frees_after_a_grace_period(front_end: str) -> None:
    slub = kernel(front_end)
    cache = slub.create_cache("test", 576)
    objects = [cache.alloc() for _ in range(40)]
    for obj in objects:
        cache.free_rcu(obj or 0)
    assert (cache.stats().active, cache.hidden().rcu) == (40, 40)
    slub.check()
    cache.flush_all()
    slub.rcu.rcu_barrier()
    assert (cache.stats().active, cache.hidden().rcu) == (0, 0)
    slub.check()


def test_typesafe_slabs_keep_their_pages_for_a_grace_period() -> None:
    slub = kernel()
    cache = slub.create_cache("test", 576, flags=SLAB_TYPESAFE_BY_RCU)
    obj = cache.alloc()
    assert obj is not None
    cache.free(obj)
    assert cache.shrink() == 1
    assert cache.stats().slabs == 0
    assert slub.page_alloc.mem.owner[obj >> 12] == OWNER_SLAB
    slub.check()
    slub.rcu.rcu_barrier()
    assert slub.page_alloc.mem.owner[obj >> 12] != OWNER_SLAB
    slub.check()


def test_kmalloc_takes_the_next_size_and_large_ones_whole_pages() -> None:
    slub = kernel()
    small = slub.kmalloc(100, GFP_KERNEL)
    large = slub.kmalloc(20_000, GFP_KERNEL)
    assert small is not None
    assert large is not None
    assert list(slub.caches) == ["kmalloc-128"]
    assert slub.caches["kmalloc-128"].stats().active == 1
    assert slub.virt_to_slab(large) is None
    slub.kfree(small)
    slub.kfree(large)
    assert slub.caches["kmalloc-128"].stats().active == 0
    with pytest.raises(KernelBug, match="kfree"):
        slub.kfree(large)


def test_caches_alike_merge_when_asked() -> None:
    slub = kernel(merge=True)
    first = slub.create_cache("one", 120)
    assert slub.create_cache("two", 118) is first
    assert slub.create_cache("with constructor", 120, ctor=Cell) is not first
    assert slub.create_cache("bigger", 136) is not first
    with pytest.raises(ValueError, match="one already"):
        slub.create_cache("one", 8)
    slub.destroy_cache("two")
    assert slub.caches["one"].refcount == 1
    separate = kernel()
    assert separate.create_cache("one", 120) is not separate.create_cache("two", 120)


def test_a_destroyed_cache_leaves_no_page() -> None:
    slub = kernel()
    cache = slub.create_cache("test", 64)
    obj = cache.alloc()
    assert obj is not None
    cache.free(obj)
    slub.destroy_cache("test")
    assert slub.nr_slab_pages() == 0
    left = slub.create_cache("left", 64)
    left.alloc()
    with pytest.raises(KernelBug, match="1 objects in use"):
        slub.destroy_cache("left")


def test_bulk_events_are_counted_and_kept_on_demand() -> None:
    slub = kernel()
    trace = slub.smp.trace
    cache = slub.create_cache("test", 64)
    first = cache.alloc()
    assert first is not None
    assert trace.counts[KMEM_CACHE_ALLOC] == 1
    trace.bulk = True
    cache.free(first)
    assert [event[3:6] for event in trace.bulk_ring] == [(KMEM_CACHE_FREE, first, cache.id)]


@pytest.mark.parametrize("front_end", FRONT_ENDS)
class TestReported:
    def test_double_free(self, front_end: str) -> None:
        cache = kernel(front_end).create_cache("test", 64)
        obj = cache.alloc()
        assert obj is not None
        cache.free(obj)
        with pytest.raises(KernelBug, match=f"double free: object {obj:#x} of test"):
            cache.free(obj)

    def test_wrong_addresses(self, front_end: str) -> None:
        slub = kernel(front_end)
        cache = slub.create_cache("test", 64)
        other = slub.create_cache("other", 64).alloc()
        obj = cache.alloc()
        assert obj is not None
        assert other is not None
        for addr in (obj + 1, obj + 8, other, 0):
            with pytest.raises(KernelBug, match="free of a wrong address"):
                cache.free(addr)

    def test_content_of_a_freed_object(self, front_end: str) -> None:
        cache = kernel(front_end).create_cache("test", 64, ctor=Cell)
        obj = cache.alloc()
        assert obj is not None
        assert isinstance(cache.content(obj), Cell)
        cache.free(obj)
        with pytest.raises(KernelBug, match="use after free"):
            cache.content(obj)

    def test_unchecked_memory_does_not_see_it(self, front_end: str) -> None:
        cache = kernel(front_end, checked=False).create_cache("test", 64, ctor=Cell)
        obj = cache.alloc()
        assert obj is not None
        cache.free(obj)
        assert isinstance(cache.content(obj), Cell)

    def test_sleeping_allocation_in_atomic_context(self, front_end: str) -> None:
        slub = kernel(front_end)
        cache = slub.create_cache("test", 64)
        slub.rcu.read_lock()
        with pytest.raises(KernelBug, match="sleeping function called from invalid context"):
            cache.alloc(GFP_KERNEL)
        assert cache.alloc(GFP_ATOMIC) is not None
        slub.rcu.read_unlock()


def test_content_is_recycled_with_its_slot_not_made_again() -> None:
    made: list[int] = []

    def ctor(addr: int) -> object:
        made.append(addr)
        return Cell(addr)

    cache = kernel("classic").create_cache("test", 576, ctor=ctor)
    obj = cache.alloc()
    assert obj is not None
    assert len(made) == cache.objs_per_slab
    content = cache.content(obj)
    cache.free(obj)
    assert cache.alloc() == obj
    assert cache.content(obj) is content
    assert len(made) == cache.objs_per_slab


@pytest.mark.parametrize("front_end", FRONT_ENDS)
def test_content_can_be_poisoned_while_it_is_free(front_end: str) -> None:
    slub = kernel(front_end)
    cache = slub.create_cache("test", 576, ctor=Cell)

    def recolour(content: object, freed: bool) -> None:
        assert isinstance(content, Cell)
        content.key = 0x6B if freed else 0

    cache.poison(recolour)
    obj = cache.alloc()
    assert obj is not None
    cell = cache.content(obj)
    assert isinstance(cell, Cell)
    assert cell.key == 0
    cache.free(obj)
    assert cell.key == 0x6B
    with pytest.raises(ValueError, match="no content to poison"):
        slub.create_cache("plain", 64).poison(recolour)


def test_check_sees_a_lost_object() -> None:
    slub = kernel("sheaves")
    cache = slub.create_cache("test", 576)
    cache.alloc()
    slub.check()
    cache.cpu_sheaves[0].main.pop()  # type: ignore[attr-defined]
    with pytest.raises(AssertionError, match="has lost 1 free objects"):
        slub.check()


def test_unknown_front_end() -> None:
    with pytest.raises(ValueError, match='"classic" or "sheaves"'):
        SlubConfig("slob")
