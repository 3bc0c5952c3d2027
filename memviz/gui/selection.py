"""What the user looks at: one selection and one focus, shared by every view.

A view that is clicked calls one of the ``select_…`` methods; all views (that one too) hear ``changed`` and show
``selection.now``. Picking an object, a node or an event also picks the page frame it lies on, so that the map follows.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from PySide6.QtCore import QElapsedTimer, QObject, Signal

from memviz.kernel.page import PAGE_SHIFT
from memviz.snapshot import Focus


@dataclass(frozen=True, slots=True)
class Picked:
    """What is selected; -1 stands for nothing."""

    pfn: int = -1
    object: int = -1
    """Address of a slab object."""
    node: int = -1
    """Address of an xa_node (a slab object too)."""
    cpu: int = -1
    event: int = -1
    """Sequence number of an event."""
    time_ns: int = -1
    """The one time cursor."""


_Place = tuple[Picked, tuple[int, int] | None]
KEPT: Final = 100
ONE_MOVE_MS: Final = 600


class Selection(QObject):
    """The shared selection. ``changed`` carries nothing: read ``now``."""

    changed = Signal()
    focus_changed = Signal()
    range_changed = Signal()

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.now = Picked()
        self.focus = Focus()
        self.range: tuple[int, int] | None = None
        """The part of time that charts and timeline show, ns; None: all of it."""
        self._before: list[_Place] = []
        self._after: list[_Place] = []
        self._since_move = QElapsedTimer()

    def set_range(self, shown: tuple[int, int] | None) -> None:
        """Show another part of time, everywhere."""
        if shown != self.range:
            self._remember()
            self._set_range(shown)

    # -- where one has been

    def back(self) -> None:
        """What was selected before, and the part of time that was shown then."""
        self._go(self._before, self._after)

    def forward(self) -> None:
        """Undo ``back``."""
        self._go(self._after, self._before)

    def forget(self) -> None:
        """Select nothing, of all time, and forget where one has been: another source was opened."""
        self._before.clear()
        self._after.clear()
        self._since_move.invalidate()
        self._set(Picked(), remember=False)
        self._set_range(None)

    def _go(self, source: list[_Place], target: list[_Place]) -> None:
        if source:
            target.append((self.now, self.range))
            picked, shown = source.pop()
            self._since_move.invalidate()
            self._set_range(shown)
            self._set(picked, remember=False)

    def _remember(self) -> None:
        """Moves that follow one another quickly, arrow by arrow or notch by notch, are one."""
        quick = self._since_move.isValid() and self._since_move.elapsed() < ONE_MOVE_MS
        self._since_move.start()
        if not quick:
            self._before.append((self.now, self.range))
            del self._before[:-KEPT]
        self._after.clear()

    def _set_range(self, shown: tuple[int, int] | None) -> None:
        if shown != self.range:
            self.range = shown
            self.range_changed.emit()

    # -- picking

    def select_page(self, pfn: int) -> None:
        """Pick a page frame; objects and nodes on other frames are let go."""
        self._set(Picked(pfn=pfn, cpu=self.now.cpu, time_ns=self.now.time_ns))

    def select_object(self, addr: int) -> None:
        """Pick a slab object by its address, and the page frame it lies on."""
        self._set(replace(self.now, object=addr, node=addr, pfn=addr >> PAGE_SHIFT, event=-1))

    def select_node(self, addr: int) -> None:
        """Pick an xa_node by its address: an object of a slab on some page frame."""
        self.select_object(addr)

    def select_cpu(self, cpu: int) -> None:
        """Pick a CPU."""
        self._set(replace(self.now, cpu=cpu))

    def select_event(self, seq: int, time_ns: int, cpu: int, pfn: int = -1) -> None:
        """Pick an event: its time, its CPU and the page frame it is about, if it is about one."""
        self._set(Picked(pfn=pfn, cpu=cpu, event=seq, time_ns=time_ns))

    def select_time(self, time_ns: int) -> None:
        """Move the time cursor; -1 takes it away."""
        self._set(replace(self.now, time_ns=time_ns))

    def clear(self) -> None:
        """Select nothing."""
        self._set(Picked())

    def look_at(
        self,
        *,
        cache: str | None = None,
        xarray: int | None = None,
        bulk_events: bool | None = None,
        sight: tuple[tuple[int, int], ...] | None = None,
    ) -> None:
        """Ask the source for the details of another cache or XArray, for the bulk of events, or to look first at what
        is on the screen."""
        focus = self.focus
        if cache is not None:
            focus = focus._replace(cache=cache)
        if xarray is not None:
            focus = focus._replace(xarray=xarray)
        if bulk_events is not None:
            focus = focus._replace(bulk_events=bulk_events)
        if sight is not None:
            focus = focus._replace(sight=sight)
        self._set_focus(focus)

    def _set(self, picked: Picked, remember: bool = True) -> None:
        if picked == self.now:
            return
        if remember:
            self._remember()
        self.now = picked
        self._set_focus(self.focus._replace(pfn=picked.pfn))
        self.changed.emit()

    def _set_focus(self, focus: Focus) -> None:
        if focus != self.focus:
            self.focus = focus
            self.focus_changed.emit()
