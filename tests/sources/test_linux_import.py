"""Traces and saved page flags to recordings: a real machine's, what other tools print, and what cannot be read."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from memviz import resources
from memviz.cli.main import main
from memviz.kernel import page, trace
from memviz.recording.reader import Reader
from memviz.sources.base import SourceError
from memviz.sources.linux_deltas import apply_events
from memviz.sources.linux_import import double_allocations, free_area, import_file, read_any_trace, read_still
from memviz.sources.linux_sweep import ALLOCATED, counts

DATA = Path(__file__).parents[1] / "data/linux-6.18"
SAMPLE = resources.path("traces/linux-6.18.txt.xz")
PERF = """\
bash 21374 [000]  3027.727402: kmem:mm_page_alloc: page=0xffffea000 pfn=0x2a order=0 migratetype=1 gfp_flags=GFP_USER
bash 21374 [001]  3027.737402: kmem:mm_page_free: page=0xffffea000 pfn=0x2a order=0
bash 21374 [001]  3027.747402: kmem:mm_page_alloc: page=0x1 pfn=0x100 order=3 migratetype=0 gfp_flags=GFP_KERNEL
"""
TRACE_CMD = """\
cpus=2
          <idle>-0     [001]  3027.727402: mm_page_alloc:    page=0x1 pfn=42 order=0 migratetype=1 gfp_flags=GFP_USER
            bash-21374 [000]  3027.737402: mm_page_free:         page=0x1 pfn=42 order=0
            bash-21374 [000]  3027.747402: mm_page_alloc:    page=0x1 pfn=256 order=3 migratetype=0 gfp_flags=GFP_KERNEL
