"""Page frames on their way to another process: only what that one does not have yet."""

from __future__ import annotations

from memviz.snapshot import Pages
from memviz.sources.page_sets import ChangeLog, PageDelta, PageSets


class Outgoing:
    """The page frames on their way to one reader, who has all that was sent before."""

    def __init__(self) -> None:
        self._log: ChangeLog | None = None
        self._sent = -1
        self._foreign: Pages | None = None
        self._own = PageSets()
        self._ours: Pages | None = None

    def delta(self, pages: Pages) -> PageDelta:
        """What the reader needs to have ``pages``. Sources that don't say what changed are compared with the last."""
        if not isinstance(pages.changes, ChangeLog):
            if pages is not self._foreign or self._ours is None:
                self._ours = self._own.take(pages.owner, pages.order, pages.flags, pages.stamp)
                self._foreign = pages
            pages = self._ours
        log = pages.changes
        assert isinstance(log, ChangeLog)
        since = self._sent if log is self._log else -1
        self._log, self._sent = log, pages.version
        return log.delta(pages, since)
