"""Slab caches: which hold how much memory and how well they use it; a click shows the slabs of one."""

from __future__ import annotations

from typing import ClassVar, Final

from PySide6.QtCore import QAbstractTableModel, QModelIndex, QPersistentModelIndex, QSize, Qt, Slot
from PySide6.QtGui import QFontMetrics, QResizeEvent
from PySide6.QtWidgets import QAbstractItemView, QHeaderView, QLineEdit, QVBoxLayout, QWidget

from memviz.gui.controls import Table
from memviz.gui.panel import View
from memviz.gui.panel_table import PanelTable
from memviz.gui.render import cache_table as render
from memviz.gui.render import tables
from memviz.gui.selection import Selection
from memviz.gui.theme import Theme
from memviz.snapshot import Snapshot

Index = QModelIndex | QPersistentModelIndex
_RIGHT: Final = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
_LEFT: Final = Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter


class CacheModel(QAbstractTableModel):
    """Rows of ``render.rows``."""

    def __init__(self, theme: Theme, parent: QWidget) -> None:
        super().__init__(parent)
        self._theme = theme
        self.rows: list[render.CacheRow] = []
        self.sorted = (render.MEMORY, True)
        """By which column, and whether the largest comes first."""

    def show_rows(self, rows: list[render.CacheRow]) -> None:
        """Show other rows. Those that stay in their places keep what is selected."""
        names = [row.cache.name for row in rows]
        if names == [row.cache.name for row in self.rows]:
            self.rows = rows
            if rows:
                self.dataChanged.emit(self.index(0, 0), self.index(len(rows) - 1, len(render.COLUMNS) - 1))
            return
        self.layoutAboutToBeChanged.emit()
        before = self.persistentIndexList()
        places = {name: number for number, name in enumerate(names)}
        after = []
        for index in before:
            row = places.get(self.rows[index.row()].cache.name, -1)
            after.append(self.createIndex(row, index.column()) if row >= 0 else QModelIndex())
        self.rows = rows
        self.changePersistentIndexList(before, after)
        self.layoutChanged.emit()

    def rowCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008 - Qt's signature
        """Caches shown."""
        return 0 if parent.isValid() else len(self.rows)

    def columnCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008 - Qt's signature
        """``render.COLUMNS``."""
        return 0 if parent.isValid() else len(render.COLUMNS)

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole) -> object:
        """Names of the columns, and what they mean."""
        if orientation != Qt.Orientation.Horizontal:
            return None
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return _LEFT if section == render.NAME else _RIGHT
        if role == Qt.ItemDataRole.DisplayRole:
            sign = (" ▾" if self.sorted[1] else " ▴") if section == self.sorted[0] else ""
            return f"{render.COLUMNS[section]}{sign}"
        return f"{render.WHAT[section]}. A click sorts." if role == Qt.ItemDataRole.ToolTipRole else None

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> object:
        """Text and colour of a cell."""
        row, column = self.rows[index.row()], index.column()
        if role == Qt.ItemDataRole.DisplayRole:
            return row.text(column)
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return _LEFT if column == render.NAME else _RIGHT
        if role == Qt.ItemDataRole.ForegroundRole:
            if column == render.USED and 0 <= row.used < 500:
                return self._theme.color("tone.warn")
            return self._theme.color("ui.text" if column in (render.NAME, render.MEMORY) else "ui.muted")
        if role == Qt.ItemDataRole.FontRole and column != render.NAME:
            return self._theme.font("mono-small")
        if role == Qt.ItemDataRole.ToolTipRole:
            return render.WHAT[column]
        return None