"""


def test_a_trace_becomes_a_recording_that_starts_with_the_state_before(tmp_path: Path) -> None:
    steps: list[tuple[int, int]] = []
    path = tmp_path / "box.memviz"
    found = import_file(SAMPLE, path, DATA / "before", lambda done, whole: steps.append((done, whole)))
    assert (found.lost, found.double_allocations, found.page_frames) == (0, 0, 6_553_600)
    assert steps[-1][0] == steps[-1][1]
    assert steps == sorted(steps)
    assert steps[0][0] < 0.1 * steps[0][1], "reading is on the way, too"
    with Reader(path) as reader:
        assert reader.instants == found.instants
        first, last = reader.at(1), reader.at(found.instants)
    before = counts(read_still(DATA / "before").frames.pages())
    assert counts(first.pages) == before
    assert last.time_ns == pytest.approx(found.seconds * 1e9)
    grown = counts(last.pages)["page cache"] + counts(last.pages)["anonymous"]
    assert grown > before["page cache"] + before["anonymous"]
    assert sum(last.zones[2].nr_free()) > 0
    assert path.stat().st_size < 20e6


def test_what_the_trace_says_was_allocated_was_not_free_before() -> None:
    """Two rules of a recorded machine: no page is allocated twice, and none that was allocated stays free."""
    events = read_any_trace(SAMPLE).events
    assert double_allocations(events) == 0
    still = read_still(DATA / "before")
    apply_events(still.frames, events, 1)
    allocated = still.frames.traced == ALLOCATED
    assert np.count_nonzero(allocated) > 10_000
    assert not np.isin(still.frames.owner[allocated], (page.OWNER_FREE, page.OWNER_PCP, page.OWNER_UNKNOWN)).any()


def test_a_missing_free_is_counted_and_told(tmp_path: Path) -> None:
    text = PERF.replace("kmem:mm_page_free", "kmem:mm_page_freed") + PERF
    path = tmp_path / "trace.txt"
    path.write_text(text)
    found = import_file(path, tmp_path / "out.memviz")
    assert found.double_allocations == 1 + 8
    assert "9 page frames were allocated twice" in " ".join(found.notes)


@pytest.mark.parametrize("text", [PERF, TRACE_CMD], ids=["perf script", "trace-cmd report"])
def test_what_other_tools_print(tmp_path: Path, text: str) -> None:
    path = tmp_path / "trace.txt"
    path.write_text(text)
    found = import_file(path, tmp_path / "out.memviz")
    assert (found.events, found.lost) == (3, 0)
    assert found.seconds == pytest.approx(0.02)
    with Reader(tmp_path / "out.memviz") as reader:
        last = reader.at(found.instants)
    assert last.pages.owner[[0x2A, 0x100, 0x107, 0x108]].tolist() == [
        page.OWNER_PCP,
        page.OWNER_KERNEL,
        page.OWNER_KERNEL,
        page.OWNER_UNKNOWN,
    ]


def test_saved_page_flags_are_a_still(tmp_path: Path) -> None:
    found = import_file(DATA / "after" / "kpageflags.xz", tmp_path / "still.memviz")
    assert (found.instants, found.page_frames) == (1, 6_553_600)
    with Reader(tmp_path / "still.memviz") as reader:
        only = reader.at(1)
    assert [zone.managed for zone in only.zones] == [3840, 772_917, 851_968]
    assert any(cache.name == "radix_tree_node" for cache in only.caches)
    assert only.possible[9] > 0


def test_page_flags_without_siblings_say_what_is_not_known(tmp_path: Path) -> None:
    (tmp_path / "kpageflags").write_bytes(np.full(5000, 1 << 10, "<u8").tobytes())
    found = import_file(tmp_path, tmp_path / "still.memviz")
    assert any("zoneinfo" in note for note in found.notes)
    with Reader(found.path) as reader:
        assert counts(reader.at(1).pages) == {"free": 5000}


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("kpageflags", b"1234567", "is no /proc/kpageflags"),
        ("kpageflags.xz", b"\xfd7zXZ\0broken", "cut off or damaged"),
        ("trace.dat", b"\x17\x08Dtracing", "trace-cmd"),
        ("trace.txt", b"", "is empty"),
        ("trace.txt", b"hello\nworld\n" * 200, "is not the text of a trace"),
    ],
)
def test_what_cannot_be_read_is_one_line_and_leaves_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, content: bytes, sentence: str
) -> None:
    (tmp_path / name).write_bytes(content)
    output = tmp_path / "out.memviz"
    with pytest.raises(SystemExit) as ended:
        main(["import", str(tmp_path / name), "-o", str(output)])
    said = capsys.readouterr().err
    assert ended.value.code == 2
    assert sentence in said
    assert len(said.strip().splitlines()) == 1
    assert not output.exists()


def test_an_import_that_is_cancelled_leaves_nothing(tmp_path: Path) -> None:
    def cancel(done: int, whole: int) -> None:
        raise KeyboardInterrupt

    path = tmp_path / "trace.txt"
    path.write_text(PERF)
    with pytest.raises(KeyboardInterrupt):
        import_file(path, tmp_path / "out.memviz", progress=cancel)
    assert [one.name for one in tmp_path.iterdir()] == ["trace.txt"]


def trace_cmd(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program that stands in for trace-cmd, and a trace.dat for it."""
    folder.mkdir()
    program = folder / "trace-cmd"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    data = folder / "trace.dat"
    data.write_bytes(b"\x17\x08Dtracing" + bytes(100))
    return data


def test_a_binary_trace_goes_through_trace_cmd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "printed").write_text(TRACE_CMD)
    data = trace_cmd(tmp_path / "bin", f'[ "$1 $2" = "report -i" ] && cat "{tmp_path}/printed"', monkeypatch)
    assert read_any_trace(data).events.size == 3


def test_a_binary_trace_that_trace_cmd_cannot_read_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = trace_cmd(tmp_path / "bin", "echo '  bad: version 9' >&2; exit 3", monkeypatch)
    with pytest.raises(SourceError, match=r"trace-cmd cannot read .*trace\.dat: bad: version 9"):
        read_any_trace(data)


def test_reading_can_be_cancelled_too() -> None:
    def cancel(done: int, whole: int) -> None:
        assert 0 < done < whole
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        read_any_trace(SAMPLE, cancel)


def test_a_recording_that_is_there_is_not_written_over(tmp_path: Path) -> None:
    path = tmp_path / "trace.txt"
    path.write_text(PERF)
    (tmp_path / "out.memviz").write_text("mine")
    with pytest.raises(SourceError, match=r"out\.memviz"):
        import_file(path, tmp_path / "out.memviz")
    assert (tmp_path / "out.memviz").read_text() == "mine"


