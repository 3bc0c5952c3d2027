"""Scenarios show what they say they show: their stories, on a quarter of their memory."""

from __future__ import annotations

import re

import pytest

from memviz.analysis.report import RunReport
from memviz.scenario import load
from memviz.sources.headless import run_scenario


def run(name: str) -> RunReport:
    scenario = load(name)
    return run_scenario(name, scenario, scenario.machine(memory_mib=64))


def told(report: RunReport, do: str) -> list[str]:
    return [one.told for one in report.story if one.do == do]


@pytest.mark.slow
def test_waiting_for_every_object_costs_a_grace_period_each() -> None:
    one_by_one, batch = run("batch-or-one-by-one").defragmentations
    moved = [dict(one.price)["objects moved"] for one in (one_by_one, batch)]
    waited = [dict(one.price)["grace periods waited for"] for one in (one_by_one, batch)]
    assert moved[1] > moved[0] > 50
    assert waited == [moved[0], 1]


@pytest.mark.slow
def test_the_sparsest_slabs_are_the_cheapest() -> None:
    sparse, denser, _ = run("sparse-or-dense").defragmentations
    cost = [dict(one.price)["objects moved"] / dict(one.gain)["pages returned"] for one in (sparse, denser)]
    assert cost[1] > 1.5 * cost[0]
    assert dict(sparse.gain)["pages returned"] > dict(denser.gain)["pages returned"]


@pytest.mark.slow
def test_a_range_can_be_emptied_once_slabs_leave() -> None:
    refused, had = told(run("rdma-contiguous"), "contig")
    assert refused.startswith("Every range of 2,048 pages holds something that stays")
    assert "xa_node" in refused
    assert "are one piece" in had
    assert "0 slabs evacuated" not in had


@pytest.mark.slow
def test_nodes_move_once_the_array_knows_its_lock() -> None:
    report = run("radix-tree-locks")
    fixed, movable = told(report, "defragment")
    assert "radix_tree_node: its nodes cannot move" in fixed
    moved = re.search(r"radix_tree_node: (\d+) slabs freed, \d+ pages returned, for (\d+) objects moved", movable)
    assert moved is not None
    assert int(moved[1]) > 100
    assert int(moved[2]) > 400
    failed, succeeded = told(report, "request")
    assert failed.startswith("Failed: ")
    assert succeeded.startswith("Succeeded")
