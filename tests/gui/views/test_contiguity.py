"""The bars of contiguity: what they say, what a click does."""

from __future__ import annotations

from PySide6.QtCore import QPoint, Qt
from pytestqt.qtbot import QtBot

from memviz.gui.selection import Selection
from memviz.gui.theme import Theme
from memviz.gui.views.contiguity import ContiguityView
from tests.gui.screen import colours, shown
from tests.gui.synthetic import SyntheticSource


def test_a_click_on_a_bar_asks_for_its_order(qtbot: QtBot, selection: Selection, theme: Theme) -> None:
    view = ContiguityView(selection, theme)
    shown(qtbot, view)
    view.show_snapshot(SyntheticSource(8192).snapshot())
    picked: list[int] = []
    view.order_picked.connect(picked.append)
    qtbot.mouseClick(view, Qt.MouseButton.LeftButton, pos=QPoint(int(view.width() * 4.5 / 11), 40))
    view.set_order(4)
    assert picked == [4]
    qtbot.keyClick(view, Qt.Key.Key_Right)
    assert picked == [4, 5]
    assert view.accessibleDescription().startswith("order 4 (64 KiB): ")


def test_an_order_of_which_there_is_none_is_red_and_says_0(qtbot: QtBot, selection: Selection, theme: Theme) -> None:
    view = ContiguityView(selection, theme)
    shown(qtbot, view)
    shot = SyntheticSource(8192).snapshot()
    view.show_snapshot(shot)
    assert view.bars is not None
    assert view.bars.now[10] == 0
    assert theme.color("chart.danger").name() in colours(view)
    assert "0 blocks now" in view.bars.sentence(10)


def test_the_same_counts_paint_nothing_anew(qtbot: QtBot, selection: Selection, theme: Theme) -> None:
    view = ContiguityView(selection, theme)
    shown(qtbot, view)
    shot = SyntheticSource(8192).snapshot()
    view.show_snapshot(shot)
    bars = view.bars
    view.show_snapshot(shot)
    assert view.bars is bars
