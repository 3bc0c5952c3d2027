"""The radix tree before the XArray (``lib/radix-tree.c`` up to Linux 4.16): its callers bring lock and memory.

Two things about it keep its nodes where they are, and they are the two the thread begins with:

- *The lock is the caller's.* A mutex, a spinlock, with interrupts off or not: the tree cannot know. Since 4.11 a node
  has a pointer to its tree's ``root``, but no lock is to be found there either: whoever wants to move a node has
  nothing to shut writers out with. Here ``array`` of such a node is None for ever, so that the node cache's first
  callback would find it "in no tree yet" and leave its slab alone. (4.17 put ``xa_lock`` into the root, on the way to
  the XArray of 4.20.)
- *Nodes are preloaded.* A caller that will insert under a spinlock fills a per-CPU stash first, for the worst case: 21
  nodes a CPU. They belong to no tree, and whatever slabs they lie in stay.

The nodes are the same objects as the XArray's. Tags are what the XArray calls marks.
"""

from __future__ import annotations

from typing import Final

from memviz.kernel.page import GFP_ATOMIC
from memviz.kernel.radix_preload import RADIX_TREE_PRELOAD_SIZE, RadixTreePreload
from memviz.kernel.rcu import Rcu
from memviz.kernel.smp import Smp
from memviz.kernel.xa_debug import xa_dump
from memviz.kernel.xa_find import find_next_mark
from memviz.kernel.xa_node import (
    ENOMEM,
    RETRY,
    ULONG_MAX,
    XA_CHUNK_MASK,
    XA_CHUNK_SHIFT,
    XA_CHUNK_SIZE,
    XA_MAX_MARKS,
    NodeCache,
    UpdateNode,
    XaNode,
    XaValue,
    max_index,
)

__all__ = ["EEXIST", "RADIX_TREE_PRELOAD_SIZE", "RadixTree", "RadixTreeError", "RadixTreePreload"]

EEXIST: Final = 17


class RadixTreeError(Exception):
    """An operation failed. ``errno`` is positive: EEXIST, ENOMEM."""

    def __init__(self, errno: int, message: str) -> None:
        super().__init__(message)
        self.errno = errno


