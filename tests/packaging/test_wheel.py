"""The wheel, installed alone into an empty environment: it starts, and finds what it brings along."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

import memviz

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel built from this checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(checkout)]
    outcome = subprocess.run(build, capture_output=True, text=True)
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment that holds the wheel, and the dependencies that are already on this machine; nothing else.

    A path file brings the dependencies in: unlike a site folder, path files in it are not read, so that the
    checkout, installed there as editable, stays out.
    """
    environment = tmp_path_factory.mktemp("installed")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(environment)], check=True)
    python = str(environment / "bin" / "python")
    install = [sys.executable, "-m", "pip", "--python", python, "install", "-q", "--no-index", "--no-deps", str(wheel)]
    subprocess.run(install, check=True, capture_output=True)
    site = next((environment / "lib").glob("python3*/site-packages"))
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return environment


def run(environment: Path, command: str, *arguments: str) -> str:
    """What a command of the environment prints, started far from the checkout."""
    variables = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    outcome = subprocess.run(
        [str(environment / "bin" / command), *arguments],
        cwd=environment,
        env=variables,
        capture_output=True,
        text=True,
    )
    assert (outcome.returncode, outcome.stderr) == (0, "")
    return outcome.stdout.strip()


def test_it_holds_the_package_and_every_resource(wheel: Path, checkout: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        packed = {name.removeprefix("memviz/") for name in archive.namelist() if name.startswith("memviz/")}
    sources = {str(path.relative_to(checkout / "memviz")) for path in (checkout / "memviz").rglob("*.py")}
    brought = {str(path.relative_to(checkout)) for path in (checkout / "resources").rglob("*") if path.is_file()}
    assert sources | brought <= packed
    assert not [name for name in packed if name.startswith("tests/")]


def test_it_tells_the_desktop(installed: Path) -> None:
    share = installed / "share"
    for name in (
        f"applications/{memviz.APP_ID}.desktop",
        f"metainfo/{memviz.APP_ID}.metainfo.xml",
        f"mime/packages/{memviz.APP_ID}.xml",
        f"icons/hicolor/scalable/apps/{memviz.APP_ID}.svg",
        f"icons/hicolor/48x48/apps/{memviz.APP_ID}.png",
    ):
        assert (share / name).is_file(), name


def test_it_runs_itself_and_not_the_checkout(installed: Path) -> None:
    program = "import memviz, memviz.resources as r; print(memviz.__file__); print(r.root())"
    site = next((installed / "lib").glob("python3*/site-packages"))
    assert run(installed, "python", "-c", program).splitlines() == [
        str(site / "memviz" / "__init__.py"),
        str(site / "memviz" / "resources"),
    ]


def test_its_metadata_say_the_version(installed: Path) -> None:
    program = "from importlib.metadata import version; print(version('memviz'))"
    assert run(installed, "python", "-c", program) == memviz.__version__


@pytest.mark.parametrize("command", ["memviz", "memviz-cli"])
def test_both_commands_start(installed: Path, command: str) -> None:
    assert memviz.__version__ in run(installed, command, "--version")


def test_it_runs_a_scenario_that_it_brings_along(installed: Path) -> None:
    report = run(installed, "memviz", "run", "aged-file-server", "--seed", "7", "--ops", "200", "--report", "json")
    assert '"digest"' in report


def test_it_opens_the_window(installed: Path) -> None:
    picture = installed / "window.png"
    run(installed, "memviz", "aged-file-server", "--seed", "7", "--screenshot", str(picture), "--after", "1")
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert picture.stat().st_size > 20_000
