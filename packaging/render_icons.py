"""Renders the icon's PNG sizes from its SVG: run once after the drawing changed.

.venv/bin/python packaging/render_icons.py
"""

import os
from pathlib import Path

os.environ["QT_QPA_PLATFORM"] = "offscreen"

from PySide6.QtGui import QImage, QPainter
from PySide6.QtSvg import QSvgRenderer

APP_ID = "io.github.memviz.memviz"
ROOT = Path(__file__).resolve().parents[1]
SIZES = (48, 128, 256)


def main() -> None:
    """Writes packaging/icons/hicolor/SIZExSIZE/apps/ID.png for each size."""
    renderer = QSvgRenderer(str(ROOT / "resources" / "icons" / f"{APP_ID}.svg"))
    for size in SIZES:
        image = QImage(size, size, QImage.Format.Format_ARGB32)
        image.fill(0)
        painter = QPainter(image)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        renderer.render(painter)
        painter.end()
        target = ROOT / "packaging" / "icons" / "hicolor" / f"{size}x{size}" / "apps" / f"{APP_ID}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        if not image.save(str(target)):
            raise SystemExit(f"render_icons: cannot write {target}")


if __name__ == "__main__":
    main()
