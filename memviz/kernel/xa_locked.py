"""The calls whose caller holds the array's lock (``__xa_store()`` and its kind in ``lib/xarray.c``).

They may drop the lock and take it again when memory is short and ``gfp`` allows to sleep. Failures are errnos in the
cursor until the lock is dropped; ``XArrayError`` is raised only then. Read as of Linux 7.3.
"""

from __future__ import annotations

from typing import Final

from memviz.kernel.page import GFP_KERNEL
from memviz.kernel.xa_node import (
    EBUSY,
    EINVAL,
    ENOMEM,
    ULONG_MAX,
    XA_CHUNK_SHIFT,
    XA_FLAGS_ALLOC,
    XA_FLAGS_ALLOC1,
    XA_FLAGS_ALLOC_WRAPPED,
    XA_FLAGS_LOCK_IRQ,
    XA_FREE_MARK,
    ZERO,
    NodeCache,
    UpdateNode,
    XaHead,
    XaNode,
    is_advanced,
)
from memviz.kernel.xa_state import XaState
from memviz.kernel.xa_walk import XAS_RESTART, XAS_VALID

UINT_MAX: Final = 0xFFFF_FFFF


class XArrayError(Exception):
    """An operation failed. ``errno`` is positive, as in the errno module: ENOMEM, EBUSY, EINVAL."""

    def __init__(self, errno: int, message: str) -> None:
        super().__init__(message)
        self.errno = errno


def flag_bits(flags: str, lock_irq: bool) -> int:
    """The ``xa_flags`` of "none", "alloc" or "alloc1". Raises ValueError for other words."""
    if flags == "none":
        bits = 0
    elif flags == "alloc":
        bits = XA_FLAGS_ALLOC
    elif flags == "alloc1":
        bits = XA_FLAGS_ALLOC1
    else:
        raise ValueError(f'An XArray can\'t have flags "{flags}": use "none", "alloc" or "alloc1".')
    return bits | XA_FLAGS_LOCK_IRQ if lock_irq else bits


def same_entry(a: object, b: object) -> bool:
    """Are two entries the same? Pointers and values that compare equal are; internal entries by identity."""
    return a is b or (a is not None and b is not None and a == b)


