"""What the window does with recordings: make one, open one, wind it, go on from it."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from PySide6.QtCore import QObject, Slot

from memviz.gui.compare import CompareWindow
from memviz.gui.files import RECORDING_KIND, ask_which
from memviz.gui.session import Client
from memviz.recording.format import SUFFIX, RecordingError, refuse_foreign
from memviz.sources.base import Jump, Loop, Rate, Record, Seek, SourceSpec, Step, StopRecording, continued, playback
from memviz.sources.host import HostClient

if TYPE_CHECKING:
    from memviz.gui.main_window import MainWindow

_FASTEST = 64.0


class Recordings(QObject):
    """The window's commands about recordings."""

    def __init__(self, window: MainWindow) -> None:
        super().__init__(window)
        self._window = window
        self._session = window.session
        window.timeline.scrubbed.connect(self.seek)
        window.charts.scrubbed.connect(self.seek)
        window.selection.changed.connect(self._selection_changed)
        self._event = -1
        self._continued: tuple[Client | None, str, int] = (None, "", -1)
        self.notes = window.notes
        self.notes.changed.connect(self._notes_changed)
        self.notes.told.connect(window.tell)
        window.notes_view.wanted.connect(self.seek_paused)
        window.notes_view.add_wanted.connect(self.add_note)

    # -- making one

    def toggle(self) -> None:
        """Ask where to and begin, or finish the one that is being made."""
        if self._session.recording:
            self._session.send(StopRecording(), "Finishing the recording …")
            return
        stem = Path((*self.open_paths(), self._window.scenario or "memviz")[0]).stem
        path = self._window.ask_file("Record to", f"{stem}-{time.strftime('%Y%m%d-%H%M%S')}{SUFFIX}", RECORDING_KIND)
        if path:
            path = path if path.endswith(SUFFIX) else f"{path}{SUFFIX}"
            self._session.send(Record(str(Path(path).absolute())), "Beginning to record …")
        self._session.changed.emit()  # the button shows what is, not what was clicked

    # -- opening one

    def ask(self) -> None:
        """Ask which file, and open it."""
        path = ask_which(self._window, "Open a recording", f"{RECORDING_KIND};;All files (*)")
        if path:
            self.open(path)

    def open(self, path: str, at_ns: int = -1) -> None:
        """Play a recording. What is wrong with the file is said where the state of a run is said."""
        if self._refused(path):
            return
        self._start(path, playback(path, at_ns), f"{Path(path).name}", partial(self.open, path))
        self._session.set_running(True)

    def _refused(self, path: str) -> bool:
        """A file that is no recording is not worth the run that there is, nor the page that it was dropped onto: say
        what it is, and leave all as it is."""
        if self._session.client is None and not self._window.covered:
            return False  # there is nothing to lose, and no other place to say it
        try:
            refuse_foreign(Path(path))
        except RecordingError as error:
            if self._window.gallery is not None:
                self._window.gallery.leave()  # it stays when there is nothing below it
            self._window.tell(False, f"{error}.")
            return True
        return False

    def go_on(self, path: str = "", at_ns: int = -1) -> None:
        """Run the simulation on from an instant; by default from the one that is shown."""
        snapshot = self._session.snapshot
        if not path:
            if snapshot is None or snapshot.playback is None:
                return
            path, at_ns = snapshot.playback.path, snapshot.time_ns
        if self._refused(path):
            return
        self._start(path, continued(path, at_ns), f"{Path(path).name}, going on", partial(self.go_on, path, at_ns))
        self._continued = (self._session.client, path, at_ns)
        self._session.set_running(True)

    def go_back(self) -> bool:
        """From a run that goes on from a recording to that recording, at that instant; False: this is no such run."""
        client, path, at_ns = self._continued
        if not path or client is not self._session.client:
            return False
        self.open(path, at_ns)
        self._session.set_running(False)
        return True

    # -- comparing

    def open_paths(self) -> list[str]:
        """Recordings that the window has to do with: the one that is played, and the one that a run goes on from."""
        client, path, _ = self._continued
        paths = [path] if path and client is self._session.client else []
        snapshot = self._session.snapshot
        if snapshot is not None and snapshot.playback is not None:
            paths.append(snapshot.playback.path)
        return paths

    def compare(self) -> None:
        """Two instants of the recording that is played; or the recording, and the run that goes on from it."""
        paths = self.open_paths()
        if not paths:
            path = ask_which(self._window, "Compare this run with a recording", RECORDING_KIND)
            paths = [path] if path else []
        if paths:
            CompareWindow(self._window, paths[0], paths[0] if self._session.playing else "").show()

    def _start(self, path: str, spec: SourceSpec, title: str, again: Callable[[], None]) -> None:
        window = self._window
        window.again = again
        offered = [(one.name, one.title) for one in window.scenarios]
        window.top_bar.set_scenarios([*offered, (path, title)], path)
        window.setWindowTitle(f"{title} — memviz")
        window.guided = False
        self._session.open(partial(HostClient, spec))
        window.uncover()

    # -- winding it

    @Slot(object)
    def seek(self, time_ns: int) -> None:
        """Wind to an instant."""
        if self._session.playing:
            self._session.send(Seek(time_ns))

    @Slot(object)
    def seek_paused(self, time_ns: int) -> None:
        """Wind to an instant and stay there."""
        if self._session.playing:
            self._session.set_running(False)
            self.seek(time_ns)

    @Slot()
    def _selection_changed(self) -> None:
        """An event that is picked is an instant to look at."""
        now = self._window.selection.now
        if now.event != self._event:
            self._event = now.event
            if now.event >= 0 and now.time_ns >= 0 and self._session.playing:
                self._session.set_running(False)
                self.seek(now.time_ns)

    def jump(self, to: Literal["failure", "defragmentation", "grace period"], forwards: bool = True) -> None:
        """Wind to the next thing of a kind, or to the one before."""
        self._session.send(Jump(to, forwards))

    # -- notes on it

    def add_note(self) -> None:
        """A note on the instant that is shown, to be written in the panel."""
        self._session.set_running(False)
        note = self.notes.add()
        if note is not None:
            dock = self._window.docks.all["notes"]
            dock.show()
            dock.raise_()
            self._window.notes_view.edit(note.id)

    def jump_note(self, forwards: bool = True) -> None:
        """Wind to the next note, or to the one before."""
        snapshot = self._session.snapshot
        if snapshot is None or snapshot.playback is None:
            return
        note = self.notes.beside(snapshot.time_ns, forwards)
        if note is None:
            self._window.tell(False, f"There is no note {'behind' if forwards else 'before'} this instant.")
        else:
            self.seek_paused(note.time_ns)

    @Slot()
    def _notes_changed(self) -> None:
        self._window.timeline.set_notes(self.notes.all)

    def step_back(self) -> None:
        """One instant back."""
        self._session.send(Step(-1))

    def turn(self) -> None:
        """Play in the other direction."""
        snapshot = self._session.snapshot
        if snapshot is not None and snapshot.playback is not None:
            self._session.send(Rate(-snapshot.playback.rate))
            self._session.set_running(True)

    def pace(self, factor: float) -> None:
        """So many times as fast as now."""
        snapshot = self._session.snapshot
        if snapshot is not None and snapshot.playback is not None:
            rate = snapshot.playback.rate * factor
            if 1 / _FASTEST <= abs(rate) <= _FASTEST:
                self._session.send(Rate(rate))

    def loop(self) -> None:
        """Play what the timeline shows again and again, or stop doing that."""
        snapshot = self._session.snapshot
        if snapshot is None or snapshot.playback is None:
            return
        if snapshot.playback.loop is not None:
            self._session.send(Loop(-1, -1))
        else:
            self._session.send(Loop(*self._window.timeline.shown()))
            self._session.set_running(True)
