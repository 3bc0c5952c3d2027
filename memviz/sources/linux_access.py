"""The ways to a machine's kernel: directly, or through the helper that polkit or sudo started.

Both raise ``LiveError``: one sentence with the file, the errno and what to do.
"""

from __future__ import annotations

import errno
import json
import os
import select
import shutil
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path
from typing import Any, Final, Literal, Protocol

import numpy as np

from memviz import live_helper
from memviz.live_helper import Kernel, Refused
from memviz.snapshot import U64
from memviz.sources.base import SourceError

Rights = Literal["auto", "none", "pkexec", "sudo"]
INSTALLED: Final = Path("/usr/libexec/memviz-helper")
ASK: Final = "run memviz with sudo, or let it ask for rights: sudo packaging/install-helper.sh brings what it needs"
_ANSWER_S: Final = 5.0
_PASSWORD_S: Final = 120.0
_CALL_MAX: Final = 1 << 16  # page frames in one answer


class LiveError(SourceError):
    """Something of this machine that cannot be had, in one sentence that also says what to do."""

    def __init__(self, sentence: str, file: str = "", number: int = 0) -> None:
        super().__init__(sentence)
        self.file = file
        self.errno = number


def told_missing(missing: dict[str, str]) -> list[str]:
    """What can't be seen: a sentence for each reason. Lack of rights is one reason, whichever file it is for."""
    by_reason: dict[str, list[str]] = {}
    refused = [what for what, why in missing.items() if "(errno 13)" in why or "(errno 1)" in why]
    for what, why in missing.items():
        if what in refused and len(refused) > 1:
            why = f"only root may read them; {ASK}"
        by_reason.setdefault(why, []).append(what)
    found = []
    for why, whats in by_reason.items():
        named = f"{', '.join(whats[:-1])} and no {whats[-1]}" if len(whats) > 1 else whats[0]
        found.append(f"No {named}: {why}.")
    return found


class Access(Protocol):
    """A way to the kernel. Every method but ``close`` raises LiveError."""

    def text(self, name: str) -> str:
        """The text of one of ``live_helper.FILES``."""

    def slab_figures(self) -> dict[str, dict[str, int]]:
        """Figures of /sys/kernel/slab, by cache."""

    def page_flags_into(self, start: int, words: U64) -> int:
        """Fill ``words`` with the flags of the page frames from ``start``; returns how many there were."""

    def page_words(self, start: int, count: int, what: str) -> U64:
        """What one of ``live_helper.FRAME_FILES`` says of page frames; fewer where memory ends."""

    def page_owner(self, pfn: int) -> str:
        """What page_owner says of the first page frame from ``pfn`` on that it knows."""

    def cgroups(self) -> dict[int, str]:
        """Memory cgroups: path by inode."""

    def trace_start(self) -> dict[str, Any]:
        """Begin to trace: ``formats``, ``cpus``, ``page``."""

    def trace_read(self, pages: int) -> list[tuple[int, bytes]]:
        """Sub-buffers of the ring, by CPU."""

    def trace_ready(self) -> bool:
        """So much has been traced that reading it should not wait."""

    def trace_lost(self) -> int:
        """Events that were overwritten before they were read."""

    def trace_follow(self, on: bool) -> None:
        """Events of page frames on or off; the rare ones stay on."""

    def trace_sample(self, on: bool) -> None:
        """Events of every slab object on or off."""

    def trace_stop(self) -> None:
        """Stop tracing and remove the instance."""

    def act(self, action: str, argument: str = "") -> str:
        """Do something to the machine."""

    def close(self) -> None:
        """Give everything back."""


def _error(error: Refused) -> LiveError:
    return LiveError(str(error), error.file, error.errno)


