"""Cells in a process of their own: cells that share their ageing as JSON on stdin, results as JSON on stdout.

    python -m memviz.experiment.worker < cells.json

The same on this machine and on a worker of a cluster: cells that break take nobody along, their memory is bounded by
their process and known when it ends, and they may fork as nobody else's threads are around.
"""

from __future__ import annotations

import contextlib
import resource
import subprocess
import sys
import time
import traceback
from pathlib import Path

import msgspec

from memviz.experiment.measure import measure
from memviz.experiment.sources_digest import sources_digest
from memviz.experiment.spec import Cell
from memviz.experiment.store import Cost, Kept
from memviz.sources import garbage

BASE_MIB = 1024
PER_MIB = 4


class CellFailed(RuntimeError):
    """A cell has no result; the message is one sentence that says which cell and why."""


def run_cells(encoded: bytes) -> bytes:
    """Run cells that share their ageing in a process of their own and wait for it. A JSON list of Cells in, one of Kept
    out: bytes, so that they travel as they are. Raises CellFailed.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", "memviz.experiment.worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        out, err = process.communicate(encoded)
    except BaseException:
        process.kill()
        process.wait()
        raise
    if process.returncode == 0:
        return out
    words = err.decode(errors="replace").strip().splitlines()
    last = words[-1] if words else f"its process ended with {process.returncode}"
    cells = msgspec.json.decode(encoded, type=list[Cell])
    more = f" and {len(cells) - 1} more" if len(cells) > 1 else ""
    raise CellFailed(f"{describe(cells[0])}{more}: {last}")


def describe(cell: Cell) -> str:
    """A cell in a few words."""
    return f"{cell.scenario}, {cell.memory_mib} MiB, seed {cell.seed}, {cell.policy.name} ({cell.begin})"


def bound_mib(memory_mib: int) -> int:
    """What the process of a machine of this size may take at most, MiB of address space."""
    return BASE_MIB + PER_MIB * memory_mib


def bound_memory(cell: Cell) -> None:
    """More than this is a bug that must not take the machine along."""
    limit = bound_mib(cell.memory_mib) << 20
    with contextlib.suppress(ValueError, OSError):  # a tighter limit is there already
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def main() -> int:
    """The process: 0 with a result on stdout, 1 with a sentence as the last line on stderr."""
    cells = msgspec.json.decode(sys.stdin.buffer.read(), type=list[Cell])
    mine = sources_digest()
    if cells[0].sources != mine:
        sys.stderr.write(
            f"this worker's memviz ({mine[:8]}) is not the one that asks ({cells[0].sources[:8]}): install the same\n"
        )
        return 1
    bound_memory(cells[0])
    begin = time.perf_counter()
    try:
        with garbage.seldom():
            outcomes = measure(cells)
    except Exception as error:
        traceback.print_exc()
        sys.stderr.write(" ".join(f"{type(error).__name__}: {error}".split()) + "\n")
        return 1
    cost = Cost(round((time.perf_counter() - begin) / len(cells), 2), peak_kib() // 1024)
    kept = [Kept(cell, outcome, cost) for cell, outcome in zip(cells, outcomes, strict=True)]
    sys.stdout.buffer.write(msgspec.json.encode(kept))
    return 0


def peak_kib() -> int:
    """The most memory that this process has held. (``ru_maxrss`` counts what its parent held at the start, too.)"""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


if __name__ == "__main__":
    sys.exit(main())
