"""``memviz report --live``: who pins the pageblocks of this machine, as text or JSON."""

from __future__ import annotations

import click

from memviz.cli.options import Failed, Number


@click.command("report")
@click.option("--live", is_flag=True, help="Of the machine that this runs on.")
@click.option(
    "--host", default="", metavar="HOST", help="With --live: another machine, over ssh; it needs python3 only."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option(
    "--watch",
    type=Number(0, 600),
    default=2.0,
    show_default=True,
    help="Seconds to follow slab objects first, to learn which slabs belong to which cache; 0: don't trace.",
)
@click.option(
    "--rights",
    type=click.Choice(["auto", "sudo", "pkexec"]),
    default="auto",
    show_default=True,
    help="How to get the right to read page flags, when you are not root; auto asks for none.",
)
def command(live: bool, host: str, as_json: bool, watch: float, rights: str) -> None:
    """Report who pins the pageblocks of this machine, and what it would take to get blocks back.

    Reads only. Without the rights to read page flags it tells what can be seen without, and how to get the rest.

    \b
    Example: sudo memviz report --live
             memviz report --live --host root@box --json
    """
    if not live:
        raise click.UsageError("say what to report on: --live is this machine; for a scenario use memviz run")
    from memviz.sources.linux import LinuxSource
    from memviz.sources.linux_report import live_report

    source = LinuxSource(rights=rights, tracing=watch > 0, host=host)  # type: ignore[arg-type]  # click has checked it
    try:
        found = live_report(source, watch)
    finally:
        source.close()
    click.echo(found.as_json() if as_json else found.as_text())
    if not found.zones:
        raise Failed("nothing of this machine's memory can be read: is /proc mounted?")
