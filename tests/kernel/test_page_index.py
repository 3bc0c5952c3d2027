"""The switch: the page cache in an XArray or in a radix tree. The same contents, and another fate of their nodes."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from memviz.kernel.machine import POLICIES, Machine, MachineConfig
from memviz.kernel.page_tree import PageTree
from memviz.kernel.radix_pages import RadixPages
from memviz.kernel.radix_tree import RADIX_TREE_PRELOAD_SIZE
from memviz.kernel.trace import XA_NODE_MOVED
from memviz.kernel.xa_node import XaValue
from memviz.kernel.xa_pages import XArrayPages
from memviz.scenario import load

INDEXES = POLICIES["page_cache_index"][0]
KINDS = {"xarray": XArrayPages, "radix_tree": RadixPages}


def with_index(index: str, seed: int = 7, mib: int = 64, cpus: int | None = None, scheduler: str = "seeded") -> Machine:
    m = load("aged-file-server").machine(seed=seed, memory_mib=mib, cpus=cpus, scheduler=scheduler)
    m.set_policy("page_cache_index", index)
    return m


def entries(tree: PageTree) -> dict[int, object]:
    found = tree.find(0)
    seen: dict[int, object] = {}
    while found is not None:
        seen[found[0]] = found[1]
        found = tree.find_after(found[0])
    return seen


def cached(m: Machine) -> dict[int, list[int]]:
    """Indices of the pages in memory, by file."""
    return {
        number: [index for index, entry in entries(file.i_pages).items() if isinstance(entry, int)]
        for number, file in m.filemap.files.items()
    }


def test_the_same_workload_and_seed_cache_the_same_pages_in_both() -> None:
    """On one CPU, before memory is short: interleaving and reclaim depend on time, and trees take different times."""
    machines = [with_index(index, mib=128, cpus=1) for index in INDEXES]
    for m in machines:
        m.run(ops=1500)
        m.check()
    xarray, radix = machines
    assert cached(xarray) == cached(radix)
    assert sum(map(len, cached(radix).values())) > 5000
    for number, file in radix.filemap.files.items():
        twin = xarray.filemap.files[number]
        assert (type(twin.i_pages), type(file.i_pages)) == (XArrayPages, RadixPages)
        assert len(file.i_pages.nodes_in_tree()) == len(twin.i_pages.nodes_in_tree())
    assert radix.xa_nodes.cache.stats().total == 0
    assert radix.slub.caches["radix_tree_node"].stats().active > 100


@pytest.mark.slow
def test_in_a_radix_tree_nodes_stay_and_order_9_fails_and_in_an_xarray_it_succeeds() -> None:
    for index in INDEXES:
        m = with_index(index)
        m.run(ops=11_000)
        cache = m.slub.caches["radix_tree_node" if index == "radix_tree" else "xa_node"]
        before = {node.addr for file in m.filemap.files.values() for node in file.i_pages.nodes_in_tree()}
        slabs = cache.stats().slabs
        told = {one.cache: one.sentence() for one in m.defragment(ratio=100)}
        after = {node.addr for file in m.filemap.files.values() for node in file.i_pages.nodes_in_tree()}
        m.check()
        if index == "xarray":
            assert len(after - before) > 400
            assert cache.stats().slabs < slabs / 2
            assert m.request(9).pfn >= 0
        else:
            assert after == before
            assert cache.stats().slabs >= slabs
            assert told["radix_tree_node"] == (
                "radix_tree_node: its nodes cannot move: the lock of a radix tree is its user's own,"
                " and nobody else knows which it is."
            )
            failed = m.request(9)
            assert failed.pfn == -1
            assert failed.verdict.startswith("Failed: ")


@pytest.mark.slow
def test_the_same_nodes_move_as_soon_as_they_are_an_xarrays() -> None:
    m = with_index("radix_tree")
    m.run(ops=11_000)
    m.defragment(ratio=100)
    assert m.request(9).pfn == -1
    nodes = {node.addr for file in m.filemap.files.values() for node in file.i_pages.nodes_in_tree()}
    pages = cached(m)
    m.set_policy("page_cache_index", "xarray")
    assert {node.addr for file in m.filemap.files.values() for node in file.i_pages.nodes_in_tree()} == nodes
    assert cached(m) == pages
    m.check()
    moved = {one.cache: one.objects_moved for one in m.defragment(ratio=100)}
    assert moved["radix_tree_node"] > 400
    told = {at[5]: at[6:] for at in m.trace.notable if at[3] == XA_NODE_MOVED}
    where = {
        node.addr: (file.number, node.first_index())
        for file in m.filemap.files.values()
        for node in file.i_pages.nodes_in_tree()
    }
    assert len(told) > 400
    assert {addr: told[addr] for addr in told if addr in where} == {addr: where[addr] for addr in told if addr in where}
    assert m.request(9).pfn >= 0
    m.check()


def test_preloaded_nodes_pin_slabs_until_nobody_preloads() -> None:
    m = with_index("radix_tree", mib=32)
    m.run(ops=300)
    cache = m.slub.caches["radix_tree_node"]
    stash = next(one for one in m.page_index.stashes if one.nodes.cache is cache)  # type: ignore[attr-defined]
    assert [len(one) for one in stash.stash] == [RADIX_TREE_PRELOAD_SIZE] * m.config.cpus
    for file in list(m.filemap.files.values()):
        file.truncate(0)
    m.rcu.drain()
    cache.shrink()
    pinned = {m.slub.virt_to_slab(node.addr) for node in stash.preloaded()}
    assert len(cache.slabs) == len(pinned) >= 3, "no tree holds anything, and these stay"
    m.defragment("radix_tree_node", ratio=100)
    assert len(cache.slabs) == len(pinned)
    m.set_policy("page_cache_index", "xarray")
    m.rcu.drain()
    cache.shrink()
    assert len(cache.slabs) == 0
    m.check()


def test_it_changes_over_between_operations_only() -> None:
    """Whoever stands inside a tree when the switch is turned comes out of it first."""
    m = with_index("radix_tree", mib=32)
    m.run(ops=50)
    m.smp.points_left = 2001
    m.run(ops=1 << 20)
    m.smp.points_left = -1
    m.smp.tickets = 0
    inside = [cpu.label for cpu in m.smp.cpus if cpu.label != "between operations"]
    assert inside
    m.set_policy("page_cache_index", "xarray")
    m.check()
    assert all(isinstance(file.i_pages, XArrayPages) for file in m.filemap.files.values())
    m.run(ops=100)
    m.check()


@pytest.mark.digest
def test_a_radix_tree_repeats() -> None:
    digests = []
    for seed in (12345, 12345, 12346):
        m = with_index("radix_tree", seed=seed, mib=32)
        m.run(ops=500)
        m.defragment(ratio=100)
        m.set_policy("page_cache_index", "xarray")
        m.run(ops=100)
        m.set_policy("page_cache_index", "radix_tree")
        m.run(ops=100)
        m.check()
        digests.append(m.digest())
    assert digests[0] == digests[1] != digests[2]


def test_setting_what_is_so_already_changes_nothing() -> None:
    m = load("aged-file-server").machine(seed=3, memory_mib=32)
    m.run(ops=200)
    before = m.digest()
    m.set_policy("page_cache_index", "xarray")
    assert m.digest() == before
    assert "radix_tree_node" not in m.slub.caches


@pytest.mark.parametrize("seed", [1, 2])
def test_a_radix_tree_under_pressure_on_os_threads(seed: int) -> None:
    m = with_index("radix_tree", seed=seed, mib=48, scheduler="threads")
    for _ in range(3):
        m.run(ops=300)
        m.check()


COMMANDS = st.lists(
    st.one_of(
        st.tuples(st.just("run"), st.integers(1, 300)),
        st.tuples(st.just("request"), st.sampled_from([0, 4, 9])),
        st.tuples(st.just("defragment"), st.sampled_from([30, 100])),
        st.tuples(st.just("compact"), st.just(0)),
        st.tuples(st.just("shadows"), st.integers(1, 50)),
        st.tuples(st.just("index"), st.integers(0, 1)),
        st.tuples(st.just("fixed"), st.integers(0, 1)),
    ),
    min_size=1,
    max_size=10,
)


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 1000), commands=COMMANDS)
def test_every_invariant_holds_whatever_is_turned_when(seed: int, commands: list[tuple[str, int]]) -> None:
    m = with_index("radix_tree", seed=seed, mib=32)
    m.run(ops=600)
    for command, argument in commands:
        if command == "run":
            m.run(ops=argument)
        elif command == "request":
            m.request(argument)
        elif command == "defragment":
            m.defragment(ratio=argument)
        elif command == "compact":
            m.compact()
        elif command == "shadows":
            m.workingset.max_nodes = 0
            m.smp.run_task(0, "shrinker", lambda n=argument: m.workingset.shrink(n))  # type: ignore[misc]
        elif command == "index":
            m.set_policy("page_cache_index", INDEXES[argument])
        else:
            m.set_policy("xa_nodes", POLICIES["xa_nodes"][0][argument])
        m.check()
        kind = KINDS[m.policies["page_cache_index"]]
        assert all(isinstance(file.i_pages, kind) for file in m.filemap.files.values())


class BothAgree(RuleBasedStateMachine):
    """One file in each, told the same: reads, evictions, truncations, shadow nodes let go, changes of mind."""

    def __init__(self) -> None:
        super().__init__()
        self.machines = []
        self.files = []
        for index in INDEXES:
            m = Machine(MachineConfig(memory_mib=16, cpus=1, thp=False))
            m.set_policy("page_cache_index", index)
            m.workingset.max_nodes = 0
            self.machines.append(m)
            self.files.append(m.filemap.open())
        self.model: dict[int, str] = {}

    indices = st.one_of(st.integers(0, 200), st.sampled_from([4095, 4096, 70_000, 2**31, 2**32 - 1]))

    @rule(index=indices, count=st.integers(1, 3))
    def read(self, index: int, count: int) -> None:
        index = min(index, 2**32 - 4)
        assert len({file.read(index, count) for file in self.files}) == 1
        self.model.update(dict.fromkeys(range(index, index + count), "page"))

    @rule(data=st.data())
    @precondition(lambda self: "page" in self.model.values())
    def evict(self, data: st.DataObject) -> None:
        index = data.draw(st.sampled_from(sorted(at for at, what in self.model.items() if what == "page")))
        for m, file in zip(self.machines, self.files, strict=True):
            pfn = file.i_pages.load(index)
            assert isinstance(pfn, int)
            assert m.vmscan.folio_isolate_lru(pfn)
            assert file.release_folio(pfn, index)
            assert not file.release_folio(pfn, index), "it is gone"
            m.mem.forget_mapping(pfn)
            m.page_alloc.free_pages(pfn, 0)
        self.model[index] = "shadow"

    @rule(start=indices)
    def truncate(self, start: int) -> None:
        pages = sum(what == "page" for at, what in self.model.items() if at >= start)
        assert [file.truncate(start) for file in self.files] == [pages, pages]
        self.model = {at: what for at, what in self.model.items() if at < start}

    @rule(n=st.integers(1, 4))
    def let_shadow_nodes_go(self, n: int) -> None:
        assert len({m.workingset.shrink(n) for m in self.machines}) == 1
        gone = [
            at for at in self.model if self.files[0].i_pages.load(at) is None and self.files[1].i_pages.load(at) is None
        ]
        assert all(self.model[at] == "shadow" for at in gone)
        for at in gone:
            del self.model[at]

    @rule()
    def change_over(self) -> None:
        for m in self.machines:
            now = m.policies["page_cache_index"]
            m.set_policy("page_cache_index", INDEXES[1 - INDEXES.index(now)])

    @rule()
    def move_nodes(self) -> None:
        for m in self.machines:
            m.defragment(ratio=100)

    @invariant()
    def same(self) -> None:
        told = []
        for m, file in zip(self.machines, self.files, strict=True):
            m.filemap.check()
            m.check_nodes()
            file.i_pages.check()
            found = entries(file.i_pages)
            assert {at: "shadow" if isinstance(one, XaValue) else "page" for at, one in found.items()} == self.model
            assert all(file.i_pages.load(at) == one for at, one in found.items())
            told.append(file.nrpages)
        assert told == [list(self.model.values()).count("page")] * 2


TestBothAgree = BothAgree.TestCase
TestBothAgree.settings = settings(max_examples=20, stateful_step_count=25, deadline=None)
