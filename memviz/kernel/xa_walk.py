"""The cursor's read side: walking an array without changing it (the ``xas_`` functions of ``lib/xarray.c``).

``struct xa_state`` keeps errors and special positions in the low bits of ``xa_node``. Here ``xa_status`` says them:

=================  ======================================================================================
``xa_status``      means
=================  ======================================================================================
``XAS_VALID``      ``xa_node`` is the node (None: at the head), ``xa_offset`` the slot
``XAS_BOUNDS``     the walk left the tree: the index is beyond what the nodes cover
``XAS_RESTART``    not walked yet, or the lock was dropped: start at the head
negative           an errno
=================  ======================================================================================

With virtual CPUs every read of something that others write is preceded by a scheduling point. The caller holds the RCU
read lock or the array's lock. Read as of Linux 7.3, which differs from 6.12 in how the end of a search is told:
``find()`` stops at once in the bounds state, ``pause()`` at the last index ends the walk instead of wrapping.
"""

from __future__ import annotations

from typing import Final

from memviz.kernel.xa_node import (
    RETRY,
    ULONG_MAX,
    XA_CHUNK_MASK,
    XA_CHUNK_SHIFT,
    XA_CHUNK_SIZE,
    ZERO,
    UpdateNode,
    XaHead,
    XaNode,
    XaSibling,
)

XAS_VALID: Final = 0
XAS_BOUNDS: Final = 1
XAS_RESTART: Final = 3


