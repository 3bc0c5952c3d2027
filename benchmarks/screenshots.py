"""Pictures of the whole window, the start page, a tour and every panel, in every theme and size, by one command.

    python -m benchmarks.screenshots OUT [--scenario aged-file-server] [--ops 20000] [--size 1280x720 …]

Nothing is shown on a screen. A real run is played in this process; the pictures are to be looked at.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

from PySide6.QtCore import QCoreApplication, QEvent
from PySide6.QtWidgets import QApplication

from memviz.gui.app import WindowOptions, list_scenarios, make_application
from memviz.gui.main_window import MainWindow, Scenario
from memviz.gui.settings import Settings
from memviz.gui.theme import Theme
from memviz.gui.views.charts import CHARTS, ChartsView
from memviz.snapshot import Snapshot
from memviz.sources.base import Command
from memviz.sources.simulation import SimulationSource


class Here:
    """A source in this process, as a client: stands still unless told otherwise."""

    failure = ""
    report = ""
    alive = True

    def __init__(self, source: SimulationSource) -> None:
        self.source = source
        self._number = 0

    def start(self) -> None:
        """Nothing to start."""

    def poll(self) -> Snapshot:
        """This instant."""
        return self.source.snapshot()

    def send(self, command: Command) -> int:
        """Do it now."""
        self._number += 1
        self.source.command(self._number, command)
        return self._number

    def close(self) -> None:
        """Nothing to end."""


def settle(window: MainWindow) -> None:
    """Let everything be laid out and painted."""
    for _ in range(4):
        window.session.pull()
        QApplication.processEvents()


def shoot(window: MainWindow, folder: Path, theme: str, size: tuple[int, int]) -> None:
    """All pictures of one theme and size."""
    label = f"{theme}-{size[0]}x{size[1]}"
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
    window.show_gallery()
    settle(window)
    window.grab().save(str(folder / f"gallery-{label}.png"))
    if window.gallery is not None:
        window.gallery.leave()


def tour(window: MainWindow, source: SimulationSource, folder: Path, label: str) -> None:
    """A stop of a guided run."""
    while source.play.arrived is None:
        source.run_piece(1 << 40, False)
    settle(window)
    window.grab().save(str(folder / f"tour-{label}.png"))


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description="Pictures of every panel in every theme.")
    parser.add_argument("out", type=Path)
    parser.add_argument("--scenario", default="aged-file-server")
    parser.add_argument("--ops", type=int, default=20000)
    parser.add_argument("--size", nargs="*", default=["1280x720", "1920x1080"])
    parser.add_argument("--theme", nargs="*", default=["dark", "light"])
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    app = make_application()
    source = SimulationSource(options.scenario)
    for _ in range(40):  # with looks in between, so that the past has a shape
        source.play.run(options.ops // 40)
        source.snapshot()
    entries, _ = list_scenarios(WindowOptions())
    guided = SimulationSource(options.scenario, memory_mib=64, guided=True)
    for theme_name in options.theme:
        theme = Theme(theme_name)
        theme.apply(app)
        mine = [Scenario(e.name, e.title, lambda: Here(source), lambda: Here(guided), e.entry) for e in entries]
        window = MainWindow(mine, theme, Settings(remember=False))
        window.show()
        window.open_scenario(options.scenario)
        window.session.set_running(False)
        settle(window)
        for order in (9, 3):
            window.request_order(order)
        window.session.defragment()
        window.request_order(9)
        settle(window)
        for words in options.size:
            width, _, height = words.partition("x")
            shoot(window, options.out, theme_name, (int(width), int(height)))
        window.open_scenario(options.scenario, guided=True)
        tour(window, guided, options.out, theme_name)
        window.close()
        window.deleteLater()
        QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
    print(f"{len(list(options.out.glob('*.png')))} pictures in {options.out}")


if __name__ == "__main__":
    main()
