"""Checks the unpacked size of an array_record file's chunks, before the file's reader unpacks them."""

import struct
from pathlib import Path
from typing import BinaryIO

from unisal_jax.limits import MAX_CHUNK_BYTES

# The Riegeli format (doc/riegeli_records_file_format.md in google/riegeli): consecutive chunks, interrupted
# by a header at the start of each block.
_BLOCK, _BLOCK_HEADER = 1 << 16, 24

# Hash of the header, bytes of data, their hash, number of records above the lowest byte, unpacked bytes.
_CHUNK = struct.Struct("<QQQQQ")


def check_chunks(path: Path) -> None:
    """Checks that a file does not unpack to much more than its size, as records are stored uncompressed.

    It reads the header of each chunk. There is one chunk per record.

    Raises:
      ValueError: a chunk declares to unpack to more than its own size plus `MAX_CHUNK_BYTES`.
      OSError: the file cannot be read.
    """
    with path.open("rb", buffering=0) as file:
        position, size = 0, path.stat().st_size
        while position < size:
            header, data = _read_header(file, position)
            if len(header) < _CHUNK.size:
                return  # truncated, which the file's reader reports
            _, length, _, records, unpacked = _CHUNK.unpack(header)
            if unpacked > max(length, MAX_CHUNK_BYTES):
                raise ValueError(
                    f"{path.name}: a chunk of {length} bytes that unpacks to {unpacked}; "
                    "a prepared dataset's records are not compressed"
                )
            # A chunk is at least as long as its number of records.
            position = max(_advance(data, length), position + (records >> 8))


def _read_header(file: BinaryIO, position: int) -> tuple[bytes, int]:
    """The header of the chunk at `position`, and the position of its data."""
    end = _advance(position, _CHUNK.size)
    file.seek(position)
    raw = file.read(end - position)
    # Skips a block's header inside it.
    begins = -position % _BLOCK
    if begins < len(raw):
        raw = raw[:begins] + raw[begins + _BLOCK_HEADER :]
    return raw, end


def _advance(position: int, length: int) -> int:
    """The position after `length` bytes of chunks from `position`, with the blocks' headers in between."""
    if length == 0:
        return position
    first = position % _BLOCK
    used = first - _BLOCK_HEADER if first else 0
    whole = _BLOCK - _BLOCK_HEADER
    # The position of the last byte, plus one.
    blocks, rest = divmod(used + length - 1, whole)
    return position - first + blocks * _BLOCK + _BLOCK_HEADER + rest + 1
