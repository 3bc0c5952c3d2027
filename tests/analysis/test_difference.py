"""Two instants compared: by page frame, by owner, by figure."""

from __future__ import annotations

import dataclasses

import numpy as np

from memviz.analysis.difference import ONLY_FIRST, ONLY_SECOND, OTHER_OWNER, SAME, Change, difference
from memviz.kernel.page import OWNER_NAMES
from memviz.snapshot import Pages, Snapshot, Zone

FREE, CACHE, SLAB = (OWNER_NAMES.index(name) for name in ("free", "page cache", "other slab"))


def instant(owners: list[int], free: dict[int, int], **fields: object) -> Snapshot:
    owner = np.array(owners, np.uint8)
    area = tuple((free.get(order, 0), 0) for order in range(11))
    zone = Zone("Normal", 0, owner.size, owner.size, owner.size, 0, 0, 0, 0, 0, 0, 0, area)
    pages = Pages(owner, owner, owner, owner.astype(np.uint32))
    return Snapshot(
        seq=1, time_ns=0, ops=0, title="", source="simulation", state="paused", zones=(zone,), pages=pages,
        pageblock_mt=owner[:0], **fields,  # type: ignore[arg-type]
    )  # fmt: skip


FIRST = instant([FREE, CACHE, SLAB, CACHE], {0: 2, 3: 1}, counters=(("a", 1), ("b", 5)), policies=(("p", "on"),))
SECOND = instant([CACHE, FREE, CACHE, CACHE], {0: 10}, counters=(("a", 4), ("b", 5)), policies=(("p", "off"),))


def test_every_frame_and_figure() -> None:
    found = difference(FIRST, SECOND)
    assert found.frames is not None
    assert found.frames.tolist() == [ONLY_SECOND, ONLY_FIRST, OTHER_OWNER, SAME]
    owners = {one.name: one.by for one in found.owners if one.by}
    assert owners == {"page cache": 1, "other slab": -1}
    assert found.free_blocks[0] == Change("order 0", 2, 10)
    assert found.unusable[3] == Change("order 3", 200, 1000), "2 of 10 free pages are no block of 8; then all are not"
    assert found.counters == (Change("a", 1, 4),)
    assert found.policies == (("p", "on", "off"),)


def test_nothing_differs_from_itself() -> None:
    found = difference(FIRST, FIRST)
    assert found.frames is not None
    assert not found.frames.any()
    assert not any(row.by for table in (found.owners, found.unusable, found.free_blocks, found.caches) for row in table)
    assert found.counters == ()


def test_memories_of_different_sizes_have_no_map() -> None:
    larger = dataclasses.replace(SECOND, pages=instant([FREE] * 9, {}).pages)
    found = difference(FIRST, larger)
    assert found.frames is None
    assert Change("free", 1, 9) in found.owners
