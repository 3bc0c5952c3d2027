"""For everything a dict can say, the XArray says the same: random operations on both, structure checked as they go."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from memviz.kernel.xarray import NodeCache, XaNode, XArray, value

ULONG_MAX = 2**64 - 1

EDGES = [0, 1, 62, 63, 64, 65, 127, 4095, 4096, 262143, 2**31, 2**32 - 1, 2**63 - 1, 2**63, ULONG_MAX - 1, ULONG_MAX]
indices = st.one_of(st.integers(0, 200), st.sampled_from(EDGES), st.integers(0, ULONG_MAX))
entries = st.one_of(st.integers(0, 5).map(value), st.text("abc", min_size=1, max_size=2))
marks = st.integers(0, 2)


class CountingCache(NodeCache):
    """Knows how many nodes are out: an empty array must have given all of them back."""

    def __init__(self) -> None:
        super().__init__()
        self.out = 0

    def alloc(self, gfp: int) -> XaNode:
        self.out += 1
        return XaNode()

    def free(self, node: XaNode) -> None:
        self.out -= 1

    def free_rcu(self, node: XaNode) -> None:
        self.out -= 1


class SingleIndices(RuleBasedStateMachine):
    """Entries of one index each, with marks."""

    def __init__(self) -> None:
        super().__init__()
        self.cache = CountingCache()
        self.xa = XArray(nodes=self.cache)
        self.model: dict[int, object] = {}
        self.marked: list[set[int]] = [set(), set(), set()]

    @rule(index=indices, entry=entries)
    def store(self, index: int, entry: object) -> None:
        assert self.xa.store(index, entry) == self.model.get(index)
        self.model[index] = entry

    @rule(index=indices)
    def erase(self, index: int) -> None:
        assert self.xa.erase(index) == self.model.pop(index, None)
        for marked in self.marked:
            marked.discard(index)

    @rule(data=st.data())
    @precondition(lambda self: self.model)
    def erase_one_that_is_there(self, data: st.DataObject) -> None:
        self.erase(data.draw(st.sampled_from(sorted(self.model))))

    @rule(index=indices, old=entries, new=st.one_of(st.none(), entries))
    def cmpxchg(self, index: int, old: object, new: object) -> None:
        there = self.model.get(index)
        assert self.xa.cmpxchg(index, there, there) == there
        assert self.xa.cmpxchg(index, old, new) == there
        if there == old:
            if new is None:
                self.erase_from_model(index)
            else:
                self.model[index] = new

    def erase_from_model(self, index: int) -> None:
        del self.model[index]
        for marked in self.marked:
            marked.discard(index)

    @rule(index=indices, mark=marks)
    def set_mark(self, index: int, mark: int) -> None:
        self.xa.set_mark(index, mark)
        if index in self.model:
            self.marked[mark].add(index)

    @rule(index=indices, mark=marks)
    def clear_mark(self, index: int, mark: int) -> None:
        self.xa.clear_mark(index, mark)
        self.marked[mark].discard(index)

    @rule(index=indices)
    def reserve_and_release(self, index: int) -> None:
        self.xa.reserve(index)
        self.xa.release(index)

    @rule(index=indices, last=indices, mark=st.one_of(st.none(), marks))
    def find(self, index: int, last: int, mark: int | None) -> None:
        wanted = sorted(i for i in (self.model if mark is None else self.marked[mark]) if i <= last)
        at = next((i for i in wanted if i >= index), None)
        assert self.xa.find(index, last, mark) == (None if at is None else (at, self.model[at]))
        after = next((i for i in wanted if i > index), None)
        assert self.xa.find_after(index, last, mark) == (None if after is None else (after, self.model[after]))

    @rule(index=indices, n=st.integers(0, 20), mark=st.one_of(st.none(), marks))
    def extract(self, index: int, n: int, mark: int | None) -> None:
        wanted = sorted(i for i in (self.model if mark is None else self.marked[mark]) if i >= index)
        assert self.xa.extract(index, n, mark) == [self.model[i] for i in wanted[:n]]

    @rule(index=indices, steps=st.integers(1, 70), forward=st.booleans())
    def step(self, index: int, steps: int, forward: bool) -> None:
        xas = self.xa.state(index)
        assert xas.load() == self.model.get(index)
        for _ in range(steps):
            index = (index + (1 if forward else -1)) & ULONG_MAX
            assert (xas.next() if forward else xas.prev()) == self.model.get(index)
            assert xas.xa_index == index

    @invariant()
    def same(self) -> None:
        self.xa.check(tight=True)
        for index in self.model:
            assert self.xa.load(index) == self.model[index]
        for mark in range(3):
            assert self.xa.marked(mark) == bool(self.marked[mark])
        assert self.xa.empty() == (not self.model)
        if not self.model:
            assert self.cache.out == 0

    def teardown(self) -> None:
        for index in list(self.model):
            assert self.xa.get_mark(index, 1) == (index in self.marked[1])
        self.xa.destroy()
        assert self.cache.out == 0
        self.xa.check(tight=True)


class Ranges(RuleBasedStateMachine):
    """Aligned entries of any order that cover, or lie in, what is there; the model holds (first, order) → entry."""

    def __init__(self) -> None:
        super().__init__()
        self.cache = CountingCache()
        self.xa = XArray(nodes=self.cache)
        self.model: dict[tuple[int, int], object] = {}

    def at(self, index: int) -> tuple[int, int] | None:
        return next((key for key in self.model if key[0] <= index < key[0] + (1 << key[1])), None)

    @rule(index=indices, order=st.one_of(st.integers(0, 13), st.integers(0, 63)), entry=entries)
    def store(self, index: int, order: int, entry: object) -> None:
        first = index >> order << order
        inside = [key for key in self.model if first <= key[0] < first + (1 << order)]
        around = self.at(first)
        if around is not None and around[1] >= order:
            if order == 0:
                self.xa.store(index, entry)
                self.model[around] = entry  # an entry is stored over as a whole
            return
        for key in inside:
            del self.model[key]
        self.xa.store(index, entry, order=order)
        self.model[first, order] = entry

    @rule(index=indices)
    def erase(self, index: int) -> None:
        key = self.at(index)
        assert self.xa.erase(index) == (None if key is None else self.model.pop(key))

    @rule(index=indices)
    def look(self, index: int) -> None:
        key = self.at(index)
        if key is None:
            assert self.xa.load(index) is None
        else:
            assert self.xa.load(index) == self.model[key]
            assert self.xa.get_order(index) == key[1]
        later = min((k for k in self.model if k[0] + (1 << k[1]) > index), default=None)
        hit = self.xa.find(index)
        assert hit == (None if later is None else (later[0] if later[0] > index else hit[0], self.model[later]))

    @invariant()
    def same(self) -> None:
        self.xa.check(tight=True)
        for (first, order), entry in self.model.items():
            for index in (first, first + (1 << order) // 2, first + (1 << order) - 1):
                assert self.xa.load(index) == entry

    def teardown(self) -> None:
        for first, _ in list(self.model):
            self.xa.erase(first)
        assert self.xa.empty()
        assert self.cache.out == 0


class Allocating(RuleBasedStateMachine):
    """Free indices: always the lowest, never one that is taken."""

    def __init__(self) -> None:
        super().__init__()
        self.xa = XArray("alloc")
        self.taken: dict[int, object] = {}

    @rule(low=st.integers(0, 130), length=st.integers(1, 200), entry=st.one_of(st.none(), entries))
    def alloc(self, low: int, length: int, entry: object) -> None:
        free = next((i for i in range(low, low + length) if i not in self.taken), None)
        if free is None:
            return
        assert self.xa.alloc(entry, low, low + length - 1) == free
        self.taken[free] = entry

    @rule(index=st.integers(0, 400), entry=st.one_of(st.none(), entries))
    def store(self, index: int, entry: object) -> None:
        self.xa.store(index, entry)
        self.taken[index] = entry

    @rule(index=st.integers(0, 400))
    def erase(self, index: int) -> None:
        assert self.xa.erase(index) == self.taken.pop(index, None)

    @invariant()
    def same(self) -> None:
        self.xa.check(tight=True)
        assert self.xa.extract(0, 1000) == [self.taken[i] for i in sorted(self.taken) if self.taken[i] is not None]


quick = settings(max_examples=40, stateful_step_count=40, deadline=None)
TestSingleIndices = SingleIndices.TestCase
TestSingleIndices.settings = quick
TestRanges = Ranges.TestCase
TestRanges.settings = quick
TestAllocating = Allocating.TestCase
TestAllocating.settings = quick
