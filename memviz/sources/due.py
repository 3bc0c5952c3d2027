"""When what is done now and then is next."""

from __future__ import annotations

import time


class Due:
    """Things by name, each with the time from which on it may be done. What is not known yet may be done at once."""

    def __init__(self) -> None:
        self._from: dict[str, float] = {}

    def take(self, what: str, every: float) -> bool:
        """Whether it is time; if so it is time again in ``every`` seconds."""
        now = time.monotonic()
        if now < self.since(what):
            return False
        self._from[what] = now + every
        return True

    def since(self, what: str) -> float:
        """From when on it may be done, by ``time.monotonic``."""
        return self._from.get(what, 0.0)

    def put_off(self, what: str, seconds: float) -> None:
        """Not before ``seconds`` from now."""
        self._from[what] = time.monotonic() + seconds

    def clear(self) -> None:
        """Everything may be done at once."""
        self._from.clear()
