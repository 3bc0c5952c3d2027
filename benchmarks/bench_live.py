"""Watching a real machine: the sweep against a bare read loop, classification alone, tracing, what the watched pay.

    sudo python -m benchmarks.bench_live

Classification is measured on a recorded machine's 6,553,600 page frames; the rest needs root and Linux, and is left out
elsewhere. Nothing is changed on the machine but a trace instance of its own, which is removed.
"""

from __future__ import annotations

import lzma
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.figure import Figure, table
from memviz import live_helper
from memviz.live_helper import Kernel
from memviz.sources.linux import LinuxSource
from memviz.sources.linux_access import Direct
from memviz.sources.linux_deltas import apply_events
from memviz.sources.linux_sweep import CHUNK, FrameMap, sweep

SAMPLE = Path(__file__).parents[1] / "tests/data/linux-6.18/after/kpageflags.xz"
TOUCH = """
import mmap, time
begin = time.process_time()
for _ in range({rounds}):
    room = mmap.mmap(-1, 64 << 20)
    room.madvise(mmap.MADV_NOHUGEPAGE)
    for at in range(0, 64 << 20, 4096):
        room[at] = 1
    room.close()
print(time.process_time() - begin)
"""


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


def touch(rounds: int) -> float:
    """CPU seconds of a process that touches 64 MiB again and again."""
    done = subprocess.run(
        [sys.executable, "-c", TOUCH.format(rounds=rounds)], stdout=subprocess.PIPE, text=True, check=True
    )
    return float(done.stdout)


def programs(count: int) -> float:
    """CPU seconds of ``count`` programs that start, load modules and pack a megabyte: what shell scripts do all day."""
    work = "import json, re, zlib, random; zlib.compress(random.Random(1).randbytes(1 << 20))"
    before = os.times()
    for _ in range(count):
        subprocess.run([sys.executable, "-S", "-c", work], check=True)
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


def price(work: Callable[[], float]) -> float:
    """How much more CPU time ``work`` takes when its machine is traced: best of several, in turns."""
    plain, watched = [], []
    for _ in range(5):
        plain.append(work())
        kernel = Kernel()
        kernel.trace_start()
        watched.append(work())
        kernel.close()
    return min(watched) / min(plain) - 1


def tracing(rounds: int) -> tuple[float, float]:
    """Share of a core that 200,000 events a second take; events a second that were traced."""
    source = LinuxSource()
    if source.missing:
        raise RuntimeError(str(source.missing))
    access, ring = source._access, source._ring
    assert ring is not None
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
    return [
        *found,
        Figure("live: a classified sweep", nr / swept / 1e6, "M frames/s"),
        Figure("live: a bare read loop", nr / read / 1e6, "M frames/s"),
        Figure("live: sweep's time by the read loop's", swept / read, "", 1.0, True),
        Figure("live: events traced", rate, "/s"),
        Figure("live: of a core, for 200,000 events a second", share, "", 0.25, True),
        Figure("live: what programs cost more when watched", price(lambda: programs(8)), "", 0.03, True),
        Figure("live: what touching memory and nothing else costs more", price(lambda: touch(2))),
        Figure("live: of a core, watching", watching(4 if quick else 15), "", 0.15, True),
    ]


def main() -> None:
    """Print every figure."""
    print(table(figures("--quick" in sys.argv)))


if __name__ == "__main__":
    main()
