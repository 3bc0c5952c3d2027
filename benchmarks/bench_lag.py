"""The longest time that each thing a user can do keeps the window from answering.

    python -m benchmarks.bench_lag [--memory-mib 4096] [--quick] [--rounds 3] [--only WORD]

The real window on a machine of 1 M page frames at full speed (without a display: offscreen). Everything in the table of
actions is done, every scenario opened, a recording made and played, every colouring, layout and panel tried, files
written, docks moved, the window resized. A timer notes how long its thread was busy from one turn of the event loop to
the next, and how long that took by the clock. All of it is done several times, and of each thing the median counts: a
machine that does other things too makes something late in every round. Target: nothing is busy for 100 ms; panning and
zooming for 16 ms.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

from PySide6.QtCore import QEvent, QEventLoop, QObject, QTimer
from PySide6.QtWidgets import QApplication, QDialog

from benchmarks.figure import Figure, table
from memviz.gui import actions
from memviz.gui.app import WindowOptions, collected_here, list_races, list_scenarios, make_application
from memviz.gui.main_window import MainWindow
from memviz.gui.render.heatmap_modes import MODES
from memviz.gui.render.layout import Rect
from memviz.gui.settings import Settings
from memviz.gui.theme import Theme
from memviz.gui.views.heatmap import LAYOUTS

MEMORY_MIB: Final = 4096
SCENARIO: Final = "aged-file-server"
SETTLE_S: Final = 0.5
QUICK_S: Final = 0.25
ROUNDS: Final = 3
OFTEN: Final = 5
TARGET_MS: Final = 100.0
CAMERA_MS: Final = 16.0
NOT_HERE: Final = ("this_machine", "restart", "quit", "full_screen")
"""Actions that are not tried: they ask for rights, take minutes or end everything; a restart is a scenario opened."""


class Lag(NamedTuple):
    """The longest turn of the event loop while something was done, in milliseconds."""

    name: str
    busy: float
    """CPU time of the window's thread."""
    clock: float


def median(name: str, lags: Sequence[Lag]) -> Lag:
    """Of the same thing done several times."""
    return Lag(name, statistics.median(lag.busy for lag in lags), statistics.median(lag.clock for lag in lags))


class Probe(QObject):
    """Notes the longest turn since it was last asked."""

    def __init__(self) -> None:
        super().__init__()
        self._timer = QTimer(self)
        self._timer.setInterval(1)
        self._timer.timeout.connect(self._tick)
        self._timer.start()
        self._last = (time.thread_time(), time.monotonic())
        self._longest = (0.0, 0.0)

    def _tick(self) -> None:
        now = (time.thread_time(), time.monotonic())
        turns = zip(self._longest, now, self._last, strict=True)
        busy, clock = (max(longest, end - begin) for longest, end, begin in turns)
        self._longest, self._last = (busy, clock), now

    def take(self) -> tuple[float, float]:
        """The longest turn, in seconds; begins anew."""
        self._tick()
        found, self._longest = self._longest, (0.0, 0.0)
        return found


class Unasked(MainWindow):
    """The window, which asks nobody where a file goes."""

    folder = ""

    def ask_file(self, title: str, name: str, kinds: str) -> str:
        return str(Path(self.folder) / name)


