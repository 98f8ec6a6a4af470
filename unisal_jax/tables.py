"""Tables of people's own making: one reader for every CSV file that the package takes.

Spreadsheets, trackers and scripts write them in many ways. All of these are read: UTF-8 with or
without a byte order mark, UTF-16 with one; commas, semicolons or tabs between the fields; line ends of
any system; quoted fields with line breaks; blanks around names and values; gzip.
"""

import csv
import gzip
import io
import re
import zlib
from collections.abc import Iterator
from pathlib import Path

from unisal_jax.errors import UnisalError
from unisal_jax.limits import MAX_UNPACKED_BYTES

SEPARATORS = ",;\t"
_MAX_HEADER = 1 << 16


class Line(dict[str, str]):
    """A line's fields by their column, blanks around them taken off; "" where the line is too short.

    Attributes:
      number: of the line in the file, from 1, for messages.
    """

    number: int


def read_table(path: str | Path, what: str, needed: tuple[str, ...]) -> Iterator[Line]:
    """The lines of a table with a header; empty ones are passed over.

    Names of columns are compared in lower case, without the blanks around them.

    Args:
      path: a file; gzip by its content.
      what: it is a table of, for messages, such as "a table of fixations".
      needed: columns that must be there, in lower case.
    Raises:
      UnisalError: no such file, not text, too large, no header, a column that is missing or there
        twice, a line with more fields than columns, or a quote that does not end.
    """
    path = Path(path)
    text = _read_text(path)
    # The csv module knows a line break in quotes from one that ends a line only if it gets them as they are.
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=_separator(text), skipinitialspace=True, strict=True
    )
    try:
        header = next(reader, [])
        columns = [name.strip().lower() for name in header]
        absent = [name for name in needed if name not in columns]
        if absent:
            raise UnisalError(
                f"{path}: no column {absent[0]!r}; {what} has {', '.join(needed)} in its first line"
            )
        twice = [name for name in columns if name and columns.count(name) > 1]
        if twice:
            raise UnisalError(f"{path}: two columns are called {twice[0]!r}")
        begins = reader.line_num + 1
        for fields in reader:
            number, begins = begins, reader.line_num + 1
            values = [field.strip() for field in fields]
            if not any(values):
                continue
            if any(values[len(columns) :]):
                raise UnisalError(f"{path}: line {number}: {len(values)} fields for {len(columns)} columns")
            values += [""] * (len(columns) - len(values))
            line = Line(zip(columns, values, strict=False))
            line.number = number
            yield line
    except csv.Error as error:
        raise UnisalError(f"{path}: line {reader.line_num}: not CSV ({error})") from error


def _read_text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
        with gzip.open(path) if packed else path.open("rb") as file:
            data = file.read(MAX_UNPACKED_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise UnisalError(f"{path}: cannot be read ({reason})") from error
    if len(data) > MAX_UNPACKED_BYTES:
        raise UnisalError(f"{path}: larger than {MAX_UNPACKED_BYTES >> 20} MiB, unpacked")
    utf16 = data[:2] in (b"\xff\xfe", b"\xfe\xff")
    try:
        return data.decode("utf-16" if utf16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise UnisalError(f"{path}: not a text in UTF-8 ({error.reason} at byte {error.start})") from error


def _separator(text: str) -> str:
    """The one of `SEPARATORS` that the header has most of, outside of quotes."""
    header = next((line for line in re.split(r"[\r\n]", text[:_MAX_HEADER]) if line.strip()), "")
    unquoted = "".join(header.split('"')[::2])
    return max(SEPARATORS, key=unquoted.count)
