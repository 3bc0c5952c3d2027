"""The map as a person uses it: what is seen where, mouse, keys, legend, read-out."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from PySide6.QtCore import QPoint, QPointF, Qt
from PySide6.QtGui import QColor, QImage, QWheelEvent
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from memviz.gui.render import heatmap_text
from memviz.gui.render.layout import Rect
from memviz.gui.render.shown_end import GRAIN
from memviz.gui.selection import Selection
from memviz.gui.theme import Theme
from memviz.gui.views.heatmap import LAYOUTS, HeatmapView
from memviz.kernel import page
from memviz.snapshot import PageDetail, RequestAnatomy, Snapshot
from tests.gui.synthetic import SyntheticSource, empty_snapshot

NR = 8192


@pytest.fixture
def source() -> SyntheticSource:
    return SyntheticSource(nr_frames=NR)


@pytest.fixture
def view(qtbot: QtBot, selection: Selection, theme: Theme, source: SyntheticSource) -> HeatmapView:
    view = HeatmapView(selection, theme)
    qtbot.addWidget(view)
    view.resize(700, 520)
    with qtbot.waitExposed(view):
        view.show()
    view.show_snapshot(source.snapshot())
    return view


def grabbed(view: HeatmapView) -> QImage:
    return view.map.grab().toImage()


def owned(snapshot: Snapshot, owner: int, pfns: slice) -> Snapshot:
    """The snapshot with other owners."""
    owners = snapshot.pages.owner.copy()
    owners[pfns] = owner
    return replace(snapshot, seq=snapshot.seq + 1, pages=replace(snapshot.pages, owner=owners))


def place(view: HeatmapView, pfn: int) -> QPoint:
    """A point of the map inside the cell of ``pfn``."""
    assert view.map.layout_ is not None
    view.map.picture()
    rect = view.map._rect_of(pfn, 0)
    assert rect is not None
    return QPoint(int(rect.left()), int(rect.top()))


def turn(view: HeatmapView, at: QPoint, notches: int) -> None:
    event = QWheelEvent(
        QPointF(at), view.map.mapToGlobal(QPointF(at)), QPoint(), QPoint(0, 120 * notches), Qt.MouseButton.NoButton,
        Qt.KeyboardModifier.NoModifier, Qt.ScrollPhase.NoScrollPhase, False,
    )  # fmt: skip
    QApplication.sendEvent(view.map, event)


@pytest.mark.parametrize("layout", [name for name, _ in LAYOUTS])
@pytest.mark.parametrize("theme_name", ["dark", "light"])
def test_a_pixel_of_a_page_frame_has_its_owners_colour(view: HeatmapView, layout: str, theme_name: str) -> None:
    view.theme.choose(theme_name)
    view.set_layout_name(layout)
    image = grabbed(view)
    owners = view.snapshot.pages.owner
    for pfn in (0, 700, 4097, NR - 1):
        view.map.picture()
        at = place(view, pfn)
        read = view.map.pfn_at(QPointF(at))
        assert read >= 0
        expected = view.theme.color(f"owner.{page.OWNER_NAMES[owners[read]]}")
        assert QColor(image.pixel(at)).name() == expected.name()


def test_one_odd_page_frame_lights_up_in_the_smallest_map(view: HeatmapView, source: SyntheticSource) -> None:
    view.resize(160, 160)
    plain = owned(view.snapshot, page.OWNER_FREE, slice(None))
    view.show_snapshot(plain)
    pinned = view.theme.color("owner.pinned").rgb()

    def lit() -> int:
        image = grabbed(view)
        return sum(image.pixel(x, y) == pinned for x in range(image.width()) for y in range(image.height()))

    assert lit() == 0
    view.show_snapshot(owned(plain, page.OWNER_PINNED, slice(3333, 3334)))
    assert lit() >= 1


def test_a_click_selects_the_page_frame_and_a_selection_elsewhere_is_outlined(
    qtbot: QtBot, view: HeatmapView, selection: Selection
) -> None:
    at = place(view, 5000)
    qtbot.mouseClick(view.map, Qt.MouseButton.LeftButton, pos=at)
    assert selection.now.pfn == view.map.pfn_at(QPointF(at))
    white = view.theme.color("chart.cursor").rgb()
    for pfn in (100, 7000):
        selection.select_page(pfn)
        image = grabbed(view)
        block = view.map._rect_of(pfn, 9)
        assert image.pixel(int(block.right()), int(block.center().y())) == white
        assert image.pixel(int(block.center().x()), int(block.bottom())) == white


def test_pointing_reads_out_and_the_detail_of_the_source_is_preferred(
    qtbot: QtBot, view: HeatmapView, selection: Selection
) -> None:
    at = place(view, 5000)
    qtbot.mouseMove(view.map, at)
    pfn = view.map.pfn_at(QPointF(at))
    owner = page.OWNER_NAMES[view.snapshot.pages.owner[pfn]]
    assert view.read_out.parts[0] == f"pfn {pfn:#x}"
    assert view.read_out.parts[1].startswith(f"block {pfn >> 9} · ")
    assert view.read_out.parts[2] == owner
    detail = PageDetail(pfn, "Normal", pfn >> 9, "Movable", owner, 0, "pinned by 1 object: file 17, index 0x4c0")
    view.show_snapshot(replace(view.snapshot, seq=99, detail=detail))
    assert view.read_out.parts[2] == "pinned by 1 object: file 17, index 0x4c0"


def test_the_wheel_zooms_about_the_pointer(view: HeatmapView) -> None:
    at = place(view, 5000) + QPoint(4, 1)
    before = view.map.pfn_at(QPointF(at))
    for _ in range(4):
        turn(view, at, 1)
    assert view.map.camera.zoom > 5
    view.map.picture()
    near = {view.map.pfn_at(QPointF(at) + QPointF(dx, dy)) for dx in (-3, 0, 3) for dy in (-3, 0, 3)}
    assert before in near
    for _ in range(9):
        turn(view, at, -1)
    assert view.map.camera == view.map.camera.__class__()


def test_dragging_pans_and_does_not_select(qtbot: QtBot, view: HeatmapView, selection: Selection) -> None:
    view.map.zoom(8.0)
    before = view.map.camera
    qtbot.mousePress(view.map, Qt.MouseButton.LeftButton, pos=QPoint(300, 200))
    qtbot.mouseMove(view.map, QPoint(340, 230))
    qtbot.mouseMove(view.map, QPoint(380, 240))
    qtbot.mouseRelease(view.map, Qt.MouseButton.LeftButton, pos=QPoint(380, 240))
    assert view.map.camera.x == pytest.approx(before.x - 80 / view.map.width() / before.zoom)
    assert view.map.camera.y == pytest.approx(before.y - 40 / view.map.height() / before.zoom)
    assert selection.now.pfn == -1


def test_keys_zoom_fit_and_move_the_selection(qtbot: QtBot, view: HeatmapView, selection: Selection) -> None:
    view.map.setFocus()
    qtbot.keyClick(view.map, Qt.Key.Key_Plus)
    assert view.map.camera.zoom > 1
    qtbot.keyClick(view.map, Qt.Key.Key_0)
    assert view.map.camera.zoom == 1
    qtbot.keyClick(view.map, Qt.Key.Key_Right)
    assert selection.now.pfn == 0
    qtbot.keyClick(view.map, Qt.Key.Key_Down)
    assert selection.now.pfn == 1
    qtbot.keyClick(view.map, Qt.Key.Key_Right)
    assert selection.now.pfn == 3
    qtbot.keyClick(view.map, Qt.Key.Key_Right, Qt.KeyboardModifier.ShiftModifier)
    assert selection.now.pfn == 512 + 3
    qtbot.keyClick(view.map, Qt.Key.Key_Return)
    assert view.map.camera.zoom > 2
    assert view.map._rect_of(515, 0).intersects(view.map.rect())


def test_the_selection_walks_through_the_whole_memory_at_the_edge(
    qtbot: QtBot, view: HeatmapView, selection: Selection
) -> None:
    view.set_layout_name("rows")
    width = view.map.layout_.width
    selection.select_page(width - 1)
    qtbot.keyClick(view.map, Qt.Key.Key_Right)
    assert selection.now.pfn == width
    selection.select_page(NR - 1)
    qtbot.keyClick(view.map, Qt.Key.Key_Right)
    assert selection.now.pfn == NR - 1


def test_numbers_stand_in_page_frames_that_are_large_enough(view: HeatmapView, selection: Selection) -> None:
    view.show_snapshot(owned(view.snapshot, page.OWNER_ANON, slice(None)))
    selection.select_page(4242)

    def colours() -> int:
        image = grabbed(view)
        half = image.copy(image.width() // 4, image.height() // 4, image.width() // 4, image.height() // 2)
        pixels = np.frombuffer(bytes(half.convertToFormat(QImage.Format.Format_RGB32).constBits()), np.uint32)
        return len(np.unique(pixels))

    few = colours()
    view.map.show_pfn(4242, 1e9)
    assert view.map.image.scale_x > 100
    assert colours() > few + 10  # text is smoothed: many shades


def test_go_to_by_typing(qtbot: QtBot, view: HeatmapView, selection: Selection) -> None:
    view.map.setFocus()
    qtbot.keyClick(view.map, Qt.Key.Key_G)
    assert view.go_to.isVisible()
    qtbot.keyClicks(view.go_to, "b7")
    qtbot.keyClick(view.go_to, Qt.Key.Key_Return)
    assert selection.now.pfn == 7 * 512
    assert not view.go_to.isVisible()
    qtbot.keyClick(view.map, Qt.Key.Key_G)
    view.go_to.setText("0x99999999")
    qtbot.keyClick(view.go_to, Qt.Key.Key_Return)
    assert "outside of this memory" in view.read_out.accessibleDescription()
    qtbot.keyClick(view.go_to, Qt.Key.Key_Escape)
    assert not view.go_to.isVisible()
    assert selection.now.pfn == 7 * 512


def test_a_box_is_counted(qtbot: QtBot, view: HeatmapView) -> None:
    shift = Qt.KeyboardModifier.ShiftModifier
    view.show_snapshot(owned(view.snapshot, page.OWNER_ANON, slice(None)))
    qtbot.mousePress(view.map, Qt.MouseButton.LeftButton, shift, QPoint(1, 1))
    qtbot.mouseMove(view.map, QPoint(view.map.width() - 1, view.map.height() - 1))
    assert view.map.box is not None
    assert view.read_out.parts[0] == f"box: {NR:,} page frames, 32 MiB"
    assert view.read_out.parts[2] == "anonymous 100 %"
    qtbot.mouseRelease(view.map, Qt.MouseButton.LeftButton, shift, QPoint(690, 300))
    view.map.setFocus()
    qtbot.keyClick(view.map, Qt.Key.Key_Escape)
    assert view.map.box is None
    assert not view.read_out.parts or not view.read_out.parts[0].startswith("box")


def test_the_legend_counts_and_singles_out(qtbot: QtBot, view: HeatmapView) -> None:
    some = owned(view.snapshot, page.OWNER_FREE, slice(None))
    some = owned(some, page.OWNER_ANON, slice(0, NR // 4))
    view._counted_at = 0.0
    view.show_snapshot(replace(some, zones=()))
    assert "anonymous 25 %" in view.legend.accessibleDescription()
    assert "free 75 %" in view.legend.accessibleDescription()
    shares = view.legend.accessibleDescription()
    entry = next(one for one in view.legend._placed if one.entry.label == "anonymous")
    qtbot.mouseClick(view.legend, Qt.MouseButton.LeftButton, pos=entry.rect.center().toPoint())
    assert view.highlight == entry.entry.rank
    assert view.legend.accessibleDescription() == shares  # nothing is left out of what is a hundred per cent
    image = grabbed(view)
    assert image.pixel(place(view, 5)) == view.theme.color("owner.anonymous").rgb()
    assert image.pixel(place(view, NR - 5)) != view.theme.color("owner.free").rgb()
    qtbot.mouseClick(view.legend, Qt.MouseButton.LeftButton, pos=entry.rect.center().toPoint())
    assert view.highlight == -1


def test_the_legend_by_keyboard(qtbot: QtBot, view: HeatmapView) -> None:
    view.legend.setFocus()
    qtbot.keyClick(view.legend, Qt.Key.Key_Right)
    qtbot.keyClick(view.legend, Qt.Key.Key_Space)
    assert view.highlight == view.legend._placed[1].entry.rank
    qtbot.keyClick(view.legend, Qt.Key.Key_Escape)
    assert view.highlight == -1


def request(number: int, pfn: int, now: int) -> RequestAnatomy:
    return RequestAnatomy(number, 9, "GFP_KERNEL", pfn, now - 10, now, "", ())


def test_the_block_of_the_last_request_lights_up_then_stays_framed(qtbot: QtBot, view: HeatmapView) -> None:
    one = view.snapshot
    good = view.theme.color("tone.good").rgb()
    quiet = grabbed(view)
    view.show_snapshot(replace(one, seq=50, request=request(1, 3 * 512, one.time_ns)))
    rect = view.map._rect_of(3 * 512, 9)
    glowing = grabbed(view)
    middle = rect.center().toPoint()
    assert view.map._glow_timer.isActive()
    assert glowing.pixel(middle) != quiet.pixel(middle)
    assert glowing.pixel(int(rect.right()), middle.y()) == good
    qtbot.waitUntil(lambda: not view.map._glow_timer.isActive(), timeout=5000)
    later = grabbed(view)
    assert later.pixel(middle) == quiet.pixel(middle)
    assert later.pixel(int(rect.right()), middle.y()) == good


def test_a_request_that_failed_frames_nothing(view: HeatmapView) -> None:
    one = view.snapshot
    quiet = grabbed(view)
    view.show_snapshot(replace(one, seq=50, request=request(2, -1, one.time_ns)))
    assert view.map.request_block is None
    assert grabbed(view) == quiet or view.map._glow_timer.isActive() is False


@pytest.mark.parametrize("ident", ["migratetype", "free_order", "age", "mobility", "pinned_by"])
def test_another_meaning_of_colour_by_the_menu(view: HeatmapView, ident: str) -> None:
    before = grabbed(view)
    action = next(action for action in view.color_actions.actions() if action.data() == ident)
    action.trigger()
    assert view.mode.id == ident
    assert view.mode.title in view.color_button.text()
    assert grabbed(view) != before
    labels = {one.entry.label for one in view.legend._placed}
    assert labels <= {one.label for one in view.mode.classes}


def test_nothing_is_done_while_hidden_and_all_is_caught_up_with(view: HeatmapView) -> None:
    view.hide()
    version = view.pyramid.version
    view.show_snapshot(owned(view.snapshot, page.OWNER_HUGE, slice(None)))
    assert view.pyramid.version == version
    view.show()
    assert grabbed(view).pixel(place(view, 77)) == view.theme.color("owner.huge page").rgb()


def test_the_overview_appears_when_zoomed_in_and_leads_elsewhere(qtbot: QtBot, view: HeatmapView) -> None:
    assert view.map.minimap.rect(view.map, view.map.camera) is None
    view.map.zoom(10.0)
    rect = view.map.minimap.rect(view.map, view.map.camera)
    assert rect is not None
    qtbot.mouseClick(view.map, Qt.MouseButton.LeftButton, pos=rect.bottomLeft().toPoint() + QPoint(2, -3))
    assert view.map.camera.x < 0.1
    assert view.map.camera.y > 0.9


def test_the_same_view_shows_memories_of_any_size(view: HeatmapView) -> None:
    for nr in (1, 511, 513, 70_000):
        view.show_snapshot(SyntheticSource(nr_frames=max(nr, 4096), nr_slabs=4).snapshot())
        one = view.snapshot
        pages = one.pages
        small = replace(
            pages, owner=pages.owner[:nr], order=pages.order[:nr], flags=pages.flags[:nr], stamp=pages.stamp[:nr]
        )
        view.show_snapshot(replace(one, pages=small, pageblock_mt=one.pageblock_mt[: -(-nr >> 9)]))
        assert view.pyramid.nr == nr
        assert not grabbed(view).isNull()
        assert view.header.subtitle.startswith(f"{nr:,} page frames")


def test_a_memory_of_nothing_is_told(view: HeatmapView) -> None:
    view.show_snapshot(empty_snapshot())
    assert view.map.layout_ is None
    assert not grabbed(view).isNull()


def test_a_huge_memory_is_sorted_slice_by_slice(
    qtbot: QtBot, view: HeatmapView, monkeypatch: pytest.MonkeyPatch
) -> None:
    from memviz.gui.render import pyramid, sorter
    from memviz.gui.views import heatmap

    monkeypatch.setattr(pyramid, "SLICE", 1 << 15)
    monkeypatch.setattr(sorter, "SLICE", 1 << 15)
    monkeypatch.setattr(heatmap, "BUDGET_S", 0.0)
    source = SyntheticSource(nr_frames=5 << 15, nr_slabs=4)
    view.show_snapshot(source.snapshot())
    assert not view.pyramid.complete
    qtbot.waitUntil(lambda: not view._again.isActive(), timeout=5000)
    assert view.pyramid.complete
    assert np.array_equal(view.pyramid.counts, np.bincount(source.owner, minlength=256))


def test_what_the_camera_rests_on_is_told_to_the_source(qtbot: QtBot, view: HeatmapView, selection: Selection) -> None:
    assert view.map.sight() == ()
    view.map.show_pfn(5000, 8.0)
    qtbot.waitUntil(lambda: bool(selection.focus.sight))
    runs = selection.focus.sight
    assert any(first <= 5000 < end for first, end in runs)
    assert sum(end - first for first, end in runs) < NR, "not all of memory"
    seen = {view.map.pfn_at(QPointF(x, y)) for x in (5, 350, 690) for y in (5, 200, 390)}
    assert all(any(first <= pfn < end for first, end in runs) for pfn in seen if pfn >= 0)
    view.map.fit()
    qtbot.waitUntil(lambda: selection.focus.sight == ())


@pytest.mark.parametrize("layout", ["blocks", "rows", "hilbert"])
def test_what_is_in_sight_is_what_the_layout_shows_there(view: HeatmapView, layout: str) -> None:
    view.set_layout_name(layout)
    assert view.map.sight() == (), "all of it"
    for _ in range(3):
        view.map.zoom_in()
        view.map.picture()
        left, top, right, bottom = view.map.image.visible()
        placed = view.map.layout_
        assert placed is not None
        middle = placed.pfn(int((left + right) / 2 * placed.width), int((top + bottom) / 2 * placed.height))
        runs = view.map.sight()
        assert any(first <= middle < end for first, end in runs)
        assert all(end < first for (_, end), (first, _) in itertools.pairwise(runs)), "ascending, with gaps between"
        assert all((end - first) % 1024 == 0 for first, end in runs)


@pytest.fixture
def ended(view: HeatmapView) -> HeatmapView:
    """The map of a memory whose second half nobody manages."""
    one = SyntheticSource(nr_frames=8 * GRAIN).snapshot()
    view.show_snapshot(owned(one, page.OWNER_UNKNOWN, slice(4 * GRAIN, None)))
    return view


def test_a_long_end_that_nobody_manages_is_left_out_and_told(ended: HeatmapView) -> None:
    """Of a guest that can be given more memory it was two thirds of the map. No percentage means another thing."""
    left_out = (
        "131,072 of 262,144 page frames are shown: nobody manages the last 131,072 · zone Normal · 512 pageblocks"
    )
    assert ended.map.layout_ is not None
    assert ended.map.layout_.nr == 4 * GRAIN
    assert ended.header.subtitle == left_out
    shares = ended.legend.accessibleDescription()
    everything = heatmap_text.totals(ended.map.layout_, ended.pyramid, Rect(0, 0, 1 << 20, 1 << 20))
    assert (everything.frames, everything.last) == (4 * GRAIN, 4 * GRAIN - 1)
    ended.end_action.trigger()
    assert ended.map.layout_.nr == 8 * GRAIN
    assert "shown" not in ended.header.subtitle
    assert ended.legend.accessibleDescription() == shares
    ended.end_action.trigger()
    assert ended.map.layout_.nr == 4 * GRAIN


@pytest.mark.parametrize("layout", [name for name, _ in LAYOUTS])
def test_nothing_is_pointed_at_where_the_end_was_left_out(ended: HeatmapView, layout: str) -> None:
    ended.set_layout_name(layout)
    ended.map.picture()
    width, height = ended.map.width(), ended.map.height()
    found = {ended.map.pfn_at(QPointF(x, y)) for x in range(0, width, 7) for y in range(0, height, 5)}
    assert max(found) < 4 * GRAIN
    assert max(found) > 4 * GRAIN - 2048


def test_what_is_selected_in_the_end_is_shown(ended: HeatmapView, selection: Selection) -> None:
    selection.select_page(4 * GRAIN + 77)
    assert ended.map.layout_ is not None
    assert ended.map.layout_.nr == 8 * GRAIN
    assert ended.end_action.isChecked()
    assert ended.map._rect_of(4 * GRAIN + 77, 0) is not None


def test_where_all_is_managed_there_is_nothing_to_leave_out(view: HeatmapView) -> None:
    assert not view.end_action.isEnabled()
    assert view.map.layout_ is not None
    assert view.map.layout_.nr == NR


def test_with_nothing_open_there_is_no_empty_bar_below_the_map(
    qtbot: QtBot, selection: Selection, theme: Theme
) -> None:
    view = HeatmapView(selection, theme)
    qtbot.addWidget(view)
    view.resize(700, 420)
    with qtbot.waitExposed(view):
        view.show()
    image = view.grab().toImage()
    bar = view.read_out.geometry()
    row = bar.center().y()
    colors = {image.pixelColor(x, row).name() for x in range(bar.left(), bar.right())}
    assert colors == {theme.color("ui.panel").name()}
