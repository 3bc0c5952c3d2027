"""The line below the top bar: what became of the last command, in words; and where the run is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from PySide6.QtCore import QElapsedTimer, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QPainter, QPaintEvent
from PySide6.QtWidgets import QHBoxLayout, QSizePolicy, QWidget

from memviz.gui.controls import Button
from memviz.gui.painting import painted
from memviz.gui.panel import wrap
from memviz.gui.render.numbers import count, seconds
from memviz.gui.session import Session
from memviz.gui.theme import Theme

HEIGHT = 34


@dataclass(frozen=True, slots=True)
class Told:
    """What the line says."""

    sign: str
    words: str
    tone: str
    """good, bad, warn, info or muted."""


def told(session: Session) -> Told:
    """The most important thing to say about ``session`` now: a failure, a command at work, its outcome, a hint."""
    snapshot = session.snapshot
    if session.failure:
        made = snapshot.recording if snapshot is not None else None
        kept = f" What was recorded until then is in {made.path}." if made is not None and made.active else ""
        # What a run says of its own end is complete; of a process that is gone somebody has to say what helps.
        ended = snapshot is not None and snapshot.state == "failed"
        return Told("▲", f"{session.failure}{'' if ended else ' F5 starts it again.'}{kept}", "bad")
    if session.waiting:
        return Told("…", session.waiting, "info")
    if snapshot is None:
        if session.client is not None:
            return Told("…", "Starting; the first picture comes in a moment …", "info")
        return Told("○", "Nothing is open. Ctrl+N: choose a scenario · Ctrl+O: open a recording.", "muted")
    if session.outcome is not None:
        outcome = session.outcome
        return Told("✓" if outcome.ok else "✗", outcome.sentence, "good" if outcome.ok else "bad")
    if snapshot.notice:
        return Told("●", snapshot.notice, "info")
    if snapshot.state == "ended":
        return Told("■", "The run has ended. F5 starts it again.", "info")
    if snapshot.state == "paused":
        what = "race" if snapshot.race is not None else snapshot.source
        return Told("❚❚", _PAUSED.get(what, _PAUSED["simulation"]), "muted")
    if snapshot.source == "linux":
        return Told("▶", "This machine's memory as it is now. Point at a page frame to see whose it is.", "muted")
    if snapshot.source == "playback":
        return Told("▶", "A recording. Space stops it, ← and → go instant by instant.", "muted")
    return Told(
        "▶", "Memory fills and fragments. Press Request order N to see whether contiguous memory can be had.", "muted"
    )


_PAUSED: Final = {
    "simulation": "Paused. Space runs, → does one operation.",
    "race": "Paused. → takes the next step, ← the last one back, Space goes on by itself.",
    "linux": "The picture stands still, the machine goes on. Space: follow it again.",
    "playback": "The recording stands still. Space plays it, ← and → go instant by instant.",
}


class StatusLine(QWidget):
    """One line, always there, so that nothing jumps when it has something to say."""

    save_report = Signal()

    def __init__(self, session: Session, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self._theme = theme
        self.told = Told("", "", "muted")
        self._right = ""
        self._clock = QElapsedTimer()
        self._clock.start()
        self.setObjectName("status_line")
        self.setFixedHeight(HEIGHT)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.report_button = Button(self)
        self.report_button.setObjectName("button_save_report")
        self.report_button.setText("Save report…")
        self.report_button.setToolTip("Write the last picture's figures and this sentence to a file")
        self.report_button.setAccessibleName("Save report")
        self.report_button.clicked.connect(self.save_report)
        self.report_button.hide()
        row = QHBoxLayout(self)
        row.setContentsMargins(8, 3, 8, 3)
        row.addStretch(1)
        row.addWidget(self.report_button)
        theme.changed.connect(self.update)

    def sizeHint(self) -> QSize:
        """As wide as there is room."""
        return QSize(800, HEIGHT)

    def show_session(self) -> None:
        """Show the state of the run; costs a repaint when the words changed."""
        now = told(self._session)
        if now != self.told:
            self.told = now
            self.setAccessibleName(now.words)
            self.setToolTip(now.words)
            self.report_button.setVisible(bool(self._session.failure))
            self.update()
        # Ten times a second is enough for figures that run; where they stop must be right.
        if self._clock.elapsed() >= 100 or not self._session.running:
            right = self._right_words()
            if right != self._right:
                self._clock.restart()
                self._right = right
                self.update()

    def _right_words(self) -> str:
        snapshot = self._session.snapshot
        if snapshot is None or self._session.failure:
            return ""
        state = "running" if self._session.running else snapshot.state
        cursor = self._session.selection.now.time_ns
        if cursor >= 0 and snapshot.playback is None:
            # Charts and events go back in time, a run doesn't: the map shows now.
            return f"time cursor {seconds(cursor)}   {state}, now {seconds(snapshot.time_ns)}"
        if snapshot.source == "linux":
            return f"{'watching' if state == 'running' else state}   {seconds(snapshot.time_ns)}"
        return f"{state}   {count(snapshot.ops)} operations   {seconds(snapshot.time_ns)}"

    @painted
    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw sign, sentence and figures."""
        theme = self._theme
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        backs = {"good": "ui.good_back", "bad": "ui.bad_back", "warn": "ui.warn_back"}
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(theme.color(backs.get(self.told.tone, "ui.panel")))
        painter.drawRoundedRect(QRectF(self.rect()).adjusted(0.5, 1.5, -0.5, -1.5), 6, 6)
        left, right = 12.0, self.width() - 12.0
        if not self.report_button.isHidden():
            right = self.report_button.x() - 10.0
        elif self._right:
            painter.setFont(theme.font("small"))
            width = min(painter.fontMetrics().horizontalAdvance(self._right) + 4.0, self.width() * 0.4)
            painter.setPen(theme.color("ui.muted"))
            right -= width
            painter.drawText(QRectF(right, 0, width, self.height()), _LINE, self._right)
            right -= 16
        strong = self.told.tone in ("good", "bad", "warn")
        painter.setFont(theme.font("bold" if strong else "normal"))
        painter.setPen(theme.color(f"tone.{self.told.tone}"))
        width = painter.fontMetrics().horizontalAdvance(self.told.sign) + 9.0
        painter.drawText(QRectF(left, 0, width, self.height()), _LINE, self.told.sign)
        left += width
        painter.setPen(theme.color("ui.text" if strong else f"tone.{self.told.tone}"))
        room = QRectF(left, 0, max(0.0, right - left), self.height())
        if painter.fontMetrics().horizontalAdvance(self.told.words) <= room.width():
            painter.drawText(room, _LINE, self.told.words)
        else:
            font = theme.font("small")
            painter.setFont(font)
            height = (self.height() - 4) / 2
            lines = wrap(self.told.words, font, room.width(), 2)
            top = (self.height() - height * len(lines)) / 2
            for number, words in enumerate(lines):
                painter.drawText(QRectF(left, top + number * height, room.width(), height), _LINE, words)
        painter.end()


_LINE = Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft | Qt.TextFlag.TextSingleLine
