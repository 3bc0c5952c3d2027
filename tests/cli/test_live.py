"""``memviz report --live`` and ``memviz record --live``: run as a person runs them. They only read."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from memviz import live_helper

root = pytest.mark.skipif(
    os.geteuid() != 0 or not os.access(live_helper.KPAGEFLAGS, os.R_OK), reason="needs root and /proc/kpageflags"
)
NOBODY = 65534
NO_QT = """
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition('.')[0] in ('PySide6', 'pyqtgraph', 'shiboken6'):
            raise ImportError(name + ' is not installed here')
sys.meta_path.insert(0, Refuse())
"""


def run(*arguments: str, before: str = "", expect: int = 0) -> subprocess.CompletedProcess[str]:
    code = f"{before}\nimport sys\nfrom memviz.cli.main import main\nmain(sys.argv[1:])"
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == expect, done.stderr
    assert "Traceback" not in done.stderr
    return done


@root
def test_the_report_tells_who_pins_what_without_qt() -> None:
    told = json.loads(run("report", "--live", "--json", "--watch", "0.2", before=NO_QT).stdout)
    pins = told["pins"]
    assert pins["blocks"] >= pins["free"] + pins["pinned"]
    assert pins["free"] > 0
    assert {"who", "frames", "blocks", "alone"} == set(pins["pinned_by"][0])
    assert sum(told["page_frames"].values()) == max(z["start_pfn"] + z["spanned"] for z in told["zones"])
    assert told["zones"][-1]["managed"] <= told["zones"][-1]["present"]
    text = run("report", "--live", "--watch", "0").stdout
    assert "Who pins pageblocks" in text
    assert "of 2 MiB would be free." in text


@root
def test_without_rights_the_rest_is_shown_and_the_remedy_named() -> None:
    # what a user without rights may not even read here is read before
    modules = "memviz.cli.main, memviz.cli.report, memviz.sources.linux_report, memviz.analysis.live_report"
    become_nobody = f"import os, json, {modules}\nos.setgid({NOBODY}); os.setuid({NOBODY})"
    told = json.loads(run("report", "--live", "--json", before=become_nobody).stdout)
    assert set(told["missing"]) >= {"page flags", "slab caches"}
    assert told["missing"]["page flags"].startswith(
        "/proc/kpageflags: Permission denied (errno 13); run memviz with sudo"
    )
    assert told["page_frames"] == {}
    assert any(sum(zone["nr_free"]) for zone in told["zones"])
    assert "What can't be seen" in run("report", "--live", before=become_nobody).stdout


@root
def test_a_recording_is_made_without_qt_and_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "box.memviz"
    done = run("record", "--live", "-o", str(path), "--for", "1.5s", "--json", before=NO_QT)
    told = json.loads(done.stdout)
    assert told["instants"] >= 2
    assert told["failure"] == ""
    assert [one.name for one in tmp_path.iterdir()] == ["box.memviz"]
    with sqlite3.connect(path) as database:
        assert database.execute("SELECT count(*) FROM snapshot").fetchone()[0] == told["instants"]
    again = run("record", "--live", "-o", str(path), "--for", "1s", expect=2)
    assert len(again.stderr.strip().splitlines()) == 1
    assert str(path) in again.stderr


@root
def test_a_recording_that_is_stopped_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "box.memviz"
    process = subprocess.Popen(
        [sys.executable, "-m", "memviz.cli.main", "record", "--live", "-o", str(path), "--for", "1h"],
        stdout=subprocess.PIPE,
        text=True,
    )
    end = time.monotonic() + 60
    while not path.exists() and time.monotonic() < end and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "Recorded" in out
    assert not Path(f"{path}-wal").exists()


def test_usage_is_told_in_one_line() -> None:
    assert "--live is this machine" in run("report", expect=2).stderr
    assert "--live is this machine" in run("record", expect=2).stderr
    assert "is no time: write 60s, 5m, 2h or 1d" in run("record", "--live", "--for", "soon", expect=2).stderr
    for command in ("report", "record", "import"):
        assert "Example:" in run(command, "--help").stdout
