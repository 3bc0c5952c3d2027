"""Physical memory: every page frame, coloured by what the user asks, with legend and read-out."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import ClassVar, Final

from PySide6.QtCore import QRectF, QSize, Qt, Signal
from PySide6.QtGui import (
    QAction,
    QActionGroup,
    QFontMetricsF,
    QKeyEvent,
    QKeySequence,
    QPainter,
    QPaintEvent,
    QShowEvent,
)
from PySide6.QtWidgets import QLineEdit, QMenu, QSizePolicy, QToolButton, QVBoxLayout, QWidget

from memviz.gui.panel import View
from memviz.gui.render import heatmap_modes, heatmap_text
from memviz.gui.render.layout import Blocks, Hilbert, Layout, Rect, Rows
from memviz.gui.render.pyramid import Pyramid
from memviz.gui.selection import Selection
from memviz.gui.theme import Theme
from memviz.gui.views.heatmap_map import ZOOM_STEP, HeatmapMap
from memviz.gui.views.legend import Legend
from memviz.snapshot import Snapshot

LAYOUTS: Final = (("blocks", "blocks"), ("rows", "rows"), ("hilbert", "Hilbert curve"))

SHARE_OF_TIME: Final = 3.0
"""After sorting page frames into classes took t, it rests for this many t: a huge memory doesn't eat the window."""

TILE_ORDER_FROM: Final = ((1 << 25, 13), (1 << 22, 10), (0, 9))
"""Memories of so many page frames get tiles of this order: more tiles than pixels could not be told apart."""


def fitting_layout(name: str, nr: int, width: float, height: float) -> Layout:
    """The layout ``name`` of ``nr`` page frames for a view of that shape."""
    if name == "rows":
        return Rows.fitting(nr, width, height)
    if name == "hilbert":
        return Hilbert(nr)
    order = next(order for least, order in TILE_ORDER_FROM if nr >= least)
    return Blocks.fitting(nr, width, height, order)


class ReadOut(QWidget):
    """One fixed line of words in a fixed-width font: nothing pops up under the mouse."""

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._theme = theme
        self.parts: tuple[str, ...] = ()
        self._hint = ""
        self._note = ""
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.setFixedHeight(27)
        self.setAccessibleName("Read-out")

    def show_parts(self, parts: tuple[str, ...], hint: str = "") -> None:
        """Show ``parts`` side by side, or the ``hint`` where there are none."""
        if (parts, hint) != (self.parts, self._hint):
            self.parts, self._hint = parts, hint
            self.setAccessibleDescription(", ".join(parts) or hint)
            self.update()

    def show_note(self, note: str) -> None:
        """Say something about the whole map, at the right."""
        if note != self._note:
            self._note = note
            self.update()

    def sizeHint(self) -> QSize:
        """As high as its line."""
        return QSize(200, 27)

    def paintEvent(self, event: QPaintEvent) -> None:
        """The line, cut with … at the right."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(self._theme.color("ui.sunken"))
        painter.drawRoundedRect(QRectF(self.rect()), 3, 3)
        font = self._theme.font("mono" if self.parts else "small")
        painter.setFont(font)
        metrics = QFontMetricsF(font)
        if metrics.horizontalAdvance("   ".join(self.parts)) > self.width() - 10:
            font = self._theme.font("mono-small")
            painter.setFont(font)
            metrics = QFontMetricsF(font)
        text = "   ".join(self.parts) or self._hint
        painter.setPen(self._theme.color("ui.text" if self.parts else "ui.faint"))
        room = QRectF(self.rect()).adjusted(5, 0, -5, 0)
        line = metrics.elidedText(text, Qt.TextElideMode.ElideRight, room.width())
        painter.drawText(room, Qt.AlignmentFlag.AlignVCenter | Qt.TextFlag.TextSingleLine, line)
        room.setLeft(room.left() + metrics.horizontalAdvance(line) + 16)
        painter.setFont(self._theme.font("small"))
        note = painter.fontMetrics().elidedText(self._note, Qt.TextElideMode.ElideRight, int(room.width()))
        if len(note) > 12:
            painter.setPen(self._theme.color("ui.faint"))
            painter.drawText(room, Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignRight, note)
        painter.end()


class GoTo(QLineEdit):
    """A line over the map to type a page frame number into."""

    wanted = Signal(str)

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self._map = parent
        self.setPlaceholderText("0x2a94f, b340 or @address")
        self.setAccessibleName("Go to page frame")
        self.setFixedWidth(190)
        self.hide()
        self.returnPressed.connect(self._done)

    def open(self) -> None:
        """Appear, ready to type."""
        self.move(8, 8)
        self.show()
        self.raise_()
        self.setFocus()
        self.selectAll()

    def _done(self) -> None:
        self.wanted.emit(self.text())

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Escape closes."""
        if event.key() == Qt.Key.Key_Escape:
            self.hide()
            self._map.setFocus()
        else:
            super().keyPressEvent(event)


