"""Animated PNG and WebP: frame durations from the file's blocks, and frames that FFmpeg cannot read.

FFmpeg cannot read animated WebP, so Pillow reads it. FFmpeg reads PNG, because Pillow clips 16-bit samples
and blends half-transparent pixels too dark. FFmpeg would unpack a PNG's texts and colour profiles to any
size, so these are removed first.
"""

import io
import struct
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from unisal_jax.errors import UnisalError, one_line
from unisal_jax.limits import MAX_FRAME_PIXELS, MAX_IMAGE_BLOCKS, MAX_UNPACKED_BYTES

# Like browsers and FFmpeg: frames with a shorter duration than _SHORTEST are shown for _USUAL. In seconds.
_SHORTEST, _USUAL = 0.02, 0.1
_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_METADATA = (b"iCCP", b"zTXt", b"iTXt", b"tEXt", b"eXIf")


def read_animation(path: Path) -> bytes | None:
    """Reads a PNG or WebP file, animated or still; returns None for other formats.

    Raises:
      UnisalError: the file is too large to hold in memory, or its frames exceed MAX_FRAME_PIXELS.
    """
    with path.open("rb") as file:
        start = file.read(30)
        if start[:8] == _PNG:
            width, height = (int.from_bytes(start[at : at + 4], "big") for at in (16, 20))
        elif start[:4] == b"RIFF" and start[8:12] == b"WEBP":
            # A still WebP has no canvas size here; Pillow checks its size later.
            width, height = (int.from_bytes(start[at : at + 3], "little") + 1 for at in (24, 27))
            width = width if start[12:16] == b"VP8X" else 0
        else:
            return None
        if path.stat().st_size > MAX_UNPACKED_BYTES:
            raise UnisalError(f"{path}: the animation is larger than {MAX_UNPACKED_BYTES >> 20} MiB")
        _check_size(path, width, height)
        file.seek(0)
        return without_png_metadata(file.read())


def frame_durations(data: bytes) -> list[float]:
    """Returns the duration of each frame in seconds, read from the blocks; empty for a still image."""
    durations = []
    for name, start, end in _blocks(data):
        if name == b"ANMF":
            seconds = int.from_bytes(data[start + 20 : start + 23], "little") / 1000
        elif name == b"fcTL" and end <= len(data):
            count, parts = struct.unpack(">HH", data[start + 28 : start + 32])
            seconds = count / (parts or 100)
        else:
            continue
        durations.append(seconds if seconds >= _SHORTEST else _USUAL)
    return durations


def by_ffmpeg(data: bytes) -> bool:
    """Whether FFmpeg can read an animation: PNG, except with one bit per pixel."""
    bits, colours = data[24], data[25]
    return data[:8] == _PNG and (bits, colours) != (1, 0)


def animation_frames(
    path: Path, data: bytes, durations: Sequence[float]
) -> Generator[tuple[np.ndarray, float], None, None]:
    """Yields (frame, time): uint8 RGB [H, W, 3] without alpha, and seconds.

    Raises:
      UnisalError: the file is damaged or cut off. Frames before the damage are yielded first.
    """
    starts = np.cumsum([0.0, *durations]).tolist()
    try:
        with Image.open(io.BytesIO(data), formats=("PNG", "WEBP")) as image:
            _check_size(path, *image.size)
            # A PNG may hold a fallback image for programs without animation support. It is not a frame.
            first = int(bool(durations) and getattr(image, "default_image", False))
            for number in range(max(1, len(durations))):
                image.seek(first + number)
                image.load()
                yield np.array(image.convert("RGB")), starts[number]
    except UnisalError:
        raise
    except Exception as error:
        # Pillow's decoders raise many types of exceptions without a common base.
        reason = one_line(error)
        raise UnisalError(f"{path}: the animation is damaged or cut off ({reason})") from error


def without_png_metadata(data: bytes) -> bytes:
    """Removes texts and profiles, which may unpack to any size, from a PNG; returns other data unchanged."""
    if data[:8] != _PNG:
        return data
    kept = [data[start:end] for name, start, end in _blocks(data) if name not in _PNG_METADATA]
    return b"".join([_PNG, *kept])


def _check_size(path: Path, width: int, height: int) -> None:
    if width * height > MAX_FRAME_PIXELS:
        raise UnisalError(
            f"{path}: frames of {width}x{height} are larger than {MAX_FRAME_PIXELS / 1e6:.0f} megapixels"
        )


def _blocks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yields (name, start, end) of each block of a PNG or WebP file."""
    png = data[:8] == _PNG
    position = 8 if png else 12
    for _ in range(MAX_IMAGE_BLOCKS):
        if position + 8 > len(data):
            return
        # PNG: size, name, content, checksum. WebP: name, size, content padded to an even length.
        first, second = data[position : position + 4], data[position + 4 : position + 8]
        name, size = (
            (second, int.from_bytes(first, "big")) if png else (first, int.from_bytes(second, "little"))
        )
        end = position + 8 + size + (4 if png else size % 2)
        yield name, position, end
        position = end
