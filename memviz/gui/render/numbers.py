"""Numbers as people read them: thousands, bytes, times."""

from __future__ import annotations


def count(n: int) -> str:
    """``1204`` → ``1,204``."""
    return f"{n:,}"


def short_count(number: int) -> str:
    """A number where there is little room: ``883_336`` → ``883 k``, ``3_535_000`` → ``3.5 M``."""
    if number >= 999_500:
        return f"{number / 1e6:.1f} M"
    return f"{number / 1000:.0f} k" if number >= 9_950 else f"{number:,}"


def bytes_of_frames(frames: int) -> str:
    """The size of ``frames`` page frames of 4 KiB: ``512`` → ``2 MiB``."""
    size, unit = frames * 4.0, "KiB"
    for larger in ("MiB", "GiB"):
        if size >= 1024:
            size, unit = size / 1024, larger
    return f"{size:,.0f} {unit}" if size >= 10 or size == int(size) else f"{size:.1f} {unit}"


def duration(ns: int) -> str:
    """``3_100_000`` → ``3.1 ms``."""
    for limit, scale, unit in ((1_000, 1, "ns"), (1_000_000, 1e3, "µs"), (1_000_000_000, 1e6, "ms")):
        if ns < limit:
            return f"{ns} ns" if unit == "ns" else f"{ns / scale:.3g} {unit}"
    return f"{ns / 1e9:,.3g} s" if ns < 100_000_000_000 else f"{ns / 1e9:,.0f} s"


def instant(ns: int) -> str:
    """A moment of virtual time, to the microsecond: ``12_804_311_000`` → ``12.804 311``."""
    us = ns // 1000
    return f"{us // 1_000_000}.{us // 1000 % 1000:03d} {us % 1000:03d}"


def seconds(ns: int) -> str:
    """A moment of virtual time, to the millisecond: ``12.804 s``."""
    return f"{ns / 1e9:.3f} s"


def rate(per_s: int) -> str:
    """Operations a second: ``30_000`` → ``30 k/s``; 0 → ``full speed``."""
    if per_s == 0:
        return "full speed"
    if per_s >= 1_000_000:
        return f"{per_s / 1_000_000:g} M/s"
    if per_s >= 1_000:
        return f"{per_s / 1_000:g} k/s"
    return f"{per_s}/s"


def percent(part: int, whole: int) -> str:
    """``part`` of ``whole``: a small share is never rounded to nothing."""
    if whole <= 0:
        return "–"
    share = 100 * part / whole
    if 0 < share < 1:
        return "<1 %"
    return f"{share:.0f} %"
