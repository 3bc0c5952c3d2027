"""Another machine over ssh: a command that stands in for ssh runs what is sent in a shell of this machine."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from memviz import live_helper
from memviz.sources.linux import LinuxSource
from memviz.sources.linux_access import LiveError
from memviz.sources.linux_remote import connect_to

HERE = 'exec sh -c "$1"'
root = pytest.mark.skipif(
    os.geteuid() != 0 or not os.access(live_helper.KPAGEFLAGS, os.R_OK), reason="needs root and /proc/kpageflags"
)


@pytest.fixture
def there(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Whatever host: its shell is one of this machine."""
    monkeypatch.setenv("MEMVIZ_SSH", shlex.join(["sh", "-c", HERE]))
    return monkeypatch


def test_the_helper_is_sent_and_answers(there: pytest.MonkeyPatch) -> None:
    access = connect_to("box")
    try:
        assert "nr_free_pages" in access.text("vmstat")
        with pytest.raises(LiveError, match="memviz reads no such file"):
            access.text("passwd")
        with pytest.raises(LiveError, match="start memviz with --actions"):
            access.act("compact")
        assert not access.trace_ready(), "not asked over a long way"
    finally:
        access.close()


@root
def test_page_flags_come_packed_and_are_the_same(there: pytest.MonkeyPatch) -> None:
    access = connect_to("box")
    try:
        words = np.zeros(1 << 10, np.uint64)
        assert access.page_flags_into(0, words) == 1 << 10
        assert words.tobytes() == live_helper.Kernel().page_words(0, 1 << 10)
    finally:
        access.close()


def test_the_machine_is_called_by_its_name(there: pytest.MonkeyPatch) -> None:
    one = LinuxSource(host="somebody@box", tracing=False)
    try:
        assert one.title == "somebody@box"
        assert one.zones
    finally:
        one.close()


@pytest.mark.parametrize(
    ("script", "sentence"),
    [
        ("echo ssh: no such host >&2; exit 255", "box cannot be reached: ssh: no such host; try ssh box in a terminal"),
        ("echo sh: python3: not found >&2; exit 127", "box has no python3: sh: python3: not found; install it there"),
        ("echo sudo: a password is required >&2; exit 1", "sudo on box gave no rights: .*use root@HOST"),
        ("echo Welcome to box.; cat >/dev/null", "box says 'Welcome to box.' before anything else"),
        ("exit 3", r"the helper on box has ended \(exit code 3\)"),
    ],
)
def test_what_can_go_wrong_is_one_sentence(there: pytest.MonkeyPatch, script: str, sentence: str) -> None:
    there.setenv("MEMVIZ_SSH", shlex.join(["sh", "-c", script]))
    with pytest.raises(LiveError, match=sentence):
        connect_to("box", "sudo" if "sudo" in script else "auto")


@pytest.mark.parametrize("host", ["", "-oProxyCommand=x", "a b"])
def test_what_is_no_host_never_reaches_ssh(host: str) -> None:
    with pytest.raises(LiveError, match="is no host"):
        connect_to(host)


@pytest.mark.skipif(shutil.which("ssh") is None, reason="ssh is not installed")
def test_a_host_that_nobody_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MEMVIZ_SSH", raising=False)
    with pytest.raises(LiveError, match=r"no-such-host\.invalid cannot be reached: .*no-such-host\.invalid"):
        connect_to("no-such-host.invalid")


def test_a_report_and_a_recording_of_another_machine(there: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "memviz.cli.main", *arguments], capture_output=True, text=True, check=False
        )

    done = run("report", "--live", "--host", "box", "--watch", "0")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{os.uname().nodename}, Linux {os.uname().release}")
    done = run("record", "--live", "--host", "box", "-o", str(tmp_path / "box.memviz"), "--for", "1s")
    assert done.returncode == 0, done.stderr
    assert "Recorded" in done.stdout
    there.setenv("MEMVIZ_SSH", shlex.join(["sh", "-c", "exit 255"]))
    done = run("report", "--live", "--host", "box")
    assert done.returncode == 2
    assert "box cannot be reached" in done.stderr
    assert "Traceback" not in done.stderr
