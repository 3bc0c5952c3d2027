"""What can be done to a real machine: compact it, shrink a slab cache, drop its caches, ask it for a huge page.

Each is off unless the source was started for it, and says afterwards what became of it, with figures from before and
after. A huge page that was asked for is given back.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, Protocol

from memviz.kernel import page
from memviz.snapshot import Cache, RequestAnatomy, Structured, Zone
from memviz.sources.base import Command, Compact, Defragment, DropCaches, RequestPages, Step
from memviz.sources.linux_access import Access
from memviz.sources.linux_anatomy import anatomy

_OFF: Final = "Actions on this machine are off; start memviz with --actions to allow them."


class Machine(Protocol):
    """What actions need of the source."""

    @property
    def zones(self) -> tuple[Zone, ...]:
        """The newest that is known of each."""

    @property
    def caches(self) -> tuple[Cache, ...]:
        """The newest that is known of each."""

    def read_texts(self) -> None:
        """Read what the kernel tells as text again."""

    def witness(self, act: Callable[[], str]) -> tuple[str, Structured]:
        """Do something and see what happens meanwhile: what it returned, and all events of that time, if traced."""

    @property
    def traced(self) -> bool:
        """Something is traced."""


class Actions:
    """Does what can be done to a real machine. Methods raise LiveError when the kernel refuses."""

    def __init__(self, machine: Machine, access: Access, allowed: bool) -> None:
        self._machine = machine
        self._access = access
        self.allowed = allowed
        self._requests = 0
        self.anatomy: RequestAnatomy | None = None
        """Of the last request for a huge page."""

    def act(self, command: Command) -> tuple[str, bool]:
        """Do what ``command`` says: a sentence that says what became of it, and whether it did."""
        if isinstance(command, Step):
            return "A real machine cannot be stepped: pause stops the picture, not the machine.", False
        if not isinstance(command, (Compact, Defragment, DropCaches, RequestPages)):
            return f"{type(command).__name__} says nothing to a real machine.", False
        if not self.allowed:
            return _OFF, False
        if isinstance(command, Compact):
            return self._compact(), True
        if isinstance(command, DropCaches):
            return self._drop_caches(), True
        if isinstance(command, Defragment):
            return self._shrink(command.cache)
        if command.order != page.PAGEBLOCK_ORDER:
            return f"A real request is for one huge page, given back: ask for order {page.PAGEBLOCK_ORDER}.", False
        return self._request(command)

    def _compact(self) -> str:
        before, after = self._around(self._free_blocks, "compact")
        return f"Compaction of all zones: {before:,} free blocks of 2 MiB, now {after:,}."

    def _drop_caches(self) -> str:
        before, after = self._around(self._free_mib, "drop_caches")
        return f"Caches are dropped: {before:,} MiB were free, now {after:,} MiB are."

    def _shrink(self, cache: str) -> tuple[str, bool]:
        if not cache:
            return "Name a slab cache to shrink: Linux has no slab defragmentation that moves objects.", False
        before, after = self._around(lambda: self._slabs(cache), "shrink", cache)
        return f"The cache {cache} has given back its empty slabs: {before:,} slabs, now {after:,}.", True

    def _request(self, command: RequestPages) -> tuple[str, bool]:
        """Ask the kernel for one huge page and give it back; what happened meanwhile is read from the trace."""
        begin = end = 0

        def ask() -> str:
            nonlocal begin, end
            begin = time.monotonic_ns()
            result = self._access.act("huge_page")
            end = time.monotonic_ns()
            return result

        result, during = self._machine.witness(ask)
        got = result == "1"
        self._requests += 1
        self.anatomy = anatomy(self._requests, command.order, got, (begin, end), during, self._machine.traced)
        return self.anatomy.verdict, got

    def _around(self, figure: Callable[[], int], action: str, argument: str = "") -> tuple[int, int]:
        """Do it; returns a figure from before and from after."""
        self._machine.read_texts()
        before = figure()
        self._access.act(action, argument)
        self._machine.read_texts()
        return before, figure()

    def _free_blocks(self) -> int:
        return sum(
            count << (order - page.PAGEBLOCK_ORDER)
            for zone in self._machine.zones
            for order, count in enumerate(zone.nr_free())
            if order >= page.PAGEBLOCK_ORDER
        )

    def _free_mib(self) -> int:
        return sum(zone.free for zone in self._machine.zones) * page.PAGE_SIZE >> 20

    def _slabs(self, cache: str) -> int:
        return next((one.slabs for one in self._machine.caches if one.name == cache), 0)
