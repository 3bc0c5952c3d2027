"""The window: puts the panels around one session, one selection and one theme, and does what the actions say."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Final, TypeVar

from PySide6.QtCore import QByteArray, Qt, Slot
from PySide6.QtGui import QCloseEvent, QResizeEvent, QShowEvent
from PySide6.QtWidgets import QApplication, QMenu, QMessageBox, QVBoxLayout, QWidget

from memviz.gui import actions, choices, dialogs, panels, tab_order
from memviz.gui.docks import Docks, PanelAction
from memviz.gui.experiments import CatchUpBar, Experiments
from memviz.gui.feed import Feed
from memviz.gui.guide import GuideBar
from memviz.gui.jobs import JobLine
from memviz.gui.memory_commands import MemoryCommands
from memviz.gui.notes import RecordingNotes
from memviz.gui.opens import OpensRuns, Scenario
from memviz.gui.panel import View
from memviz.gui.recordings import Recordings
from memviz.gui.selection import Selection
from memviz.gui.session import SPEEDS, Session
from memviz.gui.settings import VERSION, Settings
from memviz.gui.theme import CHOICES, Theme
from memviz.gui.transport import TopBar
from memviz.gui.views.charts import ChartsView
from memviz.gui.views.contiguity import ContiguityView
from memviz.gui.views.events import EventsView
from memviz.gui.views.heatmap import HeatmapView
from memviz.gui.views.notes import NotesView
from memviz.gui.views.policies import PoliciesView
from memviz.gui.views.request import RequestView
from memviz.gui.views.status import StatusLine
from memviz.gui.views.stepper import StepperView
from memviz.gui.views.story import StoryView
from memviz.gui.views.timeline import TimelineView
from memviz.snapshot import Outcome

FIRST_SIZE: Final = (1680, 1050)
AView = TypeVar("AView", bound=View)


_ANSWERS: Final = {"RequestPages": "request", "Defragment": "story", "Compact": "contiguity"}
"""Which panel tells most about what became of a command."""

__all__ = ["FIRST_SIZE", "MainWindow", "Scenario"]


class MainWindow(OpensRuns):
    """The window. ``open_scenario`` starts a source; closing the window ends it."""

    session: Session
    selection: Selection
    recordings: Recordings
    experiments: Experiments
    memory: MemoryCommands

    def __init__(
        self, scenarios: Sequence[Scenario], theme: Theme, settings: Settings, races: Sequence[Scenario] = ()
    ) -> None:
        """``races``: cases of the race lab, which its panel lists."""
        super().__init__()
        self.setObjectName("main_window")
        self.setWindowTitle("memviz")
        self.theme = theme
        self.settings = settings
        self.selection = Selection(self)
        self.session = Session(self.selection, self)
        self.notes = RecordingNotes(self.session)
        self.scenarios = list(scenarios)
        self.races = list(races)
        self.runs = []
        self.scenario = ""
        self.guided = False
        self.again = None
        self.gallery = None
        self._order = settings.order
        self._speed_before = 30_000
        self._arranged = False
        self._answered = 0
        self.resize(*FIRST_SIZE)
        self.setMinimumSize(900, 560)
        self.setAcceptDrops(True)
        self.setContentsMargins(6, 3, 6, 6)
        self.actions_by_name = actions.build(self)
        self._make_views()
        self._make_bars()
        self.docks = Docks(self, self.views)
        self.feed = Feed(self.session, self.docks, self)
        self.views[0].setFocus()
        self._connect()
        self.recordings = Recordings(self)
        self.experiments = Experiments(self)
        self.memory = MemoryCommands(self)
        self.set_order(self._order)
        self._paint()
        self._session_changed()
        choices.restore(self.views, settings)
        geometry, state = settings.layout()
        self._restore(geometry, state)

    # -- making it

    def _make_views(self) -> None:
        self.views = panels.make(self)
        self.heatmap = self._view(HeatmapView)
        self.contiguity = self._view(ContiguityView)
        self.request_view = self._view(RequestView)
        self.events = self._view(EventsView)
        self.story = self._view(StoryView)
        self.timeline = self._view(TimelineView)
        self.charts = self._view(ChartsView)
        self.notes_view = self._view(NotesView)
        self.policies = self._view(PoliciesView)
        self.stepper = self._view(StepperView)

    def _view(self, kind: type[AView]) -> AView:
        return next(view for view in self.views if isinstance(view, kind))

    def _make_bars(self) -> None:
        self.menu = self._make_menu()
        self.top_bar = TopBar(self.session, self.theme, self.actions_by_name, self.menu)
        self.status = StatusLine(self.session, self.theme)
        self.guide = GuideBar(self.theme)
        self.jobs = JobLine(self.theme, self.status)
        self.catch_up = CatchUpBar(self.session, self.theme)
        head = QWidget()
        box = QVBoxLayout(head)
        box.setContentsMargins(0, 0, 0, 5)
        box.setSpacing(0)
        box.addWidget(self.top_bar)
        box.addWidget(self.status)
        box.addWidget(self.guide)
        box.addWidget(self.catch_up)
        self.setMenuWidget(head)

    def _make_menu(self) -> QMenu:
        menu = QMenu("memviz", self)
        menus: dict[str, QMenu] = {}
        for act in actions.ACTIONS:
            parent = menu
            path = ""
            for part in act.menu.split("/"):
                path = f"{path}/{part}"
                if path not in menus:
                    menus[path] = parent.addMenu(part)
                parent = menus[path]
            parent.addAction(self.actions_by_name[act.ident])
        self._panels_menu = menus["/View"].addMenu("Panels")
        return menu

    def _connect(self) -> None:
        for number, dock in enumerate(self.docks.all.values(), 1):
            go = PanelAction(dock, number, self)
            self._panels_menu.addAction(go)
            self.addAction(go)
            dock.export_wanted.connect(partial(self.show_export_menu, dock))
        self.session.changed.connect(self._session_changed)
        self.session.opened.connect(self._session_opened)
        self.theme.changed.connect(self._theme_changed)
        self.top_bar.scenario_chosen.connect(self.open_scenario)
        self.top_bar.order_chosen.connect(self.set_order)
        self.contiguity.order_picked.connect(self.set_order)
        self.status.save_report.connect(self.save_report)
        self.stepper.commanded.connect(self.session.send)
        self.stepper.case_chosen.connect(self.open_race)
        self.policies.policy_wanted.connect(self.session.set_policy)
        self.policies.control_wanted.connect(self.session.set_workload)
        self.guide.next_wanted.connect(self.next_stop)
        self.guide.left.connect(self.end_tour)
        self.guide.arrived.connect(self.look_at_panel)
        self.jobs.told.connect(self.tell)

    # -- snapshots to views

    @Slot()
    def _session_changed(self) -> None:
        self.top_bar.show_session()
        self.status.show_session()
        self.memory.show_session(self._order)
        self.actions_by_name["record"].setChecked(self.session.recording)
        if self.session.snapshot is not None:
            self.guide.show_snapshot(self.session.snapshot)
            self.docks.suit(self.memory.real and self.session.snapshot.pages.nr > 0)
        self._show_answer()
        self.feed.show()

    @Slot()
    def _session_opened(self) -> None:
        self._answered = 0
        self.selection.forget()
        self.feed.forget()
        self.guide.forget()
        self.look_at_panel("")

    def _show_answer(self) -> None:
        """Bring to the front what tells how a command of the user went; the keyboard stays where it is."""
        outcome = self.session.outcome
        if outcome is None or outcome.number <= self._answered:
            return
        self._answered = outcome.number
        ident = _ANSWERS.get(outcome.command, "")
        if ident == "story" and self.memory.real:
            return  # which has no passes to tell about
        self.docks.bring(ident)

    @Slot(bool, str)
    def tell(self, ok: bool, sentence: str) -> None:
        """Say in the status line what became of something, and on the page that lies over it."""
        self.session.outcome = Outcome(-1, "", ok, sentence)
        self.status.show_session()
        for page in self.docks.cover.there:
            page.tell(sentence)

    # -- what the actions do

    @Slot(int)
    def set_order(self, order: int) -> None:
        """Choose the order that the request button asks for, and that the charts are about."""
        self._order = order
        self.settings.order = order
        self.top_bar.set_order(order)
        self.contiguity.set_order(order)
        self.timeline.set_order(order)

    def request_order(self, order: int | None = None) -> None:
        """Ask for a block of the chosen order, or of another, which is the chosen one from then on."""
        if order is not None:
            self.set_order(order)
        self.memory.request(self._order)

    def toggle_fast(self) -> None:
        """Full speed, or the speed of before."""
        if self.session.speed == 0:
            self.session.set_speed(self._speed_before)
        else:
            self._speed_before = self.session.speed
            self.session.set_speed(0)

    def change_speed(self, steps: int) -> None:
        """Faster or slower by steps of the slider."""
        at = SPEEDS.index(self.session.speed) if self.session.speed in SPEEDS else len(SPEEDS) - 1
        self.session.set_speed(SPEEDS[min(len(SPEEDS) - 1, max(0, at + steps))])

    def find_events(self) -> None:
        """Bring the events to the front, with the cursor in their search field."""
        dock = self.docks.all["events"]
        dock.show()
        dock.raise_()
        self.events.focus_search()

    def go_to_page(self) -> None:
        """Bring the map to the front, with a line to type a page frame number into."""
        dock = self.docks.all["heatmap"]
        dock.show()
        dock.raise_()
        self.heatmap.go_to.open()

    def move_time(self, end: int) -> None:
        """The time cursor to the first instant (-1), or away (1); a recording to its first instant, or its last."""
        times = self.session.history.times
        self.timeline.show_all()
        if self.session.playing and times.size:
            self.recordings.seek(int(times[0 if end < 0 else -1]))
        else:
            self.selection.select_time(int(times[0]) if end < 0 and times.size else -1)

    def clear_selection(self) -> None:
        """Select nothing."""
        self.selection.clear()

    def reset_layout(self) -> None:
        """All panels where they were at first."""
        self.settings.forget_layout()
        self.docks.arrange()

    def choose_theme(self, choice: str) -> None:
        """Dark, light, or what the desktop has."""
        self.settings.theme = choice
        self.theme.choose(choice)
        self._paint_choice()

    def toggle_full_screen(self) -> None:
        """Only this window on the screen, or not."""
        self.setWindowState(self.windowState() ^ Qt.WindowState.WindowFullScreen)

    def show_help(self) -> None:
        """The help pages."""
        dialogs.HelpDialog(self).show()

    def show_keys(self) -> None:
        """All keys."""
        dialogs.KeysDialog(self).show()

    def show_palette(self) -> None:
        """Anything that can be done, by its name."""
        dialogs.Palette(self).show()

    def show_about(self) -> None:
        """Version and licences."""
        QMessageBox.about(self, "About memviz", dialogs.about_text())

    # -- the look

    @Slot()
    def _theme_changed(self) -> None:
        app = QApplication.instance()
        if isinstance(app, QApplication):
            self.theme.apply(app)
        self._paint()

    def _paint(self) -> None:
        actions.paint_icons(self.actions_by_name, self.theme)
        self.top_bar.show_session()
        self._paint_choice()

    def _paint_choice(self) -> None:
        for choice in CHOICES:
            self.actions_by_name[f"theme_{choice}"].setChecked(self.theme.choice == choice)

    # -- the window as such

    def _restore(self, geometry: QByteArray, state: QByteArray) -> None:
        if geometry.size():
            self.restoreGeometry(geometry)
        if state.size():
            self._arranged = self.restoreState(state, VERSION)

    def focusNextPrevChild(self, next: bool) -> bool:
        """Tab."""
        tabs = self.docks.tab_bars()
        bars = (self.top_bar, self.status, self.guide)
        return tab_order.go(tab_order.stops(bars, self.docks.all.values(), tabs), next)

    def resizeEvent(self, event: QResizeEvent) -> None:
        """The start page covers all of it."""
        super().resizeEvent(event)
        if self.gallery is not None:
            self.gallery.setGeometry(self.rect())

    def showEvent(self, event: QShowEvent) -> None:
        """Give the panels their shares the first time that the window's size is known."""
        super().showEvent(event)
        if not self._arranged:
            self._arranged = True
            self.docks.size()

    def closeEvent(self, event: QCloseEvent) -> None:
        """Remember the layout, and end the source."""
        self.docks.cover.bring_back()  # a layout of before a page came is the one to remember
        self.docks.suit(False)
        choices.remember(self.views, self.settings)
        self.settings.save_layout(self.saveGeometry(), self.saveState(VERSION))
        self.session.close()
        for dialog in self.findChildren(dialogs.Dialog):
            dialog.close()  # before the jobs are: what is saved in it goes on as one of them
        self.jobs.abandon()
        self.experiments.abandon()
        super().closeEvent(event)
