"""What a person at a terminal gets: the report, or one line on stderr and an exit code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from memviz import __version__
from memviz.cli.main import main
from memviz.workload.file_server import FileServer

TRACE = """\
 sort-77 [001] ....1 10.000001: mm_page_alloc: pfn=0x1000 order=0 migratetype=1 gfp_flags=GFP_HIGHUSER_MOVABLE
 sort-77 [001] ....1 10.000002: mm_page_alloc: pfn=0x1002 order=1 migratetype=0 gfp_flags=GFP_KERNEL
 sort-77 [001] ....1 10.000003: mm_page_free: pfn=0x1000 order=0
 sort-77 [001] ....1 10.000004: mm_page_free: pfn=0x9999 order=0
"""

SCENARIO = """\
title = "Small"
summary = "A small machine for tests."
question = "Does it run?"
lesson = "It does."
ops = 600

[machine]
memory_mib = 48
cpus = 2
seed = 3

[[workload]]
kind = "file-server"
params = { files = 40, pages = 60 }

[[moment]]
at = 600
do = "request"
order = 3
say = "Ask for eight pages."

[[moment]]
at = 600
do = "defragment"
ratio = 100
say = "Move nodes together."
"""


class Said:
    """What a command printed, and its exit code."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err


def memviz(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> Said:
    with pytest.raises(SystemExit) as exited:
        main([str(argument) for argument in arguments])
    said = capsys.readouterr()
    assert isinstance(exited.value.code, int)
    return Said(exited.value.code, said.out, said.err)


@pytest.fixture
def scenario(tmp_path: Path) -> Path:
    path = tmp_path / "small.toml"
    path.write_text(SCENARIO)
    return path


def test_version_and_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert memviz(capsys, "--version").out == f"memviz {__version__}\n"
    said = memviz(capsys, "--help")
    assert said.code == 0
    assert "memviz aged-file-server --seed 7" in said.out
    for command in ("open", "run", "list"):
        said = memviz(capsys, command, "--help")
        assert (said.code, said.err) == (0, "")
        assert "Example: memviz" in said.out


def test_list_names_every_scenario_and_the_replay(capsys: pytest.CaptureFixture[str]) -> None:
    told = json.loads(memviz(capsys, "list", "--json").out)
    names = [one["name"] for one in told]
    assert "aged-file-server" in names
    assert "real-trace" in names
    assert all(one["summary"] for one in told)
    text = memviz(capsys, "list").out
    assert all(name in text for name in names)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["run", "aged-file-sever"], "no scenario is called 'aged-file-sever': did you mean 'aged-file-server'?"),
        (["aged-file-sever"], "no scenario is called 'aged-file-sever': did you mean 'aged-file-server'?"),
        (["run", "realtrace"], "no scenario is called 'realtrace': did you mean 'real-trace'?"),
        (["run", "qqq"], "no scenario is called 'qqq': there are aged-file-server"),
        (["run", "/nowhere/x.toml"], "cannot read the scenario /nowhere/x.toml"),
        (["run"], "Missing argument 'SCENARIO'"),
        (["run", "aged-file-server", "--ops", "-1"], "Invalid value for '--ops': -1 is not in the range x>=1"),
        (["run", "aged-file-server", "--ops", "many"], "Invalid value for '--ops': 'many' is not a valid integer"),
        (["run", "aged-file-server", "--seed", "-4"], "Invalid value for '--seed': -4 is not in the range"),
        (["run", "aged-file-server", "--memory-mib", "0"], "Invalid value for '--memory-mib'"),
        (["run", "aged-file-server", "--memory-mib", "1"], "memory of 1 MiB cannot be simulated: choose between"),
        (["aged-file-server", "--memory-mib", "1"], "memory of 1 MiB cannot be simulated: choose between"),
        (["run", "aged-file-server", "--opps", "3"], "--opps"),
        (["run", "aged-file-server", "--report", "xml"], "Invalid value for '--report': 'xml' is not one of"),
        (["run", "aged-file-server", "--trace", "x"], "--trace belongs to real-trace, not to aged-file-server"),
        (["run", "real-trace", "--ops", "3"], "--ops says nothing to real-trace"),
        (["run", "real-trace", "--policy", "xa_nodes=fixed"], "--policy belongs to scenarios, not to real-trace"),
        (["run", "aged-file-server", "--policy", "x=1"], "no policy is called 'x': there are compaction"),
        (
            ["run", "aged-file-server", "--policy", "page_cache_index=tree"],
            "policy page_cache_index cannot be 'tree': choose xarray or radix_tree",
        ),
        (["run", "aged-file-server", "--policy", "xa_nodes"], "--policy xa_nodes names no value: give NAME=VALUE"),
        (["run", "real-trace", "--memory-mib", "2"], "at least 16 MiB"),
        (["run", "real-trace", "--trace", "/nowhere/t"], "cannot read the trace /nowhere/t: No such file or directory"),
        (["real-trace"], "real-trace has no window yet: use memviz run real-trace"),
        (["aged-file-server", "--after", "-1"], "Invalid value for '--after'"),
        (["aged-file-server", "twice"], "Got unexpected extra argument (twice)"),
    ],
)
def test_what_makes_no_sense_gets_one_line_and_exit_code_2(
    capsys: pytest.CaptureFixture[str], arguments: list[str], says: str
) -> None:
    said = memviz(capsys, *arguments)
    assert said.code == 2
    assert said.out == ""
    assert said.err.startswith("memviz: ")
    assert says in said.err
    assert said.err.count("\n") == 1


