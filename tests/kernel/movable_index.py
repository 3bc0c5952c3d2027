"""A user of a movable cache for the tests of the two-phase protocol: objects found by key, with references."""

from __future__ import annotations

from collections.abc import Callable

from memviz.kernel.kmem_cache import KmemCache
from memviz.kernel.mmzone import PageAllocConfig
from memviz.kernel.page import PageFrames
from memviz.kernel.page_alloc import PageAlloc
from memviz.kernel.rcu import Rcu
from memviz.kernel.schedule import RandomScheduler
from memviz.kernel.slab import SlubConfig
from memviz.kernel.slab_mobility import (
    REFUSED_NO_MEMORY,
    REFUSED_REFERENCED,
    MobilityOptions,
)
from memviz.kernel.slub import Slub
from memviz.kernel.smp import Smp
from memviz.kernel.trace import (
    Trace,
)

FRONT_ENDS = ("classic", "sheaves")


def run(it: Index, body: Callable[[], object]) -> None:
    """As a task: boot context would not sleep, but let time pass."""
    it.slub.smp.spawn(0, "test", lambda: (body(), None)[1])
    it.slub.smp.run(None)


def kernel(front_end: str = "sheaves", cpus: int = 2, seed: int = 1) -> Slub:
    smp = Smp(cpus, Trace(), RandomScheduler(seed))
    pages = PageAlloc(PageFrames(32 * 256), smp, PageAllocConfig())
    return Slub(pages, Rcu(smp), smp, SlubConfig(front_end))


class Cell:
    """Content of an object. ``refs`` 0: constructed state, in nobody's use."""

    def __init__(self, addr: int) -> None:
        self.key = -1
        self.refs = 0


class Index:
    """A user of a movable cache: objects found by key, each with a reference count; freed at once or through RCU."""

    def __init__(self, slub: Slub, size: int = 576, through_rcu: bool = False) -> None:
        self.slub = slub
        self.cache: KmemCache = slub.create_cache("index", size, ctor=Cell)
        self.through_rcu = through_rcu
        self.at: dict[int, int] = {}
        self.asked: list[list[int]] = []
        self.no_memory = False

    def cell(self, obj: int) -> Cell:
        cell = self.cache.content(obj)
        assert isinstance(cell, Cell)
        return cell

    def insert(self, key: int) -> None:
        obj = self.cache.alloc()
        assert obj is not None
        cell = self.cell(obj)
        cell.key = key
        cell.refs = 1
        self.at[key] = obj

    def remove(self, key: int) -> None:
        self.put(self.at.pop(key))

    def put(self, obj: int) -> None:
        cell = self.cell(obj)
        cell.refs -= 1
        if cell.refs:
            return
        cell.key = -1
        if self.through_rcu:
            self.cache.note_rcu(obj)
            self.slub.rcu.call_rcu(self.cache.free, obj)
        else:
            self.cache.free(obj)

    def isolate(self, objects: list[int]) -> object:
        self.asked.append(objects)
        mobility = self.cache.mobility
        assert mobility is not None
        for obj in objects:
            if self.cell(obj).refs != 1:
                mobility.refuse(obj, REFUSED_REFERENCED)
                return None
        for obj in objects:
            self.cell(obj).refs += 1
        return self

    def migrate(self, objects: list[int], private: object) -> None:
        assert private is self
        mobility = self.cache.mobility
        assert mobility is not None
        for old in objects:
            cell = self.cell(old)
            new = None if self.no_memory else self.cache.alloc()
            if new is None:
                mobility.refuse(old, REFUSED_NO_MEMORY)
            else:
                copy = self.cell(new)
                copy.key, copy.refs = cell.key, 1
                self.at[cell.key] = new
                mobility.object_moved(old, new)
                self.put(old)
            self.put(old)

    def fill(self, slabs: int, keep: int) -> None:
        """``slabs`` slabs with ``keep`` objects in each."""
        n = self.cache.objs_per_slab
        for key in range(slabs * n):
            self.insert(key)
        for key in range(slabs * n):
            if key % n >= keep:
                self.remove(key)
        self.slub.rcu.rcu_barrier()

    def check(self) -> None:
        self.slub.check()
        for key, obj in self.at.items():
            assert (self.cell(obj).key, self.cell(obj).refs) == (key, 1)
        stats = self.cache.stats()
        assert stats.active - self.cache.hidden().rcu == len(self.at)


def index(front_end: str = "sheaves", through_rcu: bool = False, **options: object) -> Index:
    it = Index(kernel(front_end), through_rcu=through_rcu)
    it.cache.setup_mobility(it.isolate, it.migrate, MobilityOptions(**options))  # type: ignore[arg-type]
    return it
