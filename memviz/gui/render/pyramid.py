"""A pyramid of maxima over page frames, so that a rare page is never hidden when many share a pixel.

Nearest sampling lost 933 of 1,000 odd page frames in a map of 16.8 M; taking the most interesting frame of each cell
loses none. Classes are numbered by interest, so "most interesting" is ``max``. Cells are aligned runs of ``1 << level``
page frames: every layout of the map places such a run as one rectangle, so one pyramid serves them all.

From one snapshot to the next few page frames change. They are found by comparing 8 frames at a time (1.1 ms for
16.8 M), and only the cells above them are worked out again. What is dearer is done slice by slice, so that no call
takes long however large the memory is.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

U8 = npt.NDArray[np.uint8]
I64 = npt.NDArray[np.int64]

MAX_LEVEL: Final = 15
SLICE: Final = 1 << 20
"""Page frames that are brought up to date at once."""
CHUNK: Final = 1 << 16
"""Page frames translated at once: they stay in the processor's cache (12 ms for 16.8 M, 18 ms all at once)."""

DENSE: Final = 12
"""When more than one word in so many changed, building all anew is the quicker way."""

RUN: Final = 1024
"""Page frames of the largest block that the buddy allocator knows: what a page frame is depends on no others."""
_RUN_WORDS: Final = RUN // 8

IDENTITY: Final[U8] = np.arange(256, dtype=np.uint8)


class Pyramid:
    """Ranks of page frames at every level of detail.

    ``levels[k]`` has one element a run of ``1 << k`` page frames: the highest rank in the run. Its last element is a
    sentinel of rank 0 that stands for everything outside memory, so that an index may be clipped to the array.
    """

    def __init__(self) -> None:
        self.nr = 0
        self.levels: list[U8] = []
        self.counts: I64 = np.zeros(256, np.int64)
        """Page frames per raw code: exact for the slices that were brought up to date."""
        self.version = 0
        """Grows whenever anything changed."""
        self._raw: U8 = np.zeros(0, np.uint8)
        self._lut: U8 = IDENTITY
        self._known: list[bool] = []

    @property
    def slices(self) -> int:
        """How many slices there are to bring up to date."""
        return len(self._known)

    @property
    def complete(self) -> bool:
        """Whether every slice was brought up to date at least once since the last ``restart``."""
        return all(self._known)

    def restart(self, nr: int, lut: U8 = IDENTITY) -> None:
        """Forget all; ``nr`` page frames from now on, whose raw codes have the ranks of ``lut`` (256 entries)."""
        self._lut = lut.copy()
        self._known = [False] * -(-nr // SLICE)
        self.counts = np.zeros(256, np.int64)
        self.version += 1
        if nr != self.nr or not self.levels:
            self._allocate(nr)
        else:
            for level in self.levels:
                level[:] = 0

    def update(self, number: int, raw: U8) -> bool:
        """Take over the raw codes of slice ``number``. True: something changed. ``raw`` is copied."""
        begin = number * SLICE
        end = min(begin + SLICE, self.nr)
        if raw.size != end - begin:
            raise ValueError(f"slice {number} has {end - begin} page frames, not {raw.size}")
        if not self._known[number]:
            self._known[number] = True
            self._rebuild(begin, raw, known=False)
            return True
        whole = raw.size & ~7
        old, new = self._raw[begin : begin + whole].view(np.uint64), raw[:whole].view(np.uint64)
        words = np.flatnonzero(old != new)
        if not np.array_equal(self._raw[begin + whole : end], raw[whole:]) or words.size * DENSE > max(old.size, 64):
            self._rebuild(begin, raw, known=True)
            return True
        if words.size == 0:
            return False
        self._patch(words + (begin >> 3), new[words])
        return True

    def update_runs(self, runs: npt.NDArray[np.intp], raw: U8) -> bool:
        """Take over the raw codes of some aligned runs of ``RUN`` page frames (their numbers, ascending): all the
        others are as they were. True: something changed. The pyramid must be complete.
        """
        if not self.complete:
            raise ValueError("runs can be brought up to date when everything was looked at once")
        words = (runs[:, np.newaxis] * _RUN_WORDS + np.arange(_RUN_WORDS)).ravel()
        new = raw.view(np.uint64)
        differs = np.flatnonzero(self._raw.view(np.uint64)[words] != new)
        if not differs.size:
            return False
        self._patch(words[differs], new[differs])
        return True

    def show(self, raw: U8, lut: U8 = IDENTITY) -> bool:
        """Take over a whole memory at once: ``raw`` has a code a page frame. True: something changed."""
        changed = raw.size != self.nr or not np.array_equal(lut, self._lut) or not self.levels
        if changed:
            self.restart(raw.size, lut)
        for number in range(self.slices):
            changed |= self.update(number, raw[number * SLICE : (number + 1) * SLICE])
        return changed

    def _rebuild(self, begin: int, raw: U8, known: bool) -> None:
        """Work out a slice anew. Levels above that of a slice don't exist: slices share no cell."""
        end = begin + raw.size
        base = self.levels[0]
        for at in range(begin, end, CHUNK):
            piece = raw[at - begin : at - begin + CHUNK]
            if known:
                self.counts -= np.bincount(self._raw[at : at + piece.size], minlength=256)
            self.counts += np.bincount(piece, minlength=256)
            np.take(self._lut, piece, out=base[at : at + piece.size], mode="clip")
        self._raw[begin:end] = raw
        for level, (below, above) in enumerate(zip(self.levels, self.levels[1:], strict=False), start=1):
            first, last = begin >> level, -(-end >> level)
            np.maximum(below[2 * first : 2 * last : 2], below[2 * first + 1 : 2 * last : 2], out=above[first:last])
        self.version += 1

    def _allocate(self, nr: int) -> None:
        self.nr = nr
        top = min(MAX_LEVEL, max(3, (nr - 1).bit_length())) if nr else 0
        padded = -(-nr >> top) << top
        self._raw = np.zeros(padded, np.uint8)
        self.levels = [np.zeros((padded >> level) + 1, np.uint8) for level in range(top + 1)] if nr else []

    def _patch(self, words: npt.NDArray[np.intp], new: npt.NDArray[np.uint64]) -> None:
        """Write 8 page frames at each of ``words`` and work out the cells above them."""
        raw64 = self._raw.view(np.uint64)
        codes = new.view(np.uint8)
        self.counts -= np.bincount(raw64[words].view(np.uint8), minlength=256)
        self.counts += np.bincount(codes, minlength=256)
        raw64[words] = new
        ranks = np.take(self._lut, codes)
        for level, word in enumerate((np.uint64, np.uint32, np.uint16, np.uint8)):
            # The eight, four, two, one ranks of a word are themselves one word of the level.
            if level:
                ranks = np.maximum(ranks[0::2], ranks[1::2])
            self.levels[level][:-1].view(word)[words] = ranks.view(word)
        at = words
        for level in range(4, len(self.levels)):
            at = _each_once(at >> 1)
            below = self.levels[level - 1]
            self.levels[level][at] = np.maximum(below[2 * at], below[2 * at + 1])
        self.version += 1


def _each_once(ascending: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
    """Without repetitions. ``np.diff`` with a prepended element takes ten times as long for a few hundred."""
    new = np.ones(ascending.size, np.bool_)
    np.not_equal(ascending[1:], ascending[:-1], out=new[1:])
    return ascending[new]
