"""Results as a tidy table, one row a figure; and the results file, from which table, plots and report are made."""

from __future__ import annotations

import csv
import hashlib
import importlib
import importlib.util
import io
import itertools
import lzma
import platform
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

import memviz
from memviz.experiment.demand import Demand
from memviz.experiment.look import Look
from memviz.experiment.measure import Outcome, Sample
from memviz.experiment.sources_digest import source_files
from memviz.experiment.spec import Cell, ExperimentError, Spec, cells, load
from memviz.experiment.store import Kept, key
from memviz.kernel import smp

RESULTS_FORMAT: Final = 1


class Row(NamedTuple):
    """One figure. ``phase``: ageing, sample, acted (the policy is in force and has acted), burst, steady or left (after
    a steady demand); ``order`` -1 and ``ops`` -1 where there is none."""

    experiment: str
    scenario: str
    memory_mib: int
    begin: str
    policy: str
    seed: int
    phase: str
    ops: int
    order: int
    measure: str
    value: int


class Run(msgspec.Struct, frozen=True):
    """A cell in the results file: what tells it apart, and what came of it."""

    key: str
    scenario: str
    memory_mib: int
    begin: str
    policy: str
    seed: int
    outcome: Outcome


class Part(msgspec.Struct, frozen=True):
    """An experiment and what came of it: all that figures and estimates need."""

    name: str
    spec: Spec
    runs: tuple[Run, ...]


class Results(Part, frozen=True):
    """The results file: everything that table, plots, report and README are made from."""

    format: int
    command: str
    memviz: str
    sources: str
    """Digest of the code that was run."""
    python: str
    kernel: str
    """"compiled" or "interpreted": figures are the same."""
    seconds: float
    """What all cells took, one after the other, on the machines that ran them."""
    peak_mib: int
    """The largest process of a cell."""
    digest: str
    """Of all outcomes: equal wherever and however often the experiment is run."""
    literature: tuple[Part, ...] = ()
    """Experiments that were run along, for what has been published about them."""
    files: dict[str, str] = {}
    """Digests of the files that ``sources`` is of."""


class Study(NamedTuple):
    """An experiment and its cells; of results, in the same order."""

    name: str
    spec: Spec
    cells: Sequence[Cell]


def studies(name: str, spec: Spec) -> list[Study]:
    """The experiment ``name`` and those that are run along. Raises ExperimentError, or ScenarioError."""
    found = [(name, spec), *((one, load(one)) for one in spec.literature)]
    return [Study(one, its, cells(its)) for one, its in found]


def collect(command: str, asked: Sequence[Study], kept: Sequence[Kept]) -> Results:
    """The results file of an experiment, the first of ``asked``, and of those run along. ``kept``: results of all their
    cells, one study after the other."""
    results = iter(kept)
    parts = [
        Part(
            one.name, one.spec, tuple(_run(had.cell, had.outcome) for had in itertools.islice(results, len(one.cells)))
        )
        for one in asked
    ]
    digest = digest_of(parts)
    compiled = not str(smp.__file__).endswith(".py")
    return Results(
        format=RESULTS_FORMAT,
        name=parts[0].name,
        command=command,
        spec=parts[0].spec,
        memviz=memviz.__version__,
        sources=kept[0].cell.sources,
        python=platform.python_version(),
        kernel="compiled" if compiled else "interpreted",
        seconds=round(sum(one.cost.seconds for one in kept), 1),
        peak_mib=max(one.cost.peak_mib for one in kept),
        digest=digest,
        runs=parts[0].runs,
        literature=tuple(parts[1:]),
        files=source_files(),
    )


def digest_of(parts: Sequence[Part]) -> str:
    """Of all outcomes, without what computing them took."""
    runs = [run for part in parts for run in part.runs]
    return hashlib.blake2b(msgspec.json.encode(runs, order="sorted"), digest_size=16).hexdigest()


def _run(cell: Cell, outcome: Outcome) -> Run:
    return Run(key(cell), cell.scenario, cell.memory_mib, cell.begin, cell.policy.name, cell.seed, outcome)


