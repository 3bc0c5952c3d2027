"""Slab caches as a list: sorted, filtered, linked with the slabs that are shown."""

from __future__ import annotations

from dataclasses import replace

import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QFontMetrics
from pytestqt.qtbot import QtBot

from memviz.gui.render import cache_table as render
from memviz.gui.selection import Selection
from memviz.gui.theme import Theme
from memviz.gui.views.caches import CachesView
from memviz.snapshot import Cache, Snapshot
from tests.gui.screen import colours, shown
from tests.gui.synthetic import snapshot


def cache(name: str, slabs: int, order: int, active: int, total: int, movable: bool = False) -> Cache:
    return Cache(1, name, 500, 584, order, 28, slabs, slabs // 2, 0, active, total, 0, active, movable)


CACHES = (
    cache("dentry", 1000, 0, 9_000, 21_000),
    cache("xa_node", 400, 2, 5_600, 11_200, movable=True),
    cache("kmalloc-8", 10, 0, 0, 0),
)


def memory() -> Snapshot:
    return replace(snapshot(), caches=CACHES)


@pytest.fixture
def view(qtbot: QtBot, selection: Selection, theme: Theme) -> CachesView:
    view = CachesView(selection, theme)
    shown(qtbot, view, 620, 300)
    view.show_snapshot(memory())
    return view


def column(view: CachesView, number: int) -> list[str]:
    return [str(view.model.index(row, number).data()) for row in range(view.model.rowCount())]


def titles(view: CachesView) -> list[str]:
    across = Qt.Orientation.Horizontal
    return [str(view.model.headerData(at, across)) for at in range(view.model.columnCount())]


def test_names_can_be_read_where_there_is_little_room(view: CachesView) -> None:
    view.card.resize(330, 300)  # type: ignore[attr-defined]
    assert [view.table.isColumnHidden(at) for at in range(6)] == [False, False, False, True, True, True]
    assert view.table.columnWidth(render.NAME) > 100
    view.card.resize(700, 300)  # type: ignore[attr-defined]
    assert not any(view.table.isColumnHidden(at) for at in range(6))


def test_the_cache_that_holds_most_memory_is_first(view: CachesView) -> None:
    assert column(view, render.NAME) == ["xa_node  →", "dentry", "kmalloc-8"]
    assert column(view, render.MEMORY) == ["6.2 MiB", "3.9 MiB", "40 KiB"]
    assert column(view, render.USED) == ["50 %", "43 %", "–"]
    assert column(view, render.SLABS) == ["400 (200)", "1,000 (500)", "10 (5)"]
    assert view.header.subtitle == "3 caches hold 10 MiB · → movable"


def test_a_click_on_the_header_sorts_and_turns_round(view: CachesView) -> None:
    header = view.table.horizontalHeader()
    header.sectionClicked.emit(render.SLABS)
    assert column(view, render.NAME)[0] == "dentry"
    assert titles(view)[render.SLABS] == "Slabs (partial) ▾"
    header.sectionClicked.emit(render.SLABS)
    assert titles(view)[render.SLABS] == "Slabs (partial) ▴"
    assert column(view, render.NAME)[0] == "kmalloc-8"
    header.sectionClicked.emit(render.NAME)
    assert column(view, render.NAME) == ["dentry", "kmalloc-8", "xa_node  →"]


def test_the_filter_hides_and_says_so_and_the_sum_stays(view: CachesView) -> None:
    view.search.setText("NODE")
    assert column(view, render.NAME) == ["xa_node  →"]
    assert view.header.subtitle == "3 caches hold 10 MiB · → movable · 2 hidden by the filter"
    view.search.setText("no such")
    assert view.empty_words() == ("No cache passes the filter", "Clear the field above")


def test_a_cache_that_is_chosen_is_asked_for_and_the_one_shown_is_marked(
    qtbot: QtBot, view: CachesView, selection: Selection
) -> None:
    view.table.setFocus()
    view.table.selectRow(1)
    assert selection.focus.cache == "dentry"
    qtbot.keyClick(view.table, Qt.Key.Key_Up)
    assert selection.focus.cache == "xa_node"
    selection.look_at(cache="kmalloc-8")
    assert view.table.currentIndex().row() == 2
    selection.look_at(cache="unknown")
    assert view.table.selectionModel().selectedRows() == []


def test_what_is_chosen_stays_chosen_while_rows_change_places(view: CachesView, selection: Selection) -> None:
    view.table.selectRow(1)
    view.show_snapshot(replace(memory(), caches=(CACHES[1], CACHES[0]._replace(slabs=9000), CACHES[2])))
    assert column(view, render.NAME)[0] == "dentry"
    assert view.table.currentIndex().row() == 0
    assert selection.focus.cache == "dentry"


def test_half_empty_caches_stand_out(view: CachesView, theme: Theme) -> None:
    used = [view.model.index(row, render.USED).data(Qt.ItemDataRole.ForegroundRole) for row in range(3)]
    assert used == [theme.color("ui.muted"), theme.color("tone.warn"), theme.color("ui.muted")]


def test_the_table_has_every_figure(view: CachesView) -> None:
    parts = view.as_parts()
    assert parts is not None
    rows = [row for part in parts.rows for row in part]
    assert rows[0][:4] == ["name", "object_size", "size", "order"]
    assert rows[1][0] == "xa_node"
    assert len(rows) == 4


def test_a_source_without_caches_is_empty_in_words(qtbot: QtBot, selection: Selection, theme: Theme) -> None:
    view = CachesView(selection, theme)
    shown(qtbot, view, 620, 300)
    view.show_snapshot(replace(memory(), caches=()))
    assert view.empty_words()[0] == "Nothing is known about slab caches"
    assert view.header.subtitle == ""
    assert len(colours(view)) > 2


def test_a_figure_is_never_cut(view: CachesView, theme: Theme) -> None:
    """A real machine has more slabs than was thought: of "15,731 (1,425)" there was "15,731 (1,4…"."""
    view.show_snapshot(replace(memory(), caches=(cache("buffer_head", 1_215_731, 0, 98_575_289, 99_999_999),)))
    metrics = QFontMetrics(theme.font("mono-small"))
    for number in (render.MEMORY, render.USED, render.SLABS, render.OBJECTS, render.SIZE):
        assert view.table.columnWidth(number) > metrics.horizontalAdvance(column(view, number)[0]) + 6


def test_one_cache_holds(view: CachesView) -> None:
    view.show_snapshot(replace(memory(), caches=CACHES[:1]))
    assert view.header.subtitle == "1 cache holds 3.9 MiB"
