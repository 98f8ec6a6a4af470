"""Reads tracker files of any format, recognising the format by content."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from unisal_jax.errors import UnisalError
from unisal_jax.gaze.eyes import EYES
from unisal_jax.gaze.formats import FORMATS, table
from unisal_jax.gaze.head import Head, read_head
from unisal_jax.gaze.recording import Recording


def recognise(path: str | Path) -> str:
    """Returns the name in `FORMATS` of a file's format, recognised by its first lines.

    Raises:
      UnisalError: no such file, empty, not a text file, or no format matches.
    """
    return _recognise(read_head(path))


def _recognise(head: Head) -> str:
    for name, module in FORMATS.items():
        if module.fits(head):
            return name
    begins = next((line.strip() for line in head.lines if line.strip()), "")[:60]
    raise UnisalError(
        f"{head.path}: no known format matches (it begins with {begins!r}); pass --format, or --columns for "
        "a table; docs/howto/gaze_formats.md describes the formats"
    )


def read(
    path: str | Path, format: str | None = None, columns: Mapping[str, str] | None = None, eye: str = "mean"
) -> Recording:
    """Reads a tracker's file.

    Args:
      path: the file; gzip is recognised by content.
      format: a name in `FORMATS`; None to recognise it.
      columns: for tables: our column name (`formats.table.NAMES`) -> the table's. Implies that the file is a
        table.
      eye: "mean", "left" or "right", if both eyes were recorded.

    Raises:
      UnisalError: the file cannot be read, has an unknown or wrong format, lacks a column, or has no gaze.
    """
    if eye not in EYES:
        raise UnisalError(f"eye: {eye!r} is not one of {', '.join(EYES)}")
    if format is not None and format not in FORMATS:
        raise UnisalError(f"format: {format!r} is not one of {', '.join(FORMATS)}")
    if columns and format not in (None, "table"):
        raise UnisalError(f"--columns: applies only to tables, not to --format {format}")
    head = read_head(path)
    name = format or ("table" if columns else _recognise(head))
    found: Recording = table.read(head, eye, columns) if name == "table" else FORMATS[name].read(head, eye)
    if not np.isfinite(found.x).any():
        left_out = ", ".join(f"{count:,} {reason}" for reason, count in found.dropped.items())
        notes = "; ".join(found.notes)
        raise UnisalError(
            f"{path}: holds no {found.kind} when read as {name}"
            + "".join(f" ({text})" for text in (left_out, notes) if text)
        )
    return found
