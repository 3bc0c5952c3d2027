"""What can be done to memory: to a simulated machine at once, to a real one only after a question.

The question says in plain words what happens on this machine, what that costs and how long it takes; who presses
Return or Escape without reading has cancelled.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from PySide6.QtCore import QObject, Qt, Slot
from PySide6.QtWidgets import QFormLayout, QHBoxLayout, QLabel, QPushButton

from memviz.gui import actions
from memviz.gui.act import Situation
from memviz.gui.controls import Chooser
from memviz.gui.dialogs import Dialog
from memviz.kernel.page import GFP_KERNEL, PAGEBLOCK_ORDER
from memviz.sources.base import Command, Compact, Defragment, DropCaches, RequestPages

if TYPE_CHECKING:
    from memviz.gui.main_window import MainWindow


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked before something is done to a real machine."""

    title: str
    does: str
    costs: str
    takes: str
    button: str
    waiting: str
    """What the status line says until it is done."""


COMPACT: Final = Question(
    "Compact the memory of this machine?",
    "The kernel moves pages of running programs and of the page cache together, so that free memory comes to lie in "
    "larger blocks (1 is written to /proc/sys/vm/compact_memory). Nothing is lost and nothing is written to disk.",
    "A CPU is busy with it. A program whose page is just being moved waits for it, for microseconds as a rule.",
    "Seconds as a rule, up to minutes with hundreds of GiB. It cannot be stopped once it runs.",
    "Compact now",
    "Compacting this machine …",
)
SHRINK: Final = Question(
    "Shrink a slab cache of this machine?",
    "The kernel gives back those slabs of the cache in which no object is in use, and puts the fuller ones first (1 is "
    "written to /sys/kernel/slab/…/shrink). Objects in use stay where they are: nothing is lost.",
    "Every CPU is interrupted for a moment, and the next objects taken from this cache cost a little more.",
    "Milliseconds as a rule.",
    "Shrink now",
    "Shrinking a cache of this machine …",
)
DROP: Final = Question(
    "Drop the caches of this machine?",
    "The kernel forgets what it has kept of files: clean page cache, unused file names (dentries) and inodes (3 is "
    "written to /proc/sys/vm/drop_caches). What has not been written to disk yet stays: nothing is lost.",
    "Whatever is read next comes from the disk again. The whole machine is slower until its caches are warm, a busy "
    "server noticeably so and for minutes.",
    "Seconds; minutes with very many files in the caches. It cannot be stopped once it runs.",
    "Drop caches now",
    "Dropping the caches of this machine …",
)
HUGE: Final = Question(
    "Ask this machine for a huge page?",
    "The kernel is asked for one more huge page, 2 MiB in one piece, and gets it back at once (the number in "
    "/proc/sys/vm/nr_hugepages is raised by one, then set back). What it does to find one is shown as request anatomy.",
    "When there is no such block, it looks for one as it would for a program: page cache may be dropped, pages are "
    "moved. Somebody else's change of that number in the same moment may be undone.",
    "Milliseconds; seconds where memory is badly fragmented.",
    "Ask for it now",
    "Asking this machine for a huge page …",
)


class RealMachineDialog(Dialog):
    """Asks one ``Question``; ``accepted`` is emitted when the answer is yes."""

    def __init__(self, window: MainWindow, question: Question, caches: tuple[str, ...] = (), cache: str = "") -> None:
        """``caches``: one of them is to be chosen, at first ``cache``."""
        super().__init__(window, question.title, 620, 240)
        self.setObjectName("real_machine_dialog")
        self.setWindowModality(Qt.WindowModality.WindowModal)
        title = QLabel(question.title)
        title.setFont(window.theme.font("big"))
        self.box.addWidget(title)
        form = QFormLayout()
        form.setRowWrapPolicy(QFormLayout.RowWrapPolicy.DontWrapRows)
        form.setVerticalSpacing(9)
        form.setLabelAlignment(Qt.AlignmentFlag.AlignTop)
        self.cache = Chooser()
        self.cache.setAccessibleName("Which cache")
        self.cache.setObjectName("shrink_cache")
        self.cache.addItems(list(caches))
        self.cache.setCurrentIndex(max(0, self.cache.findText(cache)))
        if caches:
            form.addRow("Cache", self.cache)
        self.texts: list[str] = [question.does, question.costs, question.takes]
        for name, words in zip(("What it does", "What it costs", "How long"), self.texts, strict=True):
            label = QLabel(words)
            label.setWordWrap(True)
            label.setMinimumWidth(430)
            label.setAlignment(Qt.AlignmentFlag.AlignTop)
            head = QLabel(name)
            head.setFont(window.theme.font("bold"))
            head.setAlignment(Qt.AlignmentFlag.AlignTop)
            form.addRow(head, label)
        self.box.addLayout(form)
        self.box.addStretch(1)
        self.cancel = QPushButton("Cancel")
        self.cancel.setObjectName("real_machine_cancel")
        self.go = QPushButton(question.button)
        self.go.setObjectName("real_machine_go")
        # A QDialogButtonBox would make the button that goes on the default one.
        row = QHBoxLayout()
        row.addStretch(1)
        row.addWidget(self.go)
        row.addWidget(self.cancel)
        self.box.addLayout(row)
        self.cancel.setDefault(True)
        self.cancel.setFocus()
        self.go.clicked.connect(self.accept)
        self.cancel.clicked.connect(self.reject)
        self.setAccessibleDescription(" ".join(self.texts))
        self.adjustSize()


