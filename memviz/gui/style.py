"""The style sheet: every rule for Qt's own widgets. Painted views don't need it.

It names no colours but roles of the palette, so it is the same for all themes: to give a window another style sheet
Qt takes 100 ms and more, in one piece. Another palette is given at once; what a widget has made of it is made anew
widget by widget (``Restyle``), those that are seen first, with the window's events in between.
"""

from __future__ import annotations

from collections import deque
from string import Template
from time import perf_counter
from typing import Final

from PySide6.QtCore import QObject
from PySide6.QtGui import QPalette
from PySide6.QtWidgets import QApplication, QWidget
from shiboken6 import Shiboken

from memviz.gui.once import once

_Role = QPalette.ColorRole
ROLES: Final = {
    "window": (_Role.Window, "window"),
    "text": (_Role.WindowText, "window-text"),
    "sunken": (_Role.Base, "base"),
    "bar": (_Role.AlternateBase, "alternate-base"),
    "muted": (_Role.PlaceholderText, "placeholder-text"),
    "raised": (_Role.Button, "button"),
    "raised_hover": (_Role.Light, "light"),
    "raised_pressed": (_Role.Midlight, "midlight"),
    "border": (_Role.Mid, "mid"),
    "faint": (_Role.Shadow, "shadow"),
    "selection": (_Role.Highlight, "highlight"),
    "accent": (_Role.Link, "link"),
    "focus": (_Role.LinkVisited, "link-visited"),
    "accent_button": (_Role.Accent, "accent"),
    "accent_hover": (_Role.Dark, "dark"),
    "accent_text": (_Role.BrightText, "bright-text"),
}
"""Which role of the palette holds which token ui.*, and what style sheets call it."""

SLICE_S: Final = 0.02
"""Seconds of restyling between two looks at the window's events."""

# $key stands for the role of the token ui.key.
_SHEET = Template("""
QMainWindow, QDialog { background: $window; }
QDialog#palette { border: 1px solid $accent; }
QMainWindow::separator { background: $window; width: 6px; height: 6px; }
QMainWindow::separator:hover { background: $accent; }
QToolTip { background: $raised; color: $text; border: 1px solid $border; padding: 4px 6px; }
QLabel[tone="muted"] { color: $muted; }

QToolButton, QPushButton, QComboBox {
  background: $raised; color: $text; border: 1px solid $raised; border-radius: 5px; padding: 3px 9px; }
QToolButton:hover, QPushButton:hover, QComboBox:hover { background: $raised_hover; border-color: $raised_hover; }
QToolButton:pressed, QPushButton:pressed { background: $raised_pressed; }
QToolButton:checked, #top_bar QToolButton:checked { background: $selection; border-color: $accent; }
QToolButton:disabled, QPushButton:disabled, QComboBox:disabled {
  color: $faint; background: $bar; border-color: $border; }
QToolButton:focus, #top_bar QToolButton:focus, QPushButton:focus, QComboBox:focus, #top_bar QComboBox:focus,
QLineEdit:focus { border-color: $focus; }
#top_bar QToolButton, #top_bar QComboBox { border-color: $border; }
QToolButton[flat="true"], #top_bar QToolButton[flat="true"] {
  background: transparent; border-color: transparent; padding: 2px 4px; }
QToolButton[flat="true"]:hover { background: $raised_hover; }
QToolButton[flat="true"]:focus { border-color: $focus; }
#top_bar QToolButton[accent="true"], QPushButton[accent="true"] {
  background: $accent_button; color: $accent_text; border-color: $accent; }
#top_bar QToolButton[accent="true"]:hover, QPushButton[accent="true"]:hover { background: $accent_hover; }
#top_bar QToolButton[accent="true"]:pressed, QPushButton[accent="true"]:pressed {
  background: $accent_button; border-color: $focus; }
#top_bar QToolButton[accent="true"]:disabled { color: $faint; background: $bar; border-color: $border; }
#top_bar QToolButton[accent="true"]:focus { border: 2px solid $focus; padding: 2px 8px; }
QToolButton[small="true"] { padding: 1px 7px; }
QToolButton::menu-indicator { image: none; width: 0; }
QToolButton::menu-button { border: 0; border-left: 1px solid $accent; width: 18px; border-top-right-radius: 5px;
  border-bottom-right-radius: 5px; }
QToolButton::menu-button:disabled { border-left: 1px solid $border; }
QToolButton[popupMode="1"] { padding-right: 24px; }
QComboBox { padding-right: 20px; }
QComboBox[small="true"] { padding: 3px 16px 3px 7px; }
QComboBox[small="true"]::drop-down { border: 0; width: 16px; }
QComboBox::drop-down { border: 0; width: 20px; }
QComboBox::down-arrow, QToolButton::menu-arrow { image: url("$arrow"); width: 12px; height: 12px; }
QToolButton[accent="true"]::menu-arrow { image: url("$accent_arrow"); }
QToolButton[accent="true"]::menu-arrow:disabled { image: url("$arrow"); }
QComboBox QAbstractItemView { background: $raised; color: $text; border: 1px solid $border; outline: 0;
  selection-background-color: $selection; selection-color: $text; }
QLineEdit { background: $sunken; color: $text; border: 1px solid $border; border-radius: 5px; padding: 3px 7px;
  selection-background-color: $accent_button; selection-color: $accent_text; }

QMenu { background: $raised; color: $text; border: 1px solid $border; padding: 4px; }
QMenu::item { padding: 5px 26px 5px 26px; border-radius: 4px; }
QMenu::item:selected { background: $selection; }
QMenu::item:disabled { color: $faint; }
QMenu::section { color: $muted; padding: 4px 12px; }
QMenu::separator { height: 1px; background: $border; margin: 4px 8px; }
QMenu::icon { padding-left: 6px; }

QSlider::groove:horizontal { height: 3px; background: $raised_hover; border-radius: 1px; }
QSlider::sub-page:horizontal { background: $accent; border-radius: 1px; }
QSlider::handle:horizontal { background: $text; width: 12px; height: 12px; margin: -5px 0; border-radius: 6px; }
QSlider::handle:horizontal:hover, QSlider::handle:horizontal:focus { background: $focus; }
QSlider::handle:horizontal:disabled { background: $faint; }

QTableView, QTreeView, QListView, QTextBrowser, QPlainTextEdit {
  background: transparent; color: $text; border: 0; gridline-color: transparent; outline: 0;
  selection-background-color: $selection; selection-color: $text; }
QListView { background: $sunken; }
QComboBox QListView { background: transparent; }
QFileDialog QToolButton { padding: 2px; }
QTextBrowser, QPlainTextEdit { background: $sunken; padding: 6px; }
QTreeView::item { padding: 3px 4px; }
QTableView::item { border: 0; padding: 0 4px; }
QHeaderView::section {
  background: transparent; color: $muted; border: 0; border-bottom: 1px solid $border; padding: 3px 4px; }
QTabBar { qproperty-drawBase: 0; }
QTabBar::tab {
  background: transparent; color: $muted; padding: 4px 12px; border: 0; border-bottom: 2px solid transparent; }
QTabBar::tab:selected { color: $text; border-bottom-color: $accent; }
QTabBar::tab:hover { color: $text; }
QScrollBar:vertical { background: transparent; width: 10px; margin: 0; }
QScrollBar:horizontal { background: transparent; height: 10px; margin: 0; }
QScrollBar::handle { background: $raised_hover; border-radius: 4px; min-height: 24px; min-width: 24px; margin: 1px; }
QScrollBar::handle:hover { background: $faint; }
QScrollBar::add-line, QScrollBar::sub-line { width: 0; height: 0; }
QScrollBar::add-page, QScrollBar::sub-page { background: transparent; }
QScrollArea, #policies_page, #gallery_page { background: transparent; border: 0; }
#story_text { background: transparent; padding: 0; }
#experiment_page QToolButton, #experiment_page QComboBox { border-color: $border; }
#experiment_page QToolButton:focus, #experiment_page QComboBox:focus { border-color: $focus; }
#experiment_page QToolButton[accent="true"] { background: $accent_button; color: $accent_text; border-color: $accent; }
#experiment_page QToolButton[accent="true"]:hover { background: $accent_hover; }
#experiment_page QToolButton[accent="true"]:pressed { background: $accent_button; border-color: $focus; }
#experiment_page QToolButton[accent="true"]:focus { border: 2px solid $focus; }
QDialog QPushButton, QDialog QComboBox, #gallery QToolButton { border-color: $border; }
QDialog QPushButton:focus, QDialog QComboBox:focus, #gallery QToolButton:focus { border-color: $focus; }
#guide_bar QToolButton { border-color: $border; }
#guide_bar QToolButton[accent="true"] { background: $accent_button; color: $accent_text; border-color: $accent; }
#guide_bar QToolButton[accent="true"]:hover { background: $accent_hover; }
#guide_bar QToolButton[accent="true"]:pressed { background: $accent_button; border-color: $focus; }
#guide_bar QToolButton[accent="true"]:disabled { color: $faint; background: $bar; border-color: $border; }
#guide_bar QToolButton:focus { border: 2px solid $focus; }
QGroupBox { border: 1px solid $border; border-radius: 6px; margin-top: 10px; padding: 8px; }
QGroupBox::title { subcontrol-origin: margin; left: 10px; padding: 0 4px; color: $muted; }
""")


