"""Notes on the recording that is played: jump to them, write them, take them away."""

from __future__ import annotations

from typing import ClassVar, Final

from PySide6.QtCore import QEvent, QSignalBlocker, QSize, Qt, Signal
from PySide6.QtGui import QKeyEvent, QPainter, QPaintEvent
from PySide6.QtWidgets import QAbstractItemView, QHeaderView, QTreeWidget, QTreeWidgetItem, QVBoxLayout, QWidget

from memviz.gui.controls import claims
from memviz.gui.notes import RecordingNotes
from memviz.gui.painting import painted
from memviz.gui.panel import View, draw_empty
from memviz.gui.render.numbers import seconds
from memviz.gui.render.tables import Table
from memviz.gui.selection import Selection
from memviz.gui.theme import Theme
from memviz.snapshot import Snapshot

_KEYS: Final = frozenset(
    {
        Qt.Key.Key_Up,
        Qt.Key.Key_Down,
        Qt.Key.Key_Home,
        Qt.Key.Key_End,
        Qt.Key.Key_Return,
        Qt.Key.Key_Enter,
        Qt.Key.Key_Delete,
        Qt.Key.Key_F2,
    }
)
_IDENT: Final = Qt.ItemDataRole.UserRole
_TIME: Final = Qt.ItemDataRole.UserRole + 1
BOOKMARK: Final = "bookmark"
"""What a note without a text is called."""


