"""Tracker files of any format: recognised by what is in them, and read."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from unisal_jax.errors import UnisalError
from unisal_jax.gaze.eyes import EYES
from unisal_jax.gaze.formats import FORMATS, table
from unisal_jax.gaze.head import Head, read_head
from unisal_jax.gaze.recording import Recording


def recognise(path: str | Path) -> str:
    """The name in `FORMATS` of a file's format, by its first lines.

    Raises:
      UnisalError: no such file, empty, not a text, or of no known format.
    """
    return _recognise(read_head(path))


def _recognise(head: Head) -> str:
    for name, module in FORMATS.items():
        if module.fits(head):
            return name
    looked_for = "; ".join(module.LOOKED_FOR for module in FORMATS.values())
    begins = next((line.strip() for line in head.lines if line.strip()), "")[:60]
    raise UnisalError(
        f"{head.path}: no known format: begins with {begins!r}; looked for {looked_for}; name it with "
        "--format, or the columns of a table with --columns"
    )


def read(
    path: str | Path, format: str | None = None, columns: Mapping[str, str] | None = None, eye: str = "mean"
) -> Recording:
    """Reads a tracker's file.

    Args:
      path: the file; gzip by its content.
      format: a name in `FORMATS`; recognised if none is given.
      columns: of a table: our name (`formats.table.NAMES`) -> the table's. With it the file is a table.
      eye: "mean", "left" or "right", where both eyes were recorded.

    Raises:
      UnisalError: the file cannot be read, is of no known or another format, lacks a column, or holds
        nothing.
    """
    if eye not in EYES:
        raise UnisalError(f"no eye {eye!r}; there are {', '.join(EYES)}")
    if format is not None and format not in FORMATS:
        raise UnisalError(f"no format {format!r}; there are {', '.join(FORMATS)}")
    if columns and format not in (None, "table"):
        raise UnisalError(f"--columns names columns of a table; with --format {format} they are known")
    head = read_head(path)
    name = format or ("table" if columns else _recognise(head))
    found: Recording = table.read(head, eye, columns) if name == "table" else FORMATS[name].read(head, eye)
    if not np.isfinite(found.x).any():
        left_out = ", ".join(f"{count:,} {reason}" for reason, count in found.dropped.items())
        notes = "; ".join(found.notes)
        raise UnisalError(
            f"{path}: no {found.kind} in it as {name}"
            + "".join(f" ({text})" for text in (left_out, notes) if text)
        )
    return found
