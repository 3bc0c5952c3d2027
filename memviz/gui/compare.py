"""Two instants side by side: of two recordings, of one, or of a recording and the run that goes on from it."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from PySide6.QtCore import QElapsedTimer, QPoint, QSignalBlocker, QSize, Qt, QTimer
from PySide6.QtGui import QCloseEvent, QShowEvent
from PySide6.QtWidgets import QGridLayout, QHBoxLayout, QLabel, QSplitter

from memviz.analysis.difference import Difference, difference
from memviz.gui import export
from memviz.gui.compare_side import RecordingSide, RunSide, Side
from memviz.gui.compare_views import Curves, DifferenceTable, Maps
from memviz.gui.controls import Button, Chooser, ElidedLabel, Slider
from memviz.gui.dialogs import Dialog
from memviz.gui.files import RECORDING_KIND, ask_which
from memviz.gui.jobs import JobLine
from memviz.gui.render import tables
from memviz.gui.render.numbers import instant, seconds

if TYPE_CHECKING:
    from memviz.gui.main_window import MainWindow

LOOK_MS: Final = 40
DIFFER_MS: Final = 120
"""Two instants are compared at most this often while they change."""
STEPS: Final = 10_000
_ASIDE: Final = 48
"""Pixels between its edges and those of the window at first."""
_THIS_RUN: Final = "This run"
_OPEN: Final = "Another recording…"


class CompareWindow(Dialog):
    """Choose what is compared at the top, when below it; the maps move together."""

    def __init__(self, window: MainWindow, first: str, second: str) -> None:
        """``first``, ``second``: paths of recordings; empty: the run that the window shows."""
        super().__init__(window, "Compare — memviz", 1480, 920)
        self.setObjectName("compare")
        self.setModal(False)
        self.setWindowFlags(Qt.WindowType.Window)
        # Placed by hand: as a dialog it was centred, and on a small screen its title bar was above the upper edge.
        self.resize(self.size().boundedTo(window.size() - QSize(2 * _ASIDE, 2 * _ASIDE)))
        self.move(window.frameGeometry().topLeft() + QPoint(_ASIDE, _ASIDE))
        self._window = window
        self.sides: list[Side | None] = [None, None]
        self.found: Difference | None = None
        self._placed = [False, False]
        self._stale = False
        self._clock = QElapsedTimer()
        self._clock.start()
        self._make()
        self._timer = QTimer(self)
        self._timer.setInterval(LOOK_MS)
        self._timer.timeout.connect(self.look)
        for number, path in enumerate((first, second)):
            self.choose(number, path)
        both = {one for one in (first, second) if one}
        self.linked.setChecked(not (len(both) == 1 and first == second))
        if not self.linked.isChecked():
            with QSignalBlocker(self.sliders[1]):
                self.sliders[1].setValue(STEPS)

    def _make(self) -> None:
        theme = self._window.theme
        self.choosers = [Chooser(), Chooser()]
        self.sliders = [Slider(Qt.Orientation.Horizontal), Slider(Qt.Orientation.Horizontal)]
        self.times = [QLabel("–"), QLabel("–")]
        self.linked = Button()
        self.linked.setText("Same time")
        self.linked.setCheckable(True)
        self.linked.setToolTip("Both show the same virtual time; off: each has a time of its own")
        self.linked.toggled.connect(self._linked_toggled)
        grid = QGridLayout()
        grid.setHorizontalSpacing(10)
        for number, name in enumerate(("First", "Second")):
            column = 3 * number
            self.choosers[number].setAccessibleName(f"{name}: what to compare")
            self.choosers[number].activated.connect(lambda index, number=number: self._activated(number, index))
            slider = self.sliders[number]
            slider.setRange(0, STEPS)
            slider.setAccessibleName(f"{name}: time")
            slider.valueChanged.connect(lambda value, number=number: self._slid(number))
            self.times[number].setMinimumWidth(120)
            label = QLabel(name)
            label.setFont(theme.font("bold"))
            grid.addWidget(label, 0, column)
            grid.addWidget(self.choosers[number], 0, column + 1)
            grid.addWidget(self.times[number], 1, column)
            grid.addWidget(slider, 1, column + 1)
        grid.addWidget(self.linked, 1, 2)
        grid.setColumnStretch(1, 1)
        grid.setColumnStretch(4, 1)
        self.box.addLayout(grid)
        self._make_parts()

    def _make_parts(self) -> None:
        theme = self._window.theme
        self.maps = Maps(self._window.selection, theme)
        self.curves = Curves(theme)
        self.table = DifferenceTable()
        self.words = QLabel()
        self.words.setWordWrap(True)
        self.legend = QLabel(self.maps.legend())
        self.legend.setFont(theme.font("small"))
        line = QHBoxLayout()
        line.addWidget(self.words, 1)
        line.addWidget(self.legend)
        lower = QSplitter(Qt.Orientation.Horizontal)
        lower.addWidget(self.curves)
        lower.addWidget(self.table)
        lower.setSizes([700, 700])
        whole = QSplitter(Qt.Orientation.Vertical)
        whole.addWidget(self.maps)
        whole.addWidget(lower)
        whole.setSizes([520, 280])
        self.box.addLayout(line)
        self.box.addWidget(whole, 1)
        self._make_last_line()

    def _make_last_line(self) -> None:
        """What is saved, and what became of it: here, for the window's own line may be behind this one."""
        theme = self._window.theme
        self.told = ElidedLabel(theme, "small", "ui.muted")
        self.jobs = JobLine(theme, self.told)
        self.jobs.told.connect(self.tell)
        line = QHBoxLayout()
        line.addWidget(self.told, 1)
        for words, name, act in (
            ("Save picture…", "compare_picture", self.save_picture),
            ("Save table…", "compare_table", self.save_table),
            ("Save curves…", "compare_curves", self.save_curves),
        ):
            button = Button()
            button.setText(words)
            button.setAccessibleName(words.rstrip("…"))
            button.setObjectName(name)
            button.clicked.connect(act)
            line.addWidget(button)
        self.box.addLayout(line)

    # -- what is compared

    def choose(self, number: int, path: str) -> None:
        """Put a recording, or with "" the run of the window, on a side."""
        side = self.sides[number]
        if side is not None:
            side.close()
        self._placed[number] = False
        if path:
            self.sides[number] = RecordingSide(path)
        else:
            self.sides[number] = RunSide(self._window.session, _THIS_RUN)
        self._show_choices()
        self._stale = True

    def _show_choices(self) -> None:
        """Every chooser offers what is open anywhere."""
        paths = [side.path for side in self.sides if side is not None and side.path]
        paths += [one for one in self._window.recordings.open_paths() if one not in paths]
        for side, chooser, slider in zip(self.sides, self.choosers, self.sliders, strict=True):
            with QSignalBlocker(chooser):
                chooser.clear()
                for path in dict.fromkeys(paths):
                    chooser.addItem(Path(path).name, path)
                    chooser.setItemData(chooser.count() - 1, path, Qt.ItemDataRole.ToolTipRole)
                if not self._window.session.playing:
                    chooser.addItem(_THIS_RUN, "")
                chooser.addItem(_OPEN, None)
                chooser.setCurrentIndex(max(0, chooser.findData("" if side is None else side.path)))
            slider.setEnabled(side is not None and not side.fixed)

    def _activated(self, number: int, index: int) -> None:
        wanted = self.choosers[number].itemData(index)
        if wanted is None:
            kinds = f"{RECORDING_KIND};;All files (*)"
            wanted = ask_which(self, "Compare with a recording", kinds) or None
        side = self.sides[number]
        if wanted is not None and (side is None or wanted != side.path):
            self.choose(number, str(wanted))
        self._show_choices()

    # -- when

    def _range(self, number: int) -> tuple[int, int] | None:
        """What a slider goes over: with the same time, all that any of the two has."""
        ranges = [side.range for side in self.sides if side is not None and not side.fixed]
        if not self.linked.isChecked():
            side = self.sides[number]
            ranges = [side.range] if side is not None else []
        known = [one for one in ranges if one is not None]
        return (min(begin for begin, _ in known), max(end for _, end in known)) if known else None

    def seek(self, number: int, time_ns: int) -> None:
        """Show another instant on a side; on both with the same time."""
        for at, side in enumerate(self.sides):
            if side is not None and (at == number or self.linked.isChecked()):
                side.seek(time_ns)

    def _slid(self, number: int) -> None:
        span = self._range(number)
        if span is None:
            return
        begin, end = span
        value = self.sliders[number].value()
        self.seek(number, begin + (end - begin) * value // STEPS)
        if self.linked.isChecked():
            with QSignalBlocker(self.sliders[1 - number]):
                self.sliders[1 - number].setValue(value)

    def _linked_toggled(self, linked: bool) -> None:
        self._show_choices()
        if linked:
            self._slid(0)
        self._stale = True

    # -- looking

    def look(self) -> None:
        """Take what came on both sides, and compare when it is time."""
        changed = False
        for number, side in enumerate(self.sides):
            if side is not None and side.poll():
                changed = True
                if not self._placed[number] and not side.fixed and side.range is not None:
                    self._placed[number] = True
                    self._slid(number)  # the sliders say where the sides are, from the beginning on
        self._stale = self._stale or changed
        self._follow_the_run()
        if self._stale and self._clock.elapsed() >= DIFFER_MS:
            self._stale = False
            self._clock.restart()
            self._compare()

    def _follow_the_run(self) -> None:
        """With the same time, a recording is wound to where the run is."""
        run = next((side for side in self.sides if side is not None and side.fixed), None)
        if run is None or not self.linked.isChecked() or run.snapshot is None:
            return
        for side, slider in zip(self.sides, self.sliders, strict=True):
            if side is not None and not side.fixed and side.range is not None:
                side.seek(run.snapshot.time_ns)
                slider.setEnabled(False)
                begin, end = side.range
                with QSignalBlocker(slider):
                    slider.setValue((run.snapshot.time_ns - begin) * STEPS // max(1, end - begin))

    def _compare(self) -> None:
        shown = [None if side is None else side.snapshot for side in self.sides]
        first, second = shown
        usable = first is not None and second is not None and first.zones and second.zones
        self.found = difference(first, second) if usable and first is not None and second is not None else None
        self.maps.show_sides(first, second, self.found)
        self.table.show_difference(self.found)
        names, curves, at = [], [], []
        for label, side, snapshot in zip(self.times, self.sides, shown, strict=True):
            time_ns = -1 if snapshot is None else snapshot.time_ns
            label.setText("–" if time_ns < 0 else f"{instant(time_ns)} s")
            if side is not None:
                names.append(side.title)
                curves.append(side.curve)
                at.append(time_ns)
        self.curves.show_curves(tuple(curves), tuple(names), tuple(at), self._window.timeline.order)
        for title, word, side, snapshot in zip(
            self.maps.titles[::2], ("First", "Second"), self.sides, shown, strict=True
        ):
            when = "" if snapshot is None else f", {seconds(snapshot.time_ns)}"
            title.setText(f"{word}: {'' if side is None else side.title}{when}")
        left_out = f" {self.maps.left_out}." if self.maps.left_out else ""
        self.words.setText(f"{self._sentence()}{left_out}")
        self.maps.titles[1].setText(self._headline())

    def _headline(self) -> str:
        if self.found is None or self.found.frames is None:
            return "What differs"
        differ = int((self.found.frames != 0).sum())
        return f"What differs: {differ:,} of {self.found.frames.size:,} page frames"

    def _sentence(self) -> str:
        """What hinders the comparison, or what the two are called to differ by."""
        for word, side in zip(("First", "Second"), self.sides, strict=True):
            if side is not None and side.failure:
                return f"{word}: {side.failure}"
        if self.found is None:
            return "Reading …"
        if self.found.frames is None:
            return "The two memories are of different sizes: there is no map of what differs, only the table."
        if not self.found.policies:
            return "The same policies rule on both sides."
        told = [f"{name.replace('_', ' ')}: {one} / {other}" for name, one, other in self.found.policies]
        return f"Policies that differ (first / second): {', '.join(told)}."

    # -- taking out

    def save_picture(self) -> None:
        """Ask where to, and write what is shown as PNG, JPEG or SVG."""
        image = self.grab().toImage()
        path = self._window.ask_file("Save the comparison as picture", "compare.png", export.PICTURES)
        if path:
            draw = partial(export.drawing_of_all, self, self.windowTitle())
            export.begin_picture(self.jobs, path, image, draw)

    def save_table(self) -> None:
        """Ask where to, and write what differs."""
        self._save_rows("Save what differs as table", "differences.csv", tables.in_parts(self.table.as_table()))

    def save_curves(self) -> None:
        """Ask where to, and write both curves, of every order."""
        self._save_rows("Save both curves as table", "curves.csv", self.curves.as_parts())

    def _save_rows(self, title: str, name: str, parts: tables.Parts) -> None:
        path = self._window.ask_file(title, name, export.TABLES_KIND)
        if path:
            export.begin_file(self.jobs, path, ".csv", partial(export.write_rows, parts))

    def tell(self, ok: bool, sentence: str) -> None:
        """Say what became of what was saved."""
        self.told.color = "tone.good" if ok else "tone.bad"
        self.told.text = f"{'✓' if ok else '✗'}  {sentence}"

    # -- the window as such

    def showEvent(self, event: QShowEvent) -> None:
        """Begin to look."""
        handle = self.windowHandle()
        if handle is not None:
            # As a child it would always lie over the window, where policies are turned.
            handle.setTransientParent(None)  # type: ignore[arg-type]
        super().showEvent(event)
        self._timer.start()

    def closeEvent(self, event: QCloseEvent) -> None:
        """End what was opened for it."""
        self._timer.stop()
        self._window.jobs.take_over(self.jobs)
        for number, side in enumerate(self.sides):
            if side is not None:
                side.close()
                self.sides[number] = None
        super().closeEvent(event)
