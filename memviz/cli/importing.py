"""``memviz import``: a trace, or saved page flags, made into a recording."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click


@click.command("import")
@click.argument("trace", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The recording; by default TRACE with .memviz at its end, here.",
)
@click.option(
    "--before",
    type=click.Path(path_type=Path),
    help="A folder with the machine's kpageflags from right before the trace, and its zoneinfo, buddyinfo, slabinfo.",
)
@click.option("--json", "as_json", is_flag=True, help="Print what was imported as JSON.")
def command(trace: Path, output: Path | None, before: Path | None, as_json: bool) -> None:
    """Make a recording of a real machine's trace, to look at it in the window.

    TRACE is the text of tracefs, of trace-cmd report or of perf script (also packed with gzip or xz), trace-cmd's
    trace.dat where trace-cmd is installed, or saved page flags: /proc/kpageflags with its siblings in one folder.

    \b
    Example: memviz import trace.txt -o box.memviz
             memviz import trace.txt.xz --before saved/ -o box.memviz
             memviz import saved/kpageflags -o still.memviz
    """
    from memviz.sources.linux_import import import_file

    target = output or Path(f"{trace.name}.memviz")
    found = import_file(trace, target, before, _progress if sys.stderr.isatty() else None)
    if as_json:
        told = {name: getattr(found, name) for name in found.__dataclass_fields__}
        click.echo(json.dumps(told, indent=2))
        return
    click.echo(
        f"{found.path}: {found.instants:,} instants of {found.page_frames:,} page frames,"
        f" {found.events:,} page events in {found.seconds:.1f} s."
    )
    for note in found.notes:
        click.echo(f"note: {note}")


def _progress(done: int, all_of_them: int) -> None:
    percent = done * 100 // max(1, all_of_them)
    click.echo(f"\r{percent:3} %" if percent < 100 else "\r\033[K", nl=False, err=True)
