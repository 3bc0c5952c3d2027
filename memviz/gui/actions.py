"""Everything the user can do, as data: menus, shortcuts, the top bar, the list of keys and the palette come from here.

A row says what it is called, where it stands and which method of the window does it. Nothing else names a key.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final, Literal

from PySide6.QtCore import Qt
from PySide6.QtGui import QAction, QKeySequence

from memviz.gui.theme import Theme

if TYPE_CHECKING:
    from memviz.gui.main_window import MainWindow

MENUS: Final = ("File", "Run", "Recording", "Memory", "View", "Help")


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


def _request(order: int) -> Act:
    return Act(
        f"request_order_{order}",
        f"Request order {order}",
        "Memory/Request another order",
        lambda window: window.request_order(order),
        tip=f"Ask for {1 << order} contiguous page frames and tell how that went.",
        needs_source=True,
    )


def _jumps(to: Literal["failure", "defragmentation", "grace period"], words: str, key: str) -> tuple[Act, Act]:
    ident = to.replace(" ", "_")
    return (
        Act(
            f"next_{ident}",
            f"Next {words}",
            "Recording",
            lambda window: window.recordings.jump(to),
            (key,),
            f"Wind the recording to the next {words}.",
            needs_playback=True,
        ),
        Act(
            f"last_{ident}",
            f"Last {words}",
            "Recording",
            lambda window: window.recordings.jump(to, False),
            (f"Shift+{key}",),
            f"Wind the recording back to the {words} before this instant.",
            needs_playback=True,
        ),
    )


ACTIONS: Final[tuple[Act, ...]] = (
    Act(
        "gallery",
        "Start page",
        "File",
        lambda w: w.show_gallery(),
        ("Ctrl+N",),
        "All scenarios with pictures: choose one, freely or as a guided tour.",
        "grid-2x2",
    ),
    Act(
        "open_recording",
        "Open a recording…",
        "File",
        lambda w: w.recordings.ask(),
        ("Ctrl+O",),
        "Play a .memviz file: look around in it, forwards and backwards.",
        "folder-open",
    ),
    Act(
        "this_machine",
        "This machine",
        "File",
        lambda w: w.open_this_machine(),
        tip="Look at the memory of the Linux machine that this window runs on.",
        icon="memory-stick",
    ),
    Act(
        "restart",
        "Start again",
        "File",
        lambda w: w.restart(),
        ("F5",),
        "Start the scenario from its beginning, with the same seed.",
        "rotate-ccw",
    ),
    Act(
        "save_report",
        "Save report…",
        "File",
        lambda w: w.save_report(),
        ("Ctrl+Shift+S",),
        "Write what the window knows of this run to a JSON file.",
        "save",
    ),
    Act(
        "save_picture",
        "Save picture…",
        "File",
        lambda w: w.save_picture(),
        ("Ctrl+P",),
        "Write a PNG picture of the window.",
        "camera",
    ),
    Act(
        "export_picture",
        "Save panel as picture…",
        "File/Panel",
        lambda w: w.export_picture(),
        ("Ctrl+Shift+P",),
        "Write the panel that has the focus to a PNG or SVG file.",
    ),
    Act(
        "export_table",
        "Save panel as table…",
        "File/Panel",
        lambda w: w.export_table(),
        ("Ctrl+E",),
        "Write what the panel that has the focus shows to a CSV file.",
    ),
    Act(
        "copy_picture",
        "Copy panel as picture",
        "File/Panel",
        lambda w: w.copy_picture(),
        ("Ctrl+Shift+C",),
        "Put a picture of the panel that has the focus on the clipboard.",
    ),
    Act(
        "copy_table",
        "Copy panel as table",
        "File/Panel",
        lambda w: w.copy_table(),
        ("Ctrl+Shift+T",),
        "Put what the panel that has the focus shows on the clipboard, for a spreadsheet.",
    ),
    Act(
        "record",
        "Record",
        "File",
        lambda w: w.recordings.toggle(),
        ("Ctrl+R",),
        "Write this run to a .memviz file, to play it or to go on from it; again: finish the file.",
        "circle",
        checkable=True,
        needs_source=True,
    ),
    Act("quit", "Quit", "File", lambda w: w.close(), ("Ctrl+Q",), "Close the window and end the run."),
    Act("run", "Run", "Run", lambda w: w.session.toggle_run(), ("Space",), "Run, or pause.", "play", needs_source=True),
    Act(
        "step",
        "Step",
        "Run",
        lambda w: w.session.step(),
        ("Right",),
        "Do one operation, then pause.",
        "step-forward",
        needs_source=True,
    ),
    Act(
        "step_many",
        "Step 1,000",
        "Run",
        lambda w: w.session.step(1000),
        ("Shift+Right",),
        "Do 1,000 operations, then pause.",
        "skip-forward",
        needs_source=True,
    ),
    Act(
        "next_stop",
        "Next stop",
        "Run",
        lambda w: w.next_stop(),
        ("N",),
        "In a guided tour: run on to the next stop.",
        needs_source=True,
    ),
    Act(
        "fast",
        "Full speed",
        "Run",
        lambda w: w.toggle_fast(),
        ("F",),
        "As fast as it can; again: back to the speed of before.",
        "fast-forward",
        checkable=True,
        needs_source=True,
    ),
    Act(
        "slower", "Slower", "Run", lambda w: w.change_speed(-1), ("-",), "Fewer operations a second.", needs_source=True
    ),
    Act(
        "faster",
        "Faster",
        "Run",
        lambda w: w.change_speed(1),
        ("+", "="),
        "More operations a second.",
        needs_source=True,
    ),
    Act(
        "continue",
        "Continue from here",
        "Recording",
        lambda w: w.recordings.go_on(),
        ("Ctrl+G",),
        "Run the recorded simulation on from this instant: change something, and see another future.",
        "git-fork",
        needs_playback=True,
    ),
    Act(
        "step_back",
        "Step back",
        "Recording",
        lambda w: w.recordings.step_back(),
        ("Left",),
        "One recorded instant back, then pause.",
        "skip-back",
        needs_playback=True,
    ),
    Act(
        "turn",
        "Other direction",
        "Recording",
        lambda w: w.recordings.turn(),
        ("B",),
        "Play backwards, or forwards again.",
        needs_playback=True,
    ),
    Act(
        "pace_up",
        "Twice as fast",
        "Recording",
        lambda w: w.recordings.pace(2.0),
        ("Ctrl+Up",),
        "Play the recording at twice the rate.",
        needs_playback=True,
    ),
    Act(
        "pace_down",
        "Half as fast",
        "Recording",
        lambda w: w.recordings.pace(0.5),
        ("Ctrl+Down",),
        "Play the recording at half the rate.",
        needs_playback=True,
    ),
    Act(
        "loop",
        "Repeat what the timeline shows",
        "Recording",
        lambda w: w.recordings.loop(),
        ("Ctrl+L",),
        "Play the part of time that the timeline shows again and again; again: stop that.",
        needs_playback=True,
    ),
    *_jumps("failure", "failed request", "J"),
    *_jumps("defragmentation", "defragmentation", "M"),
    *_jumps("grace period", "grace period", "P"),
    Act(
        "defragment",
        "Defragment slabs",
        "Memory",
        lambda w: w.session.defragment(),
        ("D",),
        "Move objects out of sparse slabs, so that the slabs' pages become free.",
        "combine",
        needs_source=True,
    ),
    Act(
        "compact",
        "Compact",
        "Memory",
        lambda w: w.session.compact(),
        ("C",),
        "Move movable pages together. Slab pages stay where they are.",
        "shrink",
        needs_source=True,
    ),
    Act(
        "request",
        "Request order 9",
        "Memory",
        lambda w: w.request_order(),
        ("R",),
        "Ask for a block of contiguous memory and tell how that went.",
        "blocks",
        needs_source=True,
    ),
    *(_request(order) for order in range(11)),
    Act("find", "Find events", "View", lambda w: w.find_events(), ("Ctrl+F",), "Search the events.", "search"),
    Act(
        "go_begin",
        "To the beginning",
        "View",
        lambda w: w.move_time(-1),
        ("Home",),
        "Put the time cursor at the first instant that is known.",
    ),
    Act(
        "go_end",
        "To now",
        "View",
        lambda w: w.move_time(1),
        ("End",),
        "Take the time cursor away: follow the newest instant.",
    ),
    Act(
        "clear_selection",
        "Select nothing",
        "View",
        lambda w: w.clear_selection(),
        ("Escape",),
        "Forget what is selected and close messages.",
    ),
    Act(
        "reset_layout",
        "Reset layout",
        "View",
        lambda w: w.reset_layout(),
        ("Ctrl+0",),
        "Put all panels back where they were at first.",
        "layout-dashboard",
    ),
    Act(
        "theme_system",
        "Theme of the desktop",
        "View/Theme",
        lambda w: w.choose_theme("system"),
        tip="Dark or light, as the desktop is.",
        checkable=True,
    ),
    Act(
        "theme_dark", "Dark", "View/Theme", lambda w: w.choose_theme("dark"), tip="Light text on dark.", checkable=True
    ),
    Act(
        "theme_light",
        "Light",
        "View/Theme",
        lambda w: w.choose_theme("light"),
        tip="Dark text on light.",
        checkable=True,
    ),
    Act(
        "full_screen",
        "Full screen",
        "View",
        lambda w: w.toggle_full_screen(),
        ("F11",),
        "Only this window.",
        checkable=True,
    ),
    Act(
        "help", "Help", "Help", lambda w: w.show_help(), ("F1",), "What the panels show and what to try.", "circle-help"
    ),
    Act("keys", "Keys", "Help", lambda w: w.show_keys(), ("?",), "All keys in one list.", "keyboard"),
    Act(
        "palette",
        "Do something…",
        "Help",
        lambda w: w.show_palette(),
        ("Ctrl+K",),
        "Find anything that can be done by its name.",
        "command",
    ),
    Act("about", "About memviz", "Help", lambda w: w.show_about(), tip="Version and licences.", icon="info"),
)


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
        if act.disabled:
            action.setEnabled(False)
            action.setToolTip(f"{act.title}: {act.disabled}.")
        else:
            action.setToolTip(f"{act.tip}{keys}" if act.tip else f"{act.title}{keys}")
        action.setStatusTip(act.tip)
        action.triggered.connect(partial(_do, act, window))
        window.addAction(action)
        made[act.ident] = action
    return made


def _do(act: Act, window: MainWindow, checked: bool = False) -> None:
    act.run(window)


def paint_icons(actions: dict[str, QAction], theme: Theme) -> None:
    """Give the actions their icons in the colours of the theme."""
    for act in ACTIONS:
        if act.icon:
            actions[act.ident].setIcon(theme.icon(act.icon))


def enable(actions: dict[str, QAction], usable: bool, playing: bool) -> None:
    """Switch what needs a running source, or a recording, on or off."""
    for act in ACTIONS:
        if act.needs_source and not act.disabled:
            actions[act.ident].setEnabled(usable)
        elif act.needs_playback:
            actions[act.ident].setEnabled(playing)


def key_words(act: Act) -> str:
    """The keys of a row as people read them: ``Ctrl+K``."""
    names = {"Right": "→", "Escape": "Esc"}
    words = ("+".join(names.get(part, part) for part in key.split("+")) if key != "+" else key for key in act.keys)
    return " or ".join(words)
