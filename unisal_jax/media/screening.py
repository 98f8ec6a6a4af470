"""Filters image files before Pillow reads them, in bounded time.

Pillow parses comments, text, profiles and EXIF before any pixel, rejects the image if one of them is large,
and takes quadratic time for some. So the blocks of PNG, JPEG and GIF files are scanned first. Blocks that no
pixel depends on are hidden from Pillow; the three kinds in use (EXIF, XMP and the ICC profile) are kept
separately, up to a limit.
"""

import bisect
import contextlib
import dataclasses
import re
import struct
import time
import zlib
from collections.abc import Iterator
from typing import Any, BinaryIO

from unisal_jax.limits import MAX_METADATA_BYTES, MAX_READ_SECONDS

Span = tuple[int, int]
"""Offsets in a file: the first byte, and the one after the last."""

_PNG = b"\x89PNG\r\n\x1a\n"
# Ancillary chunks that change the pixels' conversion to RGB. The critical ones begin with a capital.
_PNG_KEPT = (b"tRNS",)
_PNG_EXIF_TEXT = (b"Raw profile type exif", b"Raw profile type APP1")

# JPEG segments that say how samples become colours: APP0 (JFIF) and APP14 (Adobe).
_JPEG_KEPT_APPS = (0xE0, 0xEE)
_JPEG_APPS = range(0xE0, 0xF0)
_JPEG_COMMENT = 0xFE
_JPEG_SCAN = 0xDA
# Markers without a length: restart markers, start and end of the image, TEM.
_JPEG_BARE = frozenset((0x01, *range(0xD0, 0xDA)))

_GIF_EXTENSION, _GIF_IMAGE, _GIF_END = 0x21, 0x2C, 0x3B
_GIF_CONTROL = 0xF9

_ORIENTATION = 0x0112
# EXIF types that writers use for the orientation. SHORT (3) is the correct one.
_EXIF_INTEGERS = {3: "H", 4: "I", 6: "b", 8: "h", 9: "i"}
_XMP_ORIENTATION = re.compile(rb'tiff:Orientation(?:="|>)([0-9])')


# Pillow may read the start of a header twice, trying two formats.
_HEADER_READS = 2
_HEADER_SLACK_BYTES = 1 << 20


class Excess(Exception):
    """Reading the image exceeds a limit; the message says which."""


@dataclasses.dataclass(frozen=True)
class Metadata:
    """Metadata of an image file. Each is empty if missing or larger than the limit.

    Attributes:
      exif, xmp, icc_profile: the contents of these blocks.
      scan_layers: number of colour layers in the first scan of a JPEG; 0 for other files.
    """

    exif: bytes = b""
    xmp: bytes = b""
    icc_profile: bytes = b""
    scan_layers: int = 0


class ScreenedFile:
    """The file that Pillow reads: spans of another file in order, with a time limit.

    Pillow's decoders cannot be interrupted, but they read the file piece by piece, so `read` checks the time
    limit. It is processor time of this thread, so a busy machine or a slow disk does not count.

    Args:
      file: the whole file.
      spans: the visible parts of it, ascending.
      deadline: the time limit, from `deadline()`.
    """

    def __init__(self, file: BinaryIO, spans: list[Span], deadline: float):
        self._file = file
        self._deadline = deadline
        self._reads = 0
        self._spans = spans
        # The offset of each span in the visible file.
        self._starts = [0]
        for start, stop in spans:
            self._starts.append(self._starts[-1] + stop - start)
        self._position = 0
        # The end of the current span if the underlying file is at the position, else 0.
        self._stop = 0
        self._header_left: int | None = _HEADER_READS * self._starts[-1] + _HEADER_SLACK_BYTES

    def end_of_header(self) -> None:
        """Ends the limit on rereading: from here on, decoding may read the same bytes any number of times."""
        self._header_left = None

    def read(self, size: int = -1) -> bytes:
        """Reads `size` bytes, or all; fewer at the end.

        Raises:
          Excess: the time limit is exceeded, or directories in the header refer to the same bytes many times.
        """
        # Pillow's decoders of PPM and BMP read a few bytes at a time; checking the time each time is slower.
        self._reads += 1
        if size < 0 or size >= 1024 or self._reads % 256 == 0:
            check_time(self._deadline)
        if self._header_left is None and 0 <= size <= self._stop - self._position:
            data = self._file.read(size)
            self._position += len(data)
            return data
        end = self._starts[-1]
        stop = end if size < 0 else min(self._position + size, end)
        if self._header_left is not None:
            self._header_left -= max(0, stop - self._position)
            if self._header_left < 0:
                raise Excess("its header refers to the same bytes repeatedly")
        pieces = []
        while self._position < stop:
            number = bisect.bisect_right(self._starts, self._position) - 1
            start = self._spans[number][0] + self._position - self._starts[number]
            self._file.seek(start)
            piece = self._file.read(min(stop, self._starts[number + 1]) - self._position)
            if not piece:
                break
            pieces.append(piece)
            self._position += len(piece)
            self._stop = self._starts[number + 1]
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def seek(self, offset: int, whence: int = 0) -> int:
        """Moves to an offset from the start (0), the current position (1), or the end (2)."""
        self._position = max(0, offset + (0, self._position, self._starts[-1])[whence])
        self._stop = 0
        if len(self._spans) == 1:
            # libtiff reads from the file descriptor.
            self._file.seek(self._spans[0][0] + self._position)
        return self._position

    def tell(self) -> int:
        """Returns the offset of the next byte."""
        return self._position

    def fileno(self) -> int:
        """Returns the descriptor of the whole file; raises OSError if it has none."""
        return self._file.fileno()


