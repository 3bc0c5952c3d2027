"""A scenario from beginning to end without a window: what ``memviz run`` does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from memviz.analysis.report import Happened, RunReport
from memviz.kernel.machine import Machine
from memviz.scenario import Moment, Scenario
from memviz.sources import convert_pages, convert_request, convert_slabs
from memviz.sources.play import Play
from memviz.sources.recorded import RecordedSource
from memviz.sources.simulation import SimulationSource


def run_scenario(
    name: str,
    scenario: Scenario,
    machine: Machine,
    ops: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    record: str = "",
    recorded: Callable[[str], None] | None = None,
) -> RunReport:
    """Run ``scenario`` on its machine with every moment of its script, check every invariant, and report.

    ``ops`` None: as long as the scenario says. ``progress(done, all)`` is called now and then. Raises KernelBug when
    the machine breaks a rule, AssertionError (one sentence) when an invariant does not hold at the end.

    ``record``: a file to write the run to, on a machine like ``machine``; ``recorded`` is told what became of it.
    Raises RecordingError when that cannot be begun.
    """
    if record:
        source = SimulationSource(scenario, machine.config.seed, machine.config.memory_mib, True, ops)
        play, machine = source.play, source.machine
    else:
        source, play = None, Play(scenario, machine, ops=ops)
    story = _Story(play)
    seen = play.on_moment  # a source keeps what a recording tells of passes

    def came(moment: Moment) -> None:
        if seen is not None:
            seen(moment)
        story.tell(moment)

    play.on_moment = came
    with _recording(source, record, recorded) as look:

        def worked() -> None:
            look()
            if progress is not None:
                progress(machine.ops, play.ops)

        play.run(play.ops, worked)
        machine.check()
    frames = convert_pages.pages(machine.mem)
    return RunReport(
        scenario=name,
        title=scenario.title,
        question=scenario.question,
        lesson=scenario.lesson,
        seed=machine.config.seed,
        memory_mib=machine.config.memory_mib,
        cpus=machine.config.cpus,
        ops=machine.ops,
        time_ns=machine.smp.now,
        digest=machine.digest(),
        policies=dict(machine.policies),
        story=tuple(story.told),
        requests=tuple(convert_request.anatomy(one) for one in machine.requests),
        defragmentations=tuple(convert_request.defrag_report([one]) for one in machine.passes),
        zones=convert_pages.zones(machine.page_alloc),
        caches=convert_slabs.caches(machine.slub),
        contiguity=convert_pages.contiguity_of(machine.slub, frames),
        counters=dict(convert_pages.counters(machine.page_alloc)),
    )


@contextmanager
def _recording(
    source: SimulationSource | None, path: str, told: Callable[[str], None] | None
) -> Iterator[Callable[[], None]]:
    """A recording around a run; gives what to call behind every piece of it."""
    if source is None:
        yield lambda: None
        return
    source.only_recorded()
    recording = RecordedSource(source)
    recording.start(path)
    source.first_moments()
    try:
        yield recording.worked
    except Exception as error:
        recording.failed(error)
        raise
    finally:
        sentence = recording.stop()
        if told is not None:
            told(sentence)


class _Story:
    """Writes down what comes of each moment."""

    def __init__(self, play: Play) -> None:
        self._play = play
        self.told: list[Happened] = []

    def tell(self, moment: Moment) -> None:
        """``moment`` has just been."""
        self.told.append(Happened(self._play.machine.ops, moment.do, moment.say, self._play.told))
