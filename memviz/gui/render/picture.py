"""The map and the curve as files, without Qt: for exports where no window is."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Final
from xml.sax.saxutils import escape

import numpy as np
import numpy.typing as npt

from memviz.gui.render import heatmap_modes as modes
from memviz.gui.render import tokens
from memviz.gui.render.heatmap_image import Camera, HeatmapImage
from memviz.gui.render.layout import Blocks
from memviz.gui.render.pyramid import SLICE, Pyramid
from memviz.snapshot import U8, Snapshot, Structured

_MARGIN: Final = 34
DIFFERENCE_COLORS: Final = ("owner.free", "chart.compaction", "chart.free", "owner.network")
"""Of the codes of ``analysis.difference``: alike, another owner, used in the first only, in the second only."""
ENDINGS: Final = (".png", ".jpg", ".jpeg", ".svg")
"""What a picture of the window or of a panel is written as: the name says which."""


def refusal(path: str | Path) -> str:
    """Why no picture is written under this name, in one sentence; empty: one is. Without an ending it is a PNG."""
    suffix = Path(path).suffix
    if not suffix or suffix.lower() in ENDINGS:
        return ""
    return f"{Path(path).name}: a picture is a .png, .jpg or .svg, not a {suffix}: choose another name"


class MapPicture:
    """Pictures of the map, one after the other, all of one size."""

    def __init__(self, width: int, height: int, mode: str = "owner", theme: str = "dark") -> None:
        self.width = width
        self.height = height
        self.mode = mode
        self._tokens = tokens.load(theme)
        self._image = HeatmapImage()
        self._layout: Blocks | None = None

    def rgb(self, snapshot: Snapshot) -> U8:
        """The map of a Snapshot: shape (height, width, 3)."""
        one = modes.mode(self.mode)
        pyramid = Pyramid()
        pyramid.restart(snapshot.pages.nr, one.lut(snapshot))
        for number in range(pyramid.slices):
            begin, end = number * SLICE, min((number + 1) * SLICE, snapshot.pages.nr)
            pyramid.update(number, one.raw(modes.part(snapshot, begin, end)))
        if self._layout is None or self._layout.nr != snapshot.pages.nr:
            self._layout = Blocks.fitting(snapshot.pages.nr, self.width, self.height)
            self._image.set_view(self._layout, Camera(), self.width, self.height)
        background = 0xFF000000 | self._tokens.rgb("ui.panel")
        return _channels(self._image.render(pyramid, modes.palette(one, self._tokens), background))


def difference_png(frames: npt.NDArray[np.uint8], width: int, height: int, theme: str = "dark") -> bytes:
    """A map of what differs (codes of ``analysis.difference``) as a PNG file."""
    found = tokens.load(theme)
    pyramid = Pyramid()
    pyramid.restart(frames.size)
    for number in range(pyramid.slices):
        pyramid.update(number, frames[number * SLICE : (number + 1) * SLICE])
    image = HeatmapImage()
    image.set_view(Blocks.fitting(frames.size, width, height), Camera(), width, height)
    palette = np.array([0xFF000000 | found.rgb(key) for key in DIFFERENCE_COLORS], np.uint32)
    return png(_channels(image.render(pyramid, palette, 0xFF000000 | found.rgb("ui.panel"))))


def _channels(pixels: npt.NDArray[np.uint32]) -> U8:
    """Pixels 0xffRRGGBB as an array of shape (height, width, 3)."""
    picture = np.empty((*pixels.shape, 3), np.uint8)
    for channel, shift in enumerate((16, 8, 0)):
        picture[..., channel] = pixels >> shift & 0xFF
    return picture


def map_png(snapshot: Snapshot, width: int, height: int) -> bytes:
    """The map of a Snapshot as a PNG file."""
    return png(MapPicture(width, height).rgb(snapshot))


def png(picture: npt.NDArray[np.uint8]) -> bytes:
    """An array of shape (height, width, 3) as a PNG file."""
    height, width, _ = picture.shape
    lines = np.zeros((height, 1 + width * 3), np.uint8)  # every line begins with its filter: none
    lines[:, 1:] = picture.reshape(height, width * 3)
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(lines.tobytes(), 6)), (b"IEND", b""))
    packed = (
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


def curve_svg(past: Structured, order: int, width: int, height: int, title: str) -> str:
    """The unusable index of an order over time as an SVG drawing."""
    found = tokens.load("light")
    words = f"{title}: unusable free space index, order {order}".lstrip(": ")
    inner_w, inner_h = width - 2 * _MARGIN, height - 2 * _MARGIN
    times = past["time"].astype(np.float64)
    span = max(float(times[-1] - times[0]), 1.0) if times.size else 1.0
    xs = _MARGIN + (times - times[0]) / span * inner_w if times.size else times
    ys = _MARGIN + inner_h * (1 - past["unusable"][:, order] / 1000)
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in zip(xs.tolist(), ys.tolist(), strict=True))
    seconds = (times[0] / 1e9, times[-1] / 1e9) if times.size else (0.0, 0.0)
    ink, line = found.hex("ui.text"), found.hex("chart.line")
    text = f'font-family="sans-serif" font-size="12" fill="{ink}"'
    bottom = height - _MARGIN
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}">\n'
        f'<rect width="100%" height="100%" fill="{found.hex("ui.panel")}"/>\n'
        f'<text x="{_MARGIN}" y="20" {text}>{escape(words)}</text>\n'
        f'<path d="M{_MARGIN} {_MARGIN}V{bottom}H{width - _MARGIN}" fill="none" stroke="{ink}"/>\n'
        f'<polyline points="{points}" fill="none" stroke="{line}" stroke-width="1.5"/>\n'
        f'<text x="{_MARGIN}" y="{height - 12}" {text}>{seconds[0]:.3f} s</text>\n'
        f'<text x="{width - _MARGIN}" y="{height - 12}" {text} text-anchor="end">{seconds[1]:.3f} s</text>\n'
        f'<text x="6" y="{_MARGIN + 4}" {text}>1.0</text>\n<text x="6" y="{bottom}" {text}>0.0</text>\n</svg>\n'
    )
