"""Plots of an experiment, live: success by order of every policy, and every run of every policy, to be picked."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
import pyqtgraph as pg
from PySide6.QtCore import QSize, Qt, Signal, Slot
from PySide6.QtGui import QColor, QPen, QShowEvent
from PySide6.QtWidgets import QSizePolicy, QWidget

from memviz.experiment.estimate import Estimate
from memviz.experiment.figures import colour
from memviz.gui.theme import Theme
from memviz.gui.views.experiment_marks import Dot, Line

SYMBOLS: Final = ("o", "s", "d", "t", "t1", "star", "+", "p", "h", "x", "t2", "t3", "o", "s")
_DIM: Final = 110


class Plot(pg.GraphicsView):  # type: ignore[misc]
    """Two axes and what lies between them, in the colours of the theme. It neither pans nor zooms: all is in sight."""

    def __init__(self, theme: Theme, name: str, parent: QWidget | None = None) -> None:
        super().__init__(parent, background=None)
        self.theme = theme
        self.setObjectName(name)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.grid = pg.GraphicsLayout()
        self.setCentralItem(self.grid)
        self.area = self.grid.addViewBox(row=0, col=1, enableMenu=False, enableMouse=False)
        self.left = pg.AxisItem("left")
        self.bottom = pg.AxisItem("bottom")
        for axis, row, column in ((self.left, 0, 0), (self.bottom, 1, 1)):
            self.grid.addItem(axis, row, column)
            axis.linkToView(self.area)
            axis.setStyle(tickLength=-4)
        self.made: list[object] = []
        self._stale = False
        """It was hidden when the theme changed."""
        theme.changed.connect(self._theme_changed)
        self.paint_theme()

    def minimumSizeHint(self) -> QSize:
        """Small enough for the smallest window."""
        return QSize(260, 150)

    @Slot()
    def _theme_changed(self) -> None:
        if self.isVisible():
            self.paint_theme()
        else:
            self._stale = True

    def showEvent(self, event: QShowEvent) -> None:
        """Catch up with a theme that was chosen while it was hidden."""
        if self._stale:
            self.paint_theme()
        super().showEvent(event)

    def paint_theme(self) -> None:
        """Ground, axes and letters."""
        self._stale = False
        self.setBackground(self.theme.color("ui.panel"))
        for axis in (self.left, self.bottom):
            axis.setPen(self.theme.color("ui.border"))
            axis.setTextPen(self.theme.color("ui.muted"))
            axis.setTickFont(self.theme.font("small"))
        self.draw()

    def draw(self) -> None:
        """Put everything there again."""

    def clear(self) -> None:
        """Take everything away but the axes."""
        for item in self.made:
            self.area.removeItem(item)
        self.made.clear()

    def add(self, item: object) -> None:
        """Put something between the axes."""
        self.area.addItem(item)
        self.made.append(item)

    def pen(self, policy: int, dim: bool, width: float = 1.6) -> QPen:
        """A line in a policy's colour; ``dim``: another policy is chosen."""
        pen = QPen(shaded(policy, dim), width)
        pen.setCosmetic(True)
        return pen


def shaded(policy: int, dim: bool) -> QColor:
    """A policy's colour, hardly there when ``dim``."""
    found = QColor(colour(policy))
    found.setAlpha(_DIM if dim else 255)
    return found


class SuccessPlot(Plot):
    """Requests that succeed, per cent, by order or over time: a line a policy, with its interval."""

    picked = Signal(int, int)
    """Policy of a point that was clicked, and the order or operation."""

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        self.lines: tuple[Line, ...] = ()
        self.chosen = -1
        self.order = -1
        self.over_time = False
        super().__init__(theme, "experiment_success", parent)
        self.setAccessibleName("Requests that succeed, a line a policy")
        self.left.setLabel("requests that succeed, %")
        self.bottom.setLabel("order")

    def show_lines(self, lines: Sequence[Line], order: int, over_time: bool, chosen: int) -> None:
        """Draw ``lines``, that of the policy ``chosen`` so that it stands out; ``order`` is marked where there are
        orders."""
        self.lines, self.order, self.over_time, self.chosen = tuple(lines), order, over_time, chosen
        self.bottom.setLabel("operations since the policy was switched on" if over_time else "order")
        self.draw()

    def choose(self, policy: int) -> None:
        """The line of a policy stands out."""
        if policy != self.chosen:
            self.chosen = policy
            self.draw()

    def draw(self) -> None:
        """Lines, intervals, and points to click."""
        self.clear()
        places = sorted({place for line in self.lines for place in line.places})
        if not places:
            return
        side = 0.5 * self._step(places)
        self.area.setRange(xRange=(places[0] - side, places[-1] + side), yRange=(-3, 104), padding=0)
        self.bottom.setTicks([[(place, f"{place:,}") for place in places]])
        if not self.over_time:
            self._mark()
        for number in sorted(range(len(self.lines)), key=lambda one: one == self.chosen):
            self._draw_line(number, self.lines[number], self._step(places))

    @staticmethod
    def _step(places: Sequence[int]) -> float:
        return places[1] - places[0] if len(places) > 1 else 1.0

    def _mark(self) -> None:
        mark = pg.LinearRegionItem((self.order - 0.45, self.order + 0.45), movable=False, pen=pg.mkPen(None))
        mark.setBrush(self.theme.color("ui.raised"))
        mark.setZValue(-10)
        self.add(mark)

    def _draw_line(self, number: int, line: Line, step: float) -> None:
        shift = (number / max(1, len(self.lines) - 1) - 0.5) * 0.5 * step
        dim = self.chosen not in (-1, number)
        x = [place + shift for place in line.places]
        y = [one.mean for one in line.values]
        # An interval of a share ends where shares end.
        top = [min(_half(one), 100 - one.mean) for one in line.values]
        bottom = [min(_half(one), one.mean) for one in line.values]
        pen = self.pen(number, dim, 2.4 if number == self.chosen else 1.4)
        self.add(pg.ErrorBarItem(x=_array(x), y=_array(y), top=_array(top), bottom=_array(bottom), beam=0.0, pen=pen))
        self.add(pg.PlotCurveItem(_array(x), _array(y), pen=pen, antialias=True))
        points = pg.ScatterPlotItem(
            x=x,
            y=y,
            symbol=SYMBOLS[number % len(SYMBOLS)],
            size=10 if number == self.chosen else 7,
            brush=shaded(number, dim),
            pen=pg.mkPen(None),
            data=[(number, place) for place in line.places],
            hoverable=True,
            tip=self._tip,
        )
        points.sigClicked.connect(self._clicked)
        self.add(points)

    def _tip(self, x: float, y: float, data: tuple[int, int]) -> str:
        line = self.lines[data[0]]
        value = line.values[line.places.index(data[1])]
        half = "" if math.isinf(value.half) else f" ± {value.half:.0f}"
        where = f"to operation {data[1]:,}" if self.over_time else f"order {data[1]}"
        return f"{line.name}, {where}: {value.mean:.0f}{half} %"

    def _clicked(self, item: object, points: Sequence[pg.SpotItem], event: object) -> None:
        policy, place = points[0].data()
        self.picked.emit(policy, place)


