"""Cgroups and call sites of page frames, from what a kernel with both prints."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np

from memviz.analysis.live_report import CgroupFrames, LiveReport
from memviz.analysis.pins import CheapBlock, PinReport
from memviz.live_helper import Kernel
from memviz.sources.linux_access import Direct
from memviz.sources.linux_owners import add_owners, frames_by_cgroup, parse_page_owner

OWNED = """\
Page allocated via order 0, mask 0xd20c0(__GFP_IO|__GFP_FS), pid 87, tgid 87 (updatedb), ts 8123456789 ns
PFN 0x201 type Reclaimable Block 1 type Movable Flags 0x200(slab|node=0|zone=1)
 set_page_owner+0x3a/0x60
 post_alloc_hook+0x4c/0x60
 get_page_from_freelist+0x1f7/0x11c0
 __alloc_pages_noprof+0x17b/0x340
 new_slab+0x1c2/0x3e0
 kmem_cache_alloc_lru_noprof+0x3c/0x3b0
 __d_alloc+0x2a/0x1e0
 d_alloc_parallel+0x5d/0x3c0

Page allocated via order 1, mask 0x0(), pid 1, ts 7 ns, free_ts 5 ns
PFN 520 type Unmovable Block 1 type Unmovable Flags 0x0()
 __alloc_frozen_pages_noprof+0x1/0x2
 alloc_slab_page+0x1/0x2
 copy_process+0x9/0x10

Page allocated via order 0, mask 0x0(), pid 1, ts 7 ns
PFN 530 type Unmo"""


def test_who_called_the_allocator_is_told() -> None:
    assert parse_page_owner(OWNED) == {0x201: "__d_alloc, for updatedb", 520: "copy_process"}
    assert parse_page_owner("") == {}
    assert parse_page_owner("garbage\n\nPFN x\n\n" * 10) == {}


def machine(tmp_path: Path) -> Kernel:
    """1,024 page frames: 100 of one cgroup, 28 of them pinned, 24 of one that is gone."""
    groups = tmp_path / "sys/fs/cgroup/system.slice/cups.service"
    groups.mkdir(parents=True)
    words = np.zeros(1024, "<u8")
    words[500:600] = groups.stat().st_ino
    words[600:624] = 2**40
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/kpagecgroup").write_bytes(words.tobytes())
    return Kernel(str(tmp_path))


def pinned() -> np.ndarray:
    found = np.zeros(1024, np.bool_)
    found[572:600] = True
    return found


def test_page_frames_are_counted_by_cgroup(tmp_path: Path) -> None:
    found = frames_by_cgroup(Direct(machine(tmp_path)), 1024, pinned())
    assert found == (
        CgroupFrames("/system.slice/cups.service", 100, 28),
        CgroupFrames(f"gone, inode {2**40}", 24, 0),
    )


def report(tmp_path: Path, pins: PinReport) -> LiveReport:
    missing: dict[str, str] = {}
    cgroups, sites = add_owners(Direct(machine(tmp_path)), 1024, pinned(), pins, missing)
    return LiveReport("box", "6.18", "now", (), {}, {}, None, pins, (), 0, missing, cgroups, sites)


PINS = PinReport(2, 0, 1, 1, 0, (), (), (CheapBlock(1, ((0x201, "slab dentry"), (520, "unmovable"))),))


def test_the_report_names_cgroups_and_call_sites(tmp_path: Path) -> None:
    folder = tmp_path / "sys/kernel/debug"
    folder.mkdir(parents=True)
    with (folder / "page_owner").open("wb") as file:  # seeking is by page frame there, by byte here
        file.seek(0x201)
        file.write(OWNED.encode())
    found = report(tmp_path, PINS)
    assert found.missing == {}
    text = found.as_text()
    assert "/system.slice/cups.service" in text
    assert "slab dentry, from __d_alloc, for updatedb at 0x201; unmovable, from copy_process at 0x208" in text
    assert found.as_dict()["call_sites"] == {"513": "__d_alloc, for updatedb", "520": "copy_process"}
    assert found.as_dict()["cgroups"][0] == {"path": "/system.slice/cups.service", "frames": 100, "pinned": 28}


def test_a_kernel_without_page_owner_says_what_would_bring_it(tmp_path: Path) -> None:
    found = report(tmp_path, PINS)
    assert found.call_sites == {}
    assert f"{os.strerror(errno.ENOENT)} (errno 2)" in found.missing["call sites"]
    assert "page_owner=on" in found.missing["call sites"]
    assert "unmovable at 0x208" in found.as_text()
