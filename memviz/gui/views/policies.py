"""Policies and workload: every switch of the kernel with what it does and where it comes from; sliders of the users."""

from __future__ import annotations

from functools import partial
from typing import ClassVar, Final

from PySide6.QtCore import QSignalBlocker, QSize, Qt, Signal
from PySide6.QtGui import QPainter, QPaintEvent
from PySide6.QtWidgets import QGridLayout, QHBoxLayout, QLabel, QScrollArea, QVBoxLayout, QWidget

from memviz.gui.controls import Button, Slider
from memviz.gui.painting import painted
from memviz.gui.panel import View
from memviz.gui.render.unknown import RACE_HINT
from memviz.gui.selection import Selection
from memviz.gui.theme import Theme
from memviz.kernel.machine import ORIGINS, POLICIES
from memviz.snapshot import Control, Snapshot

STEPS: Final = 100
"""Positions of a slider whose value is a part."""


_ACTIONS: Final = (
    "Whether memviz may act upon this machine: compact its memory, shrink and drop caches, ask for a huge page. "
    "Started with --live \u2060-\u2060-\u2060actions it does, and asks before each; otherwise it only reads"
)
"""No policy of a kernel, and nothing that a button here could change."""


class Switch(QWidget):
    """One policy: its name, a button for each value, what it does, where it comes from."""

    wanted = Signal(str, str)

    def __init__(self, name: str, value: str, theme: Theme) -> None:
        super().__init__()
        self.name = name
        values, what = POLICIES.get(name, ((value,), _ACTIONS if name == "actions" else ""))
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 3, 0, 7)
        column.setSpacing(2)
        row = QHBoxLayout()
        row.setSpacing(4)
        title = QLabel(name.replace("_", " "))
        title.setFont(theme.font("bold"))
        row.addWidget(title, 1)
        self.buttons: dict[str, Button] = {}
        for one in values:
            button = Button()
            button.setText(one)
            button.setCheckable(True)
            button.setObjectName(f"policy_{name}_{one}")
            button.setAccessibleName(f"{title.text()}: {one}")
            button.setToolTip(what)
            button.setEnabled(len(values) > 1)
            button.clicked.connect(partial(self._clicked, one))
            row.addWidget(button)
            self.buttons[one] = button
        column.addLayout(row)
        sentence = what if "." in what.split(" ")[0] else what[:1].upper() + what[1:]
        for words, tone in ((f"{sentence}." if what else "", ""), (ORIGINS.get(name, ""), "muted")):
            if words:
                label = QLabel(words)
                label.setWordWrap(True)
                label.setFont(theme.font("small"))
                label.setProperty("tone", tone)
                column.addWidget(label)
        self.show_value(value)

    def show_value(self, value: str) -> None:
        """Which value it has."""
        self.value = value
        for name, button in self.buttons.items():
            button.setChecked(name == value)

    def _clicked(self, value: str, checked: bool = False) -> None:
        self.show_value(self.value)  # Qt has turned the button over, but what it has is for the source to say
        self.wanted.emit(self.name, value)


