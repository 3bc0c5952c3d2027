"""A fingerprint of the code that a run follows from: the kernel, its users, the scenario loader and the measuring."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final

import memviz

_PARTS: Final = (
    "kernel",
    "workload",
    "scenario.py",
    "sources/play.py",
    "experiment/measure.py",
    "experiment/demand.py",
    "experiment/price.py",
)


def sources_digest() -> str:
    """32 hexadecimal digits: equal for equal sources, compiled or not."""
    package = Path(memviz.__file__).parent
    state = hashlib.blake2b(digest_size=16)
    for part in _PARTS:
        root = package / part
        for path in sorted(root.glob("*.py")) if root.is_dir() else [root]:
            state.update(f"{path.relative_to(package).as_posix()}\0".encode())
            state.update(path.read_bytes().replace(b"\r\n", b"\n"))
    return state.hexdigest()
