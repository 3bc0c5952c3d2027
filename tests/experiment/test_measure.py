"""One cell: what is measured, on a machine that is not disturbed by it."""

from __future__ import annotations

import msgspec
import pytest

from memviz import scenario as scenarios
from memviz.experiment.demand import CopyFailed, burst, in_a_copy, steady
from memviz.experiment.measure import Outcome, ageing, measure
from memviz.experiment.price import blocks, holders, paid, price
from memviz.experiment.spec import Cell
from memviz.kernel.machine import Machine, MachineConfig
from memviz.kernel.page import GFP_HIGHUSER_MOVABLE, GFP_KERNEL, OWNER_KERNEL, OWNER_PAGE_CACHE
from memviz.sources.play import Play

Outcomes = dict[tuple[str, str], Outcome]


def pick(cells: list[Cell], begin: str, policy: str) -> Cell:
    return next(cell for cell in cells if (cell.seed, cell.begin, cell.policy.name) == (1, begin, policy))


@pytest.fixture(scope="module")
def measured() -> Outcomes:
    return {}


@pytest.fixture
def outcomes(small_cells: list[Cell], measured: Outcomes) -> Outcomes:
    """All cells of seed 1, measured once for the whole module."""
    if not measured:
        like_plain = [("aged", "plain"), ("aged", "moves"), ("start", "plain")]
        for names in (like_plain, [("start", "moves")]):
            cells = [pick(small_cells, *name) for name in names]
            assert all(ageing(cell) == ageing(cells[0]) for cell in cells)
            measured.update(zip(names, measure(cells), strict=True))
    return measured


def test_the_aged_machine_is_the_one_that_a_plain_run_gives(outcomes: Outcomes, small_cells: list[Cell]) -> None:
    cell = pick(small_cells, "start", "plain")
    scenario = scenarios.parse(cell.text, cell.scenario)
    machine = scenario.machine(seed=1, memory_mib=32)
    for switch, value in cell.policy.switches.items():
        machine.set_policy(switch, value)
    Play(msgspec.structs.replace(scenario, moment=()), machine).run(320)
    assert outcomes["start", "plain"].digest == machine.digest()
    assert outcomes["start", "plain"].price == paid({}, price(machine))


def test_policies_that_begin_with_the_aged_machine_meet_the_same_one(outcomes: Outcomes) -> None:
    digests = {name: outcome.digest for name, outcome in outcomes.items()}
    assert digests["aged", "plain"] == digests["aged", "moves"] == digests["start", "plain"]
    assert digests["start", "moves"] != digests["start", "plain"]


def test_it_is_no_matter_who_shares_a_machine(outcomes: Outcomes, small_cells: list[Cell]) -> None:
    assert measure([pick(small_cells, "aged", "moves")]) == [outcomes["aged", "moves"]]


def test_an_action_moves_objects_and_tells_its_price(outcomes: Outcomes) -> None:
    for begin in ("aged", "start"):
        cost = outcomes[begin, "moves"].price
        assert cost["objects_moved"] > 0
        assert cost["bytes_copied"] == cost["objects_moved"] * 576
        assert cost["grace_periods_waited"] > 0
        assert "objects_moved" not in outcomes[begin, "plain"].price
    assert outcomes["aged", "plain"].price == {}  # it did nothing at all


def test_demands_are_as_the_protocol_says(outcomes: Outcomes) -> None:
    for outcome in outcomes.values():
        assert [(one.order, one.wanted) for one in outcome.burst] == [(3, 256), (8, 8), (9, 4)]
        assert [(one.order, one.wanted) for one in outcome.steady] == [(3, 3), (9, 3)]
        assert [sample.ops for sample in outcome.samples] == [160, 320]
        for one in (*outcome.burst, *outcome.steady):
            assert 0 <= one.in_a_row <= one.got <= one.wanted
            assert one.mean_ns <= one.p95_ns <= one.worst_ns or one.mean_ns <= one.worst_ns


def test_mainlines_shrink_moves_nothing(small_cells: list[Cell]) -> None:
    cell = pick(small_cells, "aged", "plain")
    shrinks = msgspec.structs.replace(cell, policy=msgspec.structs.replace(cell.policy, action="shrink"))
    compacts = msgspec.structs.replace(cell, policy=msgspec.structs.replace(cell.policy, action="compact"))
    first, second = measure([shrinks, compacts])
    assert "objects_moved" not in first.price
    assert "pages_compacted" not in first.price
    assert second.price["pages_compacted"] > 0


# -- demands ---------------------------------------------------------------------------------------------------------


def machine_of(memory_mib: int = 32) -> Machine:
    return Machine(MachineConfig(memory_mib=memory_mib, cpus=2, thp=False, dma_mib=0))


def test_a_copy_changes_nothing_here() -> None:
    machine = machine_of()
    before = machine.digest()
    assert in_a_copy(lambda: msgspec.json.encode(burst(machine, 9, 25, 1).got)) == b"4"
    assert machine.digest() == before
    assert burst(machine, 9, 25, 1).got == 4  # here it does
    assert machine.digest() != before


def test_a_copy_that_breaks_says_why() -> None:
    machine = machine_of()
    with pytest.raises(CopyFailed, match="order 11 is not between 0 and 10"):
        in_a_copy(lambda: msgspec.json.encode(burst(machine, 11, 25, 1)))


def test_a_burst_ends_at_its_share_or_when_patience_ends() -> None:
    machine = machine_of()
    got = burst(machine, 9, 50, 3)
    assert (got.wanted, got.got, got.in_a_row) == (8, 8, 8)
    got = burst(machine, 9, 90, 3)  # 14 wanted, but what is left of 16 blocks is less
    assert got.wanted == 14
    assert got.got == got.in_a_row < 8
    assert got.price["allocations_failed"] == 3
    machine.check()


def test_a_steady_demand_gives_back_the_oldest() -> None:
    machine = machine_of()
    worked: list[int] = []
    got = steady(machine, 9, 40, 2, lambda: worked.append(machine.page_alloc.nr_free_pages))
    assert (got.wanted, got.got, got.in_a_row) == (40, 40, 40)
    assert len(worked) == 40
    assert worked[0] - min(worked) == 2 * 512
    machine.check()


def test_pageblocks_are_told_apart() -> None:
    machine = machine_of()
    assert blocks(machine)["mixed"] == 0
    free = blocks(machine)["free"]
    # alone in a block each, then together
    kernel = machine.page_alloc.alloc_pages(9, GFP_KERNEL, OWNER_KERNEL)
    cache = machine.page_alloc.alloc_pages(9, GFP_HIGHUSER_MOVABLE, OWNER_PAGE_CACHE)
    assert kernel is not None
    assert cache is not None
    found = blocks(machine)
    assert (found["free"], found["movable"], found["mixed"]) == (free - 2, 1, 0)
    machine.mem.owner[cache] = OWNER_KERNEL
    assert blocks(machine)["mixed"] == 1
    assert holders(machine)["page cache"] == 511


def test_nothing_paid_is_left_out_and_a_maximum_is_no_difference() -> None:
    before = {"objects_moved": 5, "longest_hold_ns": 70, "time_ns": 10}
    assert paid(before, {"objects_moved": 5, "longest_hold_ns": 90, "time_ns": 30}) == {
        "longest_hold_ns": 90,
        "time_ns": 20,
    }
