"""Rows of the action table: the File menu."""

from __future__ import annotations

from typing import Final

from memviz.gui.act import Act

FILE: Final[tuple[Act, ...]] = (
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
)