class Direct:
    """The kernel, read by this process itself."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel

    def text(self, name: str) -> str:
        """As ``Access``."""
        try:
            return self._kernel.read(name).decode(errors="replace")
        except Refused as error:
            raise _error(error) from error

    def slab_figures(self) -> dict[str, dict[str, int]]:
        """As ``Access``."""
        try:
            return self._kernel.slab_figures()
        except Refused as error:
            raise _error(error) from error

    def page_flags_into(self, start: int, words: U64) -> int:
        """As ``Access``; no copy is made. Short reads are read on."""
        try:
            fd = self._kernel.open_frames()
            room = words.view(np.uint8).data
            got = os.preadv(fd, [room], start * 8)
            while 0 < got < words.nbytes:
                more = os.preadv(fd, [room[got:]], start * 8 + got)
                if not more:
                    break
                got += more
            return got // 8
        except Refused as error:
            raise _error(error) from error
        except OSError as error:
            file = live_helper.KPAGEFLAGS
            raise _error(Refused(file, error.errno or 0, live_helper.remedy(file, error.errno or 0))) from error

    def page_words(self, start: int, count: int, what: str) -> U64:
        """As ``Access``."""
        try:
            return np.frombuffer(self._kernel.page_words(start, count, what), "<u8")
        except Refused as error:
            raise _error(error) from error

    def page_owner(self, pfn: int) -> str:
        """As ``Access``."""
        try:
            return self._kernel.page_owner(pfn).decode(errors="replace")
        except Refused as error:
            raise _error(error) from error

    def cgroups(self) -> dict[int, str]:
        """As ``Access``."""
        return {int(inode): path for inode, path in self._kernel.cgroups().items()}

    def trace_start(self) -> dict[str, Any]:
        """As ``Access``."""
        try:
            return self._kernel.trace_start()
        except Refused as error:
            raise _error(error) from error

    def trace_read(self, pages: int) -> list[tuple[int, bytes]]:
        """As ``Access``."""
        try:
            return self._kernel.trace_read(pages)
        except Refused as error:
            raise _error(error) from error

    def trace_ready(self) -> bool:
        """As ``Access``."""
        return self._kernel.trace_ready()

    def trace_lost(self) -> int:
        """As ``Access``."""
        try:
            return self._kernel.trace_lost()
        except Refused as error:
            raise _error(error) from error

    def trace_follow(self, on: bool) -> None:
        """As ``Access``."""
        try:
            self._kernel.trace_follow(on)
        except Refused as error:
            raise _error(error) from error

    def trace_sample(self, on: bool) -> None:
        """As ``Access``."""
        try:
            self._kernel.trace_sample(on)
        except Refused as error:
            raise _error(error) from error

    def trace_stop(self) -> None:
        """As ``Access``."""
        self._kernel.trace_stop()

    def act(self, action: str, argument: str = "") -> str:
        """As ``Access``."""
        try:
            return self._kernel.act(action, argument)
        except Refused as error:
            raise _error(error) from error

    def close(self) -> None:
        """As ``Access``."""
        self._kernel.close()


class Helper:
    """The kernel, read by a helper with rights at the other end of two pipes."""

    def __init__(self, command: list[str], patience: float = _PASSWORD_S, program: bytes = b"", host: str = "") -> None:
        """Start it. ``patience``: seconds that a person may take over a password. ``program``: what it reads before
        any request. ``host``: on which machine it runs; empty: on this one."""
        self._name = Path(command[0]).name
        self._host = host
        try:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0
            )
        except OSError as error:
            raise LiveError(
                f"{command[0]}: {error.strerror} (errno {error.errno}); install it, or run memviz with sudo", command[0]
            ) from error
        self._patience = patience
        try:
            self._begin(program)  # asks for the password, if it must
        except LiveError:
            self.close()
            raise
        self._patience = _ANSWER_S

    def _begin(self, program: bytes) -> None:
        assert self._process.stdin is not None
        try:
            view = memoryview(program)
            while view:
                view = view[os.write(self._process.stdin.fileno(), view) :]
        except BrokenPipeError as error:
            raise LiveError(self._gone()) from error
        self._call("read", "vmstat")

    def _call(self, *request: object) -> bytes:
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            live_helper.send(process.stdin, b"R", json.dumps(request).encode())  # type: ignore[arg-type]  # unbuffered
            kind, length = live_helper.BLOCK.unpack(self._exactly(live_helper.BLOCK.size))
            if length > 2 * live_helper.BLOCK_MAX or kind not in (b"D", b"J", b"E"):
                raise LiveError(self._garbage(live_helper.BLOCK.pack(kind, length)))
            data = self._exactly(length)
        except (BrokenPipeError, EOFError) as error:
            raise LiveError(self._gone()) from error
        if kind == b"E":
            file, number, remedy = json.loads(data)
            raise _error(Refused(file, number, remedy))
        return data

    def _exactly(self, count: int) -> bytes:
        """Read so many bytes. Raises EOFError when it has gone, LiveError when it says nothing."""
        assert self._process.stdout is not None
        fd = self._process.stdout.fileno()
        data = bytearray()
        end = time.monotonic() + self._patience
        while len(data) < count:
            if not select.select([fd], [], [], max(0.0, end - time.monotonic()))[0]:
                self._process.kill()
                who = self._host or self._name
                raise LiveError(f"{who} has not answered for {self._patience:.0f} s; open the machine again")
            part = os.read(fd, count - len(data))
            if not part:
                raise EOFError
            data += part
        return bytes(data)

    def _garbage(self, head: bytes) -> str:
        if not self._host:
            return f"{self._name} answers with garbage; install memviz and its helper together"
        said = head + os.read(self._process.stdout.fileno(), 200) if self._process.stdout is not None else head
        line = said.decode(errors="replace").splitlines()[0]
        return f"{self._host} says {line!r} before anything else; its shell must print nothing where nobody types"

    def _gone(self) -> str:
        assert self._process.stderr is not None
        code = self._process.wait()
        said = self._process.stderr.read().decode(errors="replace").strip().splitlines()
        why = f": {said[-1]}" if said else ""
        if self._host:
            return self._host_gone(code, why)
        if self._name == "pkexec" and code in (126, 127):
            return f"polkit gave memviz no rights to read this machine's memory map{why}; ask again, or use sudo"
        if self._name == "sudo" and code == 1:
            return f"sudo gave memviz no rights to read this machine's memory map{why}; run sudo -v first"
        return f"the helper that reads this machine has ended (exit code {code}){why}; open this machine again"

    def _host_gone(self, code: int, why: str) -> str:
        if code == 127:
            return f"{self._host} has no python3{why}; install it there, or look at a recording that was made there"
        if "sudo:" in why:
            return f"sudo on {self._host} gave no rights{why}; use root@HOST, or allow it without a password"
        if code == 255:
            return f"{self._host} cannot be reached{why}; try ssh {self._host} in a terminal first"
        return f"the helper on {self._host} has ended (exit code {code}){why}; open it again"

    def text(self, name: str) -> str:
        """As ``Access``."""
        return self._call("read", name).decode(errors="replace")

    def slab_figures(self) -> dict[str, dict[str, int]]:
        """As ``Access``."""
        found: dict[str, dict[str, int]] = json.loads(self._call("slab_figures"))
        return found

    def page_flags_into(self, start: int, words: U64) -> int:
        """As ``Access``."""
        done = 0
        while done < words.size:
            part = self.page_words(start + done, min(_CALL_MAX, words.size - done), "flags")
            words[done : done + part.size] = part
            done += part.size
            if not part.size:
                break
        return done

    def page_words(self, start: int, count: int, what: str) -> U64:
        """As ``Access``. Packed on a long way: flags repeat themselves."""
        if self._host:
            return np.frombuffer(zlib.decompress(self._call("page_words", start, count, what, True)), "<u8")
        return np.frombuffer(self._call("page_words", start, count, what), "<u8")

    def page_owner(self, pfn: int) -> str:
        """As ``Access``."""
        return self._call("page_owner", pfn).decode(errors="replace")

    def cgroups(self) -> dict[int, str]:
        """As ``Access``."""
        return {int(inode): path for inode, path in json.loads(self._call("cgroups")).items()}

    def trace_start(self) -> dict[str, Any]:
        """As ``Access``."""
        found: dict[str, Any] = json.loads(self._call("trace_start"))
        return found

    def trace_read(self, pages: int) -> list[tuple[int, bytes]]:
        """As ``Access``."""
        data = self._call("trace_read", pages)
        (length,) = struct.unpack_from("<I", data)
        at = 4 + length
        found = []
        for cpu, size in json.loads(data[4:at]):
            found.append((int(cpu), data[at : at + size]))
            at += size
        return found

    def trace_ready(self) -> bool:
        """As ``Access``."""
        return not self._host and bool(json.loads(self._call("trace_ready")))

    def trace_lost(self) -> int:
        """As ``Access``."""
        return int(json.loads(self._call("trace_lost")))

    def trace_follow(self, on: bool) -> None:
        """As ``Access``."""
        self._call("trace_follow", on)

    def trace_sample(self, on: bool) -> None:
        """As ``Access``."""
        self._call("trace_sample", on)

    def trace_stop(self) -> None:
        """As ``Access``."""
        self._call("trace_stop")

    def act(self, action: str, argument: str = "") -> str:
        """As ``Access``."""
        return str(json.loads(self._call("act", action, argument)))

    def close(self) -> None:
        """As ``Access``; the helper ends when its input does."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process.wait(2.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for pipe in (self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()


def helper_command(actions: bool = False) -> list[str]:
    """How the helper is started, without the rights: the installed one, or this checkout's."""
    installed = INSTALLED.with_name(live_helper.ACTING) if actions else INSTALLED
    command = [str(installed)] if installed.exists() else [sys.executable, "-I", str(Path(live_helper.__file__))]
    return command + (["--actions"] if actions else [])


def connect(rights: Rights = "auto", actions: bool = False) -> Access:
    """The way to this machine's kernel. ``auto``: as who we are; it never asks for a password. Raises LiveError."""
    if rights in ("auto", "none") or os.geteuid() == 0:
        return Direct(Kernel(actions=actions))
    if shutil.which(rights) is None:
        raise LiveError(
            f"{rights}: {os.strerror(errno.ENOENT)} (errno {errno.ENOENT}); install it, or run memviz as root", rights
        )
    return Helper([rights, *(["-n"] if rights == "sudo" else []), *helper_command(actions)])