def test_policies_are_turned_from_the_start_on_and_told(capsys: pytest.CaptureFixture[str], scenario: Path) -> None:
    turned = ["--policy", "page_cache_index=radix_tree", "--policy", "dentries=fixed"]
    told = json.loads(memviz(capsys, "run", scenario, "--json", *turned).out)
    assert told["policies"]["page_cache_index"] == "radix_tree"
    assert told["policies"]["dentries"] == "fixed"
    assert told["policies"]["xa_nodes"] == "movable"
    active = {cache["name"]: cache["active"] for cache in told["caches"]}
    assert active["radix_tree_node"] > 0 == active["xa_node"]
    assert told["story"][1]["told"].startswith("radix_tree_node: its nodes cannot move: ")
    plain = json.loads(memviz(capsys, "run", scenario, "--json").out)
    assert plain["digest"] != told["digest"]
    assert json.loads(memviz(capsys, "run", scenario, "--json", *turned).out)["digest"] == told["digest"]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty"),
        (TRACE.encode()[:-30], "is cut off in the middle of line 4"),
        (b"\x7fELF\0\0\0", "is binary"),
        (b"hello\n", "is not the text of a trace"),
    ],
)
def test_an_unusable_trace_gets_one_line_and_exit_code_2(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, content: bytes, says: str
) -> None:
    path = tmp_path / "trace.txt"
    path.write_bytes(content)
    said = memviz(capsys, "run", "real-trace", "--trace", path)
    assert (said.code, said.out) == (2, "")
    assert says in said.err
    assert said.err.count("\n") == 1


def test_a_scenario_with_a_mistake_names_it(capsys: pytest.CaptureFixture[str], scenario: Path) -> None:
    scenario.write_text(SCENARIO.replace("cpus = 2", "cpu = 2"))
    said = memviz(capsys, "run", scenario)
    assert said.code == 2
    assert "unknown field `cpu`" in said.err
    assert said.err.count("\n") == 1


