"""How long the window takes to be seen, from the command on.

    python -m benchmarks.bench_start [--quick]

A fresh process runs the command; the clock stops when the window has been painted for the first time (without a
display: offscreen). Target: 1.5 s for the start page. CPU time beside it: on a busy machine only that holds.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from typing import Final

from benchmarks.figure import ROOT, Figure, table

RUNS: Final = 5
TARGET_S: Final = 1.5

_CHILD: Final = """
import os, sys, time
os.environ["XDG_CONFIG_HOME"] = sys.argv[2]
begin = float(sys.argv[1])
from PySide6.QtCore import QEvent, QObject, QTimer
from PySide6.QtWidgets import QApplication
from memviz.gui.gallery import Card
from memviz.gui.views.heatmap_map import HeatmapMap

class FirstPaint(QObject):
    seen = False
    def eventFilter(self, watched, event):
        if event.type() == QEvent.Type.Paint and not self.seen and isinstance(watched, (Card, HeatmapMap)):
            self.seen = True
            QTimer.singleShot(0, self.told)
        return False
    def told(self):
        print(time.monotonic() - begin, time.process_time(), flush=True)
        QTimer.singleShot(300, self.leave)
    def leave(self):
        for window in QApplication.topLevelWidgets():
            window.close()

import memviz.gui.app as app
make, first = app.make_application, FirstPaint()
def watched():
    made = make()
    made.installEventFilter(first)
    return made
app.make_application = watched
from memviz.cli.main import main
sys.argv = ["memviz", *sys.argv[3:]]
main()
"""


def start(arguments: list[str], home: str) -> tuple[float, float]:
    """Seconds from the command to the first painting: by the clock, and CPU time of the process until then."""
    command = [sys.executable, "-P", "-c", _CHILD, str(time.monotonic()), home, *arguments]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((os.environ.get("PYTHONPATH", ""), str(ROOT)))}
    environment |= {"PYTHONPYCACHEPREFIX": f"{home}/compiled", "QT_QPA_PLATFORM": "offscreen"}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=environment, check=True, timeout=60)
    clock, cpu = map(float, done.stdout.split()[:2])
    return clock, cpu


def measure(runs: int, arguments: list[str]) -> tuple[float, float]:
    """Medians. What Python compiled is kept, as it is where memviz is installed; the first run doesn't count."""
    with tempfile.TemporaryDirectory() as home:
        found = [start(arguments, home) for _ in range(runs + 1)][1:]
    return statistics.median(clock for clock, _ in found), statistics.median(cpu for _, cpu in found)


def figures(quick: bool) -> list[Figure]:
    """Of the start page, and of a scenario."""
    found = []
    for name, arguments in (("start page", []), ("scenario", ["aged-file-server"])):
        clock, cpu = measure(1 if quick else RUNS, arguments)
        found.append(Figure(f"start: window with a {name} is seen after", clock, "s", TARGET_S, at_most=True))
        found.append(Figure("start: CPU time of the window until then", cpu, "s"))
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    print(table(figures(parser.parse_args().quick)))


if __name__ == "__main__":
    main()
