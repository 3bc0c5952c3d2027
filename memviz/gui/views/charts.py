"""Charts: indices of every order, slab utilisation, memory and success by order; one range of time for all of them."""

from __future__ import annotations

from typing import ClassVar, Final, NamedTuple

import numpy as np
import numpy.typing as npt
from PySide6.QtCore import QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import (
    QColor,
    QFontMetrics,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPen,
    QPolygonF,
    QWheelEvent,
)
from PySide6.QtWidgets import QWidget

from memviz.gui.controls import Chooser
from memviz.gui.painting import painted
from memviz.gui.panel import View, draw_empty
from memviz.gui.render.curve import peaks
from memviz.gui.render.history import History
from memviz.gui.render.numbers import count, seconds
from memviz.gui.render.series import COLUMNS, Series
from memviz.gui.selection import Selection
from memviz.gui.theme import Theme
from memviz.snapshot import Snapshot

CHARTS: Final = (
    ("indices", "Unusable index"),
    ("slabs", "Slab utilisation"),
    ("memory", "Memory"),
    ("success", "Success by order"),
)
_WHAT: Final = {
    "indices": "The part of free memory that lies in blocks too small for a request of an order: 0.0, all of it could "
    "serve; 1.0, none.",
    "slabs": "How much of the memory that slabs hold the objects in use fill, for all caches and for three of them.",
    "memory": "Free memory, and the memory that slabs hold, of all that is managed.",
    "success": "Of the requests for blocks of an order, how many were served. Order 9 is 512 pages in one piece.",
}
ORDERS: Final = (3, 5, 7, 9, 10)
_LEFT: Final = 44
_BOTTOM: Final = 18
_TOP: Final = 24
_MIN_SPAN_NS: Final = 100_000
_COLORS: Final = ("chart.fast", "chart.compaction", "chart.retry", "chart.defrag", "chart.failed")
_DASHES: Final[tuple[list[int], ...]] = ([], [6, 3], [2, 2], [8, 3, 2, 3], [1, 3])
"""Curves differ by more than their colour."""


class Curve(NamedTuple):
    """One line of a chart."""

    name: str
    times: npt.NDArray[np.int64]
    values: npt.NDArray[np.int16]
    """Thousandths; negative values are gaps."""


def outcome_words(good: int, bad: int, metrics: QFontMetrics, width: float) -> str:
    """What stands above a bar: both counts, in less room the share; of one that is all alike only its sign."""
    words = f"{count(good)} ✓ {count(bad)} ✗"
    if metrics.horizontalAdvance(words) <= width:
        return words
    if not good or not bad:
        return "✓" if good else "✗"  # "100 %" is too wide for its column just where there is little room
    return f"{good * 100 // (good + bad)} %"


