"""Reads selected columns of a tracker's table, which may have millions of rows."""

import csv
import dataclasses
import itertools
import math
import operator
import re
from array import array
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import numpy as np

from unisal_jax.errors import UnisalError
from unisal_jax.gaze.head import Head, decoded
from unisal_jax.limits import MAX_TABLE_NAMES, MAX_TABLE_ROWS
from unisal_jax.tables import Lines, open_lines

_ROWS = 256
"""Rows that are split at once: more would not fit into a processor's cache."""

LARGEST = 1e30
"""Numbers from this on are invalid: no tracker writes them. Times in nanoseconds have 19 digits."""

_MISSING = frozenset({"", ".", "-", "--", "n/a", "na", "#n/a", "null", "none"})

_DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+(?:[eE][+-]?\d+)?")


@dataclasses.dataclass(frozen=True, eq=False)
class Text:
    """A column of names.

    Attributes:
      codes: int32 [n], the index in `names` of each row.
      names: the distinct names; the first is "".
    """

    codes: np.ndarray
    names: list[str]

    def take(self, rows: np.ndarray) -> list[str]:
        """Returns the names of some rows; equal names are the same object."""
        return [self.names[code] for code in self.codes[rows].tolist()]

    def among(self, *names: str) -> np.ndarray:
        """Returns which rows have one of these lower-case names, bool [n]."""
        return np.array([name.lower() in names for name in self.names])[self.codes]


@dataclasses.dataclass(frozen=True, eq=False)
class Columns:
    """Columns of a table.

    Attributes:
      texts: columns of names. A column that the table lacks holds "" throughout.
      numbers: float64 [n] each; NaN where there is no number. A column that the table lacks is NaN
        throughout.
      notes: lines for the user on cut-off lines and values that are not numbers.
    """

    texts: dict[str, Text]
    numbers: dict[str, np.ndarray]
    notes: tuple[str, ...]

    def __len__(self) -> int:
        return next(len(column) for column in self.numbers.values())


class Names(dict[str, int]):
    """The distinct texts of a column, and the code of each."""

    def __init__(self, path: object):
        super().__init__()
        self.path, self.cleaned, self.names = path, {"": 0}, [""]

    def __missing__(self, raw: str) -> int:
        if len(self) >= MAX_TABLE_NAMES:
            raise UnisalError(f"{self.path}: more than {MAX_TABLE_NAMES} names in one column")
        name = decoded(raw).strip(' \t\xa0"')
        name = "" if name.lower() in _MISSING else name
        code = self[raw] = self.cleaned.setdefault(name, len(self.names))
        if code == len(self.names):
            self.names.append(name)
        return code


class Numbers:
    """Reads numbers, and counts values that are not numbers."""

    def __init__(self) -> None:
        self.bad, self.example = 0, ""

    def read(self, texts: Collection[str]) -> "array[float]":
        """Parses numbers; NaN where a value is missing or not a number."""
        try:
            values = array("d", map(float, texts))
        except ValueError:
            values = array("d", map(self._read, texts))
        numbers = np.asarray(values)
        numbers[~(np.abs(numbers) < LARGEST)] = np.nan
        return values

    def _read(self, text: str) -> float:
        if not text:
            return math.nan
        try:
            return float(text)
        except ValueError:
            text = text.strip(' \t\xa0"')
            if _DECIMAL_COMMA.fullmatch(text):
                return float(text.replace(",", "."))
            if text.lower() not in _MISSING:
                self.bad, self.example = self.bad + 1, self.example or decoded(text)[:40]
            return math.nan

    def notes(self) -> tuple[str, ...]:
        """Returns a note on values that were not numbers, if there were any."""
        return (f"{counted(self.bad, 'value')} not a number, such as {self.example!r}",) if self.bad else ()


