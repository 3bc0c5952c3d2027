"""The program: opens a real source, takes a picture, goes away without leaving a process behind."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from PySide6.QtCore import QSize
from PySide6.QtGui import QImage
from pytestqt.qtbot import QtBot

from memviz.gui.app import DEFAULT_SCENARIO, FRAME, WindowOptions, keep_to_screen, list_scenarios, run_window
from memviz.gui.main_window import MainWindow
from memviz.gui.settings import Settings
from memviz.gui.theme import Theme
from memviz.scenario import names


def children(of: int) -> list[int]:
    """Process ids of the hosts that process ``of`` started."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = (entry / "stat").read_text().rpartition(")")[2].split()[1]
                line = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if int(parent) == of and b"memviz.sources.host" in line:
                found.append(int(entry.name))
    return found


def until(seconds: float, what: Callable[[], bool]) -> bool:
    """Wait for ``what``."""
    end = time.monotonic() + seconds
    while not what() and time.monotonic() < end:
        time.sleep(0.02)
    return what()


def colours(path: Path) -> int:
    """How many colours a picture has."""
    image = QImage(str(path))
    return len({image.pixel(x, y) for x in range(0, image.width(), 5) for y in range(0, image.height(), 5)})


def test_an_unknown_scenario_is_one_line_and_exit_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_window(WindowOptions(scenario="aged-fileserver")) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "did you mean 'aged-file-server'?" in said


def test_without_a_scenario_the_start_page_comes_first(qtbot: QtBot) -> None:
    entries, first = list_scenarios(WindowOptions())
    assert first == ""
    assert [one.name for one in entries] == [*names(), "this-machine"]
    aged = next(one for one in entries if one.name == "aged-file-server")
    assert aged.entry is not None
    assert aged.entry.question.startswith("Why does an order-9 request fail")
    assert aged.entry.moments == 3
    assert aged.guided is not None
    assert list_scenarios(WindowOptions(screenshot="x.png"))[1] == "aged-file-server"


