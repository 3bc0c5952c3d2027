"""Files of every version show what was recorded, or say in a sentence that they can't be shown."""

from __future__ import annotations

import json
import shutil
import sqlite3
import zlib
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import zstandard

from memviz.recording.codec import Parts, dictionary, unpack
from memviz.recording.codes import codes, disagreement
from memviz.recording.format import VERSION, RecordingError
from memviz.recording.migrations import MIGRATIONS
from memviz.recording.reader import Reader
from memviz.recording.writer import row_crc
from memviz.snapshot import Snapshot

FILES = Path(__file__).parents[1] / "data" / "recordings"


def crc(*arrays: np.ndarray) -> int:
    found = 0
    for array in arrays:
        found = zlib.crc32(np.ascontiguousarray(array).tobytes(), found)
    return found


def told(shown: Snapshot) -> dict[str, int]:
    """What the files beside the recordings say of each instant; written by who recorded them."""
    pages = shown.pages
    return {
        "time_ns": shown.time_ns,
        "ops": shown.ops,
        "pages": crc(pages.owner, pages.order, pages.flags, pages.stamp),
        "blocks": crc(shown.pageblock_mt),
        "slabs": crc(shown.slabs, shown.objects),
        "nodes": crc(shown.nodes),
        "events": crc(shown.events),
        "lanes": crc(shown.lanes),
        "counters": dict(shown.counters)["pgfree"],
    }


@pytest.mark.parametrize("name", ["format-1-development", "format-1", "format-2"])
def test_a_file_of_each_version_shows_what_was_recorded(name: str, tmp_path: Path) -> None:
    """In order and against it: keyframes, differences of few, of many, of nearly all page frames."""
    path = tmp_path / "a.memviz"
    shutil.copy(FILES / f"{name}.memviz", path)
    path.chmod(0o400)
    before = path.read_bytes()
    expected = json.loads((FILES / f"{name}.json").read_text())
    with Reader(path) as reader:
        assert reader.version == int(name[7])
        assert [told(reader.at(ident + 1)) for ident in range(reader.instants)] == expected
        assert told(reader.at(3)) == expected[2]
        assert [(to, missed) for _, to, missed in reader.gaps()] == [(expected[16]["time_ns"], 3)]
        assert reader.check() == "ok"
        assert reader.find(expected[5]["time_ns"]) == 6
    assert path.read_bytes() == before, "reading changes nothing"
    assert [one.name for one in tmp_path.iterdir()] == ["a.memviz"]


def test_every_older_version_has_a_migration_and_a_file() -> None:
    assert sorted(MIGRATIONS) == list(range(1, VERSION))
    for version in range(1, VERSION + 1):
        assert (FILES / f"format-{version}.memviz").exists()


def changed(path: Path, version: int | None = None, sql: str = "", values: tuple[Any, ...] = ()) -> Path:
    database = sqlite3.connect(path, isolation_level=None)
    if sql:
        database.execute(sql, values)
    if version is not None:
        database.execute(f"PRAGMA user_version={version}")
    database.close()
    return path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return Path(shutil.copy(FILES / "format-2.memviz", tmp_path / "a.memviz"))


def test_a_version_that_nobody_reads_any_more(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(MIGRATIONS, 1)
    with pytest.raises(RecordingError, match=r"is of format 1, which this memviz does not read any more: play it with"):
        Reader(changed(file, 1))


def repacked(path: Path, ident: int, change: Any) -> None:
    """Row ``ident`` as another codec would have written it: the checksum of the row is right."""
    database = sqlite3.connect(path, isolation_level=None)
    query = (
        "SELECT base, kind, codec, seq, time_ns, ops, wall_ns, commands, first_event, events, event_crc, shown, data"
    )
    row = database.execute(f"{query} FROM snapshot WHERE id = ?", (ident,)).fetchone()
    key = database.execute("SELECT data FROM snapshot WHERE id = 1").fetchone()[0]
    using = None if row[1] == "key" else dictionary(unpack("zstd", key, None).small)
    parts: Parts = unpack(row[2], row[-1], using)
    raw = msgspec.msgpack.encode(change(parts))
    packer = zstandard.ZstdCompressor() if using is None else zstandard.ZstdCompressor(dict_data=using)
    data = packer.compress(raw)
    values = (data, row_crc(ident, *row[:3], row[3:11], data, row[11]), ident)
    database.execute("UPDATE snapshot SET data = ?, crc = ? WHERE id = ?", values)
    database.close()


def stamps_from_elsewhere(parts: Parts) -> Parts:
    return msgspec.structs.replace(
        parts, planes=msgspec.structs.replace(parts.planes, stamp_base=parts.planes.stamp_base + 1)
    )


def fields_in_another_order(parts: Parts) -> list[Any]:
    return list(reversed(msgspec.to_builtins(parts, builtin_types=(bytes,))))


def other_owners(parts: Parts) -> Parts:
    owner = bytes(one ^ 1 for one in parts.planes.owner)
    return msgspec.structs.replace(parts, planes=msgspec.structs.replace(parts.planes, owner=owner))


@pytest.mark.parametrize(
    ("ident", "change"), [(4, stamps_from_elsewhere), (4, fields_in_another_order), (1, other_owners)]
)
def test_a_codec_that_changed_without_its_version_is_noticed(file: Path, ident: int, change: Any) -> None:
    """Never a wrong picture: the arrays that a row becomes have a checksum too."""
    repacked(file, ident, lambda parts: parts)
    with Reader(file) as reader:
        reader.at(ident)
    repacked(file, ident, change)
    with (
        Reader(file) as reader,
        pytest.raises(RecordingError, match=r"another build of memviz \(0\.1\), and this one would show it wrongly"),
    ):
        reader.at(ident)


def test_numbers_that_mean_something_else_are_noticed(file: Path) -> None:
    """Owners and events are numbered: whoever numbers them in another way would show another memory."""
    with Reader(file) as reader:
        meant = reader.told("codes")
    assert meant == codes()
    meant["owner"][3], meant["owner"][4] = meant["owner"][4], meant["owner"][3]
    changed(file, None, "UPDATE meta SET value = ? WHERE key = 'codes'", (json.dumps(meant),))
    with pytest.raises(RecordingError, match=r"owner 3 is 'page cache' there and 'anonymous'"):
        Reader(file)
    changed(file, None, "DELETE FROM meta WHERE key = 'codes'")
    Reader(file).close()
    changed(file, None, "UPDATE event_kind SET name = 'tea_break' WHERE kind = 57")
    with pytest.raises(RecordingError, match="event 57 is 'tea_break' there and 'kernel_bug' here"):
        Reader(file)


def test_what_is_newer_or_unknown() -> None:
    meant = codes()
    meant["slab state"].append("on the moon")
    assert disagreement(meant, []) == "slab state 6 is 'on the moon' there and nothing here"
    assert disagreement({"owner": codes()["owner"][:5]}, [(999, "of the future")]) == "", "an older file has fewer"
    meant = codes()
    meant["node"].pop()
    assert disagreement(meant, []) == "a node has other fields there"
