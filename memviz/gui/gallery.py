"""The start page: every scenario as a card, with its picture, its question and its lesson; and other things to look at.

It covers the window until something is chosen, or until it is closed when there is a run to go back to.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Final, NamedTuple

from PySide6.QtCore import QEvent, QObject, QPointF, QRectF, QSize, Qt, Signal, Slot
from PySide6.QtGui import (
    QAction,
    QFont,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPainterPath,
    QPaintEvent,
    QPixmap,
    QResizeEvent,
)
from PySide6.QtWidgets import QApplication, QFrame, QGridLayout, QHBoxLayout, QLabel, QScrollArea, QVBoxLayout, QWidget

from memviz import resources
from memviz.gui.controls import Button
from memviz.gui.once import once
from memviz.gui.painting import painted
from memviz.gui.theme import Theme

CARD_WIDTH: Final = 300
PICTURE: Final = QSize(480, 200)
"""Of the files in resources/gallery, in pixels."""
_INVITATION: Final = (
    "Choose a scenario: watch it and try things yourself, or take the guided tour, which stops where there is "
    "something to see."
)


class Entry(NamedTuple):
    """A scenario, as its card shows it."""

    name: str
    title: str
    summary: str = ""
    question: str = ""
    lesson: str = ""
    moments: int = 0
    """Where the guided run stops; 0: there is none."""


class Picture(QWidget):
    """A picture across the card, with rounded corners above."""

    clicked = Signal()

    def __init__(self, name: str, theme: Theme) -> None:
        super().__init__()
        self._name = name
        self._theme = theme
        self._pixmap = QPixmap()
        self._shown = ""
        self.setFixedHeight(118)
        self.setCursor(Qt.CursorShape.PointingHandCursor)

    @painted
    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw as much of the picture as fits, none of it distorted."""
        file = f"gallery/{self._name}-{self._theme.tokens.name}.png"
        if file != self._shown:
            self._shown = file
            path = resources.root() / file
            self._pixmap = QPixmap(str(path)) if path.exists() else QPixmap()
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        area = QRectF(self.rect())
        clip = QPainterPath()
        clip.addRoundedRect(area.adjusted(0, 0, 0, 8), 7, 7)
        painter.setClipPath(clip)
        painter.fillRect(area, self._theme.color("ui.sunken"))
        if not self._pixmap.isNull():
            scale = max(area.width() / self._pixmap.width(), area.height() / self._pixmap.height())
            width, height = area.width() / scale, area.height() / scale
            part = QRectF((self._pixmap.width() - width) / 2, (self._pixmap.height() - height) / 2, width, height)
            painter.drawPixmap(area, self._pixmap, part)
        painter.end()

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        """As pressing the card's first button."""
        if event.button() == Qt.MouseButton.LeftButton and self.rect().contains(event.position().toPoint()):
            self.clicked.emit()


