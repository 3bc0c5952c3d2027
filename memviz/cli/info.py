"""``memviz info``: what a recording holds."""

from __future__ import annotations

import json
from typing import Any

import click
import msgspec

from memviz.cli.options import Failed, progress
from memviz.recording.format import RecordingError
from memviz.recording.notes import Notes
from memviz.recording.reader import Reader


@click.command("info")
@click.argument("recording", metavar="FILE")
@click.option("--check", is_flag=True, help="Read all of it and look at every checksum.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(recording: str, check: bool, as_json: bool) -> None:
    """Say what a recording holds, and whether it is whole.

    \b
    Example: memviz info aged.memviz
             memviz info aged.memviz --check --json
    """
    with Reader(recording) as reader:
        found = told(reader)
        if check:
            found["integrity"] = reader.check()
            if found["integrity"] != "ok":
                raise Failed(f"{reader.path} is damaged ({found['integrity']}): copy it again, or record again")
            shown = progress("instants")
            for ident in range(1, reader.instants + 1):
                reader.at(ident)
                if shown is not None:
                    shown(ident, reader.instants)
            found["checked"] = reader.instants
    click.echo(json.dumps(found, indent=2) if as_json else text(found))


def told(reader: Reader) -> dict[str, Any]:
    """Everything about a recording that is quickly found."""
    last = reader.at(reader.instants)
    origin = reader.told("origin")
    gaps = reader.gaps()
    seconds = reader.wall_ns / 1e9
    return {
        "file": str(reader.path),
        "title": reader.meta.get("title", ""),
        "source": last.source,
        "created": reader.meta.get("created", ""),
        "memviz": reader.meta.get("memviz", ""),
        "format": reader.version,
        "finished": reader.finished,
        "bytes": reader.size(),
        "bytes_per_minute": round(reader.size() * 60 / max(seconds, 1e-3)),
        "instants": reader.instants,
        "recorded_seconds": round(seconds, 3),
        "first_ns": reader.first_ns,
        "last_ns": reader.last_ns,
        "operations": last.ops,
        "page_frames": last.pages.nr,
        "missing_instants": sum(missed for _, _, missed in gaps),
        "gaps": [list(gap) for gap in gaps],
        "left_out_events": sum(missed for _, _, missed in reader.gaps("events")),
        "left_out_lanes": sum(missed for _, _, missed in reader.gaps("lanes")),
        "commands": reader.count("command"),
        "repeatable": origin is not None,
        "seed": origin.get("seed") if isinstance(origin, dict) else None,
        "events": reader.event_counts(),
        **_notes(reader),
        "state": last.state,
        "notice": last.notice,
    }


def _notes(reader: Reader) -> dict[str, Any]:
    try:
        notes = Notes(reader.path)
    except RecordingError as error:  # the recording is none the worse for that
        return {"notes": [], "notes_trouble": str(error)}
    return {"notes": [msgspec.to_builtins(note) for note in notes.all], "notes_trouble": notes.where}


def text(found: dict[str, Any]) -> str:
    """The same for a person."""
    begin, end = found["first_ns"] / 1e9, found["last_ns"] / 1e9
    size, rate = found["bytes"] / 1e6, found["bytes_per_minute"] / 1e6
    instants = f"{found['instants']:,} instants in {found['recorded_seconds']:,.1f} s"
    lines = [
        f"{found['title'] or found['file']}: {found['source']}",
        f"  recorded {found['created']} by memviz {found['memviz']}",
        f"  {instants}, virtual time {begin:.3f} to {end:.3f} s, {found['operations']:,} operations",
        f"  {found['page_frames']:,} page frames, {size:,.1f} MB ({rate:,.1f} MB a minute)",
    ]
    if found["repeatable"]:
        count = found["commands"]
        lines.append(f"  it can be run again from any instant ({count} command{'' if count == 1 else 's'})")
    if not found["finished"]:
        lines.append("  it was not finished: its program was killed, or is still recording")
    if found["missing_instants"]:
        where = "one gap" if len(found["gaps"]) == 1 else f"{len(found['gaps'])} gaps"
        lines.append(f"  {found['missing_instants']:,} instants are missing in {where}: the disk was too slow")
    if found["left_out_events"] or found["left_out_lanes"]:
        lines.append(
            f"  left out, for there were too many: {found['left_out_events']:,} routine events, "
            f"{found['left_out_lanes']:,} segments of what CPUs did"
        )
    if found["state"] == "failed":
        lines.append(f"  it ends with a failure: {found['notice']}")
    most = [f"{name} {count:,}" for name, count in list(found["events"].items())[:8]]
    lines.append(f"  events: {', '.join(most) or 'none'}")
    if found["notes"]:
        lines.append("  notes:")
        for note in found["notes"]:
            words = " ".join(note["text"].split()) or "(a bookmark)"
            lines.append(f"    {note['time_ns'] / 1e9:10.6f} s  {words}")
    if found["notes_trouble"]:
        lines.append(f"  {found['notes_trouble']}")
    if "checked" in found:
        lines.append(f"  all {found['checked']:,} instants were read: their checksums are right")
    return "\n".join(lines)
