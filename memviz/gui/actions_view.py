"""Rows of the action table: the View and Help menus."""

from __future__ import annotations

from typing import Final

from memviz.gui.act import Act

VIEW: Final[tuple[Act, ...]] = (
    Act("find", "Find events", "View", lambda w: w.find_events(), ("Ctrl+F",), "Search the events.", "search"),
    Act(
        "go_begin",
        "To the beginning",
        "View",
        lambda w: w.move_time(-1),
        ("Home",),
        "Put the time cursor at the first instant that is known, or wind a recording to its first.",
    ),
    Act(
        "go_end",
        "To now",
        "View",
        lambda w: w.move_time(1),
        ("End",),
        "Take the time cursor away: follow the newest instant, or wind a recording to its last.",
    ),
    Act(
        "go_to",
        "Go to page frame…",
        "View",
        lambda w: w.go_to_page(),
        ("G",),
        "Type the number of a page frame or of a pageblock, and see it on the map.",
        "search",
    ),
    Act(
        "back",
        "Back",
        "View",
        lambda w: w.selection.back(),
        ("Alt+Left",),
        "What was selected before, and the part of time that was shown then.",
    ),
    Act("forward", "Forward", "View", lambda w: w.selection.forward(), ("Alt+Right",), "Undo Back."),
    Act(
        "next_panel",
        "Next panel",
        "View",
        lambda w: w.docks.next_panel(1),
        ("F6",),
        "Give the keys to the next panel.",
    ),
    Act(
        "last_panel",
        "Previous panel",
        "View",
        lambda w: w.docks.next_panel(-1),
        ("Shift+F6",),
        "Give the keys to the panel before.",
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
)

HELP: Final[tuple[Act, ...]] = (
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
