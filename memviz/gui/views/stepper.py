"""Race lab: the cases, what each is about, and the lines that its CPUs stand on, to be stepped forwards and back."""

from __future__ import annotations

from functools import partial
from html import escape
from typing import ClassVar, Final

from PySide6.QtCore import QRect, QRectF, QSignalBlocker, QSize, Qt, Signal, Slot
from PySide6.QtGui import QFontMetricsF, QKeyEvent, QPainter, QPaintEvent, QResizeEvent
from PySide6.QtWidgets import (
    QAbstractItemView,
    QHBoxLayout,
    QListWidget,
    QListWidgetItem,
    QSizePolicy,
    QTextBrowser,
    QVBoxLayout,
    QWidget,
)

from memviz.gui.controls import Button, Chooser
from memviz.gui.painting import painted
from memviz.gui.panel import View
from memviz.gui.selection import Selection
from memviz.gui.theme import Theme
from memviz.races.catalogue import CASES
from memviz.races.shown import Race, RaceCpu
from memviz.snapshot import Snapshot
from memviz.sources.base import Command, Run, SetWorkload, Step, StepBack, StepCpu

LIST_W: Final = 238
LEAST_LIST_W: Final = 170
ABOUT_H: Final = 150
LEAST_ABOUT_H: Final = 64
CASE_PAD: Final = 10
ABOUT_PAD: Final = 7
ICON_BELOW: Final = 200
ANY_H: Final = (1 << 24) - 1
"""Qt's own limit of a height."""
TO_THE_END: Final = 1 << 20
_PAD: Final = 8


