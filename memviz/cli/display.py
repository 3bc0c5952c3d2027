"""Whether a window can be shown: asked before Qt is, which ends the process where there is no display."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Final

_PATIENCE_S: Final = 3.0
_X11_PORT: Final = 6000


def reachable() -> bool:
    """Somebody answers at the display that the environment names; or Qt was told to draw elsewhere."""
    platform = os.environ.get("QT_QPA_PLATFORM", "").partition(":")[0]
    if platform and platform not in ("xcb", "wayland"):
        return True
    x11, wayland = os.environ.get("DISPLAY", ""), os.environ.get("WAYLAND_DISPLAY", "")
    return bool(wayland and _wayland(wayland)) or bool(x11 and _x11(x11))


def _wayland(name: str) -> bool:
    return _answers(str(Path(os.environ.get("XDG_RUNTIME_DIR", "/nonexistent")) / name))


def _x11(display: str) -> bool:
    host, _, rest = display.rpartition(":")
    number = rest.partition(".")[0]
    if not number.isdecimal():
        return True  # a way of writing it that is not known here: Qt shall see
    if host not in ("", "unix"):
        return _answers((host.strip("[]"), _X11_PORT + int(number)))
    path = f"/tmp/.X11-unix/X{number}"
    return _answers(f"\0{path}") or _answers(path)


def _answers(address: str | tuple[str, int]) -> bool:
    """Something listens at a path, or at a host and port."""
    try:
        if isinstance(address, tuple):
            with socket.create_connection(address, _PATIENCE_S):
                return True
        with socket.socket(socket.AF_UNIX) as stream:
            stream.settimeout(_PATIENCE_S)
            stream.connect(address)
            return True
    except (OSError, OverflowError):
        return False
