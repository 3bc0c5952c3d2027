"""packaging/setup.sh on machines that lack something: it says in one line what to do, and starts nothing by halves."""

from __future__ import annotations

import os
import re
import runpy
import subprocess
from pathlib import Path

import PySide6
import pytest


@pytest.fixture
def bare(checkout: Path, tmp_path: Path) -> Path:
    """A checkout without an environment, and a folder of commands in front of the machine's own."""
    scripts = ("packaging/setup.sh", "packaging/missing_packages.py")
    for name in (*scripts, "pyproject.toml", "requirements.lock", "requirements-dev.lock", "memviz/__init__.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes((checkout / name).read_bytes())
    (tmp_path / "packaging/setup.sh").chmod(0o755)
    (tmp_path / "commands").mkdir()
    command(tmp_path, "sudo", "exit 1")
    command(tmp_path, "id", "echo 1000")
    command(tmp_path, "apt-get", "echo apt-get called >&2; exit 1")
    return tmp_path


def command(folder: Path, name: str, script: str) -> None:
    """Puts a command of our own in front of the machine's."""
    path = folder / "commands" / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def setup(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    variables = {**os.environ, "PATH": f"{folder / 'commands'}:{os.environ['PATH']}", **environment}
    run = [str(folder / "packaging/setup.sh"), *arguments]
    return subprocess.run(run, env=variables, capture_output=True, text=True, stdin=subprocess.DEVNULL)


def test_an_unknown_mode_is_a_usage_error(bare: Path) -> None:
    outcome = setup(bare, "everything")
    assert (outcome.returncode, outcome.stderr) == (2, "usage: packaging/setup.sh run|test\n")


def test_a_python_that_cannot_make_environments_is_told_in_one_line(bare: Path) -> None:
    """Debian's python3 comes without ensurepip; a user who may not install is told the package of that very version."""
    for name in ("python3.11", "python3"):
        command(bare, name, 'case "$2" in *ensurepip*) exit 1;; *version_info\\[*) echo python3.11-venv;; esac')
    outcome = setup(bare, "run")
    assert outcome.returncode == 1
    assert outcome.stderr == (
        "memviz setup: making .venv needs system packages; please run: sudo apt-get install python3.11-venv\n"
    )
    assert not (bare / ".venv").exists()


def test_without_any_python_it_says_which(bare: Path) -> None:
    for name in ("python3", "python3.11", "python3.12", "python3.13"):
        command(bare, name, "exit 1")
    outcome = setup(bare, "run")
    assert outcome.returncode == 1
    assert outcome.stderr.count("\n") == 1
    assert "Python 3.11 or newer" in outcome.stderr


def test_an_environment_of_another_folder_is_not_used(bare: Path, checkout: Path) -> None:
    """A copied checkout brings an environment whose commands point at the original."""
    (bare / ".venv/bin").mkdir(parents=True)
    (bare / ".venv/bin/python").symlink_to("/bin/true")
    (bare / ".venv/bin/activate").write_text(f'VIRTUAL_ENV="{checkout}/.venv"\n')
    outcome = setup(bare, "run")
    assert outcome.returncode == 1
    assert outcome.stderr.startswith(f"memviz setup: {bare}/.venv was made for another folder")


def test_only_what_changed_is_installed_again(bare: Path) -> None:
    """A second call asks pip for nothing; a changed lock, or the development tools on top, ask again."""
    (bare / ".venv/bin").mkdir(parents=True)
    (bare / ".venv/bin/activate").write_text(f'VIRTUAL_ENV="{bare}/.venv"\n')
    python = bare / ".venv/bin/python"
    python.write_text('#!/bin/sh\n[ "$1" != -m ] || echo "$@" >>pip.log\n')
    python.chmod(0o755)

    def installs(mode: str) -> list[str]:
        (bare / "pip.log").write_text("")
        outcome = setup(bare, mode)
        assert outcome.returncode == 0, outcome.stderr
        return re.findall(r"(?<=-r )\S+|-e \.", (bare / "pip.log").read_text())

    assert installs("run") == ["requirements.lock", "-e ."]
    assert installs("run") == []
    assert installs("test") == ["requirements-dev.lock", "-e ."]
    assert installs("run") == []
    (bare / "requirements.lock").write_text("click==8.2.0\n")
    assert installs("run") == ["requirements.lock", "-e ."]


def test_a_library_that_cannot_be_loaded_is_asked_for_by_package(checkout: Path) -> None:
    module = runpy.run_path(str(checkout / "packaging/missing_packages.py"))
    wanted = {"libc.so.6": "libc6", "libnobodyhasthis.so.9": "libnobodyhasthis9"}
    assert module["missing_libraries"](wanted) == ["libnobodyhasthis9"]


def test_every_library_qt_links_against_is_known(checkout: Path) -> None:
    """A new PySide6 that links against one more library is caught here, not on a user's machine."""
    module = runpy.run_path(str(checkout / "packaging/missing_packages.py"))
    qt = Path(str(PySide6.__file__)).parent / "Qt"
    names = ("Core", "Gui", "Widgets", "Svg", "OpenGL", "OpenGLWidgets", "Test", "DBus", "XcbQpa")
    objects = [qt / "lib" / f"libQt6{name}.so.6" for name in names] + [qt / "plugins/platforms/libqxcb.so"]
    linked = {soname for path in objects for soname in sonames(path) if not (qt / "lib" / soname).exists()}
    always_there = r"ld-linux.*|lib(c|m|dl|pthread|rt|gcc_s|stdc\+\+|z|zstd|xcb|gthread-2\.0)\.so\.\d+"
    unknown = {soname for soname in linked if not re.fullmatch(always_there, soname)} - module["QT_LIBRARIES"].keys()
    assert len(linked) > 20
    assert unknown == set()


def sonames(path: Path) -> list[str]:
    """Names like libEGL.so.1 that the dynamic section's string table holds."""
    return [name.decode() for name in re.findall(rb"\0(lib[\w+.-]+\.so\.\d+)(?=\0)", path.read_bytes())]
