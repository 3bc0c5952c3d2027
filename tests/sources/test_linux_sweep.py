"""Page flags to a map: a real machine's flags against its own counts, made-up words bit by bit, and faults."""

from __future__ import annotations

import lzma
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memviz.analysis.contiguity import free_blocks
from memviz.kernel import page
from memviz.snapshot import U64, Zone
from memviz.sources import linux_procfs as procfs
from memviz.sources.linux_sweep import CHUNK, FREED, KPF, UNIT, FrameMap, counts, sweep

DATA = Path(__file__).parents[1] / "data/linux-6.18"


class Words:
    """Page flags from an array; ``end`` cuts memory off."""

    def __init__(self, words: U64, end: int | None = None) -> None:
        self.words = words[:end]

    def page_flags_into(self, start: int, words: U64) -> int:
        part = self.words[start : start + words.size]
        words[: part.size] = part
        return int(part.size)


@cache
def recorded(when: str) -> U64:
    return np.frombuffer(lzma.decompress((DATA / when / "kpageflags.xz").read_bytes()), "<u8")


def zones(when: str) -> tuple[Zone, ...]:
    told = {name: (DATA / when / name).read_text() for name in ("zoneinfo", "buddyinfo", "pagetypeinfo")}
    return procfs.zones_of(
        procfs.parse_zoneinfo(told["zoneinfo"]),
        procfs.parse_buddyinfo(told["buddyinfo"]),
        procfs.parse_pagetypeinfo(told["pagetypeinfo"]),
    )


def mapped(words: U64) -> FrameMap:
    frames = FrameMap(words.size)
    sweep(Words(words), frames, threads=1)
    return frames


def word(*names: str) -> int:
    return sum(1 << KPF[name] for name in names)


@pytest.mark.parametrize("when", ["before", "after"])
def test_totals_agree_with_what_the_kernel_counts(when: str) -> None:
    frames = mapped(recorded(when))
    all_zones = zones(when)
    frames.find_unmanaged(all_zones)
    frames.find_listed(all_zones)
    found = counts(frames.pages())
    counted = dict(procfs.parse_counters((DATA / when / "vmstat").read_text()))
    caches = procfs.parse_slabinfo((DATA / when / "slabinfo").read_text())
    assert found["other slab"] == sum(one.slabs << one.order for one in caches)
    assert found["free"] == pytest.approx(counted["nr_free_pages"], rel=0.01)
    assert found["anonymous"] == pytest.approx(counted["nr_anon_pages"], rel=0.02)
    listed = sum(zone.pcp for zone in all_zones)
    assert 0.98 * listed < found["per-CPU list"] <= listed, "whole pageblocks, never more than the zones say"
    managed = sum(zone.managed for zone in all_zones)
    used = sum(found.values()) - found["unknown"] - found["reserved"]
    assert used == pytest.approx(managed, rel=0.001)


def test_memory_that_is_not_managed_is_unknown() -> None:
    frames = mapped(recorded("after"))
    frames.find_unmanaged(zones("after"))
    found = counts(frames.pages())
    # zone Normal: 5,505,024 frames present, 851,968 of them managed; the rest, and DMA32's hole
    assert found["unknown"] == 4_653_056 + 262_144
    assert not frames.flags[: frames.nr][frames.owner[: frames.nr] == page.OWNER_UNKNOWN].any()


def test_orders_of_free_blocks_agree_with_buddyinfo() -> None:
    frames = mapped(recorded("after"))
    buddy = [sum(per_order) for per_order in zip(*(zone.nr_free() for zone in zones("after")), strict=True)]
    found = free_blocks(frames.pages())
    # the two were read one after the other: a per-CPU list was drained in between
    differ = sum(abs(ours - theirs) << order for order, (ours, theirs) in enumerate(zip(found, buddy, strict=True)))
    assert differ < 0.01 * sum(blocks << order for order, blocks in enumerate(buddy))
    assert found[10] == buddy[10]
    assert found[0] == buddy[0]


def test_every_kind_of_word() -> None:
    expected = [
        (0, page.OWNER_KERNEL),
        (word("buddy"), page.OWNER_FREE),
        (word("uptodate", "buddy"), page.OWNER_FREE),
        (word("uptodate", "lru"), page.OWNER_PAGE_CACHE),
        (word("uptodate", "lru", "mmap", "anon", "swapbacked"), page.OWNER_ANON),
        (word("slab", "anon", "ksm"), page.OWNER_SLAB),
        (word("pgtable", "mmap"), page.OWNER_PAGE_TABLE),
        (word("huge", "head", "anon"), page.OWNER_HUGE),
        (word("reserved"), page.OWNER_RESERVED),
        (word("nopage", "reserved"), page.OWNER_UNKNOWN),
        (word("offline"), page.OWNER_UNKNOWN),
        (word("hwpoison"), page.OWNER_RESERVED),
        (word("zero"), page.OWNER_KERNEL),
    ]
    words = np.array([bits for bits, _ in expected], np.uint64)
    assert mapped(words).owner[: words.size].tolist() == [owner for _, owner in expected]


