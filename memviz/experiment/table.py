"""Results as a tidy table, one row a figure; and the results file, from which table, plots and report are made."""

from __future__ import annotations

import csv
import hashlib
import importlib
import importlib.util
import io
import lzma
import platform
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

import memviz
from memviz.experiment.demand import Demand
from memviz.experiment.measure import Outcome
from memviz.experiment.spec import Cell, ExperimentError, Spec
from memviz.experiment.store import Kept, key
from memviz.kernel import smp

RESULTS_FORMAT: Final = 1


class Row(NamedTuple):
    """One figure. ``phase``: ageing, sample, burst or steady; ``order`` -1 and ``ops`` -1 where there is none."""

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


class Results(msgspec.Struct, frozen=True):
    """The results file: everything that table, plots, report and README are made from."""

    format: int
    name: str
    command: str
    spec: Spec
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
    runs: tuple[Run, ...]


def collect(name: str, command: str, spec: Spec, kept: Sequence[Kept]) -> Results:
    """The results file of an experiment whose cells are all there."""
    runs = tuple(_run(one.cell, one.outcome) for one in kept)
    digest = hashlib.blake2b(msgspec.json.encode(runs, order="sorted"), digest_size=16).hexdigest()
    compiled = not str(smp.__file__).endswith(".py")
    return Results(
        format=RESULTS_FORMAT,
        name=name,
        command=command,
        spec=spec,
        memviz=memviz.__version__,
        sources=kept[0].cell.sources,
        python=platform.python_version(),
        kernel="compiled" if compiled else "interpreted",
        seconds=round(sum(one.cost.seconds for one in kept), 1),
        peak_mib=max(one.cost.peak_mib for one in kept),
        digest=digest,
        runs=runs,
    )


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
    for run in results.runs:
        common = (run.scenario, run.memory_mib, run.begin, run.policy, run.seed)
        outcome = run.outcome
        for name, value in {"huge_pages": outcome.huge_pages, **outcome.price}.items():
            yield Row(*common, "ageing", outcome.ops, -1, name, value)
        for sample in outcome.samples:
            yield Row(*common, "sample", sample.ops, -1, "free_pages", sample.free_pages)
            for kind, count in sample.blocks.items():
                yield Row(*common, "sample", sample.ops, -1, f"pageblocks_{kind}", count)
            for order, index in enumerate(sample.unusable):
                yield Row(*common, "sample", sample.ops, order, "unusable_index", index)
            for name, value in _demand(sample.burst):
                yield Row(*common, "sample", sample.ops, sample.burst.order, name, value)
        for phase, demands in (("burst", outcome.burst), ("steady", outcome.steady)):
            for demand in demands:
                for name, value in (*_demand(demand), *demand.price.items()):
                    yield Row(*common, phase, -1, demand.order, name, value)


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
    """The tidy table as a JSON list of objects, a line each."""
    lines = (msgspec.json.encode(row._asdict()) for row in rows(results))
    return b"[\n" + b",\n".join(lines) + b"\n]\n"


def write_parquet(results: Results, path: Path) -> bool:
    """The tidy table as Parquet. False: there is no pyarrow here."""
    if importlib.util.find_spec("pyarrow") is None:
        return False
    arrow: Any = importlib.import_module("pyarrow")
    parquet: Any = importlib.import_module("pyarrow.parquet")
    columns = list(zip(*rows(results), strict=True))
    parquet.write_table(arrow.table(dict(zip(Row._fields, columns, strict=True))), path)
    return True
