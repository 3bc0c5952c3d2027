"""Passes over the slabs of one cache, and what a free does that meets one (``kmem_cache_defrag`` of 2019)."""

from __future__ import annotations

from memviz.kernel.defrag_pass import (
    REFUSED_LEFT,
    REFUSED_LOCKED,
    REFUSED_NONE,
    REFUSED_ON_CPU,
    REFUSED_RCU,
    STEP_BLOCKED,
    STEP_CHOOSE,
    STEP_EMPTY,
    STEP_FILLED,
    STEP_FLUSH,
    STEP_FREED,
    STEP_LEFT,
    STEP_STOP,
    DefragPass,
)
from memviz.kernel.slab import ON_ISOLATED, ON_LEAVING, ON_NOTHING, ON_PARTIAL, SLOT_USED, Slab
from memviz.kernel.slab_mover import BARRIER_PASS, BARRIER_SLAB, FREE_BLOCKS, SCAN_NS, SlabMover
from memviz.kernel.smp import Cpu
from memviz.kernel.trace import DEFRAG_BEGIN, DEFRAG_END, SLAB_LOCK_SPIN, SLAB_MIGRATED


class CacheMobility(SlabMover):
    """Passes over the slabs of a cache."""

    # -- a pass -----------------------------------------------------------------------------------------------------

    def defrag(self, ratio: int) -> DefragPass:
        """One pass over the partial slabs used to ``ratio`` percent or less. May sleep."""
        done = self.begin(ratio)
        if done.note:
            return done
        slabs = self.choose(ratio, done)
        self.process(slabs, ratio, done)
        return self.finish(done)

    def shrink(self) -> DefragPass:
        """A pass over every partial slab."""
        return self.defrag(100)

    def is_own(self) -> bool:
        """Whether the caller is the pass under way: then replacements are taken one by one from the fullest slab, and a
        CPU's cache does not swallow free objects of slabs that the pass is about to empty."""
        if self.current is None:
            return False
        cpu = self.smp.this_cpu()
        if cpu.in_softirq:
            return False
        return cpu is self.cpu if self.smp.threads else self.smp.running is self.task

    def evacuate(self, slabs: list[Slab]) -> DefragPass:
        """Targeted: move everything out of just these slabs, full ones too. All are isolated first, so that nothing
        that leaves one moves into another."""
        done = self.begin(100)
        if not done.note:
            self.process(slabs, -1, done)
            self.finish(done)
        return done

    def begin(self, ratio: int) -> DefragPass:
        """Start a pass; one that can't has a note."""
        cache = self.cache
        self.smp.might_sleep("slab defragmentation")
        done = DefragPass(cache.id, cache.name, ratio, self.smp.now)
        if self.current is not None:
            done.note = "another pass is under way"
            return done
        self.current = done
        self.task = self.smp.running
        self.cpu = self.smp.this_cpu()
        self.smp.trace.emit(DEFRAG_BEGIN, cache.id, ratio)
        if self.options.flush_first:
            cache.flush_all()
            done.tell(STEP_FLUSH)
        return done

    def finish(self, done: DefragPass) -> DefragPass:
        """The pass is over."""
        self.current = None
        self.task = None
        done.end = self.smp.now
        self.ledger.enter(done)
        self.smp.trace.emit(DEFRAG_END, self.cache.id, done.slabs_freed, done.objects_moved, done.refusals())
        return done

    def choose(self, ratio: int, done: DefragPass) -> list[Slab]:
        """Candidates, sparsest first. Empty slabs go at once; the list is sorted, fullest first, so that what moves
        fills up what is nearly full."""
        cache = self.cache
        partial = cache.node.partial
        lock = cache.node.list_lock
        candidates: list[Slab] = []
        empty: list[Slab] = []
        self.room = 0
        lock.lock_irq()
        slabs = partial.slabs()
        slabs.sort(key=_inuse)
        for slab in slabs:
            partial.remove(slab)
            if slab.inuse == 0:
                slab.place = ON_LEAVING
                empty.append(slab)
                continue
            partial.add(slab)
            self.room += slab.objects - slab.inuse
            if slab.inuse * 100 <= ratio * slab.objects:
                candidates.append(slab)
        self.smp.advance(SCAN_NS * len(slabs))
        self.note_list_lock(done)
        lock.unlock_irq()
        for slab in empty:
            self.free_slab(slab, done)
        if empty:
            done.tell(STEP_EMPTY, len(empty))
        done.tell(STEP_CHOOSE, len(candidates), partial.nr, partial.nr - len(candidates))
        return candidates

    def process(self, slabs: list[Slab], ratio: int, done: DefragPass) -> None:
        """Isolate, migrate, look again: all slabs chosen. ``ratio`` -1: whatever is in them."""
        barrier = self.options.barrier
        later: list[Slab] = []
        if self.options.isolate_all or ratio < 0:
            slabs = [slab for slab in slabs if self.exempt(slab, ratio, False, done)]
        for slab in slabs:
            if slab.place != ON_ISOLATED:
                if not self.worthwhile(slab, done):
                    break
                if not self.exempt(slab, ratio, True, done):
                    continue
            else:
                self.smp.irq_disable()
                slab.slab_lock().lock()
            self.move_slab(slab, done)
            if barrier == BARRIER_PASS:
                later.append(slab)
                continue
            if barrier == BARRIER_SLAB:
                self.rcu_barrier(done)
            self.look_again(slab, done)
            self.smp.cond_resched()
        if later:
            self.rcu_barrier(done)
            for slab in later:
                self.look_again(slab, done)

    def worthwhile(self, slab: Slab, done: DefragPass) -> bool:
        """Whether the other partial slabs have room for what is in ``slab``: else moving it frees nothing."""
        if done.objects_evicted > done.objects_moved:
            return True  # what is thrown away needs no room
        others = self.room - (slab.objects - slab.inuse)
        if slab.place == ON_PARTIAL and slab.inuse > others:
            done.tell(STEP_STOP, self.cache.node.partial.nr)
            return False
        return True

    def exempt(self, slab: Slab, ratio: int, keep_lock: bool, done: DefragPass) -> bool:
        """Take a slab off its list: from now on objects can only leave it. False: it can't be had.

        With ``keep_lock`` the slab lock stays held and interrupts off.
        """
        cache = self.cache
        lock = cache.node.list_lock
        lock.lock_irq()
        if not self.wanted(slab, ratio):
            lock.unlock_irq()
            self.passed_over(slab, ratio, done)
            return False
        slab_lock = slab.slab_lock()
        self.smp.irq_disable()
        if not slab_lock.trylock():
            self.smp.irq_enable()
            lock.unlock_irq()
            self.refused(slab, REFUSED_LOCKED, 0, done)
            return False
        if not self.wanted(slab, ratio):  # a CPU took a full slab to which an object returned: that needs no list lock
            lock.unlock_irq()
            self.smp.irq_enable()
            slab_lock.unlock()
            self.passed_over(slab, ratio, done)
            return False
        if slab.place == ON_PARTIAL:
            self.room -= slab.objects - slab.inuse
            cache.remove_partial(slab)
        slab.place = ON_ISOLATED
        slab.isolated = True
        slab.refused = REFUSED_NONE
        slab.busy_slot = -1
        self.isolated[slab.pfn] = slab
        done.slabs_isolated += 1
        self.note_list_lock(done)
        lock.unlock_irq()
        if not keep_lock:
            self.smp.irq_enable()
            slab_lock.unlock()
        return True

    def wanted(self, slab: Slab, ratio: int) -> bool:
        """Whether a slab may be isolated, where it is now and as full as it is now."""
        if ratio < 0:
            return slab.place == ON_PARTIAL or slab.place == ON_NOTHING
        return slab.place == ON_PARTIAL and slab.inuse * 100 <= ratio * slab.objects

    def passed_over(self, slab: Slab, ratio: int, done: DefragPass) -> None:
        """A slab is not what it was when it was chosen."""
        if ratio < 0 and self.cache.slabs.get(slab.pfn) is slab:
            self.refused(slab, REFUSED_ON_CPU, 0, done)
        else:
            done.tell(STEP_FILLED, slab.pfn)

    def look_again(self, slab: Slab, done: DefragPass) -> None:
        """Processing ends: an empty slab's pages go back, any other slab is for all to fill up again."""
        cache = self.cache
        lock = cache.node.list_lock
        lock.lock_irq()
        slab.isolated = False
        slab.migrating = False
        left = slab.inuse
        slab.place = ON_NOTHING if left else ON_LEAVING
        del self.isolated[slab.pfn]
        if left and slab.freelist:
            cache.add_partial(slab, tail=True)
            self.room += len(slab.freelist)
        waiting = slab.live.count(SLOT_USED) == 0
        self.note_list_lock(done)
        lock.unlock_irq()
        self.smp.trace.emit(SLAB_MIGRATED, slab.pfn, cache.id, left)
        if not left:
            self.free_slab(slab, done)
            return
        done.slabs_left += 1
        done.tell(STEP_LEFT, slab.pfn, left, slab.objects)
        if slab.refused == REFUSED_NONE:
            self.refused(slab, REFUSED_RCU if waiting else REFUSED_LEFT, 0, done)

    def free_slab(self, slab: Slab, done: DefragPass) -> None:
        """An empty slab goes back to the page allocator."""
        done.slabs_freed += 1
        done.pages_freed += 1 << slab.order
        done.tell(STEP_FREED, slab.pfn, 1 << slab.order)
        self.cache.discard_slab(slab)

    def free_meets(self, slab: Slab) -> None:
        """A free meets an isolated slab: it spins while the slab lock is held; or waits until processing ends.

        Those who free from within migrate never wait. There is no scheduling point between the end of the wait and
        the return.
        """
        smp = self.smp
        cpu = smp.this_cpu()
        begin = smp.now
        waited = False
        lock = slab.lock
        while lock is not None and not lock.free():
            waited = True
            lock.lock()
            lock.unlock()
        if self.options.free_meets == FREE_BLOCKS and slab.isolated:
            if not self.is_own():
                waited = True
                if cpu.atomic():
                    smp.spin_until(self.blocked_name, lambda: not slab.isolated)
                else:
                    smp.sleep_until(self.blocked_name, lambda: not slab.isolated)
        if waited:
            self.note_blocked(slab, cpu, smp.now - begin)

    def note_blocked(self, slab: Slab, cpu: Cpu, ns: int) -> None:
        """A free had to wait for the pass."""
        self.smp.trace.emit(SLAB_LOCK_SPIN, slab.pfn, self.cache.id, ns)
        done = self.current
        if done is not None:
            done.cpus_blocked += 1
            done.blocked_ns += ns
            done.tell(STEP_BLOCKED, slab.pfn, cpu.id, ns)

    def note_list_lock(self, done: DefragPass) -> None:
        """The list lock, held by us, is about to be released."""
        held = self.smp.now - self.cache.node.list_lock.taken_at
        if held > done.list_lock_ns:
            done.list_lock_ns = held


def _inuse(slab: Slab) -> int:
    return slab.inuse
