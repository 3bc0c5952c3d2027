"""What is seen of a machine whose page cache has radix trees: the trees as trees, their nodes, who pins."""

from __future__ import annotations

import numpy as np

from memviz.kernel.page import GFP_KERNEL
from memviz.scenario import load
from memviz.snapshot import NODE_IN_TREE, NODE_NEW
from memviz.sources.base import Defragment, RequestPages, SetPolicy, Step
from memviz.sources.convert_detail import page_detail
from memviz.sources.simulation import SimulationSource


def test_a_radix_tree_is_shown_as_a_tree_and_becomes_an_xarray() -> None:
    source = SimulationSource("radix-tree-locks", memory_mib=64)
    source.command(1, Step(1500))
    machine = source.machine
    seen = source.snapshot()
    largest = seen.xarrays[0]
    assert largest.name.endswith(" (radix tree)")
    assert not largest.movable
    tree = machine.filemap.files[largest.id].i_pages
    rows = seen.nodes[seen.nodes["state"] == NODE_IN_TREE]
    assert rows["addr"].tolist() == [node.addr for node in tree.nodes_in_tree()]
    assert not (seen.nodes["state"] == NODE_NEW).any(), "preloaded nodes are in no tree"
    assert seen.focus.cache == "radix_tree_node"
    assert len(seen.slabs) == machine.slub.caches["radix_tree_node"].stats().slabs > 0

    source.command(2, Defragment("radix_tree_node"))
    told = source.snapshot().outcomes[-1].sentence
    assert told.startswith("radix_tree_node: its nodes cannot move: the lock of a radix tree is its user's own")

    source.command(3, SetPolicy("page_cache_index", "xarray"))
    after = source.snapshot()
    assert after.outcomes[-1].sentence == "page_cache_index is xarray from now on."
    assert after.xarrays[0].name == f"file {largest.id}"
    assert after.xarrays[0].movable
    assert np.array_equal(after.nodes["addr"], rows["addr"]), "every node is where it was"


def test_a_page_frame_of_its_nodes_says_whose_they_are() -> None:
    source = SimulationSource("radix-tree-locks", memory_mib=64)
    source.command(1, Step(400))
    machine = source.machine
    told = {page_detail(machine, pfn).sentence for pfn in machine.slub.caches["radix_tree_node"].slabs}  # type: ignore[union-attr]
    assert all(one.startswith("slab radix_tree_node ") for one in told)
    assert any(", index 0x" in one and "file " in one for one in told)
    assert any("a node in no tree yet" in one for one in told), "preloaded nodes"


def test_a_failed_request_names_them() -> None:
    scenario = load("radix-tree-locks")
    source = SimulationSource(scenario, memory_mib=64)
    source.command(1, Step(10_900))  # the script changes the trees over at 11,000
    source.command(2, Defragment())
    source.command(3, RequestPages(9, GFP_KERNEL))
    request = source.snapshot().request
    assert request is not None
    assert request.pfn == -1
    assert any(who == "radix_tree_node" for stage in request.stages for who, _, _ in stage.pinned_by)
