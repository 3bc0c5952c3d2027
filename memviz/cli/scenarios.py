"""``memviz list``: the scenarios that memviz brings along."""

from __future__ import annotations

import json
import textwrap

import click

from memviz import scenario as scenarios
from memviz.cli import race
from memviz.cli.options import REAL_TRACE, REAL_TRACE_SUMMARY


@click.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(as_json: bool) -> None:
    """List the scenarios.

    Example: memviz list
    """
    found = [{"name": name, **_told(name)} for name in scenarios.names()]
    found.append({"name": REAL_TRACE, "title": "Real trace", "summary": REAL_TRACE_SUMMARY, "question": ""})
    found += race.summaries()
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    for one in found:
        click.echo(click.style(one["name"], bold=True))
        click.echo(textwrap.indent(textwrap.fill(one["summary"], 90), "    "))


def _told(name: str) -> dict[str, str]:
    scenario = scenarios.load(name)
    return {"title": scenario.title, "summary": scenario.summary, "question": scenario.question}
