"""Demand for contiguous memory: in a burst, and steadily while the workload goes on.

Each demand is made on a copy of the machine, so that all orders meet the very same one: the process is forked, and the
copy says what came of it through a pipe. The machine itself never notices.
"""

from __future__ import annotations

import os
import traceback
from collections import deque
from collections.abc import Callable

import msgspec

from memviz.experiment.look import Look
from memviz.experiment.price import paid, price
from memviz.kernel.machine import Machine
from memviz.kernel.page import GFP_KERNEL, GFP_NORETRY, GFP_NOWARN, OWNER_HUGE, PAGE_ALLOC_COSTLY_ORDER


class Demand(msgspec.Struct, frozen=True):
    """What came of a demand. Latencies are virtual nanoseconds of one request, whether it succeeded or not."""

    order: int
    wanted: int
    got: int
    in_a_row: int
    """Requests that succeeded before the first that failed."""
    mean_ns: int
    p95_ns: int
    worst_ns: int
    price: dict[str, int]
    served: str = ""
    """Steady demand: the answers in the order of the requests, "1" for a block, "0" for none."""
    left: Look | None = None
    """Steady demand: the machine after it."""


class CopyFailed(RuntimeError):
    """The copy of a machine broke down; the message says how."""


def in_a_copy(work: Callable[[], bytes]) -> bytes:
    """``work()`` in a copy of this process. Raises CopyFailed with the copy's last words."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.close(reader)
            said = b"+" + work()
            status = 0
        except BaseException as error:
            said = b"-" + (f"{error}" or traceback.format_exc()).encode()
        try:
            with os.fdopen(writer, "wb") as pipe:
                pipe.write(said)
        finally:
            os._exit(status)  # without Python's farewells: open files and exit handlers belong to the original
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        heard = pipe.read()
    os.waitpid(child, 0)
    if not heard.startswith(b"+"):
        raise CopyFailed(heard[1:].decode(errors="replace") or "the copy of the machine was killed")
    return heard[1:]


def burst(machine: Machine, order: int, share: int, patience: int) -> Demand:
    """Ask for blocks of ``order`` until they are ``share`` per cent of memory or ``patience`` requests in a row have
    failed: those that were not made then count as failed. At least one request."""
    wanted = max(1, (machine.mem.nr * share // 100) >> order)
    before = price(machine)
    latencies: list[int] = []
    answers: list[bool] = []

    def body() -> None:
        failed = 0
        while len(answers) < wanted and failed < patience:
            ok = _ask(machine, order, latencies)[0]
            failed = 0 if ok else failed + 1
            answers.append(ok)

    machine.smp.run_task(0, f"burst of order {order}", body)
    return _summary(order, wanted, answers, latencies, paid(before, price(machine)))


def steady(machine: Machine, order: int, requests: int, hold: int, work: Callable[[], None]) -> Demand:
    """Ask for one block of ``order`` ``requests`` times, each after some ``work``; a block is given back when ``hold``
    younger ones are held."""
    before = price(machine)
    latencies: list[int] = []
    answers: list[bool] = []
    held: deque[int] = deque()

    def body() -> None:
        ok, pfn = _ask(machine, order, latencies)
        answers.append(ok)
        if ok:
            held.append(pfn)
        while len(held) > hold:
            machine.page_alloc.free_pages(held.popleft(), order)

    for _ in range(requests):
        work()
        machine.smp.run_task(0, f"request order {order}", body)
    told = _summary(order, requests, answers, latencies, paid(before, price(machine)))
    return msgspec.structs.replace(told, served="".join("01"[answer] for answer in answers))


def _ask(machine: Machine, order: int, latencies: list[int]) -> tuple[bool, int]:
    """One request, of somebody who has a fallback. Small orders are asked for as the network asks (__GFP_NORETRY): the
    kernel would go on reclaiming until it has them, and never fail."""
    gfp = GFP_KERNEL | GFP_NOWARN | (GFP_NORETRY if order <= PAGE_ALLOC_COSTLY_ORDER else 0)
    begin = machine.smp.now
    pfn = machine.page_alloc.alloc_pages(order, gfp, OWNER_HUGE)
    latencies.append(machine.smp.now - begin)
    return (False, -1) if pfn is None else (True, pfn)


def _summary(order: int, wanted: int, answers: list[bool], latencies: list[int], cost: dict[str, int]) -> Demand:
    ordered = sorted(latencies)
    return Demand(
        order=order,
        wanted=wanted,
        got=sum(answers),
        in_a_row=answers.index(False) if False in answers else len(answers),
        mean_ns=sum(ordered) // len(ordered),
        p95_ns=ordered[(len(ordered) * 95 - 1) // 100],
        worst_ns=ordered[-1],
        price=cost,
    )