class Walk:
    """Goes through all there is to do."""

    def __init__(self, memory_mib: int, settle_s: float, folder: str) -> None:
        self.app = make_application()
        theme = Theme("dark")
        theme.apply(self.app)
        options = WindowOptions(memory_mib=memory_mib)
        scenarios, _ = list_scenarios(options)
        self.window = Unasked(scenarios, theme, Settings(remember=False), list_races(options))
        self.window.folder = folder
        self.window.resize(1600, 1000)
        self._settle_s = settle_s
        self._probe = Probe()
        self._closer = QTimer(self.window)
        self._closer.setInterval(200)
        self._closer.timeout.connect(self._close_dialog)
        self._closer.start()

    def _close_dialog(self) -> None:
        """Nobody is here to answer a question."""
        found = QApplication.activeModalWidget()
        if isinstance(found, QDialog):
            found.reject()

    def wait(self, seconds: float) -> None:
        """Let the window live for so long."""
        loop = QEventLoop()
        QTimer.singleShot(int(seconds * 1000), loop.quit)
        loop.exec()

    def step(self, name: str, do: Callable[[], object], settle_s: float = 0.0) -> Lag:
        """Do something in a turn of the event loop, and see how the window fares until all has settled."""
        self._probe.take()
        QTimer.singleShot(0, do)
        self.wait(settle_s or self._settle_s)
        busy, clock = self._probe.take()
        return Lag(name, 1000 * busy, 1000 * clock)

    def often(self, name: str, do: Callable[[], object], undo: Callable[[], object]) -> Lag:
        """Do something small several times: the median."""
        found = []
        for _ in range(OFTEN):
            found.append(self.step(name, do, 0.1))
            undo()
            self.wait(0.1)
        return median(name, found)

    def steps(self) -> Iterator[Lag]:
        """All of it."""
        window = self.window
        yield self.step("the window is shown", window.show)
        yield self.step("start page", window.show_gallery, 1.5)
        yield self.step("open the scenario", partial(self._open, SCENARIO), 4)
        window.session.set_speed(0)
        yield self.step("nothing is done", lambda: None, 2)
        yield from self._map()
        yield from self._panels()
        yield from self._window()
        yield from self._actions()
        yield from self._files()
        yield from self._runs()
        yield self.step("close the window", window.close, 1)

    def _open(self, name: str) -> None:
        self.window.open_scenario(name)
        self.window.session.set_running(True)

    def _map(self) -> Iterator[Lag]:
        heatmap = self.window.heatmap
        for mode in MODES:
            yield self.step(f"colour: {mode.title}", partial(heatmap.set_mode, mode.id))
            yield self.step(f"colour: {mode.title}, one class", partial(heatmap.single_out, 2))
        heatmap.set_mode(MODES[0].id)
        for name, title in LAYOUTS:
            yield self.step(f"layout: {title}", partial(heatmap.set_layout_name, name))
            layout = heatmap.map.layout_
            assert layout is not None
            whole = Rect(0, 0, layout.width, layout.height)
            yield self.step(f"{title}: box around everything", partial(heatmap.map._set_box, whole))
            heatmap.map._set_box(None)
            for zoom in range(4):
                yield self.often(f"{title}: camera, zoom {zoom + 1}", heatmap.map.zoom_in, heatmap.map.zoom_out)
                heatmap.map.zoom_in()
                yield self.often(f"{title}: camera, pan", partial(self._pan, 0.01), partial(self._pan, -0.01))
            yield self.step(f"{title}: point", partial(heatmap.map._hover, 12345), 0.2)
            yield self.step(f"{title}: select", partial(self.window.selection.select_page, 54321), 0.3)
            yield self.often(f"{title}: camera, fit", heatmap.map.fit, heatmap.map.zoom_in)
            heatmap.map.fit()

    def _pan(self, way: float) -> None:
        camera = self.window.heatmap.map.camera
        self.window.heatmap.map.look(camera._replace(x=camera.x + way))

    def _panels(self) -> Iterator[Lag]:
        for ident, dock in self.window.docks.all.items():
            yield self.step(f"to the front: {ident}", dock.raise_)
            yield self.step(f"close: {ident}", dock.close)
            yield self.step(f"show again: {ident}", dock.show)
            yield self.step(f"float: {ident}", partial(dock.setFloating, True))
            yield self.step(f"dock again: {ident}", partial(dock.setFloating, False))
        yield self.step("reset layout", self.window.reset_layout)

    def _window(self) -> Iterator[Lag]:
        for width, height in ((1280, 720), (2560, 1440), (3840, 2160), (1600, 1000)):
            yield self.step(f"resize to {width} × {height}", partial(self.window.resize, width, height), 1)
        yield self.step("theme: light", partial(self.window.choose_theme, "light"), 1)
        yield self.step("theme: dark", partial(self.window.choose_theme, "dark"), 1)

    def _actions(self) -> Iterator[Lag]:
        window = self.window
        for act in actions.ACTIONS:
            if act.ident in NOT_HERE or act.real or act.needs_playback:
                continue
            slow = act.to_memory or act.needs_source or act.ident == "experiment"  # which comes in pieces
            settle = 1.5 if slow else self._settle_s
            yield self.step(f"action: {act.title}", window.actions_by_name[act.ident].trigger, settle)
            for widget in QApplication.topLevelWidgets():
                if isinstance(widget, QDialog):
                    widget.close()
            if window.experiments.page is not None:
                window.experiments.page.leave()
        if window.gallery is not None:
            window.gallery.leave()

    def _files(self) -> Iterator[Lag]:
        window = self.window
        for ident, dock in window.docks.all.items():
            dock.show()
            dock.raise_()
            self.wait(0.2)
            yield self.step(f"picture of {ident}", partial(window.export_picture, dock), 1)
            yield self.step(f"table of {ident}", partial(window.export_table, dock), 1)
        if window.session.recording:  # the action did it
            yield self.step("end the action's recording", window.recordings.toggle, 1)
        yield self.step("record", window.recordings.toggle, 2)
        if window.session.recording:
            yield self.step("end the recording", window.recordings.toggle, 1)
        for path in sorted(Path(window.folder).glob("*.memviz")):
            yield self.step("open the recording", partial(window.recordings.open, str(path)), 3)
            playback = window.session.snapshot.playback if window.session.snapshot is not None else None
            if playback is not None:
                middle = (playback.first_ns + playback.last_ns) // 2
                yield self.step("wind the recording", partial(window.recordings.seek, middle), 1)

    def _runs(self) -> Iterator[Lag]:
        window = self.window
        for one in window.scenarios:
            if one.name != "this-machine":
                yield self.step(f"open {one.name}", partial(self._open, one.name), 2.5)
        for one in window.races[:3]:
            yield self.step(f"open {one.name}", partial(window.open_scenario, one.name), 2)