def counted(count: int, what: str) -> str:
    """Returns a count with its noun, such as "1 value" or "2 values"."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def read_columns(
    head: Head, texts: Mapping[str, int | None], numbers: Mapping[str, int | None], header: bool = True
) -> Columns:
    """Reads some columns of a table; the other columns take no memory.

    Args:
      head: of the table.
      texts: our name -> index of columns with names; None for a column that the table lacks.
      numbers: our name -> index of columns with numbers, likewise.
      header: whether the first line holds the columns' names.

    Raises:
      UnisalError: not a text file, a line with more fields than columns, or too many rows or names.
    """
    places = {name: place for name, place in {**texts, **numbers}.items() if place is not None}
    top = max(places.values())
    names = {name: Names(head.path) for name in texts}
    codes = {name: array("i") for name in texts}
    values = {name: array("d") for name in numbers}
    reader = Numbers()
    count = cut = 0
    with open_lines(head.path, "surrogateescape") as lines:
        rows = _rows(head, lines, top)
        if header:
            for _ in itertools.islice(lines, head.header + 1):
                pass
        while chunk := list(itertools.islice(rows, _ROWS)):
            whole = [row for row in chunk if len(row) > top]
            cut += sum(any(row) for row in chunk if len(row) <= top)
            _check_width(head, whole, lines)
            count += len(whole)
            if count > MAX_TABLE_ROWS:
                raise UnisalError(f"{head.path}: more than {MAX_TABLE_ROWS} rows")
            # One call per row, in C. The additional index makes the result a tuple even for a single column.
            taken = zip(*map(operator.itemgetter(*places.values(), top), whole), strict=True)
            fields = dict(zip(places, taken, strict=False))
            for name in texts:
                codes[name].extend(map(names[name].__getitem__, fields.get(name, [""] * len(whole))))
            for name in numbers:
                values[name].extend(reader.read(fields[name]) if name in fields else _nothing(len(whole)))
    notes = (f"{counted(cut, 'line')} cut off, skipped",) if cut else ()
    return Columns(
        {name: Text(np.asarray(codes[name], np.int32), names[name].names) for name in texts},
        {name: np.asarray(values[name]) for name in numbers},
        notes + reader.notes(),
    )


def _nothing(count: int) -> "array[float]":
    return array("d", [math.nan]) * count


def _rows(head: Head, lines: Lines, top: int) -> Iterator[list[str]]:
    """Yields the fields of each line; fields beyond the last one needed may stay unsplit."""
    separator = head.separator
    if head.quoted and separator:
        return csv.reader(lines, delimiter=separator, skipinitialspace=True, strict=True)
    if not separator:
        return (line.split() for line in lines)
    width = len(head.names)
    return (
        line.rstrip("\r\n").split(separator, top + 1 if line.count(separator) < width else -1)
        for line in lines
    )


def _check_width(head: Head, rows: list[list[str]], lines: Lines) -> None:
    width = len(head.names)
    if max(map(len, rows), default=0) <= width:
        return
    for row in rows:
        if any(field.strip() for field in row[width:]):
            raise UnisalError(
                f"{head.path}: before line {lines.number + 1}: {len(row)} fields for {width} columns; if "
                "numbers have decimal commas, fields must be separated by another character"
            )


def runs(*keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Finds runs of rows with the same keys.

    Args:
      keys: [n] each; NaN equals NaN.

    Returns:
      starts: int [runs], the first row of each run.
      run: int [n], the run of each row.
    """
    count = len(keys[0])
    change = np.zeros(count, bool)
    change[:1] = True
    for key in keys:
        same = key[1:] == key[:-1]
        if key.dtype.kind == "f":
            same |= np.isnan(key[1:]) & np.isnan(key[:-1])
        change[1:] |= ~same
    return np.flatnonzero(change), np.cumsum(change) - 1


def mean_by(group: np.ndarray, values: np.ndarray, groups: int) -> np.ndarray:
    """Returns the mean of each group's finite values, float64 [groups]; NaN for groups without any."""
    good = np.isfinite(values)
    sums = np.bincount(group[good], values[good], groups)
    counts = np.bincount(group[good], minlength=groups)
    return np.divide(sums, counts, out=np.full(groups, np.nan), where=counts > 0)


def above_zero(counts: Mapping[str, Any]) -> dict[str, int]:
    """Returns the counts above zero, by reason."""
    return {reason: int(count) for reason, count in counts.items() if count > 0}
