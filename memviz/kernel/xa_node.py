"""What an XArray is made of: entries, nodes, the head, and the place nodes come from (``include/linux/xarray.h``).

The kernel tells entries apart by their low bits. Here they are told apart by type, which says the same:

============  ===========================  =============================================================
entry         in the kernel                here
============  ===========================  =============================================================
NULL          0                            ``None``
value         low bit set, 63 bits         ``XaValue``, made by ``value(n)``
pointer       low bits 00                  any other object
node          internal, above 4096         ``XaNode``
sibling       internal 0..62               ``XaSibling``: "my entry is in that slot of this node"
retry         internal 256                 ``RETRY``: the node was taken out of the tree, start again
zero          internal 257                 ``ZERO``: the index is taken, loads see NULL
============  ===========================  =============================================================

A node is 576 bytes in the kernel: 64 slots, three bitmaps of marks, a parent, the array it belongs to. As in a slab
with a constructor a node object outlives its use: it goes back to its cache with empty slots and marks, and is handed
out again as it is. Read as of Linux 7.3.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from mypy_extensions import mypyc_attr

from memviz.kernel.rcu import Rcu
from memviz.kernel.smp import Smp
from memviz.kernel.spinlock import SpinLock

XA_CHUNK_SHIFT: Final = 6
XA_CHUNK_SIZE: Final = 64
XA_CHUNK_MASK: Final = 63
XA_MAX_MARKS: Final = 3
ULONG_MAX: Final = 0xFFFF_FFFF_FFFF_FFFF
BITS_PER_LONG: Final = 64
ALL_MARKED: Final = 0xFFFF_FFFF_FFFF_FFFF  # a bitmap of 64 slots, every bit set
XA_NODE_BYTES: Final = 576  # sizeof(struct xa_node) on 64-bit; the slab adds 8 for the free pointer

XA_MARK_0: Final = 0
XA_MARK_1: Final = 1
XA_MARK_2: Final = 2
XA_FREE_MARK: Final = 0  # of an allocating array: this index, or something below this slot, is free
XA_PRESENT: Final = 8  # filter of find and extract: any entry that is not NULL

XA_FLAGS_LOCK_IRQ: Final = 1
XA_FLAGS_LOCK_BH: Final = 2
XA_FLAGS_TRACK_FREE: Final = 4
XA_FLAGS_ZERO_BUSY: Final = 8
XA_FLAGS_ALLOC_WRAPPED: Final = 16
XA_FLAGS_ACCOUNT: Final = 32
XA_FLAGS_MARK_SHIFT: Final = 26  # mark m of the head is bit SHIFT + m
XA_FLAGS_ALLOC: Final = 0x0400_0004  # TRACK_FREE | MARK(FREE)
XA_FLAGS_ALLOC1: Final = 12  # TRACK_FREE | ZERO_BUSY

EINVAL: Final = 22
ENOMEM: Final = 12
EBUSY: Final = 16


class XaValue:
    """A value entry: an integer of 63 bits stored in the slot itself. Equal numbers are the same entry."""

    def __init__(self, n: int) -> None:
        self.n = n

    def __eq__(self, other: object) -> bool:
        return isinstance(other, XaValue) and other.n == self.n

    def __hash__(self) -> int:
        return self.n

    def __repr__(self) -> str:
        return f"v{self.n}"


class XaSibling:
    """A sibling entry: this slot belongs to the multi-index entry whose first slot is ``offset`` of the same node."""

    def __init__(self, offset: int) -> None:
        self.offset = offset

    def __repr__(self) -> str:
        return f"s{self.offset}"


class XaInternal:
    """An internal entry that carries nothing but its name: retry or zero."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return self.name


RETRY: Final = XaInternal("retry")
ZERO: Final = XaInternal("zero")
SIBLINGS: Final = tuple([XaSibling(offset) for offset in range(XA_CHUNK_SIZE)])


