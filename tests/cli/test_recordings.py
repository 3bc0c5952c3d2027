"""run --record, play, info, export, compare: what a person at a terminal gets."""

from __future__ import annotations

import csv
import importlib.util
import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

import memviz
from memviz.cli.main import main
from memviz.kernel import trace
from memviz.recording.reader import Reader
from memviz.recording.tables import TABLES
from tests.cli.test_cli import SCENARIO


def said(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a command."""
    with pytest.raises(SystemExit) as end:
        main([str(one) for one in arguments])
    out, err = capsys.readouterr()
    return int(end.value.code or 0), out, err


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict]:
    """A recorded run, and its report."""
    folder = tmp_path_factory.mktemp("recorded")
    scenario = folder / "small.toml"
    scenario.write_text(SCENARIO)
    path = folder / "small.memviz"
    from memviz import scenario as scenarios
    from memviz.sources.headless import run_scenario

    loaded = scenarios.load(str(scenario))
    report = run_scenario("small", loaded, loaded.machine(), record=str(path))
    return path, json.loads(report.as_json())


def test_a_recorded_run_is_the_same_run(
    tmp_path: Path, recording: tuple[Path, dict], capsys: pytest.CaptureFixture[str]
) -> None:
    scenario = tmp_path / "small.toml"
    scenario.write_text(SCENARIO)
    path = tmp_path / "again.memviz"
    code, out, err = said(capsys, "run", scenario, "--json", "--record", path)
    assert code == 0
    assert json.loads(out)["digest"] == recording[1]["digest"]
    assert err.startswith("Recorded ")
    code, out, _ = said(capsys, "run", scenario, "--json")
    assert json.loads(out)["digest"] == recording[1]["digest"]
    code, _, err = said(capsys, "run", scenario, "--record", path)
    assert (code, err) == (2, f"memviz: {path} exists already: choose another name, or remove it first\n")


def test_info(recording: tuple[Path, dict], capsys: pytest.CaptureFixture[str]) -> None:
    path, report = recording
    code, out, _ = said(capsys, "info", path, "--check", "--json")
    found = json.loads(out)
    assert code == 0
    assert (found["operations"], found["page_frames"], found["finished"]) == (600, 48 * 256, True)
    assert (found["repeatable"], found["seed"], found["integrity"]) == (True, 3, "ok")
    assert found["last_ns"] == report["time_ns"]
    assert found["checked"] == found["instants"]
    code, out, _ = said(capsys, "info", path)
    assert out.startswith("Small: simulation\n")
    assert "it can be run again from any instant" in out


@pytest.mark.parametrize("what", list(TABLES))
def test_tables(what: str, recording: tuple[Path, dict], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, _ = recording
    target = tmp_path / "t.csv"
    code, out, _ = said(capsys, "export", path, "--what", what, "-o", target, "--json")
    assert code == 0
    rows = list(csv.reader(target.read_text().splitlines()))
    assert tuple(rows[0]) == TABLES[what].columns
    assert len(rows) - 1 == json.loads(out)["rows"]
    assert {len(row) for row in rows} == {len(TABLES[what].columns)}
    lines = tmp_path / "t.jsonl"
    said(capsys, "export", path, "--what", what, "-o", lines)
    assert len(lines.read_text().splitlines()) == len(rows) - 1


def test_exported_events_are_the_recorded_ones(
    recording: tuple[Path, dict], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = said(capsys, "export", recording[0], "-o", "-")
    rows = list(csv.DictReader(out.splitlines()))
    with memviz.open(recording[0]) as run:
        events = run.events()
        assert code == 0
        assert [int(row["seq"]) for row in rows] == events["seq"].tolist()
        assert [row["event"] for row in rows] == [trace.NAMES[kind] for kind in events["kind"].tolist()]
    request = next(row for row in rows if row["event"] == "request_end")
    assert request["arguments"].startswith("order=3 pfn_plus_1=")


def test_a_picture_is_the_map(recording: tuple[Path, dict], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "map.png"
    assert said(capsys, "export", recording[0], "-o", target, "--size", "320x200")[0] == 0
    data = target.read_bytes()
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    assert struct.unpack(">II", data[16:24]) == (320, 200)
    begin = data.index(b"IDAT") + 4
    (length,) = struct.unpack(">I", data[begin - 8 : begin - 4])
    lines = np.frombuffer(zlib.decompress(data[begin : begin + length]), np.uint8).reshape(200, 1 + 320 * 3)
    assert not lines[:, 0].any()
    assert len(np.unique(lines[:, 1:].reshape(-1, 3), axis=0)) > 4
    code, _, err = said(capsys, "export", recording[0], "-o", target)
    assert (code, "exists already: add --force" in err) == (2, True)


def test_a_curve_is_a_drawing(recording: tuple[Path, dict], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "curve.svg"
    assert said(capsys, "export", recording[0], "-o", target, "--order", "3")[0] == 0
    root = ElementTree.parse(target).getroot()
    line = next(one for one in root.iter() if one.tag.endswith("polyline"))
    with Reader(recording[0]) as reader:
        assert len(line.attrib["points"].split()) == reader.past().size
    assert "order 3" in target.read_text()


def test_compare(recording: tuple[Path, dict], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, _ = recording
    target = tmp_path / "d.png"
    code, out, _ = said(capsys, "compare", f"{path}@0.0", path, "-o", target)
    assert code == 0
    assert "page frames differ" in out
    assert target.read_bytes().startswith(b"\x89PNG")
    code, out, _ = said(capsys, "compare", path, path, "--json")
    assert json.loads(out)["page_frames_that_differ"] == 0
    code, _, err = said(capsys, "compare", f"{path}@soon", path)
    assert (code, "write FILE or FILE@SECONDS" in err) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "wrong"),
    [
        (("info", "/nowhere.memviz"), "does not exist: check its name"),
        (("play", "/etc/hostname"), "is no memviz recording"),
        (("export", "/etc/hostname", "-o", "a.csv"), "is no memviz recording"),
        (("export", "x.memviz", "-o", "a.doc"), "choose an ending of"),
        (("export", "x.memviz", "-o", "a.png", "--size", "big"), "write WIDTHxHEIGHT"),
        (("run", "real-trace", "--record", "x"), "--record belongs to scenarios"),
    ],
)
def test_what_is_wrong_is_one_line(
    arguments: tuple[str, ...], wrong: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    code, out, err = said(capsys, *arguments)
    assert (code, out) == (2, "")
    assert wrong in err
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_recording_for_programs(recording: tuple[Path, dict]) -> None:
    with memviz.open(recording[0]) as run:
        assert (run[-1].ops, run.title) == (600, "Small")
        assert run[0].time_ns == run.reader.first_ns
        assert len(list(run)) == len(run) == len(run[:])
        assert run.at(1e6).ops == 600
        assert run.duration[1] == run[-1].time_ns / 1e9
        assert run.counters("pgfree")[-1, 1] == dict(run[-1].counters)["pgfree"]
        assert run.counters("nothing").shape == (0, 2)
        assert run.fragmentation()["unusable"].shape[1] == 11
        with pytest.raises(IndexError):
            run[len(run)]
        with pytest.raises(ValueError, match="no event is called 'foo'"):
            run.events("foo")


def test_a_film_has_as_many_pictures_as_it_says(
    recording: tuple[Path, dict], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = pytest.importorskip("PIL.Image")
    target = tmp_path / "film.gif"
    arguments = ("--size", "160x100", "--fps", "20", "--times", "0.25", "--json")
    code, out, _ = said(capsys, "export", recording[0], "-o", target, *arguments)
    found = json.loads(out)
    with Reader(recording[0]) as reader:
        assert found["pictures"] == max(1, int(reader.wall_ns / 1e9 / 0.25 * 20))
    with image.open(target) as film:
        assert (film.n_frames, film.size) == (found["pictures"], (160, 100)), "pictures that repeat themselves too"
        film.seek(film.n_frames - 1)
        assert len(film.convert("RGB").getcolors(1 << 16)) > 4
    assert code == 0
    assert [one.name for one in tmp_path.iterdir()] == ["film.gif"]


def test_no_encoder_is_told_in_one_sentence(
    recording: tuple[Path, dict], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    code, _, err = said(capsys, "export", recording[0], "-o", tmp_path / "film.mp4")
    assert (code, err) == (1, "memviz: .mp4 needs ffmpeg, which is not here: install it, or export .gif or .png\n")
    assert list(tmp_path.iterdir()) == []


def _encoder(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The ffmpeg that is found first is ``script``."""
    folder.mkdir()
    (folder / "ffmpeg").write_text(script)
    (folder / "ffmpeg").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("#!/bin/sh\necho no such codec >&2\nexit 3\n", "ffmpeg could not write the film (no such codec)"),
        ("#!/bin/sh\nkill -SEGV $$\n", "ffmpeg could not write the film (it was killed by SIGSEGV)"),
        ("#!/bin/sh\nexit 3\n", "ffmpeg could not write the film (it ended with exit code 3)"),
        ("#!/bin/sh\nexec cat > /dev/null\n", "ffmpeg could not write the film (it wrote nothing)"),
        (
            "#!/bin/sh\nyes words | head -c 300000 >&2\nexec cat > /dev/null\n",
            "ffmpeg could not write the film (words)",
        ),
        ("\x7fELF of another machine", "ffmpeg cannot be run (Exec format error): install ffmpeg anew"),
    ],
    ids=["failed", "killed", "silent", "nothing", "floods", "foreign"],
)
def test_a_broken_encoder_is_told_in_one_sentence(
    script: str,
    why: str,
    recording: tuple[Path, dict],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The blame goes to the encoder and not to the file, whose folder is all right."""
    _encoder(tmp_path / "bin", script, monkeypatch)
    code, _, err = said(capsys, "export", recording[0], "-o", tmp_path / "film.mp4", "--size", "64x64")
    assert (code, err.count("\n")) == (1, 1)
    assert err.startswith("memviz: ")
    assert why in err
    assert [one.name for one in tmp_path.iterdir()] == ["bin"]


def test_the_encoder_gets_a_file_whatever_its_name_looks_like(
    recording: tuple[Path, dict], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """``12:30.mp4`` is a file, not a protocol; an .mp4 has even numbers of pixels."""
    script = '#!/bin/sh\nfor last; do :; done\necho "$@" > "${last#file:}"\nexec cat > /dev/null\n'
    _encoder(tmp_path / "bin", script, monkeypatch)
    monkeypatch.chdir(tmp_path)
    code, out, _ = said(capsys, "export", recording[0], "-o", "12:30.mp4", "--size", "65x47", "--json")
    assert code == 0
    line = (tmp_path / "12:30.mp4").read_text().split()
    assert line[line.index("-s") + 1] == "64x46"
    assert line[-1].startswith("file:")
    assert (json.loads(out)["width"], json.loads(out)["height"]) == (64, 46)


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="there is no encoder here")
@pytest.mark.parametrize("ending", ["mp4", "gif"])
def test_a_real_encoder_makes_a_film(
    ending: str, recording: tuple[Path, dict], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / f"film.{ending}"
    code, _, err = said(capsys, "export", recording[0], "-o", target, "--size", "65x47", "--times", "0.5")
    data = target.read_bytes()
    assert code == 0, err
    if ending == "gif":
        assert struct.unpack("<HH", data[6:10]) == (65, 47)
    else:
        box = data.index(b"tkhd")
        assert struct.unpack(">II", data[box + 80 : box + 88]) == (64 << 16, 46 << 16)
    assert [one.name for one in tmp_path.iterdir()] == [target.name]


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("export", "-o", "x.png", "--at", "nan"), "nan is not in the range x>=0"),
        (("export", "-o", "x.gif", "--times", "inf"), "inf is not in the range x>=0.01"),
        (("play", "--at", "1e400"), "1e400 is not in the range x>=0"),
    ],
    ids=["nan", "inf", "too large"],
)
def test_what_is_no_number_is_a_usage_error(
    arguments: tuple[str, ...], why: str, recording: tuple[Path, dict], capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = said(capsys, arguments[0], recording[0], *arguments[1:])
    assert (code, err.count("\n")) == (2, 1)
    assert why in err


def test_the_map_of_what_differs_is_a_png_and_nothing_else(
    recording: tuple[Path, dict], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It was one under whatever name."""
    code, _, err = said(capsys, "compare", recording[0], recording[0], "-o", tmp_path / "differs.svg")
    assert (code, err.count("\n")) == (2, 1)
    assert "differs.svg: the map of what differs is a PNG" in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("at", ["nan", "inf", "-1", "soon"])
def test_an_instant_to_compare_is_a_time(
    at: str, recording: tuple[Path, dict], capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = said(capsys, "compare", f"{recording[0]}@{at}", recording[0])
    assert (code, err.count("\n")) == (2, 1)
    assert "write FILE or FILE@SECONDS" in err


@pytest.mark.parametrize("ending", ["parquet", "arrow"])
def test_tables_for_arrow(
    ending: str, recording: tuple[Path, dict], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With pyarrow the table, without it one sentence."""
    target = tmp_path / f"events.{ending}"
    code, out, err = said(capsys, "export", recording[0], "-o", target, "--json")
    if importlib.util.find_spec("pyarrow") is None:
        assert (code, out) == (1, "")
        hint = "pip install 'memviz[arrow]', or export .csv or .jsonl"
        assert err == f"memviz: .{ending} needs pyarrow, which is not here: {hint}\n"
        assert list(tmp_path.iterdir()) == []
        return
    import pyarrow.ipc
    import pyarrow.parquet

    table = pyarrow.parquet.read_table(target) if ending == "parquet" else pyarrow.ipc.open_file(target).read_all()
    with memviz.open(recording[0]) as run:
        assert table.column("seq").to_pylist() == run.events()["seq"].tolist()
    assert json.loads(out)["rows"] == table.num_rows


def test_ctrl_c_leaves_no_half_of_a_file(recording: tuple[Path, dict], tmp_path: Path) -> None:
    """And what was there before stays as it was."""
    target = tmp_path / "film.gif"
    target.write_bytes(b"precious")
    line = [sys.executable, "-m", "memviz.cli.main", "export", str(recording[0]), "-o", str(target), "--force"]
    process = subprocess.Popen([*line, "--size", "1000x1000", "--times", "0.0101"], stderr=subprocess.PIPE, text=True)
    end = time.monotonic() + 30
    while not any(one.suffix == ".part" for one in tmp_path.iterdir()):
        assert process.poll() is None
        assert time.monotonic() < end
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert (process.returncode, err.strip()) == (130, "memviz: interrupted")
    assert [one.name for one in tmp_path.iterdir()] == ["film.gif"]
    assert target.read_bytes() == b"precious"


def test_notes_are_shown_and_exported(
    recording: tuple[Path, dict], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "noted.memviz"
    shutil.copy(recording[0], path)
    with memviz.open(path) as run:
        run.notes.add(run[2].time_ns, "here it\nbegins")
        at_ns = run[2].time_ns
    code, out, _ = said(capsys, "info", path)
    assert code == 0
    assert f"{at_ns / 1e9:10.6f} s  here it begins" in out
    code, out, _ = said(capsys, "info", path, "--json")
    assert [note["text"] for note in json.loads(out)["notes"]] == ["here it\nbegins"]
    code, out, _ = said(capsys, "export", path, "--notes", "-o", "-")
    assert [row["text"] for row in csv.DictReader(out.splitlines(keepends=True))] == ["here it\nbegins"]
    path.with_name("noted.memviz.notes").write_text("?")
    code, out, _ = said(capsys, "info", path)
    assert code == 0, "the recording is none the worse for that"
    assert "holds no notes that can be read" in out


def test_a_recorded_run_tells_its_passes(recording: tuple[Path, dict]) -> None:
    path, report = recording
    assert report["defragmentations"], "its script has one"
    with Reader(str(path)) as reader:
        last = reader.at(reader.instants)
    assert last.defrag is not None, "the timeline marked a pass, and its panel knew of none"
