"""``memviz record --live``: record this machine without a window, to look at it elsewhere."""

from __future__ import annotations

import json
import math
import os
import re
import signal
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from memviz.cli.options import Number

if TYPE_CHECKING:
    from memviz.sources.recorded import RecordedSource

_UNITS: Final = {"": 1.0, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_PART_S: Final = 0.02
_SIZE_CHECK_S: Final = 2.0
_OLDER: Final = ".older"


class Duration(click.ParamType):  # type: ignore[type-arg]  # generic only in newer versions of click
    """Seconds, or a number with s, m, h or d."""

    name = "duration"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Seconds."""
        if isinstance(value, int | float):
            return float(value)
        found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-z]*)", str(value).strip().lower())
        if found is None or found[2] not in _UNITS or not float(found[1]):
            self.fail(f"{value!r} is no time: write 60s, 5m, 2h or 1d", param, ctx)
        return float(found[1]) * _UNITS[found[2]]


@click.command("record")
@click.option("--live", is_flag=True, help="The machine that this runs on.")
@click.option(
    "--host", default="", metavar="HOST", help="With --live: another machine, over ssh; it needs python3 only."
)
@click.option(
    "-o",
    "output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The file; by default HOST-DATE-TIME.memviz here.",
)
@click.option("--for", "seconds", type=Duration(), help="How long: 60s, 5m, 2h, 1d; otherwise until Ctrl-C.")
@click.option(
    "--max-mb",
    type=Number(1),
    help="No more than so many MB, for days: the newest is in the file, what was before it in FILE.older.",
)
@click.option(
    "--rights",
    type=click.Choice(["auto", "sudo", "pkexec"]),
    default="auto",
    show_default=True,
    help="How to get the right to read page flags, when you are not root; auto asks for none.",
)
@click.option(
    "--every-event",
    is_flag=True,
    help="Follow every page frame; otherwise events are sampled where programs would pay more than 1 % for them.",
)
@click.option("--json", "as_json", is_flag=True, help="Print what became of it as JSON.")
def command(
    live: bool,
    host: str,
    output: Path | None,
    seconds: float | None,
    max_mb: float | None,
    rights: str,
    every_event: bool,
    as_json: bool,
) -> None:
    """Record this machine's memory into a .memviz file; needs no display and no Qt.

    It uses a tenth of one CPU. Ctrl-C ends it, and the file is whole.

    \b
    Example: sudo memviz record --live -o box.memviz --for 60s
             ssh box sudo memviz record --live --for 1h --max-mb 200
             memviz record --live --host root@box --for 60s
    """
    if not live:
        raise click.UsageError("say what to record: --live is this machine; for a scenario use memviz run --record")
    from memviz.sources.linux import LinuxSource
    from memviz.sources.linux_trace import OVERHEAD
    from memviz.sources.recorded import RecordedSource

    path = output or Path(f"{host.rpartition('@')[2] or os.uname().nodename}-{time.strftime('%Y%m%d-%H%M%S')}.memviz")
    stop = threading.Event()
    handlers = {number: signal.signal(number, lambda *_: stop.set()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        overhead = math.inf if every_event else OVERHEAD
        live_source = LinuxSource(rights=rights, host=host, overhead=overhead)  # type: ignore[arg-type]  # checked
        source = RecordedSource(live_source)
        try:
            source.start(str(path))
            for what, why in live_source.missing.items():
                click.echo(f"memviz: no {what}: {why}", err=True)
            told = _run(source, path, seconds, max_mb, stop)
        finally:
            source.close()
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    status = source.status
    click.echo(json.dumps(status._asdict(), indent=2) if as_json and status is not None else told)


def _run(source: RecordedSource, path: Path, seconds: float | None, max_mb: float | None, stop: threading.Event) -> str:
    """Record until the time is over or somebody stops it. Returns what became of it, in a sentence."""
    end = time.monotonic() + seconds if seconds is not None else float("inf")
    check = time.monotonic() + _SIZE_CHECK_S
    while not stop.is_set() and (now := time.monotonic()) < end:
        source.advance(_PART_S)
        if now >= check:
            check = now + _SIZE_CHECK_S
            if not source.recording:
                break
            if max_mb is not None and _size(path) > max_mb * 1e6 / 2:
                source.stop()
                path.replace(path.with_name(path.name + _OLDER))
                source.start(str(path))
        stop.wait(min(_PART_S, max(0.0, end - now)))
    return source.stop()


def _size(path: Path) -> int:
    return sum(one.stat().st_size for one in (path, path.with_name(path.name + "-wal")) if one.exists())
