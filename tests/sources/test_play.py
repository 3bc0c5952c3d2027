"""A scenario in pieces: where they end, and which moments come when."""

from __future__ import annotations

import pytest

from memviz.scenario import Moment, parse
from memviz.sources.play import PIECE, Play

SCENARIO = """
title = "t"
summary = "s"
question = "q"
lesson = "l"
ops = 100

[machine]
memory_mib = 32
cpus = 2

[[workload]]
kind = "file-server"
params = { files = 20, pages = 20 }

[[moment]]
at = 100
do = "compact"

[[moment]]
at = 5
do = "look"
say = "first"

[[moment]]
at = 5
do = "policy"
name = "defrag_mode"
value = "1"

[[moment]]
at = 40
do = "defragment"
"""


def play(scripted: bool = True, ops: int | None = None) -> tuple[Play, list[tuple[int, str]]]:
    scenario = parse(SCENARIO, "t")
    machine = scenario.machine()
    found = Play(scenario, machine, scripted, ops)
    seen: list[tuple[int, str]] = []

    def note(moment: Moment) -> None:
        seen.append((machine.ops, moment.do))

    found.on_moment = note
    return found, seen


def test_moments_come_at_their_operation_in_the_order_of_the_file() -> None:
    under_way, seen = play()
    under_way.run(under_way.ops)
    assert seen == [(5, "look"), (5, "policy"), (40, "defragment"), (100, "compact")]
    assert under_way.machine.policies["defrag_mode"] == "1"


def test_a_person_does_what_the_script_would() -> None:
    under_way, seen = play(scripted=False)
    under_way.run(120)
    assert seen == [(5, "look"), (5, "policy")]


@pytest.mark.parametrize("ops", [60, 130])
def test_the_end_moves_with_the_length(ops: int) -> None:
    under_way, seen = play(ops=ops)
    under_way.run(under_way.ops)
    assert seen[-1] == (ops, "compact")
    assert under_way.machine.ops == ops


@pytest.mark.digest
def test_however_often_one_looks_the_pieces_are_the_same() -> None:
    once, _ = play()
    once.run(100)
    often, _ = play()
    stops = []
    while often.machine.ops < 100:
        often.run_piece(100)
        stops.append(often.machine.ops)
    assert stops == [5, PIECE, 40, 2 * PIECE, 3 * PIECE, 100]
    assert often.machine.digest() == once.machine.digest()


def test_a_moment_under_way_has_not_been_yet() -> None:
    """Or a tour would be at a stop whose words, and whose panel, are still those of the stop before."""
    under_way, _ = play()
    during: list[int] = []
    behind: list[int] = []
    under_way.before_moment = lambda moment: during.append(under_way.step)
    under_way.on_moment = lambda moment: behind.append(under_way.step)
    under_way.run(under_way.ops)
    assert during == [0, 1, 2, 3]
    assert behind == [1, 2, 3, 4]
