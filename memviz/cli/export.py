"""``memviz export``: tables, pictures and films out of a recording, each whole or not at all."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import click

from memviz.cli import export_films, export_tables
from memviz.cli.options import Number, progress, tell, whole
from memviz.recording.reader import Reader
from memviz.recording.tables import TABLES

_PICTURES: Final = (".png", ".svg")
_ENDINGS: Final = (*export_tables.ENDINGS, *_PICTURES, *export_films.ENDINGS)


def _help_what() -> str:
    return "With tables: " + "; ".join(f"{name} ({table.what})" for name, table in TABLES.items()) + "."


@click.command("export")
@click.argument("recording", metavar="FILE")
@click.option("-o", "output", required=True, metavar="FILE", help="What to write; its ending says what kind. -: CSV.")
@click.option("--what", type=click.Choice(list(TABLES)), default="events", show_default=True, help=_help_what())
@click.option("--notes", is_flag=True, help="Short for --what notes.")
@click.option("--at", type=Number(0), help="Of which virtual time, in seconds, a picture is; the last one.")
@click.option("--order", type=click.IntRange(0, 10), default=9, show_default=True, help="With .svg: whose index.")
@click.option(
    "--size", default="1280x720", show_default=True, help="Of pictures and films, in pixels; of an .mp4, even."
)
@click.option("--fps", type=click.IntRange(1, 60), default=15, show_default=True, help="With films: pictures a second.")
@click.option("--times", type=Number(0.01), default=1.0, show_default=True, help="With films: how fast.")
@click.option("--force", is_flag=True, help="Write over what is there.")
@click.option("--json", "as_json", is_flag=True, help="Say as JSON what was written.")
def command(
    recording: str,
    output: str,
    what: str,
    notes: bool,
    at: float | None,
    order: int,
    size: str,
    fps: int,
    times: float,
    force: bool,
    as_json: bool,
) -> None:
    """Write tables (.csv, .jsonl, .parquet, .arrow), the map (.png), the curve (.svg) or a film of it (.gif, .mp4).

    Tables for Arrow need pyarrow, .mp4 needs ffmpeg, .gif ffmpeg or Pillow. Ctrl-C leaves no half of a file.

    \b
    Example: memviz export aged.memviz -o events.csv
             memviz export aged.memviz --what zones -o -
             memviz export aged.memviz -o map.png --at 1.5
             memviz export aged.memviz -o aged.gif --times 4
    """
    path = Path(output)
    kind = path.suffix.lower()
    what = "notes" if notes else what
    if output != "-" and kind not in _ENDINGS:
        raise click.UsageError(f"{output}: choose an ending of {', '.join(_ENDINGS)}")
    if output != "-" and path.exists() and not force:
        raise click.UsageError(f"{output} exists already: add --force to write over it")
    pixels = _pixels(size)
    with Reader(recording) as reader:
        if output == "-":
            export_tables.write_csv(reader, what, sys.stdout, _counted("rows"))
            return
        with whole(path) as part:
            if kind in export_tables.ENDINGS:
                written = export_tables.write(reader, what, kind, part, _counted("rows"))
            elif kind in export_films.ENDINGS:
                film = export_films.Film.of(kind, pixels, fps, times)
                written = film.write(reader, kind, part, _counted("pictures"))
            else:
                ident = reader.instants if at is None else reader.find(int(at * 1e9))
                written = _picture(reader, part, kind, ident, order, pixels)
    if as_json:
        click.echo(json.dumps({"file": str(path.resolve()), "bytes": path.stat().st_size, **written}, indent=2))
    else:
        tell(f"{path}: {path.stat().st_size:,} bytes")


def _picture(reader: Reader, path: Path, kind: str, ident: int, order: int, size: tuple[int, int]) -> dict[str, object]:
    from memviz.gui.render.picture import curve_svg, map_png

    if kind == ".png":
        path.write_bytes(map_png(reader.at(ident), *size))
        return {"instant": ident, "time_ns": reader.times_of(ident)[0]}
    path.write_text(curve_svg(reader.past(), order, *size, reader.meta.get("title", "")), "utf-8")
    return {"order": order}


def _pixels(size: str) -> tuple[int, int]:
    width, _, height = size.partition("x")
    if not (width.isdigit() and height.isdigit() and 16 <= int(width) <= 8192 and 16 <= int(height) <= 8192):
        raise click.UsageError(f"--size {size}: write WIDTHxHEIGHT, each from 16 to 8192")
    return int(width), int(height)


def _counted(what: str) -> Callable[[int, int], None]:
    """Shows on a terminal how much is done, of how much."""
    return progress(what) or (lambda done, all_of_them: None)
