"""The machine as a whole: it repeats, it conserves, it refuses what cannot be."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from memviz.kernel.machine import POLICIES, REMEMBERED, Machine, MachineConfig
from memviz.kernel.page import GFP_ATOMIC, GFP_HIGHUSER_MOVABLE, GFP_KERNEL, OWNER_HUGE
from memviz.scenario import load

SCRIPT = """
import json, sys
from memviz.scenario import load
m = load("aged-file-server").machine(seed=int(sys.argv[1]), memory_mib=64)
m.run(ops=3000)
first = m.request(9)
m.defragment(ratio=100)
m.set_policy("defrag_mode", "1")
m.run(ops=1000)
print(json.dumps([m.digest(), m.smp.now, first.verdict]))
"""


def digest_in_another_process(seed: int, hash_seed: int) -> list[object]:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(seed)],
        env={**os.environ, "PYTHONHASHSEED": str(hash_seed)},
        capture_output=True,
        text=True,
        check=True,
    )
    result: list[object] = json.loads(done.stdout)
    return result


@pytest.mark.digest
def test_same_seed_and_commands_same_digest_across_processes_and_hash_seeds() -> None:
    first = digest_in_another_process(7, 1)
    assert digest_in_another_process(7, 2) == first
    assert digest_in_another_process(8, 1)[0] != first[0]


def test_a_machine_with_nobody_using_it_serves_plain_calls() -> None:
    m = Machine(MachineConfig(memory_mib=256, cpus=4, seed=1))
    pfn = m.page_alloc.alloc_pages(3, GFP_KERNEL)
    assert pfn is not None
    assert pfn % 8 == 0
    m.check()
    before = m.digest()
    m.page_alloc.free_pages(pfn, 3)
    m.check()
    assert m.digest() != before
    m.run(ops=100)  # nobody is there: nothing happens
    assert m.ops == 0


def test_a_fresh_machine_gives_order_9_and_keeps_it_until_released() -> None:
    m = Machine(MachineConfig(memory_mib=256))
    anatomy = m.request(9)
    assert anatomy.pfn >= 0
    assert anatomy.pfn % 512 == 0
    assert m.mem.owner[anatomy.pfn : anatomy.pfn + 512] == bytes([OWNER_HUGE]) * 512
    assert m.release() == 1
    assert m.mem.owner[anatomy.pfn] != OWNER_HUGE
    m.check()


def test_the_run_does_exactly_the_operations_asked_for() -> None:
    m = load("aged-file-server").machine(seed=1, memory_mib=64)
    m.run(ops=777)
    assert m.ops == 777
    m.run(ops=1)
    assert m.ops == 778
    m.check()


COMMANDS = st.lists(
    st.one_of(
        st.tuples(st.just("run"), st.integers(1, 400)),
        st.tuples(st.just("request"), st.integers(0, 10)),
        st.tuples(st.just("atomic"), st.integers(0, 10)),
        st.tuples(st.just("release"), st.just(0)),
        st.tuples(st.just("defragment"), st.sampled_from([10, 30, 100])),
        st.tuples(st.just("compact"), st.just(0)),
        st.tuples(st.just("policy"), st.integers(0, 2 * len(POLICIES) - 1)),
    ),
    min_size=1,
    max_size=12,
)


def obey(m: Machine, command: str, argument: int) -> None:
    if command == "run":
        m.run(ops=argument)
    elif command == "request":
        m.request(argument)
    elif command == "atomic":
        m.request(argument, GFP_ATOMIC)
    elif command == "release":
        m.release()
    elif command == "defragment":
        m.defragment(ratio=argument)
    elif command == "compact":
        m.compact()
    else:
        name = list(POLICIES)[argument // 2]
        m.set_policy(name, POLICIES[name][0][argument % 2])


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 1000), commands=COMMANDS, front_end=st.sampled_from(["sheaves", "classic"]))
def test_every_invariant_holds_after_any_commands(seed: int, commands: list[tuple[str, int]], front_end: str) -> None:
    scenario = load("aged-file-server")
    m = scenario.machine(seed=seed, memory_mib=32)
    m.run(ops=600)
    for command, argument in commands:
        obey(m, command, argument)
        m.check()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"memory_mib": 1}, "memory of 1 MiB cannot be simulated"),
        ({"memory_mib": 1 << 40}, "choose between 16 and 65536"),
        ({"cpus": 0}, "0 CPUs cannot be simulated"),
    ],
)
def test_what_cannot_be_built_is_said_in_one_sentence(arguments: dict[str, int], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        MachineConfig(**arguments)


def test_unknown_policies_and_negative_runs_are_refused() -> None:
    m = Machine(MachineConfig(memory_mib=32))
    with pytest.raises(ValueError, match=r"no policy is called 'x': there are compaction, defrag_mode"):
        m.set_policy("x", "1")
    with pytest.raises(ValueError, match="policy defrag_mode cannot be '2': choose 0 or 1"):
        m.set_policy("defrag_mode", "2")
    with pytest.raises(ValueError, match="cannot run -1 operations"):
        m.run(ops=-1)


def test_without_grouping_every_page_is_of_one_type() -> None:
    """``page_group_by_mobility_disabled``: what can move and what cannot come from the same blocks."""
    types = []
    for grouping in ("on", "off"):
        m = Machine(MachineConfig(memory_mib=64, dma_mib=0))
        m.set_policy("grouping", grouping)
        pages = [m.page_alloc.alloc_pages(0, gfp) for gfp in (GFP_KERNEL, GFP_HIGHUSER_MOVABLE) * 600]
        assert None not in pages
        kinds = [{pfn // 512 for pfn in pages[first::2] if pfn is not None} for first in (0, 1)]
        types.append(len(kinds[0] & kinds[1]))
        m.check()
    assert types[0] == 0
    assert types[1] >= 2  # every block that is in use holds both


@pytest.mark.parametrize("seed", [1, 2])
def test_what_holds_under_the_seeded_scheduler_holds_on_os_threads(seed: int) -> None:
    m = load("aged-file-server").machine(seed=seed, memory_mib=48, scheduler="threads")
    for _ in range(3):
        m.run(ops=400)
        m.check()
    m.request(9)
    m.defragment(ratio=100)
    m.check()
    assert m.ops == 1200


def test_a_long_life_is_not_remembered_whole() -> None:
    machine = Machine(MachineConfig(memory_mib=16, cpus=1))
    for _ in range(REMEMBERED + 3):
        machine.request(0)
        machine.release()
    assert len(machine.requests) == REMEMBERED
    assert (machine.requests[0].number, machine.requests[-1].number) == (4, REMEMBERED + 3)
    for _ in range(REMEMBERED // 2 + 2):
        machine.defragment()
    assert len(machine.passes) == REMEMBERED


@pytest.mark.parametrize("defrag_mode", ["0", "1"])
@pytest.mark.parametrize("order", [0, 3])
def test_taking_all_memory_ends(defrag_mode: str, order: int) -> None:
    """Under defrag_mode reclaim calls it progress to leave the work to compaction: that must not go on for ever."""
    m = load("aged-file-server").machine(seed=1, memory_mib=32)
    m.set_policy("defrag_mode", defrag_mode)
    m.run(ops=3000)
    taken = 0
    while m.page_alloc.alloc_pages(order) is not None:
        taken += 1 << order
    assert taken > 0.7 * m.page_alloc.managed
    m.check()
