"""The fixed line below the map, and the line to type a page frame number into."""

from __future__ import annotations

from typing import Final

from PySide6.QtCore import QRectF, QSize, Qt, Signal
from PySide6.QtGui import QFontMetricsF, QKeyEvent, QPainter, QPaintEvent
from PySide6.QtWidgets import QLineEdit, QSizePolicy, QWidget

from memviz.gui.painting import painted
from memviz.gui.theme import Theme

_LEAST_HINT: Final = 180.0
"""Pixels: where there is less room a hint is left out, not cut."""


class ReadOut(QWidget):
    """One fixed line of words in a fixed-width font: nothing pops up under the mouse."""

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._theme = theme
        self.parts: tuple[str, ...] = ()
        self._hint = ""
        self._note = ""
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.setFixedHeight(27)
        self.setAccessibleName("Read-out")

    def show_parts(self, parts: tuple[str, ...], hint: str = "") -> None:
        """Show ``parts`` side by side, or the ``hint`` where there are none."""
        if (parts, hint) != (self.parts, self._hint):
            self.parts, self._hint = parts, hint
            self.setAccessibleDescription(", ".join(parts) or hint)
            self.update()

    def show_note(self, note: str) -> None:
        """Say something about the whole map, at the right."""
        if note != self._note:
            self._note = note
            self.update()

    def sizeHint(self) -> QSize:
        """As high as its line."""
        return QSize(200, 27)

    @painted
    def paintEvent(self, event: QPaintEvent) -> None:
        """The line, cut with … at the right. Nothing while there is nothing to say: an empty bar looks broken."""
        if not (self.parts or self._hint or self._note):
            return
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(self._theme.color("ui.sunken"))
        painter.drawRoundedRect(QRectF(self.rect()), 3, 3)
        font = self._theme.font("mono" if self.parts else "small")
        painter.setFont(font)
        metrics = QFontMetricsF(font)
        if metrics.horizontalAdvance("   ".join(self.parts)) > self.width() - 10:
            font = self._theme.font("mono-small")
            painter.setFont(font)
            metrics = QFontMetricsF(font)
        text = "   ".join(self.parts) or self._hint
        painter.setPen(self._theme.color("ui.text" if self.parts else "ui.faint"))
        room = QRectF(self.rect()).adjusted(5, 0, -5, 0)
        beside = QFontMetricsF(self._theme.font("small")).horizontalAdvance(self._note) + 18 if self._note else 0.0
        # What is known about a page frame needs its room more than the note does, the note more than a hint.
        width = room.width() if self.parts else max(room.width() - beside, 0.0)
        line = metrics.elidedText(text, Qt.TextElideMode.ElideRight, width)
        if self._note and not self.parts and width < min(_LEAST_HINT, metrics.horizontalAdvance(text)):
            line = ""  # two words of a hint help nobody
        painter.drawText(room, Qt.AlignmentFlag.AlignVCenter | Qt.TextFlag.TextSingleLine, line)
        room.setLeft(room.left() + metrics.horizontalAdvance(line) + 16)
        painter.setFont(self._theme.font("small"))
        note = painter.fontMetrics().elidedText(self._note, Qt.TextElideMode.ElideRight, int(room.width()))
        if len(note) > 12:
            painter.setPen(self._theme.color("ui.muted"))
            painter.drawText(room, Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignRight, note)
        painter.end()


class GoTo(QLineEdit):
    """A line over the map to type a page frame number into."""

    wanted = Signal(str)

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self._map = parent
        self.setPlaceholderText("0x2a94f, b340 or @address")
        self.setAccessibleName("Go to page frame")
        self.setFixedWidth(190)
        self.hide()
        self.returnPressed.connect(self._done)

    def open(self) -> None:
        """Appear, ready to type."""
        self.move(8, 8)
        self.show()
        self.raise_()
        self.setFocus()
        self.selectAll()

    def _done(self) -> None:
        self.wanted.emit(self.text())

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Escape closes."""
        if event.key() == Qt.Key.Key_Escape:
            self.hide()
            self._map.setFocus()
        else:
            super().keyPressEvent(event)
