"""What the kernel tells as text, against what it told on a real Linux 6.18, and against garbage."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memviz.kernel.page import MIGRATE_MOVABLE, MIGRATE_UNMOVABLE
from memviz.sources import linux_procfs as procfs

DATA = Path(__file__).parents[1] / "data/linux-6.18"


def text(when: str, name: str) -> str:
    return (DATA / when / name).read_text()


def test_zones_are_what_the_kernel_says() -> None:
    zones = procfs.zones_of(
        procfs.parse_zoneinfo(text("after", "zoneinfo")),
        procfs.parse_buddyinfo(text("after", "buddyinfo")),
        procfs.parse_pagetypeinfo(text("after", "pagetypeinfo")),
    )
    assert [zone.name for zone in zones] == ["DMA", "DMA32", "Normal"]
    normal = zones[2]
    assert (normal.start_pfn, normal.present, normal.managed) == (1_048_576, 5_505_024, 851_968)
    assert normal.pcp == 66_512
    assert normal.free_area[10][MIGRATE_MOVABLE] == 303
    assert zones[0].free_area[8][MIGRATE_UNMOVABLE] == 1
    assert 0 < normal.watermark_min < normal.watermark_low < normal.watermark_high < normal.watermark_promo


def test_types_of_free_blocks_add_up_to_buddyinfo() -> None:
    types = procfs.parse_pagetypeinfo(text("before", "pagetypeinfo"))
    buddy = procfs.parse_buddyinfo(text("before", "buddyinfo"))
    for key in ((0, "DMA"), (0, "DMA32")):
        assert tuple(map(sum, zip(*types.free[key].values(), strict=True))) == buddy[key]
    assert types.blocks[0, "DMA32"]["Movable"] == sum(types.blocks[0, "DMA32"].values())


def test_without_pagetypeinfo_a_free_block_has_no_type() -> None:
    infos = procfs.parse_zoneinfo(text("before", "zoneinfo"))
    zones = procfs.zones_of(infos, procfs.parse_buddyinfo(text("before", "buddyinfo")), None)
    assert zones[2].nr_free() == (8426, 4480, 2975, 801, 504, 86, 116, 214, 250, 212, 314)
    assert {len(per_type) for per_type in zones[2].free_area} == {1}


def test_zones_of_several_nodes_are_told_apart() -> None:
    one = text("after", "zoneinfo")
    both = one + one.replace("Node 0", "Node 1").replace("1048576", "9999360")
    names = [zone.name for zone in procfs.zones_of(procfs.parse_zoneinfo(both), {}, None)]
    assert "Normal, node 0" in names
    assert "Normal, node 1" in names


def test_cma_counts_as_movable_and_a_cut_count_as_its_bound() -> None:
    types = procfs.parse_pagetypeinfo("Node    0, zone   Normal, type          CMA >100000      2      0\n")
    infos = procfs.parse_zoneinfo(text("after", "zoneinfo"))
    normal = procfs.zones_of(infos, {}, types)[2]
    assert normal.free_area[0][MIGRATE_MOVABLE] == 100_000
    assert normal.free_area[1][MIGRATE_MOVABLE] == 2


def test_caches_are_counted_as_slabinfo_counts() -> None:
    caches = {cache.name: cache for cache in procfs.parse_slabinfo(text("after", "slabinfo"))}
    nodes = caches["radix_tree_node"]
    assert (nodes.object_size, nodes.objs_per_slab, nodes.order) == (584, 14, 1)
    assert nodes.total == nodes.slabs * nodes.objs_per_slab
    told = procfs.parse_slabinfo(text("after", "slabinfo"), {"radix_tree_node": {"partial": 7}})
    nodes = next(cache for cache in told if cache.name == "radix_tree_node")
    assert (nodes.partial, nodes.full) == (7, nodes.slabs - 7)


def test_counters_are_sorted_by_name() -> None:
    counters = procfs.parse_counters(text("after", "vmstat"))
    assert dict(counters)["nr_free_pages"] == 1_260_034
    assert [name for name, _ in counters] == sorted(name for name, _ in counters)


@pytest.mark.parametrize(
    ("parse", "name"),
    [
        (procfs.parse_buddyinfo, "buddyinfo"),
        (procfs.parse_pagetypeinfo, "pagetypeinfo"),
        (procfs.parse_zoneinfo, "zoneinfo"),
        (procfs.parse_slabinfo, "slabinfo"),
    ],
)
def test_a_file_without_a_known_line_is_named(parse: object, name: str) -> None:
    for garbage in ("", "permission denied\n", "\0\0\0", "Node 0, zone\n" * 3):
        with pytest.raises(procfs.ProcError, match=f"/proc/{name} holds no"):
            parse(garbage)  # type: ignore[operator]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 5000), st.integers(0, 5000), st.text(max_size=30))
def test_damage_never_raises_anything_else(start: int, length: int, put: str) -> None:
    for parse, name in (
        (procfs.parse_buddyinfo, "buddyinfo"),
        (procfs.parse_pagetypeinfo, "pagetypeinfo"),
        (procfs.parse_zoneinfo, "zoneinfo"),
        (procfs.parse_slabinfo, "slabinfo"),
    ):
        whole = text("after", name)
        said = "this is not what a Linux kernel prints"
        try:
            assert parse(whole[:start] + put + whole[start + length :])  # type: ignore[operator]
        except procfs.ProcError as error:
            said = str(error)
        assert said.endswith("this is not what a Linux kernel prints")


def test_long_garbage_takes_no_time() -> None:
    line = "Node 0, zone DMA " + "1" * 50_000 + "x\n"
    with pytest.raises(procfs.ProcError):
        procfs.parse_buddyinfo(line)
