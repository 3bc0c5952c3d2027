"""Keys alone: Tab reaches every panel and everything in the bars, in a sane order, and all of it is named."""

from __future__ import annotations

import pytest
import shiboken6
from PySide6.QtCore import Qt
from PySide6.QtGui import QAction, QKeySequence
from PySide6.QtWidgets import QAbstractButton, QApplication, QComboBox, QLineEdit, QMenu, QSlider, QWidget
from pytestqt.qtbot import QtBot

from memviz.gui.actions import ACTIONS
from memviz.gui.dialogs import Dialog, HelpDialog, Palette
from memviz.gui.main_window import MainWindow
from memviz.gui.panel import PanelDock
from memviz.kernel.page import PAGE_SHIFT
from tests.gui.clients import FakeClient


def walk(qtbot: QtBot, window: MainWindow, steps: int = 400) -> list[QWidget]:
    """Every widget that Tab comes to, from the menu button round to it again."""
    window.top_bar.menu_button.setFocus(Qt.FocusReason.TabFocusReason)
    found: list[QWidget] = []
    for _ in range(steps):
        widget = QApplication.focusWidget()
        assert widget is not None
        if widget in found:
            break
        found.append(widget)
        qtbot.keyClick(widget, Qt.Key.Key_Tab)
    return found


def panel_of(widget: QWidget) -> str:
    at: QWidget | None = widget
    while at is not None and not isinstance(at, PanelDock):
        at = at.parentWidget()
    return at.view.ident if isinstance(at, PanelDock) else ""


def test_tab_reaches_every_panel_that_can_be_seen_and_comes_round(qtbot: QtBot, window: MainWindow) -> None:
    found = walk(qtbot, window)
    assert QApplication.focusWidget() is window.top_bar.menu_button
    reached = {panel_of(widget) for widget in found} - {""}
    assert reached == {name for name, dock in window.docks.all.items() if dock.in_sight}


@pytest.mark.parametrize("ident", ["charts", "policies", "story"])
def test_tab_reaches_a_panel_behind_another_once_it_is_in_front(qtbot: QtBot, window: MainWindow, ident: str) -> None:
    window.docks.all[ident].raise_()
    qtbot.waitUntil(lambda: window.docks.all[ident].in_sight)
    window.session.pull()
    assert ident in {panel_of(widget) for widget in walk(qtbot, window)}


def test_a_panel_is_left_before_the_next_begins(qtbot: QtBot, window: MainWindow) -> None:
    panels = [name for name in map(panel_of, walk(qtbot, window)) if name]
    blocks = [name for at, name in enumerate(panels) if at == 0 or panels[at - 1] != name]
    assert len(blocks) == len(set(blocks)), f"Tab comes twice to the same panel: {blocks}"


def test_whatever_tab_reaches_has_a_name_to_be_read_out(qtbot: QtBot, window: MainWindow) -> None:
    for ident in ("charts", "policies"):
        window.docks.all[ident].raise_()
    window.session.pull()
    nameless = [
        f"{type(widget).__name__} {widget.objectName()} in {panel_of(widget)}"
        for widget in walk(qtbot, window)
        if not widget.accessibleName() and not (isinstance(widget, QAbstractButton) and widget.text())
    ]
    assert nameless == []


def test_every_control_of_the_window_can_be_focused(window: MainWindow) -> None:
    kinds = (QAbstractButton, QComboBox, QLineEdit, QSlider)
    for kind in kinds:
        for widget in window.findChildren(kind):
            if widget.isVisible() and widget.isEnabled() and not widget.objectName().startswith("qt_"):
                assert widget.focusPolicy() & Qt.FocusPolicy.TabFocus or _inside_of_qt(widget), widget.objectName()


def _inside_of_qt(widget: QWidget) -> bool:
    """Arrows of a tab bar, the editor of a spin box: their owner has the keys."""
    parent = widget.parentWidget()
    return parent is not None and type(parent).__module__.startswith("PySide6")


def entries(menu: QMenu) -> list[QAction]:
    """Everything in a menu, and in the menus of that."""
    found = []
    for entry in menu.actions():
        inner = entry.menu()
        found += entries(inner) if isinstance(inner, QMenu) else [entry]
    return found


def test_every_action_is_in_the_menu_and_in_the_palette(qtbot: QtBot, window: MainWindow) -> None:
    actions = [action for action in window.actions() if action.objectName().startswith("action_")]
    assert len(actions) == len(ACTIONS) + len(window.docks.all)
    in_menu = set(map(id, entries(window.menu)))
    for action in actions:
        assert action.text(), action.objectName()
        assert action.toolTip(), action.objectName()
        assert id(action) in in_menu, action.objectName()
    window.actions_by_name["palette"].trigger()
    palette = window.findChild(Palette)
    assert palette is not None
    listed = [palette.list.topLevelItem(row).text(0) for row in range(palette.list.topLevelItemCount())]
    for action in actions:
        assert any(action.text() in words for words in listed), action.text()
    off = listed.index("Continue from here")
    row = palette.list.topLevelItem(off)
    assert row.isDisabled()
    assert "only a recording can do that" in row.toolTip(0)
    assert all(palette.list.topLevelItem(at).isDisabled() for at in range(off, len(listed)))
    palette.close()