class HeatmapView(View):
    """The map with its choosers, legend and read-out."""

    ident: ClassVar[str] = "heatmap"
    title: ClassVar[str] = "Physical memory"
    empty: ClassVar[str] = "No page frames to show yet"

    def __init__(self, selection: Selection, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(selection, theme, parent)
        self.pyramid = Pyramid()
        self.mode = heatmap_modes.MODES[0]
        self.layout_name = LAYOUTS[0][0]
        self.highlight = -1
        self._box_of: tuple[object, ...] = ()
        self._box_total: tuple[str, ...] = ()
        self._box_due = 0.0
        self._rest_until = 0.0
        self._layout_of: tuple[object, ...] = ()
        self._request = -1
        self._counted_at = 0.0
        self.map = HeatmapMap(selection, theme, self.pyramid, self)
        self.legend = Legend(theme, self)
        self.read_out = ReadOut(theme, self)
        self.go_to = GoTo(self.map)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(6)
        column.addWidget(self.map, 1)
        column.addWidget(self.legend)
        column.addWidget(self.read_out)
        self._build_header()
        self.map.hovered.connect(self._tell)
        self.map.boxed.connect(self._tell)
        self.map.moved.connect(self._camera_moved)
        self.legend.picked.connect(self.single_out)
        self.go_to.wanted.connect(self.go_to_text)
        selection.changed.connect(self._selected)
        self._recolor()

    def _build_header(self) -> None:
        self.color_button, self.color_actions = self._chooser(
            "Colour", tuple((mode.id, mode.title) for mode in heatmap_modes.MODES), self.set_mode
        )
        self.layout_button, self.layout_actions = self._chooser("Layout", LAYOUTS, self.set_layout_name)
        for text, tip, slot in (
            ("Fit", "Show all page frames (0)", self.map.fit),
            ("−", "Zoom out (-)", lambda: self.map.zoom(1 / ZOOM_STEP)),
            ("+", "Zoom in (+)", lambda: self.map.zoom(ZOOM_STEP)),
        ):
            self.header.add_button(text, tip).clicked.connect(slot)
        find = QAction("Go to page frame…", self)
        find.setShortcut(QKeySequence("G"))
        find.setShortcutContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
        find.triggered.connect(self.go_to.open)
        self.addAction(find)

    def _chooser(
        self, what: str, choices: tuple[tuple[str, str], ...], slot: Callable[[str], None]
    ) -> tuple[QToolButton, QActionGroup]:
        button = self.header.add_button(f"{what}: {choices[0][1]} ▾", f"{what} of the map")
        button.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        menu = QMenu(button)
        group = QActionGroup(button)
        for ident, title in choices:
            action = menu.addAction(title)
            action.setCheckable(True)
            action.setData(ident)
            group.addAction(action)
        group.actions()[0].setChecked(True)
        group.triggered.connect(lambda action: slot(action.data()))
        button.setMenu(menu)
        return button, group

    # -- settings of the view

    def set_mode(self, ident: str) -> None:
        """Colour by another property: an id of ``heatmap_modes.MODES``."""
        self.mode = heatmap_modes.mode(ident)
        self.highlight = -1
        self.color_button.setText(f"Colour: {self.mode.title} ▾")
        self._check(self.color_actions, ident)
        self._recolor()

    def set_layout_name(self, name: str) -> None:
        """Place page frames another way: an id of ``LAYOUTS``. What was in the middle stays there."""
        middle = self._middle_pfn()
        self.layout_name = name
        self.layout_button.setText(f"Layout: {dict(LAYOUTS)[name]} ▾")
        self._check(self.layout_actions, name)
        self._place()
        if middle >= 0 and self.map.camera.zoom > 1.0:
            self.map.show_pfn(middle, self.map.camera.zoom)

    @staticmethod
    def _check(group: QActionGroup, ident: str) -> None:
        for action in group.actions():
            action.setChecked(action.data() == ident)

    def _middle_pfn(self) -> int:
        layout, camera = self.map.layout_, self.map.camera
        return -1 if layout is None else layout.pfn(int(camera.x * layout.width), int(camera.y * layout.height))

    def single_out(self, rank: int) -> None:
        """Let one class stand out and win every cell it is in; -1: all again."""
        self.highlight = rank
        self._recolor()

    def go_to_text(self, text: str) -> None:
        """Select the page frame that ``text`` names and come close to it; says what is wrong with it otherwise."""
        nr = self.pyramid.nr
        try:
            pfn = heatmap_text.parse_pfn(text, nr)
        except ValueError as error:
            self.read_out.show_parts((), str(error))
            return
        self.go_to.hide()
        self.map.setFocus()
        self.selection.select_page(pfn)
        self.map.show_pfn(pfn, max(self.map.camera.zoom, self.map.block_zoom()))

    # -- what is shown

    def show_snapshot(self, snapshot: Snapshot) -> None:
        """Show another instant. Costs what changed: page frames are compared with those shown."""
        first = self.snapshot is None or self.snapshot.pages.nr != snapshot.pages.nr
        self.snapshot = snapshot
        if not self.isVisible():
            return
        if first:
            self._rest_until = 0.0
        self.header.subtitle = heatmap_text.subtitle(snapshot) if snapshot.pages.nr else ""
        self._sort()
        self._place()
        self._follow_request(snapshot)
        self._tell()

    def showEvent(self, event: QShowEvent) -> None:
        """Catch up with what happened while hidden."""
        if self.snapshot is not None:
            self._rest_until = 0.0
            self.show_snapshot(self.snapshot)

    def _sort(self) -> None:
        """Bring the pyramid up to date, unless the last time took so long that it is not due yet."""
        snapshot, now = self.snapshot, perf_counter()
        if snapshot is None or now < self._rest_until:
            return
        self.map.pages = snapshot.pages
        if not snapshot.pages.nr:
            self.pyramid.clear()
            self.map.update()
            return
        lut = heatmap_modes.raised(self.mode.lut(snapshot), self.highlight)
        if self.pyramid.update(self.mode.raw(snapshot), lut):
            self.map.update()
        spent = perf_counter() - now
        self._rest_until = perf_counter() + SHARE_OF_TIME * spent if spent > 0.012 else 0.0
        if now - self._counted_at > 0.25 or self._counted_at == 0.0:
            self._counted_at = now
            self._show_legend()

    def _show_legend(self) -> None:
        if self.snapshot is None:
            return
        counts = heatmap_modes.per_rank(self.pyramid.counts, self.mode.lut(self.snapshot))
        entries = heatmap_modes.legend(self.mode, counts, heatmap_text.managed_frames(self.snapshot))
        colors = tuple(int(color) & 0xFFFFFF for color in heatmap_modes.palette(self.mode, self.theme.tokens))
        self.legend.show_entries(entries, colors, self.highlight)
        self.read_out.show_note(heatmap_text.lod_words(self.map.image.lod))

    def _recolor(self) -> None:
        """Other classes, another theme or another class singled out."""
        colors = heatmap_modes.palette(self.mode, self.theme.tokens, self.highlight)
        self.map.set_colors(colors, 0xFF000000 | self.theme.tokens.rgb("ui.panel"))
        self.map.labels = heatmap_modes.labels(self.mode, self.highlight)
        self._rest_until = self._counted_at = 0.0
        self._sort()
        self._show_legend()

    def theme_changed(self) -> None:
        """Other colours."""
        super().theme_changed()
        self._recolor()
        for widget in (self.map, self.legend, self.read_out):
            widget.update()

    def _place(self) -> None:
        """Choose the layout for this memory and this shape of the view."""
        nr = self.pyramid.nr
        width, height = self.map.width(), self.map.height()
        # While zoomed in the columns stay: they would run away under the eyes.
        shape = (width, height) if self.map.camera.zoom <= 1.0 or self.map.layout_ is None else self._layout_of[2:]
        wanted = (self.layout_name, nr, *shape)
        if wanted != self._layout_of:
            self._layout_of = wanted
            self.map.set_layout(fitting_layout(self.layout_name, nr, width, height) if nr else None)

    def _camera_moved(self) -> None:
        self._place()
        if self.map.layout_ is not None and self.isVisible():
            self.map.picture()
            self._show_legend()

    def _follow_request(self, snapshot: Snapshot) -> None:
        request = snapshot.request
        if request is None:
            self.map.request_block = None
            return
        self.map.request_block = (request.pfn, request.order) if request.pfn >= 0 else None
        if request.number != self._request:
            # What had happened before the view was first shown doesn't light up.
            if self._request >= 0 or request.end_ns + 1_000_000_000 > snapshot.time_ns:
                self.map.glow()
            self._request = request.number

    def _selected(self) -> None:
        if not self.isVisible():
            return
        self.map.show_pfn(self.selection.now.pfn)
        self.map.update()
        self._tell()

    def _tell(self, _: object = None) -> None:
        """The read-out: the page frame under the mouse, else the box, else the selection."""
        if self.snapshot is None or not self.isVisible():
            return
        hint = "point at a page frame · drag pans, wheel zooms, shift and drag counts a box · G: go to a page frame"
        if self.map.hover_pfn >= 0 and self.map.box is None:
            self.read_out.show_parts(heatmap_text.readout(self.snapshot, self.map.hover_pfn), hint)
        elif self.map.box is not None and self.map.layout_ is not None:
            self.read_out.show_parts(self._box_words(self.map.layout_, self.map.box))
        else:
            self.read_out.show_parts(heatmap_text.readout(self.snapshot, self.selection.now.pfn), hint)

    def _box_words(self, layout: Layout, box: Rect) -> tuple[str, ...]:
        """What lies in the box; counted again when it changes, and now and then while memory does."""
        now = perf_counter()
        if (box, self.mode.id, self.highlight) != self._box_of or now > self._box_due:
            self._box_of = (box, self.mode.id, self.highlight)
            found = heatmap_text.totals(layout, self.pyramid, box)
            self._box_total = heatmap_text.totals_words(heatmap_modes.labels(self.mode, self.highlight), found)
            self._box_due = perf_counter() + 0.3 + 20.0 * (perf_counter() - now)
        return self._box_total
