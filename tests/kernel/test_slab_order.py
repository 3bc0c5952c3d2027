"""Orders and sizes against a real machine's slabinfo and the kernel's own figures."""

from __future__ import annotations

from pathlib import Path

import pytest

from memviz.kernel.slab_order import (
    SLAB_HWCACHE_ALIGN,
    SLAB_TYPESAFE_BY_RCU,
    cpu_partial_slabs,
    get_order,
    kmalloc_index,
    kmalloc_name,
    min_partial,
    object_layout,
    sheaf_capacity,
)
from memviz.kernel.slub import calculate_order

SLABINFO = Path(__file__).parents[1] / "data" / "slabinfo-6.18.txt"


def test_every_cache_of_a_real_machine() -> None:
    """Linux 6.18, 2 CPUs: name, slab_size, objects per slab, pages per slab of all 235 caches."""
    wrong = []
    caches = [line.split() for line in SLABINFO.read_text().splitlines()]
    for name, size, objects, pages in caches:
        order, fit = calculate_order(int(size), 2)
        if (1 << order, fit) != (int(pages), int(objects)):
            wrong.append((name, size, order, fit))
    assert len(caches) == 235
    assert wrong == []


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (584, [(1, 14), (2, 28), (2, 28), (2, 28), (3, 56)]),
        (192, [(0, 21), (0, 21), (0, 21), (1, 42), (1, 42)]),
        (624, [(1, 13), (2, 26), (2, 26), (2, 26), (3, 52)]),
        (1128, [(2, 14), (3, 29), (3, 29), (3, 29), (3, 29)]),
        (256, [(0, 16), (0, 16), (1, 32), (1, 32), (1, 32)]),
        (512, [(1, 16), (1, 16), (2, 32), (2, 32), (2, 32)]),
        (1024, [(2, 16), (2, 16), (3, 32), (3, 32), (3, 32)]),
        (2048, [(3, 16)] * 5),
    ],
)
def test_more_cpus_bigger_slabs(size: int, expected: list[tuple[int, int]]) -> None:
    assert [calculate_order(size, cpus) for cpus in (2, 4, 8, 16, 64)] == expected


def test_a_size_above_the_slab_order_limit_gets_the_block_that_holds_it() -> None:
    assert calculate_order(40_000, 2) == (4, 1)
    assert calculate_order(1, 2) == (0, 4096)


@pytest.mark.parametrize("size", [0, -8, (4096 << 10) + 1])
def test_no_slab_for_an_impossible_size(size: int) -> None:
    with pytest.raises(ValueError, match="bytes"):
        calculate_order(size, 2)


def test_a_constructor_costs_a_free_pointer() -> None:
    assert object_layout(576, 0, has_ctor=True) == 584
    assert object_layout(576, 0, has_ctor=False) == 576
    assert object_layout(576, SLAB_TYPESAFE_BY_RCU, has_ctor=False) == 584
    assert object_layout(1, 0, has_ctor=False) == 8
    assert object_layout(100, SLAB_HWCACHE_ALIGN, has_ctor=False) == 128
    assert object_layout(20, SLAB_HWCACHE_ALIGN, has_ctor=False) == 32


def test_limits() -> None:
    assert [sheaf_capacity(size) for size in (8192, 4096, 1024, 584, 256, 192)] == [4, 4, 12, 28, 28, 60]
    assert [min_partial(size) for size in (8, 584, 4096, 1 << 20)] == [5, 5, 6, 10]
    assert cpu_partial_slabs(584, 14) == 8  # 52 objects, slabs taken as half full
    assert [get_order(size) for size in (1, 4096, 4097, 8192, 8193)] == [0, 0, 1, 1, 2]
    assert [kmalloc_index(size) for size in (1, 96, 97, 8192, 8193)] == [0, 4, 5, 12, -1]
    assert [kmalloc_name(size) for size in (96, 2048)] == ["kmalloc-96", "kmalloc-2k"]