class CachesView(View):
    """The list with its filter, sorted by what its header was clicked at."""

    ident: ClassVar[str] = "caches"
    title: ClassVar[str] = "Slab caches"
    what: ClassVar[str] = (
        "Every kind of object that the kernel keeps in slabs, and the memory that its slabs hold. A cache whose "
        "objects fill half of its slabs holds twice the memory that it needs."
    )
    keys: ClassVar[tuple[tuple[str, str], ...]] = (("↑ ↓", "Another cache: its slabs are shown"),)
    empty: ClassVar[str] = "Nothing is known about slab caches"
    period_ms: ClassVar[int] = 500

    def __init__(self, selection: Selection, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(selection, theme, parent)
        self._column, self._falling = render.MEMORY, True
        self._own_pick = False
        self.model = CacheModel(theme, self)
        self.search = QLineEdit()
        self.search.setPlaceholderText("Filter by name")
        self.search.setAccessibleName("Filter caches by name")
        self.search.setClearButtonEnabled(True)
        self.search.setMaximumWidth(190)
        self.search.textChanged.connect(self._refresh)
        self.header.add_widget(self.search)
        self.table = self._make_table()
        box = QVBoxLayout(self)
        box.setContentsMargins(0, 0, 0, 0)
        box.addWidget(self.table)
        self.setFocusProxy(self.table)
        self.setMinimumSize(220, 60)
        selection.focus_changed.connect(self._focus_changed)

    def sizeHint(self) -> QSize:
        """Room for ten caches."""
        return QSize(440, 240)

    def _make_table(self) -> Table:
        table = PanelTable(self)
        table.setModel(self.model)
        table.setAccessibleName("Slab caches")
        table.setShowGrid(False)
        table.setWordWrap(False)
        table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        table.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        table.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        table.setTabKeyNavigation(False)
        table.verticalHeader().hide()
        table.verticalHeader().setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        table.verticalHeader().setDefaultSectionSize(table.fontMetrics().height() + 6)
        header = table.horizontalHeader()
        header.setSectionsClickable(True)
        header.setHighlightSections(False)
        header.setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        header.setSectionResizeMode(render.NAME, QHeaderView.ResizeMode.Stretch)
        advance = table.fontMetrics().horizontalAdvance
        for column, sample in _SAMPLES.items():
            table.setColumnWidth(column, advance(sample) + 10)
        header.sectionClicked.connect(self._sort_by)
        table.selectionModel().currentRowChanged.connect(self._row_picked)
        return table

    def show_snapshot(self, snapshot: Snapshot) -> None:
        """Show another instant."""
        self.snapshot = snapshot
        self._refresh()

    @Slot()
    def _refresh(self) -> None:
        if self.snapshot is None:
            return
        rows = render.rows(self.snapshot, self.search.text(), self._column, self._falling)
        self.model.sorted = (self._column, self._falling)
        self.model.show_rows(rows)
        self._widen(rows)
        self.header.subtitle = render.subtitle(self.snapshot, rows) if self.snapshot.caches else ""
        self._focus_changed()
        self.table.viewport().update()

    def _widen(self, rows: list[render.CacheRow]) -> None:
        """Let columns of figures hold the longest: a number that is cut is another number."""
        metrics = QFontMetrics(self.theme.font("mono-small"))
        for column in _SAMPLES:
            longest = max((row.text(column) for row in rows), key=len, default="")
            width = metrics.horizontalAdvance(longest) + 12
            if width > self.table.columnWidth(column):
                self.table.setColumnWidth(column, width)

    @Slot(int)
    def _sort_by(self, column: int) -> None:
        """The largest first; again: the smallest. Names from A."""
        self._falling = not self._falling if column == self._column else column != render.NAME
        self._column = column
        self._refresh()
        self.model.headerDataChanged.emit(Qt.Orientation.Horizontal, 0, len(render.COLUMNS) - 1)

    def resizeEvent(self, event: QResizeEvent) -> None:
        """What matters least goes first where there is little room: names must be read."""
        for column, width in _WANTS.items():
            self.table.setColumnHidden(column, self.width() < width)

    def empty_words(self, hint: str = "") -> tuple[str, str]:
        """Why there is no row."""
        if not self.waiting and self.snapshot is not None and self.snapshot.caches:
            return "No cache passes the filter", "Clear the field above"
        return super().empty_words(hint)

    def as_parts(self) -> tables.Parts | None:
        """Every figure that is known about the caches that are shown."""
        rows: list[tables.Row] = [[getattr(row.cache, name) for name in _FIELDS] for row in self.model.rows]
        return tables.in_parts((list(_FIELDS), rows))

    def theme_changed(self) -> None:
        """Colours come from the model."""
        super().theme_changed()
        self.table.viewport().update()

    # -- linked with the slabs

    def _row_picked(self, current: QModelIndex) -> None:
        if current.isValid() and not self._own_pick:
            self.selection.look_at(cache=self.model.rows[current.row()].cache.name)

    @Slot()
    def _focus_changed(self) -> None:
        """Mark the cache whose slabs are shown."""
        wanted = self.selection.focus.cache
        row = next((n for n, one in enumerate(self.model.rows) if one.cache.name == wanted), -1)
        if row != self.table.currentIndex().row():
            self._own_pick = True
            if row >= 0:
                self.table.selectRow(row)
            else:
                self.table.clearSelection()
            self._own_pick = False


_SAMPLES: Final = {
    render.MEMORY: "Memory ▾",
    render.USED: "In use ▾",
    render.SLABS: "10,000 (1,000)",
    render.OBJECTS: "1,000,000",
    render.SIZE: "10,000 B",
}
_WANTS: Final = {render.SIZE: 500, render.OBJECTS: 440, render.SLABS: 360}
"""Width of the view from which a column is shown."""
_FIELDS: Final = (
    "name", "object_size", "size", "order", "objs_per_slab", "slabs", "partial", "full", "active", "total", "cached",
    "slabinfo_active", "movable",
)  # fmt: skip
