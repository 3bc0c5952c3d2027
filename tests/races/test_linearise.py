"""The checker explains what can be explained, and nothing else."""

from __future__ import annotations

from itertools import permutations

from hypothesis import given
from hypothesis import strategies as st

from memviz.kernel.explore import search_random
from memviz.kernel.schedule import Scheduler
from memviz.races.lab import Lab
from memviz.races.linearise import LOAD, STORE, Op, covers, linearisable


def load(found: object, begin: int, end: int) -> Op:
    return Op(0, LOAD, "xa", 5, 0, None, found, True, begin, end)


def store(entry: object, old: object, begin: int, end: int, tells: bool = True) -> Op:
    return Op(1, STORE, "xa", 5, 0, entry, old, tells, begin, end)


def test_a_load_beside_a_store_may_find_either() -> None:
    for found in (None, "new"):
        assert linearisable([store("new", None, 1, 4), load(found, 2, 3)])
    assert not linearisable([store("new", None, 1, 4), load("other", 2, 3)])


def test_a_load_after_a_store_finds_it() -> None:
    assert linearisable([store("new", None, 1, 2), load("new", 3, 4)])
    assert not linearisable([store("new", None, 1, 2), load(None, 3, 4)])


def test_two_loads_do_not_go_back_in_time() -> None:
    ops = [store("new", None, 1, 10), load("new", 2, 3), load(None, 4, 5)]
    assert not linearisable(ops)
    assert linearisable([ops[0], load(None, 2, 3), load("new", 4, 5)])


def test_a_store_that_replaced_what_was_not_there_is_found_out() -> None:
    assert not linearisable([store("a", None, 1, 2), store("b", None, 3, 4)])
    assert linearisable([store("a", None, 1, 2), store("b", None, 3, 4, tells=False), load("b", 5, 6)])


def test_a_huge_store_is_about_all_its_indices() -> None:
    huge = Op(1, STORE, "xa", 64, 6, "huge", None, False, 1, 2)
    assert [covers(huge, index) for index in (63, 64, 127, 128)] == [False, True, True, False]


def explained(ops: list[Op], first: object) -> bool:
    """The definition, word for word: some order of all calls that keeps to real time and explains each."""
    for order in permutations(ops):
        if any(later.end < earlier.begin for at, earlier in enumerate(order) for later in order[at + 1 :]):
            continue
        held = first
        for op in order:
            if op.tells and op.found != held:
                break
            if op.kind == STORE:
                held = op.entry
        else:
            return True
    return False


@given(
    st.lists(
        st.tuples(st.booleans(), st.sampled_from("ab"), st.sampled_from("abn"), st.integers(0, 9), st.integers(0, 5)),
        max_size=5,
    )
)
def test_it_agrees_with_the_definition(calls: list[tuple[bool, str, str, int, int]]) -> None:
    ops = [
        Op(0, STORE if stores else LOAD, "xa", 5, 0, entry, found, True, begin, begin + length)
        for stores, entry, found, begin, length in calls
    ]
    assert linearisable(ops, "n") == explained(ops, "n")


def test_an_array_that_forgets_a_store_is_found_out() -> None:
    """Loads from a copy that is not kept up to date: what a mover does that lets go of the lock too early."""

    def stale(scheduler: Scheduler) -> None:
        lab = Lab(scheduler, cpus=2)
        array, _ = lab.two_leaves()
        copy = [array.load(100)]

        def read() -> None:
            for _ in range(3):
                at = lab.history._begin(LOAD, array, 100, 0, None)
                lab.smp.point("reads")
                lab.history._end(at, copy[0], True)

        def write() -> None:
            lab.store(array, 100, "new")
            lab.smp.point("written, not copied")
            copy[0] = "new"

        lab.on_cpu(0, "reader", read)
        lab.on_cpu(1, "writer", write)
        lab.run()

    verdict = search_random(stale, 200)
    assert verdict.rule == "not linearisable"
    assert "no order of these calls explains what index 100 of file was found to be" in (verdict.failure or "")
