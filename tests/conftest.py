"""What every test runs under: no screen, no person's settings, repeatable property tests."""

from __future__ import annotations

import gc
import importlib
import os
import tempfile
from pathlib import Path

import hypothesis
import pytest

# Before Qt loads: nobody's screen fills with windows.
os.environ["QT_QPA_PLATFORM"] = "offscreen"

# Two busy cores make any deadline a guess. A CI run draws the same examples every time; a person's run keeps looking.
hypothesis.settings.register_profile("person", deadline=None, print_blob=True)
hypothesis.settings.register_profile("ci", deadline=None, print_blob=True, derandomize=True, database=None)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "person")


def pytest_configure(config: pytest.Config) -> None:
    """Gives the run a home of its own: what Qt and memviz write for a user goes there and away with it."""
    home = tempfile.TemporaryDirectory(prefix="memviz-tests-")
    config.add_cleanup(home.cleanup)
    for variable, folder in {
        "XDG_CONFIG_HOME": "config",
        "XDG_DATA_HOME": "data",
        "XDG_STATE_HOME": "state",
        "XDG_CACHE_HOME": "cache",
        "XDG_RUNTIME_DIR": "runtime",
    }.items():
        path = Path(home.name, folder)
        path.mkdir(mode=0o700)
        os.environ[variable] = str(path)


def pytest_report_header() -> str:
    """Says which of the two builds of the kernel the run is about."""
    page = importlib.import_module("memviz.kernel.page")
    build = "interpreted" if str(page.__file__).endswith(".py") else "compiled"
    return f"memviz: {build} kernel, {Path(str(page.__file__)).parent}"


@pytest.fixture(scope="session")
def checkout() -> Path:
    """The folder that holds pyproject.toml."""
    return Path(__file__).resolve().parents[1]


def pytest_runtest_setup(item: pytest.Item) -> None:
    """While tests with windows run, the cyclic collector runs between them only, in this thread.

    In a thread that another test has left, or a recording's, it would destroy widgets there and crash, as it would
    in the window itself (``memviz.gui.app.collected_here``).
    """
    if "gui" in item.path.parts or "packaging" in item.path.parts:
        if gc.isenabled():
            gc.collect()
            gc.disable()
        elif gc.get_count()[0] > 100_000:
            gc.collect()
    elif not gc.isenabled():
        gc.collect()
        gc.enable()
