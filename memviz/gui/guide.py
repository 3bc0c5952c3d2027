"""The line of a guided run: which stop this is, what to look at, and on to the next."""

from __future__ import annotations

from PySide6.QtCore import QRectF, QSize, Qt, Signal
from PySide6.QtGui import QFontMetricsF, QPainter, QPaintEvent
from PySide6.QtWidgets import QHBoxLayout, QSizePolicy, QWidget

from memviz.gui.controls import Button
from memviz.gui.painting import painted
from memviz.gui.panel import wrap
from memviz.gui.theme import Theme
from memviz.snapshot import Guide, Snapshot

HEIGHT = 52


class GuideBar(QWidget):
    """Shown while a guided run is open; ``next_wanted`` and ``left`` are its two buttons."""

    next_wanted = Signal()
    left = Signal()
    arrived = Signal(str)
    """A stop has been reached: the panel to look at."""

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._theme = theme
        self.guide: Guide | None = None
        self.running = False
        self.part = 0.0
        """Of the way to the next stop."""
        self._step = 0
        self.setObjectName("guide_bar")
        self.setFixedHeight(HEIGHT)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.next = Button()
        self.next.setText("Next  (N)")
        self.next.setProperty("accent", True)
        self.next.setObjectName("guide_next")
        self.next.setAccessibleName("On to the next stop")
        self.next.setToolTip("Run on to the next stop (N)")
        self.next.setFixedWidth(130)
        self.next.clicked.connect(self.next_wanted)
        self.leave = Button()
        self.leave.setText("End tour")
        self.leave.setObjectName("guide_leave")
        self.leave.setAccessibleName("End the tour")
        self.leave.setToolTip("Go on without stops: start the scenario again as an ordinary run")
        self.leave.clicked.connect(self.left)
        row = QHBoxLayout(self)
        row.setContentsMargins(8, 4, 10, 4)
        row.addStretch(1)
        row.addWidget(self.next)
        row.addWidget(self.leave)
        self.hide()
        theme.changed.connect(self.update)

    def sizeHint(self) -> QSize:
        """As wide as there is room."""
        return QSize(800, HEIGHT)

    def forget(self) -> None:
        """Another source is opened."""
        self.guide = None
        self._step = 0
        self.hide()

    def show_snapshot(self, snapshot: Snapshot) -> None:
        """Show where the guided run stands."""
        guide, running = snapshot.guide, snapshot.state == "running"
        part = 0.0
        if guide is not None and guide.next_ops > guide.from_ops:
            part = (snapshot.ops - guide.from_ops) / (guide.next_ops - guide.from_ops)
        if (guide, running, part) == (self.guide, self.running, self.part):
            return
        went_on = running and not self.running
        self.guide, self.running, self.part = guide, running, min(1.0, max(0.0, part))
        self.setVisible(guide is not None)
        if guide is None:
            return
        self._offer(not running and guide.next_ops >= 0)
        self.setAccessibleName(self.headline())
        self.setAccessibleDescription(guide.say)
        if guide.step != self._step:
            self._step = guide.step
            self.arrived.emit(guide.look)
        elif went_on:
            self.arrived.emit("")
        self.update()

    def _offer(self, possible: bool) -> None:
        """Let *Next* be pressed or not. Who has it under the keys has it there again at the next stop: Qt would give
        the keys to whatever comes first in the window, and the next Return would press that."""
        if not possible and self.next.hasFocus():
            self.setFocus()
        self.next.setEnabled(possible)
        if possible and self.hasFocus():
            self.next.setFocus()

    def focusNextPrevChild(self, next: bool) -> bool:
        """Tab goes on from where *Next* is."""
        if next and self.hasFocus():
            self.leave.setFocus(Qt.FocusReason.TabFocusReason)
            return True
        return super().focusNextPrevChild(next)

    def headline(self) -> str:
        """Which stop, or how far to the next."""
        guide = self.guide
        if guide is None:
            return ""
        if self.running and guide.next_ops >= 0:
            return f"To stop {guide.step + 1} of {guide.steps}: {int(self.part * 100)} %"
        if self.running:
            return f"The tour is over: all {guide.steps} stops seen"
        if guide.step == 0:
            return f"A tour of {guide.steps} stops"
        return f"Stop {guide.step} of {guide.steps}"

    def words(self) -> str:
        """What to look at; before the first stop what to expect."""
        if self.guide is None:
            return ""
        if not self.guide.say:
            return "The run stops by itself where there is something to see. The panel to look at gets a bright frame."
        return self.guide.say

    @painted
    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw the card, the headline, the words, and how far it is."""
        if self.guide is None:
            return
        theme = self._theme
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        area = QRectF(self.rect()).adjusted(0.5, 1.5, -0.5, -1.5)
        painter.setPen(theme.color("ui.focus" if self.hasFocus() else "ui.accent"))
        painter.setBrush(theme.color("ui.raised"))
        painter.drawRoundedRect(area, 6, 6)
        if self.running and self.guide.next_ops >= 0:
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(theme.color("ui.accent"))
            painter.drawRect(QRectF(area.left() + 6, area.bottom() - 3, (area.width() - 12) * self.part, 2))
        left, right = 14.0, self.next.x() - 14.0
        painter.setFont(theme.font("bold"))
        painter.setPen(theme.color("ui.accent"))
        head = self.headline()
        width = max(150.0, QFontMetricsF(theme.font("bold")).horizontalAdvance(head) + 20)
        painter.drawText(QRectF(left, 0, width, self.height()), _LINE, head)
        left += width
        font = theme.font("normal")
        painter.setFont(font)
        painter.setPen(theme.color("ui.text"))
        lines = wrap(self.words(), font, right - left, 2)
        height = min((self.height() - 8) / max(1, len(lines)), painter.fontMetrics().height() + 3.0)
        top = (self.height() - height * len(lines)) / 2
        for number, line in enumerate(lines):
            painter.drawText(QRectF(left, top + number * height, right - left, height), _LINE, line)
        painter.end()


_LINE = Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft | Qt.TextFlag.TextSingleLine
