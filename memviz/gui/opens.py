"""What can be opened in the window: scenarios and their guided runs, cases of the race lab, this machine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from PySide6.QtCore import Slot
from PySide6.QtGui import QAction, QDragEnterEvent, QDragMoveEvent, QDropEvent

from memviz.gui import drops
from memviz.gui.gallery import Entry, Gallery
from memviz.gui.guide import GuideBar
from memviz.gui.panel import View
from memviz.gui.session import STARTED_AGAIN, Client
from memviz.gui.settings import Settings
from memviz.gui.takeout import TakesOut
from memviz.gui.theme import Theme
from memviz.gui.transport import TopBar
from memviz.snapshot import Outcome
from memviz.sources.base import LIVE

if TYPE_CHECKING:
    from memviz.gui.experiments import Experiments
    from memviz.gui.recordings import Recordings


@dataclass(frozen=True, slots=True)
class Scenario:
    """One entry of the scenario chooser."""

    name: str
    title: str
    make: Callable[[], Client]
    """Makes the near end of a source that runs it; ``start`` has not been called."""
    guided: Callable[[], Client] | None = None
    """The same for a guided run."""
    entry: Entry | None = None
    """What its card on the start page says."""


class OpensRuns(TakesOut):
    """The part of the main window that puts one source in place of another."""

    scenarios: list[Scenario]
    races: list[Scenario]
    runs: list[Scenario]
    """The run of an experiment that was opened last, if there was one."""
    scenario: str
    """Name of the one that is open; empty: none."""
    guided: bool
    again: Callable[[], None] | None
    """Starts what is shown from its beginning, when that is no scenario."""
    gallery: Gallery | None
    recordings: Recordings
    experiments: Experiments
    settings: Settings
    theme: Theme
    views: list[View]
    top_bar: TopBar
    guide: GuideBar
    actions_by_name: dict[str, QAction]

    @Slot(str)
    def open_scenario(self, name: str, guided: bool = False) -> None:
        """Start the source of a scenario, in place of the one that runs."""
        found = next((one for one in (*self.scenarios, *self.races, *self.runs) if one.name == name), None)
        if found is None:
            return
        self.scenario = name
        self.again = None
        offered = self.scenarios
        if found in self.races or found in self.runs:
            offered = [*offered, found]
        else:
            self.settings.scenario = name
        self.docks.all["stepper" if found in self.races else "heatmap"].raise_()
        self.top_bar.set_scenarios([(one.name, one.title) for one in offered], name)
        self.setWindowTitle(f"{found.title} — memviz")
        self.guided = guided and found.guided is not None
        self.session.open(found.guided if self.guided and found.guided is not None else found.make)
        self.uncover()

    @Slot(str)
    def open_race(self, name: str) -> None:
        """Open a case of the race lab, at its start."""
        self.open_scenario(name)

    def restart(self) -> None:
        """Start the scenario, or the recording, from its beginning: the same run, with nothing turned."""
        turned = "; ".join(self.session.turned.values())
        if self.again is not None:
            self.again()
        else:
            self.open_scenario(self.scenario, self.guided)
        if turned:
            words = f"Started again, with policies and sliders as they were at first. No longer changed: {turned}."
            self.session.outcome = Outcome(-1, STARTED_AGAIN, True, words)
            self.session.changed.emit()

    def show_gallery(self) -> None:
        """The start page."""
        if self.gallery is None:
            entries = [one.entry or Entry(one.name, one.title) for one in self.scenarios]
            others = [self.actions_by_name["experiment"], self.actions_by_name["open_recording"]]
            self.gallery = Gallery(self.theme, entries, others, self)
            self.gallery.chosen.connect(self._card_chosen)
            self.docks.cover.under(self.gallery)
        self.gallery.can_close = self.session.client is not None
        self.gallery.enter(self.scenario or self.settings.scenario)

    @Slot(str, bool)
    def _card_chosen(self, name: str, guided: bool) -> None:
        self.open_scenario(name, guided)
        self.session.set_running(True)
        self.views[0].setFocus()

    def open_this_machine(self) -> None:
        """The Linux machine that the window runs on."""
        self._card_chosen(LIVE, False)

    # -- what is dropped onto the window

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        """Files can be dropped."""
        if drops.files_of(event.mimeData()):
            drops.take_copy(event)

    def dragMoveEvent(self, event: QDragMoveEvent) -> None:
        """They can everywhere."""
        drops.take_copy(event)

    def dropEvent(self, event: QDropEvent) -> None:
        """Open a recording, or the results of an experiment; say what to do with anything else."""
        drops.take_copy(event)
        path, left = drops.choose(drops.files_of(event.mimeData()))
        if drops.kind_of(path) == "recording":
            self.recordings.open(str(path))
        elif drops.kind_of(path) == "experiment":
            self.experiments.open(str(path))
        else:
            self.tell(False, drops.what_instead(path))
        if left and drops.kind_of(path):
            self.tell(False, f"One file at a time: {path.name} was taken, {left} more were left.")

    @property
    def covered(self) -> bool:
        """The start page, or that of an experiment, lies over the panels."""
        return bool(self.docks.cover.there)

    def uncover(self) -> None:
        """Take away what lies over the panels: the start page, or that of an experiment."""
        if self.experiments.page is not None and not self.experiments.page.isHidden():
            self.experiments.page.leave()
        if self.gallery is not None:
            self.gallery.can_close = True
            self.gallery.leave()

    # -- guided runs

    def next_stop(self) -> None:
        """On to the next moment of a guided run."""
        guide = self.guide.guide
        if guide is not None and guide.next_ops >= 0 and not self.session.running:
            self.look_at_panel("")
            self.session.set_running(True)

    def end_tour(self) -> None:
        """The same scenario, without stops."""
        self.open_scenario(self.scenario)
        self.session.set_running(True)

    @Slot(str)
    def look_at_panel(self, ident: str) -> None:
        """Bring a panel to the front and frame it; none of that for an ident that no panel has."""
        for name, dock in self.docks.all.items():
            dock.attention = name == ident
            if dock.attention:
                dock.show()
                dock.raise_()
