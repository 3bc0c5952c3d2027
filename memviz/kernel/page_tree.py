"""What the page cache asks of the tree that finds a file's pages: ``i_pages``, up to Linux 4.16 ``page_tree``.

The entries are page frame numbers (int) and shadows (values). Two trees can be one: ``xa_pages.XArrayPages``, as since
4.20, whose nodes move, and ``radix_pages.RadixPages``, as before, whose nodes stay. Which of them a machine's files
have is ``page_index``'s business; nobody else needs to know.
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import trait

from memviz.kernel.xa_node import ULONG_MAX, NodeCache, XaNode

# What add() says.
ADDED: Final = 0
REFAULTED: Final = 1  # where the shadow of an evicted page was
EEXIST: Final = -17
ENOMEM: Final = -12


@trait
class PageTree:
    """One file's tree. It locks itself, whoever's the lock is."""

    name: str
    ident: int  # its file's number
    nodes: NodeCache  # where its nodes live
    nrpages: int  # page frames in it, shadows not counted

    def load(self, index: int) -> object:
        """The page frame or shadow at ``index``, None when there is neither."""
        raise NotImplementedError

    def find(self, index: int, max: int = ULONG_MAX, mark: int | None = None) -> tuple[int, object] | None:
        """The first entry at ``index..max`` with its index; with ``mark`` only entries marked (tagged) so."""
        raise NotImplementedError

    def find_after(self, index: int, max: int = ULONG_MAX, mark: int | None = None) -> tuple[int, object] | None:
        """As ``find()``, strictly behind ``index``."""
        raise NotImplementedError

    def add(self, index: int, pfn: int) -> int:
        """Put a page frame where none is: ADDED, REFAULTED, EEXIST or ENOMEM. May sleep."""
        raise NotImplementedError

    def remove(self, index: int) -> object:
        """Take out and return what is at ``index``."""
        raise NotImplementedError

    def exchange(self, index: int, old: int, entry: object) -> bool:
        """Put ``entry``, a page frame or a shadow, where page frame ``old`` is. False: it is there no longer. Needs no
        memory."""
        raise NotImplementedError

    def holds(self, node: XaNode) -> bool:
        """Whether ``node`` says itself that it is in this tree."""
        raise NotImplementedError

    def top(self) -> object:
        """The top node; None in an empty tree, or the entry at index 0 when that is all."""
        raise NotImplementedError

    def nodes_in_tree(self) -> list[XaNode]:
        """All nodes, parents before their children, each level in the order of indices."""
        raise NotImplementedError

    def dump(self) -> str:
        """The tree as one line."""
        raise NotImplementedError

    def check(self, tight: bool = False) -> None:
        """Verify the structure; AssertionError says in a sentence what is wrong where."""
        raise NotImplementedError
