"""Starting a process of memviz's own: the same memviz that we are, and nothing of ours but what it is handed."""

from __future__ import annotations

import os
import site
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path


def start(module: str, fds: Sequence[int], *arguments: int, output: int | None = None) -> subprocess.Popen[bytes]:
    """``python -m module ARGUMENTS FDS`` in a process of its own, which inherits ``fds``.

    ``output``: a descriptor for all that it says; None: what it says on stderr goes where ours goes.
    """
    return subprocess.Popen(
        [sys.executable, "-P", "-m", module, *map(str, (*arguments, *fds))],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL if output is None else output,
        stderr=output,
        pass_fds=fds,
        env=_environment(),
    )


def _environment() -> dict[str, str]:
    """The process must import the memviz that we are, wherever that was imported from."""
    environment = dict(os.environ)
    root = str(Path(__file__).resolve().parents[2])
    if root not in site.getsitepackages():
        paths = [root, environment.get("PYTHONPATH", "")]
        environment["PYTHONPATH"] = os.pathsep.join(path for path in paths if path)
    return environment
