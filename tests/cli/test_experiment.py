"""``memviz experiment`` at a terminal: what it leaves, what it says, how it fails."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from memviz.cli.main import main
from memviz.experiment.table import read_results

SPEC = """\
title = "Tiny"
question = "Does it?"
scenarios = ["{scenario}"]
memory_mib = [32]
seeds = [1]
baseline = "plain"
begin = ["aged"]

[protocol]
samples = 1
burst = [9]
steady = [9]
requests = 2
every = 32

[[policy]]
name = "plain"
switches = {{ xa_nodes = "fixed" }}

[[policy]]
name = "asks"
switches = {{ request_defrag = "on" }}
"""

SCENARIO = """\
title = "Small"
summary = "A small machine."
question = "Does it run?"
lesson = "It does."
ops = 320

[machine]
memory_mib = 32
cpus = 1

[[workload]]
kind = "file-server"
params = { files = 40, pages = 60 }
"""


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    (tmp_path / "scenario.toml").write_text(SCENARIO)
    path = tmp_path / "tiny.toml"
    path.write_text(SPEC.format(scenario=tmp_path / "scenario.toml"))
    return path


def experiment(*arguments: object) -> int:
    with pytest.raises(SystemExit) as end:
        main(["experiment", *map(str, arguments)])
    code = end.value.code
    assert isinstance(code, int)
    return code


def test_it_runs_reports_and_checks(spec: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert experiment(spec, "--store", tmp_path / "store", "-o", out, "--jobs", 2, "--no-plots") == 0
    said = capsys.readouterr()
    results = read_results(out / "tiny.json.xz")
    assert said.out.splitlines()[-1].startswith(f"2 runs, digest {results.digest}, at most ")
    assert "2 of 2 runs: " in said.err
    assert said.err.startswith("2 runs, 2 at once, each bounded to 1,152 MiB\n")
    assert results.command == f"memviz experiment {spec} -o {out}"
    assert experiment("tiny", "--check", out) == 2  # no such experiment: a file's name is wanted
    capsys.readouterr()
    assert experiment(spec, "--check", out) == 0
    assert capsys.readouterr().out == f"{out}/tiny.md says what its results say\n"
    (out / "tiny.md").write_text((out / "tiny.md").read_text() + "66 %")
    assert experiment(spec, "--check", out) == 1
    assert "tiny.md does not say what" in capsys.readouterr().err


def test_as_json(spec: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert experiment(spec, "--store", tmp_path / "store", "-o", tmp_path / "out", "--json", "--no-plots") == 0
    told = json.loads(capsys.readouterr().out)
    assert [one["policy"] for one in told["policies"]] == ["plain", "asks"]
    assert told["digest"] == read_results(tmp_path / "out" / "tiny.json.xz").digest


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["relieble-high-order"], "did you mean 'reliable-high-order'"),
        (["nowhere.toml"], "cannot read the experiment nowhere.toml"),
        (["quick", "--jobs", "0"], "0"),
        (["quick", "--check", "/nonexistent"], "/nonexistent"),
    ],
)
def test_what_makes_no_sense_is_a_line(arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert experiment(*arguments) == 2
    err = capsys.readouterr().err
    assert says in err
    assert err.count("\n") == 1


def test_a_cell_that_breaks_is_a_line(spec: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scenario = tmp_path / "scenario.toml"
    scenario.write_text(scenario.read_text().replace("cpus = 1", "cpus = 100"))
    assert experiment(spec, "--store", tmp_path / "store") == 1
    err = capsys.readouterr().err
    assert "seed 1, plain (aged) and 1 more: ValueError: 100 CPUs cannot be simulated" in err
    assert err.count("\n") == 2  # what it is about to run, and what is wrong
