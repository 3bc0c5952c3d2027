"""``memviz experiment``: policies × seeds × scenarios × sizes of memory, as table, plots and report."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

import click
import msgspec

from memviz.cli.options import Failed
from memviz.experiment import publish, runner, spec
from memviz.experiment.spec import ExperimentError
from memviz.experiment.store import Store, default_folder
from memviz.experiment.table import Study, collect, read_results, studies
from memviz.experiment.worker import CellFailed, bound_mib, describe


@click.command("experiment")
@click.argument("name", metavar="SPEC")
@click.option("--jobs", type=click.IntRange(1), help="Processes at once, here.  [default: one a CPU]")
@click.option("--scheduler", default="", metavar="ADDRESS", help="Run on the Dask cluster of this scheduler instead.")
@click.option(
    "--output", "-o", type=click.Path(path_type=Path, file_okay=False), help="Folder for what is made; SPEC's name."
)
@click.option(
    "--store", type=click.Path(path_type=Path, file_okay=False), help="Folder of results, so that none is made twice."
)
@click.option("--readme", type=click.Path(path_type=Path, dir_okay=False), help="A file whose part about it to renew.")
@click.option(
    "--check",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="Compute nothing: see that report and --readme in this folder say what its results file says.",
)
@click.option(
    "--render",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="Compute nothing: write everything in this folder (and --readme) again, from its results file.",
)
@click.option("--plots/--no-plots", "draw", default=True, help="Draw plots, where there is matplotlib.")
@click.option("--json", "as_json", is_flag=True, help="Print the results file's summary as JSON.")
def command(
    name: str,
    jobs: int | None,
    scheduler: str,
    output: Path | None,
    store: Path | None,
    readme: Path | None,
    check: Path | None,
    render: Path | None,
    draw: bool,
    as_json: bool,
) -> None:
    """Compare policies over many seeds: how much does it help, how costly is it, what does it throw away?

    SPEC is an experiment that memviz brings along, or a .toml file. What has been computed before is not computed
    again: stop it at any moment, start it again, and it goes on.

    \b
    Example: memviz experiment quick
             memviz experiment reliable-high-order -o docs/experiments
             memviz experiment reliable-high-order --check docs/experiments --readme README.md
    """
    try:
        chosen = spec.load(name)
        stem = Path(name).stem
        if check is not None:
            _check(stem, check, readme)
            return
        if render is not None:
            _tell(publish.publish(read_results(publish.results_path(stem, render)), render, readme, draw))
            return
        asked = studies(stem, chosen)
        kept_in = Store(default_folder() if store is None else store)
        at_once = jobs or len(os.sched_getaffinity(0))
        _announce(asked, at_once, scheduler)
        with runner.executor(at_once, scheduler) as workers:
            kept = runner.run([cell for one in asked for cell in one.cells], kept_in, workers, _show)
        results = collect(_command(name, output, readme), asked, kept)
        made = publish.publish(results, Path(stem) if output is None else output, readme, draw)
    except ExperimentError as error:
        raise click.UsageError(str(error)) from error
    except CellFailed as error:
        raise Failed(str(error)) from error
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(publish.summary(results))).decode())
        return
    _tell(made)
    click.echo(f"{len(kept)} runs, digest {results.digest}, at most {results.peak_mib} MiB a process")


def _announce(asked: Sequence[Study], at_once: int, scheduler: str) -> None:
    """Where it will run, and what a process may take at most."""
    bound = max(bound_mib(size) for one in asked for size in one.spec.memory_mib)
    where = f"on the cluster at {scheduler}" if scheduler else f"{at_once} at once"
    click.echo(f"{sum(len(one.cells) for one in asked)} runs, {where}, each bounded to {bound:,} MiB", err=True)


def _tell(made: publish.Made) -> None:
    for path in made.files:
        click.echo(str(path))
    for note in made.notes:
        click.echo(f"note: {note}")


def _command(name: str, output: Path | None, readme: Path | None) -> str:
    """The command that makes the same again. How many jobs, and where, changes nothing and is left out."""
    words = ["memviz", "experiment", name]
    if output is not None:
        words += ["-o", str(output)]
    if readme is not None:
        words += ["--readme", str(readme)]
    return shlex.join(words)


def _check(stem: str, folder: Path, readme: Path | None) -> None:
    wrong = publish.check(stem, folder, readme)
    if wrong:
        raise Failed(wrong)
    click.echo(f"{folder / stem}.md says what its results say")
    old = publish.outdated(read_results(publish.results_path(stem, folder)))
    if old:
        click.echo(f"WARNING: {old}", err=True)


def _show(progress: runner.Progress) -> None:
    """A line on a terminal that is written over; a line a result elsewhere."""
    left = progress.left_s()
    text = f"{progress.done} of {progress.all} runs"
    if progress.found:
        text += f", {progress.found} were there already"
    if left is not None and progress.done < progress.all:
        text += f", about {left / 60:.0f} min left" if left > 90 else f", about {left:.0f} s left"
    if sys.stderr.isatty():
        click.echo(f"\r\033[K{text}", nl=progress.done == progress.all, err=True)
    elif progress.cell is not None:
        click.echo(f"{text}: {describe(progress.cell)}", err=True)
