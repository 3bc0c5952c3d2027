"""What all panels share: the rounded dock around it, the base class of views, the drawn empty state.

A view is a ``View``: it paints or lays out its content in itself, sets ``header.subtitle`` and puts its buttons into
``header``. The window wraps it into a ``PanelDock``, which draws the rounded frame and takes the header as title bar.
"""

from __future__ import annotations

from typing import ClassVar, Final, Literal

from PySide6.QtCore import QEvent, QPoint, QPointF, QRect, QRectF, QSize, Qt, Signal
from PySide6.QtGui import (
    QContextMenuEvent,
    QFont,
    QFontMetricsF,
    QHelpEvent,
    QImage,
    QPainter,
    QPaintEvent,
    QPalette,
    QPen,
    QTextLayout,
)
from PySide6.QtWidgets import QDockWidget, QLabel, QToolButton, QToolTip, QVBoxLayout, QWidget

from memviz.gui.controls import Button, claims
from memviz.gui.painting import painted
from memviz.gui.panel_header import MARGIN, PanelHeader
from memviz.gui.render.tables import Parts, Table
from memviz.gui.selection import Selection
from memviz.gui.theme import Theme
from memviz.snapshot import Snapshot

BODY_GAP: Final = 4
"""Between the buttons of a header and what is below them."""
_CORNER: Final = 6
"""Radius of a card's corners."""
_LINE_W: Final = 560
"""Of a line of text in an empty panel, at most."""
Waiting = Literal["", "nothing", "starting", "failed"]
_WAITING: Final = {
    "nothing": ("Nothing is open", ""),
    "starting": ("Starting …", ""),
    "failed": ("It failed before there was anything to show", "The line at the top says why"),
}


