"""Classes, shares and colours of page frames in every mode."""

from __future__ import annotations

import numpy as np
import pytest

from memviz.gui.render import heatmap_modes as modes
from memviz.gui.render import tokens
from memviz.gui.render.pyramid import Pyramid
from memviz.kernel import page
from memviz.snapshot import Cache, Pages, Snapshot

NR = 2048


def memory(owner: np.ndarray, **more: object) -> Snapshot:
    """A snapshot of these owners; ``more``: order, flags, stamp, mt, caches, time_ns."""
    nr = owner.size
    pages = Pages(
        owner,
        more.pop("order", np.full(nr, 255, np.uint8)),  # type: ignore[arg-type]
        more.pop("flags", np.zeros(nr, np.uint8)),  # type: ignore[arg-type]
        more.pop("stamp", np.zeros(nr, np.uint32)),  # type: ignore[arg-type]
    )
    mt = more.pop("mt", np.ones(-(-nr >> 9), np.uint8))
    rest = {"time_ns": 0, **more}
    return Snapshot(
        seq=1, ops=0, title="", source="linux", state="paused", zones=(), pages=pages, pageblock_mt=mt, **rest
    )  # type: ignore[arg-type]


def labels(ident: str, snapshot: Snapshot, pfns: list[int]) -> list[str]:
    """The class that the mode gives each of ``pfns``."""
    one = modes.mode(ident)
    ranks = one.lut(snapshot)[one.raw(modes.part(snapshot, 0, snapshot.pages.nr))]
    return [one.classes[ranks[pfn]].label for pfn in pfns]


def free_memory() -> np.ndarray:
    return np.full(NR, page.OWNER_FREE, np.uint8)


def test_every_owner_is_a_class_of_its_own() -> None:
    one = modes.mode("owner")
    owner = np.arange(page.NR_OWNERS, dtype=np.uint8)
    ranks = one.lut(memory(owner))[owner]
    assert sorted(ranks.tolist()) == list(range(page.NR_OWNERS))
    names = {code: one.classes[ranks[code]].label for code in range(page.NR_OWNERS)}
    assert names.pop(page.OWNER_UNKNOWN) == "not managed"
    assert names == {code: page.OWNER_NAMES[code] for code in names}


def test_what_cannot_move_outranks_what_can_and_that_outranks_free() -> None:
    lut = modes.mode("owner").lut(memory(free_memory()))
    assert lut[page.OWNER_UNKNOWN] < lut[page.OWNER_FREE] < lut[page.OWNER_PCP] < lut[page.OWNER_PAGE_CACHE]
    assert max(lut[page.OWNER_PAGE_CACHE], lut[page.OWNER_ANON]) < lut[page.OWNER_SLAB_VFS] < lut[page.OWNER_KERNEL]
    assert lut[page.OWNER_KERNEL] < lut[page.OWNER_SLAB_XA]


def test_migratetype_tells_free_from_used_and_unknown() -> None:
    owner = free_memory()
    owner[600:] = page.OWNER_ANON
    owner[1024] = page.OWNER_UNKNOWN
    snapshot = memory(owner, mt=np.array([0, 1, 2, 255], np.uint8))
    assert labels("migratetype", snapshot, [5, 599, 600, 1024, 1025, 1600]) == [
        "Unmovable, free", "Movable, free", "Movable", "not managed", "Reclaimable", "not managed",
    ]  # fmt: skip


def test_free_order_reaches_all_frames_of_the_block() -> None:
    owner, order = free_memory(), np.full(NR, 255, np.uint8)
    owner[8:16] = page.OWNER_ANON
    order[8] = 3  # an allocated block's order is no free block's
    order[0], order[4], order[512], order[1024] = 2, 0, 9, 10
    owner[20] = page.OWNER_PCP
    snapshot = memory(owner, order=order)
    assert labels("free_order", snapshot, [0, 3, 4, 5, 8, 20, 512, 1023, 1024, 2047]) == [
        "order 2", "order 2", "order 0", "free, order unknown", "used", "order 0", "order 9", "order 9",
        "order 10", "order 10",
    ]  # fmt: skip


def test_free_order_in_a_part_is_that_of_the_whole() -> None:
    owner, order = free_memory(), np.full(NR, 255, np.uint8)
    order[0], order[1024] = 10, 10
    snapshot = memory(owner, order=order)
    half = modes.free_orders(modes.part(snapshot, 1024, 2048))
    assert half.tolist() == modes.free_orders(modes.part(snapshot, 0, NR))[1024:].tolist()


def test_age_in_decades() -> None:
    owner = np.full(NR, page.OWNER_ANON, np.uint8)
    owner[0] = page.OWNER_FREE
    stamp = np.ones(NR, np.uint32)
    stamp[1:8] = [0, 199_995, 199_950, 199_500, 195_000, 150_000, 50_000]
    snapshot = memory(owner, stamp=stamp, time_ns=200_000 * 1_000_000)
    assert labels("age", snapshot, list(range(8))) == [
        "free", "age unknown", "under 10 ms", "10 to 100 ms", "0.1 to 1 s", "1 to 10 s", "10 to 100 s",
        "older than 100 s",
    ]  # fmt: skip


