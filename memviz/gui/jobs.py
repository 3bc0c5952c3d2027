"""Long work beside the window: in a thread of its own, with progress, and a way to call it off.

The window asks how far it is, by a timer: nothing is sent to it. The thread makes way: it sleeps as long as it has
worked, so that whoever wants the interpreter meanwhile waits for one small piece of work at most.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from PySide6.QtCore import QElapsedTimer, QEvent, QObject, Qt, QTimer, Signal, Slot
from PySide6.QtGui import QPainter, QPaintEvent
from PySide6.QtWidgets import QHBoxLayout, QProgressBar, QWidget

from memviz.gui.controls import Button, ElidedLabel
from memviz.gui.painting import painted
from memviz.gui.theme import Theme

LOOK_MS: Final = 40
SHOWN_AFTER_MS: Final = 250
"""Work that is done sooner shows no bar: it would only flash."""
PIECE_S: Final = 0.004
CLOSE_S: Final = 5.0


class Cancelled(Exception):
    """Nobody wants the result any more."""


class Progress:
    """How far the work is; told by its thread, read by the window."""

    def __init__(self) -> None:
        self.part = 0.0
        """0 to 1; below 0: nobody can tell."""
        self._cancelled = threading.Event()
        self._begin = time.perf_counter()

    def tell(self, part: float) -> None:
        """``part`` of the work is done. Makes way for the window now and then. Raises Cancelled."""
        self.part = part
        if self._cancelled.is_set():
            raise Cancelled
        took = time.perf_counter() - self._begin
        if took >= PIECE_S:
            self._cancelled.wait(took)
            self._begin = time.perf_counter()

    def cancel(self) -> None:
        """Call it off."""
        self._cancelled.set()


class Job:
    """One piece of work. ``work`` runs in a thread; ``done`` gets its result in the window's thread."""

    def __init__(self, title: str, work: Callable[[Progress], object], done: Callable[[object], str]) -> None:
        """``title``: what is being done, "Saving heatmap.csv"; ``done`` returns one sentence about it."""
        self.title = title
        self.progress = Progress()
        self.failure = ""
        """One sentence, when it failed."""
        self.cancelled = False
        self._work = work
        self._done = done
        self._result: object = None
        self._thread = threading.Thread(target=self._run, name=title)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._result = self._work(self.progress)
        except Cancelled:
            self.cancelled = True
        except OSError as error:
            what = error.filename or "the file"
            self.failure = f"{what} can't be written: {error.strerror or error}. Choose another folder."
        except Exception as error:
            self.failure = f"{self.title} failed: {type(error).__name__}: {error}. Nothing was written."

    @property
    def running(self) -> bool:
        """It is still at work."""
        return self._thread.is_alive()

    def finish(self, seconds: float | None = None) -> str:
        """Wait for the thread, hand over the result; returns the sentence to show."""
        self._thread.join(seconds)
        if self.cancelled:
            return f"{self.title}: called off, nothing was written."
        return self.failure or self._done(self._result)

    def abandon(self) -> None:
        """Call it off and wait a bounded time."""
        self.progress.cancel()
        self._thread.join(CLOSE_S)


def to_file(path: Path, write: Callable[[Path, Progress], object]) -> Callable[[Progress], object]:
    """Work that puts a file at ``path``: all of it or nothing. ``write`` writes to the path that it is given.

    What stood at ``path`` before stays until the new file is whole.
    """

    def work(progress: Progress) -> object:
        part = path.with_name(f".{path.name}.{os.getpid()}-{id(progress):x}.part")
        try:
            write(part, progress)
            progress.tell(1.0)
            os.replace(part, path)
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(path)) from error
        finally:
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)
        return path.stat().st_size

    return work


class ProgressLine(QWidget):
    """What is under way, how far it is, and a button that calls it off. Hidden at first."""

    def __init__(self, theme: Theme, name: str, tip: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName(name)
        self.words = ElidedLabel(theme)
        self.bar = QProgressBar()
        self.bar.setMaximumWidth(360)
        self.cancel = Button()
        self.cancel.setText("Cancel")
        self.cancel.setToolTip(tip)
        row = QHBoxLayout(self)
        row.setContentsMargins(12, 2, 8, 2)
        row.addWidget(self.words, 1)
        row.addWidget(self.bar, 1)
        row.addWidget(self.cancel, 0, Qt.AlignmentFlag.AlignRight)
        self.hide()


class JobLine(ProgressLine):
    """Shown while there is long work: what it is, how far, and a button that calls it off.

    It lies over the right half of its parent, a line that is always there: nothing moves when it comes and goes."""

    told = Signal(bool, str)
    """Work has ended: whether well, and a sentence."""

    def __init__(self, theme: Theme, parent: QWidget) -> None:
        super().__init__(theme, "job_line", "Call it off: nothing is written", parent)
        self._theme = theme
        parent.installEventFilter(self)
        self.jobs: list[Job] = []
        self.setAccessibleName("Work in progress")
        self.bar.setRange(0, 1000)
        self.bar.setTextVisible(True)
        self.cancel.setObjectName("job_cancel")
        self.cancel.clicked.connect(self.cancel_first)
        self._clock = QElapsedTimer()
        self._timer = QTimer(self)
        self._timer.setInterval(LOOK_MS)
        self._timer.timeout.connect(self.look)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Keep to the parent's right half."""
        if event.type() == QEvent.Type.Resize and isinstance(watched, QWidget):
            half = watched.width() // 2
            self.setGeometry(half, 2, watched.width() - half - 2, watched.height() - 4)
        return super().eventFilter(watched, event)

    @painted
    def paintEvent(self, event: QPaintEvent) -> None:
        """Cover what is behind it."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(self._theme.color("ui.border"))
        painter.setBrush(self._theme.color("ui.raised"))
        painter.drawRoundedRect(self.rect().toRectF().adjusted(0.5, 0.5, -0.5, -0.5), 6, 6)
        painter.end()

    def start(self, title: str, work: Callable[[Progress], object], done: Callable[[object], str]) -> None:
        """Begin."""
        self.jobs.append(Job(title, work, done))
        self._clock.start()
        self._timer.start()

    def take_over(self, other: JobLine) -> None:
        """Finish what ``other``, whose window closes, has begun: what is saved there is saved."""
        other._timer.stop()
        self.jobs += other.jobs
        other.jobs.clear()
        if self.jobs and not self._timer.isActive():
            self._clock.start()
            self._timer.start()

    @Slot()
    def look(self) -> None:
        """See how far the work is. A timer calls this while there is any."""
        for job in [one for one in self.jobs if not one.running]:
            self.jobs.remove(job)
            sentence = job.finish()
            self.told.emit(not job.failure, sentence)
        if not self.jobs:
            self._timer.stop()
            self.hide()
            return
        first = self.jobs[0]
        more = f" (and {len(self.jobs) - 1} more)" if len(self.jobs) > 1 else ""
        self.words.text = f"{first.title}{more} …"
        self.bar.setMaximum(1000 if first.progress.part >= 0 else 0)
        self.bar.setValue(int(first.progress.part * 1000))
        self.cancel.setAccessibleName(f"Call off: {first.title}")
        if not self.isVisible() and self._clock.elapsed() >= SHOWN_AFTER_MS:
            self.show()

    @Slot()
    def cancel_first(self) -> None:
        """Call off what the line shows."""
        if self.jobs:
            self.jobs[0].progress.cancel()

    def abandon(self) -> None:
        """The window closes: call everything off."""
        self._timer.stop()
        for job in self.jobs:
            job.abandon()
        self.jobs.clear()
