"""The XArray in focus as a tree: nodes, their slots and marks, who reads them, what is being moved."""

from __future__ import annotations

from typing import ClassVar, Final

import numpy as np
from PySide6.QtCore import QElapsedTimer, QPointF, QRectF, Qt, QTimer
from PySide6.QtGui import (
    QAction,
    QFontMetricsF,
    QHideEvent,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPainterPath,
    QPaintEvent,
    QPen,
    QResizeEvent,
    QShowEvent,
    QWheelEvent,
)
from PySide6.QtWidgets import QMenu, QToolButton, QWidget

from memviz.gui.controls import fill_menu
from memviz.gui.painting import painted
from memviz.gui.panel import View
from memviz.gui.render import tree as render
from memviz.gui.render.unknown import why_unknown
from memviz.gui.selection import Selection
from memviz.gui.theme import Theme
from memviz.gui.views import heatmap_overlay as overlay
from memviz.kernel.page import PAGE_SHIFT
from memviz.snapshot import U32, Snapshot

MOVE_MS: Final = 600
ZOOM_STEP: Final = 1.25
MARK_COLORS: Final = ("chart.compaction", "chart.fast", "chart.failed")
LARGEST: Final = 1.8
AUTOMATIC: Final = "Automatic"
_ARROWS: Final = {
    Qt.Key.Key_Up: (0, -1),
    Qt.Key.Key_Down: (0, 1),
    Qt.Key.Key_Left: (-1, 0),
    Qt.Key.Key_Right: (1, 0),
}