class XArrayLocked(XaHead):
    """The half of ``XArray`` that runs under its lock."""

    def __init__(self, flags: int, nodes: NodeCache, name: str) -> None:
        super().__init__(flags, nodes)
        self.name: str = name
        self.alloc_next: int = 0  # where alloc_cyclic() goes on: the u32 *next that the kernel's caller keeps

    def _refuse_advanced(self, entry: object) -> None:
        if is_advanced(entry):
            raise XArrayError(EINVAL, f"{self!r} can't store {entry!r}: internal entries are the array's own.")

    def _result(self, xas: XaState, entry: object) -> object:
        """The entry as the normal API shows it, or the cursor's error raised (``xas_result``)."""
        err = xas.error()
        if err:
            if err == -ENOMEM:
                raise XArrayError(ENOMEM, f"No memory for a node of {self!r}: free memory, or allow the call to sleep.")
            raise XArrayError(-err, f"{self!r} failed at index {xas.xa_index} with errno {-err}.")
        return None if entry is ZERO else entry

    def _xa_store(self, xas: XaState, entry: object, gfp: int) -> object:
        if self.track_free and entry is None:
            entry = ZERO
        while True:
            old = xas.store(entry)
            if self.track_free:
                xas.clear_mark(XA_FREE_MARK)
            if not xas.nomem_locked(gfp):
                return old

    def _xa_cmpxchg(self, xas: XaState, old: object, entry: object, gfp: int) -> object:
        while True:
            current = xas.load()
            if same_entry(current, old):
                xas.store(entry)
                if self.track_free and entry is not None and current is None:
                    xas.clear_mark(XA_FREE_MARK)
            if not xas.nomem_locked(gfp):
                return current

    def _xa_store_range(self, xas: XaState, first: int, last: int, entry: object) -> int:
        """One round under the lock. Returns where to go on if the cursor is out of memory."""
        if entry is not None:
            order = 0  # of the aligned entry that ends at last
            while order < 64 and (last + 1) >> order & 1 == 0:
                order += 1
            xas.set_order(last, order)
            xas.create(True)
            if xas.error():
                return first
        while True:
            xas.set_range(first, last)
            size = xas.xa_sibs + 1 << xas.xa_shift
            xas.store(entry)
            # xa_store_range() of 7.3 adds modulo 2**64 here and never ends when last is the highest index.
            if xas.error() or first + size > last:
                return first
            first += size

    def _xa_alloc(self, xas: XaState, entry: object, low: int, high: int, gfp: int) -> int:
        """Store into the first free index of ``low..high``; returns it, or the negative errno."""
        if entry is None:
            entry = ZERO
        index = low
        while True:
            xas.xa_index = low
            xas.find_marked(high, XA_FREE_MARK)
            if xas.xa_status == XAS_RESTART:
                xas.set_err(-EBUSY)
            else:
                index = xas.xa_index
            xas.store(entry)
            xas.clear_mark(XA_FREE_MARK)
            if not xas.nomem_locked(gfp):
                return xas.error() or index

    def _xa_alloc_cyclic(self, entry: object, low: int, high: int, gfp: int) -> tuple[int, bool]:
        """The index or a negative errno, and whether the search began again at ``low``."""
        start = max(low, self.alloc_next)
        index = self._xa_alloc(XaState(self, 0), entry, start, high, gfp)
        wrapped = False
        if index >= 0 and self.flags & XA_FLAGS_ALLOC_WRAPPED:
            self.flags &= ~XA_FLAGS_ALLOC_WRAPPED
            wrapped = True
        if index < 0 and start > low:
            index = self._xa_alloc(XaState(self, 0), entry, low, high, gfp)
            wrapped = index >= 0
        if index >= 0:
            self.alloc_next = (index + 1) & UINT_MAX
            if self.alloc_next == 0:
                self.flags |= XA_FLAGS_ALLOC_WRAPPED
        return index, wrapped

    def _alloc_error(self, errno: int, low: int, high: int) -> XArrayError:
        if errno == ENOMEM:
            return XArrayError(ENOMEM, f"No memory for a node of {self!r}: free memory, or allow the call to sleep.")
        return XArrayError(errno, f"{self!r} has no free index in {low}..{high}: erase one or widen the range.")

    def _require_track_free(self) -> None:
        if not self.track_free:
            raise XArrayError(EINVAL, f'{self!r} doesn\'t track free indices: make it with flags="alloc" or "alloc1".')

    # What callers with the lock held use.

    def store_locked(self, index: int, entry: object, gfp: int = GFP_KERNEL) -> object:
        """``__xa_store()``: ``store()`` with the lock held."""
        self._refuse_advanced(entry)
        xas = XaState(self, index)
        return self._result(xas, self._xa_store(xas, entry, gfp))

    def erase_locked(self, index: int) -> object:
        """``__xa_erase()``: ``erase()`` with the lock held."""
        xas = XaState(self, index)
        return self._result(xas, xas.store(None))

    def cmpxchg_locked(self, index: int, old: object, entry: object, gfp: int = GFP_KERNEL) -> object:
        """``__xa_cmpxchg()``: ``cmpxchg()`` with the lock held."""
        self._refuse_advanced(entry)
        xas = XaState(self, index)
        return self._result(xas, self._xa_cmpxchg(xas, old, entry, gfp))

    def insert_locked(self, index: int, entry: object, gfp: int = GFP_KERNEL) -> None:
        """``__xa_insert()``: ``insert()`` with the lock held."""
        self._refuse_advanced(entry)
        xas = XaState(self, index)
        current = self._xa_cmpxchg(xas, None, ZERO if entry is None else entry, gfp)
        self._result(xas, None)
        if current is not None:
            raise XArrayError(EBUSY, f"Index {index} of {self!r} is taken: erase or release it first.")

    def alloc_locked(self, entry: object, low: int = 0, high: int = UINT_MAX, gfp: int = GFP_KERNEL) -> int:
        """``__xa_alloc()``: ``alloc()`` with the lock held."""
        self._refuse_advanced(entry)
        self._require_track_free()
        index = self._xa_alloc(XaState(self, 0), entry, low, high, gfp)
        if index < 0:
            raise self._alloc_error(-index, low, high)
        return index

    def set_mark_locked(self, index: int, mark: int) -> None:
        """``__xa_set_mark()``: marks an entry; an index without one stays unmarked."""
        xas = XaState(self, index)
        if xas.load() is not None:
            xas.set_mark(mark)

    def clear_mark_locked(self, index: int, mark: int) -> None:
        """``__xa_clear_mark()``."""
        xas = XaState(self, index)
        if xas.load() is not None:
            xas.clear_mark(mark)


def xa_delete_node(node: XaNode, update: UpdateNode | None) -> None:
    """Remove a node and all that is below it from its array. For workingset code, which finds a node of nothing but
    shadow entries on its list. Lock of ``node.array`` held; ``update`` is called for the nodes above."""
    xa = node.array
    assert xa is not None, f"{node!r} is in no array: nothing to delete it from."
    xas = XaState(xa, (node.offset << (node.shift + XA_CHUNK_SHIFT)) & ULONG_MAX)
    xas.xa_shift = node.shift + XA_CHUNK_SHIFT
    xas.xa_offset = node.offset
    xas.xa_node = node.parent
    xas.xa_status = XAS_VALID
    xas.xa_update = update
    xas.store(None)
