"""The race lab's panel: what it says, what its buttons ask for, and that a run can be stepped through with it."""

from __future__ import annotations

import pytest
from PySide6.QtCore import QRect, Qt
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from memviz.gui.selection import Selection
from memviz.gui.theme import Theme
from memviz.gui.views.stepper import ABOUT_H, ICON_BELOW, LEAST_LIST_W, LIST_W, TO_THE_END, StepperView
from memviz.races.catalogue import CASES
from memviz.sources.base import Run, SetWorkload, Step, StepBack, StepCpu
from memviz.sources.race import RaceSource
from tests.gui.screen import colours, shown
from tests.gui.synthetic import SyntheticSource


class Stepped:
    """A view wired to a source as the window wires it."""

    def __init__(self, qtbot: QtBot, selection: Selection, theme: Theme, case: str, variant: str = "") -> None:
        self.source = RaceSource(case, variant)
        self.view = StepperView(selection, theme)
        self.sent: list[object] = []
        shown(qtbot, self.view, 1000, 520)
        self.view.commanded.connect(self.obey)
        self.look()

    def obey(self, command: object) -> None:
        self.sent.append(command)
        self.source.command(len(self.sent), command)  # type: ignore[arg-type]
        self.look()

    def look(self) -> None:
        self.view.show_snapshot(self.source.snapshot())


@pytest.fixture
def unlock(qtbot: QtBot, selection: Selection, theme: Theme) -> Stepped:
    return Stepped(qtbot, selection, theme, "race-posted-unlock")


def test_it_says_claim_who_and_when_and_the_verdict_at_the_end(unlock: Stepped) -> None:
    view = unlock.view
    text = view.about.toPlainText()
    assert "“Might have been freed since we last checked”" in text
    assert "Matthew Wilcox, 2017-03-02" in text
    assert "unlock of a wild pointer" not in text
    view.buttons["end"].click()
    text = view.about.toPlainText()
    assert "unlock of a wild pointer: xa_unlock_irq()" in text
    assert "Finding: On the path for the race" in text
    assert not view.buttons["step"].isEnabled()
    assert view.buttons["back"].isEnabled()
    assert view.panes[0].tone == "bad"
    assert view.theme.color("tone.bad").name() in colours(view.panes[0])


def test_buttons_step_forwards_back_and_one_cpu(unlock: Stepped) -> None:
    view = unlock.view
    assert not view.buttons["back"].isEnabled()
    view.buttons["step"].click()
    view.panes[1].button.click()
    view.buttons["back"].click()
    view.buttons["start"].click()
    view.buttons["play"].click()
    assert unlock.sent == [Step(1, "point"), StepCpu(1), StepBack(), StepBack(1 << 20), Run()]


def test_keys_do_the_same(qtbot: QtBot, unlock: Stepped) -> None:
    for key in (Qt.Key.Key_Right, Qt.Key.Key_1, Qt.Key.Key_Left, Qt.Key.Key_End, Qt.Key.Key_Home):
        qtbot.keyClick(unlock.view, key)
    assert unlock.sent == [Step(1, "point"), StepCpu(1), StepBack(), Step(1 << 20, "point"), StepBack(1 << 20)]


def test_every_cpu_shows_its_line_among_others(unlock: Stepped) -> None:
    view = unlock.view
    for _ in range(18):
        view.buttons["step"].click()
    pane = view.panes[0]
    words = pane.words()
    assert words[0] == "CPU 0 · mover"
    assert words[1] == "stands before: file xa_lock"
    assert words[-1].startswith("races/posted.py:")
    assert pane.cpu is not None
    assert (pane.cpu.line, "            locked.xa_lock()") in pane.cpu.source
    assert len(pane.cpu.source) == 19
    assert view.theme.color("ui.selection").name() in colours(pane)
    assert view.panes[1].words()[1] == "not begun"
    assert len([pane for pane in view.panes if pane.isVisible()]) == 2


def test_stepping_back_shows_what_was_there(unlock: Stepped) -> None:
    view = unlock.view
    seen = []
    for _ in range(8):
        seen.append((view.header.subtitle, [pane.words() for pane in view.panes], view.grab().toImage()))
        view.buttons["step"].click()
    for subtitle, words, image in reversed(seen):
        view.buttons["back"].click()
        assert (view.header.subtitle, [pane.words() for pane in view.panes]) == (subtitle, words)
        assert view.grab().toImage() == image


def test_variants_are_chosen_in_the_header(qtbot: QtBot, selection: Selection, theme: Theme) -> None:
    stepped = Stepped(qtbot, selection, theme, "race-softirq-free")
    view = stepped.view
    names = [view.variants.itemText(at) for at in range(view.variants.count())]
    assert names == ["blocks", "spins", "read-lock"]
    view.buttons["end"].click()
    assert "deadlock" in view.about.toPlainText()
    assert view.panes[2].words()[1] == "waits: rcu_barrier"
    view.variants.setCurrentIndex(1)
    view.variants.activated.emit(1)
    assert stepped.sent[-1] == SetWorkload("variant", "spins")
    assert view.variants.currentText() == "spins"
    view.buttons["end"].click()
    assert "This run ends well" in view.about.toPlainText()
    assert "a free spins on the slab lock" in view.about.toPlainText()


