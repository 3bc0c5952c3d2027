"""``memviz run race-…`` and ``memviz list``, as a shell sees them."""

from __future__ import annotations

import json

import pytest

from memviz.cli.main import _run
from memviz.races.catalogue import names


def test_a_race_is_run_and_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(["run", "race-umount", "--schedules", "60"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("race-umount: A file system is unmounted while defragmentation holds its dentries")
    assert "busy inodes after umount" in text
    assert text.endswith("verdict:  as expected\n")


def test_json_and_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["run", "race-posted-unlock", "--variant", "posted", "--seed", "0", "--schedules", "1", "--json"]
    assert _run(arguments) == 1  # seed 0 alone breaks nothing, which is not what the case says
    told = json.loads(capsys.readouterr().out)
    assert told["expected"] is False
    arguments[5] = "7"
    assert _run(arguments) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["variants"][0]["seed"] == 7
    assert told["variants"][0]["rule"] == "unlock of a wild pointer"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["race-unmount"], "no race is called 'race-unmount': did you mean 'race-umount'?"),
        (["race-umount", "--variant", "x"], "race-umount has no variant called 'x'"),
        (["race-umount", "--ops", "5"], "--ops, --memory-mib and --trace say nothing to race-umount"),
        (["aged-file-server", "--schedules", "5"], "belong to race-…, not to aged-file-server"),
    ],
)
def test_wrong_use_is_one_line_and_code_2(
    arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run(["run", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert sentence in captured.err
    assert captured.err.count("\n") == 1


def test_list_shows_every_race(capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(["list", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [one["name"] for one in listed][-len(names()) :] == names()
    assert all(one["summary"] for one in listed)
