"""The experiment page without its doings: which widgets there are, and where."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QHBoxLayout, QHeaderView, QLabel, QSplitter, QVBoxLayout, QWidget

from memviz.gui.controls import Button, Chooser, ElidedLabel, Table
from memviz.gui.theme import Theme
from memviz.gui.views.experiment_table import PriceModel, PriceOrder

if TYPE_CHECKING:
    from memviz.gui.views.experiment_plots import RunsPlot, SuccessPlot

EMPTY = (
    "No experiment is open.\n\nRun one in a terminal (memviz experiment reliable-high-order) and open what it leaves:"
    " a file that ends in .json.xz."
)


TABLE_HEIGHT: Final = 352
ROW_HEIGHT: Final = 22


class PageParts(QWidget):
    """Head, choices, two plots, a table, and the run that is chosen at the foot; or a hint while nothing is open."""

    success: SuccessPlot
    """There once ``make_plots`` has been through, like ``runs``."""
    runs: RunsPlot

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("experiment_page")
        self.setAccessibleName("Experiment")
        self.setAutoFillBackground(True)  # not by the style sheet: Qt paints nothing then that it covers
        self.theme = theme
        self.with_plots = False
        self.model = PriceModel()
        self.sorted = PriceOrder(self.model)
        self._make()

    def _make(self) -> None:
        column = QVBoxLayout(self)
        column.setContentsMargins(22, 14, 22, 14)
        column.setSpacing(8)
        column.addWidget(self._make_head())
        self.hint = QLabel(EMPTY)
        self.hint.setObjectName("experiment_empty")
        self.hint.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.hint.setWordWrap(True)
        self.hint.setProperty("tone", "muted")
        column.addWidget(self.hint, 1)
        self.body = QWidget()
        body = QVBoxLayout(self.body)
        body.setContentsMargins(0, 0, 0, 0)
        body.setSpacing(8)
        body.addWidget(self._make_choices())
        self.split = QSplitter(Qt.Orientation.Vertical)
        self.split.setChildrenCollapsible(False)
        plots = QWidget()
        self.plots = QHBoxLayout(plots)
        self.plots.setContentsMargins(0, 0, 0, 0)
        self.split.addWidget(plots)
        self.split.addWidget(self._make_table())
        self.split.setStretchFactor(0, 1)
        self.split.setStretchFactor(1, 0)
        self.split.setSizes([600, TABLE_HEIGHT])
        body.addWidget(self.split, 1)
        body.addWidget(self._make_foot())
        column.addWidget(self.body, 1)

    def make_plots(self) -> Iterator[None]:
        """Put the plots there, one a piece. Apart from all else: a page that covers the window at once can't wait for
        pyqtgraph."""
        from memviz.gui.views.experiment_plots import RunsPlot, SuccessPlot

        self.success = SuccessPlot(self.theme)
        self.plots.insertWidget(0, self.success, 1)
        yield
        self.runs = RunsPlot(self.theme)
        self.plots.insertWidget(1, self.runs, 1)
        self.with_plots = True
        yield

    def in_order(self) -> tuple[QWidget, ...]:
        """What Tab goes through."""
        return (
            *(self.open_button, self.picture, self.table_button, self.back),
            *(self.experiment, self.group, self.phase, self.order, self.figure),
            *(self.table, self.policies, self.seeds, self.open_run),
        )

    def focusNextPrevChild(self, next: bool) -> bool:
        """Tab stays on the page: what lies behind it can't be seen."""
        ring = [one for one in self.in_order() if one.isVisible() and one.isEnabled()]
        if not ring:
            return False
        at = -1
        for place, one in enumerate(ring):
            if one.hasFocus():
                at = place
        ring[(at + (1 if next else -1)) % len(ring)].setFocus(Qt.FocusReason.TabFocusReason)
        return True

    def _make_head(self) -> QWidget:
        head = QWidget()
        row = QHBoxLayout(head)
        row.setContentsMargins(0, 0, 0, 0)
        words = QVBoxLayout()
        words.setSpacing(2)
        self.title = QLabel()
        self.title.setFont(self.theme.font("big"))
        self.told = ElidedLabel(self.theme, "small", "ui.muted")
        words.addWidget(self.title)
        words.addWidget(self.told)
        row.addLayout(words, 1)
        self.open_button = self._button("Open…", "experiment_open", "Open the results of another experiment (.json.xz)")
        self.picture = self._button("Save picture…", "experiment_picture", "Write what is seen to a PNG or SVG file")
        self.table_button = self._button(
            "Save table…", "experiment_csv", "Write every figure of every run to a CSV file"
        )
        self.back = self._button("Back  (Esc)", "experiment_back", "Back to the window")
        for button in (self.open_button, self.picture, self.table_button, self.back):
            row.addWidget(button, 0, Qt.AlignmentFlag.AlignTop)
        return head

    def _make_choices(self) -> QWidget:
        self.experiment = self._chooser("Which experiment", "experiment_part")
        self.group = self._chooser("Which machine", "experiment_group")
        self.phase = self._chooser("Which demand", "experiment_phase")
        self.order = self._chooser("Which order", "experiment_order")
        self.figure = self._chooser("Figure of every run", "experiment_figure")
        line = QWidget()
        row = QHBoxLayout(line)
        row.setContentsMargins(0, 0, 0, 0)
        for chooser in (self.experiment, self.group, self.phase, self.order):
            row.addWidget(chooser)
        row.addStretch(1)
        row.addWidget(QLabel("Every run:"))
        row.addWidget(self.figure)
        return line

    def _make_table(self) -> QWidget:
        self.table = Table()
        self.table.setObjectName("experiment_table")
        self.table.setAccessibleName("What policies get and what they pay")
        self.table.setModel(self.sorted)
        self.table.setSortingEnabled(True)
        self.table.setSelectionBehavior(Table.SelectionBehavior.SelectRows)
        self.table.setSelectionMode(Table.SelectionMode.SingleSelection)
        self.table.setShowGrid(False)
        self.table.setTabKeyNavigation(False)
        self.table.verticalHeader().hide()
        self.table.verticalHeader().setDefaultSectionSize(ROW_HEIGHT)
        self.table.horizontalHeader().setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        self.table.horizontalHeader().setHighlightSections(False)
        self.table.sortByColumn(0, Qt.SortOrder.AscendingOrder)
        self.table.setMinimumHeight(110)
        return self.table

    def _make_foot(self) -> QWidget:
        self.policies = self._chooser("Policy of the run", "experiment_policy")
        self.seeds = self._chooser("Seed of the run", "experiment_seed")
        self.run_words = ElidedLabel(self.theme)
        self.open_run = self._button("Open this run", "experiment_open_run", "Bring this machine to this moment, live")
        self.open_run.setProperty("accent", True)
        foot = QWidget()
        row = QHBoxLayout(foot)
        row.setContentsMargins(0, 0, 0, 0)
        for widget in (QLabel("Run:"), self.policies, self.seeds):
            row.addWidget(widget)
        row.addWidget(self.run_words, 1)
        row.addWidget(self.open_run)
        return foot

    def _button(self, text: str, name: str, tip: str) -> Button:
        button = Button()
        button.setText(text)
        button.setObjectName(name)
        button.setToolTip(tip)
        button.setAccessibleName(text)
        button.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        return button

    def _chooser(self, says: str, name: str) -> Chooser:
        chooser = Chooser()
        chooser.setSizeAdjustPolicy(Chooser.SizeAdjustPolicy.AdjustToContents)
        chooser.setObjectName(name)
        chooser.setAccessibleName(says)
        chooser.setToolTip(says)
        return chooser


def fill(chooser: Chooser, entries: Sequence[tuple[str, object]], chosen: int = 0) -> None:
    """Other entries, without telling anybody."""
    chooser.blockSignals(True)
    chooser.clear()
    for words, data in entries:
        chooser.addItem(words, data)
    chooser.setCurrentIndex(chosen)
    chooser.blockSignals(False)
