"""A request taken apart."""

from __future__ import annotations

from memviz.gui.render.anatomy import Pin, anatomy
from memviz.snapshot import RequestAnatomy, Stage


def test_a_request_is_taken_apart() -> None:
    stages = (
        Stage("fast path", "no free block ≥ 9 in Normal", 1000, 2000, False),
        Stage("compaction", "", 2000, 4000, True, (("moved", 9802),),
              (("xa_node", 340, 340 << 21 | 584), ("dentry", 3, 1540))),
        Stage("retry", "pfn 0x2c200", 4000, 5000, True, (), (("dentry", 3, 1540),)),
    )  # fmt: skip
    shown = anatomy(RequestAnatomy(1, 9, "GFP_KERNEL", 0x2C200, 1000, 5000, "It went well.", stages))
    assert (shown.title, shown.subtitle) == ("Request: order 9, GFP_KERNEL", "✓ succeeded after 4 µs")
    assert [(row.begin, row.end) for row in shown.rows] == [(0, 0.25), (0.25, 0.75), (0.75, 1)]
    assert [row.tone for row in shown.rows] == ["bad", "muted", "muted"]
    assert shown.rows[1].words == "moved 9,802"
    assert shown.pins == (Pin("xa_node in block 340", 340 << 9), Pin("dentry in block 3", 1540))


def test_a_request_that_took_no_time_can_be_drawn() -> None:
    shown = anatomy(
        RequestAnatomy(1, 4, "GFP_ATOMIC", -1, 7, 7, "It failed.", (Stage("fast path", "none", 7, 7, False),))
    )
    assert shown.subtitle == "✗ failed after 0 ns"
    assert (shown.rows[0].begin, shown.rows[0].end) == (0, 0)
