"""Timeline: the unusable index over all time, what happened when, and the time cursor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Final

from PySide6.QtCore import QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QKeyEvent, QMouseEvent, QPainter, QPaintEvent, QPen, QPolygonF, QWheelEvent
from PySide6.QtWidgets import QWidget

from memviz.gui.painting import painted
from memviz.gui.panel import View
from memviz.gui.render.curve import peaks
from memviz.gui.render.history import DEFRAG, FAILED, REFUSED, SUCCESS, TURNED, History, Marker
from memviz.gui.render.numbers import seconds
from memviz.gui.render.tables import Table
from memviz.gui.selection import Selection
from memviz.gui.theme import Theme
from memviz.recording.notes import Note
from memviz.snapshot import Snapshot

# Every kind has a sign of its own, so that colour is not all that tells them apart.
_SIGNS: Final = {
    FAILED: ("✗", "chart.failed"),
    DEFRAG: ("◆", "chart.defrag"),
    SUCCESS: ("✓", "chart.retry"),
    TURNED: ("⇄", "tone.info"),
    REFUSED: ("╷", "chart.failed"),
}
_MIN_SPAN_NS: Final = 100_000
_LABEL_H: Final = 15
_FLAG: Final = 9
_EDGE: Final = 3.0
_STRIP: Final = 8  # at the bottom, where it is drawn what a recording lacks


class TimelineView(View):
    """Click: time cursor, or the event of a marker. Wheel: zoom. Drag: move along. Double click: everything again."""

    scrubbed = Signal(object)
    """The instant that a recording shall be wound to, ns."""
    ident: ClassVar[str] = "timeline"
    title: ClassVar[str] = "Timeline"
    what: ClassVar[str] = (
        "The unusable index over time: the part of free memory that is of no use for the chosen order. 0: all "
        "of it can be used, 1: none of it."
    )
    keys: ClassVar[tuple[tuple[str, str], ...]] = (
        ("← →", "From mark to mark"),
        ("+ −", "Zoom in time"),
    )
    empty: ClassVar[str] = "Nothing has happened yet"
    period_ms: ClassVar[int] = 100
    own_keys = frozenset({Qt.Key.Key_Left, Qt.Key.Key_Right, Qt.Key.Key_Plus, Qt.Key.Key_Minus})

    def __init__(self, selection: Selection, theme: Theme, history: History, parent: QWidget | None = None) -> None:
        super().__init__(selection, theme, parent)
        self.history = history
        self.order = 9
        self._version = -1
        self._notes: tuple[Note, ...] = ()
        self._drag_from: tuple[float, tuple[int, int]] | None = None
        self._dragged = False
        self._signs_from = 0.0
        """Where the sign begins that was painted last, in pixels."""
        self._last_sign = ""
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setMinimumSize(200, 26)
        selection.changed.connect(self.update)
        selection.range_changed.connect(self.update)
        self.set_order(9)

    def sizeHint(self) -> QSize:
        """A strip."""
        return QSize(1200, 64)

    def show_snapshot(self, snapshot: Snapshot) -> None:
        """Repaint when the history has grown."""
        self.snapshot = snapshot
        if snapshot.playback is not None:
            self._show_subtitle()
            self.update()
        if self._version != self.history.version:
            self._version = self.history.version
            self._show_subtitle()
            self.update()

    def set_order(self, order: int) -> None:
        """Show the index of another order."""
        self.order = order
        self._show_subtitle()
        self.update()

    def _show_subtitle(self) -> None:
        """What the curve is, its value now, and what the signs mean."""
        values = self.history.values
        now = f": {int(values[-1, self.order]) / 1000:.2f} now" if len(values) else ""
        signs = "   ".join(f"{sign} {kind}" for kind, (sign, _) in _SIGNS.items())
        played = None if self.snapshot is None else self.snapshot.playback
        if played is not None and played.gaps:
            signs += "   ▂ instants missing"
        self.header.subtitle = f"unusable index, order {self.order}{now}     {signs}"

    # -- time and pixels

    @property
    def _range(self) -> tuple[int, int] | None:
        """Part of time that is shown, here and in the charts; None: all, and what is to come."""
        return self.selection.range

    @_range.setter
    def _range(self, shown: tuple[int, int] | None) -> None:
        self.selection.set_range(shown)

    def as_table(self) -> Table | None:
        """The curve: an index of every order at every instant."""
        header = ["time_ns", *(f"unusable_index_order_{order}" for order in range(self.history.values.shape[1]))]
        rows = zip(self.history.times.tolist(), self.history.values.tolist(), strict=True)
        return header, [[time, *row] for time, row in rows]

    def shown(self) -> tuple[int, int]:
        """First and last instant that are shown, ns."""
        if self._range is not None:
            return self._range
        times = self.history.times
        if not times.size:
            return 0, 1
        return int(times[0]), max(int(times[0]) + 1, int(times[-1]))

    def x_of(self, time_ns: int) -> float:
        """Where an instant is, in pixels."""
        begin, end = self.shown()
        return (time_ns - begin) * self.width() / (end - begin)

    def time_at(self, x: float) -> int:
        """Which instant a pixel shows."""
        begin, end = self.shown()
        return begin + int(x * (end - begin) / max(1, self.width()))

    # -- drawing

    @painted
    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw curve, markers, cursor."""
        painter = QPainter(self)
        if not self.history.times.size:
            self.paint_empty(painter)
        else:
            painter.setRenderHint(QPainter.RenderHint.Antialiasing)
            self._paint_curve(painter)
            self._signs_from, self._last_sign = float(self.width()), ""
            for marker in reversed(self.history.markers):  # the newest keep their places
                self._paint_marker(painter, marker)
            self._paint_gaps(painter)
            self._paint_notes(painter)
            self._paint_ends(painter)
            self._paint_cursor(painter)
        if self.hasFocus():
            painter.setPen(self.theme.color("ui.focus"))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawRect(self.rect().adjusted(0, 0, -1, -1))
        painter.end()

    def _paint_curve(self, painter: QPainter) -> None:
        begin, end = self.shown()
        points = peaks(self.history.times, self.history.values[:, self.order], begin, end, self.width())
        if not len(points):
            return
        bottom = self.height() - 1.0
        scale = (bottom - _LABEL_H - 3) / 1000
        line = [QPointF(x, bottom - y * scale) for x, y in points.tolist()]
        last = line[-1]
        if self._range is None:
            line.append(QPointF(self.width(), last.y()))
        area = QPolygonF([QPointF(line[0].x(), bottom), *line, QPointF(line[-1].x(), bottom)])
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(self.theme.color("chart.area"))
        painter.drawPolygon(area)
        painter.setPen(QPen(self.theme.color("chart.line"), 1.2))
        painter.drawPolyline(QPolygonF(line))

    def _paint_marker(self, painter: QPainter, marker: Marker) -> None:
        x = self.x_of(marker.time_ns)
        if not -6 <= x <= self.width() + 6 or marker.kind not in _SIGNS:
            return
        sign, color = _SIGNS[marker.kind]
        picked = marker.seq == self.selection.now.event
        if marker.kind == REFUSED:  # the workload's: many, so a short tick each
            painter.fillRect(QRectF(round(x), self.height() - 9, 3 if picked else 1, 8), self.theme.color(color))
            return
        width = 4 if picked else 2
        line = QRectF(round(x) - width // 2, _LABEL_H + 2, width, self.height() - _LABEL_H - 3)
        painter.fillRect(line, self.theme.color(color))
        painter.setPen(self.theme.color(color))
        painter.setFont(self.theme.font("small"))
        # A sign that would cover the next one stands beside that, as far as it is still near its line; the same once.
        left = min(x - 5, self._signs_from - 11)
        if left < _EDGE <= self._signs_from - 11:
            left = _EDGE  # all of a sign at the left edge
        if x - left < 40 and not (sign == self._last_sign and left < x - 5):
            painter.drawText(QRectF(left - 3, 0, 16, _LABEL_H + 2), Qt.AlignmentFlag.AlignCenter, sign)
            self._signs_from, self._last_sign = left, sign

    @property
    def _playing(self) -> bool:
        return self.snapshot is not None and self.snapshot.playback is not None

    def _paint_gaps(self, painter: QPainter) -> None:
        """Where a recording lacks instants, and the part of it that is played again and again."""
        if self.snapshot is None or self.snapshot.playback is None:
            return
        for begin, end, _ in self.snapshot.playback.left_out:  # events and lanes: all instants are there
            left, right = self.x_of(begin), self.x_of(end)
            painter.fillRect(QRectF(left, self.height() - 2, max(1.0, right - left), 1), self.theme.color("ui.faint"))
        for begin, end, _ in self.snapshot.playback.gaps:
            left, right = self.x_of(begin), self.x_of(end)
            painter.fillRect(QRectF(left, self.height() - 4, max(2.0, right - left), 4), self.theme.color("tone.warn"))
        loop = self.snapshot.playback.loop
        if loop is not None:
            left, right = self.x_of(loop[0]), self.x_of(loop[1])
            painter.fillRect(QRectF(left, 0, right - left, 3), self.theme.color("chart.cursor"))

    def _paint_ends(self, painter: QPainter) -> None:
        """From when to when the curve goes, where there is room."""
        if self.height() < 46:
            return
        painter.setFont(self.theme.font("small"))
        painter.setPen(self.theme.color("ui.muted"))
        box = QRectF(4, self.height() - _LABEL_H - 1, self.width() - 8, _LABEL_H)
        begin, end = self.shown()
        painter.drawText(box, Qt.AlignmentFlag.AlignLeft, seconds(begin))
        painter.drawText(box, Qt.AlignmentFlag.AlignRight, seconds(end))

    def set_notes(self, notes: Sequence[Note]) -> None:
        """Show notes on instants of the recording."""
        self._notes = tuple(notes)
        self.update()

    def note_at(self, x: float, y: float) -> Note | None:
        """The note whose flag is there."""
        near = (
            [one for one in self._notes if abs(self.x_of(one.time_ns) + _FLAG / 2 - x) <= _FLAG]
            if y <= _FLAG + 4
            else []
        )
        return min(near, key=lambda one: abs(self.x_of(one.time_ns) + _FLAG / 2 - x), default=None)

    def missing_at(self, x: float) -> str:
        """What of the recording is not there around a pixel, in words; empty when nothing is missing."""
        played = None if self.snapshot is None else self.snapshot.playback
        if played is None:
            return ""
        begin, end = self.time_at(x - 2), self.time_at(x + 2)
        kinds = (
            (played.gaps, "{:,} instants are missing here: the disk was too slow."),
            (played.left_out, "{:,} routine events and bits of what CPUs did are left out here: too many came."),
        )
        told = [(words, sum(one[2] for one in gaps if one[0] <= end and one[1] >= begin)) for gaps, words in kinds]
        return " ".join(words.format(number) for words, number in told if number)

    def _paint_notes(self, painter: QPainter) -> None:
        """A flag on each instant that somebody has written a note on."""
        color = self.theme.color("ui.accent")
        for note in self._notes:
            x = self.x_of(note.time_ns)
            if -_FLAG <= x <= self.width():
                painter.fillRect(QRectF(round(x), 1, 1.5, self.height() - 2), color)
                flag = [QPointF(x, 1), QPointF(x + _FLAG, 1 + _FLAG / 2), QPointF(x, 1 + _FLAG)]
                painter.setPen(Qt.PenStyle.NoPen)
                painter.setBrush(color)
                painter.drawPolygon(QPolygonF(flag))

    def tip_at(self, at: QPointF) -> str:
        """What a note says, or what is missing."""
        note = self.note_at(at.x(), at.y())
        if note is not None:
            return note.text or "A bookmark"
        return self.missing_at(at.x()) if at.y() >= self.height() - _STRIP else ""

    def _paint_cursor(self, painter: QPainter) -> None:
        time_ns = self.selection.now.time_ns
        if self.snapshot is not None and self.snapshot.playback is not None:
            time_ns = self.snapshot.time_ns
        if time_ns < 0:
            return
        x = self.x_of(time_ns)
        if not 0 <= x <= self.width():
            return
        painter.fillRect(QRectF(round(x) - 1, 0, 2, self.height()), self.theme.color("chart.cursor"))
        painter.setPen(self.theme.color("chart.cursor"))
        painter.setFont(self.theme.font("small"))
        words = seconds(time_ns)
        width = painter.fontMetrics().horizontalAdvance(words) + 8
        left = x + 3 if x + 3 + width < self.width() else x - 3 - width
        box = QRectF(left, _LABEL_H + 3, width, _LABEL_H)
        painter.fillRect(box, self.theme.color("ui.raised"))
        painter.drawText(box, Qt.AlignmentFlag.AlignCenter, words)

    # -- the mouse and the keys

    def wheelEvent(self, event: QWheelEvent) -> None:
        """Zoom around the pointer."""
        steps = event.angleDelta().y() / 120
        if steps and self.history.times.size:
            self.zoom(0.8**steps, event.position().x())
            event.accept()

    def zoom(self, factor: float, x: float) -> None:
        """Show ``factor`` times as much time as now, with the instant at ``x`` staying where it is."""
        begin, end = self.shown()
        fixed = self.time_at(x)
        span = max(_MIN_SPAN_NS, int((end - begin) * factor))
        first, last = int(self.history.times[0]), int(self.history.times[-1])
        if span >= last - first:
            self._range = None
        else:
            begin = fixed - int(span * x / max(1, self.width()))
            begin = min(max(first, begin), last - span)
            self._range = (begin, begin + span)
        self.update()

    def show_all(self) -> None:
        """Show all of time again."""
        self._range = None
        self.update()

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Begin a drag, or a click."""
        if event.button() == Qt.MouseButton.LeftButton:
            self._drag_from = (event.position().x(), self.shown())
            self._dragged = False
            if self._playing:
                self._scrub(event.position().x(), event.position().y())

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Move along, when a part of time is shown. A recording is wound to the pointer."""
        if self._playing:
            if self._drag_from is not None:
                self._dragged = self._dragged or abs(event.position().x() - self._drag_from[0]) >= 4
                self._scrub(event.position().x())
            return
        if self._drag_from is None or self._range is None:
            return
        x, (begin, end) = self._drag_from
        if abs(event.position().x() - x) < 4 and not self._dragged:
            return
        self._dragged = True
        shift = int((x - event.position().x()) * (end - begin) / max(1, self.width()))
        first, last = int(self.history.times[0]), int(self.history.times[-1])
        begin = min(max(first, begin + shift), last - (end - begin))
        self._range = (begin, begin + self._drag_from[1][1] - self._drag_from[1][0])
        self.update()

    def _scrub(self, x: float, y: float = 1e9) -> None:
        """Ask for the instant that a pixel shows."""
        note = self.note_at(x, y)
        if note is not None:
            self.scrubbed.emit(note.time_ns)
            return
        begin, end = self.shown()
        self.scrubbed.emit(min(max(begin, self.time_at(x)), end))

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        """A click picks the marker that is near, else the instant."""
        if self._drag_from is None:
            return
        self._drag_from = None
        if not self._dragged and self.history.times.size:
            self._pick(event.position().x())

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        """Everything again."""
        self._drag_from = None
        self.show_all()

    def _pick(self, x: float) -> None:
        near = [m for m in self.history.markers if abs(self.x_of(m.time_ns) - x) <= 5]
        if near:
            self._pick_marker(min(near, key=lambda m: abs(self.x_of(m.time_ns) - x)))
        else:
            self.selection.select_time(max(0, self.time_at(x)))

    def _pick_marker(self, marker: Marker) -> None:
        self.selection.select_event(marker.seq, marker.time_ns, marker.cpu, self.selection.now.pfn)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Left and right go from marker to marker, plus and minus zoom."""
        key = Qt.Key(event.key())
        if key in (Qt.Key.Key_Left, Qt.Key.Key_Right) and self.history.markers:
            now = self.selection.now.time_ns
            now = now if now >= 0 else int(self.history.times[-1]) + 1
            if key == Qt.Key.Key_Left:
                found = [m for m in self.history.markers if m.time_ns < now][-1:]
            else:
                found = [m for m in self.history.markers if m.time_ns > now][:1]
            if found:
                self._pick_marker(found[0])
        elif key in (Qt.Key.Key_Plus, Qt.Key.Key_Minus) and self.history.times.size:
            self.zoom(0.7 if key == Qt.Key.Key_Plus else 1.4, self.width() / 2)
        else:
            super().keyPressEvent(event)