def value(n: int) -> XaValue:
    """The value entry that holds ``n``, 0 <= n < 2**63. Raises ValueError when it doesn't fit into an entry."""
    if n < 0 or n >> 63:
        raise ValueError(f"{n} is no value entry: an entry holds 63 bits; store a number from 0 to 2**63 - 1.")
    return XaValue(n)


def is_value(entry: object) -> bool:
    """Is the entry a value? (``xa_is_value``)"""
    return isinstance(entry, XaValue)


def to_value(entry: object) -> int:
    """The number in a value entry. Raises TypeError for any other entry."""
    if not isinstance(entry, XaValue):
        raise TypeError(f"{entry!r} is not a value entry: ask is_value() first.")
    return entry.n


def is_sibling(entry: object) -> bool:
    """Is the entry a sibling? (``xa_is_sibling``)"""
    return isinstance(entry, XaSibling)


def to_sibling(entry: object) -> int:
    """The slot a sibling entry points at. Raises TypeError for any other entry."""
    if not isinstance(entry, XaSibling):
        raise TypeError(f"{entry!r} is not a sibling entry: ask is_sibling() first.")
    return entry.offset


def is_internal(entry: object) -> bool:
    """Is the entry one that only the array itself makes: node, sibling, retry, zero?"""
    return isinstance(entry, (XaNode, XaSibling, XaInternal))


def is_advanced(entry: object) -> bool:
    """May only the advanced interface store this entry? (``xa_is_advanced``: internal, but not zero)"""
    return entry is not ZERO and is_internal(entry)


class XaNode:
    """``struct xa_node``: 64 slots and what is known about them.

    ``shift`` is the number of index bits below a slot, ``offset`` the node's slot in ``parent``. ``count`` counts all
    slots that are not NULL, ``nr_values`` the values and the siblings of values among them. ``marks`` are three bitmaps
    of 64 bits. ``array`` is the array it is in: None since construction, ``XA_RCU_FREE`` once it waits to be freed.
    ``private_list`` is the list of the user it is on (the page cache's shadow nodes), None when on none. ``addr`` is
    its address in slab memory, 0 when it lives in no slab. ``root`` is the radix tree that it is in
    (``struct radix_tree_node``, 4.11 to 4.19), None in an array.
    """

    def __init__(self, addr: int = 0) -> None:
        self.shift: int = 0
        self.offset: int = 0
        self.count: int = 0
        self.nr_values: int = 0
        self.parent: XaNode | None = None
        self.array: XaHead | None = None
        self.slots: list[object] = [None] * XA_CHUNK_SIZE
        self.marks: list[int] = [0, 0, 0]
        self.private_list: object = None
        self.root: object = None
        self.addr: int = addr

    def clear(self) -> None:
        """Return to the constructed state, as ``radix_tree_node_rcu_free()`` does: slots, marks and list. What is in
        ``array``, ``parent``, ``shift`` and ``count`` stays, and is stale when the node is allocated again."""
        self.slots = [None] * XA_CHUNK_SIZE
        self.marks = [0, 0, 0]
        self.private_list = None
        self.root = None

    def first_index(self) -> int:
        """The first index below this node, as far as its parents tell."""
        index = 0
        node = self
        while node.parent is not None:
            index |= node.offset << node.parent.shift
            node = node.parent
        return index

    def __repr__(self) -> str:
        return f"<XaNode {self.addr:#x} shift {self.shift} offset {self.offset} count {self.count}>"