class Card(QFrame):
    """One thing to open."""

    def __init__(self, theme: Theme, name: str, title: str) -> None:
        super().__init__()
        self.name = name
        self._theme = theme
        self.setObjectName(f"card_{name}")
        self.setAccessibleName(title)
        self.box = QVBoxLayout(self)
        self.box.setContentsMargins(1, 1, 1, 11)
        self.box.setSpacing(6)
        self.buttons: list[Button] = []

    def add_words(self, text: str, role: str = "normal", muted: bool = False, label: str = "") -> QLabel:
        """A paragraph."""
        words = QLabel(f"<b>{label}</b> {text}" if label else text)
        words.setWordWrap(True)
        words.setFont(self._theme.font(role))
        words.setContentsMargins(12, 0, 12, 0)
        if muted:
            words.setProperty("tone", "muted")
        self.box.addWidget(words)
        return words

    def add_buttons(self, *buttons: Button) -> None:
        """A row of buttons at the bottom."""
        self.box.addStretch(1)
        row = QHBoxLayout()
        row.setContentsMargins(12, 2, 12, 0)
        row.setSpacing(7)
        for button in buttons:
            button.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
            row.addWidget(button)
            self.buttons.append(button)
        row.addStretch(1)
        self.box.addLayout(row)

    @painted
    def paintEvent(self, event: QPaintEvent) -> None:
        """A rounded panel; framed in colour while one of its buttons has the focus."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        chosen = any(button.hasFocus() for button in self.buttons)
        painter.setPen(self._theme.color("ui.focus" if chosen else "ui.border"))
        painter.setBrush(self._theme.color("ui.panel"))
        painter.drawRoundedRect(QRectF(self.rect()).adjusted(0.5, 0.5, -0.5, -0.5), 7, 7)
        painter.end()


class Gallery(QWidget):
    """The start page over a window."""

    chosen = Signal(str, bool)
    """Name of a scenario, and whether it shall be guided."""

    def __init__(self, theme: Theme, entries: Sequence[Entry], others: Sequence[QAction], parent: QWidget) -> None:
        super().__init__(parent)
        self.setObjectName("gallery")
        self.setAccessibleName("Start page")
        self.setAutoFillBackground(True)  # not by the style sheet: Qt paints nothing then that it covers
        self._theme = theme
        self._columns = 0
        self.can_close = False
        """There is something behind it to go back to."""
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addWidget(self._make_head())
        self.area = QScrollArea()
        self.area.setWidgetResizable(True)
        self.area.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        page = QWidget()
        page.setObjectName("gallery_page")
        self.grid = QGridLayout(page)
        self.grid.setContentsMargins(26, 4, 26, 26)
        self.grid.setSpacing(14)
        self.area.setWidget(page)
        self.area.viewport().setAutoFillBackground(False)
        column.addWidget(self.area, 1)
        self.cards = [self._scenario_card(entry) for entry in entries]
        self.cards += [self._action_card(action) for action in others]
        self._soon = once(self, self._paint_it)
        self._watched: tuple[Button, Card] | None = None
        """The button that has the focus, and its card: only that one's events are looked at."""
        application = QApplication.instance()
        assert isinstance(application, QApplication)
        application.focusChanged.connect(self._focus_changed)
        theme.changed.connect(self.update)

    # -- making it

    def _make_head(self) -> QWidget:
        head = QWidget()
        row = QHBoxLayout(head)
        row.setContentsMargins(28, 20, 22, 12)
        words = QVBoxLayout()
        words.setSpacing(3)
        title = QLabel("Why can a kernel not find contiguous memory?")
        font = QFont(self._theme.font("big"))  # the theme's own would grow with every start page
        font.setPointSizeF(font.pointSizeF() * 1.5)
        title.setFont(font)
        self.below = QLabel(_INVITATION)
        self.below.setProperty("tone", "muted")
        self.below.setWordWrap(True)
        words.addWidget(title)
        words.addWidget(self.below)
        row.addLayout(words, 1)
        self.back = Button()
        self.back.setText("Back to the run  (Esc)")
        self.back.setAccessibleName("Back to the run")
        self.back.setObjectName("gallery_back")
        self.back.clicked.connect(self.leave)
        row.addWidget(self.back, 0, Qt.AlignmentFlag.AlignTop)
        return head

    def _scenario_card(self, entry: Entry) -> Card:
        card = Card(self._theme, entry.name, entry.title)
        picture = Picture(entry.name, self._theme)
        if (resources.root() / f"gallery/{entry.name}-dark.png").exists():
            card.box.addWidget(picture)
        else:
            picture.setParent(card)
            picture.hide()
            card.box.addSpacing(10)
        card.add_words(entry.title, "title")
        if entry.summary:
            card.add_words(entry.summary)
        if entry.question:
            card.add_words(entry.question, "small", muted=True, label="Asks:")
        if entry.lesson:
            card.add_words(entry.lesson, "small", muted=True, label="Teaches:")
        watch = Button()
        watch.setText("Open")
        watch.setAccessibleName(f"Open {entry.title}")
        watch.setObjectName(f"open_{entry.name}")
        watch.setToolTip("Run it, and do what you like")
        watch.clicked.connect(partial(self._choose, entry.name, False))
        picture.clicked.connect(watch.click)
        buttons = [watch]
        if entry.moments:
            tour = Button()
            tour.setText(f"Guided tour · {entry.moments} stops")
            tour.setAccessibleName(f"Guided tour of {entry.title}")
            tour.setObjectName(f"guide_{entry.name}")
            tour.setToolTip("Runs, and stops where there is something to see, with words about it")
            tour.clicked.connect(partial(self._choose, entry.name, True))
            buttons.append(tour)
        card.add_buttons(*buttons)
        return card

    def _action_card(self, action: QAction) -> Card:
        card = Card(self._theme, action.objectName(), action.text())
        card.box.addSpacing(10)
        card.add_words(action.text(), "title")
        card.add_words(action.statusTip())
        button = Button()
        button.setDefaultAction(action)
        button.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextOnly)
        button.setObjectName(f"card_button_{action.objectName()}")
        button.setAccessibleName(action.text())
        if not action.isEnabled():
            card.add_words(action.toolTip(), "small", muted=True)
        card.add_buttons(button)
        return card

    # -- coming and going

    def enter(self, at: str = "") -> None:
        """Cover the window, with the card called ``at`` in front."""
        parent = self.parentWidget()
        if parent is not None:
            self.setGeometry(parent.rect())
        self.back.setVisible(self.can_close)
        self.below.setText(_INVITATION)
        self.setUpdatesEnabled(False)  # to put it together and to paint it are two pieces of work
        self.show()
        self.raise_()
        self._soon.start()
        card = next((one for one in self.cards if one.name == at), self.cards[0] if self.cards else None)
        if card is not None:
            card.buttons[0].setFocus()
            self.area.ensureWidgetVisible(card)

    @Slot()
    def _paint_it(self) -> None:
        self.setUpdatesEnabled(True)

    @Slot(QWidget, QWidget)
    def _focus_changed(self, before: QWidget | None, now: QWidget | None) -> None:
        """Another button has the focus: its card shows that."""
        if self._watched is not None:
            button, card = self._watched
            button.removeEventFilter(self)
            card.update()
            self._watched = None
        around = now.parentWidget() if isinstance(now, Button) and self.isAncestorOf(now) else None
        if isinstance(now, Button) and isinstance(around, Card):
            self._watched = (now, around)
            now.installEventFilter(self)
            around.update()

    def tell(self, sentence: str) -> None:
        """Say something here: the line where the window says it is covered."""
        self.below.setText(sentence)

    def leave(self) -> None:
        """Uncover the window."""
        if self.can_close:
            self.hide()
            parent = self.parentWidget()
            if parent is not None:
                parent.setFocus()

    def _choose(self, name: str, guided: bool) -> None:
        self.can_close = True
        self.leave()
        self.chosen.emit(name, guided)

    # -- places

    def resizeEvent(self, event: QResizeEvent) -> None:
        """As many columns as there is room for."""
        columns = max(1, min(4, (self.width() - 40) // (CARD_WIDTH + 14)))
        if columns != self._columns:
            self._columns = columns
            for number, card in enumerate(self.cards):
                self.grid.addWidget(card, number // columns, number % columns)
            for column in range(8):
                self.grid.setColumnStretch(column, 1 if column < columns else 0)

    def focusNextPrevChild(self, next: bool) -> bool:
        """Tab stays on the page: what lies behind it can't be seen."""
        buttons = [b for card in self.cards for b in card.buttons if b.isEnabled()]
        if self.can_close:
            buttons.insert(0, self.back)
        if not buttons:
            return False
        now = next_at = -1
        for at, button in enumerate(buttons):
            if button.hasFocus():
                now = at
        next_at = (now + (1 if next else -1)) % len(buttons)
        buttons[next_at].setFocus(Qt.FocusReason.TabFocusReason)
        self.area.ensureWidgetVisible(buttons[next_at].parentWidget() or buttons[next_at])
        return True

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Arrows go from card to card."""
        if event.type() == QEvent.Type.ShortcutOverride and isinstance(event, QKeyEvent):
            if event.key() in _ARROWS or event.key() == Qt.Key.Key_Escape:
                event.accept()
                return True
        elif event.type() == QEvent.Type.KeyPress and isinstance(event, QKeyEvent):
            if event.key() == Qt.Key.Key_Escape:
                self.leave()
                return True
            if event.key() in _ARROWS and isinstance(watched, QWidget):
                self._go(watched, _ARROWS[Qt.Key(event.key())])
                return True
        return super().eventFilter(watched, event)

    def _go(self, button: QWidget, direction: tuple[int, int]) -> None:
        """To the nearest button in a direction."""
        here = QPointF(button.mapTo(self, button.rect().center()))
        best: tuple[float, Button] | None = None
        for card in self.cards:
            for other in card.buttons:
                if other is button or not other.isEnabled():
                    continue
                way = QPointF(other.mapTo(self, other.rect().center())) - here
                ahead = way.x() * direction[0] + way.y() * direction[1]
                aside = abs(way.x() * direction[1]) + abs(way.y() * direction[0])
                if ahead > 4 and (best is None or ahead + 3 * aside < best[0]):
                    best = (ahead + 3 * aside, other)
        if best is not None:
            best[1].setFocus(Qt.FocusReason.TabFocusReason)
            self.area.ensureWidgetVisible(best[1].parentWidget() or best[1])


_ARROWS: Final = {
    Qt.Key.Key_Left: (-1, 0),
    Qt.Key.Key_Right: (1, 0),
    Qt.Key.Key_Up: (0, -1),
    Qt.Key.Key_Down: (0, 1),
}
