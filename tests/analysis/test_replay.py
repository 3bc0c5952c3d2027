"""A trace through the simulated allocator: pairing by hand, and what the sample meets under each policy."""

from __future__ import annotations

import numpy as np
import pytest

from memviz import resources
from memviz.analysis.replay import BATCHED, POLICIES, Traffic, memory_mib, replay, run
from memviz.analysis.replay_machine import ReplayMachine
from memviz.kernel.page import (
    GFP_KERNEL,
    GFP_MOVABLE,
    GFP_RECLAIMABLE,
    OWNER_ANON,
    OWNER_PAGE_CACHE,
    PG_BUDDY,
    gfp_migratetype,
)
from memviz.kernel.trace import ALLOC_FAILED, MM_PAGE_ALLOC, MM_PAGE_ALLOC_EXTFRAG, MM_PAGE_FREE
from memviz.snapshot import EVENT_DTYPE, Structured
from memviz.sources.ftrace import read_trace


def events(*rows: tuple[int, ...]) -> Structured:
    """Events from (kind, a, b, c, d); all on CPU 0."""
    full = [(seq, seq, 0, row[0], *row[1:], *(0,) * (5 - len(row))) for seq, row in enumerate(rows)]
    return np.array(full, EVENT_DTYPE)


def test_an_allocation_and_its_free_belong_together_by_the_pfn_of_the_trace() -> None:
    traffic = Traffic(
        events(
            (MM_PAGE_FREE, 7, 0),  # allocated before the trace
            (MM_PAGE_FREE, 7, 0, BATCHED),
            (MM_PAGE_ALLOC, 7, 0, 1, GFP_KERNEL | GFP_MOVABLE),
            (MM_PAGE_ALLOC, 64, 3, 2, GFP_KERNEL),
            (ALLOC_FAILED, 9, GFP_KERNEL),
            (MM_PAGE_ALLOC_EXTFRAG, 64, 3, 10, 0),
            (MM_PAGE_FREE, 7, 0),
            (MM_PAGE_FREE, 7, 0, BATCHED),  # the same free, told a second time
            (MM_PAGE_ALLOC, 7, 0, 0, GFP_KERNEL),
        )
    )
    assert traffic.steps == [
        (0, 0, 0, 1, GFP_KERNEL | GFP_MOVABLE),
        (0, 1, 3, 2, GFP_KERNEL | GFP_RECLAIMABLE),  # the migratetype that the trace names
        (0, 0, -1, 0, 0),
        (0, 3, 0, 0, GFP_KERNEL),
    ]
    assert (traffic.frees, traffic.frees_of_older, traffic.lost_frees) == (1, 1, 0)
    assert (traffic.failed_in_trace, traffic.fallbacks_in_trace) == (1, 1)
    assert traffic.requests == [2, 0, 0, 1, 0, 0, 0, 0, 0, 1, 0]
    assert (traffic.peak_pages, traffic.peak_step, traffic.kept_pages) == (9, 2, 9)


def test_a_batched_free_counts_when_its_page_was_not_freed_before() -> None:
    traffic = Traffic(events((MM_PAGE_ALLOC, 7, 0, 1, GFP_KERNEL), (MM_PAGE_FREE, 7, 0, BATCHED)))
    assert [step[2] for step in traffic.steps] == [0, -1]


def test_a_split_block_goes_with_its_last_piece() -> None:
    pieces = [(MM_PAGE_FREE, pfn, order) for pfn, order in ((65, 0), (64, 0), (66, 1))]
    traffic = Traffic(events((MM_PAGE_ALLOC, 64, 2, 0, GFP_KERNEL), *pieces))
    assert [step[2] for step in traffic.steps] == [2, -1]
    assert (traffic.frees, traffic.frees_of_older, traffic.kept_pages) == (1, 0, 0)
    halfway = Traffic(events((MM_PAGE_ALLOC, 64, 2, 0, GFP_KERNEL), *pieces[:2]))
    assert (len(halfway.steps), halfway.kept_pages) == (1, 4)


def test_a_page_allocated_twice_was_freed_between() -> None:
    traffic = Traffic(events(*[(MM_PAGE_ALLOC, 7, 0, 1, GFP_KERNEL)] * 2))
    assert [step[2] for step in traffic.steps] == [0, -1, 0]
    assert traffic.lost_frees == 1


def test_the_aged_machine_has_the_room_that_the_traffic_needs_and_no_more() -> None:
    peak = 20_000
    machine = ReplayMachine(memory_mib(peak), cpus=2, seed=3)
    machine.age()
    machine.alloc.check()
    index = machine.index()
    assert 1.0 * peak < index.free_pages < 1.3 * peak
    assert index.unusable[9] > 500  # most of it no use for a huge page
    heads = np.frombuffer(machine.mem.flags, np.uint8) & PG_BUDDY != 0
    orders = np.frombuffer(machine.mem.order, np.uint8)[heads]
    assert tuple(np.bincount(orders, minlength=11).tolist()) == index.nr_free


@pytest.fixture(scope="module")
def sample() -> Structured:
    return read_trace(resources.path("traces/linux-6.18.txt.xz")).events


