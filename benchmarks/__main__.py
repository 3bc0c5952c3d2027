"""Every figure of every benchmark in one table: ``python -m benchmarks [--quick] [NAME …]`` (``make bench``).

Each benchmark runs in a process of its own, interpreted and, where ``make compiled`` has been run, compiled. A figure
is the median of several runs. ``--quick``: one run, of less of everything. NAME: only benchmarks with that in theirs.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

from benchmarks.figure import ROOT, Figure, compiled_environment, table

RUNS = 3
ONE_BUILD = ("bench_lag", "bench_start", "bench_views")
"""Benchmarks in which the kernel has no part."""
LONG = ("bench_soak",)
"""Only when they are asked for by name."""


def modules(wanted: list[str]) -> list[str]:
    """Names of the benchmarks."""
    names = sorted(path.stem for path in Path(__file__).parent.glob("bench_*.py"))
    return [name for name in names if (any(word in name for word in wanted) if wanted else name not in LONG)]


def measured(name: str, quick: bool, environment: dict[str, str]) -> list[Figure]:
    """The figures of one benchmark, from a process of its own. Raises CalledProcessError when that fails."""
    command = [sys.executable, "-m", "benchmarks", "--json", *(["--quick"] if quick else []), name]
    done = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return [Figure(**one) for one in json.loads(done.stdout.splitlines()[-1])]


def medians(runs: list[list[Figure]]) -> list[Figure]:
    """Every figure of the first run, with the median of all runs as its value."""
    values: dict[str, list[float]] = {}
    for run in runs:
        for figure in run:
            values.setdefault(figure.name, []).append(figure.value)
    return [replace(figure, value=statistics.median(values[figure.name])) for figure in runs[0]]


def everything(wanted: list[str], quick: bool) -> Iterator[list[Figure]]:
    """Figures, one benchmark and build after the other."""
    builds = [("interpreted", dict(os.environ)), ("compiled", compiled_environment())]
    for name in modules(wanted):
        for build, environment in builds:
            if environment is None or (build == "compiled" and name in ONE_BUILD):
                continue
            print(f"{name}, {build} …", file=sys.stderr, flush=True)
            found = medians([measured(name, quick, environment) for _ in range(1 if quick else RUNS)])
            label = "" if name in ONE_BUILD else f" ({build})"
            yield [replace(figure, name=f"{figure.name}{label}") for figure in found]


def main() -> int:
    """Print the table; 1 when a target is not met."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="only benchmarks whose name contains this")
    parser.add_argument("--quick", action="store_true", help="one run, of less of everything")
    parser.add_argument("--json", action="store_true", help="this build only, as JSON")
    options = parser.parse_args()
    if not modules(options.names):
        parser.error(f"no benchmark is called {options.names[0]!r}: there are {', '.join(modules([]))}")
    if options.json:
        own: list[Figure] = []
        for name in modules(options.names):
            own.extend(importlib.import_module(f"benchmarks.{name}").figures(options.quick))
        print(json.dumps([asdict(figure) for figure in own]))
        return 0
    found = [figure for part in everything(options.names, options.quick) for figure in part]
    print(table(found))
    missed = sum(figure.met is False for figure in found)
    held = sum(figure.met is True for figure in found)
    print(
        f"\n{held} of {held + missed} targets met"
        + (", on a machine that may be busy with other things" if missed else "")
    )
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
