"""The panel of policies: what it says of each, and that buttons and sliders ask for what they show."""

from __future__ import annotations

from dataclasses import replace

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QLabel
from pytestqt.qtbot import QtBot

from memviz.gui.selection import Selection
from memviz.gui.theme import Theme
from memviz.gui.views.policies import PoliciesView
from memviz.kernel.machine import ORIGINS, POLICIES
from memviz.snapshot import Control, Snapshot
from tests.gui.screen import shown, wheel
from tests.gui.synthetic import snapshot

POLICY = (("defrag_mode", "0"), ("xa_nodes", "movable"), ("unheard_of", "7"))
CONTROLS = (
    Control("0.weight", "file-server", "how often its turn comes", 8, 0, 20, True),
    Control("0.sparse", "file-server", "files with holes, part of all", 0.5, 0.0, 1.0, False),
)


def now(**changes: object) -> Snapshot:
    return replace(snapshot(), policies=POLICY, controls=CONTROLS, **changes)


@pytest.fixture
def view(qtbot: QtBot, selection: Selection, theme: Theme) -> PoliciesView:
    made = PoliciesView(selection, theme)
    shown(qtbot, made, 420, 500)
    made.show_snapshot(now())
    return made


def test_every_switch_of_the_kernel_says_what_it_does_and_where_it_comes_from() -> None:
    assert set(ORIGINS) == set(POLICIES)
    assert all(text.endswith((".", "?")) for text in ORIGINS.values())


def test_a_switch_shows_its_value_and_its_words(view: PoliciesView) -> None:
    switch = view.switches["xa_nodes"]
    assert {name: button.isChecked() for name, button in switch.buttons.items()} == {"movable": True, "fixed": False}
    words = [label.text() for label in switch.findChildren(QLabel)]
    assert words[0] == "xa nodes"
    assert "XArray nodes move" in words[1]
    assert "28 February 2017" in words[2]
    assert list(view.switches["unheard_of"].buttons) == ["7"]


def test_a_button_asks_and_the_source_answers(qtbot: QtBot, view: PoliciesView) -> None:
    asked: list[tuple[str, str]] = []
    view.policy_wanted.connect(lambda name, value: asked.append((name, value)))
    qtbot.mouseClick(view.switches["xa_nodes"].buttons["fixed"], Qt.MouseButton.LeftButton)
    assert asked == [("xa_nodes", "fixed")]
    view.show_snapshot(replace(now(), policies=(("defrag_mode", "0"), ("xa_nodes", "fixed"), ("unheard_of", "7"))))
    assert view.switches["xa_nodes"].buttons["fixed"].isChecked()
    assert not view.switches["xa_nodes"].buttons["movable"].isChecked()


def test_sliders_ask_for_whole_numbers_and_parts(qtbot: QtBot, view: PoliciesView) -> None:
    asked: list[tuple[str, str]] = []
    view.control_wanted.connect(lambda name, value: asked.append((name, value)))
    view.knobs["0.weight"].slider.setValue(3)
    view.knobs["0.sparse"].slider.setValue(25)
    assert asked == [("0.weight", "3"), ("0.sparse", "0.25")]
    assert view.knobs["0.sparse"].slider.accessibleName() == "file-server: files with holes, part of all"


def test_who_scrolls_past_a_slider_changes_nothing(view: PoliciesView) -> None:
    asked: list[tuple[str, str]] = []
    view.control_wanted.connect(lambda name, value: asked.append((name, value)))
    slider = view.knobs["0.weight"].slider
    wheel(slider)
    assert (slider.value(), asked) == (8, [])
    slider.setFocus()
    wheel(slider)
    assert len(asked) == 1, "a slider that has the keys is meant"


def test_values_that_change_keep_the_widgets(view: PoliciesView) -> None:
    before = view.knobs["0.weight"]
    view.show_snapshot(replace(now(), controls=(CONTROLS[0]._replace(value=2), CONTROLS[1])))
    assert view.knobs["0.weight"] is before
    assert before.slider.value() == 2
    assert before.value.text() == "2"


def test_a_source_without_switches_says_so(qtbot: QtBot, selection: Selection, theme: Theme) -> None:
    made = PoliciesView(selection, theme)
    shown(qtbot, made)
    made.show_snapshot(replace(snapshot(), policies=(), controls=()))
    assert not made.area.isVisible()
    assert not made.switches


def test_what_the_source_says_is_shown_and_not_what_was_pressed(qtbot: QtBot, view: PoliciesView) -> None:
    """Pressing the value that it has left none pressed; a recording that refuses left the refused one pressed."""
    buttons = view.switches["xa_nodes"].buttons
    for name in ("movable", "fixed"):
        qtbot.mouseClick(buttons[name], Qt.MouseButton.LeftButton)
        assert {one: button.isChecked() for one, button in buttons.items()} == {"movable": True, "fixed": False}
    knob = view.knobs["0.weight"]
    knob.slider.setValue(3)
    view.show_snapshot(now())
    assert (knob.slider.value(), knob.value.text()) == (8, "8")


def test_of_a_real_machine_it_says_what_memviz_may_do(view: PoliciesView) -> None:
    """And not that it could be changed here."""
    assert view.header.subtitle == "can be changed while it runs"
    view.show_snapshot(replace(snapshot(), source="linux", policies=(("actions", "off"),), controls=()))
    words = [label.text() for label in view.switches["actions"].findChildren(QLabel)]
    assert words[0] == "actions"
    assert "otherwise it only reads." in words[1]
    assert view.header.subtitle == ""