def test_every_case_is_in_the_list_and_can_be_opened(qtbot: QtBot, unlock: Stepped) -> None:
    view = unlock.view
    assert [view.cases.item(row).text() for row in range(view.cases.count())] == [case.title for case in CASES]
    assert view.cases.currentItem().text() == "The patch unlocks what it has not locked"
    chosen: list[str] = []
    view.case_chosen.connect(chosen.append)
    last = view.cases.item(view.cases.count() - 1)
    view.cases.itemClicked.emit(last)
    view.cases.itemActivated.emit(view.cases.currentItem())  # is open already
    assert chosen == [CASES[-1].name]


def test_what_is_no_race_leaves_the_list_to_choose_from(qtbot: QtBot, unlock: Stepped) -> None:
    view = unlock.view
    view.show_snapshot(SyntheticSource(8192).snapshot())
    assert "Choose a case at the left" in view.about.toPlainText()
    assert not any(pane.isVisible() for pane in view.panes)
    assert view.variants.isHidden()
    assert not any(button.isEnabled() for button in view.buttons.values())
    assert view.cases.currentRow() == -1
    unlock.look()
    assert view.panes[0].isVisible()


def test_it_follows_the_theme(unlock: Stepped, theme: Theme) -> None:
    dark = theme.color("ui.sunken").name()
    assert dark in colours(unlock.view)
    theme.choose("light")
    assert theme.color("ui.sunken").name() != dark
    assert theme.color("ui.sunken").name() in colours(unlock.view)


def test_the_text_leaves_the_room_that_it_does_not_need_to_the_panes(unlock: Stepped) -> None:
    view = unlock.view
    assert view.about.height() < ABOUT_H
    assert view.about.height() >= view.about.document().size().height(), "all of it is read without scrolling"
    assert view.panes[0].height() > 520 - ABOUT_H


def test_on_a_small_screen_the_list_and_the_buttons_give_way(unlock: Stepped) -> None:
    view = unlock.view
    assert (view.cases.width(), view.panes[0].button.toolButtonStyle()) == (
        LIST_W,
        Qt.ToolButtonStyle.ToolButtonTextOnly,
    )
    view.resize(560, 300)
    assert view.cases.width() == LEAST_LIST_W
    view.panes[0].resize(ICON_BELOW - 1, 120)
    assert view.panes[0].button.toolButtonStyle() == Qt.ToolButtonStyle.ToolButtonIconOnly
    assert view.panes[0].button.accessibleName() == "Step CPU 0"


def test_without_a_case_it_says_how_to_go_about_it(qtbot: QtBot, selection: Selection, theme: Theme) -> None:
    view = StepperView(selection, theme)
    shown(qtbot, view, 1000, 520)
    text = view.about.toPlainText()
    assert text.startswith("Choose a case at the left")
    assert "→ takes the next step and ← the last one back" in text
    assert view.about.height() > 400, "it has the place of the panes"


def test_titles_of_cases_are_read_whole_at_any_width(unlock: Stepped) -> None:
    cases = unlock.view.cases
    for width in (1000, 560):
        unlock.view.resize(width, 520)
        for row in range(cases.count()):
            place = cases.visualItemRect(cases.item(row))
            room = QRect(0, 0, place.width() - 8, 1000)
            words = cases.fontMetrics().boundingRect(room, Qt.TextFlag.TextWordWrap, cases.item(row).text())
            assert words.height() <= place.height(), cases.item(row).text()


def test_before_a_case_is_chosen_no_button_steps(qtbot: QtBot, selection: Selection, theme: Theme) -> None:
    view = StepperView(selection, theme)
    shown(qtbot, view, 1000, 520)
    assert [name for name, button in view.buttons.items() if button.isEnabled()] == []
    view.show_snapshot(SyntheticSource(8192).snapshot())
    assert [name for name, button in view.buttons.items() if button.isEnabled()] == []
    view.show_snapshot(RaceSource("race-posted-unlock", "").snapshot())
    assert view.buttons["step"].isEnabled()
    assert not view.buttons["back"].isEnabled()


def test_who_clicks_a_case_has_its_keys(qtbot: QtBot, unlock: Stepped) -> None:
    view = unlock.view
    place = view.cases.visualItemRect(view.cases.item(2)).center()
    qtbot.mouseClick(view.cases.viewport(), Qt.MouseButton.LeftButton, pos=place)
    qtbot.keyClick(QApplication.focusWidget(), Qt.Key.Key_End)
    assert unlock.sent == [Step(TO_THE_END, "point")], "End is the run's, and not the list's"
    assert view.cases.currentRow() == 2
    qtbot.keyClick(QApplication.focusWidget(), Qt.Key.Key_Home)
    qtbot.keyClick(QApplication.focusWidget(), Qt.Key.Key_1)
    assert unlock.sent[1:] == [StepBack(TO_THE_END), StepCpu(1)]
