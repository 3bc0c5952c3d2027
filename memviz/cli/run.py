"""``memviz run``: a scenario, or a real kernel's page traffic, without a window."""

from __future__ import annotations

import json
from pathlib import Path

import click

from memviz import resources
from memviz.analysis.replay import replay
from memviz.analysis.replay_text import comparison_text
from memviz.cli import options, race
from memviz.cli.options import Failed
from memviz.kernel.smp import KernelBug
from memviz.sources import garbage
from memviz.sources.headless import run_scenario
from memviz.sources.linux_import import free_area, read_any_trace

_SAMPLE = "traces/linux-6.18.txt.xz"


@click.command("run")
@click.argument("scenario")
@options.seed
@click.option("--ops", type=click.IntRange(1), help="Workload operations to do; the scenario says how many otherwise.")
@options.memory
@options.policies
@click.option(
    "--trace", type=click.Path(path_type=Path), help="With real-trace: text of tracefs with mm_page_alloc/free."
)
@click.option(
    "--before",
    type=click.Path(path_type=Path),
    help="With real-trace: buddyinfo from right before it, or a folder with it; free memory is made like the zone's.",
)
@click.option("--schedules", type=click.IntRange(1), help="With race-…: how many schedules to try.")
@click.option("--variant", default="", help="With race-…: only this variant of the case.")
@click.option("--thorough", is_flag=True, help="With race-…: every schedule with two or three preemptions, too.")
@click.option("--record", metavar="FILE", default="", help="Write the run to FILE.memviz, to play or to go on from.")
@click.option("--report", type=click.Choice(["text", "json"]), default="text", help="Form of the report.")
@click.option("--json", "as_json", is_flag=True, help="Short for --report json.")
def command(
    scenario: str,
    seed: int | None,
    ops: int | None,
    memory_mib: int | None,
    policies: tuple[str, ...],
    trace: Path | None,
    before: Path | None,
    schedules: int | None,
    variant: str,
    thorough: bool,
    record: str,
    report: str,
    as_json: bool,
) -> int:
    """Run a scenario without a window and report.

    The same scenario, seed and numbers give the same report, to the last digest.

    \b
    Example: memviz run aged-file-server --seed 7 --report json
             memviz run aged-file-server --policy page_cache_index=radix_tree
             memviz run aged-file-server --record aged.memviz
             memviz run real-trace --trace my-trace.txt --before saved/
             memviz run race-posted-unlock --schedules 1000
    """
    as_json = as_json or report == "json"
    if record and (race.is_race(scenario) or scenario == options.REAL_TRACE):
        raise click.UsageError(f"--record belongs to scenarios, not to {scenario}")
    if policies and (race.is_race(scenario) or scenario == options.REAL_TRACE):
        raise click.UsageError(f"--policy belongs to scenarios, not to {scenario}")
    if race.is_race(scenario):
        if ops is not None or memory_mib is not None or trace is not None:
            raise click.UsageError(f"--ops, --memory-mib and --trace say nothing to {scenario}")
        return race.run(scenario, variant, seed, schedules, thorough, as_json)
    if schedules is not None or variant or thorough:
        raise click.UsageError(f"--schedules, --variant and --thorough belong to race-…, not to {scenario}")
    if scenario == options.REAL_TRACE:
        if ops is not None:
            raise click.UsageError("--ops says nothing to real-trace: the trace says what is done")
        _replay(trace, before, seed, memory_mib, as_json)
        return 0
    if before is not None:
        raise click.UsageError(f"--before belongs to real-trace, not to {scenario}")
    if trace is not None:
        raise click.UsageError(f"--trace belongs to real-trace, not to {scenario}")
    loaded, machine = options.build(scenario, seed, memory_mib, policies)
    try:
        with garbage.seldom():
            result = run_scenario(scenario, loaded, machine, ops, options.progress(), record, options.tell)
    except (KernelBug, AssertionError) as error:
        config = machine.config
        again = f"memviz run {scenario} --seed {config.seed} --memory-mib {config.memory_mib}"
        again += "".join(f" --policy {one}" for one in policies)
        again += f" --ops {loaded.sized(config.memory_mib).ops if ops is None else ops}"
        raise Failed(
            f"the machine broke a rule after {machine.ops:,} operations: {error}; repeat it with: {again}"
        ) from error
    click.echo(result.as_json() if as_json else result.as_text())
    return 0


def _replay(path: Path | None, before: Path | None, seed: int | None, memory_mib: int | None, as_json: bool) -> None:
    source = resources.path(_SAMPLE) if path is None else path
    traffic = read_any_trace(source)
    like = () if before is None else free_area(before)
    try:
        found = replay(traffic.events, seed=1 if seed is None else seed, mib=memory_mib, like=like)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    notes = []
    if traffic.lost:
        notes.append(f"the kernel lost {traffic.lost} events while it recorded: some pairs are missing")
    if traffic.missing:
        notes.append(f"the file ends early: its header announces {traffic.missing} more events")
    if as_json:
        told = {"scenario": options.REAL_TRACE, "trace": str(source), "notes": notes, **found.as_dict()}
        click.echo(json.dumps(told, indent=2))
        return
    click.echo(comparison_text(found, source.name))
    for note in notes:
        click.echo(f"note: {note}")
