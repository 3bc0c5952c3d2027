"""Physical memory: every page frame, coloured by what the user asks, with legend and read-out."""

from __future__ import annotations

from time import perf_counter
from typing import ClassVar, Final

from PySide6.QtCore import QRectF
from PySide6.QtGui import (
    QAction,
    QActionGroup,
    QHideEvent,
    QImage,
    QPainter,
    QPaintEvent,
    QShowEvent,
)
from PySide6.QtWidgets import QMenu, QToolButton, QVBoxLayout, QWidget

from memviz.gui.once import once
from memviz.gui.painting import painted
from memviz.gui.panel import View
from memviz.gui.render import heatmap_modes, heatmap_text
from memviz.gui.render.layout import Blocks, Hilbert, Layout, Rect, Rows
from memviz.gui.render.pyramid import Pyramid
from memviz.gui.render.shown_end import ShownEnd
from memviz.gui.render.sorter import Sorter
from memviz.gui.selection import Selection
from memviz.gui.theme import Theme
from memviz.gui.views.heatmap_map import HeatmapMap
from memviz.gui.views.heatmap_overlay import outline
from memviz.gui.views.heatmap_readout import GoTo, ReadOut
from memviz.gui.views.legend import Legend
from memviz.snapshot import Snapshot

LAYOUTS: Final = (("blocks", "blocks"), ("rows", "rows"), ("hilbert", "Hilbert curve"))

_SIGHT_MS: Final = 200
_COUNT_S: Final = 0.25
"""The legend is counted at most this often while page frames change."""
"""So long the camera must rest before the source is told what is seen."""

BUDGET_S: Final = 0.006
"""Seconds a redraw that may go into sorting page frames into classes. A huge memory is sorted slice by slice."""

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


