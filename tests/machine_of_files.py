"""A real machine of 32 MiB, made of files that a test controls: half free, a quarter slabs, a quarter without flags."""

from __future__ import annotations

from pathlib import Path

import numpy as np

DATA = Path(__file__).parent / "data/linux-6.18"
FRAMES = 8192
SLAB, BUDDY = 1 << 7, 1 << 10
ZONEINFO = """\
Node 0, zone   Normal
  pages free     4096
        boost    0
        min      10
        low      20
        high     30
        promo    40
        spanned  8192
        present  8192
        managed  8192
  pagesets
    cpu: 0
              count:    100
  start_pfn:           0
"""


def machine_of_files(folder: Path) -> Path:
    """Write it; returns the folder that stands for its root."""
    proc = folder / "proc"
    proc.mkdir()
    words = np.zeros(FRAMES, "<u8")
    words[:4096] = BUDDY
    words[4096:6144] = SLAB
    (proc / "kpageflags").write_bytes(words.tobytes())
    (proc / "zoneinfo").write_text(ZONEINFO)
    (proc / "buddyinfo").write_text("Node 0, zone   Normal 0 0 0 0 0 0 0 0 0 0 4 \n")
    (proc / "vmstat").write_text("nr_free_pages 4096\n")
    (proc / "pagetypeinfo").write_text("Node    0, zone   Normal, type      Movable 0 0 0 0 0 0 0 0 0 0 4 \n")
    (proc / "slabinfo").write_text((DATA / "after/slabinfo").read_text())
    return folder
