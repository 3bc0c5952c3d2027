"""What can be taken out of the window: pictures, tables, the report of a run."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from PySide6.QtCore import QPoint, Qt
from PySide6.QtWidgets import QFileDialog, QMainWindow, QMenu, QMessageBox, QWidget

from memviz.gui import export, report
from memviz.gui.docks import Docks
from memviz.gui.panel import PanelDock
from memviz.gui.session import Session


class TakesOut(QMainWindow):
    """The half of the main window that writes files and fills the clipboard."""

    session: Session
    docks: Docks

    def save_report(self) -> None:
        """Ask where to, and write what is known of this run."""
        path = self.ask_file("Save report", "memviz-report.json", "Report (*.json)")
        if path:
            self.write(path, lambda: report.write(path, self.session))

    def save_picture(self) -> None:
        """Ask where to, and write a picture of the window."""
        picture = self.grab()
        path = self.ask_file("Save picture", "memviz.png", "Picture (*.png)")
        if path:
            self.write(path, lambda: report.save_picture(path, picture))

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
        path = self.ask_file(f"Save {panel.view.title} as picture", f"{panel.view.ident}.png", export.PICTURES)
        if path:
            self.write(path, lambda: export.write_picture(path, panel))

    def export_table(self, dock: PanelDock | None = None) -> None:
        """Ask where to, and write the table of a panel."""
        panel = dock or self.current_panel()
        path = self.ask_file(f"Save {panel.view.title} as table", f"{panel.view.ident}.csv", export.TABLES_KIND)
        if path:
            self.write(path, lambda: export.write_csv(path, panel.view))

    def copy_picture(self, dock: PanelDock | None = None) -> None:
        """A panel's picture onto the clipboard."""
        export.copy_picture(dock or self.current_panel())

    def copy_table(self, dock: PanelDock | None = None) -> None:
        """A panel's table onto the clipboard."""
        export.copy_table((dock or self.current_panel()).view)

    def show_export_menu(self, dock: PanelDock, at: QPoint) -> None:
        """What can be taken out of a panel."""
        menu = QMenu(f"{dock.view.title}", self)
        menu.setObjectName("export_menu")
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        for words, act in (
            ("Copy as picture", self.copy_picture),
            ("Save as picture (PNG, SVG)…", self.export_picture),
            ("Copy as table", self.copy_table),
            ("Save as table (CSV)…", self.export_table),
        ):
            menu.addAction(words).triggered.connect(partial(_with_panel, act, dock))
        menu.popup(at)

    def ask_file(self, title: str, name: str, kinds: str) -> str:
        """The file that the user chose; empty when he did not. Tests put an answer here."""
        return QFileDialog.getSaveFileName(self, title, name, kinds)[0]

    def write(self, path: str, writer: Callable[[], None]) -> None:
        """Write a file; say in one sentence what is wrong when that fails."""
        try:
            writer()
        except OSError as error:
            QMessageBox.warning(self, "memviz", f"{path} can't be written: {error.strerror}. Choose another folder.")


def _with_panel(act: Callable[[PanelDock], None], dock: PanelDock, checked: bool = False) -> None:
    act(dock)
