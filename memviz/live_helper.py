"""What memviz needs rights for on a Linux machine: one small program, standard library only.

It reads the files of ``FILES``, the page flags, and the ring buffer of a trace instance of its own. That is all, unless
it was started with ``--actions``: then it also does what ``ACTIONS`` lists. The window never runs as root: it starts
this through polkit or sudo (``memviz.sources.linux_access``) and talks to it over pipes. A memviz that is root already
uses ``Kernel`` in its own process.

Requests and answers are length-prefixed blocks: one byte of kind, four of length, then so many bytes. A request is
JSON, ``[call, arguments...]``. The answer's kind is ``D`` (data), ``J`` (JSON) or ``E`` (JSON: file, errno, remedy).
When the other end goes, the trace instance is removed and the program ends.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import mmap
import os
import select
import struct
import sys
import time
import zlib
from typing import Any, BinaryIO, Final

PROC: Final = "/proc"
FILES: Final = {
    "buddyinfo": "/proc/buddyinfo",
    "pagetypeinfo": "/proc/pagetypeinfo",
    "zoneinfo": "/proc/zoneinfo",
    "slabinfo": "/proc/slabinfo",
    "vmstat": "/proc/vmstat",
    "meminfo": "/proc/meminfo",
    "iomem": "/proc/iomem",
    "hostname": "/proc/sys/kernel/hostname",
    "osrelease": "/proc/sys/kernel/osrelease",
    "extfrag_index": "/sys/kernel/debug/extfrag/extfrag_index",
    "unusable_index": "/sys/kernel/debug/extfrag/unusable_index",
}
KPAGEFLAGS: Final = "/proc/kpageflags"
FRAME_FILES: Final = {"flags": KPAGEFLAGS, "cgroup": "/proc/kpagecgroup", "count": "/proc/kpagecount"}
"""One little-endian u64 a page frame."""
PAGE_OWNER: Final = "/sys/kernel/debug/page_owner"
ACTING: Final = "memviz-helper-actions"
"""By what name polkit starts a helper that may act: reading and acting are allowed one by one."""
ACTIONS: Final = ("compact", "drop_caches", "shrink", "huge_page")
TRACEFS: Final = ("/sys/kernel/tracing", "/sys/kernel/debug/tracing")
INSTANCE: Final = "memviz-"
PAGE_EVENTS: Final = ("kmem/mm_page_alloc", "kmem/mm_page_free", "kmem/mm_page_pcpu_drain")
"""Of every page frame: so many that they are switched off where programs would pay too much for them."""
EVENTS: Final = (
    *PAGE_EVENTS,
    "kmem/mm_page_alloc_extfrag",
    "compaction/mm_compaction_begin",
    "compaction/mm_compaction_end",
    "compaction/mm_compaction_deferred",
    "compaction/mm_compaction_migratepages",
)
_REMEDIES: Final = (
    ("kpagecgroup", "use a kernel built with CONFIG_PROC_PAGE_MONITOR and CONFIG_MEMCG"),
    ("kpage", "use a kernel built with CONFIG_PROC_PAGE_MONITOR"),
    ("page_owner", "use a kernel built with CONFIG_PAGE_OWNER, boot it with page_owner=on and mount debugfs"),
    ("tracing", "mount tracefs: mount -t tracefs tracefs /sys/kernel/tracing (the kernel needs CONFIG_FTRACE)"),
    ("debug", "mount debugfs: mount -t debugfs debugfs /sys/kernel/debug"),
    ("slab", "use a kernel built with CONFIG_SLUB and CONFIG_SLUB_DEBUG"),
    ("", "this kernel does not have it; memviz goes on without"),
)
SAMPLED: Final = ("kmem/kmem_cache_alloc", "kmem/kmem_cache_free")
"""Events of every slab object: on for moments only, to learn which slab belongs to which cache."""
BLOCK: Final = struct.Struct("<cI")
BLOCK_MAX: Final = 64 << 20
_BUFFER_KIB: Final = 64 << 10  # for all CPUs together
_PRESSING: Final = 3  # percent of the buffer, when reading it can't wait
_PRICED: Final = 256  # page frames that are touched to learn what an event costs
_HUGE: Final = "/proc/sys/vm/nr_hugepages"
_HUGE_NOTE: Final = "/run/memviz-huge-page"
_CLONE_NEWNS: Final = 0x20000
_MS_REC_SLAVE: Final = 0x4000 | 0x80000


class Refused(Exception):
    """What cannot be had: the file, the errno (0: none), and one sentence that says what to do."""

    def __init__(self, file: str, number: int, remedy: str) -> None:
        why = f"{os.strerror(number)} (errno {number})" if number else "not as expected"
        super().__init__(f"{file}: {why}; {remedy}")
        self.file = file
        self.errno = number
        self.remedy = remedy


def remedy(file: str, number: int) -> str:
    """What would make ``file`` readable."""
    if number in (1, 13):  # EPERM, EACCES
        return "run memviz with sudo, or let it ask for rights"
    return next(told for part, told in _REMEDIES if part in file)


def _refused(error: OSError, file: str) -> Refused:
    return Refused(file, error.errno or 0, remedy(file, error.errno or 0))


def _put(path: str, value: str) -> None:
    try:
        with open(path, "w", encoding="ascii") as file:
            file.write(value)
    except OSError as error:
        raise _refused(error, path) from error


class Kernel:
    """This machine's kernel, read directly. Every method raises Refused. ``root`` is where /proc and /sys are."""

    def __init__(self, root: str = "", actions: bool = False) -> None:
        self._root = root
        self._actions = actions
        self._frames: dict[str, int] = {}
        self._tracefs = ""
        self._instance = ""
        self._pipes: list[int] = []
        self._ready: select.poll | None = None
        self._sub_buffer = 4096
        self._formats: frozenset[str] = frozenset()

    def read(self, name: str) -> bytes:
        """The text of one of ``FILES``."""
        if name not in FILES:
            raise Refused(name, 0, "memviz reads no such file")
        return self._read(self._root + FILES[name])

    def _read(self, path: str) -> bytes:
        try:
            with open(path, "rb", buffering=0) as file:
                parts: list[bytes] = []
                while part := file.read(1 << 16):
                    parts.append(part)
                return b"".join(parts)
        except OSError as error:
            raise _refused(error, path) from error

    def slab_figures(self) -> dict[str, dict[str, int]]:
        """Of every cache in /sys/kernel/slab: how many slabs are partial, and how many sit on a CPU, where it says."""
        folder = self._root + "/sys/kernel/slab"
        found: dict[str, dict[str, int]] = {}
        try:
            names = os.listdir(folder)
        except OSError as error:
            raise _refused(error, folder) from error
        for name in sorted(names):
            figures = {}
            for what in ("partial", "cpu_slabs"):
                with contextlib.suppress(Refused, ValueError, IndexError):
                    figures[what] = int(self._read(f"{folder}/{name}/{what}").split()[0])
            found[name] = figures
        return found

    def open_frames(self, what: str = "flags") -> int:
        """A descriptor of one of ``FRAME_FILES``."""
        if what not in FRAME_FILES:
            raise Refused(what, 0, "memviz reads no such file")
        if what not in self._frames:
            path = self._root + FRAME_FILES[what]
            try:
                self._frames[what] = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            except OSError as error:
                raise _refused(error, path) from error
        return self._frames[what]

    def page_words(self, start: int, count: int, what: str = "flags") -> bytes:
        """What one of ``FRAME_FILES`` says of ``count`` page frames from ``start``; fewer where memory ends."""
        if start < 0 or not 0 <= count * 8 <= BLOCK_MAX:
            raise Refused(KPAGEFLAGS, 0, "ask for fewer page frames at once")
        try:
            data = os.pread(self.open_frames(what), count * 8, start * 8)
        except OSError as error:
            raise _refused(error, FRAME_FILES[what]) from error
        return data[: len(data) // 8 * 8]

    def cgroups(self) -> dict[str, str]:
        """Memory cgroups: inode to path."""
        top = self._root + "/sys/fs/cgroup"
        top += "/memory" if os.path.isdir(top + "/memory") else ""  # of version 1
        folders = [top, *(os.path.join(place, name) for place, names, _ in os.walk(top) for name in names)]
        with contextlib.suppress(OSError):
            return {str(os.stat(one).st_ino): one.removeprefix(top) or "/" for one in folders}
        return {}

    def page_owner(self, pfn: int) -> bytes:
        """The text about who allocated the first page frame from ``pfn`` on of which that is known (Linux 6.3)."""
        path = self._root + PAGE_OWNER
        try:
            with open(path, "rb", buffering=0) as file:
                file.seek(pfn)
                return file.read(1 << 13) or b""
        except OSError as error:
            raise _refused(error, path) from error

    def trace_start(self) -> dict[str, Any]:
        """Make an instance of our own, switch its events on. Returns the events' formats and the number of CPUs."""
        self._tracefs = self._find_tracefs()
        self._remove_stale()
        self._give_back()
        self._instance = f"{self._tracefs}/instances/{INSTANCE}{os.getpid()}-{_started(os.getpid())}"
        try:
            os.mkdir(self._instance)
            cpus = sorted(int(name[3:]) for name in os.listdir(f"{self._instance}/per_cpu"))
            self._sub_buffer = sub_buffer_size(self._read(f"{self._tracefs}/events/header_page").decode())
            _put(self._instance + "/trace_clock", "mono")
            _put(self._instance + "/buffer_size_kb", str(max(256, min(8192, _BUFFER_KIB // len(cpus)))))
            formats = {}
            for event in (*EVENTS, *SAMPLED):
                with contextlib.suppress(Refused):  # an older kernel lacks some
                    formats[event] = self._read(f"{self._instance}/events/{event}/format").decode(errors="replace")
            self._formats = frozenset(formats)
            untraced = _touched_ns()
            self._enable(EVENTS, True)
            event_ns = (_touched_ns() - untraced) // (2 * _PRICED)
            for cpu in cpus:
                path = f"{self._instance}/per_cpu/cpu{cpu}/trace_pipe_raw"
                self._pipes.append(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC))
            self._watch_ring()
            if not self._formats.intersection(PAGE_EVENTS[:2]):
                raise Refused(f"{self._tracefs}/events/kmem", 2, "use a kernel with the kmem tracepoints")
        except (Refused, OSError) as error:
            self.trace_stop()
            if isinstance(error, Refused):
                raise
            raise _refused(error, error.filename or f"{self._tracefs}/instances") from error
        return {"formats": formats, "cpus": cpus, "page": self._sub_buffer, "event_ns": event_ns}

    def trace_follow(self, on: bool) -> None:
        """Switch the events of page frames on or off; the rare ones stay on."""
        self._enable(PAGE_EVENTS, on)

    def trace_read(self, pages: int, most: int = 1 << 62) -> list[tuple[int, bytes]]:
        """What has been traced since: (CPU, sub-buffers one after the other), at most ``pages`` of them a CPU, and
        no more than ``most`` bytes."""
        pages = min(pages, most // self._sub_buffer // max(1, len(self._pipes)))
        found = []
        for cpu, pipe in enumerate(self._pipes):
            parts: list[bytes] = []
            while len(parts) < pages:
                try:
                    part = os.read(pipe, self._sub_buffer)
                except BlockingIOError:
                    break
                except OSError as error:
                    raise _refused(error, f"{self._instance}/per_cpu/cpu{cpu}/trace_pipe_raw") from error
                if not part:
                    break
                parts.append(part.ljust(self._sub_buffer, b"\0"))
            if parts:
                found.append((cpu, b"".join(parts)))
        return found

    def _watch_ring(self) -> None:
        """See to it that ``trace_ready`` can tell; kernels before 5.0 can't."""
        with contextlib.suppress(Refused):
            _put(self._instance + "/buffer_percent", str(_PRESSING))
            self._ready = select.poll()
            for pipe in self._pipes:
                self._ready.register(pipe, select.POLLIN)

    def trace_ready(self) -> bool:
        """So much has been traced that reading it should not wait."""
        return self._ready is not None and bool(self._ready.poll(0))

    def trace_lost(self) -> int:
        """Events that the kernel overwrote before they were read, on all CPUs."""
        lost = 0
        for cpu in range(len(self._pipes)):
            text = self._read(f"{self._instance}/per_cpu/cpu{cpu}/stats").decode(errors="replace")
            for line in text.splitlines():
                name, _, value = line.partition(":")
                if name in ("overrun", "dropped events") and value.strip().isdigit():
                    lost += int(value)
        return lost

    def trace_sample(self, on: bool) -> None:
        """Switch the events of every slab object on or off."""
        self._enable(SAMPLED, on)

    def _enable(self, events: tuple[str, ...], on: bool) -> None:
        for event in events:
            if event in self._formats:  # an older kernel lacks some
                _put(f"{self._instance}/events/{event}/enable", "1" if on else "0")

    def trace_stop(self) -> None:
        """Remove the instance. Nothing happens when there is none."""
        for pipe in self._pipes:
            os.close(pipe)
        self._pipes.clear()
        self._ready = None
        if self._instance:
            with contextlib.suppress(Refused):
                _put(self._instance + "/tracing_on", "0")
            with contextlib.suppress(OSError):
                os.rmdir(self._instance)
            self._instance = ""

    def _find_tracefs(self) -> str:
        places = [self._root + place for place in TRACEFS]
        for place in places:
            if os.path.isdir(f"{place}/instances"):
                return place
        if not self._root and os.geteuid() == 0 and os.path.isdir(TRACEFS[0]) and _mount_for_us(TRACEFS[0]):
            return TRACEFS[0]
        raise Refused(places[0], 2, remedy(places[0], 2))

    def _remove_stale(self) -> None:
        """Take away instances of ours whose process was killed."""
        folder = f"{self._tracefs}/instances"
        with contextlib.suppress(OSError):
            for name in os.listdir(folder):
                pid, _, started = name.removeprefix(INSTANCE).partition("-")
                if name.startswith(INSTANCE) and pid.isdigit() and _started(int(pid)) != started:
                    with contextlib.suppress(OSError):
                        os.rmdir(f"{folder}/{name}")

    def act(self, action: str, argument: str = "") -> str:
        """Do one of ``ACTIONS``; returns a figure in words. Refused unless they were asked for at the start."""
        if action not in ACTIONS:
            raise Refused(action, 0, f"memviz can do: {', '.join(ACTIONS)}")
        if not self._actions:
            raise Refused(action, 1, "actions on this machine are off: start memviz with --actions")
        self._give_back()
        if action == "huge_page":
            return self._huge_page()
        if action == "shrink" and ("/" in argument or argument in ("", ".", "..")):
            raise Refused(argument, 22, "name one slab cache")
        path, value = {
            "compact": ("/proc/sys/vm/compact_memory", "1"),
            "drop_caches": ("/proc/sys/vm/drop_caches", "3"),
            "shrink": (f"/sys/kernel/slab/{argument}/shrink", "1"),
        }[action]
        _put(self._root + path, value)
        return ""

    def _huge_page(self) -> str:
        """Ask for one more huge page, and give it back. Returns "1" when there was one."""
        path, note = self._root + _HUGE, self._root + _HUGE_NOTE
        before = int(self._read(path))
        _put(note, f"{os.getpid()} {_started(os.getpid())} {before}")
        try:
            _put(path, str(before + 1))
            return str(int(self._read(path)) - before)
        finally:
            _put(path, str(before))
            os.unlink(note)

    def _give_back(self) -> None:
        """Give back the huge page that a process of ours was killed over."""
        note = self._root + _HUGE_NOTE
        with contextlib.suppress(Refused, ValueError, OSError):
            pid, started, before = self._read(note).decode().split()
            if _started(int(pid)) != started:
                if int(self._read(self._root + _HUGE)) == int(before) + 1:
                    _put(self._root + _HUGE, before)
                os.unlink(note)

    def close(self) -> None:
        """Give everything back."""
        self.trace_stop()
        while self._frames:
            os.close(self._frames.popitem()[1])


def sub_buffer_size(header: str) -> int:
    """Bytes of a sub-buffer, by what events/header_page says of its data: a page of the kernel's, 4 KiB or 64."""
    for line in header.splitlines():
        words = line.replace(";", " ").replace(":", " ").split()
        if "data" in words and "offset" in words and "size" in words:
            return int(words[words.index("offset") + 1]) + int(words[words.index("size") + 1])
    return 4096


def _touched_ns() -> int:
    """CPU time to get ``_PRICED`` page frames one by one and give them back: the shortest of several."""
    best = 1 << 62
    for _ in range(6):
        begin = time.thread_time_ns()
        with mmap.mmap(-1, _PRICED << 12) as room:
            room.madvise(mmap.MADV_NOHUGEPAGE)
            room[::4096] = bytes(_PRICED)
        best = min(best, time.thread_time_ns() - begin)
    return best


def _started(pid: int) -> str:
    """When a process began, in the kernel's ticks; empty when there is none. Tells a pid from its next owner."""
    try:
        with open(f"{PROC}/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[19].decode()
    except (OSError, IndexError):
        return ""


def _mount_for_us(where: str) -> bool:
    """Mount tracefs where only this process sees it: the machine stays as it is."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNS) or libc.mount(b"none", b"/", None, _MS_REC_SLAVE, None):
        return False
    return bool(libc.mount(b"tracefs", where.encode(), b"tracefs", 0, None) == 0)


# -- the program -------------------------------------------------------------------------------------------------------


_CALLS: Final = (
    *("slab_figures", "cgroups", "act", "trace_start", "trace_stop"),
    *("trace_follow", "trace_sample", "trace_ready", "trace_lost"),
)


def send(stream: BinaryIO, kind: bytes, data: bytes) -> None:
    """Write one block."""
    stream.write(BLOCK.pack(kind, len(data)))
    stream.write(data)
    stream.flush()


def receive(stream: BinaryIO) -> tuple[bytes, bytes] | None:
    """Read one block; None at the end of the stream. Raises EOFError in the middle of one, ValueError for garbage."""
    head = stream.read(BLOCK.size)
    if not head:
        return None
    if len(head) < BLOCK.size:
        raise EOFError
    kind, length = BLOCK.unpack(head)
    if kind not in b"RDJE" or length > BLOCK_MAX + BLOCK.size:
        raise ValueError(f"no block of memviz's begins with {head!r}")
    data = stream.read(length)
    if len(data) < length:
        raise EOFError
    return kind, data


def _answer(kernel: Kernel, call: str, arguments: list[Any]) -> tuple[bytes, bytes]:
    if call == "read":
        return b"D", kernel.read(str(arguments[0]))
    if call == "page_words":
        data = kernel.page_words(int(arguments[0]), int(arguments[1]), str(arguments[2]))
        return b"D", zlib.compress(data, 1) if len(arguments) > 3 else data
    if call == "page_owner":
        return b"D", kernel.page_owner(int(arguments[0]))
    if call == "trace_read":
        parts = kernel.trace_read(int(arguments[0]), BLOCK_MAX // 2)
        head = json.dumps([(cpu, len(data)) for cpu, data in parts]).encode()
        return b"D", struct.pack("<I", len(head)) + head + b"".join(data for _, data in parts)
    if call not in _CALLS:
        raise Refused(call, 0, "memviz and its helper are of different versions: install them together")
    return b"J", json.dumps(getattr(kernel, call)(*arguments)).encode()


def serve(kernel: Kernel, requests: BinaryIO, answers: BinaryIO) -> None:
    """Answer until the other end goes."""
    try:
        while (block := receive(requests)) is not None:
            try:
                call, *arguments = json.loads(block[1])
                kind, data = _answer(kernel, call, arguments)
            except Refused as error:
                kind, data = b"E", json.dumps([error.file, error.errno, error.remedy]).encode()
            except (OSError, ValueError, TypeError, IndexError) as error:
                kind, data = b"E", json.dumps(["helper", 0, f"{type(error).__name__}: {error}"]).encode()
            send(answers, kind, data)
    except (EOFError, ValueError, BrokenPipeError):
        pass
    finally:
        kernel.close()


def main(arguments: list[str] | None = None) -> None:
    """Serve on standard input and output."""
    given = sys.argv[1:] if arguments is None else arguments
    if given not in ([], ["--actions"]) or sys.stdin.isatty():
        sys.exit("memviz-helper: memviz starts this by itself; there is nothing to type here")
    if given and "PKEXEC_UID" in os.environ and os.path.basename(sys.argv[0]) != ACTING:
        sys.exit("memviz-helper: who may read may not act: polkit has an action of its own for that")
    serve(Kernel(actions=given == ["--actions"]), sys.stdin.buffer, sys.stdout.buffer)


if __name__ == "__main__":
    main()
