"""CPUs and RCU: what each CPU did in the last moments of virtual time, and what it stands before now."""

from __future__ import annotations

from typing import ClassVar, Final

import numpy as np
from PySide6.QtCore import QEvent, QLineF, QPointF, QRectF, Qt
from PySide6.QtGui import (
    QFontMetricsF,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPen,
    QShowEvent,
    QWheelEvent,
)
from PySide6.QtWidgets import QWidget

from memviz.gui.painting import painted
from memviz.gui.panel import View
from memviz.gui.render import lanes as render
from memviz.gui.render.numbers import duration, instant
from memviz.gui.render.unknown import why_unknown
from memviz.gui.selection import Selection
from memviz.gui.theme import Theme
from memviz.gui.views import heatmap_overlay as overlay
from memviz.snapshot import CPU_STATE_NAMES, U32, Cpu, Snapshot

LEFT: Final = 50.0
AXIS_H: Final = 18.0
LEAST_PITCH: Final = 14.0
MOST_PITCH: Final = 64.0
CHIP_W: Final = 92.0
LEAST_NOW: Final = 240.0
"""Width of the part that tells what CPUs stand before, when that is short."""
LABEL_FROM: Final = 26
ZOOM_STEP: Final = 1.4
SHORTEST, LONGEST = 50, 20_000_000_000
"""Limits of the window of time, ns."""


