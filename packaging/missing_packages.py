"""Prints the Debian packages that this machine lacks for running memviz, or for testing it.

    packaging/missing_packages.py run|test

Qt's wheels bring Qt and leave the system's part to the system: a library is missing when the loader can't load it,
whatever package manager should have brought it. Standard library only: this runs before anything is installed.
"""

import ctypes
import os
import shutil
import sys
import sysconfig
from pathlib import Path

# What the libraries of PySide6-Essentials and its xcb platform plugin link against and its wheel does not contain:
# the packages' names are Debian 12's.
QT_LIBRARIES = {
    "libEGL.so.1": "libegl1",
    "libGL.so.1": "libgl1",
    "libX11-xcb.so.1": "libx11-xcb1",
    "libX11.so.6": "libx11-6",
    "libdbus-1.so.3": "libdbus-1-3",
    "libfontconfig.so.1": "libfontconfig1",
    "libfreetype.so.6": "libfreetype6",
    "libglib-2.0.so.0": "libglib2.0-0",
    "libxcb-cursor.so.0": "libxcb-cursor0",
    "libxcb-icccm.so.4": "libxcb-icccm4",
    "libxcb-image.so.0": "libxcb-image0",
    "libxcb-keysyms.so.1": "libxcb-keysyms1",
    "libxcb-randr.so.0": "libxcb-randr0",
    "libxcb-render-util.so.0": "libxcb-render-util0",
    "libxcb-render.so.0": "libxcb-render0",
    "libxcb-shape.so.0": "libxcb-shape0",
    "libxcb-shm.so.0": "libxcb-shm0",
    "libxcb-sync.so.1": "libxcb-sync1",
    "libxcb-util.so.1": "libxcb-util1",
    "libxcb-xfixes.so.0": "libxcb-xfixes0",
    "libxcb-xkb.so.1": "libxcb-xkb1",
    "libxkbcommon-x11.so.0": "libxkbcommon-x11-0",
    "libxkbcommon.so.0": "libxkbcommon0",
}
WAYLAND_LIBRARIES = {
    "libwayland-client.so.0": "libwayland-client0",
    "libwayland-cursor.so.0": "libwayland-cursor0",
    "libwayland-egl.so.1": "libwayland-egl1",
}
TOOLS = {
    "desktop-file-validate": "desktop-file-utils",
    "appstreamcli": "appstream",
    "update-mime-database": "shared-mime-info",
    "gcc": "gcc",
}


def missing_libraries(wanted: dict[str, str]) -> list[str]:
    """Of ``wanted``, package by library, the packages whose library can't be loaded."""
    packages = []
    for soname, package in wanted.items():
        try:
            ctypes.CDLL(soname)
        except OSError:
            packages.append(package)
    return packages


def missing_tools() -> list[str]:
    """The packages of the validators and of what compiling the kernel takes."""
    packages = [package for tool, package in TOOLS.items() if not shutil.which(tool)]
    if not Path(sysconfig.get_path("include"), "Python.h").exists():
        packages.append("python{}.{}-dev".format(*sys.version_info[:2]))  # libc6-dev comes with it
    elif "gcc" in packages:
        packages.append("libc6-dev")
    return packages


if __name__ == "__main__":
    if sys.argv[1:] not in (["run"], ["test"]):
        sys.exit("usage: packaging/missing_packages.py run|test")
    libraries = QT_LIBRARIES | (WAYLAND_LIBRARIES if os.environ.get("WAYLAND_DISPLAY") else {})
    print(*missing_libraries(libraries), *(missing_tools() if sys.argv[1] == "test" else []))
