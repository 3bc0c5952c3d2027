"""What a redraw of each view costs: show_snapshot and paint, in milliseconds of processor time and of the clock.

    python -m benchmarks.bench_views [--frames 262144] [--size 1600x900] [--json]

Runs without a display. Every snapshot differs from the one before, as from a machine at full speed.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from dataclasses import replace

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

import numpy as np
from PySide6.QtGui import QImage
from PySide6.QtWidgets import QApplication

from benchmarks.figure import Figure
from memviz.gui.panel import View
from memviz.gui.render import lanes
from memviz.gui.render.heatmap_modes import MODES
from memviz.gui.selection import Selection
from memviz.gui.theme import Theme
from memviz.gui.views.cpu_lanes import CpuLanesView
from memviz.gui.views.heatmap import LAYOUTS, HeatmapView
from memviz.gui.views.slab_grid import SlabGridView
from memviz.gui.views.xarray_tree import XArrayTreeView
from memviz.snapshot import LANE_DTYPE, NODE_DTYPE, SLAB_DTYPE, Snapshot
from tests.gui.synthetic import SyntheticSource

SNAPSHOTS = 40
LARGE = 4 << 20
"""From so many page frames on one memory is copied and changed: making it anew would take minutes."""


def instants(frames: int) -> list[Snapshot]:
    """Snapshots that differ in some 2,000 page frames, objects, nodes and segments each."""
    source = SyntheticSource(min(frames, LARGE), nr_slabs=2000)
    source.state = "running"
    made = [source.snapshot() for _ in range(SNAPSHOTS if frames <= LARGE else 1)]
    if frames > LARGE:
        made = _widened(made[0], frames)
    rng = np.random.default_rng(1)
    return [_busier(snapshot, rng) for snapshot in made]


def _widened(first: Snapshot, frames: int) -> list[Snapshot]:
    """The same memory many times over, then 4,000 page frames changed from each to the next."""
    times = frames // first.pages.nr
    pages = first.pages
    owner, rng = np.tile(pages.owner, times), np.random.default_rng(2)
    wide = replace(
        pages, order=np.tile(pages.order, times), flags=np.tile(pages.flags, times), stamp=np.tile(pages.stamp, times)
    )
    made = []
    for number in range(8):  # a few memories of this size are enough to alternate
        owner = owner.copy()
        owner[rng.integers(0, owner.size, 4000)] = rng.integers(1, 5, 4000)
        made.append(
            replace(
                first,
                seq=first.seq + number,
                time_ns=first.time_ns + number * 1_000_000,
                pages=replace(wide, owner=owner),
                pageblock_mt=np.tile(first.pageblock_mt, times),
            )
        )
    return made


def _busier(snapshot: Snapshot, rng: np.random.Generator) -> Snapshot:
    """With 2,000 slabs, 4,000 nodes and 400 segments."""
    objects = snapshot.objects.copy()
    objects[rng.integers(0, len(objects), 300), rng.integers(0, objects.shape[1], 300)] = rng.integers(1, 8, 300)
    slabs = np.zeros(len(objects), SLAB_DTYPE)
    slabs[:] = snapshot.slabs
    slabs["inuse"] = (objects > 1).sum(axis=1)
    nodes = np.zeros(1 + 62 + 62 * 64, NODE_DTYPE)
    nodes["shift"][0], nodes["parent"][0] = 12, -1
    nodes["shift"][1:63], nodes["parent"][1:63], nodes["offset"][1:63] = 6, 0, np.arange(62)
    nodes["parent"][63:], nodes["offset"][63:] = np.repeat(np.arange(1, 63), 64), np.tile(np.arange(64), 62)
    nodes["addr"] = 0x1000000 + 584 * np.arange(nodes.size, dtype=np.uint64)
    nodes["used"] = rng.integers(0, 1 << 63, nodes.size)
    nodes["state"][rng.integers(63, nodes.size, 3)] = rng.integers(1, 4, 3)
    nodes["readers"][rng.integers(0, nodes.size, 3)] = 4
    lanes = np.zeros(400, LANE_DTYPE)
    cuts = np.sort(rng.integers(snapshot.time_ns - 2_000_000, snapshot.time_ns, (4, 101)), axis=1)
    lanes["begin"], lanes["end"] = cuts[:, :-1].ravel(), cuts[:, 1:].ravel()
    lanes["cpu"], lanes["state"] = np.repeat(np.arange(4), 100), rng.integers(0, 13, 400)
    return replace(snapshot, objects=objects, slabs=slabs, nodes=nodes, lanes=lanes)


def cost(view: View, snapshots: list[Snapshot], rounds: int = SNAPSHOTS) -> dict[str, float]:
    """Milliseconds of show_snapshot and a whole paint, over ``rounds`` snapshots."""
    image = QImage(view.size(), QImage.Format.Format_RGB32)
    for snapshot in snapshots[:3]:
        view.show_snapshot(snapshot)
        view.render(image)
    watch = Stopwatch()
    for number in range(rounds):
        with watch:
            view.show_snapshot(snapshots[number % len(snapshots)])
            view.render(image)
    return watch.figures()


class Stopwatch:
    """Takes the time of each ``with`` block: of this thread's processor, and of the clock."""

    def __init__(self) -> None:
        self.spent: list[tuple[float, float]] = []
        self._begin = (0.0, 0.0)

    def __enter__(self) -> None:
        self._begin = (time.thread_time(), time.perf_counter())

    def __exit__(self, *_: object) -> None:
        begin_cpu, begin_wall = self._begin
        self.spent.append((1e3 * (time.thread_time() - begin_cpu), 1e3 * (time.perf_counter() - begin_wall)))

    def figures(self) -> dict[str, float]:
        """Medians, and the 95th percentile of the clock."""
        cpu, wall = np.array(self.spent).T
        return {
            "cpu_ms": round(float(np.median(cpu)), 2),
            "wall_ms": round(float(np.median(wall)), 2),
            "wall_p95_ms": round(float(np.percentile(wall, 95)), 2),
        }


