"""Reads the first lines of a tracker's file and its column names, by which the format is recognised."""

import csv
import dataclasses
import re
from pathlib import Path

from unisal_jax.errors import UnisalError
from unisal_jax.tables import open_lines

_LINES = 400
"""Number of lines. An EyeLink file begins with about 100 lines of settings."""

_SEPARATORS = "\t;,|"


class SceneCameraError(UnisalError):
    """The positions in a file are in the scene camera's image, not on a stimulus.

    Exports contain such files besides those that can be read.
    """


@dataclasses.dataclass(frozen=True)
class Head:
    """The beginning of a file.

    Attributes:
      path: the file.
      lines: its first lines, without line ends.
      names: column names as in the file, if it is a table.
      separator: between columns; "" for whitespace.
      quoted: whether fields may be in double quotes.
      header: number of the line with the names, from 0.
    """

    path: Path
    lines: tuple[str, ...]
    names: tuple[str, ...] = ()
    separator: str = ""
    quoted: bool = False
    header: int = 0

    def find(self, *names: str) -> int | None:
        """Returns the index of the first of these columns in the file, ignoring case and whitespace."""
        places = {column_key(name): place for place, name in reversed(list(enumerate(self.names)))}
        return next((places[column_key(name)] for name in names if column_key(name) in places), None)

    def has(self, *names: str) -> bool:
        """Whether the file has all of these columns."""
        return all(self.find(name) is not None for name in names)

    def need(self, *names: str, remedy: str, error: type[UnisalError] = UnisalError) -> int:
        """Returns the index of the first of these columns in the file.

        Args:
          names: column names.
          remedy: what to do if the file has none of them, for the message.
          error: the exception to raise then.

        Raises:
          UnisalError: the file has none of them.
        """
        place = self.find(*names)
        if place is None:
            raise error(f"{self.path}: no column {names[0]!r}; {remedy}")
        return place


def column_key(name: str) -> str:
    """Normalises a column's name for comparison; also unifies the two micro signs."""
    return " ".join(name.strip().strip('"').casefold().split())


def decoded(text: str) -> str:
    """Decodes text of a file opened with "surrogateescape": bytes that are not UTF-8 are Windows-1252."""
    if text.isascii():
        return text
    return text.encode("utf-8", "surrogateescape").decode("cp1252", "replace") if _escaped(text) else text


def _escaped(text: str) -> bool:
    return any("\udc80" <= character <= "\udcff" for character in text)


def read_head(path: str | Path) -> Head:
    """Reads a file's first lines.

    Raises:
      UnisalError: no such file, empty, or not a text file.
    """
    path = Path(path)
    lines = []
    with open_lines(path, "surrogateescape") as text:
        for line in text:
            lines.append(decoded(line.rstrip("\r\n")))
            if len(lines) == _LINES:
                break
    if not any(line.strip() for line in lines):
        raise UnisalError(f"{path}: the file is empty")
    # Comments of SMI's raw data begin with ##.
    header = next((n for n, line in enumerate(lines) if line.strip() and not line.startswith("#")), 0)
    told = re.fullmatch(r'"?sep=(.)"?\s*', lines[header], re.IGNORECASE)
    if told and header + 1 < len(lines):
        header += 1
    first = lines[header]
    separator = told[1] if told else max(_SEPARATORS, key="".join(first.split('"')[::2]).count)
    if separator not in first:
        separator = ""
    # In tab-separated files, fields are quoted only if the names are.
    quoted = separator != "\t" or first.startswith('"')
    names = split_line(first, separator, quoted)
    return Head(path, tuple(lines), tuple(names), separator, quoted, header)


def split_line(line: str, separator: str, quoted: bool) -> list[str]:
    """Splits a line into fields."""
    if not separator:
        return line.split()
    if not quoted:
        return line.split(separator)
    try:
        return next(csv.reader([line], delimiter=separator, skipinitialspace=True), [])
    except csv.Error:
        return line.split(separator)
