"""README and report claim the figures of the results file, and those are of the experiment that memviz brings along."""

from __future__ import annotations

from pathlib import Path

import pytest

from memviz.experiment.publish import check, results_path
from memviz.experiment.spec import load
from memviz.experiment.table import read_results

NAME = "reliable-high-order"
PUBLISHED = (NAME, "from-the-start")


@pytest.mark.parametrize("name", PUBLISHED)
def test_report_and_readme_say_what_the_results_say(name: str, checkout: Path) -> None:
    assert check(name, checkout / "docs" / "experiments", checkout / "README.md") == ""


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_results_are_of_this_experiment(name: str, checkout: Path) -> None:
    results = read_results(results_path(name, checkout / "docs" / "experiments"))
    assert results.spec == load(name)
    asked = len(results.spec.policy) * len(results.spec.seeds) * len(results.spec.begin)
    assert len({run.key for run in results.runs}) == len(results.runs) == asked


def test_policies_that_met_the_same_machine_did(checkout: Path) -> None:
    results = read_results(results_path(NAME, checkout / "docs" / "experiments"))
    for seed in results.spec.seeds:
        aged = {run.outcome.digest for run in results.runs if run.seed == seed and run.begin == "aged"}
        assert len(aged) == 1
