"""Logs of the real kernel's XArray, replayed line for line: every return value, every tree.

``tests/data/xarray-vectors/README.md`` describes the format. Any other log of that kind is replayed as soon as it lies
there. ``python tests/kernel/test_xarray_vectors.py FILE`` replays one by hand.
"""

from __future__ import annotations

import lzma
import re
import sys
from pathlib import Path

import pytest

from memviz.kernel.xarray import RETRY, ZERO, XArray, XArrayError, value

# A top node has no slot in a parent, so the kernel never sets its OFFSET: the logs show what the recycled memory held
# when the node was last used further down. That is the one figure of a tree line that the operations above it do not
# determine: with the free list of the user-space build (last in, first out, eleven nodes) it still depends on when its
# RCU thread returned freed nodes, and no rule gives all six logs (at once, after every operation, at tree lines, after
# any fixed number of operations or callbacks, with any fixed delay: multi-wide alone has 26 of 61 lines wrong at best).
# Ours is 0.
TOP_OFFSET = re.compile(r"^(tree [01]{3} \(n \d+ )\d+")
VECTORS = Path(__file__).parent.parent / "data" / "xarray-vectors"
NULL = "null"


class Pointer:
    """A pointer entry: one object per number, compared by identity, as pointers are."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __str__(self) -> str:
        return self.name


class Replay:
    """One log, run on one array."""

    def __init__(self, flags: str) -> None:
        self.flags = flags
        self.xa = XArray(flags)
        self.pointers: dict[str, Pointer] = {}

    def entry(self, word: str) -> object:
        if word == NULL:
            return None
        if word == "zero":
            return ZERO
        if word == "retry":
            return RETRY
        if word[0] == "v":
            return value(int(word[1:]))
        return self.pointers.setdefault(word, Pointer(word))

    def text(self, entry: object) -> str:
        return NULL if entry is None else str(entry)

    def found(self, hit: tuple[int, object] | None) -> str:
        return "0 null" if hit is None else f"{hit[0]} {self.text(hit[1])}"

    def operate(self, name: str, args: list[str]) -> str:
        """Carry out one operation line and say its result as the log does."""
        xa = self.xa
        match name, args:
            case "store", [index, entry]:
                return self.text(xa.store(int(index), self.entry(entry)))
            case "store_order", [index, order, entry]:
                return self.text(xa.store(int(index), self.entry(entry), order=int(order)))
            case "store_range", [first, last, entry]:
                xa.store_range(int(first), int(last), self.entry(entry))
                return NULL
            case "erase", [index]:
                return self.text(xa.erase(int(index)))
            case "load", [index]:
                return self.text(xa.load(int(index)))
            case "get_order", [index]:
                return str(xa.get_order(int(index)))
            case "empty", []:
                return str(int(xa.empty()))
            case "destroy", []:
                xa.destroy()
                return "-"
            case "cmpxchg", [index, old, new]:
                return self.text(xa.cmpxchg(int(index), self.entry(old), self.entry(new)))
            case _:
                return self.operate_more(name, args)

    def operate_more(self, name: str, args: list[str]) -> str:
        xa = self.xa
        match name, args:
            case "insert", [index, entry]:
                xa.insert(int(index), self.entry(entry))
                return "0"
            case "reserve", [index]:
                xa.reserve(int(index))
                return "0"
            case "release", [index]:
                xa.release(int(index))
                return "-"
            case "set_mark", [index, mark]:
                xa.set_mark(int(index), int(mark))
                return "-"
            case "clear_mark", [index, mark]:
                xa.clear_mark(int(index), int(mark))
                return "-"
            case "get_mark", [index, mark]:
                return str(int(xa.get_mark(int(index), int(mark))))
            case "marked", [mark]:
                return str(int(xa.marked(int(mark))))
            case "find", [index, last, mark]:
                return self.found(xa.find(int(index), int(last), None if mark == "-1" else int(mark)))
            case "find_after", [index, last, mark]:
                return self.found(xa.find_after(int(index), int(last), None if mark == "-1" else int(mark)))
            case "extract", [index, n, mark]:
                entries = xa.extract(int(index), int(n), None if mark == "-1" else int(mark))
                return " ".join([str(len(entries)), *[self.text(entry) for entry in entries]])
            case "alloc", [low, high, entry]:
                return f"0 {xa.alloc(self.entry(entry), int(low), int(high))}"
            case "alloc_cyclic", [low, high, entry]:
                index, wrapped = xa.alloc_cyclic(self.entry(entry), int(low), int(high))
                return f"{int(wrapped)} {index} {xa.alloc_next}"
        raise AssertionError(
            f"The log has an operation {name!r} with {len(args)} arguments: the README names none such."
        )

    def line(self, line: str) -> tuple[str, str]:
        """What the log says and what came out."""
        if line.startswith("tree "):
            marks = "".join(str(int(self.xa.marked(mark))) for mark in range(3))
            return TOP_OFFSET.sub(r"\g<1>0", line), f"tree {marks} {self.xa.dump()}"
        left, expected = line.split(" -> ", 1)
        name, *args = left.split()
        try:
            result = self.operate(name, args)
        except XArrayError as error:
            result = f"-{error.errno}"
            if name.startswith("alloc"):  # the log then shows the id and cursor it passed in
                expected = expected.split()[0]
        return expected, expected if expected == "?" else result


def replay(path: Path) -> tuple[int, Replay]:
    """Run one log; AssertionError at the first line that comes out differently. Returns the number of lines."""
    lines = lzma.decompress(path.read_bytes()).decode("ascii").splitlines()
    first, flags = lines[0].split()
    assert first == "init", f"{path.name} does not begin with an init line."
    run = Replay(flags)
    for number, line in enumerate(lines[1:], start=2):
        expected, result = run.line(line)
        assert result == expected, f"{path.name}:{number}: {line}\nkernel: {expected}\n  ours: {result}"
        if line.startswith("tree "):
            run.xa.check(tight=True)
    return len(lines), run


@pytest.mark.parametrize("path", sorted(VECTORS.glob("*.txt.xz")), ids=lambda path: path.name)
def test_every_line_of_the_kernels_log_comes_out_the_same(path: Path) -> None:
    lines, run = replay(path)
    assert lines > 3000
    run.xa.check(tight=True)


def test_the_vectors_are_there() -> None:
    assert len(list(VECTORS.glob("*.txt.xz"))) >= 6


if __name__ == "__main__":
    for name in sys.argv[1:]:
        print(name, replay(Path(name))[0], "lines")