def test_the_command_tells_figures_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "trace.txt"
    path.write_text(PERF)
    with pytest.raises(SystemExit) as ended:
        main(["import", str(path), "-o", str(tmp_path / "out.memviz"), "--json"])
    assert ended.value.code == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["events"], told["instants"]) == (3, 2)
    assert trace.MM_PAGE_ALLOC == 1


def test_the_zone_that_is_asked_first_tells_its_free_blocks(tmp_path: Path) -> None:
    area = free_area(DATA / "before")
    assert area == (8426, 4480, 2975, 801, 504, 86, 116, 214, 250, 212, 314)
    assert free_area(DATA / "before/buddyinfo") == area
    with pytest.raises(SourceError, match=r"cannot read .*buddyinfo: No such file"):
        free_area(tmp_path)
    (tmp_path / "buddyinfo").write_text("what?")
    with pytest.raises(SourceError, match="is no copy of /proc/buddyinfo"):
        free_area(tmp_path)
    (tmp_path / "buddyinfo").write_text("Node 0, zone Normal 0 0 0 0 0 0 0 0 0 0 0")
    with pytest.raises(SourceError, match="no free block"):
        free_area(tmp_path)


# -- a capture that was never seen before: of the machine that the tests run on

CAPTURE = """
import pathlib, shutil, subprocess, sys
from memviz.live_helper import FILES, Kernel, Refused
folder = pathlib.Path(sys.argv[1])
kernel = Kernel()
try:
    kernel.trace_start()
except Refused as error:
    sys.exit(str(error))
trace = pathlib.Path(kernel._instance, "trace")
for when in ("before", "after"):
    place = folder / when
    place.mkdir()
    if when == "after":
        subprocess.run([sys.executable, "-c", sys.argv[2]], check=True)
        (folder / "trace.txt").write_bytes(trace.read_bytes())
    for name in ("zoneinfo", "buddyinfo", "pagetypeinfo", "slabinfo", "vmstat"):
        (place / name).write_bytes(kernel.read(name))
    shutil.copyfile("/proc/kpageflags", place / "kpageflags")
(folder / "later.txt").write_bytes(trace.read_bytes())
kernel.close()
"""
WORK = """
import mmap, os, tempfile
room = mmap.mmap(-1, 24 << 20)
room[::4096] = bytes(len(room) >> 12)
with tempfile.NamedTemporaryFile(dir=".") as file:
    file.write(bytes(16 << 20))
    file.flush()
    os.fsync(file.fileno())
"""


@pytest.mark.slow
@pytest.mark.skipif(
    os.geteuid() != 0 or not os.access("/proc/kpageflags", os.R_OK), reason="needs root and /proc/kpageflags"
)
def test_the_rules_of_a_recorded_machine_hold_on_a_fresh_capture(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CAPTURE, str(tmp_path), WORK], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(done.stderr.strip().splitlines()[-1])
    found = import_file(tmp_path / "trace.txt", tmp_path / "out.memviz", tmp_path / "before")
    assert (found.lost, found.double_allocations) == (0, 0)
    assert found.events > 10_000
    events = read_any_trace(tmp_path / "trace.txt").events
    later = read_any_trace(tmp_path / "later.txt").events[events.size :]
    still = read_still(tmp_path / "before")
    apply_events(still.frames, events, 1)
    allocated = still.frames.traced == ALLOCATED
    apply_events(still.frames, later, 2)
    allocated &= still.frames.stamp == 1  # nothing happened to it while the page flags were copied
    after = read_still(tmp_path / "after")
    assert np.count_nonzero(allocated) > 1000
    assert not (after.frames.owner[allocated] == page.OWNER_FREE).any()
    with Reader(found.path) as reader:
        last = reader.at(found.instants).pages
    seen = np.flatnonzero(allocated)
    assert not np.isin(last.owner[seen], (page.OWNER_FREE, page.OWNER_PCP, page.OWNER_UNKNOWN)).any()
    normal = max(after.zones, key=lambda zone: zone.present)
    here = slice(normal.start_pfn, normal.start_pfn + normal.spanned)
    unmanaged = np.count_nonzero(after.frames.owner[here] == page.OWNER_UNKNOWN)
    assert unmanaged == pytest.approx(normal.present - normal.managed, rel=0.01, abs=4096)
