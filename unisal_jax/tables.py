"""The reader for all CSV files that the package accepts.

It accepts the variants that spreadsheets, trackers and scripts write: UTF-8 with or without a byte order
mark, UTF-16 with one; commas, semicolons or tabs as separators; line ends of any system; quoted fields with
line breaks; blanks around names and values; a first line `sep=;`; gzip.
"""

import csv
import gzip
import io
import itertools
import re
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

from unisal_jax.errors import UnisalError
from unisal_jax.limits import MAX_TABLE_LINE, MAX_UNPACKED_BYTES, MAX_UNPACKED_RATIO, SMALL_UNPACKED_BYTES

SEPARATORS = ",;\t"

# Not every Unicode space: a quoted name may begin or end with a line break.
_BLANKS = " \t\u00a0"

_BLANK_AFTER_QUOTE = re.compile(r'((?<!")"|(?<![^,;\t ])"") +(?=[,;\t\r\n]|$)')

# A first line with the separator, as spreadsheets write it.
_SEPARATOR_LINE = re.compile(rf'"?sep=([{SEPARATORS}])"?\s*', re.IGNORECASE)

_BINARY = {
    b"PK\x03\x04": "a zip archive or an Excel workbook; unpack it, or save the sheet as CSV in UTF-8",
    b"\xd0\xcf\x11\xe0": "an Excel workbook or another Office document; save the sheet as CSV in UTF-8",
    b"SR_RESEARCH": "an EyeLink EDF file; convert it with SR Research's edf2asc (EDF Converter)",
}
"""Signatures of files that users pass instead of a text file, and what to do about them."""

_GZIP, _UTF16 = b"\x1f\x8b", (b"\xff\xfe", b"\xfe\xff")


class Line(dict[str, str]):
    """The fields of a line by column, stripped of blanks; "" for columns beyond the end of the line.

    Attributes:
      number: line number in the file, from 1, for messages.
    """

    number: int

    def __missing__(self, column: str) -> str:
        return ""