class Knob(QWidget):
    """One control of the workload: a slider and its value."""

    wanted = Signal(str, str)

    def __init__(self, control: Control, theme: Theme) -> None:
        super().__init__()
        self.control = control
        row = QGridLayout(self)
        row.setContentsMargins(0, 1, 0, 1)
        row.setHorizontalSpacing(8)
        label = QLabel(control.title)
        label.setFont(theme.font("small"))
        label.setWordWrap(True)
        self.slider = Slider(Qt.Orientation.Horizontal)
        self.slider.setObjectName(f"control_{control.name}")
        self.slider.setAccessibleName(f"{control.who}: {control.title}")
        self.slider.setToolTip(f"{control.title}: {control.low:g} to {control.high:g}")
        whole = control.whole and control.high - control.low <= 10_000
        self.slider.setRange(0, int(control.high - control.low) if whole else STEPS)
        self.slider.setPageStep(max(1, self.slider.maximum() // 10))
        self.slider.setTracking(False)
        self.value = QLabel()
        self.value.setFont(theme.font("mono-small"))
        self.value.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        self.value.setMinimumWidth(46)
        row.addWidget(label, 0, 0)
        row.addWidget(self.slider, 0, 1)
        row.addWidget(self.value, 0, 2)
        row.setColumnStretch(0, 3)
        row.setColumnStretch(1, 4)
        self.show_control(control)
        self.slider.valueChanged.connect(self._moved)
        self.slider.sliderMoved.connect(self._dragged)

    def value_at(self, position: int) -> float:
        """What a position of the slider stands for."""
        low, high = self.control.low, self.control.high
        value = low + (high - low) * position / max(1, self.slider.maximum())
        return float(round(value)) if self.control.whole else round(value, 3)

    def show_control(self, control: Control) -> None:
        """Show its value, unless it is being dragged."""
        self.control = control
        if self.slider.isSliderDown():
            return
        span = control.high - control.low
        with QSignalBlocker(self.slider):
            self.slider.setValue(round((control.value - control.low) / span * self.slider.maximum()) if span else 0)
        self.value.setText(f"{control.value:g}")

    def _dragged(self, position: int) -> None:
        self.value.setText(f"{self.value_at(position):g}")

    def _moved(self, position: int) -> None:
        self.wanted.emit(self.control.name, f"{self.value_at(position):g}")


class PoliciesView(View):
    """All switches and sliders; nothing is remembered here, what counts is what the source says."""

    ident: ClassVar[str] = "policies"
    title: ClassVar[str] = "Policies and workload"
    what: ClassVar[str] = (
        "What the kernel does differently, and who uses how much memory. Both can be changed while it runs."
    )
    empty: ClassVar[str] = "Nothing here can be switched"
    period_ms: ClassVar[int] = 100

    policy_wanted = Signal(str, str)
    control_wanted = Signal(str, str)

    def __init__(self, selection: Selection, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(selection, theme, parent)
        self._names: tuple[object, ...] = ()
        self._shown: tuple[object, ...] = ()
        self.switches: dict[str, Switch] = {}
        self.knobs: dict[str, Knob] = {}
        self.area = QScrollArea(self)
        self.area.setWidgetResizable(True)
        self.area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.area.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.area.viewport().setAutoFillBackground(False)
        self.area.hide()
        box = QVBoxLayout(self)
        box.setContentsMargins(0, 0, 0, 0)
        box.addWidget(self.area)
        self.setMinimumSize(240, 90)

    def sizeHint(self) -> QSize:
        """A column."""
        return QSize(400, 190)

    def show_snapshot(self, snapshot: Snapshot) -> None:
        """Show values; what there is is built anew only when that is another."""
        self.snapshot = snapshot
        now = (snapshot.policies, snapshot.controls)
        if now == self._shown:
            return
        self._shown = now
        names = (tuple(n for n, _ in snapshot.policies), tuple((c.name, c.low, c.high) for c in snapshot.controls))
        if names != self._names:
            self._names = names
            self._build(snapshot)
        for name, value in snapshot.policies:
            self.switches[name].show_value(value)
        for control in snapshot.controls:
            self.knobs[control.name].show_control(control)

    @painted
    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw why there is nothing."""
        if not self.switches and not self.knobs:
            painter = QPainter(self)
            self.paint_empty(painter, self.hint())
            painter.end()

    def hint(self) -> str:
        """Why there is nothing to switch."""
        if self.snapshot is None:
            return ""
        if self.snapshot.race is not None:
            return RACE_HINT
        return "A recording is as it is" if self.snapshot.source == "playback" else "A real machine is as it is"

    def _control_wanted(self, name: str, value: str) -> None:
        self._shown = ()  # a source that doesn't want to has said nothing new: its value comes back all the same
        self.control_wanted.emit(name, value)

    def _build(self, snapshot: Snapshot) -> None:
        self.switches.clear()
        self.knobs.clear()
        page = QWidget()
        page.setObjectName("policies_page")
        column = QVBoxLayout(page)
        column.setContentsMargins(2, 0, 8, 4)
        column.setSpacing(0)
        for name, value in snapshot.policies:
            switch = Switch(name, value, self.theme)
            switch.wanted.connect(self.policy_wanted)
            column.addWidget(switch)
            self.switches[name] = switch
        who = ""
        for control in snapshot.controls:
            if control.who != who:
                who = control.who
                head = QLabel(who)
                head.setFont(self.theme.font("bold"))
                head.setContentsMargins(0, 9, 0, 1)
                column.addWidget(head)
            knob = Knob(control, self.theme)
            knob.wanted.connect(self._control_wanted)
            column.addWidget(knob)
            self.knobs[control.name] = knob
        column.addStretch(1)
        page.setAutoFillBackground(False)
        self.area.setWidget(page)
        self.area.setVisible(bool(self.switches or self.knobs))
        changes = bool(self.knobs) or any(len(switch.buttons) > 1 for switch in self.switches.values())
        self.header.subtitle = "can be changed while it runs" if changes else ""
        self.update()
