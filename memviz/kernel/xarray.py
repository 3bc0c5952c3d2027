"""XArray: an array of entries indexed by 64 bits, as a tree of 64-slot nodes (``include/linux/xarray.h``, normal API).

The array brings its own lock. That is what makes its nodes movable: whoever wants to move a node reads
``node.array``, takes that array's lock, and has shut out every writer; readers are RCU's business. The radix tree
before it left locking to its callers (``radix_tree``), and nothing can be done about its nodes.

``XArray()`` alone needs no machine: no lock, no scheduling points, nodes of its own. Inside a machine it is given a
lock, the virtual CPUs and RCU; then every load walks with a scheduling point at each level in a read-side section.

Read as of Linux 7.3. Where 6.12 differs: ``xa_alloc_cyclic()`` returned 1 after a wrap, since 6.15 only the inner
``__xa_alloc_cyclic()`` does; ``alloc_cyclic()`` here reports the wrap, as the inner call does.
"""

from __future__ import annotations

from memviz.kernel.page import GFP_KERNEL, GFP_NOWAIT
from memviz.kernel.rcu import Rcu
from memviz.kernel.smp import Smp
from memviz.kernel.spinlock import SpinLock
from memviz.kernel.xa_debug import xa_check, xa_dump
from memviz.kernel.xa_locked import (
    UINT_MAX,
    XArrayError,
    XArrayLocked,
    flag_bits,
    xa_delete_node,
)
from memviz.kernel.xa_node import (
    EBUSY,
    EINVAL,
    RETRY,
    ULONG_MAX,
    XA_CHUNK_MASK,
    XA_FREE_MARK,
    XA_MARK_0,
    XA_MARK_1,
    XA_MARK_2,
    XA_MAX_MARKS,
    XA_PRESENT,
    XA_RCU_FREE,
    ZERO,
    NodeCache,
    XaNode,
    XaSibling,
    XaValue,
    is_advanced,
    is_sibling,
    is_value,
    to_sibling,
    to_value,
    value,
)
from memviz.kernel.xa_state import XaState, try_split_min_order
from memviz.kernel.xa_walk import XAS_BOUNDS, XAS_RESTART, XAS_VALID

__all__ = [
    "RETRY",
    "XAS_BOUNDS",
    "XAS_RESTART",
    "XAS_VALID",
    "XA_FREE_MARK",
    "XA_MARK_0",
    "XA_MARK_1",
    "XA_MARK_2",
    "XA_PRESENT",
    "XA_RCU_FREE",
    "ZERO",
    "NodeCache",
    "XArray",
    "XArrayError",
    "XaNode",
    "XaState",
    "is_sibling",
    "is_value",
    "to_sibling",
    "to_value",
    "try_split_min_order",
    "value",
    "xa_delete_node",
]


