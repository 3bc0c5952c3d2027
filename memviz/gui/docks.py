"""Where the panels are at first, and how they get back there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from PySide6.QtCore import QEvent, QObject, Qt, Slot
from PySide6.QtGui import QAction
from PySide6.QtWidgets import QApplication, QLineEdit, QMainWindow, QTabBar, QTabWidget
from shiboken6 import Shiboken

from memviz.gui.panel import PanelDock, View

LEFT_SHARE = 0.545
UPPER_SHARE = 0.65
LANES_H = 124
"""Four CPUs and the line below them that says when."""


def panel_key(number: int) -> str:
    """The key that shows or hides panel ``number``, counted from 1; empty when there are no keys left."""
    return f"Ctrl+{number}" if number <= 9 else f"Ctrl+Shift+{number - 9}" if number <= 18 else ""


_SIMULATED = ("slab_grid", "xarray_tree", "cpu_lanes", "story", "stepper")
"""Panels about what no real machine tells."""


class PanelAction(QAction):
    """Goes to a panel: shows it, brings it to the front, gives it the keys. From the panel itself: closes it."""

    def __init__(self, dock: PanelDock, number: int, window: QMainWindow) -> None:
        super().__init__(dock.view.title, window)
        self._dock = dock
        keys = panel_key(number)
        self.setObjectName(f"action_panel_{dock.view.ident}")
        self.setShortcut(keys)
        self.setCheckable(True)
        self.setToolTip(f"Go to {dock.view.title}; from there: close it ({keys})")
        self.setStatusTip(dock.view.what)
        self.triggered.connect(self._go)
        dock.toggleViewAction().toggled.connect(self.setChecked)
        self.setChecked(not dock.isHidden())

    @Slot()
    def _go(self) -> None:
        dock, focus = self._dock, QApplication.focusWidget()
        if dock.in_sight and focus is not None and dock.isAncestorOf(focus):
            dock.close()
        else:
            dock.show()
            dock.raise_()
            dock.take_keys()
        self.setChecked(not dock.isHidden())


class Page(Protocol):
    """A widget that covers the window: the start page, or that of an experiment."""

    def isHidden(self) -> bool:
        """It does not."""

    def installEventFilter(self, filter_: QObject, /) -> None:
        """As any QObject."""

    def tell(self, sentence: str) -> None:
        """Say something in it."""


class Cover(QObject):
    """Pages that cover the window, and panels that float: those would stand above the pages, so they go while one is
    there."""

    def __init__(self, docks: Docks, window: QMainWindow) -> None:
        super().__init__(window)
        self._docks = docks
        self._pages: list[Page] = []
        self._put_away: list[PanelDock] = []

    def under(self, page: Page) -> None:
        """``page`` may cover the window from now on."""
        self._pages.append(page)
        page.installEventFilter(self)

    @property
    def there(self) -> list[Page]:
        """Those that cover the window now."""
        return [page for page in self._pages if not page.isHidden()]

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """A page came or went."""
        if event.type() in (QEvent.Type.ShowToParent, QEvent.Type.HideToParent):
            self._look()
        return False

    def _look(self) -> None:
        if self.there:
            floating = [one for one in self._docks.all.values() if one.isFloating() and not one.isHidden()]
            self._put_away += floating
            for dock in floating:
                dock.hide()
        else:
            self.bring_back()

    def bring_back(self) -> None:
        """Show them again."""
        back, self._put_away = self._put_away, []
        for dock in back:
            dock.show()


class Docks:
    """The docks of ``window`` around ``views``, in the order of the picture in the help."""

    def __init__(self, window: QMainWindow, views: Sequence[View]) -> None:
        self._window = window
        self.cover = Cover(self, window)
        self._away: list[str] = []
        window.setDockNestingEnabled(True)
        window.setTabPosition(Qt.DockWidgetArea.AllDockWidgetAreas, QTabWidget.TabPosition.North)
        self.all: dict[str, PanelDock] = {view.ident: PanelDock(view, window) for view in views}
        self.arrange()
        for dock in self.all.values():
            dock.visibilityChanged.connect(self._name_tab_bars)

    def _name_tab_bars(self) -> None:
        """Panels come and go; for the last time when the window is deleted, and then there are no bars."""
        if Shiboken.isValid(self._window):
            self.tab_bars()

    def tab_bars(self) -> list[QTabBar]:
        """Those that switch between panels in one place, with names: Qt makes them as panels are put together."""
        bars = self._window.findChildren(QTabBar, options=Qt.FindChildOption.FindDirectChildrenOnly)
        for bar in bars:
            titles = ", ".join(bar.tabText(tab) for tab in range(bar.count()))
            bar.setAccessibleName(f"Panels that share this place: {titles}" if titles else "Panels of one place")
        return bars

    def arrange(self) -> None:
        """Put every panel where it was at first: memory at the left, what lives in it at the right, answers below."""
        window, docks = self._window, self.all
        for dock in docks.values():
            if dock.isFloating():  # for the others it would cost a layout each
                dock.setFloating(False)
            window.removeDockWidget(dock)
        top, bottom = Qt.DockWidgetArea.TopDockWidgetArea, Qt.DockWidgetArea.BottomDockWidgetArea
        across, down = Qt.Orientation.Horizontal, Qt.Orientation.Vertical
        window.addDockWidget(top, docks["heatmap"])
        window.splitDockWidget(docks["heatmap"], docks["slab_grid"], across)
        window.splitDockWidget(docks["slab_grid"], docks["xarray_tree"], down)
        window.splitDockWidget(docks["xarray_tree"], docks["cpu_lanes"], down)
        window.addDockWidget(bottom, docks["contiguity"])
        window.splitDockWidget(docks["contiguity"], docks["timeline"], down)
        window.splitDockWidget(docks["contiguity"], docks["request"], across)
        window.splitDockWidget(docks["request"], docks["events"], across)
        window.tabifyDockWidget(docks["request"], docks["story"])
        window.tabifyDockWidget(docks["contiguity"], docks["charts"])
        window.tabifyDockWidget(docks["events"], docks["policies"])
        window.tabifyDockWidget(docks["events"], docks["notes"])
        window.tabifyDockWidget(docks["heatmap"], docks["stepper"])
        window.tabifyDockWidget(docks["contiguity"], docks["caches"])
        self._away.clear()
        for dock in docks.values():
            dock.show()
        for ident in ("heatmap", "contiguity", "request", "events"):
            docks[ident].raise_()
        self.size()

    def suit(self, real: bool) -> None:
        """Put away the panels that a real machine has nothing for, so that the others have their room; or bring them
        back. What the user closed stays closed."""
        if real and not self._away:
            self._away = [ident for ident in _SIMULATED if not self.all[ident].isHidden()]
            for ident in self._away:
                self.all[ident].hide()
            self.bring("caches")
        elif not real and self._away:
            seen = [dock for dock in self.all.values() if dock.in_sight]
            for ident in self._away:
                self.all[ident].show()
            self._away.clear()
            for dock in seen:
                dock.raise_()
            self.bring("contiguity")
            self.size()

    def bring(self, ident: str) -> None:
        """Put a panel in front of those that share its place, unless it is closed. Who types goes on typing: a panel
        that has the keys in a text field isn't covered."""
        dock = self.all.get(ident)
        if dock is None or dock.isHidden() or dock.in_sight:
            return
        focus = QApplication.focusWidget()
        over = [one for one in self._window.tabifiedDockWidgets(dock) if focus is not None and one.isAncestorOf(focus)]
        if over and isinstance(focus, QLineEdit):
            return
        dock.raise_()
        if over:
            dock.view.setFocus()
        elif focus is not None:
            focus.setFocus()

    def next_panel(self, step: int) -> None:
        """Give the keys to the next panel that can be seen, or with -1 to the one before."""
        seen = [dock for dock in self.all.values() if dock.in_sight]
        focus = QApplication.focusWidget()
        at = next((n for n, dock in enumerate(seen) if focus is not None and dock.isAncestorOf(focus)), -1)
        if seen:
            seen[(at + step) % len(seen) if at >= 0 else (0 if step > 0 else -1)].take_keys()

    def size(self) -> None:
        """Give the panels their shares of the window as it is now."""
        window = self._window
        width, height = window.width() - 16, window.height() - 90
        across, down = Qt.Orientation.Horizontal, Qt.Orientation.Vertical
        strip = max(76, int(height * 0.075))
        lower = max(206, int(height * (1 - UPPER_SHARE)) - strip)
        upper = height - lower - strip
        self._resize({"heatmap": upper, "contiguity": lower, "timeline": strip}, down)
        left = int(width * LEFT_SHARE)
        self._resize({"heatmap": left, "slab_grid": width - left}, across)
        lanes = max(int(upper * 0.24), min(LANES_H, int(upper * 0.36)))
        slabs = int((upper - lanes) * 0.45)
        self._resize({"slab_grid": slabs, "xarray_tree": upper - lanes - slabs, "cpu_lanes": lanes}, down)
        self._resize(dict.fromkeys(("contiguity", "request", "events"), width // 3), across)

    def _resize(self, sizes: dict[str, int], way: Qt.Orientation) -> None:
        """Those that are there: Qt finds room for a hidden one too, at the cost of the others."""
        there = {ident: size for ident, size in sizes.items() if not self.all[ident].isHidden()}
        self._window.resizeDocks([self.all[ident] for ident in there], list(there.values()), way)
