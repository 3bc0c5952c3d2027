"""Help, keys and the palette: found by the words of somebody who is new here."""

from __future__ import annotations

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from memviz.gui import dialogs
from memviz.gui.also import ALSO
from memviz.gui.main_window import MainWindow


@pytest.mark.parametrize(
    ("typed", "first"),
    [
        ("screenshot", "Save picture…"),
        ("shortcuts", "Keys"),
        ("bookmark", "Go to Notes"),
        ("pfn", "Go to page frame…"),
        ("restart", "Start again"),
        ("sliders", "Go to Policies and workload"),
        ("compaction", "Compact"),
        ("exit", "Quit"),
        ("fullscreen", "Full screen"),
        ("settings dark", "Dark"),
    ],
)
def test_the_palette_knows_what_others_call_things(qtbot: QtBot, window: MainWindow, typed: str, first: str) -> None:
    palette = dialogs.Palette(window)
    qtbot.addWidget(palette)
    qtbot.keyClicks(palette.search, typed)
    assert palette.list.topLevelItem(0).text(0) == first


def test_other_words_are_of_things_that_there_are(window: MainWindow) -> None:
    assert {f"action_{ident}" for ident in ALSO} <= {action.objectName() for action in window.actions()}


def test_a_palette_that_finds_nothing_says_so(qtbot: QtBot, window: MainWindow) -> None:
    palette = dialogs.Palette(window)
    qtbot.addWidget(palette)
    qtbot.keyClicks(palette.search, "qwertz")
    assert palette.list.topLevelItemCount() == 1
    assert palette.list.topLevelItem(0).text(0).startswith("Nothing is called so.")
    qtbot.keyClick(palette.search, Qt.Key.Key_Return)


def test_words_are_found_in_the_help(qtbot: QtBot, window: MainWindow) -> None:
    window.actions_by_name["help"].trigger()
    dialog = window.findChild(dialogs.HelpDialog)
    assert dialog is not None
    dialog.activateWindow()
    qtbot.waitUntil(dialog.isActiveWindow)
    assert QApplication.focusWidget() is dialog.text, "arrows scroll at first"
    qtbot.keyClick(dialog.text, Qt.Key.Key_F, Qt.KeyboardModifier.ControlModifier)
    assert QApplication.focusWidget() is dialog.search
    qtbot.keyClicks(dialog.search, "pageblock")
    places = [dialog.text.textCursor().selectionStart()]
    assert dialog.text.textCursor().selectedText().lower() == "pageblock"
    for _ in range(100):
        qtbot.keyClick(dialog.search, Qt.Key.Key_Return)
        places.append(dialog.text.textCursor().selectionStart())
        if places[-1] == places[0]:
            break
    assert len(set(places)) == dialog.text.toPlainText().lower().count("pageblock")
    assert places[-1] == places[0], "round the end"
    qtbot.keyClicks(dialog.search, "xyz")
    assert dialog.missing.isVisible()
    dialog.close()