def deadline() -> float:
    """Returns the time limit of an image that is read from now on, for `check_time`."""
    return time.thread_time() + MAX_READ_SECONDS


def check_time(end: float) -> None:
    """Raises Excess after the time `end`, which `deadline` returned in the same thread."""
    if time.thread_time() > end:
        raise Excess(f"reading it takes more than {MAX_READ_SECONDS:g} seconds")


def screen(file: BinaryIO, end: float) -> tuple[ScreenedFile, Metadata]:
    """Returns the filtered file and the metadata of a PNG, JPEG or GIF; other files are unfiltered.

    From the first unknown block on, the rest of the file is unfiltered.

    Args:
      file: the whole file.
      end: the time limit, from `deadline`.

    Raises:
      Excess: the scan exceeds the time limit.
      OSError: the file cannot be read.
    """
    size = file.seek(0, 2)
    file.seek(0)
    head = file.read(8)
    found: dict[str, Any] = {}
    if head == _PNG:
        kept = _walk_png(file, size, found)
    elif head.startswith(b"\xff\xd8\xff"):
        kept = _walk_jpeg(file, size, found)
    elif head.startswith((b"GIF87a", b"GIF89a")):
        kept = _walk_gif(file, size)
    else:
        kept = iter([(0, size)])
    spans: list[Span] = []
    for number, (start, stop) in enumerate(kept):
        if number % 256 == 0:
            check_time(end)
        if spans and spans[-1][1] == start:
            spans[-1] = (spans[-1][0], stop)
        elif stop > start:
            spans.append((start, stop))
    return ScreenedFile(file, spans, end), Metadata(**found)


def orientation_of(exif: bytes, xmp: bytes) -> int:
    """Returns the orientation from EXIF, or else from XMP, 1 to 8; 1 (upright) if neither has one."""
    value = _exif_orientation(exif)
    if value is None and (match := _XMP_ORIENTATION.search(xmp)):
        value = int(match[1])
    return value if value is not None and 1 <= value <= 8 else 1


def _exif_orientation(exif: bytes) -> int | None:
    """Returns the orientation in the first directory of an EXIF block; None if it cannot be read.

    Only this entry is read, since other entries may declare any size.
    """
    data = re.sub(b"^(Exif\x00\x00){1,2}", b"", exif)
    order = {b"II": "<", b"MM": ">"}.get(data[:2])
    if order is None:
        return None
    try:
        (start,) = struct.unpack_from(f"{order}I", data, 4)
        (count,) = struct.unpack_from(f"{order}H", data, start)
        for number in range(count):
            at = start + 2 + 12 * number
            tag, kind, values = struct.unpack_from(f"{order}HHI", data, at)
            if tag == _ORIENTATION:
                code = _EXIF_INTEGERS.get(kind)
                if code is None or values < 1:
                    return None
                place = at + 8
                if values * struct.calcsize(code) > 4:  # the values are stored elsewhere
                    (place,) = struct.unpack_from(f"{order}I", data, place)
                return struct.unpack_from(f"{order}{code}", data, place)[0]
    except struct.error:
        pass
    return None


def _walk_png(file: BinaryIO, size: int, found: dict[str, Any]) -> Iterator[Span]:
    """Yields the spans of the signature and of the chunks that the pixels depend on."""
    yield 0, len(_PNG)
    at = len(_PNG)
    while at < size:
        file.seek(at)
        head = file.read(8)
        name = head[4:]
        length = int.from_bytes(head[:4], "big")
        stop = at + 12 + length
        if len(head) < 8 or not name.isalpha() or stop > size:
            yield at, size
            return
        critical = name[:1].isupper()
        # Drop damaged ancillary chunks too: Pillow would reject the image.
        if critical or (name in _PNG_KEPT and length <= 256 and _png_data(file, name, length) is not None):
            yield at, stop
        elif length <= MAX_METADATA_BYTES:
            _keep_png_metadata(file, name, length, found)
            yield at, at
        at = stop
        if name == b"IEND":
            return


