"""A machine that is looked at in the middle of its work: what is seen there, and that looking changes nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from memviz.kernel.page import GFP_KERNEL
from memviz.kernel.trace import XA_NODE_MOVED
from memviz.kernel.xa_node import XaNode
from memviz.snapshot import NODE_NEW, NODE_RCU, OBJ_USED, Focus, Snapshot
from memviz.sources.base import (
    Compact,
    Defragment,
    Pause,
    RequestPages,
    Run,
    SetFocus,
    Speed,
    Step,
    Watched,
    simulation,
)
from memviz.sources.convert_cpus import events
from memviz.sources.convert_xarrays import NodeWatch
from memviz.sources.host import HostClient
from memviz.sources.play import PIECE
from memviz.sources.recorded import RecordedSource
from memviz.sources.simulation import SimulationSource

SCENARIO = """\
title = "Small"
summary = "s"
question = "q"
lesson = "l"
ops = 600

[machine]
memory_mib = 32
cpus = 4
seed = 3
quantum = 1

[[workload]]
kind = "file-server"
params = { files = 60, pages = 60, create = 0.3, delete = 0.1, truncate = 0.1, sparse = 0.5 }

[[moment]]
at = 500
do = "defragment"
ratio = 100
"""


@pytest.fixture
def scenario(tmp_path: Path) -> str:
    path = tmp_path / "small.toml"
    path.write_text(SCENARIO)
    return str(path)


def seen_by(source: SimulationSource) -> list[Snapshot]:
    """Everything that an eager onlooker will see."""
    seen: list[Snapshot] = []
    source.watch(lambda: seen.append(source.snapshot()))
    return seen


@pytest.mark.digest
@pytest.mark.parametrize("front_end", ["sheaves", "classic"])
def test_an_eager_onlooker_changes_nothing(tmp_path: Path, front_end: str) -> None:
    path = tmp_path / "small.toml"
    path.write_text(SCENARIO.replace("seed = 3", f'seed = 3\nfront_end = "{front_end}"'))

    def digest(eager: bool) -> str:
        source = SimulationSource(str(path), scripted=True)
        seen: list[int] = []
        if eager:
            source.watch(lambda: seen.append(source.snapshot().seq))
        source.command(1, Step(6 * PIECE))
        source.command(2, RequestPages(6, GFP_KERNEL))
        source.command(3, Compact())
        source.command(4, Defragment("", 100))
        source.command(5, Step(PIECE))
        assert (len(seen) > 100) == eager
        source.machine.check()
        return source.machine.digest()

    assert digest(eager=True) == digest(eager=False)


def test_what_is_seen_in_the_middle_adds_up(scenario: str) -> None:
    source = SimulationSource(scenario)
    seen = seen_by(source)
    source.command(1, Step(3 * PIECE))
    assert len({snapshot.ops for snapshot in seen}) > 10
    assert (np.diff([snapshot.time_ns for snapshot in seen]) >= 0).all()
    inside = [snapshot for snapshot in seen if any(cpu.label != "between operations" for cpu in snapshot.cpus)]
    assert len(inside) > len(seen) // 2, "most looks fall into the middle of operations"
    for snapshot in inside:
        assert snapshot.objects.shape[0] == len(snapshot.slabs)
        assert len(set(snapshot.nodes["addr"].tolist())) == len(snapshot.nodes)
        assert (snapshot.nodes["parent"] < np.arange(len(snapshot.nodes))).all()


def test_a_defragmentation_is_seen_while_it_is_done(scenario: str) -> None:
    source = SimulationSource(scenario)
    source.command(1, Pause())
    source.command(2, Step(1200))
    before = source.snapshot()
    seen = seen_by(source)
    source.command(3, Defragment("xa_node", 100))
    after = source.snapshot()
    assert not any(outcome.number == 3 for snapshot in seen for outcome in snapshot.outcomes)
    assert after.outcomes[-1].number == 3
    moves = [int((snapshot.events["kind"] == XA_NODE_MOVED).sum()) for snapshot in seen]
    assert sum(1 for count in moves if count) > 5, "moves come with many Snapshots, not with one"
    slabs = [len(snapshot.slabs) for snapshot in seen]
    assert len(set(slabs)) > 1, "slabs come free one after the other"
    assert len(before.slabs) > len(after.slabs)


def test_nodes_that_wait_for_rcu_hang_beside_the_tree(scenario: str) -> None:
    source = SimulationSource(scenario)
    source.command(1, Step(1200))
    machine = source.machine
    files = list(machine.filemap.files.values())
    watch = NodeWatch(machine.rcu, machine.slub)
    seq = machine.trace.seq
    freed: set[int] = set()
    beside = 0

    def look() -> None:
        nonlocal seq, beside
        found, _ = events(machine.trace, seq)
        seq = machine.trace.seq
        watch.note(found)
        freed.update(found["a"][found["kind"] == XA_NODE_MOVED].tolist())
        queued = {arg.addr for queue in machine.rcu.callbacks for _, _, arg in queue if isinstance(arg, XaNode)}
        shown: set[int] = set()
        for file in files:
            nodes = watch.nodes(file)
            waiting = nodes[nodes["state"] == NODE_RCU]
            addresses = set(waiting["addr"].tolist())
            assert addresses <= queued
            assert not addresses & shown, "a node was in one tree only"
            shown |= addresses
            for node in waiting[waiting["parent"] >= 0]:
                twin = (nodes["parent"] == node["parent"]) & (nodes["offset"] == node["offset"])
                assert (nodes["index"][twin] == node["index"]).all()
                beside += 1
        assert queued & freed <= shown, "every node that was moved away is beside the tree that it was in"

    machine.smp.watch = look
    assert dict(machine.defragment("xa_node", 100)[0].price())["objects moved"] > 20
    assert len(freed) > 20
    assert beside > 0
    machine.rcu.drain()
    assert not any((watch.nodes(file)["state"] == NODE_RCU).any() for file in files)


def step_points_until(source: SimulationSource, wanted: int | None) -> np.void:
    """Single-step until a node is in a state (``None``: has a reader); that node."""
    for _ in range(4000):
        source.command(1, Step(1, "point"))
        nodes = source.snapshot().nodes
        found = nodes[nodes["readers"] != 0] if wanted is None else nodes[nodes["state"] == wanted]
        found = found[found["parent"] >= 0]
        if len(found):
            return found[0]
    raise AssertionError("no such node in 4,000 points")


@pytest.fixture
def one_file(scenario: str) -> SimulationSource:
    """A machine with a task that grows a file and reads in it; the file is in focus."""
    source = SimulationSource(scenario)
    source.command(1, Pause())
    file = source.machine.filemap.open()

    def grow() -> None:
        for index in range(0, 1 << 20, 1 << 14):
            file.read(index, 2)
            file.i_pages.load(index)

    source.machine.smp.spawn(1, "grow", grow)
    source.command(2, SetFocus(Focus(xarray=file.number)))
    return source


def test_readers_stand_on_nodes(one_file: SimulationSource) -> None:
    node = step_points_until(one_file, None)
    cpus = [cpu for cpu in one_file.machine.smp.cpus if int(node["readers"]) >> cpu.id & 1]
    assert cpus
    for cpu in cpus:
        assert cpu.rcu_nesting > 0
        assert getattr(cpu.xa_node, "addr", 0) == node["addr"]


def test_a_node_that_is_not_published_is_new(one_file: SimulationSource) -> None:
    node = step_points_until(one_file, NODE_NEW)
    snapshot = one_file.snapshot()
    file = one_file.machine.filemap.files[one_file.focus.xarray]
    assert int(node["addr"]) not in {found.addr for found in file.i_pages.nodes_in_tree()}
    parent = snapshot.nodes[int(node["parent"])]
    assert not int(parent["used"]) >> int(node["offset"]) & 1, "its slot in the parent is still empty"
    assert node["index"] == int(parent["index"]) + (int(node["offset"]) << int(parent["shift"]))


def test_where_each_cpu_stands_while_stepping(scenario: str) -> None:
    source = SimulationSource(scenario)
    source.command(1, Pause())
    found: set[str] = set()
    for _ in range(60):
        source.command(2, Step(3, "point"))
        found |= {cpu.where for cpu in source.snapshot().cpus}
    found.discard("")
    from memviz.kernel import smp

    if not smp.__file__.endswith(".py"):
        assert not found, "compiled code has no frames"
        return
    assert len(found) > 5
    for where in found:
        function, _, line = where.rpartition(":")
        assert line.isdigit()
        module = function.split(".")[0]
        text = (Path(smp.__file__).parent / f"{module}.py").read_text().splitlines()
        assert text[int(line) - 1].strip(), where
        assert module not in ("smp", "spinlock")
    source.command(3, Run())
    assert {cpu.where for cpu in source.snapshot().cpus} == {""}


def test_caches_name_the_owner_of_their_pages(scenario: str) -> None:
    source = SimulationSource(scenario)
    source.command(1, Step(100))
    snapshot = source.snapshot()
    owner = next(cache.owner for cache in snapshot.caches if cache.name == "xa_node")
    assert set(snapshot.pages.owner[snapshot.slabs["pfn"]].tolist()) == {owner}


def test_a_recorded_source_is_watched_too(scenario: str) -> None:
    source = RecordedSource(SimulationSource(scenario))
    assert isinstance(source, Watched)
    seen: list[int] = []
    source.watch(lambda: seen.append(source.snapshot().ops))
    source.command(1, Step(5 * PIECE))
    assert len(set(seen)) > 10


def test_in_its_process_a_long_command_is_seen_before_its_outcome(scenario: str) -> None:
    with HostClient(simulation(scenario)) as client:
        client.send(Pause())
        client.send(SetFocus(Focus(cache="xa_node")))
        number = client.send(Step(3000))
        ops: set[int] = set()
        while client.last is None or not any(one.number == number for one in client.last.outcomes):
            snapshot = client.wait(20)
            assert snapshot is not None, client.failure
            assert snapshot.state != "failed", client.report
            ops.add(snapshot.ops)
        assert len(ops) > 5
        assert client.last.ops == 3000
        assert (client.last.objects == OBJ_USED).any()


def test_speed_is_obeyed_by_an_onlooked_machine(scenario: str) -> None:
    source = SimulationSource(scenario)
    seen = seen_by(source)
    source.command(1, Speed(10))
    source.advance(0.001)
    assert all(snapshot.speed in (0, 10) for snapshot in seen)
    assert source.machine.ops <= 1
