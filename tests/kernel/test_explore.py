"""The searches find planted races, say when they have seen everything, and shrink what they found."""

from __future__ import annotations

from memviz.kernel.explore import attempt, minimise, runs, search_all, search_pct, search_random
from memviz.kernel.schedule import Replay, Scheduler
from memviz.kernel.smp import Smp
from memviz.kernel.spinlock import SpinLock
from memviz.kernel.trace import Trace


def lost_update(scheduler: Scheduler, locked: bool = False, steps: int = 2) -> None:
    """Two CPUs add to one number without a lock (or with one)."""
    smp = Smp(2, Trace(), scheduler)
    lock = SpinLock(smp, "lock")
    total = [0]

    def body() -> None:
        for _ in range(steps):
            if locked:
                lock.lock()
            before = total[0]
            smp.point("read")
            total[0] = before + 1
            if locked:
                lock.unlock()

    smp.spawn(0, "a", body)
    smp.spawn(1, "b", body)
    smp.run(None)
    assert total[0] == 2 * steps, f"{2 * steps - total[0]} updates lost"


def test_all_three_searches_find_the_lost_update() -> None:
    for verdict in (search_random(lost_update, 200), search_pct(lost_update, 200, 2), search_all(lost_update)):
        assert verdict.failure is not None
        assert "updates lost" in verdict.failure
        schedule, failure, rule = attempt(lost_update, Replay(verdict.schedule))
        assert (failure, rule) == (verdict.failure, "check failed")
        assert schedule == verdict.schedule


def test_exhaustive_search_knows_how_many_schedules_there_are() -> None:
    def independent(scheduler: Scheduler) -> None:
        smp = Smp(2, Trace(), scheduler)

        def body() -> None:
            smp.point("one")
            smp.point("two")

        smp.spawn(0, "a", body)
        smp.spawn(1, "b", body)
        smp.run(None)

    verdict = search_all(independent)
    assert verdict.complete
    assert verdict.failure is None
    # Two CPUs with three stretches each (to the first point, to the second, to the end): 6! / (3! 3!) interleavings.
    assert verdict.schedules == 20
    assert search_all(independent, preemptions=0).schedules == 2


def test_the_locked_version_survives_every_schedule() -> None:
    verdict = search_all(lambda scheduler: lost_update(scheduler, locked=True, steps=1))
    assert verdict.complete
    assert verdict.failure is None
    assert verdict.schedules > 20


def test_a_bound_on_preemptions_is_kept() -> None:
    assert search_all(lost_update, preemptions=0).failure is None
    verdict = search_all(lost_update, preemptions=1)
    assert verdict.failure is not None


def test_minimising_keeps_the_failure_and_drops_switches() -> None:
    verdict = search_random(lambda scheduler: lost_update(scheduler, steps=12), 50, seed=3)
    assert verdict.failure is not None

    def case(scheduler: Scheduler) -> None:
        lost_update(scheduler, steps=12)

    small = minimise(case, verdict.schedule)
    assert attempt(case, Replay(small))[1] is not None
    assert len(runs(small)) <= 4 < len(runs(verdict.schedule))
