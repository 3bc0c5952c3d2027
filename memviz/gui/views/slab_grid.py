"""Slab occupancy: every object of every slab of one cache, and what state it is in."""

from __future__ import annotations

from time import perf_counter
from typing import ClassVar, Final

import numpy as np
import numpy.typing as npt
from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import (
    QAction,
    QFontMetricsF,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QResizeEvent,
    QShowEvent,
    QWheelEvent,
)
from PySide6.QtWidgets import QMenu, QScrollBar, QToolButton, QWidget

from memviz.gui.controls import fill_menu
from memviz.gui.painting import painted
from memviz.gui.panel import View
from memviz.gui.render import slab as render
from memviz.gui.render.unknown import why_unknown
from memviz.gui.selection import Selection
from memviz.gui.theme import Theme
from memviz.gui.views import heatmap_overlay as overlay
from memviz.gui.views.slab_sprites import paint_object, sprites
from memviz.kernel.page import PAGEBLOCK_ORDER
from memviz.snapshot import OBJ_BUSY, OBJ_FREE, OBJ_NONE, OBJ_STATE_NAMES, U32, Snapshot

SORT_EVERY: Final = 0.5
"""Seconds between two sortings: rows that dance can't be read. Until then a slab keeps its row, a freed one too."""

Pfns = npt.NDArray[np.uint32]
LEAST_CELL: Final = 5
LEAST_ROWS: Final = 2
"""So many slabs are in sight before the line of signs is: they come first."""
STATES: Final = tuple(range(OBJ_FREE, OBJ_BUSY + 1))