def test_no_key_does_two_things(window: MainWindow) -> None:
    given: dict[str, str] = {}
    for action in window.findChildren(QAction):
        for key in action.shortcuts():
            words = key.toString(QKeySequence.SequenceFormat.PortableText)
            assert words not in given, f"{words}: {given.get(words)} and {action.objectName() or action.text()}"
            given[words] = action.objectName() or action.text()


def test_f6_goes_from_panel_to_panel_and_back(qtbot: QtBot, window: MainWindow) -> None:
    seen = [name for name, dock in window.docks.all.items() if dock.in_sight]
    window.top_bar.menu_button.setFocus()
    order = []
    for _ in seen:
        qtbot.keyClick(QApplication.focusWidget(), Qt.Key.Key_F6)
        widget = QApplication.focusWidget()
        assert widget is not None
        order.append(panel_of(widget))
    assert order == seen
    qtbot.keyClick(QApplication.focusWidget(), Qt.Key.Key_F6, Qt.KeyboardModifier.ShiftModifier)
    widget = QApplication.focusWidget()
    assert widget is not None
    assert panel_of(widget) == seen[-2]


def test_a_key_goes_to_each_panel_and_closes_it_from_there(qtbot: QtBot, window: MainWindow) -> None:
    for ident, dock in window.docks.all.items():
        window.docks.all["timeline" if ident == "heatmap" else "heatmap"].take_keys()
        action = window.findChild(QAction, f"action_panel_{ident}")
        assert action is not None
        action.trigger()
        qtbot.waitUntil(lambda dock=dock: dock.in_sight)
        widget = QApplication.focusWidget()
        assert widget is not None
        assert panel_of(widget) == ident
        action.trigger()
        assert dock.isHidden()
        assert not action.isChecked()
        action.trigger()
        assert not dock.isHidden()
        assert action.isChecked()


def test_arrows_move_and_escape_lets_go_on_the_map(qtbot: QtBot, window: MainWindow) -> None:
    window.docks.all["heatmap"].take_keys()
    page_map = QApplication.focusWidget()
    assert page_map is window.heatmap.map
    picked = []
    for key in (Qt.Key.Key_Right, Qt.Key.Key_Right, Qt.Key.Key_Down):
        qtbot.keyClick(page_map, key)
        picked.append(window.selection.now.pfn)
    assert picked[0] == 0
    assert len(set(picked)) == 3
    before = window.heatmap.map.camera.zoom
    qtbot.keyClick(page_map, Qt.Key.Key_Return)
    assert window.heatmap.map.camera.zoom > before
    qtbot.keyClick(page_map, Qt.Key.Key_Escape)
    assert window.selection.now.pfn == -1


def test_arrows_move_in_slabs_and_in_the_tree_and_the_map_follows(qtbot: QtBot, window: MainWindow) -> None:
    for ident in ("slab_grid", "xarray_tree"):
        window.selection.clear()
        window.docks.all[ident].take_keys()
        widget = QApplication.focusWidget()
        assert widget is not None
        assert panel_of(widget) == ident
        qtbot.keyClick(widget, Qt.Key.Key_Down)
        qtbot.keyClick(widget, Qt.Key.Key_Right)
        first = window.selection.now
        assert first.object >= 0
        assert first.pfn == first.object >> PAGE_SHIFT
        qtbot.keyClick(widget, Qt.Key.Key_Down)
        assert window.selection.now.object != first.object, f"{ident}: the second ↓ moves on"


def test_back_and_forward_by_keys(qtbot: QtBot, window: MainWindow) -> None:
    selection = window.selection
    selection.select_page(100)
    selection._since_move.invalidate()  # as if a while had passed
    selection.select_page(200)
    alt = Qt.KeyboardModifier.AltModifier
    qtbot.keyClick(window, Qt.Key.Key_Left, alt)
    assert selection.now.pfn == 100
    qtbot.keyClick(window, Qt.Key.Key_Left, alt)
    assert selection.now.pfn == -1
    qtbot.keyClick(window, Qt.Key.Key_Right, alt)
    qtbot.keyClick(window, Qt.Key.Key_Right, alt)
    assert selection.now.pfn == 200


def test_escape_in_the_search_goes_back_step_by_step(qtbot: QtBot, window: MainWindow) -> None:
    window.selection.select_page(5)
    window.actions_by_name["find"].trigger()
    qtbot.waitUntil(window.events.search.hasFocus)
    qtbot.keyClicks(window.events.search, "xyzzy")
    qtbot.keyClick(window.events.search, Qt.Key.Key_Escape)
    assert window.events.search.text() == ""
    assert window.selection.now.pfn == 5
    qtbot.keyClick(window.events.search, Qt.Key.Key_Escape)
    assert window.events.table.hasFocus()
    qtbot.keyClick(window.events.table, Qt.Key.Key_Escape)
    assert window.selection.now.pfn == -1