def read_table(
    path: str | Path,
    what: str,
    needed: tuple[str, ...],
    other_names: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[Line]:
    """Yields the lines of a table with a header, without empty lines. Holds one line in memory.

    Column names are compared in lower case, stripped of blanks.

    Args:
      path: a file; gzip is detected by content.
      what: what the table is, for messages, such as "a table of fixations".
      needed: required columns, in lower case.
      other_names: alternative column names, in lower case, and the names they stand for.

    Raises:
      UnisalError: the file does not exist, is not text, is too large or has no header; a column is missing
        or repeated; a line has more fields than columns; or a quote is not closed.
    """
    with open_lines(path) as lines:
        yield from _parse(path, lines, what, needed, other_names)


@contextmanager
def open_lines(path: str | Path, errors: str = "strict") -> Iterator["Lines"]:
    """Opens a text file like `read_table`: detects encoding and gzip, and limits the size.

    Args:
      path: the file.
      errors: how to handle bytes that are not UTF-8, as for `open`.

    Raises:
      UnisalError: within the block, if the file is invalid; see `read_table`.
    """
    try:
        with Path(path).open("rb") as file:
            lines = Lines(path, file, errors)
            try:
                yield lines
            except csv.Error as error:
                raise UnisalError(f"{path}: line {lines.number}: not CSV ({error})") from error
            except UnicodeDecodeError as error:
                raise UnisalError(
                    f"{path}: about line {lines.number + 1}: not a text in UTF-8; save the table as UTF-8"
                ) from error
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise UnisalError(f"{path}: cannot be read ({reason})") from error


class Lines(Iterator[str]):
    """The lines of a file, with line ends.

    Attributes:
      number: number of the last line read, from 1.
    """

    def __init__(self, path: str | Path, file: io.BufferedReader, errors: str):
        self.number = 0
        self._path = path
        self._text = _open_text(path, file, errors)

    def __next__(self) -> str:
        line = self._text.readline(MAX_TABLE_LINE)
        if not line:
            raise StopIteration
        self.number += 1
        if len(line) == MAX_TABLE_LINE:
            raise UnisalError(f"{self._path}: line {self.number}: longer than {MAX_TABLE_LINE} characters")
        if "\0" in line:
            raise UnisalError(f"{self._path}: line {self.number}: a zero byte; save the table as UTF-8 text")
        # The csv module refuses blanks between a closing quote and the separator.
        return _BLANK_AFTER_QUOTE.sub(r"\1", line) if '" ' in line else line


def _parse(
    path: str | Path, lines: Lines, what: str, needed: tuple[str, ...], other_names: Mapping[str, str]
) -> Iterator[Line]:
    first = next((line for line in lines if line.strip()), "")
    told = _SEPARATOR_LINE.fullmatch(first)
    if told:
        first = next((line for line in lines if line.strip()), "")
    separator = told[1] if told else max(SEPARATORS, key="".join(first.split('"')[::2]).count)
    # The csv module requires unchanged line ends to tell quoted line breaks from ends of lines.
    reader = csv.reader(
        itertools.chain([first], lines), delimiter=separator, skipinitialspace=True, strict=True
    )
    found = [name.strip(_BLANKS).lower() for name in next(reader, [])]
    columns = [other_names.get(name, name) for name in found]
    absent = [name for name in needed if name not in columns]
    if absent:
        raise UnisalError(
            f"{path}: no column {absent[0]!r}; {what} has {', '.join(needed)} in its first line"
        )
    twice = [name for name, count in Counter(columns).items() if name and count > 1]
    if twice:
        raise UnisalError(f"{path}: two columns are called {twice[0]!r}")
    begins = lines.number + 1
    for fields in reader:
        number, begins = begins, lines.number + 1
        values = [field.strip(_BLANKS) for field in fields]
        if not any(values):
            continue
        if any(values[len(columns) :]):
            raise UnisalError(f"{path}: line {number}: {len(values)} fields for {len(columns)} columns")
        line = Line(zip(columns, values, strict=False))
        line.number = number
        yield line


def _open_text(path: str | Path, file: io.BufferedReader, errors: str) -> io.TextIOWrapper:
    """The text of an open file; reading raises an error if it exceeds the limits."""
    begins = file.peek(max(map(len, _BINARY)))
    for signature, cure in _BINARY.items():
        if begins.startswith(signature):
            raise UnisalError(f"{path}: {cure}")
    packed = begins.startswith(_GZIP)
    data = io.BufferedReader(_Bounded(path, file, packed))
    utf16 = data.peek(len(_UTF16[0])).startswith(_UTF16)
    return io.TextIOWrapper(data, "utf-16" if utf16 else "utf-8-sig", errors, newline="")


class _Bounded(io.RawIOBase):
    """The unpacked content of a file, up to the size limits."""

    def __init__(self, path: str | Path, file: io.BufferedReader, packed: bool):
        self._path, self._file, self._taken = path, file, 0
        self._content = gzip.GzipFile(fileobj=file) if packed else file

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._content.read(len(buffer))
        self._taken += len(data)
        if self._taken > MAX_UNPACKED_BYTES:
            raise UnisalError(f"{self._path}: larger than {MAX_UNPACKED_BYTES >> 20} MiB, unpacked")
        if self._taken > SMALL_UNPACKED_BYTES and self._taken > MAX_UNPACKED_RATIO * self._packed_bytes():
            raise UnisalError(f"{self._path}: unpacks to more than {MAX_UNPACKED_RATIO} times its size")
        buffer[: len(data)] = data
        return len(data)

    def _packed_bytes(self) -> int:
        """Bytes of the file read so far; for a pipe, where it is unknown, a value that refuses nothing."""
        return self._file.tell() if self._file.seekable() else self._taken
