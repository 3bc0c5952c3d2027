"""Controls of Qt, less what gets in the way: they keep the keys that work them, even those that are shortcuts too.

Space runs and pauses from everywhere, but presses the button that has the focus; arrows step, but move a slider.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from PySide6.QtCore import QEvent, QRectF, QSize, Qt
from PySide6.QtGui import QFontMetricsF, QKeyEvent, QPainter, QPaintEvent, QWheelEvent
from PySide6.QtWidgets import (
    QComboBox,
    QMenu,
    QSizePolicy,
    QSlider,
    QStyle,
    QStyleOptionComboBox,
    QStylePainter,
    QTableView,
    QToolButton,
    QWidget,
)

from memviz.gui.painting import painted
from memviz.gui.theme import Theme

_ENTRIES: Final = 40
_PRESS: Final = frozenset({Qt.Key.Key_Space, Qt.Key.Key_Return, Qt.Key.Key_Enter})
_MOVE: Final = frozenset(
    {Qt.Key.Key_Left, Qt.Key.Key_Right, Qt.Key.Key_Up, Qt.Key.Key_Down, Qt.Key.Key_Home, Qt.Key.Key_End}
)


def claims(event: QEvent, keys: frozenset[Qt.Key]) -> bool:
    """The event asks whether a key is a shortcut, and it is one of ``keys``, without Ctrl or Alt."""
    if event.type() != QEvent.Type.ShortcutOverride or not isinstance(event, QKeyEvent):
        return False
    other = event.modifiers() & (Qt.KeyboardModifier.ControlModifier | Qt.KeyboardModifier.AltModifier)
    return not other and event.key() in keys


class Button(QToolButton):
    """A button: reached by Tab, pressed by Space or Return, never takes the focus when clicked."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.setCursor(Qt.CursorShape.ArrowCursor)
        self.setIconSize(QSize(16, 16))

    def event(self, event: QEvent) -> bool:
        """Keep Space and Return while focused."""
        if claims(event, _PRESS):
            event.accept()
            return True
        return super().event(event)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Return presses, as Space does."""
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            self.click()
        else:
            super().keyPressEvent(event)


class Chooser(QComboBox):
    """A combo box that keeps the keys that open it and move in it. The wheel chooses nothing in passing. What is too
    long for it ends with …: a style sheet's combo box cuts it in the middle of a letter.
    """

    def shown_text(self) -> str:
        """What stands on it: what is chosen, or as much of that as there is room for."""
        option = QStyleOptionComboBox()
        self.initStyleOption(option)
        field = QStyle.SubControl.SC_ComboBoxEditField
        room = self.style().subControlRect(QStyle.ComplexControl.CC_ComboBox, option, field, self).width()
        return self.fontMetrics().elidedText(self.currentText(), Qt.TextElideMode.ElideRight, room)

    @painted
    def paintEvent(self, event: QPaintEvent) -> None:
        """As Qt does, with the text that fits."""
        painter = QStylePainter(self)
        option = QStyleOptionComboBox()
        self.initStyleOption(option)
        option.currentText = self.shown_text()
        painter.drawComplexControl(QStyle.ComplexControl.CC_ComboBox, option)
        painter.drawControl(QStyle.ControlElement.CE_ComboBoxLabel, option)
        painter.end()

    def wheelEvent(self, event: QWheelEvent) -> None:
        """What is around it is scrolled; a list that is open scrolls by itself."""
        event.ignore()

    def setAccessibleName(self, name: str) -> None:
        """Its list is called the same."""
        super().setAccessibleName(name)
        self.view().setAccessibleName(name)

    def event(self, event: QEvent) -> bool:
        """Keep its keys while focused."""
        if claims(event, _PRESS | _MOVE):
            event.accept()
            return True
        return super().event(event)


class CarefulChooser(Chooser):
    """A chooser of what has a price, such as the run that there is: keys open its list, and choose only there."""

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Open the list where a combo box would choose what is next, or what begins with a letter."""
        if event.key() in _MOVE | _PRESS:
            self.showPopup()
        else:
            event.ignore()


class Slider(QSlider):
    """A slider that keeps the arrows. The wheel moves it only while it has the keys: who scrolls by changes nothing."""

    def __init__(self, orientation: Qt.Orientation, parent: QWidget | None = None) -> None:
        super().__init__(orientation, parent)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)

    def wheelEvent(self, event: QWheelEvent) -> None:
        """Leave it to what is around it, unless it was clicked or reached by Tab."""
        if self.hasFocus():
            super().wheelEvent(event)
        else:
            event.ignore()

    def event(self, event: QEvent) -> bool:
        """Keep its keys while focused."""
        if claims(event, _MOVE):
            event.accept()
            return True
        return super().event(event)


def fill_menu(menu: QMenu, entries: Iterable[tuple[object, str]], chosen: object) -> None:
    """Offer ``entries``, (data, title), in place of what the menu offered; those that are too many behind *More*."""
    menu.clear()
    more: QMenu | None = None
    for number, (data, title) in enumerate(entries):
        if number == _ENTRIES:
            more = menu.addMenu("More")
        action = (more or menu).addAction(title)
        action.setCheckable(True)
        action.setChecked(data == chosen)
        action.setData(data)


class Table(QTableView):
    """A table that keeps the keys that move in it."""

    def event(self, event: QEvent) -> bool:
        """Keep its keys while focused."""
        if claims(event, _MOVE | _PRESS):
            event.accept()
            return True
        return super().event(event)


class ElidedLabel(QWidget):
    """One line of painted text, cut with … where space ends; changing it costs no layout."""

    def __init__(self, theme: Theme, role: str = "normal", color: str = "ui.text", sample: str = "") -> None:
        super().__init__()
        self._sample = sample
        self._theme = theme
        self._role = role
        self._color = color
        self._text = ""
        self._align = Qt.AlignmentFlag.AlignLeft
        wide = QSizePolicy.Policy.Fixed if sample else QSizePolicy.Policy.Expanding
        self.setSizePolicy(wide, QSizePolicy.Policy.Preferred)
        theme.changed.connect(self.update)

    @property
    def text(self) -> str:
        """What it says."""
        return self._text

    @text.setter
    def text(self, text: str) -> None:
        if text != self._text:
            self._text = text
            self.setAccessibleName(text)
            self.setToolTip(text)
            self.update()

    @property
    def color(self) -> str:
        """Key of the theme."""
        return self._color

    @color.setter
    def color(self, color: str) -> None:
        if color != self._color:
            self._color = color
            self.update()

    def align_right(self) -> None:
        """Put the text to the right end."""
        self._align = Qt.AlignmentFlag.AlignRight

    def sizeHint(self) -> QSize:
        """One line, as wide as the sample; without one it takes what is left over."""
        metrics = QFontMetricsF(self._theme.font(self._role))
        return QSize(int(metrics.horizontalAdvance(self._sample)) + 2, int(metrics.height()) + 4)

    def minimumSizeHint(self) -> QSize:
        """Never narrower than the sample."""
        return self.sizeHint()

    @painted
    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw the line."""
        font = self._theme.font(self._role)
        painter = QPainter(self)
        painter.setFont(font)
        painter.setPen(self._theme.color(self._color))
        metrics = QFontMetricsF(font)
        text = metrics.elidedText(self._text, Qt.TextElideMode.ElideRight, self.width())
        if text != self._text and self.width() < metrics.horizontalAdvance(self._text) * 0.5:
            text = ""  # the start of a word tells nothing
        painter.drawText(QRectF(self.rect()), self._align | Qt.AlignmentFlag.AlignVCenter, text)
        painter.end()