class ChartsView(View):
    """One chart at a time. Wheel zooms, dragging moves, a click sets the time cursor, a double click shows all."""

    ident: ClassVar[str] = "charts"
    title: ClassVar[str] = "Charts"
    what: ClassVar[str] = (
        "Figures over time. The wheel zooms these charts and the timeline together; a click sets the time "
        "cursor in all panels."
    )
    keys: ClassVar[tuple[tuple[str, str], ...]] = (
        ("← →", "Move the time cursor"),
        ("+ −", "Zoom in time"),
    )
    empty: ClassVar[str] = "Nothing has happened yet"
    period_ms: ClassVar[int] = 100
    scrubbed = Signal(object)
    """An instant of a recording is wanted, ns: what is shown of it is where the one time cursor stands."""
    own_keys = frozenset({Qt.Key.Key_Left, Qt.Key.Key_Right, Qt.Key.Key_Plus, Qt.Key.Key_Minus})

    def __init__(
        self, selection: Selection, theme: Theme, history: History, series: Series, parent: QWidget | None = None
    ) -> None:
        super().__init__(selection, theme, parent)
        self.history = history
        self.series = series
        self.chart = CHARTS[0][0]
        self._version = (-1, -1, -1)
        self._drag: tuple[float, tuple[int, int]] | None = None
        self._dragged = False
        self.chooser = Chooser()
        self.chooser.setAccessibleName("Which chart")
        self.chooser.setProperty("small", True)
        for ident, title in CHARTS:
            self.chooser.addItem(title, ident)
        self.chooser.currentIndexChanged.connect(self._chosen)
        self.header.add_widget(self.chooser)
        self._chosen(0)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setMinimumSize(220, 90)
        selection.changed.connect(self.update)
        selection.range_changed.connect(self.update)

    def sizeHint(self) -> QSize:
        """As the panels that it shares its place with."""
        return QSize(420, 190)

    def show_snapshot(self, snapshot: Snapshot) -> None:
        """Repaint when there is something new."""
        self.snapshot = snapshot
        version = (self.history.version, self.series.version, self._cursor())
        if version != self._version:
            self._version = version
            self.update()

    def set_chart(self, ident: str) -> None:
        """Show another chart: an ident of ``CHARTS``."""
        self.chooser.setCurrentIndex([one for one, _ in CHARTS].index(ident))

    def _chosen(self, index: int) -> None:
        self.chart = str(self.chooser.itemData(index))
        self.header.what = f"{_WHAT[self.chart]} {self.what}"
        self.update()

    def empty_words(self, hint: str = "") -> tuple[str, str]:
        """What is missing; meanwhile, what the chart that is chosen will show."""
        headline, what = super().empty_words(hint)
        return headline, _WHAT[self.chart] if what == self.what else what

    # -- what there is to draw

    def curves(self) -> list[Curve]:
        """The lines of the chart that is chosen."""
        if self.chart == "indices":
            return [Curve(f"order {n}", self.history.times, self.history.values[:, n]) for n in ORDERS]
        wanted = COLUMNS[:4] if self.chart == "slabs" else COLUMNS[4:]
        times, values = self.series.times, self.series.values
        return [Curve(name, times, values[:, COLUMNS.index(name)]) for name in wanted if self.chart != "success"]

    def as_table(self) -> tuple[list[str], list[list[object]]]:
        """The chart as a table: header and rows."""
        if self.chart == "success":
            by_order = enumerate(zip(self.series.ok, self.series.failed, self.series.refused, strict=True))
            header = ["order", "requests_succeeded", "requests_failed", "allocations_failed"]
            return header, [[order, *counts] for order, counts in by_order]
        curves = self.curves()
        times = curves[0].times
        values = np.column_stack([one.values[: times.size] for one in curves]) if times.size else np.zeros((0, 1))
        rows = zip(times.tolist(), values.tolist(), strict=True)
        parts = [[time, *("" if value < 0 else value / 1000 for value in row)] for time, row in rows]
        return ["time_ns", *(one.name for one in curves)], parts

    # -- time and pixels

    def _area(self) -> QRectF:
        return QRectF(_LEFT, _TOP, max(1, self.width() - _LEFT - 6), max(1, self.height() - _TOP - _BOTTOM))

    def shown(self) -> tuple[int, int]:
        """First and last instant that are shown, ns."""
        if self.selection.range is not None:
            return self.selection.range
        times = self.history.times if self.history.times.size else self.series.times
        if not times.size:
            return 0, 1
        return int(times[0]), max(int(times[0]) + 1, int(times[-1]))

    def x_of(self, time_ns: int) -> float:
        """Where an instant is, in pixels."""
        begin, end = self.shown()
        area = self._area()
        return area.left() + (time_ns - begin) * area.width() / (end - begin)

    def time_at(self, x: float) -> int:
        """Which instant a pixel shows."""
        begin, end = self.shown()
        area = self._area()
        return begin + int((x - area.left()) * (end - begin) / area.width())

    # -- drawing

    @painted
    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw the chart."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        if self.chart == "success":
            self._paint_bars(painter)
        elif not self.history.times.size and not self.series.times.size:
            self.paint_empty(painter)
        else:
            self._paint_grid(painter)
            curves = self.curves()
            for number, curve in enumerate(curves):
                self._paint_curve(painter, curve, number)
            known = max(int(np.count_nonzero(curve.values >= 0)) for curve in curves)
            if known < 2:  # no line yet: an empty chart would look like one of zeros
                words = "One instant so far: a line needs two" if known else "Nothing is known of this here"
                area = self._area()
                area.setHeight(area.height() / 2)  # between two lines of the grid
                draw_empty(painter, area, self.theme, words)
            self._paint_legend(painter)
            self._paint_cursor(painter)
        if self.hasFocus():
            painter.setPen(self.theme.color("ui.focus"))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawRect(self.rect().adjusted(0, 0, -1, -1))
        painter.end()

    def _paint_grid(self, painter: QPainter) -> None:
        area = self._area()
        painter.setFont(self.theme.font("mono-small"))
        for part in (0.0, 0.5, 1.0):
            y = area.bottom() - part * area.height()
            painter.fillRect(QRectF(area.left(), y, area.width(), 1), self.theme.color("chart.grid"))
            painter.setPen(self.theme.color("ui.muted"))
            words = f"{part:.1f}" if self.chart == "indices" else f"{part * 100:.0f} %"
            painter.drawText(QRectF(0, y - 8, _LEFT - 5, 16), _RIGHT, words)
        begin, end = self.shown()
        box = QRectF(area.left(), area.bottom() + 2, area.width(), _BOTTOM - 2)
        painter.drawText(box, Qt.AlignmentFlag.AlignLeft, seconds(begin))
        painter.drawText(box, Qt.AlignmentFlag.AlignRight, seconds(end))

    def _paint_curve(self, painter: QPainter, curve: Curve, number: int) -> None:
        known = curve.values >= 0
        if not known.any():
            return
        area = self._area()
        begin, end = self.shown()
        points = peaks(curve.times[known], curve.values[known], begin, end, int(area.width()))
        line = [QPointF(area.left() + x, area.bottom() - y * area.height() / 1000) for x, y in points.tolist()]
        painter.setPen(self._pen(number))
        painter.drawPolyline(QPolygonF(line))

    def _pen(self, number: int) -> QPen:
        pen = QPen(self.theme.color(_COLORS[number % len(_COLORS)]), 1.6)
        if _DASHES[number % len(_DASHES)]:
            pen.setDashPattern(_DASHES[number % len(_DASHES)])
        return pen

    def _paint_legend(self, painter: QPainter) -> None:
        painter.setFont(self.theme.font("small"))
        metrics = painter.fontMetrics()
        curves = self.curves()
        wordings = [f"{one.name}: {self._value_words(one)}" for one in curves]
        room, line, gap = self.width() - 4.0 - _LEFT, 18.0, 16.0
        if sum(metrics.horizontalAdvance(words) + line + 4 + gap for words in wordings) > room + gap:
            # Every curve keeps a name: shorter lines and names, then no values.
            line, gap = 12.0, 8.0
            wordings = [f"{_short(one.name)}: {self._value_words(one)}" for one in curves]
            if self.chart == "indices":
                wordings[0] = f"order {wordings[0]}"
        if sum(metrics.horizontalAdvance(words) + line + 4 + gap for words in wordings) > room + gap:
            wordings = [_short(one.name) for one in curves]
        x = float(_LEFT)
        for number, words in enumerate(wordings):
            width = metrics.horizontalAdvance(words)
            painter.setPen(self._pen(number))
            painter.drawLine(QPointF(x, 10), QPointF(x + line, 10))
            painter.setPen(self.theme.color("ui.text"))
            painter.drawText(QRectF(x + line + 4, 2, width + 4, 16), Qt.AlignmentFlag.AlignVCenter, words)
            x += line + 4 + width + gap

    def _value_words(self, curve: Curve) -> str:
        """What the curve's value is now."""
        last = int(curve.values[-1]) if curve.values.size else -1
        if last < 0:
            return "–"
        if self.chart == "indices":
            return f"{last / 1000:.2f}"
        return "<1 %" if 0 < last < 5 else f"{last / 10:.0f} %"

    def _cursor(self) -> int:
        """Where the time cursor stands: of a recording at the instant that is shown; -1: nowhere."""
        if self.snapshot is not None and self.snapshot.playback is not None:
            return self.snapshot.time_ns
        return self.selection.now.time_ns

    def _move_cursor(self, time_ns: int) -> None:
        if self.snapshot is not None and self.snapshot.playback is not None:
            self.scrubbed.emit(time_ns)
        else:
            self.selection.select_time(time_ns)

    def _paint_cursor(self, painter: QPainter) -> None:
        time_ns = self._cursor()
        area = self._area()
        x = self.x_of(time_ns)
        if time_ns < 0 or not area.left() <= x <= area.right():
            return
        painter.fillRect(QRectF(round(x), area.top(), 1.5, area.height()), self.theme.color("chart.cursor"))
        painter.setPen(self.theme.color("chart.cursor"))
        painter.setFont(self.theme.font("small"))
        words = seconds(time_ns)
        width = painter.fontMetrics().horizontalAdvance(words) + 6
        left = min(max(area.left(), x - width / 2), area.right() - width)
        painter.fillRect(QRectF(left, area.bottom() + 1, width, _BOTTOM - 2), self.theme.color("ui.raised"))
        painter.drawText(QRectF(left, area.bottom() + 1, width, _BOTTOM - 2), Qt.AlignmentFlag.AlignCenter, words)

    def _paint_bars(self, painter: QPainter) -> None:
        """For every order: how many requests succeeded and failed; and how many allocations of the workload failed."""
        ok, failed, refused = self.series.ok, self.series.failed, self.series.refused
        if not any(ok) and not any(failed) and not any(refused):
            self.paint_empty(painter, "Nobody has requested contiguous memory, and no allocation has failed")
            return
        area = self._area()
        width = area.width() / len(ok)
        painter.setFont(self.theme.font("small"))
        for order, (good, bad) in enumerate(zip(ok, failed, strict=True)):
            column = QRectF(area.left() + order * width, area.top(), width, area.height())
            bar = column.adjusted(width * 0.2, 14, -width * 0.2, 0)
            painter.fillRect(bar, self.theme.color("chart.track"))
            if good + bad:
                part = bar.height() * good / (good + bad)
                painter.fillRect(QRectF(bar.left(), bar.top(), bar.width(), bar.height() - part), self._fill("failed"))
                painter.fillRect(QRectF(bar.left(), bar.bottom() - part, bar.width(), part), self._fill("retry"))
                painter.setPen(self.theme.color("ui.text"))
                words = outcome_words(good, bad, painter.fontMetrics(), column.width())
                painter.drawText(QRectF(column.left(), area.top() - 4, width, 16), _CENTER, words)
            elif refused[order]:
                painter.setPen(self.theme.color("tone.bad"))
                painter.drawText(
                    QRectF(column.left(), area.top() - 4, width, 16), _CENTER, f"✗ {count(refused[order])}"
                )
            painter.setPen(self.theme.color("ui.muted"))
            painter.drawText(QRectF(column.left(), area.bottom() + 2, width, _BOTTOM - 2), _CENTER, str(order))
        painter.setPen(self.theme.color("ui.muted"))
        words = "of all requests; ✗ without a bar: failed allocations of the workload"
        if painter.fontMetrics().horizontalAdvance(words) > self.width() - 8:
            words = "of all requests; ✗ alone: failed allocations"
        painter.drawText(QRectF(4, 0, self.width() - 8, 16), Qt.AlignmentFlag.AlignHCenter, words)

    def _fill(self, name: str) -> QColor:
        return self.theme.color(f"chart.{name}")

    # -- the mouse and the keys

    def zoom(self, factor: float, x: float) -> None:
        """Show ``factor`` times as much time as now, with the instant at ``x`` staying where it is."""
        times = self.history.times
        if not times.size or self.chart == "success":
            return
        begin, end = self.shown()
        first, last = int(times[0]), int(times[-1])
        span = max(_MIN_SPAN_NS, int((end - begin) * factor))
        if span >= last - first:
            self.selection.set_range(None)
            return
        area = self._area()
        begin = self.time_at(x) - int(span * (x - area.left()) / area.width())
        begin = min(max(first, begin), last - span)
        self.selection.set_range((begin, begin + span))

    def wheelEvent(self, event: QWheelEvent) -> None:
        """Zoom around the pointer."""
        steps = event.angleDelta().y() / 120
        if steps:
            self.zoom(0.8**steps, event.position().x())
            event.accept()

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Begin a drag, or a click."""
        if event.button() == Qt.MouseButton.LeftButton:
            self._drag = (event.position().x(), self.shown())
            self._dragged = False

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Move along, when a part of time is shown."""
        times = self.history.times
        if self._drag is None or self.selection.range is None or not times.size:
            return
        x, (begin, end) = self._drag
        if abs(event.position().x() - x) < 4 and not self._dragged:
            return
        self._dragged = True
        shift = int((x - event.position().x()) * (end - begin) / self._area().width())
        begin = min(max(int(times[0]), begin + shift), int(times[-1]) - (end - begin))
        self.selection.set_range((begin, begin + self._drag[1][1] - self._drag[1][0]))

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        """A click sets the time cursor."""
        clicked = self._drag is not None and not self._dragged
        self._drag = None
        if clicked and self.chart != "success" and self.history.times.size:
            self._move_cursor(max(0, self.time_at(event.position().x())))

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        """Everything again."""
        self._drag = None
        self.selection.set_range(None)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Left and right move the time cursor, plus and minus zoom."""
        key = Qt.Key(event.key())
        begin, end = self.shown()
        now = self._cursor()
        if key in (Qt.Key.Key_Left, Qt.Key.Key_Right) and self.history.times.size:
            now = end if now < 0 else now
            step = (end - begin) // 50
            self._move_cursor(min(end, max(begin, now + (step if key == Qt.Key.Key_Right else -step))))
        elif key in (Qt.Key.Key_Plus, Qt.Key.Key_Minus):
            at = self.x_of(now) if now >= 0 else self.width() / 2
            self.zoom(0.7 if key == Qt.Key.Key_Plus else 1.4, at)
        else:
            super().keyPressEvent(event)


def _short(name: str) -> str:
    """A curve's name where there is little room: ``order 9`` → ``9``, ``ext4_inode_cache`` → ``inode``."""
    return {"ext4_inode_cache": "inode", "memory free": "free", "memory in slabs": "slabs"}.get(
        name, name.removeprefix("order ")
    )


_RIGHT: Final = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
_CENTER: Final = Qt.AlignmentFlag.AlignCenter
