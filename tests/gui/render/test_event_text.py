"""Events in words."""

from __future__ import annotations

import pytest

from memviz.gui.render.event_text import Names, cache_of, pfn_of, text_of, tone_of
from memviz.kernel import trace
from memviz.snapshot import Control

OFTEN = Control("0.share", "network 1", "how often its turn comes", 2.0, 0.0, 4.0, whole=False)
NAMES = Names({1: "xa_node", 2: "dentry"}, {1: "file 17"}, (OFTEN,))


def test_every_kind_of_event_has_words_of_its_own() -> None:
    said = {kind: text_of(kind, (5, 4097, 2, 1), NAMES) for kind in trace.NAMES}
    assert not [text for text in said.values() if text.startswith("event ")]
    assert len(set(said.values())) == len(said)
    assert text_of(999, (1, 2, 3, 4), NAMES) == "event 999: 1, 2, 3, 4"


@pytest.mark.parametrize(
    ("kind", "arguments", "text", "tone", "pfn", "cache"),
    [
        (trace.REQUEST_END, (9, 0, 3_100_000, 0), "request of order 9 ✗ failed after 3.1 ms", "bad", -1, -1),
        (trace.REQUEST_END, (9, 181_761, 3_100_000, 0), "request of order 9 ✓ pfn 0x2c600, after 3.1 ms",
         "good", 0x2C600, -1),
        (trace.SLAB_DISCARD, (0x2A964, 2, 1, 0), "slab of xa_node emptied: 4 pages freed, pfn 0x2a964",
         "good", 0x2A964, 1),
        (trace.XA_NODE_MOVED, (0x1000, 0x2C200_248, 0, 0x4C0), "xa_node moved: index 0x4c0 → 0x2c200248",
         "moved", 0x2C200, -1),
        (trace.XA_NODE_MOVED, (0x1000, 0x2C200_248, 1, 0x4C0), "xa_node moved: file 17 [0x4c0] → 0x2c200248",
         "moved", 0x2C200, -1),
        (trace.RCU_GP_END, (117, 64, 0, 0), "RCU: grace period 117 ended, 64 callbacks", "plain", -1, -1),
        (trace.POLICY_SET, (1, 1, 0, 0), "policy defrag_mode: 0 → 1", "info", -1, -1),
        (trace.POLICY_SET, (10, 2, 0, 0), "policy rcu_wait: pass → object", "info", -1, -1),
        (trace.POLICY_SET, (99, 2, 0, 0), "policy 99 changed", "info", -1, -1),
        (trace.WORKLOAD_SET, (0, 2000, 500, 0), "network 1, how often its turn comes: 0.5 → 2", "info", -1, -1),
        (trace.WORKLOAD_SET, (7, 2000, 500, 0), "control 7: 0.5 → 2", "info", -1, -1),
        (trace.MM_COMPACTION_BEGIN, (1, -1, 0, 0), "compaction begins, of a whole zone", "plain", -1, -1),
        (trace.MM_COMPACTION_END, (1, 255, 0, 12), "compaction ends: 12 pages moved, of a whole zone", "plain", -1, -1),
        (trace.MM_COMPACTION_END, (1, 9, 0, 12), "compaction ends: 12 pages moved, for order 9", "plain", -1, -1),
        (trace.OBJECT_EVICTED, (0x5000, 2, 0, 0), "dentry object evicted: 0x5000", "moved", 5, 2),
    ],
)  # fmt: skip
def test_events_in_words(
    kind: int, arguments: tuple[int, int, int, int], text: str, tone: str, pfn: int, cache: int
) -> None:
    assert text_of(kind, arguments, NAMES) == text
    assert tone_of(kind, arguments) == tone
    assert pfn_of(kind, arguments) == pfn
    assert cache_of(kind, arguments) == cache
