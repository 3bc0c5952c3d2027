"""Events: what happened, newest first; searched, filtered, and a way from each to the page frame it is about."""

from __future__ import annotations

from typing import ClassVar, Final

import numpy as np
from PySide6.QtCore import (
    QAbstractTableModel,
    QEvent,
    QItemSelectionModel,
    QModelIndex,
    QPersistentModelIndex,
    QSize,
    Qt,
    Signal,
)
from PySide6.QtGui import QFontMetrics, QKeyEvent
from PySide6.QtWidgets import QAbstractItemView, QHBoxLayout, QHeaderView, QLineEdit, QSizePolicy, QVBoxLayout, QWidget

from memviz.gui.controls import Chooser, Table, claims
from memviz.gui.panel import View
from memviz.gui.panel_table import PanelTable
from memviz.gui.render import tables
from memviz.gui.render.event_log import EVERY_PAGE, GROUPS, NOTABLE, EventFilter, EventLog, arguments_of, let_through
from memviz.gui.render.event_text import Names, pfn_of, text_of, tone_of
from memviz.gui.render.numbers import count, instant
from memviz.gui.selection import Selection
from memviz.gui.theme import Theme
from memviz.kernel import trace
from memviz.snapshot import EVENT_DTYPE, Snapshot, Structured

_COLUMNS: Final = ("Time", "CPU", "Event")
_ROWS_A_PART: Final = 200
Index = QModelIndex | QPersistentModelIndex


class EventModel(QAbstractTableModel):
    """The events that the filter lets through, newest in row 0. Rows are put in at the top and fall off at the end."""

    def __init__(self, log: EventLog, theme: Theme, parent: QWidget) -> None:
        super().__init__(parent)
        self._log = log
        self._theme = theme
        self._rows: Structured = np.zeros(0, EVENT_DTYPE)
        self._seen = 0
        self._generation = log.generation
        self.names = Names()
        self.filter = EventFilter()

    def refresh(self) -> int:
        """Take in what is new in the log; returns how many rows came on top."""
        events = self._log.events
        if self._generation != self._log.generation:
            return self._look_through_again()
        new = let_through(self._log.since(self._seen), self.filter, self.names)
        self._seen = self._log.seen
        self._put_on_top(new)
        if self._rows.size and events.size:
            self._drop_oldest(int(np.searchsorted(self._rows["seq"], events["seq"][0])))
        return int(new.size)

    def _look_through_again(self) -> int:
        """More than the oldest events are gone. What the filter lets through may be the same all the same."""
        self._generation = self._log.generation
        self._seen = self._log.seen
        found = let_through(self._log.events, self.filter, self.names)
        gone = int(np.searchsorted(self._rows["seq"], found["seq"][0])) if found.size else 0
        stay = len(self._rows) - gone
        if stay == 0 or not np.array_equal(self._rows["seq"][gone:], found["seq"][:stay]):
            self.set_filter(self.filter)
            return 0
        self._put_on_top(found[stay:])
        self._drop_oldest(gone)
        return int(found.size) - stay

    def _put_on_top(self, new: Structured) -> None:
        if new.size:
            self.beginInsertRows(QModelIndex(), 0, int(new.size) - 1)
            self._rows = np.concatenate([self._rows, new])
            self.endInsertRows()

    def _drop_oldest(self, gone: int) -> None:
        if gone:
            last = int(self._rows.size) - 1
            self.beginRemoveRows(QModelIndex(), last - gone + 1, last)
            self._rows = self._rows[gone:]
            self.endRemoveRows()

    def set_filter(self, wanted: EventFilter) -> None:
        """Filter again from the log."""
        self.beginResetModel()
        self.filter = wanted
        self._generation = self._log.generation
        self._rows = let_through(self._log.events, wanted, self.names)
        self._seen = self._log.seen
        self.endResetModel()

    def event_at(self, row: int) -> np.void:
        """The event in a row."""
        found: np.void = self._rows[len(self._rows) - 1 - row]
        return found

    def shown(self) -> Structured:
        """All of them as they are now, newest first."""
        return self._rows[::-1]

    def row_of(self, seq: int) -> int:
        """The row that shows event ``seq``, -1 when none does."""
        at = int(np.searchsorted(self._rows["seq"], seq))
        if at < len(self._rows) and int(self._rows["seq"][at]) == seq:
            return len(self._rows) - 1 - at
        return -1

    def row_at_time(self, time_ns: int) -> int:
        """The row of the last event not after ``time_ns``, -1 when all are."""
        at = int(np.searchsorted(self._rows["time"], time_ns, side="right"))
        return len(self._rows) - at if at else -1

    def words(self, row: int) -> str:
        """The event in a row, in words."""
        event = self.event_at(row)
        return text_of(int(event["kind"]), arguments_of(event), self.names)

    def rowCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008 - Qt's signature
        """Events shown."""
        return 0 if parent.isValid() else len(self._rows)

    def columnCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008 - Qt's signature
        """Time, CPU, words."""
        return 0 if parent.isValid() else len(_COLUMNS)

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole) -> object:
        """Names of the columns."""
        if role == Qt.ItemDataRole.DisplayRole and orientation == Qt.Orientation.Horizontal:
            return _COLUMNS[section]
        return None

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> object:
        """Text, colour and font of a cell."""
        if role == Qt.ItemDataRole.DisplayRole:
            event = self.event_at(index.row())
            if index.column() == 0:
                return f"{instant(int(event['time']))} s"
            if index.column() == 1:
                return f"CPU {int(event['cpu'])}" if event["cpu"] >= 0 else "—"  # nobody's: a switch was turned
            return text_of(int(event["kind"]), arguments_of(event), self.names)
        if role == Qt.ItemDataRole.ForegroundRole:
            if index.column() < 2:
                return self._theme.color("ui.muted")
            event = self.event_at(index.row())
            return self._theme.color(f"tone.{tone_of(int(event['kind']), arguments_of(event))}")
        if role == Qt.ItemDataRole.FontRole and index.column() == 0:
            return self._theme.font("mono-small")
        if role == Qt.ItemDataRole.ToolTipRole and index.column() == 2:
            event = self.event_at(index.row())
            return f"{trace.NAMES.get(int(event['kind']), '')}: {self.words(index.row())}"
        return None


