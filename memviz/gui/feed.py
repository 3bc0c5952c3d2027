"""Gives the newest snapshot to the panels: to those that can be seen, each no more often than it wants."""

from __future__ import annotations

import sys
import traceback
from dataclasses import replace
from functools import partial
from typing import Final

from PySide6.QtCore import QElapsedTimer, QObject, Slot

from memviz.gui.docks import Docks
from memviz.gui.panel import Waiting
from memviz.gui.session import Session
from memviz.sources.serve import NO_PAGES

FRAMES: Final = ("heatmap",)
"""Panels that look at page frames one by one. The others get snapshots without: each may keep one for long, and of a
memory of 64 GiB one takes 117 MB.
"""


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
        for dock in docks.all.values():
            dock.visibilityChanged.connect(self._visibility_changed)
            dock.broke.connect(partial(self._note, dock.view.title))

    @Slot()
    def show(self) -> None:
        """Give the newest snapshot to the views that can be seen and whose time has come."""
        snapshot, now_ms = self._session.snapshot, self._clock.elapsed()
        waiting = self._waiting()
        for dock in self._docks.all.values():
            dock.view.waiting = waiting
        if snapshot is None:
            return
        without = replace(snapshot, pages=NO_PAGES)
        for dock in self._docks.all.values():
            view = dock.view
            if dock.failed or not dock.in_sight or self._shown_seq.get(view.ident) == snapshot.seq:
                continue
            last = self._shown_ms.get(view.ident, -view.period_ms)
            if now_ms - last < view.period_ms and self._session.running:
                continue
            self._shown_ms[view.ident] = now_ms
            self._shown_seq[view.ident] = snapshot.seq
            try:
                view.show_snapshot(snapshot if view.ident in FRAMES else without)
            except Exception:
                # One broken panel must not take the window's other panels with it.
                dock.fail()
                self._note(view.title, traceback.format_exc())
                sys.excepthook(*sys.exc_info())

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
            self.show()