class CpuLanesView(View):
    """A lane a CPU. While the machine stands, the right part says what each CPU stands before and what it holds."""

    ident: ClassVar[str] = "cpu_lanes"
    title: ClassVar[str] = "CPUs and RCU"
    what: ClassVar[str] = (
        "What every CPU did in the last moments of virtual time. RCU: what was taken out of a structure is "
        "freed after a grace period, when no CPU can still be reading it."
    )
    keys: ClassVar[tuple[tuple[str, str], ...]] = (
        ("↑ ↓", "Another CPU"),
        ("← →", "Back and forth in time"),
        ("+ − 0", "Zoom; 0 follows the present"),
    )
    empty: ClassVar[str] = "Nothing is known about CPUs"
    period_ms: ClassVar[int] = 30
    own_keys = frozenset(
        {
            Qt.Key.Key_Up,
            Qt.Key.Key_Down,
            Qt.Key.Key_Left,
            Qt.Key.Key_Right,
            Qt.Key.Key_Plus,
            Qt.Key.Key_Equal,
            Qt.Key.Key_Minus,
            Qt.Key.Key_0,
        }
    )

    def __init__(
        self, selection: Selection, theme: Theme, history: render.History, parent: QWidget | None = None
    ) -> None:
        super().__init__(selection, theme, parent)
        self.history = history
        """Of every snapshot, those too that are not shown."""
        self.span: int | None = None
        """Length of the window that the user chose, ns; None: as it suits."""
        self.back = 0
        """How far the window ends before now, ns."""
        self._hover: tuple[int, int] | None = None
        self._cursor = -1
        self._press: QPointF | None = None
        self._press_back = 0
        self._pixels: U32 | None = None
        self._now_w = LEAST_NOW
        self.setMouseTracking(True)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setMinimumSize(160, 60)
        self.fit_button = self.header.add_button("Fit", "Follow the present with a fitting length of time (0)")
        self.fit_button.clicked.connect(self.fit)
        selection.changed.connect(self._selected)

    # -- what is shown

    def show_snapshot(self, snapshot: Snapshot) -> None:
        """Show another instant."""
        self.snapshot = snapshot
        self._make_room(snapshot)
        if self.isVisible():
            self.header.subtitle = render.subtitle(snapshot.rcu) if snapshot.cpus else ""
            self.update()

    def showEvent(self, event: QShowEvent) -> None:
        """Catch up with what happened while hidden."""
        if self.snapshot is not None:
            self.show_snapshot(self.snapshot)

    def _selected(self) -> None:
        """Another view may have moved the time cursor: bring it into view, as far back as is known."""
        cursor, window = self.selection.now.time_ns, self._window()
        known = self.history.segments()
        if known.size and cursor != self._cursor and int(known["begin"].min()) <= cursor <= self.history.latest:
            if not window.begin <= cursor <= window.end:
                self.span = window.end - window.begin
                self.back = max(0, self.history.latest - cursor - self.span // 2)
        self._cursor = cursor
        self.update()

    def fit(self) -> None:
        """Follow the present again."""
        self.span, self.back = None, 0
        self.update()

    def _make_room(self, snapshot: Snapshot) -> None:
        """The right part is as wide as its words ask for. It only grows while the machine stands: lanes that change
        their scale at every step can't be followed."""
        if snapshot.state == "running":
            self._now_w = LEAST_NOW
            return
        advance = QFontMetricsF(self.theme.font("small")).horizontalAdvance
        words = max((advance(standing_words(cpu)) for cpu in snapshot.cpus), default=0.0)
        self._now_w = max(self._now_w, CHIP_W + words + 24)

    def _standing(self) -> bool:
        """Whether the right part tells what CPUs stand before."""
        return self.snapshot is not None and self.snapshot.state != "running" and self.width() > 380

    def _lanes_width(self) -> float:
        room = self.width() - LEFT
        return room - min(room * 0.5, self._now_w) if self._standing() else room

    def _window(self) -> render.Window:
        ratio = self.devicePixelRatioF()
        end = self.history.latest - self.back
        span = self.span or self.history.span
        return render.Window(end - span, end, max(1, round(self._lanes_width() * ratio)))

    def _pitch(self) -> float:
        cpus = max(self.history.cpus, 1)
        return min(max((self.height() - AXIS_H - 2) / cpus, LEAST_PITCH), MOST_PITCH)

    def _axis_fits(self) -> bool:
        """The line below the lanes can be read: half of it says nothing."""
        return self.height() >= self.history.cpus * self._pitch() + AXIS_H - 4

    # -- painting

    @painted
    def paintEvent(self, event: QPaintEvent) -> None:
        """Lanes, words in them, grace periods, cursor, the axis."""
        painter = QPainter(self)
        snapshot = self.snapshot
        if snapshot is None or not (snapshot.cpus or not self.history.empty):
            self.paint_empty(painter, why_unknown(snapshot))
            painter.end()
            return
        self._paint_names(painter)
        if self.history.empty:
            self._paint_now(painter, snapshot, LEFT, self.width() - LEFT)
        else:
            window = self._window()
            self._paint_lanes(painter, window)
            self._paint_marks(painter, window)
            if self._axis_fits() or self._hover is not None:
                self._paint_axis(painter, window)
            if self._standing():
                left = LEFT + self._lanes_width() + 10
                self._paint_now(painter, snapshot, left, self.width() - left)
        if self.hasFocus():
            overlay.outline(painter, QRectF(self.rect()), self.theme.color("ui.focus"), 1.0)
        painter.end()

    def _paint_names(self, painter: QPainter) -> None:
        painter.setFont(self.theme.font("mono-small"))
        metrics = painter.fontMetrics()
        pitch = self._pitch()
        for cpu in range(self.history.cpus):
            picked = cpu == self.selection.now.cpu
            painter.setPen(self.theme.color("ui.text" if picked else "ui.muted"))
            middle = cpu * pitch + (pitch - 3) / 2 + (metrics.ascent() - metrics.descent()) / 2
            painter.drawText(QPointF(0, middle), f"CPU {cpu}")
            if picked:
                painter.fillRect(QRectF(LEFT - 5, cpu * pitch, 2, pitch - 3), self.theme.color("chart.cursor"))

    def _paint_lanes(self, painter: QPainter, window: render.Window) -> None:
        cpus = self.history.cpus
        segments = render.in_sight(self.history.segments(), window, cpus)
        ratio = self.devicePixelRatioF()
        tokens = self.theme.tokens
        back = 0xFF000000 | tokens.rgb("ui.panel")
        palette = np.append(tokens.palette("cpu"), np.uint32(0xFF000000 | tokens.rgb("ui.sunken")))
        pixels = render.picture(
            render.rows(segments, window, cpus), render.begins(segments, window, cpus), palette, back
        )
        pitch, height = round(self._pitch() * ratio), round((self._pitch() - 3) * ratio)
        tall = np.full((cpus, pitch, window.width), back, np.uint32)
        tall[:, :height] = pixels[:, np.newaxis]
        self._pixels = tall.reshape(cpus * pitch, window.width)
        painter.drawImage(QPointF(LEFT, 0), overlay.as_image(self._pixels, ratio))
        painter.setFont(self.theme.font("small"))
        metrics = QFontMetricsF(self.theme.font("small"))
        for label in render.labels(segments, window, cpus, round(LABEL_FROM * ratio)):
            painter.setPen(overlay.ink_on(int(palette[label.state]) & 0xFFFFFF))
            room = QRectF(LEFT + label.x / ratio + 4, label.cpu * pitch / ratio, label.w / ratio - 6, height / ratio)
            # All of it, or what kind of it, or nothing: half a word tells nothing.
            name = CPU_STATE_NAMES[label.state]
            for words in (name, name.partition(":")[0]):
                if metrics.horizontalAdvance(words) <= room.width():
                    painter.drawText(room, _LINE, words)
                    break

    def _paint_marks(self, painter: QPainter, window: render.Window) -> None:
        """Grace periods as dashed lines across all CPUs, with words as far as there is room; and the time cursor."""
        ratio, bottom = self.devicePixelRatioF(), self.history.cpus * self._pitch()
        painter.setFont(self.theme.font("small"))
        metrics = painter.fontMetrics()
        free_from, far = -1.0, LEFT + window.width / ratio
        for mark in self.history.marks:
            if not window.begin <= mark.time_ns < window.end:
                continue
            x = LEFT + int(window.x(mark.time_ns)) / ratio + 0.5
            color = self.theme.color("tone.good" if mark.ends else "ui.muted")
            painter.setPen(QPen(color, 1.5, Qt.PenStyle.DashLine))
            painter.drawLine(QLineF(x, 0, x, bottom + 3))
            wide = metrics.horizontalAdvance(mark.words)
            if x + 4 > free_from and x + 4 + wide < far - 90:
                painter.drawText(QPointF(x + 4, bottom + metrics.ascent() + 2), mark.words)
                free_from = x + wide + 12
        cursor = self.selection.now.time_ns
        if window.begin <= cursor <= window.end:
            x = LEFT + int(window.x(cursor)) / ratio + 0.5
            painter.setPen(QPen(self.theme.color("chart.cursor"), 1.5))
            painter.drawLine(QLineF(x, 0, x, bottom + 3))

    def _paint_axis(self, painter: QPainter, window: render.Window) -> None:
        """At the right below the lanes: how much time is seen, or what is under the mouse."""
        painter.setFont(self.theme.font("small"))
        bottom = self.history.cpus * self._pitch()
        rect = QRectF(LEFT, bottom, window.width / self.devicePixelRatioF(), AXIS_H)
        words = self._hover_words()
        painter.setPen(self.theme.color("ui.text" if words else "ui.faint"))
        if words:
            painter.fillRect(rect, self.theme.color("ui.panel"))
        seen = f"{duration(window.end - window.begin)}, to {instant(window.end)} s"
        seen = seen if self.back else f"the last {seen}"
        painter.drawText(rect, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter, words or seen)

    def _hover_words(self) -> str:
        if self._hover is None:
            return ""
        cpu, time_ns = self._hover
        found = render.at(self.history.segments(), cpu, time_ns)
        if found is None:
            return f"CPU {cpu} · {instant(time_ns)} s"
        state, begin, end = found
        return f"CPU {cpu} · {CPU_STATE_NAMES[state]} · {duration(end - begin)} from {instant(begin)} s"

    def _paint_now(self, painter: QPainter, snapshot: Snapshot, left: float, width: float) -> None:
        """Each CPU at this instant: its state, the point it stands before, its locks."""
        pitch = self._pitch()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        small = self.theme.font("small")
        for cpu in snapshot.cpus:
            state = min(max(cpu.state, 0), len(CPU_STATE_NAMES) - 1)
            color = self.theme.color(f"cpu.{CPU_STATE_NAMES[state]}")
            chip = QRectF(left, cpu.id * pitch, CHIP_W, pitch - 3)
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(color)
            painter.drawRoundedRect(chip, 2, 2)
            painter.setPen(overlay.ink_on(color.rgb() & 0xFFFFFF))
            painter.setFont(small)
            painter.drawText(chip.adjusted(6, 0, -2, 0), _LINE, CPU_STATE_NAMES[state])
            rect = QRectF(chip.right() + 8, chip.top(), max(width - CHIP_W - 10, 0), chip.height())
            painter.setPen(self.theme.color("ui.text"))
            words = QFontMetricsF(small).elidedText(standing_words(cpu), Qt.TextElideMode.ElideRight, rect.width())
            painter.drawText(rect, _LINE, words)
        if not self._axis_fits():
            return
        painter.setPen(self.theme.color("ui.faint"))
        painter.setFont(small)
        below = QRectF(left + 6, len(snapshot.cpus) * pitch, width - 6, AXIS_H)
        painter.drawText(below, Qt.AlignmentFlag.AlignVCenter, "now")
        below.setLeft(left + CHIP_W + 8)
        painter.drawText(below, Qt.AlignmentFlag.AlignVCenter, "stands before")

    # -- mouse and keys

    def _place(self, at: QPointF) -> tuple[int, int] | None:
        """CPU and moment at a point, None beside the lanes."""
        cpu = int(at.y() // self._pitch())
        inside = LEFT <= at.x() < LEFT + self._lanes_width() and 0 <= cpu < self.history.cpus
        if not inside or self.history.empty:
            return None
        return cpu, self._window().time((at.x() - LEFT) * self.devicePixelRatioF())

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Begin a click or a pan."""
        self._press, self._press_back = event.position(), self.back

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Pan in time, or read out."""
        way = event.position().x() - self._press.x() if self._press is not None else 0.0
        if self._press is not None and (self.back != self._press_back or abs(way) > 4):
            window = self._window()
            span = window.end - window.begin
            self.back = max(0, self._press_back + round(way * span / max(self._lanes_width(), 1.0)))
            self.span = span
        self._hover = self._place(event.position())
        self.update()

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        """A click selects the CPU and the moment."""
        if self._press is not None and self.back == self._press_back:
            place = self._place(event.position())
            if place is not None:
                self.selection.select_cpu(place[0])
                self.selection.select_time(place[1])
            elif 0 <= event.position().y() < self.history.cpus * self._pitch():
                self.selection.select_cpu(int(event.position().y() // self._pitch()))
        self._press = None

    def leaveEvent(self, event: QEvent) -> None:
        """Nothing is under the mouse any more."""
        self._hover = None
        self.update()

    def wheelEvent(self, event: QWheelEvent) -> None:
        """Zoom in time about the pointer."""
        place = self._place(event.position())
        if event.angleDelta().y() and place is not None:
            self.zoom(ZOOM_STEP ** (-event.angleDelta().y() / 120), place[1])
        event.accept()

    def zoom(self, factor: float, about: int | None = None) -> None:
        """See ``factor`` times as much time; ``about`` (ns) stays where it is, the present does when it is None."""
        window = self._window()
        span = min(max(round((window.end - window.begin) * factor), SHORTEST), LONGEST)
        if about is not None and self.back:
            right = (window.end - about) / max(window.end - window.begin, 1)
            self.back = max(0, self.history.latest - round(about + right * span))
        self.span = span
        self.update()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Up, down: another CPU. Left, right: back and forth in time. + - 0: zoom."""
        key, window = event.key(), self._window()
        step = (window.end - window.begin) // 8
        if key in (Qt.Key.Key_Up, Qt.Key.Key_Down) and self.history.cpus:
            move = 1 if key == Qt.Key.Key_Down else -1
            self.selection.select_cpu(min(max(self.selection.now.cpu + move, 0), self.history.cpus - 1))
        elif key in (Qt.Key.Key_Left, Qt.Key.Key_Right):
            self.back = max(0, self.back + (step if key == Qt.Key.Key_Left else -step))
            self.span = window.end - window.begin
            self.update()
        elif key in (Qt.Key.Key_Plus, Qt.Key.Key_Equal):
            self.zoom(1 / ZOOM_STEP)
        elif key == Qt.Key.Key_Minus:
            self.zoom(ZOOM_STEP)
        elif key == Qt.Key.Key_0:
            self.fit()
        else:
            super().keyPressEvent(event)


def standing_words(cpu: Cpu) -> str:
    """What a CPU stands before: the point, the locks it holds, its task."""
    parts = [cpu.label] if cpu.label else []
    if cpu.locks:
        parts.append(f"holds {', '.join(cpu.locks)}")
    if cpu.irqs_off:
        parts.append("irqs off")
    if cpu.rcu_nesting:
        parts.append("in RCU")
    if cpu.task:
        parts.append(cpu.task)
    if cpu.where:
        parts.append(cpu.where)
    return " · ".join(parts)


_LINE: Final = Qt.AlignmentFlag.AlignVCenter | Qt.TextFlag.TextSingleLine | Qt.TextFlag.TextDontClip
"""Words in a low lane keep what is below their line: xa_lock is not xa lock."""
