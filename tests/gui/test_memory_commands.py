"""A real machine is acted upon only after a question: real buttons, a real source over a machine made of files."""

from __future__ import annotations

from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QApplication, QLabel, QLineEdit
from pytestqt.qtbot import QtBot

from memviz.gui.act import Situation, why_not
from memviz.gui.actions import ACTIONS
from memviz.gui.controls import Button
from memviz.gui.main_window import MainWindow, Scenario
from memviz.gui.memory_commands import COMPACT, DROP, HUGE, SHRINK, RealMachineDialog
from memviz.gui.settings import Settings
from memviz.gui.theme import Theme
from memviz.live_helper import Kernel
from memviz.sources.base import Command, Compact, Defragment, DropCaches, RequestPages
from memviz.sources.linux import LinuxSource
from memviz.sources.linux_access import Direct
from tests.gui.clients import FakeClient
from tests.machine_of_files import machine_of_files


class RealClient(FakeClient):
    """A real machine's source in this process."""

    def __init__(self, source: LinuxSource) -> None:
        super().__init__(source)

    @property
    def asked(self) -> list[Command]:
        """What it was to do to memory."""
        return [one for one in self.sent if isinstance(one, (Compact, Defragment, DropCaches, RequestPages))]

    def close(self) -> None:
        """End."""
        super().close()
        self.source.close()


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A machine of 32 MiB whose knobs are files."""
    proc = machine_of_files(tmp_path) / "proc"
    (proc / "sys/vm").mkdir(parents=True)
    for knob in ("compact_memory", "drop_caches"):
        (proc / "sys/vm" / knob).write_text("0")
    (proc / "sys/vm/nr_hugepages").write_text("3")
    (tmp_path / "sys/kernel/slab/dentry").mkdir(parents=True)
    (tmp_path / "sys/kernel/slab/dentry/shrink").write_text("")
    return tmp_path


def opened(qtbot: QtBot, theme: Theme, machine: Path, actions: bool) -> tuple[MainWindow, RealClient]:
    source = LinuxSource(access=Direct(Kernel(str(machine), actions)), actions=actions, tracing=False)
    client = RealClient(source)
    window = MainWindow([Scenario("this-machine", "This machine", lambda: client)], theme, Settings())
    qtbot.addWidget(window)
    window.resize(1280, 720)
    window.show()
    window.open_scenario("this-machine")
    window.session.pull()
    return window, client


def pressed(qtbot: QtBot, window: MainWindow, name: str) -> RealMachineDialog:
    """The dialog that the button of an action brings."""
    button = window.findChild(Button, f"button_{name}")
    if button is not None:
        button.click()
    else:
        window.actions_by_name[name].trigger()
    dialog = window.findChild(RealMachineDialog)
    assert dialog is not None
    qtbot.waitUntil(dialog.isVisible)
    return dialog


CASES = [
    ("compact", COMPACT, Compact(), "proc/sys/vm/compact_memory", "1", "Compaction of all zones: "),
    ("drop_caches", DROP, DropCaches(), "proc/sys/vm/drop_caches", "3", "Caches are dropped: 16 MiB were free"),
    ("defragment", SHRINK, Defragment("dentry"), "sys/kernel/slab/dentry/shrink", "1", "The cache dentry has given"),
    ("request", HUGE, RequestPages(9, 0xCC0), "proc/sys/vm/nr_hugepages", "3", ""),
]
IDS = [case[0] for case in CASES]


@pytest.mark.parametrize(("name", "question", "command", "file", "value", "told"), CASES, ids=IDS)
def test_yes_sends_one_command_and_tells_what_came_of_it(
    qtbot: QtBot, theme: Theme, machine: Path, name: str, question: object, command: Command, file: str, value: str,
    told: str,
) -> None:  # fmt: skip
    window, client = opened(qtbot, theme, machine, actions=True)
    dialog = pressed(qtbot, window, name)
    assert dialog.windowTitle() == question.title  # type: ignore[attr-defined]
    shown = [label.text() for label in dialog.findChildren(QLabel) if label.isVisible()]
    for words in (question.title, question.does, question.costs, question.takes):  # type: ignore[attr-defined]
        assert words in shown
    assert client.asked == [], "nothing happens before the answer"
    if name == "defragment":
        dialog.cache.setCurrentText("dentry")
    dialog.go.click()
    assert client.asked == [command]
    assert (machine / file).read_text() == value
    window.session.pull()
    assert window.status.told.words.startswith(told)
    qtbot.waitUntil(lambda: window.findChild(RealMachineDialog) is None or not dialog.isVisible())


@pytest.mark.parametrize("name", IDS)
@pytest.mark.parametrize("key", [Qt.Key.Key_Return, Qt.Key.Key_Escape], ids=["Return", "Escape"])
def test_cancel_is_the_default_and_does_nothing(
    qtbot: QtBot, theme: Theme, machine: Path, name: str, key: Qt.Key
) -> None:
    window, client = opened(qtbot, theme, machine, actions=True)
    before = {path: path.read_bytes() for path in machine.rglob("*") if path.is_file()}
    dialog = pressed(qtbot, window, name)
    assert dialog.cancel.isDefault()
    qtbot.keyClick(dialog.focusWidget() or dialog, key)  # type: ignore[no-untyped-call]
    assert not dialog.isVisible()
    assert client.asked == []
    assert {path: path.read_bytes() for path in machine.rglob("*") if path.is_file()} == before


def test_a_cache_is_chosen_by_its_name_largest_first(qtbot: QtBot, theme: Theme, machine: Path) -> None:
    window, client = opened(qtbot, theme, machine, actions=True)
    window.selection.look_at(cache="dentry")
    dialog = pressed(qtbot, window, "defragment")
    assert dialog.cache.currentText() == "dentry"
    caches = {one.name: one.slabs << one.order for one in client.source.caches}
    names = [dialog.cache.itemText(row) for row in range(dialog.cache.count())]
    assert sorted(names) == sorted(caches)
    assert [caches[name] for name in names] == sorted(caches.values(), reverse=True)
    dialog.cancel.click()


@pytest.mark.parametrize("name", IDS)
def test_without_actions_the_buttons_are_off_and_say_why(qtbot: QtBot, theme: Theme, machine: Path, name: str) -> None:
    window, _ = opened(qtbot, theme, machine, actions=False)
    action = window.actions_by_name[name]
    assert not action.isEnabled()
    assert "this machine is only read: start memviz with --live --actions" in action.toolTip()
    action.trigger()
    window.memory.compact()  # by whatever way it comes about, the source refuses too
    dialog = window.findChild(RealMachineDialog)
    assert dialog is not None
    dialog.go.click()
    window.session.pull()
    assert window.status.told.words == ("Actions on this machine are off; start memviz with --actions to allow them.")
    assert (machine / "proc/sys/vm/compact_memory").read_text() == "0"


def test_things_are_called_what_they_are_on_a_real_machine(qtbot: QtBot, theme: Theme, machine: Path) -> None:
    window, _ = opened(qtbot, theme, machine, actions=True)
    names = [window.actions_by_name[name].text() for name in IDS]
    assert names == ["Compact…", "Drop caches…", "Shrink a cache…", "Request huge page…"]
    for name in ("compact", "defragment", "request"):
        button = window.findChild(Button, f"button_{name}")
        assert button is not None
        assert button.accessibleName() == window.actions_by_name[name].text() == button.text()
    assert not window.actions_by_name["step"].isEnabled()
    assert "only a simulated machine can do that" in window.actions_by_name["step"].toolTip()
    assert not window.top_bar.speed.isEnabled()
    assert window.status.told.words.startswith("This machine's memory as it is now.")
    assert "operations" not in window.status._right_words()
    client = FakeClient()
    window.scenarios.append(Scenario("aged", "Aged", lambda: client))
    window.open_scenario("aged")
    window.session.pull()
    names = [window.actions_by_name[name].text() for name in IDS]
    assert names == ["Compact", "Drop caches…", "Defragment slabs", "Request order 9  (2 MiB)"]
    assert not window.actions_by_name["drop_caches"].isEnabled()
    assert "only for a real machine" in window.actions_by_name["drop_caches"].toolTip()
    assert window.top_bar.speed.isEnabled()


def test_panels_that_a_real_machine_has_nothing_for_make_room(qtbot: QtBot, theme: Theme, machine: Path) -> None:
    window, _ = opened(qtbot, theme, machine, actions=False)
    docks = window.docks.all
    put_away = {name for name, dock in docks.items() if dock.isHidden()}
    assert put_away == {"slab_grid", "xarray_tree", "cpu_lanes", "story", "stepper"}
    qtbot.waitUntil(lambda: docks["caches"].in_sight)
    before = docks["heatmap"].height()
    window.docks.size()
    QApplication.processEvents()
    assert abs(docks["heatmap"].height() - before) < before // 10, "no room is kept for those that are away"
    docks["events"].close()
    client = FakeClient()
    window.scenarios.append(Scenario("aged", "Aged", lambda: client))
    window.open_scenario("aged")
    window.session.pull()
    assert {name for name, dock in docks.items() if dock.isHidden()} == {"events"}, "what was closed stays closed"
    qtbot.waitUntil(lambda: all(docks[name].in_sight for name in ("heatmap", "slab_grid", "request", "contiguity")))


def test_a_layout_is_remembered_without_what_was_put_away(qtbot: QtBot, theme: Theme, machine: Path) -> None:
    window, _ = opened(qtbot, theme, machine, actions=False)
    window.close()
    again = MainWindow([], Theme("dark"), Settings())
    qtbot.addWidget(again)
    assert not any(dock.isHidden() for dock in again.docks.all.values())


@pytest.mark.parametrize("playing", [False, True])
@pytest.mark.parametrize("real", [False, True])
@pytest.mark.parametrize("race", [False, True])
def test_whatever_is_off_says_why(playing: bool, real: bool, race: bool) -> None:
    nothing = {act.ident for act in ACTIONS if why_not(act, Situation())}
    assert {"run", "step", "record", "compact", "continue", "drop_caches"} <= nothing
    now = Situation(True, playing, real, False, race)
    for act in ACTIONS:
        why = why_not(act, now)
        if act.to_memory and (playing or real or race):
            assert why, act.ident
        if not (act.to_memory or act.needs_source or act.needs_playback):
            assert not why, act.ident
        assert not why.endswith(".")


def test_what_tells_about_a_command_comes_to_the_front(qtbot: QtBot, window: MainWindow, client: FakeClient) -> None:
    story, request = window.docks.all["story"], window.docks.all["request"]
    heatmap = window.views[0]
    heatmap.setFocus()
    kept = QApplication.focusWidget()
    assert not story.in_sight
    window.findChild(Button, "button_defragment").click()  # type: ignore[union-attr]
    window.session.pull()
    qtbot.waitUntil(lambda: story.in_sight)
    assert QApplication.focusWidget() is kept, "the keyboard stays where it is"
    window.findChild(Button, "button_request").click()  # type: ignore[union-attr]
    window.session.pull()
    qtbot.waitUntil(lambda: request.in_sight)
    story.raise_()
    for _ in range(3):
        window.session.pull()
    assert not request.in_sight, "only a new answer brings a panel to the front"


def test_who_types_is_not_covered_and_a_closed_panel_stays_closed(
    qtbot: QtBot, window: MainWindow, client: FakeClient
) -> None:
    window.tabifyDockWidget(window.docks.all["events"], window.docks.all["story"])
    window.docks.all["events"].raise_()
    qtbot.waitUntil(lambda: window.docks.all["events"].in_sight)
    window.events.search.setFocus()
    window.actions_by_name["defragment"].trigger()
    window.session.pull()
    assert isinstance(QApplication.focusWidget(), QLineEdit)
    assert window.docks.all["events"].in_sight
    window.docks.all["request"].close()
    window.actions_by_name["request"].trigger()
    window.session.pull()
    assert window.docks.all["request"].isHidden()
