"""The cursor's searches: the next entry, the next marked one, whatever stands in the way of a store.

``xas_find()``, ``xas_find_marked()``, ``xas_find_conflict()`` of ``lib/xarray.c``, as of Linux 7.3.
"""

from __future__ import annotations

from memviz.kernel.xa_node import (
    ULONG_MAX,
    XA_CHUNK_MASK,
    XA_CHUNK_SIZE,
    XA_FREE_MARK,
    XaNode,
    XaSibling,
    max_index,
)
from memviz.kernel.xa_walk import (
    XAS_BOUNDS,
    XAS_RESTART,
    XAS_VALID,
    XaWalk,
)


class XaFind(XaWalk):
    """``struct xa_state`` with walking and searching. Use ``XaState``."""

    def find(self, last: int) -> object:
        """The next present entry up to index ``last``, or None (``xas_find``). Siblings are skipped, zero and retry
        entries are returned: ask ``retry()``. ``xa_index`` is where it was found."""
        if self.xa_status < 0 or self.xa_status == XAS_BOUNDS:
            return None
        if self.xa_index > last:
            self._set_bounds()
            return None
        if self.xa_status == XAS_RESTART:
            entry = self.load()
            if entry is not None or self.xa_status != XAS_VALID or self.xa_node is None:
                return entry
        elif self.xa_node is None:
            self.xa_index = 1
            self._set_bounds()
            return None
        node = self.xa_node
        assert node is not None
        if self.xa_offset != (self.xa_index >> node.shift) & XA_CHUNK_MASK:
            if node.shift == 0:
                self.xa_offset = ((self.xa_index - 1) & XA_CHUNK_MASK) + 1
            else:
                self._set_offset(node)
        self.xa_offset += 1
        self._move_index(node, self.xa_offset)
        return self._find_from(node, last)

    def _find_from(self, node: XaNode, last: int) -> object:
        """Go on from ``xa_offset`` of ``node``, down into nodes and up at the end of each."""
        while self.xa_index <= last:
            if self.xa_offset == XA_CHUNK_SIZE:
                self.xa_offset = node.offset + 1
                self._to_parent(node)
                if self.xa_node is None:
                    self._set_bounds()
                    return None
                node = self.xa_node
                continue
            entry = self._xa_entry(node, self.xa_offset)
            if isinstance(entry, XaNode):
                node = entry
                self.xa_node = node
                self.xa_offset = 0
                continue
            if entry is not None and not isinstance(entry, XaSibling):
                return entry
            self.xa_offset += 1
            self._move_index(node, self.xa_offset)
        return None

    def find_marked(self, last: int, mark: int) -> object:
        """The next entry with this mark up to index ``last``, or None (``xas_find_marked``).

        None leaves the bounds state when the array ends before ``last`` (then ``xa_index`` is the first index behind
        it), else the restart state. Searching for XA_FREE_MARK finds free indices: then the entry is None, too."""
        if self.xa_status < 0:
            return None
        if self.xa_index > last:
            self.reset()
            return None
        advance = True
        if self.xa_status != XAS_VALID:
            advance = False
            entry = self._xa_head()
            self.xa_node = None
            self.xa_status = XAS_VALID
            if self.xa_index > max_index(entry):
                self._find_marked_end(last)
                return None
            if not isinstance(entry, XaNode):
                if self.xa.marked(mark):
                    return entry
                self.xa_index = 1
                self._find_marked_end(last)
                return None
            self.xa_node = entry
            self.xa_offset = self.xa_index >> entry.shift
        elif self.xa_node is None:
            self.xa_index = 1
            self._find_marked_end(last)
            return None
        node = self.xa_node
        assert node is not None
        return self._find_marked_from(node, last, mark, advance)

    def _find_marked_end(self, last: int) -> None:
        if self.xa_index > last:
            self.reset()
        else:
            self._set_bounds()

    def _find_marked_from(self, node: XaNode, last: int, mark: int, advance: bool) -> object:
        null_counts = mark == XA_FREE_MARK and self.xa.track_free
        while self.xa_index <= last:
            if self.xa_offset == XA_CHUNK_SIZE:
                self.xa_offset = node.offset + 1
                self._to_parent(node)
                if self.xa_node is None:
                    break
                node = self.xa_node
                advance = False
                continue
            if not advance:
                entry = self._xa_entry(node, self.xa_offset)
                if isinstance(entry, XaSibling):
                    self.xa_offset = entry.offset
                    self._move_index(node, self.xa_offset)
            offset = find_next_mark(node.marks[mark], self.xa_offset + 1 if advance else self.xa_offset)
            if offset > self.xa_offset:
                advance = False
                self._move_index(node, offset)
                if (self.xa_index - 1) & ULONG_MAX >= last:  # the index may have wrapped to 0
                    self.reset()
                    return None
                self.xa_offset = offset
                if offset == XA_CHUNK_SIZE:
                    continue
            entry = self._xa_entry(node, self.xa_offset)
            if entry is None and not null_counts:
                continue  # a mark is cleared before its entry: this one is being erased
            if isinstance(entry, XaSibling):
                continue
            if not isinstance(entry, XaNode):
                return entry
            node = entry
            self.xa_node = node
            self._set_offset(node)
        self._find_marked_end(last)
        return None

    def find_conflict(self) -> object:
        """The next present entry in the range the cursor describes (index and order), or None. Lock held."""
        if self.xa_status < 0 or (self.xa_status == XAS_VALID and self.xa_node is None):
            return None
        if self.xa_status != XAS_VALID:
            entry = self._start()
            while isinstance(entry, XaNode):
                entry = self._descend(entry)
            if entry is not None:
                return entry
        node = self.xa_node
        if node is None or node.shift > self.xa_shift:
            return None
        while True:
            if node.shift == self.xa_shift:
                if self.xa_offset & self.xa_sibs == self.xa_sibs:
                    break
            elif self.xa_offset == XA_CHUNK_MASK:
                self.xa_offset = node.offset
                self._to_parent(node)
                if self.xa_node is None:
                    break
                node = self.xa_node
                continue
            self.xa_offset += 1
            entry = self._xa_entry(node, self.xa_offset)
            if isinstance(entry, XaSibling):
                continue
            while isinstance(entry, XaNode):
                node = entry
                self.xa_node = node
                self.xa_offset = 0
                entry = self._xa_entry(node, 0)
            if entry is not None:
                return entry
        self.xa_offset -= self.xa_sibs
        return None


def find_next_mark(bitmap: int, offset: int) -> int:
    """The first slot >= ``offset`` whose bit is set, 64 when there is none (``xas_find_chunk``)."""
    if offset >= XA_CHUNK_SIZE:
        return XA_CHUNK_SIZE
    bits = bitmap >> offset
    if bits == 0:
        return XA_CHUNK_SIZE
    return offset + (bits & -bits).bit_length() - 1