def style_sheet(arrow: str, accent_arrow: str) -> str:
    """The application's style sheet; down arrows come from two picture files."""
    roles = {key: f"palette({name})" for key, (_, name) in ROLES.items()}
    return _SHEET.substitute(roles, arrow=arrow, accent_arrow=accent_arrow)


class Restyle(QObject):
    """Lets all widgets look at the application's palette again, a few at a time; windows stand still meanwhile."""

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self._soon = once(self, self._go_on)
        self._waiting: deque[QWidget] = deque()
        self._still: list[QWidget] = []
        self._seen = 0
        """How many of those that wait can be seen."""

    @property
    def busy(self) -> bool:
        """Some widgets still look as before."""
        return bool(self._waiting)

    def start(self) -> None:
        """All widgets from the beginning, those first that are seen."""
        was_busy = self.busy
        self._wake()
        shown: list[QWidget] = []
        hidden: list[QWidget] = []
        for widget in QApplication.allWidgets():
            (shown if widget.isVisible() else hidden).append(widget)
        self._seen = len(shown)
        self._waiting = deque((*shown, *hidden))
        self._still = [widget for widget in shown if widget.isWindow() and widget.updatesEnabled()]
        for window in self._still:
            window.setUpdatesEnabled(False)
        if not was_busy:
            self._soon.start()

    def finish(self) -> None:
        """All that wait, now."""
        while self.busy:
            self._go_on()

    def _go_on(self) -> None:
        until = perf_counter() + SLICE_S
        while self._waiting and perf_counter() < until:
            widget = self._waiting.popleft()
            self._seen -= 1
            if Shiboken.isValid(widget):
                widget.style().polish(widget)
            if self._seen == 0:
                self._wake()
                break
        if self._waiting:
            self._soon.start()

    def _wake(self) -> None:
        """All that is seen is as it shall be: paint it."""
        for window in self._still:
            if Shiboken.isValid(window):
                window.setUpdatesEnabled(True)
        self._still = []
