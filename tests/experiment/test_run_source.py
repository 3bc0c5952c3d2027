"""A run of the report, opened: the same machine to the digest, at the moment of its demands."""

from __future__ import annotations

import msgspec
import pytest

from memviz.experiment.measure import measure
from memviz.experiment.run_source import ARRIVED, ON_THE_WAY, RunSource, run_spec
from memviz.experiment.spec import Cell
from memviz.experiment.table import Results
from memviz.kernel.page import GFP_KERNEL
from memviz.sources.base import Pause, RequestPages, Run


def source_of(cell: Cell, digest: str) -> RunSource:
    return RunSource(msgspec.json.encode(cell).decode(), digest)


@pytest.mark.parametrize(("begin", "policy"), [("aged", "moves"), ("start", "moves"), ("start", "plain")])
def test_it_arrives_at_the_machine_that_was_measured(small_cells: list[Cell], begin: str, policy: str) -> None:
    cell = next(one for one in small_cells if (one.seed, one.begin, one.policy.name) == (1, begin, policy))
    outcome = measure([cell])[0]
    source = source_of(cell, outcome.digest)
    assert source.snapshot().ops == 0
    while not source.arrived:
        assert source.advance(0.01)
        if not source.arrived:
            assert source.snapshot().notice.startswith(ON_THE_WAY)
    told = source.snapshot()
    assert told.notice == f"{ARRIVED} It is the machine of the report, to the digest."
    assert (told.state, told.ops) == ("paused", outcome.ops)
    assert dict(told.policies)["xa_nodes"] == ("fixed" if policy == "plain" else "movable")
    assert outcome.acted is not None
    assert told.time_ns == outcome.acted.time_ns, "the policy has acted"
    assert told.title == f"{policy}, seed 1: Small"
    assert source.origin() == {}, "a recording of it is played, and not gone on from"
    # From here on it is a machine like any other.
    assert source.advance(0.01) is False
    source.command(1, RequestPages(3, GFP_KERNEL))
    assert source.snapshot().request is not None
    source.command(2, Run())
    assert source.advance(0.001) is True
    assert source.snapshot().ops > outcome.ops


def test_it_can_be_stopped_on_the_way_and_says_when_it_is_another_machine(small_cells: list[Cell]) -> None:
    source = source_of(small_cells[0], "0" * 32)
    source.piece()
    source.command(1, Pause())
    assert source.advance(1.0) is False
    assert not source.arrived
    source.command(2, Run())
    while not source.arrived:
        source.advance(1.0)
    assert "It is not the machine of the report" in source.snapshot().notice


def test_what_a_host_gets_is_the_cell_that_was_run(results: Results, small_cells: list[Cell]) -> None:
    for run, cell in zip(results.runs, small_cells, strict=True):
        spec = run_spec(results, run)
        told = msgspec.json.decode(str(spec.arguments["cell"]), type=Cell)
        assert told == cell
        assert spec.arguments["digest"] == run.outcome.digest