def test_the_sample_under_each_policy(sample: Structured) -> None:
    found = replay(sample)
    assert found.requests == (76_456, 1_000, 1_009, 196) + (0,) * 7
    assert sum(found.requests) - found.frees == 40_582
    assert (found.frees_of_older, found.peak_pages, found.fallbacks_in_trace) == (25_429, 76_566, 11)
    by_name = {one.policy: one for one in found.results}
    assert list(by_name) == [policy.name for policy in POLICIES]
    plain, avoiding = by_name["default"], by_name["defrag_mode=1"]
    for one in found.results:
        assert one.fallbacks >= max(one.polluting, one.claimed)
        for index in (one.at_peak, one.at_end):
            assert index.free_pages == sum(blocks << order for order, blocks in enumerate(index.nr_free))
            assert index.unusable[0] == 0
            assert list(index.unusable) == sorted(index.unusable)
        assert one.at_end.free_pages > one.at_peak.free_pages
    # What avoiding fragmentation is for, and what it costs.
    no_boost = by_name["no boost"]
    assert avoiding.polluting < plain.polluting < no_boost.polluting
    assert avoiding.reclaimed > plain.reclaimed
    assert no_boost.migrated < avoiding.migrated
    assert no_boost.at_end.mixed_blocks > plain.at_end.mixed_blocks
    assert no_boost.at_end.unusable[9] > plain.at_end.unusable[9]


@pytest.mark.digest
def test_same_trace_and_seed_same_digest(sample: Structured) -> None:
    part = sample[:20_000]
    first, second, other = (replay(part, POLICIES[:1], seed).results[0] for seed in (1, 1, 2))
    assert first == second
    assert first.digest != other.digest


def test_blocks_that_compaction_moves_are_freed_where_they_are_then(sample: Structured) -> None:
    traffic = Traffic(sample)
    machine = ReplayMachine(memory_mib(traffic.peak_pages), traffic.cpus, seed=1)
    machine.age()
    found = run(machine, traffic, POLICIES[0])
    assert found.migrated > 0
    machine.alloc.check()
    machine.vmscan.check()
    owner = np.frombuffer(machine.mem.owner, np.uint8)
    # All that the traffic still holds is there, and nothing else of its kind is.
    assert int((owner == OWNER_ANON).sum()) == sum(
        1 << order for pfn, order in machine.traced.blocks.values() if owner[pfn] == OWNER_ANON
    )
    assert sum(1 << order for _, order in machine.traced.blocks.values()) == traffic.kept_pages
    assert len(machine.cache.pages) + machine.cache.dropped == int((owner == OWNER_PAGE_CACHE).sum()) + found.reclaimed


def test_a_small_machine_fails_requests_and_says_how_many(sample: Structured) -> None:
    found = replay(sample[:60_000], POLICIES[:1], mib=48)
    assert found.results[0].failed[0] > 0
    machine = ReplayMachine(48, cpus=2, seed=1)
    machine.age()
    run(machine, Traffic(sample[:60_000]), POLICIES[0])
    machine.vmscan.check()
    machine.alloc.check()


def test_gfp_of_each_step_has_the_migratetype_of_the_trace(sample: Structured) -> None:
    for _, _, order, migratetype, gfp in Traffic(sample[:5_000]).steps:
        if order >= 0:
            assert gfp_migratetype(gfp) == migratetype


LIKE = (8426, 4480, 2975, 801, 504, 86, 116, 214, 250, 212, 314)
"""Free blocks of zone Normal right before the sample was recorded."""


def test_free_memory_is_made_like_a_real_zones() -> None:
    machine = ReplayMachine(256, 2, 1)
    machine.calibrate(LIKE)
    found = machine.index()
    there = sum(count << order for order, count in enumerate(LIKE))
    assert 0.7 * machine.mem.nr < found.free_pages < 0.8 * machine.mem.nr, "a fifth stays, some is the kernel's"
    for order in range(10):  # the largest also hold what other zones have free
        share = found.nr_free[order] / found.free_pages
        assert share == pytest.approx(LIKE[order] / there, rel=0.1, abs=4 / found.free_pages), order
    again = ReplayMachine(256, 2, 1)
    again.calibrate(LIKE)
    assert again.digest() == machine.digest()
    other = ReplayMachine(256, 2, 2)
    other.calibrate(LIKE)
    assert other.digest() != machine.digest()


def test_a_zone_without_free_blocks_is_like_nothing() -> None:
    with pytest.raises(ValueError, match="no free block"):
        ReplayMachine(64, 1, 1).calibrate((0,) * 11)


def test_policies_begin_with_the_same_memory_as_the_real_zone() -> None:
    rows = [(MM_PAGE_ALLOC, 1000 + pfn, 0, 1, GFP_KERNEL | GFP_MOVABLE) for pfn in range(2000)]
    rows += [(MM_PAGE_FREE, 1000 + pfn, 0) for pfn in range(0, 2000, 2)]
    found = replay(events(*rows), like=LIKE, mib=64)
    assert found.like == LIKE
    assert found.start is not None
    assert found.start.nr_free[0] > found.start.nr_free[3] > found.start.nr_free[9] > 0
    assert [one.policy for one in found.results] == [policy.name for policy in POLICIES]
    assert found.as_dict()["start"]["nr_free"] == found.start.nr_free
