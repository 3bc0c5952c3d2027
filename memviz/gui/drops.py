"""What is dropped onto the window: which of the files is opened, and what is said about the others."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal

from PySide6.QtCore import QMimeData, Qt
from PySide6.QtGui import QDropEvent

from memviz.recording.format import SUFFIX

RESULTS: Final = ".json.xz"
Kind = Literal["recording", "experiment", ""]


def take_copy(event: QDropEvent) -> None:
    """Take what is dropped as a copy. Who proposes to move a file would take it away once it was moved."""
    event.setDropAction(Qt.DropAction.CopyAction)
    event.accept()


def files_of(data: QMimeData) -> list[Path]:
    """The files of this machine among what is dropped."""
    return [Path(url.toLocalFile()) for url in data.urls() if url.isLocalFile()]


def kind_of(path: Path) -> Kind:
    """What a file is, by its name."""
    name = path.name.lower()
    return "recording" if name.endswith(SUFFIX) else "experiment" if name.endswith(RESULTS) else ""


def choose(paths: Sequence[Path]) -> tuple[Path, int]:
    """The first that can be opened, or else the first; and how many others there are."""
    return next((path for path in paths if kind_of(path)), paths[0]), len(paths) - 1


def what_instead(path: Path) -> str:
    """Why a file isn't opened, and what to do."""
    return (
        f"{path.name} is no recording (*{SUFFIX}), and no results of an experiment (*{RESULTS}). "
        "A trace becomes a recording by: memviz import FILE"
    )
