"""Animated PNG and WebP: their blocks, and the frames of those that FFmpeg does not read, by Pillow.

FFmpeg reads no animated WebP. Of PNG it would unpack texts and colour profiles to any size, so it gets files
without them; Pillow clips their 16-bit samples and blends half transparent pixels too dark.
"""

import io
import struct
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from unisal_jax.errors import UnisalError, one_line
from unisal_jax.limits import MAX_FRAME_PIXELS, MAX_IMAGE_BLOCKS, MAX_UNPACKED_BYTES

# Browsers show a frame for a tenth of a second where the file says less than this, and so does FFmpeg.
_SHORTEST, _USUAL = 0.02, 0.1
_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_METADATA = (b"iCCP", b"zTXt", b"iTXt", b"tEXt", b"eXIf")


def read_animation(path: Path) -> bytes | None:
    """What an animation, a PNG or WebP file, holds; None for a file of another kind. It may be a still one.

    Raises:
        UnisalError: it is too large to be held in memory, or its frames are larger than MAX_FRAME_PIXELS.
    """
    with path.open("rb") as file:
        start = file.read(30)
        if start[:8] == _PNG:
            width, height = (int.from_bytes(start[at : at + 4], "big") for at in (16, 20))
        elif start[:4] == b"RIFF" and start[8:12] == b"WEBP":
            # Of a still one these are other bytes: Pillow is asked as well.
            width, height = (int.from_bytes(start[at : at + 3], "little") + 1 for at in (24, 27))
            width = width if start[12:16] == b"VP8X" else 0
        else:
            return None
        if path.stat().st_size > MAX_UNPACKED_BYTES:
            raise UnisalError(f"{path}: an animation of more than {MAX_UNPACKED_BYTES >> 20} MiB")
        _check_size(path, width, height)
        file.seek(0)
        return without_png_metadata(file.read())


def frame_durations(data: bytes) -> list[float]:
    """How long each frame of an animation is shown, in seconds, by its blocks; empty for a still image."""
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
    """Whether FFmpeg composes the frames of an animation: of any PNG but those of one bit a pixel."""
    bits, colours = data[24], data[25]
    return data[:8] == _PNG and (bits, colours) != (1, 0)


def animation_frames(
    path: Path, data: bytes, durations: Sequence[float]
) -> Generator[tuple[np.ndarray, float], None, None]:
    """The frames, uint8 RGB [H, W, 3], each with its time in seconds; alpha is dropped.

    Raises:
        UnisalError: the file is damaged or cut off, after the frames before the damage.
    """
    starts = np.cumsum([0.0, *durations]).tolist()
    try:
        with Image.open(io.BytesIO(data), formats=("PNG", "WEBP")) as image:
            _check_size(path, *image.size)
            # A PNG file may hold an image for programs that know no animations, which is no frame.
            first = int(bool(durations) and getattr(image, "default_image", False))
            for number in range(max(1, len(durations))):
                image.seek(first + number)
                image.load()
                yield np.array(image.convert("RGB")), starts[number]
    except UnisalError:
        raise
    except Exception as error:
        # As for images: Pillow's decoders have no exception in common.
        reason = one_line(error)
        raise UnisalError(f"{path}: the animation is damaged or cut off ({reason})") from error


def without_png_metadata(data: bytes) -> bytes:
    """A PNG file without its texts and profiles, which may unpack to any size; other data as they are."""
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
    """The blocks of a PNG or WebP file: name, and where it begins and ends."""
    png = data[:8] == _PNG
    position = 8 if png else 12
    for _ in range(MAX_IMAGE_BLOCKS):
        if position + 8 > len(data):
            return
        # PNG: size, name, content, checksum. WebP: name, size, content to an even length.
        first, second = data[position : position + 4], data[position + 4 : position + 8]
        name, size = (
            (second, int.from_bytes(first, "big")) if png else (first, int.from_bytes(second, "little"))
        )
        end = position + 8 + size + (4 if png else size % 2)
        yield name, position, end
        position = end
