"""Whether there is a display: found out before Qt is asked, which would end the process with lines about plugins."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from memviz.cli import display
from memviz.cli.main import main
from tests.recording.test_migrations import FILES

X11_PORT = 6000


@pytest.fixture(autouse=True)
def nothing_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM", "XDG_RUNTIME_DIR"):
        monkeypatch.delenv(name, raising=False)


def test_no_display_is_named() -> None:
    assert not display.reachable()


def test_qt_draws_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QT_QPA_PLATFORM", "offscreen")
    assert display.reachable()
    monkeypatch.setenv("QT_QPA_PLATFORM", "xcb")
    assert not display.reachable()


def test_a_display_over_the_net_is_there_while_somebody_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        number = server.getsockname()[1] - X11_PORT
        monkeypatch.setenv("DISPLAY", f"127.0.0.1:{number}.0")
        assert display.reachable()
    assert not display.reachable()


def test_a_display_of_wayland_is_a_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("WAYLAND_DISPLAY", "wayland-7")
    assert not display.reachable()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "wayland-7"))
        server.listen()
        assert display.reachable()


def test_a_display_that_is_gone_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An old DISPLAY in a terminal: five lines of Qt, and an abort."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        number = server.getsockname()[1] - X11_PORT
    monkeypatch.setenv("DISPLAY", f"127.0.0.1:{number}")
    with pytest.raises(SystemExit) as end:
        main(["play", str(FILES / "format-2.memviz")])
    assert end.value.code == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "there is no display here" in err
