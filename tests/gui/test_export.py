"""What is seen can be taken out: pictures and tables of every panel, to files and to the clipboard."""

from __future__ import annotations

import base64
import csv
import errno
import io
import itertools
import os
import tracemalloc
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PySide6.QtCore import QPoint, QTimer
from PySide6.QtGui import QContextMenuEvent, QImage, QImageReader
from PySide6.QtWidgets import QApplication, QFileDialog, QLineEdit, QMenu
from pytestqt.qtbot import QtBot

from memviz.gui import export
from memviz.gui.jobs import Progress, to_file
from memviz.gui.main_window import MainWindow
from memviz.gui.render import tables
from memviz.kernel.page import MIGRATETYPE_NAMES, OWNER_NAMES
from memviz.snapshot import Pages, Snapshot
from tests.gui.synthetic import empty_snapshot

PANELS = (
    "heatmap", "slab_grid", "xarray_tree", "cpu_lanes", "contiguity", "request", "story", "events", "timeline",
    "charts", "policies",
)  # fmt: skip


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """A folder for what is taken out."""
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


def finished(qtbot: QtBot, window: MainWindow) -> None:
    """Wait until all files are written and that has been told."""
    qtbot.waitUntil(lambda: not window.jobs.jobs)


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
def test_every_panel_is_a_png_an_svg_and_a_csv(qtbot: QtBot, busy: MainWindow, out: Path, ident: str) -> None:
    dock = busy.docks.all[ident]
    dock.show()
    dock.raise_()
    busy.session.pull()
    for suffix in ("png", "svg", "csv"):
        busy.ask_file = lambda *_, suffix=suffix: str(out / f"a.{suffix}")  # type: ignore[method-assign]
        if suffix == "csv":
            busy.export_table(dock)
        else:
            busy.export_picture(dock)
        finished(qtbot, busy)
        assert busy.status.told.sign == "✓"
        assert busy.status.told.words.startswith(f"a.{suffix} is written: ")
    assert sorted(os.listdir(out)) == ["a.csv", "a.png", "a.svg"]
    assert QImage(str(out / "a.png")).size() == dock.size()
    root = ElementTree.parse(out / "a.svg").getroot()
    assert root.tag.endswith("svg")
    assert len(list(root.iter())) > 10
    rows = list(csv.reader(io.StringIO((out / "a.csv").read_text(encoding="utf-8"))))
    assert len(rows) > 1
    assert len({len(row) for row in rows}) == 1


@pytest.mark.parametrize(("name", "kind"), [("a.jpg", b"jpeg"), ("a.JPEG", b"jpeg"), ("a.png", b"png"), ("a", b"png")])
def test_a_picture_is_what_its_name_says(qtbot: QtBot, busy: MainWindow, out: Path, name: str, kind: bytes) -> None:
    busy.ask_file = lambda *_: str(out / name)  # type: ignore[method-assign]
    busy.save_picture()
    finished(qtbot, busy)
    (written,) = out.iterdir()
    assert bytes(QImageReader.imageFormat(str(written)).data()) == kind
    assert QImage(str(written)).size() == busy.size()


def test_a_picture_of_another_kind_is_refused(qtbot: QtBot, busy: MainWindow, out: Path) -> None:
    busy.ask_file = lambda *_: str(out / "a.gif")  # type: ignore[method-assign]
    for act in (busy.save_picture, busy.export_picture):
        act()
        finished(qtbot, busy)
        said = "a.gif: a picture is a .png, .jpg or .svg, not a .gif: choose another name."
        assert (busy.status.told.sign, busy.status.told.words) == ("✗", said)
    assert not list(out.iterdir())


def test_the_map_in_a_drawing_is_the_map(qtbot: QtBot, busy: MainWindow, out: Path) -> None:
    busy.ask_file = lambda *_: str(out / "a.svg")  # type: ignore[method-assign]
    view = busy.views[0]
    before = view.bitmap()
    busy.export_picture(busy.docks.all["heatmap"])
    finished(qtbot, busy)
    images = list(ElementTree.parse(out / "a.svg").getroot().iter("{http://www.w3.org/2000/svg}image"))
    largest = max(images, key=lambda one: float(one.attrib["width"]))  # the others are icons of its buttons
    data = largest.attrib["{http://www.w3.org/1999/xlink}href"].partition("base64,")[2]
    inside = QImage.fromData(base64.b64decode(data))
    assert before is not None
    assert inside.convertToFormat(QImage.Format.Format_RGB32) == before.convertToFormat(QImage.Format.Format_RGB32)
    assert view.bitmap() == before


