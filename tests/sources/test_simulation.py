"""The simulated machine as a source: its Snapshots say what the machine is, its commands do what they say."""

from __future__ import annotations

import gc
import os
import re
from pathlib import Path

import numpy as np
import pytest

from memviz.kernel import page
from memviz.kernel.page import GFP_KERNEL
from memviz.snapshot import (
    NODE_MOVED,
    OBJ_FREE,
    OBJ_NONE,
    OBJ_SHEAF,
    OBJ_USED,
    Focus,
    Outcome,
    Snapshot,
)
from memviz.sources.base import (
    Compact,
    Defragment,
    Pause,
    RequestPages,
    Run,
    SetFocus,
    SetPolicy,
    SetWorkload,
    SourceError,
    Speed,
    Step,
    simulation,
)
from memviz.sources.host import HostClient
from memviz.sources.play import PIECE
from memviz.sources.simulation import SimulationSource

SCENARIO = """\
title = "Small"
summary = "s"
question = "q"
lesson = "l"
ops = 2000

[machine]
memory_mib = 32
cpus = 2
seed = 3

[[workload]]
kind = "file-server"
params = { files = 60, pages = 60, create = 0.3, delete = 0.1, truncate = 0.1, sparse = 0.5 }

[[moment]]
at = 100
do = "policy"
name = "defrag_mode"
value = "1"

[[moment]]
at = 150
do = "request"
order = 2
"""


@pytest.fixture
def scenario(tmp_path: Path) -> str:
    path = tmp_path / "small.toml"
    path.write_text(SCENARIO)
    return str(path)


@pytest.fixture
def source(scenario: str) -> SimulationSource:
    """Paused after 1,500 operations."""
    source = SimulationSource(scenario)
    do(source, Pause())
    do(source, Step(1500))
    return source


def do(source: SimulationSource, command: object, number: int = 1) -> Outcome:
    """Give a command; what became of it."""
    source.command(number, command)  # type: ignore[arg-type]
    outcome = source.snapshot().outcomes[-1]
    assert outcome.number == number
    return outcome


def test_page_arrays_are_the_machines(source: SimulationSource) -> None:
    snapshot = source.snapshot()
    mem = source.machine.mem
    assert snapshot.pages.nr == mem.nr == 32 * 256
    assert snapshot.pages.owner.tobytes() == bytes(mem.owner)
    assert snapshot.pages.stamp.tolist() == mem.stamp.tolist()
    heads = np.frombuffer(mem.flags, np.uint8) & page.PG_HEAD != 0
    assert snapshot.pages.order[heads].max() <= 10
    assert (snapshot.pages.order[~heads] == 255).all()
    assert snapshot.pageblock_mt.tobytes() == bytes(mem.pageblock_mt)
    zone = snapshot.zones[-1]
    assert zone.free == sum(blocks << order for order, blocks in enumerate(zone.nr_free()))
    assert 0 < zone.free < zone.managed <= zone.present
    assert snapshot.possible[9] > 0


def test_a_snapshot_does_not_change_when_the_machine_goes_on(source: SimulationSource) -> None:
    snapshot = source.snapshot()
    before = snapshot.pages.owner.tobytes(), snapshot.objects.tobytes(), snapshot.ops
    do(source, Step(200))
    assert (snapshot.pages.owner.tobytes(), snapshot.objects.tobytes(), snapshot.ops) == before
    assert source.snapshot().pages.owner.tobytes() != before[0]
    for array in (snapshot.pages.owner, snapshot.pages.stamp, snapshot.slabs, snapshot.objects, snapshot.nodes):
        assert not array.flags.writeable


def test_slabs_and_objects_of_the_cache_in_focus_add_up(source: SimulationSource) -> None:
    for name in ("xa_node", "dentry"):
        do(source, SetFocus(Focus(cache=name)))
        snapshot = source.snapshot()
        cache = next(one for one in snapshot.caches if one.name == name)
        assert snapshot.objects.shape == (cache.slabs, cache.objs_per_slab)
        assert len(snapshot.slabs) == cache.slabs
        assert (np.diff(snapshot.slabs["pfn"].astype(np.int64)) > 0).all()
        counts = np.bincount(snapshot.objects.ravel(), minlength=8)
        assert counts[OBJ_NONE] == 0
        assert counts[OBJ_SHEAF] == cache.cached
        assert cache.total - counts[OBJ_FREE] - counts[OBJ_SHEAF] == cache.active
        used = (snapshot.objects != OBJ_FREE).sum(axis=1)
        assert used.tolist() == snapshot.slabs["inuse"].tolist()
    do(source, SetFocus(Focus(cache="no such cache")))
    assert source.snapshot().objects.shape == (0, 0)


