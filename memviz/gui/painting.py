"""What a widget that paints itself does when that goes wrong: it stops, and its panel says so.

An exception in ``paintEvent`` leaves a painter behind that is still active, and Qt kills the process over it when it
paints next.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable
from functools import wraps
from typing import Protocol, TypeVar, runtime_checkable

from PySide6.QtCore import QTimer
from PySide6.QtGui import QPaintEvent
from PySide6.QtWidgets import QWidget

W = TypeVar("W", bound=QWidget)


@runtime_checkable
class Breaks(Protocol):
    """A widget around others that says that one of them has failed: ``panel.PanelDock``."""

    def break_down(self, trouble: str) -> None:
        """Put a sentence in the place of what has failed. ``trouble``: the traceback, for the report."""


def painted(paint: Callable[[W, QPaintEvent], None]) -> Callable[[W, QPaintEvent], None]:
    """Decorates a ``paintEvent``: an exception ends its painters, and the panel that the widget is in shows that."""

    @wraps(paint)
    def guarded(self: W, event: QPaintEvent) -> None:
        try:
            paint(self, event)
        except Exception as error:
            trouble = traceback.format_exc()
            sys.excepthook(type(error), error, error.__traceback__)
            # Painters live in the frames that the exception went through, and end with them.
            traceback.clear_frames(error.__traceback__)
            _break_down(self, trouble)

    return guarded


def _break_down(widget: QWidget, trouble: str) -> None:
    around: QWidget | None = widget
    while around is not None and not isinstance(around, Breaks):
        around = around.parentWidget()
    if around is not None:
        # Not in the middle of painting.
        QTimer.singleShot(0, around, lambda: around.break_down(trouble))
