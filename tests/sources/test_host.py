"""A source in a process of its own: what arrives, and what is left when one side dies."""

from __future__ import annotations

import fcntl
import os
import select
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from memviz.snapshot import Snapshot
from memviz.sources.base import Pause, RequestPages, Run, SetPolicy, SourceSpec, Step
from memviz.sources.host import HostClient

HERE = Path(__file__).parent
PATIENCE = 20.0


def counting(**arguments: object) -> SourceSpec:
    return SourceSpec("counting_source:CountingSource", arguments)


@pytest.fixture(autouse=True)
def _host_finds_counting_source(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, (str(HERE), os.environ.get("PYTHONPATH", "")))))


@pytest.fixture
def client(request: pytest.FixtureRequest) -> Iterator[HostClient]:
    with HostClient(counting(**getattr(request, "param", {}))) as client:
        yield client


def next_snapshot(client: HostClient) -> Snapshot:
    snapshot = client.wait(PATIENCE)
    assert snapshot is not None, client.failure or "no snapshot arrived"
    return snapshot


def outcome_of(client: HostClient, number: int) -> str:
    """Pull Snapshots until the command's outcome is in one."""
    while True:
        for outcome in next_snapshot(client).outcomes:
            if outcome.number == number:
                return outcome.sentence


def gone_within(pid_fd: int, seconds: float) -> bool:
    """True once the process behind ``pid_fd`` has ended."""
    return bool(select.select([pid_fd], [], [], seconds)[0])


def test_first_snapshot_arrives_without_a_command(client: HostClient) -> None:
    snapshot = next_snapshot(client)
    assert (snapshot.title, snapshot.ops, snapshot.state) == ("counting", 0, "paused")
    assert snapshot.pages.nr == 1024


def test_commands_are_numbered_and_tell_their_outcome(client: HostClient) -> None:
    numbers = [client.send(Step(3)), client.send(Step(4))]
    assert numbers == [1, 2]
    assert outcome_of(client, 2) == "count is 7"
    assert [outcome.sentence for outcome in client.last.outcomes] == ["count is 3", "count is 7"]
    assert client.last.pages.stamp.tolist() == [7] * 1024


def test_arrays_stay_as_they_were_and_cannot_be_written(client: HostClient) -> None:
    client.send(Step(1))
    outcome_of(client, 1)
    held = client.last
    for number in range(2, 12):
        client.send(Step(1))
        outcome_of(client, number)
    assert client.last.ops == 11
    assert held.pages.stamp.tolist() == [1] * 1024
    for array in (held.pages.owner, held.pages.stamp, held.pageblock_mt, held.events, held.objects, held.lanes):
        assert not array.flags.writeable
    with pytest.raises(ValueError, match="read-only"):
        held.pages.owner[0] = 1


@pytest.mark.parametrize("client", [{"frames": 1 << 18, "running": True}], indirect=True)
def test_no_snapshot_of_a_running_source_is_torn_or_old(client: HostClient) -> None:
    counts = []
    for _ in range(100):
        snapshot = next_snapshot(client)
        assert snapshot.pages.stamp.min() == snapshot.pages.stamp.max() == snapshot.ops
        assert snapshot.events.size == snapshot.ops % 5
        counts.append(snapshot.ops)
    assert all(np.diff(counts) > 0)


def test_nothing_new_means_no_snapshot(client: HostClient) -> None:
    next_snapshot(client)
    assert client.wait(0.1) is None
    number = client.send(Run())
    outcome_of(client, number)
    number = client.send(Pause())
    assert outcome_of(client, number) == f"count is {client.last.ops}"
    assert client.last.state == "paused"
    assert client.wait(0.1) is None


def test_poll_never_blocks_while_the_host_hangs(client: HostClient) -> None:
    next_snapshot(client)
    os.kill(client.pid, signal.SIGSTOP)
    begin = time.monotonic()
    for _ in range(20_000):  # more than the socket takes: the rest waits on our side
        client.send(Step(1))
    slowest = 0.0
    for _ in range(100):
        before = time.monotonic()
        assert client.poll() is None
        slowest = max(slowest, time.monotonic() - before)
    assert slowest < 0.1
    assert time.monotonic() - begin < 5
    os.kill(client.pid, signal.SIGCONT)
    assert outcome_of(client, 20_000) == "count is 20000"


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSEGV])
def test_killed_host_leaves_last_snapshot_and_a_sentence(client: HostClient, how: signal.Signals) -> None:
    client.send(Step(5))
    outcome_of(client, 1)
    os.kill(client.pid, how)
    snapshot = next_snapshot(client)
    assert snapshot.state == "failed"
    assert snapshot.ops == 5
    assert snapshot.pages.stamp.tolist() == [5] * 1024
    assert snapshot.notice == client.failure
    assert (
        client.failure
        == f"The background process of memviz was killed by {how.name}: what you see is its last picture."
    )
    assert ("Segmentation fault" in client.report) == (how is signal.SIGSEGV)
    assert not client.alive
    assert client.poll() is None
    assert client.last is snapshot
    assert client.send(Step(1)) == 2  # goes nowhere, and says nothing worse


