"""``memviz export``: tables, pictures and films out of a recording."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final, TextIO

import click

from memviz.cli.options import Failed, progress, tell
from memviz.recording.reader import Reader
from memviz.recording.tables import TABLES

_TABLES: Final = (".csv", ".jsonl")
_PICTURES: Final = (".png", ".svg")
_FILMS: Final = (".gif", ".mp4")


def _help_what() -> str:
    return "With tables: " + "; ".join(f"{name} ({table.what})" for name, table in TABLES.items()) + "."


@click.command("export")
@click.argument("recording", metavar="FILE")
@click.option("-o", "output", required=True, metavar="FILE", help="What to write; its ending says what kind. -: CSV.")
@click.option("--what", type=click.Choice(list(TABLES)), default="events", show_default=True, help=_help_what())
@click.option("--at", type=click.FloatRange(0), help="Of which virtual time, in seconds, a picture is; the last one.")
@click.option("--order", type=click.IntRange(0, 10), default=9, show_default=True, help="With .svg: whose index.")
@click.option("--size", default="1280x720", show_default=True, help="Of pictures and films, in pixels.")
@click.option("--fps", type=click.IntRange(1, 60), default=15, show_default=True, help="With films: pictures a second.")
@click.option("--times", type=click.FloatRange(0.01), default=1.0, show_default=True, help="With films: how fast.")
@click.option("--force", is_flag=True, help="Write over what is there.")
@click.option("--json", "as_json", is_flag=True, help="Say as JSON what was written.")
def command(
    recording: str,
    output: str,
    what: str,
    at: float | None,
    order: int,
    size: str,
    fps: int,
    times: float,
    force: bool,
    as_json: bool,
) -> None:
    """Write tables (.csv, .jsonl), the map (.png), the curve (.svg) or a film of the map (.gif, .mp4).

    \b
    Example: memviz export aged.memviz -o events.csv
             memviz export aged.memviz --what zones -o -
             memviz export aged.memviz -o map.png --at 1.5
             memviz export aged.memviz -o aged.mp4 --times 4
    """
    path = Path(output)
    kind = path.suffix.lower()
    if output != "-" and kind not in (*_TABLES, *_PICTURES, *_FILMS):
        raise click.UsageError(f"{output}: choose an ending of {', '.join((*_TABLES, *_PICTURES, *_FILMS))}")
    if output != "-" and path.exists() and not force:
        raise click.UsageError(f"{output} exists already: add --force to write over it")
    width, height = _pixels(size)
    with Reader(recording) as reader:
        ident = reader.instants if at is None else reader.find(int(at * 1e9))
        if output == "-":
            _write_csv(reader, what, sys.stdout)
            return
        if kind in _TABLES:
            written = _write_table(reader, what, path)
        elif kind == ".png":
            from memviz.gui.render.picture import map_png

            path.write_bytes(map_png(reader.at(ident), width, height))
            written = {"instant": ident}
        elif kind == ".svg":
            from memviz.gui.render.picture import curve_svg

            path.write_text(curve_svg(reader.past(), order, width, height, reader.meta.get("title", "")), "utf-8")
            written = {"order": order}
        else:
            written = _film(reader, path, (width, height), fps, times)
    if as_json:
        click.echo(json.dumps({"file": str(path.resolve()), "bytes": path.stat().st_size, **written}, indent=2))
    else:
        tell(f"{path}: {path.stat().st_size:,} bytes")


def _pixels(size: str) -> tuple[int, int]:
    width, _, height = size.partition("x")
    if not (width.isdigit() and height.isdigit() and 16 <= int(width) <= 8192 and 16 <= int(height) <= 8192):
        raise click.UsageError(f"--size {size}: write WIDTHxHEIGHT, each from 16 to 8192")
    return int(width) & ~1, int(height) & ~1  # encoders want even numbers


def _counted(count: int) -> Callable[[int], None]:
    shown = progress()
    return (lambda done: None) if shown is None else lambda done: shown(done, count)


def _write_csv(reader: Reader, what: str, file: TextIO) -> int:
    table = TABLES[what]
    done = _counted(table.count(reader))
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(table.columns)
    rows = 0
    for row in table.rows(reader):
        writer.writerow(row)
        rows += 1
        done(rows)
    return rows


def _write_table(reader: Reader, what: str, path: Path) -> dict[str, object]:
    with path.open("w", encoding="utf-8", newline="") as file:
        if path.suffix.lower() == ".csv":
            return {"table": what, "rows": _write_csv(reader, what, file)}
        table = TABLES[what]
        rows = 0
        for row in table.rows(reader):
            file.write(json.dumps(dict(zip(table.columns, row, strict=True))) + "\n")
            rows += 1
        return {"table": what, "rows": rows}


def _film(reader: Reader, path: Path, size: tuple[int, int], fps: int, times: float) -> dict[str, object]:
    """A film of the map, by an encoder that must be there."""
    encoder = shutil.which("ffmpeg")
    if encoder is None:
        raise Failed(f"{path}: films need ffmpeg, which is not here: install it, or export .png")
    from memviz.gui.render.picture import MapPicture

    width, height = size
    line = [encoder, "-loglevel", "error", "-y", "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}"]
    line += ["-r", str(fps), "-i", "-"]
    line += ["-pix_fmt", "yuv420p"] if path.suffix.lower() == ".mp4" else ["-loop", "0"]
    pictures = max(1, int(reader.wall_ns / 1e9 / times * fps))
    done = _counted(pictures)
    picture = MapPicture(width, height)
    process = subprocess.Popen([*line, str(path)], stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdin is not None, "a pipe was asked for"
    try:
        for number in range(pictures):
            ident = reader.find_wall(int(number * times / fps * 1e9))
            process.stdin.write(picture.rgb(reader.at(ident)).tobytes())
            done(number + 1)
    except BrokenPipeError:
        pass  # what it has to say about that comes now
    _, said = process.communicate()
    if process.returncode != 0:
        raise Failed(f"{path}: ffmpeg could not write it ({said.decode(errors='replace').strip().splitlines()[-1:]})")
    return {"pictures": pictures, "fps": fps}
