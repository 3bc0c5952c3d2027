"""Ten minutes of the window at full speed: what the memory of both processes does.

    python -m benchmarks.bench_soak [--minutes 10] [--memory-mib 4096] [--at-once] [--idle]

The real window (without a display: offscreen) and the real host process. All the while somebody changes colours, goes
from panel to panel, zooms, points at page frames and asks for blocks (not with ``--idle``). Once a minute: resident
memory of both, and what else might pile up. Target: from the end of the first minute to the end of the last neither
grows by more than 5 %, or 16 MiB where that is more.

The minutes begin when everything was done once: by whoever sits there, and by the simulated machine. That holds ever
more files, trees and entries of them while its memory fills, and some time after that, until it lets most of it go for
the first time; it takes up again what it gave back then. ``--at-once``: the minutes begin with the run. Then the host
may grow by what its machine holds besides: 256 bytes for every page frame that has come into use, and 800 for every
xa_node, for those are what entries of arrays and nodes of trees take. A machine of 64 GiB is still being filled after
ten minutes and is only measured like this; the window may grow by 28 bytes a page frame there, as four copies of the
page arrays take their memory when it is first written to.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import os
import time
from pathlib import Path
from typing import Final, NamedTuple

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

from PySide6.QtCore import QTimer
from PySide6.QtWidgets import QApplication

from benchmarks.bench_window import Bench
from benchmarks.figure import Figure, build, table
from memviz.gui.app import collected_here
from memviz.gui.render.heatmap_modes import MODES
from memviz.gui.views.heatmap import HeatmapView
from memviz.snapshot import Snapshot

MEMORY_MIB: Final = 4096
EVERY_MS: Final = 700
GROWTH: Final = 0.05
LEAST_MIB: Final = 16.0
FRAME_BYTES: Final = 256
NODE_BYTES: Final = 800
COPIES_BYTES: Final = 28
FULL: Final = 0.9
"""Of all page frames: so many are in use when memory is full."""
LET_GO: Final = 0.7
"""Of the most that was ever in use: so little is in use when the machine has let go of most of it."""


class Minute(NamedTuple):
    """Both processes at one time. Sizes in MiB."""

    seconds: float
    window: float
    host: float
    used: int
    """Page frames in use."""
    nodes: int
    """Objects of the cache xa_node, free ones too."""
    ops: int
    redraws: int
    objects: int
    """That the window's garbage collector knows of."""
    widgets: int


