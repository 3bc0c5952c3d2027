"""Watching a real machine: the sweep against a bare read loop, classification alone, tracing, what the watched pay.

    sudo python -m benchmarks.bench_live

Classification is measured on a recorded machine's 6,553,600 page frames; the rest needs root and Linux, and is left out
elsewhere. Nothing is changed on the machine but a trace instance of its own, which is removed.

*What the watched pay* is the CPU time of a workload while another process watches this machine as the window does
(sweeps, tracing, snapshots), by its CPU time while nobody does: medians of runs in turns. Two workloads are like what
people run: programs that start, load modules and pack a megabyte (117,000 page events a second of their time on the
machine of README.md), and a C compiler. A third touches memory and does nothing else (600,000 a second): nothing pays
more for being watched. With every event traced it pays a sixth, so events are sampled there. The same is measured
with a process that only keeps a tenth of a CPU busy: what neighbours cost each other, watched or not.
"""

from __future__ import annotations

import lzma
import os
import resource
import select
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from benchmarks.figure import Figure, table
from memviz import live_helper
from memviz.live_helper import Kernel
from memviz.sources.linux import LinuxSource
from memviz.sources.linux_access import Direct
from memviz.sources.linux_deltas import apply_events
from memviz.sources.linux_sweep import CHUNK, FrameMap, sweep
from memviz.sources.linux_trace import OVERHEAD

SAMPLE = Path(__file__).parents[1] / "tests/data/linux-6.18/after/kpageflags.xz"
TOUCH = """
import mmap
for _ in range({rounds}):
    room = mmap.mmap(-1, 64 << 20)
    room.madvise(mmap.MADV_NOHUGEPAGE)
    for at in range(0, 64 << 20, 4096):
        room[at] = 1
    room.close()
"""
PACK = "import json, re, zlib, random; zlib.compress(random.Random(1).randbytes(1 << 20))"
PROGRAMS = ["sh", "-c", f'for i in 1 2 3 4 5 6 7 8 9 10; do {sys.executable} -S -c "{PACK}"; done']
HEADERS = ("math", "stdio", "stdlib", "string", "unistd", "time", "signal", "sys/stat", "sys/socket", "netinet/in")
COMPILE = [
    "sh",
    "-c",
    "for i in 1 2 3 4 5 6; do { "
    + " ".join(f"echo '#include <{name}.h>';" for name in HEADERS)
    + " echo 'int main(void) { return printf(\"%f\", sin(1.0)); }'; } | cc -O2 -x c - -o /dev/null -lm; done",
]


def classify_ms(runs: int) -> float:
    """Classification of a recorded machine's page frames, one thread, in chunks; the best of ``runs``."""
    words = np.frombuffer(lzma.decompress(SAMPLE.read_bytes()), "<u8")
    frames = FrameMap(words.size)
    best = float("inf")
    for _ in range(runs):
        begin = time.perf_counter()
        for start in range(0, words.size, CHUNK):
            frames.classify(start, words[start : start + CHUNK])
        best = min(best, time.perf_counter() - begin)
    return best * 1e3


def sweep_and_read(runs: int) -> tuple[float, float, int]:
    """Seconds of a classified sweep and of a bare read loop of the same file (medians, in turns); page frames."""
    kernel = Kernel()
    access = Direct(kernel)
    fd = kernel.open_frames()
    nr = 0
    room = bytearray(CHUNK * 8)
    while got := os.preadv(fd, [room], nr * 8):
        nr += got // 8
    frames = FrameMap(nr)
    sweeps, reads = [], []
    for _ in range(runs):
        begin = time.perf_counter()
        sweep(access, frames)
        sweeps.append(time.perf_counter() - begin)
        begin = time.perf_counter()
        at = 0
        while got := os.preadv(fd, [room], at):
            at += got
        reads.append(time.perf_counter() - begin)
    kernel.close()
    return statistics.median(sweeps), statistics.median(reads), nr