def test_age_soon_after_the_start_is_no_wraparound() -> None:
    owner = np.full(4, page.OWNER_ANON, np.uint8)
    snapshot = memory(owner, stamp=np.array([1, 40, 49, 50], np.uint32), time_ns=50_000_000)
    assert labels("age", snapshot, [0, 1, 2, 3]) == ["10 to 100 ms", "10 to 100 ms", "under 10 ms", "under 10 ms"]


def cache(name: str, movable: bool) -> Cache:
    return Cache(1, name, 576, 584, 2, 28, 1, 1, 0, 1, 28, 0, 1, movable)


@pytest.mark.parametrize(("movable", "label"), [(True, "movable slab"), (False, "slab that stays")])
def test_mobility_asks_the_cache(movable: bool, label: str) -> None:
    owner = free_memory()
    owner[:5] = [page.OWNER_SLAB_XA, page.OWNER_SLAB_VFS, page.OWNER_PAGE_CACHE, page.OWNER_ANON, page.OWNER_KERNEL]
    flags = np.zeros(NR, np.uint8)
    flags[3] = page.PG_PINNED | page.PG_LRU
    snapshot = memory(owner, flags=flags, caches=(cache("xa_node", movable),))
    assert labels("mobility", snapshot, [0, 1, 2, 3, 4, 5]) == [
        label, "slab that stays", "movable page", "pinned", "unmovable", "free",
    ]  # fmt: skip


def test_pinned_by_names_who_holds_a_block_up() -> None:
    owner = np.full(NR, page.OWNER_PAGE_CACHE, np.uint8)
    owner[100] = page.OWNER_SLAB_XA
    owner[600], owner[700] = page.OWNER_SLAB_VFS, page.OWNER_KERNEL
    owner[1100] = page.OWNER_RESERVED
    snapshot = memory(owner)
    assert labels("pinned_by", snapshot, [0, 100, 511, 512, 600, 700, 1024, 1100]) == [
        "held up by: xa_node slab", "xa_node slab pins", "held up by: xa_node slab", "held up by several",
        "dentry, inode slab pins", "unmovable pins", "in blocks that nothing pins", "not managed",
    ]  # fmt: skip


@pytest.mark.parametrize("theme", tokens.THEMES)
def test_every_class_of_every_mode_has_a_colour_in_every_theme(theme: str) -> None:
    loaded = tokens.load(theme)
    for one in modes.MODES:
        colors = modes.palette(one, loaded)
        assert colors.dtype == np.uint32
        assert colors.size == modes.RAISED + 1 > len(one.classes)
        assert (colors >> 24 == 255).all()


def test_owner_colours_are_the_themes() -> None:
    dark = tokens.load("dark")
    colors = modes.palette(modes.mode("owner"), dark)
    lut = modes.mode("owner").lut(memory(free_memory()))
    by_owner = dark.palette("owner")
    assert [colors[lut[owner]] for owner in range(page.NR_OWNERS)] == by_owner.tolist()


def test_mix_goes_through_every_stop() -> None:
    stops = [0x000000, 0x0000FF, 0xFF0000]
    assert [modes.mix(stops, at) for at in (0.0, 0.25, 0.5, 1.0, 2.0)] == [0, 0x000080, 0x0000FF, 0xFF0000, 0xFF0000]
    assert modes.mix([0x123456], 0.7) == 0x123456


def test_a_class_that_is_singled_out_keeps_its_colour_wins_its_cells_and_others_fade() -> None:
    one, dark = modes.mode("owner"), tokens.load("dark")
    owner = free_memory()
    owner[7], owner[8] = page.OWNER_ANON, page.OWNER_SLAB_XA
    snapshot = memory(owner)
    rank = int(one.lut(snapshot)[page.OWNER_ANON])
    pyramid = Pyramid()
    pyramid.show(owner, modes.raised(one.lut(snapshot), rank))
    colors, plain = modes.palette(one, dark, rank), modes.palette(one, dark)
    assert pyramid.levels[5][0] == modes.RAISED
    assert colors[modes.RAISED] == plain[rank]
    faded = colors[int(one.lut(snapshot)[page.OWNER_SLAB_XA])]
    assert faded != plain[int(one.lut(snapshot)[page.OWNER_SLAB_XA])]
    assert modes.labels(one, rank)[modes.RAISED] == "anonymous"


def test_shares_are_of_managed_frames_and_do_not_change_with_what_is_singled_out() -> None:
    one = modes.mode("owner")
    owner = np.full(1000, page.OWNER_FREE, np.uint8)
    owner[:250], owner[250:254], owner[900:] = page.OWNER_ANON, page.OWNER_SLAB_XA, page.OWNER_RESERVED
    snapshot = memory(owner)
    counted = modes.per_rank(np.bincount(owner, minlength=256), one.lut(snapshot))
    entries = {entry.label: (entry.frames, entry.share) for entry in modes.legend(one, counted, 900)}
    assert entries == {
        "reserved": (100, "400 KiB"),
        "free": (646, "72 %"),
        "page cache": (0, "0 %"),
        "anonymous": (250, "28 %"),
        "dentry, inode slab": (0, "0 %"),
        "unmovable": (0, "0 %"),
        "xa_node slab": (4, "<1 %"),
    }
