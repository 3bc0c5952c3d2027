"""The experiment page: what a person reads on it, presses on it, and what a run opened from it is."""

from __future__ import annotations

import csv
import threading
from pathlib import Path

import pytest
from PySide6.QtCore import QPointF, Qt, QTimer
from PySide6.QtWidgets import QApplication, QToolButton
from pytestqt.qtbot import QtBot

from memviz.experiment import figures, over_time
from memviz.experiment.figures import COLOURS, colour
from memviz.experiment.publish import brought_along, publish, results_path
from memviz.experiment.run_source import ARRIVED
from memviz.experiment.table import Results, read_results
from memviz.gui.dialogs import Palette
from memviz.gui.experiment_page import ExperimentPage
from memviz.gui.main_window import MainWindow
from memviz.gui.theme import Theme
from memviz.gui.views.experiment_table import words
from tests.experiment.conftest import results, small_cells, spec, spec_file  # noqa: F401 (fixtures)


@pytest.fixture
def page(qtbot: QtBot, theme: Theme, results: Results) -> ExperimentPage:  # noqa: F811
    """The page with an experiment of two policies and two seeds on it."""
    found = ExperimentPage(theme)
    qtbot.addWidget(found)
    found.resize(1100, 720)
    found.show()
    found.show_results(results)
    come(qtbot, found)
    return found


def come(qtbot: QtBot, page: ExperimentPage) -> None:
    """What is on its way to the page is there."""
    qtbot.waitUntil(lambda: not page.loading.running, timeout=10_000)
    QApplication.processEvents()


def opened(qtbot: QtBot, page: ExperimentPage) -> None:
    """The page shows what memviz brings along."""
    path = brought_along()
    assert path is not None
    page.open_file(path)
    come(qtbot, page)


def cell(page: ExperimentPage, row: int, column: int) -> str:
    return str(page.sorted.index(row, column).data())


def column_of(page: ExperimentPage, title: str) -> int:
    titles = [str(page.sorted.headerData(at, Qt.Orientation.Horizontal)) for at in range(page.sorted.columnCount())]
    return titles.index(title)


# -- what it says ------------------------------------------------------------------------------------------------------


def test_it_says_what_was_asked_and_what_policies_get_and_pay(page: ExperimentPage) -> None:
    assert page.title.text() == "Small"
    assert page.told.text.startswith("Does it count?   small-scenario, 32 MiB · 8 runs: 2 policies × 2 seeds · digest ")
    assert page.told.text.endswith("as the simulation is now")
    assert [cell(page, row, 0) for row in (0, 1)] == ["plain", "moves"]
    burst = column_of(page, "burst, order 9, %")
    assert [cell(page, row, burst) for row in (0, 1)] == ["15 ± 64", "65 ± 191"]
    assert cell(page, 1, column_of(page, "objects moved")) == "201 ± 1,271"
    assert "9 ± 0" not in cell(page, 1, burst)


def test_prices_are_sorted_by_their_number(qtbot: QtBot, page: ExperimentPage) -> None:
    moved = column_of(page, "objects moved")
    page.table.sortByColumn(moved, Qt.SortOrder.DescendingOrder)
    assert [cell(page, row, 0) for row in (0, 1)] == ["moves", "plain"]
    page.table.sortByColumn(moved, Qt.SortOrder.AscendingOrder)
    assert [cell(page, row, 0) for row in (0, 1)] == ["plain", "moves"]
    opened(qtbot, page)

    def means(column: int) -> list[str]:
        rows = range(page.sorted.rowCount())
        return [cell(page, row, column).split(" ± ")[0].replace(",", "") for row in rows]

    # Numbers of different lengths, which words would sort otherwise.
    mixed = next(at for at in range(1, page.sorted.columnCount()) if len({len(mean) for mean in means(at)}) > 2)
    page.table.sortByColumn(mixed, Qt.SortOrder.DescendingOrder)
    assert [float(mean) for mean in means(mixed)] == sorted(map(float, means(mixed)), reverse=True)


def test_lines_are_the_reports_figures(page: ExperimentPage, results: Results) -> None:  # noqa: F811
    group = figures.groups(results)[0]
    for line in page.success.lines:
        assert line.places == (3, 8, 9)
        assert line.values[2] == figures.estimated(results, group, line.name, figures.success("burst", 9))
    page.phase.setCurrentIndex(page.phase.findData("steady"))
    assert page.success.lines[0].places == (3, 9)
    assert [round(dot.value) for dot in page.runs.dots] == [10, 20, 50, 80]