class SlabGridView(View):
    """Rows are slabs, cells are objects. Only rows in sight are drawn."""

    ident: ClassVar[str] = "slab_grid"
    title: ClassVar[str] = "Slab occupancy"
    what: ClassVar[str] = (
        "Every row is a slab, one or a few pages cut into objects of one size. Its pages come free only when "
        "its last object goes."
    )
    keys: ClassVar[tuple[tuple[str, str], ...]] = (
        ("↑ ↓ Page ↑ Page ↓", "Another slab"),
        ("← →", "Another object of the slab"),
        ("Home End", "The first slab, the last"),
    )
    empty: ClassVar[str] = "No slabs to show"
    period_ms: ClassVar[int] = 45
    own_keys = frozenset(
        {
            Qt.Key.Key_Up,
            Qt.Key.Key_Down,
            Qt.Key.Key_Left,
            Qt.Key.Key_Right,
            Qt.Key.Key_PageUp,
            Qt.Key.Key_PageDown,
            Qt.Key.Key_Home,
            Qt.Key.Key_End,
        }
    )

    def __init__(self, selection: Selection, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(selection, theme, parent)
        self.sort = render.SORTS[0][0]
        self.block_only = False
        self._shown_pfns = np.zeros(0, np.uint32)
        """First page frames of the slabs in the order they are shown."""
        self._sorted_at = 0.0
        self._sorted_of: tuple[object, ...] = ()
        self._sprites: U32 = np.zeros((8, 1, 1), np.uint32)
        self._sprites_of: tuple[object, ...] = ()
        self._pixels: U32 | None = None
        self._grid = render.Grid(1, 1, 1, 1)
        self._bar = QScrollBar(Qt.Orientation.Vertical, self)
        self._bar.valueChanged.connect(self.update)
        self._bar.setAccessibleName("Scroll slabs")
        self._bar.hide()
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setMinimumSize(180, 60)
        self._build_header()
        selection.changed.connect(self._selected)

    def _build_header(self) -> None:
        self.block_button = self.header.add_button("In block", "Show only slabs in the pageblock that is selected")
        self.block_button.setCheckable(True)
        self.block_button.toggled.connect(self.set_block_only)
        self.sort_button = self._menu_button("Sparsest ▾", "Order of slabs")
        self.sort_button.menu().aboutToShow.connect(self._fill_sorts)
        self.sort_button.menu().triggered.connect(self._sort_chosen)
        self.cache_button = self._menu_button("xa_node ▾", "Choose a slab cache")
        self.cache_button.menu().aboutToShow.connect(self._fill_caches)
        self.cache_button.menu().triggered.connect(self._cache_chosen)

    def _menu_button(self, text: str, tip: str) -> QToolButton:
        button = self.header.add_button(text, tip)
        button.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        button.setMenu(QMenu(button))
        return button

    def _sort_chosen(self, action: QAction) -> None:
        self.set_sort(str(action.data()))

    def _cache_chosen(self, action: QAction) -> None:
        self.choose_cache(str(action.data()))

    def _fill_sorts(self) -> None:
        entries = [(ident, title.capitalize()) for ident, title in render.SORTS]
        fill_menu(self.sort_button.menu(), entries, self.sort)

    def _fill_caches(self) -> None:
        """Caches by memory held, largest first: the list of a real machine has 200."""
        caches = () if self.snapshot is None else self.snapshot.caches
        by_size = sorted(caches, key=lambda cache: (-(cache.slabs << cache.order), cache.name))
        entries = [
            (one.name, f"{one.name}   {one.slabs:,} slabs{', movable' if one.movable else ''}") for one in by_size
        ]
        fill_menu(self.cache_button.menu(), entries, self.selection.focus.cache)

    # -- settings of the view

    def choose_cache(self, name: str) -> None:
        """Ask for the slabs of another cache."""
        self.selection.look_at(cache=name)
        self.cache_button.setText(f"{name} ▾")

    def set_sort(self, ident: str) -> None:
        """Order slabs another way: an id of ``render.SORTS``."""
        self.sort = ident
        self.sort_button.setText(f"{ident.capitalize()} ▾")
        self._bar.setValue(0)
        self._arrange(at_once=True)

    def set_block_only(self, on: bool) -> None:
        """Show only slabs of the selected pageblock, or all again."""
        self.block_only = on
        self.block_button.setChecked(on)
        self._arrange(at_once=True)

    # -- what is shown

    def show_snapshot(self, snapshot: Snapshot) -> None:
        """Show another instant."""
        self.snapshot = snapshot
        if self.isVisible():
            self.cache_button.setText(f"{snapshot.focus.cache} ▾")
            self._arrange(at_once=False)

    def showEvent(self, event: QShowEvent) -> None:
        """Catch up with what happened while hidden."""
        self._arrange(at_once=True)

    def _arrange(self, at_once: bool) -> None:
        """Choose and sort the rows when it is due, then repaint."""
        snapshot = self.snapshot
        if snapshot is None:
            return
        block = self._block()
        key = (snapshot.focus.cache, self.sort, block, snapshot.objects.shape[1])
        now = perf_counter()
        if at_once or key != self._sorted_of or now - self._sorted_at > SORT_EVERY:
            slabs = snapshot.slabs
            rows = render.ordered(slabs, self.sort)
            if block >= 0:
                rows = rows[render.in_block(slabs, block << PAGEBLOCK_ORDER)[rows]]
            self._shown_pfns = slabs["pfn"][rows]
            self._sorted_of, self._sorted_at = key, now
            self._layout()
        self.header.subtitle = render.subtitle(snapshot, self._shown_pfns.size, block)
        self.update()

    def _block(self) -> int:
        pfn = self.selection.now.pfn
        return pfn >> PAGEBLOCK_ORDER if self.block_only and pfn >= 0 else -1

    def _layout(self) -> None:
        """Fit cells into the width and tell the scroll bar."""
        if self.snapshot is None:
            return
        ratio = self.devicePixelRatioF()
        metrics = QFontMetricsF(self.theme.font("mono-small"))
        self._line = metrics.height()
        self._left = metrics.horizontalAdvance("0x0000000") + 6
        self._right = metrics.horizontalAdvance("00/00  ") + metrics.horizontalAdvance("on a CPU ") + 16
        width = max(20.0, self.width() - self._left - self._right)
        objects = self.snapshot.objects.shape[1]
        # On a large screen cells grow in both directions, as long as two dozen slabs are in sight.
        row = round(max(self._line, 13.0, min(width / max(objects, 1) * 0.5, self.height() / 24)) * ratio)
        self._grid = render.fit(objects, int(width * ratio), row, round(LEAST_CELL * ratio))
        self._bar.setGeometry(self.width() - 10, 0, 10, self._legend_top())
        visible = self._rows_in_sight()
        self._bar.setRange(0, max(0, self._shown_pfns.size - visible))
        self._bar.setPageStep(max(1, visible))
        self._bar.setVisible(self._bar.maximum() > 0)

    def _row_height(self) -> float:
        return self._grid.row_height / self.devicePixelRatioF()

    def _rows_in_sight(self) -> int:
        return max(1, int(self._legend_top() / max(self._row_height(), 1.0)))

    def _legend_top(self) -> int:
        """Rows end here: the line that explains the signs needs its place where there is some."""
        room = self.height() - (18 if self.height() > 130 else 15)  # without a gap where every pixel counts
        return room if room >= LEAST_ROWS * self._row_height() else self.height()

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Fit again."""
        self._layout()

    def theme_changed(self) -> None:
        """Other colours: other little pictures."""
        self._sprites_of = ()
        super().theme_changed()

    # -- painting

    @painted
    def paintEvent(self, event: QPaintEvent) -> None:
        """The rows in sight and the line of signs."""
        painter = QPainter(self)
        snapshot = self.snapshot
        # Another source has no slabs yet, while rows of the one before are still listed: nothing to draw them from.
        if snapshot is None or not self._shown_pfns.size or not snapshot.objects.size:
            hint = "" if snapshot is None else self._why_empty(snapshot)
            self.paint_empty(painter, hint)
            painter.end()
            return
        top = self._bar.value()
        pfns = self._shown_pfns[top : top + self._rows_in_sight()]
        rows = render.find(snapshot.slabs, pfns)
        self._paint_cells(painter, snapshot, rows)
        self._paint_words(painter, snapshot, pfns, rows)
        self._paint_selection(painter, snapshot, pfns)
        self._paint_signs(painter)
        if self.hasFocus():
            overlay.outline(painter, QRectF(self.rect()), self.theme.color("ui.focus"), 1.0)
        painter.end()

    def _why_empty(self, snapshot: Snapshot) -> str:
        if self._block() >= 0:
            return f"None lies in block {self._block()}: {snapshot.slabs.size:,} are hidden by “In block”"
        if not snapshot.caches:
            return why_unknown(snapshot)
        found = render.cache_of(snapshot)
        if found is None:
            return f"There is no cache {snapshot.focus.cache}: choose another at the right"
        if found.slabs and not snapshot.slabs.size:
            slabs = f"{found.slabs:,} slab{'' if found.slabs == 1 else 's'}"
            return f"{found.name} has {slabs}; what is in them only a simulated machine tells"
        return ""

    def _paint_cells(self, painter: QPainter, snapshot: Snapshot, rows: render.Intp) -> None:
        ratio, grid = self.devicePixelRatioF(), self._grid
        key = (grid, ratio, self.theme.tokens.name)
        if key != self._sprites_of:
            self._sprites = sprites(self.theme, grid.pitch_x, grid.pitch_y, ratio)
            self._sprites_of = key
        states = snapshot.objects[rows]
        states[rows < 0] = OBJ_NONE
        self._pixels = render.picture(self._sprites, states, grid)
        painter.drawImage(QPointF(self._left, 0), overlay.as_image(self._pixels, ratio))

    def _paint_words(
        self,
        painter: QPainter,
        snapshot: Snapshot,
        pfns: Pfns,
        rows: render.Intp,
    ) -> None:
        painter.setFont(self.theme.font("mono-small"))
        metrics = painter.fontMetrics()
        height = self._row_height()
        baseline = (min(height, self._line) + metrics.ascent() - metrics.descent()) / 2 - 1.0
        muted, text = self.theme.color("ui.muted"), self.theme.color("ui.text")
        right = self.width() - self._right + 8
        fill_width = metrics.horizontalAdvance("00/00")
        plain = self.theme.font("small")
        lines = []
        for number, (pfn, row) in enumerate(zip(pfns.tolist(), rows.tolist(), strict=True)):
            y = number * height + baseline
            painter.setPen(muted)
            painter.drawText(QPointF(0, y), f"{pfn:#x}")
            word = render.words(snapshot.slabs[max(row, 0)], row < 0)
            painter.setPen(text)
            painter.drawText(QPointF(right + fill_width - metrics.horizontalAdvance(word.fill), y), word.fill)
            if word.state:
                lines.append((y, word))
        painter.setFont(plain)
        for y, word in lines:
            painter.setPen(self.theme.color(word.token))
            painter.drawText(QPointF(right + fill_width + 10, y), word.state)

    def _paint_selection(self, painter: QPainter, snapshot: Snapshot, pfns: Pfns) -> None:
        picked = self.selection.now
        row = render.slab_of(snapshot.slabs, picked.pfn) if picked.pfn >= 0 and snapshot.slabs.size else -1
        if row < 0:
            return
        pfn = int(snapshot.slabs["pfn"][row])
        found = np.flatnonzero(pfns == pfn)
        if not found.size:
            return
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        height, y = self._row_height(), int(found[0]) * self._row_height()
        white = self.theme.color("chart.cursor")
        rect = QRectF(self._left - 3, y - 2, self.width() - self._left - 8, height + 1)
        overlay.outline(painter, rect, overlay.faded(white, 0.55), 1.0)
        cache = render.cache_of(snapshot)
        if picked.object >= 0 and cache is not None:
            number = render.object_number(pfn, picked.object, cache.size)
            if 0 <= number < cache.objs_per_slab:
                overlay.outline(painter, self._cell(number).translated(0, y), white, 2.0)

    def _cell(self, number: int) -> QRectF:
        """Where an object is drawn, its slab at the top."""
        ratio, grid = self.devicePixelRatioF(), self._grid
        line, column = divmod(number, grid.per_line)
        x, y = self._left + column * grid.pitch_x / ratio, line * grid.pitch_y / ratio
        return QRectF(x - 1, y - 1, grid.pitch_x / ratio - 1, grid.pitch_y / ratio - 1)

    def _paint_signs(self, painter: QPainter) -> None:
        """What the colours and signs mean."""
        if self._legend_top() == self.height():
            return
        painter.setFont(self.theme.font("small"))
        metrics = painter.fontMetrics()
        names = (OBJ_STATE_NAMES[state] for state in STATES)
        whole = sum(30.0 + metrics.horizontalAdvance(name) for name in names) - 14
        x, y = max(0.0, min(self._left, self.width() - whole)), self.height() - 14.0
        muted = self.theme.color("ui.muted")
        for state in STATES:
            name = OBJ_STATE_NAMES[state]
            if x + 16 + metrics.horizontalAdvance(name) > self.width():
                break
            painter.save()
            paint_object(painter, QRectF(x, y + 2, 12, 10), state, self.theme, 1.0)
            painter.restore()
            painter.setPen(muted)
            painter.drawText(QPointF(x + 16, y + 11), name)
            x += 16 + metrics.horizontalAdvance(name) + 14

    # -- mouse and keys

    def slab_at(self, at: QPointF) -> tuple[int, int]:
        """First page frame of the slab and number of the object at a point; -1 where there is none."""
        number = int(at.y() // max(self._row_height(), 1.0)) + self._bar.value()
        if at.y() >= self._legend_top() or not 0 <= number < self._shown_pfns.size:
            return -1, -1
        ratio, grid = self.devicePixelRatioF(), self._grid
        column = int((at.x() - self._left) * ratio // grid.pitch_x)
        line = int(at.y() % self._row_height() * ratio // grid.pitch_y)
        inside = 0 <= column < grid.per_line and line * grid.per_line + column < self._objects()
        return int(self._shown_pfns[number]), line * grid.per_line + column if inside else -1

    def _objects(self) -> int:
        return self.snapshot.objects.shape[1] if self.snapshot is not None else 0

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Select the object, or the slab's first page frame when the click is beside the cells."""
        pfn, number = self.slab_at(event.position())
        self._pick(pfn, number)

    def _pick(self, pfn: int, number: int) -> None:
        cache = render.cache_of(self.snapshot) if self.snapshot is not None else None
        if pfn < 0:
            return
        if number < 0 or cache is None:
            self.selection.select_page(pfn)
        else:
            self.selection.select_object(render.object_address(pfn, number, cache.size))

    def wheelEvent(self, event: QWheelEvent) -> None:
        """Scroll by three rows a notch."""
        self._bar.setValue(self._bar.value() - round(event.angleDelta().y() / 40))
        event.accept()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Up, down, page up, page down, home, end: another slab. Left, right: another object of it."""
        if event.key() not in self.own_keys or self.snapshot is None or not self._shown_pfns.size:
            super().keyPressEvent(event)
            return
        row, number = self._picked()
        page = self._rows_in_sight() - 1
        step = {Qt.Key.Key_Up: -1, Qt.Key.Key_Down: 1, Qt.Key.Key_PageUp: -page, Qt.Key.Key_PageDown: page}
        key = Qt.Key(event.key())
        if key in (Qt.Key.Key_Left, Qt.Key.Key_Right):
            number = min(max(number + (1 if key == Qt.Key.Key_Right else -1), 0), self._objects() - 1)
            row = max(row, 0)
        elif key == Qt.Key.Key_Home:
            row = 0
        elif key == Qt.Key.Key_End:
            row = self._shown_pfns.size - 1
        else:
            row = min(max(row + step[key], 0), self._shown_pfns.size - 1)
        self._pick(int(self._shown_pfns[row]), number)
        self._show_row(row)

    def _picked(self) -> tuple[int, int]:
        """Row and object that are selected, -1 where nothing is."""
        assert self.snapshot is not None
        picked = self.selection.now
        row = render.slab_of(self.snapshot.slabs, picked.pfn) if picked.pfn >= 0 and self.snapshot.slabs.size else -1
        if row < 0:
            return -1, -1
        pfn = int(self.snapshot.slabs["pfn"][row])
        found = np.flatnonzero(self._shown_pfns == pfn)
        cache = render.cache_of(self.snapshot)
        number = -1
        if picked.object >= 0 and cache is not None:
            number = render.object_number(pfn, picked.object, cache.size)
        return (int(found[0]) if found.size else -1), number

    def _show_row(self, row: int) -> None:
        first, rows = self._bar.value(), self._rows_in_sight()
        if row < first:
            self._bar.setValue(row)
        elif row >= first + rows:
            self._bar.setValue(row - rows + 1)

    def _selected(self) -> None:
        if self.snapshot is None or not self.isVisible():
            return
        if self.block_only:
            self._arrange(at_once=True)
        row, _ = self._picked()
        if row >= 0:
            self._show_row(row)
        self.update()
