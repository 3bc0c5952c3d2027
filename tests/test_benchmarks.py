"""The table of all benchmarks: what is met, what is not, and that every benchmark is in it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from benchmarks.__main__ import medians, modules
from benchmarks.figure import Figure, table


def test_a_target_is_reached_or_not_exceeded() -> None:
    assert Figure("speed", 60, "a second", 60).met is True
    assert Figure("speed", 59.9, "a second", 60).met is False
    assert Figure("gap", 25, "ms", 25, at_most=True).met is True
    assert Figure("gap", 25.1, "ms", 25, at_most=True).met is False
    assert Figure("size", 7).met is None


def test_the_table_says_everything_in_one_line_each() -> None:
    figures = [Figure("gap", 26.04, "ms", 25, at_most=True), Figure("rate", 1234567.8, "a second", 400_000)]
    lines = [" ".join(line.split()) for line in table(figures).splitlines()]
    assert lines == [
        "figure measured target",
        "gap 26 ms at most 25 NOT MET",
        "rate 1,234,568 a second at least 400,000 met",
    ]
    assert len({line.index("at ") for line in table([figures[0], figures[0]]).splitlines()[1:]}) == 1, "in columns"


def test_a_figure_is_the_median_of_its_runs() -> None:
    runs = [[Figure("a", value, "ms", 5), Figure("b", -value)] for value in (1.0, 9.0, 4.0)]
    assert medians(runs) == [Figure("a", 4.0, "ms", 5), Figure("b", -4.0)]


def test_every_benchmark_gives_figures(checkout: Path) -> None:
    names = modules([])
    assert {"bench_window", "bench_host", "bench_slub"} <= set(names)
    for name in names:
        text = (checkout / "benchmarks" / f"{name}.py").read_text()
        assert "def figures(quick: bool) -> list[Figure]:" in text, name


def test_a_name_that_is_none_is_told_what_there_is(checkout: Path) -> None:
    command = [sys.executable, "-m", "benchmarks", "nothing"]
    done = subprocess.run(command, cwd=checkout, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "no benchmark is called 'nothing': there are bench_compaction, " in done.stderr
