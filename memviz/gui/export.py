"""What is seen, taken out of the window: a panel as PNG or SVG, its table as CSV, both to a file or the clipboard.

What needs widgets is done at once and is quick; what can take long is returned as work for ``memviz.gui.jobs``.
"""

from __future__ import annotations

import base64
import errno
import os
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

from PySide6.QtCore import QBuffer, QByteArray, QIODevice, QPoint, QRect, QSize, Qt
from PySide6.QtGui import QImage, QImageWriter, QPainter, QPixmap, QRegion
from PySide6.QtSvg import QSvgGenerator
from PySide6.QtWidgets import QWidget

from memviz.gui.jobs import JobLine, Progress, to_file
from memviz.gui.panel import PanelDock, View
from memviz.gui.render import tables
from memviz.gui.render.picture import refusal
from memviz.gui.render.tables import TABLES, Lines, Parts

PICTURES: Final = "Picture (*.png);;Drawing (*.svg);;Smaller picture (*.jpg)"
Writer = Callable[[Path, Progress], object]
"""Writes a file; may look now and then whether it is called off."""
_FORMATS: Final = {".jpg": b"jpeg", ".jpeg": b"jpeg"}
_QUALITY: Final = 95
"""Of a JPEG: words and thin lines stay readable."""
TABLES_KIND: Final = "Table (*.csv)"
_IMAGE: Final = re.compile(rb"(<image [^>]*?base64,)([^\"]*)(\")", re.DOTALL)
CLIPBOARD_MOST: Final = 32 << 20
"""Characters of a table that still go onto the clipboard."""


def parts_of(view: View) -> Parts | None:
    """What ``view`` shows as a table, made while it is written: costs next to nothing now. None when it has none, or
    nothing yet.
    """
    own = view.as_parts()
    if own is not None:
        return own
    if (table := view.as_table()) is not None:
        return tables.in_parts(table)
    snapshot = view.snapshot
    if snapshot is None or view.ident not in TABLES:
        return None
    return tables.blocks(snapshot) if view.ident == "heatmap" else tables.later(TABLES[view.ident], snapshot)


def picture_of(dock: PanelDock) -> QPixmap:
    """The panel as it is on the screen."""
    return dock.grab()


def drawing_of(dock: PanelDock) -> Writer:
    """The panel as SVG, now; what is returned writes it. A large picture in it is encoded only then."""
    bitmap = dock.view.bitmap()
    if bitmap is None:
        return drawing_of_all(dock, dock.view.title)
    stand_in = QImage(1, 1, QImage.Format.Format_RGB32)
    stand_in.fill(Qt.GlobalColor.black)
    dock.view.leave_out_bitmap(stand_in)
    try:
        hollow = svg_of(dock, dock.view.title)
    finally:
        dock.view.leave_out_bitmap(None)
    return lambda path, _: path.write_bytes(_filled(hollow, bitmap))


def drawing_of_all(widget: QWidget, title: str) -> Writer:
    """``widget`` as SVG, now, all pictures in it as they are; what is returned writes it."""
    drawing = svg_of(widget, title)
    return lambda path, _: path.write_bytes(drawing)


def _filled(drawing: bytes, bitmap: QImage) -> bytes:
    """``drawing`` with ``bitmap`` in place of what stands for it: of its images the one of a single pixel. Others are
    icons of buttons."""
    data = QByteArray()
    buffer = QBuffer(data)
    buffer.open(QIODevice.OpenModeFlag.WriteOnly)
    QImageWriter(buffer, QByteArray(b"png")).write(bitmap)
    encoded = base64.b64encode(data.data())

    def fill(found: re.Match[bytes]) -> bytes:
        stands_in = QImage.fromData(base64.b64decode(found[2])).size() == QSize(1, 1)
        return found[1] + encoded + found[3] if stands_in else found[0]

    return _IMAGE.sub(fill, drawing)


