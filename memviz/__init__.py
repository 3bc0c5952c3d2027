"""memviz: why a kernel cannot find contiguous memory, and what movable objects buy."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from os import PathLike

    from memviz.recording.api import Recording

__version__ = "0.1.0"

APP_ID = "io.github.memviz.memviz"
"""The desktop's name for the program: carried by its desktop, metainfo, mime and polkit files, icons and window."""


def open(path: str | PathLike[str]) -> Recording:
    """A ``.memviz`` recording: its Snapshots as a sequence, its events and counters as numpy arrays.

    Raises ``memviz.recording.format.RecordingError``, one sentence, when it can't be read.
    """
    from pathlib import Path

    from memviz.recording.api import Recording

    return Recording(Path(path))
