"""This machine as a source: with a machine of files that a test controls, and on the real one where that is allowed."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from memviz import live_helper
from memviz.kernel import page, trace
from memviz.live_helper import Kernel, Refused
from memviz.snapshot import EVENT_DTYPE, U64, Focus, Snapshot
from memviz.sources import linux_procfs as procfs
from memviz.sources.base import Compact, Defragment, DropCaches, Pause, Run, SetFocus, SourceError, SourceSpec, Step
from memviz.sources.host import HostClient
from memviz.sources.linux import LinuxSource
from memviz.sources.linux_access import Direct, Helper, LiveError
from memviz.sources.linux_anatomy import anatomy
from memviz.sources.linux_sweep import FrameMap, counts, sweep
from tests.machine_of_files import FRAMES, SLAB, machine_of_files

root = pytest.mark.skipif(
    os.geteuid() != 0 or not os.access(live_helper.KPAGEFLAGS, os.R_OK), reason="needs root and /proc/kpageflags"
)


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    return machine_of_files(tmp_path)


def source(machine: Path, **arguments: object) -> LinuxSource:
    return LinuxSource(access=Direct(Kernel(str(machine))), **arguments)  # type: ignore[arg-type]


def test_a_machine_becomes_a_snapshot(machine: Path) -> None:
    found = source(machine, tracing=False).snapshot()
    assert (found.source, found.state, found.pages.nr) == ("linux", "running", FRAMES)
    assert counts(found.pages) == {"free": 4096, "other slab": 2048, "unmovable": 2048}
    assert found.zones[0].nr_free()[10] == 4
    assert found.possible[10] == 4
    assert dict(found.counters) == {"nr_free_pages": 4096}
    assert any(cache.name == "radix_tree_node" and cache.owner == page.OWNER_SLAB_XA for cache in found.caches)
    assert found.notice == ""


@pytest.mark.parametrize(
    ("file", "what"),
    [
        ("kpageflags", "page flags"),
        ("pagetypeinfo", "migratetypes"),
        ("slabinfo", "slab caches"),
        ("buddyinfo", "zones"),
        ("vmstat", "counters"),
    ],
)
def test_what_is_missing_is_named_and_the_rest_is_shown(machine: Path, file: str, what: str) -> None:
    (machine / "proc" / file).unlink()
    one = source(machine, tracing=False)
    assert set(one.missing) == {what}
    assert f"/proc/{file}: No such file or directory (errno 2); " in one.missing[what]
    assert f"No {what}: " in one.snapshot().notice
    assert one.snapshot().pages.nr == (0 if file == "kpageflags" else FRAMES)


def test_garbage_is_named_and_files_that_come_back_are_read_again(machine: Path) -> None:
    slabinfo = machine / "proc/slabinfo"
    good = slabinfo.read_text()
    one = source(machine, tracing=False)
    slabinfo.write_bytes(b"\xff\0garbage\n" * 100)
    one.look_again()
    assert "/proc/slabinfo holds no slab cache" in one.missing["slab caches"]
    slabinfo.write_text(good)
    one.look_again()
    assert one.missing == {}


def test_short_reads_leave_the_rest_unknown(machine: Path) -> None:
    whole = (machine / "proc/kpageflags").read_bytes()
    (machine / "proc/kpageflags").write_bytes(whole[: 5000 * 8 + 3])
    found = counts(source(machine, tracing=False).snapshot().pages)
    assert found == {"free": 4096, "other slab": 5000 - 4096, "unknown": FRAMES - 5000}


def test_no_zones_at_all_is_one_sentence(machine: Path) -> None:
    (machine / "proc/zoneinfo").write_text("what?")
    with pytest.raises(SourceError, match="zoneinfo holds no zone"):
        source(machine)


def test_tracefs_that_is_not_there_is_named_with_what_brings_it(machine: Path) -> None:
    one = source(machine)
    assert "mount -t tracefs" in one.missing["trace"]
    assert one.snapshot().pages.nr == FRAMES


def test_the_picture_follows_the_machine_within_its_budget(machine: Path) -> None:
    one = source(machine, tracing=False, share=1.0)
    words = np.full(FRAMES, SLAB, "<u8")
    (machine / "proc/kpageflags").write_bytes(words.tobytes())
    one.command(1, SetFocus(Focus(pfn=8000)))
    end = time.monotonic() + 20
    while one.sweeps < 2 and time.monotonic() < end:
        one.advance(0.05)
    found = one.snapshot()
    assert counts(found.pages) == {"other slab": FRAMES}
    assert found.detail is not None
    assert (found.detail.zone, found.detail.owner) == ("Normal", "other slab")


def test_what_is_on_the_screen_is_swept_first(machine: Path) -> None:
    class Counting(Direct):
        read: ClassVar[list[int]] = []

        def page_flags_into(self, start: int, words: U64) -> int:
            self.read += range(start, start + words.size, 1024)
            return super().page_flags_into(start, words)

    one = LinuxSource(access=Counting(Kernel(str(machine))), tracing=False, share=0.5)
    Counting.read.clear()
    one.command(1, SetFocus(Focus(sight=((2048, 3000), (6144, 6200)))))
    end, times = time.monotonic() + 20, dict.fromkeys(range(0, FRAMES, 1024), 0)
    while time.monotonic() < end and not (all(times.values()) and min(times[2048], times[6144]) > 20):
        one.advance(0.01)
        times = {start: Counting.read.count(start) for start in times}
    assert min(times[2048], times[6144]) > 5 * max(times[0], times[4096]), times
    assert all(times.values()), "the rest is not forgotten"


def test_the_page_in_focus_tells_who_maps_it_and_who_pays(machine: Path) -> None:
    group = machine / "sys/fs/cgroup/user.slice"
    group.mkdir(parents=True)
    words = np.zeros(FRAMES, "<u8")
    words[7000:7002] = (3, 1)
    (machine / "proc/kpagecount").write_bytes(words.tobytes())
    words[7000:7002] = (group.stat().st_ino, 2**41)
    (machine / "proc/kpagecgroup").write_bytes(words.tobytes())
    one = source(machine, tracing=False)

    def sentence(pfn: int) -> str:
        one.command(1, SetFocus(Focus(pfn=pfn)))
        detail = one.snapshot().detail
        assert detail is not None
        return detail.sentence

    assert sentence(7000) == "unmovable, mapped 3 times, cgroup /user.slice"
    assert sentence(7001) == f"unmovable, mapped once, cgroup that is gone, inode {2**41}"
    assert sentence(7002) == "unmovable"
    (machine / "proc/kpagecgroup").unlink()
    assert "cgroup" not in source(machine, tracing=False).snapshot().notice


def test_commands_that_a_real_machine_does_not_know_are_refused_in_words(machine: Path) -> None:
    one = source(machine, tracing=False)
    one.command(1, Step())
    one.command(2, Compact())
    one.command(3, Pause())
    assert not one.advance(0.01)
    one.command(4, Run())
    told = one.snapshot().outcomes
    assert [outcome.ok for outcome in told] == [False, False, True, True]
    assert "cannot be stepped" in told[0].sentence
    assert "Actions on this machine are off" in told[1].sentence


def test_actions_are_refused_by_the_reader_too() -> None:
    with pytest.raises(Refused, match="start memviz with --actions"):
        Kernel().act("compact")
    with pytest.raises(Refused, match="memviz can do"):
        Kernel(actions=True).act("reboot")
    with pytest.raises(Refused, match="name one slab cache"):
        Kernel(actions=True).act("shrink", "../../x")


def test_the_reader_reads_nothing_but_its_list() -> None:
    with pytest.raises(Refused, match="memviz reads no such file"):
        Kernel().read("/etc/shadow")


# -- the helper


def helper(*extra: str) -> list[str]:
    return [sys.executable, "-I", live_helper.__file__, *extra]


def test_the_helper_needs_the_standard_library_only() -> None:
    code = (
        "import sys, runpy; runpy.run_path(sys.argv[1]); print([m for m in sys.modules if m[:5] in ('memvi', 'numpy')])"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code, live_helper.__file__], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_the_helper_answers_as_the_kernel_does() -> None:
    access = Helper(helper())
    try:
        assert "nr_free_pages" in access.text("vmstat")
        with pytest.raises(LiveError, match="memviz reads no such file"):
            access.text("../etc/passwd")
        with pytest.raises(LiveError, match="start memviz with --actions"):
            access.act("compact")
    finally:
        access.close()


def test_a_helper_that_is_killed_is_one_sentence() -> None:
    access = Helper(helper())
    access._process.kill()
    with pytest.raises(LiveError, match=r"the helper that reads this machine has ended .* open this machine again"):
        access.text("vmstat")
    access.close()


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        ("import os; os.write(1, b'x' * 100)", "answers with garbage"),
        ("import os; os.write(1, b'D\\xff\\0\\0\\0abc')", "has ended"),
        ("raise SystemExit('no rights')", "no rights"),
    ],
)
def test_a_helper_that_is_none_is_one_sentence(code: str, sentence: str) -> None:
    with pytest.raises(LiveError, match=sentence):
        Helper([sys.executable, "-c", code])


def test_a_helper_that_says_nothing_is_given_up() -> None:
    with pytest.raises(LiveError, match="has not answered for"):
        Helper([sys.executable, "-c", "import sys; sys.stdin.buffer.read()"], patience=0.3)


def test_a_helper_that_is_not_installed_is_named() -> None:
    with pytest.raises(LiveError, match=r"no-such-program: No such file or directory \(errno 2\); install it"):
        Helper(["no-such-program"])


NOBODY = """
import os
from memviz.sources.linux import LinuxSource
os.setgroups([]); os.setgid(65534); os.setuid(65534)
one = LinuxSource()
found = one.snapshot()
print(found.notice)
print(len(found.zones), found.pages.nr, dict(found.counters)["nr_free_pages"] > 0, sum(found.zones[-1].nr_free()) > 0)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become nobody")
def test_without_rights_there_is_what_everybody_may_see_and_one_sentence_for_the_rest() -> None:
    done = subprocess.run([sys.executable, "-c", NOBODY], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    notice, figures = done.stdout.splitlines()
    assert notice == (
        "No page flags, migratetypes and no slab caches: only root may read them; run memviz with sudo, or let it ask"
        " for rights: sudo packaging/install-helper.sh brings what it needs."
    )
    zones, frames, *seen = figures.split()
    assert int(zones) > 0
    assert (frames, seen) == ("0", ["True", "True"])


def test_the_installed_helper_is_two_programs_that_need_nothing_of_the_checkout(tmp_path: Path) -> None:
    script = Path(live_helper.__file__).parents[1] / "packaging/install-helper.sh"
    if not script.exists():
        pytest.skip("not a checkout")

    def install(what: str) -> str:
        environment = {**os.environ, "DESTDIR": str(tmp_path)}
        return subprocess.run([script, what], env=environment, capture_output=True, text=True, check=True).stdout

    assert "may read" in install("install")
    policy = (tmp_path / "usr/share/polkit-1/actions/io.github.memviz.memviz.policy").read_text()
    for name in ("memviz-helper", live_helper.ACTING):
        program = tmp_path / "usr/libexec" / name
        assert f">/{program.relative_to(tmp_path)}<" in policy
        assert program.read_text().startswith("#!/usr/bin/python3 -I\n")
        access = Helper([sys.executable, "-I", str(program)])
        assert "nr_free_pages" in access.text("vmstat")
        access.close()
    install("remove")
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


PARENT = """
import sys, time
from memviz.sources.linux_access import Helper
one = Helper(sys.argv[1:])
print(one._process.pid, flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize(
    "garbage",
    [
        b"x" * 1000,
        b"R",
        b"R\xff\xff\xff\xff" + b"[]" * 100,
        b"R\x02\0\0\0[]",
        b"R\x04\0\0\0null",
        b"R\x03\0\0\0\xff\xfe{",
        b'R\x0c\0\0\0["act", [[]]]'[:17],
        b'R\x10\0\0\0["page_words",1]',
    ],
)
def test_a_helper_that_is_sent_garbage_ends_or_refuses_without_a_word(garbage: bytes) -> None:
    done = subprocess.run(helper(), input=garbage, capture_output=True, check=False, timeout=20)
    assert (done.returncode, done.stderr) == (0, b"")
    assert not done.stdout or done.stdout.startswith(b"E")


def test_a_helper_whose_parent_is_killed_ends() -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT, *helper()], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    parent.kill()
    parent.communicate()
    end = time.monotonic() + 10
    while live_helper._started(pid) and time.monotonic() < end:
        time.sleep(0.01)
    assert not live_helper._started(pid)


@root
def test_a_reader_that_is_killed_is_a_sentence_and_the_last_picture_stays() -> None:
    access = Helper(helper())
    one = LinuxSource(access=access, tracing=False, share=1.0)
    free = counts(one.snapshot().pages)["free"]
    access._process.kill()
    end = time.monotonic() + 1.5  # until everything was asked for once
    while time.monotonic() < end:
        one.advance(0.01)
    found = one.snapshot()
    assert found.notice.count("the helper that reads this machine has ended") == 1
    assert "page flags" in found.notice
    assert counts(found.pages)["free"] == free
    one.command(1, Compact())
    assert not one.snapshot().outcomes[-1].ok
    one.close()


# -- the real machine: reading only


@root
def test_totals_agree_with_the_kernels() -> None:
    access = Direct(Kernel())
    try:
        infos = procfs.parse_zoneinfo(access.text("zoneinfo"))
        frames = FrameMap(max(zone.start_pfn + zone.spanned for zone in infos))
        told = []
        for _ in range(3):  # a machine under test is not quiet: what it says before and after is a range
            told.append((access.text("vmstat"), access.text("slabinfo")))
            if len(told) == 2:
                sweep(access, frames)
        zones = procfs.zones_of(infos, {}, None)
        frames.find_unmanaged(zones)
        found = counts(frames.pages())
        counters = [dict(procfs.parse_counters(vmstat)) for vmstat, _ in told]
        theirs = {
            "free": [one["nr_free_pages"] for one in counters],
            "page cache": [one["nr_file_pages"] for one in counters],
            "anonymous": [one["nr_anon_pages"] for one in counters],  # huge pages of this machine are anonymous
            "slab": [sum(one.slabs << one.order for one in procfs.parse_slabinfo(text)) for _, text in told],
            "page table": [one["nr_page_table_pages"] for one in counters],
        }
        ours = {name: sum(count for owner, count in found.items() if name in owner) for name in theirs}
        ours["anonymous"] += found.get("huge page", 0)
        for name, figures in theirs.items():
            moved = 2 * (max(figures) - min(figures)) + 1024
            assert 0.99 * min(figures) - moved < ours[name] < 1.01 * max(figures) + moved, name
    finally:
        access.close()


def _instances() -> set[str]:
    return {name for place in live_helper.TRACEFS for name in _names(f"{place}/instances")}


def _names(folder: str) -> list[str]:
    return os.listdir(folder) if os.path.isdir(folder) else []


@root
def test_the_window_sees_this_machine_and_nothing_is_left_behind() -> None:
    before = _instances()
    with HostClient(SourceSpec("memviz.sources.linux:LinuxSource")) as client:
        found: Snapshot | None = None
        end = time.monotonic() + 30
        while found is None and time.monotonic() < end:
            found = client.wait(5)
        assert found is not None, client.report
        assert found.state == "running", client.report
        assert counts(found.pages)["free"] > 0
        assert found.zones
    assert _instances() <= before


@root
def test_an_instance_of_a_process_that_was_killed_is_removed_at_the_next_start() -> None:
    first = Kernel()
    try:
        first.trace_start()
    except Refused as error:
        pytest.skip(str(error))
    try:
        place = Path(first._instance).parent
        stale = place / f"{live_helper.INSTANCE}{2**22 + 1}-1"
        stale.mkdir()
        second = Kernel()
        second._tracefs = str(place.parent)
        second._remove_stale()
        assert not stale.exists()
        assert Path(first._instance).exists(), "one that is in use stays"
    finally:
        first.close()
    assert not list(place.glob(f"{live_helper.INSTANCE}{os.getpid()}-*"))


def test_the_stages_of_a_real_request_are_read_from_the_trace() -> None:
    events = np.zeros(3, EVENT_DTYPE)
    events["kind"] = [trace.MM_COMPACTION_END, trace.MM_COMPACTION_DEFERRED, trace.MM_COMPACTION_END]
    events["c"] = [5, 1, 8]
    events["d"] = [32, 0, 64]
    found = anatomy(1, 9, True, (0, 2_500_000), events, True)
    assert found.verdict == "A huge page was found in 2.5 ms, and given back."
    assert [(stage.name, stage.ok) for stage in found.stages] == [
        ("free lists", False),
        ("compaction", True),
        ("compaction", False),
    ]
    assert found.stages[1].outcome == "2 runs moved 96 pages; the last made a block free"
    assert found.pfn == -1, "which block it was is not known"
    blocks = np.zeros(4, EVENT_DTYPE)
    blocks["kind"] = [trace.MM_PAGE_ALLOC, trace.MM_PAGE_ALLOC, trace.MM_PAGE_FREE, trace.MM_PAGE_FREE]
    blocks["a"] = [512, 1024, 2048, 1024]
    blocks["b"] = 9
    assert anatomy(1, 9, True, (0, 1), blocks, True).pfn == 1024, "what was allocated and given back"
    refused = anatomy(2, 9, False, (0, 1_000_000), events[:0], False)
    assert refused.pfn == -1
    assert refused.verdict.endswith("How is not known: this machine is not traced.")


def test_who_may_read_may_not_act() -> None:
    done = subprocess.run(
        helper("--actions"), env={"PKEXEC_UID": "1000"}, stdin=subprocess.PIPE, capture_output=True, check=False
    )
    assert done.returncode == 1
    assert b"who may read may not act" in done.stderr


def test_sub_buffers_are_as_large_as_the_kernel_says() -> None:
    line = "\tfield: char data;\toffset:16;\tsize:{};\tsigned:1;\n"
    assert live_helper.sub_buffer_size("\tfield: u64 timestamp;\toffset:0;\tsize:8;\n" + line.format(4080)) == 4096
    assert live_helper.sub_buffer_size(line.format(65520)) == 65536
    assert live_helper.sub_buffer_size("garbage") == 4096


def test_a_huge_page_that_a_killed_process_asked_for_is_given_back_at_the_next_start(machine: Path) -> None:
    huge = machine / "proc/sys/vm/nr_hugepages"
    huge.parent.mkdir(parents=True)
    (machine / "run").mkdir()
    note = machine / "run/memviz-huge-page"
    (machine / "proc/sys/vm/compact_memory").write_text("")
    kernel = Kernel(str(machine), actions=True)

    huge.write_text("3\n")
    assert kernel.act("huge_page") == "1"
    assert huge.read_text() == "3"
    assert not note.exists()

    huge.write_text("4\n")
    note.write_text(f"{2**22 + 1} 77 3")
    kernel.act("compact")
    assert huge.read_text() == "3"
    assert not note.exists()

    huge.write_text("9\n")  # somebody else has set it since
    note.write_text(f"{2**22 + 1} 77 3")
    kernel.act("compact")
    assert huge.read_text() == "9\n"

    note.write_text(f"{os.getpid()} {live_helper._started(os.getpid())} 8")  # one that is at it
    kernel.act("compact")
    assert huge.read_text() == "9\n"
    assert note.exists()


def test_actions_say_what_became_of_them(machine: Path) -> None:
    for file in ("proc/sys/vm/compact_memory", "proc/sys/vm/drop_caches", "sys/kernel/slab/dentry/shrink"):
        (machine / file).parent.mkdir(parents=True, exist_ok=True)
        (machine / file).write_text("")
    one = LinuxSource(access=Direct(Kernel(str(machine), actions=True)), actions=True, tracing=False)
    for number, command in enumerate((Compact(), DropCaches(), Defragment("dentry"), Defragment("no/such"))):
        one.command(number, command)
    told = one.snapshot().outcomes
    assert [outcome.ok for outcome in told] == [True, True, True, False]
    assert told[0].sentence == "Compaction of all zones: 8 free blocks of 2 MiB, now 8."
    assert told[1].sentence == "Caches are dropped: 16 MiB were free, now 16 MiB are."
    assert "The cache dentry has given back its empty slabs" in told[2].sentence
    assert "name one slab cache" in told[3].sentence
    assert (machine / "proc/sys/vm/drop_caches").read_text() == "3"
    assert (machine / "sys/kernel/slab/dentry/shrink").read_text() == "1"
