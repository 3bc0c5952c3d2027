"""How big: orders, objects a slab, list limits, kmalloc sizes (``mm/slub.c``, ``mm/slab_common.c``).

The rules are those of 6.12 and 7.3, which agree. They give order and objects per slab of every cache of a real machine
(``tests/data/slabinfo-6.18.txt``); the front ends' limits are of the version that has that front end.
"""

from __future__ import annotations

from typing import Final

from memviz.kernel.page import MAX_PAGE_ORDER, PAGE_SHIFT, PAGE_SIZE

SLUB_MAX_ORDER: Final = 3
MAX_OBJS_PER_PAGE: Final = 32767
MIN_PARTIAL: Final = 5
MAX_PARTIAL: Final = 10
WORD: Final = 8  # sizeof(void *)
CACHE_LINE: Final = 64
SHEAF_HEADER: Final = 32  # bytes before the objects of a struct slab_sheaf

SLAB_HWCACHE_ALIGN: Final = 0x2000
SLAB_RECLAIM_ACCOUNT: Final = 0x20000
SLAB_TYPESAFE_BY_RCU: Final = 0x80000
SLAB_NO_MERGE: Final = 0x1000000

KMALLOC_SIZES: Final = (8, 16, 32, 64, 96, 128, 192, 256, 512, 1024, 2048, 4096, 8192)
KMALLOC_MAX_CACHE_SIZE: Final = 8192  # above it pages come straight from the page allocator


def get_order(size: int) -> int:
    """The smallest order whose block holds ``size`` bytes."""
    return max(0, (size - 1) >> PAGE_SHIFT).bit_length()


def order_objects(order: int, size: int) -> int:
    """How many objects of ``size`` bytes a slab of this order holds."""
    return (PAGE_SIZE << order) // size


def calculate_order(size: int, cpus: int) -> tuple[int, int]:
    """Order of a cache's slabs and objects in one, for objects ``size`` bytes apart on a machine with ``cpus`` CPUs.

    More CPUs mean bigger slabs, so that the list lock is taken less often. Raises ValueError for a size that is not
    positive or that no block holds.
    """
    if size <= 0:
        raise ValueError(f"An object of {size} bytes has no slab: give a size of at least 1 byte.")
    max_objects = max(order_objects(SLUB_MAX_ORDER, size), 1)
    min_objects = min(4 * (max(cpus, 1).bit_length() + 1), max_objects)
    order = _calculate_order(size, get_order(min_objects * size))
    if order > MAX_PAGE_ORDER:
        raise ValueError(f"An object of {size} bytes fits into no block: the largest is {PAGE_SIZE << MAX_PAGE_ORDER}.")
    return order, order_objects(order, size)


def _calculate_order(size: int, min_order: int) -> int:
    """The lowest order that wastes at most 1/16 of the slab; failing that 1/8, 1/4, 1/2; failing that, that fits."""
    if order_objects(min_order, size) > MAX_OBJS_PER_PAGE:
        return get_order(size * MAX_OBJS_PER_PAGE) - 1
    fraction = 16
    while fraction > 1:
        for order in range(min_order, SLUB_MAX_ORDER + 1):
            slab_size = PAGE_SIZE << order
            if slab_size % size <= slab_size // fraction:
                return order
        fraction //= 2
    return get_order(size)


def object_layout(object_size: int, flags: int, has_ctor: bool) -> int:
    """Bytes from one object to the next (``calculate_sizes``).

    A free object carries the freelist. Where its content must outlive the free (a constructor made it, or RCU readers
    may still look) the free pointer goes behind the object and costs a word: radix_tree_node has 576 bytes and takes
    584.
    """
    size = max(object_size + WORD - 1 & -WORD, WORD)
    if has_ctor or flags & SLAB_TYPESAFE_BY_RCU:
        size += WORD
    align = WORD
    if flags & SLAB_HWCACHE_ALIGN:
        align = CACHE_LINE
        while object_size <= align // 2:
            align //= 2
        align = max(align, WORD)
    return size + align - 1 & -align


def min_partial(size: int) -> int:
    """Partial slabs a node keeps although they are empty."""
    return max(MIN_PARTIAL, min(MAX_PARTIAL, (size.bit_length() - 1) // 2))


def cpu_partial(size: int) -> int:
    """Free objects a CPU may keep in partial slabs of its own (classic front end)."""
    if size >= PAGE_SIZE:
        return 6
    if size >= 1024:
        return 24
    if size >= 256:
        return 52
    return 120


def cpu_partial_slabs(size: int, objects: int) -> int:
    """The same limit in slabs, taking each to be half full."""
    return -(-2 * cpu_partial(size) // objects)


def sheaf_capacity(size: int) -> int:
    """Objects in a sheaf (sheaves front end): what the kmalloc bucket that holds it has room for."""
    if size >= PAGE_SIZE:
        capacity = 4
    elif size >= 1024:
        capacity = 12
    elif size >= 256:
        capacity = 26
    else:
        capacity = 60
    bucket = kmalloc_index(SHEAF_HEADER + capacity * WORD)
    return (KMALLOC_SIZES[bucket] - SHEAF_HEADER) // WORD


def kmalloc_index(size: int) -> int:
    """Which of ``KMALLOC_SIZES`` serves ``size`` bytes; -1: none, the page allocator does."""
    for index, bucket in enumerate(KMALLOC_SIZES):
        if size <= bucket:
            return index
    return -1


def kmalloc_name(size: int) -> str:
    """The name of the cache for a bucket: kmalloc-96, kmalloc-2k."""
    return f"kmalloc-{size // 1024}k" if size >= 1024 else f"kmalloc-{size}"
