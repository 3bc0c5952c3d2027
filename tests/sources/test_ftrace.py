"""Reading what tracefs prints: what is taken from it, and what is said about a file that is no trace."""

from __future__ import annotations

import gzip
import lzma
from pathlib import Path

import pytest

from memviz import resources
from memviz.analysis.replay import BATCHED
from memviz.kernel import page, trace
from memviz.sources.base import SourceError
from memviz.sources.ftrace import PageTraffic, TraceError, parse_gfp, read_trace

HEADER = """\
# tracer: nop
#
# entries-in-buffer/entries-written: 8/8   #P:2
#
#           TASK-PID     CPU#  |||||  TIMESTAMP  FUNCTION
"""
EVENTS = """\
            bash-21374   [000] .....  3027.727402: mm_page_alloc: page=000000000d9ae29e pfn=0x17194c order=0 \
migratetype=1 gfp_flags=GFP_HIGHUSER_MOVABLE|__GFP_COMP
 kworker/0:1-[x]-15      [001] d..3.  3027.727403: mm_page_alloc: pfn=0x1000 order=3 migratetype=2 \
gfp_flags=__GFP_IO|__GFP_RECLAIMABLE|__GFP_SOMETHING_NEW
            find-21394   [001] d..3.  3027.758442: mm_page_alloc_extfrag: page=000000006bb5baa5 pfn=0x1cac00 \
alloc_order=0 fallback_order=10 pageblock_order=9 alloc_migratetype=0 fallback_migratetype=1 fragmenting=0 \
change_ownership=1
            bash-21374   [000] .Ns1.  3027.800000: mm_page_free: page=00000000e95055b9 pfn=0x17194c order=0
            bash-21374   [000] .Ns1.  3027.800001: mm_page_free_batched: page=00000000e95055b9 pfn=0x17194c order=0
         python3-21391   [000] .....  3031.842326: mm_compaction_begin: zone_start=0x1 migrate_pfn=0x1 free_pfn=0xe00 \
zone_end=0x1000, mode=sync
         python3-21391   [000] .....  3031.842330: mm_compaction_migratepages: nr_migrated=32 nr_failed=1
         python3-21391   [000] .....  3031.842355: mm_compaction_end: zone_start=0x1 migrate_pfn=0xe00 free_pfn=0xe00 \
zone_end=0x1000, mode=sync status=complete
"""


