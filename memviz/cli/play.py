"""``memviz play``: the window on a recording."""

from __future__ import annotations

import json
import os
from pathlib import Path

import click

from memviz.cli import display
from memviz.cli.options import Number, Picture
from memviz.recording.reader import Reader


@click.command("play")
@click.argument("recording", metavar="FILE")
@click.option("--at", type=Number(0), help="Begin at this virtual time, in seconds.")
@click.option("--continue", "go_on", is_flag=True, help="Run the simulation on from there instead of playing it.")
@click.option(
    "--screenshot",
    type=Picture(path_type=Path, dir_okay=False),
    help="Write a picture of the window (.png, .jpg, .svg), then exit.",
)
@click.option("--after", type=Number(0, 3600), default=3.0, show_default=True, help="Seconds until the picture.")
@click.option("--json", "as_json", is_flag=True, help="Say as JSON what is played, before the window opens.")
def command(recording: str, at: float | None, go_on: bool, screenshot: Path | None, after: float, as_json: bool) -> int:
    """Play a recording in the window, or go on from an instant of it.

    \b
    Example: memviz play aged.memviz
             memviz play aged.memviz --at 1.25 --continue
    """
    with Reader(recording) as reader:  # a wrong file is told here, before anything opens
        path = str(reader.path)
        if go_on and "origin" not in reader.meta:
            raise click.UsageError(f"{path} is not of a simulation: leave --continue out")
        ident = 1 if at is None else reader.find(int(at * 1e9))
        told = {
            "file": path,
            "title": reader.meta.get("title", ""),
            "instants": reader.instants,
            "instant": ident,
            "time_ns": reader.times_of(ident)[0],
            "continued": go_on,
            "screenshot": None if screenshot is None else str(screenshot.resolve()),
        }
    if not display.reachable():
        if screenshot is None:
            raise click.UsageError("there is no display here: use --screenshot F.png, or memviz info and memviz export")
        os.environ["QT_QPA_PLATFORM"] = "offscreen"
    if as_json:
        click.echo(json.dumps(told, indent=2))
    from memviz.gui.app import WindowOptions, run_window

    return run_window(
        WindowOptions(
            recording=path,
            at_ns=-1 if at is None else int(at * 1e9),
            go_on=go_on,
            screenshot=None if screenshot is None else str(screenshot),
            after=after,
        )
    )