@mypyc_attr(allow_interpreted_subclasses=True)
class NodeCache:
    """Where nodes live. This base class is the private cache of an array that is in no machine.

    It never runs out of memory, and its grace period is the garbage collector's: a freed node keeps its slots for as
    long as a cursor still points at it. A machine's cache (nodes are slab objects, freed through RCU) overrides
    ``alloc``, ``free`` and ``free_rcu``. Two things that mainline does must be asked for, because they are wrong when
    nodes move: a freed node keeps ``XA_RCU_FREE`` in ``array``, so that it still looks freed when it is allocated again
    (``clears_array`` False), and an emptied node is handed to RCU before it is unlinked (``frees_before_unlink`` True).
    """

    def __init__(self, clears_array: bool = True, frees_before_unlink: bool = False) -> None:
        self.clears_array: bool = clears_array
        self.frees_before_unlink: bool = frees_before_unlink

    def alloc(self, gfp: int) -> XaNode | None:
        """A constructed node (slots and marks empty, on no list), or None when there is no memory. May sleep only if
        ``gfp`` allows direct reclaim."""
        return XaNode()

    def free(self, node: XaNode) -> None:
        """Take back a node that no reader ever saw."""
        self.rcu_free(node)

    def free_rcu(self, node: XaNode) -> None:
        """Take back a node after a grace period. ``node.array`` is ``XA_RCU_FREE`` by now."""

    def rcu_free(self, node: XaNode) -> None:
        """What the RCU callback does to a node before it goes back to its slab (``radix_tree_node_rcu_free``)."""
        node.clear()
        if self.clears_array:
            node.array = None


UpdateNode = Callable[[XaNode], None]


class XaHead:
    """``struct xarray``: lock, flags, head. ``head`` is None, a node, or an entry, which is then the one at index 0."""

    def __init__(self, flags: int, nodes: NodeCache) -> None:
        self.flags: int = flags
        self.head: object = None
        self.track_free: bool = flags & XA_FLAGS_TRACK_FREE != 0
        self.zero_busy: bool = flags & XA_FLAGS_ZERO_BUSY != 0
        self.lock_irq: bool = flags & XA_FLAGS_LOCK_IRQ != 0
        self.multi: bool = False  # multi-index entries were stored at some time
        self.freed: bool = False  # poison: the memory that it lies in was given back
        self.nodes: NodeCache = nodes
        self.ident: int = 0  # whose it is, as events tell it: the number of a file; 0: nobody's
        self.lock: SpinLock | None = None
        self.smp: Smp | None = None
        self.rcu: Rcu | None = None

    def xa_lock(self) -> None:
        """Take the array's lock, with interrupts off if the array was made so. Nothing to do for a bare array."""
        lock = self.lock
        if lock is None:
            return
        if self.freed:
            lock.smp.bug("use after free", f"{lock.name} is taken, but the memory that it lies in was freed")
        if self.lock_irq:
            lock.lock_irq()
        else:
            lock.lock()

    def xa_unlock(self) -> None:
        """Release what ``xa_lock()`` took."""
        lock = self.lock
        if lock is None:
            return
        if self.lock_irq:
            lock.unlock_irq()
        else:
            lock.unlock()

    def marked(self, mark: int) -> bool:
        """Is any entry of the array marked so? (``xa_marked``)"""
        return self.flags >> (XA_FLAGS_MARK_SHIFT + mark) & 1 != 0

    def mark_set(self, mark: int) -> None:
        """Note at the head that something is marked (``xa_mark_set``)."""
        self.flags |= 1 << (XA_FLAGS_MARK_SHIFT + mark)

    def mark_clear(self, mark: int) -> None:
        """Note at the head that nothing is marked any more (``xa_mark_clear``)."""
        self.flags &= ~(1 << (XA_FLAGS_MARK_SHIFT + mark))


# (struct xarray *)1 in the kernel: in node->array it says that the node waits for RCU. No array, never to be locked.
XA_RCU_FREE: Final = XaHead(0, NodeCache())


def xa_node_free(xa: XaHead, node: XaNode) -> None:
    """Free a node that readers may still stand on."""
    node.array = XA_RCU_FREE
    xa.nodes.free_rcu(node)


def max_index(entry: object) -> int:
    """The highest index an array with this head can hold without growing."""
    if isinstance(entry, XaNode):
        return min((XA_CHUNK_SIZE << entry.shift) - 1, ULONG_MAX)
    return 0