def _keep_png_metadata(file: BinaryIO, name: bytes, length: int, found: dict[str, Any]) -> None:
    if name not in (b"eXIf", b"iCCP", b"iTXt", b"zTXt", b"tEXt"):
        return
    data = _png_data(file, name, length)
    if data is None:
        return
    if name == b"eXIf":
        found.setdefault("exif", data)
        return
    key, _, rest = data.partition(b"\0")
    if name == b"iCCP" and rest[:1] == b"\0":
        found.setdefault("icc_profile", _inflated(rest[1:]))
    elif name == b"iTXt" and key == b"XML:com.adobe.xmp":
        text = rest[2:].split(b"\0", 2)[-1]
        found.setdefault("xmp", _inflated(text) if rest[:1] == b"\1" else text)
    elif key in _PNG_EXIF_TEXT and name != b"iTXt":
        # ImageMagick's form before the eXIf chunk existed: three header lines, then hexadecimal digits.
        text = _inflated(rest[1:]) if name == b"zTXt" else rest
        with contextlib.suppress(ValueError):
            found.setdefault("exif", bytes.fromhex("".join(text.decode("latin-1").split("\n")[3:])))


def _png_data(file: BinaryIO, name: bytes, length: int) -> bytes | None:
    """Reads the data of a chunk after its header; returns None if the checksum is wrong."""
    data = file.read(length)
    return data if zlib.crc32(name + data) == int.from_bytes(file.read(4), "big") else None


def _inflated(data: bytes) -> bytes:
    """Decompresses data; returns empty bytes if they are damaged or too long."""
    unpacker = zlib.decompressobj()
    try:
        text = unpacker.decompress(data, MAX_METADATA_BYTES)
    except zlib.error:
        return b""
    return text if unpacker.eof else b""


def _walk_jpeg(file: BinaryIO, size: int, found: dict[str, Any]) -> Iterator[Span]:
    """Yields the spans of the segments that the pixels depend on, and everything from the first scan on."""
    profile: dict[int, bytes] = {}
    kept = 0
    parts = 0
    yield 0, 2
    at = 2
    while at < size:
        file.seek(at)
        head = file.read(4)
        if head[:1] != b"\xff":
            # Junk between segments, which decoders skip.
            file.seek(at)
            junk = file.read(1 << 16)
            at += junk.find(b"\xff") if b"\xff" in junk else len(junk)
            yield at, at
            continue
        marker = head[1] if len(head) > 1 else 0
        if marker in (0, 0xFF):
            at += 1 if marker else 2
            yield at, at
            continue
        if marker == _JPEG_SCAN or marker in _JPEG_BARE or len(head) < 4:
            if marker == _JPEG_SCAN:
                found["scan_layers"] = (file.read(1) or b"\0")[0]
            if marker not in _JPEG_BARE or marker == 0xD9:
                break
            at += 2
            yield at, at
            continue
        stop = at + 2 + int.from_bytes(head[2:], "big")
        if stop < at + 4 or stop > size:
            break
        if (marker in _JPEG_APPS and marker not in _JPEG_KEPT_APPS) or marker == _JPEG_COMMENT:
            data = file.read(stop - at - 4) if marker in (0xE1, 0xE2) else b""
            if data.startswith(b"Exif\0\0"):
                found.setdefault("exif", data)
            elif data.startswith(b"http://ns.adobe.com/xap/1.0/\0"):
                found.setdefault("xmp", data.split(b"\0", 1)[1])
            elif data.startswith(b"ICC_PROFILE\0") and len(data) > 14 and kept <= MAX_METADATA_BYTES:
                profile[data[12]], parts = data[14:], data[13]
                kept += len(data)
            yield at, at
        else:
            yield at, stop
        at = stop
    if sorted(profile) == list(range(1, parts + 1)) and kept <= MAX_METADATA_BYTES:
        found["icc_profile"] = b"".join(profile[number] for number in sorted(profile))
    yield at, size


def _walk_gif(file: BinaryIO, size: int) -> Iterator[Span]:
    """Yields the spans of header and graphic control extensions, and everything from the first frame on."""
    file.seek(10)
    flags = file.read(1) or b"\0"
    at = 13 + (3 << (flags[0] & 7) + 1 if flags[0] & 0x80 else 0)
    yield 0, min(at, size)
    while at < size:
        file.seek(at)
        head = file.read(2)
        if len(head) < 2 or head[0] in (_GIF_IMAGE, _GIF_END):
            break
        if head[0] != _GIF_EXTENSION:
            # A stray byte, which decoders skip.
            at += 1
            yield at, at
            continue
        start, at = at, at + 2
        while at < size:
            file.seek(at)
            length = (file.read(1) or b"\0")[0]
            at += 1 + length
            yield start, start
            if not length:
                break
        yield start, min(at, size) if head[1] == _GIF_CONTROL else start
    yield at, size
