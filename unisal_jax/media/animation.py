"""Animated WebP, which FFmpeg does not read, as the frames of a video."""

import struct
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np

from unisal_jax.limits import MAX_FRAME_PIXELS
from unisal_jax.media.images import open_image

# Browsers show a frame for a tenth of a second where the file says less than this, and so does FFmpeg.
_SHORTEST, _USUAL = 0.02, 0.1


def is_webp(path: Path) -> bool:
    """Whether a file begins as WebP does."""
    with path.open("rb") as file:
        start = file.read(12)
    return start[:4] == b"RIFF" and start[8:] == b"WEBP"


def webp_durations(path: Path) -> list[float]:
    """How long a WebP file shows each frame, in seconds, from its blocks' headers; empty for a still one."""
    durations = []
    with path.open("rb") as file:
        position = 12
        # A block: name, size, content, and a byte that fills up an odd size.
        while len(header := _read(file, position, 8 + 15)) == 8 + 15:
            if header[:4] == b"ANMF":
                seconds = int.from_bytes(header[20:23], "little") / 1000
                durations.append(seconds if seconds >= _SHORTEST else _USUAL)
            (size,) = struct.unpack("<I", header[4:8])
            position += 8 + size + size % 2
    return durations


def webp_frames(path: Path, durations: Sequence[float]) -> Generator[tuple[np.ndarray, float], None, None]:
    """The frames of a WebP file, uint8 RGB [H, W, 3], each with its time in seconds; alpha is dropped.

    Raises:
        UnisalError: as `open_image`, after the frames before the damage.
    """
    starts = np.cumsum([0.0, *durations]).tolist()
    with open_image(path, MAX_FRAME_PIXELS) as image:
        for number in range(max(1, len(durations))):
            image.seek(number)
            image.load()
            yield np.array(image.convert("RGB")), starts[number]


def _read(file: BinaryIO, position: int, count: int) -> bytes:
    file.seek(position)
    return file.read(count)
