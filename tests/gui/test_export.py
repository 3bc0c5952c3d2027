"""What is seen can be taken out: pictures and tables of every panel, to files and to the clipboard."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from xml.etree import ElementTree

import pytest
from PySide6.QtCore import QPoint
from PySide6.QtGui import QContextMenuEvent, QImage
from PySide6.QtWidgets import QApplication, QMenu, QMessageBox
from pytestqt.qtbot import QtBot

from memviz.gui import export
from memviz.gui.main_window import MainWindow

PANELS = (
    "heatmap", "slab_grid", "xarray_tree", "cpu_lanes", "contiguity", "request", "story", "events", "timeline",
    "charts", "policies",
)  # fmt: skip


@pytest.fixture
def busy(window: MainWindow) -> MainWindow:
    """A window in which something has happened."""
    for _ in range(3):
        window.session.pull()
    window.session.request(9)
    window.session.defragment()
    window.session.pull()
    return window


@pytest.mark.parametrize("ident", PANELS)
def test_every_panel_is_a_png_an_svg_and_a_csv(busy: MainWindow, tmp_path: Path, ident: str) -> None:
    dock = busy.docks.all[ident]
    dock.show()
    dock.raise_()
    busy.session.pull()
    for suffix in ("png", "svg", "csv"):
        busy.ask_file = lambda *_, suffix=suffix: str(tmp_path / f"a.{suffix}")  # type: ignore[method-assign]
        if suffix == "csv":
            busy.export_table(dock)
        else:
            busy.export_picture(dock)
    assert QImage(str(tmp_path / "a.png")).size() == dock.size()
    root = ElementTree.parse(tmp_path / "a.svg").getroot()
    assert root.tag.endswith("svg")
    assert len(list(root.iter())) > 10
    rows = list(csv.reader(io.StringIO((tmp_path / "a.csv").read_text(encoding="utf-8"))))
    assert len(rows) > 1
    assert len({len(row) for row in rows}) == 1


def test_the_table_of_contiguity_is_what_the_bars_show(busy: MainWindow) -> None:
    table = export.table_of(busy.contiguity)
    assert table is not None
    assert busy.contiguity.bars is not None
    assert len(table[1]) == 11
    assert table[1][0][1] == busy.session.snapshot.zones[0].nr_free()[0]  # type: ignore[union-attr]


def test_copying(busy: MainWindow) -> None:
    board = QApplication.clipboard()
    busy.views[0].setFocus()
    busy.actions_by_name["copy_table"].trigger()
    assert board.text().startswith("block\tfirst_pfn\tmigratetype\t")
    assert len(board.text().splitlines()) == 1 + 16
    busy.actions_by_name["copy_picture"].trigger()
    assert board.image().width() == busy.docks.all["heatmap"].width()


def test_the_panel_with_the_focus_is_meant(busy: MainWindow) -> None:
    busy.contiguity.setFocus()
    assert busy.current_panel() is busy.docks.all["contiguity"]


def test_the_context_menu_of_a_panel(qtbot: QtBot, busy: MainWindow, tmp_path: Path) -> None:
    dock = busy.docks.all["contiguity"]
    busy.ask_file = lambda *_: str(tmp_path / "bars.csv")  # type: ignore[method-assign]
    at = QPoint(20, 60)
    QApplication.sendEvent(dock, QContextMenuEvent(QContextMenuEvent.Reason.Mouse, at, dock.mapToGlobal(at)))
    menu = busy.findChild(QMenu, "export_menu")
    assert menu is not None
    assert [entry.text() for entry in menu.actions()] == [
        "Copy as picture",
        "Save as picture (PNG, SVG)…",
        "Copy as table",
        "Save as table (CSV)…",
    ]
    menu.actions()[3].trigger()
    menu.close()
    assert (tmp_path / "bars.csv").read_text().startswith("order,free_blocks,possible_blocks")


@pytest.mark.parametrize("suffix", ["png", "svg", "csv"])
def test_a_file_that_cannot_be_written_is_told(
    busy: MainWindow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    told: list[str] = []
    monkeypatch.setattr(QMessageBox, "warning", lambda *words: told.append(words[-1]))
    busy.ask_file = lambda *_: str(tmp_path / "no" / f"a.{suffix}")  # type: ignore[method-assign]
    if suffix == "csv":
        busy.export_table(busy.docks.all["events"])
    else:
        busy.export_picture(busy.docks.all["events"])
    assert len(told) == 1
    assert "can't be written" in told[0]
