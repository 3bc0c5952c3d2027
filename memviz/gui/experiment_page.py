"""The experiment page: what policies get and what they pay, every run of them, and a run opened at its moment.

It covers the window, as the start page does, until a run is opened or somebody goes back.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from PySide6.QtCore import QEvent, QModelIndex, QSize, Qt, Signal, Slot
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import QWidget

from memviz.experiment import figures, literature, over_time, publish, report_words
from memviz.experiment import table as experiment_table
from memviz.experiment.estimate import Estimate
from memviz.experiment.figures import PRICE, Figure, Group, colour
from memviz.experiment.over_time import chief
from memviz.experiment.table import Part, Results, Run
from memviz.gui.controls import claims
from memviz.gui.experiment_loading import Loading
from memviz.gui.experiment_parts import EMPTY, ROW_HEIGHT, TABLE_HEIGHT, PageParts, fill
from memviz.gui.render import tables
from memviz.gui.theme import Theme
from memviz.gui.views.experiment_marks import Dot, Line
from memviz.gui.views.experiment_table import Column

PHASES = {"burst": "in a burst: many at once", "steady": "steady: now and then, while the work goes on"}
OVER_TIME = "over time: steady, since the policy was switched on"


class ExperimentPage(PageParts):
    """See the module. ``open_file`` and ``show_results`` put an experiment there, while the window goes on answering:
    it is there when ``loading`` no longer runs."""

    run_wanted = Signal(object, object, int)
    """Results, the Run in them, and the order that was looked at: open it."""
    open_wanted = Signal()
    picture_wanted = Signal()
    table_wanted = Signal()

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(theme, parent)
        self.results: Results | None = None
        self.part: Part | None = None
        self.policy = 0
        self.seed = -1
        self.loading = Loading(self._put, self)
        self.loading.failed.connect(self.show_empty)
        self._unread: Path | None = None
        self._about = ""
        self._said = ""
        """What the window has said here while results were on their way."""
        self._estimates: dict[tuple[Group, str, str], Estimate] = {}
        self._connect()
        self.show_empty()

    # -- what is where is in ``experiment_parts``

    def _connect(self) -> None:
        self.back.clicked.connect(self.leave)
        self.open_button.clicked.connect(self.open_wanted)
        self.picture.clicked.connect(self.picture_wanted)
        self.table_button.clicked.connect(self.table_wanted)
        self.open_run.clicked.connect(self._open_run)
        self.experiment.activated.connect(self._part_chosen)
        for chooser in (self.group, self.order, self.figure):
            chooser.currentIndexChanged.connect(self._refresh)
        self.phase.currentIndexChanged.connect(self._phase_chosen)
        self.policies.activated.connect(self.choose_policy)
        self.seeds.activated.connect(self._seed_chosen)
        self.table.selectionModel().currentRowChanged.connect(self._row_chosen)

    # -- what is shown

    @Slot(str)
    def show_empty(self, why: str = "") -> None:
        """Nothing is open: say what to do, and ``why``."""
        self._unread = None
        self._show_hint("Experiment", f"{why}\n\n{EMPTY}" if why else EMPTY)

    def _show_hint(self, title: str, hint: str) -> None:
        """Words in place of all figures."""
        self.results = self.part = None
        self._about = self._said = ""
        self.title.setText(title)
        self.told.text = ""
        self.hint.setText(hint)
        self.hint.show()
        self.body.hide()
        for button in (self.picture, self.table_button):
            button.setEnabled(False)

    def open_file(self, path: Path | None) -> None:
        """Show a results file; None: there is none. If it is none, the page says why."""
        if path is None:
            self.loading.stop()
            self.show_empty()
            return
        self._show_hint("Experiment", f"Reading {path.name} …")
        self._unread = path
        self.loading.start(path)

    def show_results(self, results: Results) -> None:
        """Show an experiment, and those that were run along with it."""
        self._show_hint(results.spec.title, "Drawing …")
        self.loading.put(results)

    def _put(self, results: Results) -> Iterator[None]:
        """Show ``results`` in pieces, each of which takes less than a person notices."""
        if not self.with_plots:
            yield from self.make_plots()
            self.success.picked.connect(self._point_picked)
            self.runs.picked.connect(self.choose_run)
        parts = (results, *results.literature)
        fill(self.experiment, [(part.spec.title, number) for number, part in enumerate(parts)])
        self.experiment.setVisible(len(parts) > 1)
        self._take_part(parts[0], results)
        yield
        self._show_lines()
        yield
        self._show_table()
        yield
        self._show_run()
        yield
        self.hint.hide()
        self.body.setUpdatesEnabled(False)  # to put it together and to paint it are two pieces
        try:
            self.body.show()
            yield
        finally:
            self.body.setUpdatesEnabled(True)
        self.results, self._unread = results, None
        if self._said:
            self.told.text, self._said = self._said, ""
        for button in (self.picture, self.table_button):
            button.setEnabled(True)
        if self.hasFocus() or self.open_button.hasFocus():
            self.table.setFocus()

    @Slot(int)
    def _part_chosen(self, number: int) -> None:
        if self.results is None:
            return  # the page is just being put together
        self._take_part((self.results, *self.results.literature)[number], self.results)
        self._refresh()

    def _take_part(self, part: Part, results: Results) -> None:
        """Choices and words of a part of ``results``."""
        self.part = part
        self._estimates.clear()
        spec = part.spec
        self.title.setText(spec.title)
        self.policy, self.seed = self._best(), spec.seeds[0]
        machines = [
            (f"{one.machine}, {report_words.BEGIN_WORDS[one.begin]}", at) for at, one in enumerate(self._groups())
        ]
        fill(self.group, machines)
        self.group.setVisible(len(machines) > 1)
        asked = [(words, phase) for phase, words in PHASES.items() if getattr(spec.protocol, phase)]
        first, orders = self._groups()[0], spec.protocol.steady
        if orders and over_time.steady(self.part, first, spec.policy[0].name, orders[0]):
            asked.append((OVER_TIME, "time"))
        fill(self.phase, asked)
        fill(self.figure, [("requests that succeed, %", -1), *((one.title, at) for at, one in enumerate(PRICE))])
        fill(self.policies, [(one.name, at) for at, one in enumerate(spec.policy)])
        fill(self.seeds, [(f"seed {seed}", seed) for seed in spec.seeds])
        runs = f"{len(self.part.runs)} runs: {len(spec.policy)} policies × {len(spec.seeds)} seeds"
        old = publish.outdated(results)
        since = "the simulation has changed since" if old else "as the simulation is now"
        machine = self._groups()[0].machine
        told = [machine, runs, literature.in_short(self.part), f"digest {results.digest[:8]}", since]
        self._about = f"{spec.question}   {' · '.join(part for part in told if part)}"
        high = min(TABLE_HEIGHT, ROW_HEIGHT * (len(spec.policy) + 2))
        self.split.setSizes([max(1, self.split.height() - high), high])
        self._offer_orders()

    def _best(self) -> int:
        """The policy that gets most of the order that matters most."""
        assert self.part is not None
        part, group, order = self.part, self._groups()[0], chief(self.part)
        phase = "steady" if order in part.spec.protocol.steady else "burst"
        means = [self._estimated(group, one.name, _success(phase, order)).mean for one in part.spec.policy]
        return means.index(max(means))

    @Slot()
    def _phase_chosen(self) -> None:
        self._offer_orders()
        self._refresh()

    def _offer_orders(self) -> None:
        assert self.part is not None
        orders: Sequence[int] = getattr(self.part.spec.protocol, self._demand())
        before = self.order.currentData()
        wanted = before if before in orders else chief(self.part) if chief(self.part) in orders else max(orders)
        entries = [(f"order {order}", order) for order in sorted(orders)]
        fill(self.order, entries, sorted(orders).index(wanted))

    def _demand(self) -> str:
        """Which demand the figures are of: burst or steady."""
        return "burst" if self.phase.currentData() == "burst" else "steady"

    def _groups(self) -> list[Group]:
        assert self.part is not None
        return figures.groups(self.part)

    def _group(self) -> Group:
        return self._groups()[max(0, self.group.currentIndex())]

    def _figure(self) -> Figure:
        at = int(self.figure.currentData() or 0)
        if at >= 0 and self.figure.currentIndex() > 0:
            return PRICE[at]
        phase, order = self._demand(), int(self.order.currentData())
        title = f"order {order}, {phase}: requests that succeed, %"
        return Figure(title, figures.success(phase, order), ".0f", 1)

    @Slot()
    def _refresh(self) -> None:
        """Everything again, as it is chosen."""
        if self.part is None or self.order.currentData() is None:
            return
        self._show_lines()
        self._show_table()
        self._show_run()

    def _show_lines(self) -> None:
        part, group = self.part, self._group()
        assert part is not None
        timed = self.phase.currentData() == "time"
        make = self._line_over_time if timed else self._line
        lines = [make(part, group, one.name) for one in part.spec.policy]
        self.success.show_lines(lines, int(self.order.currentData()), timed, self.policy)

    def _estimated(self, group: Group, policy: str, figure: Figure) -> Estimate:
        """A figure of a policy over all seeds. They are asked for again with every choice: kept, by title."""
        assert self.part is not None
        key = (group, policy, figure.title)
        if key not in self._estimates:
            self._estimates[key] = figures.estimated(self.part, group, policy, figure.value)
        return self._estimates[key]

    def _line(self, part: Part, group: Group, name: str) -> Line:
        phase = self._demand()
        orders = tuple(sorted(getattr(part.spec.protocol, phase)))
        found = (self._estimated(group, name, _success(phase, order)) for order in orders)
        return Line(name, orders, tuple(found))

    def _line_over_time(self, part: Part, group: Group, name: str) -> Line:
        found = over_time.steady(part, group, name, int(self.order.currentData()))
        return Line(name, tuple(over_time.marks(part)), tuple(found))

    def _show_table(self) -> None:
        part, group, order = self.part, self._group(), int(self.order.currentData())
        assert part is not None
        names = [one.name for one in part.spec.policy]
        asked = [phase for phase in PHASES if order in getattr(part.spec.protocol, phase)]
        shown = [_success(p, order) for p in asked]
        shown += [Figure(f"{p}, order {order}, µs", figures.latency_us(p, order), ",.0f", -1) for p in asked]
        columns = [
            Column(
                one.title,
                f"{one.title}: mean over seeds, and half of its 95 % interval",
                one.form,
                tuple(self._estimated(group, name, one) for name in names),
            )
            for one in (*shown, *PRICE)
        ]
        says = [f"{one.name}: {one.says}" for one in part.spec.policy]
        self.model.show_columns(names, says, [colour(number) for number in range(len(names))], columns)
        self._mark_row()

    def _show_run(self) -> None:
        part, figure, group = self.part, self._figure(), self._group()
        assert part is not None
        names = [one.name for one in part.spec.policy]
        dots = [
            Dot(number, run.seed, figure.value(run.outcome))
            for number, name in enumerate(names)
            for run in figures.runs_of(part, group, name)
        ]
        means = [self._estimated(group, name, figure) for name in names]
        self.runs.show_runs(names, dots, means, figure.title, (self.policy, self.seed))
        self.policies.setCurrentIndex(self.policy)
        self.seeds.setCurrentIndex(list(part.spec.seeds).index(self.seed))
        self.told.text = self._about
        run = self.run()
        phase, order = self._demand(), int(self.order.currentData())
        one = figures.find(getattr(run.outcome, phase), order)
        moved = figures.whole_price("objects_moved")(run.outcome)
        self.run_words.text = (
            f"{one.got:,} of {one.wanted:,} requests of order {order} succeeded, from operation {run.outcome.ops:,} on;"
            f" {moved:,.0f} objects moved in all; aged machine {run.outcome.digest[:8]}"
        )

    def run(self) -> Run:
        """The run that is chosen."""
        assert self.part is not None
        runs = figures.runs_of(self.part, self._group(), self.part.spec.policy[self.policy].name)
        return next(one for one in runs if one.seed == self.seed)

    # -- choosing

    @Slot(int)
    def choose_policy(self, policy: int) -> None:
        """Another policy, the same seed."""
        self.choose_run(policy, self.seed)

    @Slot(int)
    def _seed_chosen(self, at: int) -> None:
        self.choose_run(self.policy, int(self.seeds.itemData(at)))

    @Slot(int, int)
    def choose_run(self, policy: int, seed: int) -> None:
        """The run of a policy with a seed."""
        self.policy, self.seed = policy, seed
        self.success.choose(policy)
        self._mark_row()
        self._show_run()

    @Slot(int, int)
    def _point_picked(self, policy: int, order: int) -> None:
        if self.phase.currentData() != "time" and order != self.order.currentData():
            self.policy = policy
            self.order.setCurrentIndex(self.order.findData(order))  # shows everything again
        else:
            self.choose_run(policy, self.seed)

    def _mark_row(self) -> None:
        row = self.sorted.mapFromSource(self.model.index(self.policy, 0))
        self.table.selectRow(row.row())  # heard by ``_row_chosen``, which has it already
        self.table.scrollTo(row)

    @Slot(QModelIndex, QModelIndex)
    def _row_chosen(self, now: QModelIndex, before: QModelIndex) -> None:
        if now.isValid() and (policy := self.sorted.mapToSource(now).row()) != self.policy:
            self.choose_policy(policy)

    @Slot()
    def _open_run(self) -> None:
        if self.results is not None:
            self.run_wanted.emit(self.results, self.run(), int(self.order.currentData()))

    # -- taking out

    def as_parts(self) -> tables.Parts | None:
        """Every figure of every run, as the command writes them; None: nothing is open."""
        if self.results is None:
            return None
        rows: list[tables.Row] = [list(row) for row in experiment_table.rows(self.results)]
        return tables.in_parts((list(experiment_table.Row._fields), rows))

    def tell(self, sentence: str) -> None:
        """Say something here, until something is chosen: the line where the window says it is covered. Results that are
        on their way leave it there."""
        self.told.text = sentence
        self._said = sentence if self.loading.running else ""

    # -- coming and going

    def enter(self) -> None:
        """Cover the window."""
        parent = self.parentWidget()
        if parent is not None:
            self.setGeometry(parent.rect())
        self.show()
        self.raise_()
        if self._unread is not None and not self.loading.running:
            self.open_file(self._unread)
        (self.open_button if self.results is None else self.table).setFocus()

    def leave(self) -> None:
        """Uncover the window. What is on its way to the page waits until it is entered again."""
        self.loading.stop()
        parent = self.parentWidget()
        if parent is not None:
            parent.setFocus()  # first: Qt would look for another place on a page that goes
        self.hide()

    def event(self, event: QEvent) -> bool:
        """Escape is the page's own, though the window has a shortcut for it."""
        if claims(event, frozenset({Qt.Key.Key_Escape})):
            event.accept()
            return True
        return super().event(event)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Escape goes back, Return opens the run that is chosen."""
        if event.key() == Qt.Key.Key_Escape:
            self.leave()
        elif event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter) and self.results is not None:
            self._open_run()
        else:
            super().keyPressEvent(event)

    def sizeHint(self) -> QSize:
        """All of the window."""
        parent = self.parentWidget()
        return parent.size() if parent is not None else QSize(1200, 800)


def _success(phase: str, order: int) -> Figure:
    """The share of requests of an order that succeed, as the table names it."""
    return Figure(f"{phase}, order {order}, %", figures.success(phase, order), ".0f", 1)
