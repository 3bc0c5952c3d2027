"""The file server ages a machine as the thread says machines age, and what the thread proposes cures it."""

from __future__ import annotations

import pytest

from memviz.kernel.page import OWNER_FREE, OWNER_HUGE, OWNER_PAGE_CACHE, OWNER_PCP, OWNER_SLAB_XA
from memviz.scenario import load
from memviz.sources.play import Play


def sparse_use(active: int, total: int) -> float:
    return active / total


@pytest.mark.slow
def test_an_aged_machine_has_half_its_memory_free_and_no_block_until_nodes_move() -> None:
    scenario = load("aged-file-server")
    m = scenario.machine(seed=7)
    Play(scenario, m, scripted=False).run(scenario.ops)
    free = sum(zone.nr_free for zone in m.page_alloc.zones)
    assert free > m.mem.nr * 0.4
    before = m.xa_nodes.cache.stats()
    assert sparse_use(before.active, before.total) < 0.35
    pinned = sum(OWNER_SLAB_XA in m.mem.owner[block * 512 : block * 512 + 512] for block in range(m.mem.nr_blocks))
    assert pinned > m.mem.nr_blocks * 0.6

    first = m.request(9)
    assert first.pfn == -1
    assert "pageblocks are held by slab pages" in first.verdict
    assert "would be free if xa_node" in first.verdict
    m.compact()
    assert m.request(9).pfn == -1, "compaction alone must not help, or there is nothing to show"

    before = m.xa_nodes.cache.stats()
    passes = {one.cache: one for one in m.defragment(ratio=100)}
    after = m.xa_nodes.cache.stats()
    # A few more go on the way: what CPUs kept comes back first, and that empties some slabs by itself.
    assert before.slabs - after.slabs >= dict(passes["xa_node"].gain())["slabs freed"] > 400
    assert sparse_use(after.active, after.total) > 0.95
    price = dict(passes["xa_node"].price())
    assert price["bytes copied"] == 576 * price["objects moved"] > 0
    assert price["objects thrown away"] == 0, "nodes move, nothing is lost"

    again = m.request(9)
    assert again.pfn >= 0
    assert m.mem.owner[again.pfn : again.pfn + 512] == bytes([OWNER_HUGE]) * 512
    m.check()


def test_files_are_what_fills_memory() -> None:
    scenario = load("aged-file-server")
    m = scenario.machine(seed=3, memory_mib=64)
    m.run(ops=4000)
    counts = [m.mem.owner.count(code) for code in range(16)]
    assert counts[OWNER_PAGE_CACHE] > m.mem.nr * 0.6
    assert counts[OWNER_FREE] + counts[OWNER_PCP] < m.mem.nr * 0.15
    assert counts[OWNER_SLAB_XA] > 0
    m.check()


def test_each_cpu_draws_from_a_sequence_of_its_own() -> None:
    """What a CPU does must not depend on how CPUs were interleaved, or nothing could be compared between policies."""
    first = load("aged-file-server").machine(seed=5, memory_mib=64)
    second = load("aged-file-server").machine(seed=5, memory_mib=64)
    one = first.users[0][0][0].step.__self__  # type: ignore[attr-defined]
    two = second.users[0][0][0].step.__self__  # type: ignore[attr-defined]
    for _ in range(10):
        two.draws[1].random()
    assert [one.draws[0].below(100) for _ in range(5)] == [two.draws[0].below(100) for _ in range(5)]
    assert one.draws[0].below(1 << 30) != one.draws[2].below(1 << 30)
