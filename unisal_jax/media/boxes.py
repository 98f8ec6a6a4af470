"""Headers of AVIF and HEIC files, which store images in boxes (ISO/IEC 14496-12 and 23008-12).

Reads, in bounded time, what is needed before decoding: the displayed size, the colour profile, and the number
of frames of an animation.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from unisal_jax.limits import MAX_BOX_TABLE_BYTES, MAX_IMAGE_BLOCKS, MAX_METADATA_BYTES

# Properties of an image: those that change the displayed size, and the colour profile.
_SIZE, _CROP, _ROTATION, _PROFILE = b"ispe", b"clap", b"irot", b"colr"


class NoImage(ValueError):
    """The boxes hold no image, or are damaged; the message says what is wrong."""


@dataclass(frozen=True)
class BoxHeader:
    """Properties of the main image.

    Attributes:
      width, height: in pixels, after cropping and rotation.
      coded_pixels: number of pixels before cropping.
      icc_profile: empty if there is none, or if it exceeds `MAX_METADATA_BYTES`.
    """

    width: int
    height: int
    coded_pixels: int
    icc_profile: bytes = b""


def read_header(file: BinaryIO, crops: bool) -> BoxHeader:
    """Reads the header of the main image.

    Args:
      file: the container.
      crops: whether the decoder applies the file's crop (HEIC's does, AVIF's does not).

    Raises:
      NoImage: there is no image, or the boxes are damaged.
    """
    meta = _find(file, b"meta")
    if meta is None:
        raise NoImage("holds no still image")
    try:
        return _header(meta[4:], crops)
    except (struct.error, IndexError, KeyError) as error:
        raise NoImage("its header is damaged") from error


def count_shown(file: BinaryIO) -> int:
    """Returns the number of frames of the longest track; 1 if there is no track.

    Raises:
      struct.error: the boxes are damaged.
    """
    moov = _find(file, b"moov")
    counts = [1]
    for name, track in _boxes(moov or b""):
        if name == b"trak":
            for part in (b"mdia", b"minf", b"stbl", b"stsz"):
                track = dict(_boxes(track)).get(part, b"")
            if track:
                counts.append(struct.unpack_from(">I", track, 8)[0])
    return max(counts)


def _find(file: BinaryIO, wanted: bytes) -> bytes | None:
    """Returns the content of a top-level box; None if it is missing or exceeds `MAX_BOX_TABLE_BYTES`."""
    size = file.seek(0, 2)
    at = 0
    for _ in range(MAX_IMAGE_BLOCKS):
        file.seek(at)
        head = file.read(16)
        if len(head) < 8:
            break
        length, name = struct.unpack(">I4s", head[:8])
        start = 8
        if length == 1 and len(head) == 16:
            length, start = int.from_bytes(head[8:], "big"), 16
        elif length == 0:
            length = size - at
        if length < start or at + length > size:
            break
        if name == wanted:
            file.seek(at + start)
            return file.read(length - start) if length <= MAX_BOX_TABLE_BYTES else None
        at += length
    return None


def _boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yields the name and content of each box, up to the first that is cut off."""
    at = 0
    while at + 8 <= len(data):
        length, name = struct.unpack_from(">I4s", data, at)
        if length < 8 or at + length > len(data):
            return
        yield name, data[at + 8 : at + length]
        at += length


def _header(meta: bytes, crops: bool) -> BoxHeader:
    parts = dict(_boxes(meta))
    main = parts[b"pitm"]
    item = int.from_bytes(main[4 : 8 if main[0] else 6], "big")
    properties = parts[b"iprp"]
    every = list(_boxes(dict(_boxes(properties))[b"ipco"]))
    mine = [every[number - 1] for number in _numbers(properties, item) if 0 < number <= len(every)]
    found = dict(mine)
    width, height = struct.unpack_from(">II", found[_SIZE], 4)
    coded = width * height
    if crops and _CROP in found:
        across, by, down, per = struct.unpack_from(">IIII", found[_CROP])
        if by > 0 and per > 0 and 0 < across <= width * by and 0 < down <= height * per:
            width, height = max(1, across // by), max(1, down // per)
    if _ROTATION in found and found[_ROTATION][0] & 1:
        width, height = height, width
    profiles = [data[4:] for name, data in mine if name == _PROFILE and data[:4] in (b"prof", b"rICC")]
    if not coded:
        raise NoImage("has an image without pixels")
    profile = profiles[0] if profiles and len(profiles[0]) <= MAX_METADATA_BYTES else b""
    return BoxHeader(width, height, coded, profile)


def _numbers(properties: bytes, item: int) -> list[int]:
    """Returns the numbers of an item's properties, counted from 1."""
    for name, data in _boxes(properties):
        if name != b"ipma":
            continue
        version, wide = data[0], data[3] & 1
        (count,) = struct.unpack_from(">I", data, 4)
        at = 8
        for _ in range(count):
            (mine,) = struct.unpack_from(">I" if version else ">H", data, at)
            at += 4 if version else 2
            each, at = data[at], at + 1
            if mine == item:
                form = f">{each}{'H' if wide else 'B'}"
                return [number & (0x7FFF if wide else 0x7F) for number in struct.unpack_from(form, data, at)]
            at += each * (2 if wide else 1)
    raise NoImage("has a main image without properties")
