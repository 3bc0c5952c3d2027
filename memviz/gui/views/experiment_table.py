"""What policies get and what they pay, as a table that can be sorted by any of its columns."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, NamedTuple

from PySide6.QtCore import QAbstractTableModel, QModelIndex, QPersistentModelIndex, QSortFilterProxyModel, Qt
from PySide6.QtGui import QColor, QIcon, QPixmap

from memviz.experiment.estimate import Estimate

Index = QModelIndex | QPersistentModelIndex
SWATCH: Final = 14
"""Pixels."""
VALUE: Final = Qt.ItemDataRole.UserRole


class Column(NamedTuple):
    """A figure of every policy."""

    title: str
    says: str
    form: str
    values: tuple[Estimate, ...]


class PriceModel(QAbstractTableModel):
    """A row a policy: its name, and the estimates of ``columns``."""

    def __init__(self) -> None:
        super().__init__()
        self.names: tuple[str, ...] = ()
        self.says: tuple[str, ...] = ()
        self.colours: tuple[str, ...] = ()
        self.columns: tuple[Column, ...] = ()

    def show_columns(
        self, names: Sequence[str], says: Sequence[str], colours: Sequence[str], columns: Sequence[Column]
    ) -> None:
        """Show other figures."""
        self.beginResetModel()
        self.names, self.says, self.colours = tuple(names), tuple(says), tuple(colours)
        self.columns = tuple(columns)
        self.endResetModel()

    def rowCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008 (Qt's signature)
        """Policies."""
        return 0 if parent.isValid() else len(self.names)

    def columnCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008 (Qt's signature)
        """The name, and the figures."""
        return 0 if parent.isValid() else 1 + len(self.columns)

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = 0) -> object:
        """Titles; what they mean beside the pointer."""
        if orientation != Qt.Orientation.Horizontal:
            return None
        if role == Qt.ItemDataRole.DisplayRole:
            return "policy" if section == 0 else self.columns[section - 1].title
        if role == Qt.ItemDataRole.ToolTipRole:
            return "What is switched on, or done" if section == 0 else self.columns[section - 1].says
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return _LEFT if section == 0 else _RIGHT
        return None

    def data(self, index: Index, role: int = 0) -> object:
        """Mean and half of the interval; the mean alone to sort by."""
        row, column = index.row(), index.column()
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return _LEFT if column == 0 else _RIGHT
        if column == 0:
            return self._name(row, role)
        one = self.columns[column - 1].values[row]
        if role == VALUE:
            return one.mean
        if role == Qt.ItemDataRole.DisplayRole:
            return words(one, self.columns[column - 1].form)
        if role == Qt.ItemDataRole.ToolTipRole:
            return f"{self.names[row]}: {self.columns[column - 1].says}"
        return None

    def _name(self, row: int, role: int) -> object:
        if role == Qt.ItemDataRole.DisplayRole:
            return self.names[row]
        if role == Qt.ItemDataRole.DecorationRole:
            return swatch(self.colours[row])
        if role == Qt.ItemDataRole.ToolTipRole:
            return self.says[row]
        if role == VALUE:
            return float(row)  # as the experiment lists them
        return None


_LEFT: Final = Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter
_RIGHT: Final = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter


def words(one: Estimate, form: str) -> str:
    """A mean and the half of its interval, as the report writes them."""
    mean = format(one.mean, form)
    return mean if math.isinf(one.half) or one.half == 0 else f"{mean} ± {format(one.half, form)}"


def swatch(colour: str) -> QIcon:
    """A square of a policy's colour, the same in a row that is selected: Qt would tint a bare colour there, and the
    line in the plot has another."""
    square = QPixmap(SWATCH, SWATCH)
    square.fill(QColor(colour))
    icon = QIcon(square)
    icon.addPixmap(square, QIcon.Mode.Selected)
    return icon


class PriceOrder(QSortFilterProxyModel):
    """The table in the order that was asked for: numbers by their value."""

    def __init__(self, model: PriceModel) -> None:
        super().__init__()
        self.setSourceModel(model)
        self.setSortRole(VALUE)
