"""One thing that the user can do, as data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from memviz.gui.main_window import MainWindow


@dataclass(frozen=True, slots=True)
class Act:
    """One thing the user can do."""

    ident: str
    """Object name of its QAction, less ``action_``."""
    title: str
    menu: str
    """One of ``MENUS``; ``"Memory/Request order"`` is a submenu."""
    run: Callable[[MainWindow], object]
    keys: tuple[str, ...] = ()
    tip: str = ""
    """What it does, in one sentence; shown beside the pointer and read to those who can't see."""
    icon: str = ""
    """File of resources/icons/lucide."""
    checkable: bool = False
    needs_source: bool = False
    """Only possible while a source runs."""
    needs_playback: bool = False
    """Only possible while a recording is played."""
    disabled: str = ""
    """Why it can't be done in this version; empty when it can."""


def key_words(act: Act) -> str:
    """The keys of a row as people read them: ``Ctrl+K``."""
    names = {"Right": "→", "Escape": "Esc"}
    words = ("+".join(names.get(part, part) for part in key.split("+")) if key != "+" else key for key in act.keys)
    return " or ".join(words)
