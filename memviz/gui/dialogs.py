"""Small windows over the window: help, the list of keys, the palette."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from PySide6.QtCore import QEvent, QObject, QSize, Qt, QTimer
from PySide6.QtGui import QAction, QIcon, QKeyEvent, QKeySequence, QPixmap, QShortcut, QShowEvent, QTextCursor
from PySide6.QtWidgets import (
    QDialog,
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QLineEdit,
    QTextBrowser,
    QTextEdit,
    QTreeWidget,
    QTreeWidgetItem,
    QVBoxLayout,
)

import memviz
from memviz import resources
from memviz.gui.act import key_words, words_of_key
from memviz.gui.actions import ACTIONS, MENUS
from memviz.gui.also import ALSO
from memviz.gui.docks import panel_key
from memviz.gui.panel import View

if TYPE_CHECKING:
    from memviz.gui.main_window import MainWindow


class Dialog(QDialog):
    """A dialog that is gone once closed."""

    def __init__(self, window: MainWindow, title: str, width: int, height: int) -> None:
        super().__init__(window)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setWindowTitle(title)
        self.resize(min(width, window.width() - 40), min(height, window.height() - 40))
        self.box = QVBoxLayout(self)

    def add_search(self, text: QTextBrowser) -> None:
        """Put a line above ``text``, which is to be read, by which words are found in it."""
        self.search = QLineEdit()
        self.search.setPlaceholderText("Search: Return finds the next")
        self.search.setAccessibleName("Search")
        self.missing = QLabel("Not found")
        self.missing.setProperty("tone", "muted")
        self.missing.hide()
        row = QHBoxLayout()
        row.addWidget(self.search)
        row.addWidget(self.missing)
        self.box.insertLayout(0, row)
        self.search.textChanged.connect(lambda _: self._find(text, anew=True))
        self.search.returnPressed.connect(lambda: self._find(text))
        QShortcut(QKeySequence.StandardKey.Find, self, self.search.setFocus)
        text.setFocus()  # arrows scroll as long as nobody wants to search

    def _find(self, text: QTextBrowser, anew: bool = False) -> None:
        """Select the next place with what is typed, round the end; where the last was, when it is typed on."""
        words = self.search.text()
        cursor = text.textCursor()
        if anew:
            cursor.setPosition(cursor.selectionStart())
            text.setTextCursor(cursor)
        found = not words or text.find(words)
        if not found:
            text.moveCursor(QTextCursor.MoveOperation.Start)
            found = text.find(words)
        self.missing.setVisible(not found)


class HelpDialog(Dialog):
    """The help pages."""

    def __init__(self, window: MainWindow) -> None:
        super().__init__(window, "Help — memviz", 760, 640)
        self.text = QTextBrowser()
        self.text.setOpenExternalLinks(True)
        self.text.setAccessibleName("Help")
        self.text.setMarkdown(resources.read_text("help/window.md"))
        self.box.addWidget(self.text)
        self._theme = window.theme
        # The map has the keys at first: who has not been anywhere else yet begins at the beginning.
        panel = window.current_panel()
        covered = window.gallery is not None and not window.gallery.isHidden()
        self._about = "" if covered or panel is window.docks.all["heatmap"] else panel.view.title
        self.add_search(self.text)

    def showEvent(self, event: QShowEvent) -> None:
        """Begin with the panel that has the keys: what is that?"""
        super().showEvent(event)
        QTimer.singleShot(0, self, self._go_to_panel)  # once it is known how wide the text is

    def _go_to_panel(self) -> None:
        found = self.text.document().find(f"{self._about}.") if self._about else QTextCursor()
        if not found.isNull():
            top = self.text.document().documentLayout().blockBoundingRect(found.block()).top()
            self.text.verticalScrollBar().setValue(int(top) - 4)
            mark = QTextEdit.ExtraSelection()
            mark.cursor = found
            mark.format.setBackground(self._theme.color("ui.selection"))
            self.text.setExtraSelections([mark])


class KeysDialog(Dialog):
    """All keys, by menu."""

    def __init__(self, window: MainWindow) -> None:
        super().__init__(window, "Keys — memviz", 560, 640)
        self.text = QTextBrowser()
        self.text.setAccessibleName("Keys")
        self.text.setHtml(keys_html([dock.view for dock in window.docks.all.values()]))
        self.box.addWidget(self.text)
        self.add_search(self.text)


def keys_html(panels: list[View]) -> str:
    """The list of keys as a page."""
    rows = []
    for menu in MENUS:
        rows.append(f"<tr><td colspan='2'><br><b>{menu}</b></td></tr>")
        rows += [
            f"<tr><td style='padding-right:24px'><b>{escape(key_words(act))}</b></td>"
            f"<td>{escape(act.tip or act.title)}</td></tr>"
            for act in ACTIONS
            if act.keys and act.menu.split("/")[0] == menu
        ]
    rows.append("<tr><td colspan='2'><br><b>Panels</b></td></tr>")
    rows += [
        f"<tr><td><b>{panel_key(number)}</b></td><td>Go to {escape(view.title)}; from there: close it</td></tr>"
        for number, view in enumerate(panels, 1)
    ]
    rows += [
        "<tr><td><b>F10</b></td><td>Menu</td></tr>",
        "<tr><td><b>Tab</b></td><td>The next button, list or picture; Shift+Tab the one before</td></tr>",
    ]
    for view in panels:
        if view.keys:
            rows.append(f"<tr><td colspan='2'><br><b>While {escape(view.title)} has the keys</b></td></tr>")
            rows += [f"<tr><td><b>{escape(keys)}</b></td><td>{escape(what)}</td></tr>" for keys, what in view.keys]
    return f"<table cellspacing='0' cellpadding='2'>{''.join(rows)}</table>"


class Palette(Dialog):
    """Everything that can be done, found by typing a part of its name."""

    def __init__(self, window: MainWindow) -> None:
        super().__init__(window, "Do something — memviz", 520, 420)
        self.setObjectName("palette")
        self.setWindowFlag(Qt.WindowType.FramelessWindowHint)
        self.search = QLineEdit()
        self.search.setObjectName("palette_search")
        self.search.setPlaceholderText("What shall be done?")
        self.search.setAccessibleName("What shall be done?")
        self.list = QTreeWidget()
        self.list.setAccessibleName("What can be done")
        self.list.setColumnCount(2)
        self.list.setHeaderHidden(True)
        self.list.setRootIsDecorated(False)
        self.list.setIconSize(QSize(16, 16))
        self.list.setUniformRowHeights(True)
        self.list.header().setStretchLastSection(False)
        self.list.header().setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        self.list.header().setSectionResizeMode(1, QHeaderView.ResizeMode.ResizeToContents)
        self._no_icon = QPixmap(16, 16)
        self._no_icon.fill(Qt.GlobalColor.transparent)
        self.box.addWidget(self.search)
        self.box.addWidget(self.list)
        self._actions = [one for one in window.actions() if one.text()]
        self.search.textChanged.connect(self._fill)
        self.search.returnPressed.connect(self._do)
        self.search.installEventFilter(self)
        self.list.itemActivated.connect(self._do)
        self._fill("")
        self.search.setFocus()
        self.move(window.frameGeometry().center().x() - self.width() // 2, window.frameGeometry().top() + 80)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Up and down move in the list while the cursor stays in the field."""
        if event.type() == QEvent.Type.KeyPress and isinstance(event, QKeyEvent):
            step = {Qt.Key.Key_Up: -1, Qt.Key.Key_Down: 1}.get(Qt.Key(event.key()), 0)
            count = self.list.topLevelItemCount()
            item = self.list.currentItem()
            if step and item is not None:
                row = self.list.indexOfTopLevelItem(item)
                self._choose((row + step) % count)
                return True
        return super().eventFilter(watched, event)

    def _fill(self, text: str) -> None:
        words = text.lower().split()
        self.list.clear()
        named: list[QTreeWidgetItem] = []
        otherwise: list[QTreeWidgetItem] = []  # called so by others
        told: list[QTreeWidgetItem] = []  # the words are only in the sentence about it
        for action in self._actions:
            name = _name(action)
            if all(word in name.lower() for word in words):
                named.append(self._entry(name, action))
            elif all(word in f"{name} {_also(action)}".lower() for word in words):
                otherwise.append(self._entry(name, action))
            elif all(word in f"{name} {_also(action)} {action.statusTip()}".lower() for word in words):
                told.append(self._entry(name, action))
        # What can't be done now comes last, and says why.
        found = sorted([*named, *otherwise, *told], key=QTreeWidgetItem.isDisabled)
        if not found:
            found.append(QTreeWidgetItem(["Nothing is called so. F1 tells what there is, ? lists all keys."]))
            found[0].setDisabled(True)
        self.list.addTopLevelItems(found)
        self._choose(0)

    def _entry(self, name: str, action: QAction) -> QTreeWidgetItem:
        item = QTreeWidgetItem([name, words_of_key(action.shortcut().toString())])
        item.setIcon(0, action.icon() if not action.icon().isNull() else QIcon(self._no_icon))
        item.setToolTip(0, action.toolTip())
        item.setDisabled(not action.isEnabled())
        item.setData(0, Qt.ItemDataRole.UserRole, action)
        return item

    def _choose(self, row: int) -> None:
        item = self.list.topLevelItem(row)
        if item is not None:
            self.list.setCurrentItem(item)

    def _do(self) -> None:
        item = self.list.currentItem()
        self.close()
        if item is not None:
            action = item.data(0, Qt.ItemDataRole.UserRole)
            if isinstance(action, QAction) and action.isEnabled():
                action.trigger()


def _also(action: QAction) -> str:
    """What else people call an action."""
    return ALSO.get(action.objectName().removeprefix("action_"), "")


def _name(action: QAction) -> str:
    """What the palette calls an action."""
    name = action.text().replace("&", "")
    return f"Go to {name}" if action.objectName().startswith("action_panel_") else name


def about_text() -> str:
    """What the about box says."""
    return (
        f"<b>memviz {memviz.__version__}</b><p>See why a kernel cannot find contiguous memory, and what making objects "
        "movable buys.</p><p>MIT licence. Qt (LGPL) draws the window; the icons are Lucide's (ISC).</p>"
    )
