"""Rows of the action table: the Run menu, and what can be done to memory."""

from __future__ import annotations

from typing import Final

from memviz.gui.act import Act
from memviz.gui.render.numbers import bytes_of_frames


def _request(order: int) -> Act:
    return Act(
        f"request_order_{order}",
        f"Request order {order}",
        "Memory/Request another order",
        lambda window: window.request_order(order),
        tip=f"Ask for {bytes_of_frames(1 << order)} in one piece, {1 << order:,} page frames, and tell how that went.",
        to_memory=True,
        virtual=True,
    )


RUN: Final[tuple[Act, ...]] = (
    Act("run", "Run", "Run", lambda w: w.session.toggle_run(), ("Space",), "Run, or pause.", "play", needs_source=True),
    Act(
        "step",
        "Step",
        "Run",
        lambda w: w.session.step(),
        ("Right",),
        "Do one operation, then pause.",
        "step-forward",
        needs_source=True,
        virtual=True,
    ),
    Act(
        "step_many",
        "Step 1,000",
        "Run",
        lambda w: w.session.step(1000),
        ("Shift+Right",),
        "Do 1,000 operations, then pause.",
        "skip-forward",
        needs_source=True,
        virtual=True,
    ),
    Act(
        "next_stop",
        "Next stop",
        "Run",
        lambda w: w.next_stop(),
        ("N",),
        "In a guided tour: run on to the next stop.",
        needs_source=True,
    ),
    Act(
        "fast",
        "Full speed",
        "Run",
        lambda w: w.toggle_fast(),
        ("F",),
        "As fast as it can; again: back to the speed of before.",
        "fast-forward",
        checkable=True,
        needs_source=True,
        virtual=True,
    ),
    Act(
        "slower",
        "Slower",
        "Run",
        lambda w: w.change_speed(-1),
        ("-",),
        "Fewer operations a second.",
        needs_source=True,
        virtual=True,
    ),
    Act(
        "faster",
        "Faster",
        "Run",
        lambda w: w.change_speed(1),
        ("+", "="),
        "More operations a second.",
        needs_source=True,
        virtual=True,
    ),
)

MEMORY: Final[tuple[Act, ...]] = (
    Act(
        "defragment",
        "Defragment slabs",
        "Memory",
        lambda w: w.memory.defragment(),
        ("D",),
        "Move objects out of sparse slabs, so that the slabs' pages become free.",
        "combine",
        to_memory=True,
    ),
    Act(
        "defragment_slowly",
        "Defragment slabs slowly",
        "Memory",
        lambda w: w.memory.defragment(slowly=True),
        ("Shift+D",),
        "The same pass in up to twelve seconds: slab for slab and object for object. The run is the same.",
        to_memory=True,
        virtual=True,
    ),
    Act(
        "compact",
        "Compact",
        "Memory",
        lambda w: w.memory.compact(),
        ("C",),
        "Move movable pages together. Slab pages stay where they are.",
        "shrink",
        to_memory=True,
    ),
    Act(
        "request",
        "Request order 9",
        "Memory",
        lambda w: w.request_order(),
        ("R",),
        "Ask for a block of memory in one piece, and tell how that went.",
        "blocks",
        to_memory=True,
    ),
    Act(
        "drop_caches",
        "Drop caches…",
        "Memory",
        lambda w: w.memory.drop_caches(),
        tip="Let this machine forget what it keeps of files, after a question.",
        icon="x",
        to_memory=True,
        real=True,
    ),
    *(_request(order) for order in range(11)),
)
