"""The slab grid without Qt: which slabs in which order, the picture of their objects, the words beside them."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from memviz.gui.render.numbers import percent
from memviz.kernel.defrag_pass import REFUSED_NAMES
from memviz.kernel.page import PAGE_SHIFT, PAGEBLOCK_ORDER
from memviz.snapshot import (
    OBJ_FREE,
    OBJ_NONE,
    SLAB_CPU,
    SLAB_FULL,
    SLAB_ISOLATED,
    SLAB_MIGRATING,
    SLAB_PARTIAL,
    SLAB_STATE_NAMES,
    U8,
    U32,
    Cache,
    Snapshot,
    Structured,
)

Intp = npt.NDArray[np.intp]

SORTS: Final = (("sparsest", "sparsest first"), ("fullest", "fullest first"), ("address", "by address"))


def ordered(slabs: Structured, sort: str) -> Intp:
    """Rows of ``slabs`` in the order to show them. Slabs that are being evacuated come first."""
    if sort == "address":
        return np.argsort(slabs["pfn"], kind="stable")
    fill = slabs["inuse"].astype(np.int64)
    if sort == "fullest":
        fill = -fill
    busy = np.isin(slabs["state"], (SLAB_ISOLATED, SLAB_MIGRATING)).astype(np.int64)
    return np.argsort(((fill + 512 - 2048 * busy) << 32) + slabs["pfn"], kind="stable")


def in_block(slabs: Structured, pfn: int) -> npt.NDArray[np.bool_]:
    """Which slabs lie, at least in part, in the pageblock of ``pfn``."""
    first = slabs["pfn"].astype(np.int64)
    last = first + (np.int64(1) << slabs["order"].astype(np.int64)) - 1
    block = pfn >> PAGEBLOCK_ORDER
    return (first >> PAGEBLOCK_ORDER <= block) & (block <= last >> PAGEBLOCK_ORDER)


def find(slabs: Structured, pfns: npt.NDArray[np.uint32]) -> Intp:
    """Rows of the slabs that begin at ``pfns``, -1 for those that are gone. ``slabs`` are in order of address."""
    if not slabs.size:
        return np.full(pfns.size, -1, np.intp)
    rows = np.minimum(np.searchsorted(slabs["pfn"], pfns), slabs.size - 1)
    return np.where(slabs["pfn"][rows] == pfns, rows, -1)


def slab_of(slabs: Structured, pfn: int) -> int:
    """Row of the slab that the page frame ``pfn`` belongs to, -1: none. ``slabs`` are in order of address."""
    row = int(np.searchsorted(slabs["pfn"], pfn, side="right")) - 1
    if row < 0 or pfn >= int(slabs["pfn"][row]) + (1 << int(slabs["order"][row])):
        return -1
    return row


def cache_of(snapshot: Snapshot) -> Cache | None:
    """The cache whose slabs the snapshot holds."""
    return next((cache for cache in snapshot.caches if cache.name == snapshot.focus.cache), None)


def object_address(pfn: int, number: int, size: int) -> int:
    """Address of object ``number`` (from 0) of the slab that begins at ``pfn``."""
    return (pfn << PAGE_SHIFT) + number * size


def object_number(pfn: int, address: int, size: int) -> int:
    """Which object of the slab at ``pfn`` lies at ``address``."""
    return (address - (pfn << PAGE_SHIFT)) // max(size, 1)


class Words(NamedTuple):
    """What stands at the right of a row."""

    fill: str
    """"22/28"."""
    state: str
    token: str
    """Colour of the state's word."""


def words(slab: np.void, gone: bool = False) -> Words:
    """Occupancy and state of one slab. Plain states say nothing: what is ordinary needs no word."""
    if gone:
        return Words("–", "freed", "tone.good")
    state, refused = int(slab["state"]), int(slab["refused"])
    fill = f"{int(slab['inuse'])}/{int(slab['objects'])}"
    if state not in (SLAB_PARTIAL, SLAB_FULL, SLAB_CPU):
        return Words(fill, SLAB_STATE_NAMES[state], f"slab.{SLAB_STATE_NAMES[state]}")
    if refused:
        return Words(fill, REFUSED_NAMES[refused] if refused < len(REFUSED_NAMES) else "refused", "tone.bad")
    if state == SLAB_CPU:
        return Words(fill, SLAB_STATE_NAMES[state], "slab.on a CPU")
    return Words(fill, "", "ui.muted")


def subtitle(snapshot: Snapshot, shown: int, block: int) -> str:
    """ "61 % used · 412 slabs · 28 × 584 B a slab · xa_node"; with a filter (``block`` ≥ 0) also what it hides.

    The end is cut first: the cache is named on the button too.
    """
    cache = cache_of(snapshot)
    if cache is None:
        return ""
    text = (
        f"{percent(cache.active, cache.total)} used · {cache.slabs:,} slab{'' if cache.slabs == 1 else 's'}"
        f" · {cache.objs_per_slab} × {cache.size} B a slab · {cache.name}"
    )
    if block >= 0:
        return f"block {block}: {shown:,} of {cache.slabs:,} slabs · {text}"
    return text


class Grid(NamedTuple):
    """How objects of a slab are laid out, in device pixels."""

    per_line: int
    lines: int
    pitch_x: int
    pitch_y: int
    """From one object to the next: a cell and its gap."""

    @property
    def row_height(self) -> int:
        """From one slab to the next."""
        return self.lines * self.pitch_y


def fit(objects: int, width: int, row_height: int, least: int) -> Grid:
    """Lay out ``objects`` in ``width`` pixels: cells not narrower than ``least``; in several lines if they must."""
    most = max(1, width // max(least, 1))
    lines = -(-max(objects, 1) // most)
    per_line = -(-max(objects, 1) // lines)
    pitch_y = row_height if lines == 1 else max(least, row_height // 2)
    # A cell gets no wider than three times its height: few objects would look like bars.
    return Grid(per_line, lines, min(max(1, width // per_line), 3 * row_height), pitch_y)


def picture(sprites: U32, states: U8, grid: Grid) -> U32:
    """All cells of some slabs: shape (slabs × row height, per line × pitch), 0xffRRGGBB.

    ``sprites``: a little picture for each state, shape (states, pitch_y, pitch_x). ``states``: OBJ_*, shape
    (slabs, objects).
    """
    slabs, objects = states.shape
    slots = grid.per_line * grid.lines
    padded = np.full((slabs, slots), OBJ_NONE, np.uint8)
    padded[:, : min(objects, slots)] = states[:, :slots]
    cells = np.take(sprites, padded, axis=0, mode="clip").reshape(
        slabs * grid.lines, grid.per_line, grid.pitch_y, grid.pitch_x
    )
    return np.ascontiguousarray(cells.transpose(0, 2, 1, 3)).reshape(
        slabs * grid.row_height, grid.per_line * grid.pitch_x
    )


def counts(states: U8) -> tuple[int, ...]:
    """How many objects are in each state (by OBJ_* code)."""
    return tuple(int(n) for n in np.bincount(states.ravel(), minlength=8)[:8])


def used(states: U8) -> int:
    """Objects that are neither free nor beyond the slab's end."""
    return int(np.count_nonzero((states != OBJ_FREE) & (states != OBJ_NONE)))
