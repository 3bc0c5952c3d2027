"""The top bar: which run, run and pause, how fast, the buttons that do something to memory, where it all comes from."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QSignalBlocker, Qt, Signal
from PySide6.QtGui import QAction, QActionGroup
from PySide6.QtWidgets import QHBoxLayout, QLabel, QMenu, QSizePolicy, QToolButton, QWidget

from memviz.gui.controls import Button, CarefulChooser, ElidedLabel, Slider
from memviz.gui.render.numbers import bytes_of_frames, rate, short_count
from memviz.gui.session import SPEEDS, Session
from memviz.gui.theme import Theme
from memviz.kernel.machine import POLICIES
from memviz.kernel.page import PAGEBLOCK_ORDER
from memviz.snapshot import Snapshot


class TopBar(QWidget):
    """The bar; ``actions`` are those of ``actions.build``."""

    scenario_chosen = Signal(str)
    order_chosen = Signal(int)

    def __init__(self, session: Session, theme: Theme, actions: dict[str, QAction], menu: QMenu) -> None:
        super().__init__()
        self.setObjectName("top_bar")
        self.setAccessibleName("Top bar")
        self._row = QHBoxLayout(self)
        self._row.setContentsMargins(0, 4, 0, 4)
        self._row.setSpacing(6)
        self._session = session
        self._theme = theme
        self._actions = actions
        self._shown_policies: tuple[tuple[str, str], ...] = ()
        self._add_menu(menu)
        self._add_scenarios()
        self._add_run()
        self._add_speed()
        self._add_memory()
        self._add_policy()
        self._add_source()
        theme.changed.connect(self._paint)
        self._paint()

    # -- making it

    def _add_menu(self, menu: QMenu) -> None:
        self.menu_button = Button()
        self.menu_button.setObjectName("menu_button")
        self.menu_button.setText("memviz")
        self.menu_button.setProperty("flat", True)
        self.menu_button.setFont(self._theme.font("big"))
        self.menu_button.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self.menu_button.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        self.menu_button.setMenu(menu)
        self.menu_button.setShortcut("F10")
        self.menu_button.setToolTip("Menu (F10)")
        self.menu_button.setAccessibleName("Menu")
        self._row.addWidget(self.menu_button)

    def _add_scenarios(self) -> None:
        self.scenarios = CarefulChooser()
        self.scenarios.setObjectName("scenario_chooser")
        self.scenarios.setAccessibleName("Scenario")
        self.scenarios.setToolTip("Which scenario runs")
        self.scenarios.setPlaceholderText("Choose a scenario")
        self.scenarios.setMinimumWidth(170)
        self.scenarios.setMaximumWidth(280)
        self.scenarios.activated.connect(self._scenario_activated)
        self._row.addWidget(self.scenarios)
        self._row.addSpacing(2)

    def _add_run(self) -> None:
        for name in ("run", "step", "fast"):
            self._add_button(name, icon_only=True)
        self._row.addSpacing(2)

    def _add_speed(self) -> None:
        self.speed = Slider(Qt.Orientation.Horizontal)
        self.speed.setObjectName("speed_slider")
        self.speed.setAccessibleName("Speed")
        self.speed.setToolTip("Operations a second")
        self.speed.setRange(0, len(SPEEDS) - 1)
        self.speed.setValue(len(SPEEDS) - 1)
        self.speed.setPageStep(1)
        self.speed.setMinimumWidth(44)
        self.speed.setMaximumWidth(110)
        self.speed.valueChanged.connect(self._speed_moved)
        label = QLabel("speed")
        label.setProperty("tone", "muted")
        label.setFont(self._theme.font("small"))
        label.setBuddy(self.speed)
        self.speed_words = ElidedLabel(self._theme, "small", sample="full speed")
        self.speed_words.text = rate(0)
        group = QWidget()
        row = QHBoxLayout(group)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(7)
        for widget in (label, self.speed, self.speed_words):
            row.addWidget(widget, 1 if widget is self.speed else 0)
        group.setSizePolicy(QSizePolicy.Policy.Maximum, QSizePolicy.Policy.Preferred)
        self._row.addWidget(group)
        self._row.addSpacing(2)

    def _add_memory(self) -> None:
        self._add_button("defragment", accent=True)
        self._add_button("compact")
        self.request = self._add_button("request", accent=True)
        self.request.setPopupMode(QToolButton.ToolButtonPopupMode.MenuButtonPopup)
        orders = QMenu("Request another order", self)
        group = QActionGroup(orders)
        for order in range(11):
            entry = orders.addAction(f"Order {order}  ({bytes_of_frames(1 << order)})")
            entry.setData(order)
            entry.setCheckable(True)
            group.addAction(entry)
        orders.triggered.connect(self._order_triggered)
        self.orders = orders
        self.request.setMenu(orders)
        self._row.addSpacing(2)

    def _add_policy(self) -> None:
        self.policy = Button()
        self.policy.setObjectName("policy_button")
        self.policy.setText("Policy")
        self.policy.setAccessibleName("Policy")
        self.policy.setToolTip("Switches of the kernel, changed while it runs")
        self.policy.setIcon(self._theme.icon("chevron-down", "ui.muted"))
        self.policy.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self.policy.setLayoutDirection(Qt.LayoutDirection.RightToLeft)
        self.policy.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        self.policy_menu = QMenu("Policy", self)
        self.policy_menu.setLayoutDirection(Qt.LayoutDirection.LeftToRight)
        self.policy_menu.triggered.connect(self._policy_triggered)
        self.policy.setMenu(self.policy_menu)
        self.policy.setEnabled(False)
        self._row.addWidget(self.policy)
        self._row.addSpacing(2)
        self._add_button("record")

    def _add_source(self) -> None:
        self.source = ElidedLabel(self._theme, "small", "ui.muted")
        self.source.setObjectName("source_words")
        self.source.align_right()
        self._row.addWidget(self.source, 1)
        self._row.addSpacing(4)

    def _add_button(self, name: str, icon_only: bool = False, accent: bool = False) -> Button:
        button = Button()
        button.setDefaultAction(self._actions[name])
        button.setObjectName(f"button_{name}")
        style = Qt.ToolButtonStyle
        button.setToolButtonStyle(style.ToolButtonIconOnly if icon_only else style.ToolButtonTextOnly)
        if name == "record":
            button.setToolButtonStyle(style.ToolButtonTextBesideIcon)
        button.setProperty("accent", accent)
        button.setAccessibleName(self._actions[name].text())
        self._row.addWidget(button)
        return button

    # -- what it shows

    def set_scenarios(self, names: Sequence[tuple[str, str]], current: str) -> None:
        """Offer scenarios: (name, title). ``current`` is the name of the one that is open."""
        with QSignalBlocker(self.scenarios):
            self.scenarios.clear()
            for name, title in names:
                self.scenarios.addItem(title, name)
            at = self.scenarios.findData(current)
            if at < 0:
                self.scenarios.addItem(current, current)
                at = self.scenarios.count() - 1
            self.scenarios.setCurrentIndex(at)

    def set_order(self, order: int) -> None:
        """The order that the request button asks for."""
        words = f"Request order {order}  ({bytes_of_frames(1 << order)})"
        self._actions["request"].setText(words)
        self.request.setAccessibleName(f"Request order {order}")
        for entry in self.orders.actions():
            entry.setChecked(entry.data() == order)

    def name_buttons(self) -> None:
        """Read out what stands on the buttons."""
        for name in ("defragment", "compact", "request"):
            button = self.findChild(Button, f"button_{name}")
            if button is not None:
                button.setAccessibleName(self._actions[name].text())

    def show_session(self) -> None:
        """Show the state of the run. Does nothing when nothing of it changed."""
        running, snapshot = self._session.running, self._session.snapshot
        run = self._actions["run"]
        words = "Pause" if running else "Run"
        if run.text() != words:
            run.setText(words)
            run.setIcon(self._theme.icon("pause" if running else "play"))
            self.findChild(Button, "button_run").setAccessibleName(words)  # type: ignore[union-attr]
        if snapshot is None:
            self.source.text = "starting …" if self._session.client is not None else ""
            return
        self.source.text = _recording_words(snapshot, self._session.recording) or _source_words(snapshot)
        if snapshot.policies != self._shown_policies:
            self._show_policies(snapshot.policies)
        real = snapshot.source == "linux"
        if self.speed.isEnabled() == real:
            self.speed.setEnabled(not real)
            self.speed.setToolTip("A real machine is as fast as it is" if real else "Operations a second")
            for entry in self.orders.actions():
                entry.setEnabled(not real or entry.data() == PAGEBLOCK_ORDER)
        if not self.speed.isSliderDown() and self._session.speed in SPEEDS:
            self._show_speed(self._session.speed)

    def _show_speed(self, speed: int) -> None:
        with QSignalBlocker(self.speed):
            self.speed.setValue(SPEEDS.index(speed))
        self.speed_words.text = rate(speed)
        self._actions["fast"].setChecked(speed == 0)

    def _show_policies(self, policies: tuple[tuple[str, str], ...]) -> None:
        """A submenu for every switch: what it does, and its values. One that is unknown here is shown as it is."""
        self._shown_policies = policies
        self.policy.setEnabled(bool(policies))
        self.policy_menu.clear()
        for name, value in policies:
            values, what = POLICIES.get(name, ((), ""))
            title = f"{name.replace('_', ' ')}: {value}"
            if not values:
                self.policy_menu.addAction(title).setEnabled(False)
                continue
            menu = self.policy_menu.addMenu(title)
            menu.setToolTip(what)
            menu.addSection(what)
            group = QActionGroup(menu)
            for one in values:
                entry = menu.addAction(one)
                entry.setCheckable(True)
                entry.setChecked(one == value)
                entry.setData((name, one))
                group.addAction(entry)

    def _paint(self) -> None:
        self.menu_button.setIcon(self._theme.icon("menu", "ui.muted"))
        self.policy.setIcon(self._theme.icon("chevron-down", "ui.muted"))
        running = self._session.running
        self._actions["run"].setIcon(self._theme.icon("pause" if running else "play"))
        self._actions["record"].setIcon(self._theme.icon("circle", "tone.bad"))

    # -- what the user does to it

    def _scenario_activated(self, index: int) -> None:
        self.scenario_chosen.emit(str(self.scenarios.itemData(index)))

    def _speed_moved(self, position: int) -> None:
        self._session.set_speed(SPEEDS[position])

    def _order_triggered(self, entry: QAction) -> None:
        self.order_chosen.emit(entry.data())

    def _policy_triggered(self, entry: QAction) -> None:
        if isinstance(entry.data(), tuple):
            self._session.set_policy(*entry.data())


def _recording_words(snapshot: Snapshot, recording: bool) -> str:
    """What is being recorded, or which part of a recording this is; empty when neither."""
    now, played = snapshot.recording, snapshot.playback
    if now is not None and recording:
        missed = f", {now.missed:,} missing" if now.missed else ""
        missed += f", {short_count(now.left_out)} left out" if now.left_out else ""
        return f"● {now.seconds:.0f} s, {now.bytes / 1e6:.1f} MB{missed}"
    if played is None:
        return ""
    rate = "" if played.rate == 1 else f"  × {played.rate:g}"
    return f"Recording · {played.at + 1:,} of {played.instants:,}{rate}"


def _source_words(snapshot: Snapshot) -> str:
    kind = {"simulation": "Simulation", "linux": snapshot.title, "playback": "Recording"}.get(snapshot.source, "Source")
    cpus = len(snapshot.cpus)
    parts = [kind, bytes_of_frames(snapshot.pages.nr)]
    if cpus:
        parts.append("1 CPU" if cpus == 1 else f"{cpus} CPUs")
    return " · ".join(parts)
