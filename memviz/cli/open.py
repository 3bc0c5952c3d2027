"""``memviz [SCENARIO]``: the window; where there is no display, a report and a picture of the window instead."""

from __future__ import annotations

import os
from pathlib import Path

import click

from memviz.cli import display, options, race
from memviz.sources.base import LIVE
from memviz.sources.headless import run_scenario

_PICTURE_AFTER_S = 8.0
_FOLDER = "memviz-out"


@click.command("open")
@click.argument("scenario", default="")
@options.seed
@options.memory
@click.option(
    "--screenshot",
    type=options.Picture(path_type=Path, dir_okay=False),
    help="Write a picture of the window (.png, .jpg, .svg), then exit.",
)
@click.option(
    "--after",
    type=options.Number(0, 3600),
    default=_PICTURE_AFTER_S,
    show_default=True,
    help="Seconds until the picture is taken.",
)
@click.option(
    "--scripted",
    is_flag=True,
    help="With --screenshot: play the scenario's script, and take the picture when it has ended.",
)
@click.option("--live", is_flag=True, help="Open the window on the machine that this runs on.")
@click.option(
    "--host", default="", metavar="HOST", help="With --live: another machine, over ssh; it needs python3 only."
)
@click.option(
    "--actions",
    is_flag=True,
    help="With --live: memory can be compacted, a cache shrunk, caches dropped and a huge page asked for, each after a "
    "question; otherwise it only reads.",
)
@click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=_FOLDER,
    show_default=True,
    help="Where report and picture go when there is no display.",
)
def command(
    scenario: str,
    seed: int | None,
    memory_mib: int | None,
    screenshot: Path | None,
    after: float,
    scripted: bool,
    live: bool,
    host: str,
    actions: bool,
    folder: Path,
) -> int:
    """Open the window on a scenario; without one, on the start page, which shows them all.

    Without a display the same is done without one: the scenario's script is played, and a report and a picture of the
    window behind it are left in a folder.

    \b
    Example: memviz aged-file-server --seed 7
             memviz aged-file-server --screenshot window.png --after 10
             memviz --live
    """
    if scenario == options.REAL_TRACE:
        raise click.UsageError("real-trace has no window yet: use memviz run real-trace")
    if host and not live:
        raise click.UsageError("--host belongs to --live: say memviz --live --host HOST")
    if actions and not live:
        raise click.UsageError("--actions belongs to --live: a scenario's machine may always be acted upon")
    if live:
        return _live(scenario, screenshot, after, actions, host)
    name = scenario or options.DEFAULT_SCENARIO
    # Wrong input is told here, before anything opens, in one line.
    if race.is_race(name):
        race.check(name, memory_mib)
    else:
        options.check(name, seed, memory_mib)
    if scripted and screenshot is None:
        raise click.UsageError("--scripted belongs to --screenshot FILE: say where the picture goes")
    if display.reachable():
        return _window(scenario, seed, memory_mib, screenshot, after, scripted)
    os.environ["QT_QPA_PLATFORM"] = "offscreen"
    if screenshot is not None:
        return _window(name, seed, memory_mib, screenshot, after, scripted)
    # Raises OSError with its name when that cannot be made.
    folder.mkdir(parents=True, exist_ok=True)
    report = folder / f"{Path(name).stem}.json"
    picture = folder / f"{Path(name).stem}.png"
    report.write_text(_report(name, seed, memory_mib) + "\n", encoding="utf-8")
    code = _window(name, seed, memory_mib, picture, after, scripted=True)
    if code == 0:
        click.echo("There is no display here, so the same was done without one:")
        click.echo(f"  report:                {report.resolve()}")
        click.echo(f"  picture of the window: {picture.resolve()}")
    return code


def _live(scenario: str, screenshot: Path | None, after: float, actions: bool, host: str) -> int:
    """The window on this machine, or on ``host``."""
    if scenario:
        raise click.UsageError(f"--live is this machine, {scenario!r} a scenario: open one of them")
    if not display.reachable():
        if screenshot is None:
            raise click.UsageError("there is no display here: use memviz report --live, or --screenshot FILE")
        os.environ["QT_QPA_PLATFORM"] = "offscreen"
    return _window(LIVE, None, None, screenshot, after, False, actions, host)


def _report(name: str, seed: int | None, memory_mib: int | None) -> str:
    """What a run has found, as JSON."""
    if race.is_race(name):
        return race.report(name, seed)
    loaded, machine = options.build(name, seed, memory_mib)
    return run_scenario(name, loaded, machine, progress=options.progress()).as_json()


def _window(
    scenario: str,
    seed: int | None,
    memory_mib: int | None,
    screenshot: Path | None,
    after: float,
    scripted: bool,
    actions: bool = False,
    host: str = "",
) -> int:
    """Open the window; Qt is loaded here and nowhere before. Returns its exit code."""
    from memviz.gui.app import WindowOptions, run_window

    return run_window(
        WindowOptions(
            scenario=scenario,
            seed=seed,
            memory_mib=memory_mib,
            screenshot=None if screenshot is None else str(screenshot),
            after=after,
            scripted=scripted,
            actions=actions,
            host=host,
        )
    )