def test_with_another_order_the_table_is_of_that_order(
    page: ExperimentPage,
    results: Results,  # noqa: F811
) -> None:
    group = figures.groups(results)[0]
    for order in (9, 3, 9):
        page.order.setCurrentIndex(page.order.findData(order))
        success = figures.estimated(results, group, "moves", figures.success("burst", order))
        latency = figures.estimated(results, group, "moves", figures.latency_us("burst", order))
        assert cell(page, 1, column_of(page, f"burst, order {order}, %")) == words(success, ".0f")
        assert cell(page, 1, column_of(page, f"burst, order {order}, µs")) == words(latency, ",.0f")


def test_the_row_that_is_selected_keeps_its_policys_colour(page: ExperimentPage) -> None:
    page.table.selectRow(1)
    image = page.table.viewport().grab().toImage()
    seen = {image.pixelColor(x, y).name() for x in range(30) for y in range(image.height())}
    assert {colour(0), colour(1)} <= seen


def test_a_figure_of_every_run_can_be_chosen(page: ExperimentPage) -> None:
    page.figure.setCurrentIndex(page.figure.findText("objects moved"))
    assert [(dot.policy, dot.seed, dot.value) for dot in page.runs.dots] == [
        (0, 1, 1),
        (0, 2, 1),
        (1, 1, 101),
        (1, 2, 301),
    ]
    assert page.runs.bottom.labelText == "objects moved"


def test_over_time_where_that_was_kept(qtbot: QtBot, page: ExperimentPage) -> None:
    assert page.phase.findData("time") == -1  # these results have no answers one by one
    opened(qtbot, page)
    if not over_time.steady(page.part, page._groups()[0], page.part.spec.baseline, 9):  # type: ignore[arg-type,union-attr]
        pytest.skip("the published results are of before answers were kept one by one")
    page.phase.setCurrentIndex(page.phase.findData("time"))
    assert page.success.lines[0].places[-1] == 4000
    assert page.success.bottom.labelText == "operations since the policy was switched on"


def test_what_memviz_brings_along_is_shown_in_both_themes(qtbot: QtBot, page: ExperimentPage, theme: Theme) -> None:
    opened(qtbot, page)
    names = [cell(page, row, 0) for row in range(page.sorted.rowCount())]
    assert names[:3] == ["nothing", "compaction", "defrag_mode"]
    assert len(set(COLOURS)) == len(COLOURS) >= len(names)
    for choice in ("light", "dark"):
        theme.choose(choice)
        QApplication.processEvents()
        image = page.success.grab().toImage()
        seen = {image.pixelColor(x, y).name() for x in range(image.width()) for y in range(image.height())}
        assert theme.color("ui.panel").name() in seen
        assert colour(page.policy) in seen, "the line that is chosen has its full colour"


@pytest.mark.parametrize("file", ["none.json.xz", "damaged.json.xz"])
def test_without_results_it_says_what_to_do(qtbot: QtBot, page: ExperimentPage, tmp_path: Path, file: str) -> None:
    (tmp_path / "damaged.json.xz").write_bytes(b"no results")
    page.open_file(tmp_path / file)
    come(qtbot, page)
    assert page.hint.isVisible()
    assert "memviz experiment reliable-high-order" in page.hint.text()
    assert file in page.hint.text()
    assert not page.body.isVisible()
    assert not page.picture.isEnabled()


# -- on its way --------------------------------------------------------------------------------------------------------


def test_it_comes_in_pieces_and_is_whole_at_the_end(qtbot: QtBot, window: MainWindow) -> None:
    """The window lives while the results come: nothing of them is there when the page is, all is a little later."""
    page = window.experiments.show()
    assert page.isVisible()
    assert page.hint.text() == "Reading reliable-high-order.json.xz …"
    assert page.hint.isVisible()
    assert not page.body.isVisible()
    assert not page.table_button.isEnabled()
    qtbot.keyClick(page, Qt.Key.Key_Return)  # there is no run to open yet
    turns: list[str] = []
    turn = QTimer(page)
    turn.timeout.connect(lambda: turns.append(page.hint.text()))
    turn.start(0)
    come(qtbot, page)
    turn.stop()
    assert len(turns) >= 6, "the window has had turns between the pieces"
    assert not page.hint.isVisible()
    path = brought_along()
    assert path is not None
    part = read_results(path)
    policies, seeds = len(part.spec.policy), len(part.spec.seeds)
    assert [line.name for line in page.success.lines] == [one.name for one in part.spec.policy]
    assert {line.places for line in page.success.lines} == {tuple(sorted(part.spec.protocol.burst))}
    assert len(page.runs.dots) == policies * seeds
    assert page.success.isVisible()
    assert page.runs.isVisible()
    assert page.sorted.rowCount() == policies
    assert all(cell(page, row, column) for row in range(policies) for column in range(page.sorted.columnCount()))
    assert page.table_button.isEnabled()
    assert page.focusWidget() is page.table