def test_real_trace_of_a_file_reports_every_policy(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "trace.txt"
    path.write_text("# entries-in-buffer/entries-written: 9/11   #P:2\n" + TRACE)
    told = json.loads(memviz(capsys, "run", "real-trace", "--trace", path, "--json").out)
    assert told["requests"][:2] == [1, 1]
    assert (told["frees"], told["frees_of_older"], told["peak_pages"], told["kept_pages"]) == (1, 1, 3, 2)
    assert [one["policy"] for one in told["results"]] == ["default", "defrag_mode=1", "no boost"]
    assert told["notes"] == [
        "the kernel lost 2 events while it recorded: some pairs are missing",
        "the file ends early: its header announces 5 more events",
    ]
    text = memviz(capsys, "run", "real-trace", "--trace", path).out
    assert "2 requests (1 of order 0, 1 of order 1)" in text
    assert "defrag_mode=1" in text
    assert "note: the file ends early" in text


@pytest.mark.digest
def test_a_run_reports_the_same_twice_and_something_else_for_another_seed(
    capsys: pytest.CaptureFixture[str], scenario: Path
) -> None:
    first, second, other = (
        memviz(capsys, "run", scenario, "--seed", seed, "--report", "json") for seed in ("5", "5", "6")
    )
    assert first.code == 0
    assert first.out == second.out
    told = json.loads(first.out)
    assert (told["seed"], told["memory_mib"], told["cpus"], told["ops"]) == (5, 48, 2, 600)
    assert [one["do"] for one in told["story"]] == ["request", "defragment"]
    assert told["story"][0]["told"] == told["requests"][0]["verdict"]
    assert told["requests"][0]["ok"] is True
    assert json.loads(other.out)["digest"] != told["digest"]


def test_moments_at_the_end_of_a_scenario_move_with_its_length(
    capsys: pytest.CaptureFixture[str], scenario: Path
) -> None:
    told = json.loads(memviz(capsys, "run", scenario, "--ops", "130", "--json").out)
    assert told["ops"] == 130
    assert [(one["ops"], one["do"]) for one in told["story"]] == [(130, "request"), (130, "defragment")]


def test_the_text_report_tells_the_story(capsys: pytest.CaptureFixture[str], scenario: Path) -> None:
    said = memviz(capsys, "run", scenario)
    assert said.code == 0
    for line in ("Small", "Ask for eight pages.", "Request 1: order 3", "Who pins pageblocks", "xa_node", "digest "):
        assert line in said.out


def test_a_machine_that_breaks_a_rule_says_how_to_repeat_it(
    capsys: pytest.CaptureFixture[str], scenario: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def step(self: FileServer, cpu: int) -> None:
        self.machine.smp.current.preempt += 1
        self.machine.smp.might_sleep("a test")

    monkeypatch.setattr(FileServer, "step", step)
    said = memviz(capsys, "run", scenario, "--seed", "9", "--ops", "70")
    assert said.code == 1
    assert said.out == ""
    assert "sleeping function called from invalid context: a test on CPU" in said.err
    assert said.err.endswith(f"repeat it with: memviz run {scenario} --seed 9 --memory-mib 48 --ops 70\n")
    assert said.err.count("\n") == 1


def test_a_command_without_a_window_loads_no_toolkit(scenario: Path) -> None:
    program = (
        "import sys\n"
        "from memviz.cli.main import main\n"
        "try:\n"
        f"    main(['run', {str(scenario)!r}, '--json'])\n"
        "except SystemExit as exited:\n"
        "    assert exited.code == 0, exited.code\n"
        "toolkit = ('PySide6', 'pyqtgraph', 'memviz.gui')\n"
        "print([name for name in sys.modules if name.startswith(toolkit)], file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == "[]\n"


def test_a_reader_that_has_enough_is_no_error(scenario: Path) -> None:
    program = f"{sys.executable} -m memviz.cli.main run {scenario} --json | head -1"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", program], capture_output=True, text=True, check=False)
    assert done.stdout == "{\n"
    assert done.stderr == ""


def test_without_a_display_a_report_and_a_picture_are_left(scenario: Path, tmp_path: Path) -> None:
    hidden = ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM")
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    done = subprocess.run(
        [sys.executable, "-m", "memviz.cli.main", str(scenario), "--folder", "deep/memviz-out"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    report, picture = tmp_path / "deep/memviz-out/small.json", tmp_path / "deep/memviz-out/small.png"
    assert str(report) in done.stdout
    assert str(picture) in done.stdout
    assert json.loads(report.read_text())["title"] == "Small"
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_scripted_says_where_it_belongs(scenario: Path, capsys: pytest.CaptureFixture[str]) -> None:
    done = memviz(capsys, scenario, "--scripted")
    assert done.code == 2
    assert done.err.startswith("memviz: --scripted belongs to --screenshot FILE: say where the picture goes")
    assert done.err.count("\n") == 1


@pytest.mark.parametrize("name", ["window.gif", "window.memviz"])
def test_a_picture_of_a_kind_that_there_is_not_is_refused(
    scenario: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    """It was a PNG under that name."""
    done = memviz(capsys, scenario, "--screenshot", name)
    assert done.code == 2
    assert done.err.startswith(f"memviz: {name}: a picture is a .png, .jpg or .svg, not a .{name.partition('.')[2]}")
    assert done.err.count("\n") == 1
    assert not Path(name).exists()


def test_the_package_is_a_command_too() -> None:
    told = subprocess.run([sys.executable, "-m", "memviz", "--version"], capture_output=True, text=True, check=True)
    assert told.stdout == f"memviz {__version__}\n"
