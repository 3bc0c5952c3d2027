"""The parts of a comparison: three maps that move together, two curves over each other, the table of what differs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
from PySide6.QtCore import QEvent, QObject, QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QKeySequence, QPainter, QPaintEvent, QPen, QPolygonF
from PySide6.QtWidgets import (
    QApplication,
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QTreeWidget,
    QTreeWidgetItem,
    QVBoxLayout,
    QWidget,
)

from memviz.analysis.difference import Difference
from memviz.gui.compare_side import Curve
from memviz.gui.painting import painted
from memviz.gui.panel import draw_empty
from memviz.gui.render import heatmap_modes as modes
from memviz.gui.render.curve import peaks
from memviz.gui.render.layout import Blocks
from memviz.gui.render.numbers import seconds
from memviz.gui.render.picture import DIFFERENCE_COLORS
from memviz.gui.render.pyramid import Pyramid
from memviz.gui.render.shown_end import ShownEnd, end_words
from memviz.gui.render.tables import PART, Parts, Row, Table
from memviz.gui.selection import Selection
from memviz.gui.theme import Theme
from memviz.gui.views.heatmap_map import HeatmapMap
from memviz.snapshot import Snapshot

LEGEND: Final = ("alike", "used by another", "used in the first only", "used in the second only")
_SCALES: Final = (50, 100, 200, 500, 1000)
_LEFT, _BOTTOM, _TOP = 38, 16, 20


class Maps(QWidget):
    """First, what differs, second: zoomed and moved together, with one picked page frame."""

    def __init__(self, selection: Selection, theme: Theme) -> None:
        super().__init__()
        self._theme = theme
        self._following = False
        self._pyramids = [Pyramid() for _ in range(3)]
        self._ends = (ShownEnd(), ShownEnd())
        self.left_out = ""
        """How much of memory the maps show, when that is not all of it."""
        self.maps = [HeatmapMap(selection, theme, pyramid, self) for pyramid in self._pyramids]
        self.titles = [QLabel() for _ in range(3)]
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(8)
        for name, title, one in zip(("First", "What differs", "Second"), self.titles, self.maps, strict=True):
            column = QVBoxLayout()
            title.setText(name)
            title.setFont(theme.font("bold"))
            title.setTextInteractionFlags(Qt.TextInteractionFlag.NoTextInteraction)
            one.setAccessibleName(f"{name}: map of page frames")
            one.moved.connect(self._moved)
            column.addWidget(title)
            column.addWidget(one, 1)
            row.addLayout(column, 1)

    def sizeHint(self) -> QSize:
        """Large."""
        return QSize(1200, 420)

    def _moved(self) -> None:
        """Whoever is moved takes the others along."""
        mover = self.sender()
        if self._following or not isinstance(mover, HeatmapMap):
            return
        self._following = True
        for one in self.maps:
            if one is not mover:
                one.look(mover.camera)
        self._following = False

    def show_sides(self, first: Snapshot | None, second: Snapshot | None, found: Difference | None) -> None:
        """Show two instants and what differs in them."""
        one = modes.mode("owner")
        background = 0xFF000000 | self._theme.tokens.rgb("ui.panel")
        ends = self._follow_ends(first, second)
        for at, snapshot, end in ((0, first, ends[0]), (2, second, ends[1])):
            if snapshot is not None and snapshot.pages.nr:
                self._pyramids[at].show(one.raw(modes.part(snapshot, 0, snapshot.pages.nr)), one.lut(snapshot))
                self.maps[at].set_colors(modes.palette(one, self._theme.tokens), background)
                self._lay_out(at, end)
        if found is not None and found.frames is not None:
            self._pyramids[1].show(found.frames)
            colors = [0xFF000000 | self._theme.tokens.rgb(key) for key in DIFFERENCE_COLORS]
            self.maps[1].set_colors(np.array(colors, np.uint32), background)
            self._lay_out(1, ends[0])
        else:
            self.maps[1].set_layout(None)

    def _follow_ends(self, first: Snapshot | None, second: Snapshot | None) -> tuple[int, int]:
        """How far the maps go. Of two memories of one size nothing is left out that is managed in one of them: one
        place is one page frame on both sides.
        """
        sides = (first, second)
        known = [0 if one is None or not one.pages.nr else one.pages.nr for one in sides]
        ends = [
            end.follow(one) if nr and one is not None else 0
            for end, one, nr in zip(self._ends, sides, known, strict=True)
        ]
        if known[0] == known[1]:
            ends = [max(ends)] * 2
        words = [end_words(nr, end) for nr, end in zip(known, ends, strict=True) if end < nr]
        self.left_out = "; ".join(dict.fromkeys(words))
        return ends[0], ends[1]

    def _lay_out(self, at: int, nr: int) -> None:
        """All three alike, so that one place is one page frame."""
        shown = self.maps[at]
        wanted = Blocks.fitting(nr, max(1, self.maps[0].width()), max(1, self.maps[0].height()))
        now = shown.layout_
        if now is None or (now.nr, now.width, now.height) != (wanted.nr, wanted.width, wanted.height):
            self._following = True
            shown.set_layout(wanted)
            self._following = False
        shown.update()

    def legend(self) -> str:
        """What the colours of the map in the middle mean, as rich text."""
        words = [f"□ {LEGEND[0]}"]  # its colour is hardly one
        for key, text in zip(DIFFERENCE_COLORS[1:], LEGEND[1:], strict=True):
            words.append(f"<span style='color:{self._theme.tokens.hex(key)}'>■</span> {text}")
        return " &nbsp; ".join(words)


class Curves(QWidget):
    """The unusable index of an order in both, over virtual time, with the instants that are shown."""

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self._theme = theme
        self.order = 9
        self.curves: tuple[Curve, ...] = ()
        self.names: tuple[str, ...] = ()
        self.at: tuple[int, ...] = ()
        self.setMinimumSize(200, 110)
        self.setAccessibleName("Unusable free space index of both, over time")

    def show_curves(self, curves: tuple[Curve, ...], names: tuple[str, ...], at: tuple[int, ...], order: int) -> None:
        """``at``: the instant of each, ns."""
        self.curves, self.names, self.at, self.order = curves, names, at, order
        self.update()

    def as_parts(self) -> Parts:
        """Both, of every order: as long as the recordings, so it is made while it is written."""
        curves, names = self.curves, self.names

        def parts() -> Iterator[list[Row]]:
            yield [["side", "of", "time_ns", *(f"unusable_order_{order}" for order in range(11))]]
            for side, name, (times, values) in zip(("first", "second"), names, curves, strict=False):
                for at in range(0, times.size, PART):
                    end = at + PART
                    numbers = zip(times[at:end].tolist(), values[at:end].tolist(), strict=True)
                    yield [[side, name, time_ns, *index] for time_ns, index in numbers]

        return Parts(parts(), 1 + sum(-(-times.size // PART) for times, _ in curves))

    def range(self) -> tuple[int, int]:
        """First and last instant of both."""
        times = [one for one, _ in self.curves if one.size]
        if not times:
            return 0, 1
        begin = min(int(one[0]) for one in times)
        return begin, max(begin + 1, *(int(one[-1]) for one in times))

    def _color(self, number: int) -> QColor:
        return self._theme.color(("chart.line", "chart.compaction")[number])

    @painted
    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        if not any(one.size for one, _ in self.curves):
            draw_empty(painter, QRectF(self.rect()), self._theme, "Nothing to compare yet")
            painter.end()
            return
        area = QRectF(_LEFT, _TOP, self.width() - _LEFT - 6, self.height() - _TOP - _BOTTOM)
        begin, end = self.range()
        top = self._top()
        self._paint_axes(painter, area, begin, end, top)
        for number, (times, values) in enumerate(self.curves):
            if not times.size:
                continue
            points = peaks(times, values[:, self.order], begin, min(end, int(times[-1])), int(area.width()))
            scale = (min(end, int(times[-1])) - begin) / (end - begin)
            line = [
                QPointF(area.left() + x * scale, area.bottom() - y * area.height() / top) for x, y in points.tolist()
            ]
            pen = QPen(self._color(number), 1.8)
            if number:
                pen.setDashPattern([5, 3])
            painter.setPen(pen)
            painter.drawPolyline(QPolygonF(line))
            x = area.left() + (self.at[number] - begin) * area.width() / (end - begin)
            if area.left() <= x <= area.right() + 1:
                painter.fillRect(QRectF(round(x) - 0.75, area.top(), 1.5, area.height()), self._color(number))
        self._paint_legend(painter)
        painter.end()

    def _top(self) -> int:
        """The highest value of the scale, thousandths: so that what there is fills the height."""
        highest = max(int(values[:, self.order].max()) for times, values in self.curves if times.size)
        return next(top for top in _SCALES if top >= highest)

    def _paint_axes(self, painter: QPainter, area: QRectF, begin: int, end: int, top: int) -> None:
        painter.setFont(self._theme.font("mono-small"))
        for part in (0.0, 0.5, 1.0):
            y = area.bottom() - part * area.height()
            painter.fillRect(QRectF(area.left(), y, area.width(), 1), self._theme.color("chart.grid"))
            painter.setPen(self._theme.color("ui.muted"))
            right = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
            painter.drawText(QRectF(0, y - 8, _LEFT - 5, 16), right, f"{part * top / 1000:.2f}")
        box = QRectF(area.left(), area.bottom() + 1, area.width(), _BOTTOM)
        painter.drawText(box, Qt.AlignmentFlag.AlignLeft, seconds(begin))
        painter.drawText(box, Qt.AlignmentFlag.AlignRight, seconds(end))

    def value(self, number: int) -> int:
        """The index of a side at its instant, thousandths; -1 before its beginning."""
        times, values = self.curves[number]
        found = int(np.searchsorted(times, self.at[number], "right")) - 1
        return int(values[found, self.order]) if found >= 0 else -1

    def _paint_legend(self, painter: QPainter) -> None:
        painter.setFont(self._theme.font("small"))
        painter.setPen(self._theme.color("ui.muted"))
        title = f"unusable index, order {self.order}"
        painter.drawText(QRectF(2, 0, self.width(), 18), Qt.AlignmentFlag.AlignVCenter, title)
        x = 2.0 + painter.fontMetrics().horizontalAdvance(title) + 16
        room = (self.width() - x) / 2 - 45
        for number, name in enumerate(self.names):
            value = self.value(number)
            words = f"{name}: {value / 1000:.2f}" if value >= 0 else name
            pen = QPen(self._color(number), 1.8)
            if number:
                pen.setDashPattern([5, 3])
            painter.setPen(pen)
            painter.drawLine(QPointF(x, 9), QPointF(x + 22, 9))
            painter.setPen(self._theme.color("ui.text"))
            width = min(painter.fontMetrics().horizontalAdvance(words), max(0.0, room))
            words = painter.fontMetrics().elidedText(words, Qt.TextElideMode.ElideMiddle, int(width) + 1)
            painter.drawText(QRectF(x + 27, 0, width + 4, 18), Qt.AlignmentFlag.AlignVCenter, words)
            x += width + 45


class DifferenceTable(QTreeWidget):
    """What differs, most first; Ctrl+C copies all of it for a spreadsheet."""

    def __init__(self) -> None:
        super().__init__()
        self.setAccessibleName("What differs")
        self.setHeaderLabels(["What differs", "First", "Second", "Change"])
        self.setUniformRowHeights(True)
        self.setAlternatingRowColors(False)
        header = self.header()
        header.setStretchLastSection(False)
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        for column in (1, 2, 3):
            header.setSectionResizeMode(column, QHeaderView.ResizeMode.ResizeToContents)
        self._shown: tuple[object, ...] = ()
        self.installEventFilter(self)

    def _tops(self) -> list[QTreeWidgetItem]:
        found = [self.topLevelItem(at) for at in range(self.topLevelItemCount())]
        return [one for one in found if one is not None]

    def rows(self) -> list[list[str]]:
        """All of it: header and rows."""
        found = [["what", "first", "second", "by"]]
        for top in self._tops():
            for part in [top, *(top.child(number) for number in range(top.childCount()))]:
                if part is not None:
                    found.append([part.text(column) for column in range(4)])
        return found

    def as_table(self) -> Table:
        """All of it for a file: numbers as numbers."""
        rows: list[Row] = []
        for top in self._tops():
            for item in (top.child(number) for number in range(top.childCount())):
                if item is not None:
                    rows.append([top.text(0), item.text(0), *(_number(item.text(column)) for column in (1, 2, 3))])
        return ["part", "what", "first", "second", "by"], rows

    def show_difference(self, found: Difference | None) -> None:
        """Show it; tables that are closed stay closed."""
        shown = () if found is None else (found.policies, found.tables())
        if shown == self._shown:
            return
        self._shown = shown
        closed = {top.text(0) for top in self._tops() if not top.isExpanded()}
        place = self.verticalScrollBar().value()
        self.clear()
        if found is not None:
            for title, rows in _parts(found):
                self._add(title, rows, title not in closed)
        self.verticalScrollBar().setValue(place)

    def _add(self, title: str, rows: list[list[str]], opened: bool) -> None:
        top = QTreeWidgetItem([title])
        self.addTopLevelItem(top)
        top.setFirstColumnSpanned(True)
        for row in rows:
            item = QTreeWidgetItem(row)
            for column in (1, 2, 3):
                item.setTextAlignment(column, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
            top.addChild(item)
        top.setExpanded(opened)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Copy."""
        if event.type() == QEvent.Type.KeyPress and event.matches(QKeySequence.StandardKey.Copy):  # type: ignore[attr-defined]
            QApplication.clipboard().setText("\n".join("\t".join(row) for row in self.rows()))
            return True
        return super().eventFilter(watched, event)


def _number(text: str) -> int | str:
    """A number as it was before it was written for people; a policy's value stays text."""
    plain = text.replace(",", "")
    return int(plain) if plain.lstrip("+-").isdecimal() else text


def _parts(found: Difference) -> list[tuple[str, list[list[str]]]]:
    """Tables as texts: what differs most comes first where order is no order."""
    parts = [("policies", [[name, first, second, ""] for name, first, second in found.policies])]
    for title, changes in found.tables():
        by_size = title in ("page frames", "slabs", "counters")
        rows = sorted(changes, key=lambda row: -abs(row.by)) if by_size else changes
        parts.append((title, [[row.name, f"{row.first:,}", f"{row.second:,}", f"{row.by:+,}"] for row in rows]))
    return [one for one in parts if one[1]]
