"""The session: pulls, never queues; remembers what commands came to; stays when its source has died."""

from __future__ import annotations

import numpy as np
from PySide6.QtCore import QTimer
from pytestqt.qtbot import QtBot

from memviz.gui.selection import Selection
from memviz.gui.session import AGAIN, AGAIN_MS, PULL_MS, Session
from memviz.gui.views.status import told
from memviz.recording_state import Playback, Recording
from memviz.snapshot import Outcome, Snapshot
from memviz.sources.base import Defragment, Pause, RequestPages, Run, SetFocus, Speed
from tests.gui.clients import FakeClient, PlayedClient
from tests.gui.synthetic import SyntheticSource, snapshot


def opened(client: FakeClient) -> Session:
    session = Session(Selection())
    session.open(lambda: client)
    return session


def test_the_timer_pulls_snapshots_until_closed(qtbot: QtBot, client: FakeClient) -> None:
    session = opened(client)
    with qtbot.waitSignals([session.changed] * 3, timeout=2000):
        pass
    assert session.snapshot is not None
    assert session.snapshot.seq >= 3
    session.close()
    assert client.closed
    seq = session.snapshot.seq
    qtbot.wait(60)
    assert session.snapshot.seq == seq


class LateClient(FakeClient):
    """Has nothing to show while it is ``late``."""

    late = False

    def poll(self) -> Snapshot | None:
        return None if self.late else super().poll()


def test_a_snapshot_that_is_a_little_late_costs_no_whole_redraw(qtbot: QtBot) -> None:
    client = LateClient()
    session = opened(client)
    session.set_running(True)
    session.pull()
    client.late = True
    waits = []
    for _ in range(AGAIN + 2):
        session.pull()
        waits.append(session._timer.interval())
    assert waits == [AGAIN_MS] * AGAIN + [PULL_MS, AGAIN_MS]
    client.late = False
    session.pull()
    assert session._timer.interval() == PULL_MS
    session.close()


def test_what_cpus_did_is_kept_of_every_snapshot_and_once(client: FakeClient) -> None:
    """Panels are not shown all of them, and the last one is pulled again and again."""
    some = [one for one in (client.source.snapshot() for _ in range(4)) if one is not None]
    wanted = sum(one.lanes.size for one in some)
    assert wanted
    played = PlayedClient(some)
    session = opened(played)
    for _ in range(6):
        session.pull()
    assert session.lanes.segments().size == wanted
    session.open(lambda: PlayedClient([]))
    assert session.lanes.empty
    session.close()


def test_a_request_waits_for_its_outcome(qtbot: QtBot, client: FakeClient) -> None:
    session = opened(client)
    session.request(9)
    assert session.waiting == "Requesting order 9 …"
    session.pull()
    assert session.waiting == ""
    assert session.outcome is not None
    assert not session.outcome.ok
    assert session.outcome.sentence.startswith("Order 9 failed: slabs of xa_node hold 41 blocks")
    session.defragment()
    session.request(9)
    session.pull()
    assert session.outcome.ok
    assert [type(c) for c in client.sent] == [SetFocus, RequestPages, Defragment, RequestPages]
    session.close()


def test_run_and_pause_show_at_once_and_then_what_the_source_says(qtbot: QtBot, client: FakeClient) -> None:
    session = opened(client)
    session.pull()
    assert not session.running
    session.toggle_run()
    assert session.running
    session.pull()
    assert session.snapshot is not None
    assert session.snapshot.state == "running"
    session.toggle_run()
    assert not session.running
    assert [type(c) for c in client.sent[1:]] == [Run, Pause]
    session.close()


def test_the_source_is_asked_for_what_is_selected(qtbot: QtBot, client: FakeClient) -> None:
    session = opened(client)
    session.selection.select_page(77)
    assert isinstance(client.sent[-1], SetFocus)
    session.pull()
    assert session.snapshot is not None
    assert session.snapshot.detail is not None
    assert session.snapshot.detail.pfn == 77
    session.close()


def test_events_are_kept_even_when_nobody_shows_them(qtbot: QtBot, client: FakeClient) -> None:
    session = opened(client)
    session.set_running(True)
    for _ in range(50):
        session.pull()
    assert session.log.seen == 50
    assert np.all(np.diff(session.log.events["seq"]) == 1)
    assert len(session.history.times) == 50
    session.close()


def test_one_snapshot_seen_twice_counts_once(qtbot: QtBot) -> None:
    source = SyntheticSource(4096)
    source.command(1, Run())
    session = opened(PlayedClient([source.snapshot()]))
    for _ in range(5):
        session.pull()
    assert session.log.seen == 1
    session.close()


def test_a_dead_source_leaves_its_last_picture_and_a_sentence(qtbot: QtBot, client: FakeClient) -> None:
    session = opened(client)
    session.pull()
    last = session.snapshot
    client.die("The background process of memviz was killed by SIGKILL.")
    session.pull()
    assert session.failure == "The background process of memviz was killed by SIGKILL."
    assert session.snapshot is last
    sent = len(client.sent)
    session.request(9)
    session.set_running(True)
    assert len(client.sent) == sent
    assert not session.usable
    session.close()


