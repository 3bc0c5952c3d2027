"""LRU lists: order, membership, sizes, against lists that anybody can read."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memviz.kernel.lruvec import LRU_ACTIVE_FILE, LRU_INACTIVE_ANON, LRU_INACTIVE_FILE
from memviz.kernel.page import GFP_HIGHUSER_MOVABLE, OWNER_ANON, PG_ACTIVE, PG_REFERENCED


def test_pages_enter_at_the_head_in_the_order_they_come(tiny: Any) -> None:
    k = tiny()
    file = k.file()
    k.fill(file, 5)
    newest_first = [file.pages[index] for index in (4, 3, 2, 1, 0)]
    assert list(k.vmscan.lruvec.pfns(LRU_INACTIVE_FILE)) == newest_first
    assert k.vmscan.lruvec.size == [0, 0, 5, 0]


def test_anonymous_pages_are_kept_apart(tiny: Any) -> None:
    k = tiny()
    file = k.file()
    k.fill(file, 3, owner=OWNER_ANON)
    assert k.vmscan.lruvec.size == [3, 0, 0, 0]
    assert list(k.vmscan.lruvec.pfns(LRU_INACTIVE_ANON))[-1] == file.pages[0]


def test_second_access_makes_active_third_only_references(tiny: Any) -> None:
    k = tiny()
    file = k.file()
    k.fill(file, 3)
    pfn = file.pages[1]
    k.vmscan.mark_page_accessed(pfn)
    assert k.mem.flags[pfn] & (PG_ACTIVE | PG_REFERENCED) == PG_REFERENCED
    k.vmscan.mark_page_accessed(pfn)
    assert k.mem.flags[pfn] & (PG_ACTIVE | PG_REFERENCED) == PG_ACTIVE
    assert list(k.vmscan.lruvec.pfns(LRU_ACTIVE_FILE)) == [pfn]
    k.vmscan.mark_page_accessed(pfn)
    assert k.mem.flags[pfn] & (PG_ACTIVE | PG_REFERENCED) == PG_ACTIVE | PG_REFERENCED
    k.check()


def test_a_free_frame_is_not_marked(tiny: Any) -> None:
    k = tiny()
    file = k.file()
    k.fill(file, 1)
    pfn = file.pages[0]
    file.drop(0)
    k.vmscan.mark_page_accessed(pfn)
    assert k.mem.flags[pfn] & (PG_ACTIVE | PG_REFERENCED) == 0
    k.page_alloc.drain_all_pages()
    k.vmscan.mark_page_accessed(pfn)
    k.check()


def test_only_one_can_isolate_a_page(tiny: Any) -> None:
    k = tiny()
    file = k.file()
    k.fill(file, 1)
    pfn = file.pages[0]
    assert k.vmscan.folio_isolate_lru(pfn) is True
    assert k.vmscan.folio_isolate_lru(pfn) is False
    assert not k.vmscan.on_lru(pfn)


def test_a_larger_folio_counts_all_its_frames(tiny: Any) -> None:
    k = tiny()
    file = k.file()
    assert file.add(0, order=3) is not None
    assert k.vmscan.lruvec.size == [0, 0, 8, 0]
    k.check()


def test_check_sees_a_broken_link_and_a_wrong_count(tiny: Any) -> None:
    k = tiny()
    file = k.file()
    k.fill(file, 3)
    k.vmscan.lruvec.size[LRU_INACTIVE_FILE] = 2
    with pytest.raises(AssertionError, match="counts 2 page frames, holds 3"):
        k.vmscan.check()
    k.vmscan.lruvec.size[LRU_INACTIVE_FILE] = 3
    k.mem.lru_prev[file.pages[1]] = file.pages[1]
    with pytest.raises(AssertionError, match="links back to"):
        k.vmscan.check()


@settings(max_examples=40)
@given(st.lists(st.tuples(st.sampled_from(["add", "drop", "touch"]), st.integers(0, 12)), max_size=80))
def test_lists_equal_plain_lists_under_any_commands(tiny: Any, commands: list[tuple[str, int]]) -> None:
    k = tiny(mib=16)
    file = k.file()
    inactive: list[int] = []
    active: list[int] = []
    referenced: set[int] = set()
    for what, index in commands:
        known = index in file.pages
        if what == "add" and not known:
            file.add(index, gfp=GFP_HIGHUSER_MOVABLE)
            inactive.insert(0, index)
        elif what == "drop" and known:
            file.drop(index)
            (active if index in active else inactive).remove(index)
            referenced.discard(index)
        elif what == "touch" and known:
            k.vmscan.mark_page_accessed(file.pages[index])
            if index not in referenced:
                referenced.add(index)
            elif index in inactive:
                inactive.remove(index)
                active.insert(0, index)
                referenced.discard(index)
    k.check()
    assert [k.mem.index[pfn] for pfn in k.vmscan.lruvec.pfns(LRU_INACTIVE_FILE)] == inactive
    assert [k.mem.index[pfn] for pfn in k.vmscan.lruvec.pfns(LRU_ACTIVE_FILE)] == active
