"""What is seen, taken out of the window: a panel as PNG or SVG, its table as CSV, both to a file or the clipboard."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from PySide6.QtCore import QPoint, QRect, QSize
from PySide6.QtGui import QGuiApplication, QPainter, QPixmap, QRegion
from PySide6.QtSvg import QSvgGenerator
from PySide6.QtWidgets import QWidget

from memviz.gui.panel import PanelDock, View
from memviz.gui.render.tables import TABLES, Table, as_csv, as_tabs
from memviz.gui.report import save_picture

PICTURES: Final = "Picture (*.png);;Drawing (*.svg)"
TABLES_KIND: Final = "Table (*.csv)"


def table_of(view: View) -> Table | None:
    """What ``view`` shows as a table; None when it has none, or nothing yet."""
    own = view.as_table()
    if own is not None:
        return own
    if view.ident in TABLES and view.snapshot is not None:
        return TABLES[view.ident](view.snapshot)
    return None


def picture_of(dock: PanelDock) -> QPixmap:
    """The panel as it is on the screen."""
    return dock.grab()


def write_picture(path: str, dock: PanelDock) -> None:
    """Write the panel as PNG, or as SVG when ``path`` says so. Raises OSError when that can't be."""
    if Path(path).suffix.lower() == ".svg":
        write_svg(path, dock, dock.size(), dock.view.title)
    else:
        save_picture(path if Path(path).suffix else f"{path}.png", picture_of(dock))


def write_svg(path: str, widget: QWidget, size: QSize, title: str) -> None:
    """Draw ``widget`` into an SVG file. Raises OSError when the file can't be written."""
    Path(path).open("wb").close()  # QSvgGenerator would fail without a word
    generator = QSvgGenerator()
    generator.setFileName(path)
    generator.setSize(size)
    generator.setViewBox(QRect(0, 0, size.width(), size.height()))
    generator.setTitle(title)
    generator.setDescription("Made by memviz")
    painter = QPainter(generator)
    widget.render(painter, QPoint(), QRegion(), QWidget.RenderFlag.DrawChildren)
    painter.end()


def write_csv(path: str, view: View) -> None:
    """Write the panel's table. Raises OSError when the file can't be written."""
    table = table_of(view)
    if table is not None:
        Path(path if Path(path).suffix else f"{path}.csv").write_text(as_csv(table), encoding="utf-8", newline="")


def copy_picture(dock: PanelDock) -> None:
    """Put the panel's picture on the clipboard."""
    QGuiApplication.clipboard().setPixmap(picture_of(dock))


def copy_table(view: View) -> None:
    """Put the panel's table on the clipboard, as spreadsheets like it."""
    table = table_of(view)
    if table is not None:
        QGuiApplication.clipboard().setText(as_tabs(table))