def test_the_table_of_contiguity_is_what_the_bars_show(busy: MainWindow) -> None:
    parts = export.parts_of(busy.contiguity)
    assert parts is not None
    assert busy.contiguity.bars is not None
    _, *rows = [row for part in parts.rows for row in part]
    assert len(rows) == 11
    assert rows[0][1] == busy.session.snapshot.zones[0].nr_free()[0]  # type: ignore[union-attr]


def test_copying(qtbot: QtBot, busy: MainWindow) -> None:
    board = QApplication.clipboard()
    busy.views[0].setFocus()
    busy.actions_by_name["copy_table"].trigger()
    finished(qtbot, busy)
    assert board.text().startswith("block\tfirst_pfn\tmigratetype\t")
    assert len(board.text().splitlines()) == 1 + 16
    busy.actions_by_name["copy_picture"].trigger()
    assert board.image().width() == busy.docks.all["heatmap"].width()


def test_the_panel_with_the_focus_is_meant(busy: MainWindow) -> None:
    busy.contiguity.setFocus()
    assert busy.current_panel() is busy.docks.all["contiguity"]


def test_the_context_menu_of_a_panel(qtbot: QtBot, busy: MainWindow, out: Path) -> None:
    dock = busy.docks.all["contiguity"]
    busy.ask_file = lambda *_: str(out / "bars.csv")  # type: ignore[method-assign]
    at = QPoint(20, 60)
    QApplication.sendEvent(dock, QContextMenuEvent(QContextMenuEvent.Reason.Mouse, at, dock.mapToGlobal(at)))
    menu = busy.findChild(QMenu, "export_menu")
    assert menu is not None
    assert [entry.text() for entry in menu.actions()] == [
        "Copy as text",
        "Copy as picture",
        "Save as picture (PNG, SVG)…",
        "Copy as table",
        "Save as table (CSV)…",
    ]
    menu.actions()[0].trigger()
    lines = QApplication.clipboard().text().splitlines()
    assert [line.split(" (")[0] for line in lines[1:]] == [f"order {order}" for order in range(11)], "all that is seen"
    menu.actions()[4].trigger()
    menu.close()
    finished(qtbot, busy)
    assert (out / "bars.csv").read_text().startswith("order,free_blocks,possible_blocks")


@pytest.mark.parametrize("suffix", ["png", "svg", "csv"])
def test_a_file_that_cannot_be_written_is_told(qtbot: QtBot, busy: MainWindow, out: Path, suffix: str) -> None:
    busy.ask_file = lambda *_: str(out / "no" / f"a.{suffix}")  # type: ignore[method-assign]
    if suffix == "csv":
        busy.export_table(busy.docks.all["events"])
    else:
        busy.export_picture(busy.docks.all["events"])
    finished(qtbot, busy)
    assert busy.status.told.sign == "✗"
    path = out / "no" / f"a.{suffix}"
    assert busy.status.told.words == f"{path} can't be written: No such file or directory. Choose another folder."


def test_a_file_that_was_there_stays_when_the_new_one_fails(qtbot: QtBot, busy: MainWindow, out: Path) -> None:
    path = out / "a.csv"
    path.write_text("what was there")

    def full(to: Path, progress: Progress) -> None:
        to.write_text("the beg")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(to))

    busy.jobs.start("Saving a.csv", to_file(path, full), str)
    finished(qtbot, busy)
    assert busy.status.told.words == f"{path} can't be written: No space left on device. Choose another folder."
    assert path.read_text() == "what was there"
    assert os.listdir(out) == ["a.csv"]