def measure(frames: int, width: int, height: int) -> dict[str, dict[str, float]]:
    """Every view, the map in every mode and layout, at sizes that they have in a window of that size."""
    app = QApplication.instance() or QApplication([])
    theme, selection = Theme("dark"), Selection()
    snapshots = instants(frames)
    results: dict[str, dict[str, float]] = {}
    heatmap, history = HeatmapView(selection, theme), lanes.History()
    for snapshot in snapshots:
        history.add(snapshot)
    shapes: list[tuple[View, float, float]] = [
        (heatmap, 0.54, 0.58),
        (SlabGridView(selection, theme), 0.45, 0.2),
        (XArrayTreeView(selection, theme), 0.45, 0.2),
        (CpuLanesView(selection, theme, history), 0.45, 0.13),
    ]
    for view, wide, high in shapes:
        view.resize(int(width * wide), int(height * high))
        view.show()
        app.processEvents()
        results[view.ident] = cost(view, snapshots)
        if view is heatmap:
            for mode in MODES[1:]:
                heatmap.set_mode(mode.id)
                results[f"heatmap, {mode.title}"] = cost(view, snapshots)
            heatmap.set_mode(MODES[0].id)
            for name, _ in LAYOUTS[1:]:
                heatmap.set_layout_name(name)
                results[f"heatmap, {name}"] = cost(view, snapshots)
            heatmap.set_layout_name(LAYOUTS[0][0])
            results.update(pan_and_zoom(heatmap))
        view.hide()
    return results


def pan_and_zoom(heatmap: HeatmapView) -> dict[str, dict[str, float]]:
    """Milliseconds from a wheel notch or a drag to the new picture."""
    image = QImage(heatmap.size(), QImage.Format.Format_RGB32)
    results = {}
    for name, _ in LAYOUTS:
        heatmap.set_layout_name(name)
        heatmap.map.fit()
        watch = Stopwatch()
        for step in range(40):
            with watch:
                if step % 2:
                    camera = heatmap.map.camera
                    heatmap.map.look(camera._replace(x=camera.x + 0.02 / camera.zoom))
                else:
                    heatmap.map.zoom(1.3)
                heatmap.render(image)
        results[f"pan and zoom, {name}"] = watch.figures()
    heatmap.set_layout_name(LAYOUTS[0][0])
    heatmap.map.fit()
    return results


def figures(quick: bool) -> list[Figure]:
    """At 1 GiB, by CPU time: all views that are redrawn with every Snapshot together fit into one redraw."""
    results = measure(65_536 if quick else 262_144, 1600, 1000)
    found = [Figure(f"view: {name}", told["cpu_ms"], "ms") for name, told in results.items()]
    together = sum(results[ident]["cpu_ms"] for ident in (HeatmapView.ident, SlabGridView.ident, XArrayTreeView.ident))
    together += results[CpuLanesView.ident]["cpu_ms"]
    return [*found, Figure("view: map, slabs, tree and lanes together", together, "ms", 16, at_most=True)]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--frames", type=int, default=262_144, help="page frames (16777216: a machine of 64 GiB)")
    parser.add_argument("--size", default="1600x1000", help="of the window, in pixels")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    width, height = (int(side) for side in options.size.split("x"))
    results = measure(options.frames, width, height)
    if options.json:
        print(json.dumps({"frames": options.frames, "size": options.size, "views": results}, indent=2))
        return
    print(f"{options.frames:,} page frames, window {options.size}")
    for name, figures in results.items():
        cpu, wall, p95 = figures["cpu_ms"], figures["wall_ms"], figures["wall_p95_ms"]
        print(f"  {name:26} processor {cpu:6.2f} ms   clock {wall:6.2f} ms, p95 {p95:6.2f} ms")


if __name__ == "__main__":
    main()
