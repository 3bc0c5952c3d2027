"""Gives the newest snapshot to the panels: to those that can be seen, each no more often than it wants."""

from __future__ import annotations

import sys
import traceback
from dataclasses import replace
from functools import partial
from typing import Final

from PySide6.QtCore import QElapsedTimer, QObject, Slot

from memviz.gui.docks import Docks
from memviz.gui.once import once
from memviz.gui.panel import PanelDock, Waiting
from memviz.gui.session import Session
from memviz.snapshot import Snapshot
from memviz.sources.serve import NO_PAGES

FRAMES: Final = ("heatmap",)
"""Panels that look at page frames one by one. The others get snapshots without: each may keep one for long, and of a
memory of 64 GiB one takes 117 MB.
"""

AT_ONCE: Final = 2
"""Panels that get a snapshot in one redraw, beside those that get all of them."""
LATER_MS: Final = 40
"""When there is no newer snapshot, panels that were left out get this one after that time."""
_LONG_AGO: Final = 1_000_000


class Feed(QObject):
    """Between one session and the panels in ``docks``."""

    def __init__(self, session: Session, docks: Docks, parent: QObject) -> None:
        super().__init__(parent)
        self._session = session
        self._docks = docks
        self._clock = QElapsedTimer()
        self._clock.start()
        self._shown_ms: dict[str, int] = {}
        self._shown_seq: dict[str, int] = {}
        self._later = once(self, self.show, LATER_MS)
        self._soon = once(self, self.show)
        for dock in docks.all.values():
            dock.visibilityChanged.connect(self._visibility_changed)
            dock.broke.connect(partial(self._note, dock.view.title))

    @Slot()
    def show(self) -> None:
        """Give the newest snapshot to the views that can be seen and whose time has come."""
        snapshot = self._session.snapshot
        waiting = self._waiting()
        for dock in self._docks.all.values():
            dock.view.waiting = waiting
        if snapshot is None:
            return
        without = replace(snapshot, pages=NO_PAGES)
        for dock in self._due(snapshot):
            view = dock.view
            self._shown_ms[view.ident] = self._clock.elapsed()
            self._shown_seq[view.ident] = snapshot.seq
            try:
                view.show_snapshot(snapshot if view.ident in FRAMES else without)
            except Exception:
                # One broken panel must not take the window's other panels with it.
                dock.fail()
                self._note(view.title, traceback.format_exc())
                sys.excepthook(*sys.exc_info())

    def _due(self, snapshot: Snapshot) -> list[PanelDock]:
        """Whose turn it is. While the source runs that is every panel that wants each snapshot, and of the others the
        ``AT_ONCE`` that have waited longest: all of them in one redraw would make that one late.
        """
        behind = [
            dock
            for dock in self._docks.all.values()
            if dock.in_sight and not dock.failed and self._shown_seq.get(dock.view.ident) != snapshot.seq
        ]
        if not self._session.running:
            self._later.stop()
            return behind
        now_ms = self._clock.elapsed()
        waited = {dock: now_ms - self._shown_ms.get(dock.view.ident, -_LONG_AGO) for dock in behind}
        late = [dock for dock in behind if dock.view.period_ms and waited[dock] >= dock.view.period_ms]
        late.sort(key=lambda dock: dock.view.period_ms - waited[dock])
        due = [dock for dock in behind if not dock.view.period_ms] + late[:AT_ONCE]
        if len(due) < len(behind):
            self._later.start()  # a slow source may have nothing newer for long
        return due

    def _note(self, title: str, trouble: str) -> None:
        self._session.trouble += f"{title}:\n{trouble}\n"

    def _waiting(self) -> Waiting:
        if self._session.snapshot is not None:
            return ""
        if self._session.failure:
            return "failed"
        return "nothing" if self._session.client is None else "starting"

    def forget(self) -> None:
        """Another source was opened: all panels are due."""
        self._shown_seq.clear()
        self._shown_ms.clear()

    @Slot(bool)
    def _visibility_changed(self, visible: bool) -> None:
        if visible:
            self._soon.start()  # a layout that is put together shows one panel after the other
