"""A command that takes a while is seen while it is done, and the window says which it is."""

from __future__ import annotations

from functools import partial

import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QAction
from pytestqt.qtbot import QtBot

from memviz.gui.main_window import MainWindow, Scenario
from memviz.gui.settings import Settings
from memviz.gui.theme import Theme
from memviz.kernel.trace import SLAB_MIGRATED
from memviz.snapshot import NODE_MOVED
from memviz.sources.base import Pause, Step, simulation
from memviz.sources.host import HostClient

OPS = 4000


@pytest.fixture
def window(qtbot: QtBot) -> MainWindow:
    """A window on a paused machine whose slabs are sparse."""
    make = partial(HostClient, simulation("aged-file-server", 7, 64))
    window = MainWindow([Scenario("sparse", "Sparse", make)], Theme("dark"), Settings(remember=False))
    qtbot.addWidget(window)
    window.show()
    window.open_scenario("sparse")
    window.session.send(Pause())
    window.session.send(Step(OPS))
    qtbot.waitUntil(lambda: window.session.snapshot is not None and window.session.snapshot.ops == OPS, timeout=30_000)
    return window


def test_slabs_come_free_before_the_command_is_over(window: MainWindow, qtbot: QtBot) -> None:
    session = window.session
    seen: list[tuple[str, int, int]] = []

    def look() -> None:
        snapshot = session.snapshot
        assert snapshot is not None
        left = int((snapshot.events["kind"] == SLAB_MIGRATED).sum())
        seen.append((window.status.told.words, len(snapshot.slabs), left))

    session.changed.connect(look)
    action = window.findChild(QAction, "action_defragment")
    assert action is not None
    action.trigger()
    qtbot.waitUntil(lambda: session.outcome is not None, timeout=30_000)
    session.changed.disconnect(look)
    under_way = [one for one in seen if one[0] == "Defragmenting slabs …"]
    counts = [slabs for _, slabs, _ in under_way]
    assert min(counts) < max(counts), "the slab grid gets shorter in front of one's eyes"
    assert sum(1 for _, _, left in under_way if left) >= 2, "slabs are left one after the other"
    assert session.outcome is not None
    assert session.outcome.ok
    assert window.status.told.words == session.outcome.sentence
    window.close()


def test_slowly_every_node_that_moved_is_seen_published(window: MainWindow, qtbot: QtBot) -> None:
    session = window.session
    window.docks.all["slab_grid"].raise_()
    seen: list[int] = []

    def look() -> None:
        snapshot = session.snapshot
        assert snapshot is not None
        seen.append(int((snapshot.nodes["state"] == NODE_MOVED).sum()))

    qtbot.keyClick(window, Qt.Key.Key_D, Qt.KeyboardModifier.ShiftModifier)
    assert window.status.told.words.startswith("Defragmenting slabs slowly")
    session.changed.connect(look)
    qtbot.waitUntil(lambda: session.outcome is not None, timeout=60_000)
    session.changed.disconnect(look)
    assert session.outcome is not None
    assert session.outcome.ok
    assert sum(1 for moved in seen if moved) >= 2, "nodes stand there as moved, for more than a flash"
    window.close()