def test_an_engine_that_failed_is_told_from_its_notice(qtbot: QtBot) -> None:
    session = opened(PlayedClient([snapshot(state="failed", notice="The run has stopped: xa_lock was taken twice.")]))
    session.pull()
    assert session.failure == "The run has stopped: xa_lock was taken twice."
    session.close()


def test_what_was_said_last_is_what_counts(qtbot: QtBot) -> None:
    outcome = Outcome(1, "compact", True, "Compaction moved 3 pages.")
    shots = [
        snapshot(seq=1, outcomes=(outcome,)),
        snapshot(seq=2, outcomes=(outcome,), notice="Look at block 340."),
        snapshot(seq=3, outcomes=(outcome, outcome._replace(number=2)), notice="Look at block 340."),
    ]
    session = opened(PlayedClient(shots))
    said = []
    for _ in shots:
        session.pull()
        said.append(told(session).words)
    assert said == ["Compaction moved 3 pages.", "Look at block 340.", "Compaction moved 3 pages."]
    session.close()


def test_another_source_starts_from_nothing(qtbot: QtBot, client: FakeClient) -> None:
    session = opened(client)
    session.set_running(True)
    for _ in range(5):
        session.pull()
    session.selection.select_page(3)
    other = FakeClient(SyntheticSource(4096))
    session.open(lambda: other)
    assert client.closed
    assert session.snapshot is None
    assert session.log.seen == 0
    assert len(session.history.times) == 0
    assert session.selection.now.pfn == -1
    session.close()


def test_speed_reaches_the_source(qtbot: QtBot, client: FakeClient) -> None:
    session = opened(client)
    session.set_speed(3000)
    session.pull()
    assert client.sent[-1] == Speed(3000)
    assert session.speed == 3000
    session.close()


class Slow(FakeClient):
    """Takes its time to go."""

    lingers = True

    @property
    def gone(self) -> bool:
        return self.closed and not self.lingers

    def close(self) -> None:
        super().close()
        self.waited = True

    def leave(self) -> None:
        super().close()

    waited = False


def test_nobody_waits_for_a_source_that_takes_its_time_to_go(qtbot: QtBot) -> None:
    session, slow = Session(Selection()), Slow()
    session.open(lambda: slow)
    session.pull()
    session.open(FakeClient)
    assert slow.closed
    assert not slow.waited
    session.pull()
    assert session.snapshot is not None, "the next one is shown meanwhile"
    assert session.findChildren(QTimer)[1].isActive(), "somebody sees the other off"
    slow.lingers = False
    qtbot.waitUntil(lambda: not session.findChildren(QTimer)[1].isActive())
    session.close()


def test_the_end_of_the_window_waits_for_all_that_were_left(qtbot: QtBot) -> None:
    session, slow = Session(Selection()), Slow()
    session.open(lambda: slow)
    session.open(FakeClient)
    slow.lingers = False
    session.close()
    assert slow.waited or slow.gone
    assert not any(timer.isActive() for timer in session.findChildren(QTimer))


def test_a_recording_that_ends_by_itself_is_told_once(qtbot: QtBot) -> None:
    """The line said that it records, in green, after the file was gone."""
    going = Recording("/r.memviz", 5, 0, 1000, 1.0, True)
    lost = going._replace(active=False, failure="The recording has stopped: the disk of /r.memviz is full.")
    told_once = [snapshot(recording=now, seq=seq) for seq, now in enumerate([going, lost, lost, lost], 1)]
    session = opened(PlayedClient(told_once))
    session.pull()
    assert session.outcome is None
    session.pull()
    assert (told(session).words, told(session).tone) == (lost.failure, "bad")
    session.outcome = Outcome(-1, "", True, "What came later.")
    session.pull()
    assert told(session).words == "What came later."
    session.close()


def test_what_an_instant_did_not_have_is_forgotten_at_another(qtbot: QtBot) -> None:
    """ "There is no grace period behind this instant" stood there wherever one went."""
    place = Playback("/r.memviz", 9, 8, 0, 9000, 1, 1.0, None, (), True)
    refused = Outcome(1, "Jump", False, "There is no grace period behind this instant.")
    said = (snapshot(playback=place, seq=1), snapshot(playback=place, seq=2, outcomes=(refused,)))
    session = opened(PlayedClient([*said, snapshot(playback=place._replace(wound=2), seq=3, outcomes=(refused,))]))
    session.pull()
    session.pull()
    assert session.outcome == refused
    session.pull()
    assert session.outcome is None
    session.close()


def test_a_source_that_dies_takes_the_recording_along_and_that_is_said(qtbot: QtBot) -> None:
    """The button stayed pressed, and nobody said that what was written can be played."""
    client = PlayedClient([snapshot(recording=Recording("/r.memviz", 5, 0, 1000, 1.0, True))])
    session = opened(client)
    session.pull()
    assert session.recording
    client.die("The background process of memviz was killed by SIGKILL: what you see is its last picture.")
    session.pull()
    assert not session.recording
    assert told(session).words.endswith("F5 starts it again. What was recorded until then is in /r.memviz.")
    session.close()
