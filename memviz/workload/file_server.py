"""A file server: files are created, read, truncated and deleted, and the page cache fills all memory.

Each CPU serves files of its own. Files differ in age by design: what is allocated together (the nodes of the trees of
many files, in one slab) does not die together. That interleaving of lifetimes is what ages a machine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import msgspec

from memviz.kernel.dcache import Dentry
from memviz.kernel.filemap import FileMapping
from memviz.workload.base import Bounds, Workload

if TYPE_CHECKING:
    from memviz.kernel.machine import Machine


class FileServerParams(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """``files``: how many at most, per CPU; ``pages``: size of the largest; rates are parts of one.

    ``stream``: part of the reads that go on with a file not yet read to its end. ``sparse``: part of the files with
    holes. ``period``: operations of the machine from one turn of the tide to the next, 0: no tides. At high tide
    files are created three times as often, at low tide they are deleted instead. ``delay``: operations of the machine
    before this server opens. ``open``: part of the files that stay open, so that their dentries are in use.
    """

    files: int = 2000
    pages: int = 256
    readahead: int = 16
    create: float = 0.25
    delete: float = 0.10
    truncate: float = 0.10
    sparse: float = 0.3
    stream: float = 0.0
    period: int = 0
    delay: int = 0
    open: float = 0.1


class ServedFile:
    """An open file: its pages and its name."""

    def __init__(self, mapping: FileMapping, dentry: Dentry, pages: int, stride: int) -> None:
        self.mapping = mapping
        self.dentry = dentry
        self.pages = pages
        self.stride = stride
        self.next = 0
        self.fresh = True  # not yet read to its end
        self.open = True  # holds a reference to its dentry


class FileServer(Workload):
    """See the module."""

    kind = "file-server"
    controls: ClassVar = {
        "create": Bounds("files created, part of operations", 0.0, 1.0),
        "delete": Bounds("files deleted, part of operations", 0.0, 1.0),
        "truncate": Bounds("files truncated, part of operations", 0.0, 1.0),
        "sparse": Bounds("files with holes, part of all", 0.0, 1.0),
        "pages": Bounds("pages of the largest file", 1, 2000),
    }
    params: FileServerParams

    def __init__(self, machine: Machine, seed: int, params: FileServerParams) -> None:
        super().__init__(machine, seed)
        self.params = params
        self.files: list[list[ServedFile]] = [[] for _ in range(machine.config.cpus)]

    def step(self, cpu: int) -> None:
        """Create, delete, truncate or read, by their rates."""
        draw = self.draws[cpu]
        files = self.files[cpu]
        p = self.params
        if self.machine.ops < p.delay:
            return
        create, delete = self.tide()
        what = draw.random()
        if len(files) < 8 or (what < create and len(files) < p.files):
            self.create(cpu)
        elif what < create + delete:
            self.delete(cpu)
        elif what < create + delete + p.truncate:
            file = files[draw.below(len(files))]
            keep = draw.below(file.pages + 1)
            file.mapping.truncate(keep)
            file.next = 0
        elif files[-1].fresh and draw.chance(p.stream):
            self.read(cpu, files[-1])
        else:
            self.read(cpu, files[draw.skewed(len(files))])

    def tide(self) -> tuple[float, float]:
        """How often files are created and deleted now."""
        p = self.params
        if p.period == 0:
            return p.create, p.delete
        if (self.machine.ops - p.delay) // p.period % 2 == 0:
            return min(3 * p.create, 0.8), p.delete / 4
        return p.create / 20, min(p.create + p.delete, 0.8)

    def create(self, cpu: int) -> None:
        """A new file, small most of the time, and its first pages."""
        draw = self.draws[cpu]
        dentry = self.machine.dcache.d_alloc()
        if dentry is None:
            return
        pages = 1 + draw.skewed(self.params.pages)
        stride = draw.between(30, 64) if draw.chance(self.params.sparse) else 1
        file = ServedFile(self.machine.filemap.open(), dentry, pages, stride)
        if not draw.chance(self.params.open):
            self.machine.dcache.dput(dentry)
            file.open = False
        self.files[cpu].append(file)
        for _ in range(min(4, 1 + pages // self.params.readahead)):
            self.read(cpu, file)

    def delete(self, cpu: int) -> None:
        """Unlink a file: its pages, its tree, its name."""
        files = self.files[cpu]
        at = self.draws[cpu].below(len(files))
        file = files[at]
        files[at] = files[-1]
        files.pop()
        self.machine.filemap.delete(file.mapping)
        if file.open or self.machine.dcache.dget(file.dentry):  # else the name has been evicted already
            self.machine.dcache.d_delete(file.dentry)

    def read(self, cpu: int, file: ServedFile) -> None:
        """The next window of a file, from its start again after its end. Sparse files are read page by page."""
        window = min(self.params.readahead, file.pages)
        if file.stride == 1:
            file.mapping.read(file.next, min(window, file.pages - file.next))
        else:
            for at in range(file.next, min(file.next + window, file.pages)):
                file.mapping.read(at * file.stride, 1)
        file.next += window
        if file.next >= file.pages:
            file.next = 0
            file.fresh = False