def svg_of(widget: QWidget, title: str) -> bytes:
    """``widget`` as a drawing."""
    size = widget.size()
    data = QByteArray()
    buffer = QBuffer(data)
    buffer.open(QIODevice.OpenModeFlag.WriteOnly)
    generator = QSvgGenerator()
    generator.setOutputDevice(buffer)
    generator.setSize(size)
    generator.setViewBox(QRect(0, 0, size.width(), size.height()))
    generator.setTitle(title)
    generator.setDescription("Made by memviz")
    painter = QPainter(generator)
    widget.render(painter, QPoint(), QRegion(), QWidget.RenderFlag.DrawChildren)
    painter.end()
    buffer.close()
    return bytes(data.data())


def write_image(image: QImage, path: Path, suffix: str = ".png") -> None:
    """Write a picture of the kind that ``suffix`` names, a PNG if none. Raises OSError when that can't be."""
    with path.open("wb"):  # says why not, which Qt doesn't
        pass
    kind = _FORMATS.get(suffix.lower(), b"png")
    writer = QImageWriter(str(path), QByteArray(kind))
    if kind == b"jpeg":
        writer.setQuality(_QUALITY)
    if not writer.write(image):
        raise OSError(errno.EIO, writer.errorString(), str(path))


def begin_file(jobs: JobLine, path: str, suffix: str, write: Writer) -> None:
    """Begin to write a file; ``jobs`` says whether it is there in the end. ``suffix``: if ``path`` has none."""
    target = Path(path if Path(path).suffix else f"{path}{suffix}")
    jobs.start(f"Saving {target.name}", to_file(target, write), partial(_written, target))


def begin_picture(jobs: JobLine, path: str, image: QImage, draw: Callable[[], Writer]) -> None:
    """Begin to write ``image``, or an SVG, as the name says; ``jobs`` says too what is refused. ``draw`` makes the SVG:
    only for who wants one, as that takes longer than a redraw may.
    """
    suffix = Path(path).suffix.lower()
    if why := refusal(path):
        jobs.told.emit(False, f"{why}.")
    elif suffix == ".svg":
        begin_file(jobs, path, suffix, draw())
    else:
        begin_file(jobs, path, ".png", lambda to, _: write_image(image, to, suffix))


def _written(path: Path, size: object) -> str:
    return f"{path.name} is written: {_size_words(size if isinstance(size, int) else 0)} in {path.parent}."


def _size_words(size: int) -> str:
    return f"{size / 1e6:.1f} MB" if size >= 1_000_000 else f"{max(1, round(size / 1000))} kB"


def write_rows(parts: Parts, path: Path, progress: Progress) -> None:
    """Write a table as CSV, part by part. Raises OSError when that can't be, Cancelled when nobody wants it."""
    with path.open("w", encoding="utf-8", newline="") as out:
        for number, rows in enumerate(parts.rows, 1):
            out.write(tables.part_text(rows, ",", "\r\n"))
            progress.tell(number / parts.nr if parts.nr else -1.0)
        out.flush()
        os.fsync(out.fileno())


def write_lines(lines: Lines, path: Path, progress: Progress) -> None:
    """Write a table that is text already, part by part. Raises as ``write_rows``."""
    with path.open("w", encoding="utf-8", newline="") as out:
        for number, text in enumerate(lines.text, 1):
            out.write(text)
            progress.tell(number / lines.nr)
        out.flush()
        os.fsync(out.fileno())


def rows_as_text(parts: Parts, progress: Progress) -> str:
    """A table as spreadsheets take it from the clipboard; empty when it is too long for that."""
    found: list[str] = []
    length = 0
    for number, rows in enumerate(parts.rows, 1):
        found.append(tables.part_text(rows, "\t", "\n"))
        length += len(found[-1])
        progress.tell(number / parts.nr if parts.nr else -1.0)
        if length > CLIPBOARD_MOST:
            return ""
    return "".join(found)
