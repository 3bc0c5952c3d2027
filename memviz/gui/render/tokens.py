"""Colour tokens: what ``resources/themes/*.toml`` says, checked and ready for palettes. No Qt."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import numpy as np

from memviz import resources
from memviz.kernel.page import MIGRATETYPE_NAMES, OWNER_NAMES
from memviz.snapshot import CPU_STATE_NAMES, NODE_STATE_NAMES, OBJ_STATE_NAMES, SLAB_STATE_NAMES, U32

THEMES: Final = ("dark", "light")

STATES: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "owner": OWNER_NAMES,
        "migratetype": (*MIGRATETYPE_NAMES, "unknown"),
        "object": OBJ_STATE_NAMES,
        "slab": SLAB_STATE_NAMES,
        "node": NODE_STATE_NAMES,
        "cpu": CPU_STATE_NAMES,
    }
)
"""Groups whose keys are the names of codes: position in the tuple is the code."""

_HEX = re.compile(r"#[0-9a-f]{6}")


class ThemeError(Exception):
    """A theme file can't be used; the message is one sentence for the user."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """The colours of one theme, by ``"group.key"`` such as ``"ui.panel"`` or ``"owner.free"``."""

    name: str
    dark: bool
    colors: Mapping[str, int]
    """0xRRGGBB."""

    def rgb(self, key: str) -> int:
        """The colour ``key`` as 0xRRGGBB. Raises KeyError for a key that no theme has."""
        return self.colors[key]

    def hex(self, key: str) -> str:
        """The colour ``key`` as ``"#rrggbb"``."""
        return f"#{self.colors[key]:06x}"

    def palette(self, group: str) -> U32:
        """Colours of a group of ``STATES`` by code: shape (codes,), 0xFFRRGGBB as QImage.Format_RGB32 wants them."""
        return self.palette_of(group, STATES[group])

    def palette_of(self, group: str, keys: Sequence[str]) -> U32:
        """Colours of ``keys`` of a group, in this order: shape (len(keys),), 0xFFRRGGBB."""
        return np.array([0xFF000000 | self.colors[f"{group}.{key}"] for key in keys], np.uint32)


def parse(name: str, text: str) -> Tokens:
    """Read a theme file. Raises ThemeError naming the first thing that is wrong in it."""
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ThemeError(f"theme {name!r} is not valid TOML: {error}") from None
    dark = data.pop("dark", None)
    if not isinstance(dark, bool):
        raise ThemeError(f"theme {name!r} does not say whether it is dark: add dark = true or false at its top")
    colors: dict[str, int] = {}
    for group, entries in data.items():
        for key, value in entries.items():
            if not isinstance(value, str) or not _HEX.fullmatch(value):
                raise ThemeError(f'theme {name!r}: {group}.{key} is {value!r}, a colour is written "#rrggbb"')
            colors[f"{group}.{key}"] = int(value[1:], 16)
    for group, names in STATES.items():
        for key in names:
            if f"{group}.{key}" not in colors:
                raise ThemeError(f"theme {name!r} has no colour for {group} {key!r}")
    return Tokens(name, dark, MappingProxyType(colors))


def load(name: str) -> Tokens:
    """The theme ``name`` of ``THEMES``."""
    return parse(name, resources.read_text(f"themes/{name}.toml"))
