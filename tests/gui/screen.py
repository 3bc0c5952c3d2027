"""Views on the screen, for tests."""

from __future__ import annotations

from PySide6.QtCore import QPoint, QPointF, Qt
from PySide6.QtGui import QWheelEvent
from PySide6.QtWidgets import QApplication, QWidget
from pytestqt.qtbot import QtBot

from memviz.gui.panel import CardFrame, View


def shown(qtbot: QtBot, view: View, width: int = 440, height: int = 190) -> QWidget:
    """``view`` in a card, on the screen."""
    card = CardFrame(view)
    qtbot.addWidget(card)
    card.resize(width, height)
    card.show()
    view.card = card  # type: ignore[attr-defined]  # nobody else holds it
    return card


def colours(view: QWidget) -> set[str]:
    """The colours that ``view`` is painted with."""
    image = view.grab().toImage()
    return {image.pixelColor(x, y).name() for x in range(0, image.width(), 2) for y in range(0, image.height(), 2)}


def wheel(widget: QWidget) -> None:
    """Turn the wheel one notch towards the hand, with the pointer on ``widget``."""
    at = QPointF(widget.rect().center())
    QApplication.sendEvent(
        widget,
        QWheelEvent(
            at,
            QPointF(widget.mapToGlobal(at.toPoint())),
            QPoint(),
            QPoint(0, -120),
            Qt.MouseButton.NoButton,
            Qt.KeyboardModifier.NoModifier,
            Qt.ScrollPhase.NoScrollPhase,
            False,
        ),
    )
