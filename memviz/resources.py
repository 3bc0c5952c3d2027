"""Files that memviz brings along: scenarios, themes, icons, help pages.

In a checkout they lie in ``resources/`` beside the package; a wheel holds the same tree as ``memviz/resources``.
Code asks here by the path below that folder, with slashes, and never needs to know which of the two it runs from.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path


class ResourceError(Exception):
    """A file that memviz brings along is not there; the message is one sentence for the user."""


def root() -> Path:
    """The folder that holds all resources.

    Raises ResourceError when neither an installed package nor a checkout is around this file.
    """
    package = Path(str(files("memviz")))
    for folder in (package / "resources", package.parent / "resources"):
        if folder.is_dir():
            return folder
    raise ResourceError(f"memviz is installed without its resources ({package / 'resources'}): please install it again")


def path(name: str) -> Path:
    """Where ``name`` is, such as ``"scenarios/aged-file-server.toml"``: a file or a folder that exists.

    Raises ResourceError when there is none.
    """
    found = root() / name
    if not found.exists():
        raise ResourceError(f"memviz brings no {name!r} along (looked in {root()})")
    return found


def read_text(name: str) -> str:
    """The text of a resource, UTF-8. Raises ResourceError when there is none."""
    return path(name).read_text(encoding="utf-8")


def names(folder: str, suffix: str) -> list[str]:
    """Stems of the files in ``folder`` that end in ``suffix``, sorted: ``names("scenarios", ".toml")``."""
    return sorted(found.stem for found in path(folder).iterdir() if found.name.endswith(suffix))
