"""The order in which Tab goes through the window: the bars, then panel after panel, each from its title to its end.

Qt's own order is that in which widgets were made. It comes to a panel's buttons long after its content, and into
panels that are behind others.
"""

from __future__ import annotations

from collections.abc import Iterable

from PySide6.QtCore import QPoint, Qt
from PySide6.QtWidgets import QApplication, QTabBar, QWidget

from memviz.gui.panel import PanelDock


def stops(bars: Iterable[QWidget], docks: Iterable[PanelDock], tabs: Iterable[QTabBar]) -> list[QWidget]:
    """Every widget that Tab stops at, in order. ``tabs``: bars that switch between panels in the same place."""
    found: list[QWidget] = []
    for bar in bars:
        found += _inside(bar)
    seen = [dock for dock in docks if dock.in_sight and not dock.isFloating()]
    heads = {_dock_below(bar, seen): bar for bar in tabs if bar.isVisible() and seen}
    for dock in seen:
        if dock in heads:
            found.append(heads[dock])
        found += _inside(dock.view.header)
        body = dock.widget()
        found += _inside(body) if body is not None else []
    return found


def go(order: list[QWidget], forwards: bool) -> bool:
    """Give the focus to the next of ``order``, or to the one before. False: there is none."""
    if not order:
        return False
    now = QApplication.focusWidget()
    at = order.index(now) if now in order else (-1 if forwards else 0)
    reason = Qt.FocusReason.TabFocusReason if forwards else Qt.FocusReason.BacktabFocusReason
    order[(at + (1 if forwards else -1)) % len(order)].setFocus(reason)
    return True


def _inside(parent: QWidget) -> list[QWidget]:
    """What can have the focus in ``parent``: from the top down, in a row from the left."""
    found = [
        one
        for one in (parent, *parent.findChildren(QWidget))
        if one.focusPolicy() & Qt.FocusPolicy.TabFocus
        and one.focusProxy() is None
        and one.isVisibleTo(parent.window())
        and one.isEnabled()
        and not one.objectName().startswith("qt_")
    ]
    return sorted(found, key=lambda one: _place(one, parent))


def _place(widget: QWidget, parent: QWidget) -> tuple[int, int]:
    at = widget.mapTo(parent, QPoint(0, widget.height() // 2)) if widget is not parent else QPoint(-1, -1)
    return at.y() // 12, at.x()  # controls of one row differ by a few pixels


def _dock_below(bar: QTabBar, docks: list[PanelDock]) -> PanelDock:
    corner = bar.geometry().bottomLeft()
    return min(docks, key=lambda dock: (dock.geometry().topLeft() - corner).manhattanLength())