class XaWalk:
    """``struct xa_state`` with everything that only reads. Use ``XaState``."""

    def __init__(self, xa: XaHead, index: int, order: int = 0) -> None:
        self.xa: XaHead = xa
        self.xa_index: int = index & ULONG_MAX
        self.xa_shift: int = 0
        self.xa_sibs: int = 0
        self.xa_offset: int = 0
        self.xa_node: XaNode | None = None
        self.xa_status: int = XAS_RESTART
        self.xa_alloc: XaNode | None = None
        self.xa_update: UpdateNode | None = None
        if order:
            self.set_order(index, order)

    # Where the cursor is.

    def error(self) -> int:
        """0, or the negative errno the cursor is stuck on (``xas_error``)."""
        return self.xa_status if self.xa_status < 0 else 0

    def set_err(self, err: int) -> None:
        """Note a negative errno; ``reset()`` clears it."""
        self.xa_node = None
        self.xa_status = err

    def invalid(self) -> bool:
        """True in a restart, bounds or error state: no operation on the current slot is possible."""
        return self.xa_status != XAS_VALID

    def reset(self) -> None:
        """Forget position and error: the next walk starts at the head."""
        self.xa_node = None
        self.xa_status = XAS_RESTART

    def retry(self, entry: object) -> bool:
        """True when the entry says "look again": retry (then the walk restarts at the head) or zero (then go on)."""
        if entry is ZERO:
            return True
        if entry is not RETRY:
            return False
        self.reset()
        return True

    def set(self, index: int) -> None:
        """Aim at another index; the next walk starts at the head."""
        self.xa_index = index & ULONG_MAX
        self.reset()

    def set_order(self, index: int, order: int) -> None:
        """Aim at the naturally aligned entry of ``2**order`` indices around ``index``."""
        self.xa_index = (index & ULONG_MAX) >> order << order
        self.xa_shift = order - order % XA_CHUNK_SHIFT
        self.xa_sibs = (1 << (order % XA_CHUNK_SHIFT)) - 1
        self.xa.multi = True
        self.reset()

    def set_update(self, update: UpdateNode | None) -> None:
        """Call ``update(node)``, with the lock held, whenever a node's counts change. Its user keeps lists of nodes."""
        self.xa_update = update

    def advance(self, index: int) -> None:
        """Move within the current node to ``index``, the last one of a multi-index entry (``xas_advance``)."""
        node = self.xa_node
        self.xa_index = index
        self.xa_offset = (index >> (node.shift if node is not None else 0)) & XA_CHUNK_MASK

    def _set_bounds(self) -> None:
        self.xa_node = None
        self.xa_status = XAS_BOUNDS

    def _set_offset(self, node: XaNode) -> None:
        self.xa_offset = (self.xa_index >> node.shift) & XA_CHUNK_MASK

    def _move_index(self, node: XaNode, offset: int) -> None:
        """Let the index follow the offset: its bits below this node become zero, a carry may run upwards or wrap."""
        shift = node.shift
        self.xa_index = ((self.xa_index >> shift >> XA_CHUNK_SHIFT << XA_CHUNK_SHIFT) + offset << shift) & ULONG_MAX

    def _xa_entry(self, node: XaNode, offset: int) -> object:
        """Read a slot that another CPU may be writing (``xa_entry``)."""
        smp = self.xa.smp
        if smp is not None:
            smp.current.xa_node = node
            smp.point("xa_entry")
        return node.slots[offset]

    def _xa_head(self) -> object:
        """Read the head that another CPU may be writing (``xa_head``)."""
        smp = self.xa.smp
        if smp is not None:
            smp.point("xa_head")
        return self.xa.head

    def _to_parent(self, node: XaNode) -> None:
        """Climb one level. The parent may be None, and may change under us while nodes are moved or added on top."""
        smp = self.xa.smp
        if smp is not None:
            smp.point("xa_parent")
        self.xa_node = node.parent

    # Loading.

    def _start(self) -> object:
        """Begin a walk: the entry under a valid cursor, else the head; None, and bounds, when the index is outside."""
        if self.xa_status != XAS_VALID:
            if self.xa_status < 0:
                return None
            entry = self._xa_head()
            if isinstance(entry, XaNode):
                if self.xa_index >> entry.shift > XA_CHUNK_MASK:
                    self._set_bounds()
                    return None
            elif self.xa_index:
                self._set_bounds()
                return None
            self.xa_node = None
            self.xa_status = XAS_VALID
            return entry
        return self.reload()

    def _descend(self, node: XaNode) -> object:
        """Step into ``node``; a sibling leads to the slot that holds its entry."""
        smp = self.xa.smp
        offset = (self.xa_index >> node.shift) & XA_CHUNK_MASK
        if smp is not None:
            smp.current.xa_node = node
            smp.point("xas_descend")
        entry = node.slots[offset]
        self.xa_node = node
        while isinstance(entry, XaSibling):
            offset = entry.offset
            entry = self._xa_entry(node, offset)
            if node.shift and isinstance(entry, XaNode):
                # A writer replaced the multi-index entry between our two reads: the sibling is out of date.
                entry = RETRY
        self.xa_offset = offset
        return entry

    def load(self) -> object:
        """Walk to the index and return the raw entry there (``xas_load``). Never grows the tree.

        With an order set the walk stops at the level of that order and may return a node."""
        entry = self._start()
        while isinstance(entry, XaNode):
            if self.xa_shift > entry.shift:
                break
            node = entry
            entry = self._descend(node)
            if node.shift == 0:
                break
        return entry

    def reload(self) -> object:
        """Read the current slot again (``xas_reload``). The cursor must be valid."""
        node = self.xa_node
        if node is None:
            return self._xa_head()
        entry = self._xa_entry(node, (self.xa_index >> node.shift) & XA_CHUNK_MASK)
        if isinstance(entry, XaSibling):
            return self._xa_entry(node, entry.offset)
        return entry

    def get_order(self) -> int:
        """The order of the entry just loaded: it spans ``2**order`` indices."""
        node = self.xa_node
        if node is None:
            return 0
        order = 0
        while True:
            slot = self.xa_offset + (1 << order)
            if slot >= XA_CHUNK_SIZE or not isinstance(self._xa_entry(node, slot), XaSibling):
                return order + node.shift
            order += 1

    def get_mark(self, mark: int) -> bool:
        """Is the entry under the cursor marked?"""
        if self.xa_status != XAS_VALID:
            return False
        node = self.xa_node
        if node is None:
            return self.xa.marked(mark)
        return node.marks[mark] >> self.xa_offset & 1 != 0

    # Stepping by one index.

    def next(self) -> object:
        """The entry at the next index, present or not; after the last index comes 0 (``xas_next``)."""
        return self._step(1)

    def prev(self) -> object:
        """The entry at the index before; before 0 comes the last index (``xas_prev``)."""
        return self._step(-1)

    def _step(self, by: int) -> object:
        if self.xa_status == XAS_VALID or self.xa_status == XAS_BOUNDS:
            self.xa_index += by
            if self.xa_index >> 64:
                # Round the end. __xas_next() and __xas_prev() of 7.3 step on in the node they are in, which has 16 of
                # its 64 slots at most at that level, and so miss what is at the other end.
                self.xa_index &= ULONG_MAX
                self.reset()
        if self.xa_status != XAS_VALID:
            return self.load()
        node = self.xa_node
        if node is None:
            self._set_bounds()
            return None
        if self.xa_offset != (self.xa_index >> node.shift) & XA_CHUNK_MASK:
            self.xa_offset += by
        while not 0 <= self.xa_offset < XA_CHUNK_SIZE:
            self.xa_offset = node.offset + by
            self._to_parent(node)
            node = self.xa_node
            if node is None:
                self._set_bounds()
                return None
        while True:
            entry = self._xa_entry(node, self.xa_offset)
            if not isinstance(entry, XaNode):
                return entry
            node = entry
            self.xa_node = node
            self._set_offset(node)

    def pause(self) -> None:
        """Prepare to drop the lock in a forward walk: the next ``find()`` starts behind the current entry."""
        if self.xa_status != XAS_VALID:
            return
        node = self.xa_node
        self.reset()
        if node is None:
            self.xa_index = (self.xa_index + 1) & ULONG_MAX
            return
        offset = self.xa_offset + 1
        while offset < XA_CHUNK_SIZE and isinstance(self._xa_entry(node, offset), XaSibling):
            offset += 1
        index = self.xa_index >> node.shift << node.shift
        self.xa_index = (index + (offset - self.xa_offset << node.shift)) & ULONG_MAX
        if self.xa_index == 0:
            self._set_bounds()
