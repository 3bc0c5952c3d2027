"""The anatomy of a request, on the screen."""

from __future__ import annotations

from dataclasses import replace

import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QFontMetrics
from pytestqt.qtbot import QtBot

from memviz.gui.selection import Selection
from memviz.gui.theme import Theme
from memviz.gui.views.request import RequestView, fitting_words
from memviz.sources.base import RequestPages
from tests.gui.screen import colours, shown
from tests.gui.synthetic import SyntheticSource, snapshot


def request_view(qtbot: QtBot, selection: Selection, theme: Theme, height: int = 260) -> RequestView:
    view = RequestView(selection, theme)
    shown(qtbot, view, 480, height)
    source = SyntheticSource(262_144)
    source.command(1, RequestPages(9, 0))
    view.show_snapshot(source.snapshot())
    return view


def test_a_failed_request_says_why_and_what_pinned_it(qtbot: QtBot, selection: Selection, theme: Theme) -> None:
    view = request_view(qtbot, selection, theme)
    assert view.words() == [
        "Order 9 failed: slabs of xa_node hold 41 blocks; moving 88 objects would free 3 of them.",
        "fast path: no free block ≥ 9 in Normal",
        "reclaim: 1,204 pages dropped",
        "compaction: 37 blocks scanned · 9,802 moved · pinned by slab 41×",
        "Pinned by xa_node in block 340, dentry in block 12",
    ]
    assert {theme.color("chart.failed").name(), theme.color("chart.compaction").name()} <= colours(view)


def test_a_link_selects_the_page_that_pinned(qtbot: QtBot, selection: Selection, theme: Theme) -> None:
    view = request_view(qtbot, selection, theme)
    view.grab()
    box, pfn = view._links[0]
    qtbot.mouseMove(view, box.center().toPoint())
    qtbot.mouseClick(view, Qt.MouseButton.LeftButton, pos=box.center().toPoint())
    assert selection.now.pfn == pfn == 0x2A94F
    qtbot.keyClick(view, Qt.Key.Key_Right)
    assert selection.now.pfn == 0x1801


@pytest.mark.parametrize("height", [60, 120, 400])
def test_all_stages_are_painted_at_any_height(qtbot: QtBot, selection: Selection, theme: Theme, height: int) -> None:
    view = request_view(qtbot, selection, theme, height + 44)
    if height >= 120:
        assert theme.color("chart.compaction").name() in colours(view)
    assert not view.grab().isNull()


def test_a_verdict_that_is_long_for_the_panel_gets_smaller_letters_before_it_is_cut(
    qtbot: QtBot, selection: Selection, theme: Theme
) -> None:
    view = request_view(qtbot, selection, theme)
    assert view.anatomy is not None
    view.setMinimumHeight(0)
    view.resize(480, 17 * len(view.anatomy.rows) + 14 + 3 * QFontMetrics(theme.font("small")).lineSpacing())
    long = replace(view.anatomy, verdict="Failed: 65 of 117 blocks are held by slab pages, 24 by unmovable pages. " * 2)
    font, lines = view._fitting(long, 420)
    assert font == theme.font("small")
    assert " ".join(lines) == long.verdict.strip()
    font, lines = view._fitting(long, 1200)
    assert (font, len(lines)) == (theme.font("normal"), 1)


def test_where_no_button_helps_the_hint_says_what_does(qtbot: QtBot, selection: Selection, theme: Theme) -> None:
    view = RequestView(selection, theme)
    one = replace(snapshot(), request=None)
    for changed, words in (
        (one, "Press Request in the bar above, or R"),
        (replace(one, source="playback"), "None was recorded up to this instant"),
        (
            replace(one, source="linux", policies=(("actions", "off"),)),
            "memviz only reads this machine; with --live --actions it can ask for a huge page",
        ),
    ):
        view.show_snapshot(changed)
        assert view.hint() == words


def test_what_there_is_no_room_for_is_left_out_as_a_whole(theme: Theme) -> None:
    """Of a figure that is cut in its middle nobody can tell that."""
    metrics = QFontMetrics(theme.font("small"))
    words = "3 blocks pinned by dentry · 1 by xa_node · 849 pages moved"
    room = metrics.horizontalAdvance(words)
    assert fitting_words(words, metrics, room) == words
    assert fitting_words(words, metrics, room - 1) == "3 blocks pinned by dentry · 1 by xa_node …"
    assert fitting_words(words, metrics, metrics.horizontalAdvance("3 blocks pinned by dentry …") + 2) == (
        "3 blocks pinned by dentry …"
    )
    assert (
        fitting_words("no block of order 9", metrics, metrics.horizontalAdvance("no block of…") + 1) == "no block of…"
    )
