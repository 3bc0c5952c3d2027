"""What the race lab must hold, in full: ``python -m benchmarks.bench_races [part of a case's name]``.

Every variant that should hold gets 20,000 random schedules, 20,000 of PCT, and every schedule within its bound on
preemptions; every other one is broken as it says. Exit code 1 when one is not. Some minutes; put the compiled build in
front of the checkout (``make compiled``, then PYTHONPATH=build/compiled).
"""

from __future__ import annotations

import sys
import time

import memviz.kernel.smp as smp_module
from benchmarks.figure import Figure
from memviz.races.case import HOLDS, Variant
from memviz.races.catalogue import CASES

SCHEDULES = 20_000
LIMIT = 1_000_000


def told(variant: Variant) -> tuple[bool, str]:
    """Is it as the variant says, and the figures."""
    if variant.breaks != HOLDS:
        verdict = variant.search(SCHEDULES)
        return variant.expected(verdict), f"broken in schedule {verdict.schedules:,}: {verdict.rule or 'nothing'}"
    random = variant.search(SCHEDULES)
    pct = variant.search(SCHEDULES, how="pct")
    every = variant.search_all(LIMIT)
    good = all(verdict.failure is None for verdict in (random, pct, every)) and every.complete
    broken = "; ".join(verdict.failure for verdict in (random, pct, every) if verdict.failure is not None)
    return good, broken or (
        f"holds on {random.schedules:,} random, {pct.schedules:,} PCT and all {every.schedules:,} schedules with"
        f" at most {variant.preemptions} preemptions ({random.points + pct.points + every.points:,} points)"
    )


def figures(quick: bool) -> list[Figure]:
    """Of a small part of all that; ``main`` does the whole. Some races need thousands of schedules to be found."""
    schedules = 100 if quick else 1000
    right = {True: 0, False: 0}
    asked = {True: 0, False: 0}
    begin = time.process_time()
    for variant in (variant for case in CASES for variant in case.variants):
        holds = variant.breaks == HOLDS
        asked[holds] += 1
        right[holds] += variant.expected(variant.search(schedules))
    spent = time.process_time() - begin
    return [
        Figure("races: what should hold, and does", right[True], f"of {asked[True]}", asked[True]),
        Figure(f"races: what breaks, found in {schedules:,} schedules", right[False], f"of {asked[False]}"),
        Figure("races: their search", spent, "s"),
    ]


def main() -> int:
    build = "interpreted" if smp_module.__file__.endswith(".py") else "compiled"
    print(f"race lab, {build} build")
    wanted = sys.argv[1] if len(sys.argv) > 1 else ""
    wrong = 0
    for case in CASES:
        for variant in case.variants:
            if wanted not in case.name:
                continue
            begin = time.perf_counter()
            good, figures = told(variant)
            wrong += not good
            spent = time.perf_counter() - begin
            print(
                f"  {'ok   ' if good else 'WRONG'} {case.name} {variant.name}: {figures} in {spent:.1f} s", flush=True
            )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
