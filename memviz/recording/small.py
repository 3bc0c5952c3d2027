"""The small parts of a Snapshot (all that is no array) as MessagePack, with field names.

Fields are taken from ``Snapshot`` itself: one that is added there is recorded without anything being done here, and
an older recording that lacks it gives its default.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Final, get_type_hints

import msgspec

from memviz import snapshot
from memviz.snapshot import Snapshot

ARRAYS: Final = frozenset({"pages", "pageblock_mt", "slabs", "objects", "nodes", "lanes", "events"})
"""Fields that have a place of their own in a recording."""
NOT_RECORDED: Final = frozenset({"recording", "playback", "past", "past_events", "past_figures", "past_requests"})
"""Fields about a recording, not about what was recorded."""
_ROW: Final = frozenset({"seq", "time_ns", "ops"})
"""Fields that are columns of the row; here they would only make rows differ."""


def _make_types() -> tuple[type[msgspec.Struct], type[msgspec.Struct]]:
    """For all of the small parts, and for some of them."""
    hints = get_type_hints(Snapshot, vars(snapshot))
    fields: list[Any] = []
    some: list[Any] = []
    for one in dataclasses.fields(Snapshot):
        if one.name in ARRAYS | NOT_RECORDED:
            continue
        some.append((one.name, hints[one.name] | msgspec.UnsetType, msgspec.UNSET))
        if one.name in _ROW:
            continue
        if one.default is dataclasses.MISSING:
            fields.append((one.name, hints[one.name]))
        else:
            fields.append((one.name, hints[one.name], one.default))
    return msgspec.defstruct("Small", sorted(fields, key=len)), msgspec.defstruct("Some", some)


SMALL, _SOME = _make_types()
SOME_NAMES: Final = tuple(_SOME.__struct_fields__)
"""Every field that is no array, those of the row too."""
_NAMES: Final = tuple(SMALL.__struct_fields__)
_ENCODER: Final = msgspec.msgpack.Encoder()
_DECODER: Final = msgspec.msgpack.Decoder(SMALL)
_SOME_DECODER: Final = msgspec.msgpack.Decoder(_SOME)


def pack_small(of: Snapshot) -> bytes:
    """The small parts of a Snapshot."""
    return _ENCODER.encode({name: getattr(of, name) for name in _NAMES})


def unpack_small(data: bytes) -> dict[str, Any]:
    """Fields for a Snapshot. Raises ValueError for what is none."""
    try:
        found = _DECODER.decode(data)
    except msgspec.DecodeError as error:
        raise ValueError(str(error)) from error
    return {name: getattr(found, name) for name in _NAMES}


def pack_some(fields: Mapping[str, object]) -> bytes:
    """Some of the fields ``SOME_NAMES``."""
    return _ENCODER.encode(fields)


def unpack_some(data: bytes) -> dict[str, Any]:
    """What ``pack_some`` packed."""
    found = _SOME_DECODER.decode(data)
    return {name: value for name in SOME_NAMES if (value := getattr(found, name)) is not msgspec.UNSET}