def test_a_picture_of_a_real_run(qtbot: QtBot, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "window.png"
    options = WindowOptions(
        scenario=DEFAULT_SCENARIO,
        seed=1,
        memory_mib=64,
        screenshot=str(target),
        after=1.8,
        theme="light",
        size=(1300, 760),
    )
    assert run_window(options) == 0
    assert (QImage(str(target)).width(), QImage(str(target)).height()) == (1300, 760)
    assert colours(target) > 50
    assert children(os.getpid()) == []
    assert capsys.readouterr().err == ""
    assert Settings().scenario == ""


@pytest.mark.parametrize(("name", "begin"), [("w.jpg", b"\xff\xd8\xff"), ("w.svg", b"<?xml"), ("w", b"\x89PNG")])
def test_a_picture_is_what_its_name_says(qtbot: QtBot, tmp_path: Path, name: str, begin: bytes) -> None:
    options = WindowOptions(
        scenario=DEFAULT_SCENARIO, memory_mib=64, screenshot=str(tmp_path / name), after=0.1, size=(1300, 760)
    )
    assert run_window(options) == 0
    assert (tmp_path / name).read_bytes().startswith(begin)


SCRIPT = """\
title = "Scripted"
summary = "s"
question = "q"
lesson = "l"
ops = 400

[machine]
memory_mib = 32
cpus = 2
seed = 3

[[workload]]
kind = "file-server"
params = { files = 60, pages = 60 }

[[moment]]
at = 400
do = "request"
order = 3
"""


def test_a_picture_of_a_script_is_taken_behind_its_end(qtbot: QtBot, tmp_path: Path) -> None:
    scenario = tmp_path / "scripted.toml"
    scenario.write_text(SCRIPT)
    early, late = tmp_path / "early.png", tmp_path / "late.png"
    size = (1300, 760)
    unscripted = WindowOptions(scenario=str(scenario), screenshot=str(early), after=0.0, size=size)
    assert run_window(unscripted) == 0
    scripted = WindowOptions(scenario=str(scenario), screenshot=str(late), after=0.0, scripted=True, size=size)
    assert run_window(scripted) == 0
    assert colours(late) > colours(early), "a map has more colours than an empty window"


def test_a_picture_that_cannot_be_written_is_one_line(
    qtbot: QtBot, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "no" / "window.png"
    code = run_window(WindowOptions(scenario=DEFAULT_SCENARIO, memory_mib=64, screenshot=str(target), after=0.1))
    assert code == 1
    assert "can't be written" in capsys.readouterr().err
    assert children(os.getpid()) == []


def test_a_machine_that_cannot_be_built_is_told_in_the_window(
    qtbot: QtBot, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "window.png"
    code = run_window(WindowOptions(scenario=DEFAULT_SCENARIO, memory_mib=1, screenshot=str(target), after=5))
    assert code == 1
    assert "1 MiB" in capsys.readouterr().err
    assert colours(target) > 5


def window_process(tmp_path: Path, *before: str) -> subprocess.Popen[bytes]:
    """A window in a process of its own, for a long time."""
    program = (
        "from memviz.gui.app import *; import sys; sys.exit(run_window("
        f"WindowOptions(scenario={DEFAULT_SCENARIO!r}, memory_mib=64, screenshot={str(tmp_path / 'w.png')!r}, "
        "after=%s)))"
    )
    after = "1.8" if before else "60"
    return subprocess.Popen([*before, sys.executable, "-c", program % after], stderr=subprocess.PIPE)


def test_killing_the_window_leaves_no_host_behind(tmp_path: Path) -> None:
    process = window_process(tmp_path)
    with process:
        assert until(20, lambda: len(children(process.pid)) == 1)
        (host,) = children(process.pid)
        process.kill()
        process.wait(10)
        assert until(5, lambda: not Path(f"/proc/{host}").exists() or "Z" in Path(f"/proc/{host}/stat").read_text())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda one: one.name)
def test_a_signal_closes_the_window_and_its_host(number: signal.Signals, tmp_path: Path) -> None:
    """Ctrl-C, the end of a login, a terminal that goes."""
    process = window_process(tmp_path)
    with process:
        assert until(20, lambda: len(children(process.pid)) == 1)
        (host,) = children(process.pid)
        process.send_signal(number)
        assert process.wait(10) == 0
        assert until(5, lambda: not Path(f"/proc/{host}").exists())


@pytest.mark.skipif(shutil.which("xvfb-run") is None, reason="needs xvfb-run, of the package xvfb")
def test_the_window_on_a_real_x_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QT_QPA_PLATFORM", "xcb")
    process = window_process(tmp_path, "xvfb-run", "-a", "-s", "-screen 0 1680x1050x24")
    with process:
        assert process.stderr is not None
        said = process.stderr.read().decode()
        assert process.wait(60) == 0, said
    assert colours(tmp_path / "w.png") > 50


def test_the_first_window_is_no_larger_than_the_screen(qtbot: QtBot) -> None:
    window = MainWindow([], Theme("dark"), Settings(remember=False))
    qtbot.addWidget(window)
    available = window.screen().availableSize()
    assert window.height() > available.height(), "it would not fit"
    keep_to_screen(window)
    assert window.isMaximized(), "with its title bar it would not fit else"
    normal = window.normalGeometry().size()
    assert normal.height() == max(window.minimumHeight(), available.height() - FRAME)
    assert normal.width() == max(window.minimumWidth(), available.width())


def test_a_window_that_fits_stays_as_it_is(qtbot: QtBot) -> None:
    window = MainWindow([], Theme("dark"), Settings(remember=False))
    qtbot.addWidget(window)
    window.setMinimumSize(10, 10)
    size = window.screen().availableSize() - QSize(0, FRAME)
    window.resize(size)
    keep_to_screen(window)
    assert not window.isMaximized()
    assert window.size() == size