class _List(QTreeWidget):
    """The list; it keeps the keys that work it."""

    removed = Signal()

    def __init__(self, view: NotesView) -> None:
        super().__init__(view)
        self._view = view
        self.setObjectName("notes_list")
        self.setAccessibleName("Notes")
        self.setHeaderLabels(["Time", "Note"])
        self.setRootIsDecorated(False)
        self.setUniformRowHeights(True)
        self.setEditTriggers(QAbstractItemView.EditTrigger.EditKeyPressed)
        self.header().setStretchLastSection(True)
        self.header().setSectionResizeMode(0, QHeaderView.ResizeMode.ResizeToContents)

    def event(self, event: QEvent) -> bool:
        """Keep its keys while focused."""
        if claims(event, _KEYS):
            event.accept()
            return True
        return super().event(event)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Delete takes a note away; Return winds to it, on every desktop."""
        item = self.currentItem()
        if event.key() == Qt.Key.Key_Delete:
            self.removed.emit()
        elif event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter) and item is not None:
            self.itemActivated.emit(item, 0)
        else:
            super().keyPressEvent(event)

    @painted
    def paintEvent(self, event: QPaintEvent) -> None:
        """The rows, or why there are none."""
        super().paintEvent(event)
        if not self.topLevelItemCount():
            painter = QPainter(self.viewport())
            draw_empty(painter, self.viewport().rect().toRectF(), self._view.theme, *self._view.why_empty())
            painter.end()


class NotesView(View):
    """Return or a double click winds to a note, F2 changes it, Delete takes it away."""

    ident: ClassVar[str] = "notes"
    title: ClassVar[str] = "Notes"
    what: ClassVar[str] = (
        "What somebody wrote on instants of the recording. Notes are kept in a file beside it; the recording stays as "
        "it is."
    )
    empty: ClassVar[str] = "No notes on this recording yet"
    period_ms: ClassVar[int] = 200

    wanted = Signal(object)
    """Wind to this instant, ns (an integer of any size)."""
    add_wanted = Signal()

    def __init__(
        self, selection: Selection, theme: Theme, notes: RecordingNotes, parent: QWidget | None = None
    ) -> None:
        super().__init__(selection, theme, parent)
        self.notes = notes
        self.list = _List(self)
        box = QVBoxLayout(self)
        box.setContentsMargins(0, 0, 0, 0)
        box.addWidget(self.list)
        self.add_button = self.header.add_button("Add", "Add a note at this instant (Ctrl+D)", "plus")
        self.remove_button = self.header.add_button("", "Remove the note that is chosen (Delete)", "minus")
        self.add_button.clicked.connect(self.add_wanted)
        self.remove_button.clicked.connect(self._remove)
        self.list.removed.connect(self._remove)
        self.list.itemActivated.connect(self._activated)
        self.list.itemChanged.connect(self._edited)
        self.list.currentItemChanged.connect(self._show_buttons)
        notes.changed.connect(self.refresh)
        self.setFocusProxy(self.list)
        self.refresh()

    def sizeHint(self) -> QSize:
        """As the panels that it shares its place with."""
        return QSize(420, 190)

    def why_empty(self) -> tuple[str, str]:
        """What is drawn where there are none: what is missing, and what to do."""
        if not self.notes.path:
            return "No recording is played", "Notes are written on instants of a recording: open one with Ctrl+O"
        return self.empty, "Ctrl+D writes one on the instant that is shown"

    def show_snapshot(self, snapshot: Snapshot) -> None:
        """The note whose instant is shown is the bold one."""
        self.snapshot = snapshot
        for row in range(self.list.topLevelItemCount()):
            item = self.list.topLevelItem(row)
            here = item is not None and snapshot.playback is not None and item.data(0, _TIME) == snapshot.time_ns
            if item is not None and item.font(0).bold() != here:
                font = item.font(0)
                font.setBold(here)
                with QSignalBlocker(self.list):
                    item.setFont(0, font)

    def refresh(self) -> None:
        """Show the notes as they are now."""
        with QSignalBlocker(self.list):
            self._fit_rows()
            for row, note in enumerate(self.notes.all):
                item = self.list.topLevelItem(row)
                assert item is not None, "there is a row for each"
                item.setText(0, seconds(note.time_ns))
                item.setText(1, note.text or BOOKMARK)
                item.setData(0, _TIME, note.time_ns)
                item.setToolTip(1, note.text)
                item.setForeground(1, self.theme.color("ui.text" if note.text else "ui.muted"))
        count = self.list.topLevelItemCount()
        self.header.subtitle = "" if not count else "1 note" if count == 1 else f"{count} notes"
        self._show_buttons()

    def _fit_rows(self) -> None:
        """A row for each note, in their order. Rows that stay are left alone: one of them may be being written."""
        rows = self.list
        idents = [note.id for note in self.notes.all]
        for row in range(rows.topLevelItemCount() - 1, -1, -1):
            item = rows.topLevelItem(row)
            if item is not None and item.data(0, _IDENT) not in idents:
                rows.takeTopLevelItem(row)
        for row, ident in enumerate(idents):
            item = rows.topLevelItem(row)
            if item is None or item.data(0, _IDENT) != ident:
                item = QTreeWidgetItem()
                item.setData(0, _IDENT, ident)
                item.setFlags(item.flags() | Qt.ItemFlag.ItemIsEditable)
                rows.insertTopLevelItem(row, item)

    def edit(self, ident: str) -> None:
        """Let a note be written."""
        for row in range(self.list.topLevelItemCount()):
            item = self.list.topLevelItem(row)
            if item is not None and item.data(0, _IDENT) == ident:
                self.list.setCurrentItem(item)
                self.list.setFocus()
                self.list.editItem(item, 1)

    def as_table(self) -> Table | None:
        """Time and text."""
        return ["time_ns", "text"], [[one.time_ns, one.text] for one in self.notes.all]

    def _chosen(self) -> str:
        item = self.list.currentItem()
        return "" if item is None else str(item.data(0, _IDENT))

    def _show_buttons(self) -> None:
        self.add_button.setEnabled(bool(self.notes.path))
        self.remove_button.setEnabled(bool(self._chosen()))

    def _remove(self) -> None:
        if self._chosen():
            self.notes.remove(self._chosen())

    def _activated(self, item: QTreeWidgetItem, column: int = 0) -> None:
        self.wanted.emit(item.data(0, _TIME))

    def _edited(self, item: QTreeWidgetItem, column: int) -> None:
        text = item.text(1)
        self.notes.change(str(item.data(0, _IDENT)), "" if text == BOOKMARK else text)
