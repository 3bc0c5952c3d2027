"""The program with the window: makes the application, opens a scenario, runs until the window is closed.

What belongs to a whole process is done here and nowhere else: names for the desktop and for settings, the garbage
collector, Ctrl-C.
"""

from __future__ import annotations

import gc
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from types import FrameType
from typing import Final

from PySide6.QtCore import QCoreApplication, QEvent, QTimer
from PySide6.QtGui import QGuiApplication, QIcon
from PySide6.QtWidgets import QApplication

from memviz import APP_ID, __version__, resources, scenario
from memviz.gui import report
from memviz.gui.main_window import FIRST_SIZE, MainWindow, Scenario
from memviz.gui.settings import Settings
from memviz.gui.theme import Theme
from memviz.sources.base import simulation
from memviz.sources.host import HostClient

COLLECT_MS: Final = 5000
DEFAULT_SCENARIO: Final = "aged-file-server"


@dataclass(frozen=True, slots=True)
class WindowOptions:
    """What ``memviz [SCENARIO]`` was called with."""

    scenario: str = ""
    """Name or path; empty: the one that was open last."""
    seed: int | None = None
    memory_mib: int | None = None
    screenshot: str | None = None
    """Write a picture of the window to this file, and exit."""
    after: float = 8.0
    """Seconds after which the picture is taken."""
    theme: str = ""
    """``dark``, ``light`` or ``system``; empty: as remembered."""
    size: tuple[int, int] = FIRST_SIZE
    """Of the window when a picture is taken."""


def run_window(options: WindowOptions) -> int:
    """Open the window and stay until it is closed. Returns the exit code.

    2: there is no such scenario; 1: the picture could not be taken, or shows a run that failed.
    """
    try:
        scenarios, first = list_scenarios(options)
    except (scenario.ScenarioError, resources.ResourceError) as error:
        print(f"memviz: {error}", file=sys.stderr)
        return 2
    app = make_application()
    # A picture shows the same on every machine, and leaves no trace in the user's settings.
    settings = Settings(remember=options.screenshot is None)
    theme = Theme(options.theme or settings.theme)
    theme.apply(app)
    QGuiApplication.styleHints().colorSchemeChanged.connect(theme.refresh)
    window = MainWindow(scenarios, theme, settings)
    if options.screenshot is not None:
        window.resize(*options.size)
    code: list[int] = []
    with collected_here(app), interruptible(window):
        window.show()
        window.open_scenario(first)
        window.session.set_running(True)
        if options.screenshot is not None:
            QTimer.singleShot(int(options.after * 1000), partial(take_picture, window, options.screenshot, code))
        if window.isVisible():  # it isn't when Ctrl-C came first
            app.exec()
    # In order, now: at the end of the process Python would take it apart in any order.
    window.deleteLater()
    QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
    return code[0] if code else 0


def list_scenarios(options: WindowOptions) -> tuple[list[Scenario], str]:
    """The entries of the chooser, and which is opened first. Raises ScenarioError when there is no such scenario."""
    names = scenario.names()
    first = options.scenario or str(settings_scenario()) or DEFAULT_SCENARIO
    if first not in names:
        if options.scenario:
            names = [*names, first]
        else:
            first = DEFAULT_SCENARIO
    entries = []
    for name in names:
        found = scenario.load(name)
        seed = found.machine_spec.seed if options.seed is None else options.seed
        spec = simulation(name, options.seed, options.memory_mib)
        entries.append(Scenario(name, f"{found.title}, seed {seed}", partial(HostClient, spec)))
    return entries, first


def settings_scenario() -> str:
    """The scenario that was open last."""
    name_application()
    return Settings().scenario


def name_application() -> None:
    """Names for the desktop and for the settings file."""
    QApplication.setOrganizationName("memviz")
    QApplication.setApplicationName("memviz")
    QApplication.setApplicationVersion(__version__)
    QGuiApplication.setDesktopFileName(APP_ID)


def make_application() -> QApplication:
    """The one QApplication of the process."""
    name_application()
    found = QApplication.instance()
    app = found if isinstance(found, QApplication) else QApplication(sys.argv[:1])
    app.setStyle("Fusion")
    app.setWindowIcon(QIcon(str(resources.path(f"icons/{APP_ID}.svg"))))
    return app


def take_picture(window: MainWindow, path: str, code: list[int]) -> None:
    """Write the picture, close the window; the exit code goes into ``code``."""
    try:
        report.save_picture(path, window.grab())
        code.append(0)
    except OSError as error:
        print(f"memviz: {path} can't be written: {error.strerror}; choose another file", file=sys.stderr)
        code.append(1)
    if window.session.failure:
        print(f"memviz: {window.session.failure}", file=sys.stderr)
        code[:] = [1]
    window.close()


@contextmanager
def collected_here(app: QApplication) -> Iterator[None]:
    """Let the cyclic garbage collector run in this thread only: elsewhere it would destroy widgets, and crash."""
    timer = QTimer(app)
    timer.setInterval(COLLECT_MS)
    timer.timeout.connect(collect)
    timer.start()
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        timer.stop()
        timer.deleteLater()
        gc.unfreeze()
        gc.enable()


def collect() -> None:
    """One collection: the young often, everything now and then, so that none takes long."""
    gc.collect(1)
    if gc.get_count()[2] > 10:
        gc.collect()


@contextmanager
def interruptible(window: MainWindow) -> Iterator[None]:
    """Ctrl-C in the terminal closes the window as its button does."""

    def close(number: int, frame: FrameType | None) -> None:
        window.close()

    before = signal.signal(signal.SIGINT, close)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
