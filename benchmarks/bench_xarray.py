"""XArray loads, stores and walks a second, three levels deep: ``python -m benchmarks.bench_xarray``.

Targets: interpreted 400,000 loads and 250,000 stores, compiled 2,000,000 and 1,000,000. (The kernel's own code in user
space: 15 to 21 million and 6 million.) Each figure is the best of three runs over the same random indices, in CPU time.

Then what a file's pages cost in a machine, locks and allocators included, in an XArray and in a radix tree (policy
``page_cache_index``): no targets, the two are to be compared.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from benchmarks.figure import Figure, compiled
from memviz.kernel.machine import Machine, MachineConfig
from memviz.kernel.policies import POLICIES
from memviz.kernel.xarray import XArray

INDICES = 1 << 18  # three levels of 64 slots
OPERATIONS = 200_000
PAGES = 20_000
TARGETS = {"loads": (400_000, 2_000_000), "stores": (250_000, 1_000_000)}


def best(operation: Callable[[], object], count: int) -> float:
    """Operations a second, the best of three runs."""
    times = []
    for _ in range(3):
        begin = time.process_time()
        operation()
        times.append(time.process_time() - begin)
    return count / min(times)


def full() -> XArray:
    """Every 7th of the indices holds an entry, so that every node is there."""
    xa = XArray()
    for index in range(0, INDICES, 7):
        xa.store(index, "page")
    return xa


def loads(xa: XArray, indices: list[int]) -> None:
    for index in indices:
        xa.load(index)


def stores(xa: XArray, indices: list[int], entries: list[object]) -> None:
    for index in indices:
        xa.store(index, entries[index & 1])


def erases(xa: XArray, indices: list[int]) -> None:
    for index in indices:
        xa.erase(index)


def walk(xa: XArray) -> int:
    found = 0
    xas = xa.state(0)
    while xas.find(INDICES) is not None:
        found += 1
    return found


def figures(quick: bool) -> list[Figure]:
    """Of this build."""
    targets = {name: target[compiled()] for name, target in TARGETS.items()}
    found = [Figure(f"XArray: {name}", rate, "a second", targets.get(name)) for name, rate in rates().items()]
    return found + [Figure(f"page cache: {name}", rate, "a second") for name, rate in pages().items()]


def rates() -> dict[str, float]:
    """Name → operations a second."""
    draw = random.Random(1)
    indices = [draw.randrange(INDICES) for _ in range(OPERATIONS)]
    entries: list[object] = ["one page", "another page"]
    out: dict[str, float] = {}
    xa = full()
    assert xa.head.shift == 12
    out["loads"] = best(lambda: loads(xa, indices), OPERATIONS)
    out["stores"] = best(lambda: stores(xa, indices, entries), OPERATIONS)
    out["entries walked by find"] = best(lambda: walk(xa), walk(xa))
    fresh = iter([XArray(), XArray(), XArray()])
    out["stores into an empty array"] = best(lambda: stores(next(fresh), indices, entries), OPERATIONS)
    built = iter([full(), full(), full()])
    out["erases"] = best(lambda: erases(next(built), indices), OPERATIONS)
    return out


def pages() -> dict[str, float]:
    """Name → pages a second, of one file that is read, read again, and truncated."""
    out: dict[str, float] = {}
    for index in POLICIES["page_cache_index"][0]:
        machine = Machine(MachineConfig(memory_mib=128, cpus=1))
        machine.set_policy("page_cache_index", index)
        file = machine.filemap.open()
        for name, step in (
            ("added", lambda file=file: file.read(0, PAGES)),
            ("found", lambda file=file: file.read(0, PAGES)),
            ("removed", lambda file=file: file.truncate(0)),
        ):
            begin = time.process_time()
            step()
            out[f"{name}, {index}"] = PAGES / (time.process_time() - begin)
        machine.check()
    return out


def main() -> None:
    print(f"XArray, {'compiled' if compiled() else 'interpreted'}, three levels, operations a second:")
    for name, rate in rates().items():
        target = TARGETS.get(name)
        goal = f"   target {target[compiled()]:>11,}" if target else ""
        print(f"  {name:28}{rate:>12,.0f}{goal}")
    print("pages of a file, pages a second:")
    for name, rate in pages().items():
        print(f"  {name:28}{rate:>12,.0f}")


if __name__ == "__main__":
    main()
