"""The chunks of an array_record file, weighed before the file's own reader unpacks them."""

import struct
from pathlib import Path
from typing import BinaryIO

from unisal_jax.limits import MAX_CHUNK_BYTES

# The layout of Riegeli (doc/riegeli_records_file_format.md of google/riegeli): chunks follow each other,
# cut by a header wherever a block begins.
_BLOCK, _BLOCK_HEADER = 1 << 16, 24

# Hash of the header, bytes of data, their hash, records above the lowest byte, bytes when unpacked.
_CHUNK = struct.Struct("<QQQQQ")


def check_chunks(path: Path) -> None:
    """Refuses a file that unpacks to much more than it is: records are stored uncompressed.

    Reads the header of each chunk, which is one for each record.

    Raises:
      ValueError: a chunk claims to unpack to more than its own size and `MAX_CHUNK_BYTES`.
      OSError: the file cannot be read.
    """
    with path.open("rb", buffering=0) as file:
        position, size = 0, path.stat().st_size
        while position < size:
            header, data = _read_header(file, position)
            if len(header) < _CHUNK.size:
                return  # cut off, which the file's reader tells of
            _, length, _, records, unpacked = _CHUNK.unpack(header)
            if unpacked > max(length, MAX_CHUNK_BYTES):
                raise ValueError(
                    f"{path.name}: a chunk of {length} bytes that unpacks to {unpacked}; "
                    "a prepared dataset's records are not compressed"
                )
            # A chunk is at least as long as it has records, so that each has a place of its own.
            position = max(_advance(data, length), position + (records >> 8))


def _read_header(file: BinaryIO, position: int) -> tuple[bytes, int]:
    """The header of the chunk at `position`, and where its data begins."""
    end = _advance(position, _CHUNK.size)
    file.seek(position)
    raw = file.read(end - position)
    # A header of a block, where one lies in between, is no part of it.
    begins = -position % _BLOCK
    if begins < len(raw):
        raw = raw[:begins] + raw[begins + _BLOCK_HEADER :]
    return raw, end


def _advance(position: int, length: int) -> int:
    """The place after `length` bytes of chunks from `position` on, with the blocks' headers in between."""
    if length == 0:
        return position
    first = position % _BLOCK
    used = first - _BLOCK_HEADER if first else 0
    whole = _BLOCK - _BLOCK_HEADER
    # The last byte's place, and the one after it.
    blocks, rest = divmod(used + length - 1, whole)
    return position - first + blocks * _BLOCK + _BLOCK_HEADER + rest + 1