def test_left_on_its_way_it_stops_and_comes_when_it_is_entered_again(qtbot: QtBot, window: MainWindow) -> None:
    page = window.experiments.show()
    qtbot.keyClick(page.open_button, Qt.Key.Key_Escape)
    assert not page.isVisible()
    assert not page.loading.running
    for _ in range(20):
        QApplication.processEvents()
    assert page.results is None
    assert page.sorted.rowCount() == 0
    window.experiments.show()
    come(qtbot, page)
    assert page.body.isVisible()
    assert page.sorted.rowCount() == len(page.success.lines) > 0


def test_nothing_goes_on_behind_a_window_that_is_closed_meanwhile(window: MainWindow) -> None:
    """Threads and timers that were left would fail it, as they would any test."""
    before = threading.active_count()
    page = window.experiments.show()
    window.close()
    assert threading.active_count() == before
    assert not page.loading.running
    assert page.results is None


def test_another_file_takes_the_place_of_one_on_its_way(qtbot: QtBot, page: ExperimentPage, tmp_path: Path) -> None:
    path = brought_along()
    assert path is not None
    page.open_file(path)
    page.open_file(tmp_path / "none.json.xz")
    come(qtbot, page)
    assert page.results is None
    assert "none.json.xz" in page.hint.text()
    page.open_file(tmp_path / "none.json.xz")
    opened(qtbot, page)
    assert page.results is not None
    assert page.body.isVisible()


# -- choosing a run ----------------------------------------------------------------------------------------------------


def test_a_dot_that_is_clicked_is_the_run(qtbot: QtBot, page: ExperimentPage) -> None:
    dot = next(one for one in page.runs.dots if (one.policy, one.seed) == (0, 2))
    at = page.runs.area.mapViewToScene(QPointF(dot.value, 0.25))
    qtbot.mouseClick(page.runs.viewport(), Qt.MouseButton.LeftButton, pos=page.runs.mapFromScene(at))
    assert (page.policy, page.seed) == (0, 2)
    assert page.run_words.text.startswith(
        "2 of 10 requests of order 9 succeeded, from operation 640 on; 1 objects moved"
    )
    assert page.policies.currentText() == "plain"
    assert page.seeds.currentText() == "seed 2"
    assert page.table.currentIndex().row() == 0


def test_a_click_on_a_dot_tells_the_table_to_paint_both_rows(qtbot: QtBot, page: ExperimentPage) -> None:
    page.choose_run(1, 1)
    dot = next(one for one in page.runs.dots if (one.policy, one.seed) == (0, 2))
    at = page.runs.area.mapViewToScene(QPointF(dot.value, 0.25))
    with qtbot.waitSignal(page.table.selectionModel().selectionChanged, timeout=0) as told:
        qtbot.mouseClick(page.runs.viewport(), Qt.MouseButton.LeftButton, pos=page.runs.mapFromScene(at))
    chosen, left = told.args
    assert {one.row() for one in chosen.indexes()} == {page.table.currentIndex().row()}
    assert len({one.row() for one in left.indexes()}) == 1, "the row of before looked chosen until the pointer came"
    assert (page.policy, page.seed) == (0, 2)


def test_rows_and_choosers_choose_as_well(qtbot: QtBot, page: ExperimentPage) -> None:
    page.table.setFocus()
    page.table.selectRow(0)
    assert page.policy == 0
    qtbot.keyClick(page.table, Qt.Key.Key_Down)
    assert page.policy == 1
    assert page.success.chosen == 1
    qtbot.keyClick(page.seeds, Qt.Key.Key_Down)
    assert page.seed == 2
    assert page.run().outcome.burst[2].got == 8


def test_tab_stays_on_the_page(qtbot: QtBot, page: ExperimentPage) -> None:
    page.open_button.setFocus()
    seen = []
    for _ in range(13):
        seen.append(page.focusWidget().objectName())
        qtbot.keyClick(page.focusWidget(), Qt.Key.Key_Tab)
    assert seen[0] == seen[-1] == "experiment_open"
    assert "experiment_table" in seen
    assert seen[-2] == "experiment_open_run"
    qtbot.keyClick(page.focusWidget(), Qt.Key.Key_Backtab, Qt.KeyboardModifier.ShiftModifier)
    assert page.focusWidget() is page.open_button


# -- in the window -----------------------------------------------------------------------------------------------------


