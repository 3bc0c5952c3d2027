"""What a run is told as: the same facts for people and for programs."""

from __future__ import annotations

import json

import pytest

from memviz.analysis.report import RunReport
from memviz.scenario import parse
from memviz.sources.headless import run_scenario

SCENARIO = """
title = "Small"
summary = "s"
question = "Why?"
lesson = "Because."
ops = 700

[machine]
memory_mib = 48
cpus = 2
seed = 3

[[workload]]
kind = "file-server"
params = { files = 60, pages = 60, sparse = 0.5 }

[[moment]]
at = 300
do = "policy"
name = "dentries"
value = "fixed"

[[moment]]
at = 700
do = "request"
order = 10
say = "Ask for four MiB."

[[moment]]
at = 700
do = "defragment"
ratio = 100
"""


@pytest.fixture(scope="module")
def report() -> RunReport:
    scenario = parse(SCENARIO, "small")
    return run_scenario("small", scenario, scenario.machine())


def test_the_story_says_when_what_happened_and_what_came_of_it(report: RunReport) -> None:
    assert [(one.ops, one.do) for one in report.story] == [(300, "policy"), (700, "request"), (700, "defragment")]
    policy, request, defragment = report.story
    assert policy.told == "dentries is fixed from now on."
    assert request.told == report.requests[0].verdict
    assert defragment.told == " ".join(one.sentence for one in report.defragmentations)
    assert report.policies["dentries"] == "fixed"


def test_json_holds_the_figures_of_the_machine(report: RunReport) -> None:
    told = json.loads(report.as_json())
    assert (told["ops"], told["memory_mib"], told["digest"]) == (700, 48, report.digest)
    for zone in told["zones"]:
        assert zone["free"] == sum(blocks << order for order, blocks in enumerate(zone["nr_free"]))
        assert zone["unusable_free_index"][0] == 0
    servable = told["contiguity"]["servable_now"]
    assert servable[0] == sum(zone["free"] for zone in told["zones"])
    assert all(now <= moved for now, moved in zip(servable, told["contiguity"]["servable_if_moved"], strict=True))
    caches = {one["name"]: one for one in told["caches"]}
    assert caches["xa_node"]["movable"] is True
    assert caches["dentry"]["movable"] is False
    assert {one["owner"] for one in told["pinned_by"]} >= {"reserved"}
    request = told["requests"][0]
    assert request["ok"] == (request["pfn"] >= 0)
    assert request["stages"][0]["name"] == "fast path"


def test_text_shows_the_same_to_a_person(report: RunReport) -> None:
    text = report.as_text()
    assert text.startswith("Small (small), seed 3, 48 MiB, 2 CPUs\nWhy?\n700 operations, ")
    assert "  at 700: Ask for four MiB.\n    " + report.requests[0].verdict in text
    node = next(one for one in report.caches if one.name == "xa_node")
    line = next(line for line in text.splitlines() if line.startswith("  xa_node *"))
    figures = [f"{count:,}" for count in (node.slabs, node.partial, node.active, node.total)]
    assert line.split() == ["xa_node", "*", *figures]
    assert text.endswith(f"Because.\ndigest {report.digest}")
