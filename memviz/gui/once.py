"""Work that is done one time, a moment later."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QObject, QTimer


def once(parent: QObject, do: Callable[[], object], ms: int = 0) -> QTimer:
    """A timer that calls ``do`` one time, ``ms`` after it was started last.

    0: in the next turn of the event loop, behind what the window has to answer. ``QTimer.singleShot(0, …)`` comes
    before that.
    """
    timer = QTimer(parent)
    timer.setSingleShot(True)
    timer.setInterval(ms)
    timer.timeout.connect(do)
    return timer