def test_g_goes_to_a_page_frame_from_everywhere(qtbot: QtBot, window: MainWindow) -> None:
    window.docks.all["contiguity"].take_keys()
    qtbot.keyClick(QApplication.focusWidget(), Qt.Key.Key_G)
    line = window.heatmap.go_to
    qtbot.waitUntil(line.hasFocus)
    qtbot.keyClicks(line, "0x123")
    qtbot.keyClick(line, Qt.Key.Key_Return)
    assert window.selection.now.pfn == 0x123
    assert window.heatmap.map.hasFocus()


def test_f1_is_about_the_panel_that_has_the_keys(qtbot: QtBot, window: MainWindow) -> None:
    window.docks.all["timeline"].take_keys()
    window.actions_by_name["help"].trigger()
    dialog = window.findChild(HelpDialog)
    assert dialog is not None
    qtbot.waitUntil(dialog.isVisible)
    qtbot.waitUntil(lambda: len(dialog.text.extraSelections()) == 1)
    marks = dialog.text.extraSelections()
    marked = marks[0].cursor
    assert marked.selectedText() == "Timeline."
    assert dialog.text.viewport().rect().contains(dialog.text.cursorRect(marked))
    assert dialog.text.verticalScrollBar().value() > 0
    dialog.close()


@pytest.mark.parametrize("ident", ["heatmap", "slab_grid", "xarray_tree", "events", "contiguity", "request", "story"])
def test_a_panel_is_copied_as_text(qtbot: QtBot, window: MainWindow, ident: str) -> None:
    window.session.request(9)
    window.session.defragment()
    window.session.pull()
    dock = window.docks.all[ident]
    dock.raise_()
    qtbot.waitUntil(lambda: dock.in_sight)
    window.session.pull()
    dock.take_keys()
    window.actions_by_name["copy_text"].trigger()
    text = QApplication.clipboard().text()
    assert len(text.split()) >= 3
    expected = {"heatmap": "free", "events": "CPU", "request": "fast path", "story": "objects moved"}
    assert expected.get(ident, dock.view.title) in text


def nameless(parent: QWidget) -> list[str]:
    """What can have the keys and has no name to be read out: all of it, seen or not."""
    found = []
    for widget in (parent, *parent.findChildren(QWidget)):
        if not widget.focusPolicy() & Qt.FocusPolicy.TabFocus or widget.focusProxy() is not None:
            continue
        owner = widget.parentWidget()
        if widget.objectName().startswith("qt_") or (owner is not None and isinstance(owner, (QComboBox, QMenu))):
            continue
        text = widget.text() if isinstance(widget, QAbstractButton) else ""
        if not (widget.accessibleName() or text) and type(widget).__name__ not in ("QComboBoxListView", "QScrollBar"):
            found.append(f"{type(widget).__name__} {widget.objectName()} in {type(owner).__name__}")
    return found


def test_everything_that_can_have_the_keys_has_a_name(qtbot: QtBot, window: MainWindow) -> None:
    for ident, dock in window.docks.all.items():
        dock.raise_()
        qtbot.waitUntil(lambda dock=dock: dock.in_sight)
        window.session.pull()
        assert nameless(dock) == [], ident
    window.show_gallery()
    assert nameless(window) == []


@pytest.mark.parametrize("name", ["help", "keys", "palette"])
def test_dialogs_have_names_and_go_with_escape(qtbot: QtBot, window: MainWindow, name: str) -> None:
    window.actions_by_name[name].trigger()
    dialog = window.findChild(Dialog)
    assert dialog is not None
    qtbot.waitUntil(dialog.isVisible)
    dialog.activateWindow()
    qtbot.waitUntil(dialog.isActiveWindow)
    assert dialog.windowTitle()
    assert nameless(dialog) == []
    qtbot.keyClick(QApplication.focusWidget(), Qt.Key.Key_Escape)
    qtbot.waitUntil(lambda: not shiboken6.isValid(dialog) or not dialog.isVisible())


def test_letters_do_nothing_to_a_run_that_a_page_lies_over(
    qtbot: QtBot, window: MainWindow, client: FakeClient
) -> None:
    window.show_gallery()
    gallery = window.gallery
    assert gallery is not None
    before = len(client.sent)
    for key in (Qt.Key.Key_R, Qt.Key.Key_D, Qt.Key.Key_C):
        qtbot.keyClick(QApplication.focusWidget(), key)
    assert len(client.sent) == before
    assert gallery.below.text() == "Compact: not while this page lies over the run. Go back to it first."
    gallery.leave()
    qtbot.keyClick(window, Qt.Key.Key_R)
    assert len(client.sent) == before + 1