class HeatmapView(View):
    """The map with its choosers, legend and read-out."""

    ident: ClassVar[str] = "heatmap"
    title: ClassVar[str] = "Physical memory"
    what: ClassVar[str] = (
        "Every cell is a page frame of 4 KiB, every tile a pageblock of 2 MiB. Only a tile that holds nothing "
        "but free pages can be handed out in one piece."
    )
    keys: ClassVar[tuple[tuple[str, str], ...]] = (
        ("← → ↑ ↓", "The next page frame; with Shift the next pageblock"),
        ("+ − 0", "Zoom in, zoom out, all of memory"),
        ("Return", "Come closer to what is selected"),
        ("Esc", "Drop the box"),
    )
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
        self._sorter = Sorter(self.pyramid)
        self._again = once(self, self._sort, 12)
        self._recount = once(self, self._show_legend, int(_COUNT_S * 1000))
        self._sight = once(self, self._tell_sight, _SIGHT_MS)
        self._layout_of: tuple[object, ...] = ()
        self.shown_end = ShownEnd()
        self._end = 0
        self._end_due = 0.0
        self._request = -1
        self._counted_at = 0.0
        self._shown_version = -1
        self.map = HeatmapMap(selection, theme, self.pyramid, self)
        self.legend = Legend(theme, self)
        self.read_out = ReadOut(theme, self)
        self.go_to = GoTo(self.map)
        column = QVBoxLayout(self)
        column.setContentsMargins(2, 2, 2, 0)
        column.setSpacing(6)
        column.addWidget(self.map, 1)
        column.addWidget(self.legend)
        column.addWidget(self.read_out)
        self._build_header()
        self.map.hovered.connect(self._tell)
        self.map.boxed.connect(self._tell)
        self.map.moved.connect(self._camera_moved)
        self.map.moved.connect(self._sight.start)
        self.map.focused.connect(self.update)
        self.legend.picked.connect(self.single_out)
        self.go_to.wanted.connect(self.go_to_text)
        selection.changed.connect(self._selected)
        self._recolor()

    def _build_header(self) -> None:
        self.color_button, self.color_actions = self._chooser(
            "Colour", tuple((mode.id, mode.title) for mode in heatmap_modes.MODES)
        )
        self.layout_button, self.layout_actions = self._chooser("Layout", LAYOUTS)
        menu = self.layout_button.menu()
        menu.addSeparator()
        self.end_action = menu.addAction("The end that nobody manages too")
        self.end_action.setCheckable(True)
        self.end_action.setEnabled(False)
        self.end_action.triggered.connect(self.show_end)
        for text, icon, tip, slot in (
            ("Fit", "", "Show all page frames (0)", self.map.fit),
            ("", "minus", "Zoom out (-)", self.map.zoom_out),
            ("", "plus", "Zoom in (+)", self.map.zoom_in),
        ):
            self.header.add_button(text, tip, icon).clicked.connect(slot)
        self.map.go_to_wanted.connect(self.go_to.open)
        self.color_actions.triggered.connect(self._color_chosen)
        self.layout_actions.triggered.connect(self._layout_chosen)

    def _chooser(self, what: str, choices: tuple[tuple[str, str], ...]) -> tuple[QToolButton, QActionGroup]:
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
        button.setMenu(menu)
        return button, group

    def _color_chosen(self, action: QAction) -> None:
        self.set_mode(str(action.data()))

    def _layout_chosen(self, action: QAction) -> None:
        self.set_layout_name(str(action.data()))

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

    def show_end(self, shown: bool) -> None:
        """Draw also the long end of memory that nobody manages, or leave it out again."""
        self.shown_end.all = shown
        if self.snapshot is not None:
            self._end_due = 0.0
            self.show_snapshot(self.snapshot)

    def _follow_end(self, snapshot: Snapshot) -> None:
        """How far the map goes; looked for now and then."""
        now = perf_counter()
        due = now >= self._end_due
        if due:
            self._end_due = now + _COUNT_S
        self._end = self.shown_end.follow(snapshot, due)
        self.end_action.setEnabled(self.shown_end.end < snapshot.pages.nr)
        self.end_action.setChecked(self.shown_end.all)
        self.header.subtitle = heatmap_text.subtitle(snapshot, self._end) if snapshot.pages.nr else ""

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
        self.snapshot = snapshot
        if not self.isVisible():
            return
        self._follow_end(snapshot)
        self._sort()
        self._place()
        self._follow_request(snapshot)
        self._tell()

    def showEvent(self, event: QShowEvent) -> None:
        """Catch up with what happened while hidden."""
        if self.snapshot is not None:
            self.show_snapshot(self.snapshot)

    def _sort(self) -> None:
        """Bring the pyramid up to date, a few slices at a time; the rest follows with a snapshot or by a timer."""
        snapshot, begin = self.snapshot, perf_counter()
        if snapshot is None or not self.isVisible():
            return
        self.map.pages = snapshot.pages
        lut = heatmap_modes.raised(self.mode.lut(snapshot), self.highlight)
        if self._sorter.show(snapshot, self.mode, lut):
            self._counted_at = 0.0
            self._place()
        if self._sorter.work(begin + BUDGET_S):
            self._again.start()
        if not self.pyramid.complete:
            self.read_out.show_note(f"looking through memory: {self._sorter.percent} %")
        if self.pyramid.version != self._shown_version:
            self._shown_version = self.pyramid.version
            self.map.update()
        if self.pyramid.complete and begin - self._counted_at > _COUNT_S:
            self._counted_at = begin
            self._show_legend()
        elif not self._recount.isActive():
            self._recount.start()  # whoever winds a recording and stops there sees what is there

    def hideEvent(self, event: QHideEvent) -> None:
        """Nothing goes on while nobody sees it."""
        self._again.stop()
        self._recount.stop()
        self._sight.stop()

    def _tell_sight(self) -> None:
        """The camera rests: what it sees is what the source should know best."""
        self.selection.look_at(sight=self.map.sight())

    def _show_legend(self) -> None:
        if self.snapshot is None or not self.pyramid.complete:
            return
        counts = heatmap_modes.per_rank(self.pyramid.counts, self.mode.lut(self.snapshot))
        entries = heatmap_modes.legend(self.mode, counts, heatmap_text.managed_frames(self.snapshot))
        colors = tuple(int(color) & 0xFFFFFF for color in heatmap_modes.palette(self.mode, self.theme.tokens))
        self.legend.show_entries(
            entries, colors, self.highlight, heatmap_modes.labels(self.mode)[: len(self.mode.classes)]
        )
        self._show_lod()

    def _show_lod(self) -> None:
        if self.pyramid.complete:
            self.read_out.show_note(heatmap_text.lod_words(self.map.image.lod))

    def _recolor(self) -> None:
        """Other classes, another theme or another class singled out."""
        colors = heatmap_modes.palette(self.mode, self.theme.tokens, self.highlight)
        self.map.set_colors(colors, 0xFF000000 | self.theme.tokens.rgb("ui.panel"))
        self.map.labels = heatmap_modes.labels(self.mode, self.highlight)
        self._sort()
        self._show_legend()

    @painted
    def paintEvent(self, event: QPaintEvent) -> None:
        """A frame around the map while it has the focus."""
        if self.map.hasFocus():
            painter = QPainter(self)
            outline(painter, QRectF(self.map.geometry()).adjusted(-2, -2, 2, 2), self.theme.color("ui.focus"), 1.5)
            painter.end()

    def as_text(self) -> str:
        """What the line below the map says, and the legend."""
        said = "   ".join(self.read_out.parts)
        parts = (f"{self.title}  {self.header.subtitle}".strip(), self.legend.accessibleDescription(), said)
        return "\n".join(part for part in parts if part)

    def bitmap(self) -> QImage | None:
        """The map without what is drawn on it."""
        return self.map.picture().copy() if self.map.layout_ is not None else None

    def leave_out_bitmap(self, stand_in: QImage | None) -> None:
        """Draw something else in its place."""
        self.map.stand_in = stand_in

    def theme_changed(self) -> None:
        """Other colours."""
        super().theme_changed()
        self._recolor()
        for widget in (self.map, self.legend, self.read_out):
            widget.update()

    def _place(self) -> None:
        """Choose the layout for this memory and this shape of the view."""
        nr = min(self.pyramid.nr, self._end)
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
            self.map.aim()
            self.map.update()
            self._show_lod()

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
        if self._end <= self.selection.now.pfn < self.pyramid.nr:
            self.show_end(True)  # what is selected is seen
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
