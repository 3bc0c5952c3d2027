"""Looking at an XArray from outside: its structure as text, and whether it is sound (``xa_dump()`` of ``lib/xarray.c``,
and the checks its test suite makes)."""

from __future__ import annotations

from memviz.kernel.xa_node import (
    BITS_PER_LONG,
    RETRY,
    XA_CHUNK_MASK,
    XA_CHUNK_SHIFT,
    XA_CHUNK_SIZE,
    XA_FREE_MARK,
    XA_MAX_MARKS,
    XaHead,
    XaNode,
    XaSibling,
    XaValue,
)


def entry_text(entry: object) -> str:
    """One entry as the dump writes it; a pointer as ``str()`` gives it."""
    if entry is None:
        return "null"
    if isinstance(entry, XaNode):
        return xa_dump(entry)
    return str(entry)


def xa_dump(head: object) -> str:
    """The tree under ``head`` as one line."""
    if not isinstance(head, XaNode):
        return entry_text(head)
    node = head
    words = [f"(n {node.shift} {node.offset} {node.count} {node.nr_values}"]
    words += [f"{bitmap:x}" for bitmap in node.marks]
    for i in range(XA_CHUNK_SIZE):
        entry = node.slots[i]
        if entry is not None:
            words.append(f"{i}:{entry_text(entry)}")
    return " ".join(words) + ")"


def xa_check(xa: XaHead, tight: bool) -> None:
    """Verify counts, parents, offsets, shifts, siblings and marks of the whole array; raises AssertionError.

    ``tight``: empty nodes are wrong, too. They stay behind when memory runs out halfway down."""
    head = xa.head
    assert head is not RETRY, "The head of the array is a retry entry: a freed node's slot was left there."
    assert not isinstance(head, XaSibling), "The head of the array is a sibling entry: only slots can hold those."
    if not isinstance(head, XaNode):
        _check_head_entry(xa, head)
        return
    assert head.parent is None, f"The top node {head!r} has a parent: it is not the top."
    assert head.shift < BITS_PER_LONG, f"{head!r} has shift {head.shift}: an index has 64 bits."
    _check_node(xa, head, tight)
    for mark in range(XA_MAX_MARKS):
        assert xa.marked(mark) == (head.marks[mark] != 0), (
            f"Mark {mark} of the head is {xa.marked(mark)}, but the top node's bitmap is {head.marks[mark]:#x}."
        )


def _check_head_entry(xa: XaHead, entry: object) -> None:
    if entry is None and not xa.track_free:
        for mark in range(XA_MAX_MARKS):
            assert not xa.marked(mark), f"The array is empty, but mark {mark} of its head is set."
    if xa.track_free:
        free = entry is None and not xa.zero_busy
        assert xa.marked(XA_FREE_MARK) == free, (
            f"Index 0 holds {entry!r}, but the head says it is {'free' if xa.marked(XA_FREE_MARK) else 'taken'}."
        )


def _check_node(xa: XaHead, node: XaNode, tight: bool) -> None:
    assert node.array is xa, f"{node!r} is in {xa!r}, but its array is {node.array!r}."
    assert len(node.slots) == XA_CHUNK_SIZE, f"{node!r} has {len(node.slots)} slots: it must have 64."
    assert node.count > 0 or not tight, f"{node!r} is empty: it should have been freed."
    count = 0
    values = 0
    for i in range(XA_CHUNK_SIZE):
        entry = node.slots[i]
        if entry is None:
            _check_null(xa, node, i)
            continue
        count += 1
        assert entry is not RETRY, f"Slot {i} of {node!r} is a retry entry, but the node is still in the array."
        if isinstance(entry, XaSibling):
            _check_sibling(node, i, entry)
            entry = node.slots[entry.offset]
        if isinstance(entry, XaValue):
            values += 1
        elif isinstance(entry, XaNode):
            _check_child(xa, node, i, entry, tight)
    assert node.count == count, f"{node!r} counts {node.count} entries: there are {count}."
    # A plain store over a multi-index entry changes one slot, and mainline counts it as one, whatever its siblings:
    # from then on nr_values may be wrong for good.
    assert xa.multi or node.nr_values == values, f"{node!r} counts {node.nr_values} values: there are {values}."


def _check_null(xa: XaHead, node: XaNode, i: int) -> None:
    for mark in range(XA_MAX_MARKS):
        free = xa.track_free and mark == XA_FREE_MARK
        marked = node.marks[mark] >> i & 1 != 0
        assert marked == free, f"Slot {i} of {node!r} is empty, but mark {mark} is {'set' if marked else 'clear'}."


def _check_sibling(node: XaNode, i: int, sibling: XaSibling) -> None:
    canon = sibling.offset
    assert canon < i, f"Slot {i} of {node!r} is a sibling of slot {canon}: siblings follow their entry."
    for j in range(canon + 1, i):
        between = node.slots[j]
        follows = isinstance(between, XaSibling) and between.offset == canon
        assert follows, f"Slot {i} of {node!r} is a sibling of slot {canon}, but slot {j} between them is not."
    first = node.slots[canon]
    holds_entry = first is not None and not isinstance(first, (XaSibling, XaNode))
    assert holds_entry, (
        f"Slot {i} of {node!r} is a sibling of slot {canon}, which holds {first!r}: it must hold the entry."
    )
    for mark in range(XA_MAX_MARKS):
        assert not node.marks[mark] >> i & 1, f"Slot {i} of {node!r} is a sibling, but mark {mark} is set on it."


def _check_child(xa: XaHead, node: XaNode, i: int, child: XaNode, tight: bool) -> None:
    assert node.shift, f"Slot {i} of {node!r} holds a node, but below shift 0 there are no nodes."
    assert child.parent is node, f"The node in slot {i} of {node!r} has another parent, {child.parent!r}."
    assert child.offset == i & XA_CHUNK_MASK, f"The node in slot {i} of {node!r} says its offset is {child.offset}."
    assert child.shift == node.shift - XA_CHUNK_SHIFT, (
        f"The node in slot {i} of {node!r} has shift {child.shift}: one level down is {node.shift - XA_CHUNK_SHIFT}."
    )
    for mark in range(XA_MAX_MARKS):
        marked = node.marks[mark] >> i & 1 != 0
        assert marked == (child.marks[mark] != 0), (
            f"Mark {mark} of slot {i} of {node!r} is {'set' if marked else 'clear'}, "
            f"but the bitmap of the node there is {child.marks[mark]:#x}."
        )
    _check_node(xa, child, tight)
