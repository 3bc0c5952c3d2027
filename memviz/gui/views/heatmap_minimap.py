"""The overview in a corner of the map while it is zoomed in: all of memory, and the part of it that is seen."""

from __future__ import annotations

from typing import Final

from PySide6.QtCore import QPointF, QRectF
from PySide6.QtGui import QPainter
from PySide6.QtWidgets import QWidget

from memviz.gui.render.heatmap_image import U32, Camera, HeatmapImage
from memviz.gui.render.layout import Layout
from memviz.gui.render.pyramid import Pyramid
from memviz.gui.theme import Theme
from memviz.gui.views import heatmap_overlay as overlay

WIDTH: Final = 150


class Minimap:
    """Draws the overview over a map and says where a point of it lies in memory."""

    def __init__(self, theme: Theme) -> None:
        self._theme = theme
        self._image = HeatmapImage()

    @staticmethod
    def rect(widget: QWidget, camera: Camera) -> QRectF | None:
        """Where it is drawn; None while the whole map is seen, and where there is no room."""
        width = min(WIDTH, widget.width() // 4)
        height = width * widget.height() // max(widget.width(), 1)
        if camera.zoom <= 1.0 or width < 50 or height < 25:
            return None
        return QRectF(widget.width() - width - 8, 8, width, height)

    def paint(
        self, painter: QPainter, widget: QWidget, map_image: HeatmapImage, layout: Layout, pyramid: Pyramid,
        palette: U32, background: int,
    ) -> None:  # fmt: skip
        """Draw it where it belongs."""
        place = self.rect(widget, map_image.camera)
        if place is None:
            return
        ratio = widget.devicePixelRatioF()
        self._image.set_view(layout, Camera(), round(place.width() * ratio), round(place.height() * ratio))
        pixels = self._image.render(pyramid, palette, background)
        painter.fillRect(place.adjusted(-3, -3, 3, 3), self._theme.color("ui.panel"))
        painter.drawImage(place.topLeft(), overlay.as_image(pixels, ratio))
        overlay.outline(painter, place.adjusted(-2, -2, 2, 2), self._theme.color("ui.border"), 1.0)
        left, top, right, bottom = map_image.visible()
        seen = QRectF(
            place.left() + left * place.width(),
            place.top() + top * place.height(),
            max((right - left) * place.width(), 3.0),
            max((bottom - top) * place.height(), 3.0),
        )
        overlay.outline(painter, seen, self._theme.color("chart.cursor"), 1.5)

    def camera_at(self, widget: QWidget, camera: Camera, at: QPointF) -> Camera:
        """The camera that looks at the point of memory under ``at``."""
        place = self.rect(widget, camera)
        if place is None:
            return camera
        x, y = (at.x() - place.left()) / place.width(), (at.y() - place.top()) / place.height()
        return Camera(camera.zoom, x, y)
