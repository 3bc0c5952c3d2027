"""What charts draw: the right cache's curve, thousandths, -1 where nothing is known."""

from __future__ import annotations

from memviz.analysis.figures import COLUMNS, figures
from memviz.scenario import load
from memviz.snapshot import Cache, Zone
from memviz.sources import convert_pages, convert_slabs


def measured(index: str) -> tuple[dict[str, int], tuple[Cache, ...], tuple[Zone, ...]]:
    machine = load("aged-file-server").machine(seed=2, memory_mib=32)
    machine.set_policy("page_cache_index", index)
    machine.run(ops=400)
    caches, zones = convert_slabs.caches(machine.slub), convert_pages.zones(machine.page_alloc)
    return dict(zip(COLUMNS, figures(caches, zones), strict=True)), caches, zones


def test_the_curve_of_nodes_is_of_the_cache_that_has_them() -> None:
    for index, name in (("xarray", "xa_node"), ("radix_tree", "radix_tree_node")):
        curves, caches, _ = measured(index)
        nodes = next(cache for cache in caches if cache.name == name)
        assert nodes.total > 0
        assert curves["xa_node"] == nodes.active * 1000 // nodes.total


def test_all_slabs_are_weighed_together_and_nothing_is_unknown() -> None:
    curves, caches, zones = measured("xarray")
    assert curves["all slabs"] == sum(one.active for one in caches) * 1000 // sum(one.total for one in caches)
    managed = sum(zone.managed for zone in zones)
    assert curves["memory in slabs"] == sum(one.slabs << one.order for one in caches) * 1000 // managed
    assert figures((), ()) == [-1] * len(COLUMNS)
