"""One look at this machine, made into a report."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt

from memviz.analysis.contiguity import contiguity, pinned_frames
from memviz.analysis.live_report import LiveReport
from memviz.analysis.pins import pin_report
from memviz.kernel import page
from memviz.snapshot import Pages
from memviz.sources.linux import LinuxSource
from memviz.sources.linux_owners import add_owners
from memviz.sources.linux_sweep import counts


def stuck(pages: Pages) -> npt.NDArray[np.bool_]:
    """Page frames that nothing can move; a huge page is in nobody's way."""
    found: npt.NDArray[np.bool_] = pinned_frames(pages) & (pages.owner != page.OWNER_HUGE)
    return found


def live_report(source: LinuxSource, watch: float = 0.0) -> LiveReport:
    """Report on the machine. ``watch``: seconds to follow slab objects first, to learn whose slabs are whose."""
    if watch > 0:
        source.follow(watch)
        source.look_again()
    frames = source.frames
    pages = frames.pages()
    blocks: dict[str, int] = {}
    if source.types is not None:
        for kinds in source.types.blocks.values():
            for name, count in kinds.items():
                blocks[name] = blocks.get(name, 0) + count
    pins = pin_report(pages, source.caches, frames.cache[: frames.nr]) if pages.nr else None
    missing = source.missing
    cgroups, sites = add_owners(source.access, pages.nr, stuck(pages), pins, missing) if pins is not None else ((), {})
    return LiveReport(
        host=source.told("hostname") or source.title,
        kernel=source.told("osrelease"),
        when=datetime.now(UTC).isoformat(timespec="seconds"),
        zones=source.zones,
        frames=counts(pages),
        pageblocks=blocks,
        contiguity=contiguity(pages) if pages.nr else None,
        pins=pins,
        caches=source.caches,
        slabs_named=int(np.count_nonzero(frames.cache)),
        missing=missing,
        cgroups=cgroups,
        call_sites=sites,
    )
