"""The dialog that asks for a file."""

from __future__ import annotations

from pathlib import Path

import pytest
from PySide6.QtCore import QFileInfo, Qt, QTimer
from PySide6.QtGui import QColor, QImage
from PySide6.QtWidgets import QApplication, QCompleter, QLineEdit, QWidget
from pytestqt.qtbot import QtBot

from memviz.gui.files import FileDialog, ask_which
from memviz.gui.main_window import MainWindow
from memviz.gui.theme import Theme


def test_no_file_is_read_to_say_what_it_is(qtbot: QtBot, tmp_path: Path) -> None:
    """Below /proc some never end: the dialog stood still for good."""
    picture = tmp_path / "endless"
    assert QImage(2, 2, QImage.Format.Format_RGB32).save(str(picture), "png")
    parent = QWidget()
    qtbot.addWidget(parent)
    provider = FileDialog(parent, "Open", "All files (*)").iconProvider()
    assert provider.type(QFileInfo(str(picture))) == "File", "a picture, for who looks into it"
    assert provider.type(QFileInfo(str(tmp_path / "a.memviz"))) == "memviz File"
    assert provider.type(QFileInfo(str(tmp_path))) == "Folder"
    icons = [provider.icon(QFileInfo(str(path))) for path in (picture, tmp_path / "a.memviz", tmp_path)]
    assert icons[0].cacheKey() == icons[1].cacheKey() != icons[2].cacheKey()


@pytest.mark.parametrize("choice", ["dark", "light"])
def test_names_that_it_offers_can_be_read(qtbot: QtBot, theme: Theme, tmp_path: Path, choice: str) -> None:
    """They were black on black."""
    theme.choose(choice)
    theme.apply(QApplication.instance())  # type: ignore[arg-type]
    (tmp_path / "night.memviz").touch()
    parent = QWidget()
    qtbot.addWidget(parent)
    dialog = FileDialog(parent, "Open", "All files (*)")
    dialog.setDirectory(str(tmp_path))
    dialog.show()
    completer = dialog.findChild(QCompleter)
    assert completer is not None
    popup = completer.popup()
    popup.resize(200, 60)
    popup.ensurePolished()
    image = popup.grab().toImage()
    assert image.pixelColor(100, 50) == QColor(theme.color("ui.sunken"))
    dialog.close()


def test_it_gives_the_file_that_was_chosen(qtbot: QtBot, window: MainWindow, tmp_path: Path) -> None:
    path = tmp_path / "night.memviz"
    path.touch()

    def answer() -> None:
        dialog = window.findChild(FileDialog)
        assert dialog is not None
        field = dialog.findChild(QLineEdit, "fileNameEdit")
        assert field is not None
        field.setText(str(path))
        qtbot.keyClick(field, Qt.Key.Key_Return)

    QTimer.singleShot(0, window, answer)
    assert ask_which(window, "Open", "Recording (*.memviz)") == str(path)
    QTimer.singleShot(0, window, lambda: window.findChildren(FileDialog)[-1].reject())
    assert ask_which(window, "Open", "Recording (*.memviz)") == ""