def measure(memory_mib: int, settle_s: float, rounds: int, only: str = "") -> list[Lag]:
    """Every step whose name has ``only`` in it: medians over the rounds."""
    found: dict[tuple[str, int], list[Lag]] = {}
    for _ in range(rounds):
        for key, lag in one_round(memory_mib, settle_s).items():
            if only in lag.name:
                found.setdefault(key, []).append(lag)
                if only:
                    print(f"{lag.busy:7.1f} ms busy, {lag.clock:7.1f} ms by the clock: {lag.name}", flush=True)
    return [median(name, lags) for (name, _), lags in found.items()]


def one_round(memory_mib: int, settle_s: float) -> dict[tuple[str, int], Lag]:
    """Every step by its name, and the how-manieth of that name it is."""
    found: dict[tuple[str, int], Lag] = {}
    named: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        walk = Walk(memory_mib, settle_s, folder)
        with collected_here(walk.app):
            for lag in walk.steps():
                found[(lag.name, named[lag.name])] = lag
                named[lag.name] += 1
        walk.window.deleteLater()
        QApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
    return found


def target(lag: Lag) -> float:
    """What its thread may be busy in one turn, ms."""
    return CAMERA_MS if "camera" in lag.name else TARGET_MS


def as_figures(found: list[Lag]) -> list[Figure]:
    """The worst of those that move the camera, and of all others."""
    camera = max((lag for lag in found if "camera" in lag.name), key=lambda lag: lag.busy)
    other = max((lag for lag in found if "camera" not in lag.name), key=lambda lag: lag.busy)
    return [
        Figure(f"lag: longest of all ({other.name})", other.busy, "ms", TARGET_MS, at_most=True),
        Figure(f"lag: longest of pan and zoom ({camera.name})", camera.busy, "ms", CAMERA_MS, at_most=True),
    ]


def figures(quick: bool) -> list[Figure]:
    """The two worst."""
    return as_figures(measure(MEMORY_MIB, QUICK_S if quick else SETTLE_S, 1 if quick else ROUNDS))


def main() -> None:
    """Measure and print all, the longest first."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--memory-mib", type=int, default=MEMORY_MIB)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--only", default="", help="print steps with this word as they come")
    options = parser.parse_args()
    found = measure(options.memory_mib, QUICK_S if options.quick else SETTLE_S, options.rounds, options.only)
    for lag in sorted(found, key=lambda lag: -lag.busy):
        late = "" if lag.busy <= target(lag) else "   TOO LONG"
        print(f"{lag.busy:7.1f} ms busy, {lag.clock:7.1f} ms by the clock: {lag.name}{late}")
    if not options.only:
        print(table(as_figures(found)))


if __name__ == "__main__":
    main()
