"""Scenario files: what they say is what gets built; what they must not say is refused by name."""

from __future__ import annotations

import pytest

from memviz.scenario import ScenarioError, load, names, parse

MINIMAL = """
title = "T"
summary = "S"
question = "Q"
lesson = "L"
ops = 10
"""


def test_every_scenario_that_memviz_brings_along_builds_and_runs() -> None:
    assert "aged-file-server" in names()
    for name in names():
        machine = load(name).machine(seed=1, memory_mib=64)
        machine.run(ops=200)
        machine.check()
        assert machine.ops == 200, name


def test_unknown_name_gets_the_nearest() -> None:
    with pytest.raises(ScenarioError, match="no scenario is called 'aged-fileserver': did you mean 'aged-file-server'"):
        load("aged-fileserver")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("title = ", "scenario x is not TOML"),
        ("title = 3", r"scenario x: Expected `str`, got `int` - at `\$.title`"),
        (MINIMAL + "colour = 1", "unknown field `colour`"),
        (MINIMAL + "[machine]\nmemory = 3", r"unknown field `memory` - at `\$.machine`"),
        (MINIMAL + '[[workload]]\nkind = "web"', "no workload is called 'web': file-server"),
        (MINIMAL + '[[workload]]\nkind = "network"\nparams = { burst = "a" }', "Expected `int`, got `str`"),
        (MINIMAL + '[[moment]]\nat = 1\ndo = "explode"', "Invalid enum value 'explode'"),
    ],
)
def test_a_bad_file_is_refused_with_the_place(text: str, sentence: str) -> None:
    with pytest.raises(ScenarioError, match=sentence):
        parse(text, "x")


def test_a_file_that_is_not_there() -> None:
    with pytest.raises(ScenarioError, match=r"cannot read the scenario /nowhere.toml"):
        load("/nowhere.toml")
