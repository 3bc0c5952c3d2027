"""The window, used as a person uses it: buttons pressed, keys typed, and what then stands on the screen."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest
from PySide6.QtCore import QByteArray, QPoint, QSettings, Qt
from PySide6.QtGui import QAction
from PySide6.QtWidgets import QAbstractButton, QApplication, QDockWidget, QLineEdit, QWidget
from pytestqt.qtbot import QtBot
from shiboken6 import Shiboken

from memviz.gui import dialogs
from memviz.gui.act import key_words
from memviz.gui.actions import ACTIONS
from memviz.gui.controls import Button
from memviz.gui.main_window import MainWindow, Scenario
from memviz.gui.settings import VERSION, Settings
from memviz.gui.theme import Theme
from memviz.gui.views.charts import ChartsView
from memviz.snapshot import Snapshot
from memviz.sources.base import Compact, Run, SetPolicy, Speed, Step
from tests.gui.clients import FakeClient, PlayedClient
from tests.gui.synthetic import SyntheticSource, empty_snapshot


def press(qtbot: QtBot, window: MainWindow, name: str) -> None:
    """Click the button of the top bar that does ``name``."""
    button = window.findChild(Button, f"button_{name}")
    assert button is not None
    assert button.isVisible()
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton, pos=QPoint(10, button.height() // 2))


def key(qtbot: QtBot, window: MainWindow, which: Qt.Key) -> None:
    """Type a key into whatever has the focus."""
    qtbot.keyClick(QApplication.focusWidget() or window, which)


def test_request_fails_defragment_request_succeeds(qtbot: QtBot, window: MainWindow) -> None:
    """The story of the program, with the three buttons, told in the status line and the panels."""
    press(qtbot, window, "request")
    window.session.pull()
    assert window.status.told.sign == "✗"
    assert window.status.told.words.startswith("Order 9 failed: slabs of xa_node hold 41 blocks")
    assert window.request_view.header.title == "Request: order 9, GFP_KERNEL"
    assert window.request_view.header.subtitle == "✗ failed after 2 ms"
    press(qtbot, window, "defragment")
    window.session.pull()
    assert window.status.told.sign == "✓"
    assert "slabs freed, 88 objects moved" in window.status.told.words
    window.docks.all["story"].raise_()
    qtbot.waitUntil(lambda: "one grace period later" in window.story.text.toPlainText())
    press(qtbot, window, "request")
    window.session.pull()
    assert window.status.told.words.startswith("Order 9 succeeded after 3.1 ms")
    assert window.status.told.sign == "✓"
    qtbot.waitUntil(lambda: window.request_view.header.subtitle == "✓ succeeded after 3.1 ms")
    assert window.status.accessibleName() == window.status.told.words


def test_all_actions_of_the_contract_are_there(window: MainWindow) -> None:
    for name in ("run", "step", "defragment", "request", "compact", "record"):
        action = window.findChild(QAction, f"action_{name}")
        assert action is not None
        assert action.isEnabled()
        assert action.toolTip()


def test_space_runs_and_pauses(qtbot: QtBot, window: MainWindow, client: FakeClient) -> None:
    run = window.actions_by_name["run"]
    assert run.text() == "Run"
    key(qtbot, window, Qt.Key.Key_Space)
    assert run.text() == "Pause"
    window.session.pull()
    assert client.source.state == "running"
    key(qtbot, window, Qt.Key.Key_Space)
    assert run.text() == "Run"
    assert client.source.state == "paused"


def test_space_presses_the_button_that_has_the_focus(qtbot: QtBot, window: MainWindow, client: FakeClient) -> None:
    button = window.findChild(Button, "button_compact")
    assert button is not None
    button.setFocus()
    key(qtbot, window, Qt.Key.Key_Space)
    assert client.sent[-1] == Compact()
    assert client.source.state == "paused"


def test_right_steps(qtbot: QtBot, window: MainWindow, client: FakeClient) -> None:
    window.setFocus()
    window.status.setFocus()
    window.actions_by_name["step"].trigger()
    assert client.sent[-1] == Step(1)
    window.actions_by_name["step_many"].trigger()
    assert client.sent[-1] == Step(1000)


def test_the_slider_sets_the_speed_and_says_it(qtbot: QtBot, window: MainWindow, client: FakeClient) -> None:
    window.top_bar.speed.setValue(5)
    assert client.sent[-1] == Speed(3000)
    assert window.top_bar.speed_words.text == "3 k/s"
    window.session.pull()
    assert not window.actions_by_name["fast"].isChecked()
    window.actions_by_name["faster"].trigger()
    window.session.pull()
    assert window.top_bar.speed_words.text == "10 k/s"
    assert window.top_bar.speed.value() == 6
    window.actions_by_name["fast"].trigger()
    window.session.pull()
    assert window.session.speed == 0
    assert window.top_bar.speed_words.text == "full speed"
    window.actions_by_name["fast"].trigger()
    window.session.pull()
    assert window.session.speed == 10_000


def test_another_order_is_asked_for_everywhere(qtbot: QtBot, window: MainWindow) -> None:
    entry = next(a for a in window.top_bar.orders.actions() if a.data() == 4)
    entry.trigger()
    assert window.actions_by_name["request"].text() == "Request order 4  (64 KiB)"
    assert "order 4" in window.timeline.header.subtitle
    press(qtbot, window, "request")
    window.session.pull()
    assert window.status.told.words.startswith("Order 4 ")
    assert Settings().order == 4


def test_a_policy_is_switched_from_the_menu(qtbot: QtBot, window: MainWindow, client: FakeClient) -> None:
    menus = {entry.text(): entry.menu() for entry in window.top_bar.policy_menu.actions()}
    assert list(menus) == ["compact slabs: off", "front end: classic"]
    entries = {entry.text(): entry for entry in menus["compact slabs: off"].actions()}
    assert entries["off"].isChecked()
    assert any(words.startswith("compaction") or "slab" in words.lower() for words in entries)
    entries["on"].trigger()
    assert client.sent[-1] == SetPolicy("compact_slabs", "on")
    window.session.pull()
    assert window.status.told.words == "compact_slabs is on now."
    assert window.top_bar.policy_menu.actions()[0].text() == "compact slabs: on"


def test_a_dead_source_is_told_and_its_report_can_be_saved(
    qtbot: QtBot, window: MainWindow, client: FakeClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    window.session.set_running(True)
    window.session.pull()
    last = window.session.snapshot
    client.report = "Traceback: the last words"
    client.die("The background process of memviz was killed by SIGKILL: what you see is its last picture.")
    window.session.pull()
    assert window.status.told.sign == "▲"
    assert window.status.told.words == f"{client.failure} F5 starts it again."
    assert not window.actions_by_name["request"].isEnabled()
    assert window.views[0].snapshot is last
    target = tmp_path / "report.json"
    monkeypatch.setattr(window, "ask_file", lambda *arguments: str(target))
    button = window.status.report_button
    assert button.isVisible()
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: not window.jobs.jobs)
    report = json.loads(target.read_text())
    assert report["failure"] == client.failure
    assert report["details"] == "Traceback: the last words"
    assert report["page_frames"] == 8192
    assert len(report["free_blocks"]) == 11
    assert report["events"][0]["text"]


def test_a_report_that_cannot_be_written_is_told(
    qtbot: QtBot, window: MainWindow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(window, "ask_file", lambda *arguments: "")
    window.actions_by_name["save_report"].trigger()
    assert not window.jobs.jobs
    monkeypatch.setattr(window, "ask_file", lambda *arguments: str(tmp_path / "no" / "such" / "report.json"))
    window.actions_by_name["save_report"].trigger()
    qtbot.waitUntil(lambda: not window.jobs.jobs)
    assert window.status.told.sign == "✗"
    assert "can't be written: No such file or directory." in window.status.told.words


def test_closing_the_window_ends_the_source(qtbot: QtBot, window: MainWindow, client: FakeClient) -> None:
    window.close()
    assert client.closed
    assert window.session.client is None


def test_start_again_opens_the_scenario_anew(qtbot: QtBot, window: MainWindow, client: FakeClient) -> None:
    other = FakeClient(SyntheticSource(4096))
    window.scenarios = [Scenario("aged", "Aged file server", lambda: other)]
    window.actions_by_name["restart"].trigger()
    assert client.closed
    window.session.pull()
    assert window.session.snapshot is not None
    assert window.session.snapshot.pages.nr == 4096
    assert window.settings.scenario == "aged"


def test_hidden_panels_cost_nothing_and_catch_up(qtbot: QtBot, window: MainWindow) -> None:
    dock = window.docks.all["contiguity"]
    dock.close()
    seen: list[Snapshot] = []
    shown = window.contiguity.show_snapshot
    window.contiguity.show_snapshot = lambda s: (seen.append(s), shown(s))[1]  # type: ignore[method-assign]
    for _ in range(3):
        window.session.pull()
    assert seen == []
    toggle = window.findChild(QAction, "action_panel_contiguity")
    assert toggle is not None
    toggle.trigger()
    qtbot.waitUntil(lambda: bool(seen))
    assert window.session.snapshot is not None
    assert seen[-1].seq == window.session.snapshot.seq
    assert seen[-1].pages.nr == 0, "a panel that looks at no page frames keeps none"
    assert window.heatmap.snapshot is window.session.snapshot
    del window.contiguity.show_snapshot


def test_every_panel_can_be_closed_brought_back_and_reset(qtbot: QtBot, window: MainWindow) -> None:
    places = {name: dock.geometry() for name, dock in window.docks.all.items()}
    assert len(places) == len(window.views) >= 12
    for name, dock in window.docks.all.items():
        close = next(
            b for b in dock.view.header.findChildren(QAbstractButton) if b.accessibleName().startswith("Close")
        )
        close.click()
        assert dock.isHidden(), name
    window.docks.all["heatmap"].setFloating(True)
    window.actions_by_name["reset_layout"].trigger()
    qtbot.waitUntil(lambda: all(not dock.isHidden() for dock in window.docks.all.values()))
    assert not any(dock.isFloating() for dock in window.docks.all.values())
    heatmap, slabs = window.docks.all["heatmap"].geometry(), window.docks.all["slab_grid"].geometry()
    assert heatmap.right() < slabs.left()
    assert heatmap.bottom() < window.docks.all["contiguity"].geometry().top()


def test_layout_theme_and_order_are_remembered(qtbot: QtBot, window: MainWindow, theme: Theme) -> None:
    window.docks.all["timeline"].close()
    window.actions_by_name["theme_light"].trigger()
    window.set_order(5)
    window.close()
    again = MainWindow(window.scenarios, Theme(Settings().theme), Settings())
    qtbot.addWidget(again)
    assert again.docks.all["timeline"].isHidden()
    assert not again.docks.all["events"].isHidden()
    assert again.theme.tokens.name == "light"
    assert again.actions_by_name["request"].text().startswith("Request order 5")


def test_how_things_were_looked_at_is_remembered(qtbot: QtBot, window: MainWindow) -> None:
    window.heatmap.set_mode("migratetype")
    window.heatmap.set_layout_name("rows")
    window._view(ChartsView).set_chart("memory")
    window.close()
    again = MainWindow([], Theme("dark"), Settings())
    qtbot.addWidget(again)
    assert (again.heatmap.mode.id, again.heatmap.layout_name) == ("migratetype", "rows")
    assert again._view(ChartsView).chart == "memory"
    assert again._view(ChartsView).chooser.currentData() == "memory"
    again.close()
    QSettings().setValue("choice/map_colour", "no such colours")
    third = MainWindow([], Theme("dark"), Settings())
    qtbot.addWidget(third)
    assert third.heatmap.mode.id == "owner"


def test_a_layout_of_another_version_is_not_used(qtbot: QtBot, window: MainWindow) -> None:
    window.docks.all["timeline"].close()
    window.close()
    QSettings().setValue("version", VERSION + 1)
    again = MainWindow([], Theme("dark"), Settings())
    qtbot.addWidget(again)
    assert all(not dock.isHidden() for dock in again.docks.all.values())


def test_a_damaged_layout_is_not_used(qtbot: QtBot, window: MainWindow) -> None:
    window.close()
    QSettings().setValue("window/state", QByteArray(b"not a layout"))
    QSettings().setValue("window/geometry", "nor a place")
    QSettings().setValue("order", "many")
    again = MainWindow([], Theme("dark"), Settings())
    qtbot.addWidget(again)
    assert all(not dock.isHidden() for dock in again.docks.all.values())
    assert again.actions_by_name["request"].text().startswith("Request order 9")


def test_the_theme_changes_everything_that_is_painted(qtbot: QtBot, window: MainWindow) -> None:
    def corner(widget: QWidget) -> str:
        return widget.grab().toImage().pixelColor(3, widget.height() // 2).name()

    dark = corner(window.docks.all["contiguity"])
    window.actions_by_name["theme_light"].trigger()
    assert corner(window.docks.all["contiguity"]) == window.theme.color("ui.panel").name() != dark
    assert window.actions_by_name["theme_light"].isChecked()
    assert not window.actions_by_name["theme_dark"].isChecked()


def test_every_key_is_given_once(window: MainWindow) -> None:
    keys = [k for act in ACTIONS for k in act.keys]
    panels = [a for a in window.actions() if a.objectName().startswith("action_panel_")]
    assert len(panels) == len(window.docks.all)
    keys += [action.shortcut().toString() for action in panels]
    assert len(keys) == len(set(keys))


def test_question_mark_lists_the_keys(qtbot: QtBot, window: MainWindow) -> None:
    window.actions_by_name["keys"].trigger()
    dialog = window.findChild(dialogs.KeysDialog)
    assert dialog is not None
    text = dialog.text.toPlainText()
    for act in ACTIONS:
        if act.keys:
            assert key_words(act) in text
            assert (act.tip or act.title) in text
    assert "Go to Events; from there: close it" in text
    assert "While Physical memory has the keys" in text
    dialog.close()


def test_the_palette_finds_and_does(qtbot: QtBot, window: MainWindow, client: FakeClient) -> None:
    window.actions_by_name["palette"].trigger()
    palette = window.findChild(dialogs.Palette)
    assert palette is not None
    field = palette.findChild(QLineEdit, "palette_search")
    assert field is not None
    qtbot.keyClicks(field, "order 7")
    assert palette.list.topLevelItemCount() == 1
    assert palette.list.topLevelItem(0).text(0) == "Request order 7"
    qtbot.keyClick(field, Qt.Key.Key_Return)
    window.session.pull()
    assert window.status.told.words.startswith("Order 7 ")


def test_the_palette_has_what_is_called_so_before_what_is_about_it(qtbot: QtBot, window: MainWindow) -> None:
    """*Experiment* is about policies, too."""
    palette = dialogs.Palette(window)
    qtbot.addWidget(palette)
    qtbot.keyClicks(palette.search, "polic")
    listed = [palette.list.topLevelItem(row).text(0) for row in range(palette.list.topLevelItemCount())]
    assert listed == ["Go to Policies and workload", "Experiment"]


def test_help_opens(qtbot: QtBot, window: MainWindow) -> None:
    window.actions_by_name["help"].trigger()
    dialog = window.findChild(dialogs.HelpDialog)
    assert dialog is not None
    assert "pageblock" in dialog.text.toPlainText()
    dialog.close()


def test_find_puts_the_cursor_into_the_search_field(qtbot: QtBot, window: MainWindow) -> None:
    window.docks.all["events"].close()
    window.actions_by_name["find"].trigger()
    qtbot.waitUntil(lambda: window.docks.all["events"].isVisible())
    assert window.events.search.hasFocus() or window.focusWidget() is window.events.search


def test_everything_that_can_be_used_has_a_name(window: MainWindow) -> None:
    for button in window.findChildren(QAbstractButton):
        if button.isVisible():
            assert button.accessibleName() or button.text(), button.objectName()
    for dock in window.findChildren(QDockWidget):
        assert dock.windowTitle()
        assert dock.widget().findChild(QWidget, dock.objectName().removeprefix("dock_")).accessibleName()


def test_tab_reaches_every_panel(qtbot: QtBot, window: MainWindow) -> None:
    window.findChild(Button, "menu_button").setFocus()  # type: ignore[union-attr]
    reached: set[str] = set()
    widget: QWidget | None = window.focusWidget()
    for _ in range(200):
        for name, dock in window.docks.all.items():
            if widget is not None and dock.isAncestorOf(widget):
                reached.add(name)
        widget = widget.nextInFocusChain() if widget is not None else None
    assert reached >= {"heatmap", "slab_grid", "contiguity", "request", "events", "timeline"}


def test_a_source_that_knows_nothing_is_drawn(qtbot: QtBot, theme: Theme) -> None:
    """The degenerate input: no page frames, no zones, no CPUs. Every panel says so in words, none fails."""
    client = PlayedClient([empty_snapshot()])
    window = MainWindow([Scenario("none", "Nothing", lambda: client)], theme, Settings())
    qtbot.addWidget(window)
    window.show()
    window.open_scenario("none")
    window.session.pull()
    for dock in window.docks.all.values():
        dock.show()
        dock.raise_()
        window.session.changed.emit()
        image = dock.grab().toImage()
        colours = {
            image.pixelColor(x, y).rgb() for x in range(0, image.width(), 3) for y in range(34, image.height(), 2)
        }
        assert len(colours) > 3, f"{dock.view.ident} draws nothing"


def test_a_panel_that_fails_leaves_the_others_alone(qtbot: QtBot, window: MainWindow) -> None:
    dock = window.docks.all["contiguity"]
    view = window.contiguity

    def broken(snapshot: Snapshot) -> None:
        raise ZeroDivisionError("a bar of no height")

    view.show_snapshot = broken  # type: ignore[method-assign]
    with qtbot.captureExceptions() as raised:
        for _ in range(3):
            window.session.pull()
    assert [kind for kind, _, _ in raised] == [ZeroDivisionError]
    assert not view.isVisible()
    assert window.views[0].snapshot is window.session.snapshot
    assert "a bar of no height" in window.session.trouble
    del view.show_snapshot
    again = next(b for b in dock.findChildren(Button) if b.text() == "Try again")
    qtbot.mouseClick(again, Qt.MouseButton.LeftButton)
    window.session.pull()
    assert view.isVisible()
    assert view.snapshot is not None


def test_nothing_is_shown_before_the_first_snapshot_but_words(qtbot: QtBot, theme: Theme) -> None:
    client = PlayedClient([])
    window = MainWindow([Scenario("none", "Nothing", lambda: client)], theme, Settings())
    qtbot.addWidget(window)
    window.show()
    window.open_scenario("none")
    assert window.status.told.words == "Starting; the first picture comes in a moment …"
    assert window.top_bar.source.text == "starting …"
    assert not window.grab().isNull()


@pytest.mark.parametrize("size", [(1280, 720), (3840, 2160)], ids=["720p", "4K"])
def test_the_panels_fit_into_the_window(qtbot: QtBot, window: MainWindow, size: tuple[int, int]) -> None:
    window.resize(*size)
    window.docks.size()
    QApplication.sendPostedEvents()
    assert (window.width(), window.height()) == size
    for name, dock in window.docks.all.items():
        if dock.in_sight:
            assert dock.width() >= 300, name
            assert dock.height() >= 74, name
            assert window.rect().contains(dock.geometry()), name
    row = [window.top_bar.menu_button, window.top_bar.scenarios]
    row += [window.findChild(Button, f"button_{name}") for name in ("run", "step", "fast", "defragment", "compact")]
    row += [window.top_bar.request, window.top_bar.policy]
    for left, right in itertools.pairwise(row):
        assert left.geometry().right() < right.geometry().left(), "the top bar's buttons lie over one another"


def test_the_run_button_is_the_action(qtbot: QtBot, window: MainWindow, client: FakeClient) -> None:
    press(qtbot, window, "run")
    assert client.sent[-1] == Run()


def test_panels_that_float_go_while_a_page_covers_the_window(qtbot: QtBot, window: MainWindow) -> None:
    floats, closed = window.docks.all["slab_grid"], window.docks.all["charts"]
    floats.setFloating(True)
    closed.setFloating(True)
    closed.close()
    window.show_gallery()
    assert floats.isHidden()
    window.experiments.show()
    assert window.gallery is not None
    window.gallery.leave()
    assert floats.isHidden(), "the experiment is still there"
    assert window.experiments.page is not None
    qtbot.waitUntil(lambda: not window.experiments.page.loading.running, timeout=10_000)
    qtbot.keyClick(window.experiments.page, Qt.Key.Key_Escape)
    assert floats.isVisible()
    assert floats.isFloating()
    assert closed.isHidden(), "what the user closed stays closed"


def test_a_window_closed_under_a_page_remembers_panels_that_float(
    qtbot: QtBot, window: MainWindow, client: FakeClient
) -> None:
    window.docks.all["slab_grid"].setFloating(True)
    window.show_gallery()
    window.close()
    again = MainWindow(window.scenarios, Theme(Settings().theme), Settings())
    qtbot.addWidget(again)
    assert not again.docks.all["slab_grid"].isHidden()
    assert again.docks.all["slab_grid"].isFloating()


def test_start_again_says_what_is_no_longer_changed(qtbot: QtBot, window: MainWindow, client: FakeClient) -> None:
    again = window.actions_by_name["restart"]
    again.trigger()
    window.session.pull()
    assert "No longer changed" not in window.status.told.words
    window.session.set_policy("defrag_mode", "1")
    window.session.pull()
    client.source = SyntheticSource(nr_frames=8192)
    again.trigger()
    window.session.pull()
    said = "Started again, with policies and sliders as they were at first. No longer changed: defrag_mode."
    assert window.status.told.words == said
    again.trigger()
    window.session.pull()
    assert window.status.told.words != said, "nothing has been changed since"


def test_a_window_that_could_not_be_opened_goes_without_a_word(qtbot: QtBot) -> None:
    """Its source could not be started: one sentence said so, and two tracebacks of docks followed."""
    window = MainWindow([], Theme("dark"), Settings(remember=False))
    window.show()
    QApplication.processEvents()
    with qtbot.captureExceptions() as raised:
        Shiboken.delete(window)
        QApplication.processEvents()
    assert raised == []
