"""The cursor's write side: growing, storing, shrinking, marks (the ``xas_`` functions of ``lib/xarray.c``).

The caller holds the array's lock. Memory is asked for with GFP_NOWAIT under the lock; when there is none the cursor
goes into the error state ENOMEM, the caller drops the lock and calls ``nomem()``, which allocates where it may sleep,
and does it again. Readers run all the while: every pointer is published in the order in which the kernel publishes it,
with a scheduling point before. Read as of Linux 7.3.
"""

from __future__ import annotations

from memviz.kernel.page import GFP_ACCOUNT, GFP_DIRECT_RECLAIM, GFP_NOWAIT
from memviz.kernel.xa_find import XaFind
from memviz.kernel.xa_node import (
    ALL_MARKED,
    ENOMEM,
    RETRY,
    SIBLINGS,
    ULONG_MAX,
    XA_CHUNK_MASK,
    XA_CHUNK_SHIFT,
    XA_CHUNK_SIZE,
    XA_FLAGS_ACCOUNT,
    XA_FREE_MARK,
    XA_MAX_MARKS,
    ZERO,
    XaNode,
    XaSibling,
    XaValue,
    max_index,
    xa_node_free,
)
from memviz.kernel.xa_walk import XAS_BOUNDS, XAS_VALID


