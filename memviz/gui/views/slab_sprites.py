"""Little pictures of objects by state: a colour *and* a sign, so that nobody needs to tell colours apart."""

from __future__ import annotations

import numpy as np
from PySide6.QtCore import QLineF, QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QImage, QPainter, QPainterPath, QPen

from memviz.gui.theme import Theme
from memviz.gui.views.heatmap_overlay import ink_on
from memviz.snapshot import (
    OBJ_BUSY,
    OBJ_FREE,
    OBJ_ISOLATED,
    OBJ_MOVING,
    OBJ_NONE,
    OBJ_RCU,
    OBJ_SHEAF,
    OBJ_STATE_NAMES,
    U32,
)


def sprites(theme: Theme, pitch_x: int, pitch_y: int, ratio: float) -> U32:
    """One picture a state, shape (states, pitch_y, pitch_x), 0xffRRGGBB: the cell and the gap right and below it."""
    pictures = []
    for state in range(len(OBJ_STATE_NAMES)):
        image = QImage(pitch_x, pitch_y, QImage.Format.Format_RGB32)
        image.fill(theme.color("ui.panel"))
        if state != OBJ_NONE:
            painter = QPainter(image)
            gap = max(1, round((3 if pitch_x >= 12 * ratio else 2 if pitch_x >= 7 * ratio else 1) * ratio))
            gap_y = max(1, round((3 if pitch_y >= 12 * ratio else 1) * ratio))
            paint_object(painter, QRectF(0, 0, max(1, pitch_x - gap), max(1, pitch_y - gap_y)), state, theme, ratio)
            painter.end()
        pixels = np.frombuffer(bytes(image.constBits()), np.uint32)
        pictures.append(pixels.reshape(pitch_y, image.bytesPerLine() // 4)[:, :pitch_x])
    return np.array(pictures, np.uint32)


def paint_object(painter: QPainter, rect: QRectF, state: int, theme: Theme, ratio: float) -> None:
    """Draw one object in ``rect`` (device pixels)."""
    color = theme.color(f"object.{OBJ_STATE_NAMES[state]}")
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(color)
    radius = min(2.0 * ratio, rect.width() / 3, rect.height() / 3)
    painter.drawRoundedRect(rect, radius, radius)
    if min(rect.width(), rect.height()) < 6 * ratio or state == OBJ_FREE:
        return
    path = QPainterPath()
    path.addRoundedRect(rect, radius, radius)
    painter.setClipPath(path)
    _sign(painter, rect, state, ink_on(color.rgb() & 0xFFFFFF), ratio)


def _sign(painter: QPainter, rect: QRectF, state: int, ink: QColor, ratio: float) -> None:
    """Isolated: hatched. Moving: an arrow. Busy: a cross. Waiting for RCU: a ring. In a sheaf: a bar. In use: plain."""
    middle = rect.center()
    arm = min(rect.width(), rect.height()) * 0.28
    ink.setAlphaF(0.8)
    painter.setBrush(Qt.BrushStyle.NoBrush)
    painter.setPen(QPen(ink, 1.4 * ratio))
    if state == OBJ_ISOLATED:
        step = 4 * ratio
        x = rect.left() - rect.height()
        while x < rect.right():
            painter.drawLine(QLineF(x, rect.bottom(), x + rect.height(), rect.top()))
            x += step
    elif state == OBJ_BUSY:
        painter.drawLine(QLineF(middle.x() - arm, middle.y() - arm, middle.x() + arm, middle.y() + arm))
        painter.drawLine(QLineF(middle.x() - arm, middle.y() + arm, middle.x() + arm, middle.y() - arm))
    elif state == OBJ_MOVING:
        painter.drawLine(QLineF(middle.x() - 1.5 * arm, middle.y(), middle.x() + 1.5 * arm, middle.y()))
        tip = QPointF(middle.x() + 1.5 * arm, middle.y())
        painter.drawLine(QLineF(tip, tip + QPointF(-arm, -arm)))
        painter.drawLine(QLineF(tip, tip + QPointF(-arm, arm)))
    elif state == OBJ_RCU:
        painter.drawEllipse(middle, arm, arm)
    elif state == OBJ_SHEAF:
        painter.drawLine(QLineF(rect.left() + 2 * ratio, middle.y(), rect.right() - 2 * ratio, middle.y()))
