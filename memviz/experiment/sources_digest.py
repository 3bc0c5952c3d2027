"""A fingerprint of the code that a run follows from: the kernel, its users, the scenario loader and the measuring."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import memviz

_PARTS: Final = (
    "kernel",
    "workload",
    "scenario.py",
    "sources/play.py",
    "experiment/measure.py",
    "experiment/look.py",
    "experiment/demand.py",
    "experiment/price.py",
)


def sources_digest() -> str:
    """32 hexadecimal digits: equal for equal sources, compiled or not."""
    state = hashlib.blake2b(digest_size=16)
    for name, data in _files():
        state.update(f"{name}\0".encode())
        state.update(data)
    return state.hexdigest()


def source_files() -> dict[str, str]:
    """The files that the digest is of, by path below the package, with 16 hexadecimal digits each."""
    return {name: hashlib.blake2b(data, digest_size=8).hexdigest() for name, data in _files()}


def changed_files(before: dict[str, str]) -> list[str]:
    """What differs from ``source_files`` of another time: changed, gone or new files, sorted."""
    now = source_files()
    return sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name))


def _files() -> Iterator[tuple[str, bytes]]:
    package = Path(memviz.__file__).parent
    for part in _PARTS:
        root = package / part
        for path in sorted(root.glob("*.py")) if root.is_dir() else [root]:
            yield path.relative_to(package).as_posix(), path.read_bytes().replace(b"\r\n", b"\n")
