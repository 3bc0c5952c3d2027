"""The cursor: ``struct xa_state``, the advanced interface to an XArray (``xas_`` in ``lib/xarray.c``).

``XaState(xa, index)`` aims at one index, ``XaState(xa, index, order)`` at a naturally aligned range. What only reads is
in ``xa_walk``, what writes in ``xa_store``; here are the operations on ranges: reserving room for a range, splitting a
multi-index entry, storing over one entry exactly. Read as of Linux 7.3; ``try_split()`` since 6.15.
"""

from __future__ import annotations

from memviz.kernel.page import GFP_NOWAIT
from memviz.kernel.xa_node import (
    EINVAL,
    ENOMEM,
    SIBLINGS,
    ULONG_MAX,
    XA_CHUNK_MASK,
    XA_CHUNK_SHIFT,
    XA_CHUNK_SIZE,
    XA_MAX_MARKS,
    XaNode,
    XaValue,
)
from memviz.kernel.xa_store import XaStore


class XaState(XaStore):
    """``struct xa_state``, complete."""

    def size(self) -> int:
        """The number of indices the cursor covers, modulo 2**64 (``xas_size``)."""
        return (self.xa_sibs + 1 << self.xa_shift) & ULONG_MAX

    def set_range(self, first: int, last: int) -> None:
        """Aim at the largest aligned piece of ``first..last`` that starts at ``first`` and fits into one node."""
        shift = 0
        sibs = last - first
        offset = XA_CHUNK_MASK
        self.set(first)
        while first & XA_CHUNK_MASK == 0:
            if sibs < XA_CHUNK_MASK or (sibs == XA_CHUNK_MASK and offset < XA_CHUNK_MASK):
                break
            shift += XA_CHUNK_SHIFT
            if offset == XA_CHUNK_MASK:
                offset = sibs & XA_CHUNK_MASK
            sibs >>= XA_CHUNK_SHIFT
            first >>= XA_CHUNK_SHIFT
        offset = first & XA_CHUNK_MASK
        if offset + sibs > XA_CHUNK_MASK:
            sibs = XA_CHUNK_MASK - offset
        if ((first + sibs + 1 << shift) - 1) & ULONG_MAX > last:
            sibs -= 1
        self.xa_shift = shift
        self.xa_sibs = sibs
        self.xa.multi = True

    def create_range(self) -> None:
        """Create all slots of the cursor's range, so that later stores into it need no memory.

        The cursor then works on single indices, from the first of the range. On ENOMEM it is as before, with the error:
        what was created stays."""
        index = self.xa_index
        shift = self.xa_shift
        sibs = self.xa_sibs
        self.xa_index |= ((sibs + 1 << shift) - 1) & ULONG_MAX
        if self.xa_node is not None and self.xa_node.shift == shift:
            self.xa_offset |= sibs
        self.xa_shift = 0
        self.xa_sibs = 0
        while True:
            self.create(True)
            if self.error():
                self.xa_shift = shift
                self.xa_sibs = sibs
                self.xa_index = index
                return
            if self.xa_index <= index | XA_CHUNK_MASK:
                break
            self.xa_index -= XA_CHUNK_SIZE
            node = self.xa_node
            while node is not None and node.shift < shift:
                self.xa_node = node.parent
                self.xa_offset = node.offset - 1
                if node.offset != 0:
                    break
                node = self.xa_node
        self.xa_index = index
        if self.xa_node is not None:
            self._set_offset(self.xa_node)

    # Splitting.

    def _init_node_for_split(self, node: XaNode, entry: object) -> None:
        """Fill a node with entries of the cursor's order within that node.

        Mainline's ``__xas_init_node_for_split()`` sets ``array`` here, without the lock. Whoever moves nodes would take
        such a node for one that is in the tree, without a parent, and publish it as the head. Here a node says which
        array it is in once it is."""
        canon = 0
        for i in range(XA_CHUNK_SIZE):
            if i & self.xa_sibs == 0:
                node.slots[i] = entry
                canon = i
            else:
                node.slots[i] = SIBLINGS[canon]

    def split_alloc(self, entry: object, order: int, gfp: int) -> None:
        """Allocate the nodes that splitting an entry of ``order`` into the cursor's order takes, without the lock.

        They hang on the cursor, filled with ``entry``. Error ENOMEM when there is no memory, or when the entry is two
        levels or more larger than its pieces: the kernel can't split that in one go."""
        sibs = (1 << order % XA_CHUNK_SHIFT) - 1
        if self.xa_shift + 2 * XA_CHUNK_SHIFT <= order:
            self.destroy()
            self.set_err(-ENOMEM)
            return
        if self.xa_shift + XA_CHUNK_SHIFT > order:
            return
        for _ in range(sibs + 1):
            node = self.xa.nodes.alloc(self._gfp(gfp))
            if node is None:
                self.destroy()
                self.set_err(-ENOMEM)
                return
            self._init_node_for_split(node, entry)
            node.parent = self.xa_alloc
            self.xa_alloc = node

    def split(self, entry: object, order: int) -> None:
        """Replace the entry of ``order`` at the cursor by entries of the cursor's order, each ``entry``; marks are
        copied to all. Lock held, nodes from ``split_alloc()``."""
        sibs = (1 << order % XA_CHUNK_SHIFT) - 1
        old = self.load()
        node = self.xa_node
        if node is None:
            return
        marks = self._node_get_marks(node, self.xa_offset)
        offset = self.xa_offset + sibs
        values = 0
        while True:
            if self.xa_shift < node.shift:
                child = self.xa_alloc
                assert child is not None, f"No node to split order {order} into: call split_alloc() first."
                self.xa_alloc = child.parent
                values += self._split_into_child(node, child, offset, old, entry, marks)
            else:
                offset -= self.xa_sibs
                values += self._split_in_place(node, offset, old, entry, marks)
            if offset <= self.xa_offset:
                break
            offset -= 1
        node.nr_values += values
        self._update(node)

    def try_split(self, entry: object, order: int) -> None:
        """Split at the cursor's index as far as at most one new node allows (since 6.15).

        The node is the cursor's, or is asked for with GFP_NOWAIT. Error EINVAL when it would take more, ENOMEM when
        there is none. ``try_split_min_order()`` is the smallest order one call can go to."""
        sibs = (1 << order % XA_CHUNK_SHIFT) - 1
        old = self.load()
        node = self.xa_node
        if node is None:
            return
        marks = self._node_get_marks(node, self.xa_offset)
        offset = self.xa_offset + sibs
        values = 0
        if self.xa_shift < node.shift:
            if sibs or self.xa_sibs != (1 << (order - 1) % XA_CHUNK_SHIFT) - 1:
                self.destroy()
                self.set_err(-EINVAL)
                return
            child = self.xa_alloc
            if child is None:
                child = self.xa.nodes.alloc(self._gfp(GFP_NOWAIT))
                if child is None:
                    self.set_err(-ENOMEM)
                    return
                child.parent = None
            self._init_node_for_split(child, entry)
            self.xa_alloc = child.parent
            values = self._split_into_child(node, child, offset, old, entry, marks)
        else:
            while True:
                offset -= self.xa_sibs
                values += self._split_in_place(node, offset, old, entry, marks)
                if offset <= self.xa_offset:
                    break
                offset -= 1
        node.nr_values += values
        self._update(node)

    def _split_into_child(
        self, node: XaNode, child: XaNode, offset: int, old: object, entry: object, marks: int
    ) -> int:
        """Hang ``child``, already filled, into a slot that the old entry covered. Returns the change of nr_values."""
        child.array = self.xa
        child.shift = node.shift - XA_CHUNK_SHIFT
        child.offset = offset
        child.count = XA_CHUNK_SIZE
        child.nr_values = XA_CHUNK_SIZE if isinstance(entry, XaValue) else 0
        child.parent = node
        every = 0  # the slots of the child that hold an entry and not a sibling
        for i in range(0, XA_CHUNK_SIZE, self.xa_sibs + 1):
            every |= 1 << i
        for mark in range(XA_MAX_MARKS):
            if marks >> mark & 1:
                node.marks[mark] |= 1 << offset
                child.marks[mark] |= every
        self._publish(node, offset, child)
        self._update(child)
        return -1 if isinstance(old, XaValue) else 0

    def _split_in_place(self, node: XaNode, canon: int, old: object, entry: object, marks: int) -> int:
        """Write one entry and its siblings into the node of the old entry. Returns the change of nr_values."""
        for mark in range(XA_MAX_MARKS):
            if marks >> mark & 1:
                node.marks[mark] |= 1 << canon
        self._publish(node, canon, entry)
        for offset in range(canon + self.xa_sibs, canon, -1):
            self._publish(node, offset, SIBLINGS[canon])
        return (int(isinstance(entry, XaValue)) - int(isinstance(old, XaValue))) * (self.xa_sibs + 1)

    def _node_get_marks(self, node: XaNode, offset: int) -> int:
        """Bit m: mark m is set on the slot."""
        marks = 0
        for mark in range(XA_MAX_MARKS):
            marks |= (node.marks[mark] >> offset & 1) << mark
        return marks


def try_split_min_order(order: int) -> int:
    """The smallest order one ``try_split()`` of an entry of ``order`` can go to."""
    if order % XA_CHUNK_SHIFT == 0:
        return order - 1 if order else 0
    return order - order % XA_CHUNK_SHIFT
