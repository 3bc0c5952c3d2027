"""The look: colours from theme files, fonts from the system, one style sheet, icons in the colour of text.

A view holds the ``Theme`` it was given, asks it for colours when it paints and repaints on ``changed``.
"""

from __future__ import annotations

from typing import Final

from PySide6.QtCore import QByteArray, QObject, QRectF, Qt, Signal
from PySide6.QtGui import QColor, QFont, QFontDatabase, QGuiApplication, QIcon, QImage, QPainter, QPalette, QPixmap
from PySide6.QtSvg import QSvgRenderer
from PySide6.QtWidgets import QApplication

from memviz import resources
from memviz.gui.render import tokens
from memviz.gui.style import ROLES, Restyle, style_sheet

SYSTEM: Final = "system"
CHOICES: Final = (SYSTEM, *tokens.THEMES)
OFF_OPACITY: Final = 0.45
"""Of the icon of what can't be done now: a colour of its own alone is hardly seen on thin lines."""


def system_theme() -> str:
    """The theme the desktop asks for: its colour scheme, or how dark its palette is where it names none."""
    scheme = QGuiApplication.styleHints().colorScheme()
    if scheme == Qt.ColorScheme.Dark:
        return "dark"
    if scheme == Qt.ColorScheme.Light:
        return "light"
    return "dark" if QGuiApplication.palette().color(QPalette.ColorRole.Window).lightness() < 128 else "light"


class Theme(QObject):
    """Colours, fonts and icons of now. ``changed`` is emitted after another theme was chosen."""

    changed = Signal()

    def __init__(self, choice: str = "dark", parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.choice = choice
        self.tokens = tokens.load(system_theme() if choice == SYSTEM else choice)
        self._colors: dict[str, QColor] = {}
        self._icons: dict[tuple[str, str, str], QIcon] = {}
        """By theme, name and colour: whoever goes back to a theme finds them made."""
        self._drawings: dict[str, str] = {}
        self._fonts: dict[str, QFont] = {}
        self.restyle = Restyle(self)

    def choose(self, choice: str) -> None:
        """Switch to one of ``CHOICES``."""
        self.choice = choice
        self.refresh()

    def refresh(self) -> None:
        """Look again at what the choice means now: the desktop's colour scheme may have changed."""
        name = system_theme() if self.choice == SYSTEM else self.choice
        if name != self.tokens.name:
            self.tokens = tokens.load(name)
            self._colors.clear()
            self.changed.emit()

    def color(self, key: str) -> QColor:
        """A colour of the theme file: ``"ui.text"``, ``"tone.bad"``, ``"owner.free"``, ``"cpu.idle"``."""
        found = self._colors.get(key)
        if found is None:
            found = self._colors[key] = QColor.fromRgb(self.tokens.rgb(key))
        return found

    def font(self, role: str = "normal") -> QFont:
        """A font by role: ``normal``, ``small``, ``bold``, ``title`` (of a panel), ``big``, ``mono``, ``mono-small``.

        Sizes follow the application's font, which follows the desktop.
        """
        found = self._fonts.get(role)
        if found is None:
            found = self._fonts[role] = self._make_font(role)
        return found

    def _make_font(self, role: str) -> QFont:
        base = QApplication.font()
        size = base.pointSizeF() if base.pointSizeF() > 0 else 9.0
        if role.startswith("mono"):
            font = QFontDatabase.systemFont(QFontDatabase.SystemFont.FixedFont)
            font.setStyleHint(QFont.StyleHint.Monospace)
        else:
            font = QFont(base)
        scale = {"small": 0.9, "mono-small": 0.88, "mono": 0.95, "title": 1.05, "big": 1.2}.get(role, 1.0)
        font.setPointSizeF(size * scale)
        font.setBold(role in ("bold", "title", "big"))
        return font

    def icon(self, name: str, color: str = "ui.text") -> QIcon:
        """An icon of ``resources/icons/lucide`` drawn in a colour of the theme, crisp at any pixel ratio."""
        known = (self.tokens.name, name, color)
        found = self._icons.get(known)
        if found is None:
            svg = self._drawings.get(name)
            if svg is None:
                svg = self._drawings[name] = resources.read_text(f"icons/lucide/{name}.svg")
            found = QIcon()
            for key, mode, opacity in ((color, QIcon.Mode.Normal, 1.0), ("ui.faint", QIcon.Mode.Disabled, OFF_OPACITY)):
                renderer = QSvgRenderer(QByteArray(svg.replace("currentColor", self.tokens.hex(key)).encode()))
                for side in (16, 24, 32):  # one and a half and two pixels a point
                    image = QImage(side, side, QImage.Format.Format_ARGB32_Premultiplied)
                    image.fill(0)
                    painter = QPainter(image)
                    painter.setOpacity(opacity)
                    renderer.render(painter, QRectF(0, 0, side, side))
                    painter.end()
                    found.addPixmap(QPixmap.fromImage(image), mode)
            self._icons[known] = found
        return found

    def apply(self, app: QApplication) -> None:
        """Give the application this theme's palette, and the style sheet if it has none yet.

        Widgets that have the style sheet already follow within a tenth of a second (``restyle``).
        """
        app.setPalette(self._palette())
        sheet = style_sheet(_picture("arrow"), _picture("arrow-accent"))
        if app.styleSheet() != sheet:
            app.setStyleSheet(sheet)
        else:
            self.restyle.start()

    def _palette(self) -> QPalette:
        role = QPalette.ColorRole
        palette = QPalette()
        for key, (to, _) in ROLES.items():
            palette.setColor(to, self.color(f"ui.{key}"))
        for to, key in (
            (role.Text, "text"),
            (role.ButtonText, "text"),
            (role.HighlightedText, "text"),
            (role.ToolTipBase, "raised"),
            (role.ToolTipText, "text"),
        ):
            palette.setColor(to, self.color(f"ui.{key}"))
        for to in (role.WindowText, role.Text, role.ButtonText):
            palette.setColor(QPalette.ColorGroup.Disabled, to, self.color("ui.faint"))
        return palette


def _picture(name: str) -> str:
    """The file of a picture that the style sheet shows: it takes them from files only."""
    return resources.path(f"themes/{name}.svg").as_posix()
