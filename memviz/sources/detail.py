"""What of a Snapshot takes long to make, and how often it is made."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Detail(Generic[T]):
    """Something that takes long to make, made again only as often as a share of the time allows."""

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._made = 0.0
        self._took = 0.0
        self._value: T | None = None

    def get(self, share: float) -> T:
        """The value; a fresh one when making it takes at most ``share`` of the time since the last (1: always)."""
        begin = time.process_time()
        if self._value is None or share >= 1 or (begin - self._made) * share >= self._took:
            self._value = self._make()
            self._made = time.process_time()
            self._took = self._made - begin
        return self._value