def large() -> Snapshot:
    """64 GiB, every page frame of which tells its own number in owner and stamp."""
    nr = 1 << 24
    owner = np.tile(np.arange(8, dtype=np.uint8), nr // 8)
    owner[-1] = 9
    pages = Pages(owner, np.zeros(nr, np.uint8), np.zeros(nr, np.uint8), np.zeros(nr, np.uint32))
    return replace(empty_snapshot(), pages=pages, pageblock_mt=np.ones(nr // 512, np.uint8))


def test_every_page_frame_is_written_exactly(qtbot: QtBot, busy: MainWindow, out: Path) -> None:
    busy.ask_file = lambda *_: str(out / "frames")  # type: ignore[method-assign]
    busy.actions_by_name["export_frames"].trigger()
    finished(qtbot, busy)
    rows = list(csv.reader(io.StringIO((out / "frames.csv").read_text(encoding="utf-8"))))
    assert rows[0] == ["pfn", "owner", "order", "migratetype_of_block", "flags", "allocated_at_ms"]
    snapshot = busy.session.snapshot
    assert snapshot is not None
    assert [int(row[0]) for row in rows[1:]] == list(range(8192))
    assert [row[1] for row in rows[1:]] == [OWNER_NAMES[code] for code in snapshot.pages.owner]
    assert [row[2] for row in rows[1:]] == ["" if o == 255 else str(o) for o in snapshot.pages.order.tolist()]
    assert [int(row[5] or 0) for row in rows[1:]] == snapshot.pages.stamp.tolist()


def test_while_a_large_memory_is_written_the_window_goes_on(qtbot: QtBot, busy: MainWindow, out: Path) -> None:
    """Called off on the way: no file is left. Meanwhile the window's events go on."""
    busy.session.snapshot = large()
    busy.ask_file = lambda *_: str(out / "frames.csv")  # type: ignore[method-assign]
    place = busy.status.geometry()
    busy.actions_by_name["export_frames"].trigger()
    turns = 0
    while not busy.jobs.isVisible() or busy.jobs.bar.value() < 10:
        QApplication.processEvents()
        turns += 1
        assert busy.jobs.jobs, busy.status.told.words
    assert turns > 20, "the window answers while another thread writes"
    assert busy.jobs.words.text == "Saving frames.csv …"
    assert busy.status.geometry() == place, "nothing moves"
    assert busy.status.rect().contains(busy.jobs.geometry())
    assert busy.jobs.cancel.accessibleName() == "Call off: Saving frames.csv"
    assert len(os.listdir(out)) == 1, "nothing but a part"
    busy.jobs.cancel.click()
    finished(qtbot, busy)
    assert os.listdir(out) == []
    assert busy.status.told.words == "Saving frames.csv: called off, nothing was written."
    assert not busy.jobs.isVisible()


def test_a_large_memory_is_written_in_bounded_memory(out: Path) -> None:
    """The file grows, what is needed to write it doesn't."""
    lines = tables.frames(large())
    some = tables.Lines(itertools.islice(lines.text, 60), lines.nr)
    path = out / "frames.csv"
    tracemalloc.start()
    export.write_lines(some, path, Progress())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(path.read_text().splitlines()) == 1 + 59 * tables.FRAMES_A_PART
    assert lines.nr == 1 + (1 << 24) // tables.FRAMES_A_PART
    assert 2 * peak < path.stat().st_size < 16 << 20


def test_the_table_of_a_large_map_is_exact(out: Path) -> None:
    table = tables.heatmap(large())
    assert len(table[1]) == 1 << 15
    assert table[1][0] == [0, 0, MIGRATETYPE_NAMES[1], *([64] * 8), *([0] * (len(OWNER_NAMES) - 8))]
    assert table[1][-1][3 + 7] == 63
    assert table[1][-1][3 + 9] == 1
    assert all(sum(row[3:]) == 512 for row in table[1])  # type: ignore[arg-type]


def test_closing_the_window_calls_work_off(qtbot: QtBot, busy: MainWindow, out: Path) -> None:
    busy.session.snapshot = large()
    busy.ask_file = lambda *_: str(out / "frames.csv")  # type: ignore[method-assign]
    busy.actions_by_name["export_frames"].trigger()
    busy.close()
    assert os.listdir(out) == []


def test_what_is_too_long_for_the_clipboard_is_told(
    qtbot: QtBot, busy: MainWindow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "CLIPBOARD_MOST", 100)
    QApplication.clipboard().setText("what was there")
    busy.copy_table(busy.docks.all["heatmap"])
    finished(qtbot, busy)
    words = "The table of Physical memory is too long for the clipboard: save it as a file (Ctrl+E)."
    assert busy.status.told.words == words
    assert QApplication.clipboard().text() == "what was there"


def test_the_dialog_completes_a_name_so_that_it_can_ask_before_it_writes_over_a_file(
    qtbot: QtBot, busy: MainWindow, out: Path
) -> None:
    """A name without an ending was completed behind its back: what stood there was gone."""

    def answer() -> None:
        dialog = busy.findChild(QFileDialog)
        assert dialog is not None
        dialog.selectNameFilter("Drawing (*.svg)")
        dialog.filterSelected.emit("Drawing (*.svg)")
        field = dialog.findChild(QLineEdit, "fileNameEdit")
        assert field is not None
        field.setText(str(out / "map"))
        dialog.accept()

    QTimer.singleShot(0, busy, answer)
    assert MainWindow.ask_file(busy, "Save", "heatmap.png", export.PICTURES) == str(out / "map.svg")