class CpuPane(QWidget):
    """One CPU: what it does, what it holds, and the source around the line that it stands on."""

    def __init__(self, number: int, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.number = number
        self.theme = theme
        self.cpu: RaceCpu | None = None
        self.tone = ""
        self.button = Button(self)
        self.button.setText("Step")
        self.button.setProperty("small", True)
        self.button.setIcon(theme.icon("step-forward", "ui.text"))
        self.button.setObjectName(f"step_cpu_{number}")
        self.button.setAccessibleName(f"Step CPU {number}")
        self.button.setToolTip(f"Let CPU {number} go on to its next scheduling point ({number})")
        self.setMinimumSize(150, 110)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)

    def show_cpu(self, cpu: RaceCpu, tone: str) -> None:
        """Show where it stands. ``tone``: "bad" when it has just broken a rule, "good" when it came last, else ""."""
        if (cpu, tone) == (self.cpu, self.tone):
            return
        self.cpu, self.tone = cpu, tone
        self.button.setEnabled(cpu.label not in ("done", "nothing to do"))
        self.setAccessibleName(". ".join(self.words()))
        self.setToolTip(f"{cpu.module}:{cpu.line}" if cpu.module else "")
        self.update()

    def words(self) -> list[str]:
        """What the pane says, line by line, without the source."""
        cpu = self.cpu
        if cpu is None:
            return []
        what = cpu.label
        if cpu.waits:
            what = f"waits: {what}"
        elif what not in ("done", "not begun", "nothing to do"):
            what = f"stands before: {what}"
        held = [*cpu.locks]
        if cpu.irqs_off:
            held.append("irqs off")
        if cpu.rcu_nesting:
            held.append("RCU read-side section")
        where = f"{cpu.module}:{cpu.line} {cpu.function}" if cpu.module else ""
        return [line for line in (f"CPU {cpu.id} · {cpu.task}", what, ", ".join(held), where) if line]

    def resizeEvent(self, event: object) -> None:
        """The button stays at the upper right."""
        # A narrow pane has no room for both the word and what the CPU does.
        only_icon = self.width() < ICON_BELOW
        style = Qt.ToolButtonStyle
        self.button.setToolButtonStyle(style.ToolButtonIconOnly if only_icon else style.ToolButtonTextOnly)
        size = self.button.sizeHint()
        self.button.setGeometry(self.width() - size.width() - _PAD, 4, size.width(), size.height())

    @painted
    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw words and source."""
        painter = QPainter(self)
        theme = self.theme
        painter.fillRect(self.rect(), theme.color("ui.sunken"))
        edge = {"bad": "tone.bad", "good": "ui.accent"}.get(self.tone, "ui.border")
        painter.fillRect(QRectF(0, 0, 3 if self.tone else 1, self.height()), theme.color(edge))
        y = 4.0
        title_h = self.button.height() + 4
        for number, words in enumerate(self.words()):
            font = theme.font("bold" if number == 0 else "small")
            metrics = QFontMetricsF(font)
            painter.setFont(font)
            muted = number > 0 and not (self.cpu is not None and self.cpu.waits and number == 1)
            painter.setPen(theme.color("ui.muted" if muted else "tone.warn" if number else "ui.text"))
            room = self.width() - 2 * _PAD - (self.button.width() + 4 if number == 0 else 0)
            text = metrics.elidedText(words, Qt.TextElideMode.ElideRight, room)
            height = title_h if number == 0 else metrics.height() + 1
            painter.drawText(QRectF(_PAD, y, room, height), Qt.AlignmentFlag.AlignVCenter, text)
            y += height
        if self.cpu is not None:
            self._paint_source(painter, self.cpu, y + 4)
        painter.end()

    def _paint_source(self, painter: QPainter, cpu: RaceCpu, top: float) -> None:
        """The lines around ``cpu.line``, which stays in sight however low the pane is."""
        theme = self.theme
        font = theme.font("mono-small")
        metrics = QFontMetricsF(font)
        height = metrics.height() + 2
        fit = max(1, int((self.height() - top) / height))
        at = next((row for row, (number, _) in enumerate(cpu.source) if number == cpu.line), 0)
        first = max(0, min(at - fit // 2, len(cpu.source) - fit))
        shown = cpu.source[first : first + fit]
        indent = min((len(text) - len(text.lstrip()) for _, text in shown if text.strip()), default=0)
        gutter = metrics.horizontalAdvance("0000 ")
        painter.setFont(font)
        y = top
        for number, text in shown:
            here = number == cpu.line
            if here:
                painter.fillRect(QRectF(3, y, self.width() - 3, height), theme.color("ui.selection"))
                painter.fillRect(
                    QRectF(3, y, 2, height), theme.color("tone.bad" if self.tone == "bad" else "ui.accent")
                )
            painter.setPen(theme.color("ui.faint"))
            box = QRectF(_PAD - 2, y, gutter, height)
            painter.drawText(box, Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft, f"{number:4}")
            painter.setPen(theme.color("ui.text" if here else "ui.muted"))
            line = QRectF(_PAD + gutter, y, self.width() - _PAD - gutter, height)
            painter.drawText(line, Qt.AlignmentFlag.AlignVCenter | Qt.TextFlag.TextSingleLine, text[indent:])
            y += height


class StepperView(View):
    """The race lab and its stepper."""

    ident: ClassVar[str] = "stepper"
    title: ClassVar[str] = "Race lab"
    what: ClassVar[str] = (
        "A claim about locks or RCU, and a small machine in which it holds or breaks. Every step is one place "
        "where another CPU could come in between."
    )
    keys: ClassVar[tuple[tuple[str, str], ...]] = (
        ("← →", "Step back, step on"),
        ("Home End", "To the start, to the verdict"),
        ("0 to 9", "Let only that CPU go on"),
    )
    empty: ClassVar[str] = "Choose a case at the left"
    own_keys = frozenset({Qt.Key.Key_Left, Qt.Key.Key_Right, Qt.Key.Key_Home, Qt.Key.Key_End})

    commanded = Signal(object)
    """A ``Command`` for the source."""
    case_chosen = Signal(str)
    """The name of a case that shall be opened."""

    def __init__(self, selection: Selection, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(selection, theme, parent)
        self.race: Race | None = None
        self.panes: list[CpuPane] = []
        self._make_list()
        self.variants = Chooser(self)
        self.variants.setObjectName("race_variant")
        self.variants.setAccessibleName("Variant of the case")
        self.variants.setToolTip(
            "The algorithm as it was posted, corrected, or with another answer to an open question"
        )
        self.variants.activated.connect(self._variant_chosen)
        self.about = QTextBrowser(self)
        self.about.setAccessibleName("Claim and verdict")
        self.about.setFrameShape(QTextBrowser.Shape.NoFrame)
        # It breaks into lines when it has got its width, which may be later than its words.
        self.about.document().documentLayout().documentSizeChanged.connect(self._fit_about)
        self.buttons = {
            "start": self._button("skip-back", "To the start (Home)", StepBack(TO_THE_END)),
            "back": self._button("step-back", "One scheduling point back (←)", StepBack()),
            "step": self._button("step-forward", "On to the next scheduling point (→)", Step(1, "point")),
            "play": self._button("play", "Play it, a few points a second", Run()),
            "end": self._button("skip-forward", "To the verdict (End)", Step(TO_THE_END, "point")),
        }
        self._enable_buttons()
        self._lay_out()
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setMinimumSize(420, 200)
        self._show_race()

    def _make_list(self) -> None:
        self.cases = QListWidget(self)
        self.cases.setObjectName("race_cases")
        self.cases.setAccessibleName("Cases of the race lab")
        self.cases.setWordWrap(True)
        self.cases.setSpacing(2)
        self.cases.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.cases.setFrameShape(QListWidget.Shape.NoFrame)
        self.cases.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        for case in CASES:
            item = QListWidgetItem(case.title)
            item.setData(Qt.ItemDataRole.UserRole, case.name)
            item.setToolTip(f"{case.name}: {case.by}, {case.date}")
            self.cases.addItem(item)
        self.cases.itemClicked.connect(self._item_chosen)
        self.cases.itemActivated.connect(self._item_chosen)

    def _button(self, icon: str, tip: str, command: Command) -> Button:
        button = self.header.add_button("", tip, icon)
        button.setObjectName(f"race_{icon}")
        button.clicked.connect(partial(self._send, command))
        return button

    def _lay_out(self) -> None:
        self.header.add_widget(self.variants)
        self.panes_row = QHBoxLayout()
        self.panes_row.setSpacing(6)
        self.column = column = QVBoxLayout()
        column.setSpacing(6)
        column.addWidget(self.about)
        column.addLayout(self.panes_row, 1)
        row = QHBoxLayout(self)
        row.setContentsMargins(4, 0, 8, 8)
        row.setSpacing(8)
        row.addWidget(self.cases)
        row.addLayout(column, 1)

    def sizeHint(self) -> QSize:
        """Room for the list and two CPUs."""
        return QSize(880, 420)

    # -- showing

    def show_snapshot(self, snapshot: Snapshot) -> None:
        """Show where the run stands; the same place costs nothing."""
        self.snapshot = snapshot
        if snapshot.race is self.race or snapshot.race == self.race:
            return
        self.race = snapshot.race
        self._show_race()

    def theme_changed(self) -> None:
        """Colours are in the text."""
        super().theme_changed()
        self.about.setHtml(self.html())
        for pane in self.panes:
            pane.button.setIcon(self.theme.icon("step-forward", "ui.text"))
            pane.update()

    def _enable_buttons(self) -> None:
        """Those that lead somewhere: none while no case is chosen."""
        race = self.race
        for name, button in self.buttons.items():
            begins = name in ("start", "back")
            button.setEnabled(race is not None and (race.position > 0 if begins else not race.ended))

    def _show_race(self) -> None:
        race = self.race
        self.header.subtitle = f"point {race.position} · {race.found}" if race is not None else ""
        self._enable_buttons()
        self._show_choosers(race)
        self.about.setHtml(self.html())
        self._fit_about()
        self._show_panes(race)

    @Slot()
    def _fit_about(self) -> None:
        """The text gets the height that it needs, so that the panes get the rest; all of it while there are none."""
        self.column.setStretchFactor(self.panes_row, 0 if self.race is None else 1)
        if self.race is None:
            self.about.setMaximumHeight(ANY_H)
            self.about.setMinimumHeight(0)
        else:
            needed = int(self.about.document().size().height()) + 2 * ABOUT_PAD
            self.about.setFixedHeight(min(ABOUT_H, needed, max(self.height() // 2, LEAST_ABOUT_H)))

    def resizeEvent(self, event: QResizeEvent) -> None:
        """On a small screen the list gives way to the panes; the text breaks into other lines."""
        width = min(LIST_W, max(LEAST_LIST_W, self.width() * 28 // 100))
        if width != self.cases.width():
            self.cases.setFixedWidth(width)
            self._size_cases(width)
        self._fit_about()

    def _size_cases(self, width: int) -> None:
        """As high as their titles need to be read whole: the list itself is short of a line now and then."""
        metrics = self.cases.fontMetrics()
        room = QRect(0, 0, width - 2 * CASE_PAD - self.cases.verticalScrollBar().sizeHint().width(), 1000)
        for row in range(self.cases.count()):
            item = self.cases.item(row)
            words = metrics.boundingRect(room, Qt.TextFlag.TextWordWrap, item.text())
            item.setSizeHint(QSize(room.width(), words.height() + metrics.lineSpacing() // 2))

    def _show_choosers(self, race: Race | None) -> None:
        self.variants.setVisible(race is not None)
        row = next((at for at, case in enumerate(CASES) if race is not None and case.name == race.name), -1)
        with QSignalBlocker(self.cases), QSignalBlocker(self.variants):
            self.cases.setCurrentRow(row)
            names = [name for name, _ in race.variants] if race is not None else []
            if [self.variants.itemData(at) for at in range(self.variants.count())] != names:
                self.variants.clear()
                for name, says in race.variants if race is not None else ():
                    self.variants.addItem(name, name)
                    self.variants.setItemData(self.variants.count() - 1, says, Qt.ItemDataRole.ToolTipRole)
            if race is not None:
                self.variants.setCurrentIndex(names.index(race.variant))

    def _show_panes(self, race: Race | None) -> None:
        cpus = race.cpus if race is not None else ()
        while len(self.panes) < len(cpus):
            pane = CpuPane(len(self.panes), self.theme, self)
            pane.button.clicked.connect(partial(self._send, StepCpu(pane.number)))
            self.panes.append(pane)
            self.panes_row.addWidget(pane, 1)
        for number, pane in enumerate(self.panes):
            pane.setVisible(number < len(cpus))
            if race is not None and number < len(cpus):
                came = race.position > 0 and number == race.last
                pane.show_cpu(cpus[number], "bad" if came and race.broken else "good" if came else "")
                pane.button.setEnabled(pane.button.isEnabled() and not race.ended)

    def html(self) -> str:
        """Claim, who made it, what to look for, and the verdict when there is one."""
        race = self.race
        muted, good, bad = (self.theme.color(f"tone.{tone}").name() for tone in ("muted", "good", "bad"))
        if race is None:
            return (
                f"<p><b>{self.empty}</b></p><p style='color:{muted}'>Each is a claim of the thread of 2017, or about"
                " it, with a small machine in which it holds or breaks. Step through it lock by lock, forwards and"
                " back.</p>"
                f"<p style='color:{muted}'>Every CPU will have a pane here: what it does, which locks it holds, and"
                " the line of source that it stands before. <b>→</b> takes the next step and <b>←</b> the last one"
                " back; <b>End</b> goes to the verdict; a digit, or <b>Step</b> in a pane, lets only that CPU go on:"
                " try whether you can break it.</p>"
            )
        says = dict(race.variants)[race.variant]
        text = (
            f"<p style='margin:0'><b>{escape(race.claim)}</b>"
            f" <span style='color:{muted}'>— {escape(race.by)}, {escape(race.date)}</span></p>"
            f"<p style='margin:3px 0'><span style='color:{muted}'>Here:</span> {escape(says)}."
            f" <span style='color:{muted}'>Look for:</span> {escape(race.look_for)}</p>"
        )
        if race.ended:
            color = bad if race.broken else good
            text += f"<p style='margin:3px 0'><b style='color:{color}'>{escape(race.verdict)}</b></p>"
            text += f"<p style='margin:3px 0'><span style='color:{muted}'>Finding:</span> {escape(race.finding)}</p>"
        return text

    # -- doing

    def _send(self, command: Command) -> None:
        self.commanded.emit(command)

    def _variant_chosen(self, row: int) -> None:
        self.commanded.emit(SetWorkload("variant", str(self.variants.itemData(row))))

    def _item_chosen(self, item: QListWidgetItem) -> None:
        name = str(item.data(Qt.ItemDataRole.UserRole))
        if self.race is None or self.race.name != name:
            self.case_chosen.emit(name)
        self.setFocus()  # End and digits are the run's from here on, not the list's

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Arrows step, Home and End go to start and verdict, a digit steps that CPU."""
        keys = {
            Qt.Key.Key_Left: "back",
            Qt.Key.Key_Right: "step",
            Qt.Key.Key_Home: "start",
            Qt.Key.Key_End: "end",
        }
        name = keys.get(Qt.Key(event.key()))
        digit = event.key() - Qt.Key.Key_0
        if name is not None:
            self.buttons[name].click()
        elif self.race is not None and 0 <= digit < len(self.race.cpus):
            self.panes[digit].button.click()
        else:
            super().keyPressEvent(event)