def spent(command: list[str]) -> float:
    """CPU seconds of a command and all that it starts."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def price(command: list[str], neighbour: str, rounds: int) -> float:
    """How much more CPU time ``command`` takes beside ``neighbour`` ("watch", "watch all", "spin") than alone."""
    spent(command)
    alone, beside = [], []
    for _ in range(rounds):
        alone += [spent(command) for _ in range(3)]
        other = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.bench_live", neighbour], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert other.stdout is not None
        other.stdout.readline()  # its first picture is made
        beside += [spent(command) for _ in range(3)]
        other.communicate()
    return statistics.median(beside) / statistics.median(alone) - 1


def neighbour(kind: str) -> None:
    """Be one, until the end of the input."""
    source = None if kind == "spin" else LinuxSource(overhead=float("inf") if kind == "watch all" else OVERHEAD)
    print("ready", flush=True)
    while not select.select([sys.stdin], [], [], 0)[0]:
        if source is None:
            end = time.monotonic() + 0.002
            while time.monotonic() < end:
                pass
        elif source.advance(0.004):
            source.snapshot()
        time.sleep(0.018)
    if source is not None:
        source.close()


def tracing(rounds: int) -> tuple[float, float]:
    """Share of a core that 200,000 events a second take; events a second that were traced."""
    source = LinuxSource(overhead=float("inf"))
    if source.missing:
        raise RuntimeError(str(source.missing))
    access = source._access
    assert source._trace is not None
    ring = source._trace._ring
    process = subprocess.Popen([sys.executable, "-c", TOUCH.format(rounds=rounds)], stdout=subprocess.DEVNULL)
    begin, cpu, events = time.monotonic(), time.process_time(), 0
    while process.poll() is None:
        time.sleep(0.1)
        found, _ = ring.decode(access.trace_read(4096))
        apply_events(source.frames, found, 1)
        events += int(found.size)
    cpu = time.process_time() - cpu
    seconds = time.monotonic() - begin
    source.close()
    return cpu / events * 200_000, events / seconds


def watching(seconds: float) -> float:
    """Share of a core that a source takes over some time, its first picture aside."""
    source = LinuxSource()
    begin, cpu = time.monotonic(), time.process_time()
    while time.monotonic() - begin < seconds:
        if source.advance(0.004):
            source.snapshot()
        else:
            time.sleep(0.02)
    share = (time.process_time() - cpu) / seconds
    source.close()
    return share


def figures(quick: bool) -> list[Figure]:
    """Of this machine, as far as it may be read."""
    found = [Figure("live: classification of 6,553,600 page frames", classify_ms(3 if quick else 15), "ms", 60, True)]
    if os.geteuid() != 0 or not os.access(live_helper.KPAGEFLAGS, os.R_OK):
        return found
    swept, read, nr = sweep_and_read(3 if quick else 9)
    share, rate = tracing(8 if quick else 24)
    rounds = 1 if quick else 3
    touch = [sys.executable, "-S", "-c", TOUCH.format(rounds=20)]
    found += [
        Figure("live: a classified sweep", nr / swept / 1e6, "M frames/s"),
        Figure("live: a bare read loop", nr / read / 1e6, "M frames/s"),
        Figure("live: sweep's time by the read loop's", swept / read, "", 1.0, True),
        Figure("live: events traced", rate, "/s"),
        Figure("live: of a core, for 200,000 events a second", share, "", 0.25, True),
        Figure("live: what programs cost more when watched", price(PROGRAMS, "watch", rounds), "", 0.03, True),
    ]
    if shutil.which("cc"):
        found.append(Figure("live: what a compiler costs more", price(COMPILE, "watch", 3 * rounds), "", 0.03, True))
    return [
        *found,
        Figure("live: what touching memory and nothing else costs more", price(touch, "watch", rounds)),
        Figure("live: the same with every event traced", price(touch, "watch all", rounds)),
        Figure("live: the same beside a process that does nothing useful", price(touch, "spin", rounds)),
        Figure("live: of a core, watching", watching(4 if quick else 15), "", 0.15, True),
    ]


def main() -> None:
    """Print every figure."""
    if sys.argv[1:] in (["watch"], ["watch all"], ["spin"]):
        neighbour(sys.argv[1])
        return
    print(table(figures("--quick" in sys.argv)))


if __name__ == "__main__":
    main()
