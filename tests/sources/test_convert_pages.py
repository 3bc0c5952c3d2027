"""Copies of a machine's page frames by the pageblocks that it says it touched: what copying all of them gives."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memviz import scenario
from memviz.kernel.machine import Machine, MachineConfig
from memviz.kernel.page import GFP_KERNEL, PG_HEAD, PageFrames
from memviz.snapshot import Pages
from memviz.sources import convert_pages
from memviz.sources.base import Compact, Defragment, RequestPages, SetPolicy, Step
from memviz.sources.simulation import SimulationSource


def assert_all_there(found: Pages, mem: PageFrames) -> None:
    """What was copied is what is in the machine."""
    flags = np.frombuffer(mem.flags, np.uint8)
    np.testing.assert_array_equal(found.owner, np.frombuffer(mem.owner, np.uint8), "owner")
    np.testing.assert_array_equal(found.flags, flags, "flags")
    np.testing.assert_array_equal(found.stamp, np.frombuffer(mem.stamp, np.uint32), "stamp")
    head = flags & PG_HEAD != 0
    np.testing.assert_array_equal(found.order, np.where(head, np.frombuffer(mem.order, np.uint8), 255), "order")


def by_marks_alone(machine: Machine) -> convert_pages.PageCopies:
    """Copies that never look at all of a memory, however much was touched."""
    return convert_pages.PageCopies(machine.mem, many=0, round=0)


@pytest.mark.parametrize("name", scenario.names())
def test_every_scenario_says_what_it_touches(name: str) -> None:
    found = scenario.load(name)
    source = SimulationSource(found, memory_mib=max(64, found.machine_spec.memory_mib // 4), scripted=True)
    copies = by_marks_alone(source.machine)
    commands = [Step(3), Defragment(ratio=100), Compact(), RequestPages(9, GFP_KERNEL), Step(5, "point"), Compact()]
    for number, command in enumerate(commands, 1):
        source.command(number, command)
        assert_all_there(copies.pages(), source.machine.mem)
    seen = []
    for _ in range(12):
        source.command(99, Step(40))
        pages = copies.pages()
        assert_all_there(pages, source.machine.mem)
        seen.append(pages.owner.copy())
    assert any(not np.array_equal(seen[0], one) for one in seen), "nothing happened that could have been missed"


def test_a_look_into_the_middle_of_operations_misses_nothing() -> None:
    source = SimulationSource("aged-file-server", memory_mib=48, scripted=True)
    copies = by_marks_alone(source.machine)
    looks = 0

    def look() -> None:
        nonlocal looks
        looks += 1
        assert_all_there(copies.pages(), source.machine.mem)

    source.watch(look)
    source.machine.smp.watch_mask = 3  # at every fourth switch of CPUs
    source.command(1, SetPolicy("xa_nodes", "movable"))
    for number in range(2, 10):
        source.command(number, Step(60))
        source.command(number, Compact())
        source.command(number, RequestPages(9, GFP_KERNEL))
    assert looks > 500


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from((31, 32, 33)),
    st.lists(
        st.tuples(st.sampled_from(("alloc", "free", "compact", "split", "contig")), st.integers(0, 10), st.booleans()),
        max_size=40,
    ),
)
def test_random_commands_say_what_they_touch(mib: int, steps: list[tuple[str, int, bool]]) -> None:
    machine = Machine(MachineConfig(memory_mib=mib, cpus=2, seed=1))
    copies = by_marks_alone(machine)
    held: list[tuple[int, int]] = []
    for what, number, look in steps:
        if what == "alloc":
            pfn = machine.page_alloc.alloc_pages(number, GFP_KERNEL)
            if pfn is not None:
                held.append((pfn, number))
        elif what == "free" and held:
            machine.page_alloc.free_pages(*held.pop(number % len(held)))
        elif what == "compact":
            machine.compact()
        elif what == "split" and held:
            pfn, order = held.pop(number % len(held))
            machine.page_alloc.split_page(pfn, order)
            held.extend((frame, 0) for frame in range(pfn, pfn + (1 << order)))
        elif what == "contig":
            machine.alloc_contig(300 * (number + 1))
        if look:
            assert_all_there(copies.pages(), machine.mem)
    assert_all_there(copies.pages(), machine.mem)
    assert_all_there(convert_pages.pages(machine.mem), machine.mem)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 8191), st.sampled_from((1, 4, 16, 100)))
def test_what_nobody_marked_is_seen_within_a_round(pfn: int, round: int) -> None:
    machine = Machine(MachineConfig(memory_mib=32, cpus=1, seed=1))
    copies = convert_pages.PageCopies(machine.mem, round=round)
    copies.pages()
    machine.mem.owner[pfn] ^= 1
    for _ in range(round):
        found = copies.pages()
    assert_all_there(found, machine.mem)
