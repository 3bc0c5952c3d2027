"""What travels between two processes is what the other does not have, and it comes out as it was."""

from __future__ import annotations

import dataclasses
import pickle

import numpy as np

from memviz.snapshot import Snapshot
from memviz.sources.base import Run
from memviz.sources.outgoing import FIELDS, Outgoing, Unsent, received
from memviz.sources.page_sets import PageSets
from memviz.sources.simulation import SimulationSource
from tests.recording.worlds import equal, world


def test_a_run_arrives_as_it_was() -> None:
    source = SimulationSource("aged-file-server", seed=2, memory_mib=64)
    outgoing, unsent, pages = Outgoing(), Unsent(), PageSets()
    last: Snapshot | None = None
    for number in range(30):
        source.run_piece(1 << 40, False)
        if number == 20:
            source.command(1, Run())
        one = source.snapshot()
        fields, delta = pickle.loads(pickle.dumps((unsent.of(one), outgoing.delta(one.pages))))
        last = received(last, fields, pages.apply(delta))
        assert equal(last, one), f"Snapshot {number}"


def test_only_other_objects_travel() -> None:
    one = world(np.random.default_rng(1), 512)
    unsent = Unsent()
    assert tuple(unsent.of(one)) == FIELDS
    assert unsent.of(dataclasses.replace(one)) == {}
    other = dataclasses.replace(one, seq=one.seq + 1, slabs=one.slabs.copy(), notice="it has ended")
    assert list(unsent.of(other)) == ["seq", "slabs", "notice"]
    assert list(unsent.of(one)) == ["seq", "slabs", "notice"], "back again is another, too"


def test_what_is_not_sent_is_the_same_object_there() -> None:
    """Views need not look at it again."""
    one = world(np.random.default_rng(1), 512)
    unsent, first = Unsent(), world(np.random.default_rng(1), 512)
    shown = received(None, unsent.of(one), first.pages)
    again = received(shown, unsent.of(dataclasses.replace(one, seq=7)), first.pages)
    assert again.slabs is shown.slabs
    assert again.seq == 7
