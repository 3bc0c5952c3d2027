"""Request anatomy: the stages of the last request as a waterfall, its verdict in one sentence, what pinned it."""

from __future__ import annotations

from typing import ClassVar

from PySide6.QtCore import QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QFont, QFontMetrics, QKeyEvent, QMouseEvent, QPainter, QPaintEvent
from PySide6.QtWidgets import QWidget

from memviz.gui.painting import painted
from memviz.gui.panel import View, wrap
from memviz.gui.render.anatomy import Anatomy, Row, anatomy
from memviz.gui.render.unknown import RACE_HINT
from memviz.gui.selection import Selection
from memviz.gui.theme import Theme
from memviz.kernel.page import PAGEBLOCK_ORDER
from memviz.snapshot import RequestAnatomy, Snapshot

_NAME_GAP = 12.0
_BETWEEN = " · "
_PINS_SHOWN = 12
_MOST_ROW_H = 56.0


class RequestView(View):
    """The last request for higher-order memory."""

    ident: ClassVar[str] = "request"
    title: ClassVar[str] = "Request anatomy"
    what: ClassVar[str] = (
        "What the kernel tried for the last request, step by step: how long each step took, and what stopped it."
    )
    keys: ClassVar[tuple[tuple[str, str], ...]] = (("← →", "The page frames that were in the way"),)
    empty: ClassVar[str] = "No request for higher-order memory yet"
    period_ms: ClassVar[int] = 50
    own_keys = frozenset({Qt.Key.Key_Left, Qt.Key.Key_Right})

    def __init__(self, selection: Selection, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(selection, theme, parent)
        self._request: RequestAnatomy | None = None
        self.anatomy: Anatomy | None = None
        self._hint = ""
        self._links: list[tuple[QRectF, int]] = []
        self._stages: list[tuple[QRectF, int]] = []
        """Where each stage is drawn, and when it began, ns."""
        self._link = -1
        self.setMouseTracking(True)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setMinimumSize(220, 90)
        selection.changed.connect(self.update)

    def sizeHint(self) -> QSize:
        """Room for six stages."""
        return QSize(440, 190)

    def show_snapshot(self, snapshot: Snapshot) -> None:
        """Take another request apart; the same one costs nothing."""
        self.snapshot = snapshot
        if (hint := self.hint()) != self._hint:
            self._hint = hint
            self.update()
        if snapshot.request is self._request or snapshot.request == self._request:
            return
        self._request = snapshot.request
        self.anatomy = anatomy(self._request) if self._request is not None else None
        self._link = -1
        self._links.clear()
        self.header.title = self.anatomy.title if self.anatomy is not None else self.title
        self.header.subtitle = self.anatomy.subtitle if self.anatomy is not None else ""
        self.setAccessibleDescription(" ".join(self.words()))
        self.setToolTip("\n".join(self.words()) if self.anatomy is not None else "")
        self.update()

    def hint(self) -> str:
        """How there could be a request: not everywhere by a button."""
        source = "" if self.snapshot is None else self.snapshot.source
        if self.snapshot is not None and self.snapshot.race is not None:
            return RACE_HINT
        if source == "playback":
            return "None was recorded up to this instant"
        if self.snapshot is not None and dict(self.snapshot.policies).get("actions") == "off":
            return "memviz only reads this machine; with --live --actions it can ask for a huge page"
        return "Press Request in the bar above, or R"

    def words(self) -> list[str]:
        """Everything the panel says, line by line."""
        if self.anatomy is None:
            return [self.empty]
        lines = [self.anatomy.verdict, *(f"{row.name}: {row.words}" for row in self.anatomy.rows)]
        if self.anatomy.pins:
            lines.append("Pinned by " + ", ".join(pin.words for pin in self.anatomy.pins))
        return lines

    def as_text(self) -> str:
        """Verdict, stages, pins."""
        return "\n".join([f"{self.header.title}  {self.header.subtitle}".strip(), *self.words()])

    # -- drawing

    @painted
    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw verdict, stages, pins."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        if self.anatomy is None:
            self.paint_empty(painter, self.hint())
        else:
            self._paint(painter, self.anatomy)
        painter.end()

    def _paint(self, painter: QPainter, shown: Anatomy) -> None:
        top = self._paint_verdict(painter, shown)
        pins_h = 20.0 if shown.pins and self.height() - top - 17 * len(shown.rows) > 20 else 0.0
        space = self.height() - top - pins_h
        height = min(_MOST_ROW_H, max(15.0, space / max(1, len(shown.rows))))
        self._stages.clear()
        name_w = self._name_width(shown)
        for number, row in enumerate(shown.rows):
            box = QRectF(0, top + number * height, self.width(), height)
            self._paint_row(painter, row, box, name_w)
            if self._request is not None:
                self._stages.append((box, self._request.stages[number].begin_ns))
        self._paint_cursor(painter, top, height * len(shown.rows))
        self._links.clear()
        if pins_h:
            self._paint_pins(painter, shown, QRectF(0, top + height * len(shown.rows), self.width(), pins_h))

    def _paint_cursor(self, painter: QPainter, top: float, height: float) -> None:
        """The time cursor, where it lies within the request."""
        request, now = self._request, self.selection.now.time_ns
        if request is not None and request.begin_ns <= now <= request.end_ns:
            part = (now - request.begin_ns) / max(1, request.end_ns - request.begin_ns)
            x = 2 + part * (self.width() - 4)
            painter.fillRect(QRectF(x - 0.75, top, 1.5, height), self.theme.color("chart.cursor"))

    def _paint_verdict(self, painter: QPainter, shown: Anatomy) -> float:
        theme = self.theme
        left = 30.0
        font, lines = self._fitting(shown, self.width() - left - 10)
        painter.setFont(font)
        line = painter.fontMetrics().lineSpacing()
        box = QRectF(0, 0, self.width(), len(lines) * line + 9)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(theme.color("ui.good_back" if shown.ok else "ui.bad_back"))
        painter.drawRoundedRect(box, 5, 5)
        painter.setPen(theme.color("tone.good" if shown.ok else "tone.bad"))
        painter.setFont(theme.font("bold"))
        painter.drawText(QRectF(9, 4, 20, line), Qt.AlignmentFlag.AlignVCenter, "✓" if shown.ok else "✗")
        painter.setFont(font)
        painter.setPen(theme.color("ui.text"))
        for number, words in enumerate(lines):
            painter.drawText(
                QRectF(left, 4 + number * line, self.width() - left, line), Qt.AlignmentFlag.AlignVCenter, words
            )
        return box.height() + 5

    def _fitting(self, shown: Anatomy, width: float) -> tuple[QFont, list[str]]:
        """The verdict in a font and lines that leave room for the stages: all of it, if that is possible at all."""
        lines: list[str] = []
        font = self.theme.font("small")
        for role, most in (("normal", 2), ("normal", 3), ("small", 3), ("small", 2)):
            font = self.theme.font(role)
            lines = wrap(shown.verdict, font, width, most)
            room = self.height() - len(lines) * QFontMetrics(font).lineSpacing() - 14
            if room >= 17 * len(shown.rows) and not lines[-1].endswith("…"):
                break
        return font, lines

    def _name_width(self, shown: Anatomy) -> float:
        """Room for the longest name of a stage, and no more: what a stage came to needs all there is."""
        metrics = QFontMetrics(self.theme.font("bold"))
        return max((metrics.horizontalAdvance(row.name) for row in shown.rows), default=0) + _NAME_GAP

    def _paint_row(self, painter: QPainter, row: Row, box: QRectF, name_w: float) -> None:
        theme = self.theme
        metrics_h = painter.fontMetrics().height()
        bar_h = 2.0 if box.height() < 20 else 4.0 if box.height() < 30 else 6.0 if box.height() < 44 else 9.0
        text_h = min(float(metrics_h) + 2, box.height() - bar_h)
        left = Qt.AlignmentFlag.AlignVCenter
        painter.setFont(theme.font("bold"))
        painter.setPen(theme.color("ui.text"))
        painter.drawText(QRectF(2, box.top(), name_w - 2, text_h), left, row.name)
        painter.setFont(theme.font("small"))
        took_w = painter.fontMetrics().horizontalAdvance(row.took) + 4
        painter.setPen(theme.color("ui.faint"))
        painter.drawText(QRectF(box.right() - took_w, box.top(), took_w, text_h), left, row.took)
        painter.setPen(theme.color(f"tone.{row.tone}"))
        room = QRectF(name_w, box.top(), box.width() - name_w - took_w - 6, text_h)
        painter.drawText(room, left, fitting_words(row.words, painter.fontMetrics(), int(room.width())))
        track = QRectF(2, round(box.top() + text_h + 1), box.width() - 4, bar_h)  # between pixels it would be a blur
        painter.fillRect(track, theme.color("chart.track"))
        begin, end = row.begin * track.width(), max(row.end * track.width(), row.begin * track.width() + 3)
        begin = min(begin, track.width() - 3)
        bar = QRectF(track.left() + begin, track.top(), min(end, track.width()) - begin, bar_h)
        painter.fillRect(bar, theme.color(row.color))

    def _paint_pins(self, painter: QPainter, shown: Anatomy, line: QRectF) -> None:
        theme = self.theme
        painter.setFont(theme.font("small"))
        metrics = painter.fontMetrics()
        left = 2.0
        painter.setPen(theme.color("ui.muted"))
        painter.drawText(QRectF(left, line.top(), 70, line.height()), Qt.AlignmentFlag.AlignVCenter, "Pinned by")
        left += metrics.horizontalAdvance("Pinned by") + 8
        for number, pin in enumerate(shown.pins[:_PINS_SHOWN]):
            width = metrics.horizontalAdvance(pin.words)
            if left + width > line.width():
                painter.setPen(theme.color("ui.faint"))
                painter.drawText(QPointF(left, line.center().y() + 4), "…")
                break
            box = QRectF(left, line.top(), width + 2, line.height())
            here = pin.pfn >> PAGEBLOCK_ORDER == self.selection.now.pfn >> PAGEBLOCK_ORDER
            painter.setPen(theme.color("ui.text" if here else "ui.accent"))
            painter.drawText(box, Qt.AlignmentFlag.AlignVCenter, pin.words)
            if here or number == self._link:
                painter.drawLine(QPointF(box.left(), box.bottom() - 4), QPointF(box.right(), box.bottom() - 4))
            self._links.append((box, pin.pfn))
            left += width + 14

    # -- links

    def _link_at(self, at: QPointF) -> int:
        return next((number for number, (box, _) in enumerate(self._links) if box.contains(at)), -1)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Show which link is below the pointer."""
        link = self._link_at(event.position())
        if link != self._link:
            self._link = link
            self.setCursor(Qt.CursorShape.PointingHandCursor if link >= 0 else Qt.CursorShape.ArrowCursor)
            self.update()

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Select the page frame that a link names, or the instant at which a stage began."""
        link = self._link_at(event.position())
        if link >= 0:
            self.selection.select_page(self._links[link][1])
            return
        begins = [begin for box, begin in self._stages if box.contains(event.position())]
        if begins:
            self.selection.select_time(begins[0])

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Left and right go through the links and select what they name."""
        step = {Qt.Key.Key_Left: -1, Qt.Key.Key_Right: 1}.get(Qt.Key(event.key()), 0)
        pins = self.anatomy.pins if self.anatomy is not None else ()
        if step and pins:  # those too that there is no room to show
            self._link = (self._link + step) % len(pins) if self._link >= 0 or step > 0 else len(pins) - 1
            self.selection.select_page(pins[self._link].pfn)
            self.update()
        else:
            super().keyPressEvent(event)


def fitting_words(words: str, metrics: QFontMetrics, width: int) -> str:
    """As many whole parts of ``words`` as fit, the first at least: half a figure is read as another one."""
    parts = words.split(_BETWEEN)
    shown = words
    while len(parts) > 1 and metrics.horizontalAdvance(shown) > width:
        parts.pop()
        shown = _BETWEEN.join(parts) + " …"
    fits = metrics.horizontalAdvance(shown) <= width
    return shown if fits else metrics.elidedText(shown, Qt.TextElideMode.ElideRight, width)
