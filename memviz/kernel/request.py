"""The anatomy of a request: what each stage of the page allocator looked at, what it moved, what stopped it."""

from __future__ import annotations


class RequestObserver:
    """Watches one request through ``PageAlloc.request_pages``; this base class looks away.

    The allocator calls ``stage_begin`` and ``stage_end`` in turn, never nested. Between the two, reclaim, compaction
    and slab defragmentation may add figures and name what pinned a pageblock (``PageAlloc.current_observer()`` gives
    them the observer).
    """

    def stage_begin(self, name: str) -> None:
        """A stage begins: "fast path", "reclaim", "compaction", "slab defragmentation", "retry", "out of memory"."""

    def stage_end(self, ok: bool, text: str) -> None:
        """It ends: ``ok`` when it brought the page, ``text`` says in one line what it did."""

    def figure(self, name: str, value: int) -> None:
        """A figure of the stage under way (adds up when it comes again)."""

    def pinned(self, who: str, block: int, address: int) -> None:
        """``who`` (a slab cache or an owner) pins ``block`` (pageblock number) by the object or page frame at
        ``address``.
        """
