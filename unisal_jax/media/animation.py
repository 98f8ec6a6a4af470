"""Animated PNG and WebP as the frames of a video, by Pillow.

FFmpeg reads no animated WebP, and of PNG it unpacks texts and colour profiles to any size.
"""

import struct
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path

import numpy as np

from unisal_jax.limits import MAX_BLOCKS, MAX_FRAME_PIXELS
from unisal_jax.media.images import open_image

# Browsers show a frame for a tenth of a second where the file says less than this, and so does FFmpeg.
_SHORTEST, _USUAL = 0.02, 0.1


def is_animation(path: Path) -> bool:
    """Whether a file begins as PNG or WebP does; it may hold one image alone."""
    return _start(path) is not None


def frame_durations(path: Path) -> list[float]:
    """How long each frame of an animation is shown, in seconds, by its blocks; empty for a still image."""
    durations = []
    for name, content in _blocks(path):
        if name == b"ANMF":
            seconds = int.from_bytes(content[12:15], "little") / 1000
        elif name == b"fcTL" and len(content) == 24:
            count, parts = struct.unpack(">HH", content[20:24])
            seconds = count / (parts or 100)
        else:
            continue
        durations.append(seconds if seconds >= _SHORTEST else _USUAL)
    return durations


def animation_frames(
    path: Path, durations: Sequence[float]
) -> Generator[tuple[np.ndarray, float], None, None]:
    """The frames, uint8 RGB [H, W, 3], each with its time in seconds; alpha is dropped.

    Raises:
        UnisalError: as `open_image`, after the frames before the damage.
    """
    starts = np.cumsum([0.0, *durations]).tolist()
    with open_image(path, MAX_FRAME_PIXELS) as image:
        # A PNG file may hold an image for programs that know no animations, which is no frame.
        first = int(bool(durations) and getattr(image, "default_image", False))
        for number in range(max(1, len(durations))):
            image.seek(first + number)
            image.load()
            yield np.array(image.convert("RGB")), starts[number]


def _start(path: Path) -> tuple[int, str] | None:
    """Where the blocks begin, and the byte order of their sizes."""
    with path.open("rb") as file:
        start = file.read(12)
    if start[:8] == b"\x89PNG\r\n\x1a\n":
        return 8, ">"
    return (12, "<") if start[:4] == b"RIFF" and start[8:] == b"WEBP" else None


def _blocks(path: Path) -> Iterator[tuple[bytes, bytes]]:
    """The blocks' names, each with the first 24 bytes of its content."""
    position, order = _start(path) or (0, "")
    with path.open("rb") as file:
        for _ in range(MAX_BLOCKS):
            file.seek(position)
            header = file.read(8 + 24)
            if len(header) < 8:
                return
            # PNG: size, name, content, checksum. WebP: name, size, content to an even length.
            name, field = (header[4:8], header[:4]) if order == ">" else (header[:4], header[4:8])
            (size,) = struct.unpack(f"{order}I", field)
            yield name, header[8 : 8 + size]
            position += 8 + size + (4 if order == ">" else size % 2)
