"""Results by content: the name of a file is the hash of everything that the result follows from.

So nothing is computed twice, an experiment that was killed goes on where it was, experiments share what they have in
common, and changed code or a changed scenario can never show old figures.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

import msgspec

from memviz.experiment.measure import Outcome
from memviz.experiment.spec import Cell

_FORMAT = b"memviz experiment cell 1\0"


class Cost(msgspec.Struct, frozen=True):
    """What computing a cell took on the machine that did; not part of the result."""

    seconds: float
    peak_mib: int


class Kept(msgspec.Struct, frozen=True):
    """A cell as it lies on disk."""

    cell: Cell
    outcome: Outcome
    cost: Cost


def key(cell: Cell) -> str:
    """The cell's name: 40 hexadecimal digits."""
    return hashlib.blake2b(_FORMAT + msgspec.json.encode(cell, order="sorted"), digest_size=20).hexdigest()


def default_folder() -> Path:
    """Where results are kept when nobody says otherwise."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "memviz" / "experiment"


class Store:
    """A folder of results. Many processes may use it at once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path(self, cell: Cell) -> Path:
        """Where the result of ``cell`` lies, or would."""
        name = key(cell)
        return self._folder / name[:2] / f"{name}.json"

    def get(self, cell: Cell) -> Kept | None:
        """The result, None when there is none or the file is damaged: then it is computed again."""
        try:
            kept = msgspec.json.decode(self.path(cell).read_bytes(), type=Kept)
        except (OSError, msgspec.DecodeError):
            return None
        return kept if kept.cell == cell else None

    def put(self, kept: Kept) -> None:
        """Keep a result: there whole, or not there at all, whatever kills us."""
        path = self.path(kept.cell)
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".part", delete=False) as file:
            file.write(msgspec.json.encode(kept))
        os.replace(file.name, path)