class XArray(XArrayLocked):
    """``struct xarray``. Indices are taken modulo 2**64; entries are described in ``xa_node``.

    ``flags``: "none", "alloc" (the array can find free indices) or "alloc1" (the same, and index 0 is never free).
    ``nodes``: where nodes live, a private cache by default. ``lock``, ``smp``, ``rcu``: of the machine, None outside.
    ``lock_irq``: take the lock with interrupts off (``XA_FLAGS_LOCK_IRQ``), as the page cache does.
    """

    def __init__(
        self,
        flags: str = "none",
        nodes: NodeCache | None = None,
        lock: SpinLock | None = None,
        smp: Smp | None = None,
        rcu: Rcu | None = None,
        name: str = "",
        lock_irq: bool = False,
    ) -> None:
        super().__init__(flag_bits(flags, lock_irq), nodes if nodes is not None else NodeCache(), name)
        self.lock = lock
        self.smp = smp
        self.rcu = rcu

    def __repr__(self) -> str:
        return f"<XArray {self.name or 'unnamed'}>"

    # Reading: RCU, no lock.

    def load(self, index: int) -> object:
        """The entry at ``index``, None when there is none or the index is only reserved."""
        if self.smp is not None:
            return self._load_rcu(index, self.smp)
        if index >> 64:
            index &= ULONG_MAX
        entry = self.head
        if not isinstance(entry, XaNode):
            return None if index or entry is ZERO else entry
        if index >> entry.shift > XA_CHUNK_MASK:
            return None
        while True:
            node = entry
            found = node.slots[(index >> node.shift) & XA_CHUNK_MASK]
            if isinstance(found, XaNode):
                entry = found
                continue
            if isinstance(found, XaSibling):
                found = node.slots[found.offset]
            return None if found is ZERO else found

    def _load_rcu(self, index: int, smp: Smp) -> object:
        """``xa_load()`` step by step: other CPUs may run before each read, so RETRY entries are met."""
        index &= ULONG_MAX
        self._rcu_read_lock()
        found: object = RETRY
        while found is RETRY:
            smp.point("xa_head")
            found = self.head
            if not isinstance(found, XaNode):
                if index:
                    found = None
                break
            if index >> found.shift > XA_CHUNK_MASK:
                found = None
                break
            while isinstance(found, XaNode):
                node = found
                smp.current.xa_node = node
                smp.point("xas_descend")
                found = node.slots[(index >> node.shift) & XA_CHUNK_MASK]
                while isinstance(found, XaSibling):
                    smp.point("xa_entry")
                    found = node.slots[found.offset]
                    if node.shift and isinstance(found, XaNode):
                        found = RETRY  # the entry was replaced between our two reads
        self._rcu_read_unlock()
        return None if found is ZERO else found

    def find(self, index: int, max: int = ULONG_MAX, mark: int | None = None) -> tuple[int, object] | None:
        """The first present entry at ``index..max``, with its index; with ``mark`` only entries marked so."""
        xas = XaState(self, index)
        self._rcu_read_lock()
        entry = self._find(xas, max & ULONG_MAX, mark)
        while xas.retry(entry):
            entry = self._find(xas, max & ULONG_MAX, mark)
        self._rcu_read_unlock()
        return None if entry is None else (xas.xa_index, entry)

    def find_after(self, index: int, max: int = ULONG_MAX, mark: int | None = None) -> tuple[int, object] | None:
        """As ``find()``, strictly behind ``index``, and not the multi-index entry that ``index`` lies in.

        With ``mark`` it does give that entry again, with its first index, when it is marked, as mainline's does: walk
        marked multi-index entries with ``state()`` and ``find_marked()``."""
        xas = XaState(self, index + 1)
        if xas.xa_index == 0:
            return None
        self._rcu_read_lock()
        while True:
            entry = self._find(xas, max & ULONG_MAX, mark)
            if xas.xa_status != XAS_VALID:
                break
            if not self._in_sibling(xas) and not xas.retry(entry):
                break
        self._rcu_read_unlock()
        return None if entry is None else (xas.xa_index, entry)

    def _find(self, xas: XaState, last: int, mark: int | None) -> object:
        if mark is None or not 0 <= mark < XA_MAX_MARKS:
            return xas.find(last)
        return xas.find_marked(last, mark)

    def _in_sibling(self, xas: XaState) -> bool:
        """Does the cursor's index lie behind the first index of the entry it found? (``xas_sibling``)"""
        node = xas.xa_node
        if node is None:
            return False
        return xas.xa_index & ((XA_CHUNK_MASK + 1 << node.shift) - 1) > xas.xa_offset << node.shift

    def extract(self, index: int, n: int, mark: int | None = None, last: int = ULONG_MAX) -> list[object]:
        """At most ``n`` entries from ``index`` on, in order. With other CPUs writing it is no snapshot."""
        found: list[object] = []
        xas = XaState(self, index)
        self._rcu_read_lock()
        while len(found) < n:
            entry = self._find(xas, last & ULONG_MAX, mark)
            if entry is None:
                break
            if not xas.retry(entry):
                found.append(entry)
        self._rcu_read_unlock()
        return found

    def get_order(self, index: int) -> int:
        """The order of the entry at ``index``: it spans ``2**order`` indices. 0 when there is none."""
        xas = XaState(self, index)
        self._rcu_read_lock()
        entry = xas.load()
        order = 0 if entry is None else xas.get_order()
        self._rcu_read_unlock()
        return order

    def get_mark(self, index: int, mark: int) -> bool:
        """Is the entry at ``index`` marked?"""
        xas = XaState(self, index)
        self._rcu_read_lock()
        entry = xas._start()
        marked = xas.get_mark(mark)
        while marked and isinstance(entry, XaNode):
            entry = xas._descend(entry)
            marked = xas.get_mark(mark)
        self._rcu_read_unlock()
        return marked

    def empty(self) -> bool:
        """Has the array no entries, not even reserved ones?"""
        return self.head is None

    def top(self) -> object:
        """The head: the top node, None, or the entry that is all there is."""
        return self.head

    def nodes_in_tree(self) -> list[XaNode]:
        """All nodes, parents before their children, each level in the order of indices."""
        nodes: list[XaNode] = [self.head] if isinstance(self.head, XaNode) else []
        for node in nodes:  # grows while it is walked
            nodes.extend(entry for entry in node.slots if isinstance(entry, XaNode))
        return nodes

    def _rcu_read_lock(self) -> None:
        if self.rcu is not None:
            self.rcu.read_lock()

    def _rcu_read_unlock(self) -> None:
        if self.rcu is not None:
            self.rcu.read_unlock()

    # Writing: under the lock.

    def store(self, index: int, entry: object, order: int = 0, gfp: int = GFP_KERNEL) -> object:
        """Store ``entry`` at ``index`` and return the old one. In an allocating array None keeps the index reserved.

        ``order`` > 0 stores one entry over the ``2**order`` aligned indices around ``index`` (advanced API): then None
        is also returned when a whole subtree was replaced. Raises XArrayError: ENOMEM; EINVAL for an internal entry."""
        if order:
            return self._store_order(index, entry, order, gfp)
        if self.smp is None and self.lock is None and entry is not None and not self.track_free:
            node = self._leaf(index)
            if node is not None and not is_advanced(entry):
                return self._store_leaf(node, index & XA_CHUNK_MASK, entry)
        self._refuse_advanced(entry)
        xas = XaState(self, index)
        self.xa_lock()
        old = self._xa_store(xas, entry, gfp)
        self.xa_unlock()
        return self._result(xas, old)

    def _leaf(self, index: int) -> XaNode | None:
        """The lowest node of ``index`` if the walk there meets nodes only, and no sibling at the end."""
        entry = self.head
        if not isinstance(entry, XaNode) or index >> 64 or index >> entry.shift > XA_CHUNK_MASK:
            return None
        while True:
            node = entry
            found = node.slots[(index >> node.shift) & XA_CHUNK_MASK]
            if node.shift == 0:
                return None if isinstance(found, XaSibling) else node
            if not isinstance(found, XaNode):
                return None
            entry = found

    def _store_leaf(self, node: XaNode, offset: int, entry: object) -> object:
        """All that ``xas_store()`` does where the slot exists, with no lock to take and nothing to free."""
        old = node.slots[offset]
        node.slots[offset] = entry
        if old is None:
            node.count += 1
            if isinstance(entry, XaValue):
                node.nr_values += 1
            return None
        if isinstance(entry, XaValue):
            if not isinstance(old, XaValue):
                node.nr_values += 1
        elif isinstance(old, XaValue):
            node.nr_values = (node.nr_values - 1) & 0xFF
        return None if old is ZERO else old

    def _store_order(self, index: int, entry: object, order: int, gfp: int) -> object:
        """An advanced store of one multi-index entry."""
        self._refuse_advanced(entry)
        xas = XaState(self, index, order)
        while True:
            self.xa_lock()
            old = xas.store(entry)
            self.xa_unlock()
            if not xas.nomem(gfp):
                break
        old = self._result(xas, old)
        return None if isinstance(old, XaNode) else old

    def store_range(self, first: int, last: int, entry: object, gfp: int = GFP_KERNEL) -> None:
        """Store ``entry`` at all indices of ``first..last``, both included, in as few slots as possible.

        Raises XArrayError: ENOMEM (what was stored stays); EINVAL for an internal entry or an empty range."""
        first &= ULONG_MAX
        last &= ULONG_MAX
        self._refuse_advanced(entry)
        if last < first or entry is ZERO:
            raise XArrayError(EINVAL, f"{self!r} can't store {entry!r} at {first}..{last}: give first and last.")
        xas = XaState(self, 0)
        while True:
            self.xa_lock()
            first = self._xa_store_range(xas, first, last, entry)
            self.xa_unlock()
            if not xas.nomem(gfp):
                break
        self._result(xas, None)

    def erase(self, index: int) -> object:
        """Remove the entry at ``index``, all of it if it spans several, and return it. Needs no memory."""
        xas = XaState(self, index)
        self.xa_lock()
        old = xas.store(None)
        self.xa_unlock()
        return self._result(xas, old)

    def cmpxchg(self, index: int, old: object, new: object, gfp: int = GFP_KERNEL) -> object:
        """Store ``new`` if ``old`` is there; returns what was there. Raises XArrayError: ENOMEM, EINVAL."""
        self._refuse_advanced(new)
        xas = XaState(self, index)
        self.xa_lock()
        current = self._xa_cmpxchg(xas, old, new, gfp)
        self.xa_unlock()
        return self._result(xas, current)

    def insert(self, index: int, entry: object, gfp: int = GFP_KERNEL) -> None:
        """Store ``entry`` where nothing is, not even a reservation; None reserves. XArrayError: EBUSY, ENOMEM."""
        self._refuse_advanced(entry)
        xas = XaState(self, index)
        self.xa_lock()
        current = self._xa_cmpxchg(xas, None, ZERO if entry is None else entry, gfp)
        self.xa_unlock()
        self._result(xas, None)
        if current is not None:
            raise XArrayError(EBUSY, f"Index {index} of {self!r} is taken: erase or release it first.")

    def reserve(self, index: int, gfp: int = GFP_KERNEL) -> None:
        """Make sure a later store at ``index`` needs no memory; loads see None. Raises XArrayError: ENOMEM."""
        self.cmpxchg(index, None, ZERO, gfp)

    def release(self, index: int) -> None:
        """Give up a reservation. An index that was stored to since stays as it is."""
        self.cmpxchg(index, ZERO, None, GFP_NOWAIT)

    def alloc(self, entry: object, lo: int = 0, hi: int = UINT_MAX, gfp: int = GFP_KERNEL) -> int:
        """Store ``entry`` at the lowest free index of ``lo..hi`` and return the index.

        Raises XArrayError: EBUSY when none is free, ENOMEM, EINVAL in an array that doesn't track free indices."""
        self._refuse_advanced(entry)
        self._require_track_free()
        self.xa_lock()
        index = self._xa_alloc(XaState(self, 0), entry, lo, hi, gfp)
        self.xa_unlock()
        if index < 0:
            raise self._alloc_error(-index, lo, hi)
        return index

    def alloc_cyclic(self, entry: object, lo: int = 0, hi: int = UINT_MAX, gfp: int = GFP_KERNEL) -> tuple[int, bool]:
        """As ``alloc()``, from behind the index of the last call on (``alloc_next``). Returns the index and whether the
        search wrapped to ``lo``. Indices are 32 bits, as in the kernel."""
        self._refuse_advanced(entry)
        self._require_track_free()
        self.xa_lock()
        index, wrapped = self._xa_alloc_cyclic(entry, lo, hi, gfp)
        self.xa_unlock()
        if index < 0:
            raise self._alloc_error(-index, lo, hi)
        return index, wrapped

    def set_mark(self, index: int, mark: int) -> None:
        """Mark the entry at ``index``. An index without an entry stays unmarked."""
        self.xa_lock()
        self.set_mark_locked(index, mark)
        self.xa_unlock()

    def clear_mark(self, index: int, mark: int) -> None:
        """Unmark the entry at ``index``."""
        self.xa_lock()
        self.clear_mark_locked(index, mark)
        self.xa_unlock()

    def destroy(self) -> None:
        """Free all nodes. The array is empty afterwards and can be used again."""
        xas = XaState(self, 0)
        xas.xa_status = XAS_VALID  # at the head
        self.xa_lock()
        entry = self.head
        if self.smp is not None:
            self.smp.point("xa_publish")
        self.head = None
        xas.init_marks()
        if self.zero_busy:
            self.mark_clear(XA_FREE_MARK)
        if isinstance(entry, XaNode):
            xas.free_nodes(entry)
        self.xa_unlock()

    # Looking at it.

    def state(self, index: int = 0, order: int = 0) -> XaState:
        """A cursor for the advanced API, aimed at ``index`` (``XA_STATE``, ``XA_STATE_ORDER``)."""
        return XaState(self, index, order)

    def dump(self) -> str:
        """The tree as one line: an entry, or ``(n SHIFT OFFSET COUNT NR_VALUES MARK0 MARK1 MARK2 I:ENTRY …)``, marks in
        hexadecimal, only occupied slots; entries as ``null``, ``vN``, ``zero``, ``retry``, ``sN``, else ``str()``."""
        return xa_dump(self.head)

    def check(self, tight: bool = False) -> None:
        """Verify the structure; AssertionError says in a sentence what is wrong where. Lock held, or nobody else in it.

        ``tight``: no node may be empty either, as is true unless a call failed for memory or made room for a range."""
        xa_check(self, tight)
