"""A source whose world is one number: what the tests of the host run in its process."""

from __future__ import annotations

import numpy as np

from memviz.snapshot import EVENT_DTYPE, Outcome, Pages, Snapshot
from memviz.sources.base import Command, Pause, RequestPages, Run, SetPolicy, SourceError, Step


class CountingSource:
    """Counts; every page frame's stamp is the count, so that a torn Snapshot shows."""

    def __init__(self, frames: int = 1024, running: bool = False, fail_at: int = -1, wrong: str = "") -> None:
        if wrong:
            raise SourceError(wrong)
        self.title = "counting"
        self.count = 0
        self.fail_at = fail_at
        self.running = running
        self.closed = False
        self.outcomes: tuple[Outcome, ...] = ()
        self._stamp = np.zeros(frames, np.uint32)
        self._zeros = np.zeros(frames, np.uint8)

    def snapshot(self) -> Snapshot:
        pages = Pages(self._zeros.copy(), self._zeros.copy(), self._zeros.copy(), self._stamp.copy())
        return Snapshot(
            seq=self.count,
            time_ns=0,
            ops=self.count,
            title=self.title,
            source="simulation",
            state="running" if self.running else "paused",
            zones=(),
            pages=pages,
            pageblock_mt=np.zeros(self._zeros.size // 512, np.uint8),
            events=np.zeros(self.count % 5, EVENT_DTYPE),
            outcomes=self.outcomes,
        )

    def command(self, number: int, command: Command) -> None:
        if isinstance(command, Run | Pause):
            self.running = isinstance(command, Run)
        elif isinstance(command, Step):
            for _ in range(command.count):
                self._step()
        elif isinstance(command, RequestPages):
            raise ZeroDivisionError("the allocator divided by zero")
        elif isinstance(command, SetPolicy) and command.name == "exit":
            print("about to go")
            raise SystemExit(int(command.value))
        self.outcomes = (*self.outcomes, Outcome(number, type(command).__name__, True, f"count is {self.count}"))[-8:]

    def _step(self) -> None:
        if self.count == self.fail_at:
            raise RuntimeError(f"count {self.count} was\none too many")
        self.count += 1
        self._stamp += 1

    def advance(self, seconds: float) -> bool:
        if self.running:
            self._step()
        return self.running

    def close(self) -> None:
        self.closed = True
