"""What is seen of a machine, and what of it is told over time."""

from __future__ import annotations

import msgspec
import pytest

from memviz import scenario as scenarios
from memviz.experiment import over_time
from memviz.experiment.demand import Demand
from memviz.experiment.look import look
from memviz.experiment.table import Results
from tests.experiment.conftest import SCENARIO


def test_caches_and_users_are_counted_and_nothing_is_touched() -> None:
    machine, users = scenarios.parse(SCENARIO, "small").populated(seed=2)
    machine.run(200)
    before = machine.digest()
    seen = look(machine, users)
    assert machine.digest() == before
    assert (seen.ops, seen.time_ns, seen.free_pages) == (200, machine.smp.now, machine.page_alloc.nr_free_pages)
    nodes = machine.xa_nodes.cache.stats()
    found = seen.caches["xa_node"]
    assert (found.slabs, found.in_use, found.room) == (nodes.slabs, nodes.active, nodes.total)
    assert found.pages == sum(1 << slab.order for slab in machine.xa_nodes.cache.slabs.values())
    assert sum(seen.blocks.values()) == machine.mem.nr_blocks
    assert seen.users == {}


def test_users_of_a_kind_are_added_up() -> None:
    text = SCENARIO + '\n[[workload]]\nkind = "network"\n\n[[workload]]\nkind = "network"\n'
    machine, users = scenarios.parse(text, "small").populated(seed=2)
    machine.run(200)
    counts = look(machine, users).users
    wanted = [user.counts()["buffers"] for user in users if user.kind == "network"]
    assert len(wanted) == 2
    assert counts["network.buffers"] == sum(wanted) > max(wanted) > 0


def demand(served: str) -> Demand:
    return Demand(9, len(served), served.count("1"), 0, 0, 0, 0, {}, served)


@pytest.mark.parametrize(
    ("served", "parts"),
    [("11110000", [100, 100, 0, 0]), ("1010", [100, 0, 100, 0]), ("10100", [100, 0, 100, 0]), ("", []), ("111", [])],
)
def test_success_over_time_is_by_equal_parts(served: str, parts: list[float]) -> None:
    assert over_time.served(demand(served)) == parts


def test_over_time_is_over_all_seeds(results: Results) -> None:
    group = over_time.figures.groups(results)[0]
    assert over_time.steady(results, group, "plain", 9) == []  # not kept
    runs = []
    for run in results.runs:
        answers = "1" * 4 + ("1" if run.seed == 1 else "0") * 4
        steady = tuple(msgspec.structs.replace(one, served=answers) for one in run.outcome.steady)
        runs.append(msgspec.structs.replace(run, outcome=msgspec.structs.replace(run.outcome, steady=steady)))
    told = over_time.steady(msgspec.structs.replace(results, runs=tuple(runs)), group, "plain", 9)
    assert [one.mean for one in told] == [100, 100, 50, 50]
    protocol = msgspec.structs.replace(results.spec.protocol, requests=8)
    longer = msgspec.structs.replace(results, spec=msgspec.structs.replace(results.spec, protocol=protocol))
    assert over_time.marks(longer) == [128, 256, 384, 512]