def test_flags_of_a_page() -> None:
    words = np.array([word("lru", "active", "dirty", "locked", "referenced"), word("lru"), 0], np.uint64)
    everything = page.PG_LRU | page.PG_ACTIVE | page.PG_DIRTY | page.PG_LOCKED | page.PG_REFERENCED | page.PG_HEAD
    assert mapped(words).flags[:3].tolist() == [everything, page.PG_LRU | page.PG_HEAD, page.PG_HEAD]


def test_orders_of_compound_pages() -> None:
    words = np.zeros(UNIT, np.uint64)
    words[8] = word("slab", "head")
    words[9:16] = word("slab", "tail")
    words[512] = word("thp", "head", "lru", "anon")
    words[513:1024] = word("thp", "tail", "lru", "anon")
    words[16] = word("thp", "head", "lru")
    words[17:20] = word("thp", "tail", "lru")
    frames = mapped(words)
    assert frames.order[8:17].tolist() == [3, *[255] * 7, 2]
    assert frames.order[512] == 9
    assert (frames.owner[512:1024] == page.OWNER_HUGE).all()
    assert (frames.owner[16:20] == page.OWNER_PAGE_CACHE).all(), "a small folio is no huge page"


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2 * UNIT - 1), st.integers(1, 700)), max_size=12))
def test_free_blocks_are_the_buddy_allocators(runs: list[tuple[int, int]]) -> None:
    words = np.full(2 * UNIT, word("slab"), np.uint64)
    for begin, length in runs:
        words[begin : begin + length] = word("buddy")
    frames = mapped(words)
    free = words == word("buddy")
    covered = np.zeros(2 * UNIT, np.int64)
    heads = np.flatnonzero((frames.flags & page.PG_BUDDY) != 0).tolist()
    for head in heads:
        order = int(frames.order[head])
        assert head % (1 << order) == 0, "aligned"
        covered[head : head + (1 << order)] += 1
        buddy = head ^ (1 << order)
        assert not (order < 10 and buddy in heads and frames.order[buddy] == order), "two buddies would have merged"
    assert (covered == free).all(), "every free frame in exactly one block"


def test_uniform_chunks_are_the_same_as_others() -> None:
    words = np.zeros(3 * CHUNK, np.uint64)
    words[CHUNK : 2 * CHUNK] = word("buddy")
    words[2 * CHUNK + 5] = word("slab")
    frames = mapped(words)
    again = FrameMap(words.size)
    for start in range(0, words.size, UNIT):
        part = words[start : start + UNIT].copy()
        part[0] |= np.uint64(1 << 63)  # a bit that says nothing, so that no shortcut is taken
        again.classify(start, part)
    for name in ("owner", "order", "flags"):
        assert (getattr(frames, name) == getattr(again, name)).all(), name


def test_two_threads_make_the_same_map() -> None:
    words = recorded("after")
    one = mapped(words)
    two = FrameMap(words.size)
    sweep(Words(words), two, threads=2)
    for name in ("owner", "order", "flags", "bare", "outside"):
        assert (getattr(one, name) == getattr(two, name)).all(), name


def test_memory_that_ends_early_is_unknown() -> None:
    words = np.full(2 * UNIT, word("slab"), np.uint64)
    frames = FrameMap(words.size)
    sweep(Words(words, UNIT + 7), frames, threads=1)
    assert (frames.owner[: UNIT + 7] == page.OWNER_SLAB).all()
    assert (frames.owner[UNIT + 7 :] == page.OWNER_UNKNOWN).all()


def test_a_reader_that_fails_is_heard_from_any_thread() -> None:
    class Broken:
        def page_flags_into(self, start: int, words: U64) -> int:
            raise PermissionError(13, "no")

    with pytest.raises(PermissionError):
        sweep(Broken(), FrameMap(4 * CHUNK), threads=2)


def test_what_the_trace_saw_freed_is_on_a_list_until_it_carries_a_flag() -> None:
    words = np.zeros(UNIT, np.uint64)
    words[0] = word("slab")
    frames = mapped(words)
    frames.traced[5:7] = FREED
    words[6] = word("slab")
    frames.classify(0, words)
    assert frames.owner[4:7].tolist() == [page.OWNER_KERNEL, page.OWNER_PCP, page.OWNER_SLAB]


def test_slabs_whose_cache_is_known_are_shown_as_its_until_they_go() -> None:
    words = np.full(UNIT, word("slab"), np.uint64)
    frames = mapped(words)
    frames.learned = True
    frames.cache[3] = 9
    frames.cache[4] = 9
    frames.cache_owner[9] = page.OWNER_SLAB_XA
    words[4] = word("buddy")
    frames.classify(0, words)
    assert frames.owner[2:5].tolist() == [page.OWNER_SLAB, page.OWNER_SLAB_XA, page.OWNER_FREE]
    assert frames.cache[3:5].tolist() == [9, 0]