class View(QWidget):
    """Base class of the panels' contents: a function of (snapshot, selection, its own settings).

    Subclasses set ``ident``, ``title`` and ``empty`` and implement ``show_snapshot``. The window calls that for views
    that can be seen, at most every ``period_ms``; a view that was hidden gets the newest snapshot when it is shown.
    """

    ident: ClassVar[str] = ""
    """Object name, key in settings and in tests."""
    title: ClassVar[str] = ""
    what: ClassVar[str] = ""
    """What the panel shows, for somebody who sees it for the first time; beside the pointer on its title."""
    keys: ClassVar[tuple[tuple[str, str], ...]] = ()
    """What keys do while it has them: (keys, what), for the list of keys."""
    empty: ClassVar[str] = "Nothing to show yet"
    """What is drawn while there is no data, in words."""
    period_ms: ClassVar[int] = 0
    """Shortest time between two snapshots shown; 0: every one."""
    own_keys: ClassVar[frozenset[Qt.Key]] = frozenset()
    """Keys that are the view's own while it has the focus, though the window has a shortcut for them."""

    def __init__(self, selection: Selection, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.selection = selection
        self.theme = theme
        self.snapshot: Snapshot | None = None
        self._waiting: Waiting = ""
        self.setObjectName(self.ident)
        self.setAccessibleName(self.title)
        self.header = PanelHeader(self.title, theme, self)
        self.header.what = self.what
        self.header.hide()
        # With a ground of its own, what changes in it does not make the card around it paint itself too.
        self.setAutoFillBackground(True)
        self._fill_ground()
        theme.changed.connect(self.theme_changed)

    def _fill_ground(self) -> None:
        palette = QPalette()
        palette.setColor(QPalette.ColorRole.Window, self.theme.color("ui.panel"))
        self.setPalette(palette)

    def event(self, event: QEvent) -> bool:
        """Keep ``own_keys`` from becoming shortcuts of the window."""
        if claims(event, self.own_keys):
            event.accept()
            return True
        if event.type() == QEvent.Type.ToolTip and isinstance(event, QHelpEvent):
            words = self.tip_at(QPointF(event.pos()))
            if words:
                QToolTip.showText(event.globalPos(), words, self)
                return True
        return super().event(event)

    def tip_at(self, at: QPointF) -> str:
        """What to say beside a pointer that rests there; empty: nothing, or the view's own tool tip."""
        return ""

    def show_snapshot(self, snapshot: Snapshot) -> None:
        """Show another instant. Cheap when nothing of what is shown has changed."""
        self.snapshot = snapshot
        self.update()

    def as_table(self) -> Table | None:
        """What is shown as a table, for views whose table doesn't follow from the snapshot alone."""
        return None

    def as_parts(self) -> Parts | None:
        """The same, made while it is written, for views whose table is long. What is shown later changes nothing."""
        return None

    def as_text(self) -> str:
        """What it says, in words, for the clipboard."""
        lines = [f"{self.header.title}  {self.header.subtitle}".strip(), self.accessibleDescription()]
        return "\n".join(line for line in lines if line)

    def bitmap(self) -> QImage | None:
        """The large picture that is a part of what is drawn, for views that have one."""
        return None

    def leave_out_bitmap(self, stand_in: QImage | None) -> None:
        """Draw ``stand_in`` in place of ``bitmap``; None: draw that again."""

    def theme_changed(self) -> None:
        """The theme has other colours now: drop what was rendered with the old ones (subclasses) and repaint."""
        for button in self.header.findChildren(QToolButton):
            if button.property("lucide"):
                button.setIcon(self.theme.icon(str(button.property("lucide")), "ui.muted"))
        self._fill_ground()
        self.header.update()
        self.update()

    @property
    def waiting(self) -> Waiting:
        """Why there is no snapshot yet; empty: there is one."""
        return self._waiting

    @waiting.setter
    def waiting(self, why: Waiting) -> None:
        if why != self._waiting:
            self._waiting = why
            self.update()

    def empty_words(self, hint: str = "") -> tuple[str, str]:
        """What is missing, and what to do about that."""
        headline, what_to_do = _WAITING.get(self._waiting, (self.empty, hint))
        # Whoever waits, or has just arrived, can read meanwhile what will be here.
        return headline, what_to_do or (self.what if self._waiting else "")

    def paint_empty(self, painter: QPainter, hint: str = "", rect: QRectF | None = None) -> None:
        """Draw the empty state: what is missing, and below it what to do about that."""
        area = QRectF(self.rect()) if rect is None else rect
        draw_empty(painter, area, self.theme, *self.empty_words(hint))


def draw_empty(painter: QPainter, area: QRectF, theme: Theme, headline: str, hint: str = "") -> None:
    """Draw ``headline`` and ``hint`` in the middle of ``area``."""
    flags = Qt.AlignmentFlag.AlignHCenter | Qt.TextFlag.TextWordWrap
    box = area.adjusted(14, 2, -14, -2)
    side = max(0.0, (box.width() - _LINE_W) / 2)  # a line across a large screen is not read
    box.adjust(side, 0, -side, 0)
    painter.setFont(theme.font("normal"))
    painter.setPen(theme.color("ui.muted"))
    tall = QRectF(box.left(), box.top(), box.width(), 10_000)
    used = painter.boundingRect(tall, flags, headline).height()
    small = theme.font("small")
    below = QFontMetricsF(small).boundingRect(tall, flags, hint).height() + 4 if hint else 0.0
    if used + below > box.height() + 4:
        below = 0.0  # half a sentence is worse than none
    top = max(box.top(), box.center().y() - (used + below) / 2)
    painter.drawText(QRectF(box.left(), top, box.width(), used + 2), flags, headline)
    if below:
        painter.setFont(small)
        painter.setPen(theme.color("ui.faint"))
        painter.drawText(QRectF(box.left(), top + used + 4, box.width(), below + 4), flags, hint)


def wrap(text: str, font: QFont, width: float, lines: int) -> list[str]:
    """``text`` in at most ``lines`` lines of ``width``; what does not fit is cut with … in the last."""
    layout = QTextLayout(text, font)
    layout.beginLayout()
    out: list[str] = []
    while (line := layout.createLine()).isValid():
        line.setLineWidth(max(1.0, width))
        if len(out) == lines - 1:
            rest = text[line.textStart() :]
            out.append(QFontMetricsF(font).elidedText(rest, Qt.TextElideMode.ElideRight, width))
            break
        out.append(text[line.textStart() : line.textStart() + line.textLength()].rstrip())
    layout.endLayout()
    return out


class PanelDock(QDockWidget):
    """A dock that looks like a rounded card, with the view's header as its title bar."""

    export_wanted = Signal(QPoint)
    """Somebody wants to know what can be taken out of it; where on the screen."""
    broke = Signal(str)
    """Something in it has failed while it painted itself: the traceback."""

    def __init__(self, view: View, parent: QWidget | None = None) -> None:
        super().__init__(view.title, parent)
        self.view = view
        self.theme = view.theme
        self.setObjectName(f"dock_{view.ident}")
        self.setAttribute(Qt.WidgetAttribute.WA_TranslucentBackground, False)
        self.setAttribute(Qt.WidgetAttribute.WA_OpaquePaintEvent)
        close = view.header.add_button("", f"Close {view.title}", "x")
        close.setIconSize(QSize(12, 12))
        close.clicked.connect(self.close)
        self.failed = False
        self._close = close
        self.setTitleBarWidget(view.header)
        view.header.show()
        body = QWidget(self)
        self._body_box = QVBoxLayout(body)
        self._body_box.setContentsMargins(MARGIN, BODY_GAP, MARGIN, 9)
        self._body_box.addWidget(view)
        self._failed_words = body
        self.setWidget(body)
        self._attention = False
        self.in_sight = False
        """Neither closed nor behind another tab (``isVisible`` is true for those)."""
        self.visibilityChanged.connect(self._visibility_changed)
        view.theme.changed.connect(self.update)

    def fail(self) -> None:
        """The view has raised: put a sentence in its place, and leave the other panels alone."""
        self.failed = True
        self.view.hide()
        failed = QWidget()
        box = QVBoxLayout(failed)
        words = QLabel("This panel has failed and shows nothing more. The report tells why; the other panels go on.")
        words.setWordWrap(True)
        words.setAlignment(Qt.AlignmentFlag.AlignCenter)
        again = Button()
        again.setText("Try again")
        again.setAccessibleName(f"Show {self.view.title} again")
        again.clicked.connect(self.try_again)
        box.addStretch(1)
        box.addWidget(words)
        box.addWidget(again, 0, Qt.AlignmentFlag.AlignHCenter)
        box.addStretch(1)
        self._body_box.addWidget(failed)
        self._failed_words = failed

    def break_down(self, trouble: str) -> None:
        """Something in it can't be painted."""
        if not self.failed:
            self.fail()
            self.broke.emit(trouble)

    def try_again(self) -> None:
        """Give the view the next snapshot again."""
        self.failed = False
        self._failed_words.deleteLater()
        self.view.show()

    def take_keys(self) -> None:
        """Give the keys to the first thing in it that wants them."""
        wants = Qt.FocusPolicy.TabFocus
        inside = [one for one in (self.view, *self.view.findChildren(QWidget)) if one.isVisibleTo(self)]
        first = next((one for one in inside if one.focusPolicy() & wants and one.isEnabled()), None)
        proxy = self.view.focusProxy()
        chosen = proxy if proxy is not None and proxy.isVisibleTo(self) else first or self._close
        chosen.setFocus(Qt.FocusReason.ShortcutFocusReason)

    def _visibility_changed(self, visible: bool) -> None:
        self.in_sight = visible

    @property
    def attention(self) -> bool:
        """The panel to look at: it has a bright frame."""
        return self._attention

    @attention.setter
    def attention(self, on: bool) -> None:
        if on != self._attention:
            self._attention = on
            self.update()

    def contextMenuEvent(self, event: QContextMenuEvent) -> None:
        """What can be taken out of this panel; the view's own menus come first."""
        self.export_wanted.emit(event.globalPos())
        event.accept()

    @painted
    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw the card: the dock's own look is a box with a native title."""
        draw_card(self, self.theme, event.rect(), self._attention)


class CardFrame(QWidget):
    """The same card around a view outside of a dock: dialogs, pictures of one panel."""

    def __init__(self, view: View, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.theme = view.theme
        box = QVBoxLayout(self)
        box.setContentsMargins(0, 0, 0, 0)
        box.setSpacing(0)
        box.addWidget(view.header)
        view.header.show()
        inner = QVBoxLayout()
        inner.setContentsMargins(MARGIN, BODY_GAP, MARGIN, 9)
        inner.addWidget(view)
        box.addLayout(inner, 1)

    @painted
    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw the card."""
        draw_card(self, self.theme, event.rect())


def draw_card(widget: QWidget, theme: Theme, part: QRect, bright: bool = False) -> None:
    """Fill ``part`` of ``widget`` with a rounded panel of the theme; ``bright``: with a frame not to be overlooked."""
    painter = QPainter(widget)
    if widget.rect().adjusted(_CORNER, 3, -_CORNER, -3).contains(part):
        painter.fillRect(part, theme.color("ui.panel"))
        painter.end()
        return
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.fillRect(widget.rect(), theme.color("ui.window"))
    width = 2.5 if bright else 1.0
    painter.setPen(QPen(theme.color("ui.accent" if bright else "ui.border"), width))
    painter.setBrush(theme.color("ui.panel"))
    inset = width / 2
    painter.drawRoundedRect(QRectF(widget.rect()).adjusted(inset, inset, -inset, -inset), _CORNER, _CORNER)
    painter.end()
