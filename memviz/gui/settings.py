"""What the window remembers from one time to the next: layout, theme, the last scenario. Plain values, no pickles.

Values come back from the file as strings, so every one is read with its type; a file of another version is ignored.
"""

from __future__ import annotations

from typing import Final

from PySide6.QtCore import QByteArray, QSettings

VERSION: Final = 2
"""Grows when docks change so much that an old layout would hide something."""


class _Forgetful:
    """As much of QSettings as is needed, in memory."""

    def __init__(self) -> None:
        self._values: dict[str, object] = {}

    def value(self, key: str, default: object = None, type: object = None) -> object:
        return self._values.get(key, default)

    def setValue(self, key: str, value: object) -> None:
        self._values[key] = value

    def remove(self, key: str) -> None:
        for name in [name for name in self._values if name == key or name.startswith(f"{key}/")]:
            del self._values[name]


class Settings:
    """The user's settings, of the application that app.py named; without ``remember`` of nobody, and forgotten."""

    def __init__(self, remember: bool = True) -> None:
        self._store: QSettings | _Forgetful = QSettings() if remember else _Forgetful()
        if self._store.value("version", 0, type=int) != VERSION:
            self._store.remove("window")
            self._store.setValue("version", VERSION)

    @property
    def theme(self) -> str:
        """One of ``theme.CHOICES``."""
        return str(self._store.value("theme", "system", type=str))

    @theme.setter
    def theme(self, choice: str) -> None:
        self._store.setValue("theme", choice)

    @property
    def scenario(self) -> str:
        """The scenario that was open last; empty when there was none."""
        return str(self._store.value("scenario", "", type=str))

    @scenario.setter
    def scenario(self, name: str) -> None:
        self._store.setValue("scenario", name)

    @property
    def order(self) -> int:
        """The order that the request button asks for."""
        found = str(self._store.value("order", "9", type=str))
        return int(found) if found.isdecimal() and int(found) <= 10 else 9

    @order.setter
    def order(self, order: int) -> None:
        self._store.setValue("order", order)

    def choice(self, key: str) -> str:
        """What was chosen last for ``key``; empty when nothing ever was."""
        return str(self._store.value(f"choice/{key}", "", type=str))

    def set_choice(self, key: str, value: str) -> None:
        """Remember a choice."""
        self._store.setValue(f"choice/{key}", value)

    def save_layout(self, geometry: QByteArray, state: QByteArray) -> None:
        """Remember where the window and its docks are."""
        self._store.setValue("window/geometry", geometry)
        self._store.setValue("window/state", state)

    def layout(self) -> tuple[QByteArray, QByteArray]:
        """Geometry and state as they were saved; empty arrays when they never were."""
        return self._bytes("window/geometry"), self._bytes("window/state")

    def forget_layout(self) -> None:
        """Start with the layout that memviz comes with."""
        self._store.remove("window")

    def _bytes(self, key: str) -> QByteArray:
        found = self._store.value(key)
        return found if isinstance(found, QByteArray) else QByteArray()
