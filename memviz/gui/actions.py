"""Everything the user can do, as data: menus, shortcuts, the top bar, the list of keys and the palette come from here.

A row says what it is called, where it stands and which method of the window does it. Nothing else names a key. The rows
themselves are in ``actions_…``, by menu.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from PySide6.QtCore import Qt
from PySide6.QtGui import QAction, QKeySequence

from memviz.gui.act import Act, Situation, key_words, why_not
from memviz.gui.actions_file import FILE
from memviz.gui.actions_recording import RECORDING
from memviz.gui.actions_run import MEMORY, RUN
from memviz.gui.actions_view import HELP, VIEW
from memviz.gui.theme import Theme

if TYPE_CHECKING:
    from memviz.gui.main_window import MainWindow

MENUS: Final = ("File", "Run", "Recording", "Memory", "View", "Help")
ACTIONS: Final[tuple[Act, ...]] = (*FILE, *RUN, *RECORDING, *MEMORY, *VIEW, *HELP)


def build(window: MainWindow) -> dict[str, QAction]:
    """One QAction for every row, owned by ``window`` and added to it, so that its keys work everywhere."""
    made: dict[str, QAction] = {}
    for act in ACTIONS:
        action = QAction(act.title, window)
        action.setObjectName(f"action_{act.ident}")
        action.setShortcuts([QKeySequence(key) for key in act.keys])
        action.setShortcutContext(Qt.ShortcutContext.WindowShortcut)
        action.setCheckable(act.checkable)
        keys = f" ({key_words(act)})" if act.keys else ""
        action.setToolTip(f"{act.tip}{keys}" if act.tip else f"{act.title}{keys}")
        action.setStatusTip(act.tip)
        action.triggered.connect(partial(_do, act, window))
        window.addAction(action)
        made[act.ident] = action
    return made


def _do(act: Act, window: MainWindow, checked: bool = False) -> None:
    if act.to_memory and window.covered:  # its keys are letters: nobody saw what they did to the run below
        window.tell(False, f"{act.title}: not while this page lies over the run. Go back to it first.")
    else:
        act.run(window)


def paint_icons(actions: dict[str, QAction], theme: Theme) -> None:
    """Give the actions their icons in the colours of the theme."""
    for act in ACTIONS:
        if act.icon:
            actions[act.ident].setIcon(theme.icon(act.icon))


def enable(actions: dict[str, QAction], now: Situation) -> None:
    """Switch off what can't be done; its tooltip says why."""
    for act in ACTIONS:
        why = why_not(act, now)
        action = actions[act.ident]
        action.setEnabled(not why)
        keys = f" ({key_words(act)})" if act.keys else ""
        action.setToolTip(f"{act.tip or act.title}{keys}" + (f"\nNot now: {why}." if why else ""))