class XArrayTreeView(View):
    """Draws ``Snapshot.nodes``. Drag pans, the wheel zooms, a click on "more nodes" shows them."""

    ident: ClassVar[str] = "xarray_tree"
    title: ClassVar[str] = "XArray"
    what: ClassVar[str] = (
        "The tree in which the kernel finds a file's pages. Every box is a node, and nodes are slab objects: "
        "they can be moved when nobody stands on them."
    )
    keys: ClassVar[tuple[tuple[str, str], ...]] = (
        ("↑ ↓", "The parent, the first child"),
        ("← →", "The neighbour"),
        ("Return", "Show all children"),
        ("+ − 0", "Zoom"),
    )
    empty: ClassVar[str] = "No XArray to show"
    period_ms: ClassVar[int] = 40
    own_keys = frozenset(
        {*_ARROWS, Qt.Key.Key_Plus, Qt.Key.Key_Equal, Qt.Key.Key_Minus, Qt.Key.Key_0, Qt.Key.Key_Return}
    )

    def __init__(self, selection: Selection, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(selection, theme, parent)
        self.drawing = render.EMPTY
        self.expanded: set[int] = set()
        self._natural = 1.0
        """Scale at which nodes have a good size in a view like this."""
        self.scale = 1.0
        self.shift = QPointF(0, 0)
        self._press: QPointF | None = None
        self._press_shift = QPointF()
        self._panned = False
        self._xarray = -2
        self._ghosts: list[tuple[QRectF, QRectF]] = []
        self._ghost_clock = QElapsedTimer()
        self._ghost_timer = QTimer(self)
        self._ghost_timer.setInterval(33)
        self._ghost_timer.timeout.connect(self._ghost_tick)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setMinimumSize(160, 60)
        self.fit_button = self.header.add_button("Fit", "Show the whole drawing (0)")
        self.fit_button.clicked.connect(self.fit)
        self.array_button = self.header.add_button(f"{AUTOMATIC} ▾", "Choose an XArray")
        self.array_button.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        menu = QMenu(self.array_button)
        menu.aboutToShow.connect(self._fill_arrays)
        menu.triggered.connect(self._array_chosen)
        self.array_button.setMenu(menu)
        selection.changed.connect(self._selected)

    def _fill_arrays(self) -> None:
        """XArrays by size, largest first."""
        menu = self.array_button.menu()
        menu.clear()
        arrays = () if self.snapshot is None else self.snapshot.xarrays
        chosen = self.selection.focus.xarray
        entries = [(-1, f"{AUTOMATIC}: where nodes were moved last, or the largest")] + [
            (one.id, f"{one.name}   {one.nodes:,} nodes{', movable' if one.movable else ''}")
            for one in sorted(arrays, key=lambda one: (-one.nodes, one.id))
        ]
        fill_menu(menu, entries, chosen)

    def _array_chosen(self, action: QAction) -> None:
        self.choose_array(int(action.data()))

    def choose_array(self, ident: int) -> None:
        """Ask for the nodes of another XArray; -1: of that where nodes were moved last, or of the largest."""
        self.selection.look_at(xarray=ident)

    # -- what is shown

    def show_snapshot(self, snapshot: Snapshot) -> None:
        """Show another instant; a node that was moved since the last travels to its new place."""
        before, self.snapshot = self.snapshot, snapshot
        if not self.isVisible():
            return
        info = render.info_of(snapshot)
        ident = info.id if info is not None else -1
        same = ident == self._xarray
        if not same:
            self._xarray = ident
            self.expanded.clear()
            self.scale, self.shift = self._natural, QPointF(0, 0)
        name = info.name if info is not None and self.selection.focus.xarray >= 0 else AUTOMATIC
        self.array_button.setText(f"{name if len(name) < 22 else name[:20] + '…'} ▾")
        self.header.subtitle = render.subtitle(snapshot)
        old = {box.addr: box for box in self.drawing.boxes}
        self._draw()
        if same and before is not None:
            self._start_ghosts(render.moved_pairs(before.nodes, snapshot.nodes), old)

    def showEvent(self, event: QShowEvent) -> None:
        """Catch up with what happened while hidden."""
        if self.snapshot is not None:
            self.show_snapshot(self.snapshot)

    def hideEvent(self, event: QHideEvent) -> None:
        """Nothing moves while nobody sees it."""
        self._ghost_timer.stop()
        self._ghosts = []

    def resizeEvent(self, event: QResizeEvent) -> None:
        """More or fewer nodes fit, and on a large screen they are larger."""
        untouched = self.scale == self._natural
        self._natural = min(LARGEST, max(1.0, min(self.width() / 1000, self.height() / 330)))
        if untouched:
            self.scale = self._natural
        self._draw()

    def _draw(self) -> None:
        if self.snapshot is None:
            return
        self.drawing = render.draw(
            self.snapshot.nodes,
            (self.width() / self._natural, self.height() / self._natural),
            self.selection.now.node,
            self.expanded,
        )
        nodes, shown = self.snapshot.nodes.size, len(self.drawing.boxes)
        self.setAccessibleDescription(f"{shown} of {nodes} nodes shown")
        self._clamp()
        self.update()

    def _selected(self) -> None:
        if self.isVisible() and self.snapshot is not None:
            self._draw()
            now = self.selection.now
            box = self._box_of(now.node)
            if box is None:
                on_page = (one for one in self.drawing.boxes if one.addr >> PAGE_SHIFT == now.pfn)
                box = next(on_page, None)
            if box is not None:
                self._bring_into_view(box)

    def _box_of(self, addr: int) -> render.Box | None:
        return next((box for box in self.drawing.boxes if box.addr == addr), None) if addr >= 0 else None

    # -- moved nodes

    def _start_ghosts(self, pairs: list[tuple[int, int]], old: dict[int, render.Box]) -> None:
        places = {box.addr: box for box in self.drawing.boxes}
        ghosts = []
        for source, target in pairs:
            begin, end = places.get(source) or old.get(source), places.get(target)
            if begin is not None and end is not None:
                ghosts.append((_rect(begin), _rect(end)))
        if ghosts:
            self._ghosts = ghosts
            self._ghost_clock.start()
            self._ghost_timer.start()

    def _ghost_tick(self) -> None:
        if self._ghost_clock.elapsed() > MOVE_MS:
            self._ghost_timer.stop()
            self._ghosts = []
        self.update()

    def _paint_ghosts(self, painter: QPainter) -> None:
        part = min(self._ghost_clock.elapsed() / MOVE_MS, 1.0)
        eased = part * part * (3 - 2 * part)
        color = self.theme.color("node.just moved")
        for begin, end in self._ghosts:
            middle = begin.center() * (1 - eased) + end.center() * eased
            rect = QRectF(0, 0, end.width(), end.height())
            # On an arc: a copy that stays at the same place is seen to move too.
            rect.moveCenter(middle - QPointF(0, 14.0 * 4 * part * (1 - part)))
            painter.setPen(QPen(overlay.faded(color, 1 - 0.5 * part), 2))
            painter.setBrush(overlay.faded(color, 0.30 * (1 - part)))
            painter.drawRoundedRect(rect, 4, 4)

    # -- painting

    @painted
    def paintEvent(self, event: QPaintEvent) -> None:
        """Edges, boxes, captions, what travels."""
        painter = QPainter(self)
        snapshot = self.snapshot
        if snapshot is None or not self.drawing.boxes:
            self.paint_empty(painter, self._why_empty())
            painter.end()
            return
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.save()
        painter.translate(self.shift + self._centering())
        painter.scale(self.scale, self.scale)
        self._paint_edges(painter)
        for box in self.drawing.boxes:
            self._paint_box(painter, box, snapshot)
        self._paint_more(painter)
        if self._ghosts:
            self._paint_ghosts(painter)
        painter.restore()
        self._paint_legend(painter)
        if self.hasFocus():
            overlay.outline(painter, QRectF(self.rect()), self.theme.color("ui.focus"), 1.0)
        painter.end()

    def _paint_legend(self, painter: QPainter) -> None:
        """Where there is room below the tree."""
        painter.setFont(self.theme.font("small"))
        painter.setPen(self.theme.color("ui.faint"))
        line = QRectF(2, self.height() - 16, self.width() - 4, 16)
        bottom = self._centering().y() + self.shift.y() + self.drawing.height * self.scale
        fit = [words for words in render.LEGEND if painter.fontMetrics().horizontalAdvance(words) < line.width()]
        if fit and bottom <= line.top():
            painter.drawText(line, Qt.AlignmentFlag.AlignHCenter | Qt.AlignmentFlag.AlignVCenter, fit[0])

    def _why_empty(self) -> str:
        if self.snapshot is None or not self.snapshot.xarrays:
            return why_unknown(self.snapshot)
        return "It has no nodes: its entries fit into its head"

    def _centering(self) -> QPointF:
        """Where the drawing begins: in the middle while it is smaller than the view."""
        room_x = self.width() - self.drawing.width * self.scale
        room_y = self.height() - self.drawing.height * self.scale
        return QPointF(max(room_x / 2, 0), max(room_y / 2, 0))

    def _paint_edges(self, painter: QPainter) -> None:
        painter.setBrush(Qt.BrushStyle.NoBrush)
        for edge in self.drawing.edges:
            path = QPainterPath(QPointF(edge.x0, edge.y0))
            bend = (edge.y1 - edge.y0) * 0.6
            path.cubicTo(edge.x0, edge.y0 + bend, edge.x1, edge.y1 - bend, edge.x1, edge.y1)
            pen = QPen(self.theme.color(edge.color), 1.6 if edge.dashed and edge.color != "ui.border" else 1.3)
            if edge.dashed:
                pen.setDashPattern([4.0, 2.5])
            painter.setPen(pen)
            painter.drawPath(path)

    def _paint_box(self, painter: QPainter, box: render.Box, snapshot: Snapshot) -> None:
        node = snapshot.nodes[box.row]
        rect = _rect(box)
        color = self.theme.color(box.color)
        picked = box.addr == self.selection.now.node
        painter.setBrush(self.theme.color("ui.selection" if picked else "ui.row"))
        painter.setPen(QPen(self.theme.color("chart.cursor") if picked else color, 2.4 if picked else 1.6))
        painter.drawRoundedRect(rect, 4, 4)
        if not picked and box.addr >> PAGE_SHIFT == self.selection.now.pfn:
            # It lies on the page frame that is selected on the map.
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.setPen(QPen(self.theme.color("chart.cursor"), 1.4, Qt.PenStyle.DashLine))
            painter.drawRoundedRect(rect.adjusted(-3, -3, 3, 3), 6, 6)
        font = self.theme.font("mono-small")
        painter.setFont(font)
        painter.setPen(self.theme.color("ui.muted"))
        low = rect.height() < render.BOX_H
        painter.drawText(QPointF(rect.left() + 6, rect.top() + (11.0 if low else 12.5)), box.label)
        top = 14.0 if low else 17.0
        place = QRectF(rect.left() + 6, rect.top() + top, rect.width() - 12, rect.height() - top - 4)
        painter.drawImage(place.topLeft(), overlay.as_image(self._bar(node, box.leaf, place), self._bar_ratio()))
        self._paint_captions(painter, box)

    def _bar_ratio(self) -> float:
        return self.devicePixelRatioF() * self.scale

    def _bar(self, node: np.void, leaf: bool, place: QRectF) -> U32:
        """The slots at device resolution, whatever the zoom."""
        ratio = self._bar_ratio()
        rgb = self.theme.tokens.rgb
        used = "owner.page cache" if leaf else "node.in the tree"
        keys = ("ui.row", "ui.raised", used, *MARK_COLORS)
        colors = np.array([0xFF000000 | rgb(key) for key in keys], np.uint32)
        marks = (int(node["mark0"]), int(node["mark1"]), int(node["mark2"]))
        size = (max(8, round(place.width() * ratio)), max(3, round(place.height() * ratio)))
        self._bar_pixels = render.bar(int(node["used"]), marks, colors, *size, max(2, round(2 * ratio)))
        return self._bar_pixels

    def _paint_captions(self, painter: QPainter, box: render.Box) -> None:
        if not box.captions:
            return
        font = self.theme.font("small")
        painter.setFont(font)
        metrics = QFontMetricsF(font)
        y = box.y + box.h + metrics.ascent() + 2
        for words, color in box.captions:
            painter.setPen(self.theme.color(color))
            painter.drawText(QPointF(box.x + 4, y), words)
            y += metrics.height() - 1

    def _paint_more(self, painter: QPainter) -> None:
        painter.setFont(self.theme.font("small"))
        for more in self.drawing.more:
            rect = QRectF(more.x, more.y, more.w, more.h)
            painter.setPen(QPen(self.theme.color("ui.border"), 1))
            painter.setBrush(self.theme.color("ui.raised"))
            painter.drawRoundedRect(rect, rect.height() / 2, rect.height() / 2)
            painter.setPen(self.theme.color("ui.muted"))
            text = f"… {more.hidden:,} more nodes" if more.w > 90 else f"… {more.hidden:,} more"
            painter.drawText(rect, Qt.AlignmentFlag.AlignCenter, text)

    # -- camera

    def fit(self) -> None:
        """Make the whole drawing visible."""
        width, height = max(self.drawing.width, 1.0), max(self.drawing.height, 1.0)
        self.scale = min(self._natural, self.width() / width, self.height() / height)
        self.shift = QPointF(0, 0)
        self.update()

    def zoom(self, factor: float, at: QPointF) -> None:
        """Zoom about a point of the widget."""
        point = self._to_drawing(at)
        self.scale = min(max(self.scale * factor, 0.1), 4.0)
        self.shift = at - point * self.scale - self._centering()
        self._clamp()
        self.update()

    def _clamp(self) -> None:
        """Some of the drawing stays in view."""
        room_x = min(0.0, self.width() - self.drawing.width * self.scale)
        room_y = min(0.0, self.height() - self.drawing.height * self.scale)
        self.shift = QPointF(min(max(self.shift.x(), room_x), 0.0), min(max(self.shift.y(), room_y), 0.0))

    def _to_drawing(self, at: QPointF) -> QPointF:
        return (at - self.shift - self._centering()) / self.scale

    def _bring_into_view(self, box: render.Box) -> None:
        place = QRectF(_rect(box).topLeft() * self.scale, _rect(box).size() * self.scale)
        place.translate(self.shift + self._centering())
        if not QRectF(self.rect()).contains(place):
            self.shift += QRectF(self.rect()).center() - place.center()
            self._clamp()
            self.update()

    # -- mouse and keys

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Begin a click or a pan."""
        self._press, self._press_shift, self._panned = event.position(), self.shift, False

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Pan."""
        if self._press is None:
            return
        way = event.position() - self._press
        if self._panned or way.manhattanLength() >= 5:
            self._panned = True
            self.shift = self._press_shift + way
            self._clamp()
            self.update()

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        """A click selects a node, or shows those that were gathered."""
        if self._press is not None and not self._panned:
            at = self._to_drawing(event.position())
            for box in self.drawing.boxes:
                if _rect(box).contains(at):
                    self.selection.select_node(box.addr)
            for more in self.drawing.more:
                if QRectF(more.x, more.y, more.w, more.h).contains(at):
                    self.expand(more.parent_addr)
        self._press = None

    def expand(self, addr: int) -> None:
        """Show all children of a node."""
        self.expanded.add(addr)
        self._draw()

    def wheelEvent(self, event: QWheelEvent) -> None:
        """Zoom about the pointer."""
        if event.angleDelta().y():
            self.zoom(ZOOM_STEP ** (event.angleDelta().y() / 120), event.position())
        event.accept()

    def tip_at(self, at: QPointF) -> str:
        """What stands on the box there, in words: a low panel has no room for a legend."""
        point = self._to_drawing(at)
        box = next((box for box in self.drawing.boxes if _rect(box).contains(point)), None)
        return "" if box is None or self.snapshot is None else render.box_words(self.snapshot.nodes[box.row])

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Up: the parent. Down: the first child. Left, right: the neighbour. Return: all children. + - 0: zoom."""
        key, middle = event.key(), QPointF(self.rect().center())
        picked = self._box_of(self.selection.now.node)
        if key in (Qt.Key.Key_Plus, Qt.Key.Key_Equal):
            self.zoom(ZOOM_STEP, middle)
        elif key == Qt.Key.Key_Minus:
            self.zoom(1 / ZOOM_STEP, middle)
        elif key == Qt.Key.Key_0:
            self.fit()
        elif key == Qt.Key.Key_Return and picked is not None:
            self.expand(picked.addr)
        elif key in _ARROWS and self.drawing.boxes:
            self.selection.select_node(render.neighbour(self.drawing.boxes, picked, _ARROWS[Qt.Key(key)]).addr)
        else:
            super().keyPressEvent(event)


def _rect(box: render.Box) -> QRectF:
    return QRectF(box.x, box.y, box.w, box.h)
