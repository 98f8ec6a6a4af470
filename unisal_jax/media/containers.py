"""Detects truncated video files from the sizes that the container declares.

Demuxers treat a missing tail as a normal end, and the number of frames in a header is unreliable: edit
lists and dropped frames make complete files hold fewer. The declared sizes of the top-level blocks are
exact: a complete file always has that many bytes.
"""

import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from unisal_jax.limits import MAX_CONTAINER_BLOCKS

_MP4_BOXES = frozenset(b"ftyp styp meta moov mdat moof mfra sidx free skip wide uuid".split())
_EBML_HEADER, _EBML_SEGMENT, _EBML_VOID = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67", b"\xec"
_UNKNOWN_RIFF_SIZES = (0, 0xFFFFFFFF)
# The compression method, four bytes of size, a name, and the unpacked size.
_PACKED_INDEX = re.compile(rb"dcomzlib.{4}cmvd(.{4})", re.DOTALL)
_MARK, _PART = 19, 1 << 20
# First bytes of Matroska, AVI, FLV, Ogg, ASF and MPEG-TS. Read as a block size they would exceed 400 MB.
_OTHER_STARTS = (_EBML_HEADER, b"RIFF", b"FLV", b"OggS", b"\x30\x26\xb2\x75", b"G")


def is_cut_off(path: Path) -> bool:
    """Whether an MP4, MOV, AVI, Matroska, WebM, GIF or PNG file ends before its last block does.

    Also False where this cannot be decided: other containers, a writer that left the sizes open (a live
    recording), or too many blocks.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        block_end = _block_end(file.read(8))
        if block_end is None:
            return False
        position = 0
        # Bounded, since a file of very small blocks would take minutes.
        for _ in range(MAX_CONTAINER_BLOCKS):
            if position >= size:
                break
            file.seek(position)
            end = block_end(file, position)
            if end is None:
                return False
            if end > size:
                return True
            position = end
    return False


def packed_index_size(path: Path) -> int:
    """Returns the declared unpacked size in bytes of a QuickTime file's index; 0 if it is not packed."""
    size, position, largest = path.stat().st_size, 0, 0
    with path.open("rb") as file:
        if file.read(4).startswith(_OTHER_STARTS):
            return 0
        for _ in range(MAX_CONTAINER_BLOCKS):
            file.seek(position)
            header = file.read(16)
            end = _box_end(header, position)
            if end is None:
                break
            end = min(end, size)
            # FFmpeg finds the index in a block of any name except these.
            if header[4:8] not in (b"mdat", b"free", b"skip"):
                largest = max(largest, _largest_claim(file, position, end))
            position = end
    return largest


def _largest_claim(file: BinaryIO, start: int, end: int) -> int:
    """Returns the largest size that a packed index declares between two positions, reading in parts."""
    largest, found = 0, b""
    file.seek(start)
    for position in range(start, end, _PART):
        part = file.read(min(_PART, end - position))
        if not part:
            break
        # Prepend the end of the previous part, where the mark may begin.
        found = found[-_MARK:] + part
        for claim in _PACKED_INDEX.findall(found):
            largest = max(largest, int.from_bytes(claim, "big"))
    return largest


def _block_end(start: bytes) -> Callable[[BinaryIO, int], int | None] | None:
    """Returns the reader of top-level blocks for a file that starts with these bytes."""
    if start[:4] == b"RIFF":
        return _riff_end
    if start[:4] == _EBML_HEADER:
        return _matroska_end
    if start[4:8] in _MP4_BOXES:
        return _mp4_end
    if start[:6] in (b"GIF87a", b"GIF89a"):
        return _gif_end
    if start == b"\x89PNG\r\n\x1a\n":
        return _png_end
    return None


# Each of the following functions takes a file positioned at a block, and that position. It returns the
# position after the block, or None if there is no block or its size is not declared.


def _mp4_end(file: BinaryIO, position: int) -> int | None:
    header = file.read(16)
    if len(header) < 8 or header[4:8] not in _MP4_BOXES:
        return None
    return _box_end(header, position)


def _box_end(header: bytes, position: int) -> int | None:
    if len(header) < 8:
        return None
    (size,) = struct.unpack(">I", header[:4])
    if size == 1 and len(header) == 16:
        (size,) = struct.unpack(">Q", header[8:])
    # 0 means "to the end of the file"; other values smaller than a header are invalid.
    return position + size if size >= 8 else None


def _riff_end(file: BinaryIO, position: int) -> int | None:
    header = file.read(8)
    if len(header) < 8 or header[:4] != b"RIFF":
        return None
    (size,) = struct.unpack("<I", header[4:])
    # Some writers omit the byte that pads an odd size, so it is not required.
    return None if size in _UNKNOWN_RIFF_SIZES else position + 8 + size


def _matroska_end(file: BinaryIO, position: int) -> int | None:
    header = file.read(12)
    for name in (_EBML_HEADER, _EBML_SEGMENT, _EBML_VOID):
        if header.startswith(name):
            break
    else:
        return None
    # The number of leading zero bits in the first byte is the number of bytes that follow it.
    first = header[len(name)] if len(header) > len(name) else 0
    length = 9 - first.bit_length()
    field = header[len(name) : len(name) + length]
    if first == 0 or len(field) < length:
        return None
    largest = (1 << (7 * length)) - 1
    size = int.from_bytes(field, "big") & largest
    # All ones means "unknown".
    return None if size == largest else position + len(name) + length + size


def _png_end(file: BinaryIO, position: int) -> int | None:
    if position == 0:
        return 8
    header = file.read(8)
    if len(header) < 8 or header[4:] == b"IEND":
        return None
    # The declared size is that of the content; size field, name and checksum add 12 bytes.
    return position + 12 + int.from_bytes(header[:4], "big")


def _gif_end(file: BinaryIO, position: int) -> int | None:
    if position == 0:
        header = file.read(13)
        return 13 + _gif_colours(header[10:11])
    kind = file.read(1)
    if kind == b",":
        position += 11 + _gif_colours(file.read(9)[8:])
    elif kind == b"!":
        position += 2
    else:
        return None  # the end of the file, or an unknown block
    # Sub-blocks of up to 255 bytes, each preceded by its length; an empty one ends the block.
    for _ in range(MAX_CONTAINER_BLOCKS):
        file.seek(position)
        length = file.read(1)
        if not length:
            return position + 1
        position += 1 + length[0]
        if length[0] == 0:
            return position
    return None


def _gif_colours(packed: bytes) -> int:
    """Returns the size in bytes of the colour table that these flags declare."""
    flags = packed[0] if packed else 0
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0
