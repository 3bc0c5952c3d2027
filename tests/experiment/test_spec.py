"""What an experiment's file may say, and the cells that it makes."""

from __future__ import annotations

from pathlib import Path

import pytest

from memviz.experiment.spec import Cell, ExperimentError, Spec, cells, load, names, parse
from memviz.scenario import ScenarioError


def test_cells_are_every_combination_seeds_slowest(small_cells: list[Cell]) -> None:
    assert [(cell.seed, cell.begin, cell.policy.name) for cell in small_cells] == [
        (seed, begin, policy) for seed in (1, 2) for begin in ("aged", "start") for policy in ("plain", "moves")
    ]
    assert {cell.baseline.name for cell in small_cells} == {"plain"}
    assert 'kind = "updatedb"' in small_cells[0].text


@pytest.mark.parametrize("name", names())
def test_what_memviz_brings_along_can_be_run(name: str) -> None:
    found = load(name)
    assert found.baseline in [one.name for one in found.policy]
    assert len(cells(found)) == len(found.policy) * len(found.seeds) * len(found.begin)


def test_the_headline_compares_what_the_thread_argues_about() -> None:
    found = load("reliable-high-order")
    assert len(found.seeds) >= 8
    assert found.memory_mib == (256,)
    assert len(found.policy) == 14
    assert found.protocol.burst == found.protocol.steady == tuple(range(2, 11))
    assert found.named("radix tree").switches["page_cache_index"] == "radix_tree"
    assert ("XArray, all means", "radix tree") in found.pairs
    assert set(found.literature) == {"gorman-2005", "weiner-2025", "updatedb-nights", "network-order-3"}
    assert found.named("nodes 30, single").switches["rcu_wait"] == "object"


@pytest.mark.parametrize(
    ("wrong", "right", "says"),
    [
        ('title = "Small"', 'titel = "Small"', "titel"),
        ("seeds = [1, 2]", "seeds = []", "seeds is empty"),
        ("seeds = [1, 2]", "seeds = [1, 1]", "seeds names something twice"),
        ("seeds = [1, 2]", 'seeds = ["one"]', "seeds"),
        ('baseline = "plain"', 'baseline = "plane"', "'plane': there are plain, moves"),
        ("memory_mib = [32]", "memory_mib = [8]", "memory_mib 8 is not between 16 and"),
        ('xa_nodes = "fixed"', 'xa_node = "fixed"', "'xa_node': there are compaction"),
        ('xa_nodes = "fixed"', 'xa_nodes = "loose"', "choose movable or fixed"),
        ("burst = [3, 8, 9]", "burst = [3, 8, 11]", "burst"),
        ('action = "defragment"', 'action = "defrag"', "action"),
        ('title = "Small"', "title = ", "is not TOML"),
    ],
)
def test_mistakes_are_named(spec_file: Path, wrong: str, right: str, says: str) -> None:
    text = spec_file.read_text()
    assert wrong in text
    with pytest.raises(ExperimentError) as error:
        parse(text.replace(wrong, right, 1), "small")
    assert says in str(error.value)
    assert "\n" not in str(error.value)


def test_a_name_that_is_nearly_right_is_suggested() -> None:
    with pytest.raises(ExperimentError, match="did you mean 'reliable-high-order'"):
        load("reliable-higher-order")
    with pytest.raises(ExperimentError, match="cannot read the experiment nowhere"):
        load("nowhere.toml")


def test_a_scenario_that_is_not_there_is_named(spec: Spec, spec_file: Path) -> None:
    text = spec_file.read_text().replace(spec.scenarios[0], "aged-file-serve")
    with pytest.raises(ScenarioError, match="did you mean 'aged-file-server'"):
        cells(parse(text, "small"))
