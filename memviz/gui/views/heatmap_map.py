"""The map itself: the picture, what is drawn over it, mouse and keys.

A widget of its own that draws one QImage over a numpy array: with palette and level of detail done in numpy a full
redraw takes under a millisecond, where an Indexed8 image costs 5 and pyqtgraph's ImageItem 5 to 8 (and 50 with its own
downsampling, which also invents states).
"""

from __future__ import annotations

from enum import Enum
from typing import Final

import numpy as np
from PySide6.QtCore import QElapsedTimer, QEvent, QPoint, QPointF, QRectF, Qt, QTimer, Signal
from PySide6.QtGui import (
    QFocusEvent,
    QHideEvent,
    QImage,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QResizeEvent,
    QWheelEvent,
)
from PySide6.QtWidgets import QWidget

from memviz.gui.painting import painted
from memviz.gui.panel import View, draw_empty
from memviz.gui.render.heatmap_image import U32, Camera, HeatmapImage, clamp, largest_zoom, zoom_about
from memviz.gui.render.layout import Layout, Rect
from memviz.gui.render.pyramid import Pyramid
from memviz.gui.selection import Selection
from memviz.gui.theme import Theme
from memviz.gui.views import heatmap_overlay as overlay
from memviz.gui.views.heatmap_minimap import Minimap
from memviz.kernel.page import PAGEBLOCK_NR_PAGES, PAGEBLOCK_ORDER
from memviz.snapshot import Pages

GLOW_MS: Final = 1600
ZOOM_STEP: Final = 1.6
_ARROWS: Final = {
    Qt.Key.Key_Left: (-1, 0),
    Qt.Key.Key_Right: (1, 0),
    Qt.Key.Key_Up: (0, -1),
    Qt.Key.Key_Down: (0, 1),
}
_ZOOMS: Final = {Qt.Key.Key_Plus: ZOOM_STEP, Qt.Key.Key_Equal: ZOOM_STEP, Qt.Key.Key_Minus: 1 / ZOOM_STEP}


class _Drag(Enum):
    NONE = 0
    PRESSED = 1  # not yet clear: a click or a pan
    PAN = 2
    BOX = 3
    MINIMAP = 4


