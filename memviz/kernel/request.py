"""The anatomy of a request: what each stage of the page allocator looked at, what it moved, what stopped it.

``RequestRecorder`` watches one ``PageAlloc.request_pages``; ``anatomy`` then answers *why did this request fail,
and what would have made it succeed?* For that it looks over the whole machine once (``survey``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mypy_extensions import mypyc_attr

from memviz.kernel.mmzone import WMARK_MIN, ZONE_DMA, ZONE_DMA32, ZONE_NORMAL, Zone
from memviz.kernel.page import (
    GFP_ATOMIC,
    GFP_DIRECT_RECLAIM,
    GFP_DMA,
    GFP_DMA32,
    GFP_FS,
    GFP_HIGH,
    GFP_HIGHMEM,
    GFP_HIGHUSER_MOVABLE,
    GFP_IO,
    GFP_KERNEL,
    GFP_KERNEL_ACCOUNT,
    GFP_KSWAPD_RECLAIM,
    GFP_MOVABLE,
    GFP_NOFAIL,
    GFP_NOFS,
    GFP_NOIO,
    GFP_NORETRY,
    GFP_NOWAIT,
    GFP_NOWARN,
    GFP_RECLAIMABLE,
    GFP_RETRY_MAYFAIL,
    GFP_TRANSHUGE,
    GFP_TRANSHUGE_LIGHT,
    GFP_ZERO,
    PAGEBLOCK_ORDER,
)
from memviz.kernel.survey import Pin, Survey, survey

if TYPE_CHECKING:
    from memviz.kernel.page_alloc import PageAlloc
    from memviz.kernel.slub import Slub

MAX_PINS: Final = 64  # names kept a stage; all are counted
MAX_STAGES: Final = 10  # later repetitions of a stage are added to the one before
STAGE_NAMES: Final = {"slab defragmentation": "slab defrag"}

GFP_COMPOSITIONS: Final = (
    (GFP_TRANSHUGE, "GFP_TRANSHUGE"),
    (GFP_TRANSHUGE_LIGHT, "GFP_TRANSHUGE_LIGHT"),
    (GFP_HIGHUSER_MOVABLE, "GFP_HIGHUSER_MOVABLE"),
    (GFP_KERNEL_ACCOUNT, "GFP_KERNEL_ACCOUNT"),
    (GFP_KERNEL, "GFP_KERNEL"),
    (GFP_NOFS, "GFP_NOFS"),
    (GFP_ATOMIC, "GFP_ATOMIC"),
    (GFP_NOIO, "GFP_NOIO"),
    (GFP_NOWAIT, "GFP_NOWAIT"),
)
GFP_BITS: Final = (
    (GFP_DMA, "__GFP_DMA"),
    (GFP_HIGHMEM, "__GFP_HIGHMEM"),
    (GFP_DMA32, "__GFP_DMA32"),
    (GFP_MOVABLE, "__GFP_MOVABLE"),
    (GFP_RECLAIMABLE, "__GFP_RECLAIMABLE"),
    (GFP_HIGH, "__GFP_HIGH"),
    (GFP_IO, "__GFP_IO"),
    (GFP_FS, "__GFP_FS"),
    (GFP_ZERO, "__GFP_ZERO"),
    (GFP_DIRECT_RECLAIM, "__GFP_DIRECT_RECLAIM"),
    (GFP_KSWAPD_RECLAIM, "__GFP_KSWAPD_RECLAIM"),
    (GFP_NOWARN, "__GFP_NOWARN"),
    (GFP_RETRY_MAYFAIL, "__GFP_RETRY_MAYFAIL"),
    (GFP_NOFAIL, "__GFP_NOFAIL"),
    (GFP_NORETRY, "__GFP_NORETRY"),
)


def show_gfp_flags(gfp: int) -> str:
    """A gfp mask as the kernel's tracepoints print it: the largest composition that fits, then single bits."""
    names: list[str] = []
    for bits, name in GFP_COMPOSITIONS:
        if gfp & bits == bits:
            names.append(name)
            gfp &= ~bits
            break
    for bit, name in GFP_BITS:
        if gfp & bit:
            names.append(name)
            gfp &= ~bit
    if gfp:
        names.append(f"{gfp:#x}")
    return "|".join(names) if names else "0"