def written(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def rows(traffic: PageTraffic) -> list[tuple[int, ...]]:
    return [tuple(row) for row in traffic.events[["time", "cpu", "kind", "a", "b", "c", "d"]].tolist()]


def test_each_event_becomes_what_the_kernel_said(tmp_path: Path) -> None:
    traffic = read_trace(written(tmp_path / "trace.txt", HEADER + EVENTS))
    reclaimable = page.GFP_IO | page.GFP_RECLAIMABLE
    movable = page.GFP_HIGHUSER_MOVABLE | page.GFP_COMP
    assert rows(traffic) == [
        (0, 0, trace.MM_PAGE_ALLOC, 0x17194C, 0, page.MIGRATE_MOVABLE, movable),
        (1_000, 1, trace.MM_PAGE_ALLOC, 0x1000, 3, page.MIGRATE_RECLAIMABLE, reclaimable),
        (31_040_000, 1, trace.MM_PAGE_ALLOC_EXTFRAG, 0x1CAC00, 0, 10, 0 << 8 | 1 << 4 | 1),
        (72_598_000, 0, trace.MM_PAGE_FREE, 0x17194C, 0, 0, 0),
        (72_599_000, 0, trace.MM_PAGE_FREE, 0x17194C, 0, BATCHED, 0),
        (4_114_924_000, 0, trace.MM_COMPACTION_BEGIN, -1, -1, 1, 0),
        (4_114_953_000, 0, trace.MM_COMPACTION_END, -1, -1, 5, 32),
    ]
    assert traffic.events["seq"].tolist() == [1, 2, 3, 4, 5, 6, 7]
    assert (traffic.lines, traffic.lost, traffic.missing) == (8, 0, 0)


def test_older_and_other_forms_of_the_same(tmp_path: Path) -> None:
    text = """\
CPU:1 [LOST 17 EVENTS]
 sort-77  [001] 10.000001: kmem:mm_page_alloc:  page=0xffffea0000 pfn=4096 order=1 migratetype=0 gfp_flags=GFP_KERNEL
s-77 (   77) [001] ....1 10.000002: mm_page_alloc: page=(null) pfn=0x0 order=9 migratetype=1 gfp_flags=GFP_TRANSHUGE
 sort-77  [001] ....  10.000003: sched_switch: prev_comm=a ==> next_comm=b
 => __alloc_pages
 => folio_alloc
 sort-77  [001] ....  10.000004: mm_page_free: page=0xffffea0000 pfn=4096 order=1
"""
    traffic = read_trace(written(tmp_path / "trace.txt", text))
    assert rows(traffic) == [
        (0, 1, trace.MM_PAGE_ALLOC, 4096, 1, 0, page.GFP_KERNEL),
        (1_000, 1, trace.ALLOC_FAILED, 9, page.GFP_TRANSHUGE, 0, 0),
        (3_000, 1, trace.MM_PAGE_FREE, 4096, 1, 0, 0),
    ]
    assert (traffic.lines, traffic.lost) == (4, 17)


@pytest.mark.parametrize("pack", [gzip.compress, lzma.compress])
def test_packed_text_is_unpacked_and_a_cut_pack_is_said_to_be_cut(tmp_path: Path, pack: object) -> None:
    packed = pack((HEADER + EVENTS).encode())  # type: ignore[operator]
    assert len(read_trace(written(tmp_path / "trace", packed)).events) == 7
    with pytest.raises(TraceError, match="cut off or damaged"):
        read_trace(written(tmp_path / "cut", packed[: len(packed) // 2]))


def test_a_trace_that_ends_between_two_lines_is_used_and_says_what_is_missing(tmp_path: Path) -> None:
    text = HEADER + "".join(EVENTS.splitlines(keepends=True)[:4])
    traffic = read_trace(written(tmp_path / "trace.txt", text))
    assert (len(traffic.events), traffic.missing) == (4, 4)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "is empty: record one with"),
        (HEADER + EVENTS[:-20], "is cut off in the middle of line 13: copy it again, or delete that line"),
        (HEADER + EVENTS[:600], "is cut off in the middle of line 9:"),
        (b"\x7fELF\x02\x01\x01\0\0\0", "is binary, not the text of a trace"),
        (b"\x17\x08Dtracing6", "is trace-cmd's binary file: give the text that `trace-cmd report -i"),
        (bytes(range(1, 256)) * 500, "is cut off in the middle of line|is not the text of a trace"),
        ("Dear diary,\ntoday nothing was traced.\n" * 200, "is not the text of a trace"),
        (HEADER, "holds no mm_page_alloc or no mm_page_free events"),
        (HEADER + EVENTS.replace("order=3", "order=33"), "line 7 of the trace .* is damaged: mm_page_alloc without"),
        (HEADER + EVENTS.replace("pfn=0x1000 ", ""), "line 7 of the trace .* is damaged"),
        (HEADER + EVENTS.replace("0x17194c", "0x17194c17194c17194c"), "line 6 of the trace .* is damaged"),
        (HEADER + EVENTS.replace("status=complete", "status=fine"), "line 13 of the trace .* is damaged"),
    ],
)
def test_a_file_that_is_no_trace_gets_one_sentence(tmp_path: Path, content: str | bytes, says: str) -> None:
    with pytest.raises(SourceError, match=says) as caught:
        read_trace(written(tmp_path / "trace.txt", content))
    assert "\n" not in str(caught.value)
    assert str(tmp_path / "trace.txt") in str(caught.value)


def test_a_file_that_cannot_be_opened_says_why(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match=r"cannot read the trace .*nowhere\.txt: No such file or directory"):
        read_trace(tmp_path / "nowhere.txt")
    with pytest.raises(TraceError, match="Is a directory"):
        read_trace(tmp_path)


def test_gfp_names_carry_the_migratetype() -> None:
    assert page.gfp_migratetype(parse_gfp(b"GFP_NOFS|__GFP_MOVABLE|__GFP_COMP")) == page.MIGRATE_MOVABLE
    assert page.gfp_migratetype(parse_gfp(b"GFP_NOWAIT|__GFP_RECLAIMABLE")) == page.MIGRATE_RECLAIMABLE
    assert page.gfp_migratetype(parse_gfp(b"GFP_HIGHUSER|__GFP_ACCOUNT")) == page.MIGRATE_UNMOVABLE
    assert parse_gfp(b"none|0x80") == 0


def test_the_sample_is_whole_and_consistent() -> None:
    """The two laws of the recording: no page allocated twice, and every batched free has its own free before it."""
    traffic = read_trace(resources.path("traces/linux-6.18.txt.xz"))
    assert (traffic.lines, traffic.lost, traffic.missing) == (193_127, 0, 0)
    assert traffic.count(trace.MM_PAGE_ALLOC) == 78_661
    assert traffic.count(trace.MM_PAGE_ALLOC_EXTFRAG) == 11
    assert traffic.count(trace.MM_COMPACTION_END) == 3
    allocated: set[int] = set()
    batched = 0
    columns = (traffic.events[name].tolist() for name in ("kind", "a", "c", "d"))
    for kind, pfn, c, d in zip(*columns, strict=True):
        if kind == trace.MM_PAGE_ALLOC:
            assert pfn not in allocated
            assert page.gfp_migratetype(d) == c
            allocated.add(pfn)
        elif kind == trace.MM_PAGE_FREE and c == BATCHED:
            assert pfn not in allocated
            batched += 1
        elif kind == trace.MM_PAGE_FREE:
            allocated.discard(pfn)
    assert batched == 49_021
