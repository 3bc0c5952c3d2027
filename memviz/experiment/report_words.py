"""What the report says the same in every experiment: sentences, and words explained."""

from __future__ import annotations

SOURCES_ARE = "a digest of kernel/, workload/, the loader of scenarios and what measures"
BEGIN_WORDS = {
    "aged": "on the same aged machine",
    "start": "in force all the machine's life",
}
PHASE_SAYS = {
    "burst": "many at once",
    "steady": "one now and then while the work goes on",
}
WHOLE_SAYS = (
    "When the policy is in force and has acted, before any demand, and after the steady demand of the chief order."
    " A pageblock is *mixed* when what can move and what cannot stand in it together. The *unusable index* is the part"
    " of free memory that is in pieces too small for the order, 0 to 1."
)
WORDS = (
    ("order", "A request of order n wants 2ⁿ pages of 4 KiB in one piece: order 9 is 2 MiB, order 10 is 4 MiB."),
    ("pageblock", "2 MiB of memory; the kernel tries to keep what moves and what does not in pageblocks of their own."),
    ("compaction", "Moves pages of programs and of the page cache together. Pages of slabs it cannot move."),
    ("slab", "A few pages that the kernel cuts into objects of one size; it goes back when no object in it is in use."),
    (
        "xa_node, XArray",
        "A node of the tree that finds a file's pages. The XArray knows its own lock, so nodes can be moved.",
    ),
    (
        "radix tree",
        "What did that before 2018 (Linux 4.20). Its users bring the lock, so nobody else can move its nodes.",
    ),
    ("dentry, inode", "The cached name of a file and what is known of it. They cannot be moved, only thrown away."),
    (
        "RCU, grace period, rcu_barrier",
        "Readers without locks may still hold an object: it is free after a grace period; rcu_barrier waits for that.",
    ),
    ("defrag_mode", "vm.defrag_mode of Linux 6.15: rather reclaim and compact than use a block of another kind."),
    (
        "virtual time",
        "The simulation's own clock: what the work would take, from a table of costs. Not what the simulation takes.",
    ),
)
SHORT_PRICE = ("objects moved", "objects thrown away", "pages read again", "rcu_barrier, ms")
_PRICE_WORDS = (
    " *Pages read again* is cache thrown away that was wanted after all. *CPUs blocked* had to wait for the lock of a"
    " slab whose objects were just being looked at."
)
PRICE_SAYS = {
    "aged": "The action, if any, and the steady demands of all orders together; the ageing is the same for all."
    + _PRICE_WORDS,
    "start": "The ageing and the steady demands of all orders together." + _PRICE_WORDS,
}
BEGIN_SAYS = {
    "aged": (
        "Every policy meets the very same machine, aged under the baseline (equal digests), is switched on there, does"
        " its action once, and then demands are made."
    ),
    "start": (
        "The policy rules from the first operation on. The scenario's own users profit first: what they hold in huge"
        " pages is no longer there for others."
    ),
}
