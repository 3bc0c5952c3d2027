"""Films of the map: by ffmpeg where it is, a GIF by Pillow otherwise."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, Final, NamedTuple

from memviz.cli.options import Failed
from memviz.recording.reader import Reader
from memviz.snapshot import U8

ENDINGS: Final = (".gif", ".mp4")
_TAIL: Final = b";"
_FULL: Final = "No space left"
_LAST_BYTES: Final = 4096


class Film(NamedTuple):
    """A film of so many pixels and pictures a second, ``times`` as fast as it was recorded."""

    width: int
    height: int
    fps: int
    times: float

    @classmethod
    def of(cls, kind: str, size: tuple[int, int], fps: int, times: float) -> Film:
        """A film that can be written as ``kind``: an .mp4 has even numbers of pixels."""
        odd = 1 if kind == ".mp4" else 0
        return cls(size[0] & ~odd, size[1] & ~odd, fps, times)

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
        return {"pictures": count, "fps": self.fps, "width": self.width, "height": self.height, "encoder": by}

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
        line += [f"file:{path}"]  # without it a name with a colon would be a protocol
        with tempfile.TemporaryFile() as said:  # a pipe that is full would stop it, and us
            try:
                process = subprocess.Popen(line, stdin=subprocess.PIPE, stdout=said, stderr=said)
            except OSError as error:
                why = error.strerror or str(error)
                raise Failed(f"{encoder} cannot be run ({why}): install ffmpeg anew, or export .png") from error
            _feed(process, pictures)
            written = path.exists() and path.stat().st_size > 0
            if process.returncode != 0 or not written:
                why = _last_words(said) or _how_it_ended(process.returncode)
                todo = "choose another folder" if _FULL in why else "try .gif or .png, or another --size"
                raise Failed(f"ffmpeg could not write the film ({why}): {todo}")

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


def _feed(process: subprocess.Popen[bytes], pictures: Iterator[U8]) -> None:
    """Hand every picture to the encoder and wait for its end; when we are interrupted, it ends at once."""
    assert process.stdin is not None, "a pipe was asked for"
    try:
        with contextlib.suppress(BrokenPipeError):  # what it has to say about that, it has said
            for rgb in pictures:
                process.stdin.write(rgb.tobytes())
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
        process.wait()
    except BaseException:
        process.kill()
        process.wait()
        raise


def _last_words(said: IO[bytes]) -> str:
    """The last line that the encoder wrote; empty when it wrote nothing."""
    said.seek(max(0, said.seek(0, os.SEEK_END) - _LAST_BYTES))
    lines = said.read().decode(errors="replace").strip().splitlines()
    return lines[-1].strip() if lines else ""


def _how_it_ended(code: int) -> str:
    """The end of an encoder that says nothing itself."""
    if code < 0:
        return f"it was killed by {signal.Signals(-code).name if -code in set(signal.Signals) else f'signal {-code}'}"
    return f"it ended with exit code {code}" if code else "it wrote nothing"