def test_the_tree_in_focus_is_the_files(source: SimulationSource) -> None:
    snapshot = source.snapshot()
    largest = snapshot.xarrays[0]
    assert largest.entries == max(file.nrpages for file in source.machine.filemap.files.values())
    assert len(snapshot.nodes) == largest.nodes
    last = snapshot.xarrays[-1]
    do(source, SetFocus(Focus(xarray=last.id)))
    nodes = source.snapshot().nodes
    file = source.machine.filemap.files[last.id]
    assert len(nodes) == last.nodes
    assert nodes["parent"][0] == -1
    assert (nodes["parent"][1:] < np.arange(1, len(nodes))).all()
    leaves = nodes[nodes["shift"] == 0]
    indices = [int(leaf["index"]) + slot for leaf in leaves for slot in range(64) if int(leaf["used"]) >> slot & 1]
    assert [index for index in indices if isinstance(file.i_pages.load(index), int)] == sorted(
        index for index in indices if isinstance(file.i_pages.load(index), int)
    )
    assert sum(isinstance(file.i_pages.load(index), int) for index in indices) == file.nrpages
    assert sum(bin(int(node["used"])).count("1") for node in nodes) == int(nodes["count"].sum())


def test_events_come_once_and_in_order(source: SimulationSource) -> None:
    source.snapshot()
    assert len(source.snapshot().events) == 0
    do_later = source.machine.trace.seq
    source.command(5, Defragment("xa_node", 100))
    snapshot = source.snapshot()
    assert snapshot.events["seq"].tolist() == list(range(do_later + 1, source.machine.trace.seq + 1))
    assert snapshot.lost_events == 0


def test_bulk_events_only_while_somebody_looks(source: SimulationSource) -> None:
    do(source, SetFocus(Focus(bulk_events=True)))
    seq = source.machine.trace.seq
    source.command(2, Step(100))
    snapshot = source.snapshot()
    bulk = int((snapshot.events["kind"] < 10).sum())
    assert bulk > 0
    assert (np.diff(snapshot.events["seq"]) > 0).all()
    assert len(snapshot.events) + snapshot.lost_events == source.machine.trace.seq - seq
    do(source, SetFocus(Focus()))
    source.command(3, Step(100))
    assert not (source.snapshot().events["kind"] < 10).any()


def test_request_and_defragment_tell_their_outcome(source: SimulationSource) -> None:
    assert do(source, RequestPages(10, GFP_KERNEL), 7).ok == (source.machine.requests[-1].pfn >= 0)
    snapshot = source.snapshot()
    assert snapshot.request is not None
    assert snapshot.outcomes[-1].sentence == snapshot.request.verdict
    assert snapshot.request.order == 10
    assert snapshot.request.stages[0].name == "fast path"
    outcome = do(source, Defragment("xa_node", 100), 8)
    report = source.snapshot().defrag
    assert report is not None
    assert outcome.ok
    assert outcome.sentence == report.sentence
    assert report.cache == "xa_node"
    assert dict(report.price)["objects moved"] > 0
    assert report.story[-1] == report.sentence


def test_nodes_that_have_just_moved_are_marked_once(source: SimulationSource) -> None:
    source.snapshot()
    source.command(1, Defragment("xa_node", 100))
    first, second = source.snapshot(), source.snapshot()
    moved = set(first.events["b"][first.events["kind"] == 55].tolist())
    in_tree = set(first.nodes["addr"].tolist())
    assert set(first.nodes["addr"][first.nodes["state"] == NODE_MOVED].tolist()) == moved & in_tree
    assert not (second.nodes["state"] == NODE_MOVED).any()


