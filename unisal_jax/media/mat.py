"""Reads maps and fixations from MATLAB .mat files (versions 5 to 7).

SciPy's reader is not used, since it allocates whatever size an array declares and recurses for each level of
nesting, so a small malicious file could exhaust memory. This reader checks every count against the bytes
present before allocating, and bounds the unpacked size (`limits.MAX_MAT_BYTES`). Numbers are views of the
file's bytes.
"""

import itertools
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from unisal_jax.errors import UnisalError
from unisal_jax.limits import MAX_MAP_PIXELS, MAX_MAT_BYTES

# Types of data elements.
_MATRIX, _COMPRESSED = 14, 15
_NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
# Classes of arrays.
_STRUCT, _SPARSE = 2, 5
_NUMERIC = range(6, 16)
# Maximum nesting of structs. SALICON's files need 1.
_MAX_DEPTH = 4
# SALICON's files have a few thousand.
_MAX_ELEMENTS = 100_000
_HEADER = 128

Element = tuple[int, memoryview]

# Numbers of any shape; the elements of a struct array in column order, each by field; or None for types that
# are not read, such as text.
Value = np.ndarray | list[dict[str, "Value"]] | None


@dataclass(frozen=True)
class _Part:
    """A part of a file: its bytes, the byte order, and a counter of elements shared by all parts."""

    data: memoryview
    order: str
    seen: Iterator[int]

    def of(self, data: memoryview) -> "_Part":
        """Returns another part of the same file."""
        return _Part(data, self.order, self.seen)

    def elements(self) -> Iterator[Element]:
        """Yields (type, bytes) of each data element."""
        at = 0
        while at + 8 <= len(self.data):
            if next(self.seen) > _MAX_ELEMENTS:
                raise ValueError(f"more than {_MAX_ELEMENTS:,} elements")
            kind, size = struct.unpack_from(self.order + "II", self.data, at)
            if kind >> 16:
                # A small element stores its size and up to four bytes in the tag.
                kind, size, begins, ends = kind & 0xFFFF, kind >> 16, at + 4, at + 8
                if size > 4:
                    raise ValueError("a small element of more than four bytes")
            else:
                begins = at + 8
                ends = begins + size + (-size % 8 if kind != _COMPRESSED else 0)
            if begins + size > len(self.data):
                raise ValueError("an element is longer than the file")
            yield kind, self.data[begins : begins + size]
            at = ends


def read_mat(path: str | Path) -> dict[str, Value]:
    """Reads the variables of a .mat file: numeric and logical arrays (sparse ones made dense) and structs.

    Returns:
      The values by name, in the file's order.

    Raises:
      UnisalError: no such file, not a MATLAB file of version 5 to 7, damaged, or it unpacks to more than
        `MAX_MAT_BYTES`.
    """
    path = Path(path)
    try:
        if path.stat().st_size > MAX_MAT_BYTES:
            raise UnisalError(f"{path}: is larger than {MAX_MAT_BYTES >> 20} MiB")
        data = path.read_bytes()
    except OSError as error:
        raise UnisalError(
            f"{path}: no such file" if isinstance(error, FileNotFoundError) else f"{path}: {error.strerror}"
        ) from error
    if data.startswith((b"MATLAB 7.3", b"\x89HDF")):
        raise UnisalError(
            f"{path}: MATLAB files of version 7.3 (HDF5) cannot be read; save it with save(..., '-v7')"
        )
    order = {b"IM": "<", b"MI": ">"}.get(data[126:128])
    if order is None:
        raise UnisalError(f"{path}: not a MATLAB file of version 5 to 7; save it with save(..., '-v7')")
    try:
        return _variables(path, _Part(memoryview(data)[_HEADER:], order, itertools.count()))
    except UnisalError:
        raise
    except (ValueError, IndexError, StopIteration, struct.error, zlib.error, UnicodeDecodeError) as error:
        raise UnisalError(f"{path}: not a MATLAB file, or cut off ({error})") from error


def _variables(path: Path, part: _Part) -> dict[str, Value]:
    room = MAX_MAT_BYTES
    variables: dict[str, Value] = {}
    for kind, content in part.elements():
        if kind == _COMPRESSED:
            inflate = zlib.decompressobj()
            unpacked = inflate.decompress(content, room + 1)
            room -= len(unpacked)
            if room < 0:
                raise UnisalError(f"{path}: unpacks to more than {MAX_MAT_BYTES >> 20} MiB")
            kind, content = next(part.of(memoryview(unpacked)).elements(), (0, content))
        if kind == _MATRIX:
            name, value = _array(part.of(content), 0)
            variables.setdefault(name, value)
    return variables


def _array(part: _Part, depth: int) -> tuple[str, Value]:
    """Returns the name and value of an array, from the content of its element."""
    elements = part.elements()
    flags = next(elements, None)
    if flags is None:
        return "", np.zeros((0, 0))  # an empty field
    kind = bytes(flags[1])[0 if part.order == "<" else 3]
    dims = tuple(int(side) for side in _numbers(part, *next(elements)))
    name = bytes(next(elements)[1]).decode("latin-1")
    if min(dims, default=0) < 0:
        raise ValueError("a negative size")
    count = int(np.prod(dims, dtype=object))
    if kind in _NUMERIC:
        real = _numbers(part, *next(elements))
        if real.size != count:
            raise ValueError(f"{real.size} numbers for an array of {count}")
        return name, real.reshape(dims, order="F")
    if kind == _SPARSE:
        return name, _sparse(part, dims, [_numbers(part, *element) for element in elements])
    if kind == _STRUCT and depth < _MAX_DEPTH:
        return name, _structs(part, count, list(elements), depth)
    return name, None


def _structs(part: _Part, count: int, elements: list[Element], depth: int) -> list[dict[str, Value]]:
    length = int(_numbers(part, *elements[0])[0])
    text = bytes(elements[1][1])
    if length < 1:
        raise ValueError("field names without a length")
    fields = [text[at : at + length].split(b"\0")[0].decode("latin-1") for at in range(0, len(text), length)]
    values = elements[2:]
    if len(values) != count * len(fields):
        raise ValueError(f"{len(values)} values for {count} structs of {len(fields)} fields")
    if not fields:
        return []
    return [
        {
            field: _array(part.of(value[1]), depth + 1)[1] if value[0] == _MATRIX else None
            for field, value in zip(fields, values[at : at + len(fields)], strict=True)
        }
        for at in range(0, len(values), len(fields))
    ]


def _sparse(part: _Part, dims: tuple[int, ...], parts: list[np.ndarray]) -> np.ndarray:
    """Converts a sparse matrix to a dense one, float64 [rows, columns]."""
    rows, ends, numbers = parts[0], parts[1].astype(np.int64), parts[2]
    if len(dims) != 2 or dims[0] * dims[1] > MAX_MAP_PIXELS:
        raise ValueError(f"a sparse matrix of {dims}")
    held = int(ends[-1])
    if len(ends) != dims[1] + 1 or (np.diff(ends) < 0).any() or not 0 <= held <= min(rows.size, numbers.size):
        raise ValueError("a sparse matrix with inconsistent columns")
    dense = np.zeros(dims)
    dense[rows[:held].astype(np.int64), np.repeat(np.arange(dims[1]), np.diff(ends))] = numbers[:held]
    return dense


def _numbers(part: _Part, kind: int, content: memoryview) -> np.ndarray:
    if kind not in _NUMBERS:
        raise ValueError(f"numbers of the unknown type {kind}")
    return np.frombuffer(content, part.order + _NUMBERS[kind])