def read_results(path: Path) -> Results:
    """A results file. Raises ExperimentError when it is none."""
    try:
        results = msgspec.json.decode(lzma.decompress(path.read_bytes()), type=Results)
    except OSError as error:
        raise ExperimentError(f"cannot read {path}: {error.strerror}") from error
    except (lzma.LZMAError, msgspec.DecodeError) as error:
        raise ExperimentError(f"{path} is no results file of this version of memviz: {error}") from error
    if results.format != RESULTS_FORMAT:
        raise ExperimentError(f"{path} has format {results.format}, this memviz reads {RESULTS_FORMAT}")
    return results


def rows(results: Results) -> Iterator[Row]:
    """The tidy table, in the order of the runs."""
    for part in (results, *results.literature):
        for run in part.runs:
            yield from _rows_of(part.name, run)


def _rows_of(experiment: str, run: Run) -> Iterator[Row]:
    common = (experiment, run.scenario, run.memory_mib, run.begin, run.policy, run.seed)
    outcome = run.outcome
    for name, value in {"huge_pages": outcome.huge_pages, **outcome.price}.items():
        yield Row(*common, "ageing", outcome.ops, -1, name, value)
    for sample in outcome.samples:
        for order, name, value in _looked(sample):
            yield Row(*common, "sample", sample.ops, order, name, value)
        for name, value in _demand(sample.burst):
            yield Row(*common, "sample", sample.ops, sample.burst.order, name, value)
    if outcome.acted is not None:
        for order, name, value in _looked(outcome.acted):
            yield Row(*common, "acted", outcome.acted.ops, order, name, value)
    for phase, demands in (("burst", outcome.burst), ("steady", outcome.steady)):
        for demand in demands:
            for name, value in (*_demand(demand), *demand.price.items()):
                yield Row(*common, phase, -1, demand.order, name, value)
            if demand.left is not None:
                for _, name, value in _looked(demand.left, of_order=demand.order):
                    yield Row(*common, "left", demand.left.ops, demand.order, name, value)


def _looked(one: Sample | Look, of_order: int = -1) -> Iterator[tuple[int, str, int]]:
    """Order, name and value of what was seen; ``of_order``: the index of this order only."""
    yield -1, "free_pages", one.free_pages
    for kind, count in one.blocks.items():
        yield -1, f"pageblocks_{kind}", count
    for order, index in enumerate(one.unusable):
        if of_order in (-1, order):
            yield order, "unusable_index", index
    if of_order >= 0:
        return
    for name, cache in one.caches.items():
        for figure in ("slabs", "pages", "in_use", "room"):
            yield -1, f"{name}.{figure}", getattr(cache, figure)
    for name, count in one.users.items():
        yield -1, name, count


def _demand(one: Demand) -> tuple[tuple[str, int], ...]:
    return (
        ("wanted", one.wanted),
        ("got", one.got),
        ("in_a_row", one.in_a_row),
        ("latency_mean_ns", one.mean_ns),
        ("latency_p95_ns", one.p95_ns),
        ("latency_worst_ns", one.worst_ns),
    )


def as_csv(results: Results) -> str:
    """The tidy table as CSV with a header."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(Row._fields)
    writer.writerows(rows(results))
    return text.getvalue()


def as_json(results: Results) -> bytes:
    """The tidy table as JSON: ``columns``, and ``data``, a line a row (pandas reads it with ``orient="split"``)."""
    lines = (msgspec.json.encode(row) for row in rows(results))
    head = b'{"columns":' + msgspec.json.encode(Row._fields) + b',"data":[\n'
    return head + b",\n".join(lines) + b"\n]}\n"


def write_parquet(results: Results, path: Path) -> bool:
    """The tidy table as Parquet. False: there is no pyarrow here."""
    if importlib.util.find_spec("pyarrow") is None:
        return False
    arrow: Any = importlib.import_module("pyarrow")
    parquet: Any = importlib.import_module("pyarrow.parquet")
    columns = list(zip(*rows(results), strict=True))
    parquet.write_table(arrow.table(dict(zip(Row._fields, columns, strict=True))), path)
    return True
