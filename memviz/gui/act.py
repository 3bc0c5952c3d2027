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
    to_memory: bool = False
    """Does something to memory."""
    virtual: bool = False
    """Only with a machine that is simulated, or recorded."""
    real: bool = False
    """Only with a real machine."""


@dataclass(frozen=True, slots=True)
class Situation:
    """What there is to act upon."""

    usable: bool = False
    """Commands reach a source."""
    playing: bool = False
    """It is a recording."""
    real: bool = False
    """It is a real machine."""
    allowed: bool = False
    """Which may be acted upon."""
    race: bool = False
    """It is a case of the race lab."""
    starting: bool = False
    """It has told nothing yet."""


def why_not(act: Act, now: Situation) -> str:
    """Why something can't be done now and what would change that; empty when it can be done."""
    if (act.needs_source or act.to_memory or act.needs_playback) and not now.usable:
        return "nothing runs that could be asked: choose a scenario (Ctrl+N)"
    if act.to_memory and now.starting:
        return "it is just starting"
    if act.needs_playback and not now.playing:
        return "only a recording can do that: open one (Ctrl+O)"
    if act.virtual and now.real:
        return "only a simulated machine can do that: this is a real one, which goes its own way"
    if act.to_memory and now.playing:
        return "a recording is as it was: continue from here (Ctrl+G), then it can be done"
    if act.to_memory and now.race:
        return "a case of the race lab can only be stepped: open a scenario (Ctrl+N)"
    if act.real and not now.real:
        return "only for a real machine: open this machine, started with memviz --live --actions"
    if act.to_memory and now.real and not now.allowed:
        return "this machine is only read: start memviz with --live --actions to be asked and then act"
    return ""


def key_words(act: Act) -> str:
    """The keys of a row as people read them: ``Ctrl+K``."""
    return " or ".join(words_of_key(key) for key in act.keys)


def words_of_key(key: str) -> str:
    """One key as people read it: ``Shift+Right`` → ``Shift+→``."""
    names = {"Right": "→", "Left": "←", "Up": "↑", "Down": "↓", "Escape": "Esc"}
    return key if key == "+" else "+".join(names.get(part, part) for part in key.split("+"))
