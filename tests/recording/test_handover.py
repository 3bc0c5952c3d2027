"""What one end gives is what the other takes, whatever happened to the machine between two instants."""

from __future__ import annotations

import dataclasses

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from memviz.recording.handover import Giver, Taker
from memviz.recording.writer import Instant
from memviz.sources.base import Defragment, Done
from memviz.sources.simulation import SimulationSource
from tests.recording.worlds import changed, equal, world


@settings(max_examples=40)
@given(st.data())
def test_any_instant_arrives_as_it_was(data: st.DataObject) -> None:
    rng = np.random.default_rng(data.draw(st.integers(0, 1000)))
    giver, taker = Giver(), Taker()
    one = world(rng, data.draw(st.sampled_from([1, 7, 512, 3000])))
    for number in range(data.draw(st.integers(1, 8))):
        commands = tuple(Done(number, 5, "Run", "{}") for _ in range(data.draw(st.integers(0, 2))))
        given_ = Instant(one, number, commands, data.draw(st.sampled_from(["", "ab"])), number % 3, number % 2)
        taken = taker.take(giver.give(given_))
        assert equal(taken.snapshot, one)
        assert dataclasses.replace(taken, snapshot=one) == given_
        if data.draw(st.booleans()):
            one = changed(one, rng, data.draw(st.sampled_from([0.0, 0.01, 0.9])))
        else:
            one = world(rng, data.draw(st.sampled_from([7, 512])), number)


def test_a_run_arrives_though_others_look_at_it_too() -> None:
    """Snapshots between two that are given, and those that a view holds, change nothing of what arrives."""
    source = SimulationSource("aged-file-server", seed=3, memory_mib=64)
    giver, taker = Giver(), Taker()
    held = []
    for number in range(80):
        source.run_piece(1 << 40, False)
        if number == 60:
            source.command(number, Defragment("", 100))
        one = source.snapshot()
        if number % 3 == 0:
            held.append(one)
        if number % 4 == 1:
            continue
        assert equal(taker.take(giver.give(Instant(one, number))).snapshot, one), f"instant {number}"


def test_what_is_the_same_object_is_not_sent_again() -> None:
    rng = np.random.default_rng(2)
    one = world(rng, 4096)
    giver = Giver()
    first = len(giver.give(Instant(one, 0)))
    again = len(giver.give(Instant(dataclasses.replace(one, seq=one.seq + 1), 1)))
    assert first > 7 * 4096
    assert again < 100
