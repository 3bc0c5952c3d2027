"""Dentries and inodes (``fs/dcache.c``, ``fs/inode.c``): cached names, each with its inode, referenced or merely kept.

What matters here is how long they live and who may free them. A dentry with references stays: "if it has a positive
refcount, leave it alone" (Al Viro, 3 April 2019). One without is only kept in case it is wanted again; the shrinker
may evict it, and so may slab defragmentation: dentries are found through a hash of their parent's address, so they
are never moved, only thrown away. Both objects go back to their slabs through RCU, as path walks read them without a
lock.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from memviz.kernel.page import GFP_KERNEL, OWNER_SLAB_VFS
from memviz.kernel.rcu import Rcu
from memviz.kernel.smp import CPU_RUNS, Smp
from memviz.kernel.spinlock import SpinLock
from memviz.kernel.trace import OBJECT_EVICTED

if TYPE_CHECKING:
    from memviz.kernel.slub import KmemCache, Slub

DENTRY_SIZE: Final = 192
INODE_SIZE: Final = 1128  # ext4_inode_cache with its constructor's free pointer


class Dentry:
    """A name and its inode. ``refcount`` 0: on the LRU, kept only in case it is wanted again."""

    def __init__(self, addr: int, inode: int) -> None:
        self.addr = addr
        self.inode = inode
        self.refcount = 1
        self.shrinking = False  # on a shrink list: somebody evicts it right now


class Dcache:
    """All dentries and inodes of a machine."""

    def __init__(self, slub: Slub, rcu: Rcu, smp: Smp, flags: int) -> None:
        self.rcu = rcu
        self.smp = smp
        self.lock = SpinLock(smp, "dcache_lock", CPU_RUNS)
        self.dentry_cache: KmemCache = slub.create_cache("dentry", DENTRY_SIZE, init_once, flags, OWNER_SLAB_VFS)
        self.inode_cache: KmemCache = slub.create_cache(
            "ext4_inode_cache", INODE_SIZE - 8, init_once, flags, OWNER_SLAB_VFS
        )
        self.by_dentry: dict[int, Dentry] = {}
        self.by_inode: dict[int, Dentry] = {}
        self.lru: OrderedDict[int, Dentry] = OrderedDict()  # dentry address -> dentry, oldest first
        self.evicted = 0

    def d_alloc(self, gfp: int = GFP_KERNEL) -> Dentry | None:
        """A new name and its inode, referenced once. None: no memory."""
        inode = self.inode_cache.alloc(gfp)
        if inode is None:
            return None
        addr = self.dentry_cache.alloc(gfp)
        if addr is None:
            self.inode_cache.free(inode)
            return None
        dentry = Dentry(addr, inode)
        self.lock.lock()
        self.by_dentry[addr] = dentry
        self.by_inode[inode] = dentry
        self.lock.unlock()
        return dentry

    def dget(self, dentry: Dentry) -> bool:
        """Take a reference; False when it is being evicted already."""
        self.lock.lock()
        alive = not dentry.shrinking and dentry.addr in self.by_dentry
        if alive:
            dentry.refcount += 1
            self.lru.pop(dentry.addr, None)
        self.lock.unlock()
        return alive

    def dput(self, dentry: Dentry) -> None:
        """Drop a reference; the last one puts it on the LRU."""
        self.lock.lock()
        dentry.refcount -= 1
        assert dentry.refcount >= 0, f"dentry {dentry.addr:#x} was put more often than got"
        if dentry.refcount == 0:
            self.lru[dentry.addr] = dentry
        self.lock.unlock()

    def d_delete(self, dentry: Dentry) -> None:
        """The file is unlinked: drop our reference and the name with it."""
        self.lock.lock()
        dentry.refcount -= 1
        kill = dentry.refcount == 0 and not dentry.shrinking
        if kill:
            self.unhash(dentry)
        self.lock.unlock()
        if kill:
            self.free(dentry)

    def prune(self, nr_to_scan: int) -> int:
        """The shrinker (``prune_dcache_sb``): evict the oldest that nobody references; returns objects freed."""
        victims: list[Dentry] = []
        self.lock.lock()
        while self.lru and len(victims) < nr_to_scan:
            _, dentry = self.lru.popitem(last=False)
            self.unhash(dentry)
            victims.append(dentry)
        self.lock.unlock()
        for dentry in victims:
            self.free(dentry)
        return 2 * len(victims)

    def unhash(self, dentry: Dentry) -> None:
        """Nobody can find it any more. Lock held."""
        dentry.shrinking = True
        self.lru.pop(dentry.addr, None)
        del self.by_dentry[dentry.addr]
        del self.by_inode[dentry.inode]

    def free(self, dentry: Dentry) -> None:
        """Give both objects back after a grace period: path walks may still stand on them."""
        self.evicted += 1
        self.dentry_cache.note_rcu(dentry.addr)
        self.inode_cache.note_rcu(dentry.inode)
        self.rcu.call_rcu(self.dentry_cache.free, dentry.addr)
        self.rcu.call_rcu(self.inode_cache.free, dentry.inode)

    # -- slab mobility: evict, never move -------------------------------------------------------------------------

    def setup_mobility(self, evict: bool) -> None:
        """Let slab defragmentation evict what nobody uses, or keep it off these caches."""
        if not evict:
            self.dentry_cache.remove_mobility()
            self.inode_cache.remove_mobility()
            return
        self.dentry_cache.setup_mobility(self.d_isolate, self.d_evict)
        self.inode_cache.setup_mobility(self.i_isolate, self.d_evict)

    def d_isolate(self, objects: list[int]) -> object | None:
        """``isolate`` for dentries: all of them unused, or hands off."""
        return self.isolate([self.by_dentry[addr] for addr in objects if addr in self.by_dentry])

    def i_isolate(self, objects: list[int]) -> object | None:
        """``isolate`` for inodes: they live as long as their dentry does."""
        return self.isolate([self.by_inode[addr] for addr in objects if addr in self.by_inode])

    def isolate(self, dentries: list[Dentry]) -> object | None:
        """Mark unused dentries so that nobody else evicts or revives them; None when one is in use.

        Runs with the slab lock held: it must not wait for ``dcache_lock``, whose holder may be freeing into this slab.
        """
        if not self.lock.trylock():
            return None
        busy = False
        for dentry in dentries:
            if dentry.refcount > 0 or dentry.shrinking:
                busy = True
        if not busy:
            for dentry in dentries:
                dentry.shrinking = True
                self.lru.pop(dentry.addr, None)
        self.lock.unlock()
        return None if busy else dentries

    def d_evict(self, objects: list[int], private: object) -> None:
        """``migrate``: throw away what ``isolate`` marked. Objects it didn't list wait for RCU already."""
        assert isinstance(private, list)
        for dentry in private:
            self.lock.lock()
            self.unhash(dentry)
            self.lock.unlock()
            self.smp.trace.emit(OBJECT_EVICTED, dentry.addr, self.dentry_cache.id)
            self.free(dentry)

    def check(self) -> None:
        """Names and inodes pair up, and the LRU holds just those that nobody references."""
        assert len(self.by_dentry) == len(self.by_inode), "dentries and inodes don't pair up"
        for addr, dentry in self.by_dentry.items():
            on_lru = addr in self.lru
            assert on_lru == (dentry.refcount == 0), f"dentry {addr:#x}: refcount {dentry.refcount}, on LRU: {on_lru}"


def init_once(addr: int) -> object:
    """The constructor of both caches: free objects have a state of their own that an isolating CPU can recognise."""
    return None
