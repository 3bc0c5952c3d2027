"""What is drawn over the map: outlines, the glow of a block that was found, numbers in large page frames."""

from __future__ import annotations

from typing import Final

import numpy as np
from PySide6.QtCore import QRectF, Qt
from PySide6.QtGui import QColor, QFontMetricsF, QImage, QPainter, QPen
from PySide6.QtWidgets import QWidget

from memviz.gui.render.heatmap_image import U32, HeatmapImage
from memviz.gui.render.layout import Intp
from memviz.gui.render.pyramid import Pyramid
from memviz.kernel.page import MAX_PAGE_ORDER
from memviz.snapshot import Pages

NUMBER_WIDTH: Final = 46.0
NUMBER_HEIGHT: Final = 14.0
"""Smallest page frame, in logical pixels, that has its number in it."""


def as_image(pixels: U32, ratio: float) -> QImage:
    """A QImage over ``pixels`` (0xffRRGGBB). No copy: the caller keeps the array as long as the image."""
    height, width = pixels.shape
    image = QImage(pixels.data, width, height, width * 4, QImage.Format.Format_RGB32)
    image.setDevicePixelRatio(ratio)
    return image


def faded(color: QColor, alpha: float) -> QColor:
    """``color``, translucent."""
    other = QColor(color)
    other.setAlphaF(alpha)
    return other


def outline(painter: QPainter, rect: QRectF, color: QColor, width: float) -> None:
    """A frame inside of ``rect``'s edge."""
    painter.setPen(QPen(color, width, Qt.PenStyle.SolidLine, Qt.PenCapStyle.SquareCap, Qt.PenJoinStyle.MiterJoin))
    painter.setBrush(Qt.BrushStyle.NoBrush)
    inset = width / 2
    painter.drawRect(rect.adjusted(inset, inset, -inset, -inset))


def paint_glow(painter: QPainter, rect: QRectF, color: QColor, strength: float) -> None:
    """The frame of a block that was found; with ``strength`` 1 to 0 it lights up and fades to the plain frame."""
    if strength > 0.0:
        painter.fillRect(rect, faded(color, 0.75 * strength * strength))
        for ring in range(1, 7):
            spread = ring * (1.5 + 5.0 * (1.0 - strength))
            outline(painter, rect.adjusted(-spread, -spread, spread, spread), faded(color, 0.5 * strength / ring), 2.5)
    outline(painter, rect, color, 2.0)


def ink_on(color: int) -> QColor:
    """Black or white, whichever reads better on 0xRRGGBB."""
    red, green, blue = color >> 16 & 255, color >> 8 & 255, color & 255
    return QColor("#10141a") if 0.299 * red + 0.587 * green + 0.114 * blue > 125 else QColor("#e8eef6")


def paint_numbers(
    painter: QPainter,
    widget: QWidget,
    image: HeatmapImage,
    pyramid: Pyramid,
    pages: Pages,
    palette: U32,
    labels: tuple[str, ...],
) -> None:
    """In page frames that are large enough: the number, what it is; and the outlines of blocks of several."""
    ratio = widget.devicePixelRatioF()
    cell_w, cell_h = image.scale_x / ratio, image.scale_y / ratio
    if image.layout is None or image.lod.frames > 1 or min(cell_w, cell_h) < 8.0:
        return
    found = image.frames()
    if found is None or found[0].size > 20_000:
        return
    pfns, boxes = found
    _paint_buddies(painter, image, pages, pfns, ratio)
    if cell_w < NUMBER_WIDTH or cell_h < NUMBER_HEIGHT:
        return
    font = painter.font()
    font.setFamily("monospace")
    font.setPixelSize(int(min(13.0, cell_w / 5.6, cell_h * 0.62)))
    painter.setFont(font)
    line = QFontMetricsF(font).height()
    ranks = pyramid.levels[0][pfns]
    for pfn, rank, (left, top, right, bottom) in zip(pfns.tolist(), ranks.tolist(), boxes.tolist(), strict=True):
        rect = QRectF(left / ratio, top / ratio, (right - left) / ratio, (bottom - top) / ratio)
        painter.setPen(ink_on(int(palette[rank])))
        text = f"{pfn:#x}"
        if rect.height() > 2.4 * line and rank < len(labels):
            name = QFontMetricsF(font).elidedText(labels[rank], Qt.TextElideMode.ElideRight, rect.width() - 4)
            text = f"{text}\n{name}"
        painter.drawText(rect, Qt.AlignmentFlag.AlignCenter, text)


def _paint_buddies(painter: QPainter, image: HeatmapImage, pages: Pages, pfns: Intp, ratio: float) -> None:
    """A line around each block of two or more page frames that begins in sight."""
    assert image.layout is not None
    painter.setPen(QPen(QColor(255, 255, 255, 70), 1.0))
    painter.setBrush(Qt.BrushStyle.NoBrush)
    orders = pages.order[pfns]
    heads = np.flatnonzero((orders >= 1) & (orders <= MAX_PAGE_ORDER))
    for pfn, order in zip(pfns[heads].tolist(), orders[heads].tolist(), strict=True):
        for rect in image.layout.rects(pfn, order):
            left, top, right, bottom = image.box(rect)
            painter.drawRect(
                QRectF(left / ratio, top / ratio, (right - left) / ratio, (bottom - top) / ratio).adjusted(
                    0.5, 0.5, -0.5, -0.5
                )
            )
