"""What all panels share."""

from __future__ import annotations

from itertools import pairwise

import pytest
from PySide6.QtCore import QEvent, QPoint, QRectF, Qt
from PySide6.QtGui import QFontMetricsF, QHelpEvent, QImage, QPainter
from PySide6.QtWidgets import QApplication, QMenu, QToolTip
from pytestqt.qtbot import QtBot

from memviz.gui.main_window import MainWindow, Scenario
from memviz.gui.panel import draw_empty, wrap
from memviz.gui.panel_header import PanelHeader
from memviz.gui.settings import Settings
from memviz.gui.theme import Theme
from tests.gui.clients import PlayedClient


def test_the_header_cuts_the_subtitle_and_not_the_buttons(qtbot: QtBot, theme: Theme) -> None:
    header = PanelHeader("Physical memory", theme)
    qtbot.addWidget(header)
    button = header.add_button("Fit", "Show everything")
    header.subtitle = "262,144 frames · zone Normal · 512 pageblocks"
    for width in (1000, 300, 120):
        header.resize(width, header.height())
        header.grab()
        assert button.geometry().right() <= width
    assert header.accessibleName() == "Physical memory"
    assert header.accessibleDescription() == header.subtitle


def test_a_subtitle_that_changes_costs_no_layout(qtbot: QtBot, theme: Theme) -> None:
    header = PanelHeader("Events", theme)
    qtbot.addWidget(header)
    header.show()
    before = header.sizeHint()
    header.subtitle = "x" * 500
    assert header.sizeHint() == before


def test_a_new_theme_gives_icons_their_colour(qtbot: QtBot, theme: Theme) -> None:
    header = PanelHeader("Events", theme)
    qtbot.addWidget(header)
    button = header.add_button("", "Close", "x")
    assert button.toolButtonStyle() == Qt.ToolButtonStyle.ToolButtonIconOnly
    assert button.accessibleName() == "Close"
    assert not button.icon().isNull()


@pytest.mark.parametrize("lines", [1, 2, 3])
def test_wrapped_text_is_cut_in_its_last_line(qtbot: QtBot, theme: Theme, lines: int) -> None:
    text = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen"
    found = wrap(text, theme.font(), 130, lines)
    assert len(found) == lines
    assert found[-1].endswith("…")
    assert text.startswith(" ".join(found)[:-1].rstrip())


def test_text_that_fits_is_left_as_it_is(qtbot: QtBot, theme: Theme) -> None:
    assert wrap("It fits.", theme.font(), 500, 3) == ["It fits."]
    assert wrap("", theme.font(), 500, 3) == [""]


def test_every_panel_says_why_it_is_empty(qtbot: QtBot, theme: Theme) -> None:
    """Nothing open, starting, failed: the same words in all panels, and what will be there, or what to do."""
    client = PlayedClient([])
    window = MainWindow([Scenario("none", "Nothing", lambda: client)], theme, Settings())
    qtbot.addWidget(window)
    window.show()
    for view in window.views:
        headline, what = view.empty_words()
        assert headline == "Nothing is open"
        assert what.endswith(".")
        assert what in view.header.what  # charts tell of the chart that is chosen
    assert not window.actions_by_name["compact"].isEnabled()
    window.open_scenario("none")
    assert {view.empty_words()[0] for view in window.views} == {"Starting …"}
    assert all(view.empty_words()[1] in view.header.what for view in window.views)
    assert "it is just starting" in window.actions_by_name["compact"].toolTip()
    client.die("The source was killed.")
    window.session.pull()
    assert {view.empty_words()[1] for view in window.views} == {"The line at the top says why"}


def test_the_title_of_a_panel_tells_what_it_shows(qtbot: QtBot, window: MainWindow) -> None:
    for view in window.views:
        assert view.what.endswith("."), view.ident
        assert view.header.what.endswith(view.what)
    header = window.heatmap.header
    at = QPoint(20, 12)
    QApplication.sendEvent(header, QHelpEvent(QEvent.Type.ToolTip, at, header.mapToGlobal(at)))
    assert "8,192 page frames" in QToolTip.text()
    assert "Every cell is a page frame of 4 KiB" in QToolTip.text()
    QToolTip.hideText()


@pytest.mark.parametrize(("height", "lines"), [(90, 3), (40, 1)])
def test_an_empty_panel_that_is_low_leaves_the_hint_out(theme: Theme, height: int, lines: int) -> None:
    """Half a sentence is worse than none."""
    image = QImage(220, height, QImage.Format.Format_RGB32)
    image.fill(theme.color("ui.panel"))
    painter = QPainter(image)
    draw_empty(
        painter, QRectF(image.rect()), theme, "Nothing is open", "A hint that is so long that it takes two lines"
    )
    painter.end()
    back = theme.color("ui.panel").rgb()
    inked = [any(image.pixel(x, y) != back for x in range(image.width())) for y in range(height)]
    assert sum(now and not before for before, now in pairwise([False, *inked])) == lines


def test_a_narrow_header_puts_buttons_into_a_menu_before_it_cuts_the_title(qtbot: QtBot, theme: Theme) -> None:
    header = PanelHeader("Slab occupancy", theme)
    qtbot.addWidget(header)
    only = header.add_button("In block", "Only slabs in the pageblock that is selected")
    only.setCheckable(True)
    order = header.add_button("Sparsest ▾", "Order of slabs")
    order.setMenu(QMenu(order))
    order.menu().aboutToShow.connect(lambda: order.menu().addAction("Fullest"))
    cache = header.add_button("xa_node ▾", "Slab cache")
    close = header.add_button("", "Close Slab occupancy", "x")
    least = header.minimumSizeHint()
    header.resize(600, header.height())
    with qtbot.waitExposed(header):
        header.show()
    assert all(one.isVisible() for one in (only, order, cache, close))
    assert not header._rest.isVisible()
    title = QFontMetricsF(theme.font("title")).horizontalAdvance("Slab occupancy")
    header.resize(260, header.height())
    assert header._words_rect().width() >= title
    assert header._rest.isVisible()
    assert close.isVisible(), "what has no words takes little room"
    assert not only.isVisible()
    assert header.minimumSizeHint() == least
    header._rest.menu().aboutToShow.emit()
    entries = header._rest.menu().actions()
    assert [one.text() for one in entries][:2] == ["In block", "Order of slabs: Sparsest"]
    entries[0].trigger()
    assert only.isChecked()
    entries[1].menu().aboutToShow.emit()
    assert [one.text() for one in entries[1].menu().actions()] == ["Fullest"]
    header.resize(600, header.height())
    assert all(one.isVisible() for one in (only, order, cache, close))
    assert not header._rest.isVisible()
