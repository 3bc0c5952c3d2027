"""What every test with a window runs under: settings of its own, and a look at what it left behind.

A test that leaves a top-level widget, a thread or a running timer behind fails, and hears where the timer was started.
Such a leak is, in the window, a view that goes on working after it was closed.
"""

from __future__ import annotations

import threading
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest
import shiboken6
from PySide6.QtCore import QCoreApplication, QEvent, QSettings, QTimer
from PySide6.QtWidgets import QApplication

from memviz.gui.main_window import MainWindow, Scenario
from memviz.gui.selection import Selection
from memviz.gui.settings import Settings
from memviz.gui.theme import Theme
from tests.gui.clients import FakeClient
from tests.gui.synthetic import SyntheticSource


@pytest.fixture(autouse=True)
def own_settings(tmp_path: Path) -> None:
    """Settings in a folder of the test."""
    QSettings.setPath(QSettings.Format.NativeFormat, QSettings.Scope.UserScope, str(tmp_path / "config"))
    QCoreApplication.setOrganizationName("memviz-test")
    QCoreApplication.setApplicationName("memviz-test")


@pytest.fixture(autouse=True)
def nothing_left(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fail a test that passed but leaves widgets, threads or running timers behind."""
    if not {"qtbot", "qapp"} & set(request.fixturenames):
        yield
        return
    request.getfixturevalue("qapp")
    timers: list[tuple[QTimer, str]] = []
    start = QTimer.start

    def watched(timer: QTimer, *arguments: int) -> None:
        timers.append((timer, "".join(traceback.format_stack(limit=4)[:-1])))
        start(timer, *arguments)

    monkeypatch.setattr(QTimer, "start", watched)
    widgets = set(map(id, QApplication.topLevelWidgets()))
    threads = set(threading.enumerate())
    yield
    QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
    if request.node.stash.get(_FAILED, False):
        return  # a traceback keeps widgets alive; one failure is enough
    while any(soon(timer) for timer, _ in timers):
        QCoreApplication.processEvents()
    left = [f"widget {w!r} {w.windowTitle()!r}" for w in QApplication.topLevelWidgets() if id(w) not in widgets]
    left += [f"thread {thread.name}" for thread in threading.enumerate() if thread not in threads]
    left += [f"timer started at\n{at}" for timer, at in timers if shiboken6.isValid(timer) and timer.isActive()]
    assert not left, f"the test left {len(left)} behind: " + "; ".join(left[:5])


_FAILED = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):  # type: ignore[no-untyped-def]
    """Remember whether the test itself failed."""
    report = yield
    if call.when == "call":
        item.stash[_FAILED] = report.failed
    return report


def soon(timer: QTimer) -> bool:
    """A piece of work for the next turn of the event loop: it ends by itself."""
    return shiboken6.isValid(timer) and timer.isActive() and timer.isSingleShot() and timer.interval() == 0


@pytest.fixture
def theme(qapp: QApplication) -> Theme:
    """The dark theme; a test may choose the other."""
    return Theme("dark")


@pytest.fixture
def selection(qapp: QApplication) -> Selection:
    """A selection of nothing."""
    return Selection()


@pytest.fixture
def client() -> FakeClient:
    """A source of 32 MiB that answers like a machine."""
    return FakeClient(SyntheticSource(nr_frames=8192))


@pytest.fixture
def window(qtbot, theme: Theme, client: FakeClient) -> MainWindow:  # type: ignore[no-untyped-def]
    """The whole window, shown, with the synthetic source open and its first snapshot on the screen."""
    theme.apply(QApplication.instance())  # type: ignore[arg-type]
    window = MainWindow([Scenario("aged", "Aged file server", lambda: client)], theme, Settings())
    qtbot.addWidget(window)
    window.resize(1280, 720)
    window.show()
    window.open_scenario("aged")
    window.session.pull()
    return window