@mypyc_attr(allow_interpreted_subclasses=True)
class RequestObserver:
    """Watches one request through ``PageAlloc.request_pages``; this base class looks away.

    The allocator calls ``stage_begin`` and ``stage_end`` in turn, never nested. Between the two, reclaim,
    compaction and slab defragmentation may add figures and name what pinned a pageblock (``watching`` gives them
    the observer).
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


def watching(page_alloc: PageAlloc) -> RequestObserver | None:
    """Who watches the request that this task works for, inside of reclaim and compaction too; None: nobody."""
    if page_alloc.observer is None or page_alloc.smp.this_cpu().task is not page_alloc.observed:
        return None
    return page_alloc.observer


class RequestStage:
    """One stage of a request. Times are virtual ns; ``outcome`` is one line in words."""

    def __init__(self, name: str, begin_ns: int) -> None:
        self.name = name
        self.begin_ns = begin_ns
        self.end_ns = begin_ns
        self.ok = False
        self.outcome = ""
        self.figures: dict[str, int] = {}
        self.pinned_by: list[Pin] = []
        self.pin_counts: dict[str, int] = {}  # pageblocks by whose frame pinned them


class RequestAnatomy:
    """A request taken apart. ``pfn`` -1: it failed."""

    def __init__(self, number: int, order: int, gfp: int, pfn: int) -> None:
        self.number = number
        self.order = order
        self.gfp = gfp
        self.gfp_name = show_gfp_flags(gfp)
        self.pfn = pfn
        self.begin_ns = 0
        self.end_ns = 0
        self.stages: list[RequestStage] = []
        self.verdict = ""
        self.survey: Survey | None = None  # of a failed request

    @property
    def ok(self) -> bool:
        """Whether it got its block."""
        return self.pfn >= 0


class RequestRecorder(RequestObserver):
    """Writes down what a request goes through. ``slub``: to name caches and tell which could move; None: not known."""

    def __init__(self, page_alloc: PageAlloc, order: int, gfp: int, slub: Slub | None = None) -> None:
        self.page_alloc = page_alloc
        self.order = order
        self.gfp = gfp
        self.slub = slub
        self.begin_ns = page_alloc.smp.now
        self.stages: list[RequestStage] = []
        self.open: RequestStage | None = None

    def stage_begin(self, name: str) -> None:
        """A stage begins; the eleventh and later ones are added to the last of the same name."""
        name = STAGE_NAMES.get(name, name)
        if len(self.stages) >= MAX_STAGES:
            for stage in reversed(self.stages):
                if stage.name == name:
                    stage.figures["repetitions"] = stage.figures.get("repetitions", 0) + 1
                    self.open = stage
                    return
        self.open = RequestStage(name, self.page_alloc.smp.now)
        self.stages.append(self.open)

    def stage_end(self, ok: bool, text: str) -> None:
        """The stage is over: say in one line what came of it."""
        stage = self.open
        if stage is None:
            return
        stage.end_ns = self.page_alloc.smp.now
        stage.ok = ok
        stage.outcome = outcome_of(stage, text)
        self.open = None

    def figure(self, name: str, value: int) -> None:
        """Add to a figure; zeros are not worth a word."""
        if self.open is not None and value:
            self.open.figures[name] = self.open.figures.get(name, 0) + value

    def pinned(self, who: str, block: int, address: int) -> None:
        """Note who pins a pageblock."""
        stage = self.open
        if stage is None:
            return
        stage.pin_counts[who] = stage.pin_counts.get(who, 0) + 1
        if len(stage.pinned_by) < MAX_PINS:
            stage.pinned_by.append((who, block, address))

    def anatomy(self, number: int, pfn: int | None) -> RequestAnatomy:
        """What to show, once the request is over. ``pfn`` None: it failed, and the machine is searched for the
        reason.
        """
        result = RequestAnatomy(number, self.order, self.gfp, -1 if pfn is None else pfn)
        result.begin_ns = self.begin_ns
        result.end_ns = self.page_alloc.smp.now
        result.stages = self.stages
        if pfn is not None:
            self.show_block(result)
            result.verdict = success_verdict(result)
            return result
        zones = self.zones()
        result.survey = survey(self.page_alloc.mem, zones, self.order, self.slub)
        if self.stages:
            last = self.stages[-1]
            known = [pin[2] for pin in last.pinned_by]
            last.pinned_by.extend(pin for pin in result.survey.pins if pin[2] not in known)
        result.verdict = self.failure_verdict(result.survey)
        return result

    def highest_zoneidx(self) -> int:
        """The highest zone that the request may use."""
        if self.gfp & (GFP_DMA | GFP_DMA32):
            return ZONE_DMA if self.gfp & GFP_DMA else ZONE_DMA32
        return ZONE_NORMAL

    def zones(self) -> list[Zone]:
        """The zones that the request may use."""
        return self.page_alloc.zonelists[self.highest_zoneidx()]

    def needed(self, zone: Zone) -> int:
        """Free page frames that the request must leave in a zone: the watermark, and what is kept for lower
        requests.
        """
        kept = zone.lowmem_reserve[self.highest_zoneidx()] + zone.nr_free_highatomic()
        return zone.wmark_pages(WMARK_MIN) + kept

    def show_block(self, result: RequestAnatomy) -> None:
        """The last line of a request that waited for its block says where the block is."""
        where = block_name(result.pfn, self.order)
        last = self.stages[-1] if self.stages else None
        if last is None or last.name == "retry":
            if last is None:
                last = RequestStage("fast path", result.end_ns)
                self.stages.append(last)
            last.outcome = f"{where}: {last.outcome}" if last.outcome else where
            last.ok = True
        elif last.name == "fast path":
            last.outcome = where
        else:
            retry = RequestStage("retry", result.end_ns)
            retry.ok = True
            retry.outcome = where
            self.stages.append(retry)

    # -- the verdict -----------------------------------------------------------------------------------------------

    def failure_verdict(self, seen: Survey) -> str:
        """One sentence: why it failed and what would have made it succeed."""
        zones = self.zones()
        free = sum(zone.nr_free for zone in zones)
        short = all(zone.nr_free - (1 << self.order) <= self.needed(zone) for zone in zones)
        if short:
            missing = min((self.needed(zone) + (1 << self.order) + 1 - zone.nr_free for zone in zones), default=0)
            return (
                f"Failed for lack of memory: of {free:,} free pages the watermarks keep all for others;"
                f" {missing:,} more free pages in one zone would let it through."
            )
        held = self.held_by(seen)
        if not self.gfp & GFP_DIRECT_RECLAIM:
            help_ = f"in a request that may sleep compaction could empty {seen.unit(seen.movable)}"
            if not seen.movable:
                help_ = self.what_would_help(seen)
            return f"Failed: {held}, and {show_gfp_flags(self.gfp)} may not wait for anybody to change that; {help_}."
        return f"Failed: {held}; {self.what_would_help(seen)}."

    def held_by(self, seen: Survey) -> str:
        """What holds the ranges that the request could have had, the worst first."""
        parts = [(seen.slab_held, "by slab pages")]
        parts.extend((count, f"by {name} pages") for name, count in seen.fixed_by.items())
        parts.append((seen.huge, "by huge pages"))
        parts.append((seen.highatomic, "for atomic requests"))
        parts = sorted((part for part in parts if part[0]), key=part_key)[:3]
        if not parts:
            return f"none of {seen.unit(seen.total)} is free"
        first = f"{parts[0][0]:,} of {seen.unit(seen.total)} are held {parts[0][1]}"
        return ", ".join([first, *(f"{count:,} {words}" for count, words in parts[1:])])

    def what_would_help(self, seen: Survey) -> str:
        """What is nearest to a free range."""
        if seen.free:
            return (
                f"{seen.unit(seen.free)} would be free once the per-CPU lists are drained or other migratetypes claimed"
            )
        if seen.movable > seen.slab_movable:  # else what compaction did is in its stage, and not what matters
            verb = "holds" if seen.movable == 1 else "hold"
            words = (
                f"{seen.unit(seen.movable)} {verb} nothing that cannot move, but compaction {self.compaction_words()}"
            )
            return f"{words}; {self.slabs_would_help(seen, 'more')}" if seen.slab_movable else words
        if seen.slab_movable:
            return self.slabs_would_help(seen, "block" if seen.slab_movable == 1 else "blocks")
        if seen.nearest:
            frames, low = seen.nearest[0]
            block = low >> PAGEBLOCK_ORDER
            who = listed(list(dict.fromkeys(who for who, pinned, _ in seen.pins if pinned == block)))
            return f"nothing movable would help: the nearest is block {block}, where {frames:,} pages of {who} stay"
        return "there is no such block in these zones"

    def slabs_would_help(self, seen: Survey, noun: str) -> str:
        """What moving slabs would free."""
        caches = sorted(seen.by_cache, key=seen.by_cache.__getitem__, reverse=True)[:3]
        return f"{seen.slab_movable:,} {noun} would be free if {listed(caches)} slabs moved"

    def compaction_words(self) -> str:
        """What compaction had to say for itself."""
        for stage in reversed(self.stages):
            if stage.name == "compaction":
                if stage.figures.get("deferred", 0) and "pages moved" not in stage.figures:
                    return "was deferred after failing here before"
                return f"said: {stage.outcome}"
        return "was not tried"


def listed(names: list[str]) -> str:
    """Names as a sentence lists them: a, b and c."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def plural(count: int, noun: str) -> str:
    """ "1 page", "1,204 pages"."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def part_key(part: tuple[int, str]) -> tuple[int, str]:
    """Sort by count, the largest first, then by words."""
    return -part[0], part[1]


def block_name(pfn: int, order: int) -> str:
    """Where a block is, as the request panel says it."""
    block = pfn >> PAGEBLOCK_ORDER
    if order == PAGEBLOCK_ORDER:
        return f"pfn {pfn:#x}: whole pageblock {block}"
    if order > PAGEBLOCK_ORDER:
        return f"pfn {pfn:#x}: whole pageblocks {block} to {block + (1 << (order - PAGEBLOCK_ORDER)) - 1}"
    return f"pfn {pfn:#x} in block {block}"


def success_verdict(result: RequestAnatomy) -> str:
    """One sentence: what brought the block."""
    worked = [stage for stage in result.stages if stage.name not in ("fast path", "retry") and stage.outcome]
    where = block_name(result.pfn, result.order)
    if not worked:
        return f"Succeeded at once: {where}."
    best = next((stage for stage in worked if stage.ok), worked[-1])
    return f"Succeeded after {best.name} ({best.outcome}): {where}."


def outcome_of(stage: RequestStage, text: str) -> str:
    """The line that the request panel shows for a stage: its figures in words where it has any, else the
    allocator's.
    """
    figures = stage.figures
    parts: list[str] = []
    if stage.name == "reclaim":
        dropped = figures.get("pages dropped", 0)
        looked = figures.get("pages looked at", 0)
        if not looked and figures.get("enough free to compact"):
            return "nothing dropped: enough free for compaction"
        parts.append(f"{plural(dropped, 'page')} dropped" if dropped else "nothing dropped")
        parts.append(f"{looked:,} looked at")
    elif stage.name == "compaction" and (figures.get("blocks scanned") or figures.get("blocks skipped")):
        skipped = figures.get("blocks skipped", 0)
        if not figures.get("blocks scanned") and not figures.get("pages moved") and not stage.pin_counts:
            return f"nothing scanned: {plural(skipped, 'block')} skipped on hints"
        pins: list[str] = []
        for who in sorted(stage.pin_counts, key=stage.pin_counts.__getitem__, reverse=True)[:2]:
            count = stage.pin_counts[who]
            pins.append(f"{count:,} by {who}" if pins else f"{plural(count, 'block')} pinned by {who}")
        if not stage.ok:
            parts.extend(pins)  # what stopped it comes first: a narrow panel shows the first parts
        parts.append(f"{plural(figures.get('pages moved', 0), 'page')} moved")
        if figures.get("pages busy"):
            parts.append(f"{figures['pages busy']:,} busy")
        if figures.get("slabs evacuated"):
            parts.append(f"{plural(figures['slabs evacuated'], 'slab')} evacuated")
        parts.append(f"{plural(figures.get('blocks scanned', 0), 'block')} scanned")
        if skipped:
            parts.append(f"{skipped:,} skipped on hints")
        if stage.ok:
            parts.extend(pins)
    elif stage.name == "compaction" and figures.get("deferred"):
        return "deferred: it failed here before"
    elif stage.name == "slab defrag":
        for name, value in figures.items():
            if name.endswith(" slabs"):
                parts.append(f"{name.removesuffix(' slabs')}: {value:,} slabs")
            else:
                parts.append(f"{value:,} {name.removeprefix('slabs ')}")
    return " · ".join(parts) if parts else text
