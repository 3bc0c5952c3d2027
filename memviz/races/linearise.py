"""Are loads and stores linearisable? Is there an order of all of them, each at one instant between its call and its
return, in which every load finds what the last store before it put there?

Linearisability is local (Herlihy and Wing, 1990): each index is a register of its own and is checked alone. The check
tries orders, depth first, and remembers where it has been (Wing and Gong, 1993; Lowe, 2017); histories here are short.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from memviz.kernel.smp import Smp
from memviz.kernel.xarray import XArray

LOAD: Final = "load"
STORE: Final = "store"


class Op(NamedTuple):
    """A call under way from ``begin`` to ``end`` (counted over all CPUs); ``end`` -1: not returned yet.

    ``entry`` is what it stores; ``found`` what it returned: the entry loaded, or the one replaced. ``tells`` False:
    what it returned says nothing (a store over several indices).
    """

    cpu: int
    kind: str
    array: str
    at: int
    order: int
    entry: object
    found: object
    tells: bool
    begin: int
    end: int

    def __str__(self) -> str:
        what = f"{self.kind}({self.at}"
        if self.kind == STORE:
            what += f", {self.entry!r}" + (f", order {self.order}" if self.order else "")
        return f"CPU {self.cpu} {what}) → {self.found!r} [{self.begin}–{self.end}]"


class History:
    """Calls on arrays, as CPUs make them."""

    def __init__(self, smp: Smp) -> None:
        self.smp = smp
        self.ops: list[Op] = []
        self.first: dict[tuple[str, int], object] = {}
        self.clock = 0

    def load(self, array: XArray, index: int) -> object:
        """``array.load(index)``, noted."""
        at = self._begin(LOAD, array, index, 0, None)
        return self._end(at, array.load(index), True)

    def store(self, array: XArray, index: int, entry: object, order: int = 0) -> object:
        """``array.store()``, noted; ``entry`` None is an erase."""
        at = self._begin(STORE, array, index, order, entry)
        found = array.erase(index) if entry is None else array.store(index, entry, order)
        return self._end(at, found, order == 0)

    def starts_with(self, array: XArray, index: int, entry: object) -> None:
        """What is at ``index`` before anything is noted; nothing when this isn't called."""
        self.first[array.name, index] = entry

    def _tick(self) -> int:
        self.clock += 1
        return self.clock

    def _begin(self, kind: str, array: XArray, index: int, order: int, entry: object) -> int:
        cpu = self.smp.this_cpu().id
        self.ops.append(Op(cpu, kind, array.name, index, order, entry, None, False, self._tick(), -1))
        return len(self.ops) - 1

    def _end(self, at: int, found: object, tells: bool) -> object:
        self.ops[at] = self.ops[at]._replace(found=found, tells=tells, end=self._tick())
        return found

    def unexplained(self) -> str:
        """Empty when every register has an order that explains it; else one sentence about the first that has not."""
        for array, index in sorted({(op.array, op.at) for op in self.ops}):
            ops = [op for op in self.ops if op.array == array and covers(op, index) and op.end >= 0]
            if not linearisable(ops, self.first.get((array, index))):
                told = "; ".join(str(op) for op in ops)
                return f"no order of these calls explains what index {index} of {array} was found to be: {told}"
        return ""


def covers(op: Op, index: int) -> bool:
    """Is ``index`` among the indices that ``op`` is about?"""
    return op.at >> op.order == index >> op.order


def linearisable(ops: list[Op], first: object = None) -> bool:
    """Is there an order of ``ops``, all about one register that holds ``first``, which explains what each returned?"""
    seen: set[tuple[int, object]] = set()
    todo: list[tuple[int, object]] = [((1 << len(ops)) - 1, first)]
    while todo:
        left, held = todo.pop()
        if left == 0:
            return True
        if (left, held) in seen:
            continue
        seen.add((left, held))
        # Whatever goes first began before anything that is left had returned.
        deadline = min(op.end for at, op in enumerate(ops) if left >> at & 1)
        for at, op in enumerate(ops):
            if left >> at & 1 and op.begin <= deadline and (not op.tells or op.found == held):
                todo.append((left & ~(1 << at), op.entry if op.kind == STORE else held))
    return False
