"""What can be taken out of the window: pictures, tables, the report of a run."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from PySide6.QtCore import QPoint, Qt
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QApplication, QFileDialog, QMainWindow, QMenu, QWidget

from memviz.gui import export, report
from memviz.gui.docks import Docks
from memviz.gui.files import FileDialog
from memviz.gui.jobs import JobLine, Progress
from memviz.gui.panel import PanelDock
from memviz.gui.render import tables
from memviz.gui.session import Session
from memviz.recording.format import SUFFIX


class TakesOut(QMainWindow):
    """The part of the main window that writes files and fills the clipboard; what takes long is a job."""

    session: Session
    docks: Docks
    jobs: JobLine

    def save_report(self) -> None:
        """Ask where to, and write what is known of this run."""
        path = self.ask_file("Save report", "memviz-report.json", "Report (*.json)")
        if path:
            found = report.build(self.session)
            self.write_file(path, ".json", lambda to, _: report.write(to, found))

    def save_picture(self) -> None:
        """Ask where to, and write a picture of the window."""
        picture = self.grab().toImage()
        path = self.ask_file("Save picture", "memviz.png", export.PICTURES)
        if path:
            draw = partial(export.drawing_of_all, self, self.windowTitle())
            export.begin_picture(self.jobs, path, picture, draw)

    # -- taking out what is seen

    def current_panel(self) -> PanelDock:
        """The panel that has the focus; the map when none has."""
        widget: QWidget | None = self.focusWidget()
        while widget is not None and not isinstance(widget, PanelDock):
            widget = widget.parentWidget()
        return widget if isinstance(widget, PanelDock) else self.docks.all["heatmap"]

    def export_picture(self, dock: PanelDock | None = None) -> None:
        """Ask where to, and write a picture of a panel."""
        panel = dock or self.current_panel()
        image = export.picture_of(panel).toImage()
        path = self.ask_file(f"Save {panel.view.title} as picture", f"{panel.view.ident}.png", export.PICTURES)
        if path:
            export.begin_picture(self.jobs, path, image, partial(export.drawing_of, panel))

    def export_table(self, dock: PanelDock | None = None) -> None:
        """Ask where to, and write the table of a panel."""
        panel = dock or self.current_panel()
        parts = export.parts_of(panel.view)
        if parts is None:
            self.tell(False, f"{panel.view.title} shows nothing that could be written as a table yet.")
            return
        path = self.ask_file(f"Save {panel.view.title} as table", f"{panel.view.ident}.csv", export.TABLES_KIND)
        if path:
            self.write_file(path, ".csv", partial(export.write_rows, parts))

    def export_frames(self) -> None:
        """Ask where to, and write every page frame of the instant that is shown."""
        snapshot = self.session.snapshot
        if snapshot is None or not snapshot.pages.nr:
            self.tell(False, "There are no page frames to write yet.")
            return
        path = self.ask_file("Save every page frame", "page-frames.csv", export.TABLES_KIND)
        if path:
            self.write_file(path, ".csv", partial(export.write_lines, tables.frames(snapshot)))

    def copy_text(self, dock: PanelDock | None = None) -> None:
        """A panel's words onto the clipboard."""
        panel = dock or self.current_panel()
        QGuiApplication.clipboard().setText(panel.view.as_text())
        self.tell(True, f"What {panel.view.title} says is on the clipboard.")

    def copy_picture(self, dock: PanelDock | None = None) -> None:
        """A panel's picture onto the clipboard."""
        panel = dock or self.current_panel()
        QGuiApplication.clipboard().setPixmap(export.picture_of(panel))
        self.tell(True, f"The picture of {panel.view.title} is on the clipboard.")

    def copy_table(self, dock: PanelDock | None = None) -> None:
        """A panel's table onto the clipboard."""
        panel = dock or self.current_panel()
        parts = export.parts_of(panel.view)
        if parts is None:
            self.tell(False, f"{panel.view.title} shows nothing that could be copied as a table yet.")
            return

        def done(text: object) -> str:
            if not text:
                return f"The table of {panel.view.title} is too long for the clipboard: save it as a file (Ctrl+E)."
            QGuiApplication.clipboard().setText(str(text))
            return f"The table of {panel.view.title} is on the clipboard."

        self.jobs.start(f"Copying {panel.view.title}", partial(export.rows_as_text, parts), done)

    def show_export_menu(self, dock: PanelDock, at: QPoint) -> None:
        """What can be taken out of a panel."""
        menu = QMenu(f"{dock.view.title}", self)
        menu.setObjectName("export_menu")
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        for words, act in (
            ("Copy as text", self.copy_text),
            ("Copy as picture", self.copy_picture),
            ("Save as picture (PNG, SVG)…", self.export_picture),
            ("Copy as table", self.copy_table),
            ("Save as table (CSV)…", self.export_table),
        ):
            menu.addAction(words).triggered.connect(partial(_with_panel, act, dock))
        if dock.view.ident == "heatmap":
            menu.addAction("Save every page frame (CSV)…").triggered.connect(self.export_frames)
        menu.popup(at)

    def ask_file(self, title: str, name: str, kinds: str) -> str:
        """The file that the user chose; empty when he did not. Tests put an answer here.

        The dialog completes the name, so that it asks before a file is written over whose ending was left out.
        """
        dialog = FileDialog(QApplication.activeWindow() or self, title, kinds)
        dialog.setAcceptMode(QFileDialog.AcceptMode.AcceptSave)
        dialog.setFileMode(QFileDialog.FileMode.AnyFile)
        dialog.setDefaultSuffix(Path(name).suffix)
        # No recording is ever written over: to ask whether it shall be would be to promise that.
        dialog.setOption(QFileDialog.Option.DontConfirmOverwrite, name.endswith(SUFFIX))
        dialog.filterSelected.connect(lambda kind: dialog.setDefaultSuffix(kind.rpartition("*")[2].rstrip(")")))
        dialog.selectFile(name)
        chosen = dialog.selectedFiles() if dialog.exec() else []
        dialog.deleteLater()
        return chosen[0] if chosen else ""

    def tell(self, ok: bool, sentence: str) -> None:
        """Say in the status line what became of something."""
        raise NotImplementedError

    def write_file(self, path: str, suffix: str, write: Callable[[Path, Progress], object]) -> None:
        """Begin to write a file; when it is there, or is not, a sentence says so. ``suffix``: if ``path`` has none."""
        export.begin_file(self.jobs, path, suffix, write)


def _with_panel(act: Callable[[PanelDock], None], dock: PanelDock, checked: bool = False) -> None:
    act(dock)
