"""The themes: complete, readable, and told apart by eyes that confuse red and green."""

from __future__ import annotations

import itertools
import re

import numpy as np
import pytest
from PySide6.QtCore import QCoreApplication, QEvent
from PySide6.QtGui import QIcon
from PySide6.QtWidgets import QApplication, QPushButton, QVBoxLayout, QWidget
from pytestqt.qtbot import QtBot
from shiboken6 import Shiboken

from memviz import resources
from memviz.gui.actions import ACTIONS
from memviz.gui.render import tokens
from memviz.gui.render.picture import DIFFERENCE_COLORS
from memviz.gui.style import ROLES, style_sheet
from memviz.gui.theme import Theme
from memviz.kernel.page import OWNER_FREE, OWNER_NAMES

# Machado, Oliveira, Fernandes 2009: what is left of linear RGB for a dichromat.
DEUTAN = np.array([[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]])
PROTAN = np.array([[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]])
NORMAL = np.eye(3)

OFTEN = ("free", "anonymous", "page cache", "xa_node slab", "dentry, inode slab", "unmovable")


def linear(rgb: int) -> np.ndarray:
    """sRGB 0xRRGGBB to linear light."""
    c = np.array([rgb >> 16 & 255, rgb >> 8 & 255, rgb & 255]) / 255
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)


def lab(light: np.ndarray) -> np.ndarray:
    """Linear light to CIE L*a*b*."""
    xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]) @ np.clip(
        light, 0, 1
    )
    f = np.cbrt(np.maximum(xyz / [0.9505, 1.0, 1.089], 1e-6))
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def distance(a: int, b: int, eyes: np.ndarray) -> float:
    """How different two colours look (CIE 1976)."""
    return float(np.linalg.norm(lab(eyes @ linear(a)) - lab(eyes @ linear(b))))


def contrast(a: int, b: int) -> float:
    """Contrast ratio as WCAG 2 has it."""
    light = sorted(float(np.dot([0.2126, 0.7152, 0.0722], linear(c))) for c in (a, b))
    return (light[1] + 0.05) / (light[0] + 0.05)


@pytest.mark.parametrize("name", tokens.THEMES)
@pytest.mark.parametrize("eyes", [NORMAL, DEUTAN, PROTAN], ids=["all colours", "deuteranopia", "protanopia"])
def test_owners_that_fill_the_map_look_different_to_everybody(name: str, eyes: np.ndarray) -> None:
    theme = tokens.load(name)
    for a, b in itertools.combinations(OFTEN, 2):
        far = distance(theme.rgb(f"owner.{a}"), theme.rgb(f"owner.{b}"), eyes)
        assert far > 18, f"{name}: {a} and {b} are only {far:.0f} apart"


@pytest.mark.parametrize("name", tokens.THEMES)
def test_text_can_be_read_on_every_ground(name: str) -> None:
    theme = tokens.load(name)
    for ground in ("panel", "window", "raised", "selection", "good_back", "bad_back", "warn_back"):
        assert contrast(theme.rgb("ui.text"), theme.rgb(f"ui.{ground}")) >= 7, ground
    for tone in ("muted", "good", "bad", "warn", "moved", "info"):
        assert contrast(theme.rgb(f"tone.{tone}"), theme.rgb("ui.panel")) >= 4.5, tone
    for ground in ("panel", "sunken"):  # hints and durations stand there, in small letters
        for words in ("muted", "faint"):
            assert contrast(theme.rgb(f"ui.{words}"), theme.rgb(f"ui.{ground}")) >= 4.5, (words, ground)
    assert contrast(theme.rgb("ui.accent_text"), theme.rgb("ui.accent_button")) >= 4.5


def test_both_themes_have_the_same_keys() -> None:
    dark, light = (tokens.load(name) for name in tokens.THEMES)
    assert dark.colors.keys() == light.colors.keys()
    assert (dark.dark, light.dark) == (True, False)


def test_a_palette_is_in_the_order_of_the_codes() -> None:
    theme = tokens.load("dark")
    palette = theme.palette("owner")
    assert palette.dtype == np.uint32
    assert palette.shape == (len(OWNER_NAMES),)
    assert palette[OWNER_FREE] == 0xFF000000 | theme.rgb("owner.free")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("dark = ", "theme 'mine' is not valid TOML"),
        ("[ui]\ntext = '#ffffff'", "does not say whether it is dark"),
        ("dark = true\n[ui]\ntext = 'white'", "ui.text is 'white', a colour is written \"#rrggbb\""),
        ("dark = true", "has no colour for owner 'unknown'"),
    ],
)
def test_a_broken_theme_is_told_in_one_sentence(text: str, sentence: str) -> None:
    with pytest.raises(tokens.ThemeError) as error:
        tokens.parse("mine", text)
    assert sentence in str(error.value)
    assert "\n" not in str(error.value).strip()


def test_the_style_sheet_has_no_open_places_and_no_colours_of_its_own() -> None:
    sheet = style_sheet("arrow.svg", "accent.svg")
    assert "$" not in sheet
    assert not re.search(r"[:\s]#[0-9a-f]{3,8}[;\s]", sheet), "a colour that no other palette changes"
    assert "palette(accent)" in sheet
    roles = [role for role, _ in ROLES.values()]
    assert len(set(roles)) == len(roles)


