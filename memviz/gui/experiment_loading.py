"""A results file on its way to the experiment page: read beside the window, then put there a piece a turn.

Neither may keep the window from answering: the file is read, and what draws is imported, in a thread; what needs the
window's own thread is done in pieces, and between two of them the window answers.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from PySide6.QtCore import QObject, QTimer, Signal, Slot

from memviz.experiment.spec import ExperimentError
from memviz.experiment.table import Results, read_results
from memviz.gui.jobs import LOOK_MS, Job, Progress

Pieces = Callable[[Results], Iterator[None]]


class Loading(QObject):
    """One results file at a time; another one takes the place of the first."""

    failed = Signal(str)
    """Why there are no results: one sentence."""

    def __init__(self, put: Pieces, parent: QObject) -> None:
        """``put`` shows results, and yields wherever the window may answer."""
        super().__init__(parent)
        self._put = put
        self._jobs: list[Job] = []
        self._pieces: Iterator[None] | None = None
        self._timer = QTimer(self)
        self._timer.timeout.connect(self._look)

    @property
    def running(self) -> bool:
        """Something is on its way."""
        return self._timer.isActive()

    def start(self, path: Path) -> None:
        """Read a file and put it there."""
        self.stop()
        self._jobs = [job for job in self._jobs if job.running]
        self._jobs.append(Job(f"Reading {path.name}", partial(_read, path), self._begin))
        self._timer.start(LOOK_MS)

    def put(self, results: Results) -> None:
        """Put results there that have been read."""
        self.stop()
        self._begin(results)

    def stop(self) -> None:
        """Nobody wants it any more. A thread that still reads ends by itself, and is not listened to."""
        self._timer.stop()
        self._pieces = None
        for job in self._jobs:
            job.progress.cancel()

    def abandon(self) -> None:
        """The window closes: wait for threads, too."""
        self.stop()
        for job in self._jobs:
            job.abandon()
        self._jobs.clear()

    def _begin(self, found: object) -> str:
        if isinstance(found, Results):
            self._pieces = self._put(found)
            self._timer.start(0)
        else:
            self.failed.emit(f"{found}.")
        return ""

    @Slot()
    def _look(self) -> None:
        """Is it read? Then a piece of it, every turn."""
        if self._pieces is None:
            if self._jobs[-1].running:
                return
            self._timer.stop()
            failure = self._jobs.pop().finish()
            if failure:
                self.failed.emit(failure)
        elif next(self._pieces, self) is self:
            self.stop()


def _read(path: Path, progress: Progress) -> Results | ExperimentError:
    try:
        results = read_results(path)
    except ExperimentError as error:
        return error
    progress.tell(-1)
    importlib.import_module("memviz.gui.views.experiment_plots")  # with pyqtgraph, which takes its time
    return results
