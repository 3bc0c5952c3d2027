"""Runs the cells of an experiment that have no result yet, on this machine or on a Dask cluster: the same path.

An executor runs ``run_cells``, which starts a process for the cells of one ageing. Here the executor is a few threads
that wait for those processes; on a cluster it is Dask's. Results are kept as they come, by this process alone: the
cluster needs no shared folder, and a kill loses what is under way and nothing else.
"""

from __future__ import annotations

import contextlib
import importlib
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor, as_completed
from typing import Any

import msgspec

from memviz.experiment.measure import ageing
from memviz.experiment.spec import Cell, ExperimentError
from memviz.experiment.store import Kept, Store
from memviz.experiment.worker import run_cells


class Progress(msgspec.Struct, frozen=True):
    """How far an experiment is. ``cell`` None: before the first."""

    done: int
    all: int
    found: int
    """Of the done ones, those that were there already."""
    seconds: float
    cell: Cell | None = None

    def left_s(self) -> float | None:
        """An estimate of the seconds to go; None when there is too little to go by."""
        computed = self.done - self.found
        enough = computed * 20 >= self.all - self.found
        return self.seconds / computed * (self.all - self.done) if computed and enough else None


@contextlib.contextmanager
def executor(jobs: int, scheduler: str = "") -> Iterator[Executor]:
    """Where cells run: ``jobs`` at once on this machine, or on the Dask cluster whose scheduler is at an address.

    Raises ExperimentError when there is no Dask, or nobody at the address.
    """
    if not scheduler:
        pool = ThreadPoolExecutor(jobs, thread_name_prefix="cell")
        try:
            yield pool
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
        return
    try:
        distributed: Any = importlib.import_module("distributed")
    except ImportError as error:
        raise ExperimentError("there is no Dask here: install it with pip install 'memviz[cluster]'") from error
    try:
        client = distributed.Client(scheduler, timeout="5s", set_as_default=False)
    except OSError as error:
        raise ExperimentError(f"no Dask scheduler answers at {scheduler}: start one with dask scheduler") from error
    with client, client.get_executor(pure=False) as cluster:
        yield cluster


def run(
    cells: Sequence[Cell],
    store: Store,
    workers: Executor,
    progress: Callable[[Progress], None] = lambda _: None,
) -> list[Kept]:
    """Every cell's result, in the order of ``cells``; computes those that ``store`` lacks. Raises CellFailed."""
    begin = time.monotonic()
    results = {at: kept for at, cell in enumerate(cells) if (kept := store.get(cell)) is not None}
    found = len(results)
    progress(Progress(found, len(cells), found, 0.0))
    waiting: dict[Future[bytes], list[int]] = {}
    try:
        for job in jobs(cells, set(results)):
            waiting[workers.submit(run_cells, msgspec.json.encode([cells[at] for at in job]))] = job
        for future in as_completed(waiting):
            for at, kept in zip(waiting[future], msgspec.json.decode(future.result(), type=list[Kept]), strict=True):
                store.put(kept)
                results[at] = kept
            last = cells[waiting[future][-1]]
            progress(Progress(len(results), len(cells), found, time.monotonic() - begin, last))
    finally:
        for future in waiting:
            future.cancel()
    return [results[at] for at in range(len(cells))]


def jobs(cells: Sequence[Cell], done: set[int]) -> list[list[int]]:
    """What is to be computed: places of the cells that one process runs, as they share their ageing."""
    shared: dict[bytes, list[int]] = {}
    for at, cell in enumerate(cells):
        if at not in done:
            same = (cell.scenario, cell.text, cell.seed, cell.memory_mib, cell.protocol, cell.sources, ageing(cell))
            shared.setdefault(msgspec.json.encode(same), []).append(at)
    return list(shared.values())