class EventsView(View):
    """The list with its search field and filters. They hide rows and change nothing else; the subtitle counts them."""

    ident: ClassVar[str] = "events"
    title: ClassVar[str] = "Events"
    what: ClassVar[str] = (
        "What happened, newest first. Filters hide rows and change nothing else; a click shows the page, the "
        "CPU and the instant everywhere."
    )
    keys: ClassVar[tuple[tuple[str, str], ...]] = (
        ("↑ ↓", "Another event: its page, CPU and instant are shown everywhere"),
        ("Esc", "From the search field: empty it, then back to the list"),
    )
    empty: ClassVar[str] = "Nothing has happened yet"
    period_ms: ClassVar[int] = 100

    def __init__(self, selection: Selection, theme: Theme, log: EventLog, parent: QWidget | None = None) -> None:
        super().__init__(selection, theme, parent)
        self._log = log
        self._known: tuple[int, tuple[tuple[int, str], ...]] = (0, ())
        self._own_pick = False
        self._time_chars = len("0.000 000 s")
        self.model = EventModel(log, theme, self)
        self.search = SearchLine()
        self.search.setObjectName("event_search")
        self.search.setPlaceholderText("Search: words, pfn 0x2c200 …")
        self.search.setAccessibleName("Search events")
        self.search.setClearButtonEnabled(True)
        self.search.textChanged.connect(self._filter_changed)
        self.search.returnPressed.connect(self._first_row)
        self.kind = self._chooser("All kinds", "Which kinds of event", list(GROUPS))
        self.kind.setCurrentIndex(self.kind.findData(NOTABLE))
        self.cpu = self._chooser("CPU", "Events of which CPU", [])
        self.cache = self._chooser("Cache", "Events about which cache", [])
        self.model.filter = self._wanted()
        for chooser in (self.kind, self.cpu, self.cache):
            chooser.currentIndexChanged.connect(self._filter_changed)
        row = QHBoxLayout()
        row.setSpacing(5)
        self.search.setMinimumWidth(70)
        row.addWidget(self.search, 4)
        for chooser in (self.kind, self.cpu, self.cache):
            chooser.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
            chooser.setMinimumWidth(self.fontMetrics().horizontalAdvance("Notable") + 36)
            row.addWidget(chooser, 3)
        self.table = self._make_table()
        box = QVBoxLayout(self)
        box.setContentsMargins(0, 0, 0, 0)
        box.setSpacing(4)
        box.addLayout(row)
        box.addWidget(self.table, 1)
        self.search.left.connect(self.table.setFocus)
        self.setFocusProxy(self.table)
        self.setMinimumSize(220, 90)
        selection.changed.connect(self._selection_changed)
        self._show_subtitle()

    def sizeHint(self) -> QSize:
        """Room for a sentence."""
        return QSize(440, 190)

    def _chooser(self, everything: str, tip: str, entries: list[str]) -> Chooser:
        chooser = Chooser()
        chooser.setToolTip(tip)
        chooser.setAccessibleName(tip)
        chooser.setMinimumContentsLength(6)
        chooser.setSizeAdjustPolicy(Chooser.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        chooser.setProperty("small", True)
        chooser.addItem(everything, -1)
        chooser.setItemData(0, f"{tip}: all", Qt.ItemDataRole.ToolTipRole)
        for entry in entries:
            chooser.addItem(entry, entry)
        chooser.view().setMinimumWidth(170)
        return chooser

    def _make_table(self) -> Table:
        table = PanelTable(self)
        table.setModel(self.model)
        table.setAccessibleName("Events, newest first")
        table.setShowGrid(False)
        table.setWordWrap(False)
        table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        table.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        table.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerItem)
        table.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        table.setTabKeyNavigation(False)
        table.verticalHeader().hide()
        table.verticalHeader().setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        table.horizontalHeader().hide()
        table.horizontalHeader().setStretchLastSection(True)
        table.horizontalHeader().setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        self._size_columns(table)
        table.selectionModel().currentRowChanged.connect(self._row_picked)
        return table

    def _size_columns(self, table: Table) -> None:
        metrics = table.fontMetrics()
        table.verticalHeader().setDefaultSectionSize(metrics.height() + 6)
        times = QFontMetrics(self.theme.font("mono-small"))
        table.setColumnWidth(0, times.horizontalAdvance("0" * self._time_chars) + 18)
        table.setColumnWidth(1, metrics.horizontalAdvance("CPU 00") + 12)

    # -- what it shows

    def show_snapshot(self, snapshot: Snapshot) -> None:
        """Put new events on top; whoever has scrolled down keeps what he reads."""
        self.snapshot = snapshot
        self._know(snapshot)
        chars = len(f"{instant(snapshot.time_ns)} s")
        if chars > self._time_chars:
            self._time_chars = chars
            self._size_columns(self.table)
        self.model.names = Names.of(snapshot)
        bar = self.table.verticalScrollBar()
        at_top = bar.value() == 0
        came = self.model.refresh()
        if came and not at_top:
            bar.setValue(bar.value() + came)
        elif came:
            self.table.scrollToTop()
        self._show_subtitle()

    def _know(self, snapshot: Snapshot) -> None:
        """Offer the CPUs and caches that there are."""
        known = (len(snapshot.cpus), tuple((cache.id, cache.name) for cache in snapshot.caches))
        if known == self._known:
            return
        self._known = known
        for chooser, entries in (
            (self.cpu, [(number, f"CPU {number}") for number in range(known[0])]),
            (self.cache, list(known[1])),
        ):
            current = chooser.currentData()
            chooser.blockSignals(True)
            while chooser.count() > 1:
                chooser.removeItem(1)
            for number, name in entries:
                chooser.addItem(name, number)
            chooser.setCurrentIndex(max(0, chooser.findData(current)))
            chooser.blockSignals(False)

    def _show_subtitle(self) -> None:
        shown, kept = self.model.rowCount(), len(self._log.events)
        if self.model.filter == EventFilter(group=NOTABLE):
            words = count(shown) if shown else ""
            words += f"{' · ' if shown else ''}{count(kept - shown)} of routine hidden" if kept > shown else ""
        elif not self.model.filter.is_open:
            words = f"{count(shown)} of {count(kept)} shown, {count(kept - shown)} hidden by the filter"
        elif self._log.seen > kept:
            words = f"the last {count(kept)} of {count(self._log.seen)}"
        else:
            words = count(kept) if kept else ""
        if self._log.lost:
            words += f" · {count(self._log.lost)} lost"
        self.header.subtitle = words

    def as_parts(self) -> tables.Parts | None:
        """The events that the filter lets through, newest first."""
        rows, names = self.model.shown(), self.model.names

        def part(first: int) -> list[tables.Row]:
            return [
                [
                    int(event["seq"]),
                    int(event["time"]),
                    int(event["cpu"]),
                    text_of(int(event["kind"]), arguments_of(event), names),
                ]
                for event in rows[first : first + _ROWS_A_PART]
            ]

        firsts = range(0, len(rows), _ROWS_A_PART)
        return tables.with_header(["seq", "time_ns", "cpu", "event"], map(part, firsts), len(firsts))

    def as_text(self) -> str:
        """The event that is chosen; else all that can be seen."""
        chosen = [index.row() for index in self.table.selectionModel().selectedRows()]
        seen = range(max(0, self.table.rowAt(0)), min(self.model.rowCount(), self.table.rowAt(0) + 60))
        rows = chosen or list(seen)
        return "\n".join(
            "  ".join(str(self.model.index(row, column).data()) for column in range(len(_COLUMNS))) for row in rows
        )

    def theme_changed(self) -> None:
        """Colours come from the model."""
        super().theme_changed()
        self.table.viewport().update()

    # -- searching and picking

    def focus_search(self) -> None:
        """Put the cursor into the search field."""
        self.search.setFocus(Qt.FocusReason.ShortcutFocusReason)
        self.search.selectAll()

    def _wanted(self) -> EventFilter:
        group = self.kind.currentData()
        return EventFilter(
            group if isinstance(group, str) else "",
            int(self.cpu.currentData()),
            int(self.cache.currentData()),
            self.search.text(),
        )

    def _filter_changed(self) -> None:
        wanted = self._wanted()
        self.selection.look_at(bulk_events=wanted.group == EVERY_PAGE)
        self.model.set_filter(wanted)
        self._selection_changed()
        self._show_subtitle()
        self.table.viewport().update()

    def empty_words(self, hint: str = "") -> tuple[str, str]:
        """What to draw when there is no row: what is missing and what to do."""
        if self.waiting:
            return super().empty_words()
        if self.model.filter in (EventFilter(), EventFilter(group=NOTABLE)):
            if self.snapshot is not None and self.snapshot.source == "playback":
                return self.empty, "None was recorded up to this instant"
            still = self.snapshot is None or self.snapshot.state != "running"
            return self.empty, "Press Run, or Space" if still else self._what_is_listed()
        return "No event passes the filter", "Clear the search, or choose all kinds, CPUs and caches"

    def _what_is_listed(self) -> str:
        if self.model.filter.group == NOTABLE:
            return f"Only what is notable is listed; “{NOTABLE}” above chooses more"
        return "Whatever happens is listed here"

    def _first_row(self) -> None:
        if self.model.rowCount():
            self.table.setFocus()
            self.table.selectRow(0)

    def _row_picked(self, current: QModelIndex) -> None:
        if not current.isValid() or self._own_pick:
            return
        event = self.model.event_at(current.row())
        pfn = pfn_of(int(event["kind"]), arguments_of(event))
        self._own_pick = True
        self.selection.select_event(int(event["seq"]), int(event["time"]), int(event["cpu"]), pfn)
        self._own_pick = False

    def _selection_changed(self) -> None:
        """Another view picked an event or a time: go there."""
        if self._own_pick:
            return
        now = self.selection.now
        row = self.model.row_of(now.event) if now.event >= 0 else -1
        self._own_pick = True
        if row >= 0:
            index = self.model.index(row, 0)
            flag = QItemSelectionModel.SelectionFlag
            self.table.selectionModel().setCurrentIndex(index, flag.ClearAndSelect | flag.Rows)
            self.table.scrollTo(index, QAbstractItemView.ScrollHint.PositionAtCenter)
        elif now.event < 0:
            self.table.clearSelection()
            if now.time_ns >= 0 and (row := self.model.row_at_time(now.time_ns)) >= 0:
                self.table.scrollTo(self.model.index(row, 0), QAbstractItemView.ScrollHint.PositionAtTop)
        self._own_pick = False


class SearchLine(QLineEdit):
    """Escape empties it, then goes to the table."""

    left = Signal()

    def event(self, event: QEvent) -> bool:
        """Keep Escape."""
        if claims(event, frozenset({Qt.Key.Key_Escape})):
            event.accept()
            return True
        return super().event(event)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Escape: one step back."""
        if event.key() != Qt.Key.Key_Escape:
            super().keyPressEvent(event)
        elif self.text():
            self.clear()
        else:
            self.left.emit()