def test_host_that_exits_leaves_its_last_words(client: HostClient) -> None:
    next_snapshot(client)
    client.send(SetPolicy("exit", "3"))
    assert next_snapshot(client).notice.startswith("The background process of memviz ended by itself with exit code 3:")
    assert "about to go" in client.report


@pytest.mark.parametrize("client", [{"fail_at": 3, "running": True}], indirect=True)
def test_exception_in_the_source_is_a_snapshot_with_a_report(client: HostClient) -> None:
    while (snapshot := next_snapshot(client)).state != "failed":
        pass
    assert snapshot.ops == 3
    assert snapshot.pages.stamp.tolist() == [3] * 1024
    assert snapshot.notice == (
        "The run has stopped because of an error in memviz (RuntimeError: count 3 was one too many); "
        "please save the report and send it."
    )
    assert client.report.startswith("counting_source:CountingSource (fail_at=3, running=True)\n")
    assert "counting_source.py" in client.report
    assert client.report.rstrip().endswith("one too many")
    assert client.alive
    number = client.send(Step(1))
    assert outcome_of(client, number) == "Step: nothing was done, for the run has failed before."
    assert client.last.ops == 3


def unread(client: HostClient) -> int:
    """Bytes of messages that have arrived and that the client has not looked at."""
    return int(struct.unpack("i", fcntl.ioctl(client.fileno(), termios.FIONREAD, b"\0" * 4))[0])


def test_a_snapshot_that_nobody_has_read_yet_survives_what_the_host_says_next(client: HostClient) -> None:
    client.poll()
    assert select.select([client.fileno()], [], [], PATIENCE)[0]
    one_message = unread(client)
    client.send(RequestPages(9, 0))  # fails, and its report needs room in the shared memory as well
    deadline = time.monotonic() + PATIENCE
    while unread(client) <= one_message:
        assert time.monotonic() < deadline, "the report of the failure never came"
        os.sched_yield()
    snapshot = client.poll()
    assert snapshot is not None
    assert (snapshot.state, snapshot.title) == ("paused", "counting")
    assert "ZeroDivisionError" in client.report


def test_exception_in_a_command_fails_the_run_and_the_command(client: HostClient) -> None:
    number = client.send(RequestPages(9, 0))
    while (snapshot := next_snapshot(client)).state != "failed":
        pass
    assert "ZeroDivisionError: the allocator divided by zero" in snapshot.notice
    assert [(outcome.number, outcome.ok) for outcome in snapshot.outcomes] == [(number, False)]


@pytest.mark.parametrize("client", [{"wrong": "There is no machine with 0 CPUs; ask for 1."}], indirect=True)
def test_source_that_cannot_be_made_says_why(client: HostClient) -> None:
    snapshot = next_snapshot(client)
    assert (snapshot.state, snapshot.notice) == ("failed", "There is no machine with 0 CPUs; ask for 1.")
    assert snapshot.pages.nr == 0


def test_closing_leaves_no_process_descriptor_memory_or_thread() -> None:
    before = (len(os.listdir("/proc/self/fd")), sorted(os.listdir("/dev/shm")), threading.active_count())
    client = HostClient(counting(frames=1 << 16, running=True))
    client.start()
    next_snapshot(client)
    pid_fd = os.pidfd_open(client.pid)
    client.close()
    assert gone_within(pid_fd, 0)
    os.close(pid_fd)
    assert client.failure == ""
    assert client.last is not None
    assert (len(os.listdir("/proc/self/fd")), sorted(os.listdir("/dev/shm")), threading.active_count()) == before


@pytest.mark.parametrize("hanging", [False, True], ids=["working", "hanging"])
def test_leaving_waits_for_nobody_and_leaves_nothing(hanging: bool) -> None:
    before = len(os.listdir("/proc/self/fd"))
    client = HostClient(counting(frames=1 << 16, running=True))
    client.start()
    next_snapshot(client)
    if hanging:
        os.kill(client.pid, signal.SIGSTOP)
    begin = time.monotonic()
    client.leave()
    client.leave()
    if hanging:
        assert not client.gone
    assert time.monotonic() - begin < 0.5
    while not client.gone:
        time.sleep(0.01)  # as a timer would look
        assert time.monotonic() - begin < 10
    client.close()
    assert client.failure == ""
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("stopped", [False, True], ids=["working", "hanging"])
def test_killed_window_leaves_no_process(stopped: bool) -> None:
    program = (
        "import sys\n"
        "from memviz.sources.base import SourceSpec\n"
        "from memviz.sources.host import HostClient\n"
        "client = HostClient(SourceSpec('counting_source:CountingSource', {'running': True}))\n"
        "client.start()\n"
        "assert client.wait(20) is not None\n"
        "print(client.pid, flush=True)\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as window:
        assert window.stdout is not None
        pid = int(window.stdout.readline())
        pid_fd = os.pidfd_open(pid)
        if stopped:
            os.kill(pid, signal.SIGSTOP)  # cannot read the end of the stream: the kernel has to end it
        assert not gone_within(pid_fd, 0)
        window.kill()
    assert gone_within(pid_fd, PATIENCE)
    os.close(pid_fd)
