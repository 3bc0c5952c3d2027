"""make run where there is no screen: the same job, and the user is told where its report and picture are."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from PySide6.QtGui import QImage

SCENARIO = """
title = "Small"
summary = "s"
question = "q"
lesson = "l"
ops = 1000

[machine]
memory_mib = 32

[[workload]]
kind = "file-server"
params = { files = 60, pages = 60 }

[[moment]]
at = 1000
do = "request"
order = 2
"""


@pytest.mark.slow
def test_without_a_display_run_leaves_a_report_and_a_picture(checkout: Path, tmp_path: Path) -> None:
    if not (checkout / ".venv/bin/memviz").exists():
        pytest.skip("the environment is not in this checkout's .venv, and making another takes minutes")
    # A variable that make hands down would make this run part of the outer one.
    screenless = {"DISPLAY", "WAYLAND_DISPLAY", "MAKEFLAGS", "MAKELEVEL", "PYTHONPATH"}
    environment = {name: value for name, value in os.environ.items() if name not in screenless}
    scenario = tmp_path / "small.toml"
    scenario.write_text(SCENARIO)
    command = ["make", "--no-print-directory", "run", f"OUT={tmp_path}", f"SCENARIO={scenario}"]
    outcome = subprocess.run(
        command, cwd=checkout, env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL
    )
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr

    report, picture = tmp_path / "small.json", tmp_path / "small.png"
    told = json.loads(report.read_text())
    assert told["seed"] == 7
    assert [request["order"] for request in told["requests"]] == [2]
    image = QImage(str(picture))
    assert image.width() >= 800
    colours = {image.pixel(x, y) for x in range(0, image.width(), 7) for y in range(0, image.height(), 7)}
    assert len(colours) > 20, "a window with a heatmap in it has more colours than that"
    lines = [line.split() for line in outcome.stdout.splitlines()[-2:]]
    assert [words[-1] for words in lines] == [str(report), str(picture)]