class XaStore(XaFind):
    """``struct xa_state`` with storing and marking. Use ``XaState``."""

    # Memory.

    def _gfp(self, gfp: int) -> int:
        return gfp | GFP_ACCOUNT if self.xa.flags & XA_FLAGS_ACCOUNT else gfp

    def destroy(self) -> None:
        """Give back nodes that were allocated ahead and not used."""
        node = self.xa_alloc
        while node is not None:
            self.xa_alloc = node.parent
            self.xa.nodes.free(node)
            node = self.xa_alloc

    def nomem(self, gfp: int) -> bool:
        """Allocate one node if the cursor ran out of memory, without the lock. True: do the operation again.

        One is enough for progress: ``store`` finds it here, and the next round asks for the next one."""
        if self.xa_status != -ENOMEM:
            self.destroy()
            return False
        self.xa_alloc = self.xa.nodes.alloc(self._gfp(gfp))
        if self.xa_alloc is None:
            return False
        self.xa_alloc.parent = None
        self.reset()
        return True

    def nomem_locked(self, gfp: int) -> bool:
        """``nomem()`` for callers that hold the lock: it is dropped around an allocation that may sleep."""
        if self.xa_status != -ENOMEM:
            if self.xa_alloc is not None:
                self.destroy()
            return False
        if not gfp & GFP_DIRECT_RECLAIM:
            return self.nomem(gfp)
        self.xa.xa_unlock()
        done = self.nomem(gfp)
        self.xa.xa_lock()
        return done

    def _update(self, node: XaNode) -> None:
        """Tell the array's user that a node's counts changed. Without a callback no node may be on a private list."""
        if self.xa_update is not None:
            self.xa_update(node)
        else:
            assert node.private_list is None, (
                f"{node!r} is on a private list, but this store has no update callback: call set_update() first."
            )

    def _alloc(self, shift: int) -> XaNode | None:
        """A node for the slot under the cursor, not yet published. None: the cursor holds the error."""
        if self.xa_status != XAS_VALID:
            return None
        parent = self.xa_node
        node = self.xa_alloc
        if node is not None:
            self.xa_alloc = None
        else:
            node = self.xa.nodes.alloc(self._gfp(GFP_NOWAIT))
            if node is None:
                self.set_err(-ENOMEM)
                return None
        node.offset = 0  # a top node has none; the kernel leaves there what the memory last held
        if parent is not None:
            node.offset = self.xa_offset
            parent.count += 1
            self._update(parent)
        node.shift = shift
        node.count = 0
        node.nr_values = 0
        node.parent = parent
        node.array = self.xa
        return node

    # Publishing.

    def _publish(self, node: XaNode | None, offset: int, entry: object) -> None:
        """``rcu_assign_pointer()`` of a slot, or of the head: from here on readers see what is behind ``entry``."""
        xa = self.xa
        if xa.smp is not None:
            xa.smp.point("xa_publish")
        if node is None:
            xa.head = entry
        else:
            node.slots[offset] = entry

    # Growing and shrinking.

    def _max(self) -> int:
        """The highest index that must fit into the tree. An entry of several indices is never at the head itself."""
        last = self.xa_index
        if self.xa_shift or self.xa_sibs:
            mask = ((self.xa_sibs + 1 << self.xa_shift) - 1) & ULONG_MAX
            last |= mask
            if mask == last:
                last = (last + 1) & ULONG_MAX
        return last

    def _expand(self, head: object) -> int:
        """Put nodes on top until the index fits. Returns the shift above the head, or -ENOMEM."""
        last = self._max()
        shift = 0
        if head is None:
            if last == 0:
                return 0
            while last >> shift >= XA_CHUNK_SIZE:
                shift += XA_CHUNK_SHIFT
            return shift + XA_CHUNK_SHIFT
        if isinstance(head, XaNode):
            shift = head.shift + XA_CHUNK_SHIFT
        top = head if isinstance(head, XaNode) else None
        while last > max_index(head):
            node = self._alloc(shift)  # the cursor stands at the head, so it gets no parent
            if node is None:
                return -ENOMEM
            node.count = 1
            node.nr_values = 1 if isinstance(head, XaValue) else 0
            node.slots[0] = head
            self._expand_marks(node)
            if isinstance(head, XaNode):
                head.offset = 0
                head.parent = node
            head = node
            top = node
            self._publish(None, 0, head)
            self._update(node)
            shift += XA_CHUNK_SHIFT
        self.xa_node = top
        return shift

    def _expand_marks(self, node: XaNode) -> None:
        """What the head knew about marks moves into slot 0 of the new top node."""
        xa = self.xa
        for mark in range(XA_MAX_MARKS):
            if xa.track_free and mark == XA_FREE_MARK:
                node.marks[mark] = ALL_MARKED
                if not xa.marked(XA_FREE_MARK):
                    node.marks[mark] = ALL_MARKED - 1
                    xa.mark_set(XA_FREE_MARK)
            elif xa.marked(mark):
                node.marks[mark] |= 1

    def create(self, allow_root: bool = True) -> object:
        """Walk to the slot for the cursor's index and order, adding what nodes are missing (``xas_create``).

        Returns the entry that is there; None, and an error in the cursor, when memory ran out."""
        xa = self.xa
        if self.xa_status < 0:
            return None
        slot_node = self.xa_node  # the slot is in this node, or the head
        if slot_node is None:
            entry = xa.head
            self.xa_status = XAS_VALID
            shift = self._expand(ZERO if entry is None and xa.zero_busy else entry)
            if shift < 0:
                return None
            if shift == 0 and not allow_root:
                shift = XA_CHUNK_SHIFT
            entry = xa.head
        else:
            shift = slot_node.shift
            entry = slot_node.slots[self.xa_offset]
        order = self.xa_shift
        while shift > order:
            shift -= XA_CHUNK_SHIFT
            if entry is None:
                child = self._alloc(shift)
                if child is None:
                    break
                if xa.track_free:
                    child.marks[XA_FREE_MARK] = ALL_MARKED
                self._publish(slot_node, self.xa_offset, child)
            elif isinstance(entry, XaNode):
                child = entry
            else:
                break
            entry = self._descend(child)
            slot_node = child
        return entry

    def _shrink(self, node: XaNode) -> None:
        """Take nodes off the top that hold nothing but slot 0."""
        xa = self.xa
        while node.count == 1:
            entry = node.slots[0]
            if entry is None or (not isinstance(entry, XaNode) and node.shift):
                break
            if entry is ZERO and xa.zero_busy:
                entry = None
            self.xa_node = None
            self.xa_status = XAS_BOUNDS
            self._publish(None, 0, entry)
            if xa.track_free and not node.marks[XA_FREE_MARK] & 1:
                xa.mark_clear(XA_FREE_MARK)
            node.count = 0
            node.nr_values = 0
            if not isinstance(entry, XaNode):
                node.slots[0] = RETRY  # readers who stand here must start again at the head
            self._update(node)
            xa_node_free(xa, node)
            if not isinstance(entry, XaNode):
                break
            node = entry
            node.parent = None

    def _delete_node(self, node: XaNode) -> None:
        """Remove the node if it is empty, then its parent if that made it empty, and so on; then shrink.

        ``xas_delete_node()`` of 7.3 hands the node to RCU *before* it unlinks it. A grace period that begins between
        the two does not wait for a reader that finds the node there afterwards. We unlink first, unless the nodes'
        cache asks for mainline's order."""
        nodes = self.xa.nodes
        while node.count == 0:
            parent = node.parent
            self.xa_node = parent
            self.xa_offset = node.offset
            if nodes.frees_before_unlink:
                xa_node_free(self.xa, node)
            self._publish(parent, self.xa_offset, None)
            if not nodes.frees_before_unlink:
                xa_node_free(self.xa, node)
            if parent is None:
                self.xa_status = XAS_BOUNDS
                return
            parent.count -= 1
            node = parent
            self._update(node)
        if node.parent is None:
            self._shrink(node)

    def free_nodes(self, top: XaNode) -> None:
        """Free a subtree that was taken out of the array. Its entries become RETRY for the readers still inside."""
        smp = self.xa.smp
        node = top
        offset = 0
        while True:
            entry = node.slots[offset]
            if node.shift and isinstance(entry, XaNode):
                node = entry
                offset = 0
                continue
            if entry is not None:
                if smp is not None:
                    smp.point("xas_free_nodes")
                node.slots[offset] = RETRY
            offset += 1
            while offset == XA_CHUNK_SIZE:
                parent = node.parent
                offset = node.offset + 1
                node.count = 0
                node.nr_values = 0
                self._update(node)
                xa_node_free(self.xa, node)
                if node is top:
                    return
                assert parent is not None
                node = parent

    # Storing.

    def store(self, entry: object) -> object:
        """Put ``entry`` (None: erase) at the cursor's index and order; returns the old entry (``xas_store``).

        For several indices the return value says little: it may be a node or None, whatever was there."""
        if entry is not None:
            first = self.create(entry is not ZERO and not isinstance(entry, XaNode))
        else:
            first = self.load()
        if self.xa_status != XAS_VALID:
            return first
        node = self.xa_node
        if node is not None and self.xa_shift < node.shift:
            self.xa_sibs = 0
        if not self.xa_sibs and (first is entry or (isinstance(entry, XaValue) and first == entry)):
            return first
        if node is not None and self.xa_sibs:
            self._squash_marks(node)
        if entry is None:
            self.init_marks()  # before the entry goes, or a search for marks may find NULL and stop early
        if node is None:
            self._publish(None, 0, entry)
            if isinstance(first, XaNode):
                self.free_nodes(first)
            return first
        return self._store_slots(node, first, entry)

    def _store_slots(self, node: XaNode, first: object, entry: object) -> object:
        """Write the slots: ``entry`` and its siblings; NULL also over the siblings of what is erased."""
        is_value = isinstance(entry, XaValue)
        count = 0
        values = 0
        offset = self.xa_offset
        last = offset + self.xa_sibs
        old = first
        while True:
            self._publish(node, offset, entry)
            if isinstance(old, XaNode) and node.shift:
                self.free_nodes(old)
            count += (old is None) - (entry is None)
            values += (not isinstance(first, XaValue)) - (not is_value)
            if entry is not None:
                if offset == last:
                    break
                entry = SIBLINGS[self.xa_offset]
            elif offset == XA_CHUNK_MASK:
                break
            offset += 1
            old = node.slots[offset]
            if not isinstance(old, XaSibling):
                if entry is None and offset > last:
                    break
                first = old
        self._update_node(node, count, values)
        return first

    def _update_node(self, node: XaNode, count: int, values: int) -> None:
        if count == 0 and values == 0:
            return
        node.count += count
        node.nr_values = (node.nr_values + values) & 0xFF  # an unsigned char: it wraps, see xa_debug
        self._update(node)
        if count < 0:
            self._delete_node(node)

    # Marks.

    def _squash_marks(self, node: XaNode) -> None:
        """A mark on any slot of the range goes to its first slot; siblings carry none."""
        offset = self.xa_offset
        siblings = ((1 << self.xa_sibs) - 1) << (offset + 1)
        for mark in range(XA_MAX_MARKS):
            if node.marks[mark] & siblings:
                node.marks[mark] = (node.marks[mark] & ~siblings) | 1 << offset

    def set_mark(self, mark: int) -> None:
        """Mark the entry under the cursor, and every slot above it up to the head."""
        if self.xa_status != XAS_VALID:
            return
        node = self.xa_node
        offset = self.xa_offset
        smp = self.xa.smp
        while node is not None:
            bit = 1 << offset
            bitmap = node.marks[mark]
            if bitmap & bit:
                return
            if smp is not None:
                smp.point("xas_set_mark")
            node.marks[mark] = bitmap | bit
            offset = node.offset
            node = node.parent
        self.xa.mark_set(mark)

    def clear_mark(self, mark: int) -> None:
        """Unmark the entry under the cursor, and every slot above it with nothing marked left below."""
        if self.xa_status != XAS_VALID:
            return
        node = self.xa_node
        offset = self.xa_offset
        smp = self.xa.smp
        while node is not None:
            bit = 1 << offset
            bitmap = node.marks[mark]
            if not bitmap & bit:
                return
            if smp is not None:
                smp.point("xas_clear_mark")
            node.marks[mark] = bitmap & ~bit
            if bitmap != bit:
                return
            offset = node.offset
            node = node.parent
        self.xa.mark_clear(mark)

    def init_marks(self) -> None:
        """Marks of an index that holds nothing: the free mark set where free indices are tracked, the others clear."""
        track_free = self.xa.track_free
        for mark in range(XA_MAX_MARKS):
            if track_free and mark == XA_FREE_MARK:
                self.set_mark(mark)
            else:
                self.clear_mark(mark)
