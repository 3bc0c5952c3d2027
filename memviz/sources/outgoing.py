"""Snapshots on their way to another process: only what that one does not have yet."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields, replace
from typing import Any, Final

from memviz.snapshot import Pages, Snapshot
from memviz.sources.page_sets import ChangeLog, PageDelta, PageSets

FIELDS: Final = tuple(one.name for one in fields(Snapshot) if one.name != "pages")
_NOTHING: Final = object()


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


class Unsent:
    """The other fields of Snapshots on their way to one reader: who has a Snapshot has the next one's, too, as far as
    they are the very same objects. Slabs, trees and tables are, most of the time: they are taken anew now and then.
    """

    def __init__(self) -> None:
        self._sent: dict[str, object] = {}

    def of(self, snapshot: Snapshot, names: Iterable[str] = FIELDS) -> dict[str, Any]:
        """Those of ``names`` that the reader does not have; from now on it has them."""
        sent, found = self._sent, {}
        for name in names:
            value = getattr(snapshot, name)
            if value is not sent.get(name, _NOTHING):
                found[name] = sent[name] = value
        return found


def received(last: Snapshot | None, fields: dict[str, Any], pages: Pages) -> Snapshot:
    """The Snapshot that ``fields`` were unsent of; ``last``: the one before it."""
    return Snapshot(**fields, pages=pages) if last is None else replace(last, **fields, pages=pages)
