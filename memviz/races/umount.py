"""Dentries that slab defragmentation holds, and a file system that is unmounted meanwhile."""

from __future__ import annotations

from functools import partial
from typing import Final

from memviz.kernel.dcache import Dcache, Dentry
from memviz.kernel.page import PAGE_SHIFT
from memviz.kernel.schedule import Scheduler
from memviz.kernel.slab import Slab
from memviz.races.case import RaceCase, Variant
from memviz.races.lab import Lab

BUSY: Final = "busy inodes after umount"
NAMES: Final = 2


class ReferencingMobility:
    """The two callbacks of 2008: references in the first, dropped in the second, which evicts what nobody else uses."""

    def __init__(self, dcache: Dcache, super_block: SuperBlock) -> None:
        self.dcache = dcache
        self.super_block = super_block
        dcache.dentry_cache.setup_mobility(self.isolate, self.migrate)

    def isolate(self, objects: list[int]) -> object | None:
        """``get_dentries()``."""
        dcache = self.dcache
        if self.super_block.closing or not dcache.lock.trylock():
            return None
        taken = [dcache.by_dentry[addr] for addr in objects if addr in dcache.by_dentry]
        for dentry in taken:
            dentry.refcount += 1
            dcache.lru.pop(dentry.addr, None)
        dcache.lock.unlock()
        return taken

    def migrate(self, objects: list[int], private: object) -> None:
        """``kick_dentries()``."""
        assert isinstance(private, list)
        for dentry in private:
            self.dcache.d_delete(dentry)


class SuperBlock:
    """A mounted file system: its names, all of them unused. ``waits``: umount waits for a pass that is under way."""

    def __init__(self, lab: Lab, dcache: Dcache, waits: bool) -> None:
        self.lab = lab
        self.dcache = dcache
        self.waits = waits
        self.closing = False
        self.dentries: list[Dentry] = []
        for _ in range(NAMES):
            dentry = dcache.d_alloc()
            assert dentry is not None
            self.dentries.append(dentry)
            dcache.dput(dentry)

    def generic_shutdown_super(self) -> None:
        """Evict every name; whatever is referenced now stays behind, and its file system is gone."""
        dcache = self.dcache
        smp = self.lab.smp
        if self.waits:
            mobility = dcache.dentry_cache.mobility
            assert mobility is not None
            self.closing = True
            smp.sleep_until("umount waits for slab defragmentation", lambda: mobility.current is None)
        for dentry in self.dentries:
            dcache.lock.lock()
            if dcache.by_dentry.get(dentry.addr) is not dentry:
                dcache.lock.unlock()  # evicted already
                continue
            if dentry.refcount > 0:
                smp.bug(
                    BUSY,
                    f"dentry {dentry.addr:#x} has {dentry.refcount} reference when its file system goes away:"
                    " self-destruct in 5 seconds",
                )
            if dentry.shrinking:
                dcache.lock.unlock()
                smp.sleep_until("somebody evicts it", partial(self.is_gone, dentry))
                continue
            dcache.unhash(dentry)
            dcache.lock.unlock()
            dcache.free(dentry)

    def is_gone(self, dentry: Dentry) -> bool:
        """Has whoever had it on a shrink list evicted it?"""
        return self.dcache.by_dentry.get(dentry.addr) is not dentry


def umount(scheduler: Scheduler, references: bool, waits: bool = False) -> Lab:
    """A file system with unused names is unmounted while the slab of its dentries is evacuated."""
    lab = Lab(scheduler, cpus=2)
    dcache = Dcache(lab.slub, lab.rcu, lab.smp, 0)
    super_block = SuperBlock(lab, dcache, waits)
    if references:
        ReferencingMobility(dcache, super_block)
    else:
        dcache.setup_mobility(True)
    slab: Slab = lab.slub.slab_of_page[super_block.dentries[0].addr >> PAGE_SHIFT]
    mobility = dcache.dentry_cache.mobility
    assert mobility is not None

    def nothing_left() -> None:
        dcache.check()
        left = dcache.dentry_cache.stats().active + dcache.inode_cache.stats().active
        if left:
            lab.smp.bug("memory leak", f"{left} dentries and inodes are left of a file system that is gone")

    def defragment() -> None:
        mobility.evacuate([slab])

    lab.on_cpu(0, "defragmentation", defragment)
    lab.on_cpu(1, "umount", super_block.generic_shutdown_super)
    lab.after(nothing_left)
    return lab


CASES: Final = (
    RaceCase(
        "race-umount",
        "A file system is unmounted while defragmentation holds its dentries",
        "Taking references on dentries races with umount: busy inodes (Szeredi). generic_shutdown_super() would have to"
        " wait for defragmentation (Lameter). “If it has a positive refcount, LEAVE IT ALONE.” (Viro, 2019)",
        "Miklos Szeredi",
        "2008-10",
        "Between the two callbacks the only references are those of defragmentation. umount, which may count on there"
        " being none, comes just then.",
        "True of references, whoever takes them. Waiting helps; so does taking none: marking unused dentries as being"
        " evicted, which umount knows to wait for.",
        (
            Variant(
                "references",
                "isolate takes a reference of each dentry",
                partial(umount, references=True),
                BUSY,
                how="pct",
            ),
            Variant(
                "umount-waits",
                "the same, and umount waits for a pass under way",
                partial(umount, references=True, waits=True),
            ),
            Variant("evict", "only unused dentries, and no reference: dcache.py", partial(umount, references=False)),
        ),
    ),
)
