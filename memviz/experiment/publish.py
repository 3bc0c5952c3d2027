"""What an experiment leaves behind: results file, table, plots, report, a part of the README; and the check of it."""

from __future__ import annotations

import lzma
import os
import re
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from memviz import resources
from memviz.experiment import figures, plots
from memviz.experiment.report import readme as readme_part
from memviz.experiment.report import report
from memviz.experiment.sources_digest import changed_files, sources_digest
from memviz.experiment.spec import ExperimentError
from memviz.experiment.table import Results, as_csv, as_json, digest_of, read_results, write_parquet

HEADLINE: Final = "reliable-high-order"


class Made(NamedTuple):
    """Files written, and what could not be."""

    files: list[Path]
    notes: list[str]


def results_path(name: str, folder: Path) -> Path:
    """Where an experiment's results file lies."""
    return folder / f"{name}.json.xz"


def brought_along(name: str = HEADLINE) -> Path | None:
    """The results file of a published experiment: in a wheel among the resources, in a checkout in ``docs``. None: it
    is not there."""
    root = resources.root()
    places = (root / "experiments", root.parent / "docs" / "experiments")
    return next((path for place in places if (path := results_path(name, place)).exists()), None)


def publish(results: Results, folder: Path, readme: Path | None = None, draw: bool = True) -> Made:
    """Write everything into ``folder``; plots only when they are to be drawn.

    Raises ExperimentError when ``readme`` has no place for its part.
    """
    folder.mkdir(parents=True, exist_ok=True)
    name = results.name
    made = Made([results_path(name, folder)], [])
    made.files[0].write_bytes(lzma.compress(msgspec.json.encode(results), preset=9))
    for suffix, data in ((".csv", as_csv(results).encode()), (".table.json", as_json(results))):
        made.files.append(folder / f"{name}{suffix}")
        made.files[-1].write_bytes(data)
    if write_parquet(results, folder / f"{name}.parquet"):
        made.files.append(folder / f"{name}.parquet")
    else:
        made.notes.append("no Parquet: there is no pyarrow here")
    if draw and plots.available():
        made.files.extend(plots.draw(results, folder))
    elif draw:
        made.notes.append("no plots: there is no matplotlib here; install it with pip install 'memviz[plots]'")
    made.files.append(folder / f"{name}.md")
    made.files[-1].write_text(report(results, _plots_beside(results, folder)), encoding="utf-8")
    if readme is not None:
        readme.write_text(_renewed(results, folder, readme), encoding="utf-8")
        made.files.append(readme)
    return made


def check(name: str, folder: Path, readme: Path | None = None) -> str:
    """What of the report, or of ``readme``, is not what the results file says: a sentence, empty when all is right."""
    results = read_results(results_path(name, folder))
    again = f"write it again with: {results.command}"
    if results.files and digest_of((results, *results.literature)) != results.digest:
        return f"{results_path(name, folder)} has other figures than its digest says: {again}"
    written = folder / f"{name}.md"
    if not written.exists() or written.read_text(encoding="utf-8") != report(results, _plots_beside(results, folder)):
        return f"{written} does not say what {results_path(name, folder)} says: {again}"
    if readme is not None and readme.read_text(encoding="utf-8") != _renewed(results, folder, readme):
        return f"{readme} does not say what {results_path(name, folder)} says: {again}"
    return ""


def outdated(results: Results) -> str:
    """What of the simulation has changed since, in a sentence; empty when nothing has."""
    if results.sources == sources_digest():
        return ""
    changed = changed_files(results.files) if results.files else []
    some = ", ".join(changed[:6]) + (f" and {len(changed) - 6} more" if len(changed) > 6 else "")
    what = f" ({some})" if changed else ""
    return (
        f"the figures of {results.name} are of the simulation with sources {results.sources[:8]}; it has changed"
        f" since{what}. Figures of now: {results.command}"
    )


def summary(results: Results) -> dict[str, Any]:
    """The chief figures, by group and policy: success by order, per cent, and the price, means over seeds."""
    spec = results.spec
    told: list[dict[str, Any]] = []
    for group in figures.groups(results):
        for policy in spec.policy:
            success = {
                phase: {
                    str(order): figures.estimated(results, group, policy.name, figures.success(phase, order)).mean
                    for order in orders
                }
                for phase, orders in (("burst", spec.protocol.burst), ("steady", spec.protocol.steady))
            }
            price = {one.title: figures.estimated(results, group, policy.name, one.value).mean for one in figures.PRICE}
            told.append({**group._asdict(), "policy": policy.name, "success": success, "price": price})
    return {"name": results.name, "digest": results.digest, "sources": results.sources, "policies": told}


def _plots_beside(results: Results, folder: Path) -> list[str]:
    return [name for name in plots.names(results) if (folder / name).exists()]


def _renewed(results: Results, folder: Path, readme: Path) -> str:
    """The README with its part about this experiment as it should be."""
    begin, end = f"<!-- experiment {results.name} -->", f"<!-- end of experiment {results.name} -->"
    text = readme.read_text(encoding="utf-8")
    if begin not in text or end not in text:
        raise ExperimentError(f"{readme} has no place for it: put the lines {begin} and {end} where it shall be")
    link = os.path.relpath(folder / f"{results.name}.md", readme.parent)
    part = f"{begin}\n{readme_part(results, link)}\n{end}"
    return re.sub(f"{re.escape(begin)}.*?{re.escape(end)}", lambda _: part, text, flags=re.DOTALL)
