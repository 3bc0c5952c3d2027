"""What a live machine tells as text, read again and again: zones, slab caches, counters, what blocks are for."""

from __future__ import annotations

import time
from typing import Final

import numpy as np

from memviz.kernel import page
from memviz.snapshot import U8, Cache, Zone
from memviz.sources import linux_procfs as procfs
from memviz.sources.due import Due
from memviz.sources.linux_access import Access, LiveError
from memviz.sources.linux_caches import CacheFinder

_TYPES_S: Final = 2.0
_TYPES_SHARE: Final = 0.001  # of one CPU
_FIGURES_S: Final = 10.0
UNKNOWN_TYPE: Final = 255


class LiveTexts:
    """The newest of each text; what can't be read is named in ``missing``. Raises SourceError without any zone."""

    def __init__(self, access: Access, missing: dict[str, str]) -> None:
        """Read the zones. ``missing`` is kept up to date by every ``read``."""
        self._access = access
        self._missing = missing
        self._due = Due()
        self._slab_figures: dict[str, dict[str, int]] = {}
        self._infos = procfs.parse_zoneinfo(access.text("zoneinfo"))
        self.nr = max((zone.start_pfn + zone.spanned for zone in self._infos), default=0)
        """Page frames, holes between zones too."""
        self.block_mt: U8 = np.full(-(-self.nr // page.PAGEBLOCK_NR_PAGES), UNKNOWN_TYPE, np.uint8)
        """Migratetypes of pageblocks, as far as they are known."""
        self.zones: tuple[Zone, ...] = ()
        self.caches: tuple[Cache, ...] = ()
        self.types: procfs.PageTypes | None = None
        self.counters: tuple[tuple[str, int], ...] = ()

    def read(self, finder: CacheFinder, everything: bool = False) -> None:
        """Read the text files; each may fail. ``everything``: those that cost the kernel much, too."""
        if everything:
            self._due.clear()
        try:
            self._infos = procfs.parse_zoneinfo(self._access.text("zoneinfo"))
            buddy = procfs.parse_buddyinfo(self._access.text("buddyinfo"))
            self.types = self._types()
            self.zones = procfs.zones_of(self._infos, buddy, self.types)
            self._missing.pop("zones", None)
        except (LiveError, procfs.ProcError) as error:
            self._missing["zones"] = str(error)
        try:
            self.caches = finder.numbered(procfs.parse_slabinfo(self._access.text("slabinfo"), self._figures()))
            self._missing.pop("slab caches", None)
        except (LiveError, procfs.ProcError) as error:
            self._missing["slab caches"] = str(error)
        try:
            self.counters = procfs.parse_counters(self._access.text("vmstat"))
            self._missing.pop("counters", None)
        except LiveError as error:
            self._missing["counters"] = str(error)

    def _types(self) -> procfs.PageTypes | None:
        """What blocks are for. The kernel walks its free lists for that, with a lock held: not too often."""
        if self.types is not None and not self._due.take("types", _TYPES_S):
            return self.types
        begin = time.process_time()
        try:
            types = procfs.parse_pagetypeinfo(self._access.text("pagetypeinfo"))
        except (LiveError, procfs.ProcError) as error:
            self._missing["migratetypes"] = str(error)
            return None
        self._due.put_off("types", max(_TYPES_S, (time.process_time() - begin) / _TYPES_SHARE))
        self._missing.pop("migratetypes", None)
        for info in self._infos:
            blocks = types.blocks.get((info.node, info.name), {})
            kinds = [name for name, count in blocks.items() if count]
            # No file tells a block's type; but a zone whose blocks are all of one type does.
            if len(kinds) == 1 and kinds[0] in page.MIGRATETYPE_NAMES:
                first = info.start_pfn // page.PAGEBLOCK_NR_PAGES
                last = -(-(info.start_pfn + info.spanned) // page.PAGEBLOCK_NR_PAGES)
                self.block_mt[first:last] = page.MIGRATETYPE_NAMES.index(kinds[0])
        return types

    def _figures(self) -> dict[str, dict[str, int]]:
        """Two small files for each cache: too many to read them every time."""
        if self._due.take("figures", _FIGURES_S):
            try:
                self._slab_figures = self._access.slab_figures()
            except LiveError:
                self._slab_figures = {}
        return self._slab_figures