class RunsPlot(Plot):
    """A figure of every run: a row a policy, a dot a seed; the bar is the mean and its interval."""

    picked = Signal(int, int)
    """Policy and seed of a dot that was clicked."""

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        self.names: tuple[str, ...] = ()
        self.dots: tuple[Dot, ...] = ()
        self.means: tuple[Estimate, ...] = ()
        self.chosen = (-1, -1)
        super().__init__(theme, "experiment_runs", parent)
        self.setAccessibleName("Every run, a row a policy, a dot a seed")
        self.left.setStyle(autoExpandTextSpace=True)
        self.area.invertY(True)

    def show_runs(
        self, names: Sequence[str], dots: Sequence[Dot], means: Sequence[Estimate], title: str, chosen: tuple[int, int]
    ) -> None:
        """Draw ``dots`` of the policies ``names``; ``chosen`` (policy, seed) stands out."""
        self.names, self.dots, self.means, self.chosen = tuple(names), tuple(dots), tuple(means), chosen
        self.bottom.setLabel(title)
        self.left.setTicks([list(enumerate(self.names))])
        self.draw()

    def draw(self) -> None:
        """Bars and dots."""
        self.clear()
        if not self.dots:
            return
        values = [dot.value for dot in self.dots] + [mean.mean + _half(mean) for mean in self.means]
        most = max(values) or 1.0
        self.area.setRange(xRange=(-0.03 * most, 1.05 * most), yRange=(-0.6, len(self.names) - 0.4), padding=0)
        for number, mean in enumerate(self.means):
            half = _half(mean)
            low, high = max(0.0, mean.mean - half), mean.mean + half
            shade = shaded(number, True)
            self.add(pg.PlotCurveItem(_array([low, high]), _array([number, number]), pen=pg.mkPen(shade, width=9)))
            at = _array([mean.mean, mean.mean])
            edge = _array([number - 0.3, number + 0.3])
            self.add(pg.PlotCurveItem(at, edge, pen=pg.mkPen(colour(number), width=2)))
        seeds = sorted({dot.seed for dot in self.dots})
        spots = [self._spot(dot, seeds) for dot in self.dots]
        scatter = pg.ScatterPlotItem(spots=spots, hoverable=True, tip=self._tip)
        scatter.sigClicked.connect(self._clicked)
        self.add(scatter)

    def _spot(self, dot: Dot, seeds: Sequence[int]) -> dict[str, object]:
        here = (dot.policy, dot.seed) == self.chosen
        shift = (seeds.index(dot.seed) / max(1, len(seeds) - 1) - 0.5) * 0.5
        edge = self.theme.color("ui.text" if here else "ui.panel")
        return {
            "pos": (dot.value, dot.policy + shift),
            "size": 13 if here else 8,
            "brush": QColor(colour(dot.policy)),
            "pen": pg.mkPen(edge, width=2 if here else 1),
            "data": (dot.policy, dot.seed),
        }

    def _tip(self, x: float, y: float, data: tuple[int, int]) -> str:
        return f"{self.names[data[0]]}, seed {data[1]}: {x:,.6g}"

    def _clicked(self, item: object, points: Sequence[pg.SpotItem], event: object) -> None:
        policy, seed = points[0].data()
        self.picked.emit(policy, seed)


def _half(one: Estimate) -> float:
    return 0.0 if math.isinf(one.half) else one.half


def _array(values: Sequence[float]) -> npt.NDArray[np.float64]:
    return np.asarray(values, dtype=float)