def press(window: MainWindow, name: str) -> None:
    """The button of that name, as a person would: it must be there to be seen."""
    button = window.findChild(QToolButton, name)
    assert button is not None
    assert button.isVisible()
    button.click()


def test_menu_palette_and_start_page_lead_to_it(qtbot: QtBot, window: MainWindow) -> None:
    window.actions_by_name["experiment"].trigger()
    page = window.experiments.page
    assert page is not None
    assert page.isVisible()
    assert page.geometry() == window.rect()
    come(qtbot, page)
    assert page.title.text() == "Do movable objects make higher-order allocations reliable?"
    qtbot.keyClick(page.table, Qt.Key.Key_Escape)
    assert not page.isVisible()
    window.show_gallery()
    press(window, "card_button_action_experiment")
    assert page.isVisible()
    press(window, "experiment_back")
    assert not page.isVisible()
    palette = Palette(window)
    qtbot.addWidget(palette)
    assert any("Experiment" in entry for entry in palette_entries(palette))


def palette_entries(palette: Palette) -> list[str]:
    items = (palette.list.topLevelItem(row) for row in range(palette.list.topLevelItemCount()))
    return [item.text(0) for item in items if item is not None]


def test_it_is_taken_out_as_picture_drawing_and_table(
    qtbot: QtBot,
    window: MainWindow,
    results: Results,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    publish(results, tmp_path, draw=False)
    monkeypatch.setattr(window.experiments, "ask_file", lambda: str(results_path("small", tmp_path)))
    window.actions_by_name["open_experiment"].trigger()
    page = window.experiments.page
    assert page is not None
    come(qtbot, page)
    assert page.title.text() == "Small"
    for name, button in (("a.png", "experiment_picture"), ("a.svg", "experiment_picture"), ("a.csv", "experiment_csv")):
        monkeypatch.setattr(window, "ask_file", lambda *_, to=name: str(tmp_path / to))
        press(window, button)
        qtbot.waitUntil(lambda: not window.jobs.jobs, timeout=5000)
    assert (tmp_path / "a.png").read_bytes()[:4] == b"\x89PNG"
    drawing = (tmp_path / "a.svg").read_text()
    assert "Open this run" in drawing
    assert "moves" in drawing
    with (tmp_path / "a.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    with (tmp_path / "small.csv").open(newline="") as file:
        assert table == list(csv.DictReader(file))


def test_a_run_is_brought_to_its_moment_with_progress(
    qtbot: QtBot,
    window: MainWindow,
    results: Results,  # noqa: F811
) -> None:
    """A real host: the machine of the scenario, aged again, the policy in force."""
    page = window.experiments.show()
    page.show_results(results)
    come(qtbot, page)
    page.choose_run(1, 2)
    page.order.setCurrentIndex(page.order.findData(8))
    seen: list[tuple[int, int]] = []
    window.session.changed.connect(lambda: seen.append((window.catch_up.bar.value(), window.catch_up.bar.maximum())))
    press(window, "experiment_open_run")
    assert not page.isVisible()
    assert window.scenario == "experiment: moves, seed 2: " + results.runs[0].scenario

    def arrived() -> bool:
        snapshot = window.session.snapshot
        return snapshot is not None and snapshot.notice.startswith(ARRIVED)

    qtbot.waitUntil(arrived, timeout=30_000)
    snapshot = window.session.snapshot
    assert snapshot is not None
    assert (snapshot.state, snapshot.ops) == ("paused", 320)
    assert dict(snapshot.policies)["xa_nodes"] == "movable"
    assert not window.catch_up.isVisible()
    assert window.settings.order == 8, "what the request button asks for is what was looked at"
    window.session.close()


def test_a_run_on_its_way_can_be_called_off(
    qtbot: QtBot,
    theme: Theme,
    window: MainWindow,
    results: Results,  # noqa: F811
) -> None:
    path = brought_along()
    assert path is not None
    page = window.experiments.show()
    come(qtbot, page)
    press(window, "experiment_open_run")
    qtbot.waitUntil(window.catch_up.isVisible, timeout=30_000)
    assert window.catch_up.words.text.endswith("on the way to the moment of its demands …")
    assert 0 < window.catch_up.bar.value() < window.catch_up.bar.maximum()
    press(window, "catch_up_cancel")
    assert page.isVisible()
    assert not window.catch_up.isVisible()
    qtbot.waitUntil(lambda: window.session.snapshot is not None and window.session.snapshot.state == "paused")
    assert window.session.snapshot is not None
    assert window.session.snapshot.ops < 44_000
    window.session.close()
