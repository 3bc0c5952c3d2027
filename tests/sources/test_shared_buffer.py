"""The block of memory that two processes share."""

from __future__ import annotations

import os

import numpy as np
import pytest

from memviz.sources.shared_buffer import SharedBuffer, TornBlock


def pair() -> tuple[SharedBuffer, SharedBuffer]:
    """A writer's and a reader's end of one block, as two processes would hold them."""
    writer = SharedBuffer.create()
    return writer, SharedBuffer(os.dup(writer.fd))


def test_what_was_written_is_read_and_may_grow() -> None:
    writer, reader = pair()
    for seq, length in enumerate((0, 1, 1000, 3_000_000, 17), start=1):
        array = np.arange(length, dtype=np.uint32)
        size = writer.write(seq, (array, array[:3].astype(np.uint8), "words", {"a": (1, 2)}))
        got = reader.read(seq, size)
        assert isinstance(got, tuple)
        np.testing.assert_array_equal(got[0], array)
        assert got[0].dtype == np.uint32
        assert got[1].tolist() == array[:3].tolist()
        assert got[2:] == ("words", {"a": (1, 2)})
        assert not got[0].flags.writeable
        assert got[0].flags.aligned
    writer.close()
    reader.close()


def test_a_block_overwritten_or_half_written_is_noticed() -> None:
    writer, reader = pair()
    size = writer.write(1, np.zeros(100))
    writer.write(2, np.ones(100))
    with pytest.raises(TornBlock, match="2/2 instead of 1"):
        reader.read(1, size)
    os.pwrite(writer.fd, b"\x03", 0)  # as a writer that was killed after its first word
    with pytest.raises(TornBlock, match="3/2 instead of 2"):
        reader.read(2, size)
    writer.close()
    reader.close()
