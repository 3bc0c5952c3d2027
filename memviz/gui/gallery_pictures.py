"""Draws the pictures of the start page: every scenario's memory at the end of a real run, in both themes.

    python -m memviz.gui.gallery_pictures [SCENARIO…] [--ops-part 0.9]

They land in resources/gallery. A compiled kernel draws the same, faster.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from PySide6.QtGui import QImage

from memviz import resources, scenario
from memviz.gui.gallery import PICTURE
from memviz.gui.render import heatmap_modes
from memviz.gui.render.heatmap_image import Camera, HeatmapImage
from memviz.gui.render.layout import Blocks
from memviz.gui.render.pyramid import SLICE, Pyramid
from memviz.gui.render.tokens import Tokens, load
from memviz.snapshot import Snapshot
from memviz.sources.simulation import SimulationSource

MODES = {"thp-bursts": "migratetype", "rdma-contiguous": "pinned_by", "batch-or-one-by-one": "mobility"}
"""Pictures that say more in another mode than by owner."""


def draw(snapshot: Snapshot, mode_id: str, tokens: Tokens, width: int, height: int) -> QImage:
    """The map of ``snapshot`` as a picture."""
    mode = heatmap_modes.mode(mode_id)
    nr = snapshot.pages.nr
    pyramid = Pyramid()
    pyramid.restart(nr, heatmap_modes.raised(mode.lut(snapshot), -1))
    for at in range(pyramid.slices):
        part = heatmap_modes.part(snapshot, at * SLICE, min((at + 1) * SLICE, nr))
        pyramid.update(at, mode.raw(part))
    image = HeatmapImage()
    image.set_view(Blocks.fitting(nr, width, height, 9), Camera(), width, height)
    pixels = image.render(pyramid, heatmap_modes.palette(mode, tokens), 0xFF000000 | tokens.rgb("ui.sunken"))
    return QImage(pixels.tobytes(), width, height, width * 4, QImage.Format.Format_RGB32).copy()


def picture_of(name: str, part: float, folder: Path) -> None:
    """Run a scenario and write its two pictures."""
    source = SimulationSource(name, ops=None)
    source.play.run(int(source.play.ops * part))
    snapshot = source.snapshot()
    for theme in ("dark", "light"):
        image = draw(snapshot, MODES.get(name, "owner"), load(theme), PICTURE.width(), PICTURE.height())
        small = image.convertToFormat(QImage.Format.Format_Indexed8)
        small.save(str(folder / f"{name}-{theme}.png"))


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description="Draw the pictures of the start page.")
    parser.add_argument("scenario", nargs="*", help="which (default: all)")
    parser.add_argument("--ops-part", type=float, default=0.9, help="how much of the run to do (default 0.9)")
    parser.add_argument("--folder", type=Path, default=resources.root() / "gallery")
    options = parser.parse_args()
    options.folder.mkdir(exist_ok=True)
    for name in options.scenario or scenario.names():
        picture_of(name, options.ops_part, options.folder)
        print(name, flush=True)


if __name__ == "__main__":
    main()