class HeatmapMap(QWidget):
    """Draws a pyramid of page frames as a layout places them."""

    hovered = Signal(int)
    """The page frame under the mouse, -1: none."""
    boxed = Signal(object)
    """A Rect of cells that was selected with shift and drag, or None."""
    moved = Signal()
    """The camera looks elsewhere."""
    go_to_wanted = Signal()
    """Somebody wants to type a page frame number."""
    focused = Signal()
    """It has the keys now, or no longer."""

    def __init__(self, selection: Selection, theme: Theme, pyramid: Pyramid, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._selection = selection
        self._theme = theme
        self._pyramid = pyramid
        self.layout_: Layout | None = None
        self.camera = Camera()
        self.image = HeatmapImage()
        self.request_block: tuple[int, int] | None = None
        """pfn and order of the block that the last request got."""
        self.pages: Pages | None = None
        self.labels: tuple[str, ...] = ()
        """Names of ranks, for page frames large enough to read."""
        self.box: Rect | None = None
        self.hover_pfn = -1
        self.stand_in: QImage | None = None
        """Drawn in place of the picture, while somebody wants to put that in himself."""
        self._palette: U32 = np.zeros(256, np.uint32)
        self._background = 0xFF000000
        self._pixels: U32 | None = None
        self._picture: QImage | None = None
        self._picture_of: tuple[object, ...] = ()
        self.minimap = Minimap(theme)
        self._drag = _Drag.NONE
        self._press = QPointF()
        self._press_camera = Camera()
        self._glow_clock = QElapsedTimer()
        self._glow_timer = QTimer(self)
        self._glow_timer.setInterval(33)
        self._glow_timer.timeout.connect(self._glow_tick)
        self.setMouseTracking(True)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setAttribute(Qt.WidgetAttribute.WA_OpaquePaintEvent)
        self.setMinimumSize(120, 80)
        self.setAccessibleName("Map of page frames")

    # -- what is shown

    def set_layout(self, layout: Layout | None) -> None:
        """Place page frames another way; looks at all of them again when the memory's shape changed."""
        if layout is not None and self.layout_ is not None and layout.nr != self.layout_.nr:
            self.camera = Camera()
        self.layout_ = layout
        self.box = None
        self.moved.emit()
        self.update()

    def set_colors(self, palette: U32, background: int) -> None:
        """Colours by rank, and of gaps: 0xffRRGGBB."""
        self._palette, self._background = palette, background
        self.update()

    def glow(self) -> None:
        """Let the block of the last request light up for a moment."""
        self._glow_clock.start()
        if self.isVisible():
            self._glow_timer.start()
        self.update()

    def _glow_tick(self) -> None:
        if not self.isVisible() or self._glow_clock.elapsed() > GLOW_MS:
            self._glow_timer.stop()
        self.update()

    def hideEvent(self, event: QHideEvent) -> None:
        """Nothing moves while nobody sees it."""
        self._glow_timer.stop()

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Tell the view: another shape may want another number of columns."""
        self.moved.emit()

    # -- the camera

    def look(self, camera: Camera) -> None:
        """Look elsewhere."""
        camera = clamp(camera, self._largest_zoom())
        if camera != self.camera:
            self.camera = camera
            self.moved.emit()
            self.update()

    def sight(self) -> tuple[tuple[int, int], ...]:
        """Runs of page frames that are seen; empty: all of them are."""
        if self.layout_ is None or self.camera.zoom <= 1.0:
            return ()
        return self.image.sight()

    def _largest_zoom(self) -> float:
        return largest_zoom(self.layout_, self.width(), self.height()) if self.layout_ is not None else 1.0

    def zoom(self, factor: float, at: QPointF | None = None) -> None:
        """Zoom about a point of the widget, or about the selection where it is seen, else about the middle."""
        if at is None:
            at = self._selected_point()
        x, y = at.x() / max(self.width(), 1), at.y() / max(self.height(), 1)
        self.look(zoom_about(self.camera, factor, x, y, self._largest_zoom()))

    def zoom_in(self) -> None:
        """One step closer."""
        self.zoom(ZOOM_STEP)

    def zoom_out(self) -> None:
        """One step back."""
        self.zoom(1 / ZOOM_STEP)

    def _selected_point(self) -> QPointF:
        place = self._rect_of(self._selection.now.pfn, 0)
        inside = place is not None and QRectF(self.rect()).contains(place.center())
        return place.center() if place is not None and inside else QRectF(self.rect()).center()

    def fit(self) -> None:
        """Show all of memory."""
        self.look(Camera())

    def show_pfn(self, pfn: int, zoom: float | None = None) -> None:
        """Move so that ``pfn`` is seen, in the middle when it was not; ``zoom`` comes closer to it."""
        if self.layout_ is None or not 0 <= pfn < self.layout_.nr:
            return
        place = self._rect_of(pfn, 0)
        if zoom is None and place is not None and QRectF(self.rect()).contains(place):
            return
        x, y = self.layout_.cell(pfn)
        middle = ((x + 0.5) / self.layout_.width, (y + 0.5) / self.layout_.height)
        self.look(Camera(self.camera.zoom if zoom is None else zoom, *middle))

    def block_zoom(self) -> float:
        """The zoom at which a pageblock fills a good part of the view."""
        if self.layout_ is None:
            return 1.0
        rect = self.layout_.rects(0, PAGEBLOCK_ORDER)[0]
        return max(1.0, 0.6 * min(self.layout_.width / rect.w, self.layout_.height / rect.h))

    # -- painting

    def aim(self) -> None:
        """Let ``image`` know where the camera looks: what lies where is known then, before it is painted."""
        ratio = self.devicePixelRatioF()
        width, height = max(1, round(self.width() * ratio)), max(1, round(self.height() * ratio))
        assert self.layout_ is not None, "an empty map is not looked at"
        self.image.set_view(self.layout_, self.camera, width, height)

    def picture(self) -> QImage:
        """The map as an image at device resolution; rendered only when something of it changed."""
        self.aim()
        ratio, size = self.devicePixelRatioF(), (self.image.width, self.image.height)
        shown = (self.layout_, self.camera, size, ratio, self._pyramid.version, self._palette.tobytes())
        if self._picture is None or shown != self._picture_of:
            pixels = self.image.render(self._pyramid, self._palette, self._background)
            self._pixels = pixels  # the image is a view of it
            self._picture = overlay.as_image(pixels, ratio)
            self._picture_of = shown
        return self._picture

    @painted
    def paintEvent(self, event: QPaintEvent) -> None:
        """The picture, then outlines, numbers and the overview."""
        painter = QPainter(self)
        if self.layout_ is None or not self._pyramid.levels:
            painter.fillRect(self.rect(), self._theme.color("ui.panel"))
            view = self.parentWidget()
            words = view.empty_words() if isinstance(view, View) else ("No page frames to show yet", "")
            draw_empty(painter, QRectF(self.rect()), self._theme, *words)
            painter.end()
            return
        picture = self.picture()
        if self.stand_in is None:
            painter.drawImage(QPointF(0, 0), picture)
        else:
            painter.drawImage(QRectF(self.rect()), self.stand_in)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        if self.pages is not None:
            overlay.paint_numbers(painter, self, self.image, self._pyramid, self.pages, self._palette, self.labels)
        self._paint_outlines(painter)
        self.minimap.paint(painter, self, self.image, self.layout_, self._pyramid, self._palette, self._background)
        painter.end()

    def _paint_outlines(self, painter: QPainter) -> None:
        if self.request_block is not None and self.layout_ is not None:
            strength = 0.0
            if self._glow_clock.isValid() and self._glow_clock.elapsed() < GLOW_MS:
                strength = 1.0 - self._glow_clock.elapsed() / GLOW_MS
            for rect in self.layout_.rects(*self.request_block):
                place = self._around(self._to_widget(rect))
                overlay.paint_glow(painter, place, self._theme.color("tone.good"), strength)
        picked = self._selection.now.pfn
        white = self._theme.color("chart.cursor")
        block = self._rect_of(picked, PAGEBLOCK_ORDER)
        if block is not None:
            overlay.outline(painter, self._around(block), white, 2.0)
            frame = self._rect_of(picked, 0)
            if frame is not None and min(frame.width(), frame.height()) >= 3 and block.width() > 40:
                overlay.outline(painter, frame, white, 1.5)
        if self.box is not None:
            accent = self._theme.color("ui.accent")
            frame = self._to_widget(self.box)
            painter.fillRect(frame, overlay.faded(accent, 0.18))
            overlay.outline(painter, frame, accent, 1.5)

    def _to_widget(self, rect: Rect) -> QRectF:
        ratio = self.devicePixelRatioF()
        left, top, right, bottom = self.image.box(rect)
        return QRectF(left / ratio, top / ratio, (right - left) / ratio, (bottom - top) / ratio)

    def _around(self, rect: QRectF) -> QRectF:
        """Where a frame around ``rect`` hides no page frame: in the gap between tiles, as far as there is one."""
        return rect.adjusted(-2, -2, 2, 2).intersected(QRectF(self.rect())) if self.image.tile_gap else rect

    def _rect_of(self, pfn: int, order: int) -> QRectF | None:
        """Where a block lies on the widget, None when there is no such."""
        if self.layout_ is None or not 0 <= pfn < self.layout_.nr or self.image.layout is not self.layout_:
            return None
        return self._to_widget(self.layout_.rects(pfn, order)[0])

    # -- mouse

    def pfn_at(self, at: QPointF) -> int:
        """The page frame that is drawn at a point of the widget, -1: none."""
        ratio = self.devicePixelRatioF()
        return self.image.pfn_at(self._pyramid, int(at.x() * ratio), int(at.y() * ratio))

    def _cell_at(self, at: QPointF) -> tuple[int, int]:
        """The cell of the layout at a point of the widget, clipped to the map."""
        assert self.layout_ is not None
        left, top, right, bottom = self.image.visible()
        x = (left + at.x() / max(self.width(), 1) * (right - left)) * self.layout_.width
        y = (top + at.y() / max(self.height(), 1) * (bottom - top)) * self.layout_.height
        return min(max(int(x), 0), self.layout_.width - 1), min(max(int(y), 0), self.layout_.height - 1)

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Left: click or pan; with shift, or the right button: a box; in the overview: go there."""
        self._press, self._press_camera = event.position(), self.camera
        place = self.minimap.rect(self, self.camera)
        if place is not None and place.contains(event.position()):
            self._drag = _Drag.MINIMAP
            self.look(self.minimap.camera_at(self, self.camera, event.position()))
        elif event.button() == Qt.MouseButton.RightButton or event.modifiers() & Qt.KeyboardModifier.ShiftModifier:
            self._drag = _Drag.BOX
        elif event.button() in (Qt.MouseButton.LeftButton, Qt.MouseButton.MiddleButton):
            self._drag = _Drag.PRESSED

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Pan, stretch the box, or read out."""
        at = event.position()
        far = (at - self._press).manhattanLength() >= 5
        if self._drag == _Drag.MINIMAP:
            self.look(self.minimap.camera_at(self, self.camera, at))
        elif self._drag == _Drag.PAN or (self._drag == _Drag.PRESSED and far):
            self._drag = _Drag.PAN
            self.setCursor(Qt.CursorShape.ClosedHandCursor)
            before, way = self._press_camera, at - self._press
            x = before.x - way.x() / max(self.width(), 1) / before.zoom
            y = before.y - way.y() / max(self.height(), 1) / before.zoom
            self.look(Camera(before.zoom, x, y))
        elif self._drag == _Drag.BOX and far and self.layout_ is not None:
            (x0, y0), (x1, y1) = self._cell_at(self._press), self._cell_at(at)
            self._set_box(Rect(min(x0, x1), min(y0, y1), abs(x1 - x0) + 1, abs(y1 - y0) + 1))
        if self._drag in (_Drag.NONE, _Drag.BOX):
            self._hover(self.pfn_at(at))

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        """A click selects the page frame; a plain one also drops the box."""
        if self._drag == _Drag.PRESSED:
            self._set_box(None)
            pfn = self.pfn_at(event.position())
            if pfn >= 0:
                self._selection.select_page(pfn)
        self._drag = _Drag.NONE
        self.unsetCursor()

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        """Come close to the pageblock under the mouse."""
        pfn = self.pfn_at(event.position())
        if pfn >= 0:
            self.show_pfn(pfn, max(self.camera.zoom * 2.0, self.block_zoom()))

    def leaveEvent(self, event: QEvent) -> None:
        """Nothing is under the mouse any more."""
        self._hover(-1)

    def wheelEvent(self, event: QWheelEvent) -> None:
        """Zoom about the pointer; with shift or a horizontal wheel: pan sideways."""
        turned: QPoint = event.angleDelta()
        if event.modifiers() & Qt.KeyboardModifier.ShiftModifier or abs(turned.x()) > abs(turned.y()):
            way = (turned.x() or turned.y()) / 1200 / self.camera.zoom
            self.look(self.camera._replace(x=self.camera.x - way))
        elif turned.y():
            self.zoom(ZOOM_STEP ** (turned.y() / 120), event.position())
        event.accept()

    def _hover(self, pfn: int) -> None:
        if pfn != self.hover_pfn:
            self.hover_pfn = pfn
            self.hovered.emit(pfn)

    def _set_box(self, box: Rect | None) -> None:
        if box != self.box:
            self.box = box
            self.boxed.emit(box)
            self.update()

    # -- keys

    def focusInEvent(self, event: QFocusEvent) -> None:
        """Tell the view, which draws the frame around: on the map it would hide page frames."""
        self.focused.emit()

    def focusOutEvent(self, event: QFocusEvent) -> None:
        """Tell the view."""
        self.focused.emit()

    def event(self, event: QEvent) -> bool:
        """While the map has the focus its keys come before the window's shortcuts."""
        if event.type() == QEvent.Type.ShortcutOverride and isinstance(event, QKeyEvent):
            if self._key(event, act=False):
                event.accept()
                return True
        return super().event(event)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Arrows: the next page frame, with shift the next pageblock; + - 0 Return: zoom; Escape: drop the box."""
        if not self._key(event, act=True):
            super().keyPressEvent(event)

    def _key(self, event: QKeyEvent, act: bool) -> bool:
        """Whether the map knows the key; when ``act``, do it."""
        key, modifiers = event.key(), event.modifiers()
        if modifiers & (Qt.KeyboardModifier.ControlModifier | Qt.KeyboardModifier.AltModifier):
            return False
        if key in _ARROWS:
            if act:
                self._step(*_ARROWS[Qt.Key(key)], bool(modifiers & Qt.KeyboardModifier.ShiftModifier))
            return True
        if key in _ZOOMS:
            if act:
                self.zoom(_ZOOMS[Qt.Key(key)])
            return True
        if key == Qt.Key.Key_0 or key == Qt.Key.Key_F:
            if act:
                self.fit()
            return True
        if key == Qt.Key.Key_Return and self._selection.now.pfn >= 0:
            if act:
                self.show_pfn(self._selection.now.pfn, max(self.camera.zoom * 2.0, self.block_zoom()))
            return True
        if key == Qt.Key.Key_G:
            if act:
                self.go_to_wanted.emit()
            return True
        if key == Qt.Key.Key_Escape and self.box is not None:
            if act:
                self._set_box(None)
            return True
        return False

    def _step(self, right: int, down: int, by_block: bool) -> None:
        """Move the selection: to the neighbour on the map, or with ``by_block`` to the same frame of the next tile."""
        layout, pfn = self.layout_, self._selection.now.pfn
        if layout is None:
            return
        if not 0 <= pfn < layout.nr:
            self._selection.select_page(0)
            return
        x, y = layout.cell(pfn)
        block = layout.rects(pfn, PAGEBLOCK_ORDER)[0]
        x += right * (block.w if by_block else 1)
        y += down * (block.h if by_block else 1)
        found = layout.pfn(x, y)
        if found < 0 and right:  # at the edge of the map it goes on with the next page frame in memory
            found = pfn + right * (PAGEBLOCK_NR_PAGES if by_block else 1)
        if 0 <= found < layout.nr:
            self._selection.select_page(found)
            self.show_pfn(found)
