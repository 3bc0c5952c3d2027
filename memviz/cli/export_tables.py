"""Tables of a recording as files: CSV and JSON lines, and Parquet and Arrow where pyarrow is."""

from __future__ import annotations

import csv
import importlib
import json
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Final, TextIO

from memviz.cli.options import Failed
from memviz.recording.reader import Reader
from memviz.recording.tables import TABLES

ENDINGS: Final = (".csv", ".jsonl", ".parquet", ".arrow")
_BATCH: Final = 20_000
"""Rows that are in memory at once."""

Done = Callable[[int, int], None]


def write(reader: Reader, what: str, kind: str, path: Path, done: Done) -> dict[str, object]:
    """Write the table ``what`` to ``path`` in the form that ``kind``, one of ``ENDINGS``, names."""
    if kind in (".parquet", ".arrow"):
        return {"table": what, "rows": _write_arrow(reader, what, kind, path, done)}
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = write_csv if kind == ".csv" else _write_lines
        return {"table": what, "rows": writer(reader, what, file, done)}


def write_csv(reader: Reader, what: str, file: TextIO, done: Done) -> int:
    """Write a table as CSV; how many rows."""
    table = TABLES[what]
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(table.columns)
    rows = 0
    for row in _counted(reader, what, done):
        writer.writerow(row)
        rows += 1
    return rows


def _write_lines(reader: Reader, what: str, file: TextIO, done: Done) -> int:
    columns = TABLES[what].columns
    rows = 0
    for row in _counted(reader, what, done):
        file.write(json.dumps(dict(zip(columns, row, strict=True))) + "\n")
        rows += 1
    return rows


def _counted(reader: Reader, what: str, done: Done) -> Iterator[tuple[object, ...]]:
    table = TABLES[what]
    count = table.count(reader)
    for number, row in enumerate(table.rows(reader), 1):
        yield row
        done(min(number, count), count)


def _write_arrow(reader: Reader, what: str, kind: str, path: Path, done: Done) -> int:
    try:
        pyarrow: Any = importlib.import_module("pyarrow")
        parquet: Any = importlib.import_module("pyarrow.parquet")
    except ImportError:
        raise Failed(
            f"{kind} needs pyarrow, which is not here: pip install 'memviz[arrow]', or export .csv or .jsonl"
        ) from None
    rows = _counted(reader, what, done)
    first = list(islice(rows, _BATCH))
    schema = pyarrow.schema(
        [(name, _type(pyarrow, [row[at] for row in first])) for at, name in enumerate(TABLES[what].columns)]
    )
    written = 0
    with parquet.ParquetWriter(path, schema) if kind == ".parquet" else pyarrow.ipc.new_file(path, schema) as writer:
        while first:
            columns = [
                pyarrow.array(column, field.type)
                for column, field in zip(zip(*first, strict=True), schema, strict=True)
            ]
            writer.write(pyarrow.record_batch(columns, schema=schema))
            written += len(first)
            first = list(islice(rows, _BATCH))
    return written


def _type(pyarrow: Any, values: list[object]) -> Any:
    kinds = {type(value) for value in values} - {type(None)}
    if kinds <= {bool} and kinds:
        return pyarrow.bool_()
    if kinds <= {int} and kinds:
        return pyarrow.int64()
    if kinds <= {int, float} and kinds:
        return pyarrow.float64()
    return pyarrow.string()
