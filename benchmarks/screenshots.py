"""Pictures of the window, what lies over it, a tour, dialogs and every panel: in every theme, size, scale and state.

    python -m benchmarks.screenshots OUT [--state normal empty …] [--size 1280x720 …] [--scale 2] [--theme dark light]

Nothing is shown on a screen. A real run is played in this process; the pictures are to be looked at. A scale other
than 1 is that of Qt's own QT_SCALE_FACTOR: sizes are then in points, as a desktop at 200 % gives them.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Final

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

import numpy as np
from PySide6.QtCore import QCoreApplication, QEvent
from PySide6.QtWidgets import QApplication

from memviz.gui import dialogs
from memviz.gui.app import WindowOptions, list_scenarios, make_application
from memviz.gui.compare import CompareWindow
from memviz.gui.main_window import MainWindow, Scenario
from memviz.gui.memory_commands import DROP, SHRINK, RealMachineDialog
from memviz.gui.settings import Settings
from memviz.gui.theme import Theme
from memviz.gui.views.charts import CHARTS, ChartsView
from memviz.recording.writer import Instant, Writer
from memviz.recording_state import Playback
from memviz.snapshot import NODE_MOVED, NODE_RCU, PAST_DTYPE, SLAB_ISOLATED, SLAB_MIGRATING, Snapshot
from memviz.sources import convert_cpus
from memviz.sources.base import Command, Defragment, Pause, SetPolicy, Step
from memviz.sources.race import RaceSource
from memviz.sources.simulation import SimulationSource

STATES: Final = ("normal", "moving", "race", "empty", "loading", "failed", "large", "live")
LARGE: Final = 1 << 24
"""Page frames of 64 GiB."""


class Here:
    """A source in this process, as a client: stands still unless told otherwise."""

    failure = ""
    report = ""
    alive = True
    gone = True

    def __init__(self, source: SimulationSource) -> None:
        self.source = source
        self._number = 0

    def start(self) -> None:
        """Nothing to start."""

    def poll(self) -> Snapshot | None:
        """This instant."""
        return self.source.snapshot()

    def send(self, command: Command) -> int:
        """Do it now."""
        self._number += 1
        self.source.command(self._number, command)
        return self._number

    def leave(self) -> None:
        """Nothing to end."""

    def close(self) -> None:
        """Nothing to end."""


class Still(Here):
    """One snapshot for ever, or none at all."""

    def __init__(self, snapshot: Snapshot | None, failure: str = "") -> None:
        self.snapshot = snapshot
        self.failure = failure

    def poll(self) -> Snapshot | None:
        """The same."""
        return self.snapshot

    def send(self, command: Command) -> int:
        """Nobody listens."""
        return 0


def widened(snapshot: Snapshot) -> Snapshot:
    """The same memory many times over: 64 GiB."""
    pages, times = snapshot.pages, -(-LARGE // snapshot.pages.nr)
    wide = replace(
        pages,
        owner=np.tile(pages.owner, times)[:LARGE],
        order=np.tile(pages.order, times)[:LARGE],
        flags=np.tile(pages.flags, times)[:LARGE],
        stamp=np.tile(pages.stamp, times)[:LARGE],
    )
    zones = tuple(
        zone._replace(spanned=LARGE, managed=zone.managed * times, free=zone.free * times) for zone in snapshot.zones
    )
    block_mt = np.tile(snapshot.pageblock_mt, times)[: LARGE >> 9]
    return replace(snapshot, pages=wide, zones=zones, pageblock_mt=block_mt)


def large(snapshot: Snapshot) -> Snapshot:
    """A recording of 64 GiB."""
    past = np.zeros(1200, PAST_DTYPE)
    past["time"] = np.linspace(0, 2 * snapshot.time_ns, past.size)
    for order in range(11):
        past["unusable"][:, order] = 90 * order + 60 * np.sin(np.arange(past.size) / 30)
    end = int(past["time"][-1])
    played = Playback(
        path="/data/recordings/database-server.memviz", instants=past.size, at=600, first_ns=0, last_ns=end, wound=1,
        rate=2.0, loop=None, gaps=((end // 4, end // 4 + end // 50, 24),), repeatable=True,
    )  # fmt: skip
    wide = replace(widened(snapshot), source="playback", title="database-server.memviz", playback=played, past=past)
    return replace(wide, controls=(), policies=())


def live(snapshot: Snapshot) -> Snapshot:
    """What a real machine of 64 GiB tells: less than a simulated one."""
    return replace(
        widened(snapshot), source="linux", title="This machine", state="running", cpus=(), rcu=None, xarrays=(),
        nodes=snapshot.nodes[:0], slabs=snapshot.slabs[:0], objects=snapshot.objects[:0], controls=(), defrag=None,
        policies=(("actions", "off"),), outcomes=(), ops=0,
        notice="No migratetypes: /proc/pagetypeinfo: No such file or directory (errno 2); "
        "use a kernel built with CONFIG_PROC_PAGE_MONITOR.",
    )  # fmt: skip


def moving() -> Snapshot:
    """The middle of a pass of the kernel thread that defragments: copies published, victims that wait for readers."""
    seen: list[tuple[int, Snapshot]] = []
    source = SimulationSource("background-defrag", scripted=True)
    source.play.run(30_000)
    machine = source.machine

    def look() -> None:
        if machine.smp.switches & 7:
            return
        now = replace(source.snapshot(), state="paused", cpus=convert_cpus.cpus(machine.smp, True))
        states = set(now.nodes["state"].tolist())
        going_on = int(np.isin(now.slabs["state"], (SLAB_ISOLATED, SLAB_MIGRATING)).sum())
        readers = int((now.nodes["readers"] != 0).any())
        seen.append((4 * (NODE_MOVED in states) + 4 * (NODE_RCU in states) + 2 * readers + min(going_on, 3), now))
        if len(seen) > 1:
            seen.sort(key=lambda one: -one[0])
            del seen[1:]

    machine.smp.watch, machine.smp.watch_mask = look, 0
    source.command(1, Pause())  # every look sees all there is
    source.play.run(2_500)
    machine.smp.watch = None
    return seen[0][1]


def race(name: str = "race-reader") -> Snapshot:
    """A case of the race lab, some steps from its start."""
    source = RaceSource(name)
    source.command(1, Step(14, "point"))
    return source.snapshot()


def settle(window: MainWindow) -> None:
    """Let everything be laid out, sorted and painted."""
    large = window.session.snapshot is not None and window.session.snapshot.pages.nr > 1 << 22
    for _ in range(60 if large else 4):
        window.session.pull()
        QApplication.processEvents()
    until = perf_counter() + 20  # a large map is looked through a slice at a time, while it can be seen
    while large and window.heatmap.isVisible() and not window.heatmap.pyramid.complete and perf_counter() < until:
        QApplication.processEvents()


def shoot(window: MainWindow, folder: Path, label: str, size: tuple[int, int]) -> None:
    """The window and all its panels."""
    window.resize(*size)
    window.docks.arrange()
    settle(window)
    window.docks.size()
    settle(window)
    window.grab().save(str(folder / f"window-{label}.png"))
    for ident, dock in window.docks.all.items():
        dock.show()
        dock.raise_()
        settle(window)
        dock.grab().save(str(folder / f"panel-{ident}-{label}.png"))
        if isinstance(dock.view, ChartsView):
            for chart, _ in CHARTS:
                dock.view.set_chart(chart)
                settle(window)
                dock.grab().save(str(folder / f"panel-{ident}-{chart}-{label}.png"))


def shoot_pages(window: MainWindow, folder: Path, label: str) -> None:
    """What lies over the window: the start page, help, keys, palette, the questions about a real machine."""
    window.show_gallery()
    settle(window)
    window.grab().save(str(folder / f"gallery-{label}.png"))
    if window.gallery is not None:
        window.gallery.leave()
    made: dict[str, Callable[[], dialogs.Dialog]] = {
        "help": lambda: dialogs.HelpDialog(window),
        "keys": lambda: dialogs.KeysDialog(window),
        "palette": lambda: dialogs.Palette(window),
        "shrink": lambda: RealMachineDialog(window, SHRINK, ("dentry", "radix_tree_node")),
        "drop": lambda: RealMachineDialog(window, DROP),
    }
    for name, make in made.items():
        dialog = make()
        dialog.show()
        settle(window)
        dialog.grab().save(str(folder / f"dialog-{name}-{label}.png"))
        dialog.close()


def recorded(folder: Path, name: str, policy: str) -> str:
    """A short recording of a small machine."""
    source = SimulationSource("aged-file-server", seed=5, memory_mib=64)
    source.command(1, SetPolicy("xa_nodes", policy))
    writer = Writer(folder / name, {"title": name, "origin": json.dumps(source.origin())})
    for number in range(40):
        source.command(2 + number, Step(256))
        if number == 30 and policy == "movable":
            source.command(100, Defragment())  # so that there is something to compare
        writer.write(Instant(source.snapshot(), number * 33_000_000))
    writer.finish("finished")
    return str(folder / name)


def waited(done: Callable[[], bool]) -> None:
    """Let the window go on until that is so; at most some seconds."""
    until = perf_counter() + 20
    while not done() and perf_counter() < until:
        QApplication.processEvents()


def shoot_experiment(window: MainWindow, folder: Path, label: str) -> None:
    """The page of the experiment that memviz brings along."""
    page = window.experiments.show()
    waited(lambda: not page.loading.running)
    settle(window)
    window.grab().save(str(folder / f"experiment-{label}.png"))
    page.leave()


def shoot_compare(window: MainWindow, folder: Path, label: str) -> None:
    """Two recordings of two policies, side by side."""
    with tempfile.TemporaryDirectory() as made:
        paths = [recorded(Path(made), f"{policy}.memviz", policy) for policy in ("fixed", "movable")]
        shown = CompareWindow(window, *paths)
        shown.show()
        waited(lambda: shown.found is not None)
        for slider in shown.sliders:
            slider.setValue(slider.maximum())
        moved = perf_counter() + 2
        waited(lambda: perf_counter() > moved)
        shown.grab().save(str(folder / f"compare-{label}.png"))
        shown.close()


def shoot_tour(window: MainWindow, source: SimulationSource, folder: Path, label: str) -> None:
    """A stop of a guided run."""
    while source.play.arrived is None:
        source.run_piece(1 << 40, False)
    settle(window)
    window.grab().save(str(folder / f"tour-{label}.png"))


def prepared(window: MainWindow, state: str, source: SimulationSource) -> None:
    """Bring the window into a state."""
    if state == "normal":
        window.open_scenario("shown")
        settle(window)
        for order in (9, 3):
            window.request_order(order)
        window.session.defragment()
        window.request_order(9)
        window.session.set_running(False)
        settle(window)
        return
    killed = "The background process of memviz was killed by SIGKILL: what you see is its last picture."
    stills: dict[str, Callable[[], Still]] = {
        "loading": lambda: Still(None),
        "failed": lambda: Still(None, killed),
        "large": lambda: Still(large(source.snapshot())),
        "live": lambda: Still(live(source.snapshot())),
        "moving": lambda: Still(moving()),
        "race": lambda: Still(race()),
    }
    if state in stills:
        mine = [Scenario(state, state.capitalize(), stills[state])]
        window.scenarios, window.races = ([], mine) if state == "race" else (mine, [])
        window.open_scenario(state)
    settle(window)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description="Pictures of every panel in every theme, size, scale and state.")
    parser.add_argument("out", type=Path)
    parser.add_argument("--scenario", default="aged-file-server")
    parser.add_argument("--ops", type=int, default=20000)
    parser.add_argument("--state", nargs="*", default=list(STATES), choices=STATES)
    parser.add_argument("--size", nargs="*", default=["1280x720", "1600x1000", "3840x2160"])
    parser.add_argument("--scale", nargs="*", type=float, default=[1.0, 2.0])
    parser.add_argument("--theme", nargs="*", default=["dark", "light"])
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    others = [scale for scale in options.scale if scale != 1.0]
    for scale in [] if "QT_SCALE_FACTOR" in os.environ else others:  # Qt reads it once, at the start of a process
        # At 200 % a screen of 4K is one of 1920x1080 points.
        again = [sys.executable, "-m", "benchmarks.screenshots", str(options.out), "--size", "1280x720", "--theme"]
        again += [*options.theme, "--state", *options.state, "--scenario", options.scenario, "--ops", str(options.ops)]
        subprocess.run(again, check=True, env={**os.environ, "QT_SCALE_FACTOR": str(scale)})
    if 1.0 in options.scale or "QT_SCALE_FACTOR" in os.environ:
        take(options, float(os.environ.get("QT_SCALE_FACTOR", "1")))
    print(f"{len(list(options.out.glob('*.png')))} pictures in {options.out}")


def take(options: argparse.Namespace, scale: float) -> None:
    """All pictures at one scale."""
    app = make_application()
    source = SimulationSource(options.scenario)
    for _ in range(40):  # with looks in between, so that the past has a shape
        source.play.run(options.ops // 40)
        source.snapshot()
    entries, _ = list_scenarios(WindowOptions())
    guided = SimulationSource(options.scenario, memory_mib=64, guided=True)
    own = next((one.entry for one in entries if one.name == options.scenario), None)
    others = [one for one in entries if one.name != options.scenario]
    shown = Scenario("shown", "Aged file server, seed 7", lambda: Here(source), lambda: Here(guided), own)
    for theme_name in options.theme:
        theme = Theme(theme_name)
        theme.apply(app)
        for state in options.state:
            mine = [shown, *(Scenario(e.name, e.title, shown.make, shown.guided, e.entry) for e in others)]
            window = MainWindow(mine, theme, Settings(remember=False))
            window.show()
            prepared(window, state, source)
            for words in options.size:
                width, _, height = words.partition("x")
                label = f"{state}-{theme_name}-{words}" + (f"-x{scale:g}" if scale != 1 else "")
                shoot(window, options.out, label, (int(width), int(height)))
                if state == "normal":
                    shoot_pages(window, options.out, label)
                    shoot_experiment(window, options.out, label)
                    shoot_compare(window, options.out, label)
            if state == "normal":
                window.open_scenario("shown", guided=True)
                shoot_tour(window, guided, options.out, f"{theme_name}-x{scale:g}")
            window.close()
            window.deleteLater()
            QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)


if __name__ == "__main__":
    main()
