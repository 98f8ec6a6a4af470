"""The first lines of a tracker's file, and the names of its columns: by these a format is recognised."""

import csv
import dataclasses
import re
from pathlib import Path

from unisal_jax.errors import UnisalError
from unisal_jax.tables import open_lines

_LINES = 400
"""Lines of a head. An EyeLink file begins with some 100 of the tracker's settings."""

_SEPARATORS = "\t;,|"


class SceneCameraError(UnisalError):
    """A file's positions are in a scene camera's image, on no stimulus.

    In an export such files lie beside those that are read.
    """


@dataclasses.dataclass(frozen=True)
class Head:
    """The beginning of a file.

    Attributes:
      path: the file.
      lines: its first lines, without their ends.
      names: of the columns, as the file writes them, if it is a table.
      separator: between the columns; "" where blanks are.
      quoted: whether fields may stand in double quotes.
      header: number of the line with the names, from 0.
    """

    path: Path
    lines: tuple[str, ...]
    names: tuple[str, ...] = ()
    separator: str = ""
    quoted: bool = False
    header: int = 0

    def find(self, *names: str) -> int | None:
        """The place of the first of these columns that the file has. Case and blanks do not matter."""
        places = {column_key(name): place for place, name in reversed(list(enumerate(self.names)))}
        return next((places[column_key(name)] for name in names if column_key(name) in places), None)

    def has(self, *names: str) -> bool:
        """Whether all of these columns are there."""
        return all(self.find(name) is not None for name in names)

    def need(self, *names: str, cure: str, error: type[UnisalError] = UnisalError) -> int:
        """The place of the first of these columns that the file has.

        Args:
          cure: what to do if none is there.
          error: what is raised then.

        Raises:
          UnisalError: none is.
        """
        place = self.find(*names)
        if place is None:
            raise error(f"{self.path}: no column {names[0]!r}; {cure}")
        return place


def column_key(name: str) -> str:
    """A column's name as names are compared; the two signs for micro are one."""
    return " ".join(name.strip().strip('"').casefold().split())


def decoded(text: str) -> str:
    """A text of a file that was opened with "surrogateescape": what is not UTF-8 is Windows-1252."""
    if text.isascii():
        return text
    return text.encode("utf-8", "surrogateescape").decode("cp1252", "replace") if _escaped(text) else text


def _escaped(text: str) -> bool:
    return any("\udc80" <= character <= "\udcff" for character in text)


def read_head(path: str | Path) -> Head:
    """Reads a file's first lines.

    Raises:
      UnisalError: no such file, empty, or not a text.
    """
    path = Path(path)
    lines = []
    with open_lines(path, "surrogateescape") as text:
        for line in text:
            lines.append(decoded(line.rstrip("\r\n")))
            if len(lines) == _LINES:
                break
    if not any(line.strip() for line in lines):
        raise UnisalError(f"{path}: empty")
    # Comments of SMI's raw data begin with ##.
    header = next((n for n, line in enumerate(lines) if line.strip() and not line.startswith("#")), 0)
    told = re.fullmatch(r'"?sep=(.)"?\s*', lines[header], re.IGNORECASE)
    if told and header + 1 < len(lines):
        header += 1
    first = lines[header]
    separator = told[1] if told else max(_SEPARATORS, key="".join(first.split('"')[::2]).count)
    if separator not in first:
        separator = ""
    # Trackers write tabs between fields as they are; only programs that quote names quote fields as well.
    quoted = separator != "\t" or first.startswith('"')
    names = split_line(first, separator, quoted)
    return Head(path, tuple(lines), tuple(names), separator, quoted, header)


def split_line(line: str, separator: str, quoted: bool) -> list[str]:
    """The fields of one line."""
    if not separator:
        return line.split()
    if not quoted:
        return line.split(separator)
    try:
        return next(csv.reader([line], delimiter=separator, skipinitialspace=True), [])
    except csv.Error:
        return line.split(separator)
