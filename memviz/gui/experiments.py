"""The window's dealings with experiments: their page, its files, and a run that is brought to its moment."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from PySide6.QtCore import QObject, Signal, Slot
from PySide6.QtWidgets import QSizePolicy

from memviz.experiment.publish import brought_along
from memviz.experiment.run_source import ON_THE_WAY, run_spec
from memviz.experiment.table import Results, Run
from memviz.gui import export
from memviz.gui.files import ask_which
from memviz.gui.jobs import ProgressLine
from memviz.gui.opens import Scenario
from memviz.gui.session import Session
from memviz.gui.theme import Theme
from memviz.scenario import ScenarioError
from memviz.sources.continued import AGAIN
from memviz.sources.host import HostClient

if TYPE_CHECKING:
    from memviz.gui.experiment_page import ExperimentPage
    from memviz.gui.main_window import MainWindow

RESULTS_KIND: Final = "Results of an experiment (*.json.xz)"
_NUMBERS: Final = re.compile(rf"{ON_THE_WAY}([\d,]+) of ([\d,]+)\.|{AGAIN}(\d+) %")


class CatchUpBar(ProgressLine):
    """Shown while a run is brought to its moment, of an experiment or of a recording: how far it is, and a button that
    calls it off.
    """

    called_off = Signal()

    def __init__(self, session: Session, theme: Theme) -> None:
        super().__init__(theme, "catch_up", "Stop it where it is, and go back to where it was begun")
        self.session = session
        self.setAccessibleName("The run is brought to its moment")
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.cancel.setObjectName("catch_up_cancel")
        self.cancel.clicked.connect(self.called_off)
        session.changed.connect(self.look)

    @Slot()
    def look(self) -> None:
        """See how far it is."""
        snapshot = self.session.snapshot
        found = _NUMBERS.match(snapshot.notice) if snapshot is not None and self.session.usable else None
        if snapshot is None or found is None or not self.session.running:
            self.hide()
            return
        done, whole = (int((part or "100").replace(",", "")) for part in (found[1] or found[3], found[2]))
        there = "the moment of its demands" if found[1] else "where the recording stands"
        self.words.text = f"{snapshot.title}: on the way to {there} …"
        self.bar.setRange(0, whole)
        self.bar.setValue(done)
        self.show()


class Experiments(QObject):
    """The page, made when it is first wanted; what its buttons do."""

    def __init__(self, window: MainWindow) -> None:
        super().__init__(window)
        self.window = window
        self.page: ExperimentPage | None = None
        window.catch_up.called_off.connect(self.call_off)

    def show(self) -> ExperimentPage:
        """Cover the window with the page; the first time with the experiment that memviz brings along."""
        first = self.page is None
        page = self._made()
        if first:
            page.open_file(brought_along())
        page.enter()
        return page

    def _made(self) -> ExperimentPage:
        if self.page is None:
            from memviz.gui.experiment_page import ExperimentPage

            self.page = page = ExperimentPage(self.window.theme, self.window)
            self.window.docks.cover.under(page)
            page.open_wanted.connect(self.ask)
            page.run_wanted.connect(self.open_run)
            page.picture_wanted.connect(self.save_picture)
            page.table_wanted.connect(self.save_table)
        return self.page

    def ask(self) -> None:
        """Ask for a results file, and show it."""
        path = self.ask_file()
        if path:
            self.open(path)

    def ask_file(self) -> str:
        """The file that the user chose; empty when he did not. Tests put an answer here."""
        return ask_which(self.window, "Open the results of an experiment", RESULTS_KIND)

    def open(self, path: str) -> None:
        """Show a results file."""
        page = self._made()
        page.open_file(Path(path))
        page.enter()

    def abandon(self) -> None:
        """The window closes: nothing is read any more."""
        if self.page is not None:
            self.page.loading.abandon()

    # -- a run, live

    @Slot(object, object, int)
    def open_run(self, results: Results, run: Run, order: int) -> None:
        """Bring the machine of a run to the moment of its demands, in place of what runs."""
        window = self.window
        try:
            spec = run_spec(results, run)
        except ScenarioError as error:
            window.tell(False, str(error))
            return
        title = f"{run.policy}, seed {run.seed}: {run.scenario}"
        name = f"experiment: {title}"
        window.runs = [Scenario(name, title, partial(HostClient, spec))]
        if self.page is not None:
            self.page.leave()
        window.set_order(order)
        window.open_scenario(name)
        window.session.set_running(True)
        window.views[0].setFocus()

    @Slot()
    def call_off(self) -> None:
        """Stop a run on its way, and go back to the page, or to the recording that it goes on from."""
        if self.window.recordings.go_back():
            return
        self.window.session.set_running(False)
        self.window.catch_up.hide()
        self.show()

    # -- taking out

    def save_picture(self) -> None:
        """Ask where to, and write what the page shows."""
        page = self.page
        if page is None:
            return
        image = page.grab().toImage()
        path = self.window.ask_file("Save the experiment as picture", "experiment.png", export.PICTURES)
        if path:
            draw = partial(export.drawing_of_all, page, page.title.text())
            export.begin_picture(self.window.jobs, path, image, draw)

    def save_table(self) -> None:
        """Ask where to, and write every figure of every run."""
        parts = self.page.as_parts() if self.page is not None else None
        if parts is None:
            return
        path = self.window.ask_file("Save the experiment as table", "experiment.csv", export.TABLES_KIND)
        if path:
            export.begin_file(self.window.jobs, path, ".csv", partial(export.write_rows, parts))
