"""What could be allocated, by order: now, and if everything movable were moved. No Qt."""

from __future__ import annotations

from dataclasses import dataclass

from memviz.gui.render.history import free_blocks, indices
from memviz.gui.render.numbers import bytes_of_frames, count
from memviz.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class Contiguity:
    """Per order, shape (orders,) each."""

    now: tuple[int, ...]
    """Blocks of the order that could be given out now (larger ones split)."""
    possible: tuple[int, ...]
    """The same, if every movable page and slab object were moved; empty when the source can't tell."""
    now_share: tuple[float, ...]
    """Part of free memory that these blocks are: 0 to 1."""
    possible_share: tuple[float, ...]
    unusable: tuple[int, ...]
    """Unusable free space index, thousandths."""

    def sentence(self, order: int) -> str:
        """What the bars of one order say, in words."""
        blocks = self.now[order]
        words = (
            f"order {order} ({bytes_of_frames(1 << order)}): {count(blocks)} {'block' if blocks == 1 else 'blocks'} now"
        )
        if self.possible:
            words += f", {count(self.possible[order])} if movable objects moved"
        return f"{words}; unusable index {self.unusable[order] / 1000:.2f}"


def contiguity(snapshot: Snapshot) -> Contiguity | None:
    """Work it out; None when no zone is known."""
    nr_free = free_blocks(snapshot)
    if not nr_free:
        return None
    now = tuple(sum(nr << (k - order) for k, nr in enumerate(nr_free) if k >= order) for order in range(len(nr_free)))
    possible = snapshot.possible
    # One denominator for all bars: the most that is free in any of the two worlds.
    whole = max([now[0], *(blocks << order for order, blocks in enumerate(possible)), 1])
    return Contiguity(
        now,
        possible,
        tuple((blocks << order) / whole for order, blocks in enumerate(now)),
        tuple((blocks << order) / whole for order, blocks in enumerate(possible)),
        indices(nr_free),
    )
