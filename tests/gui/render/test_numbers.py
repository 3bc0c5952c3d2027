"""Numbers as people read them."""

from __future__ import annotations

import pytest

from memviz.gui.render.numbers import bytes_of_frames, duration, instant, percent, rate


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (bytes_of_frames(1), "4 KiB"),
        (bytes_of_frames(512), "2 MiB"),
        (bytes_of_frames(262_144), "1 GiB"),
        (bytes_of_frames(384), "1.5 MiB"),
        (bytes_of_frames(16_777_216), "64 GiB"),
        (duration(900), "900 ns"),
        (duration(3_100_000), "3.1 ms"),
        (duration(150_000), "150 µs"),
        (duration(2_500_000_000), "2.5 s"),
        (instant(12_804_311_999), "12.804 311"),
        (instant(5_000), "0.000 005"),
        (rate(0), "full speed"),
        (rate(30_000), "30 k/s"),
        (percent(1, 1000), "<1 %"),
        (percent(0, 1000), "0 %"),
        (percent(1, 0), "–"),
    ],
)
def test_numbers_as_people_read_them(said: str, expected: str) -> None:
    assert said == expected