def test_without_a_chosen_file_that_is_shown_whose_nodes_were_moved_last(source: SimulationSource) -> None:
    source.command(1, SetPolicy("xa_nodes", "movable"))
    assert source.snapshot().focus.xarray == -1, "nothing was moved yet: the largest"
    source.command(2, Defragment(cache="xa_node", ratio=90))
    moved = source.snapshot()
    assert (moved.nodes["state"] == NODE_MOVED).any()
    shown = source.machine.filemap.files[moved.focus.xarray]
    assert moved.nodes["addr"][0] == shown.i_pages.head.addr
    assert [one.id for one in moved.xarrays].count(moved.focus.xarray) == 1, "its name is known"
    assert source.snapshot().focus.xarray == moved.focus.xarray, "it stays"
    chosen = next(number for number in source.machine.filemap.files if number != moved.focus.xarray)
    source.command(3, SetFocus(Focus(xarray=chosen)))
    assert source.snapshot().focus.xarray == chosen


def test_a_page_in_focus_says_what_it_is(source: SimulationSource) -> None:
    machine = source.machine
    slab = min(
        (slab for slab in machine.slub.caches["xa_node"].slabs.values() if slab.used()), key=lambda one: one.used()
    )
    used = slab.used()
    do(source, SetFocus(Focus(pfn=slab.pfn + 1)))
    detail = source.snapshot().detail
    assert detail is not None
    assert (detail.pfn, detail.block, detail.order) == (slab.pfn + 1, (slab.pfn + 1) // 512, slab.order)
    assert detail.owner == "xa_node slab"
    assert detail.sentence.startswith(f"slab xa_node {used}/{slab.objects} used, pinned by {used} object")
    assert re.search(r": file \d+, index 0x[0-9a-f]+", detail.sentence)
    file = next(iter(machine.filemap.files.values()))
    found = file.i_pages.find(0)
    assert found is not None
    index, pfn = found
    assert isinstance(pfn, int)
    do(source, SetFocus(Focus(pfn=pfn)))
    detail = source.snapshot().detail
    assert detail is not None
    assert detail.sentence == f"page cache of file {file.number}, index {index:#x}"
    do(source, SetFocus(Focus(pfn=1 << 30)))
    assert source.snapshot().detail is None


def test_wrong_commands_are_told_and_break_nothing(source: SimulationSource) -> None:
    for command, says in (
        (SetPolicy("colour", "blue"), "no policy is called 'colour'"),
        (SetPolicy("xa_nodes", "blue"), "policy xa_nodes cannot be 'blue': choose movable or fixed"),
        (Defragment("kmalloc-17"), "there is no slab cache called 'kmalloc-17'"),
        (SetWorkload("rain", "1"), "no control called 'rain'"),
        (RequestPages(11, GFP_KERNEL), "there is no order 11: ask for one from 0 to 10"),
        (RequestPages(-1, GFP_KERNEL), "order -1"),
    ):
        outcome = do(source, command)
        assert not outcome.ok
        assert says in outcome.sentence
    assert do(source, SetPolicy("xa_nodes", "fixed")).sentence == "xa_nodes is fixed from now on."
    assert dict(source.snapshot().policies)["xa_nodes"] == "fixed"
    assert do(source, Compact()).ok
    source.machine.check()


def test_pause_step_and_run(source: SimulationSource) -> None:
    assert source.snapshot().state == "paused"
    assert source.advance(0.01) is False
    ops = source.machine.ops
    do(source, Step(3))
    assert source.machine.ops == ops + 3
    do(source, Run())
    assert source.snapshot().state == "running"
    assert source.advance(0.001) is True
    assert source.machine.ops > ops + 3
    source.machine.check()


def test_stepping_points_stops_in_the_middle_and_goes_on(source: SimulationSource) -> None:
    time_before, ops = source.machine.smp.now, source.machine.ops
    for _ in range(40):
        do(source, Step(1, "point"))
    snapshot = source.snapshot()
    assert snapshot.ops < ops + 40
    assert snapshot.time_ns > time_before
    assert any(cpu.task and cpu.label != "between operations" for cpu in snapshot.cpus)
    assert {lane["cpu"] for lane in snapshot.lanes} <= {0, 1}
    do(source, RequestPages(0, GFP_KERNEL))
    do(source, Run())
    source.advance(0.001)
    do(source, Pause())
    source.machine.check()


def test_speed_holds_the_run_back(scenario: str) -> None:
    source = SimulationSource(scenario)
    do(source, Speed(10))
    for _ in range(50):
        source.advance(0.004)
    assert source.machine.ops <= 3
    assert source.snapshot().speed == 10
    do(source, Speed(0))
    source.advance(0.004)
    assert source.machine.ops >= PIECE


@pytest.mark.digest
def test_same_commands_at_the_same_operations_same_digest_however_the_time_was_sliced(scenario: str) -> None:
    def run(slices: int) -> str:
        source = SimulationSource(scenario, seed=11)
        while source.machine.ops < 10 * PIECE:
            source.advance(0.0)
            for _ in range(slices):
                source.snapshot()  # looking changes nothing
        assert source.machine.ops == 10 * PIECE
        source.command(1, RequestPages(3, GFP_KERNEL))
        source.command(2, Defragment("", 100))
        source.command(3, Step(PIECE))
        return source.machine.digest()

    assert run(0) == run(2)


def test_the_script_of_a_window_leaves_the_buttons_to_the_person(scenario: str) -> None:
    source = SimulationSource(scenario)
    do(source, Step(200))
    assert source.machine.policies["defrag_mode"] == "1"
    assert source.machine.requests == []
    scripted = SimulationSource(scenario, scripted=True)
    do(scripted, Step(200))
    assert [request.order for request in scripted.machine.requests] == [2]


def test_a_scripted_run_ends_with_its_script_and_tells_it(scenario: str) -> None:
    source = SimulationSource(scenario, scripted=True)
    told: list[str] = []
    while source.snapshot().state == "running":
        assert source.advance(0.0)  # a piece at a time: no moment is missed, however slow this computer is
        told.append(source.snapshot().notice)
    ended = source.snapshot()
    assert (ended.state, ended.ops) == ("ended", 2000)
    assert "defrag_mode is 1 from now on." in told
    assert ended.notice == source.machine.requests[-1].verdict
    assert source.advance(0.01) is False
    do(source, Run())
    assert source.advance(0.01)
    assert source.snapshot().state == "running"
    assert source.machine.ops > 2000


def test_what_cannot_be_made_says_why_in_one_sentence(scenario: str) -> None:
    with pytest.raises(SourceError, match="no scenario is called 'nothing'"):
        SimulationSource("nothing")
    with pytest.raises(SourceError, match="memory of 1 MiB cannot be simulated"):
        SimulationSource(scenario, memory_mib=1)


def test_in_a_process_of_its_own(scenario: str) -> None:
    with HostClient(simulation(scenario, seed=5)) as client:
        assert client.pid != os.getpid()
        client.send(Pause())
        client.send(Step(50))
        number = client.send(RequestPages(3, GFP_KERNEL))
        snapshot: Snapshot | None = None
        while snapshot is None or not any(one.number == number for one in snapshot.outcomes):
            snapshot = client.wait(20)
            assert snapshot is not None, client.failure
        assert snapshot.outcomes[-1].ok
        assert snapshot.request is not None
        assert snapshot.request.pfn >= 0
        assert snapshot.pages.owner[snapshot.request.pfn] == page.OWNER_HUGE
        assert len(snapshot.cpus) == 2
        assert int((snapshot.objects == OBJ_USED).sum()) > 0


def test_a_machine_makes_no_garbage_that_only_the_collector_finds() -> None:
    """The host looks for it so seldom that it would pile up."""
    source = SimulationSource("aged-file-server", seed=3, memory_mib=64)
    do(source, SetPolicy("xa_nodes", "movable"))
    do(source, Step(1500))
    source.snapshot()
    gc.collect()
    gc.disable()
    try:
        for _ in range(5):
            do(source, Step(150))
            do(source, RequestPages(9, GFP_KERNEL))
            do(source, Defragment(ratio=100))
            do(source, Compact())
            source.snapshot()
        assert gc.collect() < 50, "what an exception leaves, not what runs leave"
    finally:
        gc.enable()