class MemoryCommands(QObject):
    """The window's commands about memory."""

    def __init__(self, window: MainWindow) -> None:
        super().__init__(window)
        self._window = window
        self._session = window.session
        self._named_for: tuple[bool, int] | None = None
        self._situation: Situation | None = None

    @property
    def real(self) -> bool:
        """What is shown is a real machine."""
        snapshot = self._session.snapshot
        return snapshot is not None and snapshot.source == "linux"

    @property
    def allowed(self) -> bool:
        """A real machine may be acted upon: memviz was started so."""
        snapshot = self._session.snapshot
        return snapshot is not None and dict(snapshot.policies).get("actions") == "on"

    def compact(self) -> None:
        """Compact all zones."""
        if self.real:
            self._ask(COMPACT, Compact())
        else:
            self._session.compact()

    def defragment(self, slowly: bool = False) -> None:
        """Defragment slabs; a real machine can only shrink a cache."""
        if not self.real:
            self._session.defragment(slowly)
            return
        snapshot = self._session.snapshot
        caches = sorted(snapshot.caches, key=lambda one: -(one.slabs << one.order)) if snapshot is not None else []
        dialog = self._ask(SHRINK, None, tuple(one.name for one in caches), self._session.selection.focus.cache)
        dialog.accepted.connect(self._shrink)

    def request(self, order: int) -> None:
        """Ask for contiguous memory; a real machine is asked for a huge page."""
        if self.real:
            self._ask(HUGE, RequestPages(PAGEBLOCK_ORDER, GFP_KERNEL))
        else:
            self._session.request(order)

    def drop_caches(self) -> None:
        """Let a real machine forget what it keeps of files."""
        if self.real:
            self._ask(DROP, DropCaches())

    def _ask(
        self, question: Question, command: Command | None, caches: tuple[str, ...] = (), cache: str = ""
    ) -> RealMachineDialog:
        dialog = RealMachineDialog(self._window, question, caches, cache)
        if command is not None:
            dialog.accepted.connect(partial(self._session.send, command, question.waiting))
        dialog.open()
        return dialog

    @Slot()
    def _shrink(self) -> None:
        dialog = self.sender()
        if isinstance(dialog, RealMachineDialog) and dialog.cache.currentText():
            self._session.send(Defragment(dialog.cache.currentText()), SHRINK.waiting)

    def show_session(self, order: int) -> None:
        """Switch actions on and off, and call them what they are on this machine."""
        session = self._session
        race = session.snapshot is not None and session.snapshot.race is not None
        starting = session.snapshot is None
        now = Situation(session.usable, session.playing, self.real, self.allowed, race, starting)
        if now != self._situation:
            self._situation = now
            actions.enable(self._window.actions_by_name, now)
        self._name_actions(order)

    def _name_actions(self, order: int) -> None:
        """A real machine has no slab defragmentation, and gives huge pages only."""
        if self._named_for == (self.real, order):
            return
        self._named_for = (self.real, order)
        acts = self._window.actions_by_name
        self._window.top_bar.set_order(order)
        if self.real:
            acts["request"].setText("Request huge page…")
        acts["defragment"].setText("Shrink a cache…" if self.real else "Defragment slabs")
        acts["compact"].setText("Compact…" if self.real else "Compact")
        for name in ("request", "defragment", "compact"):
            acts[name].setIconText(acts[name].text())  # else a button would leave out the …
        self._window.top_bar.name_buttons()
