"""``memviz compare``: two recordings, or two instants of one."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

import click

from memviz.analysis.difference import Change, Difference, difference
from memviz.cli.options import whole
from memviz.recording.reader import Reader
from memviz.snapshot import Snapshot


@click.command("compare")
@click.argument("first")
@click.argument("second")
@click.option("-o", "picture", metavar="FILE.png", default="", help="Write a map of what differs, frame by frame.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(first: str, second: str, picture: str, as_json: bool) -> None:
    """Say what two instants differ in. FILE is a recording's end, FILE@1.5 its instant at 1.5 s of virtual time.

    \b
    Example: memviz compare aged.memviz@0.5 aged.memviz
             memviz compare movable.memviz fixed.memviz -o differs.png
    """
    if picture and Path(picture).suffix.lower() != ".png":
        raise click.UsageError(f"{picture}: the map of what differs is a PNG: choose a name that ends in .png")
    if picture and Path(picture).exists():
        raise click.UsageError(f"{picture} exists already: choose another name, or remove it first")
    one, other = _instant(first), _instant(second)
    found = difference(one, other)
    if picture:
        if found.frames is None:
            raise click.UsageError("there is no map of two memories of different sizes: leave -o out")
        from memviz.gui.render.picture import difference_png

        with whole(Path(picture)) as part:
            part.write_bytes(difference_png(found.frames, 1280, 720))
    click.echo(json.dumps(as_dict(found, one, other), indent=2) if as_json else text(found, one, other))


def _instant(name: str) -> Snapshot:
    path, mark, seconds = name.rpartition("@")
    if not mark or Path(name).exists():
        path, seconds = name, ""
    try:
        at = float(seconds) if seconds else None
    except ValueError:
        at = -1.0
    if at is not None and not 0 <= at < math.inf:
        raise click.UsageError(f"{name}: write FILE or FILE@SECONDS")
    with Reader(path) as reader:
        return reader.at(reader.instants if at is None else reader.find(int(at * 1e9)))


def as_dict(found: Difference, one: Snapshot, other: Snapshot) -> dict[str, object]:
    """All of it, for programs."""
    tables = {
        name: [{"name": row.name, "first": row.first, "second": row.second} for row in getattr(found, name)]
        for name in ("owners", "unusable", "free_blocks", "caches", "counters")
    }
    frames = None if found.frames is None else int((found.frames != 0).sum())
    instants = [{"title": each.title, "time_ns": each.time_ns, "operations": each.ops} for each in (one, other)]
    return {"instants": instants, "page_frames_that_differ": frames, "policies": found.policies, **tables}


def text(found: Difference, one: Snapshot, other: Snapshot) -> str:
    """The same for a person: what differs, most first."""
    lines = [
        f"first:  {one.title}, {one.time_ns / 1e9:.3f} s, {one.ops:,} operations",
        f"second: {other.title}, {other.time_ns / 1e9:.3f} s, {other.ops:,} operations",
    ]
    lines += [f"policy {name}: {first} / {second}" for name, first, second in found.policies]
    if found.frames is not None:
        lines.append(f"{int((found.frames != 0).sum()):,} of {found.frames.size:,} page frames differ")
    for title, rows in found.tables():
        lines += _table(title, rows)
    return "\n".join(lines)


def _table(title: str, rows: Sequence[Change]) -> list[str]:
    return ["", f"{title:<40}{'first':>14}{'second':>14}{'':>4}by"] + [
        f"  {row.name:<38}{row.first:>14,}{row.second:>14,}{row.by:>+14,}" for row in rows
    ]
