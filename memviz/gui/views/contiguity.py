"""Contiguity: bars per order of what is free now and what could be."""

from __future__ import annotations

from typing import ClassVar

from PySide6.QtCore import QEvent, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QKeyEvent, QMouseEvent, QPainter, QPaintEvent
from PySide6.QtWidgets import QWidget

from memviz.gui.painting import painted
from memviz.gui.panel import View
from memviz.gui.render.contiguity import Contiguity, contiguity
from memviz.gui.render.numbers import count, short_count
from memviz.gui.selection import Selection
from memviz.gui.theme import Theme
from memviz.snapshot import Snapshot

_LABEL_H = 16
_LEGEND_H = 22


class ContiguityView(View):
    """One column an order. A click chooses the order that the request button asks for."""

    ident: ClassVar[str] = "contiguity"
    title: ClassVar[str] = "Contiguity"
    what: ClassVar[str] = (
        "An order is the size of a block: order 9 is 512 pages in one piece. The bars say which part of "
        "memory could be had in such blocks now, and which if everything movable moved."
    )
    keys: ClassVar[tuple[tuple[str, str], ...]] = (("← →", "The order that is asked for"),)
    empty: ClassVar[str] = "No free blocks are known yet"
    period_ms: ClassVar[int] = 50
    own_keys = frozenset({Qt.Key.Key_Left, Qt.Key.Key_Right})

    order_picked = Signal(int)

    def __init__(self, selection: Selection, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(selection, theme, parent)
        self.header.subtitle = "what could be allocated now, by order"
        self.order = 9
        self.bars: Contiguity | None = None
        self._hover = -1
        self.setMouseTracking(True)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setMinimumSize(180, 90)

    def sizeHint(self) -> QSize:
        """Room for eleven columns."""
        return QSize(420, 190)

    def show_snapshot(self, snapshot: Snapshot) -> None:
        """Repaint when a count changed."""
        self.snapshot = snapshot
        bars = contiguity(snapshot)
        if bars != self.bars:
            self.bars = bars
            self._describe()
            self.update()

    def set_order(self, order: int) -> None:
        """Highlight the order that is asked for."""
        self.order = order
        self._describe()
        self.update()

    def words(self) -> str:
        """The line below the bars."""
        if self.bars is None:
            return ""
        order = self._hover if self._hover >= 0 else self.order
        return self.bars.sentence(min(order, len(self.bars.now) - 1))

    def as_text(self) -> str:
        """Every order, as every order is seen."""
        bars = self.bars
        lines = [] if bars is None else [bars.sentence(order) for order in range(len(bars.now))]
        return "\n".join([f"{self.header.title}  {self.header.subtitle}", *lines])

    def _describe(self) -> None:
        self.setAccessibleDescription(self.words())

    # -- drawing

    @painted
    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw columns, their numbers and the line in words."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        if self.bars is None:
            self.paint_empty(painter)
        else:
            self._paint_bars(painter, self.bars)
            self._paint_legend(painter)
        painter.end()

    def _column(self, order: int) -> QRectF:
        nr = len(self.bars.now) if self.bars is not None else 11
        width = self.width() / nr
        return QRectF(order * width, 0, width, self.height() - _LEGEND_H)

    def _paint_bars(self, painter: QPainter, bars: Contiguity) -> None:
        theme = self.theme
        painter.setFont(theme.font("small"))
        widest = max(painter.fontMetrics().horizontalAdvance(count(number)) for number in bars.now)
        crowded = widest > self._column(0).width() - 4
        for order in range(len(bars.now)):
            column = self._column(order)
            gap = min(10.0, column.width() * 0.2)
            area = QRectF(column.left() + gap, _LABEL_H, column.width() - 2 * gap, column.height() - 2 * _LABEL_H)
            if order in (self.order, self._hover):
                painter.fillRect(column.adjusted(1, 0, -1, 0), theme.color("ui.row"))
            painter.fillRect(area, theme.color("chart.track"))
            if bars.possible_share:
                painter.fillRect(_part(area, bars.possible_share[order]), theme.color("chart.possible"))
            none = bars.now[order] == 0
            share = max(bars.now_share[order], 0.012)
            painter.fillRect(_part(area, share), theme.color("chart.danger" if none else "chart.free"))
            painter.setFont(theme.font("small"))
            painter.setPen(theme.color("tone.bad" if none else "ui.muted"))
            words = short_count(bars.now[order]) if crowded else count(bars.now[order])
            painter.drawText(QRectF(column.left(), 0, column.width(), _LABEL_H), Qt.AlignmentFlag.AlignCenter, words)
            chosen = order == self.order
            painter.setFont(theme.font("bold" if chosen else "normal"))
            painter.setPen(theme.color("ui.text" if chosen else "ui.muted"))
            label = QRectF(column.left(), column.bottom() - _LABEL_H, column.width(), _LABEL_H)
            painter.drawText(label, Qt.AlignmentFlag.AlignCenter, str(order))
        if self.hasFocus():
            painter.setPen(theme.color("ui.focus"))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawRoundedRect(self._column(self.order).adjusted(1.5, 0.5, -1.5, -0.5), 3, 3)

    def _paint_legend(self, painter: QPainter) -> None:
        theme, font = self.theme, self.theme.font("small")
        painter.setFont(font)
        metrics = painter.fontMetrics()
        line = QRectF(0, self.height() - _LEGEND_H + 2, self.width(), _LEGEND_H - 2)
        left = 2.0
        middle = line.center().y()
        wide = (
            self.width()
            > metrics.horizontalAdvance("free now if movable objects moved unusable index, order 10: 0.00") + 70
        )
        entries = [("chart.free", "free now")]
        if self.bars is not None and self.bars.possible:
            entries.append(("chart.possible", "if movable objects moved" if wide else "if moved"))
        if self._hover < 0:
            for key, words in entries:
                painter.fillRect(QRectF(left, middle - 4, 8, 8), theme.color(key))
                painter.setPen(theme.color("ui.muted"))
                width = metrics.horizontalAdvance(words)
                painter.drawText(
                    QRectF(left + 13, line.top(), width + 2, line.height()), Qt.AlignmentFlag.AlignVCenter, words
                )
                left += 13 + width + 16
            words = (
                f"unusable index, order {self.order}: {self.bars.unusable[self.order] / 1000:.2f}" if self.bars else ""
            )
        else:
            words = self.words()
        painter.setPen(theme.color("ui.text"))
        rest = QRectF(left, line.top(), max(0.0, line.width() - left), line.height())
        words = metrics.elidedText(words, Qt.TextElideMode.ElideRight, int(rest.width()))
        painter.drawText(rest, Qt.AlignmentFlag.AlignVCenter, words)

    # -- the mouse and the keys

    def _order_at(self, x: float) -> int:
        nr = len(self.bars.now) if self.bars is not None else 0
        return min(nr - 1, max(0, int(x * nr / max(1, self.width())))) if nr else -1

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Say what the bar below the pointer means."""
        hover = self._order_at(event.position().x())
        if hover != self._hover:
            self._hover = hover
            self.update()

    def leaveEvent(self, event: QEvent) -> None:
        """Say again what the chosen order means."""
        self._hover = -1
        self.update()

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Choose the order to ask for."""
        order = self._order_at(event.position().x())
        if order >= 0 and event.button() == Qt.MouseButton.LeftButton:
            self.order_picked.emit(order)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Left and right choose the order."""
        step = {Qt.Key.Key_Left: -1, Qt.Key.Key_Right: 1}.get(Qt.Key(event.key()), 0)
        if step and self.bars is not None:
            self.order_picked.emit(min(len(self.bars.now) - 1, max(0, self.order + step)))
        else:
            super().keyPressEvent(event)


def _part(area: QRectF, share: float) -> QRectF:
    height = area.height() * min(1.0, share)
    return QRectF(area.left(), area.bottom() - height, area.width(), height)
