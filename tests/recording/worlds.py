"""Small made-up Snapshots, and whether two are the same."""

from __future__ import annotations

import dataclasses

import numpy as np

from memviz.recording.small import NOT_RECORDED
from memviz.snapshot import EVENT_DTYPE, LANE_DTYPE, NODE_DTYPE, SLAB_DTYPE, Focus, Pages, Snapshot, Zone


def frozen(array: np.ndarray) -> np.ndarray:
    array.flags.writeable = False
    return array


def table(rng: np.random.Generator, dtype: np.dtype, rows: int) -> np.ndarray:
    return frozen(np.frombuffer(rng.bytes(dtype.itemsize * rows), dtype).copy())


def pages(rng: np.random.Generator, frames: int) -> Pages:
    small = [frozen(rng.integers(0, 256, frames, np.uint8)) for _ in range(3)]
    return Pages(*small, frozen(rng.integers(0, 1 << 32, frames, np.uint32)))


def world(rng: np.random.Generator, frames: int, seq: int = 0) -> Snapshot:
    """A Snapshot full of chance."""
    slabs = int(rng.integers(0, 5))
    free = tuple(tuple(int(n) for n in rng.integers(0, 9, 5)) for _ in range(11))
    lanes = np.zeros(int(rng.integers(0, 20)), LANE_DTYPE)
    lanes["begin"] = np.sort(rng.integers(0, 1 << 40, lanes.size))
    lanes["end"] = lanes["begin"] + rng.integers(0, 1000, lanes.size)
    lanes["cpu"] = rng.integers(0, 4, lanes.size)
    return Snapshot(
        seq=seq,
        time_ns=seq * 1000,
        ops=seq * 10,
        title="World",
        source="simulation",
        state="running",
        zones=(Zone("Normal", 0, frames, frames, frames, int(rng.integers(0, 99)), 0, 1, 2, 3, 4, 0, free),),
        pages=pages(rng, frames),
        pageblock_mt=frozen(rng.integers(0, 5, frames // 512 + 1, np.uint8)),
        possible=(1, 2, 3),
        slabs=table(rng, SLAB_DTYPE, slabs),
        objects=frozen(rng.integers(0, 7, (slabs, 28), np.uint8)),
        nodes=table(rng, NODE_DTYPE, int(rng.integers(0, 4))),
        lanes=frozen(lanes),
        counters=(("pgfree", int(rng.integers(0, 1 << 40))),),
        events=table(rng, EVENT_DTYPE, int(rng.integers(0, 4))),
        focus=Focus("xa_node", 3, 7),
        policies=(("xa_nodes", "movable"),),
    )


def changed(of: Snapshot, rng: np.random.Generator, part: float) -> Snapshot:
    """The next Snapshot: a part of the page frames is another."""
    new = pages(rng, of.pages.nr)
    mask = rng.random(of.pages.nr) < part
    merged = Pages(
        *(
            frozen(np.where(mask, getattr(new, name), getattr(of.pages, name)))
            for name in ("owner", "order", "flags", "stamp")
        )
    )
    return dataclasses.replace(
        of, seq=of.seq + 1, time_ns=of.time_ns + 1000, ops=of.ops + 10, pages=merged, events=of.events[:0]
    )


def equal(one: Snapshot, other: Snapshot) -> bool:
    """All that is recorded of the two is the same, to the last bit."""
    for field in dataclasses.fields(Snapshot):
        if field.name in NOT_RECORDED:
            continue
        left, right = getattr(one, field.name), getattr(other, field.name)
        if field.name == "pages":
            same = all(
                np.array_equal(getattr(left, name), getattr(right, name))
                for name in ("owner", "order", "flags", "stamp")
            )
        elif isinstance(left, np.ndarray):
            same = left.dtype == right.dtype and left.shape == right.shape and left.tobytes() == right.tobytes()
        else:
            same = left == right
        if not same:
            return False
    return True
