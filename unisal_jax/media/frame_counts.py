"""Counts the frames of an image file without decoding them."""

import struct
from pathlib import Path
from typing import BinaryIO

from unisal_jax.limits import MAX_IMAGE_BLOCKS
from unisal_jax.media.boxes import count_shown

_PNG, _GIF = b"\x89PNG\r\n\x1a\n", (b"GIF87a", b"GIF89a")


def count_frames(path: str | Path) -> int:
    """Returns the number of frames of a GIF, PNG, WebP or AVIF file; 1 for other and unreadable files.

    Only the sizes of the file's blocks are read, each once. Blocks after `MAX_IMAGE_BLOCKS` are not counted.
    """
    try:
        with Path(path).open("rb") as file:
            start = file.read(12)
            if start[:8] == _PNG:
                file.seek(8)
                return _png_frames(file)
            if start[:4] == b"RIFF" and start[8:] == b"WEBP":
                return _webp_frames(file)
            if start[:6] in _GIF:
                file.seek(6)
                return _gif_frames(file)
            if start[4:12] == b"ftypavis":
                return count_shown(file)
    except (OSError, struct.error, IndexError):
        pass  # cut off: the image reader decides what to do with it
    return 1


def _png_frames(file: BinaryIO) -> int:
    """Reads the number from the acTL chunk, which comes before the pixels."""
    for _ in range(MAX_IMAGE_BLOCKS):
        size, kind = struct.unpack(">I4s", file.read(8))
        if kind == b"acTL":
            return max(1, struct.unpack(">I", file.read(4))[0])
        if kind in (b"IDAT", b"IEND"):
            break
        file.seek(size + 4, 1)
    return 1


def _webp_frames(file: BinaryIO) -> int:
    count = 0
    for _ in range(MAX_IMAGE_BLOCKS):
        head = file.read(8)
        if len(head) < 8:
            break
        kind, size = struct.unpack("<4sI", head)
        if kind in (b"VP8 ", b"VP8L"):
            return 1
        count += kind == b"ANMF"
        file.seek(size + size % 2, 1)
    return max(1, count)


def _gif_frames(file: BinaryIO) -> int:
    file.seek(_colours(file.read(7)[4]), 1)
    count = 0
    inside = False  # an image or an extension: its data are blocks, ended by an empty one
    for _ in range(MAX_IMAGE_BLOCKS):
        kind = file.read(1)
        if not kind:
            break
        if inside:
            file.seek(kind[0], 1)
            inside = kind != b"\0"
        elif kind == b",":  # an image: position and size, flags, local colour table, code size
            file.seek(_colours(file.read(9)[8]) + 1, 1)
            count += 1
            inside = True
        elif kind == b"!":  # an extension
            file.seek(1, 1)
            inside = True
        else:  # the end
            break
    return max(1, count)


def _colours(flags: int) -> int:
    """Returns the size in bytes of the colour table that the flags declare."""
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0
