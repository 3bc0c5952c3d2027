"""The bar above every panel: its title, a muted subtitle, buttons."""

from __future__ import annotations

from html import escape
from typing import Final

from PySide6.QtCore import QEvent, QRectF, QSize, Qt
from PySide6.QtGui import QFontMetricsF, QHelpEvent, QPainter, QPaintEvent, QResizeEvent
from PySide6.QtWidgets import QHBoxLayout, QMenu, QSizePolicy, QToolButton, QToolTip, QWidget

from memviz.gui.controls import Button
from memviz.gui.painting import painted
from memviz.gui.theme import Theme

HEADER_HEIGHT: Final = 34
MARGIN: Final = 11
_DROPS: Final = " ▾"
"""At the end of the text of a button that opens a menu."""
_RESHAPED: Final = frozenset({QEvent.Type.LayoutRequest, QEvent.Type.StyleChange, QEvent.Type.FontChange})
"""Events after which a header may need another width."""


class PanelHeader(QWidget):
    """Title in bold, a muted subtitle that is cut with … when space is short, buttons at the right.

    Text is painted, not put into labels: a subtitle that changes every frame costs no layout. Where buttons leave no
    room for the title, those with words go into a menu, the first one first: what a panel is comes before its choices.
    """

    def __init__(self, title: str, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._theme = theme
        self._title = title
        self._subtitle = ""
        self.what = ""
        """What the panel shows, in a sentence."""
        self._least: QSize | None = None
        self.setFixedHeight(HEADER_HEIGHT)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.setAccessibleName(title)
        self._row = QHBoxLayout(self)
        self._row.setContentsMargins(MARGIN, 5, 7, 2)
        self._row.setSpacing(5)
        self._row.addStretch(1)
        self._folded: list[QToolButton] = []
        """Buttons that are in the menu, for want of room."""
        self._rest = Button(self)
        self._rest.setIcon(theme.icon("menu", "ui.muted"))
        self._rest.setProperty("lucide", "menu")
        self._rest.setProperty("flat", True)
        self._rest.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        self._rest.setMenu(QMenu(self._rest))
        self._rest.menu().setToolTipsVisible(True)
        self._rest.menu().aboutToShow.connect(self._fill_rest)
        self._rest.setAccessibleName("More choices of this panel")
        self._rest.hide()
        self._row.addWidget(self._rest)

    @property
    def title(self) -> str:
        """What stands in bold."""
        return self._title

    @title.setter
    def title(self, text: str) -> None:
        if text != self._title:
            self._title = text
            self.setAccessibleName(text)
            self._update_words()
            self._fold()

    @property
    def subtitle(self) -> str:
        """What stands beside it, muted."""
        return self._subtitle

    @subtitle.setter
    def subtitle(self, text: str) -> None:
        if text != self._subtitle:
            self._subtitle = text
            self.setAccessibleDescription(text)
            self._update_words()

    def _update_words(self) -> None:
        """Paint the words again, and not the buttons beside them: a subtitle may change with every redraw."""
        self.update(self._words_rect().adjusted(-1, -1, 1, 3).toAlignedRect())

    def _words_rect(self) -> QRectF:
        """Where the two texts are: left of the first button."""
        right = self.width() - 8
        for i in range(self._row.count()):
            item = self._row.itemAt(i)
            widget = item.widget() if item is not None else None
            if widget is not None and not widget.isHidden():
                right = widget.x() - 8
                break
        return QRectF(MARGIN, 4, max(0, right - MARGIN), HEADER_HEIGHT - 6)

    def add_widget(self, widget: QWidget) -> None:
        """Put a button or chooser at the right, after those that are there."""
        self._row.addWidget(widget)
        self._least = None

    def add_button(self, text: str, tip: str, icon: str = "") -> Button:
        """A small button at the right; ``icon`` names a file of resources/icons/lucide."""
        button = Button(self)
        button.setText(text)
        button.setToolTip(tip)
        button.setAccessibleName(tip)
        if icon:
            button.setIcon(self._theme.icon(icon, "ui.muted"))
            style = Qt.ToolButtonStyle
            button.setToolButtonStyle(style.ToolButtonTextBesideIcon if text else style.ToolButtonIconOnly)
            button.setProperty("lucide", icon)
            button.setProperty("flat", not text)
        self.add_widget(button)
        return button

    def event(self, event: QEvent) -> bool:
        """Beside the pointer: all of the subtitle, which may be cut, and what the panel shows."""
        if event.type() in _RESHAPED:
            self._least = None
            self._fold()
        if event.type() == QEvent.Type.ToolTip and isinstance(event, QHelpEvent):
            words = [f"<b>{escape(self._title)}</b> {escape(self._subtitle)}", escape(self.what)]
            QToolTip.showText(event.globalPos(), "<br>".join(part for part in words if part), self)
            return True
        return super().event(event)

    def minimumSizeHint(self) -> QSize:
        """As wide as the buttons and the start of the title."""
        if self._least is None:  # one layout of the window asks a hundred times
            # Folding changes nothing of it: a dock would be laid out again for a button more or less.
            self._least = QSize(self._width_of(self._shown()) + 40, HEADER_HEIGHT)
        return self._least

    # -- buttons that there is no room for

    def _shown(self) -> list[QWidget]:
        """Buttons and choosers that would be seen with room enough, from the left."""
        items = (self._row.itemAt(i) for i in range(self._row.count()))
        widgets = (item.widget() for item in items if item is not None)
        mine = (one for one in widgets if one is not None and one is not self._rest)
        return [one for one in mine if not one.isHidden() or one in self._folded]

    def _width_of(self, widgets: list[QWidget]) -> int:
        """What they and the margins around them take."""
        margins = self._row.contentsMargins()
        widths = [max(one.sizeHint().width(), one.minimumWidth()) + self._row.spacing() for one in widgets]
        return margins.left() + margins.right() + sum(widths)

    def _fold(self) -> None:
        """Put as many buttons into the menu as the title needs, and no more."""
        shown = self._shown()
        words = [one for one in shown if isinstance(one, QToolButton) and one.text()]
        title = QFontMetricsF(self._theme.font("title")).horizontalAdvance(self._title) + 8
        folded: list[QToolButton] = []
        while len(folded) < len(words):
            left = [one for one in shown if one not in folded]
            if self._width_of([*left, self._rest] if folded else left) + title <= self.width():
                break
            folded.append(words[len(folded)])
        if len(folded) < 2:
            folded = []  # a menu of one is no shorter than the button
        if folded == self._folded:
            return
        before, self._folded = self._folded, folded
        for one in {*before, *folded}:
            one.setVisible(one not in folded)
        self._rest.setVisible(bool(folded))
        self._rest.setToolTip(", ".join(one.text().removesuffix(_DROPS) for one in folded))
        self.update()

    def _fill_rest(self) -> None:
        """What is folded, as it is at the moment."""
        menu = self._rest.menu()
        menu.clear()
        for button in self._folded:
            text = button.text().removesuffix(_DROPS)
            if button.menu() is not None:
                button.menu().setTitle(f"{button.accessibleName()}: {text}")
                menu.addMenu(button.menu())
                continue
            action = menu.addAction(text)
            action.setToolTip(button.toolTip())
            action.setCheckable(button.isCheckable())
            action.setChecked(button.isChecked())
            action.setEnabled(button.isEnabled())
            action.triggered.connect(button.click)

    def resizeEvent(self, event: QResizeEvent) -> None:
        """More or fewer buttons fit."""
        self._fold()
        super().resizeEvent(event)

    @painted
    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw the two texts left of the first button."""
        painter = QPainter(self)
        title_font = self._theme.font("title")
        rect = self._words_rect()
        flags = Qt.AlignmentFlag.AlignVCenter | Qt.TextFlag.TextSingleLine
        metrics = QFontMetricsF(title_font)
        title = metrics.elidedText(self._title, Qt.TextElideMode.ElideRight, rect.width())
        painter.setFont(title_font)
        painter.setPen(self._theme.color("ui.text"))
        painter.drawText(rect, flags, title)
        rect.setLeft(rect.left() + metrics.horizontalAdvance(title) + 9)
        if self._subtitle and rect.width() > 30:
            font = self._theme.font("small")
            painter.setFont(font)
            painter.setPen(self._theme.color("ui.muted"))
            text = QFontMetricsF(font).elidedText(self._subtitle, Qt.TextElideMode.ElideRight, rect.width())
            painter.drawText(rect.translated(0, 1), flags, text)
        painter.end()
