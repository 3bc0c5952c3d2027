"""A scenario and an experiment that take a blink, and results without a machine."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from memviz.experiment.demand import Demand
from memviz.experiment.measure import Outcome, Sample
from memviz.experiment.spec import Cell, Spec, cells, parse
from memviz.experiment.store import Cost, Kept
from memviz.experiment.table import Results, Study, collect

SCENARIO = """\
title = "Small"
summary = "A small machine."
question = "Does it run?"
lesson = "It does."
ops = 320

[machine]
memory_mib = 32
cpus = 2
seed = 3
thp = false
dma_mib = 0

[[workload]]
kind = "file-server"
weight = 3
params = { files = 60, pages = 120, sparse = 0.5 }

[[workload]]
kind = "updatedb"
params = { names = 20 }

[[moment]]
at = 100
do = "defragment"
"""

SPEC = """\
title = "Small"
question = "Does it count?"
scenarios = ["SCENARIO"]
memory_mib = [32]
seeds = [1, 2]
baseline = "plain"
headline = ["plain", "moves"]
limits = ["It is small.", "It is a test.", "It is quick."]

[protocol]
actions = 2
samples = 2
burst = [3, 8, 9]
steady = [3, 9]
requests = 3
every = 64

[[policy]]
name = "plain"
switches = { xa_nodes = "fixed", dentries = "fixed" }

[[policy]]
name = "moves"
says = "nodes move, dentries go"
action = "defragment"
"""


@pytest.fixture
def spec_file(tmp_path: Path) -> Path:
    """The experiment as a file, its scenario beside it."""
    scenario = tmp_path / "small-scenario.toml"
    scenario.write_text(SCENARIO)
    path = tmp_path / "small.toml"
    path.write_text(SPEC.replace("SCENARIO", str(scenario)))
    return path


@pytest.fixture
def spec(spec_file: Path) -> Spec:
    """The experiment."""
    return parse(spec_file.read_text(), "small")


@pytest.fixture
def small_cells(spec: Spec) -> list[Cell]:
    """Its cells: 2 seeds × 2 begins × 2 policies."""
    return cells(spec)


def demand(order: int, got: int, wanted: int = 10, **price: int) -> Demand:
    """A demand that some machine might have answered."""
    return Demand(order, wanted, got, got, 1000 * order, 2000 * order, 3000 * order, price)


def outcome(got: int, moved: int) -> Outcome:
    """An outcome with ``got`` of ten requests of order 9 served, for ``moved`` objects."""
    sample = Sample(640, 5_000, 100, (0,) * 9 + (750, 1000), {"mixed": 2, "movable": 6}, demand(9, got))
    return Outcome(
        digest="0123456789abcdef" * 2,
        ops=640,
        price={"objects_moved": moved, "time_ns": 2_000_000_000},
        huge_pages=1024,
        holders={},
        samples=(msgspec.structs.replace(sample, ops=320), sample),
        burst=(demand(3, 10), demand(8, got), demand(9, got)),
        steady=(demand(3, 10, pages_read_again=7), demand(9, got, objects_moved=1)),
    )


@pytest.fixture
def results(spec: Spec, small_cells: list[Cell]) -> Results:
    """Results that no machine made: *plain* gets 1 and 2 of 10, *moves* 5 and 8."""
    kept = []
    for cell in small_cells:
        got, moved = {"plain": ((1, 0), (2, 0)), "moves": ((5, 100), (8, 300))}[cell.policy.name][cell.seed - 1]
        kept.append(Kept(cell, outcome(got, moved), Cost(1.5, 40)))
    return collect("memviz experiment small.toml", [Study("small", spec, small_cells)], kept)