@pytest.mark.parametrize("name", tokens.THEMES)
def test_arrows_are_seen_on_the_buttons_of_every_theme(name: str) -> None:
    arrow = int(re.findall(r'stroke="#(\w+)"', resources.read_text("themes/arrow.svg"))[0], 16)
    theme = tokens.load(name)
    for ground in ("raised", "raised_hover"):
        assert contrast(arrow, theme.rgb(f"ui.{ground}")) >= 3, ground


def colors_of(widget: QWidget) -> set[str]:
    """What it is drawn in."""
    image = widget.grab().toImage()
    return {image.pixelColor(x, y).name() for x in range(image.width()) for y in range(image.height())}


def test_widgets_look_like_the_other_theme_soon_the_seen_ones_first(qtbot: QtBot, qapp: QApplication) -> None:
    theme = Theme("dark")
    theme.apply(qapp)
    window = QWidget()
    qtbot.addWidget(window)
    column = QVBoxLayout(window)
    seen = [QPushButton(f"{number}") for number in range(150)]
    for button in seen:
        column.addWidget(button)
    hidden = QPushButton("hidden", window)
    hidden.hide()
    window.show()
    before = theme.color("ui.raised").name()
    assert before in colors_of(seen[-1])
    sheet = qapp.styleSheet()
    theme.choose("light")
    theme.apply(qapp)
    assert theme.restyle.busy
    assert not window.updatesEnabled(), "nobody sees it half in one theme and half in the other"
    qtbot.waitUntil(lambda: not theme.restyle.busy)
    assert qapp.styleSheet() == sheet, "another style sheet would block the window"
    assert window.updatesEnabled()
    for button in (seen[0], seen[-1], hidden):
        colors = colors_of(button)
        assert theme.color("ui.raised").name() in colors
        assert before not in colors


def test_a_window_that_goes_while_it_is_restyled_is_left_alone(qtbot: QtBot, qapp: QApplication) -> None:
    theme = Theme("dark")
    theme.apply(qapp)
    window = QWidget()
    button = QPushButton("x", window)
    window.show()
    theme.choose("light")
    theme.apply(qapp)
    window.deleteLater()
    QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
    theme.restyle.finish()
    assert not Shiboken.isValid(button)
    assert not theme.restyle.busy


def test_another_theme_repaints_everybody(theme: Theme, qapp: QApplication) -> None:
    heard: list[str] = []
    theme.changed.connect(lambda: heard.append(theme.tokens.name))
    before = theme.color("ui.text").name()
    theme.choose("light")
    theme.choose("light")
    assert heard == ["light"]
    assert theme.color("ui.text").name() != before
    theme.apply(qapp)
    theme.restyle.finish()
    assert qapp.palette().window().color().name() == theme.color("ui.window").name()


def test_every_icon_that_is_named_is_there_and_has_the_colour_of_text(theme: Theme) -> None:
    there = set(resources.names("icons/lucide", ".svg"))
    assert {act.icon for act in ACTIONS if act.icon} <= there
    image = theme.icon("play", "tone.good").pixmap(32, 32).toImage()
    drawn = {
        image.pixelColor(x, y).name() for x in range(32) for y in range(32) if image.pixelColor(x, y).alpha() == 255
    }
    assert drawn == {theme.color("tone.good").name()}


@pytest.mark.parametrize("name", tokens.THEMES)
@pytest.mark.parametrize("eyes", [NORMAL, DEUTAN, PROTAN], ids=["all colours", "deuteranopia", "protanopia"])
def test_memory_that_nobody_has_is_told_from_memory_that_nobody_may_have(name: str, eyes: np.ndarray) -> None:
    """Large areas of three greys; and to some people the page cache is a grey too."""
    theme = tokens.load(name)
    for a, b in itertools.combinations(("free", "unknown", "reserved", "page cache"), 2):
        far = distance(theme.rgb(f"owner.{a}"), theme.rgb(f"owner.{b}"), eyes)
        assert far > 9, f"{name}: {a} and {b} are only {far:.0f} apart"


@pytest.mark.parametrize("name", tokens.THEMES)
@pytest.mark.parametrize("eyes", [NORMAL, DEUTAN, PROTAN], ids=["all colours", "deuteranopia", "protanopia"])
def test_what_differs_is_told_from_what_differs_otherwise_by_everybody(name: str, eyes: np.ndarray) -> None:
    """The first only and the second only were blue and violet: one colour to some."""
    theme = tokens.load(name)
    for a, b in itertools.combinations(DIFFERENCE_COLORS, 2):
        far = distance(theme.rgb(a), theme.rgb(b), eyes)
        assert far > 18, f"{name}: {a} and {b} are only {far:.0f} apart"


@pytest.mark.parametrize("name", tokens.THEMES)
def test_an_icon_of_what_cannot_be_done_is_fainter_than_any_other(qapp: QApplication, name: str) -> None:
    icon = Theme(name).icon("skip-back", "ui.muted")

    def strongest(mode: QIcon.Mode) -> int:
        image = icon.pixmap(16, mode).toImage()
        return max(image.pixelColor(x, y).alpha() for x in range(16) for y in range(16))

    assert strongest(QIcon.Mode.Disabled) * 2 < strongest(QIcon.Mode.Normal)
