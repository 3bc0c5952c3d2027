"""The dialog that asks for a file, and what it does not do: read the files that it lists."""

from __future__ import annotations

from PySide6.QtCore import QFileInfo
from PySide6.QtGui import QAbstractFileIconProvider, QIcon
from PySide6.QtWidgets import QApplication, QFileDialog, QFileIconProvider, QStyle, QWidget

from memviz.recording.format import SUFFIX

RECORDING_KIND = f"Recording (*{SUFFIX})"
_Kind = QAbstractFileIconProvider.IconType


class KindsByName(QFileIconProvider):
    """What a file is, by its name alone. Qt reads its beginning otherwise, and below /proc there are files that never
    come to an end, or that keep whoever reads them until there is something to read."""

    def __init__(self) -> None:
        super().__init__()
        style = QApplication.style()  # now: dialogs ask from a thread of their own
        self._folder = style.standardIcon(QStyle.StandardPixmap.SP_DirIcon)
        self._file = style.standardIcon(QStyle.StandardPixmap.SP_FileIcon)

    def icon(self, what: QFileInfo | _Kind) -> QIcon:
        """A folder's or a file's."""
        if isinstance(what, QFileInfo):
            return self._folder if what.isDir() else self._file
        return super().icon(what)

    def type(self, info: QFileInfo) -> str:
        """In the column *Type*."""
        return "Folder" if info.isDir() else f"{info.suffix()} File" if info.suffix() else "File"


class FileDialog(QFileDialog):
    """The dialog of the desktop, or Qt's own where there is none."""

    def __init__(self, parent: QWidget, title: str, kinds: str) -> None:
        super().__init__(parent, title, "", kinds)
        self._provider = KindsByName()  # which Qt does not keep
        self.setIconProvider(self._provider)


def ask_which(parent: QWidget, title: str, kinds: str) -> str:
    """A file that there is; empty when nobody chose one."""
    dialog = FileDialog(parent, title, kinds)
    dialog.setFileMode(QFileDialog.FileMode.ExistingFile)
    chosen = dialog.selectedFiles() if dialog.exec() else []
    dialog.deleteLater()
    return chosen[0] if chosen else ""