class RadixTree:
    """``struct radix_tree_root``. Every change needs the caller's lock, lookups the RCU read lock or the caller's.

    ``rnode``: None, a node, or the item of index 0. ``preload``: where nodes come from when the slab has none; without
    it an insertion may fail with ENOMEM. ``gfp``: how nodes are asked for under the caller's lock. ``update(node)``
    hears of every change of a node's counts (in Linux an argument of the calls that change them).
    """

    def __init__(
        self,
        nodes: NodeCache | None = None,
        preload: RadixTreePreload | None = None,
        gfp: int = GFP_ATOMIC,
        smp: Smp | None = None,
        rcu: Rcu | None = None,
        name: str = "",
        update: UpdateNode | None = None,
    ) -> None:
        self.nodes: NodeCache = nodes if nodes is not None else NodeCache()
        self.preload = preload
        self.gfp = gfp
        self.smp = smp
        self.rcu = rcu
        self.name = name
        self.update = update
        self.rnode: object = None
        self.tags: int = 0  # bit t: something in the tree has tag t

    def __repr__(self) -> str:
        return f"<RadixTree {self.name or 'unnamed'}>"

    # Lookup.

    def lookup(self, index: int) -> object:
        """The item at ``index`` or None."""
        if self.rcu is not None:
            self.rcu.read_lock()
        item = self._find(index)[1]
        while item is RETRY:
            item = self._find(index)[1]
        if self.rcu is not None:
            self.rcu.read_unlock()
        return item

    def _find(self, index: int) -> tuple[XaNode | None, object]:
        """The node that ``index`` has its slot in (None: the root itself), and what is in the slot."""
        smp = self.smp
        if smp is not None:
            smp.point("radix_tree_load_root")
        entry = self.rnode
        if index > max_index(entry):
            return None, None
        node: XaNode | None = None
        while isinstance(entry, XaNode):
            node = entry
            if smp is not None:
                smp.current.xa_node = node
                smp.point("radix_tree_descend")
            entry = node.slots[(index >> node.shift) & XA_CHUNK_MASK]
        return node, entry

    def gang_lookup(self, first: int, max_items: int, tag: int | None = None) -> list[tuple[int, object]]:
        """At most ``max_items`` pairs of index and item from ``first`` on, in order; with ``tag`` only those tagged."""
        if self.rcu is not None:
            self.rcu.read_lock()
        found: list[tuple[int, object]] = []
        while not self._gather_from(first, max_items, tag, found):
            if found:
                first = found[-1][0] + 1
        if self.rcu is not None:
            self.rcu.read_unlock()
        return found

    def _gather_from(self, first: int, max_items: int, tag: int | None, found: list[tuple[int, object]]) -> bool:
        """Collect from the root down. False: what it stood on has left the tree, go on from the root."""
        if self.smp is not None:
            self.smp.point("radix_tree_load_root")
        root = self.rnode
        if isinstance(root, XaNode):
            if first <= max_index(root):
                return self._gather(root, 0, first, max_items, tag, found)
        elif root is not None and first == 0 and max_items and (tag is None or self.tagged(tag)):
            found.append((0, root))
        return True

    def _gather(
        self, node: XaNode, base: int, first: int, n: int, tag: int | None, found: list[tuple[int, object]]
    ) -> bool:
        """Collect what is below ``node``, whose slot 0 has index ``base``. False: start again at the root."""
        smp = self.smp
        offset = (first - base) >> node.shift if first > base else 0
        while offset < XA_CHUNK_SIZE and len(found) < n:
            if tag is not None:
                offset = find_next_mark(node.marks[tag], offset)
                if offset == XA_CHUNK_SIZE:
                    return True
            if smp is not None:
                smp.current.xa_node = node
                smp.point("radix_tree_next_chunk")
            entry = node.slots[offset]
            index = base + (offset << node.shift)
            if isinstance(entry, XaNode):
                if not self._gather(entry, index, first, n, tag, found):
                    return False
            elif entry is RETRY:
                return False
            elif entry is not None:
                found.append((index, entry))
            offset += 1
        return True

    # Insertion.

    def insert(self, index: int, item: object) -> None:
        """Put ``item`` at ``index``. Raises RadixTreeError: EEXIST, and ENOMEM if neither slab nor stash has a node."""
        if item is None or isinstance(item, XaNode) or item is RETRY:
            raise ValueError(f"{self!r} can't hold {item!r}: items are objects, not nodes and not None.")
        index &= ULONG_MAX
        node = self._create(index)
        if node is None:
            if self.rnode is not None:
                raise self._exists(index)
            self._publish(None, 0, item)
            return
        offset = (index >> node.shift) & XA_CHUNK_MASK
        if node.slots[offset] is not None:
            raise self._exists(index)
        self._publish(node, offset, item)
        node.count += 1
        if isinstance(item, XaValue):
            node.nr_values += 1
        if self.update is not None:
            self.update(node)

    def _exists(self, index: int) -> RadixTreeError:
        return RadixTreeError(EEXIST, f"{self!r} holds an item at {index} already: delete or replace it.")

    def _create(self, index: int) -> XaNode | None:
        """The lowest node for ``index``, with all that are missing on the way; None: the root holds index 0 itself."""
        if index > max_index(self.rnode):
            self._extend(index)
        entry = self.rnode
        if not isinstance(entry, XaNode):
            return None
        node = entry
        while node.shift:
            offset = (index >> node.shift) & XA_CHUNK_MASK
            entry = node.slots[offset]
            if not isinstance(entry, XaNode):
                child = self._node_alloc(node, node.shift - XA_CHUNK_SHIFT, offset)
                self._publish(node, offset, child)
                node.count += 1
                entry = child
            node = entry
        return node

    def _extend(self, index: int) -> None:
        """Put levels on top until ``index`` fits (``radix_tree_extend``)."""
        root = self.rnode
        shift = root.shift + XA_CHUNK_SHIFT if isinstance(root, XaNode) else 0
        if root is None:
            while index >> shift >= XA_CHUNK_SIZE:
                shift += XA_CHUNK_SHIFT
            self._publish(None, 0, self._node_alloc(None, shift, 0))
            return
        while index > max_index(root):
            node = self._node_alloc(None, shift, 0)
            for tag in range(XA_MAX_MARKS):
                node.marks[tag] = self.tags >> tag & 1
            node.slots[0] = root
            node.count = 1
            if isinstance(root, XaNode):
                root.parent = node
            elif isinstance(root, XaValue):
                node.nr_values = 1
            self._publish(None, 0, node)
            if (
                self.update is not None
            ):  # as the XArray does; Linux 4.16 tells nobody of a node that holds one shadow now
                self.update(node)
            root = node
            shift += XA_CHUNK_SHIFT

    def _node_alloc(self, parent: XaNode | None, shift: int, offset: int) -> XaNode:
        """``radix_tree_node_alloc()``: from the slab, else from this CPU's stash."""
        node = self.nodes.alloc(self.gfp)
        if node is None and self.preload is not None:
            node = self.preload.take()
        if node is None:
            self._delete_empty(parent)
            raise RadixTreeError(ENOMEM, f"No memory for a node of {self!r}: preload before taking the lock.")
        node.shift = shift
        node.offset = offset
        node.count = 0
        node.nr_values = 0
        node.parent = parent
        node.array = None  # it says no lock: what nobody can find out cannot be moved
        node.root = self
        return node

    def _publish(self, node: XaNode | None, offset: int, entry: object) -> None:
        if self.smp is not None:
            self.smp.point("radix_tree_publish")
        if node is None:
            self.rnode = entry
        else:
            node.slots[offset] = entry

    # Replacement and deletion.

    def replace(self, index: int, item: object) -> object:
        """Put ``item`` where an item is, and return that; KeyError where none is."""
        node, old = self._find(index)
        if old is None:
            raise KeyError(f"{self!r} holds nothing at {index}: insert it.")
        self._publish(node, (index >> node.shift) & XA_CHUNK_MASK if node is not None else 0, item)
        if node is not None:
            node.nr_values += isinstance(item, XaValue) - isinstance(old, XaValue)
            if self.update is not None:
                self.update(node)
        return old

    def delete(self, index: int) -> object:
        """Remove and return the item at ``index`` (None: there was none), with its tags and the nodes it needed."""
        node, item = self._find(index)
        if item is None:
            return None
        for tag in range(XA_MAX_MARKS):
            if self.tagged(tag):
                self.tag_clear(index, tag)
        if node is None:
            self._publish(None, 0, None)
            return item
        self._publish(node, (index >> node.shift) & XA_CHUNK_MASK, None)
        node.count -= 1
        if isinstance(item, XaValue):
            node.nr_values -= 1
        if self.update is not None:
            self.update(node)
        self._delete_empty(node)
        return item

    def _delete_empty(self, node: XaNode | None) -> None:
        """Remove nodes that hold nothing, upwards; then levels that are not needed (``delete_node``)."""
        while node is not None:
            if node.count:
                if node is self.rnode:
                    self._shrink(node)
                return
            parent = node.parent
            if parent is None:
                self._publish(None, 0, None)
                self.tags = 0
            else:
                self._publish(parent, node.offset, None)
                parent.count -= 1
            self.nodes.free_rcu(node)
            node = parent

    def _shrink(self, node: XaNode) -> None:
        """Take levels off the top that hold nothing but slot 0."""
        while node.count == 1:
            child = node.slots[0]
            if child is None or (not isinstance(child, XaNode) and node.shift):
                return
            if isinstance(child, XaNode):
                child.parent = None
            self._publish(None, 0, child)
            if not isinstance(child, XaNode):
                node.count = 0
                node.nr_values = 0
                node.slots[0] = RETRY  # readers who stand here must start again at the root
                if self.update is not None:
                    self.update(node)
            self.nodes.free_rcu(node)
            if not isinstance(child, XaNode):
                return
            node = child

    # Tags.

    def tag_set(self, index: int, tag: int) -> None:
        """Tag the item at ``index``; KeyError when there is none."""
        node, item = self._find(index)
        if item is None:
            raise KeyError(f"{self!r} holds nothing at {index} to tag.")
        self.tags |= 1 << tag
        offset = (index >> node.shift) & XA_CHUNK_MASK if node is not None else 0
        while node is not None:
            node.marks[tag] |= 1 << offset
            offset = node.offset
            node = node.parent

    def tag_clear(self, index: int, tag: int) -> None:
        """Remove the tag of the item at ``index``, and above it where nothing else is tagged."""
        node, _ = self._find(index)
        if index > max_index(self.rnode):
            return
        offset = (index >> node.shift) & XA_CHUNK_MASK if node is not None else 0
        while node is not None:
            node.marks[tag] &= ~(1 << offset)
            if node.marks[tag]:
                return
            offset = node.offset
            node = node.parent
        self.tags &= ~(1 << tag)

    def tag_get(self, index: int, tag: int) -> bool:
        """Is the item at ``index`` tagged?"""
        node, item = self._find(index)
        if item is None or not self.tagged(tag):
            return False
        return node is None or node.marks[tag] >> (index >> node.shift & XA_CHUNK_MASK) & 1 != 0

    def tagged(self, tag: int) -> bool:
        """Is anything in the tree tagged so?"""
        return self.tags >> tag & 1 != 0

    # Looking at it.

    def empty(self) -> bool:
        """Does the tree hold nothing?"""
        return self.rnode is None

    def top(self) -> object:
        """What the root has: the top node, None, or the item that is all there is."""
        return self.rnode

    def nodes_in_tree(self) -> list[XaNode]:
        """All nodes, parents before their children, each level in the order of indices."""
        nodes: list[XaNode] = [self.rnode] if isinstance(self.rnode, XaNode) else []
        for node in nodes:  # grows while it is walked
            nodes.extend(entry for entry in node.slots if isinstance(entry, XaNode))
        return nodes

    def dump(self) -> str:
        """The tree as one line, in the format of ``XArray.dump()``."""
        return xa_dump(self.rnode)

    def check(self, tight: bool = False) -> None:
        """Verify counts, parents, offsets and tags; AssertionError says in a sentence what is wrong where. ``tight``:
        no node may be empty either."""
        for node in self.nodes_in_tree():
            assert node.array is None, f"{node!r} is in a radix tree, but says it is in {node.array!r}."
            assert node.root is self, f"{node!r} is in {self!r}, but says its root is {node.root!r}."
            present = [entry for entry in node.slots if entry is not None]
            assert present or not tight, f"{node!r} is empty: it should have been freed."
            assert node.count == len(present), f"{node!r} counts {node.count} entries: there are {len(present)}."
            for offset in range(XA_CHUNK_SIZE):
                self._check_slot(node, offset, node.slots[offset])
        for tag in range(XA_MAX_MARKS):
            if isinstance(self.rnode, XaNode):
                assert self.tagged(tag) == (self.rnode.marks[tag] != 0), f"Tag {tag} of {self!r} is not its top node's."

    def _check_slot(self, node: XaNode, offset: int, entry: object) -> None:
        for tag in range(XA_MAX_MARKS):
            tagged = node.marks[tag] >> offset & 1 != 0
            assert not tagged or entry is not None, f"Slot {offset} of {node!r} is empty, but tag {tag} is set on it."
            if isinstance(entry, XaNode):
                assert tagged == (entry.marks[tag] != 0), f"Tag {tag} of slot {offset} of {node!r} is not its node's."
        if isinstance(entry, XaNode):
            linked = entry.parent is node and entry.offset == offset and entry.shift == node.shift - XA_CHUNK_SHIFT
            assert linked, f"The node in slot {offset} of {node!r} has another parent, offset or shift."