def rss_mib(pid: int) -> float:
    """Resident memory, without what is shared between the two."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith(("RssAnon:", "RssFile:"))) / 1024


class Hands:
    """Somebody who tries everything, again and again."""

    def __init__(self, bench: Bench) -> None:
        self._window = bench.window
        self._heatmap = next(view for view in bench.window.views if isinstance(view, HeatmapView))
        steps = [*self._looks(), *self._panels()]
        self.round_s = len(steps) * EVERY_MS / 1000
        """Seconds until everything was done once."""
        self._steps = itertools.cycle(steps)
        self._timer = QTimer(bench.window)
        self._timer.timeout.connect(self.step)
        self._timer.start(EVERY_MS)
        self._count = 0

    def _looks(self) -> list[tuple[str, str]]:
        modes = [("mode", mode.id) for mode in MODES]
        layouts = [("layout", name) for name in ("rows", "hilbert", "blocks")]
        return [*modes, ("zoom", ""), *layouts, ("point", ""), ("fit", ""), ("request", ""), ("theme", "light"),
                ("theme", "dark"), ("select", "")]  # fmt: skip

    def _panels(self) -> list[tuple[str, str]]:
        """Every panel to the front, and the map again, which most of the redraws are of."""
        return [("panel", one) for ident in self._window.docks.all for one in (ident, "heatmap")]

    def step(self) -> None:
        """One of all the things."""
        what, which = next(self._steps)
        window, heatmap = self._window, self._heatmap
        self._count += 1
        pfn = self._count * 7919 % max(1, heatmap.pyramid.nr)
        if what == "mode":
            heatmap.set_mode(which)
        elif what == "layout":
            heatmap.set_layout_name(which)
        elif what == "zoom":
            heatmap.map.zoom_in()
        elif what == "fit":
            heatmap.map.fit()
        elif what == "point":
            heatmap.map._hover(pfn)
        elif what == "select":
            window.selection.select_page(pfn)
        elif what == "request":
            window.request_order(9)
        elif what == "theme":
            window.choose_theme(which)
        else:
            window.docks.all[which].raise_()


def shown(bench: Bench) -> Snapshot:
    """What the window shows."""
    if bench.session.failure:
        raise SystemExit(f"bench_soak: {bench.session.failure}")
    snapshot = bench.session.snapshot
    assert snapshot is not None, "it runs"
    return snapshot


def in_use(snapshot: Snapshot) -> int:
    """Page frames."""
    return sum(zone.managed - zone.free for zone in snapshot.zones)


def let_go_once(bench: Bench) -> None:
    """Wait until the machine was full, and has let go of most of it."""
    most, now = 0, in_use(shown(bench))
    while most < FULL * bench.memory_mib * 256 or now > LET_GO * most:
        bench.wait(1.0)
        now = in_use(shown(bench))
        most = max(most, now)


def measure(memory_mib: int, minutes: int, idle: bool, at_once: bool) -> list[Minute]:
    """A line a minute."""
    bench = Bench(memory_mib)
    found: list[Minute] = []
    with collected_here(bench.app):
        bench.warm()
        hands = None if idle else Hands(bench)
        if hands is not None:
            bench.wait(hands.round_s)
        if not at_once:
            let_go_once(bench)
            print(
                f"the machine has let go of most of its memory once, after {shown(bench).ops:,} operations", flush=True
            )
        begin = time.monotonic()
        bench.redraws.times.clear()
        for number in range(1, minutes + 1):
            bench.wait(max(0.0, begin + 60 * number - time.monotonic()))
            gc.collect()
            snapshot = shown(bench)
            nodes = sum(cache.total for cache in snapshot.caches if cache.name == "xa_node")
            found.append(
                Minute(
                    time.monotonic() - begin, rss_mib(os.getpid()), rss_mib(bench.client.pid),
                    in_use(snapshot), nodes, snapshot.ops,
                    len(bench.redraws.times), len(gc.get_objects()), len(QApplication.allWidgets()),
                )
            )  # fmt: skip
            bench.redraws.times.clear()
            print_minute(number, found[-1])
        del hands
        bench.close()
    return found


def print_minute(number: int, one: Minute) -> None:
    """As it comes."""
    print(
        f"minute {number:2}: window {one.window:7.1f} MiB, host {one.host:7.1f} MiB, {one.used:,} page frames used, "
        f"{one.nodes:,} nodes, {one.ops:,} operations, {one.redraws / 60:.1f} redraws a second, "
        f"{one.objects:,} objects, {one.widgets} widgets",
        flush=True,
    )


def as_figures(found: list[Minute], at_once: bool) -> list[Figure]:
    """First minute against last."""
    first, last = found[0], found[-1]
    filled = max(0, last.used - first.used) / (1 << 20) if at_once else 0.0
    grown = max(0, last.nodes - first.nodes) / (1 << 20) if at_once else 0.0
    figures = []
    for name, before, after, more in (
        ("window", first.window, last.window, COPIES_BYTES * filled),
        ("host", first.host, last.host, FRAME_BYTES * filled + NODE_BYTES * grown),
    ):
        allowed = max(GROWTH * before, LEAST_MIB) + more
        figures.append(
            Figure(f"soak: growth of the {name}, of {before:,.0f} MiB", after - before, "MiB", allowed, True)
        )
    figures.append(Figure("soak: page frames that came into use", last.used - first.used))
    return figures


def figures(quick: bool) -> list[Figure]:
    """Of this build: quick, 1 GiB for three minutes."""
    return as_figures(measure(1024, 3, False, False) if quick else measure(MEMORY_MIB, 10, False, False), False)


def main() -> None:
    """Measure this build and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--memory-mib", type=int, default=MEMORY_MIB)
    parser.add_argument("--minutes", type=int, default=10)
    parser.add_argument("--at-once", action="store_true", help="do not wait until memory was full once")
    parser.add_argument("--idle", action="store_true", help="nobody touches the window")
    options = parser.parse_args()
    found = measure(options.memory_mib, options.minutes, options.idle, options.at_once)
    print(f"{build()}:")
    print(table(as_figures(found, options.at_once)))


if __name__ == "__main__":
    main()
