"""The table of a panel that is a list."""

from __future__ import annotations

from PySide6.QtGui import QPainter, QPaintEvent

from memviz.gui.controls import Table
from memviz.gui.painting import painted
from memviz.gui.panel import View, draw_empty


class PanelTable(Table):
    """The table of a view; says in words why it is empty."""

    def __init__(self, view: View) -> None:
        super().__init__(view)
        self._view = view

    @painted
    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw rows, or why there are none."""
        super().paintEvent(event)
        if self.model().rowCount() == 0:
            painter = QPainter(self.viewport())
            draw_empty(painter, self.viewport().rect().toRectF(), self._view.theme, *self._view.empty_words())
            painter.end()
