"""The legend under the map: a swatch, a name and a share for each class. A click singles a class out."""

from __future__ import annotations

from typing import Final, NamedTuple

from PySide6.QtCore import QEvent, QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QColor, QFontMetricsF, QKeyEvent, QMouseEvent, QPainter, QPaintEvent, QPen, QResizeEvent
from PySide6.QtWidgets import QSizePolicy, QWidget

from memviz.gui.painting import painted
from memviz.gui.render.heatmap_modes import LegendEntry
from memviz.gui.theme import Theme

SWATCH: Final = 12
GAP: Final = 16
MOST_ROWS: Final = 2
"""Classes that don't fit into so many rows are left out, the smallest first."""


class _Placed(NamedTuple):
    entry: LegendEntry
    rect: QRectF


class Legend(QWidget):
    """Entries in as many rows as the width asks for. ``picked`` carries the rank that was clicked, -1 to show all."""

    picked = Signal(int)

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._theme = theme
        self._entries: tuple[LegendEntry, ...] = ()
        self._colors: tuple[int, ...] = ()
        self._highlight = -1
        self._cursor = 0
        self._placed: list[_Placed] = []
        self._labels: tuple[str, ...] = ()
        self._metrics = QFontMetricsF(theme.font("small"))
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.setAccessibleName("Legend: arrow keys choose a class, space singles it out")

    def show_entries(
        self, entries: tuple[LegendEntry, ...], colors: tuple[int, ...], highlight: int, labels: tuple[str, ...]
    ) -> None:
        """Show ``entries`` in 0xRRGGBB ``colors`` (by rank), the rank ``highlight`` marked.

        ``labels``: of all classes there could be. They decide how high the legend is, so that the map above does not
        change its shape when a class turns up.
        """
        if (entries, colors, highlight, labels) == (self._entries, self._colors, self._highlight, self._labels):
            return
        self._entries, self._colors, self._highlight, self._labels = entries, colors, highlight, labels
        self.setAccessibleDescription(", ".join(f"{entry.label} {entry.share}" for entry in entries))
        self._place()
        self.update()

    def _place(self) -> None:
        self._metrics = QFontMetricsF(self._theme.font("small"))
        rows = min(MOST_ROWS, self._flow([(label, "") for label in self._labels])[1])
        entries = list(self._entries)
        while entries and self._flow([(entry.label, entry.share) for entry in entries])[1] > rows:
            entries.remove(min(entries, key=lambda entry: entry.frames))
        row_height = self._metrics.height() + 5
        places, _ = self._flow([(entry.label, entry.share) for entry in entries])
        self._placed = [
            _Placed(entry, QRectF(x, row * row_height, width, row_height))
            for entry, (x, row, width) in zip(entries, places, strict=True)
        ]
        self._cursor = min(self._cursor, max(len(entries) - 1, 0))
        height = int(max(rows, 1) * row_height) + 1
        if height != self.height():
            self.setFixedHeight(height)

    def _flow(self, entries: list[tuple[str, str]]) -> tuple[list[tuple[float, int, float]], int]:
        """Left edge, row and width of each label with its share, and the number of rows."""
        advance = self._metrics.horizontalAdvance
        places, x, row = [], 0.0, 0
        for label, share in entries:
            # Room for the widest share, so that names don't dance.
            width = SWATCH + 7 + advance(label) + max(advance("  99 %"), advance(f"  {share}"))
            if x and x + width > self.width():
                x, row = 0.0, row + 1
            places.append((x, row, width))
            x += width + GAP
        return places, row + 1

    def sizeHint(self) -> QSize:
        """One row at least."""
        return QSize(200, self.height())

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Flow the entries anew."""
        self._place()

    def _toggle(self, rank: int) -> None:
        self.picked.emit(-1 if rank == self._highlight else rank)

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Single out the class that was clicked; click it again to show all."""
        for number, placed in enumerate(self._placed):
            if placed.rect.contains(event.position()):
                self._cursor = number
                self._toggle(placed.entry.rank)
                return
        self.picked.emit(-1)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Left, right: another class. Space: single it out. Escape: show all."""
        key = event.key()
        if key in (Qt.Key.Key_Left, Qt.Key.Key_Right) and self._placed:
            self._cursor = (self._cursor + (1 if key == Qt.Key.Key_Right else -1)) % len(self._placed)
            self.update()
        elif key in (Qt.Key.Key_Space, Qt.Key.Key_Return) and self._placed:
            self._toggle(self._placed[self._cursor].entry.rank)
        elif key == Qt.Key.Key_Escape and self._highlight >= 0:
            self.picked.emit(-1)
        else:
            super().keyPressEvent(event)

    def event(self, event: QEvent) -> bool:
        """Keep arrows and space from the window's shortcuts while the legend has the focus."""
        if event.type() == QEvent.Type.ShortcutOverride and isinstance(event, QKeyEvent):
            if event.key() in (Qt.Key.Key_Left, Qt.Key.Key_Right, Qt.Key.Key_Space):
                event.accept()
                return True
        return super().event(event)

    @painted
    def paintEvent(self, event: QPaintEvent) -> None:
        """Swatches, names, shares, the focus."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        font = self._theme.font("small")
        painter.setFont(font)
        metrics = QFontMetricsF(font)
        muted, text = self._theme.color("ui.muted"), self._theme.color("ui.text")
        for number, (entry, rect) in enumerate(self._placed):
            middle = rect.center().y()
            swatch = QRectF(rect.left() + 0.5, middle - SWATCH / 2, SWATCH, SWATCH)
            painter.setPen(QPen(self._theme.color("ui.border"), 1))
            painter.setBrush(QColor.fromRgb(self._colors[entry.rank]))
            painter.drawRoundedRect(swatch, 3, 3)
            painter.setPen(text if entry.rank == self._highlight else muted)
            baseline = middle + (metrics.ascent() - metrics.descent()) / 2
            left = rect.left() + SWATCH + 7
            painter.drawText(QPointF(left, baseline), entry.label)
            painter.setPen(text)
            left += metrics.horizontalAdvance(f"{entry.label}  ")
            painter.drawText(QPointF(left, baseline), entry.share)
            if self.hasFocus() and number == self._cursor:
                painter.setBrush(Qt.BrushStyle.NoBrush)
                painter.setPen(QPen(self._theme.color("ui.focus"), 1))
                painter.drawRoundedRect(rect.adjusted(-3, 0.5, 3, -1.5), 3, 3)
        painter.end()
