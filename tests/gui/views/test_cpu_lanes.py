"""The lanes as a person uses them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PySide6.QtCore import QPoint, Qt
from pytestqt.qtbot import QtBot

from memviz.gui.render.lanes import History
from memviz.gui.selection import Selection
from memviz.gui.theme import Theme
from memviz.gui.views.cpu_lanes import CHIP_W, LEAST_NOW, LEFT, CpuLanesView, standing_words
from memviz.kernel.trace import RCU_GP_END
from memviz.snapshot import CPU_RUNS, CPU_SPINS, CPU_STATE_NAMES, EVENT_DTYPE, LANE_DTYPE, Cpu, Snapshot
from tests.gui.synthetic import empty_snapshot, snapshot


def instant(state: str = "running", **changes: object) -> Snapshot:
    """CPU 0 runs for 60 µs, then spins for 40; CPU 1 the other way round."""
    lanes = np.array(
        [
            (0, 60_000, 0, CPU_RUNS),
            (60_000, 100_000, 0, CPU_SPINS),
            (0, 40_000, 1, CPU_SPINS),
            (40_000, 100_000, 1, CPU_RUNS),
        ],
        LANE_DTYPE,
    )
    none = np.zeros(0, EVENT_DTYPE)
    one = snapshot(8192, state=state, time_ns=100_000, lanes=lanes, events=none)
    return replace(one, cpus=one.cpus[:2], **changes)  # type: ignore[arg-type]


def come(view: CpuLanesView, snapshot: Snapshot) -> None:
    """A snapshot comes, and it is shown."""
    view.history.add(snapshot)
    view.show_snapshot(snapshot)


@pytest.fixture
def view(qtbot: QtBot, selection: Selection, theme: Theme) -> CpuLanesView:
    view = CpuLanesView(selection, theme, History())
    qtbot.addWidget(view)
    view.resize(650, 120)
    with qtbot.waitExposed(view):
        view.show()
    come(view, instant())
    view.span = 100_000
    view.update()
    return view


def at(view: CpuLanesView, cpu: int, time_ns: int) -> QPoint:
    window = view._window()
    return QPoint(int(LEFT + int(window.x(time_ns))), int(cpu * view._pitch() + 4))


def test_lanes_have_the_colour_of_the_state(view: CpuLanesView) -> None:
    image = view.grab().toImage()
    for cpu, time_ns, state in (
        (0, 50_000, CPU_RUNS),
        (0, 95_000, CPU_SPINS),
        (1, 35_000, CPU_SPINS),
        (1, 90_000, CPU_RUNS),
    ):
        expected = view.theme.color(f"cpu.{CPU_STATE_NAMES[state]}").rgb()
        assert image.pixel(at(view, cpu, time_ns) - QPoint(0, 3)) == expected


def test_pointing_reads_out(qtbot: QtBot, view: CpuLanesView) -> None:
    qtbot.mouseMove(view, at(view, 0, 80_000))
    assert view._hover_words() == "CPU 0 · spins · 40 µs from 0.000 060 s"


def test_a_click_selects_cpu_and_moment(qtbot: QtBot, view: CpuLanesView, selection: Selection) -> None:
    qtbot.mouseClick(view, Qt.MouseButton.LeftButton, pos=at(view, 1, 70_000))
    assert selection.now.cpu == 1
    assert abs(selection.now.time_ns - 70_000) < 400
    white = view.theme.color("chart.cursor")
    image = view.grab().toImage()
    x = at(view, 0, selection.now.time_ns).x()
    assert any(image.pixel(x + dx, 30) == white.rgb() for dx in (-1, 0, 1))


def test_the_end_of_a_grace_period_is_a_line_across_all_cpus(view: CpuLanesView) -> None:
    events = np.zeros(1, EVENT_DTYPE)
    events["kind"], events["time"], events["a"] = RCU_GP_END, 30_000, 117
    plain = view.grab().toImage()
    one = instant()
    come(view, replace(one, seq=one.seq + 1, events=events))
    marked = view.grab().toImage()
    x = at(view, 0, 30_000).x()
    changed = [y for y in range(int(2 * view._pitch())) if marked.pixel(x, y) != plain.pixel(x, y)]
    assert len(changed) > view._pitch()


def test_keys_zoom_pan_and_choose_a_cpu(qtbot: QtBot, view: CpuLanesView, selection: Selection) -> None:
    view.setFocus()
    qtbot.keyClick(view, Qt.Key.Key_Plus)
    assert view.span is not None
    assert view.span < 100_000
    qtbot.keyClick(view, Qt.Key.Key_Left)
    assert view._window().end < 100_000
    qtbot.keyClick(view, Qt.Key.Key_0)
    assert (view.span, view.back) == (None, 0)
    for expected in (0, 1, 1):
        qtbot.keyClick(view, Qt.Key.Key_Down)
        assert selection.now.cpu == expected


def test_standing_tells_what_each_cpu_stands_before(view: CpuLanesView) -> None:
    running = view._lanes_width()
    one = instant("paused")
    come(view, replace(one, seq=one.seq + 1))
    assert view._lanes_width() < running
    cpu = Cpu(1, 2, "defrag", "xa_migrate: before the slot is published", ("xa_lock", "slab lock"), True, 1, "")
    assert standing_words(cpu) == (
        "xa_migrate: before the slot is published · holds xa_lock, slab lock · irqs off · in RCU · defrag"
    )


def test_what_cpus_stand_before_takes_the_room_that_its_words_need(view: CpuLanesView) -> None:
    view.resize(1200, 160)
    one = instant("paused")
    idle = tuple(Cpu(number, 0, "", "idle", (), False, 0, "") for number in range(4))
    come(view, replace(one, seq=one.seq + 1, cpus=idle))
    short = view._lanes_width()
    assert short == 1200 - LEFT - LEAST_NOW
    busy = (idle[0]._replace(label="xa_migrate: before the slot is published", locks=("xa_lock",)), *idle[1:])
    come(view, replace(one, seq=one.seq + 2, cpus=busy))
    long = view._lanes_width()
    assert (1200 - LEFT) / 2 <= long < short
    come(view, replace(one, seq=one.seq + 3, cpus=idle))
    assert view._lanes_width() == long, "lanes that change their scale at every step can't be followed"


def test_underscores_are_seen_in_a_low_lane(view: CpuLanesView) -> None:
    """xa_lock is not xa lock."""
    view.setMinimumHeight(0)
    view.resize(1200, 40)
    one = instant("paused")
    cpus = tuple(Cpu(number, 0, "", "____" if number == 1 else "", (), False, 0, "") for number in range(2))
    come(view, replace(one, seq=one.seq + 1, cpus=cpus))
    image = view.grab().toImage()
    left = round(LEFT + view._lanes_width() + 10 + CHIP_W + 8)
    back = image.pixel(left + 60, 20)
    assert any(image.pixel(x, y) != back for x in range(left, left + 20) for y in range(14, 32))


def test_without_lanes_the_state_of_now_is_shown(view: CpuLanesView, theme: Theme) -> None:
    view.history.clear()
    one = instant()
    come(view, replace(one, seq=one.seq + 1, lanes=np.zeros(0, LANE_DTYPE)))
    image = view.grab().toImage()
    assert image.pixel(int(LEFT) + 85, int(view._pitch() / 2)) == theme.color("cpu.runs").rgb()


def test_nothing_known(view: CpuLanesView) -> None:
    come(view, empty_snapshot())
    assert not view.grab().isNull()
    assert view.header.subtitle == ""
