"""The house rules that a tool can check: layers, sizes, one version, one lock, no ties to anybody's machine."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from xml.etree import ElementTree

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import memviz

LONGEST_FILE = 450
LONGEST_TEST = 600  # a list of cases is read one case at a time
LONGEST_OF = {"memviz/live_helper.py": 500}  # installed with rights, or sent over ssh: one file it must be


@pytest.fixture(scope="module")
def tracked(checkout: Path) -> list[Path]:
    """Every file under version control that exists."""
    if not (checkout / ".git").exists():
        pytest.skip("not a git checkout, so there's no list of the project's files")
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=checkout, capture_output=True, text=True, check=True).stdout
    return [path for name in listing.split("\0") if name and (path := checkout / name).is_file()]


@pytest.fixture(scope="module")
def project(checkout: Path) -> dict[str, object]:
    """The [project] table."""
    table = tomllib.loads((checkout / "pyproject.toml").read_text())["project"]
    assert isinstance(table, dict)
    return table


def text_of(path: Path) -> str | None:
    """The file's text, None for a binary file."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return None


# -- layers ---------------------------------------------------------------------------------------------------------


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


def test_imports_point_one_way(checkout: Path) -> None:
    outcome = lint_imports(checkout)
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr


@pytest.mark.parametrize(
    ("module", "statement", "broken"),
    [
        ("kernel/page.py", "import memviz.snapshot", "Imports point one way"),
        ("kernel/page.py", "import numpy", "The kernel knows no toolkit"),
        ("workload/__init__.py", "import memviz.sources", "Imports point one way"),
        ("sources/__init__.py", "import PySide6.QtCore", "Nothing below the window needs Qt"),
        ("cli/__init__.py", "import PySide6.QtCore", "A command reaches Qt only through the window"),
    ],
)
def test_the_contract_catches(checkout: Path, tmp_path: Path, module: str, statement: str, broken: str) -> None:
    shutil.copytree(checkout / "memviz", tmp_path / "memviz", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(checkout / "pyproject.toml", tmp_path)
    with (tmp_path / "memviz" / module).open("a") as file:
        file.write(f"\n{statement}\n")
    outcome = lint_imports(tmp_path)
    assert outcome.returncode == 1, outcome.stdout + outcome.stderr
    assert re.search(rf"{broken}.* BROKEN", outcome.stdout), outcome.stdout


def test_only_the_window_loads_qt(checkout: Path) -> None:
    """A machine behind ssh has no Qt libraries: everything but the window must start there."""
    modules = sorted(
        ".".join(path.relative_to(checkout).with_suffix("").parts).removesuffix(".__init__")
        for path in (checkout / "memviz").rglob("*.py")
        if path.relative_to(checkout).parts[1] != "gui" and path.name != "__main__.py"
    )
    program = "import importlib, sys\nfor name in sys.argv[1:]: importlib.import_module(name)\n"
    program += "print(*[name for name in sys.modules if name.split('.')[0] in ('PySide6', 'shiboken6', 'pyqtgraph')])"
    outcome = subprocess.run([sys.executable, "-c", program, *modules], capture_output=True, text=True, cwd=checkout)
    assert (outcome.stdout.strip(), outcome.stderr) == ("", "")


# -- sizes ----------------------------------------------------------------------------------------------------------


def test_no_file_outgrows_a_reader(tracked: list[Path], checkout: Path) -> None:
    lengths = {
        str(path.relative_to(checkout)): len(path.read_text().splitlines()) for path in tracked if path.suffix == ".py"
    }
    too_long = {
        name: length
        for name, length in lengths.items()
        if length > LONGEST_OF.get(name, LONGEST_TEST if name.startswith("tests/") else LONGEST_FILE)
    }
    assert too_long == {}


# -- one version ----------------------------------------------------------------------------------------------------


def test_the_version_is_written_in_one_place(tracked: list[Path], checkout: Path) -> None:
    assignment = re.compile(rf"""version(?:__)?["']?\s*[=:]\s*["']{re.escape(memviz.__version__)}["']""", re.IGNORECASE)
    holders = {
        str(path.relative_to(checkout))
        for path in tracked
        if path.suffix in (".py", ".toml", ".cfg", ".sh", ".json") and assignment.search(text_of(path) or "")
    }
    assert holders == {"memviz/__init__.py"}


def test_the_newest_release_told_to_the_desktop_is_this_version(checkout: Path) -> None:
    metainfo = ElementTree.parse(checkout / "packaging" / f"{memviz.APP_ID}.metainfo.xml")
    releases = metainfo.findall("releases/release")
    assert releases[0].get("version") == memviz.__version__
    dates = [release.get("date") or "" for release in releases]
    assert dates == sorted(dates, reverse=True)


def test_the_changelog_begins_with_this_version(checkout: Path) -> None:
    headings = re.findall(r"^## (?:\[)?([\w.]+)", (checkout / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert next(heading for heading in headings if heading != "Unreleased") == memviz.__version__


# -- one lock -------------------------------------------------------------------------------------------------------


def requirements(project: dict[str, object]) -> list[Requirement]:
    dependencies, extras = project["dependencies"], project["optional-dependencies"]
    assert isinstance(dependencies, list)
    assert isinstance(extras, dict)
    return [Requirement(line) for line in [*dependencies, *extras["dev"]]]


def pins(lock: Path) -> dict[str, str]:
    return {
        canonicalize_name(name): version for name, version in re.findall(r"^([\w.-]+)==(\S+)", lock.read_text(), re.M)
    }


def test_every_dependency_is_bounded_above(project: dict[str, object]) -> None:
    unbounded = [
        str(requirement)
        for requirement in requirements(project)
        if not any(specifier.operator in ("<", "<=", "==", "~=") for specifier in requirement.specifier)
    ]
    assert unbounded == []


def test_the_lock_is_what_pyproject_asks_for(project: dict[str, object], checkout: Path) -> None:
    locked = pins(checkout / "requirements-dev.lock")
    wrong = [
        f"{requirement} but locked {locked.get(canonicalize_name(requirement.name))}"
        for requirement in requirements(project)
        if not requirement.specifier.contains(locked.get(canonicalize_name(requirement.name), "0"))
    ]
    assert wrong == [], "run: make lock"


def test_a_tested_build_has_the_versions_that_users_get(checkout: Path) -> None:
    run, dev = pins(checkout / "requirements.lock"), pins(checkout / "requirements-dev.lock")
    assert run.items() <= dev.items()


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-dev.lock"])
def test_every_pin_has_hashes_and_no_origin(checkout: Path, name: str) -> None:
    text = (checkout / name).read_text()
    entries = re.split(r"^(?=[\w.-]+==)", text, flags=re.MULTILINE)[1:]
    assert entries
    assert [entry.splitlines()[0] for entry in entries if "--hash=sha256:" not in entry] == []
    assert re.findall(r"://|--index-url|--find-links|--trusted-host", text) == []


def test_qt_stays_below_the_release_that_kills_python_3_11(checkout: Path) -> None:
    """6.12 loses references to None on Python < 3.12: the process dies after some thousand calls."""
    major, minor = pins(checkout / "requirements.lock")["pyside6-essentials"].split(".")[:2]
    assert (int(major), int(minor)) < (6, 12)


# -- nobody's machine -----------------------------------------------------------------------------------------------


def test_nothing_names_a_path_of_somebodys_machine(tracked: list[Path], checkout: Path) -> None:
    foreign = re.compile(r"(?<![\w.])/(?:work|root|home/\w+|Users)/|\.\./shared\b")
    hits = []
    for path in tracked:
        if path != Path(__file__) and "tests/data" not in str(path):
            hits += [f"{path.relative_to(checkout)}: {hit}" for hit in foreign.findall(text_of(path) or "")]
    assert hits == []


def test_markdown_links_lead_somewhere(tracked: list[Path], checkout: Path) -> None:
    broken = []
    for path in tracked:
        if path.suffix == ".md":
            for target in re.findall(r"\]\(([^)#\s]+)", path.read_text()):
                if "://" not in target and not (path.parent / target).exists():
                    broken.append(f"{path.relative_to(checkout)}: {target}")
    assert broken == []
