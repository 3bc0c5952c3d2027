"""The program with the window: makes the application, opens a scenario, runs until the window is closed.

What belongs to a whole process is done here and nowhere else: names for the desktop and for settings, the garbage
collector, Ctrl-C.
"""

from __future__ import annotations

import gc
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from types import FrameType
from typing import Final

from PySide6.QtCore import QCoreApplication, QEvent, QSize, Qt, QTimer
from PySide6.QtGui import QGuiApplication, QIcon
from PySide6.QtWidgets import QApplication

from memviz import APP_ID, __version__, resources, scenario
from memviz.gui import report
from memviz.gui.gallery import Entry
from memviz.gui.main_window import FIRST_SIZE, MainWindow, Scenario
from memviz.gui.settings import Settings
from memviz.gui.theme import Theme
from memviz.races.catalogue import CASES, PREFIX
from memviz.sources.base import LIVE, live, race, simulation
from memviz.sources.host import HostClient

COLLECT_MS: Final = 5000
FRAME: Final = 60
"""Room for a title bar and borders, in pixels: the desktop draws them, and says how high they are too late."""
SCRIPT_S: Final = 900
SETTLE_MS: Final = 400
"""From the end of a script to the picture of it: panels that move things in have done so."""
DEFAULT_SCENARIO: Final = "aged-file-server"
_FAREWELLS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True, slots=True)
class WindowOptions:
    """What ``memviz [SCENARIO]`` was called with."""

    scenario: str = ""
    """Name or path; empty: the start page."""
    seed: int | None = None
    memory_mib: int | None = None
    screenshot: str | None = None
    """Write a picture of the window to this file, and exit."""
    after: float = 8.0
    """Seconds after which the picture is taken."""
    host: str = ""
    """The machine to look at over ssh instead of this one."""
    actions: bool = False
    """This machine may be acted upon, not only read."""
    scripted: bool = False
    """The picture is taken when the scenario's script has ended, however long that takes (at most ``SCRIPT_S``)."""
    theme: str = ""
    """``dark``, ``light`` or ``system``; empty: as remembered."""
    recording: str = ""
    """A file to play instead of a scenario."""
    at_ns: int = -1
    """Where in it to begin, virtual time."""
    go_on: bool = False
    """Run its simulation on from there instead."""
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
    window = MainWindow(scenarios, theme, settings, list_races(options))
    if options.screenshot is not None:
        window.resize(*options.size)
    else:
        keep_to_screen(window)
    code: list[int] = []
    with collected_here(app), interruptible(window):
        if options.recording:
            window.show()
            if options.go_on:
                window.recordings.go_on(options.recording, options.at_ns)
            else:
                window.recordings.open(options.recording, options.at_ns)
        elif first:
            window.show()
            window.open_scenario(first)
            window.session.set_running(True)
        else:
            window.show()  # first, or the focus would go to a panel behind the page
            window.show_gallery()
        if options.screenshot is not None:
            take = partial(take_picture, window, options.screenshot, code)
            if options.scripted:
                when_ended(window, take, code)
            else:
                QTimer.singleShot(int(options.after * 1000), take)
        if window.isVisible():  # it isn't when Ctrl-C came first
            app.exec()
    # In order, now: at the end of the process Python would take it apart in any order.
    window.deleteLater()
    QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
    return code[0] if code else 0


def keep_to_screen(window: MainWindow) -> None:
    """Let a window that does not fit on its screen with its title bar fill it: a part of it could not be reached."""
    room = window.screen().availableSize() - QSize(0, FRAME)
    if window.size() != window.size().boundedTo(room):
        window.resize(window.size().boundedTo(room))  # what it is again once it no longer fills the screen
        window.setWindowState(window.windowState() | Qt.WindowState.WindowMaximized)


def list_scenarios(options: WindowOptions) -> tuple[list[Scenario], str]:
    """The entries of the chooser, and which is opened first: none when the start page comes first.

    Raises ScenarioError when there is no such scenario.
    """
    name_application()
    names = scenario.names()
    first = options.scenario
    if first and first not in names and first != LIVE and not first.startswith(PREFIX):
        names = [*names, first]
    if not first and options.screenshot is not None:
        first = DEFAULT_SCENARIO
    entries = []
    for name in names:
        found = scenario.load(name)
        seed = found.machine_spec.seed if options.seed is None else options.seed
        spec = simulation(name, options.seed, options.memory_mib, scripted=options.scripted)
        guided = simulation(name, options.seed, options.memory_mib, guided=True)
        entry = Entry(name, found.title, found.summary, found.question, found.lesson, len(found.moment))
        title = f"{found.title}, seed {seed}"
        entries.append(Scenario(name, title, partial(HostClient, spec), partial(HostClient, guided), entry))
    entries.append(this_machine(options))
    return entries, first


def this_machine(options: WindowOptions) -> Scenario:
    """The machine that this runs on, among the scenarios."""
    summary = "The memory of the machine that you sit at, as its kernel tells it. " + (
        "What is done to it is asked for first." if options.actions else "It is only read."
    )
    question = "Which caches pin which blocks here, and what would it take to get huge pages?"
    make = partial(HostClient, live(options.actions, options.host))
    title = options.host or "This machine"
    return Scenario(LIVE, title, make, make, Entry(LIVE, title, summary, question))


def list_races(options: WindowOptions) -> list[Scenario]:
    """The cases of the race lab."""
    return [Scenario(case.name, case.title, partial(HostClient, race(case.name, seed=options.seed))) for case in CASES]


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
        report.save_picture(path, window)
        code.append(0)
    except OSError as error:
        print(f"memviz: {path} can't be written: {error.strerror}; choose another file", file=sys.stderr)
        code.append(1)
    if window.session.failure:
        print(f"memviz: {window.session.failure}", file=sys.stderr)
        code[:] = [1]
    window.close()


def when_ended(window: MainWindow, take: Callable[[], None], code: list[int]) -> None:
    """Call ``take`` once the run has ended and every panel has shown that."""
    session = window.session
    limit = QTimer(window)
    limit.setSingleShot(True)

    def look() -> None:
        snapshot = session.snapshot
        if session.failure or (snapshot is not None and snapshot.state in ("ended", "failed")):
            session.changed.disconnect(look)
            limit.stop()
            QTimer.singleShot(SETTLE_MS, window, take)

    def too_late() -> None:
        session.changed.disconnect(look)
        print(f"memviz: the script has not ended within {SCRIPT_S} s: the picture shows it under way", file=sys.stderr)
        take()
        code[:] = [1]

    session.changed.connect(look)
    limit.timeout.connect(too_late)
    limit.start(SCRIPT_S * 1000)


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
    """Ctrl-C in the terminal closes the window as its button does; so do a terminal that goes and the end of a login:
    a recording is finished, the layout is remembered.
    """

    def close(number: int, frame: FrameType | None) -> None:
        QTimer.singleShot(0, window, window.close)  # not here: this may be in the middle of painting

    before = {number: signal.signal(number, close) for number in _FAREWELLS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
