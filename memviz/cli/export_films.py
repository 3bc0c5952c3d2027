"""Films of the map: by ffmpeg where it is, a GIF by Pillow otherwise."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

from memviz.cli.options import Failed
from memviz.recording.reader import Reader
from memviz.snapshot import U8

ENDINGS: Final = (".gif", ".mp4")
_TAIL: Final = b";"


class Film(NamedTuple):
    """A film of so many pixels and pictures a second, ``times`` as fast as it was recorded."""

    width: int
    height: int
    fps: int
    times: float

    def write(self, reader: Reader, kind: str, path: Path, done: Callable[[int, int], None]) -> dict[str, object]:
        """Write it; raises Failed where there is no encoder."""
        count = max(1, int(reader.wall_ns / 1e9 / self.times * self.fps))
        encoder = shutil.which("ffmpeg")
        pictures = self._pictures(reader, count, done)
        if encoder is not None:
            self._by_ffmpeg(encoder, pictures, kind, path)
        elif kind == ".gif":
            self._by_pillow(pictures, path)
        else:
            raise Failed(f"{kind} needs ffmpeg, which is not here: install it, or export .gif or .png")
        by = "ffmpeg" if encoder is not None else "Pillow"
        return {"pictures": count, "fps": self.fps, "encoder": by}

    def _pictures(self, reader: Reader, count: int, done: Callable[[int, int], None]) -> Iterator[U8]:
        from memviz.gui.render.picture import MapPicture

        picture = MapPicture(self.width, self.height)
        for number in range(count):
            ident = reader.find_wall(int(number * self.times / self.fps * 1e9))
            yield picture.rgb(reader.at(ident))
            done(number + 1, count)

    def _by_ffmpeg(self, encoder: str, pictures: Iterator[U8], kind: str, path: Path) -> None:
        line = [encoder, "-loglevel", "error", "-y", "-f", "rawvideo", "-pix_fmt", "rgb24"]
        line += ["-s", f"{self.width}x{self.height}", "-r", str(self.fps), "-i", "-"]
        line += ["-pix_fmt", "yuv420p", "-f", "mp4"] if kind == ".mp4" else ["-loop", "0", "-f", "gif"]
        process = subprocess.Popen([*line, str(path)], stdin=subprocess.PIPE, stderr=subprocess.PIPE)
        assert process.stdin is not None, "a pipe was asked for"
        try:
            for rgb in pictures:
                process.stdin.write(rgb.tobytes())
        except BrokenPipeError:
            pass  # what it has to say about that comes now
        except BaseException:
            process.kill()
            process.wait()
            raise
        _, said = process.communicate()
        if process.returncode != 0:
            last = " ".join(said.decode(errors="replace").strip().splitlines()[-1:])
            raise Failed(f"ffmpeg could not write the film ({last}): try .gif, or another --size")

    def _by_pillow(self, pictures: Iterator[U8], path: Path) -> None:
        """Picture by picture: Pillow's own way keeps all of a film in memory, and leaves out what repeats itself."""
        try:
            from PIL import GifImagePlugin, Image
        except ImportError:
            raise Failed(
                ".gif needs ffmpeg or Pillow, and neither is here: pip install 'memviz[plots]', or export .png"
            ) from None
        gif: Any = GifImagePlugin
        hundredths = max(2, round(100 / self.fps))
        with path.open("wb") as file:
            for number, rgb in enumerate(pictures):
                shown = Image.fromarray(rgb).quantize(256, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
                if number == 0:
                    for part in gif.getheader(shown, info={"loop": 0, "duration": 10 * hundredths})[0]:
                        file.write(part)
                for part in gif.getdata(shown, duration=10 * hundredths, include_color_table=True):
                    file.write(part)
            file.write(_TAIL)
