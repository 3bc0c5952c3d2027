"""The switches of a machine: what each may be, what it does, and where it comes from."""

from __future__ import annotations

from typing import Final

POLICIES: Final[dict[str, tuple[tuple[str, ...], str]]] = {
    "compaction": (("on", "off"), "compaction moves pages together, for requests and in the background"),
    "defrag_mode": (("0", "1"), "vm.defrag_mode (Linux 6.15): never mix migratetypes before memory would run out"),
    "grouping": (("on", "off"), "pages that move and pages that do not are kept in pageblocks of their own"),
    "page_cache_index": (
        ("xarray", "radix_tree"),
        "the tree that finds files' pages; a radix tree's nodes cannot move",
    ),
    "xa_nodes": (("movable", "fixed"), "XArray nodes move when slabs are defragmented (the thread's proposal)"),
    "dentries": (("evict", "fixed"), "unused dentries and inodes are thrown away when slabs are defragmented"),
    "request_defrag": (("off", "on"), "a request that compaction could not serve defragments slabs before it fails"),
    "compact_slabs": (("off", "on"), "compaction asks movable slabs to leave a block (the series' further work)"),
    "background_defrag": (("off", "on"), "a kernel thread defragments sparse caches (ratio 30, over 10 partial slabs)"),
    "evacuate": (("batch", "one-by-one"), "the callbacks get all objects of a slab at once, or are called for each"),
    "rcu_wait": (("pass", "slab", "object"), "how often a pass waits (rcu_barrier) until what it moved is really free"),
}
"""Switches: the values of each, the first is the default; what it does. Events hold places: only add at ends."""

ORIGINS: Final[dict[str, str]] = {
    "compaction": "Mel Gorman's, Linux 2.6.35. Off: a kernel without CONFIG_COMPACTION.",
    "defrag_mode": "vm.defrag_mode, Linux 6.15. In mainline, 0 by default.",
    "grouping": "Mel Gorman's, Linux 2.6.24. Off: as Linux runs where memory is less than a pageblock a type.",
    "page_cache_index": "Matthew Wilcox, 28 February 2017: the radix tree is not movable, the XArray is. Linux 4.20.",
    "xa_nodes": "Lameter and Wilcox, linux-mm, 28 February 2017; Tobin Harding's series of 3 June 2019. Never merged.",
    "dentries": "Lameter's slab defragmentation, 2007 to 2017. Al Viro, 3 April 2019: leave what is in use alone.",
    "request_defrag": "The aim of Lameter's mail of 28 February 2017: reliable higher order allocations. Not in Linux.",
    "compact_slabs": "Named as further work by the series of 3 June 2019: compaction passes over slabs. Not in Linux.",
    "background_defrag": "kmem_defrag_slabs() of the 2019 series, with its defrag_used_ratio of 30. Never merged.",
    "evacuate": "Left open by the thread, 2 and 3 March 2017: is a batch worth the complexity?",
    "rcu_wait": "The 2019 series calls rcu_barrier() for every object. Less often is cheaper.",
}
"""Where each switch comes from."""
